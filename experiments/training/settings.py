"""Settings of ``train``; all defaults stand in ``configs/train.yaml``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import PlainValidator

from echelongym.agents.budget import Budget
from echelongym.agents.learners import AnyLearner
from echelongym.agents.training import LearnerConfig
from echelongym.envs.core.validation import Config, Count, Flag, Positive, PositiveCount, number
from echelongym.envs.scenario.scenario import Scenario

from ..cli.settings import RunSettings, Tuning, Workers

#: Env-steps x lanes x products that a training without a budget may take: minutes, whatever the size of the network.
MOST_WORK = 4_000_000_000


def _steps(value: Any) -> Any:
    return value if value is None or value == "auto" else number(1, integer=True).func(value)


class BudgetSettings(Config):
    """When to stop; at least one is needed.

    ``auto`` steps: what usually suffices, unless seconds are given; in large networks, whose steps take long, no more than
    :data:`MOST_WORK` allows.
    """

    env_steps: Annotated[int | str | None, PlainValidator(_steps)]
    cpu_seconds: Positive | None

    def of(self, learner: LearnerConfig, scenario: Scenario) -> Budget:
        """The budget of a learner of a scenario."""
        steps: Any = self.env_steps
        if steps == "auto":
            most = MOST_WORK // (scenario.tables.L * scenario.tables.P)
            steps = None if self.cpu_seconds is not None else max(min(learner.usual_env_steps, most), 1)
        return Budget(steps, self.cpu_seconds)


class Validation(Config):
    """The worlds (purpose ``validate``) that the best policy is chosen on."""

    worlds: Annotated[int, number(2, integer=True)]
    seed: Count
    times: PositiveCount


class Settings(RunSettings):
    """Settings of ``train``; see ``configs/train.yaml``."""

    agent: AnyLearner
    seed: Count
    action: str
    reference: Literal["tuned", "automatic"]
    bound: Flag
    tuning: Tuning
    budget: BudgetSettings
    validation: Validation
    checkpoint_seconds: Positive
    threads: Annotated[int, number(1, 1_024, integer=True)]  # PyTorch ends the process where the system has no more
    tensorboard: Flag | None
    workers: Workers = "auto"
    progress: Flag
