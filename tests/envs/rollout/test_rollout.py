"""Rollouts: the same to the bit as the simulation that asks the policy every period, for every rule and feature."""

import numpy as np
import pytest
from needs import needs_compiler
from random_scenarios import random_scenario

from echelongym.agents.registry import RULES
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.errors import InputError
from echelongym.envs.interface.observation import Decision
from echelongym.envs.rollout import rollout as module
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.rollout.rollout import Rollout
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore::echelongym.envs.NetworkWarning")

# Rules with options that make them do something else, with memory among them.
FURTHER = [
    ("sterman", {"smoothing": 0.3, "adjustment_rate": 0.5, "order_delay": 2, "initial_periods": 3}),
    ("just_in_time", {"safety": 3}),
    ("random", {"seed": 7, "spread": 3}),
    ("echelon_base_stock", {"allocation": "marginal"}),
    ("capped_local_base_stock", {"allocation": "equalise"}),
]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.delenv("ECHELONGYM_NATIVE", raising=False)
    monkeypatch.setattr(module, "_entries", type(module._entries)())
    monkeypatch.setattr(module, "_machinery", type(module._machinery)())


def asked(monkeypatch, scenario, policy, tape, **options):
    """The simulation that asks the policy every period."""
    with monkeypatch.context() as patch:
        patch.setenv("ECHELONGYM_NATIVE", "0")
        return simulate(scenario, policy, tape, **options)


def rolled(monkeypatch, scenario, policy, tape, kpis=True, size=16, compiled=False, trace=False):
    """The same by a program of ``size`` worlds, replayed or compiled; None where it is asked all the same."""
    with monkeypatch.context() as patch:
        patch.delenv("ECHELONGYM_NATIVE", raising=False)
        patch.setattr(module, "worlds_together", lambda tables: size)
        rollout = Rollout.of(scenario, policy, tape, NUMPY, kpis, trace)
        if rollout is None:
            return None
        entry = rollout.entry
        if entry.program is None:
            entry.program, entry.reason = rollout.record(), None
            if compiled:
                entry.program.compile()
                # Means of past demand are NumPy's sums, in an order that follows from where the numbers lie.
                assert entry.program.native.whole or policy.name in ("forecast_base_stock", "playbook")
        outcome = simulate(scenario, policy, tape, kpis=kpis, trace=trace)
        assert entry.program is not None
        assert not entry.refused
        return outcome


def same(one, other, path=""):
    """Equal to the bit, signs of zeros included."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            same(one[key], other[key], f"{path}/{key}")
    elif one is None:
        assert other is None, path
    else:
        assert np.array_equal(one, other, equal_nan=True), path
        known = ~np.isnan(one)
        assert np.array_equal(np.signbit(one[known]), np.signbit(other[known])), path


def same_outcomes(one, other, kpis=True):
    for name in ("cost_per_period", "episode_net_cost_per_period", "costs", "profit_per_period"):
        same(getattr(one, name), getattr(other, name), name)
    if kpis:
        same(one.kpis(), other.kpis())
    assert (one.trace is None) == (other.trace is None)
    if one.trace is not None:
        same(vars(one.trace), vars(other.trace))


def rules_for(scenario, seed):
    """Every rule that the scenario has a use for, some with numbers unlike those it comes with."""
    for number, (name, rule) in enumerate(RULES.items()):
        if rule.slow:
            continue
        try:
            found = rule(scenario)
        except InputError:
            continue
        space = found.space()
        if len(space) and (number + seed) % 4:
            rng = np.random.default_rng(len(space))
            vector = np.maximum(space.start + space.scale * rng.normal(size=len(space)), space.lower)
            found = found.with_vector(space, np.where(rng.random(len(space)) < 0.8, vector, space.unused))
        yield name, found
    for name, options in FURTHER:
        yield name, RULES[name](scenario, **options)


def drawn(seed):
    rng = np.random.default_rng(seed)
    units, size = ("continuous", "integer")[seed % 2], ("any", "small")[seed // 2 % 2]
    scenario = Scenario.from_mapping(random_scenario(rng, units, size))
    return scenario, scenario.sample(37, seed=seed)


def check_every_rule(monkeypatch, seed, compiled):
    scenario, tape = drawn(seed)
    run = 0
    for name, rule in rules_for(scenario, seed):
        trace = run % 3 == 0
        outcome = rolled(monkeypatch, scenario, rule, tape, compiled=compiled, trace=trace)
        assert outcome is not None, name
        same_outcomes(asked(monkeypatch, scenario, rule, tape, trace=trace), outcome)
        run += 1
    assert run >= 15


@pytest.mark.parametrize("seed", [0, 1])
def test_every_rule_costs_and_serves_the_same(seed, monkeypatch):
    check_every_rule(monkeypatch, seed, compiled=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 40))
def test_every_rule_costs_and_serves_the_same_on_more_networks(seed, monkeypatch):
    check_every_rule(monkeypatch, seed, compiled=False)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 48))
def test_every_rule_costs_and_serves_the_same_compiled(seed, monkeypatch):
    check_every_rule(monkeypatch, seed, compiled=True)


@needs_compiler
@pytest.mark.parametrize("kpis", [False, True])
def test_a_shipped_scenario_compiled(kpis, monkeypatch):
    scenario = Scenario.load("serial", {"warm_up": 7})
    rule, tape = RULES["echelon_base_stock"](scenario), scenario.sample(100, seed=3, periods=40)
    plain = asked(monkeypatch, scenario, rule, tape, kpis=kpis)
    same_outcomes(plain, rolled(monkeypatch, scenario, rule, tape, kpis, 64, compiled=True), kpis)


@pytest.mark.parametrize("worlds", [1, 5, 37])
def test_any_split_of_the_batch_is_the_same(worlds, monkeypatch):
    scenario, _ = drawn(3)
    tape, rule = scenario.sample(worlds, seed=8), RULES["capped_echelon_base_stock"](scenario)
    plain = asked(monkeypatch, scenario, rule, tape)
    for size in (2, 8, 37, 64):
        nothing_kept = type(module._entries)()
        monkeypatch.setattr(module, "_entries", nothing_kept)
        same_outcomes(plain, rolled(monkeypatch, scenario, rule, tape, size=size))


def test_another_candidate_and_another_tape_run_the_same_program(monkeypatch):
    scenario, tape = drawn(4)
    rule = RULES["reorder_point_order_up_to"](scenario)
    space = rule.space()
    for step, periods in enumerate((scenario.horizon, scenario.horizon + 9, 2 * scenario.horizon)):
        candidate = rule.with_vector(space, space.start + step)
        tape = scenario.sample(20 + step, seed=step, periods=periods)
        same_outcomes(asked(monkeypatch, scenario, candidate, tape), rolled(monkeypatch, scenario, candidate, tape))
    assert len(module._entries) == 1


def test_policies_that_decide_by_values_are_asked(monkeypatch):
    """They are refused once a recording was tried, whatever the reason, and cost the same."""

    class Looking(Constant):
        def on(self, numbers):
            def decide(observation):
                return Decision(observation.unfilled * (1.0 if observation.on_hand.max() > 0 else 0.0))

            return decide

        def __call__(self, observation):
            return self.on([])(observation)

    monkeypatch.setattr(module, "TO_LOAD", (0.0, 0.0))
    scenario = Scenario.load("one_warehouse_three", {"horizon": 30, "warm_up": 5})
    policy, tape = Looking(scenario, 0.0), scenario.sample(9, seed=1)
    outcomes = [simulate(scenario, policy, tape) for _ in range(2)]
    entry = next(iter(module._entries.values()))
    assert entry.refused
    assert entry.program is None
    for outcome in outcomes:
        same_outcomes(asked(monkeypatch, scenario, policy, tape), outcome)


@pytest.mark.parametrize("missing", ["memory", "foreseen"])
def test_a_policy_that_does_not_say_what_it_remembers_or_foresees_is_asked(missing):
    class Starting(Constant):
        if missing == "memory":

            def start(self, worlds):
                self.number += 1
        else:

            def foresee(self, tape):
                self.number = float(tape.demand.mean())

    scenario, tape = drawn(0)
    assert Rollout.of(scenario, Constant(scenario, 1.0), tape, NUMPY, True) is not None
    assert Rollout.of(scenario, Starting(scenario, 1.0), tape, NUMPY, True) is None


@needs_compiler
@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sterman", {"smoothing": 0.2, "order_delay": 1}),
        ("just_in_time", {}),
        ("random", {}),
        ("echelon_base_stock", {}),
    ],
)
def test_memory_foresight_and_traces_compiled(name, options, trace, monkeypatch):
    scenario = Scenario.load("serial", {"warm_up": 7})
    rule, tape = RULES[name](scenario, **options), scenario.sample(50, seed=3, periods=40)
    plain = asked(monkeypatch, scenario, rule, tape, trace=trace)
    same_outcomes(plain, rolled(monkeypatch, scenario, rule, tape, True, 32, True, trace))


def test_what_is_remembered_of_one_simulation_is_forgotten_in_the_next(monkeypatch):
    scenario, tape = drawn(0)
    rule = RULES["sterman"](scenario, smoothing=0.5, order_delay=1)
    first, second = (rolled(monkeypatch, scenario, rule, tape) for _ in range(2))
    same_outcomes(first, second)


def test_a_trace_adds_up_to_what_was_told(monkeypatch):
    scenario, tape = drawn(1)
    rule = RULES["sterman"](scenario, order_delay=1)
    outcome = rolled(monkeypatch, scenario, rule, tape, trace=True)
    told = {line: money[scenario.warm_up :].mean(0) for line, money in outcome.trace.costs.items()}
    for line, money in outcome.costs.items():
        assert told[line] == pytest.approx(money, rel=1e-12, abs=1e-12)
    one = outcome.trace
    assert one.on_hand.shape[:3] == (tape.periods, tape.batch, scenario.tables.N)
    # What was asked for and not shipped is what is unfilled when the next period begins.
    assert one.unfilled[1:] == pytest.approx(np.maximum(one.requests - one.shipped, 0)[:-1], abs=1e-9)


def test_a_subclass_says_itself_that_it_is_pure(monkeypatch):
    class Hoarding(RULES["echelon_base_stock"]):
        name = "hoarding"
        more = 0.0

        def _ask(self, step, numbers, gap, owned, ops):
            return super()._ask(step, numbers, gap, owned, ops) + self.more

    scenario, tape = drawn(0)
    assert not Hoarding.pure
    assert Rollout.of(scenario, Hoarding(scenario), tape, NUMPY, True) is None


class Constant:
    """Asks for one number on every lane."""

    def __init__(self, scenario, number):
        self.shape, self.number = (scenario.tables.L, scenario.tables.P), number

    def recordable(self, dtype):
        return Recordable("constant", [np.full((1, 1, 1), self.number)], lambda ops: self.on)

    def on(self, numbers):
        def decide(observation):
            nothing = observation.unfilled * 0.0
            return Decision(nothing + np.moveaxis(numbers[0], -1, 0))

        return decide

    def __call__(self, observation):
        return Decision(np.full((len(observation.period), *self.shape), self.number))


@pytest.mark.parametrize("number", [-1.0, np.nan, np.inf, 1e300])
def test_a_decision_that_does_not_fit_is_refused_in_the_same_words(number, monkeypatch):
    scenario, tape = drawn(2)
    good, bad = Constant(scenario, 3.0), Constant(scenario, number)
    same_outcomes(asked(monkeypatch, scenario, good, tape), rolled(monkeypatch, scenario, good, tape))
    with pytest.raises(InputError) as plain:
        asked(monkeypatch, scenario, bad, tape)
    with pytest.raises(InputError) as found:
        rolled(monkeypatch, scenario, bad, tape)
    assert str(found.value) == str(plain.value)


def test_a_tape_that_is_played_again_and_again_costs_the_same(monkeypatch):
    scenario, tape = drawn(3)
    rule, other = (RULES[name](scenario) for name in ("echelon_base_stock", "random"))
    for policy in (rule, other, rule, other, rule):
        same_outcomes(asked(monkeypatch, scenario, policy, tape), rolled(monkeypatch, scenario, policy, tape))
    doubled = tape.replace(demand=2 * tape.demand)
    same_outcomes(asked(monkeypatch, scenario, rule, doubled), rolled(monkeypatch, scenario, rule, doubled))
    same_outcomes(asked(monkeypatch, scenario, rule, tape[5:20]), rolled(monkeypatch, scenario, rule, tape[5:20]))


def test_programs_are_kept_up_to_so_many_bytes(monkeypatch):
    """Those used last stay, and the one in use whatever it takes; small ones all stay."""
    (scenario, tape), (another, other_tape) = drawn(3), drawn(2)
    rules = [RULES[name](scenario) for name in ("echelon_base_stock", "random", "local_base_stock")]

    def run(rule, tape=tape, scenario=scenario):
        same_outcomes(asked(monkeypatch, scenario, rule, tape), rolled(monkeypatch, scenario, rule, tape))

    for rule in rules:
        run(rule)
    kept = list(module._entries)
    sizes = [one.program.bytes for one in module._entries.values()]
    assert len(kept) == 3
    monkeypatch.setattr(module, "BYTES_IN_ALL", sum(sizes[1:]))
    run(rules[2])
    assert list(module._entries) == kept[1:]
    monkeypatch.setattr(module, "BYTES_IN_ALL", 1)
    run(RULES["echelon_base_stock"](another), other_tape, another)
    assert [one.tables for one in module._entries.values()] == [another.tables]
    assert [one.tables for one in module._machinery.values()] == [another.tables]


def test_progress_is_told_of_every_period_once(monkeypatch):
    scenario, tape = drawn(5)
    rule = RULES["echelon_base_stock"](scenario)
    rollout = Rollout.of(scenario, rule, tape, NUMPY, True)
    rollout.entry.program = rollout.record()
    for told in (0, 4):
        heard = []
        rollout.run(lambda done, periods, heard=heard: heard.append((done, periods)), told)
        assert heard == [(done, tape.periods) for done in range(told + 1, tape.periods + 1)]


@needs_compiler
def test_a_long_simulation_changes_over_and_a_short_one_does_not(monkeypatch):
    scenario = Scenario.load("lost_sales")
    rule = RULES["echelon_base_stock"](scenario)
    short = scenario.sample(2, seed=0, periods=60)
    monkeypatch.setattr(module, "TO_LOAD", (1e9, 0.0))
    simulate(scenario, rule, short, kpis=False)
    (entry,) = module._entries.values()
    assert entry.program is None
    monkeypatch.setattr(module, "TO_COMPILE", (0.0, 0.0))
    monkeypatch.setattr(module, "TO_LOAD", (0.0, 0.0))
    heard = []
    outcome = simulate(scenario, rule, short, kpis=False, progress=lambda done, _: heard.append(done))
    assert entry.reason is None
    assert heard == list(range(1, 61))
    same_outcomes(asked(monkeypatch, scenario, rule, short, kpis=False), outcome, kpis=False)


def test_a_trace_of_what_is_named_is_that_part_of_the_whole_trace():
    scenario = Scenario.load("two_region")
    rule, tape = RULES["echelon_base_stock"](scenario), scenario.sample(20, seed=3, periods=220)
    for _ in range(3):  # period by period, recorded, compiled
        whole, part = (simulate(scenario, rule, tape, trace=names).trace for names in (True, ["shipped", "on_hand"]))
        assert set(vars(part)) == {"shipped", "on_hand", "costs"}
        np.testing.assert_array_equal(part.shipped, whole.shipped)
        np.testing.assert_array_equal(part.on_hand, whole.on_hand)
        assert all((part.costs[line] == money).all() for line, money in whole.costs.items())
    for wrong in ("on_hand", ["nope"], 3):
        with pytest.raises(InputError, match=r"^trace = .*expected .*on_hand, in_transit"):
            simulate(scenario, rule, tape, trace=wrong)
