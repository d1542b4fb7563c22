"""Scenarios: a network, its random processes and a horizon; variants of one, and changes by key."""
