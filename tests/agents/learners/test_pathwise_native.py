"""Compiled gradients: the same numbers as PyTorch's on any network, and PyTorch where there is no compiled form."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from needs import needs_compiler
from random_scenarios import random_scenario, seeds
from shipped import SMALL

from echelongym.agents.learners import learner_config
from echelongym.agents.pathwise.compiled import gradient as native_unroll
from echelongym.agents.pathwise.compiled.c_source import WIDTH
from echelongym.agents.pathwise.compiled.gradient import NativeUnroll
from echelongym.agents.pathwise.compiled.symbols import SYMBOLS, Graph, Operation
from echelongym.agents.pathwise.gradients.unroll import Unroll, relaxation
from echelongym.agents.pathwise.policy import make_policy
from echelongym.agents.registry import RULES
from echelongym.agents.tuning.gradient import GradientWindow
from echelongym.envs import CompilationWarning
from echelongym.envs.compiler import c_compiler
from echelongym.envs.compiler.c_compiler import compiler
from echelongym.envs.core.validation import validate
from echelongym.envs.scenario.scenario import Scenario


def unrolled(scenario, start=None, periods=12, skipped=3, **changes):
    """A policy with weights that are not zero, and its compiled losses."""
    config = learner_config("pathwise")
    data = config.model_dump() | {"hidden": (6, 5)} | changes
    config = validate(type(config), data, "agent")
    torch.manual_seed(0)
    actor = make_policy(scenario, config, start).actor
    with torch.no_grad():
        for one in actor.parameters():
            one.add_(0.1 * torch.randn(one.shape))
    relaxed = relaxation(scenario)
    window = GradientWindow(WIDTH, min(periods, scenario.horizon), skipped)
    return actor, NativeUnroll(relaxed, window, 3, config.smoothing, actor)


def gradients(unroll, way, actor, worlds=WIDTH):
    unroll.multipliers.price = np.full_like(unroll.multipliers.price, 0.7)
    loss = way(unroll, actor, 5, worlds)
    noted = unroll.multipliers.demand.copy(), unroll.multipliers.short.copy(), unroll.multipliers.periods
    unroll.multipliers._clear()
    parts = [torch.zeros_like(one) if one.grad is None else one.grad.clone() for one in actor.parameters()]
    return loss, torch.cat([part.reshape(-1) for part in parts]), noted


def assert_same(actor, unroll):
    loss, gradient, noted = gradients(unroll, Unroll.gradient, actor)
    native_loss, native_gradient, native_noted = gradients(unroll, NativeUnroll.gradient, actor)
    assert native_loss == pytest.approx(loss, rel=1e-4, abs=1e-4)  # rounding may call for one more vehicle
    allowed = native_unroll.AGREEMENT * float(gradient.norm()) + native_unroll.EPSILON * abs(loss)
    assert float((gradient - native_gradient).norm()) <= allowed
    for one, two in zip(noted, native_noted, strict=True):
        assert two == pytest.approx(one, rel=1e-4, abs=1e-4)


@settings(max_examples=8, deadline=None)
@given(seeds())
def test_random_networks_have_the_same_gradients(seed):
    scenario = Scenario.from_mapping(random_scenario(np.random.default_rng(seed), "continuous", "small"))
    actor, unroll = unrolled(scenario, RULES["capped_echelon_base_stock"](scenario), periods=7, skipped=2)
    if unroll.native:
        assert_same(actor, unroll)
    else:  # never because the two disagree
        assert "agree" not in unroll.reason, unroll.reason


@pytest.mark.parametrize("name", [name for name in SMALL if name != "grocery"])
def test_shipped_scenarios_are_compiled(name):
    scenario = Scenario.load(name)
    actor, unroll = unrolled(scenario, network="none" if name == "distribution_family" else "perceptron")
    assert unroll.native or compiler() is None, unroll.reason
    assert_same(actor, unroll)


@pytest.mark.parametrize("changes", [{"network": "set"}, {"head": "direct"}, {"head": "direct", "network": "set"}])
def test_networks_and_heads_are_compiled(changes):
    actor, unroll = unrolled(Scenario.load("one_warehouse_three"), **changes)
    assert unroll.native or compiler() is None, unroll.reason
    assert_same(actor, unroll)


@pytest.mark.parametrize("changes", [{"network": "graph"}, {"network": "recurrent"}, {"head": "split"}])
def test_what_has_no_compiled_form_is_left_to_pytorch(changes):
    actor, unroll = unrolled(Scenario.load("one_warehouse_three"), periods=6, skipped=1, **changes)
    assert not unroll.native
    assert unroll.reason
    assert_same(actor, unroll)


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")
    actor, unroll = unrolled(Scenario.load("serial"))
    assert not unroll.native
    assert unroll.reason == "ECHELONGYM_NATIVE=0"
    assert math.isfinite(unroll.gradient(actor, 0, WIDTH))


@needs_compiler
@pytest.mark.parametrize("share", [1e-3, -1e-3, 1.0])
def test_compiled_code_that_disagrees_is_not_used(share, monkeypatch):
    """A thousandth of the gradient is no rounding; whoever trains is told."""
    put = native_unroll._put
    monkeypatch.setattr(native_unroll, "_put", lambda one, gradient: put(one, np.asarray(gradient) * (1.0 + share)))
    monkeypatch.setattr(c_compiler, "_told", set())
    with pytest.warns(
        CompilationWarning, match="does not agree: gradients are .* times as far apart as rounding explains"
    ):
        actor, unroll = unrolled(Scenario.load("serial"))
    assert not unroll.native
    assert_same(actor, unroll)


@needs_compiler
def test_a_fault_of_its_own_is_told(monkeypatch):
    monkeypatch.setattr(native_unroll, "source", lambda made: {}["no such key"])
    monkeypatch.setattr(c_compiler, "_told", set())
    with pytest.warns(CompilationWarning, match="KeyError: 'no such key'"):
        actor, unroll = unrolled(Scenario.load("serial"))
    assert not unroll.native
    assert_same(actor, unroll)


@pytest.mark.parametrize("name", ["two_region", "production_network"])
def test_memory_that_is_not_written_is_not_read(name, monkeypatch):
    """Outputs of the network that no level uses: nothing is owed for them."""

    def dirty(size):
        found = empty(size)
        found[:] = np.nan
        return found

    empty = native_unroll._empty
    monkeypatch.setattr(native_unroll, "_empty", dirty)
    actor, unroll = unrolled(Scenario.load(name), network="set", head="levels", periods=6, skipped=1)
    assert unroll.native or compiler() is None, unroll.reason
    assert_same(actor, unroll)


def test_gradients_that_cancel_agree():
    """What is left of them is rounding alone, below the last digit of the loss."""
    scenario = Scenario.from_mapping(random_scenario(np.random.default_rng(114), "continuous", "small"))
    actor, unroll = unrolled(scenario, RULES["capped_echelon_base_stock"](scenario), periods=7, skipped=2)
    assert unroll.native or compiler() is None, unroll.reason
    assert_same(actor, unroll)


def test_a_world_costs_the_same_in_any_batch():
    actor, unroll = unrolled(Scenario.load("lost_sales"))
    both = unroll.gradient(actor, 0, 2 * WIDTH)
    alone = [unroll.gradient(actor, first, WIDTH) for first in (0, WIDTH)]
    assert both == pytest.approx(np.mean(alone), rel=1e-6)


def test_the_same_worlds_give_the_same_gradient_to_the_last_bit():
    actor, unroll = unrolled(Scenario.load("one_warehouse_three"))
    one, two = (gradients(unroll, NativeUnroll.gradient, actor, 3 * WIDTH) for _ in range(2))
    assert one[0] == two[0]
    assert torch.equal(one[1], two[1])


def test_trivial_operations_leave_no_trace():
    graph = Graph()
    x = graph.inputs("state", 0, (1,))[0]
    assert x + 0.0 is x
    assert x * 1.0 is x
    assert x * 0.0 == 0.0
    assert x - x == 0.0
    assert graph.make("min", x, math.inf) is x
    assert graph.make("add", x, math.inf) == math.inf
    assert graph.make("add", x, 2.0) is graph.make("add", x, 2.0)
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(x)


def test_expressions_follow_numpy():
    graph = Graph()
    x = graph.inputs("state", 0, (3,))
    chosen = SYMBOLS.where(x > 1.0, x, x * 2.0)
    assert [one.operation for one in chosen] == ["select"] * 3
    assert isinstance(SYMBOLS.total(x).item(), Operation)
    assert SYMBOLS.maximum(SYMBOLS.constant([1.0, -1.0]), 0).tolist() == [1.0, 0.0]
