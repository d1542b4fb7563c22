"""Choice of the policy that ``policy=NAME`` means in a command: a rule as it was tuned for this scenario."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echelongym.agents.loading import load_policy
from echelongym.agents.registry import RULES
from echelongym.envs.core.errors import InputError
from echelongym.envs.scenario.overrides import dotted
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import read_yaml

from ..cli.launching import scenario_words
from ..cli.settings import PolicyChoice
from ..cli.terminal import say
from ..runs.folders import shown

TUNED = Path("runs/tune")  # where the command `tune` leaves what it found
ELSEWHERE = TUNED / "elsewhere.txt"  # run folders of `tune` that the user put in other places, one in a line


def chosen_policy(chosen: PolicyChoice, scenario: Scenario, trust: bool = False) -> Callable[..., Any]:
    """The policy of a command, and a first line for the user where a rule's name was given.

    That is the most recent run of ``tune`` of this scenario and rule with the same parameters held; where there is none,
    or with ``policy.tuned=false``, the rule has automatic levels.

    Raises
    ------
    InputError
        As :func:`echelongym.agents.loading.load_policy`.
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
    held = [f"policy.parameters.{key}={_value(item)}" for key, item in dotted(chosen.parameters)]
    command = shlex.join(["echelongym", "tune", *scenario_words(scenario), f"policy={chosen.name}", *held])
    say(f"{chosen.name}: UNTUNED, automatic levels; type  {command}")
    return automatic


def _tunings(chosen: PolicyChoice, scenario: Scenario) -> list[Path]:
    """Run folders of ``tune`` of the same scenario, rule and held parameters, the most recent first."""
    found = []
    try:
        others = [Path(line) / "summary.json" for line in ELSEWHERE.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        others = []
    for file in dict.fromkeys([*TUNED.glob("*/*/summary.json"), *others]):
        try:
            summary = json.loads(file.read_text(encoding="utf-8"))
            config = read_yaml(file.parent / "config.yaml")
            if (
                summary["digest"] == scenario.digest
                and summary["rule"] == chosen.name
                and (config["policy"].get("parameters") or {}) == chosen.parameters
            ):
                found.append((file.stat().st_mtime, file.parent))
        except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return [folder for _, folder in sorted(found, reverse=True)]


def note_tuning(folder: Path) -> None:
    """Note a run folder of ``tune`` outside ``runs/tune`` there, so that the rule's name finds it; if that fails, say so."""
    place = Path(os.path.relpath(folder))
    if place.parent.parent == TUNED:
        return
    try:
        TUNED.mkdir(parents=True, exist_ok=True)
        with ELSEWHERE.open("a", encoding="utf-8") as notes:
            notes.write(f"{place}\n")
    except OSError as error:
        say(f"{ELSEWHERE}: cannot be written ({error.strerror}): name the rule as policy={place} from now on")


def _value(item: Any) -> str:
    """A value as it is typed: a plain word as it is, all else as JSON."""
    return item if isinstance(item, str) and re.fullmatch(r"[A-Za-z][\w./-]*", item) else json.dumps(item)


__all__ = ["chosen_policy", "note_tuning"]
