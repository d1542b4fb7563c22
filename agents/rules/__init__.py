"""Replenishment and allocation rules, one file a family."""
