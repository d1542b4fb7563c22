"""Between a policy and a network: observations, actions, inventory positions and automatic levels."""
