"""Gradients of pathwise policies by JAX, compiled code and PyTorch: each other's, difference quotients, and the choice."""

import ctypes
import warnings

import numpy as np
import pytest
import torch
from needs import needs_compiler
from pathwise_cases import config, one_store, stirred
from random_scenarios import random_scenario

from echelongym.agents.budget import Budget
from echelongym.agents.pathwise.compiled.c_source import WIDTH, source
from echelongym.agents.pathwise.compiled.gradient import NativeUnroll, _pointer, _zeros
from echelongym.agents.pathwise.compiled.recording import RecordedPeriod
from echelongym.agents.pathwise.compiled.symbols import SYMBOLS, Graph
from echelongym.agents.pathwise.gradients import choice
from echelongym.agents.pathwise.gradients.smoothing import SmoothLedger
from echelongym.agents.pathwise.gradients.unroll import Unroll, relaxation
from echelongym.agents.pathwise.policy import make_policy
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.agents.service_targets import Multipliers
from echelongym.agents.tuning.gradient import GradientWindow
from echelongym.envs import NetworkWarning, Scenario
from echelongym.envs.compiler.c_compiler import compiler, library
from echelongym.envs.core.backend import TorchOps
from echelongym.envs.core.errors import InputError, MissingExtra

pytest.importorskip("jax")
from echelongym.agents.pathwise.gradients.jax_program import JaxProgram, cost_gradient

EXACT = 1e-9  # share of the longest gradient by which double precision may differ


@pytest.fixture(scope="module", autouse=True)
def _cache_of_its_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECHELONGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def by_torch(scenario, actor, window, seed, smoothing, price, first=0):
    """Loss and gradient by name, in double precision."""
    unroll = Unroll(scenario, window, seed, smoothing)
    unroll.ops = TorchOps(torch.float64)
    unroll.ledger = SmoothLedger(scenario.tables, unroll.ops, smoothing, scenario)
    unroll.multipliers = Multipliers(scenario, unroll.ops)
    unroll.multipliers.active, unroll.multipliers.price = True, price
    loss = unroll.gradient(actor.double(), first, window.worlds)
    found = {
        name: np.zeros(one.shape) if one.grad is None else one.grad.numpy().copy() for name, one in actor.owned.items()
    }
    actor.float()
    return loss, found


def tried(scenario, window, seed, quotients, smoothings=(1.0, 0.0), **settings):
    """PyTorch's gradient to rounding, and difference quotients along random directions where nothing is smoothed."""
    rng = np.random.default_rng(seed)
    scenario, price = relaxation(scenario), rng.uniform(0, 3, scenario.tables.C)
    actor = stirred(make_policy(scenario, config(activation="tanh", **settings)), 0.1, seed).actor
    weights = {name: value.astype(np.float64) for name, value in actor.weights().items()}
    tape = scenario.sample(worlds=list(range(window.worlds)), seed=seed, purpose="learn", periods=window.periods)
    for smoothing in smoothings:
        gradient = cost_gradient(scenario, window, smoothing, actor.definition, np.float64)
        found = gradient(weights, tape, price)
        loss, slopes = by_torch(scenario, actor, window, seed, smoothing, price)
        assert found.cost == pytest.approx(loss, rel=EXACT, abs=EXACT)
        longest = max(float(np.abs(one).max(initial=0)) for one in slopes.values())
        assert longest > 0
        longest = max(longest, 1e-6 * abs(loss))  # where nothing depends on weights, slopes are rounding of the cost
        for name, slope in slopes.items():
            np.testing.assert_allclose(found.slopes[name], slope, rtol=0, atol=EXACT * longest, err_msg=name)
    matches, steepest = 0, sum(float(np.abs(one).sum()) for one in slopes.values())
    for _ in range(quotients):
        step = {name: 1e-6 * rng.choice([-1, 1], value.shape) for name, value in weights.items()}
        ahead, behind = (
            gradient({name: value + sign * step[name] for name, value in weights.items()}, tape, price).cost
            for sign in (1, -1)
        )
        expected = 2 * sum(float((found.slopes[name] * one).sum()) for name, one in step.items())
        matches += abs(ahead - behind - expected) < 1e-4 * max(steepest * 1e-6, abs(expected)) + 1e-12
    # A jump or a kink (a vehicle more, stock that just suffices) may lie between the two points of one quotient.
    assert matches >= quotients - 1


def random_network(seed, size):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NetworkWarning)
        return Scenario.model_validate(random_scenario(np.random.default_rng(seed), "continuous", size))


def test_a_random_network_with_a_perceptron():
    scenario = random_network(11, "small")
    tried(scenario, GradientWindow(5, scenario.horizon, 1), 0, 3, (0.0,))


@pytest.mark.slow
def test_memory_is_carried_from_period_to_period():
    tried(one_store(), GradientWindow(3, 12, 2), 1, 2, network="recurrent", head="direct")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300, 316))
@pytest.mark.parametrize(
    "settings",
    [
        {"network": "none"},
        {"network": "perceptron"},
        {"network": "perceptron", "head": "direct"},
        {"network": "set", "head": "residual"},
        {"network": "graph", "head": "direct"},
        {"network": "recurrent"},
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_random_networks_with_every_head_and_body(seed, settings):
    scenario = random_network(seed, "any")
    tried(scenario, GradientWindow(3, scenario.horizon, 1), seed, 4, **settings)


@needs_compiler
@pytest.mark.parametrize("name", ["lost_sales", pytest.param("two_region", marks=pytest.mark.slow)])
def test_compiled_code_and_jax_give_one_training_step(name):
    """Loss, gradient, and what the prices of targets are moved by, in single precision."""
    scenario = relaxation(Scenario.load(name))
    actor = stirred(make_policy(scenario, config()), 0.1).actor
    made = [way(scenario, GradientWindow(16, 20, 4), 3, 1.0, actor) for way in (NativeUnroll, JaxProgram)]
    assert [one.library for one in made] == ["compiled", "jax"]
    found = []
    for one in made:
        one.multipliers.price = np.full_like(one.multipliers.price, 0.7)
        loss = one.gradient(actor, 5, 16)
        noted = one.multipliers.demand, one.multipliers.short, np.array(one.multipliers.periods)
        found.append([np.array(loss), *noted, *(value.grad.numpy().copy() for value in actor.parameters())])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * max(float(np.abs(theirs).max()), 1e-9))


def choose(library, scenario=None, **settings):
    scenario = relaxation(scenario or one_store())
    actor = make_policy(scenario, config(**settings)).actor
    return choice.gradients_of(library, scenario, GradientWindow(16, 6, 1), 0, 1.0, actor)


def test_what_takes_the_gradients(monkeypatch):
    assert choose("torch").library == "torch"
    assert choose("jax").library == "jax"
    assert choose("auto", network="recurrent").library == "jax"  # which is not compiled
    if compiler():
        assert choose("auto").library == choose("compiled").library == "compiled"
    with pytest.raises(InputError, match=r"agent\.gradient: compiled: expected auto, jax or torch, as"):
        choose("compiled", network="recurrent")
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")
    assert choose("auto").library == "jax"
    monkeypatch.setattr(choice, "is_installed", lambda name: False)
    assert choose("auto").library == "torch"
    monkeypatch.setattr("echelongym.envs.core.errors.is_installed", lambda name: False)
    with pytest.raises(MissingExtra, match="jax is not installed"):
        choose("jax")


def test_a_training_does_not_depend_on_what_is_in_the_cache(tmp_path, monkeypatch):
    """Compiled, taken from the cache, and compiled anew: one policy to the bit."""

    def trained(folder):
        monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path / folder))
        scenario = one_store()
        settings = config(worlds=80, periods=12, gradient="jax", network="perceptron")
        budget = Budget(env_steps=80 * 12 * 3)
        trainer = PathwiseTrainer(scenario, settings, 0, budget, scenario.sample(4, 0, "tune"), evaluations=2)
        trainer.run()
        return {name: value.numpy().copy() for name, value in trainer._module.state_dict().items()}

    cold, warm, other = trained("one"), trained("one"), trained("other")
    for name, value in cold.items():
        assert np.array_equal(value, warm[name]), name
        assert np.array_equal(value, other[name]), name


def test_a_budget_that_compiling_spends_leaves_the_start():
    scenario = one_store()
    settings = config(worlds=64, periods=12, gradient="jax")
    trainer = PathwiseTrainer(scenario, settings, 0, Budget(cpu_seconds=1e-3), scenario.sample(4, 0, "tune"))
    found = trainer.run()
    assert found.env_steps == 0
    assert found.cpu_seconds > 0.1  # compiling counts
    start = make_policy(scenario, settings)
    assert np.allclose(found.cost, trainer._judge(start).cost, rtol=1e-12)


@needs_compiler
def test_compiled_code_shares_ties_as_the_backends_do():
    """Against a number an array gets all of the derivative; of two equal arrays each gets half, a constant one or not."""
    x, weights = np.array([-1.0, 0.0, 2.0]), np.array([3.0, 5.0, 7.0])
    cases = [
        lambda ops, value: ops.maximum(value, 0) + ops.minimum(value, 0.0),
        lambda ops, value: ops.maximum(value, value * value * 0.5) + ops.minimum(value, value * 2),
        lambda ops, value: ops.maximum(value, ops.constant(x)) + ops.minimum(ops.constant(x + 1 - x), value),
    ]
    expected = [[1, 2, 1], [1, 2, 2.5], [0.5 + 1, 0.5 + 1, 0.5 + 0]]
    for function, wanted in zip(cases, expected, strict=True):
        made = RecordedPeriod(Graph(), parameters=3)
        value = function(SYMBOLS, made.graph.inputs("parameter", 0, (3,))) * weights
        made.outputs = [sum(value.tolist()[1:], start=value.tolist()[0])]
        run = library(source(made), False).run
        numbers, sums, slopes = _zeros(4), _zeros(WIDTH), _zeros(3 * WIDTH)
        numbers[:3] = x
        p, one, none = _pointer, ctypes.c_long(1), ctypes.c_long(0)
        worlds = ctypes.c_long(WIDTH)
        run(p(_zeros(1)), p(_zeros(WIDTH)), worlds, p(numbers), one, none, ctypes.c_float(1.0), p(_zeros(2 * WIDTH)),
            p(sums), p(slopes), ctypes.c_int(1))  # fmt: skip
        tensor = torch.tensor(x, requires_grad=True)
        (function(TorchOps(), tensor) * torch.tensor(weights)).sum().backward()
        assert tensor.grad.numpy().tolist() == (weights * wanted).tolist()
        assert slopes.reshape(3, WIDTH)[:, 0].tolist() == (weights * wanted).tolist()
