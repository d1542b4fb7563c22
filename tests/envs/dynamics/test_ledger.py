"""Cost lines held to amounts computed by hand, and to plain loops over names on random flows."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_flows import batch_major, column, random_periods
from random_scenarios import random_scenario
from reference_scenario import read_scenario

from echelongym.envs.accounts import linear_costs as priced
from echelongym.envs.accounts.ledger import COST_LINES, LINES, REVENUE, Ledger
from echelongym.envs.core.backend import NumpyOps, TorchOps
from echelongym.envs.core.errors import InputError
from echelongym.envs.dynamics.state import Flows
from echelongym.envs.scenario.scenario import Scenario

# Two products (volumes 1 and 2), supplier and direct source, hub, store, a return lane; one world unless said.
HAND = {
    "name": "hand",
    "horizon": 10,
    "reward_scale": 4.0,
    "carbon_price": 0.5,
    "products": {"milk": {"shelf_life": 3}, "bread": {"volume": 2.0}},
    "nodes": {
        "mill": {"kind": "supplier"},
        "hub": {"holding_cost": {"milk": 1.0, "bread": 2.0}, "storage_capacity": 6, "overflow_cost": 3.0},
        "store": {"holding_cost": 4.0, "disposal_cost": 5.0, "fixed_cost": 7.0, "terminal_value": 0.5},
    },
    "lanes": {
        "mill_hub": {
            "source": "mill",
            "target": "hub",
            "purchase_cost": 2.0,
            "transport_cost": {"milk": 0.5, "bread": 1.0},
            "commitment": {"milk": 6, "bread": 0},
            "emissions_kg": 0.25,
            "vehicle_volume": 4,
            "fixed_cost": 10.0,
            "fixed_emissions_kg": 8.0,
        },
        "hub_store": {"source": "hub", "target": "store", "in_transit_cost": 0.1, "fixed_cost": 3.0},
        "back": {"source": "shop", "target": "hub", "transport_cost": 0.2, "return_share": 0.5, "fixed_cost": 1.0},
    },
    "customers": {
        "shop": {
            "sources": {"store": {"transport_cost": 1.5, "emissions_kg": 2.0}, "mill": {}},
            "demand": {"kind": "deterministic", "mean": 3.0},
            "lost_share": 0.5,
            "lost_sale_cost": {"milk": 6.0, "bread": 0.0},
            "backorder_cost": 1.25,
            "price": {"milk": 10.0, "bread": 20.0},
        }
    },
}


def flows_of(tables, **given):
    """Flows of one world, zero where nothing is given; rows are entities, columns products."""
    t, worlds = tables, 1
    sizes = {"requests": t.L, "shipped": t.L, "received": t.L, "returned": t.L, "recovered": t.L, "in_transit": t.L}
    sizes |= {"served": t.S, "on_hand": t.N, "disposed": t.N}
    sizes |= dict.fromkeys(("served_new", "served_first", "demand", "lost_new", "lost", "backlog"), t.C)
    arrays = {name: np.zeros((size, t.P, worlds)) for name, size in sizes.items()}
    arrays["present"] = np.zeros((t.N, worlds))
    for name, values in given.items():
        assert name in arrays
        arrays[name] = np.asarray(values, float).reshape(arrays[name].shape)
    return Flows(**arrays)


@pytest.fixture(scope="module")
def hand():
    return Scenario.from_mapping(HAND)


# Lanes mill_hub, hub_store, back; nodes mill, hub, store; pairs store>shop, mill>shop; products milk, bread.
BY_HAND = [
    # 2 x (5 + 1); vehicles: volume 5 + 2 x 1 = 7 in 4 -> 2 of 10; kg: 0.25 x 6 + 8 x 2 = 17.5; 1 milk short of 6.
    (
        {"shipped": [[5, 1], [0, 0], [0, 0]]},
        {"purchase": 12, "transport": 3.5, "fixed_transport": 20, "carbon": 8.75, "commitment": 0.5},
    ),
    # More than committed pays no less; nothing shipped pays all of it.
    ({"shipped": [[8, 0], [0, 0], [0, 0]]}, {"purchase": 16, "transport": 4, "fixed_transport": 20, "carbon": 9}),
    # No vehicle volume: one vehicle if anything moves.
    ({"shipped": [[6, 0], [100, 0], [0, 0]]}, {"purchase": 12, "transport": 3, "fixed_transport": 23, "carbon": 8.75}),
    # 8 x 1 fill two vehicles of 4 exactly: 2; a hair of rounding more still does.
    (
        {"shipped": [[8 + 1e-10, 0], [0, 0], [0, 0]]},
        {"purchase": 16 + 2e-10, "transport": 4 + 5e-11, "fixed_transport": 20, "carbon": 9},
    ),
    # Dust moves no vehicle.
    ({"shipped": [[1e-12, 0], [1e-12, 0], [0, 0]]}, {"commitment": 3, "purchase": 2e-12, "transport": 5e-13}),
    # What is recovered pays transport and its vehicle; what is returned does not.
    (
        {"returned": [[0, 0], [0, 0], [9, 9]], "recovered": [[0, 0], [0, 0], [5, 0]]},
        {"transport": 1, "fixed_transport": 1},
    ),
    # Served by the store 2 + 1, by the mill 4: revenue for all, transport and emissions where the store serves.
    ({"served": [[2, 1], [4, 0]]}, {"transport": 4.5, "revenue": 80, "carbon": 3}),
    # Hub 2 x 1 + 3 x 2, store 1 x 4; volume at the hub 2 + 3 x 2 = 8, 2 above its capacity.
    ({"on_hand": [[0, 0], [2, 3], [1, 0]]}, {"holding": 12, "overflow": 6}),
    ({"in_transit": [[9, 9], [3, 2], [9, 9]]}, {"in_transit": 0.5}),
    ({"backlog": [[2, 4]]}, {"backorder": 7.5}),
    ({"lost": [[2, 4]], "lost_new": [[1, 1]]}, {"lost_sale": 12}),
    # Disposal costs where it has a price.
    ({"disposed": [[0, 0], [3, 0], [1, 1]]}, {"disposal": 10}),
    ({"present": [[1], [1], [1]]}, {"node": 7}),
]


@pytest.mark.parametrize("backend", [NumpyOps(), TorchOps()], ids=lambda ops: ops.name)
@pytest.mark.parametrize(("given_flows", "expected"), BY_HAND)
def test_lines_by_hand(hand, backend, given_flows, expected):
    """Every line of a period; the milk committed and not shipped is due in all of them."""
    ledger = Ledger(hand.tables, backend)
    flows = flows_of(hand.tables, **given_flows)
    lines = ledger.period(Flows(*(backend.asarray(value) for value in flows)))
    if "shipped" not in given_flows:
        expected = {**expected, "commitment": 3}
    for line in LINES:
        assert float(lines.get(line, [0.0])[0]) == pytest.approx(expected.get(line, 0.0), abs=1e-9), line


def test_terminal_value_of_what_is_left(hand):
    """Paid back for stock after the last close, all its ages; not before the last period."""
    ledger = Ledger(hand.tables)
    closing = SimpleNamespace(on_hand=np.zeros((3, 2, 3, 1)))
    closing.on_hand[2, 0, :, 0] = [1, 2, 3]
    closing.on_hand[2, 1, 2, 0] = 4
    flows = flows_of(hand.tables, on_hand=[[0, 0], [0, 0], [99, 99]])
    assert "terminal" not in ledger.period(flows, closing=closing)
    assert ledger.period(flows, last=True, closing=closing)["terminal"] == pytest.approx([-5.0])
    with pytest.raises(ValueError, match="closing = None: expected the State"):
        ledger.period(flows, last=True)


def test_cost_reward_and_full(hand):
    ledger = Ledger(hand.tables)
    lines = ledger.period(flows_of(hand.tables, served=[[1, 0], [0, 0]], on_hand=[[0, 0], [1, 0], [0, 0]]))
    # transport 1.5, holding 1, commitment 3, carbon 0.5 x 2; revenue 10.
    assert ledger.cost(lines) == pytest.approx([6.5])
    assert ledger.reward(lines) == pytest.approx([3.5 / 4])
    full = ledger.full(lines, 1)
    assert tuple(full) == LINES == (*COST_LINES, "revenue")
    assert ledger.cost(full) == pytest.approx([6.5])
    assert all(values.shape == (1,) for values in full.values())
    assert list(lines) == [line for line in LINES if line in lines]


def test_lines_without_a_price_are_not_there():
    bare = {**HAND, "carbon_price": 0.0, "reward_scale": 1.0}
    bare["nodes"] = {"mill": {"kind": "supplier"}, "hub": {}, "store": {"holding_cost": 1.0}}
    bare["lanes"] = {"a": {"source": "mill", "target": "store"}}
    bare["customers"] = {"shop": {**HAND["customers"]["shop"], "sources": {"store": {}}, "price": 0.0}}
    tables = Scenario.from_mapping(bare).tables
    ledger = Ledger(tables)
    assert ledger.lines == ("holding", "backorder", "lost_sale")
    flows = flows_of(tables)
    assert tuple(ledger.period(flows)) == ledger.lines
    assert tuple(ledger.period(flows._replace(backlog=None, lost=None))) == ("holding",)
    assert ledger.emissions_kg(flows).tolist() == [0.0]


def test_nothing_priced_costs_nothing():
    mapping = {
        "nodes": {"mill": {"kind": "supplier"}, "store": {}},
        "lanes": {"a": {"source": "mill", "target": "store"}},
        "customers": {
            "shop": {"sources": {"store": {}}, "demand": {"kind": "deterministic", "mean": 1}, "lost_share": 1}
        },
    }
    tables = Scenario.from_mapping(mapping).tables
    ledger = Ledger(tables)
    lines = ledger.period(flows_of(tables, on_hand=[[0], [5]]))
    assert ledger.cost(lines).tolist() == [0.0]
    with pytest.raises(InputError, match=r"reward_scale = 0\.0: expected a number > 0"):
        ledger.reward(lines)


# ----------------------------------------------------------------------------------- random flows, by plain loops


def by_loops(mapping, tables, flows, b):
    """Every line of world b, written from the contract over names."""
    world = read_scenario(mapping)
    cost, kg = dict.fromkeys(LINES, 0.0), 0.0
    products = list(enumerate(world.products))

    def of(name, i, k):
        array = getattr(flows, name)
        return 0.0 if array is None else array[i, k, b].item()

    for i, lane in enumerate(world.lanes.values()):
        moved = {p: of("shipped", i, k) + of("recovered", i, k) for k, p in products}
        volume = sum(moved[p] * world.volume[p] for p in world.products)
        if lane.vehicle_volume is None:
            vehicles = 1 if sum(moved.values()) > 0 else 0
        else:
            vehicles = math.ceil(volume / lane.vehicle_volume - 1e-9)
        cost["fixed_transport"] += lane.fixed_cost * vehicles
        kg += lane.fixed_emissions_kg * vehicles
        for k, p in products:
            cost["purchase"] += lane.purchase_cost[p] * of("shipped", i, k)
            cost["transport"] += lane.transport_cost[p] * moved[p]
            cost["in_transit"] += lane.in_transit_cost[p] * of("in_transit", i, k)
            kg += lane.emissions_kg[p] * moved[p]
            if p in lane.products:
                cost["commitment"] += lane.transport_cost[p] * max(lane.commitment[p] - of("shipped", i, k), 0)
    for i, node in enumerate(world.nodes.values()):
        volume = sum(of("on_hand", i, k) * world.volume[p] for k, p in products)
        if node.storage_capacity is not None:
            cost["overflow"] += node.overflow_cost * max(volume - node.storage_capacity, 0)
        if flows.present is not None:
            cost["node"] += node.fixed_cost * flows.present[i, b]
        for k, p in products:
            cost["holding"] += node.holding_cost[p] * of("on_hand", i, k)
            cost["disposal"] += node.disposal_cost[p] * of("disposed", i, k)
    for i, (pair, terms) in enumerate(world.pairs.items()):
        for k, p in products:
            cost["transport"] += terms.transport_cost[p] * of("served", i, k)
            cost["revenue"] += world.customers[pair[1]].price[p] * of("served", i, k)
            kg += terms.emissions_kg[p] * of("served", i, k)
    for i, customer in enumerate(world.customers.values()):
        for k, p in products:
            cost["backorder"] += customer.backorder_cost[p] * of("backlog", i, k)
            cost["lost_sale"] += customer.lost_sale_cost[p] * of("lost", i, k)
    cost["carbon"] = world.carbon_price * kg
    return cost, kg


def drawn(seed, units, worlds=3):
    rng = np.random.default_rng(seed)
    mapping = random_scenario(rng, units)
    tables = Scenario.from_mapping(mapping).tables
    flows = random_periods(tables, rng, worlds, 1)[0][0]
    if units == "integer":
        flows = Flows(*(None if value is None else np.floor(4 * value).astype(np.int64) for value in flows))
    return mapping, tables, flows


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), units=st.sampled_from(["continuous", "integer"]))
def test_lines_equal_plain_loops(seed, units):
    mapping, tables, flows = drawn(seed, units)
    ledger = Ledger(tables)
    lines, kg = ledger.full(ledger.period(flows), 3), ledger.emissions_kg(flows)
    assert set(ledger.period(flows)) <= set(ledger.lines) | {"holding"}
    for b in range(3):
        expected, emitted = by_loops(mapping, tables, flows, b)
        assert tables.has_prices == (REVENUE in lines)
        for line in lines:
            np.testing.assert_allclose(lines[line][b], expected[line], rtol=1e-12, atol=1e-10, err_msg=line)
        np.testing.assert_allclose(kg[b], emitted, rtol=1e-12, atol=1e-10)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), units=st.sampled_from(["continuous", "integer"]))
def test_backends_agree(seed, units):
    _, tables, flows = drawn(seed, units)
    one, other = Ledger(tables), Ledger(tables, TorchOps())
    tensors = Flows(*(None if value is None else torch.as_tensor(value) for value in flows))
    mine, theirs = one.period(flows), other.period(tensors)
    assert list(mine) == list(theirs)
    for line, values in mine.items():
        np.testing.assert_allclose(values, theirs[line].numpy(), rtol=1e-12, atol=1e-10)
    reward = other.reward(theirs).numpy()
    np.testing.assert_allclose(one.reward(mine), reward, rtol=1e-12, atol=1e-10)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), units=st.sampled_from(["continuous", "integer"]))
def test_a_world_costs_the_same_alone_and_in_any_batch(seed, units):
    """Bit for bit, small batch or large, however the arrays lie in memory."""
    _, tables, flows = drawn(seed, units, worlds=40)
    # Amounts that do not sum exactly, so that the order of a sum would show.
    if units == "continuous":
        odd = np.random.default_rng(seed).random(40) * math.pi
        flows = Flows(*(None if value is None else value * odd for value in flows))
    ledger = Ledger(tables)
    lines, kg, reward = ledger.period(flows), ledger.emissions_kg(flows), ledger.reward(ledger.period(flows))
    turned = ledger.period(batch_major(flows))
    for b in (0, 17, 39):
        alone = ledger.period(column(flows, b))
        assert list(alone) == list(lines)
        for line, values in lines.items():
            assert alone[line][0] == values[b] == turned[line][b], line
        assert ledger.emissions_kg(column(flows, b))[0] == kg[b]
        assert ledger.reward(alone)[0] == reward[b]


def test_both_ways_of_summing_are_used(monkeypatch):
    """One product for all terms, and term by term: the same bits."""
    rng = np.random.default_rng(5)
    mapping = random_scenario(rng)
    tables = Scenario.from_mapping(mapping).tables
    flows = random_periods(tables, rng, 7, 1)[0][0]
    flows = Flows(*(None if value is None else value * math.pi for value in flows))
    monkeypatch.setattr(priced, "SMALL", 0)
    large = Ledger(tables).period(flows)
    monkeypatch.setattr(priced, "SMALL", 10**9)
    small = Ledger(tables).period(flows)
    for line, values in large.items():
        assert values.tolist() == small[line].tolist()


def test_gradient_of_the_cost(hand):
    """Prices come back as gradients; vehicles and the nodes' fixed cost are flat."""
    ops = TorchOps()
    tables = hand.tables
    flows = flows_of(
        tables,
        shipped=[[5.5, 1.5], [3, 0], [0, 0]],
        recovered=[[0, 0], [0, 0], [1, 0]],
        served=[[2, 1], [4, 0]],
        on_hand=[[0, 0], [4, 3], [1, 0]],
        in_transit=[[1, 1], [3, 2], [0, 0]],
        backlog=[[2, 4]],
        lost=[[2, 4]],
        disposed=[[0, 0], [0, 0], [1, 0]],
        present=[[1], [1], [1]],
    )
    tensors = Flows(*(torch.as_tensor(value).requires_grad_() for value in flows))
    ledger, plain = Ledger(tables, ops), Ledger(tables)
    ledger.cost(ledger.period(tensors)).sum().backward()
    step = 1e-6
    for name in ("shipped", "served", "on_hand", "in_transit", "backlog", "lost", "disposed"):
        gradient = getattr(tensors, name).grad
        assert torch.isfinite(gradient).all()
        for cell in np.ndindex(gradient.shape):
            value = getattr(flows, name)
            up, down = value.copy(), value.copy()
            up[cell] += step
            down[cell] -= step
            if name == "shipped" and value[cell] == 0:
                continue  # a first vehicle is a step, not a slope
            high = plain.cost(plain.period(flows._replace(**{name: up})))
            low = plain.cost(plain.period(flows._replace(**{name: down})))
            assert float(gradient[cell]) == pytest.approx((high - low)[0] / (2 * step), abs=1e-6), (name, cell)


def test_flows_are_left_alone(hand):
    """Nothing handed out is a view of a flow, nothing is written into."""
    flows = flows_of(hand.tables, in_transit=[[9, 9], [3, 2], [9, 9]], on_hand=[[0, 0], [2, 3], [1, 0]])
    before = [value.copy() for value in flows]
    for lines in (Ledger(hand.tables).period(flows), Ledger(hand.tables).full({}, 1)):
        for values in lines.values():
            values += 1.0
    assert all((value == old).all() for value, old in zip(flows, before, strict=True))
