"""``echelongym exact``: the long-run optimum of a scenario, or the exact cost of a policy, where that can be computed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echelongym.agents.exact import best, evaluate, solve
from echelongym.agents.registry import RULES
from echelongym.agents.rules import Rule
from echelongym.envs.core.errors import InputError
from echelongym.envs.core.validation import Flag, PositiveCount
from echelongym.envs.scenario.overrides import dotted

from ..cli.settings import PolicyChoice, RunSettings, Workers
from ..cli.terminal import finish, say, table, typed
from ..comparison.entrants import beside_the_usual_rule
from ..comparison.policy_choice import chosen_policy
from ..runs.folders import check_free, run_folder, scenario_argument, shown


class Settings(RunSettings):
    """Settings of ``exact``; see ``configs/exact.yaml``."""

    policy: PolicyChoice | None = None  # a group that is not chosen is not there
    method: str
    search: Flag
    states: PositiveCount
    workers: Workers = "auto"
    progress: Flag


def run(settings: Settings, folder: Path) -> Path:
    """Solve or evaluate, print and write; returns the run folder.

    Raises
    ------
    InputError
        Naming the feature of the scenario, or the number of states, for which there is no exact method.
    """
    check_free(folder)
    scenario = settings.scenario
    found, rule = _optimum(settings) if settings.policy is None else _of_policy(settings, settings.policy)
    with run_folder(folder, settings.to_dict(), scenario) as out:
        out.json("summary.json", {"schema": 1, "scenario": scenario.name, "digest": scenario.digest, **found})
        if rule is not None:
            rule.save(out / "rule.yaml")
    say(
        f"{found['what']} of {scenario.name}: {found['cost_per_period']:.7g} a period in the long run ({found['method']})"
    )
    rows = list(dotted(found["parameters"]))
    if rows:
        table("Parameters", ["parameter", "value"], rows, found["notes"])
    else:
        for note in found["notes"]:
            say(f"  {note}")
    argument = scenario_argument(scenario, out.path)
    policies = {} if rule is None else {"policies": beside_the_usual_rule(shown(out.path / "rule.yaml"))}
    written = ["summary.json"] if rule is None else ["summary.json", "rule.yaml"]
    finish(out.path, typed("benchmark", scenario=argument, **policies), written)
    return out.path


def _optimum(settings: Settings) -> tuple[dict[str, Any], Rule | None]:
    exact = solve(settings.scenario, settings.method, settings.states, _telling(settings))
    found = {
        "what": "optimum",
        "cost_per_period": exact.value,
        "error": exact.error,
        "method": exact.method,
        "parameters": exact.parameters,
        "notes": list(exact.notes),
    }
    return found, exact.policy if isinstance(exact.policy, Rule) else None


def _of_policy(settings: Settings, chosen: PolicyChoice) -> tuple[dict[str, Any], Rule | None]:
    scenario, telling = settings.scenario, _telling(settings)
    if settings.method != "auto":
        raise InputError(
            f"method = {settings.method!r}: expected auto, as the cost of a policy is that of its Markov chain"
        )
    made: Rule | None
    if settings.search and chosen.name in RULES:
        rule, cost = best(scenario, chosen.name, None, chosen.parameters, settings.states, telling)
        what, parameters, made = f"best {chosen.name}", rule.parameters, rule
    else:
        policy = chosen_policy(chosen, scenario)
        cost = evaluate(scenario, policy, settings.states, telling)
        made = policy if isinstance(policy, Rule) else None
        what, parameters = chosen.name, made.parameters if made is not None else {}
    found = {
        "what": what,
        "cost_per_period": cost,
        "error": None,
        "method": "markov_chain",
        "parameters": parameters,
        "notes": [],
    }
    return found, made


def _telling(settings: Settings) -> Callable[[str], None] | None:
    return say if settings.progress and sys.stderr.isatty() else None


__all__ = ["Settings", "run"]
