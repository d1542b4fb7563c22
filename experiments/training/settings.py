"""Settings of ``train``; all defaults stand in ``configs/train.yaml``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import PlainValidator, ValidationInfo, field_validator

from echelongym.agents.budget import Budget
from echelongym.agents.learners import AnyLearner
from echelongym.agents.training import LearnerConfig
from echelongym.envs.core.validation import Config, Count, Flag, Positive, PositiveCount, number
from echelongym.envs.scenario.scenario import Scenario

from ..cli.settings import RunSettings, Tuning, Workers

#: Env-steps x lanes x products that a training without a budget may take: minutes, whatever the size of the network.
MOST_WORK = 4_000_000_000
#: Lanes x products x periods of all validation worlds together, where their number is ``auto``, and its limits.
VALIDATED, FEWEST_VALIDATED, MOST_VALIDATED = 250_000, 64, 2_048


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


def _number_of_worlds(value: Any) -> Any:
    try:
        return number(2, integer=True).func(value)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from None


class Validation(Config):
    """The worlds (purpose ``validate``) that the best policy is chosen on."""

    worlds: Annotated[int, PlainValidator(_number_of_worlds)]
    seed: Count
    times: PositiveCount


def validation_worlds(scenario: Scenario) -> int:
    """Number of validation worlds where ``auto`` is asked for: the more, the smaller a world, 64 to 2,048.

    A small network has a flat optimum, and whole units round it: 64 worlds do not tell a good policy from a tuned rule there.
    The variants of a randomised scenario have 64 each.
    """
    if scenario.randomise is not None:
        return FEWEST_VALIDATED
    cells = scenario.horizon * scenario.tables.L * scenario.tables.P
    return min(max(VALIDATED // cells, FEWEST_VALIDATED), MOST_VALIDATED)


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

    @field_validator("validation", mode="before")
    @classmethod
    def _sized(cls, value: Any, info: ValidationInfo) -> Any:
        """``validation.worlds: auto`` as the number that it stands for, which the run keeps."""
        if isinstance(value, dict) and value.get("worlds") == "auto" and "scenario" in info.data:
            return value | {"worlds": validation_worlds(info.data["scenario"])}
        return value
