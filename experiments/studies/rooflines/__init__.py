"""Rooflines: hand-written C of single scenarios, for the table that ``make bench`` prints.

Each kernel plays the period of one shipped network and nothing else: policy and demand inside, no observation and no
indicators. They say what a processor can do at most; ``tests/experiments/test_rooflines.py`` checks that they play the
same model as ``simulate``.
"""
