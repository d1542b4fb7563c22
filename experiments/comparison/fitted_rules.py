"""Fitted rules of a scenario, each tuned once: a result is kept under what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echelongym.agents.loading import load_policy
from echelongym.agents.registry import RULES
from echelongym.agents.residual import rule_from_dict
from echelongym.agents.rules import Rule
from echelongym.agents.tuning.progress import ReportStage
from echelongym.agents.tuning.stages import SECONDS_A_CELL
from echelongym.agents.tuning.tuner import Tuned, tune
from echelongym.envs.core.errors import InputError, is_installed, unknown
from echelongym.envs.core.names import folder_name
from echelongym.envs.rollout.rollout import program_bytes
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.cache import is_whole, seal
from echelongym.envs.storage.files import read_yaml
from echelongym.envs.workers.cores import WITH_GRADIENTS
from echelongym.envs.workers.pieces import Piece, as_done
from echelongym.envs.worlds.memory import tape_bytes

from ..cli.settings import Tuning
from ..cli.terminal import bar_of_pieces, say
from ..runs.folders import shown
from ..runs.sources import digest

RULE_FILE, _DONE, _SEAL = "rule.yaml", "tuning.json", "sha256"
# Settings that change nothing in a result.
_NEUTRAL = {"cache", "refresh", "workers"}
USUAL_EVALUATIONS = 50  # on all worlds, that tuning usually takes

Job = tuple[str, Mapping[str, Any]]  # a rule by name, and the parameters of it that are held


@dataclass(frozen=True, eq=False)
class Fitted:
    """A tuned rule, and what :meth:`echelongym.agents.tuning.tuner.Tuned.summary` said when it was tuned."""

    rule: Rule
    summary: dict[str, Any]
    kept: Path | None = None  # folder of the cache that it was taken from; None: tuned now

    @property
    def env_periods(self) -> int:
        """Env-periods that were simulated to tune it."""
        return int(self.summary["tuning_budget"]["env_periods"])

    def line(self) -> str:
        """One line for a user."""
        if self.kept is not None:
            return f"{self.summary['rule']}: tuned before, taken from {shown(self.kept)}"
        seconds, cost = self.summary["tuning_budget"]["seconds"], self.summary["cost_per_period"]["mean"]
        more = self.summary["more_budget"]
        return (
            f"{self.summary['rule']}: tuned in {seconds:.0f} s, cost per period {cost:.4g} on worlds of its own"
            f"{'; ' + more['text'] if more else ''}"
        )


def fit(
    scenario: Scenario, rule: str, parameters: Mapping[str, Any], tuning: Tuning, show_progress: bool = True
) -> tuple[Rule, int]:
    """The tuned rule, and the env-periods that tuning it simulated; see :func:`fitted`."""
    found = fitted(scenario, rule, parameters, tuning, show_progress)
    say(found.line())
    return found.rule, found.env_periods


@dataclass(eq=False)
class Beside:
    """Other work than tuning, that workers may do beside it; its shares are in seconds."""

    pieces: dict[str, Piece]
    given: dict[str, Any] = field(default_factory=dict)  # what each gave, once it is done


def fit_all(
    scenario: Scenario,
    jobs: Sequence[Job],
    tuning: Tuning | None,
    show_progress: bool = True,
    beside: Beside | None = None,
) -> list[tuple[Rule, int]]:
    """:func:`fit` for several rules, side by side where there are workers, with one bar for all, in the order of ``jobs``.

    Raises
    ------
    InputError
        Of the first rule, or other work ``beside``, that fails.
    """
    others = {} if beside is None else beside.pieces
    if len(jobs) == 1 and not others and tuning is not None:
        return [fit(scenario, *jobs[0], tuning, show_progress)]
    pieces: list[tuple[int | str, Piece]] = list(others.items())
    found: dict[int | str, Any] = {}
    for number, job in enumerate(jobs):
        assert tuning is not None
        known = None if tuning.refresh else look_up(scenario, *job, tuning)
        if known is None:
            pieces.append((number, Piece(_fit_alone, (scenario, *job, tuning), expected_seconds(scenario, tuning))))
        else:
            found[number] = known
    # What takes longest begins first, so that no worker is idle for long at the end.
    pieces.sort(key=lambda one: -one[1].share)
    work, title = [piece for _, piece in pieces], "tuning and planning" if others else "tuning"
    # Several workers would not share a GPU: each takes most of its memory.
    workers = None if tuning is None else tuning.workers if tuning.device == "cpu" else 1
    memory = WITH_GRADIENTS
    if tuning is not None:  # the worlds that candidates are compared on, and those that gradients are taken in
        compared = tape_bytes(scenario, tuning.worlds, scenario.horizon)
        memory += 3 * program_bytes(scenario.tables) + compared
    with bar_of_pieces(title, work, show_progress) as bar:
        for place, value in as_done(work, sum(piece.share for piece in work), memory, bar, workers):
            name = pieces[place][0]
            if isinstance(name, int):
                value = Fitted(rule_from_dict(value[0], scenario, "tuning"), value[1])
            found[name] = value
    results = []
    for number in range(len(jobs)):
        say(found[number].line())
        results.append((found[number].rule, found[number].env_periods))
    if beside is not None:
        beside.given.update({name: found[name] for name in others})
    return results


def fitted(
    scenario: Scenario,
    rule: str,
    parameters: Mapping[str, Any],
    tuning: Tuning,
    show_progress: bool = True,
    report: ReportStage | None = None,
) -> Fitted:
    """A rule tuned, or taken from ``tuning.cache`` (None: nothing is kept) unless ``tuning.refresh``.

    Kept under the hash of scenario, recorded demand, rule, fixed parameters, tuning settings and the code that worlds
    and the rule are made by, so that a change of any of them tunes anew.

    Raises
    ------
    InputError
        For an unknown rule or parameter, or a budget too small for a single evaluation.
    """
    found = None if tuning.refresh else look_up(scenario, rule, parameters, tuning)
    if found is not None:
        return found
    tuned = tune(
        scenario,
        rule,
        budget=tuning.budget,
        seed=tuning.seed,
        worlds=tuning.worlds,
        judged=tuning.judged,
        method=tuning.method,
        gradient=tuning.gradient,
        device=tuning.device,
        progress=show_progress,
        parameters=parameters,
        tolerance=tuning.tolerance,
        patience=tuning.patience,
        refit=tuning.refit,
        report=report,
    )
    keep(tuned, scenario, parameters, tuning)
    return Fitted(tuned.rule, tuned.summary())


def look_up(scenario: Scenario, rule: str, parameters: Mapping[str, Any], tuning: Tuning) -> Fitted | None:
    """Rule tuned before from the same settings; None where there is none."""
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    if tuning.cache is None:
        return None
    key = _key(scenario, rule, parameters, tuning)
    folder = Path(tuning.cache) / key
    if not is_whole(folder / _SEAL, key, [folder / name for name in (RULE_FILE, _DONE)]):
        return None
    try:
        found = load_policy(str(folder / RULE_FILE), scenario)
        summary = json.loads((folder / _DONE).read_text(encoding="utf-8"))
    except (InputError, OSError, ValueError):
        return None
    return Fitted(found, summary, folder) if isinstance(found, Rule) else None


def keep(tuned: Tuned, scenario: Scenario, parameters: Mapping[str, Any], tuning: Tuning) -> None:
    """Put a tuned rule where :func:`fitted` will find it; where it cannot be written, that is said and no more."""
    if tuning.cache is None:
        return
    key = _key(scenario, tuned.rule.name, parameters, tuning)
    folder = Path(tuning.cache) / key
    try:
        (folder / _SEAL).unlink(missing_ok=True)
        seal(folder / _SEAL, key, tuned.save(folder))
    except OSError as error:
        say(f"{shown(folder)}: cannot be written ({error.strerror}): {tuned.rule.name} will be tuned again next time")


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
        "tuning": tuning.model_dump(exclude=_NEUTRAL),
        "installed": [name for name in ("cma", "jax", "optuna", "torch") if is_installed(name)],
        # The list of all rules is no part of one; nor is what only other rules, learners or commands use.
        "code": digest(("echelongym.agents.tuning.tuner", RULES[rule].__module__), ("echelongym.agents.rules",)),
    }
    found = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return f"{rule}-{folder_name(scenario.name)}-{found[:16]}"


def expected_seconds(scenario: Scenario, tuning: Tuning) -> float:
    """About how long one process tunes a rule: whether workers are worth their start hangs on it, and nothing else."""
    tables = scenario.tables
    usual = USUAL_EVALUATIONS * tuning.worlds * tables.horizon * (tuning.refit + 1)
    return SECONDS_A_CELL * tables.L * tables.P * (tuning.budget or usual)


def _fit_alone(
    scenario: Scenario, rule: str, parameters: Mapping[str, Any], tuning: Tuning
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A rule and its summary as plain data: a rule that has been at work may hold what does not travel."""
    found = fitted(scenario, rule, parameters, tuning, show_progress=False)
    return found.rule.to_dict(), found.summary
