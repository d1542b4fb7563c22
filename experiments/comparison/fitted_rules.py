"""Fitted rules of a scenario, each tuned once: a result is kept under what it was made from."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from echelongym.agents.loading import load_policy
from echelongym.agents.registry import RULES
from echelongym.agents.residual import rule_from_dict
from echelongym.agents.rules import Rule
from echelongym.agents.tuning.tuner import ReportStage, Tuned, tune
from echelongym.envs.core.errors import InputError, is_installed, unknown
from echelongym.envs.core.names import folder_name
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.cache import is_whole, seal
from echelongym.envs.storage.files import read_yaml
from echelongym.envs.storage.workers import started_manager, stop, worker_pool

from ..cli.settings import Tuning
from ..cli.terminal import console, say
from ..runs.folders import shown
from ..runs.sources import digest

RULE_FILE, _DONE, _SEAL = "rule.yaml", "tuning.json", "sha256"
# Settings that change nothing in a result.
_NEUTRAL = {"cache", "refresh", "workers"}

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


def fit_all(
    scenario: Scenario, jobs: Sequence[Job], tuning: Tuning, show_progress: bool = True
) -> list[tuple[Rule, int]]:
    """:func:`fit` for several rules, ``tuning.workers`` at a time, with a bar for each; the order is that of ``jobs``.

    Raises
    ------
    InputError
        Of the first rule that fails.
    """
    if tuning.workers == 1 or len(jobs) < 2:
        return [fit(scenario, rule, parameters, tuning, show_progress) for rule, parameters in jobs]
    found: list[Fitted | None] = [
        None if tuning.refresh else look_up(scenario, rule, parameters, tuning) for rule, parameters in jobs
    ]
    missing = {number: jobs[number] for number, one in enumerate(found) if one is None}
    for number, (rule, summary) in _side_by_side(scenario, missing, tuning, show_progress).items():
        found[number] = Fitted(rule_from_dict(rule, scenario, "tuning"), summary)
    results = []
    for one in found:
        assert one is not None
        say(one.line())
        results.append((one.rule, one.env_periods))
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


# Side by side ------------------------------------------------------------------------------------


def _side_by_side(
    scenario: Scenario, jobs: Mapping[int, Job], tuning: Tuning, show_progress: bool
) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    """Tune rules in processes of their own; each one's rule and summary as plain data, by its number."""
    results: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    if not jobs:
        return results
    with (
        started_manager() as manager,
        _bars({number: rule for number, (rule, _) in jobs.items()}, told := manager.Queue(), show_progress) as done,
        worker_pool(min(tuning.workers, len(jobs))) as pool,
    ):
        waiting = {
            pool.submit(_fit_beside, scenario, *job, tuning, number, told): number for number, job in jobs.items()
        }
        try:
            for finished in as_completed(waiting):
                results[waiting[finished]] = finished.result()
                done(waiting[finished])
        except BaseException:
            stop(pool)
            raise
    return results


def _fit_beside(
    scenario: Scenario, rule: str, parameters: Mapping[str, Any], tuning: Tuning, number: int, told: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tune in a process of its own; plain data, as a rule itself holds what does not travel."""

    def report(env_periods: int, text: str) -> None:
        told.put((number, env_periods, text))

    found = fitted(scenario, rule, parameters, tuning, show_progress=False, report=report)
    return found.rule.to_dict(), found.summary


@contextmanager
def _bars(rules: Mapping[int, str], told: Any, show: bool) -> Iterator[Callable[[int], None]]:
    """A bar for each rule, moved by what arrives in the queue; yields what says that one is done."""
    out = console(stderr=True)
    if not show or not out.is_terminal or not rules:
        yield lambda number: None
        return
    columns = (
        TextColumn("tune {task.description}", markup=False),
        TimeElapsedColumn(),
        BarColumn(bar_width=6),
        TextColumn(
            "{task.fields[text]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        ),
    )
    with Progress(*columns, console=out, expand=True) as bar:
        tasks = {number: bar.add_task(rule, total=None, text="") for number, rule in rules.items()}

        def follow() -> None:
            spent = dict.fromkeys(rules, 0)
            while (item := told.get()) is not None:
                number, env_periods, text = item
                spent[number] += env_periods
                bar.update(tasks[number], text=f"{text}; {spent[number] / 1e6:.2f} M env-periods")

        def done(number: int) -> None:
            bar.update(tasks[number], total=1, completed=1)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield done
        finally:
            told.put(None)
            thread.join(timeout=5)
