"""Brief tuning: which rules suit a scenario, by automatic numbers, and the best of them improved within a small budget.

Searches alone are used, of whole and continuous units alike: they need no package beyond the core, and no compiler.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from echelongym.envs.core.errors import InputError
from echelongym.envs.scenario.scenario import Scenario

from ..registry import RULES
from ..rules import Rule
from .judging import COMPARED, Candidates, Judge, TuningBudget
from .search import pattern_search

FIRST_WORLDS = 32  # on which all rules are compared with automatic numbers
WORLDS = 16, 128  # on which numbers of one rule are compared, at least and at most
EVALUATIONS = 40  # that a rule is to have at least, before it is given more worlds
LEADERS = 3  # rules that are tuned
BEHIND = 1.5  # times the least cost, above which a rule with automatic numbers is not tuned
ONE_BY_ONE = 16  # parameters up to which each is moved by itself, instead of all of a group together


@dataclass(frozen=True)
class Allowance:
    """What brief tuning may spend: env-periods (worlds x periods), and the CPU-time at which it ends; None: no limit."""

    env_periods: int | None
    until: float | None
    clock: Callable[[], float] = time.process_time  # what that time is of

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self.until is not None and self.clock() >= self.until


@dataclass(frozen=True, eq=False)
class BrieflyTuned:
    """Rules found, by name, the best on the worlds of tuning first, and the env-periods simulated."""

    rules: dict[str, Rule]
    env_periods: int


def sensible_rules(scenario: Scenario) -> list[str]:
    """Names of the rules that make sense for a scenario and decide from the observation alone, planners left out."""
    found = []
    for name, kind in RULES.items():
        if kind.reference or kind.slow or hasattr(kind, "start") or hasattr(kind, "made_for"):
            continue
        if kind.refusal(scenario) is None:
            found.append(name)
    return found


def tune_briefly(
    scenario: Scenario, seed: int, allowance: Allowance, first: str, purpose: str = "tune"
) -> BrieflyTuned | None:
    """The best few of the rules that make sense for a scenario, tuned a little; None where there is no room for that.

    All are run with automatic numbers on the same worlds. Those that cost least are tuned in turn, each with an equal
    share of what is left; of rules that cost the same, which do the same, one.

    Parameters
    ----------
    seed
        Of the worlds.
    first
        The rule that stands for all that cost as much as it.
    purpose
        Of the worlds.
    """
    names = sensible_rules(scenario)
    names.sort(key=lambda name: name != first)
    spent = TuningBudget(0)
    judge = Judge(scenario, FIRST_WORLDS, COMPARED, seed, spent, purpose)
    least = judge.price * len(names) + LEADERS * EVALUATIONS * WORLDS[0] * scenario.tables.horizon
    if allowance.env_periods is not None and allowance.env_periods < least:
        return None
    costs: dict[str, float] = {}
    for name in names:
        if costs and allowance.late:
            break
        try:
            costs[name] = judge.cost(RULES[name](scenario).with_needed())
        except InputError:
            continue  # a rule that finds out only now that it does not fit
    leaders: list[str] = []
    for name in sorted(costs, key=costs.__getitem__):
        same = any(costs[name] == costs[other] for other in leaders)
        behind = leaders and costs[name] > costs[leaders[0]] + (BEHIND - 1) * abs(costs[leaders[0]])
        if not same and not behind and len(leaders) < LEADERS:
            leaders.append(name)
    found: dict[str, tuple[float, Rule]] = {}
    for place, name in enumerate(leaders):
        left = len(leaders) - place
        limit = None if allowance.env_periods is None else (allowance.env_periods - spent.env_periods) // left
        now = allowance.clock()
        until = None if allowance.until is None else now + max(allowance.until - now, 0.0) / left
        own = replace(allowance, env_periods=limit, until=until)
        found[name] = _improved(scenario, name, seed, spent, own, purpose)
    order = sorted(found, key=lambda name: found[name][0])
    return BrieflyTuned({name: found[name][1] for name in order}, spent.env_periods)


class _Timed(Candidates):
    """Candidates of a search that also ends at a CPU-time."""

    allowance: Allowance | None = None

    @property
    def left(self) -> int:
        """Env-periods that may still be spent: none once it is late."""
        return 0 if self.allowance is not None and self.allowance.late else super().left


def _improved(
    scenario: Scenario, name: str, seed: int, spent: TuningBudget, allowance: Allowance, purpose: str
) -> tuple[float, Rule]:
    """Cost and rule that a search from automatic numbers ends with."""
    base = RULES[name](scenario)
    space, automatic = base.space(), base.with_needed()
    few = len(space) <= ONE_BY_ONE
    worlds = WORLDS[1] if few else FIRST_WORLDS
    if allowance.env_periods is not None:
        most = allowance.env_periods // (EVALUATIONS * scenario.tables.horizon)
        worlds = int(np.clip(most, WORLDS[0], worlds))
    judge = Judge(scenario, worlds, COMPARED, seed, spent, purpose)
    if not len(space):
        return judge.cost(automatic), automatic
    evaluations = EVALUATIONS * (len(space) + 1 if few else 2)
    limit = judge.price * evaluations if allowance.env_periods is None else allowance.env_periods
    candidates = _Timed(base, space, judge, spent.env_periods + max(limit, judge.price))
    candidates.cost(automatic.vector(space))  # in any case
    candidates.allowance = allowance
    limits, starts = np.isposinf(space.unused), base.starts(space)
    for start in starts:
        for vector in (np.where(limits, space.unused, start), start):
            if not candidates.exhausted:
                candidates.cost(vector)
    best = candidates.best
    assert best is not None
    # A limit that is left out cannot be moved: the search begins with limits in use.
    pattern_search(candidates, np.where(limits & ~np.isfinite(best), starts[0], best), together=not few)
    assert candidates.best is not None
    return candidates.best_cost, base.with_vector(space, candidates.best)
