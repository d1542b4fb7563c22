"""Fit the parameters of any rule to a scenario, on worlds of its own (purpose ``tune``)."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.errors import expected, unknown
from echelongym.envs.estimators import interval
from echelongym.envs.files import write_text
from echelongym.envs.scenario import Scenario

from .rules import RULES, Rule
from .tuning_gradient import descend, window_of
from .tuning_search import evolve, pattern_search
from .tuning_worlds import COMPARED, JUDGED, Budget, Candidates, Judge

Floats = NDArray[np.float64]

METHODS = ("auto", "gradient", "cma", "search")
# Gradients, by default: a long window costs as many operations more as it has periods, and needs fewer gradients.
MOST_ITERATIONS, FEWEST_ITERATIONS, PERIODS = 60, 25, 4_000
EVALUATIONS = 60, 12  # of a search, by default: so many, and so many more a parameter
COMPARISONS = 9  # evaluations kept for comparing what gradients found


@dataclass(frozen=True, eq=False)
class Tuned:
    """A rule with the parameters found, what it costs, and what finding them took."""

    rule: Rule
    cost: float  # money a period, on fresh worlds of purpose tune
    ci95: tuple[float, float]  # of that mean
    worlds: int  # that it was judged on
    method: str
    seed: int
    env_periods: int  # simulated: worlds x periods, judging left out
    evaluations: int
    iterations: int  # gradients
    seconds: float
    targets: list[dict[str, Any]] = field(default_factory=list)  # see Target.judge

    @property
    def parameters(self) -> dict[str, Any]:
        """The rule's parameters as ``load_policy`` takes them."""
        return self.rule.parameters

    def summary(self) -> dict[str, Any]:
        """Plain data: what was found and what it took."""
        return {
            "scenario": self.rule.tables.name,
            "rule": self.rule.name,
            "parameters": self.parameters,
            "cost_per_period": {"mean": self.cost, "ci95": list(self.ci95)},
            "targets": self.targets,
            "worlds": self.worlds,
            "method": self.method,
            "seed": self.seed,
            "tuning_budget": {
                "env_periods": self.env_periods,
                "evaluations": self.evaluations,
                "iterations": self.iterations,
                "seconds": round(self.seconds, 3),
            },
        }

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``rule.yaml``, which ``load_policy`` reads, and ``tuning.json`` into ``folder``."""
        rule, summary = Path(folder) / "rule.yaml", Path(folder) / "tuning.json"
        found = self.summary()
        notes = {key: found[key] for key in ("cost_per_period", "worlds", "method", "seed", "tuning_budget")}
        self.rule.save(rule, tuning=notes)
        write_text(json.dumps(found, indent=2) + "\n", summary)
        return rule, summary


def tune(
    scenario: Scenario,
    rule: str = "echelon_base_stock",
    budget: int | None = None,
    seed: int = 0,
    worlds: int = 256,
    judged: int = 1024,
    method: str = "auto",
    progress: bool = True,
    parameters: Mapping[str, Any] | None = None,
) -> Tuned:
    """Minimise the mean cost a period over the rule's parameters, subject to the scenario's targets.

    In continuous worlds gradients of simulated costs are followed through the dynamics; in whole worlds the same is
    done on the continuous relaxation, and a search on the whole numbers themselves follows. Further lanes (express,
    lateral) take part from the start, and are left out at the end if that is better.

    Parameters
    ----------
    scenario, rule
        What is tuned for what; a rule by name.
    budget
        Env-periods (worlds x periods) to simulate at most; None: what usually suffices.
    seed, worlds
        Of the worlds candidates are compared on; purpose ``tune``.
    judged
        Number of fresh worlds, of the same purpose, on which the cost reported is measured.
    method
        ``gradient`` (not where ``units`` is integer or batches are rounded to), ``cma`` (CMA-ES, then coordinate
        search; the extra ``tune``), ``search`` (coordinate search), or ``auto``: what suits the scenario.
    progress
        Show a progress bar on the terminal.
    parameters
        Parameters of the rule that are held as given, such as ``{"allocation": "equalise"}``.

    Raises
    ------
    InputError
        For an unknown rule, method or parameter, or a budget too small for a single evaluation.
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    for name, value in (("worlds", worlds), ("judged", judged)):
        if not isinstance(value, int) or value < 2:
            raise expected(name, value, "a whole number >= 2")
    base = RULES[rule](scenario, **dict(parameters or {}))
    smooth = scenario.units == "continuous" and not scenario.tables.batch.any()
    if method == "gradient" and not smooth:
        raise expected("method", method, "search or cma, as units is integer or a lane has a batch")
    found = _Plan(scenario, base, method, smooth, seed, worlds)
    limit = found.natural_budget() if budget is None else budget
    if not isinstance(limit, int) or limit < found.judge.price:
        raise expected("budget", limit, f"at least {found.judge.price} env-periods (one evaluation of {worlds} worlds)")
    with _progress(progress, f"tune {rule}", limit) as report:
        found.judge.budget = spent = Budget(limit, report)
        best = found.run(spent)
        seconds = spent.seconds
    judge = Judge(scenario, judged, JUDGED, seed, Budget(limit))
    outcome = judge.outcome(best)
    costs = np.asarray(outcome.cost_per_period)
    mean = float(costs.mean())
    low, high = interval(mean, costs - mean)
    kpis = outcome.figures() if judge.targets else None
    return Tuned(
        rule=best,
        cost=mean,
        ci95=(low, high),
        worlds=judged,
        method=found.method,
        seed=seed,
        env_periods=spent.env_periods,
        evaluations=spent.evaluations,
        iterations=spent.iterations,
        seconds=seconds,
        targets=[target.judge(kpis) for target in judge.targets] if kpis is not None else [],
    )


class _Plan:
    """What a run of the tuner does, stage by stage."""

    def __init__(self, scenario: Scenario, base: Rule, method: str, smooth: bool, seed: int, worlds: int) -> None:
        self.scenario, self.base, self.seed = scenario, base, seed
        self.space, self.window = base.space(), window_of(scenario)
        self.judge = Judge(scenario, worlds, COMPARED, seed, Budget(0))
        self.relaxed = scenario if smooth else _relaxed(scenario)
        if method == "auto":
            installed = importlib.util.find_spec("cma") is not None
            method = "gradient" if self.relaxed is not None else "cma" if installed else "search"
        self.method = method
        self.searches = method != "gradient" or not smooth

    def natural_budget(self) -> int:
        """Env-periods that usually suffice."""
        searching = EVALUATIONS[0] + EVALUATIONS[1] * len(self.space) if self.searches else 0
        return self.gradient_budget() + (COMPARISONS + searching) * self.judge.price

    def gradient_budget(self) -> int:
        """Env-periods of that for gradients."""
        if self.method != "gradient":
            return 0
        iterations = max(min(PERIODS // self.window.periods, MOST_ITERATIONS), FEWEST_ITERATIONS)
        return iterations * self.window.worlds * self.window.periods

    def run(self, budget: Budget) -> Rule:
        """The best rule found."""
        candidates = Candidates(self.base, self.space, self.judge)
        candidates.cost(self.space.start)
        if self.method == "gradient":
            self._descend(candidates, budget)
        self._without_further_lanes(candidates)
        assert candidates.best is not None
        if self.searches and not candidates.exhausted:
            if self.method == "cma":
                # A sampler cannot move what is not used.
                used = np.where(np.isfinite(candidates.best), candidates.best, self.space.start)
                evolve(candidates, used, self.seed)
            pattern_search(candidates, candidates.best)
        return self.base.with_vector(self.space, candidates.best)

    def _descend(self, candidates: Candidates, budget: Budget) -> None:
        """Gradients, in whole worlds on the continuous relaxation."""
        rule = self.base
        if self.relaxed is not None and self.relaxed is not self.scenario:
            rule = type(self.base)(self.relaxed, **self.base.given)
        spare = budget.left - (COMPARISONS - 1) * self.judge.price  # one is spent
        # Of a budget that is given, gradients get the share that they have by default.
        share = self.gradient_budget() / (self.natural_budget() - COMPARISONS * self.judge.price)
        iterations = int(max(share * spare, 0) / (self.window.worlds * self.window.periods) + 1e-6)
        if iterations:
            for vector in descend(rule, self.space, self.space.start, iterations, self.window, self.seed, budget):
                candidates.cost(vector)

    def _without_further_lanes(self, candidates: Candidates) -> None:
        """Whether leaving out all of one kind of further lane is better than what was found with them."""
        for group in dict.fromkeys(self.space.groups):
            chosen = np.array([name == group for name in self.space.groups])
            if np.isneginf(self.space.unused[chosen]).all() and candidates.best is not None:
                if candidates.exhausted:
                    return
                candidates.cost(np.where(chosen, self.space.unused, candidates.best))


def _relaxed(scenario: Scenario) -> Scenario | None:
    """The scenario in continuous units, batches left out; None where that cannot be."""
    lanes = {
        name: {key: value for key, value in lane.items() if key != "batch"}
        for name, lane in scenario.to_dict()["lanes"].items()
    }
    try:
        return scenario.replace(units="continuous", lanes=lanes)
    except ValueError:
        return None


@contextmanager
def _progress(show: bool, title: str, total: int) -> Iterator[Any]:
    """A bar with rate and time left; yields ``report(env_periods, text)``."""
    if not show:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, rate="", text="")

        def report(env_periods: int, text: str) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed / 1000:,.0f} k env-periods/s" if speed else ""
            bar.update(task, advance=env_periods, rate=rate, text=text)

        yield report
        bar.update(task, completed=total)
