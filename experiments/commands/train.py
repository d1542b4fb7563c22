"""``echelongym train``: a learner trained on a scenario, with checkpoints, resume, and the best policy kept.

The run folder is there from the start, so that a training that was killed can go on: ``config.yaml``, ``scenario.yaml``,
``policy.npz`` (the best policy so far), ``progress.csv`` (the learning curve), ``checkpoints/``, ``tensorboard/`` where it is
installed; ``model.zip`` (for users of Stable-Baselines3), ``learning.png`` (the curve beside the rule and the bound) and
``summary.json`` when it is done.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echelongym.agents.budget import Trained
from echelongym.agents.learners import label
from echelongym.agents.residual import AUTO
from echelongym.envs.core.errors import InputError, expected, require, unknown
from echelongym.envs.core.names import folder_name
from echelongym.envs.core.validation import validate
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.envs.storage.files import read_yaml, write_yaml
from echelongym.envs.worlds.record_statement import playable
from echelongym.envs.worlds.world_sample import WorldSample, sample_of

from ..cli.terminal import can_draw, cell, finish, say
from ..comparison.service import ServiceComparison, compare_kpis
from ..comparison.service_limits import said_limits
from ..figures.learning import learning_curves
from ..runs.claims import Claim, claimed, current, merged, unfinished
from ..runs.folders import RunFolder, check_free, portable, scenario_argument, shown
from ..runs.provenance import environment
from ..statistics import Comparison, cost_interval, paired_comparison
from ..training.baselines import Baselines, Start, better_reference, starting_rule
from ..training.progress import reported
from ..training.run_records import TrainingRecord, curve_of, failed, finished
from ..training.seeds_table import PICTURE, combinations, next_line, panels, show_trainings
from ..training.settings import Settings
from ..training.trainers import POLICY_FILE, Learning, latest, learning

if TYPE_CHECKING:
    from echelongym.envs.worlds.tape import Tape

    from ..cli.sweep_jobs import JobDone

#: A training writes into its run folder from the start.
VISIBLE = True
#: Env-steps a second of a quick training, and seconds of one whose budget nobody has given.
QUICK, USUAL = 20_000, 60.0


def job_seconds(data: Mapping[str, Any]) -> float:
    """Seconds that a training with these settings takes, about: what it is given, or what env-steps take at a quick rate."""
    budget = data["budget"]
    given = budget["cpu_seconds"], budget["env_steps"]
    return float(given[0] or (given[1] / QUICK if isinstance(given[1], int) else USUAL))


def swept(jobs: Sequence[JobDone]) -> None:
    """End a sweep: one table of all its trainings, and one picture, in its folder."""
    trainings = [
        finished(job.folder, job.data) if job.error is None else failed(job.folder, job.data, job.error) for job in jobs
    ]
    folder = Path(os.path.commonpath([os.path.abspath(job.folder.parent) for job in jobs]))
    names = show_trainings(trainings, RunFolder(folder))
    say("")
    say(f"Results: {shown(folder)} ({', '.join(names)})")
    following = next_line(trainings)
    if following is not None:
        say(f"Next:    {following}")


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

    from ..cli.compose import compose

    scenario = scenario if isinstance(scenario, Scenario) else Scenario.load(scenario)
    config = compose("train")
    for key, value in changes.items():
        if key not in config:
            raise unknown("train", key, config)
        config[key] = {**config[key], **value} if isinstance(value, Mapping) else value
    named = folder is not None
    if folder is None:
        folder = Path("runs") / "train" / folder_name(scenario.name) / time.strftime("%Y-%m-%d_%H-%M-%S")
    config |= {"scenario": scenario, "agent": learner_config(agent), "run": str(folder)}
    return run(validate(Settings, config, "train"), Path(folder), named)


def run(settings: Settings, folder: Path, named: bool = True) -> Path:
    """Train, or go on training; returns the run folder.

    ``named``: whether a user gave this very name; where it is the time, ``NAME-2`` is taken if another has it.
    """
    require("torch")
    held = current(folder)
    if held is not None:
        return _run(settings, folder, held)
    resume = None if settings.resume == "auto" else settings.resume
    if settings.resume is not True and named:
        _check_free(folder)
    elif settings.resume is True and not (folder / "config.yaml").is_file() and unfinished(folder) is None:
        raise InputError(f"{shown(folder)}: holds no checkpoint: start the training anew")
    with claimed(folder, settings.to_dict(), named=named, visible=VISIBLE, resume=resume) as held:
        return _run(settings, held.folder, held)


def _run(settings: Settings, folder: Path, held: Claim) -> Path:
    if settings.resume is True:
        settings = _resumed(settings, folder)
        held.state(settings.to_dict())
    elif (folder / "summary.json").is_file():  # killed after all was done
        say(f"{shown(folder)}: is finished")
        return folder
    checkpoint, spent = _checkpoint(settings, folder)
    kind = learning(settings)
    scenario, chosen = settings.scenario, settings.validation
    budget = settings.budget.of(settings.agent, settings.scenario)
    over = budget.share(int(spent["env_steps"]), spent["cpu_seconds"]) >= 1.0
    if over and (folder / "summary.json").is_file():
        raise expected("train: budget", settings.budget.model_dump(), f"more than {shown(folder)} has spent already")
    said_limits(scenario, chosen.seed)
    tape = scenario.sample(chosen.worlds, chosen.seed, "validate", validation_periods(scenario))
    for line in scenario.record_split():
        say(line)
    start = None
    if kind.own_starts:
        chosen_start = settings.agent.start
        start = starting_rule(scenario, chosen_start, kind.own_starts, settings.tuning, folder, settings.progress)
    made = Learning(settings, folder, budget, tape, None if start is None else start.rule)
    baselines = made.baselines(tape)
    out = RunFolder(folder)
    write_yaml(settings.to_dict(), out / "config.yaml")
    write_yaml(portable(scenario), out / "scenario.yaml")
    if start is not None:
        start.keep(folder)
    started = time.monotonic()
    with reported(settings, out, baselines) as report:
        trained = made.run(checkpoint, report)
    better = better_reference(baselines.reference, trained.tuned, scenario, settings.tuning, tape, settings.progress)
    baselines = baselines._replace(reference=better)
    written = made.finish(trained)
    validated = _validated(settings, tape, trained, baselines)
    against = validated.comparison
    found = _summary(settings, trained, baselines, start, validated) | {"minimised": kind.cost}
    if can_draw():
        record = TrainingRecord(folder, settings.to_dict(), found, curve_of(trained.curve))
        learning_curves(out / PICTURE, panels(combinations([record])))
        written = [PICTURE, *written]
    out.json("summary.json", found)
    say(
        f"{label(settings.agent)} on {scenario.name}: {trained.env_steps:,} env-steps in {trained.cpu_seconds:.0f} "
        f"CPU-seconds ({time.monotonic() - started:.0f} s)."
    )
    if trained.env_steps == (trained.tuned or {}).get("env_steps", 0):
        say(_nothing_learnt(settings, trained))
    served = validated.service
    said = [] if against.percent is None else [f"{against.percent.mean:+.1f} %"]
    said += [] if served is None else [served.rates]
    beside = f" ({', '.join(said)})" if said else ""
    worlds = "one history" if validated.sample.one_history else f"{len(trained.cost)} validation worlds"
    say(
        f"Best after {trained.best_env_steps:,}: {kind.cost} {cell(float(trained.cost.mean()))} in {worlds}; "
        f"{baselines.reference.label} {cell(float(baselines.reference.cost.mean()))}{beside}."
    )
    if trained.tried is not None:
        say(_chosen(trained.tried))
    if trained.tuned is not None:
        say(f"{_outcome(trained)[0].upper()}{_outcome(trained)[1:]}.")
    elif settings.agent.start == AUTO and settings.agent.start_share and kind.own_starts:
        say(
            "No rule was tuned, as the network is large, or randomised, or the budget small: training began with "
            "automatic levels."
        )
    if served is not None and served.text:
        say(f"It {served.text}: the percentage is no saving at equal service.")
    for name in () if served is None else served.other_missed:
        say(f"The {baselines.reference.label} misses target {name}.")
    if baselines.bound is not None:
        say(f"Lower bound on the cost of any policy: {baselines.bound.label}.")
    for target in trained.targets:
        say(f"Target {target['name']} {cell(target['target'])}: {target['status']} ({cell(target['mean'])}).")
    following = made.following(scenario_argument(scenario, folder))
    finish(folder, following, [POLICY_FILE, "progress.csv", *written])
    return folder


def _checkpoint(settings: Settings, folder: Path) -> tuple[Any, dict[str, Any]]:
    """The checkpoint to go on from, and what was spent until then; None where the training begins."""
    nothing = {"env_steps": 0, "cpu_seconds": 0.0}
    if not any((folder / "checkpoints").glob("checkpoint_*.pt")):
        return None, nothing
    try:
        return latest(settings, folder)
    except InputError as error:
        # With the same seed it ends where it would have ended; what cannot be read must not be in the way of new ones.
        say(f"{error}; the training begins anew")
        shutil.rmtree(folder / "checkpoints")
        return None, nothing


def validation_periods(scenario: Scenario) -> int:
    """Periods of the validation worlds: the horizon, or what the record leaves for them where it is replayed in order.

    Raises
    ------
    InputError
        Where all of them would be warm-up.
    """
    periods = playable(scenario, "validate")
    if periods <= scenario.warm_up:
        hint = f"more than the {periods} periods of the record that checkpoints are chosen on: a longer train window"
        raise expected("warm_up", scenario.warm_up, f"less, or {hint}", scenario.name)
    return periods


@dataclass(frozen=True)
class _Validated:
    """What the validation worlds say of the policy beside the reference."""

    sample: WorldSample
    comparison: Comparison
    service: ServiceComparison | None  # None over many networks


def _validated(settings: Settings, tape: Tape, trained: Trained, baselines: Baselines) -> _Validated:
    chosen, reference = settings.validation, baselines.reference
    if reference.kpis is None:
        sample = WorldSample(len(trained.cost))
        return _Validated(sample, paired_comparison(trained.cost, reference.cost, sample), None)
    scenario = settings.scenario
    sample = sample_of(scenario, chosen.worlds, chosen.seed, "validate", tape.periods)
    figures = simulate(scenario, trained.policy, tape).figures()
    service = compare_kpis(scenario, figures, reference.kpis, sample)
    return _Validated(sample, paired_comparison(trained.cost, reference.cost, sample), service)


def _outcome(trained: Trained) -> str:
    """Which policy a training ended with, where it had a tuned rule to beat: one sentence."""
    tuned = trained.tuned
    assert tuned is not None
    rule = f"the tuned rule {tuned['rule']}" if tuned["tuned"] else f"the rule {tuned['rule']} with automatic levels"
    if trained.by_rule:
        return f"the policy is {rule}, as it is: nothing learned was better on the validation worlds"
    before = float(tuned["cost_per_period"])
    apart = f", {100 * (float(trained.cost.mean()) - before) / abs(before):+.2g} %" if before else ""
    return f"the policy is learned: on the validation worlds it is better than {rule} ({cell(before)}{apart})"


def _chosen(tried: dict[str, Any]) -> str:
    """Which head a training went on with, where several were tried first."""
    costs = ", ".join(f"{head} {cell(float(score))}" for head, score in tried["compared"].items())
    return (
        f"Heads tried briefly: {costs} on the validation worlds; the training went on with agent.head={tried['head']}."
    )


def _nothing_learnt(settings: Settings, trained: Trained) -> str:
    """What to say where preparing took the whole budget."""
    enough = 10 * math.ceil(1.2 * trained.cpu_seconds / 10)
    return (
        f"The budget of {settings.budget.cpu_seconds:g} CPU-seconds was used up by preparing (compiling, evaluating the "
        f"start): no step was taken, the policy is the start; raise budget.cpu_seconds above about {enough}."
    )


def _summary(
    settings: Settings, trained: Trained, baselines: Baselines, start: Start | None, validated: _Validated
) -> dict[str, Any]:
    sample, served = validated.sample, validated.service
    found = {
        "schema": 1,
        "scenario": settings.scenario.name,
        "digest": settings.scenario.digest,
        "agent": label(settings.agent),
        "seed": settings.seed,
        "env_steps": trained.env_steps,
        "cpu_seconds": round(trained.cpu_seconds, 1),
        "validation": settings.validation.model_dump(),
        "record": list(settings.scenario.record_split()),
        "best": {
            "env_steps": trained.best_env_steps,
            "cost_per_period": cost_interval(trained.cost, sample).to_dict(),
            "targets": trained.targets,
            "policy": "rule" if trained.by_rule else "learned",
        },
        "environment": environment(settings.threads),
        "intervals": sample.to_dict(),
        "reference": baselines.reference.to_dict(sample),
        "versus": validated.comparison.to_dict() | ({} if served is None else served.to_dict()),
    }
    if start is not None:
        found["start"] = trained.tuned or start.facts
    if trained.tried is not None:
        found["tried"] = trained.tried
    if trained.tuned is not None:
        found["outcome"] = _outcome(trained)
    if baselines.bound is not None:
        found["bound"] = baselines.bound.to_dict()
    return found


def _check_free(folder: Path) -> None:
    if (folder / "summary.json").is_file() and (folder / "checkpoints").is_dir():
        raise expected("run", shown(folder), "a new folder, or resume=true to go on with the finished training in it")
    if unfinished(folder) is None:
        if (folder / "checkpoints").is_dir():
            raise expected("run", shown(folder), "a new folder, or resume=true to go on with the training in it")
        check_free(folder)


def _resumed(given: Settings, folder: Path) -> Settings:
    """Settings of the training in ``folder``; the budget may be raised, and keys that change no result."""
    stored = read_yaml(folder / "config.yaml") if (folder / "config.yaml").is_file() else unfinished(folder)
    assert stored is not None
    stored = merged(given.to_dict(), stored)
    settings = validate(Settings, {**stored, "run": given.run}, f"{shown(folder)}/config.yaml")
    from ..cli.compose import compose

    usual = validate(Settings, compose("train"), "train").to_dict()
    asked, before = given.to_dict(), settings.to_dict()
    changed = {key: value for key, value in asked.items() if value != usual[key]}
    free = {"run", "resume", "progress", "checkpoint_seconds", "budget", "reference", "bound", "tuning"}
    for key, value in changed.items():
        if key not in free and value != before[key]:
            shown_value = value["name"] if key == "scenario" else value
            raise expected(f"train: {key}", shown_value, f"that of the training in {shown(folder)}, or nothing")
    kept = {key: getattr(given, key) for key in changed if key in free}
    return settings.model_copy(update={**kept, "resume": True, "progress": given.progress})
