"""The Gymnasium environments, one world or many stepped together."""
