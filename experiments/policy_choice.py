"""The policy that ``policy=NAME`` means in a command: a rule's name is the rule as it was tuned for this scenario."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echelongym.agents.policy import load_policy
from echelongym.agents.rules import RULES
from echelongym.envs.errors import InputError
from echelongym.envs.files import read_yaml
from echelongym.envs.scenario import Scenario

from .runs import portable, scenario_argument, shown
from .settings import PolicyChoice
from .terminal import say

TUNED = Path("runs/tune")  # where the command `tune` leaves what it found


def chosen_policy(chosen: PolicyChoice, scenario: Scenario, trust: bool = False) -> Callable[..., Any]:
    """The policy of a command, and a first line for the user where a rule's name was given.

    That is the most recent run of ``tune`` of this scenario and rule with the same parameters held; where there is none,
    or with ``policy.tuned=false``, the rule has automatic levels.

    Raises
    ------
    InputError
        As :func:`echelongym.agents.policy.load_policy`.
    """
    if chosen.name not in RULES:
        return load_policy(chosen.name, scenario, trust=trust, **chosen.parameters)
    automatic = RULES[chosen.name](scenario, **chosen.parameters)
    if automatic.reference or not len(automatic.space()):
        return automatic
    if not chosen.tuned:
        say(f"{chosen.name}: automatic levels, as policy.tuned is false")
        return automatic
    for folder in _tunings(chosen, scenario):
        try:
            rule = load_policy(folder / "rule.yaml", scenario)
            spent = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["tuning_budget"]["env_periods"]
        except (InputError, OSError, ValueError, KeyError, TypeError):
            continue
        say(f"{chosen.name}: tuned for this scenario, taken from {shown(folder)} ({spent / 1e6:.3g} M env-periods)")
        return rule
    held = "".join(f" policy.parameters.{key}={json.dumps(item)}" for key, item in chosen.parameters.items())
    say(
        f"{chosen.name}: UNTUNED, automatic levels; type  echelongym tune {_typed(scenario)} policy={chosen.name}{held}"
    )
    return automatic


def _typed(scenario: Scenario) -> str:
    """The scenario as it was typed, its overrides included; by its name where none was."""
    words = [shlex.quote(word) for word in sys.argv[1:] if word.startswith(("scenario=", "scenario.", "+scenario."))]
    return " ".join(words) or f"scenario={scenario_argument(scenario, Path())}"


def _tunings(chosen: PolicyChoice, scenario: Scenario) -> list[Path]:
    """Run folders of ``tune`` of the same scenario, rule and held parameters, the most recent first."""
    found, here = [], _plain(portable(scenario))  # copies in run folders name records by whole paths
    for file in TUNED.glob("*/*/summary.json"):
        try:
            summary = json.loads(file.read_text(encoding="utf-8"))
            config = read_yaml(file.parent / "config.yaml")
            same = summary["digest"] == scenario.digest or _plain(read_yaml(file.parent / "scenario.yaml")) == here
            if (
                same
                and summary["rule"] == chosen.name
                and (config["policy"].get("parameters") or {}) == chosen.parameters
            ):
                found.append((file.stat().st_mtime, file.parent))
        except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return [folder for _, folder in sorted(found, reverse=True)]


def _plain(data: object) -> str:
    return json.dumps(data)  # the order of entities counts


__all__ = ["chosen_policy"]
