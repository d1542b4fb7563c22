"""Learning from a record: drift estimated from it, levels drawn in training worlds alone, demand remembered, fair choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pathwise_cases import config

from echelongym.agents.budget import Budget
from echelongym.agents.pathwise.automatic import automatic_demand_memory, automatic_network, automatic_start
from echelongym.agents.pathwise.gradients.choice import gradients_of
from echelongym.agents.pathwise.gradients.training_worlds import DemandLevels, training_worlds
from echelongym.agents.pathwise.gradients.unroll import Unroll, training_window
from echelongym.agents.pathwise.policy import PathwisePolicy, load_pathwise, make_policy, pathwise_policy, save_pathwise
from echelongym.agents.pathwise.tuned_start import tuned_start
from echelongym.agents.policy_files import PolicyFile, read_policy
from echelongym.agents.service_targets import Multipliers
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.recorded.drift import LevelDrift, level_drift
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods, simulate

BLOCK = 7


def shops(**demand: Any) -> Scenario:
    """Two shops behind a warehouse, two products, on a record."""
    trace = {"kind": "trace", "file": "synthetic:grocery?seed=1&mean=4&periods=364", "block": BLOCK, **demand}
    names = ("a", "b")
    return Scenario.from_mapping(
        {
            "name": "shops",
            "units": "continuous",
            "horizon": 42,
            "warm_up": 7,
            "products": {"bread": {}, "soap": {}},
            "nodes": {"supplier": {"kind": "supplier"}, "warehouse": {"holding_cost": 0.5}}
            | {name: {"holding_cost": 1.0} for name in names},
            "lanes": {"supply": {"source": "supplier", "target": "warehouse", "lead_time": 2}}
            | {f"to_{name}": {"source": "warehouse", "target": name, "lead_time": 1} for name in names},
            "customers": {
                f"of_{name}": {
                    "sources": {name: {}},
                    "demand": {**trace, "series": f"store_{name}"},
                    "lost_share": 1.0,
                    "lost_sale_cost": 9.0,
                }
                for name in names
            },
            "observe": {"history": 3},
        }
    )


def policy(scenario: Scenario, **changes: Any) -> PathwisePolicy:
    """One with weights that are not zero."""
    torch.manual_seed(3)
    made = make_policy(scenario, config(network="set", demand_memory=14, **changes), automatic_start(scenario))
    with torch.no_grad():
        for one in made.actor.parameters():
            one.add_(0.1 * torch.randn(one.shape))
    made.actor.begin(0)
    return made


# Drift -------------------------------------------------------------------------------------------------


def test_drift_of_levels_without_chance_is_their_standard_deviation_between_quarters():
    quarters = np.repeat([1.0, 1.0, 3.0, 3.0], 2 * BLOCK)
    flat = np.full_like(quarters, 2.0)
    of_product = level_drift(np.stack([[quarters, flat], [5 * quarters, flat]]), BLOCK)
    # (1, 1, 3, 3) has mean 2 and variance 4/3; the second product has none.
    assert of_product == pytest.approx((np.sqrt((4 / 3) / 4 / 2), 0.0, 0.0), abs=1e-12)
    alone = level_drift(quarters[None, None], BLOCK)
    assert alone == pytest.approx((np.sqrt(1 / 3), 0.0, 0.0))
    too_short = level_drift(quarters[None, None, :-1], BLOCK)
    assert too_short == (0.0, 0.0, 0.0)


def test_drift_of_records_with_known_drift_comes_out_and_chance_alone_is_none():
    rng = np.random.default_rng(5)
    customers, products, weeks = 30, 30, 7
    true = LevelDrift(0.2, 0.15, 0.1)

    def recorded(drift: LevelDrift) -> np.ndarray:
        levels = drift.factors(
            rng.standard_normal((1, products, 4)),
            rng.standard_normal((customers, 1, 4)),
            rng.standard_normal((customers, products, 4)),
        )
        return rng.poisson(3.0 * np.repeat(levels, weeks * BLOCK, axis=-1)).astype(float)

    found = level_drift(recorded(true), BLOCK)
    assert found == pytest.approx(true, rel=0.2)
    assert max(level_drift(recorded(LevelDrift(0, 0, 0)), BLOCK)) < 0.02


def test_levels_drawn_have_mean_one_and_the_deviation_of_the_drift():
    drift = LevelDrift(0.3, 0.2, 0.1)
    normal = np.random.default_rng(0).standard_normal((3, 200_000))
    factors = drift.factors(*normal)
    assert factors.mean() == pytest.approx(1.0, abs=0.005)
    # Independent factors of mean 1: 1 + variance multiplies.
    assert 1 + factors.var() == pytest.approx(np.prod([1 + one**2 for one in drift]), rel=0.01)


# Training worlds ---------------------------------------------------------------------------------------


def test_training_worlds_are_recorded_ones_at_levels_of_their_own_that_no_batch_changes():
    scenario = shops()
    levels = DemandLevels(scenario, 3)
    levels.drifts = [LevelDrift(0.3, 0.2, 0.1)]
    drawn = training_worlds(scenario, 4, 6, 3, 20, levels)
    recorded = scenario.sample(list(range(4, 10)), 3, "learn", 20)
    factors = levels.factors(range(4, 10))
    assert factors.shape == (6, 2, 2)
    np.testing.assert_allclose(drawn.demand, recorded.demand * factors)  # history included
    np.testing.assert_array_equal(factors[2:3], levels.factors([6]))
    # Of a world: the product's, the customer's and the series' own, so that they are alike but not the same.
    logs = np.log(levels.factors(range(4_000))).reshape(4_000, -1)
    correlation = np.corrcoef(logs.T)
    parts = np.log1p(np.square(levels.drifts[0]))
    assert correlation[0, 2] == pytest.approx(parts[0] / parts.sum(), abs=0.05)  # two customers, one product
    assert correlation[0, 1] == pytest.approx(parts[1] / parts.sum(), abs=0.05)
    assert correlation[0, 3] == pytest.approx(0.0, abs=0.05)


def test_drift_is_estimated_from_what_training_sees_alone():
    scenario = shops()
    process = scenario.demand_processes["of_a"]["bread"]
    first, last = process.series.spans["learn"]
    units = np.array(
        [
            [scenario.demand_processes[customer][product].series.units for product in scenario.products]
            for customer in scenario.customers
        ]
    )
    (drift,) = DemandLevels(scenario, 0).drifts
    assert drift == level_drift(units[..., first : last + 1], BLOCK)
    assert DemandLevels(scenario, 0, 2.0).drifts[0] == tuple(2 * one for one in drift)
    # A record that is replayed in order has one history, with its drift in it.
    assert not DemandLevels(shops(block=None), 0).moving
    assert not DemandLevels(Scenario.load("lost_sales"), 0).moving


def test_rules_that_a_training_on_a_record_starts_from_have_seen_no_validation_period(monkeypatch):
    scenario, purposes = shops(), set()
    sample = Scenario.sample

    def watched(self: Scenario, *args: Any, **named: Any) -> Any:
        purposes.add(named.get("purpose", args[2] if len(args) > 2 else "train"))
        return sample(self, *args, **named)

    tape = scenario.sample(8, 0, "validate")
    monkeypatch.setattr(Scenario, "sample", watched)
    found = tuned_start(scenario, config(head="auto"), 0, Budget(env_steps=1_000_000), tape, False)
    assert found is not None
    assert purposes == {"learn"}


def test_a_set_network_with_a_memory_is_chosen_for_many_lanes_on_a_record():
    grocery = Scenario.load("grocery")
    assert (automatic_network(grocery), automatic_demand_memory(grocery)) == ("set", 28)
    for scenario in (shops(), Scenario.load("two_region"), Scenario.load("lost_sales")):
        assert (automatic_network(scenario), automatic_demand_memory(scenario)) == ("perceptron", 0)


def test_fill_rates_are_aimed_higher_by_what_validation_misses_and_lower_again():
    scenario = shops().with_overrides({"customers.of_a.targets": {"fill_rate": 0.9}})
    multipliers = Multipliers(scenario, NUMPY)

    def seen(fill_rate: float) -> float:
        multipliers.heed([{"name": "of_a.fill_rate", "mean": fill_rate}], scenario.tables.customers)
        assert multipliers.raised[1] == 0.0
        return float(multipliers.raised[0])

    margin = multipliers.MARGIN * 0.1
    assert seen(0.95) == 0.0
    assert seen(0.88) == pytest.approx(0.02 + margin)
    assert seen(0.89) == pytest.approx(0.03 + 2 * margin)
    assert seen(0.94) == pytest.approx(3 * margin - 0.01)  # 0.04 above the target
    assert seen(0.0) == pytest.approx(multipliers.MOST_RAISED * 0.1)
    # A policy that serves 0.91 in training, as it should, pays once more is aimed at.
    for raised, pays in ((0.0, False), (0.05, True)):
        multipliers.raised[0], multipliers.price = raised, np.zeros(2)
        multipliers.note(np.array([0.09, 0.5]), np.ones(2), np.zeros(2), 1)
        multipliers.update()
        assert (multipliers.price[0] > 0) == pays
        assert multipliers.price[1] == 0.0


# Memory of demand --------------------------------------------------------------------------------------


def test_demand_remembered_is_the_mean_of_all_seen_and_then_smoothed():
    scenario = shops()
    features, history = policy(scenario).definition.features, 3
    tape = scenario.sample(2, 0, "tune")
    demand = tape.demand.reshape(len(tape.demand), 2, -1)
    memory = None
    for period, seen, _, _ in periods(scenario, automatic_start(scenario), tape):
        memory = features.remembered(seen, memory, NUMPY)
        known = demand[: history + period]
        if history + period <= 14:
            expected = known.mean(0)
        else:
            expected = expected + (known[-1] - expected) / 14
        np.testing.assert_allclose(memory, expected.T, rtol=1e-5)


def test_a_policy_that_remembers_does_the_same_by_itself_compiled_and_from_a_file(tmp_path: Path):
    scenario = shops()
    made, tape = policy(scenario), scenario.sample(4, 0, "tune")
    assert made.definition.memory == 4
    compiled = simulate(scenario, made, tape, kpis=False).net_cost_per_period
    made._start(4)
    asked = simulate(scenario, lambda observation: made(observation), tape, kpis=False).net_cost_per_period
    np.testing.assert_allclose(compiled, asked, rtol=1e-6)
    path = tmp_path / "policy.npz"
    save_pathwise(path, made)
    np.testing.assert_array_equal(
        simulate(scenario, load_pathwise(path, scenario), tape, kpis=False).net_cost_per_period, compiled
    )


def test_a_policy_file_from_before_has_no_memory(tmp_path: Path):
    scenario = shops()
    made = make_policy(scenario, config(network="set", demand_memory=0), automatic_start(scenario))
    path = tmp_path / "policy.npz"
    save_pathwise(path, made)

    def before(file: PolicyFile, scenario: Scenario) -> PathwisePolicy:
        del file.config["layout"]["demand_memory"]
        return pathwise_policy(file, scenario)

    assert read_policy(path, scenario, {"pathwise": before}).definition.memory == 0


def test_gradients_of_a_policy_that_remembers_agree():
    pytest.importorskip("jax")
    scenario = shops()
    made = policy(scenario, periods=10, worlds=4)
    window = training_window(scenario, made.config)
    reference = Unroll(scenario, window, 0, 1.0)
    other = gradients_of("auto", scenario, window, 0, 1.0, made.actor)
    assert other.library == "jax"
    reference.levels = other.levels = DemandLevels(scenario, 0)
    found = []
    for unroll in (reference, other):
        loss = unroll.gradient(made.actor, 0, 4)
        found.append(np.concatenate([[loss], *(one.grad.numpy().ravel() for one in made.actor.parameters())]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-4)
