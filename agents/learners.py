"""Settings of the learners: what the files in ``configs/agent`` say, which hold all defaults.

One class a kind; names are Stable-Baselines3's where it has one. :data:`AnyLearner` is their union.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, PlainValidator, model_validator

from echelongym.envs.core.errors import expected, unknown
from echelongym.envs.core.validation import (
    MOST,
    Config,
    Count,
    Flag,
    NonNegative,
    Positive,
    PositiveCount,
    Share,
    is_number,
    number,
    validate,
)
from echelongym.envs.storage.files import read_yaml

from .pathwise.config import PathwiseConfig, Width, WorldCount

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


class Learner(Config):
    """Settings that all learners share."""

    logged: ClassVar[tuple[str, ...]] = ()  # what the learning curve has of the last training step
    supports_clone: ClassVar[bool] = True  # whether it has an actor that can imitate
    usual_env_steps: ClassVar[int] = 2_000_000  # that usually suffice: minutes

    start: str  # zero, the name of a rule, or the path of a rule.yaml
    start_as: Literal["residual", "clone"]
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

    @model_validator(mode="after")
    def _start_fits(self) -> Self:
        if self.start_as == "clone" and self.start != "zero" and not self.supports_clone:
            raise expected("start_as", self.start_as, "residual: this learner has no actor that could imitate a rule")
        return self


class OnPolicy(Learner):
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


class PPOConfig(Clipped):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347)."""

    kind: Literal["ppo"] = "ppo"


class RecurrentPPOConfig(Clipped):
    """Recurrent PPO: a long short-term memory (LSTM) between observation and actor; of sb3-contrib."""

    kind: Literal["recurrent_ppo"] = "recurrent_ppo"
    lstm_hidden_size: Width


class A2CConfig(OnPolicy):
    """Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783): one gradient step a rollout."""

    kind: Literal["a2c"] = "a2c"
    normalize_advantage: Flag


class OffPolicy(Learner):
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

    actor_learning_rate: Share  # of the actor, as a share of learning_rate
    actor_starts: Count  # gradient steps of the critics before the first one of the actor
    random_worlds: Count  # of the worlds, those whose actions are drawn at random, for critics to know all of them


class SoftActorCritic(OffPolicyActor):
    """Learners with a bonus for entropy."""

    logged = ("actor_loss", "critic_loss", "ent_coef")
    ent_coef: Annotated[float | str, PlainValidator(_coefficient)]
    log_std_init: LogDeviation  # exploration at the start, units of the action


class SACConfig(SoftActorCritic):
    """Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905)."""

    kind: Literal["sac"] = "sac"


class TQCConfig(SoftActorCritic):
    """Truncated quantile critics (Kuznetsov et al. 2020, arXiv 2005.04269); of sb3-contrib."""

    kind: Literal["tqc"] = "tqc"
    n_critics: Annotated[int, number(1, 1_000, integer=True)]
    n_quantiles: Width  # that each critic tells of the return
    top_quantiles_to_drop_per_net: Count

    @model_validator(mode="after")
    def _quantiles_left(self) -> Self:
        if self.top_quantiles_to_drop_per_net >= self.n_quantiles:
            wanted = f"less than n_quantiles = {self.n_quantiles}"
            raise expected("top_quantiles_to_drop_per_net", self.top_quantiles_to_drop_per_net, wanted)
        return self


class TD3Config(OffPolicyActor):
    """Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018, arXiv 1802.09477)."""

    logged = ("actor_loss", "critic_loss")
    kind: Literal["td3"] = "td3"
    policy_delay: PositiveCount  # gradient steps of the critics for one of the actor
    action_noise: NonNegative  # standard deviation of exploration, units of the action
    target_policy_noise: NonNegative  # likewise, of the actions that targets are computed with
    target_noise_clip: NonNegative


class DQNConfig(OffPolicy):
    """Deep Q-network (Mnih et al. 2015, Nature 518) on discrete actions; see :mod:`discrete_actions`."""

    logged = ("loss",)
    supports_clone = False
    kind: Literal["dqn"] = "dqn"
    moves: tuple[Annotated[float, number(-1.0, 1.0)], ...]  # values other than 0 that an action may take
    target_update_interval: PositiveCount  # env-steps between copies into the target network
    exploration_initial_eps: Share  # share of random actions at the start
    exploration_final_eps: Share
    exploration_fraction: Annotated[float, number(0.0, 1.0, strict=True)]  # of the budget, over which it falls
    max_grad_norm: Positive

    @model_validator(mode="after")
    def _some_moves(self) -> Self:
        if not self.moves or 0.0 in self.moves or len(set(self.moves)) < len(self.moves):
            raise expected("moves", self.moves, "at least one number in [-1, 1], each but once, without 0")
        return self


#: Learners of Stable-Baselines3 and sb3-contrib.
SB3Learner = PPOConfig | A2CConfig | SACConfig | TD3Config | DQNConfig | TQCConfig | RecurrentPPOConfig
#: All learners; a class joined here is known everywhere.
AnyLearner = SB3Learner | PathwiseConfig
LEARNERS: dict[str, type[Config]] = {one.model_fields["kind"].default: one for one in get_args(AnyLearner)}


def learner_config(agent: str | Mapping[str, Any], where: str = "agent") -> Any:
    """A learner's settings: the name of a file in ``configs/agent``, or plain data with a ``kind``.

    Raises
    ------
    InputError
        On an unknown name, kind or key, or a value out of range: one line for each fault.
    """
    if isinstance(agent, str):
        agent = _read(agent, where)
    kind = agent.get("kind") if isinstance(agent, Mapping) else agent
    if not isinstance(agent, Mapping) or not isinstance(kind, str) or kind not in LEARNERS:
        raise unknown(f"{where}.kind", kind, LEARNERS)
    return validate(LEARNERS[str(kind)], dict(agent), where)


def _read(name: str, where: str) -> dict[str, Any]:
    """A file of ``configs/agent``, with what it takes from others (its ``defaults``)."""
    folder = Path(str(resources.files("echelongym.configs"))) / "agent"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        raise unknown(where, name, names)
    data: dict[str, Any] = read_yaml(folder / f"{name}.yaml")
    for base in data.pop("defaults", []):
        data = data if base == "_self_" else {**_read(base, where), **data}
    return data


def label(learner: Any) -> str:
    """Label of a learner: its kind, and the network where there is a choice and it is not the usual one."""
    network = getattr(learner, "network", "perceptron")
    return str(learner.kind) if network == "perceptron" else f"{learner.kind}_{network}"
