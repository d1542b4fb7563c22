"""Records of trainings, read from their run folders, and what varies between them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from echelongym.agents.learners import label
from echelongym.envs.core.errors import InputError, expected, printable
from echelongym.envs.storage.files import read_yaml

from ..figures.learning import LearningCurve
from ..runs.claims import NEUTRAL
from ..runs.folders import shown

SUMMARY, CURVE, CONFIG = "summary.json", "progress.csv", "config.yaml"
#: Settings that change no result of a training, or are told apart in another way.
_ASIDE = {*NEUTRAL, "seed", "scenario.base_dir", "checkpoint_seconds", "progress", "tuning.cache", "tuning.refresh"}


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """One training: its settings, and either what it found or why it failed.

    Attributes
    ----------
    summary, curve
        Content of ``summary.json``, and the best cost so far by CPU-second; None where it failed.
    failure
        One line; None where it did not fail.
    """

    folder: Path
    config: Mapping[str, Any]
    summary: Mapping[str, Any] | None = None
    curve: LearningCurve | None = None
    failure: str | None = None

    @property
    def seed(self) -> Any:
        """Seed of the training."""
        return self.config.get("seed")


def finished(folder: Path, config: Mapping[str, Any] | None = None) -> TrainingRecord:
    """The training in a run folder; ``config``: its settings, where they are known already.

    Raises
    ------
    InputError
        If it is no run folder of a finished training.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        with (folder / CURVE).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        summary["best"]["cost_per_period"]["mean"], summary["reference"], summary["validation"]
        curve = curve_of(rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise expected("trainings", shown(folder), "the run folder of a finished training") from error
    return TrainingRecord(folder, read_yaml(folder / CONFIG) if config is None else config, summary, curve)


def curve_of(rows: Sequence[Mapping[str, Any]]) -> LearningCurve:
    """Best cost so far by CPU-second, from the rows of ``progress.csv``."""
    seconds, costs = (np.array([float(row[key]) for row in rows]) for key in ("cpu_seconds", "best_cost_per_period"))
    return LearningCurve(seconds, costs)


def failed(folder: Path, config: Mapping[str, Any], error: Exception) -> TrainingRecord:
    """A training that failed; ``error`` says why."""
    return TrainingRecord(folder, config, failure=printable(str(error)).partition("\n")[0])


def found_in(folders: Sequence[str]) -> list[TrainingRecord]:
    """Finished trainings in run folders, and in folders of sweeps, each once.

    Raises
    ------
    InputError
        If a folder holds none.
    """
    found: dict[Path, TrainingRecord] = {}
    for name in folders:
        folder = Path(name).expanduser()
        inside = [folder] if (folder / CURVE).is_file() else sorted(path.parent for path in folder.glob(f"*/{CURVE}"))
        inside = [path for path in inside if (path / SUMMARY).is_file()]
        if not inside:
            raise expected("trainings", name, "the run folder of a finished training, or the folder of a sweep (-m)")
        for path in inside:
            found.setdefault(path.resolve(), finished(path))
    return list(found.values())


def varied(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each config the settings that differ between them, the seed left out, by dotted key.

    A learner and a scenario that differ stand for all that is in them: ``agent`` and ``scenario`` are names then, and
    only what differs under one name has a key of its own.
    """
    flats = [{key: value for key, value in _flat(config) if not _aside(key)} for config in configs]
    names = {
        "agent": [_agent(config) for config in configs],
        "scenario": [str((config.get("scenario") or {}).get("name")) for config in configs],
    }
    keys = [section for section, found in names.items() if len(set(found)) > 1]
    for key in dict.fromkeys(key for flat in flats for key in flat):
        section = key.partition(".")[0]
        if key in ("agent.kind", "agent.network", "scenario.name"):
            continue
        groups: dict[str, set[str]] = {}
        for name, flat in zip(names.get(section, [""] * len(flats)), flats, strict=True):
            groups.setdefault(name, set()).add(repr(flat.get(key)))
        if any(len(values) > 1 for values in groups.values()):
            keys.append(key)
    return [
        {key: names[key][place] if key in names else flat.get(key) for key in keys} for place, flat in enumerate(flats)
    ]


def _aside(key: str) -> bool:
    return key in _ASIDE or key.partition(".")[0] in _ASIDE


def _flat(data: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Values of nested settings by dotted key; a list is one value."""
    if not isinstance(data, Mapping) or not data:
        return [(prefix.rstrip("."), data)]
    return [pair for key, value in data.items() for pair in _flat(value, f"{prefix}{key}.")]


def _agent(config: Mapping[str, Any]) -> str:
    try:
        return label(SimpleNamespace(**config["agent"]))
    except (KeyError, TypeError, AttributeError, InputError):
        return "?"


__all__ = ["TrainingRecord", "curve_of", "failed", "finished", "found_in", "varied"]
