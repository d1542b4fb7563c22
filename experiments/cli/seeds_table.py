"""Table of a sweep of trainings, and the command that compares them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from echelongym.envs.scenario.scenario import Scenario

from ..runs.folders import scenario_argument, shown
from ..statistics import cost_interval
from .settings import USUAL_RULE
from .terminal import say, table, typed


def show_seeds(folders: Sequence[Path]) -> None:
    """Print a row a training; over those that differ in their seed alone, their mean and what to type next."""
    found = {folder: json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in folders}
    rows = []
    for folder, one in found.items():
        percent = (one["versus"].get("difference_percent") or {}).get("mean")
        cost = one["best"]["cost_per_period"]["mean"]
        rows.append([folder.name, one["agent"], one["seed"], one["env_steps"], cost, percent])
    reference = next(iter(found.values()))["reference"]
    name = reference.get("name") or reference.get("label") or "the reference"
    alike = len({(one["digest"], one["agent"]) for one in found.values()}) == 1
    notes = ["each on its validation worlds; benchmark compares them on others"]
    if alike:
        over = cost_interval(np.array([row[4] for row in rows], dtype=float))
        notes.insert(
            0, f"mean over {len(rows)} trainings {over.mean:.4g} [{over.low:.4g}, {over.high:.4g}] (t interval)"
        )
    say("")
    table("All trainings", ["run", "agent", "seed", "env-steps", "cost", f"% vs {name}"], rows, notes)
    if alike:
        scenario = Scenario.load(folders[0] / "scenario.yaml")
        seeds = ",".join(shown(folder) for folder in folders)
        policies = f"[{USUAL_RULE},[{seeds}]]"
        say(f"Next:    {typed('benchmark', scenario=scenario_argument(scenario, folders[0]), policies=policies)}")


__all__ = ["show_seeds"]
