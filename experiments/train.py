"""``echelongym train``: a learner trained on a scenario, with checkpoints, resume, and the best policy kept.

The run folder is there from the start, so that a training that was killed can go on: ``config.yaml``, ``scenario.yaml``,
``policy.npz`` (the best policy so far), ``progress.csv`` (the learning curve), ``checkpoints/``, ``tensorboard/`` where it is
installed; ``model.zip`` (for users of Stable-Baselines3) and ``summary.json`` when it is done.
"""

from __future__ import annotations

import importlib.util
import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from echelongym.agents.learners import PPOConfig, SACConfig
from echelongym.envs.config import Config, Count, Positive, PositiveCount, number, validate
from echelongym.envs.decoding import KINDS
from echelongym.envs.errors import InputError, expected, missing_extra, unknown
from echelongym.envs.files import read_yaml, write_bytes, write_yaml
from echelongym.envs.scenario import Scenario

from .runs import RunFolder, check_free, shown
from .settings import RunSettings
from .statistics import Estimate, estimate
from .terminal import console, finish, say

REFERENCE = "echelon_base_stock"


class BudgetSettings(Config):
    """When to stop; at least one is needed."""

    env_steps: PositiveCount | None
    cpu_seconds: Positive | None


class Validation(Config):
    """The worlds (purpose ``tune``) that the best policy is chosen on."""

    worlds: Annotated[int, number(2, integer=True)]
    seed: Count
    times: PositiveCount


class Settings(RunSettings):
    """Settings of ``train``; see ``configs/train.yaml``."""

    agent: Annotated[PPOConfig | SACConfig, Field(discriminator="kind")]
    seed: Count
    action: str
    budget: BudgetSettings
    validation: Validation
    checkpoint_seconds: Positive
    threads: PositiveCount
    tensorboard: bool | None
    progress: bool
    resume: bool


def train(
    scenario: Scenario | str | Path,
    agent: str | Mapping[str, Any] = "ppo",
    folder: str | Path | None = None,
    **changes: Any,
) -> Path:
    """Train a learner from Python; returns the run folder.

    Parameters
    ----------
    scenario
        A scenario, its name or its path.
    agent
        Name of a file in ``configs/agent``, or its content with changes.
    folder
        Where results go; left out: as the command would choose.
    changes
        Keys of ``configs/train.yaml``; mappings are merged: ``budget={"cpu_seconds": 60}``.

    Raises
    ------
    InputError
        On whatever cannot be used.

    Example
    -------
    >>> from echelongym.agents import load_policy
    >>> policy = load_policy(train("one_warehouse", "ppo", seed=1), scenario)
    """
    from echelongym.agents.learners import learner_config

    from .compose import compose

    scenario = scenario if isinstance(scenario, Scenario) else Scenario.load(scenario)
    config = compose("train")
    for key, value in changes.items():
        if key not in config:
            raise unknown("train", key, config)
        config[key] = {**config[key], **value} if isinstance(value, Mapping) else value
    if folder is None:
        folder = Path("runs") / "train" / scenario.name / time.strftime("%Y-%m-%d_%H-%M-%S")
    config |= {"scenario": scenario, "agent": learner_config(agent), "run": str(folder)}
    return run(validate(Settings, config, "train"), Path(folder))


def run(settings: Settings, folder: Path) -> Path:
    """Train, or go on training; returns the run folder."""
    from echelongym.agents.checkpoint import latest_checkpoint
    from echelongym.agents.training import Budget, Trainer

    checkpoint = None
    if settings.resume:
        checkpoint = latest_checkpoint(folder / "checkpoints")
        settings = _resumed(settings, folder, checkpoint.facts["base_dir"])
    else:
        _check_free(folder)
    if settings.action not in KINDS:
        raise unknown("train: action", settings.action, KINDS)
    scenario, chosen = settings.scenario, settings.validation
    budget = Budget(settings.budget.env_steps, settings.budget.cpu_seconds)
    if checkpoint and budget.share(checkpoint.facts["env_steps"], checkpoint.facts["cpu_seconds"]) >= 1.0:
        raise expected("train: budget", settings.budget.model_dump(), f"more than {shown(folder)} has spent already")
    tape = scenario.sample(chosen.worlds, chosen.seed, "tune")
    reference = _reference(settings, tape)
    logger = _logger(settings, folder)
    out = RunFolder(folder)
    write_yaml(settings.to_dict(), out / "config.yaml")
    scenario.save(out / "scenario.yaml")
    trainer = Trainer(
        scenario,
        settings.agent,
        settings.seed,
        budget,
        tape,
        action=settings.action,
        evaluations=chosen.times,
        checkpoints=out / "checkpoints",
        checkpoint_seconds=settings.checkpoint_seconds,
        threads=settings.threads,
        logger=logger,
    )
    started = time.monotonic()
    with _bar(settings, reference.mean) as report:
        trained = trainer.run(checkpoint, report, _keeper(settings, out, trainer))
    _write_model(trainer, out / "model.zip", settings)
    out.csv("progress.csv", trained.curve)
    best = estimate(trained.cost)
    percent = 100.0 * (best.mean / reference.mean - 1.0) if reference.mean else None
    out.json(
        "summary.json",
        {
            "schema": 1,
            "scenario": scenario.name,
            "digest": scenario.digest,
            "agent": settings.agent.kind,
            "seed": settings.seed,
            "env_steps": trained.env_steps,
            "cpu_seconds": round(trained.cpu_seconds, 1),
            "best": {"env_steps": trained.best_env_steps, "cost_per_period": best.to_dict()},
            "reference": {"policy": REFERENCE, "cost_per_period": reference.to_dict()},
            "difference_percent": percent,
            "validation": chosen.model_dump(),
        },
    )
    say(
        f"{settings.agent.kind} on {scenario.name}: {trained.env_steps:,} env-steps, {trained.cpu_seconds:.0f} CPU-seconds "
        f"({time.monotonic() - started:.0f} s)."
    )
    against = "" if percent is None else f": {percent:+.1f} %"
    say(
        f"Best at env-step {trained.best_env_steps:,}: cost per period {best.mean:.4g} on {chosen.worlds} validation worlds, "
        f"echelon base-stock at automatic levels {reference.mean:.4g}{against}."
    )
    following = f"echelongym benchmark scenario={scenario.name} policies='[{REFERENCE},{shown(folder)}]'"
    finish(folder, following, ["policy.npz", "progress.csv", "model.zip"])
    return folder
