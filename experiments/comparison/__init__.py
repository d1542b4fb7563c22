"""Comparisons on common worlds: who takes part, what each cost, bounds, and what a table may claim."""
