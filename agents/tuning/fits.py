"""Fits of one rule: from its own starts, and from disturbed ones where more are wanted, of which the best is kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from echelongym.envs.core.devices import chosen_name
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.workers.cores import WITH_GRADIENTS, pays
from echelongym.envs.workers.pieces import Piece, in_order

from ..registry import RULES
from ..rules import Rule
from .judging import Candidates, TuningBudget
from .progress import ReportStage, progress_of
from .stages import TuningPlan

LAST = 0.25  # share of what was spent, the last, whose gain says whether more would have helped


def check_limit(limit: int, price: int, worlds: int, refit: int) -> None:
    """Refuse a budget in env-periods that is too small for an evaluation of each fit.

    Raises
    ------
    InputError
        Naming the least.
    """
    least = price * (refit + 1)
    if limit < least:
        each = f"one evaluation of {worlds} worlds{' a fit' if refit else ''}"
        raise expected("budget", limit, f"at least {least} env-periods ({each})")


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search ended with."""

    rule: Rule
    method: str
    ended: str
    spent: TuningBudget
    seconds: float
    earlier: Rule | None = None  # the best that was known before the last share of what was spent
    refits: list[float] = field(default_factory=list)
    cpu_seconds_of_workers: float = 0.0


def search(
    plan: TuningPlan,
    rule: str,
    budget: int | None,
    tolerance: float,
    patience: float,
    refit: int,
    progress: bool,
    report: ReportStage | None,
) -> SearchResult:
    """Run the plan, and run it again from other starts where refits are wanted."""
    if not len(plan.space):
        return SearchResult(plan.base, "none", "converged", TuningBudget(0), 0.0)
    fits = refit + 1
    limit = plan.natural_budget() * fits if budget is None else budget
    check_limit(limit, plan.judge.price, plan.judge.worlds, refit)
    with progress_of(progress, f"tune {rule}", limit, report) as told:
        spent = TuningBudget(limit, told)
        together = fits * plan.seconds()
        # Several workers would not share a GPU: each takes most of its memory.
        beside = budget is None and fits > 1 and chosen_name() == "cpu"
        if beside and pays(fits, together, WITH_GRADIENTS):
            found = _side_by_side(plan, rule, tolerance, patience, fits, spent)
        else:
            found = _in_turn(plan, budget, tolerance, patience, fits, spent)
        seconds = spent.seconds
    best = min(range(fits), key=lambda number: found[number].best_cost)
    known = sorted((entry for one in found for entry in one.history), key=lambda entry: entry[0])
    vector, earlier = found[best].best, known[0]
    for entry in known:
        if entry[0] <= (1 - LAST) * spent.env_periods and entry[2] < earlier[2]:
            earlier = entry
    fitted = plan.base.with_vector(plan.space, vector)
    same = np.array_equal(earlier[1], vector)
    return SearchResult(
        rule=fitted,
        method=plan.method,
        ended=found[best].ending,
        spent=spent,
        seconds=seconds,
        earlier=fitted if same else plan.base.with_vector(plan.space, earlier[1]),
        refits=[one.best_cost for one in found] if refit else [],
        cpu_seconds_of_workers=sum(one.cpu_seconds for one in found),
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    """What one fit ended with, as plain data."""

    best: Floats
    best_cost: float
    history: list[tuple[int, Floats, float]]  # see Candidates
    ending: str
    closest: dict[str, float]  # see Judge
    counts: tuple[int, int, int] = (0, 0, 0)  # env-periods, evaluations and iterations of a worker
    cpu_seconds: float = 0.0  # of a worker


def _in_turn(
    plan: TuningPlan, budget: int | None, tolerance: float, patience: float, fits: int, spent: TuningBudget
) -> list[_Fit]:
    """All fits in this process; of a budget that is given each has an equal share of what is left."""
    plan.judge.budget = spent
    found = []
    for number in range(fits):
        left = (spent.limit - spent.env_periods) // (fits - number)
        end = spent.env_periods + (left if budget is not None else plan.natural_budget())
        found.append(_one(plan, end, tolerance, patience, number))
    return found


def _side_by_side(
    plan: TuningPlan, rule: str, tolerance: float, patience: float, fits: int, spent: TuningBudget
) -> list[_Fit]:
    """All fits in workers; what they have spent counts as if it had been spent in turn."""
    natural, heard = plan.natural_budget(), [0.0] * fits

    def listener(number: int, share: float, text: str) -> None:
        more, heard[number] = max(share - heard[number], 0.0), max(share, heard[number])
        if spent.report is not None and text:
            spent.report(int(more * natural), text)

    given = (plan.scenario, rule, plan.base.given, plan.asked, plan.seed, plan.judge.worlds, plan.gradient)
    pieces = [Piece(_alone, (*given, tolerance, patience, number)) for number in range(fits)]
    found = []
    for one in in_order(pieces, fits * plan.seconds(), WITH_GRADIENTS, listener):
        before = spent.env_periods
        found.append(replace(one, history=[(before + when, vector, cost) for when, vector, cost in one.history]))
        spent.env_periods += one.counts[0]
        spent.evaluations += one.counts[1]
        spent.iterations += one.counts[2]
        for name, short in one.closest.items():
            plan.judge.closest[name] = min(plan.judge.closest.get(name, np.inf), short)
    return found


def _alone(
    scenario: Scenario,
    rule: str,
    parameters: Mapping[str, Any],
    method: str,
    seed: int,
    worlds: int,
    gradient: str,
    tolerance: float,
    patience: float,
    number: int,
) -> _Fit:
    """One fit in a worker."""
    started = time.process_time()
    plan = TuningPlan(scenario, RULES[rule](scenario, **parameters), method, seed, worlds, gradient)
    with progress_of(False, f"fit {number + 1}", plan.natural_budget(), None) as told:
        plan.judge.budget = spent = TuningBudget(plan.natural_budget(), told)
        found = _one(plan, plan.natural_budget(), tolerance, patience, number)
    counts = (spent.env_periods, spent.evaluations, spent.iterations)
    return replace(found, counts=counts, cpu_seconds=time.process_time() - started)


def _one(plan: TuningPlan, end: int, tolerance: float, patience: float, number: int) -> _Fit:
    candidates = Candidates(plan.base, plan.space, plan.judge, end, tolerance, patience)
    plan.run(candidates, number)
    assert candidates.best is not None
    return _Fit(candidates.best, candidates.best_cost, candidates.history, plan.endings[-1], dict(plan.judge.closest))
