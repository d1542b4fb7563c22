"""Chains of cells, groups of items and automatic levels against loops that follow the network lane by lane."""

import numpy as np
import pytest

from echelongym.envs import Scenario
from echelongym.envs.core.backend import NumpyOps
from echelongym.envs.core.segments import members_of, sorted_groups
from echelongym.envs.interface.automatic_levels import faced
from echelongym.envs.interface.feasibility import carried_share
from echelongym.envs.interface.inventory_positions import Forest, Later, SlotRows, longest_way
from echelongym.envs.network.echelons import Chains
from echelongym.envs.processes.demand import FEW
from echelongym.envs.processes.written_demand import parse_demand

NETWORK = {
    "randomise.network.nodes": 30,
    "randomise.network.express": {"probability": 0.5},
    "randomise.network.lateral": {"probability": 0.5},
    "randomise.network.lost": 0.5,
}


@pytest.fixture(scope="module", params=range(4))
def tables(request):
    family = Scenario.load("distribution_family", NETWORK)
    drawn = family.variant(request.param)
    both = drawn.with_overrides({"products": {"milk": {}, "bread": {"volume": 2}}})
    lanes = list(both.lanes)
    # Bread has other ways than milk: where its first lane does not carry it, the next one is the primary lane.
    changes = {f"lanes.{lanes[k]}.products": ["milk"] for k in range(7, len(lanes), 5)}
    return both.with_overrides(changes | {f"lanes.{lanes[0]}.capacity": 60}).tables


def way_up(t, node, product):
    """The node and every node above it."""
    found = [node]
    while (lane := t.primary_lane[node, product]) >= 0:
        node = int(t.lane_source[lane])
        found.append(node)
    return found


def test_echelons_flows_and_penalties_are_those_of_the_ways_up(tables):
    t = tables
    echelon = np.zeros((t.N, t.N, t.P), dtype=bool)
    for node, p in np.ndindex(t.N, t.P):
        echelon[way_up(t, node, p), node, p] = True
    np.testing.assert_array_equal(t.echelon, echelon)
    flow, penalty, holding, lost = np.zeros((4, t.N, t.P))
    for c, p in np.argwhere(t.first_source >= 0):
        cost = t.lost_share[c, p] * (t.lost_sale_cost + t.price)[c, p]
        cost += (1 - t.lost_share[c, p]) * t.backorder_cost[c, p]
        for node in way_up(t, int(t.first_source[c, p]), p):
            flow[node, p] += t.mean_demand[c, p]
            penalty[node, p] += t.mean_demand[c, p] * cost
            holding[node, p] += t.mean_demand[c, p] * t.holding_cost[t.first_source[c, p], p]
            lost[node, p] += t.mean_demand[c, p] * t.lost_share[c, p]
    np.testing.assert_array_equal(t.mean_flow, flow)  # to the bit: added in the same order
    total = np.where(flow > 0, flow, 1.0)
    for found, expected in zip(faced(t), (penalty, holding, lost), strict=True):
        np.testing.assert_array_equal(found, expected / total)


def test_a_lane_carries_its_share_and_passes_on_what_its_source_gets(tables):
    t, forest = tables, Forest(tables)
    share = carried_share(t, forest)
    volume = (t.mean_flow * t.volume).sum(axis=1)
    limited = int(np.flatnonzero(np.isfinite(t.lane_capacity))[0])
    first = int(t.lane_target[limited])
    expected = min(60.0 / volume[first], 1.0)
    assert expected < 1  # or this test looks at nothing
    for node, p in np.ndindex(t.N, t.P):
        assert share[node, p] == (expected if first in way_up(t, node, p) else 1.0)
    longest = max(
        sum(int(t.nominal_lead_time[t.primary_lane[n, p]]) for n in way_up(t, node, p)[:-1])
        for node, p in np.ndindex(t.N, t.P)
    )
    assert longest_way(t) == longest


def test_later_arrivals_are_the_slots_that_a_lane_overtakes(tables):
    t, rows = tables, SlotRows.usable(tables)
    open_lanes, products = np.nonzero(t.lane_open)
    asking = (open_lanes * t.P + products)[::2]
    stock = np.arange(1.0, len(rows.lane) * t.P + 1)[:, None]
    later = Later(t, asking, NumpyOps(), rows)
    expected = np.zeros((len(asking), 1))
    for i, cell in enumerate(asking):
        lane, product = divmod(int(cell), t.P)
        for row, (other, slot) in enumerate(zip(*rows, strict=True)):
            due = max(t.nominal_lead_time[other] - slot - 1, 1)
            same = t.lane_target[other] == t.lane_target[lane] and t.lane_carries[other, product]
            if same and due > t.nominal_lead_time[lane]:
                expected[i] += stock[row * t.P + product]
    found = later(stock) if later.any else np.zeros_like(expected)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(5))
def test_groups_and_chains_of_random_items(seed):
    random = np.random.default_rng(seed)
    groups, wanted = random.integers(-1, 9, 40), random.integers(0, 9, 6)
    order, starts = sorted_groups(groups, 9)
    for g in range(9):
        assert order[starts[g] : starts[g + 1]].tolist() == np.flatnonzero(groups == g).tolist()
    items, place = members_of(groups, wanted, 9)
    expected = [(int(item), k) for k, g in enumerate(wanted) for item in np.flatnonzero(groups == g)]
    assert list(zip(items.tolist(), place.tolist(), strict=True)) == expected
    parent = np.array([random.integers(-1, k) if k else -1 for k in range(20)])
    first, lead = random.integers(-1, 20, 15), random.normal(size=20)
    chains = Chains(first, parent)
    entries = []
    for item, cell in enumerate(first.tolist()):
        total = 0.0
        while cell >= 0:
            total += lead[cell]
            entries.append((item, cell, total))
            cell = int(parent[cell])
    assert list(zip(chains.items.tolist(), chains.cells.tolist(), strict=True)) == [entry[:2] for entry in entries]
    np.testing.assert_array_equal(chains.from_below(lead), [entry[2] for entry in entries])


@pytest.mark.parametrize("kind", ["poisson", "negative_binomial", "discrete"])
@pytest.mark.parametrize("need", ["uniform", "score"])
def test_few_numbers_and_many_are_looked_up_alike(kind, need):
    spec = {
        "poisson": {"mean": 7.3},
        "negative_binomial": {"mean": 3.1, "dispersion": 0.7},
        "discrete": {"values": [4, 0, 9], "probabilities": [0.5, 0.2, 0.3]},
    }[kind]
    process = parse_demand({"kind": kind, **spec}, ("milk",), False)["milk"]
    random = np.random.default_rng(3)
    numbers = random.random((40, FEW)) if need == "uniform" else random.normal(size=(40, FEW))
    many = process.draw(0, 40, **{need: numbers})
    for world in range(0, FEW, 50):
        few = process.draw(0, 40, **{need: numbers[:, world : world + 2]})
        np.testing.assert_array_equal(few, many[:, world : world + 2])
