"""Names of trained policies' files in a run folder, and the scenario within that a policy was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import InputError, warn
from echelongym.envs.recorded.cells import is_table
from echelongym.envs.scenario.scenario import Scenario

#: What a run folder of ``train`` holds its policy in.
POLICY_FILE = "policy.npz"


def scenario_within(data: Mapping[str, Any], scenario: Scenario, where: str, digest: str | None = None) -> Scenario:
    """The scenario that a policy file holds, with its records where ``scenario`` has them.

    A policy file does not say where the scenario lay that it was trained on, and a record may have been moved or renamed since.
    What its records held is known by the digest: of the files that lie where the policy's scenario would have them, those of
    the same name that ``scenario`` uses, and its only record, the first with that digest are meant. Where none has it, the
    record was changed since, which is said.

    Parameters
    ----------
    data
        The scenario as plain data.
    scenario
        The one that the policy is to run on.
    where
        Path of the policy file, put in front of errors.
    digest
        Of the scenario that the policy was trained on; left out: not known.

    Warns
    -----
    NetworkWarning
        If no record holds what the policy was trained on.

    Raises
    ------
    InputError
        If the data make no scenario, or a record lies in none of these places.
    """
    theirs, ours = _tables(dict(data)), _tables(scenario.to_dict())
    folder = Path(scenario.base_dir or ".")
    lies = {file: file for file in theirs if (folder / Path(file).expanduser()).is_file()}
    named = {file: other for file in theirs for other in ours if Path(file).name == Path(other).name}
    only = dict.fromkeys(theirs, ours[0]) if len(theirs) == len(ours) == 1 else {}
    places: list[dict[str, str]] = []
    for place in ({**named, **lies}, {**lies, **named}, only):
        if place not in places:
            places.append(place)
    found, failed = [], None
    for place in places:
        moved = {name: _moved(value, place) for name, value in data.items() if name in ("customers", "randomise")}
        try:
            made = Scenario.from_mapping({**data, **moved, "base_dir": scenario.base_dir}, where=where)
        except InputError as error:
            failed = failed or error
            continue
        if digest is None or not theirs or made.digest == digest:
            return made
        found.append(made)
    if not found:
        assert failed is not None
        raise failed
    said = "changed since the policy was trained: its scales and levels follow what is there now"
    warn(f"{where}: {', '.join(theirs)}: {said}")
    return found[0]


def _tables(data: Any) -> list[str]:
    """Every table of recorded demand that plain data name, once."""
    return list(dict.fromkeys(found["file"] for found in _records(data) if is_table(found["file"])))


def _records(data: Any) -> Iterator[dict[str, Any]]:
    """Everything that says ``kind: trace`` and names a file."""
    if isinstance(data, dict):
        if data.get("kind") == "trace" and isinstance(data.get("file"), str):
            yield data
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            yield from _records(item)


def _moved(value: Any, place: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_moved(item, place) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _moved(item, place) for key, item in value.items()}
    if found.get("kind") == "trace" and isinstance(found.get("file"), str):
        found["file"] = place.get(found["file"], found["file"])
    return found
