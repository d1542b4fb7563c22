"""Recorded array programs as machine code, equal to NumPy bit by bit; and what JAX traced, compiled and kept."""
