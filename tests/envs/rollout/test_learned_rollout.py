"""Rollouts of learned policies: the same to the bit as the simulation that asks the policy every period."""

import re

import numpy as np
import pytest
from needs import needs_compiler
from random_scenarios import random_scenario

from echelongym.agents.pathwise.config import Layout
from echelongym.agents.pathwise.policy import make_policy
from echelongym.agents.planning.open_loop import OpenLoopPlan
from echelongym.agents.reading.named import named_features, season_length
from echelongym.agents.reading.readable_rule import ReadableRule
from echelongym.agents.registry import RULES
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.errors import InputError
from echelongym.envs.interface.observation import Decision
from echelongym.envs.rollout import rollout as module
from echelongym.envs.rollout.called_policy import called
from echelongym.envs.rollout.rollout import Rollout
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore::echelongym.envs.NetworkWarning")
KINDS = [
    ("none", "levels", (8,)),
    ("perceptron", "levels", (8, 8)),
    ("perceptron", "direct", (8,)),
    ("perceptron", "split", (8,)),
    ("perceptron", "residual", (8,)),
    ("set", "auto", (8,)),
    ("graph", "auto", (8,)),
    ("recurrent", "auto", (8, 8)),
]


def made(scenario, network, head, hidden, seed, start=None):
    """A policy whose weights are drawn, so that every output counts; None where the scenario has no use for it."""
    layout = Layout(network=network, head=head, hidden=hidden, activation="tanh", rounds=2, due_periods=None, reach=1.0)
    try:
        policy = make_policy(scenario, layout, start)
    except InputError:
        return None
    rng = np.random.default_rng(seed)
    weights = {
        name: (one + 0.1 * rng.normal(size=one.shape)).astype(one.dtype) for name, one in policy.weights().items()
    }
    return make_policy(scenario, policy.config, start, weights=weights)


def check(monkeypatch, scenario, policy, tape, compiled):
    """Costs, indicators and traces of both ways, the policy asked first and last, as what is prepared must not be shared."""
    with monkeypatch.context() as patch:
        patch.setenv("ECHELONGYM_NATIVE", "0")
        first = simulate(scenario, policy, tape, trace=True)
    monkeypatch.delenv("ECHELONGYM_NATIVE", raising=False)
    rollout = Rollout.of(scenario, policy, tape, NUMPY, True, True)
    assert rollout is not None
    rollout.entry.program, rollout.entry.reason = rollout.record(), None
    if compiled:
        rollout.entry.program.compile()
    second = simulate(scenario, policy, tape, trace=True)
    assert rollout.entry.program is not None
    with monkeypatch.context() as patch:
        patch.setenv("ECHELONGYM_NATIVE", "0")
        third = simulate(scenario, policy, tape, trace=True)
    for other in (second, third):
        for one, two in ((first.costs, other.costs), (vars(first.trace), vars(other.trace))):
            for name in one:
                if name != "costs":
                    assert np.array_equal(one[name], two[name], equal_nan=True), name
        assert np.array_equal(first.cost_per_period, other.cost_per_period)
        assert first.figures().aggregate()["total"] == other.figures().aggregate()["total"]


def actors(scenario, seed):
    """Policies of Stable-Baselines3's kinds: proximal, squashed, corrections of a rule, discrete, remembering."""
    import torch

    from echelongym.agents.sb3.actor import Actor, RecurrentActor, policy_of

    torch.manual_seed(seed)
    blank = policy_of(scenario, torch.nn.Identity(), "proportional")
    n, m = blank.encoder.size, blank.decoder.size
    moves = np.random.default_rng(seed).uniform(-1, 1, (5, m)).astype(np.float32)
    made = [
        (Actor([n, 16, 16, m]), "proportional", None),
        (Actor([n, 16, m], "relu", squash=True), "allocate", None),
        (Actor([n, 16, m]), "order_up_to", RULES["echelon_base_stock"](scenario)),
        (Actor([n, 16, 5], moves=moves), "requests", None),
        (RecurrentActor(n, 7, Actor([7, m])), "order_up_to_local", None),
    ]
    return [policy_of(scenario, actor.eval(), action, rule=rule) for actor, action, rule in made]


def check_all(monkeypatch, seed, compiled):
    rng = np.random.default_rng(seed)
    scenario = Scenario.from_mapping(random_scenario(rng, ("continuous", "integer")[seed % 2], "small"))
    tape, run = scenario.sample(21, seed=seed, periods=15), 0
    for kind in KINDS:
        policy = made(scenario, *kind, seed)
        if policy is not None:
            check(monkeypatch, scenario, policy, tape, compiled)
            run += 1
    assert run >= 5


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(module, "_entries", type(module._entries)())
    monkeypatch.setattr(module, "_machinery", type(module._machinery)())


@pytest.mark.parametrize("seed", [0, 1])
def test_every_network_and_head_costs_the_same(seed, monkeypatch):
    check_all(monkeypatch, seed, compiled=False)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_every_network_and_head_costs_the_same_compiled(seed, monkeypatch):
    check_all(monkeypatch, seed, compiled=True)


@needs_compiler
@pytest.mark.parametrize("kind", [KINDS[0], KINDS[1], KINDS[7]])
def test_a_shipped_scenario_compiled(kind, monkeypatch):
    scenario = Scenario.load("serial", {"warm_up": 4})
    check(monkeypatch, scenario, made(scenario, *kind, 1), scenario.sample(40, seed=1, periods=20), compiled=True)


@pytest.mark.parametrize("seed", [10, 11])
def test_actors_of_pytorch_are_called_from_the_program(seed, monkeypatch):
    """In parts of 16 worlds and more their products come out as those of the whole batch; few worlds are asked alone."""
    rng = np.random.default_rng(seed)
    scenario = Scenario.from_mapping(random_scenario(rng, ("continuous", "integer")[seed % 2], "small"))
    for worlds in (2, 70):
        tape = scenario.sample(worlds, seed=seed, periods=8)
        for policy in actors(scenario, seed):
            monkeypatch.setattr(module, "MOST_ASKED", 16)
            check(monkeypatch, scenario, policy, tape, compiled=False)


@needs_compiler
@pytest.mark.slow
def test_actors_of_pytorch_are_called_from_the_program_compiled(monkeypatch):
    for seed in range(12, 16):
        scenario = Scenario.from_mapping(
            random_scenario(np.random.default_rng(seed), ("continuous", "integer")[seed % 2], "small")
        )
        tape = scenario.sample(300, seed=seed, periods=12)
        for policy in actors(scenario, seed):
            check(monkeypatch, scenario, policy, tape, compiled=True)


def test_actors_of_pytorch_are_refused_under_jax_in_one_line():
    pytest.importorskip("jax")
    scenario = Scenario.load("serial")
    for policy, said in zip(actors(scenario, 1)[::4], ("JAX cannot trace it", "has start()"), strict=True):
        with pytest.raises(InputError, match=re.escape(said)):
            simulate(scenario, policy, scenario.sample(3, seed=1, periods=70), backend="jax")


@pytest.mark.parametrize("seed", [20, 21])
def test_open_loop_plans_run_as_programs(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    data = random_scenario(rng, ("continuous", "integer")[seed % 2], "small") | {"horizon": 9, "warm_up": 2}
    scenario = Scenario.from_mapping(data)
    t = scenario.tables
    plan = OpenLoopPlan(scenario, rng.uniform(0, 9, (9, t.L, t.P)) * t.lane_open)
    check(monkeypatch, scenario, plan, scenario.sample(37, seed=seed, periods=8), compiled=False)
    longer = scenario.sample(3, seed=seed, periods=11)
    rollout = Rollout.of(scenario, plan, longer, NUMPY, True)
    rollout.entry.program, rollout.entry.reason = rollout.record(), None
    with pytest.raises(InputError, match="period = 9: expected one of the 9 periods planned"):
        simulate(scenario, plan, longer)


def test_one_program_serves_all_actors_of_a_kind(monkeypatch):
    """So that validation in training records it once."""
    scenario = Scenario.load("serial", {"warm_up": 4})
    tape, costs = scenario.sample(40, seed=1, periods=10), []
    for seed in (1, 2):
        policy = actors(scenario, seed)[0]
        check(monkeypatch, scenario, policy, tape, compiled=False)
        costs.append(simulate(scenario, policy, tape, trace=True).cost_per_period)
    assert len(module._entries) == 1
    assert (costs[0] != costs[1]).all()


def readable(scenario, rng):
    """A readable rule whose gains and terms are drawn."""
    t = scenario.tables
    features = named_features(scenario)
    terms, gains = {}, {}
    for lane, product in np.argwhere(t.lane_open):
        looked_at = {}
        for i in rng.choice(len(features), min(2, len(features)), replace=False):
            length = season_length(features[i].name)
            line = {"per_unit": rng.normal(), "typical": rng.normal(3)}
            looked_at[features[i].name] = {"add": list(rng.normal(size=3))} if length else line
        name, goods = t.lanes[lane], t.products[product]
        terms.setdefault(name, {})[goods] = looked_at
        gains.setdefault(name, {})[goods] = float(rng.choice([1.0, 0.4]))
    for name in terms if t.P == 1 else ():
        (terms[name],), (gains[name],) = terms[name].values(), gains[name].values()
    position = str(rng.choice(["echelon", "local"]))
    rule = ReadableRule(scenario, terms=terms, gains=gains, position=position)
    assert rule.terms
    return rule


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_readable_rules_are_recorded(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    scenario = Scenario.from_mapping(random_scenario(rng, ("continuous", "integer")[seed % 2], "small"))
    tape = scenario.sample(21, seed=seed, periods=8)
    for _ in range(3):
        check(monkeypatch, scenario, readable(scenario, rng), tape, compiled=False)


def by_hand(observation):
    """Asks for what was demanded, in a type of its own, and keeps some of it back."""
    t = observation.unfilled.shape
    wanted = observation.demand_history.sum((1, 2, 3)).reshape((-1, 1, 1)) + 0.25 * observation.period.reshape(
        (-1, 1, 1)
    )
    return Decision(np.broadcast_to(np.floor(wanted), t))


@pytest.mark.parametrize("worlds", [3, 300])
def test_a_policy_of_plain_arrays_is_called_from_the_program(worlds, monkeypatch):
    """In parts of 256 worlds, the last of them for few."""
    scenario = Scenario.load("two_region", {"warm_up": 3})
    t, most = scenario.tables, []

    class ByHand:
        def __call__(self, observation):
            most.append(len(observation.period))
            return by_hand(observation)

        def recordable(self, dtype):
            reads = {"unfilled": ((t.L, t.P), np.dtype(dtype)), "period": ((), np.dtype(np.int64))}
            reads["demand_history"] = ((t.C, t.P, t.H), np.dtype(dtype))
            return called(self, ByHand, reads, {"requests": ((t.L, t.P), np.dtype(np.int64))})

    check(monkeypatch, scenario, ByHand(), scenario.sample(worlds, seed=1, periods=9), compiled=False)
    assert set(most) == ({3, 64} if worlds == 3 else {300, 256, 48})  # 64 and 256 worlds while it is recorded


def test_a_rule_with_memory_that_is_corrected_is_asked(monkeypatch):
    scenario = Scenario.load("serial")
    tape = scenario.sample(3, seed=1, periods=10)
    for start, runs in ((RULES["sterman"](scenario), False), (RULES["echelon_base_stock"](scenario), True)):
        policy = made(scenario, "perceptron", "residual", (8,), 1, start)
        assert (Rollout.of(scenario, policy, tape, NUMPY, True) is not None) is runs


def test_a_policy_that_learns_runs_with_its_weights_of_now(monkeypatch):
    """One program serves all of them."""
    scenario = Scenario.load("serial", {"warm_up": 4})
    policy = made(scenario, "perceptron", "auto", (8,), 1)
    tape = scenario.sample(3, seed=1, periods=10)
    costs = []
    for _ in range(2):
        check(monkeypatch, scenario, policy, tape, compiled=False)
        costs.append(simulate(scenario, policy, tape, kpis=False).cost_per_period)
        for one in policy.actor.parameters():
            one.data.add_(0.1)
        policy.actor.begin(0)
    assert len(module._entries) == 2  # with indicators and without
    assert (costs[0] != costs[1]).all()
