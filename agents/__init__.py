"""Policies and how they are made: rules, planners, exact solutions, tuners and learners."""

from echelongym.envs.interface.observation import Policy

from .loading import load_policy
from .pickled_paths import register
from .registry import RULES
from .rules import Rule

register()
del register

__all__ = ["RULES", "Policy", "Rule", "load_policy"]
