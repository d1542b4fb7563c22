"""Table and picture of several trainings: a row for every combination of settings, over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echelongym.envs.scenario.scenario import Scenario

from ..cli.settings import USUAL_RULE
from ..cli.terminal import can_draw, cell, say, table, typed
from ..figures.learning import LearningLine, Panel, learning_curves
from ..runs.folders import RunFolder, scenario_argument, shown
from .baselines import LowerBound
from .run_records import TrainingRecord, varied

TABLE, RECORDS, PICTURE = "trainings.csv", "trainings.json", "learning.png"
_COST = "cost per period"


@dataclass(frozen=True, eq=False)
class Combination:
    """Finished trainings that differ in their seed alone; ``settings``: what sets them apart from the others."""

    settings: Mapping[str, Any]
    trainings: Sequence[TrainingRecord]

    def row(self) -> dict[str, Any]:
        """Figures over its seeds; every cost is that of the best policy, on the validation worlds it was chosen on."""
        summaries = [one.summary or {} for one in self.trainings]
        costs = [float(one["best"]["cost_per_period"]["mean"]) for one in summaries]
        percents = [(one["versus"].get("difference_percent") or {}).get("mean") for one in summaries]
        known = [float(one) for one in percents if one is not None]
        return {
            "seeds": [one.seed for one in self.trainings],
            "cost_mean": sum(costs) / len(costs),
            "cost_lowest": min(costs),
            "cost_highest": max(costs),
            "percent_of_reference": sum(known) / len(known) if len(known) == len(percents) else None,
            "reference": reference_name(summaries[0]),
            "cpu_seconds": sum(float(one["cpu_seconds"]) for one in summaries) / len(summaries),
            "env_steps": sum(int(one["env_steps"]) for one in summaries) / len(summaries),
        }


def combinations(trainings: Sequence[TrainingRecord]) -> list[Combination]:
    """Finished trainings by what varies between them, the seed left out, in their order; failed ones are left out."""
    settings = varied([one.config for one in trainings])
    groups: dict[str, tuple[dict[str, Any], list[TrainingRecord]]] = {}
    for found, one in zip(settings, trainings, strict=True):
        if one.summary is not None:
            groups.setdefault(repr(found), (found, []))[1].append(one)
    return [Combination(found, sorted(members, key=lambda one: _order(one.seed))) for found, members in groups.values()]


def _order(seed: Any) -> int:
    return seed if isinstance(seed, int) else 0


def reference_name(summary: Mapping[str, Any]) -> str:
    """Name of what costs are shown against, and how it got its levels."""
    found = summary["reference"]
    name = str(found.get("name") or found.get("label") or "the reference")
    return f"tuned {name}" if found.get("how") == "tuned" else f"{name}, automatic levels"


def show_trainings(
    trainings: Sequence[TrainingRecord],
    folder: RunFolder,
    picture: str = PICTURE,
    more: Mapping[str, float] | None = None,
) -> list[str]:
    """Print the table, write it and draw the picture into a folder; names of the files.

    Parameters
    ----------
    picture
        Name of its file.
    more
        Costs of further policies in the validation worlds, by name.
    """
    rows = combinations(trainings)
    _print(trainings, rows)
    written = _write(trainings, rows, folder)
    if rows and can_draw():
        learning_curves(folder / picture, panels(rows, more))
        written.append(picture)
    return written


def next_line(trainings: Sequence[TrainingRecord]) -> str | None:
    """The command that compares them on other worlds; None where they are of several scenarios, or none is finished."""
    rows = combinations(trainings)
    if len({(one.summary or {})["digest"] for row in rows for one in row.trainings}) != 1:
        return None
    folder = rows[0].trainings[0].folder
    scenario = Scenario.load(folder / "scenario.yaml")
    groups = [",".join(shown(one.folder) for one in row.trainings) for row in rows]
    policies = ",".join(f"[{group}]" if "," in group else group for group in groups)
    return typed("benchmark", scenario=scenario_argument(scenario, folder), policies=f"[{USUAL_RULE},{policies}]")


def _print(trainings: Sequence[TrainingRecord], rows: Sequence[Combination]) -> None:
    failures = [
        (found, one)
        for found, one in zip(varied([one.config for one in trainings]), trainings, strict=True)
        if one.failure is not None
    ]
    keys = list(rows[0].settings) if rows else list(failures[0][0])
    found = [row.row() for row in rows]
    names = {one["reference"] for one in found}
    against = f"% vs {names.pop()}" if len(names) == 1 else "% vs reference"
    body = [
        [
            *(cell(row.settings[key]) for key in keys),
            ", ".join(map(str, one["seeds"])),
            one["cost_mean"],
            one["cost_lowest"],
            one["cost_highest"],
            one["percent_of_reference"],
            one["cpu_seconds"],
        ]
        for row, one in zip(rows, found, strict=True)
    ]
    body += [[*(cell(one[key]) for key in keys), f"{run.seed}: failed", *[None] * 5] for one, run in failures]
    notes = [f"{shown(run.folder)}: failed: {run.failure}" for _, run in failures]
    if rows:
        notes.append(
            "cost: mean, lowest and highest over seeds of the best policy's, each a mean over validation worlds;"
        )
        notes.append("the policy was chosen on these worlds: benchmark compares on others, with intervals over seeds")
        notes.append("CPU-seconds: mean of one training, without those of tuning the reference")
    apart = sum((one.summary or {})["versus"].get("comparable") is False for row in rows for one in row.trainings)
    if apart:
        count = sum(len(row.trainings) for row in rows)
        notes.append(
            f"{apart} of {count} serve otherwise than the reference, or a target is missed: no saving at equal service"
        )
    bounds = {bound.label for row in rows for bound in [bound_of(row.trainings[0])] if bound is not None}
    notes += [f"lower bound on the cost of any policy: {bound}" for bound in bounds] if len(bounds) == 1 else []
    say("")
    title = "All trainings" if not failures else f"All trainings ({len(failures)} of {len(trainings)} failed)"
    table(title, [*keys, "seeds", "cost", "lowest", "highest", against, "CPU-seconds"], body, notes)


def bound_of(training: TrainingRecord) -> LowerBound | None:
    """The bound that a training was shown against, if any."""
    found = (training.summary or {}).get("bound")
    if found is None:
        return None
    return LowerBound(
        found["kind"],
        float(found["cost_per_period"]),
        found["method"],
        found.get("worlds"),
        found.get("in_validation_worlds"),
    )


def _write(trainings: Sequence[TrainingRecord], rows: Sequence[Combination], folder: RunFolder) -> list[str]:
    """The table as CSV, and as JSON with every training that is in it."""
    found = [(row.settings, row.row()) for row in rows]
    runs = [
        {
            "folder": one.folder.name,
            "settings": settings,
            "seed": one.seed,
            "failure": one.failure,
            "cost": None if one.summary is None else one.summary["best"]["cost_per_period"]["mean"],
            "cpu_seconds": None if one.summary is None else one.summary["cpu_seconds"],
        }
        for settings, one in zip(varied([one.config for one in trainings]), trainings, strict=True)
    ]
    folder.json(
        RECORDS,
        {
            "schema": 1,
            "spread": "lowest and highest over seeds",
            "rows": [{"settings": one, **row} for one, row in found],
            "trainings": runs,
        },
    )
    lines = [
        {**{key: cell(value) for key, value in one.items()}, **row, "seeds": " ".join(map(str, row["seeds"]))}
        for one, row in found
    ]
    lines = [{**line, "failure": None} for line in lines]
    empty = dict.fromkeys(lines[0]) if lines else dict.fromkeys(["seeds", "failure"])
    for run in runs:
        if run["failure"] is not None:
            values = {key: cell(value) for key, value in run["settings"].items()}
            lines.append({**empty, **values, "seeds": str(run["seed"]), "failure": run["failure"]})
    folder.csv(TABLE, lines)
    return [TABLE, RECORDS]


def panels(rows: Sequence[Combination], more: Mapping[str, float] | None = None) -> list[Panel]:
    """What is to be drawn: a panel for each scenario and its validation worlds; ``more``: further costs in them."""
    groups: dict[str, list[Combination]] = {}
    for row in rows:
        summary = row.trainings[0].summary or {}
        groups.setdefault(repr((summary["digest"], summary["validation"])), []).append(row)
    return [_panel(members, len(groups) > 1, more or {}) for members in groups.values()]


def _panel(rows: Sequence[Combination], several: bool, more: Mapping[str, float]) -> Panel:
    first = rows[0].trainings[0]
    summary = first.summary or {}
    levels: dict[str, float] = {}
    for one in (training.summary or {} for row in rows for training in row.trainings):
        cost = float(one["reference"]["cost_per_period"]["mean"])
        spent = (one["reference"].get("tuning") or {}).get("cpu_seconds")
        took = "" if not spent else f", tuned in {cell(float(spent))} CPU-seconds"
        if cost not in levels.values():
            levels[f"{reference_name(one)}: {cell(cost)}{took}"] = cost
    levels |= {f"{name}: {cell(cost)}": cost for name, cost in more.items()}
    bound = bound_of(first)
    drawn = None if bound is None else (f"bound: {bound.label}", bound.cost if bound.here is None else bound.here)
    title = str(summary["scenario"])
    if several:
        title += "".join(
            f", {key} {cell(value)}"
            for key, value in rows[0].settings.items()
            if key.startswith(("scenario.", "validation."))
        )
    lines = [
        LearningLine(_name(row, several), [one.curve for one in row.trainings if one.curve is not None]) for row in rows
    ]
    worlds = summary["validation"]["worlds"]
    axis = f"{summary.get('minimised', _COST)}, best policy so far\nin {worlds} validation worlds"
    return Panel(title, axis, lines, levels, drawn)


def _name(row: Combination, several: bool) -> str:
    """Name of a line: the learner, and what else sets it apart from the others of its panel."""
    settings = {key: value for key, value in row.settings.items() if key != "agent"}
    if several:
        settings = {key: value for key, value in settings.items() if not key.startswith(("scenario", "validation."))}
    parts = [str((row.trainings[0].summary or {})["agent"])]
    parts += [f"{key.removeprefix('agent.')} {cell(value)}" for key, value in settings.items()]
    return ", ".join(parts)


__all__ = ["PICTURE", "Combination", "combinations", "next_line", "panels", "reference_name", "show_trainings"]
