"""``echelongym tune``: fit a rule's parameters to a scenario; writes the ``rule.yaml`` that every ``policy`` key takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echelongym.agents.tuning import Tuned, tune

from .fitting import keep
from .runs import check_free, run_folder, scenario_argument, shown
from .settings import PolicyChoice, RunSettings, Tuning
from .terminal import finish, say, table


class Settings(RunSettings):
    """Settings of ``tune``; see ``configs/tune.yaml``."""

    policy: PolicyChoice
    tuning: Tuning
    progress: bool


def run(settings: Settings, folder: Path) -> Path:
    """Tune, print the parameters found, and write them; returns the run folder.

    Raises
    ------
    InputError
        For an unknown rule, method or parameter, a budget too small for one evaluation, or a run folder that is taken.
    """
    check_free(folder)
    chosen = settings.tuning
    tuned = tune(
        settings.scenario,
        settings.policy.name,
        budget=chosen.budget,
        seed=chosen.seed,
        worlds=chosen.worlds,
        judged=chosen.judged,
        method=chosen.method,
        progress=settings.progress,
        parameters=settings.policy.parameters,
    )
    keep(tuned, settings.scenario, settings.policy.parameters, chosen)
    with run_folder(folder, settings.to_dict(), settings.scenario) as out:
        tuned.save(out.path)
        out.json("summary.json", {"schema": 1, "digest": settings.scenario.digest, **tuned.summary()})
    _show(tuned)
    rule = shown(out.path / "rule.yaml")
    scenario = scenario_argument(settings.scenario, out.path)
    finish(out.path, f"echelongym benchmark scenario={scenario} policies='[{rule}]'", ["rule.yaml", "summary.json"])
    return out.path


def _show(tuned: Tuned) -> None:
    low, high = tuned.ci95
    say(
        f"{tuned.rule.name} on {tuned.rule.tables.name}: cost per period {tuned.cost:.5g} [{low:.5g}, {high:.5g}] "
        f"on {tuned.worlds} fresh worlds; {tuned.method}, {tuned.env_periods / 1e6:.3g} M env-steps, {tuned.seconds:.0f} s."
    )
    rows = list(parameter_rows(tuned.parameters))
    if rows:
        table("Parameters", ["parameter", "value"], rows)
    for target in tuned.targets:
        say(f"target {target['name']} {target['target']:g}: {target['mean']:.4g}, {target['status']}")


def parameter_rows(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested parameters as dotted names with their values."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from parameter_rows(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


__all__ = ["Settings", "parameter_rows", "run"]
