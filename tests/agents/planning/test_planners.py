"""The planners: rolling horizon and open-loop plan, on worlds by pencil, shipped scenarios and random networks."""

import pickle

import numpy as np
import pytest
import random_scenarios
from planning_networks import episode_cost, one_store, tape_of

from echelongym.agents.loading import load_policy
from echelongym.agents.planning.open_loop import OpenLoopPlan, plan_open_loop
from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.agents.planning.rolling import RollingHorizon
from echelongym.agents.planning.rounding import largest_remainders, requests_of
from echelongym.envs import Scenario, simulate
from echelongym.envs.core.errors import InputError
from echelongym.experiments.studies.planning_speed import store_network

UNITS = ("continuous", "integer")


# ------------------------------------------------------------------------------------------------ rolling horizon


def cost_of(scenario, policy, tape):
    return float(simulate(scenario, policy, tape, kpis=False).cost_per_period.mean())


def test_rolling_horizon_knows_demand_that_is_certain():
    """Deterministic demand: without margin it does as well as the clairvoyant in every period that counts."""
    scenario = one_store(horizon=12)
    tape = tape_of(scenario, [4] * 12)
    policy = RollingHorizon(scenario, margin=0.0, horizon=6)
    outcome = simulate(scenario, policy, tape, trace=True)
    np.testing.assert_allclose(outcome.trace.shipped[:8, 0, 0, 0], 4, atol=1e-6)
    np.testing.assert_allclose(outcome.trace.lost[:, 0, 0, 0], [2] + [0] * 11, atol=1e-6)


def test_rolling_horizon_is_near_automatic_base_stock_on_a_chain():
    """With the same safety factors, certainty-equivalent planning of a chain is base-stock control up to its linear pieces."""
    scenario = Scenario.load("serial", {"horizon": 60, "warm_up": 20})
    tape = scenario.sample(worlds=4, seed=0, purpose="test")
    base = cost_of(scenario, load_policy("echelon_base_stock", scenario), tape)
    assert cost_of(scenario, RollingHorizon(scenario), tape) == pytest.approx(base, rel=0.03)


def test_rolling_horizon_plans_around_a_scheduled_outage():
    """Supply stops in periods 10 to 15, as the scenario says: stock is built before, and little is lost."""
    stop = {"stop": {"when": {"from": 10, "to": 15}, "effects": [{"nodes": "supplier", "availability": 0.0}]}}
    mapping = store_network(2, horizon=24) | {"disruptions": stop}
    scenario = Scenario.from_mapping(mapping)
    tape = scenario.sample(worlds=4, seed=0, purpose="test")
    blind = load_policy("echelon_base_stock", scenario)
    assert cost_of(scenario, RollingHorizon(scenario, horizon=12), tape) < 0.8 * cost_of(scenario, blind, tape)


def test_a_world_is_decided_alike_alone_and_in_a_batch():
    scenario = Scenario.load("two_region", {"horizon": 12, "warm_up": 0})
    tape = scenario.sample(worlds=3, seed=0, purpose="test")
    policy = RollingHorizon(scenario)
    together = simulate(scenario, policy, tape, trace=True).trace.requests
    for place in range(3):
        alone = simulate(scenario, policy, tape[place], trace=True).trace.requests
        np.testing.assert_array_equal(alone[:, 0], together[:, place])


@pytest.mark.parametrize("units", UNITS)
def test_rolling_horizon_plays_random_networks(units):
    """Whatever the network: finite requests, whole where units are, and never more than a source has."""
    for seed in range(5):
        mapping = random_scenarios.random_scenario(np.random.default_rng(seed), units)
        for node in mapping["nodes"].values():
            node.pop("terminal_value", None)
        for lane in mapping["lanes"].values():
            lane.pop("batch", None)
            lane.pop("minimum_order", None)  # requests are raised to it, whatever there is
        scenario = Scenario.from_mapping(mapping)
        t = scenario.tables
        tape = scenario.sample(worlds=1, seed=seed, purpose="test")
        trace = simulate(scenario, RollingHorizon(scenario, horizon=5), tape, trace=True, kpis=False).trace
        for node in np.flatnonzero(~t.is_supplier):
            asked = trace.requests[:, 0, t.lane_source == node].sum(1)
            assert (asked <= trace.on_hand[:, 0, node].sum(-1) + 1e-5).all(), seed


def test_scenarios_share_the_first_shipment_and_are_deterministic():
    scenario = Scenario.from_mapping(store_network(3, horizon=6))
    tape = scenario.sample(worlds=2, seed=0, purpose="test")
    runs = [
        simulate(scenario, RollingHorizon(scenario, scenarios=3, horizon=5), tape, trace=True).trace.requests
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*runs)


def test_rolling_horizon_parameters():
    scenario = Scenario.load("two_region")
    policy = RollingHorizon(scenario, safety_factors={"north": 1.5}, horizon=6, margin=0.5)
    assert policy.parameters["safety_factors"]["north"] == 1.5
    assert (policy.parameters["horizon"], policy.parameters["margin"], policy.parameters["scenarios"]) == (6, 0.5, 0)
    assert "safety_factors.north" not in policy.space().names
    moved = policy.with_vector(policy.space(), policy.space().start + 1)
    assert moved.parameters["safety_factors"]["hub"] == pytest.approx(policy.parameters["safety_factors"]["hub"] + 1)
    for wrong, told in (
        ({"horizon": 0}, "horizon"),
        ({"margin": -1}, "margin"),
        ({"scenarios": 1.5}, "scenarios"),
        ({"safety_factor": 1}, "safety_factors"),
        ({"safety_factors": {"nort": 1}}, "north"),
    ):
        with pytest.raises(InputError, match=told):
            RollingHorizon(scenario, **wrong)


def test_rolling_horizon_on_another_backend_and_in_another_process():
    scenario = Scenario.from_mapping(store_network(2, horizon=6))
    tape = scenario.sample(worlds=2, seed=0, purpose="test")
    policy = RollingHorizon(scenario, horizon=5)
    plain = simulate(scenario, policy, tape).cost_per_period
    np.testing.assert_allclose(simulate(scenario, policy, tape, backend="torch").cost_per_period.numpy(), plain)
    copied = pickle.loads(pickle.dumps(policy))  # noqa: S301 (our own)
    np.testing.assert_array_equal(simulate(scenario, copied, tape).cost_per_period, plain)


def test_rolling_horizon_ignores_what_stock_is_worth_at_the_end():
    """At 10 a unit, more than it costs, no plan of the end would have an optimum."""
    scenario = one_store(nodes__store__terminal_value=10.0, horizon=8)
    requests = simulate(scenario, RollingHorizon(scenario), tape_of(scenario, [4] * 8), trace=True).trace.requests
    assert requests.max() < 50


def test_more_safety_means_more_stock():
    scenario = Scenario.from_mapping(store_network(2, horizon=30))
    tape = scenario.sample(worlds=2, seed=0, purpose="test")
    holding = [
        float(simulate(scenario, RollingHorizon(scenario, safety_factors=z), tape).costs["holding"].mean())
        for z in (0.0, 1.0, 2.0)
    ]
    assert holding[0] < holding[1] < holding[2]


def test_largest_remainders():
    """7.4 planned of 7 units: 2.6 1.9 2.9 become 2 2 3, the largest remainders first; batches in steps of their own."""
    np.testing.assert_array_equal(largest_remainders(np.array([2.6, 1.9, 2.9]), np.ones(3), 7.0), [2, 2, 3])
    np.testing.assert_array_equal(largest_remainders(np.array([2.6, 1.9, 2.9]), np.ones(3), 100.0), [2, 2, 3])
    np.testing.assert_array_equal(largest_remainders(np.array([7.0, 4.0]), np.array([5.0, 5.0]), 100.0), [5, 5])
    np.testing.assert_array_equal(largest_remainders(np.array([7.0, 4.0]), np.array([5.0, 5.0]), 9.0), [5, 0])


def test_suppliers_round_half_up():
    scenario = one_store("integer")
    on_hand = np.zeros((2, 1))
    np.testing.assert_array_equal(requests_of(scenario.tables, np.array([[2.5]]), on_hand), [[3]])
    np.testing.assert_array_equal(requests_of(scenario.tables, np.array([[2.4]]), on_hand), [[2]])


# ------------------------------------------------------------------------------------------------ open loop


def test_open_loop_plan_of_certain_demand_is_optimal():
    scenario = one_store(horizon=8)
    tape = tape_of(scenario, [4] * 8)
    plan = plan_open_loop(scenario, worlds=2, iterations=0)
    bound = perfect_information(scenario, tape)
    outcome = simulate(scenario, plan, tape, trace=True)
    assert episode_cost(outcome) == pytest.approx(bound.cost[0] * 8, rel=1e-6)


@pytest.mark.slow
def test_gradients_improve_an_open_loop_plan():
    """A lost-sales store of uncertain demand: no plan of expectations is best."""
    scenario = Scenario.from_mapping(store_network(1, horizon=20))
    plain = plan_open_loop(scenario, iterations=0)
    moved = plan_open_loop(scenario, iterations=12)
    numbers = list(range(40_000_000, 40_000_064))
    tape = scenario.sample(worlds=numbers, seed=0, purpose="tune")
    before, after = (
        simulate(scenario, plan, tape, kpis=False).episode_net_cost_per_period.mean() for plan in (plain, moved)
    )
    assert after < before
    again = plan_open_loop(scenario, iterations=12)
    np.testing.assert_array_equal(moved.requests, again.requests)


def test_open_loop_plan_never_looks_and_never_splits_units():
    scenario = Scenario.load("lost_sales", {"horizon": 15, "warm_up": 5})
    seen = []
    plan = plan_open_loop(scenario, worlds=8, iterations=2, progress=lambda done, total: seen.append((done, total)))
    assert (plan.requests == np.floor(plan.requests)).all()
    assert seen[-1][0] == seen[-1][1]
    trace = simulate(scenario, plan, scenario.sample(worlds=3, seed=1, purpose="test"), trace=True).trace
    np.testing.assert_array_equal(trace.requests, np.repeat(plan.requests[:, None], 3, 1))


def test_open_loop_plan_in_a_file(tmp_path):
    scenario = one_store()
    plan = OpenLoopPlan(scenario, np.arange(4.0).reshape(4, 1, 1))
    path = tmp_path / "plan.json"
    plan.save(path)
    np.testing.assert_array_equal(OpenLoopPlan.load(scenario, path).requests, plan.requests)
    other = Scenario.load("lost_sales", {"horizon": 4, "warm_up": 0})
    with pytest.raises(InputError, match=r"another network"):
        OpenLoopPlan.load(other, path)
    path.write_text("{")
    with pytest.raises(InputError, match="JSON"):
        OpenLoopPlan.load(scenario, path)
    with pytest.raises(InputError, match="file that exists"):
        OpenLoopPlan.load(scenario, tmp_path / "none.json")
    for wrong, told in ((np.zeros((3, 1, 1)), "shape"), (np.full((4, 1, 1), -1.0), ">= 0")):
        with pytest.raises(InputError, match=told):
            OpenLoopPlan(scenario, wrong)


@pytest.mark.parametrize("name", ["two_region", "one_warehouse_three", "serial", "grocery"])
def test_the_number_of_safety_factors_is_known_without_them(name: str) -> None:
    scenario = Scenario.load(name)
    assert RollingHorizon.size(scenario) == len(RollingHorizon(scenario).space())
