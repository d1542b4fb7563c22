"""Settings that learners of Stable-Baselines3 share, by family; names are Stable-Baselines3's where it has one.

The learners themselves are in :mod:`echelongym.agents.learners`, a module each.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from echelongym.envs.core.errors import expected
from echelongym.envs.core.validation import (
    MOST,
    Count,
    NonNegative,
    Positive,
    PositiveCount,
    Share,
    is_number,
    number,
)

from ..pathwise.config import StartShare, Width, WorldCount
from ..residual import ZERO
from ..training import LearnerConfig

KIND = "stable_baselines3"  # of checkpoints and policy files
LogDeviation = Annotated[float, number(-20.0, 2.0)]


def _coefficient(value: Any) -> Any:
    if value == "auto" or (isinstance(value, str) and value.startswith("auto_")):
        number_part = value[5:] if value != "auto" else "1"
        try:
            if 0 < float(number_part) <= MOST:
                return value
        except ValueError:
            pass
    elif is_number(value) and value >= 0:
        return float(value)
    raise ValueError("expected a number >= 0, auto, or auto_ and its first value, as in auto_0.1")


class SB3Learner(LearnerConfig):
    """Settings that all learners of Stable-Baselines3 share.

    Fields are passed on to the algorithm under their names; a subclass says which of them mean something else.
    """

    algorithm: ClassVar[str]  # module:class
    policy_class: ClassVar[str] = "MlpPolicy"
    network_fields: ClassVar[tuple[str, ...]] = ()  # that go into the arguments of the policy
    own_fields: ClassVar[tuple[str, ...]] = ()  # that the algorithm knows nothing of

    logged: ClassVar[tuple[str, ...]] = ()  # what the learning curve has of the last training step
    supports_clone: ClassVar[bool] = True  # whether it has an actor that can imitate
    usual_env_steps = 3_000_000  # a fifth of them tunes rules

    start: str  # auto, zero, the name of a rule, or the path of a rule.yaml
    start_share: StartShare = 0.2  # of the budget, to tune rules with where start is auto
    start_as: Literal["auto", "residual", "clone"]
    features: Literal["flat", "graph"]
    graph_hidden: Width  # width of what the graph network knows of each node and lane
    graph_rounds: Annotated[int, number(1, 1_000, integer=True)]  # how far its messages travel, in lanes
    worlds: WorldCount  # played side by side
    hidden: Annotated[tuple[Width, ...], Field(max_length=100)]
    activation: Literal["tanh", "relu", "elu"]
    learning_rate: Annotated[float, number(0.0, 1e3, strict=True)]
    final_learning_rate: Share  # share of the first one left at the end of a cosine
    gamma: Annotated[float, number(0.0, 1.0, strict=True)]

    @property
    @abstractmethod
    def piece(self) -> int:
        """Env-steps learnt in one go; between pieces a training can be stopped and resumed."""

    @property
    def discrete(self) -> tuple[float, ...] | None:
        """Values other than 0 that an action may take; None: actions are numbers."""
        return None

    def further(self, actions: int) -> dict[str, Any]:
        """Arguments of the algorithm that are no fields, where there are so many actions."""
        return {}

    def begin(self, model: Any, around_rule: bool) -> None:
        """Make the deterministic action of an untrained model (nearly) zero, with the exploration asked for."""

    @model_validator(mode="after")
    def _start_fits(self) -> Self:
        if self.start_as == "clone" and self.start != ZERO and not self.supports_clone:
            raise expected("start_as", self.start_as, "residual: this learner has no actor that could imitate a rule")
        return self


class OnPolicy(SB3Learner):
    """Learners that forget what they saw after each rollout."""

    logged: ClassVar[tuple[str, ...]] = ("value_loss", "explained_variance", "std")
    n_steps: Annotated[int, number(1, 10**6, integer=True)]  # periods a world and rollout
    gae_lambda: Share
    ent_coef: NonNegative
    vf_coef: NonNegative
    max_grad_norm: Positive
    log_std_init: LogDeviation  # exploration at the start, units of the action

    @property
    def piece(self) -> int:
        """A rollout."""
        return self.n_steps * self.worlds

    def begin(self, model: Any, around_rule: bool) -> None:
        """Around a rule: at its cost, not nearly."""
        from torch import nn

        if around_rule and isinstance(model.policy.action_net, nn.Linear):
            nn.init.zeros_(model.policy.action_net.weight)


class Clipped(OnPolicy):
    """Learners that go over a rollout several times with a clipped objective."""

    logged = ("value_loss", "explained_variance", "approx_kl", "std")
    batch_size: PositiveCount
    n_epochs: PositiveCount
    clip_range: Positive

    @model_validator(mode="after")
    def _check(self) -> Self:
        rollout = self.n_steps * self.worlds
        if rollout < 2 or self.batch_size < 2 or rollout % self.batch_size:
            raise expected("batch_size", self.batch_size, f"a divisor >= 2 of n_steps x worlds = {rollout}")
        return self


class OffPolicy(SB3Learner):
    """Off-policy learners, which remember transitions and learn from all of them."""

    batch_size: PositiveCount
    buffer_size: PositiveCount  # transitions kept
    learning_starts: Count  # env-steps before the first gradient step
    train_freq: PositiveCount  # periods of all worlds between trainings
    gradient_steps: PositiveCount  # in each training
    n_steps: PositiveCount  # periods of rewards that count before what the critic expects
    tau: Annotated[float, number(0.0, 1.0, strict=True)]

    @property
    def piece(self) -> int:
        """Some 64 periods of all worlds, a whole number of trainings."""
        return self.train_freq * max(1, 64 // self.train_freq) * self.worlds

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.buffer_size < self.worlds:
            raise expected("buffer_size", self.buffer_size, f"at least the number of worlds, {self.worlds}")
        return self


class OffPolicyActor(OffPolicy):
    """Off-policy learners with an actor that follows its critics: it must not run ahead of what they know."""

    own_fields: ClassVar[tuple[str, ...]] = ("actor_learning_rate", "actor_starts", "random_worlds")

    actor_learning_rate: Share  # of the actor, as a share of learning_rate
    actor_starts: Count  # gradient steps of the critics before the first one of the actor
    random_worlds: Count  # of the worlds, those whose actions are drawn at random, for critics to know all of them


class SoftActorCritic(OffPolicyActor):
    """Learners with a bonus for entropy."""

    logged = ("actor_loss", "critic_loss", "ent_coef")
    ent_coef: Annotated[float | str, PlainValidator(_coefficient)]
    log_std_init: LogDeviation  # exploration at the start, units of the action

    def begin(self, model: Any, around_rule: bool) -> None:
        """Mean and deviation of the actor's actions."""
        nearly(model.actor.mu, 0.0)
        nearly(model.actor.log_std, self.log_std_init)


def nearly(head: Any, value: float) -> None:
    """Make a linear layer give (nearly) one value whatever goes in."""
    import torch

    with torch.no_grad():
        head.weight.mul_(0.01)
        head.bias.fill_(value)
