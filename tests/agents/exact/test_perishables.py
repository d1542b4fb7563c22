"""Perishable goods of De Moor, Gijsbrechts and Boute (2022): the shipped instances against a decision process of their own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from checkout import CHECKOUT
from scipy.stats import gamma

from echelongym.agents import load_policy
from echelongym.agents.exact import evaluate, solve
from echelongym.envs.scenario.scenario import Scenario

INSTANCES = CHECKOUT / "configs" / "scenario" / "instances"
DISCOUNTED = (1 - 0.99**365) / (1 - 0.99)  # 365 periods at 0.99, in periods
MOST = 10  # units ordered
#: Instance, periods on the shelf, lead time, freshest first, the published optimum and base-stock cost, its level.
ROWS = [
    ("perishable_fifo", 2, 1, False, 1457, 1474, 7),
    ("perishable_lifo", 2, 1, True, 1553, None, 5),
    ("perishable_lifo_three", 3, 2, True, 1513, 1533, 8),
]


def instance(name: str) -> Scenario:
    return Scenario.load(str(INSTANCES / f"{name}.yaml"))


def transitions(life: int, lead: int, freshest_first: bool) -> tuple[Any, Any, Any]:
    """Probabilities of demand, mean cost of a state without its order, and where demand leads if nothing is ordered.

    A state is what is on the shelf by periods left, the last one first, then what is on its way, each 0 to 10.
    """
    demand = np.arange(26)
    weight = np.diff(gamma.cdf(demand + 0.5, 4), prepend=0.0)
    weight /= weight.sum()
    states = np.array(list(itertools.product(range(MOST + 1), repeat=life + lead - 1)))
    cost, after = np.zeros(len(states)), np.zeros((len(states), len(demand)), dtype=np.int64)
    for column, (units, chance) in enumerate(zip(demand, weight, strict=True)):
        shelf, wanted = states[:, :life].copy(), np.full(len(states), units)
        for age in reversed(range(life)) if freshest_first else range(life):
            sold = np.minimum(shelf[:, age], wanted)
            shelf[:, age] -= sold
            wanted = wanted - sold
        cost += chance * (5 * wanted + 7 * shelf[:, 0] + shelf[:, 1:].sum(1))
        for kept in (*shelf[:, 1:].T, *states[:, life:].T):
            after[:, column] = after[:, column] * (MOST + 1) + kept
        after[:, column] *= MOST + 1
    return weight, cost, after


def long_run(weight: Any, cost: Any, after: Any, discount: float) -> float:
    """Cost a period in the long run of the policy that is optimal with a discount."""
    orders, value, best = np.arange(MOST + 1), np.zeros(len(cost)), None
    for _ in range(60):
        ahead = np.stack([3 * one + discount * (value[after + one] @ weight) for one in orders], 1)
        before, best = best, ahead.argmin(1)
        if before is not None and (before == best).all():
            break
        for _ in range(100):
            value = cost + 3 * best + discount * (value[after + best[:, None]] @ weight)
    relative = np.zeros(len(cost))
    for _ in range(3_000):
        change = cost + 3 * best + relative[after + best[:, None]] @ weight - relative
        relative = relative + 0.5 * change - relative[0]
        if np.ptp(change) < 1e-9:
            break
    return float(change.mean())


@pytest.mark.parametrize(("name", "life", "lead", "freshest_first", "optimum", "base_stock", "level"), ROWS)
def test_published_perishables_cost_what_is_published(name, life, lead, freshest_first, optimum, base_stock, level):
    scenario = instance(name)
    found = solve(scenario)
    # The mean of whole demand is exactly 4 here, which costs 0.003 % less than plain rounding.
    own = long_run(*transitions(life, lead, freshest_first), 0.99)
    assert found.value == pytest.approx(own, rel=5e-5)
    assert found.value == pytest.approx(evaluate(scenario, found.policy), rel=1e-7)
    # Published are means of simulated runs, of the policy that is optimal with discounting: the least by a little is ours.
    assert found.value * DISCOUNTED == pytest.approx(optimum, rel=1.1e-3)
    rule = evaluate(scenario, load_policy("echelon_base_stock", scenario, levels={"store": level}))
    if base_stock is not None:
        assert rule * DISCOUNTED == pytest.approx(base_stock, rel=5e-4)
    for other in (level - 1, level + 1):
        assert rule <= evaluate(scenario, load_policy("echelon_base_stock", scenario, levels={"store": other}))


@pytest.mark.parametrize(("name", "optimum"), [("fixed_order_cost", 35.021555), ("fixed_order_cost_delayed", 24.4048)])
def test_shipped_instances_with_a_fixed_order_cost_have_the_published_optimum(name, optimum):
    assert solve(instance(name)).value == pytest.approx(optimum, abs=5e-5)
