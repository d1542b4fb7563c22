"""Worlds in single precision cost what they cost in double precision, line by line: tolerances follow the type."""

import numpy as np
import pytest
from random_scenarios import random_scenario, random_tape
from replayed import FIELDS, tape_from

from echelongym.agents.loading import load_policy
from echelongym.agents.registry import RULES
from echelongym.agents.rules.allocation import equalise
from echelongym.envs import InputError, NetworkVectorEnv
from echelongym.envs.core.backend import NumpyOps
from echelongym.envs.core.segments import Segments
from echelongym.envs.dynamics.rounding import dust_of
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore::echelongym.envs.NetworkWarning")


def random_network(seed):
    """A chain of a few nodes with shops at its end, fixed costs and vehicles on many lanes, sizes over four decades."""
    rng = np.random.default_rng(seed)
    size, depth, shops = 10.0 ** rng.uniform(-1, 3), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    nodes = {"s": {"kind": "supplier"}} | {f"n{k}": {"holding_cost": 0.2, "fixed_cost": 1.0} for k in range(depth)}
    charge = {"fixed_cost": 5.0, "transport_cost": 0.1}
    lanes = {
        f"l{k}": {
            "source": "s" if k == 0 else f"n{k - 1}",
            "target": f"n{k}",
            "lead_time": int(rng.integers(0, 4)),
            **charge,
        }
        for k in range(depth)
    }
    customers = {}
    for k in range(shops):
        nodes[f"shop{k}"] = {"holding_cost": 1.0}
        vehicle = {"vehicle_volume": size * float(rng.uniform(0.3, 3))} if rng.random() < 0.5 else {}
        lanes[f"to{k}"] = {
            "source": f"n{depth - 1}",
            "target": f"shop{k}",
            "lead_time": int(rng.integers(0, 3)),
            **charge,
            **vehicle,
        }
        kind = rng.choice(["gamma", "deterministic", "uniform"])
        law = {
            "gamma": {"mean": size, "standard_deviation": 0.8 * size},
            "deterministic": {"mean": size},
            "uniform": {"low": 0.0, "high": 2 * size},
        }[kind]
        customers[f"c{k}"] = {
            "sources": {f"shop{k}": {}},
            "demand": {"kind": str(kind), **law},
            "lost_share": float(rng.choice([0.0, 0.4, 1.0])),
            "backorder_cost": 5.0,
            "lost_sale_cost": 9.0,
        }
    return Scenario.from_mapping(
        {"name": "random", "horizon": 60, "warm_up": 0, "nodes": nodes, "lanes": lanes, "customers": customers}
    )


@pytest.mark.parametrize("seed", range(40))
def test_every_cost_line_agrees_with_double_precision(seed):
    scenario = random_network(seed)
    tape = scenario.sample(8, seed, "test")
    for name in ("echelon_base_stock", "local_base_stock"):
        policy = load_policy(name, scenario)
        double, single = (
            simulate(scenario, policy, tape, backend=NumpyOps(np.dtype(dtype))) for dtype in ("float64", "float32")
        )
        total = double.cost_per_period.mean()
        for line, wanted in double.costs.items():
            # A shipment within rounding of nothing, or of a full vehicle, may count in one and not in the other.
            gap = abs((single.costs[line] - wanted).mean())
            assert gap <= 1e-3 * max(abs(wanted.mean()), 0.05 * total), (name, line, gap, wanted)


# Random networks --------------------------------------------------------------------------------------------------------


LOST = {"lost_share": 1.0, "lost_sale_cost": 9.0}


def both(scenario, policy, tape):
    return [simulate(scenario, policy, tape, trace=True, backend=NumpyOps(np.dtype(d))) for d in ("float64", "float32")]


def random_world(seed, units):
    rng = np.random.default_rng(seed)
    mapping = random_scenario(rng, units) | {"warm_up": 0}
    mapping.pop("forecast", None)  # tapes made by hand have none
    scenario = Scenario.from_mapping(mapping)
    return scenario, tape_from(scenario, [random_tape(rng, mapping) for _ in range(3)])


def rules_for(scenario, seed, count):
    """Some of the rules that make sense for a scenario, others for another seed."""
    names = [name for name, rule in RULES.items() if not rule.slow and rule.refusal(scenario) is None]
    return [RULES[names[(seed * count + i) % len(names)]](scenario) for i in range(count)]


@pytest.mark.parametrize("seed", range(10))
def test_whole_units_are_counted_the_same_in_both_types(seed):
    """Orders, shipments, stock and vehicles of every rule, and what they cost, to the bit."""
    scenario, tape = random_world(seed, "integer")
    for policy in rules_for(scenario, seed, 4):
        double, single = both(scenario, policy, tape)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(single.trace, field), getattr(double.trace, field), policy.name)
        for line, cost in double.costs.items():
            np.testing.assert_array_equal(single.costs[line], cost, f"{policy.name} {line}")


def test_whole_units_of_volumes_that_no_binary_fraction_is():
    """Three of 0.1 fill a vehicle of 0.3, and seven of 0.1 go through a capacity of 0.7, whatever the type."""
    lane = {"source": "s", "target": "shop", "fixed_cost": 5.0, "lead_time": 0}
    mapping = {
        "units": "integer",
        "horizon": 5,
        "warm_up": 0,
        "products": {"milk": {"volume": 0.1}},
        "nodes": {"s": {"kind": "supplier"}, "shop": {"initial": 0}},
        "lanes": {"truck": lane | {"vehicle_volume": 0.3}},
        "customers": {"c": {"sources": {"shop": {}}, "demand": {"kind": "deterministic", "mean": 3}, **LOST}},
    }
    for changes, shipped, vehicles in (({}, 3, 1), ({"lanes.truck.capacity": 0.7, "customers.c.demand.mean": 9}, 7, 3)):
        scenario = Scenario.from_mapping(mapping).with_overrides(changes)
        tape = scenario.sample(2, 1, "test")
        for outcome in both(scenario, RULES["echelon_base_stock"](scenario, levels=3 if not changes else 9), tape):
            assert (outcome.trace.shipped == shipped).all()
            np.testing.assert_allclose(outcome.costs["fixed_transport"], 5.0 * vehicles, rtol=1e-6)


def ambiguous(scenario, trace):
    """(B,) money a period of vehicles and open nodes that rounding of single precision may count or not.

    Recounted from the shipments in double precision: lanes whose load is within dust of nothing, or of full vehicles.
    """
    t, dust = scenario.tables, dust_of(scenario.tables, "float32")
    cost = t.lane_fixed_cost + t.carbon_price * t.lane_fixed_emissions
    moved = trace.shipped + trace.recovered  # (T, B, L, P)
    units, volume = moved.sum(-1), (moved * t.volume).sum(-1)
    given = np.isfinite(t.vehicle_volume)
    hair = dust[t.lane_target] * np.where(given, max(1.0, t.volume.max()), 1.0)
    size = np.where(given, t.vehicle_volume, 1.0)
    over = volume - size * np.floor(volume / size)  # above the last full vehicle
    near = np.where(given, (over <= hair) | (size - over <= hair), units <= hair) & (units > 0)
    standing = trace.on_hand.sum((3, 4))
    nodes = (standing > 0) & (standing <= dust)
    return ((near * cost).sum(-1) + (nodes * t.node_fixed_cost).sum(-1)).mean(0)


@pytest.mark.parametrize("seed", range(10))
def test_real_units_cost_the_same_but_for_what_rounding_cannot_tell(seed):
    """Every line within 1e-5 of the total, and within what vehicles cost whose load is dust away from another number."""
    scenario, tape = random_world(seed, "continuous")
    for name in ("echelon_base_stock", "local_base_stock", "dual_index"):
        try:
            policy = RULES[name](scenario, allocation=("proportional", "equalise", "marginal")[seed % 3])
        except InputError:  # no second lane
            continue
        double, single = both(scenario, policy, tape)
        bound = 1e-5 * np.abs(double.cost_per_period).max() + ambiguous(scenario, double.trace)
        for line, cost in double.costs.items():
            assert (np.abs(single.costs[line] - cost) <= bound).all(), (name, line)


@pytest.mark.parametrize("seed", range(6))
def test_indicators_count_the_vehicles_that_are_paid(seed):
    scenario, tape = random_world(seed, "continuous")
    data = scenario.to_dict()
    for lane in data["lanes"].values():
        lane |= {"transport_cost": 0.0, "fixed_cost": 7.0}
    for customer in data["customers"].values():
        for source in customer["sources"].values():
            source["transport_cost"] = 0.0
    scenario = Scenario.from_mapping(data)
    outcome = both(scenario, RULES["local_base_stock"](scenario), tape)[1]
    each = outcome.kpis()["network"]["transport_cost_per_unit"] * outcome.trace.served.sum((0, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(each, outcome.costs["fixed_transport"] * outcome.periods, rtol=1e-4)


# Ties -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.1, 1.1, 333.3])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("reorder_point_order_up_to", {"reorder_points": 3, "levels": 9}),
        ("reorder_point_quantity", {"reorder_points": 3, "order_quantities": 4}),
        ("echelon_base_stock", {"levels": 9}),
    ],
)
def test_orders_at_the_very_reorder_point_are_placed(name, parameters, scale):
    """Positions that are sums of tenths meet reorder points in real numbers: the orders of whole numbers, times the scale."""
    mapping = {
        "horizon": 60,
        "warm_up": 0,
        "lanes": {"truck": {"source": "s", "target": "shop", "fixed_cost": 5.0, "lead_time": 2}},
    }

    def network(unit, units):
        law = {"kind": "discrete", "values": [0, unit, 2 * unit], "probabilities": [0.4, 0.3, 0.3]}
        nodes = {"s": {"kind": "supplier"}, "shop": {"initial": 7 * unit}}
        customers = {"c": {"sources": {"shop": {}}, "demand": law, **LOST}}
        return Scenario.from_mapping(mapping | {"units": units, "nodes": nodes, "customers": customers})

    whole, scenario = network(1, "integer"), network(scale, "continuous")
    drawn = np.random.default_rng(1).integers(0, 3, (60 + whole.observe.history, 4, 1, 1))
    tapes = [
        tape_from(one, [{"demand": drawn[:, w] * unit} for w in range(4)])
        for one, unit in ((whole, 1), (scenario, scale))
    ]
    expected = simulate(whole, RULES[name](whole, **parameters), tapes[0], trace=True)
    scaled = RULES[name](scenario, **{key: value * scale for key, value in parameters.items()})
    for outcome in both(scenario, scaled, tapes[1]):
        np.testing.assert_allclose(outcome.trace.shipped, expected.trace.shipped * scale, atol=1e-5 * scale, rtol=1e-5)
        np.testing.assert_allclose(outcome.costs["fixed_transport"], expected.costs["fixed_transport"], rtol=1e-6)


@pytest.mark.parametrize("scale", [0.1, 1.0, 1e5])
def test_a_source_without_stock_shares_out_nothing_in_either_type(scale):
    rng = np.random.default_rng(0)
    groups = Segments(np.zeros(6, dtype=np.int64), 1, NumpyOps())
    for _ in range(200):
        claims, weight = rng.uniform(0, scale, (6, 1)), rng.uniform(0.1, 3, (6, 1))
        stock = np.array([[rng.choice([0.0, 0.3, 0.9]) * claims.sum()]])
        found = [
            equalise(NumpyOps(dtype), *(a.astype(dtype) for a in (claims, stock)), groups, weight.astype(dtype))
            for dtype in ("float64", "float32")
        ]
        for share in found:
            np.testing.assert_allclose(share.sum(), stock.sum(), atol=1e-5 * scale)
        np.testing.assert_allclose(found[1], found[0], atol=2e-5 * scale)


# Environments -----------------------------------------------------------------------------------------------------------


def test_an_environment_of_whole_units_is_the_same_in_both_types():
    scenario, _ = random_world(3, "integer")
    env = [NetworkVectorEnv(scenario, num_envs=5, dtype=dtype, info="costs") for dtype in ("float64", "float32")]
    rng = np.random.default_rng(0)
    for one in env:
        one.reset(seed=4)
    for _ in range(40):
        action = rng.uniform(-1, 1, env[0].action_space.shape).astype(np.float32)
        (seen, reward, *_), (other, also, *_) = (one.step(action) for one in env)
        np.testing.assert_array_equal(seen, other)
        np.testing.assert_array_equal(reward, also)
