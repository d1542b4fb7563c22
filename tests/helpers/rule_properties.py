"""What every rule must hold to on any network, for the tests of rules."""

import numpy as np
import pytest
from random_scenarios import random_scenario

from echelongym.agents import load_policy
from echelongym.agents.registry import RULES
from echelongym.envs import InputError, Scenario, simulate
from echelongym.envs.simulate import periods


def jittered(rule, rng):
    """The rule with numbers somewhere around its automatic ones, every lane that may be used in use."""
    space = rule.space()
    vector = np.maximum(space.start + space.scale * rng.normal(size=len(space)), space.lower)
    return rule.with_vector(space, np.rint(vector) if rule.tables.integer else vector)


def check_on_a_random_network(name, seed, units, folder):
    """Whether the rule could be used; refused, or everything below holds."""
    rng = np.random.default_rng(seed)
    scenario = Scenario.from_mapping(random_scenario(rng, units))
    t = scenario.tables
    reason = RULES[name].refusal(scenario)
    if reason is not None:
        with pytest.raises(InputError, match=reason[:20]):
            RULES[name](scenario)
        return False
    rule = jittered(RULES[name](scenario), rng)
    tape = scenario.sample(worlds=3, seed=seed % 1000, purpose="tune")
    for _, observation, _, _ in periods(scenario, rule, tape):
        requests = rule(observation).requests
        assert requests.shape == (3, t.L, t.P)
        assert np.isfinite(requests).all()
        assert (requests >= 0).all()
        assert (requests[:, ~t.lane_open] == 0).all()
    cost = simulate(scenario, rule, tape, kpis=False).cost_per_period
    assert simulate(scenario, rule, tape[1], kpis=False).cost_per_period[0] == cost[1]
    other = simulate(scenario, rule, tape, backend="torch", kpis=False).cost_per_period
    np.testing.assert_allclose(np.asarray(other), cost, rtol=1e-9, atol=1e-9)
    rule.save(folder / "rule.yaml")
    again = load_policy(folder / "rule.yaml", scenario)
    assert again.parameters == rule.parameters
    np.testing.assert_array_equal(simulate(scenario, again, tape, kpis=False).cost_per_period, cost)
    return True
