"""The training loop: when it evaluates, what it keeps, and what Ctrl-C leaves behind, for any learner."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pathwise_cases import config, one_store
from torch import nn

from echelongym.agents.budget import Budget, Validated
from echelongym.agents.checkpoint_files import latest_checkpoint, read_checkpoint
from echelongym.agents.learners import learner_config
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.agents.sb3.trainer import Trainer
from echelongym.agents.training_loop import TrainingLoop
from echelongym.envs.core.errors import InputError

SCENARIO = one_store()


class Walk(TrainingLoop):
    """A learner that goes up by one in each step of seven env-steps, and costs what a table says."""

    kind = "walk"
    costs: tuple[float, ...]

    @property
    def env_steps(self) -> int:
        return 7 * self.steps

    @property
    def _module(self) -> Any:
        return self.walked

    def _begin(self, anew: bool) -> None:
        self.steps = 0
        self.walked: Any = nn.Module()
        self.walked.register_buffer("weight", torch.zeros(()))

    def _step(self, share: float) -> None:
        self.steps += 1
        self.walked.weight += 1

    def _policy(self) -> float:
        return float(self.walked.weight)

    def _judge(self, policy: float) -> Validated:
        cost = self.costs[int(policy)]
        return Validated(np.array([cost - 1.0, cost + 1.0]), cost, [], {})

    def _row(self) -> dict[str, float | None]:
        return {"weight": self._policy()}

    def _state(self) -> dict[str, Any]:
        return {"weight": self.walked.weight}

    def _facts(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def _stand(self, checkpoint: Any) -> None:
        self.steps = checkpoint.facts["steps"]
        self.walked.weight.copy_(checkpoint.state["weight"])


def walk(costs: tuple[float, ...], **changes: Any) -> Walk:
    made = Walk(SCENARIO, None, 0, Budget(env_steps=100), SCENARIO.sample(2, 0, "tune"), evaluations=4, **changes)
    made.costs = costs
    return made


def test_evaluations_are_spread_over_the_budget_and_the_best_is_kept():
    """Steps of 7: the start, and the first ones at or after 25, 50, 75 and 100 env-steps."""
    costs = tuple(float(abs(step - 9)) + 3.0 for step in range(16))  # lowest after 9 steps, 63 env-steps
    found = walk(costs).run()
    assert [row["env_steps"] for row in found.curve] == [0, 28, 56, 77, 105]
    assert [row["cost_per_period"] for row in found.curve] == [12.0, 8.0, 4.0, 5.0, 9.0]
    assert [row["best_cost_per_period"] for row in found.curve] == [12.0, 8.0, 4.0, 4.0, 4.0]
    assert (found.policy, found.best_env_steps, found.env_steps) == (8.0, 56, 105)
    np.testing.assert_array_equal(found.cost, [3.0, 5.0])


@pytest.mark.parametrize("stop", range(1, 15))
def test_ctrl_c_after_any_step_changes_no_result(tmp_path, stop):
    rng = np.random.default_rng(stop)
    costs = tuple(rng.normal(10.0, 3.0, 16))
    whole = walk(costs).run()

    def types(progress: Any) -> None:
        if progress.env_steps == 7 * stop:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        walk(costs, checkpoints=tmp_path).run(report=types)
    kept = latest_checkpoint(tmp_path, "walk")
    assert kept.facts["env_steps"] == 7 * stop
    found = walk(costs).run(kept)
    assert without_times(found.curve) == without_times(whole.curve)
    assert (found.policy, found.best_env_steps) == (whole.policy, whole.best_env_steps)


def test_a_second_ctrl_c_stops_at_once_and_the_usual_one_is_back_afterwards(tmp_path):
    after = []

    def types(progress: Any) -> None:
        if progress.env_steps:
            signal.raise_signal(signal.SIGINT)
            after.append("first")
            signal.raise_signal(signal.SIGINT)
            after.append("second")

    with pytest.raises(KeyboardInterrupt):
        walk((1.0,) * 16, checkpoints=tmp_path).run(report=types)
    assert after == ["first"]
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def without_times(curve: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "cpu_seconds"} for row in curve]


def pathwise(gradient: Any = "torch", **changes: Any) -> TrainingLoop:
    settings, tape = config(worlds=16, periods=8, gradient=gradient), SCENARIO.sample(4, 0, "tune")
    return PathwiseTrainer(SCENARIO, settings, 1, Budget(env_steps=16 * 8 * 6), tape, evaluations=3, **changes)


def pathwise_by_jax(**changes: Any) -> TrainingLoop:
    pytest.importorskip("jax")
    return pathwise("jax", **changes)


def ppo(**changes: Any) -> TrainingLoop:
    settings = learner_config("ppo").model_copy(update={"worlds": 4, "n_steps": 8, "batch_size": 16, "n_epochs": 2})
    return Trainer(
        SCENARIO, settings, 1, Budget(env_steps=32 * 6), SCENARIO.sample(4, 0, "tune"), evaluations=3, **changes
    )


@pytest.mark.parametrize("learner", [pathwise, pathwise_by_jax, ppo])
def test_a_training_that_was_stopped_goes_on_to_the_same_policy(tmp_path, monkeypatch, learner):
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")
    whole = learner()
    wanted = whole.run()

    def types(progress: Any) -> None:
        if 0.3 < progress.share < 0.6:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        learner(checkpoints=tmp_path).run(report=types)
    (path,) = tmp_path.iterdir()
    torch.manual_seed(77)  # a resumed process starts from any state
    before = torch.random.get_rng_state()
    halves = learner()
    found = halves.run(read_checkpoint(path, halves.kind))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert without_times(found.curve) == without_times(wanted.curve)
    for name, value in whole._module.state_dict().items():
        assert torch.equal(value, halves._module.state_dict()[name]), name
    with pytest.raises(InputError, match=r"kind = '\w+': expected walk, which trains here"):
        read_checkpoint(path, "walk")


def test_a_checkpoint_of_other_settings_is_refused_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")
    for learner, wider in ((pathwise, {"hidden": (5,)}), (ppo, {"hidden": (5,)})):
        folder = Path(tmp_path / learner.__name__)
        made = learner(checkpoints=folder)
        made.run()
        other = learner()
        other.learner = other.learner.model_copy(update=wider)
        with pytest.raises(InputError, match=r"the checkpoint is of another model: expected the settings") as caught:
            other.run(latest_checkpoint(folder, made.kind))
        assert "\n" not in str(caught.value)


def test_a_budget_in_seconds_goes_to_steps_where_evaluations_take_long(monkeypatch):
    """Evaluations move the clock by 2 seconds, steps by 1: between two evaluations past the first lie 8 steps or more."""
    clock = [0.0]
    monkeypatch.setattr("echelongym.agents.training_loop.cpu_time", lambda: clock[0])

    class Slow(Walk):
        costs = (1.0,) * 200

        def _step(self, share: float) -> None:
            clock[0] += 1.0
            super()._step(share)

        def _judge(self, policy: float) -> Validated:
            clock[0] += 2.0
            return super()._judge(policy)

    found = Slow(SCENARIO, None, 0, Budget(None, 100.0), SCENARIO.sample(2, 0, "tune"), evaluations=20).run()
    steps = [int(row["env_steps"]) // 7 for row in found.curve]
    assert steps[0] == 0
    assert steps[-1] == found.env_steps // 7
    assert min(np.diff(steps[1:-1])) >= 8
    assert 9 <= len(steps) <= 12
