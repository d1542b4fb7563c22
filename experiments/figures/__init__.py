"""Pictures of networks and of comparisons."""
