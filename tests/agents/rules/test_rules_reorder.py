"""(s, S), (R, nQ) and can-order rules: against published costs, a closed form, and orders counted in plain Python."""

import itertools
import math

import numpy as np
import oracle_instances as instances
import pytest
from hypothesis import HealthCheck, given, settings, strategies
from random_scenarios import random_scenario
from rule_properties import check_on_a_random_network
from test_rules import Counted, observations

from echelongym.agents import load_policy
from echelongym.agents.exact import best, solve
from echelongym.agents.registry import RULES
from echelongym.agents.tuning.tuner import tune
from echelongym.envs import InputError, Scenario, simulate

REORDERING = ["reorder_point_order_up_to", "reorder_point_quantity", "can_order", "capped_reorder_point_order_up_to"]
CAPPED = REORDERING[3]


def one_store(mean, lead_time, fixed, penalty, lost=None, **lane):
    """Poisson demand, holding cost 1, a fixed cost an order; backorders, or lost sales at ``lost`` a unit."""
    return instances.build(
        {
            "name": "one_store",
            "units": "integer",
            "nodes": instances.SUPPLIER | {"store": {"holding_cost": 1}},
            "lanes": {
                "to_store": {"source": "supplier", "target": "store", "lead_time": lead_time, "fixed_cost": fixed}
                | lane
            },
            "customers": {
                "shoppers": {
                    "sources": {"store": {}},
                    "demand": {"kind": "poisson", "mean": mean},
                    "lost_share": int(lost is not None),
                    "lost_sale_cost": lost or 0,
                    "backorder_cost": penalty,
                }
            },
        }
    )


def zheng_federgruen():
    """Zheng and Federgruen (Operations Research 39(4), 1991): (6, 40) costs 35.021555."""
    return one_store(10, 0, 64, 9)


def joint(products=2, units="integer"):
    """Several products on one lane whose vehicle costs 20."""
    names = [f"item_{i}" for i in range(products)]
    return instances.build(
        {
            "name": "joint",
            "units": units,
            "products": {name: {} for name in names},
            "nodes": instances.SUPPLIER | {"store": {"holding_cost": 1}},
            "lanes": {"to_store": {"source": "supplier", "target": "store", "lead_time": 1, "fixed_cost": 20}},
            "customers": {
                "shoppers": {
                    "sources": {"store": {}},
                    "demand": {name: {"kind": "poisson", "mean": 3 + i} for i, name in enumerate(names)},
                    "lost_share": 0,
                    "backorder_cost": 9,
                }
            },
        }
    )


def measured(scenario, policy, worlds=512):
    tape = scenario.sample(worlds=worlds, seed=11, purpose="test")
    costs = simulate(scenario, policy, tape, kpis=False).cost_per_period
    return float(costs.mean()), float(costs.std(ddof=1) / math.sqrt(worlds))


# Costs known from elsewhere ---------------------------------------------------------------------------


def test_order_up_to_costs_what_zheng_and_federgruen_say():
    scenario = zheng_federgruen()
    policy = load_policy("reorder_point_order_up_to", scenario, reorder_points=6, levels=40)
    mean, error = measured(scenario, policy)
    assert abs(mean - 35.021555) <= 3 * error
    assert error < 0.2


def test_automatic_points_are_near_the_best():
    """No search: from the economic order quantity alone, within a tenth of the optimum."""
    scenario = zheng_federgruen()
    for rule, least in (("reorder_point_order_up_to", 35.021555), ("reorder_point_quantity", 35.7)):
        assert measured(scenario, load_policy(rule, scenario), 128)[0] < 1.1 * least


def poisson(mean, highest):
    chances = [math.exp(-mean)]
    for k in range(1, highest):
        chances.append(chances[-1] * mean / k)
    return chances


@pytest.mark.parametrize(("point", "quantity", "lead_time"), [(14, 12, 2), (9, 3, 1), (5, 25, 0), (12, 1, 2)])
def test_quantities_cost_what_evenly_spread_positions_cost(point, quantity, lead_time):
    """Hadley and Whitin (1963): positions after ordering are even on R + 1 ... R + Q, so the cost is a mean of newsvendors.

    An order is placed if demand exceeds position - R - 1, hence in a share E[min(D, Q)] / Q of the periods.
    """
    mean, penalty, fixed = 4, 9, 7
    scenario = one_store(mean, lead_time, fixed, penalty)
    covered = poisson(mean * (lead_time + 1), 90)
    known = sum(
        chance * max(position - demand, -penalty * (position - demand))
        for position in range(point + 1, point + quantity + 1)
        for demand, chance in enumerate(covered)
    )
    orders = sum(chance * min(demand, quantity) for demand, chance in enumerate(poisson(mean, 60)))
    policy = load_policy("reorder_point_quantity", scenario, reorder_points=point, order_quantities=quantity)
    found, error = measured(scenario, policy)
    assert abs(found - (known + fixed * orders) / quantity) <= 3 * error


BIJVANK = {  # rule: its best cost, and the optimum, as published
    "reorder_point_order_up_to": 11.62,
    "reorder_point_quantity": 11.56,
    CAPPED: 11.50,
    "optimum": 11.46,
}


@pytest.mark.parametrize("rule", BIJVANK)
def test_lost_sales_with_a_fixed_cost_cost_what_bijvank_says(rule):
    """Bijvank, Bhulai and Huh (European Journal of Operational Research 241(2), 2015): L 2, h 1, p 14, K 5, Poisson 5."""
    scenario = one_store(5, 2, 5, 0, lost=14)
    found = solve(scenario, "value_iteration").value if rule == "optimum" else best(scenario, rule)[1]
    assert abs(found - BIJVANK[rule]) <= 0.005


# Orders in plain Python ---------------------------------------------------------------------------------


def order_up_to(position, low, high):
    return max(high - position, 0) if position <= low + 1e-9 else 0


def order_quantities(position, low, quantity):
    ordered = 0
    while position + ordered <= low + 1e-9:
        ordered += quantity
    return ordered


def orders_of(counted, echelon, order):
    """What every node asks for; local positions count what those below ask for now."""

    def asked(node):
        below = 0 if echelon else sum(asked(other) for other in counted.fed(node))
        return order(node, counted.echelon(node) if echelon else counted.own(node) - below)

    return {lane: asked(node) for node, lane in counted.first.items()}


@pytest.mark.parametrize("rule", REORDERING[:2])
@settings(max_examples=12)
@given(
    seed=strategies.integers(0, 10**6),
    units=strategies.sampled_from(["continuous", "integer"]),
    position=strategies.sampled_from(["echelon", "local"]),
)
def test_orders_are_those_counted(rule, seed, units, position):
    rng = np.random.default_rng(seed)
    scenario = Scenario.from_mapping(random_scenario(rng, units))
    t = scenario.tables
    first, order = RULES[rule](scenario, position=position), order_up_to
    second_name = "levels"
    low = {n: {p: int(rng.integers(0, 25)) for p in t.products} for n in t.nodes}
    second = {n: {p: low[n][p] + int(rng.integers(-2, 12)) for p in t.products} for n in t.nodes}
    if rule == "reorder_point_quantity":
        order, second_name = order_quantities, "order_quantities"
        second = {n: {p: int(rng.integers(1, 12)) for p in t.products} for n in t.nodes}
    fed = {n: [t.products[p] for p in range(t.P) if t.primary_lane[i, p] >= 0] for i, n in enumerate(t.nodes)}

    def of_fed(numbers):
        return {n: {p: numbers[n][p] for p in products} for n, products in fed.items() if products}

    given_parameters = {"reorder_points": of_fed(low), second_name: of_fed(second), "position": position}
    policy = load_policy(rule, scenario, **given_parameters)
    assert policy.parameters["position"] == first.parameters["position"] == position
    for observation, decision in observations(scenario, policy, worlds=2, length=5):
        for world, p in itertools.product(range(2), range(t.P)):
            counted, name = Counted(scenario, observation, world, p), t.products[p]
            asked = orders_of(counted, position == "echelon", lambda n, at, i=name: order(at, low[n][i], second[n][i]))
            for k, lane in enumerate(t.lanes):
                assert decision.requests[world, k, p] == pytest.approx(asked.get(lane, 0.0), abs=1e-9)


@settings(max_examples=12)
@given(seed=strategies.integers(0, 10**6), units=strategies.sampled_from(["continuous", "integer"]))
def test_joint_orders_are_those_counted(seed, units):
    """Lane by lane: who must order, and who may ride along."""
    rng = np.random.default_rng(seed)
    data = random_scenario(rng, units)
    while RULES["can_order"].refusal(Scenario.from_mapping(data)):
        data = random_scenario(rng, units)
    scenario = Scenario.from_mapping(data)
    t = scenario.tables
    names = {
        n: [t.products[p] for p in range(t.P) if t.primary_lane[i, p] >= 0]
        for i, n in enumerate(t.nodes)
        if (t.primary_lane[i] >= 0).any()
    }
    high = {n: {p: int(rng.integers(10, 40)) for p in products} for n, products in names.items()}
    can = {n: {p: high[n][p] - int(rng.integers(0, 6)) for p in products} for n, products in names.items()}
    must = {n: {p: can[n][p] - int(rng.integers(-2, 15)) for p in products} for n, products in names.items()}
    policy = load_policy("can_order", scenario, reorder_points=must, can_order_points=can, levels=high)
    for observation, decision in observations(scenario, policy, worlds=2, length=5):
        for world in range(2):
            at = {}
            for p, product in enumerate(t.products):
                counted = Counted(scenario, observation, world, p)
                at |= {(lane, product): (node, counted.echelon(node)) for node, lane in counted.first.items()}
            started = {lane for (lane, p), (n, position) in at.items() if position <= must[n][p] + 1e-9}
            for (k, lane), (i, p) in itertools.product(enumerate(t.lanes), enumerate(t.products)):
                asked = 0.0
                if lane in started and (lane, p) in at:
                    n, position = at[lane, p]
                    if position <= max(must[n][p], can[n][p]) + 1e-9:
                        asked = max(high[n][p] - position, 0.0)
                assert decision.requests[world, k, i] == pytest.approx(asked, abs=1e-9)


# How the rules are related ------------------------------------------------------------------------------


def test_without_a_gap_or_a_fixed_cost_they_are_base_stock():
    scenario = one_store(10, 2, 0, 9)
    tape = scenario.sample(worlds=8, seed=1, purpose="test")
    base = simulate(scenario, load_policy("echelon_base_stock", scenario), tape, kpis=False).cost_per_period
    for rule in REORDERING[:2]:
        np.testing.assert_array_equal(
            simulate(scenario, load_policy(rule, scenario), tape, kpis=False).cost_per_period, base
        )


def test_caps_only_cut_what_is_ordered_at_once():
    """Decision by decision: min(what (s, S) asks for, q); without caps it is (s, S)."""
    for seed, units in ((1, "integer"), (2, "continuous"), (5, "integer")):
        data = random_scenario(np.random.default_rng(seed), units)
        data["lanes"] = {name: lane | {"fixed_cost": 3} for name, lane in data["lanes"].items()}
        scenario = Scenario.from_mapping(data)
        assert not load_policy(CAPPED, scenario).parameters.get("caps")
        plain, capped = RULES[REORDERING[0]](scenario), RULES[CAPPED](scenario, caps=4)
        cut = 0
        for observation, decision in observations(scenario, capped, worlds=2, length=8):
            asked = plain(observation).requests
            np.testing.assert_array_equal(decision.requests, np.minimum(asked, 4))
            cut += int((asked > 4).sum())
        assert cut > 0


def test_can_order_points_range_from_each_alone_to_all_together():
    scenario = joint(3)
    tape = scenario.sample(worlds=6, seed=4, purpose="test", periods=80)
    points = {"reorder_points": 8, "levels": 20}

    def requests(rule, **parameters):
        policy = load_policy(rule, scenario, **parameters)
        return simulate(scenario, policy, tape, trace=True, kpis=False).trace.requests

    alone = requests("reorder_point_order_up_to", **points)
    np.testing.assert_array_equal(requests("can_order", can_order_points=8, **points), alone)
    np.testing.assert_array_equal(requests("can_order", can_order_points=3, **points), alone)  # below s counts as s
    together = requests("can_order", can_order_points=20, **points)
    some = requests("can_order", can_order_points=14, **points)
    vehicles = [(found.sum(-1) > 0).mean() for found in (alone, some, together)]
    assert vehicles[0] > vehicles[1] > vehicles[2]


def test_riding_along_is_cheaper_where_a_vehicle_costs_much():
    scenario = joint(3)
    costs = [
        measured(scenario, load_policy(rule, scenario), 64)[0] for rule in ("reorder_point_order_up_to", "can_order")
    ]
    assert costs[1] < costs[0]


def test_quantities_start_in_whole_batches():
    scenario = one_store(10, 1, 64, 9, batch=16)
    assert load_policy("reorder_point_quantity", scenario).parameters["order_quantities"]["store"] in (32.0, 48.0)


# Everywhere ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", REORDERING)
@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=strategies.integers(0, 10**6), units=strategies.sampled_from(["continuous", "integer"]))
def test_rules_hold_on_random_networks(rule, seed, units, tmp_path):
    check_on_a_random_network(rule, seed, units, tmp_path)


@pytest.mark.parametrize("rule", REORDERING)
@pytest.mark.parametrize("units", ["integer", "continuous"])
def test_the_tuner_takes_them(rule, units):
    scenario = joint(2, units).replace(horizon=60, warm_up=10)
    found = tune(scenario, rule, budget=20_000, worlds=16, judged=16, method="search", progress=False)
    assert found.rule.name == rule
    assert math.isfinite(found.cost)


@pytest.mark.parametrize(
    ("rule", "parameters", "message"),
    [
        ("can_order", {}, "carry several products"),
        (CAPPED, {"caps": -1}, ">= 0"),
        ("reorder_point_order_up_to", {"position": "both"}, "echelon or local"),
        ("reorder_point_order_up_to", {"reorder_point": 3}, "did you mean 'reorder_points'"),
        ("reorder_point_quantity", {"levels": 3}, "levels"),
        ("reorder_point_quantity", {"order_quantities": 0}, ">= 1"),
    ],
)
def test_what_makes_no_sense_is_refused(rule, parameters, message):
    with pytest.raises(InputError, match=message):
        load_policy(rule, zheng_federgruen(), **parameters)


def test_caps_are_refused_where_waiting_saves_nothing():
    for lane in ({}, {"minimum_order": 5}, {"batch": 5}):
        scenario = one_store(10, 2, 0, 9, **lane)
        assert (RULES[CAPPED].refusal(scenario) is None) == bool(lane)
    with pytest.raises(InputError, match="no primary lane has a fixed cost"):
        load_policy(CAPPED, one_store(10, 2, 0, 9))
