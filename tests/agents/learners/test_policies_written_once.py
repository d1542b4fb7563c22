"""One definition of a policy: the same requests in NumPy, PyTorch and JAX, memory carried explicitly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pathwise_cases import config, stirred, untrained

from echelongym.agents.budget import objective
from echelongym.agents.loading import load_policy
from echelongym.agents.pathwise.policy import PathwisePolicy, save_pathwise
from echelongym.envs.core.backend import NUMPY, JaxOps, NumpyOps, TorchOps
from echelongym.envs.interface.observation import OBSERVATION_NAMES, Decision, Observation
from echelongym.envs.rollout.rollout import Rollout
from echelongym.envs.rollout.scan import whole_numbers
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods, simulate

HEADS = ("levels", "direct", "split", "residual")
NETWORKS = ("none", "perceptron", "set", "graph", "recurrent")
QUICK = (("levels", "recurrent"), ("direct", "set"), ("split", "graph"))


def cases() -> list[Any]:
    """Every head with every network, and the types and tolerances."""
    every = [(head, network, kind) for head in HEADS for network in NETWORKS for kind in ("float64", "float32")]
    quick = [(*one, "float64") for one in QUICK]
    return [one if one in quick else pytest.param(*one, marks=pytest.mark.slow) for one in every]


def played() -> list[Any]:
    """Scenarios, heads and networks: two quick ones, others beside them."""
    quick = [("two_region", "levels", "perceptron"), ("dual_sourcing", "direct", "recurrent")]
    slow = [("two_region", head, network) for head in HEADS for network in NETWORKS]
    return [*quick, *(pytest.param(*one, marks=pytest.mark.slow) for one in slow if one not in quick)]


def watched(scenario: Scenario, policy: Any, count: int = 4, worlds: int = 5) -> Iterator[Observation]:
    """Observations of the first periods, copies."""
    tape = scenario.sample(worlds, 2, "tune")
    for period, seen, _, _ in periods(scenario, policy, tape):
        yield Observation(**{name: as_given(getattr(seen, name)) for name in OBSERVATION_NAMES})
        if period + 1 == count:
            return


def as_given(value: Any) -> Any:
    return None if value is None else np.array(value)


def same(found: Any, wanted: Decision, tolerance: float) -> None:
    for one, two in ((found.requests, wanted.requests), (found.reserve, wanted.reserve)):
        assert (one is None) == (two is None)
        if two is not None:
            size = max(float(np.abs(two).max()), 1.0)
            np.testing.assert_allclose(np.asarray(one), two, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize(("head", "network", "kind"), cases())
def test_all_backends_ask_for_the_same(head, network, kind):
    jax = pytest.importorskip("jax")
    dtype, tolerance = np.dtype(kind), 1e-9 if kind == "float64" else 1e-5
    scenario = Scenario.load("two_region").replace(horizon=30, warm_up=0)
    policy: PathwisePolicy = stirred(untrained(scenario, config(head=head, network=network, hidden=(6, 5))), 0.3)
    actor, weights = policy.definition, {name: one.astype(dtype) for name, one in policy.weights().items()}
    assert {name: start.shape for name, start in actor.starts()} == {k: one.shape for k, one in weights.items()}
    numpy, tensors, jax_ops = NumpyOps(dtype), TorchOps(getattr(torch, kind)), JaxOps(dtype)
    in_torch = actor.on({name: torch.from_numpy(one) for name, one in weights.items()}, tensors)

    @jax.jit
    def traced(weights: Any, observation: Any, memory: Any) -> Any:
        boxed = {name: None if one is None else jax_ops.box(one) for name, one in observation.items()}
        decision, memory = actor.decide(weights, Observation(**boxed), jax_ops, memory)
        reserve = None if decision.reserve is None else decision.reserve.value
        return decision.requests.value, reserve, memory

    with torch.no_grad(), whole_numbers():
        kept = [actor.opening(5, ops) for ops in (numpy, tensors, jax_ops)]
        assert (kept[0] is None) == (network != "recurrent")
        for seen in watched(scenario, load_policy("echelon_base_stock", scenario)):
            arrays = {name: getattr(seen, name) for name in OBSERVATION_NAMES}
            arrays = {
                k: one.astype(dtype) if one is not None and one.dtype.kind == "f" else one for k, one in arrays.items()
            }
            wanted, kept[0] = actor.decide(weights, Observation(**arrays), numpy, kept[0])
            assert wanted.requests.dtype == dtype
            given = {name: None if one is None else torch.from_numpy(one) for name, one in arrays.items()}
            found, kept[1] = in_torch(Observation(**given), kept[1])
            same(found, wanted, tolerance)
            requests, reserve, kept[2] = traced(weights, arrays, kept[2])
            same(Decision(requests, reserve), wanted, tolerance)


def test_memory_is_what_tells_periods_apart():
    """A recurrent policy that is given an earlier memory again decides as it did then, and from none as at the start."""
    scenario = Scenario.load("lost_sales").replace(horizon=30, warm_up=0)
    policy = stirred(untrained(scenario, config(network="recurrent", hidden=(6, 5))), 0.5)
    actor, weights, ops = policy.definition, policy.weights(), NumpyOps()
    first, second = list(watched(scenario, load_policy("local_base_stock", scenario), 2))
    begun, memory = actor.decide(weights, first, ops, actor.opening(5, ops))
    after, _ = actor.decide(weights, second, ops, memory)
    again, _ = actor.decide(weights, second, ops, memory)
    fresh, _ = actor.decide(weights, second, ops)
    np.testing.assert_array_equal(after.requests, again.requests)
    assert (after.requests != fresh.requests).any()
    np.testing.assert_array_equal(begun.requests, actor.decide(weights, first, ops)[0].requests)
    policy.start(5)
    for seen, wanted in ((first, begun), (second, after)):
        np.testing.assert_array_equal(policy(seen).requests, wanted.requests)


@pytest.mark.parametrize(("name", "head", "network"), played())
def test_compiled_rollout_is_equal_to_the_bit(name, head, network):
    """Costs of every world, asked period by period and as one recorded program, with the same code for other weights."""
    scenario = Scenario.load(name).replace(horizon=40, warm_up=5)
    policy = untrained(scenario, config(head=head, network=network, hidden=(6, 5)))
    tape = scenario.sample(70, 1, "tune")
    for seed in (0, 1):
        stirred(policy, 0.2, seed)
        rollout = Rollout.of(scenario, policy, tape, NUMPY, False)
        assert rollout is not None
        if rollout.entry.program is None:
            rollout.entry.program = rollout.record()
        found = rollout.run()
        assert found is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ECHELONGYM_NATIVE", "0")
            wanted = simulate(scenario, policy, tape, kpis=False)
        for line, money in wanted.costs.items():  # those that are always 0 are not added up
            np.testing.assert_array_equal(found.lines[line] / 35 if line in found.lines else 0.0, money)


def test_a_saved_policy_plays_without_pytorch(tmp_path):
    """What is loaded from a file decides in NumPy alone, and as it did before it was saved."""
    scenario = Scenario.load("two_region").replace(horizon=20, warm_up=0)
    policy = stirred(untrained(scenario, config(network="graph", hidden=(6, 5))), 0.3)
    save_pathwise(tmp_path / "policy.npz", policy)
    tape = scenario.sample(4, 0, "tune")
    wanted = objective(simulate(scenario, policy, tape, kpis=False))
    code = f"""
import sys
from echelongym.agents import load_policy
from echelongym.agents.budget import objective
from echelongym.envs import Scenario
from echelongym.envs.simulate import simulate
scenario = Scenario.load("two_region").replace(horizon=20, warm_up=0)
policy = load_policy({str(tmp_path / "policy.npz")!r}, scenario)
print(objective(simulate(scenario, policy, scenario.sample(4, 0, "tune"), kpis=False)).tolist())
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    np.testing.assert_array_equal(json.loads(done.stdout), wanted)
