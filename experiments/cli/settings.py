"""Settings that several commands share. They have no defaults: those stand, with a comment each, in ``configs/``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from echelongym.envs.core.devices import Device
from echelongym.envs.core.validation import Config, Count, Flag, PositiveCount, number
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.workers.cores import Workers

from ..runs.folders import portable

USUAL_RULE = "echelon_base_stock"  # what others are held against where nobody names another


def _policy_name(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a rule, a path or package.module:thing")
    return value


#: What names a policy: a rule, a path or an import path.
PolicyName = Annotated[str, BeforeValidator(_policy_name)]
#: Worlds of a command that plays them in parts; each has a row in the results.
MOST_WORLDS = 10_000_000
#: Lanes x products x periods of a world up to which bounds are computed, in minutes.
MOST_CELLS = 50_000


class Evaluation(Config):
    """Group ``evaluation``: the common worlds that policies are run on (purpose ``test``)."""

    worlds: Annotated[int, number(1, MOST_WORLDS, integer=True)]
    seed: Count
    periods: PositiveCount | None
    chunk: PositiveCount | None


class Tuning(Config):
    """Group ``tuning``: how rules are fitted, on worlds of their own (purpose ``tune``)."""

    worlds: Annotated[int, number(2, MOST_WORLDS, integer=True)]
    judged: Annotated[int, number(2, MOST_WORLDS, integer=True)]
    seed: Count
    budget: PositiveCount | None
    method: Literal["auto", "gradient", "cma", "optuna", "search"]
    gradient: Literal["auto", "jax", "torch"] = "auto"
    device: Device = "cpu"
    tolerance: Annotated[float, number(0, 1)]
    patience: Annotated[float, number(0, 1)]
    refit: Annotated[int, number(0, 20, integer=True)]
    workers: Workers | None = None  # for tuning alone; None: as many as the command has
    cache: str | None
    refresh: Flag


class Bounds(Config):
    """Group ``bounds``: lower bounds on the cost of any policy, on the first of the common worlds."""

    worlds: Annotated[int, number(0, MOST_WORLDS, integer=True)]
    penalty: Flag
    steps: PositiveCount | None
    most_cells: PositiveCount | None = MOST_CELLS
    workers: Workers | None = None  # for bounds alone; None: as many as the command has
    cache: str | None


class PolicyChoice(Config):
    """Group ``policy``: one policy, by name, path or import path, and parameters where it takes some."""

    name: PolicyName
    parameters: dict[str, Any]
    tuned: Flag = True  # a rule by name is the tuned one, where it was tuned; false: automatic levels


class RunSettings(Config):
    """Settings of every command on a scenario."""

    scenario: Scenario
    run: str
    resume: Flag | Literal["auto"] = "auto"

    def to_dict(self) -> dict[str, Any]:
        """The resolved config as plain data, the form of ``config.yaml``."""
        return {"scenario": portable(self.scenario), **self.model_dump(mode="json", exclude={"scenario"})}


__all__ = ["Bounds", "Evaluation", "PolicyChoice", "PolicyName", "RunSettings", "Tuning", "Workers"]
