"""Whatever decides: rules, planners, exact solutions, tuners and learners."""

from .loading import Policy, load_policy
from .registry import RULES
from .rules import Rule

__all__ = ["RULES", "Policy", "Rule", "load_policy"]
