"""Whatever decides: rules, planners, exact solutions, tuners and learners."""

from .loading import Policy, load_policy
from .rules import RULES, Rule

__all__ = ["RULES", "Policy", "Rule", "load_policy"]
