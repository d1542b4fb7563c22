"""Budgets, progress and results of trainings of every kind."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.interface.observation import Policy
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import Outcome, simulate
from echelongym.envs.worlds.tape import Tape

from .service_targets import shortfall, targets_of
from .tuning.judging import MISSING


@dataclass(frozen=True)
class Budget:
    """Budget of a training: env-steps, or CPU-seconds of this process, whichever is spent first."""

    env_steps: int | None = None
    cpu_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.env_steps is None and self.cpu_seconds is None:
            raise expected("budget", None, "env_steps or cpu_seconds")

    def share(self, env_steps: int, cpu_seconds: float) -> float:
        """Share of the budget that is spent, at most 1."""
        by_steps = env_steps / self.env_steps if self.env_steps is not None else 0.0
        by_time = cpu_seconds / self.cpu_seconds if self.cpu_seconds is not None else 0.0
        return min(max(by_steps, by_time), 1.0)


def next_due(share: float, times: int) -> float:
    """Share of the budget at which the next of so many evaluations, spread evenly, comes."""
    return float(min(1.0, (np.floor(share * times + 1e-9) + 1.0) / times))


def cpu_time() -> float:
    """CPU-seconds of this process and of what it called, a compiler say."""
    done = os.times()  # in hundredths of a second, within which a small training is prepared
    return time.process_time() + done.children_user + done.children_system


@dataclass(frozen=True)
class Progress:
    """Progress of a training; ``curve`` has a row for each evaluation so far, costs a period (profits negative)."""

    share: float
    env_steps: int
    cpu_seconds: float
    curve: list[dict[str, float | None]]


@dataclass(frozen=True, eq=False)
class Validated:
    """Result of an evaluation on validation worlds.

    Attributes
    ----------
    cost
        A period in each world, less revenue where prices are given.
    score
        Mean cost, raised by what is missing of targets as the tuner of rules has it: the best has the lowest.
    targets
        See :meth:`echelongym.agents.service_targets.Target.judge`.
    figures
        For TensorBoard, where they were asked for.
    """

    cost: Floats
    score: float
    targets: list[dict[str, Any]]
    figures: dict[str, float]


@dataclass(frozen=True, eq=False)
class RulePolicy:
    """The tuned rule that a training has to beat, as a policy.

    Attributes
    ----------
    policy
        That does what the rule does.
    facts
        Plain data of how it was found: ``rule``, its name, and others.
    validated
        What the evaluation worlds say of it; None where a training goes on, which has kept what it needs of that.
    """

    policy: Any
    facts: dict[str, Any]
    validated: Validated | None = None


@dataclass
class Trained:
    """Result of a training.

    Attributes
    ----------
    policy
        The best policy on the evaluation worlds.
    cost
        Its cost a period in each of them; less revenue where prices are given.
    curve
        One row an evaluation.
    """

    policy: Any
    cost: Floats
    targets: list[dict[str, Any]]  # of the scenario, see Target.judge
    best_env_steps: int
    env_steps: int
    cpu_seconds: float
    curve: list[dict[str, float | None]]
    tuned: dict[str, Any] | None = (
        None  # of the rule that the training started from, see RulePolicy; None: nothing tuned
    )
    by_rule: bool = False  # whether the policy is that rule, as nothing learned was better
    tried: dict[str, Any] | None = (
        None  # of the heads that were tried first: ``head``, the better one, and ``compared``, their scores
    )


def objective(outcome: Outcome) -> Floats:
    """Objective to be minimised, (B,): cost a period, less revenue where prices are given."""
    return np.asarray(outcome.net_cost_per_period, dtype=np.float64)


def judge(scenario: Scenario, policy: Policy, tape: Tape, shows: bool) -> Validated:
    """Run a policy on evaluation worlds; ``shows``: with figures for TensorBoard."""
    targets = targets_of(scenario)
    outcome = simulate(scenario, policy, tape, kpis=shows or bool(targets))
    cost = objective(outcome)
    score = penalised(float(cost.mean()), shortfall(targets, outcome) if targets else 0.0)
    judged = [target.judge(outcome.figures()) for target in targets]
    return Validated(cost, score, judged, figures(outcome) if shows else {})


def penalised(cost: float, missing: float) -> float:
    """A mean cost, raised by the shortfall of targets."""
    return cost + MISSING * abs(cost) * missing


def figures(outcome: Outcome) -> dict[str, float]:
    """Figures of an evaluation for TensorBoard: cost a period and its lines, and key performance indicators; means."""
    found = {"cost_per_period": float(objective(outcome).mean())}
    found |= {f"cost/{name}": float(np.mean(values)) for name, values in outcome.costs.items()}
    kpis = outcome.figures().aggregate()
    parts = {"total": kpis["total"], "network": kpis["network"], **kpis["customer"]}
    for part, values in parts.items():
        found |= {f"{part}/{name}": value["mean"] for name, value in values.items() if np.isfinite(value["mean"])}
    return found
