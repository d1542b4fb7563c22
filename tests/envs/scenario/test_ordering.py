"""Minimum orders, review periods, calendars and opening backlogs, against computations made here from first principles."""

import math
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import random_scenarios
from gymnasium.utils.env_checker import check_env
from ordering_store import store

from echelongym.agents import load_policy
from echelongym.agents.exact import solve
from echelongym.agents.export.export import export_policy
from echelongym.agents.planning.linear_program.program import relaxations
from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.agents.planning.rolling import RollingHorizon
from echelongym.agents.registry import RULES
from echelongym.envs import Decision, Network, Scenario, Tape, simulate
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.interface.feasibility import problems


def poisson(mean: float, most: int) -> np.ndarray:
    return np.array([math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(most)])


def periodic_review_cost(
    level: int, review: int, lead_time: int, mean: float, holding: float, backorder: float
) -> float:
    """Mean cost a period of order-up-to ``level`` every ``review`` periods, by summation.

    What is ordered in period k R decides what stands in the periods k R + L to k R + L + R - 1: the level less the demand of
    L + 1 to L + R periods (Hadley and Whitin, Analysis of Inventory Systems, 1963, chapter 5).
    """
    total = 0.0
    for j in range(review):
        chance = poisson(mean * (lead_time + j + 1), 400)
        left = level - np.arange(400)
        total += chance @ (holding * np.maximum(left, 0) + backorder * np.maximum(-left, 0))
    return total / review


@pytest.mark.parametrize(("review", "first", "level"), [(1, 0, 12), (5, 3, 26), (7, 0, 33)])
def test_order_up_to_under_periodic_review_costs_what_summation_says(review: int, first: int, level: int) -> None:
    scenario = store(**{"lanes.truck.review": {"every": review, "first": first}})
    policy = load_policy("echelon_base_stock", scenario, levels={"shop": level})
    tape = scenario.sample(worlds=200, seed=3, purpose="test")
    costs = np.asarray(simulate(scenario, policy, tape, kpis=False).cost_per_period)
    error = costs.std(ddof=1) / math.sqrt(len(costs))
    assert abs(costs.mean() - periodic_review_cost(level, review, 2, 3.0, 1.0, 9.0)) < 3.5 * error


@pytest.mark.parametrize("review", [1, 4, 7, 14])
def test_automatic_levels_cover_lead_time_and_review_period(review: int) -> None:
    """Within a few percent of the best cost by summation over all levels."""
    scenario = store(**{"lanes.truck.review": review})
    found = round(float(automatic_levels(scenario).echelon[1, 0]))
    costs = [periodic_review_cost(level, review, 2, 3.0, 1.0, 9.0) for level in range(100)]
    assert costs[found] < 1.02 * min(costs)


def test_the_longest_gap_between_open_days_has_to_be_covered() -> None:
    """Monday to Friday: what Friday orders lasts until Monday's order is there, lead time 2 + 3 days; nothing else changes."""
    t = store(**{"lanes.truck.calendar.open": [0, 1, 2, 3, 4]}).tables
    assert t.protection.tolist() == [5]
    # Closed at the weekend, lead time 2: what Wednesday orders comes on Friday, Thursday's and Friday's on Monday, as the
    # weekend's would. What is asked on Friday, Saturday or Sunday comes on Monday, Monday or Tuesday.
    assert store(**{"nodes.shop.calendar.closed": [5, 6]}).tables.protection.tolist() == [5]
    assert store().tables.protection.tolist() == [3]


def minimum_order_optimum(least: int, holding: float, backorder: float) -> float:
    """Long-run cost of the best orders 0 or >= ``least``, lead time 1, demand 0, 1 or 4, by value iteration on the position.

    Ordered in t, there in t + 1: what stands after the demand of t + 1 is the position after ordering less two demands.
    """
    demand, chance = np.array([0, 1, 4]), np.array([0.3, 0.4, 0.3])
    low, high = -40, 50
    states = np.arange(low, high + 1)
    two = {}
    for a, p in zip(demand, chance, strict=True):
        for b, q in zip(demand, chance, strict=True):
            two[a + b] = two.get(a + b, 0.0) + p * q
    stage = sum(
        p * (holding * np.maximum(states - d, 0) + backorder * np.maximum(d - states, 0)) for d, p in two.items()
    )
    value, gain = np.zeros(len(states)), 0.0
    for _ in range(3000):
        after = stage + sum(
            p * value[np.maximum(np.arange(len(states)) - d, 0)] for d, p in zip(demand, chance, strict=True)
        )
        best = after.copy()
        for i in range(len(states)):
            if i + least < len(states):
                best[i] = min(after[i], after[i + least :].min())
        gain = best[-low] - value[-low]
        value = best - best[-low]
    return float(gain)


@pytest.mark.parametrize("least", [1, 5, 9])
def test_value_iteration_solves_minimum_orders(least: int) -> None:
    demand = {"kind": "discrete", "values": [0, 1, 4], "probabilities": [0.3, 0.4, 0.3]}
    scenario = store(
        **{
            "lanes.truck.minimum_order": least,
            "lanes.truck.lead_time": 1,
            "horizon": 400,
        }
    )
    scenario = scenario.replace(customers={"people": {**scenario.to_dict()["customers"]["people"], "demand": demand}})
    exact = solve(scenario, method="value_iteration")
    assert exact.value == pytest.approx(minimum_order_optimum(least, 1.0, 9.0), abs=2e-3)
    tape = scenario.sample(worlds=64, seed=5, purpose="test")
    trace = simulate(scenario, exact.policy, tape, trace=True, kpis=False).trace
    assert trace is not None
    asked = np.asarray(trace.requests)
    assert ((asked == 0) | (asked >= least)).all()


# On every tape -----------------------------------------------------------------------------------------


CLOSED = {"nodes.shop.calendar.closed": [5, 6], "lanes.truck.review": {"every": 3, "first": 1}}


def test_calendars_hold_on_every_tape(tmp_path: Path) -> None:
    """Drawn, saved and read, or recorded without a word of calendars: nothing leaves or arrives on closed days."""
    scenario = store(**CLOSED, horizon=40, warm_up=0)
    drawn = scenario.sample(worlds=2, seed=1)
    drawn.save(tmp_path / "worlds.npz")
    read = Tape.load(tmp_path / "worlds.npz").check(scenario)
    recorded = Tape.from_demand(scenario, drawn.demand)
    days = np.arange(40)
    for tape in (drawn, read, recorded):
        np.testing.assert_array_equal(tape.lane_availability[:, :, 0], np.repeat((days % 3 == 1)[:, None], 2, 1))
        np.testing.assert_array_equal(tape.node_availability[:, 0, 1], days % 7 < 5)
        assert ((days[:, None] + tape.lead_time[:, :, 0]) % 7 < 5).all()
        assert tape.check(scenario) is tape
        trace = simulate(scenario, lambda o: Decision(np.full((2, 1, 1), 4.0)), tape, trace=True, kpis=False).trace
        assert trace is not None
        for flow, opened in (
            (trace.shipped, days % 3 == 1),
            (trace.received, days % 7 < 5),
            (trace.served, days % 7 < 5),
        ):
            assert not np.asarray(flow)[~opened].any()
            assert np.asarray(flow)[opened].any()
    assert store().sample(worlds=2, seed=1).demand.tolist() == store(**CLOSED).sample(worlds=2, seed=1).demand.tolist()


def test_opening_backlog_counts_for_waiting_but_not_for_fill_rates() -> None:
    """No demand but of period 1: served at once. The 4 that wait do so at one close."""
    scenario = store(**{"customers.people.opening_backlog": 4, "nodes.shop.initial": 0, "lanes.truck.lead_time": 1})
    demand = np.zeros((scenario.observe.history + 3, 1, 1), dtype=np.int64)
    demand[-2] = 5
    tape = Tape.from_demand(scenario, demand)
    outcome = simulate(
        scenario.replace(warm_up=0), lambda o: Decision(np.full((1, 1, 1), 9.0 * (o.period[0] == 0))), tape, trace=True
    )
    total = outcome.kpis()["total"]
    assert total["fill_rate"].tolist() == [1.0]
    assert outcome.trace is not None
    assert np.asarray(outcome.trace.costs["backorder"])[:, 0].tolist() == [36.0, 0.0, 0.0]


# Who knows of it ---------------------------------------------------------------------------------------


ALL = {
    **CLOSED,
    "lanes.truck.minimum_order": 6,
    "customers.people.opening_backlog": 4,
    "horizon": 42,
    "warm_up": 0,
}


def test_no_policy_costs_less_than_the_bound_and_the_planner_keeps_to_the_days() -> None:
    scenario = store(**ALL)
    tape = scenario.sample(worlds=4, seed=2, purpose="test")
    least = np.asarray(perfect_information(scenario, tape).cost)
    for policy in (RollingHorizon(scenario), load_policy("echelon_base_stock", scenario)):
        outcome = simulate(scenario, policy, tape, trace=True, kpis=False)
        assert (np.asarray(outcome.cost_per_period) >= least - 1e-9).all()
    assert "orders may be smaller than the minimum" in relaxations(scenario.tables)
    # Told of the calendar, the planner asks for as much as has to last until the next order: no more than a few units wait.
    plan = simulate(scenario, RollingHorizon(scenario), tape, trace=True, kpis=False)
    blind = simulate(scenario, load_policy("echelon_base_stock", scenario, levels={"shop": 9}), tape, kpis=False)
    assert np.asarray(plan.cost_per_period).mean() < np.asarray(blind.cost_per_period).mean()
    assert plan.trace is not None
    assert not np.asarray(plan.trace.requests)[np.arange(42) % 3 != 1].any()


def test_every_rule_runs_and_answers_the_same_on_closed_days() -> None:
    scenario = store(**ALL)
    tape = scenario.sample(worlds=2, seed=2, purpose="test")
    for name, rule in RULES.items():
        if rule.refusal(scenario) is None:
            cost = simulate(scenario, load_policy(name, scenario), tape, kpis=False).cost_per_period
            assert np.isfinite(np.asarray(cost)).all(), name


def test_learners_see_the_phase_of_each_cycle() -> None:
    env = gymnasium.make("echelongym.envs:echelongym/Network-v1", scenario=store(**ALL))
    names = env.unwrapped.batch.encoder.names  # type: ignore[attr-defined]
    assert {"season[sin, 3]", "season[cos, 3]", "season[sin, 7]", "season[cos, 7]"} <= set(names)
    seen = {tuple(np.round(env.reset(seed=1)[0][[names.index(n) for n in names if n.startswith("season")]], 6))}
    for _ in range(20):
        observation = env.step(np.zeros(env.action_space.shape, np.float32))[0]
        seen.add(tuple(np.round(observation[[names.index(n) for n in names if n.startswith("season")]], 6)))
    assert len(seen) == 21  # days of two cycles of 3 and 7
    check_env(env.unwrapped, skip_render_check=True)


def test_a_bundle_knows_the_days_as_its_policy_does(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    outage = {"when": {"mean_up": 9, "mean_down": 2}, "effects": [{"lanes": "truck", "availability": 0}]}
    scenario = store(**ALL).replace(disruptions={"strike": outage})
    policy = load_policy("disruption_aware_base_stock", scenario, outage_shifts=7)
    bundle = load_policy(export_policy(policy, scenario, tmp_path / "bundle"), scenario)
    tape = scenario.sample(worlds=3, seed=2, purpose="test")
    mine, theirs = (simulate(scenario, one, tape, kpis=False).cost_per_period for one in (policy, bundle))
    np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


def test_a_closed_day_is_no_outage() -> None:
    """A rule that answers to outages does so on days on which the lane could be asked, and only there."""
    outage = {"when": {"from": 6, "to": 8}, "effects": [{"lanes": "truck", "availability": 0}]}
    scenario = store(**{"lanes.truck.review": 2, "horizon": 12, "warm_up": 0}).replace(disruptions={"strike": outage})
    policy = load_policy("disruption_aware_base_stock", scenario, levels={"shop": 0}, outage_shifts=500)
    trace = simulate(scenario, policy, scenario.sample(worlds=1), trace=True, kpis=False).trace
    assert trace is not None
    high = np.asarray(trace.requests)[:, 0, 0, 0] > 300
    assert np.flatnonzero(high).tolist() == [6, 8]


@pytest.mark.parametrize("units", ["continuous", "integer"])
def test_tables_round_trip(units: str, tmp_path: Path) -> None:
    for seed in range(12):
        scenario = Scenario.from_mapping(random_scenarios.random_scenario(np.random.default_rng(seed), units))
        scenario.to_csv(tmp_path / str(seed))
        assert Network.from_csv(tmp_path / str(seed)) == scenario.network
        scenario.save(tmp_path / "one.yaml")
        assert Scenario.load(tmp_path / "one.yaml").digest == scenario.digest


def test_capacity_counts_on_open_days_only() -> None:
    """3 a day are asked for: 25 a week suffice, 14 do not, and it is said which lane is short."""
    assert not problems(store(**{"lanes.truck.capacity": 25, "lanes.truck.review": 7}))
    short = problems(store(**{"lanes.truck.capacity": 14, "lanes.truck.review": 7}))
    assert len(short) == 1
    assert "truck" in str(short[0])
    assert not problems(store(**{"lanes.truck.capacity": 14}))
