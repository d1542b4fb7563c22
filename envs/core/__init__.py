"""Foundations of all other packages: array backends, errors, names, strict models and limits of size."""
