"""``echelongym tune``: fit a rule's parameters to a scenario; writes the ``rule.yaml`` that every ``policy`` key takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.agents.registry import RULES
from echelongym.envs.core.errors import EXTRAS, expected, is_installed, missing_extra, unknown
from echelongym.envs.core.validation import Flag
from echelongym.envs.scenario.overrides import dotted

from ..cli.compose import choices
from ..cli.settings import PolicyChoice, RunSettings, Tuning, Workers
from ..cli.terminal import can_draw, cell, finish, listed, say, table, typed
from ..comparison.fitted_rules import RULE_FILE, Fitted, fitted
from ..comparison.policy_choice import note_tuning
from ..comparison.service_limits import said_limits
from ..figures.comparison import rule_parameters
from ..runs.folders import check_free, run_folder, scenario_argument, shown

MOST_ROWS, FEW_ROWS = 200, 20  # of the table of parameters, and of one kind where there are more than that


class Settings(RunSettings):
    """Settings of ``tune``; see ``configs/tune.yaml``."""

    policy: PolicyChoice
    tuning: Tuning
    workers: Workers = "auto"
    progress: Flag


def run(settings: Settings, folder: Path) -> Path:
    """Tune, or take what was tuned before from the same; print the parameters, and write them; returns the run folder.

    Raises
    ------
    InputError
        For an unknown rule, method or parameter, a rule without numbers to tune, a budget too small for one evaluation, or a
        run folder that is taken.
    """
    check_free(folder)
    chosen = settings.policy
    if chosen.name not in RULES:
        if chosen.name in choices("agent"):
            how = f"learners are trained: echelongym train agent={chosen.name}"
            raise expected("policy", chosen.name, f"the name of a rule, as others have nothing to tune ({how})")
        raise unknown("policy", chosen.name, RULES)
    if not RULES[chosen.name](settings.scenario, **chosen.parameters).groups:
        raise expected("policy", chosen.name, "a rule with numbers to tune, as this one has none")
    limits = said_limits(settings.scenario, settings.tuning.seed)
    tuned = fitted(settings.scenario, chosen.name, chosen.parameters, settings.tuning, settings.progress)
    with run_folder(folder, settings.to_dict(), settings.scenario) as out:
        notes = {key: item for key, item in tuned.summary.items() if key not in ("scenario", "rule", "parameters")}
        tuned.rule.save(out / RULE_FILE, tuning=notes)
        found = limits.to_dict() if limits.alone else {}
        out.json("summary.json", {"schema": 1, "digest": settings.scenario.digest, **tuned.summary, **found})
        title = f"{tuned.rule.name} tuned for {settings.scenario.name}"
        drawn = can_draw() and rule_parameters(out / "parameters.png", title, tuned.rule.parameters)
    note_tuning(out.path)
    _show(tuned)
    for line in settings.scenario.record_split():
        say(line)
    rule = shown(out.path / RULE_FILE)
    written = ["rule.yaml", "summary.json", *(["parameters.png"] if drawn else [])]
    scenario = scenario_argument(settings.scenario, out.path)
    finish(out.path, typed("benchmark", scenario=scenario, policies=listed(rule)), written)
    return out.path


def _show(tuned: Fitted) -> None:
    found = tuned.summary
    cost, spent = found["cost_per_period"], found["tuning_budget"]
    low, high = cost["ci95"]
    kind = (found.get("intervals") or {}).get("kind", "worlds")
    within = "" if low is None else f" [{low:.5g}, {high:.5g}]"
    if tuned.kept is not None:
        say(f"{tuned.line()} (tuning.refresh=true tunes anew)")
    say(
        f"{found['rule']} on {found['scenario']}: cost per period {cost['mean']:.5g}{within} on {found['worlds']} fresh "
        f"world{'s' if found['worlds'] != 1 else ''}."
    )
    if kind == "none":
        say(f"No interval: {found['intervals']['about']}.")
    elif kind == "another_season":
        say(f"The interval is about {found['intervals']['about'].partition(';')[0]}.")
    given = "what usually suffices" if spent["given"] is None else f"{spent['given'] / 1e6:.3g} M given"
    say(
        f"Tuned by {found['method']}, candidates compared on {found['worlds_compared']} worlds: "
        f"{spent['env_periods'] / 1e6:.3g} M env-periods ({given}), {spent['seconds']:.0f} s; ended by {found['ended']}."
    )
    if not is_installed("torch") and not is_installed("jax"):
        say(f"Tuned without gradients: {missing_extra('torch', EXTRAS['torch'])}")
    if found["more_budget"]:
        say(found["more_budget"]["text"][:1].upper() + found["more_budget"]["text"][1:] + ".")
    if found["refits"]:
        refits = found["refits"]
        say(f"{len(refits['costs'])} fits, the best kept: their costs differ by {refits['spread_percent']:.2g} %.")
    rows = table_rows(found["parameters"])
    if rows:
        table("Parameters", ["parameter", "value"], rows)
    for target in found["targets"]:
        closest = target.get("missing_at_best")
        short = "" if closest is None else f" (the closest of all candidates missed {closest:.3g})"
        say(f"target {target['name']} {target['target']:g}: {target['mean']:.4g}, {target['status']}{short}")


def table_rows(parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The parameters, a row each; of kinds with more numbers than anybody reads only how many there are and how large."""
    rows = list(dotted(parameters))
    if len(rows) <= MOST_ROWS:
        return rows
    found: list[tuple[str, Any]] = []
    for name, values in parameters.items():
        own = list(dotted({name: values}))
        numbers = np.array(
            [value for _, value in own if isinstance(value, int | float) and not isinstance(value, bool)]
        )
        if len(own) <= FEW_ROWS or len(numbers) < len(own):
            found += own
        else:
            low, middle, high = (cell(float(one)) for one in np.quantile(numbers, (0, 0.5, 1), method="nearest"))
            found.append((name, f"{len(own):,} numbers from {low} to {high}, median {middle} (rule.yaml has all)"))
    return found


__all__ = ["Settings", "run", "table_rows"]
