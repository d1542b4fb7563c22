"""Arrays that follow from a compiled scenario, against the definitions counted one by one."""

import numpy as np
import pytest
from random_scenarios import random_scenario

from echelongym.envs import Decision, Scenario
from echelongym.envs.simulate import simulate


@pytest.mark.parametrize("seed", range(12))
def test_cells_that_follow_from_a_network(seed):
    scenario = Scenario.from_mapping(random_scenario(np.random.default_rng(seed), "continuous"))
    t = scenario.tables
    lanes, nodes = list(scenario.lanes.values()), list(scenario.nodes.values())
    for n, name in enumerate(scenario.nodes):
        below = t.served_below(n)
        for p, product in enumerate(scenario.products):
            brought = any(lane.target == name and scenario.carries(lane, product) for lane in lanes)
            stands = nodes[n].kind != "supplier" and (brought or t.initial_on_hand[n, p] > 0)
            assert t.stocked[n, p] == stands
            # The echelon by a walk up the primary lanes.
            for c, customer in enumerate(scenario.customers.values()):
                sources = [one for one, item in customer.sources.items() if scenario.carries(item, product)]
                way, at = [], sources[0] if sources else None
                while at is not None:
                    way.append(at)
                    lane = scenario.primary_lanes(product).get(at)
                    at = None if lane is None else scenario.lanes[lane].source
                assert below[c, p] == (name in way)
                assert t.first_cell[c, p] == (list(scenario.nodes).index(sources[0]) * t.P + p if sources else -1)


@pytest.mark.parametrize("life", [None, 1, 3])
def test_fresh_stock_stands_in_its_class(life):
    """Stock that has just arrived lasts as many periods as it lives, the one of arrival included."""
    other = {"shelf_life": 5}
    data = {
        "products": {"milk": {} if life is None else {"shelf_life": life}, "bread": other},
        "nodes": {"mill": {"kind": "supplier"}, "store": {"initial": 6}},
        "lanes": {"truck": {"source": "mill", "target": "store"}},
        "customers": {
            "shop": {"demand": {"kind": "deterministic", "mean": 0}, "sources": {"store": {}}, "lost_share": 1}
        },
        "horizon": 8,
        "reward_scale": 1,
    }
    scenario = Scenario.from_mapping(data)
    t = scenario.tables
    assert t.fresh_class.tolist() == [4 if life is None else life - 1, 4]
    nothing = Decision(np.zeros((1, t.L, t.P)))
    stock = simulate(scenario, lambda _: nothing, scenario.sample(1), trace=True).trace.on_hand[:, 0, 1, 0]  # (T, A)
    assert stock[0, t.fresh_class[0]] == 6
    assert (stock.sum(1) > 0).sum() == (8 if life is None else life)
