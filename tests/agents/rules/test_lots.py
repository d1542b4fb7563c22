"""Batches and minimum orders: plans, levels and the rolling horizon find room for them, against computations made here."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from ordering_store import store

from echelongym.agents import load_policy
from echelongym.agents.planning.open_loop import OpenLoopPlan, plan_open_loop, saved_up
from echelongym.agents.planning.rolling import RollingHorizon
from echelongym.envs import Scenario, simulate

LOTS: list[dict[str, float]] = [{"minimum_order": 20}, {"batch": 20}, {"minimum_order": 20, "batch": 8}, {"batch": 5}]
LOST = {"customers.people.lost_share": 1, "customers.people.lost_sale_cost": 20, "customers.people.backorder_cost": 0}


def with_lots(lots: dict[str, float], **changes: Any) -> Scenario:
    return store(**{f"lanes.truck.{key}": value for key, value in lots.items()}, **changes)


def lot_of(lots: dict[str, float]) -> float:
    """The least order: a minimum is raised to whole batches."""
    batch = lots.get("batch", 1)
    return max(batch, math.ceil(lots.get("minimum_order", 0) / batch) * batch)


# Open loop -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lots", LOTS, ids=str)
@pytest.mark.parametrize("units", ["integer", "continuous"])
def test_what_a_plan_rounds_off_is_asked_for_later(lots: dict[str, float], units: str) -> None:
    """3 a day: orders are such as the lane takes, a tenth of a lot behind the plan at most, nine tenths ahead.

    Holding costs 1, waiting 9: lots that come late for a tenth of their cycle are best. Plans are of whole days.
    """
    scenario = with_lots(lots, horizon=40, warm_up=0, units=units)
    plan = saved_up(scenario, np.full((40, 1, 1), 3.0))
    least, batch = lot_of(lots), lots.get("batch", 1)
    assert ((plan == 0) | (plan >= least)).all()
    np.testing.assert_array_equal(plan % batch, 0)
    ahead = np.cumsum(plan) - 3.0 * np.arange(1, 41)
    assert (ahead <= 0.9 * least + 1e-9).all()
    assert (ahead > -0.1 * least - 1e-9).all()


@pytest.mark.parametrize("seed", range(6))
def test_all_that_a_chain_is_asked_for_is_shipped_and_kept(seed: int) -> None:
    """Random lots, review periods and lead times in a chain of steady demand: no request is cut, and no unit is lost.

    What a shop is asked to be sent later than planned, as its warehouse has it later, is still sent: all that came from the
    plant stands somewhere, is under way, or was sold; in the long run that is what was planned, give or take a lot a lane.
    """
    rng = np.random.default_rng(seed)
    lots = rng.choice([4, 7, 10, 25], 2)
    review = int(rng.integers(1, 4))
    scenario = Scenario.from_mapping(
        {
            "horizon": 60,
            "units": "integer",
            "nodes": {"plant": {"kind": "supplier"}, "hub": {"initial": 0}, "shop": {"holding_cost": 1, "initial": 60}},
            "lanes": {
                "in": {"source": "plant", "target": "hub", "lead_time": int(rng.integers(1, 4)), "batch": int(lots[0])},
                "out": {"source": "hub", "target": "shop", "minimum_order": int(lots[1]), "review": review},
            },
            "customers": {
                "people": {"sources": {"shop": {}}, "demand": {"kind": "deterministic", "mean": 3}, "lost_share": 0}
            },
        }
    )
    planned = np.full((60, 2, 1), 3.0)
    planned[np.arange(60) % review != 0, 1] = 0
    planned[:, 1] *= review
    plan = OpenLoopPlan(scenario, saved_up(scenario, planned))
    trace = simulate(scenario, plan, scenario.sample(worlds=1), trace=True, kpis=False).trace
    assert trace is not None
    shipped = np.cumsum(np.asarray(trace.shipped)[:, 0, :, 0], 0)
    total = np.cumsum(planned[:, :, 0], 0)
    assert abs(shipped[-1, 0] - total[-1, 0]) <= lots[0]
    # The hub lags behind by what is under way to it and by a lot; from then on the shop is sent all that was planned.
    lag = 3 * (4 + review) + lots[0] + lots[1]
    assert (shipped[20:, 1] >= total[20:, 1] - lag).all()
    assert (shipped[:, 1] <= shipped[:, 0]).all()
    served, closing = np.asarray(trace.served).sum(), np.asarray(trace.on_hand)[-1].sum()
    opened = 60.0
    under_way = shipped[-1, 0] + opened - served - closing
    assert under_way >= -3  # on hand is as observed, before the last period's demand


def cheapest_plan(least: int, demand: int, lead_time: int, periods: int, stock: int) -> float:
    """Cost of the best orders of 0 or ``least`` and more (multiples of it), known demand, by dynamic programming.

    Holding 1, backorders 9 a unit and period.
    """
    low, high = -150, 150
    levels = np.arange(low, high + 1)
    close = np.maximum(levels, 0) + 9.0 * np.maximum(-levels, 0)
    value = np.zeros(len(levels))
    for period in reversed(range(periods)):
        # ``value`` of the stock after this period's demand; what was asked for lead_time ago comes first.
        choices = [0, least, 2 * least] if period >= lead_time else [0]
        found = np.full(len(levels), np.inf)
        for order in choices:
            after = levels + order - demand
            inside = (after >= low) & (after <= high)
            at = np.clip(after - low, 0, len(levels) - 1)
            found = np.minimum(found, np.where(inside, close[at] + value[at], np.inf))
        value = found
    return float(value[stock - low] / periods)


@pytest.mark.parametrize("least", [8, 20])
@pytest.mark.parametrize("key", ["minimum_order", "batch"])
def test_a_plan_costs_what_is_said_and_little_more_than_the_best_lots(least: int, key: str) -> None:
    """Known demand of 3 a day: the plan is held against the best of all plans, found by dynamic programming."""
    demand = {"kind": "deterministic", "mean": 3}
    scenario = store(**{f"lanes.truck.{key}": least, "horizon": 60, "warm_up": 0, "nodes.shop.initial": 6})
    scenario = scenario.with_overrides({"customers.people.demand": demand})
    plan = plan_open_loop(scenario, worlds=1, iterations=0)
    cost = float(np.mean(simulate(scenario, plan, scenario.sample(worlds=1), kpis=False).cost_per_period))
    best = cheapest_plan(least, 3, 2, 60, 6)
    assert best - 1e-9 <= cost <= 1.35 * best


# The rolling horizon and automatic levels ------------------------------------------------------------------


@pytest.mark.parametrize("lots", [{"minimum_order": 20}, {"batch": 40}, {"minimum_order": 20, "batch": 8}], ids=str)
@pytest.mark.parametrize("lost", [pytest.param(False, marks=pytest.mark.slow), True])
def test_nobody_stops_ordering_because_of_a_lot(lots: dict[str, float], lost: bool) -> None:
    """The planner and levels as they come cost little more than the best level for base-stock control, searched here.

    Where customers do not wait, less than half a lot may be missing for ever: nothing is ordered, and nothing sold.
    """
    scenario = with_lots(lots, horizon=90, warm_up=30, **(LOST if lost else {}))
    tape = scenario.sample(worlds=6, seed=4, purpose="test")

    def cost(policy: Any) -> float:
        return float(np.mean(simulate(scenario, policy, tape, kpis=False).cost_per_period))

    levels = range(8, 40, 4)
    best = min(cost(load_policy("local_base_stock", scenario, levels={"shop": level})) for level in levels)
    for policy in (RollingHorizon(scenario), load_policy("local_base_stock", scenario)):
        assert cost(policy) < 1.25 * best, policy
    for name in ("reorder_point_order_up_to", "reorder_point_quantity"):
        assert cost(load_policy(name, scenario)) < 1.35 * best, name


@pytest.mark.parametrize("review", [9, *(pytest.param(days, marks=pytest.mark.slow) for days in (1, 4, 14))])
def test_the_planner_sees_until_a_lane_can_be_asked_again(review: int) -> None:
    scenario = store(**{"lanes.truck.review": review, "horizon": 126, "warm_up": 42})
    tape = scenario.sample(worlds=6, seed=4, purpose="test")
    rolling, levels = (
        float(np.mean(simulate(scenario, policy, tape, kpis=False).cost_per_period))
        for policy in (RollingHorizon(scenario), load_policy("echelon_base_stock", scenario))
    )
    assert rolling < 1.1 * levels


def test_room_for_lots_is_that_of_a_uniform_position() -> None:
    """Level of a lot of Q: mean and z deviations of the sum of demand (variance 9) and a uniform number over Q."""
    from echelongym.envs.interface.automatic_levels import automatic_levels

    plain = automatic_levels(store())
    z = (plain.local[1, 0] - 9) / 3
    for lot, key in itertools.product((2, 10, 30), ("batch", "minimum_order")):
        found = automatic_levels(with_lots({key: lot}))
        assert found.local[1, 0] == pytest.approx(9 + z * math.sqrt(9 + lot**2 / 12))
        assert automatic_levels(with_lots({key: lot}), lots=False).local[1, 0] == plain.local[1, 0]
