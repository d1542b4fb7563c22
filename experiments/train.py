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
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from echelongym.agents.learners import PPOConfig, SACConfig
from echelongym.envs.config import Config, Count, Positive, PositiveCount, number, validate
from echelongym.envs.decoding import KINDS
from echelongym.envs.errors import expected, missing_extra, unknown
from echelongym.envs.files import read_yaml, write_bytes, write_yaml
from echelongym.envs.scenario import Scenario

from .runs import RunFolder, check_free, portable, scenario_argument, shown
from .settings import RunSettings
from .statistics import Comparison, mean_interval, paired_comparison
from .terminal import cell, console, finish, say

if TYPE_CHECKING:
    from echelongym.agents.actor import ActorPolicy
    from echelongym.agents.training import Floats, Progress, Trained, Trainer
    from echelongym.envs.tape import Tape

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
        settings = _resumed(settings, folder)
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
    write_yaml(portable(scenario), out / "scenario.yaml")
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
    with _reported(settings, out, float(reference.mean())) as report:
        trained = trainer.run(checkpoint, report, _keeper(settings, out, trainer))
    _write_model(trainer, settings, out / "model.zip")
    against = paired_comparison(trained.cost, reference)
    out.json("summary.json", _summary(settings, trained, reference, against))
    say(
        f"{settings.agent.kind} on {scenario.name}: {trained.env_steps:,} env-steps in {trained.cpu_seconds:.0f} CPU-seconds"
        f" ({time.monotonic() - started:.0f} s)."
    )
    percent = "" if against.percent is None else f" ({against.percent.mean:+.1f} %)"
    say(
        f"Best after {trained.best_env_steps:,}: cost per period {cell(float(trained.cost.mean()))} in {chosen.worlds} "
        f"validation worlds; {REFERENCE} with automatic levels {cell(float(reference.mean()))}{percent}."
    )
    for target in trained.targets:
        say(f"Target {target['name']} {cell(target['target'])}: {target['status']} ({cell(target['mean'])}).")
    argument = scenario_argument(scenario, folder)
    following = f"echelongym benchmark scenario={argument} policies='[{REFERENCE},{shown(folder)}]'"
    finish(folder, following, ["policy.npz", "progress.csv", "model.zip"])
    return folder


def _summary(settings: Settings, trained: Trained, reference: Floats, against: Comparison) -> dict[str, Any]:
    return {
        "schema": 1,
        "scenario": settings.scenario.name,
        "digest": settings.scenario.digest,
        "agent": settings.agent.kind,
        "seed": settings.seed,
        "env_steps": trained.env_steps,
        "cpu_seconds": round(trained.cpu_seconds, 1),
        "validation": settings.validation.model_dump(),
        "best": {
            "env_steps": trained.best_env_steps,
            "cost_per_period": mean_interval(trained.cost).to_dict(),
            "targets": trained.targets,
        },
        "reference": {"name": REFERENCE, "cost_per_period": mean_interval(reference).to_dict()},
        "versus": against.to_dict(),
    }


def _check_free(folder: Path) -> None:
    if (folder / "checkpoints").is_dir():
        state = "finished" if (folder / "summary.json").is_file() else "unfinished"
        raise expected("run", shown(folder), f"a new folder, or resume=true to go on with the {state} training in it")
    check_free(folder)


def _resumed(given: Settings, folder: Path) -> Settings:
    """Settings of the training in ``folder``; the budget may be raised, and keys that change no result."""
    stored = read_yaml(folder / "config.yaml")
    settings = validate(Settings, {**stored, "run": given.run}, f"{shown(folder)}/config.yaml")
    from .compose import compose

    usual = validate(Settings, compose("train"), "train").to_dict()
    asked, before = given.to_dict(), settings.to_dict()
    changed = {key: value for key, value in asked.items() if value != usual[key]}
    free = {"run", "resume", "progress", "checkpoint_seconds", "budget"}
    for key, value in changed.items():
        if key not in free and value != before[key]:
            shown_value = value["name"] if key == "scenario" else value
            raise expected(f"train: {key}", shown_value, f"that of the training in {shown(folder)}, or nothing")
    kept = {key: getattr(given, key) for key in changed if key in free}
    return settings.model_copy(update={**kept, "resume": True, "progress": given.progress})


def _reference(settings: Settings, tape: Tape) -> Floats:
    """Cost (B,) of a rule that nobody tuned, in the validation worlds: what the learner has to get below first."""
    from echelongym.agents.policy import load_policy
    from echelongym.agents.training import objective
    from echelongym.envs.simulate import simulate

    policy = load_policy(REFERENCE, settings.scenario)
    return objective(simulate(settings.scenario, policy, tape, kpis=False))


def _logger(settings: Settings, folder: Path) -> Any:
    """Stable-Baselines3's logger: to TensorBoard where it is installed (or asked for), else nowhere."""
    from stable_baselines3.common.logger import configure

    there = importlib.util.find_spec("tensorboard") is not None
    if settings.tensorboard and not there:
        raise missing_extra("tensorboard", "tensorboard")
    wanted = there if settings.tensorboard is None else settings.tensorboard
    return configure(str(folder / "tensorboard"), ["tensorboard"]) if wanted else None


def _keeper(settings: Settings, out: RunFolder, trainer: Trainer) -> Callable[[ActorPolicy, Floats, int], None]:
    """Writes the best policy so far, with what it is."""
    from echelongym.agents.actor import save_actor

    def keep(policy: ActorPolicy, cost: Floats, env_steps: int) -> None:
        policy.facts = {
            "agent": settings.agent.kind,
            "seed": settings.seed,
            "env_steps": env_steps,
            "validation_cost": float(cost.mean()),
        }
        save_actor(out / "policy.npz", policy)

    return keep


@contextmanager
def _reported(settings: Settings, out: RunFolder, reference: float) -> Iterator[Callable[[Progress], None]]:
    """What is done with progress: the learning curve goes to disk, and a bar or, without a terminal, lines are shown."""
    terminal = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    shows_bar = settings.progress and terminal.is_terminal
    bar = Bar(*columns, console=terminal, transient=True, disable=not shows_bar)
    task = bar.add_task(f"{settings.agent.kind} on {settings.scenario.name}", total=1.0)
    rows, first = 0, (0, time.monotonic())

    def report(progress: Progress) -> None:
        nonlocal rows, first
        now, curve = time.monotonic(), progress.curve
        if not rows:
            first = (progress.env_steps, now)
        rate = (progress.env_steps - first[0]) / max(now - first[1], 1e-9)
        costs = f"cost {cell(curve[-1]['cost_per_period'])}, best {cell(curve[-1]['best_cost_per_period'])}"
        text = f"{settings.agent.kind} {costs}, {REFERENCE} {cell(reference)}; {rate:,.0f} env-steps/s"
        bar.update(task, completed=progress.share, description=text)
        if len(curve) > rows:
            rows = len(curve)
            out.csv("progress.csv", curve)
            if settings.progress and not shows_bar:
                terminal.print(f"{progress.share:4.0%}  {text}", markup=False, soft_wrap=True)

    with bar:
        yield report


def _write_model(trainer: Trainer, settings: Settings, path: Path) -> None:
    """The model with the best policy as Stable-Baselines3 saves it, and the names of the network it is for."""
    from echelongym.agents.rules.rule import NETWORK

    model, tables = trainer.model, settings.scenario.tables
    model.learning_rate = settings.agent.learning_rate  # a number, which any installation can read
    model._setup_lr_schedule()
    model.echelongym = {"network": {key: getattr(tables, key) for key in NETWORK}, "action": settings.action}
    stream = io.BytesIO()
    model.save(stream)
    write_bytes(stream.getvalue(), path)
