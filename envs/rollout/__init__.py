"""Rollout of a policy over a tape as one compiled program: of a period recorded once, or of periods under JAX's scan."""
