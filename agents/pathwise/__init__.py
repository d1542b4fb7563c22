"""Training by gradients through the simulator: features, networks, heads, and the trainer of their weights."""
