"""Which rules make sense for which shipped scenarios."""

from echelongym.agents.rules import RULES
from echelongym.envs import Scenario


def rule_pairs(scenarios):
    """(scenario, rule), by name, of all that do."""
    loaded = {name: Scenario.load(name) for name in scenarios}
    return [(name, rule) for name, one in loaded.items() for rule in RULES if RULES[rule].refusal(one) is None]
