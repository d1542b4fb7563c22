"""``echelongym demo``: the main job in one go: rules tuned, learners trained, all compared on worlds none of them has seen."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from echelongym.agents.learners import AnyLearner, label, learner_config
from echelongym.agents.registry import RULES
from echelongym.agents.tuning.tuner import check_budget
from echelongym.envs.core.errors import require, unknown
from echelongym.envs.core.names import folder_name
from echelongym.envs.core.validation import Config, Count, Flag, Positive, number
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage import journal
from echelongym.envs.workers.cores import WITH_GRADIENTS, Workers, most_workers
from echelongym.envs.workers.pieces import Piece, as_done

from ..cli.settings import Bounds, Evaluation, RunSettings, Tuning
from ..cli.terminal import bar_of_pieces, finish, say, typed
from ..comparison.fitted_rules import RULE_FILE, expected_seconds, fit
from ..comparison.service_limits import said_limits
from ..runs.claims import clear
from ..runs.folders import check_free, prune, shown
from .benchmark import Settings as BenchmarkSettings
from .benchmark import compare

PLANNER = "rolling_horizon"


class Training(Config):
    """Settings of the training of each learner: as by ``echelongym train``, for so long."""

    cpu_seconds: Positive
    seeds: Annotated[int, number(1, 1_000, integer=True)]
    first_seed: Count


class Settings(RunSettings):
    """Settings of ``demo``; see ``configs/demo.yaml``."""

    rules: tuple[str, ...]
    agent: AnyLearner
    beside: tuple[str, ...] = ()
    planner: Flag = False
    training: Training
    evaluation: Evaluation
    tuning: Tuning
    bounds: Bounds
    workers: Workers = "auto"
    progress: Flag


def run(settings: Settings, folder: Path) -> Path:
    """Tune, train and compare; returns the run folder of the comparison.

    Raises
    ------
    InputError
        For an unknown rule or agent, a budget that no rule can be tuned with, or a run folder that is taken.
    MissingExtra
        If the scenario's demand or PyTorch comes with an extra that is not installed; the message is the install line.
    """
    check_free(folder)
    for rule in settings.rules:
        if rule not in RULES:
            raise unknown("rules", rule, RULES)
        check_budget(settings.scenario, rule, settings.tuning.budget, settings.tuning.worlds, settings.tuning.refit)
    require("torch")
    agents = _agents(settings)
    chosen, scenario = settings.training, settings.scenario
    first, plans = next(iter(agents)), settings.planner and RULES[PLANNER].refusal(scenario) is None
    runs = Path("runs")
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    # A run that goes on keeps its name, under which it finds what it had trained.
    before = journal.known("demo: name", [])
    name = journal.step("demo: name", [], lambda: folder.name)
    trained = {
        (kind, seed): runs
        / "train"
        / folder_name(scenario.name)
        / f"{name}{'' if kind == first else f'-{kind}'}-seed_{seed}"
        for kind in agents
        for seed in seeds
    }
    tuned = {rule: runs / "tune" / folder_name(scenario.name) / f"{name}-{rule}" for rule in settings.rules}
    for target in () if before else (*trained.values(), *tuned.values()):
        check_free(target)
    started = time.monotonic()
    limits = said_limits(scenario, settings.evaluation.seed, "test", settings.evaluation.periods)
    names = " and ".join(agents)
    say(f"[1/2] Tuning {', '.join(settings.rules)}; training {names} for {chosen.cpu_seconds:g} CPU-seconds a seed.")
    jobs_wanted = len(trained) + len(settings.rules)
    at_once = most_workers(settings.workers, jobs_wanted, WITH_GRADIENTS)
    say(f"      {jobs_wanted} jobs of some minutes, {at_once} at a time; each says when it is done.")
    # The longest jobs first, so that no worker is idle for long at the end.
    seconds = expected_seconds(scenario, settings.tuning)
    jobs = [
        Piece(_train, (scenario, agents[kind].model_dump(), target, seed, chosen.cpu_seconds), chosen.cpu_seconds)
        for (kind, seed), target in trained.items()
    ]
    jobs += [
        Piece(_tune, (scenario, rule, settings.tuning, target), seconds) for rule, target in reversed(tuned.items())
    ]
    try:
        _work(jobs, settings)
    except BaseException:
        for target in trained.values():
            prune(target)  # there is something in it where it can go on
            if target.parent.is_dir():
                clear(target.parent)
                prune(target.parent)
        raise
    say(f"[2/2] Comparing all on {settings.evaluation.worlds} worlds ({time.monotonic() - started:.0f} s so far).")
    results, made = compare(
        BenchmarkSettings(
            scenario=scenario,
            run=settings.run,
            policies=[
                *({"policy": str(target), "name": rule} for rule, target in tuned.items()),
                *({"policy": [str(trained[kind, seed]) for seed in seeds], "name": kind} for kind in agents),
                *([{"policy": PLANNER, "tuned": False}] if plans else []),
            ],
            evaluation=settings.evaluation,
            tuning=settings.tuning,
            bounds=settings.bounds,
            open_loop=False,
            tune=True,  # nothing but the rule on cost alone, where a target is missed
            trust=False,
            workers=settings.workers,
            pictures=True,
            progress=settings.progress,
        ),
        folder,
        limits,
    )
    results.show()
    say(f"Policies: {', '.join(shown(target) for target in (*tuned.values(), *trained.values()))}")
    say(f"Time:     {time.monotonic() - started:.0f} s")
    following = typed("export", policy=shown(trained[first, chosen.first_seed]))
    finish(made, following, ["summary.json", "tables", *(["4 pictures"] if (made / "network.png").is_file() else [])])
    return made


def _agents(settings: Settings) -> dict[str, Any]:
    """Settings of every learner by the name that tables call it by, the first one first."""
    found = {label(settings.agent): settings.agent}
    for name in settings.beside:
        config = learner_config(name, "beside")
        found.setdefault(label(config), config)
    return found


def _work(jobs: Sequence[Piece], settings: Settings) -> None:
    """Do all jobs, some side by side; each says in a line what came of it."""
    with bar_of_pieces("tuning and training", jobs, settings.progress) as bar:
        for _, line in as_done(jobs, sum(job.share for job in jobs), WITH_GRADIENTS, bar):
            say(f"  {line}")


def _tune(scenario: Scenario, rule: str, tuning: Tuning, target: Path) -> str:
    """Tune a rule, or take it from the cache, into a folder of its own."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        found, spent = fit(scenario, rule, {}, tuning, show_progress=False)
    found.save(target / RULE_FILE, tuning={"tuning_budget": {"env_periods": spent}})
    return said.getvalue().strip()


def _train(scenario: Scenario, agent: dict[str, Any], target: Path, seed: int, cpu_seconds: float) -> str:
    """Train from one seed into a run folder of its own."""
    from .train import train

    started = time.monotonic()
    if (target / "summary.json").is_file():
        return f"{agent['kind']}, seed {seed}: trained before"
    budget = {"cpu_seconds": cpu_seconds}
    with contextlib.redirect_stdout(io.StringIO()):
        train(
            scenario,
            agent,
            target,
            seed=seed,
            budget=budget,
            progress=False,
            reference="automatic",
            bound=False,
        )
    return f"{agent['kind']}, seed {seed}: trained in {time.monotonic() - started:.0f} s"


__all__ = ["Settings", "run"]
