"""Simulations under JAX against NumPy's: every cost line and indicator of random networks with every feature and rule."""

import os
import subprocess
import sys

import numpy as np
import pytest
from test_rollout import drawn, rules_for

from echelongym.agents import load_policy
from echelongym.agents.registry import RULES
from echelongym.envs import InputError, Scenario, simulate
from echelongym.envs.compiler.c_compiler import compiler
from echelongym.envs.core.backend import NUMPY, NumpyOps, TorchOps
from echelongym.envs.core.jax_backend import JaxOps
from echelongym.envs.interface.observation import Decision
from echelongym.envs.rollout import xla_rollout
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.rollout.rollout import Rollout
from echelongym.envs.rollout.xla_policy import CannotTrace

pytest.importorskip("jax")
pytestmark = pytest.mark.filterwarnings("ignore::echelongym.envs.NetworkWarning")


@pytest.fixture(scope="module", autouse=True)
def _cache_of_its_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECHELONGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def figures(nested, path=""):
    """Arrays by path."""
    for name, one in nested.items():
        if isinstance(one, dict):
            yield from figures(one, f"{path}/{name}")
        else:
            yield f"{path}/{name}", np.asarray(one)


def every_figure(outcome):
    found = {"cost": outcome.cost_per_period, "net": outcome.episode_net_cost_per_period, **outcome.costs}
    found |= {} if outcome.profit_per_period is None else {"profit": outcome.profit_per_period}
    return {name: np.asarray(one) for name, one in found.items()} | dict(figures(outcome.kpis()))


def largest_difference(wanted, found):
    """Of all figures in all worlds, relative above 1; what is no finite number is the same, and waits are whole."""
    wanted, found = every_figure(wanted), every_figure(found)
    assert wanted.keys() == found.keys()
    worst = 0.0
    for name, there in wanted.items():
        here, finite = found[name], np.isfinite(there)
        assert np.array_equal(np.isfinite(here), finite), name
        assert np.array_equal(here[~finite], there[~finite], equal_nan=True), name
        if name.endswith("longest_wait"):
            assert np.array_equal(here, there, equal_nan=True), name
        apart = np.abs(here - there)[finite] / np.maximum(np.abs(there[finite]), 1)
        worst = max(worst, float(apart.max(initial=0)))
    return worst


def check(seed, rules, monkeypatch, together=16):
    """Largest difference over some rules, in batches of which the last is not full; and how many were run."""
    monkeypatch.setitem(xla_rollout.TOGETHER, "cpu", together)
    scenario, tape = drawn(seed)
    worst, run = 0.0, 0
    for name, rule in rules_for(scenario, seed):
        if rules is not None and name not in rules:
            continue
        wanted = simulate(scenario, rule, tape)
        worst = max(worst, largest_difference(wanted, simulate(scenario, rule, tape, backend="jax")))
        run += 1
    return worst, run


@pytest.mark.parametrize(("seed", "rules"), [(2, ["critical_levels"]), (3, ["can_order", "playbook"])])
def test_costs_and_indicators_are_numpys(seed, rules, monkeypatch):
    worst, run = check(seed, rules, monkeypatch)
    assert run >= 1
    assert worst < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 250))
def test_costs_and_indicators_of_every_rule_are_numpys(seed, monkeypatch):
    worst, run = check(seed, None, monkeypatch)
    assert run >= 8
    assert worst < 1e-9
    print(f"seed {seed}: {run} rules, largest difference {worst:.2e}")


def check_backends(seed):
    """One rule in NumPy, compiled, in JAX and in PyTorch, costs alone: the largest difference of each from the first."""
    scenario, tape = drawn(seed)
    rule = RULES["capped_echelon_base_stock"](scenario)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECHELONGYM_NATIVE", "0")
        wanted = simulate(scenario, rule, tape, kpis=False)
    found = {
        name: simulate(scenario, rule, tape, backend=ops, kpis=False)
        for name, ops in (("JAX", JaxOps()), ("PyTorch", TorchOps()))
    }
    if compiler() is not None:
        rollout = Rollout.of(scenario, rule, tape, NUMPY, False)
        rollout.entry.program, rollout.entry.reason = rollout.record(), None
        rollout.entry.program.compile()
        found["compiled"] = simulate(scenario, rule, tape, kpis=False)
    worst = dict.fromkeys(found, 0.0)
    for name, outcome in found.items():
        for line, money in wanted.costs.items():
            apart = np.abs(np.asarray(outcome.costs[line]) - money) / np.maximum(np.abs(money), 1)
            worst[name] = max(worst[name], float(apart.max()))
    return worst


def test_all_ways_of_simulating_agree():
    worst = check_backends(7)
    assert max(worst.values()) < 1e-9
    assert worst.get("compiled", 0) == 0


@pytest.mark.slow
def test_all_ways_of_simulating_agree_on_more_networks():
    """And says by how much (``-s``)."""
    found = []
    for seed in range(300, 320):
        found.append(check_backends(seed))
        worst = {name: max(one[name] for one in found) for name in found[0]}
        print(f"{len(found)} networks, largest differences {worst}", flush=True)
        assert max(worst.values()) < 1e-9
        assert worst.get("compiled", 0) == 0


def test_numbers_are_arguments_of_a_program():
    """Other levels of the same rule run in the program that is there; so does another tape of as many worlds."""
    scenario = Scenario.load("one_warehouse").model_copy(update={"horizon": 20, "warm_up": 3})
    first = RULES["echelon_base_stock"](scenario)
    tapes = [scenario.sample(20, seed=seed, periods=20) for seed in (1, 2)]
    simulate(scenario, first, tapes[0], backend="jax")
    before = list(xla_rollout._kept)
    space = first.space()
    other = first.with_vector(space, space.start * 1.1)
    found = simulate(scenario, other, tapes[1], backend="jax")
    assert list(xla_rollout._kept) == before
    assert largest_difference(simulate(scenario, other, tapes[1]), found) < 1e-9


def test_a_tape_stays_on_a_device_that_has_memory_of_its_own(monkeypatch):
    scenario = Scenario.load("lost_sales").model_copy(update={"horizon": 8, "warm_up": 0})
    rule, tapes = RULES["echelon_base_stock"](scenario), [scenario.sample(20, seed=k, periods=8) for k in (1, 2)]
    monkeypatch.setattr(xla_rollout, "keeps_tapes", lambda device: True)
    for tape in (*tapes, tapes[1]):
        found = simulate(scenario, rule, tape, backend="jax")
        assert list(xla_rollout._on_device) == [tape]  # the last one alone
        assert largest_difference(simulate(scenario, rule, tape), found) < 1e-9


def test_single_precision():
    scenario = Scenario.load("one_warehouse").model_copy(update={"horizon": 20, "warm_up": 3})
    rule, tape = RULES["echelon_base_stock"](scenario), scenario.sample(20, seed=1, periods=20)
    found = simulate(scenario, rule, tape, backend=JaxOps(np.float32))
    assert largest_difference(simulate(scenario, rule, tape), found) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(400, 440, 2))
def test_single_precision_of_random_networks(seed):
    scenario, tape = drawn(seed)
    assert not scenario.tables.integer
    for name, rule in rules_for(scenario, seed):
        wanted = simulate(scenario, rule, tape, kpis=False).cost_per_period
        found = simulate(scenario, rule, tape, backend=JaxOps(np.float32), kpis=False).cost_per_period
        assert (np.abs(found - wanted) / np.maximum(np.abs(wanted), 1)).max() < 1e-5, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "network", "tolerance"),
    [
        ("levels", "none", 1e-9),
        # Networks in single precision under NumPy, in double precision under JAX.
        ("levels", "perceptron", 1e-3),
        ("direct", "set", 1e-3),
        ("split", "graph", 1e-3),
        ("levels", "recurrent", 1e-3),
    ],
)
def test_learned_policies(head, network, tolerance):
    from pathwise_cases import config, stirred, untrained

    scenario = Scenario.load("two_region").replace(horizon=30, warm_up=5)
    policy = stirred(untrained(scenario, config(head=head, network=network, hidden=(6, 5))), 0.3)
    tape = scenario.sample(20, seed=1)
    found = simulate(scenario, policy, tape, backend="jax")
    assert largest_difference(simulate(scenario, policy, tape), found) < tolerance


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sterman", {"smoothing": 0.3, "adjustment_rate": 0.5, "order_delay": 2, "initial_periods": 3}),
        ("just_in_time", {"safety": 3}),
        ("random", {"seed": 7}),
    ],
)
def test_what_a_rule_remembers_or_foresees_is_carried(name, options, monkeypatch):
    """In whole units, in two batches of which the last is not full; twice, as a second run begins without memory."""
    monkeypatch.setitem(xla_rollout.TOGETHER, "cpu", 16)
    scenario = Scenario.load("beer_game").replace(horizon=12, warm_up=2)
    rule, tape = RULES[name](scenario, **options), scenario.sample(20, seed=1)
    wanted = simulate(scenario, rule, tape)
    for _ in range(2):
        assert largest_difference(wanted, simulate(scenario, rule, tape, backend="jax")) < 1e-9
    other = RULES[name](scenario, **options | {"safety": 5}) if name == "just_in_time" else rule
    tape = scenario.sample(20, seed=2)  # the same program in other worlds
    found = simulate(scenario, other, tape, backend="jax")
    assert largest_difference(simulate(scenario, other, tape), found) < 1e-9


def test_a_recurrent_network_remembers():
    """Every weight of its memory counts: forgetting between periods would change what it costs."""
    from pathwise_cases import config, stirred, untrained

    scenario = Scenario.load("lost_sales").replace(units="continuous", horizon=12, warm_up=2)
    policy = stirred(untrained(scenario, config(head="levels", network="recurrent", hidden=(4,))), 0.5)
    tape = scenario.sample(20, seed=1)
    wanted = simulate(scenario, policy, tape)
    assert largest_difference(wanted, simulate(scenario, policy, tape, backend="jax")) < 1e-4

    def forgetting(observation):
        policy.start(len(observation.period))
        return policy(observation)

    assert largest_difference(wanted, simulate(scenario, forgetting, tape)) > 1e-3


# What is refused --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    scenario = Scenario.load("lost_sales").model_copy(update={"horizon": 8, "warm_up": 0})
    return scenario, scenario.sample(4, seed=1, periods=8)


def decided(scenario, requests):
    t = scenario.tables
    return lambda observation: Decision(np.full((len(observation.period), t.L, t.P), requests))


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_decisions_that_do_not_fit_get_the_line_they_always_get(small, bad):
    scenario, tape = small
    lines = []
    for backend in ("numpy", "jax"):
        with pytest.raises(InputError) as caught:
            simulate(scenario, decided(scenario, bad), tape, backend=backend)
        lines.append(str(caught.value))
    assert lines[0] == lines[1]
    with pytest.raises(InputError, match=r"decision.requests has shape \(4, 1\): expected \(16, 1, 1\)"):
        simulate(scenario, lambda observation: Decision(np.ones((4, 1))), tape, backend="jax")


class CallsElsewhere:
    """A policy of which a part is called, not recorded, as the networks of Stable-Baselines3 are."""

    def __call__(self, observation):
        return Decision(np.asarray(observation.on_hand)[:, :1, :, 0])

    def recordable(self, dtype):
        return Recordable((type(self),), [], lambda ops: lambda numbers: self, outside=lambda seen: seen)


class BreaksAtOnce(CallsElsewhere):
    """A policy that can prepare nothing on JAX."""

    def recordable(self, dtype):
        return Recordable((type(self),), [], lambda ops: 1 // 0)


def test_what_jax_cannot_run_is_one_line(small):
    scenario, tape = small

    def looking(observation):
        return Decision(np.asarray(observation.on_hand)[:, :1, :, 0])

    for policy, message in (
        (
            load_policy("rolling_horizon", scenario),
            r"policy rolling_horizon: has start\(\) .*: expected one without memory",
        ),
        (CallsElsewhere(), "policy CallsElsewhere: JAX cannot trace it"),
        (BreaksAtOnce(), r"policy BreaksAtOnce: JAX cannot trace it \(ZeroDivisionError"),
        (looking, "policy function: JAX cannot trace it .*: expected one in the vocabulary of backends"),
    ):
        with pytest.raises(CannotTrace, match=message):
            simulate(scenario, policy, tape, backend="jax")
    rule = RULES["echelon_base_stock"](scenario)
    with pytest.raises(InputError, match="trace = True: expected False where the backend is jax"):
        simulate(scenario, rule, tape, trace=True, backend="jax")
    for backend in ("numpy", "torch", NumpyOps()):
        with pytest.raises(InputError, match="device = 'gpu': expected cpu where the backend is"):
            simulate(scenario, rule, tape, backend=backend, device="gpu")
    with pytest.raises(InputError, match="device = 'cuda': expected one of cpu, gpu"):
        simulate(scenario, rule, tape, device="cuda")


SECOND = """
import jax, numpy as np
from echelongym.agents.registry import RULES
from echelongym.envs import Scenario, simulate
from echelongym.envs.core import devices

cpu, gpu = jax.devices("cpu")
devices.device_named = lambda name: {"cpu": cpu, "gpu": gpu}[name]
scenario = Scenario.load("lost_sales").model_copy(update={"horizon": 8, "warm_up": 0})
rule, tape = RULES["echelon_base_stock"](scenario), scenario.sample(20, seed=1, periods=8)
made = []
for name, device in (("gpu", gpu), ("cpu", cpu)):
    jax.config.update("jax_default_device", {"gpu": cpu, "cpu": gpu}[name])  # what JAX would take by itself
    found = simulate(scenario, rule, tape, backend="jax", device=name)
    made.append(found.cost_per_period)
print(np.array_equal(*made), np.allclose(made[0], simulate(scenario, rule, tape).cost_per_period, rtol=1e-12))
from echelongym.envs.rollout import xla_rollout
for key, kept in xla_rollout._kept.items():
    print(key[-1], *{str(one) for one in kept.rollout._program.input_shardings[0][1][0].device_set})
"""


def test_a_simulation_runs_where_it_was_told_to():
    """A second device of JAX's CPU backend stands for the GPU."""
    asked = "--xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": asked, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SECOND], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True True", "cpu:1 cpu:1", "cpu:0 cpu:0"]
