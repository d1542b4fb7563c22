"""Which rules make sense for which shipped scenarios."""

from echelongym.agents.registry import RULES
from echelongym.envs import Scenario


def rule_pairs(scenarios):
    """(scenario, rule), by name, of all that do; planners, which take long, have tests of their own."""
    loaded = {name: Scenario.load(name) for name in scenarios}
    quick = {name: rule for name, rule in RULES.items() if not rule.slow}
    return [(name, rule) for name, one in loaded.items() for rule in quick if quick[rule].refusal(one) is None]
