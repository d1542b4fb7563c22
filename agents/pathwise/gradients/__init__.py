"""Gradients of a policy's cost in its weights: compiled to C for small networks, by JAX, or by PyTorch."""
