"""Hydra groups and the shipped scenarios: data only, readable as ``pkg://echelongym.configs``."""
