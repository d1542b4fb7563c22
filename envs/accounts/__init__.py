"""Accounts of a run: what its flows cost and emit, and its key performance indicators."""
