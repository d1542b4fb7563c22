"""``echelongym demo``: the main job in one go: rules tuned, a learner trained, all compared on worlds none of them has seen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from echelongym.agents.rules import RULES
from echelongym.envs.config import Config, Count, Positive, number
from echelongym.envs.errors import unknown

from .benchmark import Settings as BenchmarkSettings
from .benchmark import compare
from .fitting import fit
from .runs import check_free, shown
from .settings import Evaluation, RunSettings, Tuning
from .terminal import finish, say


class Training(Config):
    """How the learner is trained: as by ``echelongym train``, for so long."""

    cpu_seconds: Positive
    seeds: Annotated[int, number(1, integer=True)]
    first_seed: Count


class Settings(RunSettings):
    """Settings of ``demo``; see ``configs/demo.yaml``."""

    rules: tuple[str, ...]
    agent: dict[str, Any]
    training: Training
    evaluation: Evaluation
    tuning: Tuning
    progress: bool


def run(settings: Settings, folder: Path) -> Path:
    """Do it all; returns the run folder of the comparison, in which the trained policies lie too.

    Raises
    ------
    InputError
        For an unknown rule or agent, or a run folder that is taken.
    MissingExtra
        If the scenario's demand comes with an extra that is not installed; the message is the install line.
    """
    check_free(folder)
    for rule in settings.rules:
        if rule not in RULES:
            raise unknown("rules", rule, RULES)
    started = time.monotonic()

    def stage(number: int, text: str) -> None:
        say(f"[{number}/3] {text} ({time.monotonic() - started:.0f} s since the start)")

    stage(1, f"Tuning {', '.join(settings.rules)} on worlds of their own")
    for rule in settings.rules:
        fit(settings.scenario, rule, {}, settings.tuning, settings.progress)
    stage(
        2,
        f"Training {settings.agent.get('kind', 'a learner')} for {settings.training.cpu_seconds:g} CPU-seconds a seed",
    )
    trained = _train(settings, folder)
    stage(3, f"Comparing all on {settings.evaluation.worlds} worlds none of them has seen")
    policies = [*settings.rules, {"policy": [str(path) for path in trained]}]
    results, made = compare(
        BenchmarkSettings(
            scenario=settings.scenario,
            run=settings.run,
            policies=policies,
            evaluation=settings.evaluation,
            tuning=settings.tuning,
            tune=True,
            trust=False,
            pictures=True,
            progress=settings.progress,
        ),
        folder,
    )
    results.show()
    say(f"All done in {time.monotonic() - started:.0f} s.")
    following = f"echelongym train scenario={settings.scenario.name} agent=sac"
    finish(made, following, ["summary.json", "tables", "4 pictures"])
    say(f"Policies: {', '.join(shown(path) for path in trained)}")
    return made


def _train(settings: Settings, folder: Path) -> list[Path]:
    """Run folders of the seeds, beside the folder of the comparison."""
    from .train import train

    chosen = settings.training
    found = []
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        target = Path("runs") / "train" / settings.scenario.name / f"{folder.name}-seed_{seed}"
        check_free(target)
        budget = {"env_steps": None, "cpu_seconds": chosen.cpu_seconds}
        found.append(
            train(settings.scenario, settings.agent, target, seed=seed, budget=budget, progress=settings.progress)
        )
    return found


__all__ = ["Settings", "run"]
