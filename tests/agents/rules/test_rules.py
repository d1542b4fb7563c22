"""Base-stock rules: against positions counted lane by lane in plain Python, known equivalences, and properties."""

import itertools
import math

import numpy as np
import oracle_instances as instances
import pytest
import torch
from hypothesis import given, settings, strategies
from random_scenarios import random_scenario
from rule_pairs import rule_pairs
from shipped import SMALL

from echelongym.agents import load_policy
from echelongym.agents.registry import RULES
from echelongym.agents.rules.allocation import equalise
from echelongym.envs import InputError, Scenario, simulate
from echelongym.envs.core.backend import NUMPY, TorchOps
from echelongym.envs.dynamics import Segments
from echelongym.envs.simulate import periods

SHIPPED = [name for name in SMALL if name != "grocery"]  # grocery needs an extra


def observations(scenario, policy, worlds=3, length=8, seed=0):
    """Observations that a policy meets, with its decisions; numbers of a period stay as they were."""
    tape = scenario.sample(worlds=worlds, seed=seed, purpose="tune", periods=length)
    return [(observation, policy(observation)) for _, observation, _, _ in periods(scenario, policy, tape)]


# Independent recomputation: one world, one product, dictionaries by name -------------------------------------


class Counted:
    """Positions of one world and product, counted by walking the network."""

    def __init__(self, scenario, observation, world, product):
        self.lanes, name = scenario.lanes, list(scenario.products)[product]
        self.first = {}
        for key, lane in scenario.lanes.items():
            if lane.source in scenario.nodes and scenario.carries(lane, name):
                self.first.setdefault(lane.target, key)
        self.stock = {n: observation.on_hand[world, i, product].sum() for i, n in enumerate(scenario.nodes)}
        self.under_way = {k: observation.in_transit[world, i, product].sum() for i, k in enumerate(scenario.lanes)}
        self.waiting = dict.fromkeys(scenario.nodes, 0.0)
        for c, customer in enumerate(scenario.customers.values()):
            sources = [s for s, source in customer.sources.items() if scenario.carries(source, name)]
            if sources:
                self.waiting[sources[0]] += observation.backlog[world, c, product].sum()

    def own(self, node):
        inbound = sum(self.under_way[key] for key, lane in self.lanes.items() if lane.target == node)
        return self.stock[node] + inbound - self.waiting[node]

    def fed(self, node):
        return [self.lanes[key].target for key in self.first.values() if self.lanes[key].source == node]

    def echelon(self, node):
        return self.own(node) + sum(self.echelon(below) for below in self.fed(node))

    def local(self, node, levels):
        """Request of a node on its primary lane, once those below have asked."""
        out = sum(self.local(below, levels) for below in self.fed(node))
        return max(levels[node] - (self.own(node) - out), 0.0)


@pytest.mark.parametrize("rule", ["local_base_stock", "echelon_base_stock"])
@settings(max_examples=25)
@given(seed=strategies.integers(0, 10**6), units=strategies.sampled_from(["continuous", "integer"]))
def test_requests_raise_counted_positions_to_levels(rule, seed, units):
    scenario = Scenario.from_mapping(random_scenario(np.random.default_rng(seed), units))
    t = scenario.tables
    policy = RULES[rule](scenario)
    levels = policy.values["levels"].reshape(t.N, t.P)
    for observation, decision in observations(scenario, policy, worlds=2, length=5):
        for world, p in itertools.product(range(2), range(t.P)):
            counted = Counted(scenario, observation, world, p)
            wanted = {name: levels[n, p] for n, name in enumerate(t.nodes)}
            asked = {
                lane: counted.local(node, wanted)
                if rule == "local_base_stock"
                else max(wanted[node] - counted.echelon(node), 0.0)
                for node, lane in counted.first.items()
            }
            for k, lane in enumerate(t.lanes):
                assert decision.requests[world, k, p] == pytest.approx(asked.get(lane, 0.0), abs=1e-9)


def test_installation_and_echelon_levels_are_one_policy_on_a_chain():
    """Axsater and Rosling (Management Science 39(10), 1993): S_local = S_echelon - S_echelon of the stage below."""
    scenario = instances.serial_b()
    tape = scenario.sample(worlds=16, seed=1, purpose="test")
    echelon = load_policy("echelon_base_stock", scenario, levels={"stage_2": 19, "stage_1": 14})
    local = load_policy("local_base_stock", scenario, levels={"stage_2": 5, "stage_1": 14})
    first, second = (simulate(scenario, policy, tape, kpis=False) for policy in (echelon, local))
    np.testing.assert_array_equal(first.cost_per_period, second.cost_per_period)


def test_dual_index_rule_is_that_of_its_inventors():
    """One store, two sources, backorders: a loop over net stock and the pipeline of regular orders alone."""
    lead, fast, slow, cap = 3, 5, 9, 2
    scenario = instances.dual_sourcing(lead, 110)
    policy = load_policy("capped_echelon_base_stock", scenario, levels=slow, express_levels=fast, caps={"regular": cap})
    tape = scenario.sample(worlds=4, seed=2, purpose="test", periods=60)
    trace = simulate(scenario, policy, tape, trace=True, kpis=False).trace
    history = scenario.observe.history
    for world in range(4):
        net = int(trace.on_hand[0, world].sum() - trace.backlog[0, world].sum())
        pipeline = [int(trace.in_transit[0, world, 0, 0, k].sum()) for k in reversed(range(lead - 1))]
        for t in range(60):
            if t:
                net += pipeline.pop(0)
            expedited = max(fast - net, 0)
            regular = min(max(slow - (net + sum(pipeline) + expedited), 0), cap)
            assert trace.requests[t, world, :, 0].tolist() == [regular, expedited]
            net += expedited - int(tape.demand[history + t, world, 0, 0])
            pipeline.append(regular)


def test_slower_second_source_has_a_position_of_its_own():
    """The primary lane leaves out what the slower lane in use brings later; the slower one sees everything."""
    data = {
        "name": "two_speeds",
        "horizon": 30,
        "nodes": {"near": {"kind": "supplier"}, "far": {"kind": "supplier"}, "store": {"initial": 3}},
        "lanes": {
            "quick": {"source": "near", "target": "store", "lead_time": 1},
            "slow": {"source": "far", "target": "store", "lead_time": 4},
        },
        "customers": {
            "all": {
                "sources": {"store": {}},
                "demand": {"kind": "poisson", "mean": 2},
                "lost_share": 0,
                "backorder_cost": 5,
            }
        },
    }
    scenario = Scenario.from_mapping(data)
    policy = load_policy("echelon_base_stock", scenario, levels=5, express_levels={"slow": 12})
    for observation, decision in observations(scenario, policy, length=30):
        stock = observation.on_hand.sum((1, 2, 3)) - observation.backlog.sum((1, 2, 3))
        slots = observation.in_transit[:, 1, 0, :, 0]  # slot k arrives in 3 - k periods
        quick = np.maximum(5 - (stock + observation.in_transit[:, 0].sum((1, 2, 3)) + slots[:, 2:].sum(1)), 0)
        everything = stock + observation.in_transit.sum((1, 2, 3, 4)) + quick
        np.testing.assert_allclose(decision.requests[:, 0, 0], quick)
        np.testing.assert_allclose(decision.requests[:, 1, 0], np.maximum(12 - everything, 0))


# Allocation ----------------------------------------------------------------------------------------


def test_whole_shares_leave_the_least_unequal_shortfalls():
    """Against all ways of sharing out up to 9 units among three."""
    groups = Segments(np.zeros(3, dtype=np.int64), 1, NUMPY)
    for claims in itertools.product(range(4), repeat=3):
        for stock in range(10):
            shares = equalise(NUMPY, np.array(claims)[:, None], np.array([[stock]]), groups, np.ones((3, 1)))[:, 0]
            total = min(stock, sum(claims))
            ways = [way for way in itertools.product(*(range(c + 1) for c in claims)) if sum(way) == total]
            best = min(sum((c - x) ** 2 for c, x in zip(claims, way, strict=True)) for way in ways)
            assert tuple(shares) in ways
            assert ((np.array(claims) - shares) ** 2).sum() == best


@given(
    claims=strategies.lists(strategies.floats(0, 100), min_size=2, max_size=6),
    stock=strategies.floats(0, 400),
    seed=strategies.integers(0, 99),
)
def test_continuous_shares_reach_one_level(claims, stock, seed):
    weight = np.random.default_rng(seed).uniform(0.5, 3.0, (len(claims), 1))
    groups = Segments(np.zeros(len(claims), dtype=np.int64), 1, NUMPY)
    wanted = np.array(claims)[:, None]
    shares = equalise(NUMPY, wanted, np.array([[stock]]), groups, weight)
    assert (shares >= 0).all()
    assert (shares <= wanted + 1e-9).all()
    assert shares.sum() == pytest.approx(min(stock, wanted.sum()), abs=1e-6)
    depth = (wanted - shares) / weight
    served = depth[shares > 1e-6]
    if len(served):
        assert np.ptp(served) < 1e-6
        assert (depth <= served.max() + 1e-6).all()


def test_equalising_never_asks_for_more_than_stands():
    scenario = instances.tiny_warehouse(2)
    levels = {"warehouse": 8, "store_1": 3, "store_2": 3}
    policy = load_policy("echelon_base_stock", scenario, levels=levels, allocation="equalise")
    for observation, decision in observations(scenario, policy, worlds=32, length=40):
        stands = observation.on_hand[:, 1].sum((1, 2))
        assert (decision.requests[:, 1:].sum((1, 2)) <= stands).all()


def test_lateral_lanes_take_only_what_their_source_does_not_keep():
    scenario = Scenario.load("two_region")
    lateral = {"north_south": 60, "south_north": 90}
    policy = load_policy("local_base_stock", scenario, lateral_levels=lateral, keep_levels=20)
    t, lent = scenario.tables, 0.0
    for observation, decision in observations(scenario, policy, worlds=8, length=60):
        for customer, (lane, source) in enumerate((("north_south", "north"), ("south_north", "south"))):
            asked = decision.requests[:, t.lanes.index(lane), 0]
            stands = observation.on_hand[:, t.nodes.index(source)].sum((1, 2))
            stands = stands - observation.backlog[:, customer].sum((1, 2))
            assert (asked <= np.maximum(stands - 20, 0) + 1e-9).all()
            lent += asked.sum()
    assert lent > 0


# Backends, batches, gradients ----------------------------------------------------------------------


def everything_on(name, scenario):
    """A rule with every lane in use."""
    rule = RULES[name](scenario)
    space = rule.space()
    vector = np.round(space.start) if scenario.tables.integer else space.start
    return rule.with_vector(space, np.maximum(vector, space.lower))


@pytest.mark.parametrize(("name", "rule"), rule_pairs(SHIPPED))
def test_numpy_and_torch_decide_alike(name, rule):
    scenario = Scenario.load(name)
    policy = everything_on(rule, scenario)
    tape = scenario.sample(worlds=4, seed=0, purpose="tune", periods=scenario.warm_up + 12)
    first, second = (simulate(scenario, policy, tape, backend=b, kpis=False) for b in ("numpy", "torch"))
    np.testing.assert_allclose(first.cost_per_period, np.asarray(second.cost_per_period), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "rule"), rule_pairs(SHIPPED))
def test_a_world_alone_is_decided_as_in_a_batch(name, rule):
    scenario = Scenario.load(name)
    policy = everything_on(rule, scenario)
    tape = scenario.sample(worlds=5, seed=0, purpose="tune", periods=scenario.warm_up + 12)
    together = simulate(scenario, policy, tape, kpis=False).cost_per_period
    assert simulate(scenario, policy, tape[3], kpis=False).cost_per_period[0] == together[3]


@pytest.mark.parametrize("allocation", ["proportional", "equalise"])
@pytest.mark.parametrize("name", ["one_warehouse", "two_region"])
def test_gradients_by_parameters_are_finite_differences(name, allocation):
    scenario = Scenario.load(name)
    rule = RULES["capped_echelon_base_stock"](scenario, allocation=allocation)
    space = rule.space()
    tape = scenario.sample(worlds=2, seed=5, purpose="tune", periods=scenario.warm_up + 8)
    direction = np.random.default_rng(0).normal(size=len(space)) * space.scale

    def cost(step):
        if torch.is_tensor(step):
            vector = torch.tensor(space.start) + step * torch.tensor(direction)
            backend = TorchOps(torch.float64)
        else:
            vector, backend = space.start + step * direction, "numpy"
        policy = rule.with_vector(space, vector)
        return simulate(scenario, policy, tape, backend=backend, kpis=False).cost_per_period.sum()

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    cost(step).backward()
    width = 1e-7
    measured = (cost(width) - cost(-width)) / (2 * width)
    assert float(step.grad) == pytest.approx(measured, rel=1e-4, abs=1e-4)


# What users write ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "parameters", "message"),
    [
        ("echelon_base_stock", {"level": {"hub": 1}}, "did you mean 'levels'"),
        ("echelon_base_stock", {"levels": {"nort": 1}}, "did you mean 'north'"),
        ("echelon_base_stock", {"levels": {"dairy": 1}}, "dairy"),
        ("echelon_base_stock", {"levels": {"hub": "much"}}, "finite number"),
        ("echelon_base_stock", {"levels": {"hub": math.nan}}, "finite number"),
        ("echelon_base_stock", {"levels": {"hub": {"mlik": 1}}}, "did you mean 'milk'"),
        ("echelon_base_stock", {"caps": {"dairy_hub": 1}}, "caps"),
        ("capped_echelon_base_stock", {"caps": {"dairy_hub": -1}}, ">= 0"),
        ("echelon_base_stock", {"express_levels": {"north_south": 1}}, "hub_north_express"),
        ("echelon_base_stock", {"lateral_levels": {"hub_north_express": 1}}, "north_south"),
        ("echelon_base_stock", {"allocation": "equal"}, "equalise"),
    ],
)
def test_bad_parameters_are_named(rule, parameters, message):
    with pytest.raises(InputError, match=message):
        load_policy(rule, Scenario.load("two_region"), **parameters)


def test_a_saved_rule_is_read_back_and_refused_elsewhere(tmp_path):
    scenario = Scenario.load("two_region")
    rule = everything_on("capped_echelon_base_stock", scenario)
    path = tmp_path / "rule.yaml"
    rule.save(path, tuning={"note": 1})
    again = load_policy(path, scenario)
    assert again.parameters == rule.parameters
    tape = scenario.sample(worlds=3, seed=0, purpose="tune")
    costs = [simulate(scenario, policy, tape, kpis=False).cost_per_period for policy in (rule, again)]
    np.testing.assert_array_equal(*costs)
    with pytest.raises(InputError, match="another network than scenario 'serial'"):
        load_policy(path, Scenario.load("serial"))


def test_a_number_counts_for_all_and_null_is_the_default():
    scenario = Scenario.load("two_region")
    rule = RULES["echelon_base_stock"](scenario, levels=7.5, express_levels={"hub_north_express": None})
    assert rule.parameters["levels"] == {"hub": 7.5, "north": 7.5, "south": 7.5}
    assert "express_levels" not in rule.parameters
    assert not any(name.startswith(("levels", "express")) for name in rule.space().names)
