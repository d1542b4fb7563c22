"""Training a Stable-Baselines3 learner on a scenario: budget, evaluation, choice of the best, checkpoints, resume.

The model learns one piece (a rollout, or as many env-steps of a learner that remembers) at a time; everything else happens
between pieces, where its state is whole. With a budget in env-steps a training is a function of its settings alone, stopped
and resumed or not; a budget in CPU-seconds depends on the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.logger import Logger

from echelongym.envs.core.errors import InputError
from echelongym.envs.core.typing import Floats
from echelongym.envs.gym.vector_env import NetworkVectorEnv
from echelongym.envs.interface.action_decoder import DEFAULT_ACTION
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.record_statement import playable
from echelongym.envs.worlds.tape import Tape

from ..budget import Budget, Progress, Trained, cpu_time, judge, next_due
from ..residual import Residual, starting_rule
from ..rules import Rule
from .actor import ActorPolicy, RecurrentActor, policy_of
from .checkpoint import Checkpoint, save_checkpoint
from .cloning import clone
from .models import ExplorationSchedule, SB3VecEnv, actor_module, algorithm_of, make_model, moves_of
from .settings import OnPolicy, SB3Learner


@dataclass
class Trainer:
    """One training of one learner; see :meth:`run`.

    Parameters
    ----------
    action
        Kind of the action decoder.
    tape
        Worlds that the best policy is chosen on, by cost and what is missing of the scenario's targets as the tuner of
        rules does; so they must not be test worlds. The reward knows nothing of targets.
    evaluations
        How often the policy is evaluated, spread over the budget; the start comes on top.
    checkpoints
        Folder of checkpoints; None writes none.
    checkpoint_seconds
        Seconds between them.
    start
        The rule that the learner starts from; None: the one that its settings name, with automatic levels.

    Raises
    ------
    InputError
        If the learner starts from a rule that there is not.
    MissingExtra
        If the learner is of sb3-contrib, which is not installed.
    """

    scenario: Scenario
    learner: SB3Learner
    seed: int
    budget: Budget
    tape: Tape
    action: str = DEFAULT_ACTION
    evaluations: int = 20
    checkpoints: Path | None = None
    checkpoint_seconds: float = 30.0
    threads: int = 1
    logger: Logger | None = None
    start: Rule | None = None
    _curve: list[dict[str, float | None]] = field(default_factory=list)
    _best: dict[str, Any] | None = None
    _best_cost: Floats | None = None
    _best_score: float = np.inf
    _best_steps: int = 0
    _spent: float = 0.0  # CPU-seconds before this process

    def __post_init__(self) -> None:
        algorithm_of(self.learner.algorithm)
        self._rule = self.start or starting_rule(self.learner.start, self.scenario)

    def run(
        self,
        resume: Checkpoint | None = None,
        report: Callable[[Progress], None] | None = None,
        improved: Callable[[ActorPolicy, Floats, int], None] | None = None,
    ) -> Trained:
        """Train until the budget is spent.

        Parameters
        ----------
        resume
            Go on from this checkpoint instead of starting anew.
        report
            Called after every piece.
        improved
            Called with policy, costs and env-steps whenever an evaluation is the best so far.

        Raises
        ------
        InputError
            If the training diverges, or the checkpoint is of another model.
        """
        with _torch_settings(self.threads):
            return self._run(resume, report or (lambda _: None), improved or (lambda *_: None))

    def _run(
        self,
        resume: Checkpoint | None,
        report: Callable[[Progress], None],
        improved: Callable[[ActorPolicy, Floats, int], None],
    ) -> Trained:
        self._started = cpu_time()
        self._judged: list[dict[str, Any]] = []
        rule = self._rule
        corrected = rule if self.learner.start_as == "residual" else None
        env, reference = (
            NetworkVectorEnv(
                self.scenario,
                num_envs=self.learner.worlds,
                action=self.action,
                periods=playable(self.scenario, "learn"),
                purpose="learn",
                autoreset_mode=AutoresetMode.SAME_STEP,
                info="none",
            )
            for _ in range(2)
        )
        residual = None if corrected is None else Residual(env.decoder, corrected)
        scale = reward_deviation(reference, self.seed)
        self._env = SB3VecEnv(env, reference, scale, residual, moves_of(self.learner, env.decoder.size))
        self._model, self._schedule = make_model(self.learner, self._env, self.seed)
        self._model.set_logger(self.logger or Logger(folder=None, output_formats=[]))
        if rule is not None and corrected is None and resume is None:
            clone(self._model, rule, self.scenario, self.action, self.seed)
        self._policy = policy_of(self.scenario, actor_module(self._model), self.action, rule=corrected)
        due = 0.0
        if resume:
            self._resume(resume)
            due = resume.facts["due"]
        saved = time.monotonic()
        while True:
            share = self.budget.share(self._model.num_timesteps, self.cpu_seconds)
            if share >= due:
                if not self._curve or self._curve[-1]["env_steps"] != self._model.num_timesteps:
                    self._evaluate(improved)
                due = next_due(share, self.evaluations)
            report(Progress(share, self._model.num_timesteps, self.cpu_seconds, self._curve))
            started = self._model.num_timesteps > 0  # before that there is nothing to keep
            if self.checkpoints and started and (share >= 1.0 or time.monotonic() - saved >= self.checkpoint_seconds):
                self._save(due)
                saved = time.monotonic()
            if share >= 1.0:
                break
            self._prepare(share)
            self._model.learn(self.learner.piece, reset_num_timesteps=False, log_interval=1)
            self._check_finite()
        return self._finish()

    @property
    def cpu_seconds(self) -> float:
        """CPU-seconds spent, those before a resume included."""
        return self._spent + cpu_time() - self._started

    @property
    def model(self) -> Any:
        """The model as it stands; the best policy's parameters after :meth:`run`."""
        return self._model

    def _prepare(self, share: float) -> None:
        """Schedules before a piece; and the reference plays on with the policy as it is now, but without noise.

        A learner that remembers would mix rewards above different references, so there it keeps to the zero action.
        """
        self._schedule.progress = share
        exploration = getattr(self._model, "exploration_schedule", None)
        if isinstance(exploration, ExplorationSchedule):
            exploration.progress = share
        actor = actor_module(self._model) if isinstance(self.learner, OnPolicy) else None
        if actor is None or isinstance(actor, RecurrentActor):
            return

        def follow(seen: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.no_grad():
                action: NDArray[np.float32] = actor(torch.from_numpy(np.ascontiguousarray(seen))).numpy()
            return action

        self._env.follow = follow

    def _resume(self, checkpoint: Checkpoint) -> None:
        facts = checkpoint.facts
        checkpoint.restore(self._model, self._env)
        self._curve = facts["curve"]
        self._best, self._best_steps = checkpoint.best, facts["best_env_steps"]
        self._best_cost, self._best_score = np.array(facts["best_cost"]), facts["best_score"]
        self._judged = facts["targets"]
        self._spent = facts["cpu_seconds"]

    def _save(self, due: float) -> None:
        assert self.checkpoints is not None
        assert self._best_cost is not None
        facts = {
            "due": due,
            "curve": self._curve,
            "best_cost": self._best_cost.tolist(),
            "best_score": self._best_score,
            "targets": self._judged,
            "env_steps": self._model.num_timesteps,
            "best_env_steps": self._best_steps,
            "cpu_seconds": self.cpu_seconds,
        }
        save_checkpoint(self.checkpoints, self._model, self._env, self._best, facts)

    def _evaluate(self, improved: Callable[[ActorPolicy, Floats, int], None]) -> None:
        """Run the deterministic policy on the evaluation worlds; keep it if it is the best so far."""
        self._policy.actor = actor_module(self._model)
        logger = self._model.logger
        shows = bool(logger.output_formats)
        found = judge(self.scenario, self._policy, self.tape, shows)
        cost, steps = found.cost, self._model.num_timesteps
        if found.score < self._best_score:
            self._best_score, self._best_cost, self._best_steps = found.score, cost, steps
            self._judged = found.targets
            self._best = {name: value.detach().clone() for name, value in self._model.policy.state_dict().items()}
            improved(self._policy, cost, steps)
        assert self._best_cost is not None
        row: dict[str, float | None] = {
            "env_steps": steps,
            "cpu_seconds": round(self.cpu_seconds, 3),
            "cost_per_period": float(cost.mean()),
            "best_cost_per_period": float(self._best_cost.mean()),
            "learning_rate": self._schedule(0.0),
        }
        logged = logger.name_to_value
        for key in self.learner.logged:
            row[key] = float(logged[f"train/{key}"]) if f"train/{key}" in logged else None
        self._curve.append(row)
        if shows:
            for name, value in found.figures.items():
                logger.record(f"evaluation/{name}", value)
            logger.record("evaluation/best_cost_per_period", row["best_cost_per_period"])
            logger.dump(steps)

    def _check_finite(self) -> None:
        if not all(bool(torch.isfinite(value).all()) for value in self._model.policy.parameters()):
            raise InputError(
                f"the training diverged before env-step {self._model.num_timesteps}: its weights are no longer finite: "
                "expected a lower agent.learning_rate to keep them so"
            )

    def _finish(self) -> Trained:
        assert self._best is not None
        assert self._best_cost is not None
        self._model.policy.load_state_dict(self._best)
        self._policy.actor = actor_module(self._model)
        return Trained(
            self._policy,
            self._best_cost,
            self._judged,
            self._best_steps,
            self._model.num_timesteps,
            self.cpu_seconds,
            self._curve,
        )


def reward_deviation(env: NetworkVectorEnv, seed: int) -> float:
    """Standard deviation of a period's reward under the zero action, after the warm-up; 1 where nothing varies."""
    tables = env.scenario.tables
    env.reset(seed=seed)
    nothing = np.zeros(env.action_space.shape or (), dtype=np.float32)
    rewards = [env.step(nothing)[1] for _ in range(tables.horizon)][tables.warm_up :]
    return float(np.std(rewards)) or 1.0


@contextmanager
def _torch_settings(threads: int) -> Iterator[None]:
    """Few threads (the networks are small), and no checks of every distribution; as before afterwards."""
    before = torch.get_num_threads()
    validated = torch.distributions.Distribution._validate_args
    torch.set_num_threads(threads)
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.distributions.Distribution.set_default_validate_args(validated)
