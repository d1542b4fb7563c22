"""Random requests: a fair draw, and the same for a world whatever the batch."""

import numpy as np
import pytest

from echelongym.agents import load_policy
from echelongym.envs import InputError, Scenario, simulate


def requested(scenario, policy, tape):
    """(T, B, L) of the first product, before rounding where units are not whole."""
    return simulate(scenario, policy, tape, trace=True).trace.requests[..., 0]


def test_requests_are_uniform_about_the_mean_flow_of_their_target():
    scenario = Scenario.load("two_region")
    asked = requested(scenario, load_policy("random", scenario), scenario.sample(worlds=64, seed=1))
    t = scenario.tables
    for lane in range(t.L):
        sharing = sum(t.lane_target[lane] == t.lane_target)
        most = 2 * t.mean_flow[t.lane_target[lane], 0] / sharing
        drawn = asked[:, :, lane].reshape(-1) / most
        if t.lane_capacity[lane] >= most:  # requests stand on the trace as they were asked for
            assert 0 <= drawn.min() < 0.01
            assert 0.99 < drawn.max() <= 1
            error = 1 / np.sqrt(12 * drawn.size)
            assert abs(drawn.mean() - 0.5) < 4 * error
            assert drawn.var() == pytest.approx(1 / 12, rel=0.03)
    # Lanes, periods and worlds have numbers of their own.
    flat = np.stack([asked[:-1, :-1, 0], asked[1:, :-1, 0], asked[:-1, 1:, 0], asked[:-1, :-1, 1]]).reshape(4, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.03


def test_a_world_is_asked_the_same_alone_and_in_any_batch():
    scenario = Scenario.load("two_region")
    policy = load_policy("random", scenario, spread=1.5)
    together = requested(scenario, policy, scenario.sample(worlds=8, seed=1, periods=60))
    alone = requested(scenario, policy, scenario.sample(worlds=[5], seed=1, periods=60))
    np.testing.assert_array_equal(alone[:, 0], together[:, 5])
    other = requested(
        scenario, load_policy("random", scenario, spread=1.5, seed=1), scenario.sample(worlds=[5], seed=1)
    )
    assert (other[:60] != alone).any()


@pytest.mark.parametrize("parameters", [{"spread": -1}, {"spread": "wide"}, {"seed": 1.5}, {"seeds": 1}])
def test_bad_parameters_are_refused(parameters):
    (name,) = parameters
    with pytest.raises(InputError, match=name):
        load_policy("random", Scenario.load("two_region"), **parameters)
