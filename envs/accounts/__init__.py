"""Accounts of a run: costs and emissions of its flows, and its key performance indicators."""
