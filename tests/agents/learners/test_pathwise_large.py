"""Pathwise policies of large networks: what is chosen by size, and that they start at their rule."""

from __future__ import annotations

import numpy as np
import pytest
from pathwise_cases import config, costs

from echelongym.agents.learners import label
from echelongym.agents.pathwise.automatic import automatic_start
from echelongym.agents.pathwise.policy import load_pathwise, make_policy, save_pathwise
from echelongym.envs.scenario.scenario import Scenario

SMALLER = {"generate.regions": 3, "generate.stores_per_region": 4, "generate.central_warehouses": 3}


@pytest.fixture(scope="module")
def large() -> Scenario:
    found = Scenario.load("continental", SMALLER).replace(horizon=30, warm_up=5)
    assert found.tables.L * found.tables.P > 1_000
    return found


def test_levels_alone_are_learned_in_a_large_network_from_its_rule(large, tmp_path):
    policy = make_policy(large, config(network="auto"))
    assert policy.config.network == "none"
    assert policy.config.head == "levels"
    assert list(policy.weights()) == ["head.theta"]
    wanted = costs(large, automatic_start(large))
    np.testing.assert_allclose(costs(large, policy), wanted, rtol=1e-9)
    save_pathwise(tmp_path / "policy.npz", policy)
    np.testing.assert_allclose(costs(large, load_pathwise(tmp_path / "policy.npz", large)), wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "network"), [("grocery", "set"), ("two_region", "perceptron"), ("dual_sourcing", "perceptron")]
)
def test_small_networks_have_a_perceptron_and_recorded_ones_share_weights(name, network):
    assert make_policy(Scenario.load(name), config(network="auto")).config.network == network


@pytest.mark.parametrize(
    ("network", "name"), [("auto", "pathwise"), ("perceptron", "pathwise"), ("set", "pathwise_set")]
)
def test_the_usual_network_is_not_named(network, name):
    assert label(config(network=network)) == name
