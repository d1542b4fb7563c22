"""Whether to order as a decision of the network: what it does untrained, whole vehicles, and what other orders cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from checkout import CHECKOUT
from pathwise_cases import config, costs, one_store, stirred, untrained

from echelongym.agents.budget import Budget
from echelongym.agents.checkpoint_files import latest_checkpoint
from echelongym.agents.exact import solve
from echelongym.agents.pathwise.order_decisions.choice import NOTHING, OPTIONS, VEHICLES_DOWN, VEHICLES_UP
from echelongym.agents.pathwise.order_decisions.flips import Flips
from echelongym.agents.pathwise.policy import load_pathwise, save_pathwise
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.agents.rules.reorder import CanOrder
from echelongym.agents.tuning.gradient import GradientWindow
from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.errors import InputError
from echelongym.envs.interface.observation import Decision
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods, simulate

INSTANCES = CHECKOUT / "configs" / "scenario" / "instances"
OPTIMA = {"joint_replenishment": 56.772691, "joint_order": 20.074740}


def instance(name: str = "joint_replenishment") -> Scenario:
    return Scenario.load(INSTANCES / f"{name}.yaml")


def rule(scenario: Scenario, **points: Any) -> CanOrder:
    return CanOrder(
        scenario,
        levels={"store": {"first": 12, "second": 8}},
        reorder_points={"store": 1},
        can_order_points={"store": {"first": 9, "second": 6}},
    )


def learned(scenario: Scenario, start: Any = None, decides: str = "learned", **changes: Any) -> Any:
    return untrained(scenario, config(head="auto", order_decisions=decides, **changes), start)


@pytest.mark.parametrize("name", ["joint_replenishment", "joint_order"])
def test_optima_written_in_the_files_of_joint_replenishment_are_those_of_value_iteration(name):
    assert solve(instance(name), "value_iteration").value == pytest.approx(OPTIMA[name], abs=1e-5)
    assert f"{OPTIMA[name]:.6f}" in (INSTANCES / f"{name}.yaml").read_text()


def test_an_untrained_policy_asks_for_what_it_asks_for_without_the_decision():
    joint, region = instance(), Scenario.load("two_region")
    for scenario, start in ((joint, rule(joint)), (joint, None), (region, None)):
        with_it, without = (costs(scenario, learned(scenario, start, which)) for which in ("learned", "none"))
        np.testing.assert_allclose(with_it, without, rtol=1e-12)


def test_it_is_automatic_where_vehicles_or_orders_cost_something_and_refused_where_nothing_does():
    free, joint = one_store(), instance()
    assert learned(joint, decides="auto").config.order_decisions == "learned"
    assert learned(free, decides="auto").config.order_decisions == "none"
    assert learned(joint, decides="auto", network="recurrent").config.order_decisions == "none"
    with pytest.raises(InputError, match=r"agent\.order_decisions.*learned.*fixed cost"):
        learned(free)
    assert learned(joint, decides="auto", demand_memory=28).config.order_decisions == "none"
    with pytest.raises(InputError, match=r"agent\.order_decisions.*recurrent|order_decisions.*perceptron"):
        learned(joint, network="recurrent")
    with pytest.raises(InputError, match=r"agent\.order_decisions.*agent\.demand_memory=0"):
        learned(joint, demand_memory=28)


def test_policies_are_the_same_compiled_and_interpreted_and_from_their_files(tmp_path, monkeypatch):
    scenario = instance()
    policy = stirred(learned(scenario, rule(scenario)), 0.5)
    save_pathwise(tmp_path / "policy.npz", policy)
    found = [costs(scenario, one, 64) for one in (policy, load_pathwise(tmp_path / "policy.npz", scenario))]
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")
    found.append(costs(scenario, policy, 64))
    for one in found[1:]:
        np.testing.assert_array_equal(one, found[0])


@pytest.mark.parametrize("units", ["integer", "continuous"])
def test_whole_vehicles_are_full_and_leave_out_less_than_one(units):
    scenario = instance().with_overrides({"units": units})
    policy = learned(scenario, rule(scenario))
    choice, draws = policy.definition.head.choice, np.random.default_rng(0)
    lacks = draws.integers(0, 15, (200, 1, 2)).astype(float) + (0 if units == "integer" else draws.random((200, 1, 2)))
    outputs, forced = np.zeros((2 * OPTIONS, 2, 200)), np.full((3, 200), -1.0)
    forced[1:] = 0  # no shift
    found = {}
    for option in (NOTHING, VEHICLES_DOWN, VEHICLES_UP):
        forced[0] = option
        found[option] = choice.chosen(lacks, lacks, outputs, forced, NUMPY)[:, 0]
    total = lacks[:, 0].sum(1)
    assert not found[NOTHING].any()
    for option, vehicles in ((VEHICLES_DOWN, np.floor(total / 6)), (VEHICLES_UP, np.ceil(total / 6))):
        np.testing.assert_allclose(found[option].sum(1), 6 * vehicles, atol=1e-9)
        assert (found[option] >= 0).all()
        if units == "integer":
            np.testing.assert_array_equal(found[option], np.rint(found[option]))


def test_costs_of_other_orders_are_those_of_simulations_in_which_one_decision_is_another():
    scenario = instance()
    policy = stirred(learned(scenario, rule(scenario)), 0.5)
    head = policy.definition.head
    flips = Flips(scenario, policy.definition, GradientWindow(16, 60, 8), seed=3)
    tried = flips.tried(policy.actor, 32)
    assert tried.costs.shape == (OPTIONS, 512)
    # The same once more, one period after the other by the policy itself.
    tape = scenario.sample(worlds=list(range(32, 96)), seed=3, purpose="learn", periods=flips.periods)
    draws = np.random.default_rng((3, 32))
    when, what = draws.integers(8, flips.last, 512), draws.integers(0, 3, 512)
    np.testing.assert_array_equal(what, tried.decision)
    ledger = Ledger(scenario.tables)

    def played(world: int, period: int, decision: int, option: int) -> float:
        def asked(observation: Any) -> Decision:
            now = int(np.max(observation.period))
            head.forced = np.full((3, 1), -1.0)
            head.forced[decision, 0] = option if now == period else -1.0
            return policy(observation)

        total = 0.0
        for _, _, flows, state in periods(scenario, asked, tape[[world]]):
            total += float(ledger.net_cost(ledger.period(flows, closing=state))[0])
        head.forced = None
        return total

    chosen = np.flatnonzero(np.abs(tried.costs).sum(0) > 0)[::80]
    assert len(chosen) >= 4
    for sample in chosen:
        usual = played(sample // 8, -1, 0, 0)
        for option in np.flatnonzero(tried.costs[:, sample]):
            other = played(sample // 8, int(when[sample]), int(what[sample]), int(option))
            assert tried.costs[option, sample] == pytest.approx(other - usual, abs=1e-6)


def trainer(scenario: Scenario, folder: Any = None, steps: int = 400_000, **changes: Any) -> PathwiseTrainer:
    settings = config(
        head="auto", order_decisions="learned", start_share=0.0, worlds=16, periods=40, skipped=8, **changes
    )
    tape = scenario.sample(32, 0, "validate")
    budget = Budget(env_steps=steps)
    return PathwiseTrainer(
        scenario, settings, 1, budget, tape, evaluations=4, checkpoints=folder, checkpoint_seconds=0.0
    )


def test_a_training_that_was_stopped_goes_on_to_the_same_policy(tmp_path):
    def dies(progress: Any) -> None:
        if len(progress.curve) >= 3:
            raise KeyboardInterrupt

    scenario = instance()
    whole = trainer(scenario, tmp_path / "whole").run()
    with pytest.raises(KeyboardInterrupt):
        trainer(scenario, tmp_path / "halves").run(report=dies)
    torch.manual_seed(999)
    halves = trainer(scenario, tmp_path / "halves").run(latest_checkpoint(tmp_path / "halves", "pathwise"))
    np.testing.assert_array_equal(whole.cost, halves.cost)
    assert whole.env_steps == halves.env_steps


@pytest.mark.slow
def test_trucks_of_two_products_are_filled_better_than_any_rule_does_it():
    scenario = instance()
    trained = trainer(scenario, steps=15_000_000, hidden=(32, 32)).run()
    tape = scenario.sample(1024, 7, "test")
    best = simulate(scenario, solve(scenario, "value_iteration").policy, tape, kpis=False).cost_per_period
    found = simulate(scenario, trained.policy, tape, kpis=False).cost_per_period
    assert found.mean() <= 1.02 * best.mean() < 60.944444 / 1.03  # (R, nQ), the best rule
