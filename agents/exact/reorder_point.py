"""Optimal (s, S) rule of one store with backorders and a fixed cost an order.

Y.-S. Zheng and A. Federgruen, Finding Optimal (s, S) Policies Is About As Simple As Evaluating a Single Policy,
Operations Research 39(4), 1991.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.scenario.scenario import Scenario

from ..rules import ReorderPointOrderUpTo
from .answer import Exact
from .lattice import LONGEST, extrapolated, total_of
from .structure import Chain, chain_of


@dataclass(frozen=True, eq=False)
class _Found:
    low: int  # s, in steps
    high: int  # S
    cost: float


def reorder_point(scenario: Scenario) -> Exact:
    """Optimal reorder point s, order-up-to level S and their cost.

    With G(y) the expected holding and backorder cost of a period with position y, m(j) the renewal density of demand
    and M its sum, the cost of a rule is (K + sum over j < S - s of m(j) G(S - j)) / M(S - s); the search moves s and S
    outwards from the minimum of G as long as that lowers it.

    Raises
    ------
    InputError
        Naming what makes the scenario no such store.
    """
    chain = chain_of(scenario, "reorder_point", most_stages=1, fixed_cost=True)
    customer = next(iter(scenario.customers))
    if chain.lost_share > 0:
        field = f"customers.{customer}.lost_share"
        raise expected(field, chain.lost_share, "0 (backorders) for method reorder_point", scenario.name)
    for field, cost in (
        (f"customers.{customer}.backorder_cost", chain.backorder_cost),
        (f"nodes.{chain.nodes[0]}.holding_cost", chain.holding[0]),
    ):
        if cost <= 0:
            raise expected(field, cost, "> 0 for method reorder_point", scenario.name)
    costs, low, high = [], 0.0, 0.0
    for step in chain.law.steps():
        found = search(chain, step)
        low, high = found.low * step, found.high * step
        costs.append(found.cost + chain.constant_cost)
    value, error = extrapolated(costs)
    node = chain.nodes[0]
    notes = ["error is " + ("of rounding" if len(costs) == 1 else "estimated from lattices of demand")]
    parameters = {"reorder_points": {node: low}, "levels": {node: high}}
    rule = ReorderPointOrderUpTo(scenario, **parameters)
    return Exact(value, "reorder_point", rule, parameters, error, tuple(notes))


def search(chain: Chain, step: float) -> _Found:
    """The rule of least cost on a lattice."""
    weights = chain.law.weights(step)
    costs = _period_costs(chain, step, weights)
    renewal = _Renewal(weights)
    best = costs.lowest()
    fixed = chain.fixed_cost
    # With S at the minimum of G, s moves down until G there is as high as the cost of the rule.
    low = best - 1
    while _cost(costs, renewal, fixed, low, best) > costs.at(low):
        low -= 1
    found = _Found(low, best, _cost(costs, renewal, fixed, low, best))
    high = best + 1
    while costs.at(high) <= found.cost:
        cost = _cost(costs, renewal, fixed, found.low, high)
        if cost < found.cost:
            low = found.low
            while cost <= costs.at(low + 1) and low + 1 < high - 1:
                low += 1
                cost = _cost(costs, renewal, fixed, low, high)
            found = _Found(low, high, cost)
        high += 1
    return found


class _PeriodCosts:
    """G(y), y in steps; linear below 0 and beyond the law's reach."""

    def __init__(self, chain: Chain, total: Floats, step: float) -> None:
        self.chain, self.step = chain, step
        points = step * np.arange(len(total))
        self.mean = math.fsum(points * total)
        tail = np.append(total[::-1].cumsum()[::-1][1:], 0.0)
        short = step * tail[::-1].cumsum()[::-1]
        self.values = chain.holding[0] * (points - self.mean) + (chain.holding[0] + chain.backorder_cost) * short

    def lowest(self) -> int:
        return int(self.values.argmin())

    def at(self, index: int) -> float:
        if index < 0:
            return self.chain.backorder_cost * (self.mean - index * self.step)
        if index >= len(self.values):
            return self.chain.holding[0] * (index * self.step - self.mean)
        return float(self.values[index])

    def down_from(self, high: int, count: int) -> Floats:
        index = high - np.arange(count)
        inside = self.values[np.clip(index, 0, len(self.values) - 1)]
        below = self.chain.backorder_cost * (self.mean - index * self.step)
        above = self.chain.holding[0] * (index * self.step - self.mean)
        return np.asarray(np.where(index < 0, below, np.where(index >= len(self.values), above, inside)))


def _period_costs(chain: Chain, step: float, weights: Floats) -> _PeriodCosts:
    return _PeriodCosts(chain, total_of(weights, chain.lead[0] + 1), step)


class _Renewal:
    """m(j), expected number of periods that open with a position j below S, made longer on demand."""

    def __init__(self, weights: Floats) -> None:
        self.weights = weights
        self.density = np.array([1.0 / (1.0 - weights[0])])

    def up_to(self, count: int) -> Floats:
        while len(self.density) < count:
            if len(self.density) >= LONGEST:
                raise InputError(f"a rule that waits for a demand of {count} steps: expected a smaller fixed_cost")
            known, size = self.density, min(max(64, 2 * len(self.density)), LONGEST)
            grown = np.zeros(size)
            grown[: len(known)] = known
            reach = len(self.weights) - 1
            for j in range(len(known), size):
                k = min(j, reach)
                grown[j] = self.weights[1 : k + 1] @ grown[j - k : j][::-1] / (1.0 - self.weights[0])
            self.density = grown
        return self.density[:count]


def _cost(costs: _PeriodCosts, renewal: _Renewal, fixed: float, low: int, high: int) -> float:
    density = renewal.up_to(high - low)
    return float((fixed + density @ costs.down_from(high, high - low)) / density.sum())
