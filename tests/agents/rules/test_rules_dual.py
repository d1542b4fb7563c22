"""Dual sourcing and transshipment: against plain loops, enumeration, published costs, and what a source keeps."""

import itertools
import math

import numpy as np
import oracle_instances as instances
import pytest
from hypothesis import HealthCheck, given, settings, strategies
from rule_properties import check_on_a_random_network
from test_rules import observations

from echelongym.agents import load_policy
from echelongym.agents.registry import RULES
from echelongym.agents.tuning.tuner import tune
from echelongym.envs import InputError, Scenario, simulate

DUAL = ["single_index", "dual_index", "capped_dual_index", "tailored_base_surge", "expedite_threshold"]
LATERAL = ["reactive_transshipment", "proactive_transshipment"]
DEMANDS = range(5)  # of the published instances, equally likely


def measured(scenario, rule, parameters, worlds=512):
    """Mean cost a period and its standard error; what demand differed from its mean is taken out at the cheap price."""
    tape = scenario.sample(worlds=worlds, seed=11, purpose="test")
    costs = simulate(scenario, load_policy(rule, scenario, **parameters), tape, kpis=False).cost_per_period
    demand = tape.demand[scenario.observe.history + scenario.warm_up :].mean((0, 2, 3))
    costs = costs - 100 * (demand - 2)
    return float(costs.mean()), float(costs.std(ddof=1) / math.sqrt(worlds))


def standing_cost(net):
    """Holding 5, backorders 495."""
    return 5 * net if net > 0 else -495 * net


# Costs known from elsewhere ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lead_time", "expedited_cost", "rule", "parameters", "known"),
    [
        (2, 105, "dual_index", {"levels": 7, "express_levels": 4}, 217.022059),
        (2, 105, "capped_dual_index", {"levels": 7, "express_levels": 4, "caps": 2}, 216.782407),
        (3, 110, "dual_index", {"levels": 9, "express_levels": 4}, 221.135300),
        (3, 110, "capped_dual_index", {"levels": 10, "express_levels": 4, "caps": 2}, 220.465662),
    ],
)
def test_best_numbers_cost_what_was_published(lead_time, expedited_cost, rule, parameters, known):
    mean, error = measured(instances.dual_sourcing(lead_time, expedited_cost), rule, parameters)
    assert abs(mean - known) <= 3 * error
    assert error < 0.1


@pytest.mark.parametrize(("level", "express"), [(6, 5), (8, 6), (9, 5)])
def test_single_index_costs_what_enumeration_says(level, express):
    """The full position stands at the level after ordering, so the regular lane brings min(D, gap), the fast one the rest.

    With a regular lead time of 2, two regular orders are under way when demand strikes.
    """
    gap = level - express
    known = sum(
        standing_cost(level - min(first, gap) - min(second, gap) - third) / 125
        for first, second, third in itertools.product(DEMANDS, repeat=3)
    )
    known += sum(100 * min(d, gap) + 105 * max(d - gap, 0) for d in DEMANDS) / 5
    mean, error = measured(
        instances.dual_sourcing(2, 105), "single_index", {"levels": level, "express_levels": express}
    )
    assert abs(mean - known) <= 3 * error


@pytest.mark.parametrize(("base", "express"), [(1, 4), (1, 3), (0, 4)])
def test_base_surge_costs_what_its_chain_costs(base, express):
    """Before demand the net stock is max(level, what was left + base): its height above the level is a Markov chain."""
    states = 120
    moves = np.zeros((states, states))
    for height, demand in itertools.product(range(states), DEMANDS):
        moves[height, min(max(height + base - demand, 0), states - 1)] += 0.2
    balance = np.vstack([moves.T - np.eye(states), np.ones(states)])
    chances = np.linalg.lstsq(balance, np.append(np.zeros(states), 1.0), rcond=None)[0]
    known = sum(
        chances[height] * standing_cost(express + height - demand) / 5
        for height, demand in itertools.product(range(states), DEMANDS)
    )
    known += 100 * base + 105 * (2 - base)
    mean, error = measured(
        instances.dual_sourcing(2, 105), "tailored_base_surge", {"base_quantities": base, "express_levels": express}
    )
    assert abs(mean - known) <= 3 * error


# Orders in plain Python ---------------------------------------------------------------------------------


def two_sources(slow, fast, slow_first=True):
    """One store, a cheap lane of lead time ``slow`` and a dear one of lead time ``fast``; listed in either order."""
    lanes = {
        "cheap": {"source": "supplier", "target": "store", "lead_time": slow, "purchase_cost": 10},
        "dear": {"source": "supplier", "target": "store", "lead_time": fast, "purchase_cost": 12},
    }
    return instances.build(
        {
            "name": "two_sources",
            "units": "integer",
            "nodes": instances.SUPPLIER | {"store": {"holding_cost": 1, "initial": 9}},
            "lanes": lanes if slow_first else dict(reversed(lanes.items())),
            "customers": {
                "buyers": {
                    "sources": {"store": {}},
                    "demand": {"kind": "negative_binomial", "mean": 4, "dispersion": 0.3},
                    "lost_share": 0,
                    "backorder_cost": 20,
                }
            },
        }
    )


def numbers(rule, slow_first):
    """Parameters of a rule by its roles, whichever lane is the primary one."""
    slow_level, fast_level = {"single_index": (24, 18)}.get(rule, (21, 10))
    first, second = ("cheap", "dear") if slow_first else ("dear", "cheap")
    level = {"cheap": slow_level, "dear": fast_level}
    found = {"levels": {"store": level[first]}, "express_levels": {second: level[second]}}
    if rule == "tailored_base_surge":
        found = {"express_levels": {"dear": fast_level}} if slow_first else {"levels": {"store": fast_level}}
        found["base_quantities"] = {"cheap": 3}
    if rule == "capped_dual_index":
        found["caps"] = {"cheap": 5}
    if rule == "expedite_threshold":
        found["expedite_thresholds"] = {"dear": 7}
    return found


def decide(rule, net, soon, late):
    """Orders (cheap, dear) of one period: ``soon`` arrives no later than the dear lane would bring, ``late`` does."""
    if rule == "single_index":
        dear = max(18 - (net + soon + late), 0)
        return max(24 - (net + soon + late + dear), 0), dear
    short = net + soon
    dear = max(10 - short, 0)
    if rule == "expedite_threshold" and short > 7:
        dear = 0
    if rule == "tailored_base_surge":
        return 3, dear
    cheap = max(21 - (short + late + dear), 0)
    return min(cheap, 5) if rule == "capped_dual_index" else cheap, dear


@pytest.mark.parametrize("slow_first", [True, False])
@pytest.mark.parametrize(("slow", "fast"), [(2, 0), (3, 1), (4, 2)])
@pytest.mark.parametrize("rule", DUAL)
def test_orders_are_those_of_a_plain_loop(rule, slow, fast, slow_first):
    """Net stock and orders by period of arrival, in one world after the other; the roles do not depend on the order listed."""
    scenario = two_sources(slow, fast, slow_first)
    t, history = scenario.tables, scenario.observe.history
    policy = load_policy(rule, scenario, **numbers(rule, slow_first))
    tape = scenario.sample(worlds=3, seed=2, purpose="test", periods=60)
    trace = simulate(scenario, policy, tape, trace=True, kpis=False).trace
    used = set()
    for world in range(3):
        net = 9
        due = dict.fromkeys(range(80), 0)
        for now in range(60):
            net += due[now]
            soon = sum(due[when] for when in range(now + 1, now + fast + 1))
            late = sum(due[when] for when in range(now + fast + 1, 80))
            cheap, dear = decide(rule, net, soon, late)
            found = trace.requests[now, world, :, 0]
            assert (found[t.lanes.index("cheap")], found[t.lanes.index("dear")]) == (cheap, dear)
            due[now + slow] += cheap
            if fast:
                due[now + fast] += dear
            else:
                net += dear
            net -= int(tape.demand[history + now, world, 0, 0])
            used |= {("cheap", cheap > 0), ("dear", dear > 0)}
    assert {("cheap", True), ("dear", True), ("dear", False)} <= used


def test_of_three_lanes_the_slowest_is_the_regular_one():
    data = two_sources(3, 1, slow_first=False).to_dict()
    data["lanes"]["at_once"] = {"source": "supplier", "target": "store", "lead_time": 0, "purchase_cost": 15}
    scenario = Scenario.from_mapping(data)
    surge = load_policy("tailored_base_surge", scenario).parameters
    assert set(surge["base_quantities"]) == {"cheap"}
    assert set(surge["levels"]) == {"store"}  # of the dear lane, which is the primary one
    assert set(surge["express_levels"]) == {"at_once"}
    assert set(load_policy("capped_dual_index", scenario).parameters["caps"]) == {"cheap"}
    assert set(load_policy("expedite_threshold", scenario).parameters["expedite_thresholds"]) == {"dear", "at_once"}


# How the rules are related ------------------------------------------------------------------------------


def same_cost(scenario, first, second):
    tape = scenario.sample(worlds=6, seed=3, purpose="test")
    costs = [simulate(scenario, policy, tape, kpis=False).cost_per_period for policy in (first, second)]
    np.testing.assert_allclose(*costs, rtol=1e-12)


def test_dual_index_is_base_stock_with_express_levels():
    scenario = Scenario.load("two_region")
    express = {"hub_north_express": 20}
    same_cost(
        scenario,
        load_policy("dual_index", scenario, levels=70, express_levels=express),
        load_policy("echelon_base_stock", scenario, levels=70, express_levels=express),
    )


def test_a_threshold_at_the_level_expedites_like_dual_index():
    scenario = Scenario.load("two_region")
    express = {"hub_north_express": 20}
    same_cost(
        scenario,
        load_policy("dual_index", scenario, express_levels=express),
        load_policy(
            "expedite_threshold", scenario, express_levels=express, expedite_thresholds=20, levels=levels_of(scenario)
        ),
    )


def levels_of(scenario):
    return load_policy("dual_index", scenario).parameters["levels"]


def test_automatic_numbers_use_both_lanes_and_beat_one_source():
    """Every dual rule as it starts, against base-stock that never expedites."""
    scenario = instances.dual_sourcing(3, 110)
    alone, _ = measured(scenario, "echelon_base_stock", {}, 128)
    for rule in DUAL:
        policy = load_policy(rule, scenario)
        requests = np.concatenate([decision.requests for _, decision in observations(scenario, policy, 8, 60)])
        assert (requests.sum((0, 2)) > 0).all()
        assert measured(scenario, rule, {}, 128)[0] < alone


@pytest.mark.parametrize("name", ["lost_sales", "serial", "one_warehouse"])
def test_what_makes_no_sense_is_refused(name):
    scenario = Scenario.load(name)
    for rule in DUAL:
        with pytest.raises(InputError, match="second lane"):
            load_policy(rule, scenario)
    for rule in LATERAL:
        with pytest.raises(InputError, match="lateral lane"):
            load_policy(rule, scenario)


@pytest.mark.parametrize(
    ("rule", "parameters", "message"),
    [
        ("capped_dual_index", {"caps": {"hub_north_express": 3}}, "hub_north"),
        ("tailored_base_surge", {"levels": {"north": 3}}, "north has none"),
        ("tailored_base_surge", {"base_quantities": {"hub_north": -1}}, ">= 0"),
        ("expedite_threshold", {"expedite_thresholds": {"hub_north": 3}}, "hub_north_express"),
        ("reactive_transshipment", {"triggers": {"hub_north": 3}}, "north_south"),
        ("proactive_transshipment", {"mode": "proactive"}, "triggers"),
    ],
)
def test_bad_parameters_are_named(rule, parameters, message):
    with pytest.raises(InputError, match=message):
        load_policy(rule, Scenario.load("two_region"), **parameters)


# Transshipment ----------------------------------------------------------------------------------------


def neighbours(lead_time, lost_share=0.0):
    """Two stores that help each other out; ample supply, three periods away."""
    stores = ("east", "west")
    return instances.build(
        {
            "name": "neighbours",
            "units": "integer",
            "horizon": 80,
            "nodes": instances.SUPPLIER | {name: {"holding_cost": 1, "initial": 12} for name in stores},
            "lanes": {f"supplier_{name}": {"source": "supplier", "target": name, "lead_time": 3} for name in stores}
            | {
                "east_west": {"source": "east", "target": "west", "mode": "transshipment", "lead_time": lead_time},
                "west_east": {"source": "west", "target": "east", "mode": "transshipment", "lead_time": lead_time},
            },
            "customers": {
                f"{name}_shoppers": {
                    "sources": {name: {}},
                    "demand": {"kind": "negative_binomial", "mean": 4, "dispersion": 0.8},
                    "lost_share": lost_share,
                    "backorder_cost": 9,
                    "lost_sale_cost": 9,
                }
                for name in stores
            },
        }
    )


@pytest.mark.parametrize("lost_share", [0.0, 1.0])
@pytest.mark.parametrize("lead_time", [0, 1, 2])
@pytest.mark.parametrize("rule", LATERAL)
def test_neighbours_help_as_counted_by_hand(rule, lead_time, lost_share):
    scenario = neighbours(lead_time, lost_share)
    t = scenario.tables
    trigger, level, keep = (1, 8, 6) if rule == "reactive_transshipment" else (5, 9, 7)
    policy = load_policy(rule, scenario, levels=18, triggers=trigger, lateral_levels=level, keep_levels=keep)
    shipped = 0
    for observation, decision in observations(scenario, policy, worlds=4, length=80):
        for world, (source, target) in itertools.product(range(4), (("east", "west"), ("west", "east"))):
            standing = {
                name: int(observation.on_hand[world, t.nodes.index(name)].sum() - observation.backlog[world, i].sum())
                for i, name in enumerate(("east", "west"))
            }
            short = standing[target]
            for lane in (f"supplier_{target}", f"{source}_{target}"):
                k = t.lanes.index(lane)
                for slot in range(t.K):  # dispatched slot + 1 periods ago
                    if t.nominal_lead_time[k] - slot - 1 <= max(lead_time, 0) and lead_time:
                        short += int(observation.in_transit[world, k, 0, slot].sum())
            watched = standing[target] if rule == "reactive_transshipment" else short
            asked = 0
            if watched <= trigger:
                asked = min(max(level - short, 0), max(standing[source] - keep, 0))
            assert decision.requests[world, t.lanes.index(f"{source}_{target}"), 0] == asked
            shipped += asked
    assert shipped > 0


@pytest.mark.parametrize("units", ["integer", "continuous"])
@pytest.mark.parametrize("rule", LATERAL)
def test_sources_keep_what_they_keep(rule, units):
    """Over all lateral lanes out of a node, quick and slow ones, no more is asked for than stands above its keep level."""
    data = neighbours(1).to_dict() | {"units": units}
    data["nodes"] |= {"south": {"holding_cost": 1, "initial": 3}}
    data["lanes"] |= {
        "supplier_south": {"source": "supplier", "target": "south", "lead_time": 3},
        "east_south": {"source": "east", "target": "south", "mode": "transshipment", "lead_time": 0},
        "west_south": {"source": "west", "target": "south", "mode": "transshipment", "lead_time": 2},
    }
    data["customers"]["south_shoppers"] = data["customers"]["east_shoppers"] | {"sources": {"south": {}}}
    scenario = Scenario.from_mapping(data)
    t = scenario.tables
    policy = load_policy(rule, scenario, triggers=9, lateral_levels=16, keep_levels=4)
    asked_twice = 0
    for observation, decision in observations(scenario, policy, worlds=8, length=60):
        for i, name in enumerate(("east", "west")):
            lanes = [k for k, lane in enumerate(t.lanes) if lane in (f"{name}_south", "east_west", "west_east")]
            lanes = [k for k in lanes if t.nodes[t.lane_source[k]] == name]
            asked = decision.requests[:, lanes, 0]
            standing = observation.on_hand[:, t.nodes.index(name)].sum((1, 2)) - observation.backlog[:, i].sum((1, 2))
            assert (asked.sum(1) <= np.maximum(standing - 4, 0) + 1e-9).all()
            asked_twice += int((asked > 0).all(1).sum())
    assert asked_twice > 0


# Everywhere ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", DUAL + LATERAL)
@settings(
    max_examples=4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=strategies.integers(0, 10**6), units=strategies.sampled_from(["continuous", "integer"]))
def test_rules_hold_on_random_networks(rule, seed, units, tmp_path):
    check_on_a_random_network(rule, seed, units, tmp_path)


@pytest.mark.parametrize("rule", ["single_index", "tailored_base_surge"])
def test_gradients_are_finite_differences(rule):
    import torch

    from echelongym.envs.core.backend import TorchOps

    scenario = Scenario.load("two_region")
    policy = RULES[rule](scenario)
    space = policy.space()
    tape = scenario.sample(worlds=2, seed=5, purpose="tune", periods=scenario.warm_up + 8)
    origin = np.maximum(space.start, space.lower)
    direction = np.random.default_rng(0).normal(size=len(space)) * space.scale

    def cost(vector, backend):
        return simulate(
            scenario, policy.with_vector(space, vector), tape, backend=backend, kpis=False
        ).cost_per_period.sum()

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    cost(torch.tensor(origin) + step * torch.tensor(direction), TorchOps(torch.float64)).backward()
    width = 1e-7
    sides = [cost(origin + sign * width * direction, "numpy") for sign in (1, -1)]
    assert float(step.grad) == pytest.approx((sides[0] - sides[1]) / (2 * width), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("rule", DUAL + LATERAL)
def test_the_tuner_takes_them(rule):
    scenario = neighbours(1) if rule in LATERAL else two_sources(3, 1)
    scenario = scenario.replace(horizon=40, warm_up=10)
    found = tune(scenario, rule, budget=12_000, worlds=16, judged=16, method="search", progress=False)
    assert found.rule.name == rule
    assert math.isfinite(found.cost)
