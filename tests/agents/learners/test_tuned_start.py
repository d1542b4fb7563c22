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
from echelongym.agents.evolution.trainer import EvolutionTrainer
from echelongym.agents.exact import evaluate
from echelongym.agents.learners import learner_config
from echelongym.agents.loading import load_policy
from echelongym.agents.pathwise.policy import load_pathwise, save_pathwise
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.agents.pathwise.tuned_start import as_policy
from echelongym.agents.rules.reorder import ReorderPointOrderUpTo
from echelongym.agents.sb3.training import StableBaselinesRun
from echelongym.agents.training import TrainingPlan
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


def stable_baselines(
    scenario: Scenario, folder: Path, kind: str = "ppo", steps: int = 100_000, **changes: Any
) -> StableBaselinesRun:
    sizes = {"worlds": 16, "n_steps": 16, "hidden": (4,), "start_share": 0.9}
    sizes |= {"batch_size": 128} if kind == "ppo" else {"learning_starts": 64, "gradient_steps": 1, "train_freq": 8}
    learner = learner_config(learner_config(kind).model_dump() | sizes | changes)
    tape = scenario.sample(16, 0, "validate")
    keys: dict[str, Any] = {"rule": None, "action": "proportional", "evaluations": 3, "threads": 1}
    keys |= {"tape_seed": 0, "worlds": 16, "checkpoints": folder / "checkpoints", "checkpoint_seconds": 0.0}
    return StableBaselinesRun(TrainingPlan(scenario, learner, 1, Budget(env_steps=steps), tape, **keys))


@pytest.mark.parametrize(
    "kind", ["ppo", pytest.param("sac", marks=pytest.mark.slow), pytest.param("td3", marks=pytest.mark.slow), "dqn"]
)
def test_a_learner_of_stable_baselines_that_learns_nothing_better_leaves_the_tuned_rule_in_both_files(kind, tmp_path):
    """With steps as small as nothing none can: the files decide as the rule does, to the bit."""
    scenario = short().with_overrides({"horizon": 30})
    run = stable_baselines(scenario, tmp_path, kind, learning_rate=1e-12)
    trained = run.trainer.run()
    assert trained.by_rule
    assert trained.tuned is not None
    assert 0 < trained.tuned["env_steps"] <= 0.9 * 100_000
    assert 100_000 <= trained.env_steps < 101_100
    assert trained.policy.rule.name == trained.tuned["rule"]
    run.save(tmp_path / "policy.npz", trained.policy)
    assert run.finish(trained, tmp_path) == ["model.zip"]
    tape = scenario.sample(8, 3, "test")
    files = load_policy(tmp_path / "policy.npz", scenario), load_policy(tmp_path / "model.zip", scenario, trust=True)
    of_rule, *of_files = (simulate(scenario, one, tape).cost_per_period for one in (trained.policy.rule, *files))
    for cost in of_files:
        np.testing.assert_array_equal(cost, of_rule)


def test_ppo_that_was_stopped_goes_on_from_the_same_rule_in_the_same_way(tmp_path):
    def dies(progress: Any) -> None:
        if len(progress.curve) >= 2:
            raise KeyboardInterrupt

    scenario = short().with_overrides({"horizon": 30})
    whole = stable_baselines(scenario, tmp_path / "whole").trainer.run()
    with pytest.raises(KeyboardInterrupt):
        stable_baselines(scenario, tmp_path / "halves").trainer.run(report=dies)
    torch.manual_seed(999)
    checkpoint = latest_checkpoint(tmp_path / "halves" / "checkpoints", "stable_baselines3")
    halves = stable_baselines(scenario, tmp_path / "halves").trainer.run(checkpoint)
    assert rows(whole) == rows(halves)
    assert (whole.by_rule, whole.best_env_steps) == (halves.by_rule, halves.best_env_steps)
    np.testing.assert_array_equal(whole.cost, halves.cost)
    assert whole.tuned is not None
    assert halves.tuned is not None
    assert whole.tuned["compared"] == halves.tuned["compared"]


@pytest.mark.slow
def test_a_rule_that_cannot_be_imitated_is_corrected():
    """Whole orders of an (s, S) rule are no smooth function of the position; levels of a base-stock rule are met exactly."""
    forms = {}
    for name, scenario in (("(s, S)", short()), ("base-stock", one_store(lead_time=1))):
        run = stable_baselines(scenario, Path("unused"), steps=1_000_000)
        run.trainer.checkpoints = None
        run.trainer.run()
        forms[name] = run.trainer._start_as
    assert forms == {"(s, S)": "residual", "base-stock": "clone"}


def test_evolution_starts_from_the_tuned_rule_and_is_never_worse(tmp_path):
    scenario, steps = short().with_overrides({"horizon": 30}), 150_000
    learner = learner_config(learner_config("cma_es").model_dump() | {"start_share": 0.6, "worlds": 16, "hidden": (2,)})
    tape = scenario.sample(32, 0, "validate")

    def trainer(folder: str) -> EvolutionTrainer:
        budget = Budget(env_steps=steps)
        checkpoints = {"checkpoints": tmp_path / folder, "checkpoint_seconds": 0.0}
        return EvolutionTrainer(scenario, learner, 1, budget, tape, evaluations=3, **checkpoints)

    def dies(progress: Any) -> None:
        if len(progress.curve) >= 2:
            raise KeyboardInterrupt

    whole = trainer("whole").run()
    assert whole.tuned is not None
    assert whole.tuned["rule"].startswith("reorder_point")
    assert float(whole.cost.mean()) <= min(whole.tuned["compared"].values())
    with pytest.raises(KeyboardInterrupt):
        trainer("halves").run(report=dies)
    halves = trainer("halves").run(latest_checkpoint(tmp_path / "halves", "cma_es"))
    assert rows(whole) == rows(halves)
    np.testing.assert_array_equal(whole.cost, halves.cost)
