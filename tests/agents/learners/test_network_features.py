"""Features of what is above and beside a stock, against loops over the observation and closed forms of the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from echelongym.agents.networks.network_features import MOVING, STATICS
from echelongym.agents.pathwise.features import Features
from echelongym.agents.registry import RULES
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.typing import NumpyArray
from echelongym.envs.interface.observation import Observation
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods

DUE = 3


@pytest.fixture(scope="module")
def network() -> Scenario:
    """A supplier that fails, a warehouse, a depot with two stores: demand waits at one and is lost at the other."""
    found = Scenario.load("distribution_family").variant(0, purpose="test")
    assert list(found.nodes) == ["supplier", "warehouse", "depot_1", "store_1", "store_2"]
    return found.with_overrides({"disruptions.supplier_outage.when": {"mean_up": 9, "mean_down": 3}})


@pytest.fixture(scope="module")
def played(network) -> tuple[list[Observation], Features, NumpyArray]:
    """Observations of some worlds, and what of nodes (features, nodes, periods and worlds) they show."""
    features = Features(network, DUE, network=True)
    tape = network.sample(6, 3, "tune")
    seen = [one for _, one, _, _ in periods(network, RULES["echelon_base_stock"](network), tape)]
    return seen, features, np.concatenate([features.parts(features(one, NUMPY))[0] for one in seen], -1)


def test_others_stay_as_they_are(network, played):
    seen, features, _ = played
    own = Features(network, DUE)
    assert features.names.nodes == (*own.names.nodes, *MOVING, *STATICS)
    assert features.names.lanes == own.names.lanes
    for one in seen[::20]:
        mine, theirs = (made.parts(made(one, NUMPY)) for made in (own, features))
        np.testing.assert_array_equal(theirs[0][: len(own.names.nodes)], mine[0])
        np.testing.assert_array_equal(theirs[1], mine[1])


def test_every_stock_sees_the_failing_supplier(played):
    seen, features, nodes = played
    down = np.concatenate([one.node_availability[:, 0] for one in seen]) - 1
    assert 0.1 < -down.mean() < 0.4  # 3 of 12 periods
    shown = nodes[features.names.nodes.index("upstream_availability")]
    np.testing.assert_allclose(shown, np.broadcast_to(down, shown.shape))


def test_every_stock_sees_the_position_of_the_warehouse(network, played):
    _, features, nodes = played
    warehouse = features.cells.tolist().index(network.tables.nodes.index("warehouse"))
    top = nodes[features.names.nodes.index("top_position")]
    own = nodes[features.names.nodes.index("echelon_position")]
    np.testing.assert_allclose(top, np.broadcast_to(own[warehouse], top.shape), atol=1e-6)


def affine(rows: NumpyArray, units: NumpyArray) -> float:
    """Slope of a feature over units, where it says more than its bound; the fit is exact."""
    inside = np.abs(rows) < 20
    slope, offset = np.polyfit(units[inside], rows[inside], 1)
    np.testing.assert_allclose(rows[inside], slope * units[inside] + offset, atol=2e-4)
    return float(slope)


def test_stocks_above_and_beside_by_loops_over_the_observation(network, played):
    seen, features, nodes = played
    t = network.tables
    name = t.nodes.index
    places = {one: features.cells.tolist().index(name(one)) for one in ("depot_1", "store_1", "store_2", "warehouse")}
    on_hand = {
        one: np.concatenate([seen_.on_hand[:, name(one)].sum((1, 2)) for seen_ in seen]) for one in list(network.nodes)
    }
    above = nodes[features.names.nodes.index("upstream_on_hand")]
    assert affine(above[places["depot_1"]], on_hand["warehouse"]) > 0
    assert affine(above[places["store_2"]], on_hand["warehouse"] + on_hand["depot_1"]) > 0
    assert (above[places["warehouse"]] == 0).all()  # nothing is above but a supplier
    beside = nodes[features.names.nodes.index("siblings_position")]
    lane = list(network.lanes).index("depot_1_store_1")
    coming = np.concatenate([one.in_transit[:, lane].sum((1, 2, 3)) for one in seen])
    waiting = np.concatenate([one.backlog[:, 0].reshape(len(one.backlog), -1).sum(1) for one in seen])
    assert affine(beside[places["store_2"]], on_hand["store_1"] + coming - waiting) > 0
    assert (beside[places["depot_1"]] == 0).all()


def test_numbers_of_the_network_by_hand(network, played):
    _, features, nodes = played
    place = [features.cells.tolist().index(network.tables.nodes.index(f"store_{k}")) for k in (1, 2)]
    found = {name: nodes[features.names.nodes.index(name), place, 0] for name in STATICS}
    lead = [1 + 3 + 1, 1 + 3 + 3]
    np.testing.assert_allclose(found["upstream_lead_time"], (np.array(lead) - 6) / 4)
    np.testing.assert_allclose(found["share_of_time_down"], 10 * 3 / 12 - 0.5)
    np.testing.assert_allclose(found["length_of_outages"], np.log(4) - 1)
    waits, loses = network.customers.values()
    penalty = np.array([waits.backorder_cost, loses.lost_sale_cost])
    flow = np.array([waits.demand["mean"], loses.demand["mean"]])
    np.testing.assert_allclose(found["relative_penalty"], np.log(penalty / (penalty @ flow / flow.sum())), rtol=1e-5)
    np.testing.assert_allclose(found["relative_lost_share"], [-flow[1] / flow.sum(), flow[0] / flow.sum()], rtol=1e-5)
    held = np.array([network.nodes[f"store_{k}"].holding_cost for k in (1, 2)])
    np.testing.assert_allclose(
        found["holding_cost_over_source"], np.log(held / network.nodes["depot_1"].holding_cost), rtol=1e-5
    )
    np.testing.assert_allclose(found["penalty_over_holding"], np.log(penalty / held / [2, 4]), rtol=1e-5)
    np.testing.assert_allclose(found["correlation"], network.correlation.demand - 0.25)
