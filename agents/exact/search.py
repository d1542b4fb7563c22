"""The best whole numbers for a rule's parameters, every candidate evaluated exactly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from echelongym.envs.errors import InputError, expected, unknown
from echelongym.envs.journal import step
from echelongym.envs.scenario import Scenario

from ..rules import RULES, Rule, Space
from .bellman import Unsettled
from .chance import Floats
from .evaluation import evaluate

SMALL_ENOUGH = 60_000  # states of a candidate worth looking at
GRID = 400  # combinations of given ranges up to which all are tried


def best(
    scenario: Scenario,
    rule: str,
    ranges: Mapping[str, tuple[int, int]] | None = None,
    parameters: Mapping[str, Any] | None = None,
    max_states: int = SMALL_ENOUGH,
    progress: Callable[[str], None] | None = None,
) -> tuple[Rule, float]:
    """Best whole-number parameters of a rule, and their exact long-run average cost.

    Single numbers and pairs of them are moved, in ever smaller steps, until no number, no pair and no number by two
    moved lowers the cost. That finds the optimum where costs fall towards it along such moves; where ``ranges`` of all
    parameters hold few combinations, all of them are tried instead.

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
        A candidate with more states counts as infinitely costly.

    Returns
    -------
    The rule, and money a period.

    Raises
    ------
    InputError
        If a name is unknown, or no candidate has a finite cost.
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
            return search.result()
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
            rule = self.base.with_vector(self.space, point) if len(point) else self.base

            def compute() -> float:
                try:
                    return evaluate(self.scenario, rule, self.max_states)
                except Unsettled:
                    return float(np.inf)

            candidate = [self.scenario.digest, rule.name, rule.parameters, self.max_states]
            self.known[key] = step("exact: cost of a candidate", candidate, compute)
            if self.progress is not None:
                self.progress(f"{dict(zip(self.space.names, key, strict=True))}: {self.known[key]:.8g}")
        return self.known[key]

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
        self.point = point

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
        point = np.array(key)
        given = self.base.with_vector(self.space, point) if len(point) else self.base
        return RULES[self.base.name](self.scenario, **given.parameters), least


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
