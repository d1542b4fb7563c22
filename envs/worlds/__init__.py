"""Worlds: everything that a policy cannot influence, drawn ahead as plain arrays, and what they are a sample of."""
