"""Tuner of a rule's parameters on worlds of its own (purpose ``tune``)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.envs.core.devices import check_device, device_named, on_device
from echelongym.envs.core.errors import expected, unknown
from echelongym.envs.core.typing import Floats
from echelongym.envs.core.validation import is_number
from echelongym.envs.interface.feasibility import check_feasible
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import write_text
from echelongym.envs.worlds.world_sample import ANY, NON_NEGATIVE, WorldSample, cost_limits, sample_of

from ..registry import RULES
from ..rules import Rule
from ..service_targets import MISSED
from .differentiation import GRADIENTS
from .fits import SearchResult, check_limit, search
from .judging import JUDGED, Judge, TuningBudget
from .progress import ReportStage, progress_of
from .stages import METHODS, TuningPlan

MOST_REFITS = 20
WORTH = 0.1  # percent of cost that is worth more budget


@dataclass(frozen=True, eq=False)
class Tuned:
    """A rule with the parameters found, what it costs, what finding them took, and whether more would have helped."""

    rule: Rule
    cost: float  # money a period, on fresh worlds of purpose tune
    ci95: tuple[float, float]  # of that mean; NaN where there is no interval
    ci95_record: tuple[float, float] | None  # the narrower one of worlds that are drawn from a record
    sample: WorldSample  # what the worlds that it was judged on are a sample of
    worlds: int  # that it was judged on
    compared: int  # worlds that candidates were compared on
    method: str  # gradient, cma, optuna, search, or several of them in turn; none; own
    seed: int
    budget: int | None  # env-periods given; None: what usually suffices
    env_periods: int  # simulated: worlds x periods, judging left out
    evaluations: int
    iterations: int  # gradients
    seconds: float
    cpu_seconds: float
    ended: str  # budget: spent; patience: too little was gained lately; converged: nothing better in reach
    targets: list[dict[str, Any]] = field(default_factory=list)  # see Target.judge; "missing_at_best" of a missed one
    more_budget: dict[str, Any] | None = None  # see more_budget; None where nothing was searched
    refits: list[float] = field(default_factory=list)  # cost of each fit on the worlds compared, the first one's first

    @property
    def parameters(self) -> dict[str, Any]:
        """The rule's parameters as ``load_policy`` takes them."""
        return self.rule.parameters

    def summary(self) -> dict[str, Any]:
        """Plain data: what was found and what it took."""
        record = {} if self.ci95_record is None else {"ci95_record": list(self.ci95_record)}
        return {
            "scenario": self.rule.tables.name,
            "rule": self.rule.name,
            "parameters": self.parameters,
            "cost_per_period": {
                "mean": self.cost,
                "ci95": [None if end != end else end for end in self.ci95],
                **record,
            },
            "intervals": self.sample.to_dict(),
            "targets": self.targets,
            "worlds": self.worlds,
            "worlds_compared": self.compared,
            "method": self.method,
            "seed": self.seed,
            "ended": self.ended,
            "more_budget": self.more_budget,
            "refits": {"costs": self.refits, "spread_percent": spread_percent(self.refits)} if self.refits else None,
            "tuning_budget": {
                "given": self.budget,
                "env_periods": self.env_periods,
                "evaluations": self.evaluations,
                "iterations": self.iterations,
                "seconds": round(self.seconds, 3),
                "cpu_seconds": round(self.cpu_seconds, 3),
            },
        }

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``rule.yaml``, which ``load_policy`` reads, and ``tuning.json`` into ``folder``."""
        rule, summary = Path(folder) / "rule.yaml", Path(folder) / "tuning.json"
        found = self.summary()
        notes = {key: found[key] for key in found if key not in ("scenario", "rule", "parameters")}
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
    tolerance: float = 0.0002,
    patience: float = 0.25,
    refit: int = 0,
    report: ReportStage | None = None,
    gradient: str = "auto",
    device: str = "cpu",
) -> Tuned:
    """Minimise the mean cost a period over the rule's parameters, subject to the scenario's targets.

    Where costs have useful gradients these are followed through the dynamics, in whole worlds on the continuous
    relaxation; numbers without (thresholds) and whole units are left to a sampler, which starts where gradients ended.
    Secondary lanes (express, lateral) take part from the start, and are left out where that is better; limits (caps) are
    freed once the rest is tuned. A rule that is made another way (a class method ``made_for``) makes itself.

    Parameters
    ----------
    scenario, rule
        What is tuned for what; a rule by name.
    budget
        Env-periods (worlds x periods) to simulate at most, whatever the rule; None: what usually suffices.
    seed, worlds
        Of the worlds candidates are compared on; purpose ``tune``.
    judged
        Number of fresh worlds, of the same purpose, on which the cost reported is measured.
    method
        ``gradient`` (not where ``units`` is integer, batches are rounded to, or a rule has thresholds), ``cma``
        (CMA-ES) or ``optuna`` (tree-structured Parzen estimator), both of the extra ``tune`` and followed by a
        coordinate search, ``search`` (coordinate search alone), or ``auto``: what suits rule and scenario.
    progress
        Show a progress bar on the terminal.
    parameters
        Parameters of the rule that are held as given, such as ``{"allocation": "equalise"}``.
    tolerance, patience
        Stop a stage early when the last share ``patience`` of its budget, or the last leg along gradients, lowered the
        cost by less than the share ``tolerance``. 0 and 1: never.
    refit
        Further fits from disturbed starts; the best of all is kept, and their spread reported. A budget given is
        shared equally.
    report
        Called with the env-periods simulated since the last call and a text; instead of the bar.
    gradient
        What takes the gradients: ``jax`` (extra ``jax``), ``torch`` (extra ``train``), or ``auto``, JAX where it is installed
        and can trace the rule, else PyTorch. Both give the same gradients but for rounding in single precision.
    device
        Where JAX takes them: ``cpu`` or ``gpu``.

    Raises
    ------
    InputError
        For an unknown rule, method, gradient, device or parameter, a device that is not there, a number out of bounds, a
        scenario that the rule makes no sense for, nothing that can ever reach a customer, or a budget too small for a
        single evaluation.
    """
    if not isinstance(scenario, Scenario):
        raise expected("scenario", scenario, "a Scenario, as Scenario.load gives")
    if check_device(device) != "cpu":
        if gradient == "torch":
            raise expected("device", device, "cpu where the gradient is torch")
        device_named(device)
        gradient = "jax" if gradient == "auto" else gradient
    for name, word, known in (("rule", rule, RULES), ("method", method, METHODS), ("gradient", gradient, GRADIENTS)):
        if not isinstance(word, str) or word not in known:
            raise unknown(name, word, known)
    numbers = {
        "worlds": worlds,
        "judged": judged,
        "seed": seed,
        "refit": refit,
        "tolerance": tolerance,
        "patience": patience,
    }
    for name, value in (numbers if budget is None else {**numbers, "budget": budget}).items():
        if not is_number(value):
            raise expected(name, value, "a number")
    for name, value in (("worlds", worlds), ("judged", judged)):
        if not isinstance(value, int) or value < 2:
            raise expected(name, value, "a whole number >= 2")
    for name, share in (("tolerance", tolerance), ("patience", patience)):
        if not 0 <= share <= 1:
            raise expected(name, share, "a number from 0 to 1")
    if not isinstance(refit, int) or not 0 <= refit <= MOST_REFITS:
        raise expected("refit", refit, f"a whole number from 0 to {MOST_REFITS}")
    if budget is not None and (not isinstance(budget, int) or budget < 1):
        raise expected("budget", budget, "a whole number >= 1 of env-periods, or null")
    check_feasible(scenario)
    sample = sample_of(scenario, judged, seed, "tune", first=JUDGED)
    judge = Judge(scenario, sample.worlds, JUDGED, seed, TuningBudget(0))
    started = time.process_time()
    made_for = getattr(RULES[rule], "made_for", None)
    if made_for is not None:
        with progress_of(progress, f"tune {rule}", budget, report) as told:
            spent = TuningBudget(budget or 0, told)
            made = made_for(scenario, budget, seed, worlds, spent.spend, **dict(parameters or {}))
            seconds = spent.seconds
        found = SearchResult(
            made, "own", "budget" if budget and spent.env_periods >= budget else "converged", spent, seconds
        )
    else:
        base = RULES[rule](scenario, **dict(parameters or {}))
        plan = TuningPlan(scenario, base, method, seed, worlds, gradient)
        with on_device(device):
            found = search(plan, rule, budget, tolerance, patience, refit, progress, report)
        judge.closest = plan.judge.closest
    cpu_seconds = time.process_time() - started + found.cpu_seconds_of_workers
    last = judge.judged(found.rule, sample)
    costs, mean = last.costs, float(last.costs.mean())
    estimate = sample.estimate(mean, costs - mean, cost_limits(costs))
    more = None
    if found.earlier is not None:
        before = last if found.earlier is found.rule else judge.judged(found.earlier, sample)
        judge.remember(before.missing)
        judge.remember(last.missing)
        more = more_budget(before.penalised, last.penalised, found.ended, sample)
    return Tuned(
        rule=found.rule,
        cost=mean,
        ci95=tuple(estimate["ci95"]),
        ci95_record=tuple(estimate["ci95_record"]) if sample.has_record else None,
        sample=sample,
        worlds=sample.worlds,
        compared=worlds,
        method=found.method,
        seed=seed,
        budget=budget,
        env_periods=found.spent.env_periods,
        evaluations=found.spent.evaluations,
        iterations=found.spent.iterations,
        seconds=found.seconds,
        cpu_seconds=cpu_seconds,
        ended=found.ended,
        targets=[_with_closest(target, judge.closest) for target in last.targets],
        more_budget=more,
        refits=found.refits,
    )


def check_budget(scenario: Scenario, rule: str, budget: int | None, worlds: int, refit: int) -> None:
    """Refuse what :func:`tune` would refuse of a rule and a budget, before anything else is begun.

    Raises
    ------
    InputError
        For a scenario that the rule makes no sense for, or a budget too small for a single evaluation.
    """
    if hasattr(RULES[rule], "made_for"):
        return
    if len(RULES[rule](scenario).space()) and budget is not None:
        check_limit(budget, worlds * scenario.tables.horizon, worlds, refit)


def more_budget(before: Floats, after: Floats, ended: str, sample: WorldSample | None = None) -> dict[str, Any]:
    """Saving in the last quarter of the budget, which is the most that more of it could be expected to bring.

    Parameters
    ----------
    before, after
        (B,) costs of the best rule known before that quarter, and of the one found, on the same fresh worlds; where there
        are targets, raised by what is missing of them.
    ended
        Why tuning ended.
    sample
        What the worlds are a sample of; left out: independent worlds.

    Returns
    -------
    ``{"gain_percent": {"mean", "ci95"}, "verdict", "text"}``: the fall in cost relative to ``after``, a paired ratio of
    means, and ``no`` (its interval, or the gain where there is none, ends below 0.1 %) or ``maybe``.
    """
    sample = sample or WorldSample(len(after))
    mean = float(after.mean())
    gains = 100 * (np.asarray(before) - np.asarray(after)) / (abs(mean) or 1.0)
    gain = float(gains.mean())
    around = gains - (gain * after / mean if mean else gain)
    limits = (-100.0, np.inf) if mean and cost_limits(before, after) == NON_NEGATIVE else ANY
    found = sample.estimate(gain, around, limits)
    low, high = found["ci95"]
    known = sample.kind != "none"
    # What is compared are two rules in these worlds: one world or history says what it says of itself.
    verdict = "no" if (high if known else gain) < WORTH else "maybe"
    said = {"no": "would not have helped", "maybe": "might have helped"}[verdict]
    why = {"budget": "it was spent", "patience": "it ended early", "converged": "nothing better was in reach"}[ended]
    interval = f" [{low:.2g}, {high:.2g}]" if known else ""
    text = f"more budget {said}: its last quarter brought {gain:.2g} %{interval}; {why}"
    return {"gain_percent": {**found, "ci95": [low, high] if known else None}, "verdict": verdict, "text": text}


def spread_percent(costs: list[float]) -> float:
    """Largest less smallest cost of several fits, in percent of the smallest."""
    return 100 * (max(costs) - min(costs)) / max(abs(min(costs)), 1e-12)


def _with_closest(target: Mapping[str, Any], closest: Mapping[str, float]) -> dict[str, Any]:
    """A target's estimate and status; of a missed one, how close the closest of all candidates came."""
    missing = target["status"] == MISSED and target["name"] in closest
    return {**target, "missing_at_best": closest[target["name"]]} if missing else dict(target)
