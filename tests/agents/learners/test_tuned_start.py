"""The tuned rule that a training starts from: never worse than it, exactly it where nothing is better, and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exact_oracles import fixed_order_cost
from pathwise_cases import config, one_store

from echelongym.agents.budget import Budget, Trained
from echelongym.agents.checkpoint_files import latest_checkpoint
from echelongym.agents.exact import evaluate
from echelongym.agents.pathwise.policy import load_pathwise, save_pathwise
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.agents.pathwise.tuned_start import as_policy
from echelongym.agents.rules.reorder import ReorderPointOrderUpTo
from echelongym.agents.tuning.brief import Allowance, sensible_rules, tune_briefly
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate

OPTIMUM = 35.021555  # of (6, 40): Zheng and Federgruen, Operations Research 39(4), 1991
STEPS = 600_000


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")


def short(fixed: float = 64.0) -> Scenario:
    return fixed_order_cost().with_overrides({"lanes.to_store.fixed_cost": fixed, "horizon": 60, "warm_up": 10})


def trainer(scenario: Scenario, folder: Path | None = None, steps: int = STEPS, **changes: Any) -> PathwiseTrainer:
    settings = config(head="auto", start_share=0.9, worlds=512, periods=20, **changes)
    tape = scenario.sample(32, 0, "validate")
    return PathwiseTrainer(
        scenario, settings, 1, Budget(env_steps=steps), tape, evaluations=4, checkpoints=folder, checkpoint_seconds=0.0
    )


def rows(trained: Trained) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "cpu_seconds"} for row in trained.curve]


def test_a_training_with_a_fixed_order_cost_ends_with_the_optimal_rule_within_its_budget():
    trained = trainer(short()).run()
    assert trained.tuned is not None
    assert trained.tuned["env_steps"] <= 0.9 * STEPS
    assert STEPS <= trained.env_steps < STEPS + 2 * 512 * 20
    assert evaluate(fixed_order_cost(), trained.policy) <= 1.0025 * OPTIMUM
    assert float(trained.cost.mean()) <= min(trained.tuned["compared"].values())


def test_a_training_that_was_stopped_goes_on_from_the_same_rule_to_the_same_policy(tmp_path):
    def dies(progress: Any) -> None:
        if len(progress.curve) >= 2:
            raise KeyboardInterrupt

    whole = trainer(short(), tmp_path / "whole").run()
    with pytest.raises(KeyboardInterrupt):
        trainer(short(), tmp_path / "halves").run(report=dies)
    torch.manual_seed(999)
    halves = trainer(short(), tmp_path / "halves").run(latest_checkpoint(tmp_path / "halves", "pathwise"))
    assert rows(whole) == rows(halves)
    assert (whole.by_rule, whole.best_env_steps) == (halves.by_rule, halves.best_env_steps)
    one, other = whole.tuned, halves.tuned
    assert one is not None
    assert other is not None
    assert {**one, "cpu_seconds": 0} == {**other, "cpu_seconds": 0}
    np.testing.assert_array_equal(whole.cost, halves.cost)


def test_what_is_kept_of_a_rule_is_the_rule_to_the_bit_also_from_its_file(tmp_path):
    scenario = short()
    rule = ReorderPointOrderUpTo(scenario, reorder_points={"store": 6}, levels={"store": 40})
    save_pathwise(tmp_path / "policy.npz", as_policy(scenario, config(), rule))
    tape = scenario.sample(16, 3, "test")
    costs = [
        simulate(scenario, one, tape).cost_per_period
        for one in (rule, load_pathwise(tmp_path / "policy.npz", scenario))
    ]
    np.testing.assert_array_equal(costs[0], costs[1])


@pytest.mark.parametrize(
    "changes", [{"start": "reorder_point_order_up_to"}, {"start_share": 0.0}, {"steps": 3 * 1_280}]
)
def test_nothing_is_tuned_where_a_start_is_named_or_there_is_no_room(changes):
    scenario, steps = short(), changes.get("steps", 4 * 1_280)
    named = {key: value for key, value in changes.items() if key != "steps"}
    settings = config(head="auto", worlds=64, periods=20, **named)
    rule = None if settings.start == "auto" else ReorderPointOrderUpTo(scenario)
    tape = scenario.sample(8, 0, "validate")
    trained = PathwiseTrainer(scenario, settings, 1, Budget(env_steps=steps), tape, start=rule, evaluations=2).run()
    assert trained.tuned is None
    assert not trained.by_rule


def test_brief_tuning_is_a_function_of_its_seed_and_keeps_its_allowance():
    scenario = one_store(lead_time=1)
    found = [tune_briefly(scenario, 5, Allowance(600_000, None), "echelon_base_stock") for _ in range(2)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].env_periods == found[1].env_periods <= 600_000
    assert [rule.parameters for rule in found[0].rules.values()] == [
        rule.parameters for rule in found[1].rules.values()
    ]
    # Of rules that do the same with automatic numbers, the one that was asked for stands for all.
    assert "echelon_base_stock" in found[0].rules
    assert "local_base_stock" not in found[0].rules
    assert tune_briefly(scenario, 5, Allowance(1_000, None), "echelon_base_stock") is None


def test_rules_that_remember_or_plan_are_no_start():
    names = sensible_rules(short())
    assert {"echelon_base_stock", "reorder_point_order_up_to"} <= set(names)
    assert not {"sterman", "rolling_horizon", "random_requests", "just_in_time"} & set(names)
