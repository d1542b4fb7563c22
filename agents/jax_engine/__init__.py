"""The simulation as one JAX program: periods under ``lax.scan``, compiled, and gradients of its cost."""
