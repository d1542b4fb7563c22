"""Studies: programs that print tables of the documentation, run as ``python -m echelongym.experiments.studies.NAME``."""
