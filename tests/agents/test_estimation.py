"""A scenario estimated from history: against NumPy on the watched periods, the true laws, and play on the true scenario."""

from __future__ import annotations

import numpy as np
import pytest

from echelongym.agents.estimation import estimated
from echelongym.agents.loading import load_policy
from echelongym.envs.core.errors import InputError
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate


@pytest.fixture(scope="module")
def network() -> Scenario:
    """Ten nodes, one lane of which takes two to four periods."""
    drawn = Scenario.load("distribution_family").variant(1, purpose="test")
    data = drawn.to_dict()
    name = next(iter(data["lanes"]))
    data["lanes"][name]["lead_time"] = {"values": [2, 3, 4], "probabilities": [0.2, 0.5, 0.3]}
    return Scenario.from_mapping(data)


def test_moments_are_those_of_the_watched_periods(network):
    found = estimated(network, 40, seed=3)
    demand = network.sample([0], 3, "learn", 40).demand[4:, 0]  # after four periods of history
    t = found.tables
    np.testing.assert_allclose(t.mean_demand[:, 0], demand.mean(0)[:, 0], rtol=1e-6)
    laws = [one.demand for one in found.customers.values()]
    spread = [law["standard_deviation"] for law in laws]
    np.testing.assert_allclose(spread, demand.std(0, ddof=1)[:, 0], rtol=1e-6)
    pairs = np.corrcoef(demand[:, :, 0].T)[np.triu_indices(len(laws), 1)]
    assert found.correlation.demand == pytest.approx(max(pairs.mean(), 0.0))


def test_a_long_history_leads_to_the_true_laws(network):
    periods = 20_000
    found = estimated(network, periods)
    t = network.tables
    error = t.demand_sd / periods**0.5
    assert (np.abs(found.tables.mean_demand - t.mean_demand) < 5 * error).all()
    np.testing.assert_allclose(found.tables.demand_sd, t.demand_sd, rtol=0.03)
    # Scores of clipped normal demand are correlated a little more than demand.
    assert found.correlation.demand == pytest.approx(network.correlation.demand, abs=0.02)
    lane = next(iter(found.lanes.values())).lead_time
    assert lane.values == (2, 3, 4)
    np.testing.assert_allclose(lane.probabilities, (0.2, 0.5, 0.3), atol=5 * (0.25 / periods) ** 0.5)


def test_all_but_laws_stays(network):
    found, true = estimated(network, 10).to_dict(), network.to_dict()
    first = next(iter(true["lanes"]))
    for data in (found, true):
        data.pop("name")
        data["correlation"].pop("demand")
        del data["lanes"][first]["lead_time"]
        for customer in data["customers"].values():
            del customer["demand"]
    assert found == true


def test_two_periods_are_counted_with_one_more_of_each_lead_time(network):
    seen = network.sample([0], 0, "learn", 2).lead_time[:, 0, 0]
    probabilities = next(iter(estimated(network, 2).lanes.values())).lead_time.probabilities
    np.testing.assert_allclose(probabilities, [(1 + (seen == value).sum()) / 5 for value in (2, 3, 4)])


def test_levels_from_history_play_the_true_network(network):
    tape = network.sample(64, 5, "test")
    costs = [
        simulate(network, load_policy("echelon_base_stock", one), tape).cost_per_period.mean()
        for one in (network, estimated(network, 2_000), estimated(network, 4))
    ]
    assert costs[1] == pytest.approx(costs[0], rel=0.01)
    assert abs(costs[2] / costs[0] - 1) > 0.01  # four periods say little


def test_what_cannot_be_estimated_is_refused(network):
    with pytest.raises(InputError, match="history = 1: expected at least 2 periods"):
        estimated(network, 1)
    with pytest.raises(InputError, match="history = 9: expected a scenario whose demand is observed"):
        estimated(network.with_overrides({"observe.demand": "sales"}), 9)
