"""Exact solutions: optimal costs and policies of small or well-structured scenarios, and exact costs of any policy."""

from .answer import Exact
from .evaluation import evaluate
from .search import best
from .solve import METHODS, solve

__all__ = ["METHODS", "Exact", "best", "evaluate", "solve"]
