"""Search for a rule's best whole-number parameters, every candidate evaluated exactly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from echelongym.envs.core.errors import InputError, expected, unknown
from echelongym.envs.core.typing import Floats
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.envs.storage.journal import step

from ..registry import RULES
from ..rules import Rule, Space
from .evaluation import evaluate
from .markov.bellman import TooManyStates, Unsettled

SMALL_ENOUGH = 60_000  # states of a candidate that is evaluated as soon as it is met; larger ones wait
LARGEST = 1_000_000  # states of a candidate that is evaluated at all
WORLDS, PERIODS = 64, 400  # by which candidates that wait are simulated first
STANDARD_ERRORS = 6.0  # by which the simulated cost of a candidate must exceed the least cost for it to be left out
GRID = 400  # combinations of given ranges up to which all are tried


def best(
    scenario: Scenario,
    rule: str,
    ranges: Mapping[str, tuple[int, int]] | None = None,
    parameters: Mapping[str, Any] | None = None,
    max_states: int = LARGEST,
    progress: Callable[[str], None] | None = None,
) -> tuple[Rule, float]:
    """Best whole-number parameters of a rule, and their exact long-run average cost.

    Single numbers and pairs of them are moved, in ever smaller steps, until no number, no pair and no number by two
    moved lowers the cost. That finds the optimum where costs fall towards it along such moves; where ``ranges`` of all
    parameters hold few combinations, all of them are tried instead.

    A candidate with many states, or of a chain that does not settle, is set aside at first. Before anything is called the
    best, every candidate set aside is evaluated, too, unless a simulation of 25,600 periods puts its cost six standard
    errors above the least.

    Parameters
    ----------
    scenario
        As for :func:`echelongym.agents.exact.evaluate`.
    rule
        Name of a rule.
    ranges
        Lowest and highest value (both included) by parameter (``levels.store``); left out: no limits but the rule's.
    parameters
        Of the rule, held as given (``{"allocation": "equalise"}``); the others are searched.
    max_states
        Limit of states of a candidate.

    Returns
    -------
    The rule, and money a period.

    Raises
    ------
    InputError
        If a name is unknown, no candidate has a finite cost, or one that may be the best has more than ``max_states``
        or a chain that does not settle.
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    base = RULES[rule](scenario, **dict(parameters or {}))
    space = base.space()
    search = _Search(scenario, base, space, dict(ranges or {}), max_states, progress)
    if ranges and len(ranges) == len(space):
        sizes = search.high - search.low + 1
        if np.prod(sizes) <= GRID:
            options = [range(int(a), int(b) + 1) for a, b in zip(search.low, search.high, strict=True)]
            for point in itertools.product(*options):
                search.cost(np.array(point, dtype=np.float64))
            search.settle()
            return search.result()
    search.run()
    while search.settle():
        search.run()
    return search.result()


class _Search:
    def __init__(
        self,
        scenario: Scenario,
        base: Rule,
        space: Space,
        ranges: dict[str, tuple[int, int]],
        max_states: int,
        progress: Any,
    ) -> None:
        self.scenario, self.base, self.space = scenario, base, space
        self.max_states, self.progress = max_states, progress
        self.known: dict[tuple[float, ...], float] = {}
        self.waiting: list[
            tuple[float, ...]
        ] = []  # candidates that have no cost yet, which count as infinitely costly so far
        self.limit = min(SMALL_ENOUGH, max_states)
        self.low, self.high = np.maximum(space.lower, -1e6), np.full(len(space), 1e6)
        for name, (low, high) in ranges.items():
            if name not in space.names:
                raise unknown("ranges", name, space.names)
            if low > high:
                raise expected(f"ranges.{name}", (low, high), "lowest <= highest")
            place = space.names.index(name)
            self.low[place], self.high[place] = low, high
        self.start = np.clip(np.rint(space.start), self.low, self.high)

    def cost(self, point: Floats) -> float:
        """Exact cost at a point, infinite where it cannot be had."""
        key = tuple(point.tolist())
        if key not in self.known:
            if (point < self.low).any() or (point > self.high).any():
                self.known[key] = np.inf
                return np.inf
            found = self._exact(key, self.limit)
            if found is None or np.isnan(found):
                self.waiting.append(key)
                found = np.inf
            self.known[key] = found
            if self.progress is not None:
                self.progress(f"{self._named(key)}: {self.known[key]:.8g}")
        return self.known[key]

    def _rule(self, key: tuple[float, ...]) -> Rule:
        return self.base.with_vector(self.space, np.array(key)) if key else self.base

    def _named(self, key: tuple[float, ...]) -> dict[str, float]:
        return dict(zip(self.space.names, key, strict=True))

    def _exact(self, key: tuple[float, ...], limit: int) -> float | None:
        """Exact cost of a candidate, NaN where its chain does not settle; None where it has too many states."""
        rule = self._rule(key)

        def compute() -> float | None:
            try:
                return evaluate(self.scenario, rule, limit)
            except TooManyStates:
                return None
            except Unsettled:
                return float(np.nan)

        return step("exact: cost of a candidate", [self.scenario.digest, rule.name, rule.parameters, limit], compute)

    def settle(self) -> bool:
        """Evaluate the candidates set aside that may be the best; whether one is, so that the search goes on from it."""
        waiting, self.waiting = self.waiting, []
        before = least = min(self.known.values())
        estimates = {key: self._simulated(key) for key in waiting}
        for key in sorted(waiting, key=lambda key: estimates[key][0]):
            mean, error = estimates[key]
            if mean - STANDARD_ERRORS * error > least:
                continue
            found = self._exact(key, self.max_states)
            if found is None:
                raise InputError(
                    f"{self.base.name}: {self._named(key)} may be the best and has more than {self.max_states} states: "
                    "expected a larger max_states, or ranges without it"
                )
            if np.isnan(found):
                raise InputError(
                    f"{self.base.name}: {self._named(key)} may be the best and has no exact cost, as its chain does not "
                    "settle: expected ranges without it"
                )
            self.known[key] = found
            if self.progress is not None:
                self.progress(f"{self._named(key)}: {self.known[key]:.8g}")
            least = min(least, self.known[key])
        if least < before:
            self.limit = self.max_states  # the optimum lies where there are many states
            self.start = np.array(min(self.known, key=lambda key: self.known[key]))
        return least < before

    def _simulated(self, key: tuple[float, ...]) -> tuple[float, float]:
        """Cost a period of a candidate over the second half of some worlds, and its standard error."""
        tape = self.scenario.sample(WORLDS, 0, "tune", PERIODS)
        costs = simulate(self.scenario, self._rule(key), tape, trace=True, kpis=False).trace.costs
        lines = [np.asarray(line) for name, line in costs.items() if name not in ("revenue", "terminal")]
        by_world = np.sum(lines, axis=0)[PERIODS // 2 :].mean(0)
        return float(by_world.mean()), float(by_world.std(ddof=1)) / np.sqrt(WORLDS)

    def run(self) -> None:
        n = len(self.space)
        point, value = self.start, self.cost(self.start)
        if not n:
            return
        widest = np.maximum(np.rint(self.space.scale), 1.0)
        for divisor in (1.0, 2.0, 4.0, 8.0, np.inf):
            step = np.maximum(np.rint(widest / divisor), 1.0)
            last = divisor == np.inf
            if not last and (step == 1).all():
                continue
            point, value = self._descend(point, value, step, last)

    def _descend(self, point: Floats, value: float, step: Floats, thorough: bool) -> tuple[Floats, float]:
        while True:
            moves = list(_moves(len(point), thorough))
            for move in moves:
                other = point + step * move
                cost = self.cost(other)
                if cost < value - 1e-12 * max(1.0, abs(value)):
                    # Going on in a direction that pays.
                    while cost < value:
                        point, value = other, cost
                        other = point + step * move
                        cost = self.cost(other)
                    break
            else:
                return point, value

    def result(self) -> tuple[Rule, float]:
        """The cheapest point looked at; of equal ones the lowest."""
        least = min(self.known.values())
        if not np.isfinite(least):
            raise InputError(
                f"{self.base.name}: no parameters with a finite cost found: expected ranges to look in, or more than "
                f"max_states = {self.max_states}"
            )
        key = min(key for key, cost in self.known.items() if cost <= least + 1e-10 * max(1.0, abs(least)))
        return RULES[self.base.name](self.scenario, **self._rule(key).parameters), least


def _moves(n: int, thorough: bool) -> Any:
    """Directions: one number, two numbers, and at last one number by two."""
    for i in range(n):
        for sign in (1.0, -1.0):
            move = np.zeros(n)
            move[i] = sign
            yield move
    for i, j in itertools.combinations(range(n), 2):
        for a, b in ((1.0, -1.0), (-1.0, 1.0), (1.0, 1.0), (-1.0, -1.0)):
            move = np.zeros(n)
            move[i], move[j] = a, b
            yield move
    if thorough:
        for i in range(n):
            for sign in (2.0, -2.0, 3.0, -3.0):
                move = np.zeros(n)
                move[i] = sign
                yield move
