"""Rule files: rules from YAML, as ``echelongym tune`` and ``echelongym read`` write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import InputError, expected, unknown, warn
from echelongym.envs.network.signature import check_network
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import read_yaml

from .registry import RULES
from .rules import Rule

#: What a rule's file holds; further keys are notes.
_RULE_KEYS = ("rule", "scenario", "network", "parameters")


def rule_from_file(path: Path, scenario: Scenario, parameters: dict[str, Any]) -> Rule:
    """The rule that a YAML file of ``tune`` or ``read`` holds.

    Raises
    ------
    InputError
        If there is no such file, it is of no known rule or of another network, or a parameter does not fit.
    """
    if not path.is_file():
        raise expected("policy", str(path), "the path of a file that exists")
    data = read_yaml(path)
    for key in _RULE_KEYS:
        if key not in data:
            raise InputError(f"{path}: {key}: expected this key, as in the file of a rule")
    kinds = RULES
    if data["rule"] == "readable":  # of `echelongym read`
        from .reading.readable_rule import ReadableRule

        kinds = {**RULES, ReadableRule.name: ReadableRule}
    name, given = data["rule"], {} if data["parameters"] is None else data["parameters"]
    if not isinstance(name, str) or name not in kinds:
        raise unknown("rule", name, kinds, str(path))
    check_network(data["network"], scenario.tables, str(path))
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise expected("parameters", given, "a mapping by name", str(path))
    return remarked(kinds[name](scenario, **{**given, **parameters}))


def remarked(rule: Rule) -> Rule:
    """The rule, after warnings of what it leaves aside."""
    for line in rule.remarks():
        warn(f"{rule.scenario.name}: {line}")
    return rule
