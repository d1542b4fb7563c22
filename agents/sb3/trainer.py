"""Training a Stable-Baselines3 learner on a scenario: the model learns one piece (a rollout, or as many env-steps of a
learner that remembers) in each step of the training loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.logger import Logger
from torch import nn

from echelongym.envs.core.errors import InputError
from echelongym.envs.gym.vector_env import NetworkVectorEnv
from echelongym.envs.interface.action_decoder import DEFAULT_ACTION
from echelongym.envs.worlds.record_statement import playable

from ..budget import RulePolicy
from ..checkpoint_files import Checkpoint
from ..pathwise.tuned_start import rules_from_dict, tuned_rules
from ..residual import AUTO, Residual, starting_rule
from ..training_loop import TrainingLoop
from .actor import ActorPolicy, RecurrentActor, policy_of, rule_policy
from .cloning import clone
from .model_state import model_state, restore
from .models import ExplorationSchedule, SB3VecEnv, actor_module, algorithm_of, make_model, moves_of
from .settings import KIND, OnPolicy, SB3Learner

IMITATED = 0.01  # share of its cost by which an imitation may be worse than the rule to be what training starts from


@dataclass
class Trainer(TrainingLoop):
    """Training of a learner of Stable-Baselines3; the reward knows nothing of targets.

    Parameters
    ----------
    action
        Kind of the action decoder.

    Raises
    ------
    InputError
        If the learner starts from a rule that there is not.
    MissingExtra
        If the learner is of sb3-contrib, which is not installed.
    """

    kind = KIND

    learner: SB3Learner
    action: str = DEFAULT_ACTION

    def __post_init__(self) -> None:
        algorithm_of(self.learner.algorithm)
        self._rule = self.start or starting_rule(self.learner.start, self.scenario)
        self._steps_before = 0  # env-steps that tuning took

    @property
    def env_steps(self) -> int:
        """Env-steps taken so far."""
        return self._steps_before + int(self.model.num_timesteps)

    @property
    def _keepable(self) -> bool:
        return int(self.model.num_timesteps) > 0  # a model that has not seen its env yet has no state

    @property
    def _module(self) -> nn.Module:
        module: nn.Module = self.model.policy
        return module

    def _begin(self, anew: bool) -> None:
        if anew:  # else made by _stand, which knows the rule
            score = self._tune() if self._rule is None and self.learner.start == AUTO else None
            self._make_as_told(score)
            if self._tuned is not None:
                self._begun = self._steps_before, self.cpu_seconds

    def _tune(self) -> float | None:
        """Tune the rules that training may start from, and start from the best; its score, None where there is none."""
        shows = self.logger is not None
        found = tuned_rules(self.scenario, self.learner, self.seed, self.budget, self.tape, shows)
        if found is None:
            return None
        start = found.start(found.rules[found.best])
        self._rule, self._tuned, self._steps_before = start.rule, start.to_dict(), start.env_steps
        self._to_beat = RulePolicy(rule_policy(self.scenario, start.rule, self.action), start.facts, start.validated)
        return start.validated.score

    def _make_as_told(self, score: float | None) -> None:
        """Make the model, as an imitation of the rule or to correct it; ``score``: the rule's on the evaluation worlds."""
        told, rule = self.learner.start_as, self._rule
        can_clone = self.learner.supports_clone and rule is not None
        self._start_as = told if told != "auto" else "clone" if can_clone else "residual"
        self._make(anew=True)
        if told != "auto" or not can_clone:
            return
        if score is None:
            score = self._judge(rule).score
        with torch.no_grad():
            imitated = self._judge(self._policy()).score
        if imitated > score + IMITATED * abs(score):
            self._start_as = "residual"
            self._make(anew=True)

    def _make(self, anew: bool) -> None:
        """Make envs, model and policy; ``anew``: the weights that training starts with, too."""
        rule = self._rule
        corrected = rule if self._start_as == "residual" else None
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
        self.model: Any
        self.model, self._schedule = make_model(self.learner, self._env, self.seed, rule is not None)
        self.model.set_logger(self.logger or Logger(folder=None, output_formats=[]))
        if rule is not None and corrected is None and anew:
            clone(self.model, rule, self.scenario, self.action, self.seed)
        self._played = policy_of(self.scenario, actor_module(self.model), self.action, rule=corrected)

    def _policy(self) -> ActorPolicy:
        self._played.actor = actor_module(self.model)
        return self._played

    def _step(self, share: float) -> None:
        self._prepare(share)
        self.model.learn(self.learner.piece, reset_num_timesteps=False, log_interval=1)
        self._check_finite()

    def _prepare(self, share: float) -> None:
        """Schedules before a piece; and the reference plays on with the policy as it is now, but without noise.

        A learner that remembers would mix rewards above different references, so there it keeps to the zero action.
        """
        share = self._learning(share)
        self._schedule.progress = share
        exploration = getattr(self.model, "exploration_schedule", None)
        if isinstance(exploration, ExplorationSchedule):
            exploration.progress = share
        actor = actor_module(self.model) if isinstance(self.learner, OnPolicy) else None
        if actor is None or isinstance(actor, RecurrentActor):
            return

        def follow(seen: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.no_grad():
                action: NDArray[np.float32] = actor(torch.from_numpy(np.ascontiguousarray(seen))).numpy()
            return action

        self._env.follow = follow

    def _row(self) -> dict[str, float | None]:
        logged = self.model.logger.name_to_value
        found: dict[str, float | None] = {"learning_rate": self._schedule(0.0)}
        for key in self.learner.logged:
            found[key] = float(logged[f"train/{key}"]) if f"train/{key}" in logged else None
        return found

    def _state(self) -> dict[str, Any]:
        return model_state(self.model, self._env)

    def _facts(self) -> dict[str, Any]:
        return {"start_as": self._start_as}

    def _stand(self, checkpoint: Checkpoint) -> None:
        # Those of earlier versions say nothing where they did as they were told.
        self._start_as = checkpoint.facts.get("start_as", self.learner.start_as)
        if self._tuned is not None:
            rule, self._rule = rules_from_dict(self._tuned, self.scenario, str(checkpoint.path))
            self._to_beat = RulePolicy(rule_policy(self.scenario, rule, self.action), self._tuned["facts"])
            self._steps_before = self._begun[0]
        self._make(anew=False)
        restore(self.model, self._env, checkpoint)

    def _check_finite(self) -> None:
        if not all(bool(torch.isfinite(value).all()) for value in self.model.policy.parameters()):
            raise InputError(
                f"the training diverged before env-step {self.model.num_timesteps}: its weights are no longer finite: "
                "expected a lower agent.learning_rate to keep them so"
            )

    @contextmanager
    def _torch(self) -> Iterator[None]:
        """No checks of every distribution."""
        validated = torch.distributions.Distribution._validate_args
        torch.distributions.Distribution.set_default_validate_args(False)
        try:
            with super()._torch():
                yield
        finally:
            torch.distributions.Distribution.set_default_validate_args(validated)


def reward_deviation(env: NetworkVectorEnv, seed: int) -> float:
    """Standard deviation of a period's reward under the zero action, after the warm-up; 1 where nothing varies."""
    tables = env.scenario.tables
    env.reset(seed=seed)
    nothing = np.zeros(env.action_space.shape or (), dtype=np.float32)
    rewards = [env.step(nothing)[1] for _ in range(tables.horizon)][tables.warm_up :]
    return float(np.std(rewards)) or 1.0
