"""Rules fitted to a scenario, each once: a result is kept under what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from echelongym.agents.policy import load_policy
from echelongym.agents.rules import Rule
from echelongym.agents.tuning import Tuned, tune
from echelongym.envs.files import read_yaml
from echelongym.envs.scenario import Scenario

from .runs import shown
from .settings import Tuning
from .terminal import say

RULE_FILE, _DONE = "rule.yaml", "tuning.json"


def fit(
    scenario: Scenario, rule: str, parameters: Mapping[str, Any], tuning: Tuning, show_progress: bool = True
) -> tuple[Rule, int]:
    """The tuned rule, and the env-periods that tuning it simulated.

    Looked up in ``tuning.cache`` (None: not kept) under the hash of scenario, recorded demand, rule, fixed parameters,
    tuning settings and the code that tunes, so that a change of any of them tunes anew.

    Raises
    ------
    InputError
        For an unknown rule or parameter, or a budget too small for a single evaluation.
    """
    folder = None if tuning.cache is None else Path(tuning.cache) / _key(scenario, rule, parameters, tuning)
    if folder is not None and (folder / _DONE).is_file():
        say(f"{rule}: tuned before, taken from {shown(folder)}")
        found = load_policy(str(folder / RULE_FILE), scenario)
        assert isinstance(found, Rule)
        return found, budget_of(folder / RULE_FILE) or 0
    tuned = tune(
        scenario,
        rule,
        budget=tuning.budget,
        seed=tuning.seed,
        worlds=tuning.worlds,
        judged=tuning.judged,
        method=tuning.method,
        progress=show_progress,
        parameters=parameters,
    )
    say(f"{rule}: tuned in {tuned.seconds:.0f} s, cost per period {tuned.cost:.4g} on worlds of its own")
    keep(tuned, scenario, parameters, tuning)
    return tuned.rule, tuned.env_periods


def keep(tuned: Tuned, scenario: Scenario, parameters: Mapping[str, Any], tuning: Tuning) -> None:
    """Put a tuned rule where :func:`fit` will find it."""
    if tuning.cache is not None:
        tuned.save(Path(tuning.cache) / _key(scenario, tuned.rule.name, parameters, tuning))


def budget_of(path: Path) -> int | None:
    """Env-periods that were simulated to tune the rule in a YAML file; None where it does not say."""
    budget = (read_yaml(path).get("tuning") or {}).get("tuning_budget") or {}
    spent = budget.get("env_periods")
    return int(spent) if isinstance(spent, int) else None


def _key(scenario: Scenario, rule: str, parameters: Mapping[str, Any], tuning: Tuning) -> str:
    sample = scenario.sample(worlds=2, seed=tuning.seed, purpose="tune")
    made_from = {
        "scenario": scenario.digest,
        "demand": hashlib.sha256(sample.demand.tobytes()).hexdigest(),
        "rule": rule,
        "parameters": dict(parameters),
        "tuning": tuning.model_dump(exclude={"cache"}),
        "code": _code(),
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return f"{rule}-{scenario.name}-{digest[:16]}"


@cache
def _code() -> str:
    """Digest of the source of worlds, dynamics and tuners."""
    digest = hashlib.sha256()
    for package in ("echelongym.envs", "echelongym.agents"):
        folder = Path(str(resources.files(package)))
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
