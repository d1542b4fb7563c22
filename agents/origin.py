"""Origin: the scenario that a policy file holds, the one its policy was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echelongym.envs.scenario.scenario import Scenario


def scenario_within(data: Mapping[str, Any], scenario: Scenario, where: str) -> Scenario:
    """The scenario that a policy file holds, with its records where ``scenario`` has them.

    A policy file does not say where the scenario lay that it was trained on. The copy of a scenario in a run folder names
    records by their whole paths, the scenario itself by paths beside it: a record that does not lie where the policy's
    scenario would have it is the one of the same file name that ``scenario`` uses.

    Parameters
    ----------
    data
        The scenario as plain data.
    scenario
        The one that the policy is to run on.
    where
        Path of the policy file, put in front of errors.

    Raises
    ------
    InputError
        If the data make no scenario, or a record lies in neither place.
    """
    folder = Path(scenario.base_dir or ".")
    known = {Path(found["file"]).name: found["file"] for found in _records(scenario.to_dict())}
    moved = {name: _moved(value, folder, known) for name, value in data.items() if name in ("customers", "randomise")}
    return Scenario.from_mapping({**data, **moved, "base_dir": scenario.base_dir}, where=where)


def _records(data: Any) -> Iterator[dict[str, Any]]:
    """Everything that says ``kind: trace`` and names a file."""
    if isinstance(data, dict):
        if data.get("kind") == "trace" and isinstance(data.get("file"), str):
            yield data
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            yield from _records(item)


def _moved(value: Any, folder: Path, known: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_moved(item, folder, known) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _moved(item, folder, known) for key, item in value.items()}
    file = found.get("file")
    if found.get("kind") == "trace" and isinstance(file, str) and not (folder / Path(file).expanduser()).is_file():
        found["file"] = known.get(Path(file).name, file)
    return found
