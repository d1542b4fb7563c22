"""Gradients of the cost of a simulation that is one JAX program: periods under ``lax.scan``, compiled."""
