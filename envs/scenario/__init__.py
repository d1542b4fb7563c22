"""Scenarios: a network, the processes that move it and a horizon; variants of one, and changes by key."""
