"""Settings of the learners: what ``configs/agent/ppo.yaml`` and ``sac.yaml`` say, which hold all defaults."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import PlainValidator, model_validator

from echelongym.envs.config import Config, Count, NonNegative, Positive, PositiveCount, Share, number, validate
from echelongym.envs.errors import expected, unknown
from echelongym.envs.files import read_yaml


def _coefficient(value: Any) -> Any:
    if value == "auto" or (isinstance(value, str) and value.startswith("auto_")):
        number_part = value[5:] if value != "auto" else "1"
        try:
            if float(number_part) > 0:
                return value
        except ValueError:
            pass
    elif isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    raise ValueError("expected a number >= 0, auto, or auto_ and its first value, as in auto_0.1")


class Learner(Config):
    """What all learners share; names are Stable-Baselines3's where it has one."""

    worlds: PositiveCount  # played side by side
    hidden: tuple[PositiveCount, ...]
    activation: Literal["tanh", "relu", "elu"]
    learning_rate: Positive
    final_learning_rate: Share  # share of the first one left at the end of a cosine
    gamma: Annotated[float, number(0.0, 1.0, strict=True)]
    log_std_init: Annotated[float, number(-20.0, 2.0)]  # exploration at the start, units of the action
    batch_size: PositiveCount


class PPOConfig(Learner):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347)."""

    kind: Literal["ppo"] = "ppo"
    n_steps: PositiveCount  # periods a world and rollout
    n_epochs: PositiveCount
    gae_lambda: Share
    clip_range: Positive
    ent_coef: NonNegative
    vf_coef: NonNegative
    max_grad_norm: Positive

    @model_validator(mode="after")
    def _check(self) -> Self:
        rollout = self.n_steps * self.worlds
        if rollout < 2 or self.batch_size < 2 or rollout % self.batch_size:
            raise expected("batch_size", self.batch_size, f"a divisor >= 2 of n_steps x worlds = {rollout}")
        return self


class SACConfig(Learner):
    """Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905)."""

    kind: Literal["sac"] = "sac"
    buffer_size: PositiveCount  # transitions kept
    learning_starts: Count  # env-steps before the first gradient step
    train_freq: PositiveCount  # periods of all worlds between trainings
    gradient_steps: PositiveCount  # in each training
    tau: Annotated[float, number(0.0, 1.0, strict=True)]
    ent_coef: Annotated[float | str, PlainValidator(_coefficient)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.buffer_size < self.worlds:
            raise expected("buffer_size", self.buffer_size, f"at least the number of worlds, {self.worlds}")
        return self


LEARNERS: dict[str, type[PPOConfig] | type[SACConfig]] = {"ppo": PPOConfig, "sac": SACConfig}


def learner_config(agent: str | Mapping[str, Any], where: str = "agent") -> PPOConfig | SACConfig:
    """A learner's settings: the name of a file in ``configs/agent``, or plain data with a ``kind``.

    Raises
    ------
    InputError
        On an unknown name, kind or key, or a value out of range: one line for each fault.
    """
    if isinstance(agent, str):
        folder = Path(str(resources.files("echelongym.configs"))) / "agent"
        names = sorted(path.stem for path in folder.glob("*.yaml"))
        if agent not in names:
            raise unknown(where, agent, names)
        agent = read_yaml(folder / f"{agent}.yaml")
    kind = agent.get("kind") if isinstance(agent, Mapping) else agent
    if not isinstance(agent, Mapping) or kind not in LEARNERS:
        raise unknown(f"{where}.kind", kind, LEARNERS)
    return validate(LEARNERS[str(kind)], dict(agent), where)
