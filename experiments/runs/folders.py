"""Run folders: what a command leaves behind, written whole or not at all.

``runs/COMMAND/SCENARIO/TIME`` (the key ``run`` names another) holds ``config.yaml`` (resolved), ``scenario.yaml``,
``summary.json``, CSV tables and pictures. A command works in a hidden folder beside it, which takes the run
folder's place only when everything is written (:mod:`.claims`).
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import expected
from echelongym.envs.scenario.scenario import Scenario, shipped_scenarios
from echelongym.envs.storage.files import make_folder, write_text, write_yaml

from .claims import claimed, current


class RunFolder:
    """A folder being filled; ``path`` is where to write now."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def json(self, name: str, data: Any) -> None:
        """Write plain data as JSON; what is no finite number becomes null."""
        write_text(json.dumps(_jsonable(data), indent=2, allow_nan=False) + "\n", self.path / name)

    def csv(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows, which all have the keys of the first, as a CSV table."""
        write_csv(self.path / name, rows)


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, which all have the keys of the first, as a CSV table; floats with ten digits."""
    text = io.StringIO()
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({key: f"{item:.10g}" if isinstance(item, float) else item for key, item in row.items()})
    write_text(text.getvalue(), path)


def check_free(folder: Path) -> None:
    """Refuse a folder that holds results already, before any work is done.

    Raises
    ------
    InputError
        If it exists and is not empty, or is a file.
    """
    if current(folder) is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise expected("run", shown(folder), "a folder that is new or empty")


@contextlib.contextmanager
def run_folder(folder: Path, config: Mapping[str, Any], scenario: Scenario | None = None) -> Iterator[RunFolder]:
    """Fill a run folder: ``config.yaml`` and ``scenario.yaml`` are written here, the rest by the caller.

    If the body raises, nothing is left behind but what a later run may take up. If another run has filled the folder
    meanwhile, this one goes beside it, as ``NAME-2``: work that is done is never lost.
    """
    held = current(folder)
    with contextlib.nullcontext(held) if held is not None else claimed(folder, config, named=False) as claim:
        make_folder(claim.results)
        run = RunFolder(claim.results)
        write_yaml(_jsonable(config), run / "config.yaml")
        if scenario is not None:
            write_yaml(portable(scenario), run / "scenario.yaml")
        yield run
        run.path = claim.finish()


def prune(folder: Path) -> None:
    """Remove a run folder that stayed empty, and the folders above it that it was alone in."""
    for path in (folder, *folder.parents[:3]):
        if path == Path.cwd():
            return
        try:
            path.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return


def shown(path: Path) -> str:
    """A path as a user would type it: relative to where they are, if it lies below."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _jsonable(data: Any) -> Any:
    """Plain data of numbers, text, lists and mappings; NumPy's included."""
    if isinstance(data, Mapping):
        return {str(key): _jsonable(item) for key, item in data.items()}
    if isinstance(data, list | tuple):
        return [_jsonable(item) for item in data]
    if hasattr(data, "tolist"):
        return _jsonable(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def portable(scenario: Scenario) -> dict[str, Any]:
    """A scenario as plain data that can be read back from any folder: paths of recorded demand become absolute."""

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: moved(item) for key, item in value.items()}
        file = Path(scenario.base_dir or ".") / Path(str(found.get("file", ""))).expanduser()
        return {**found, "file": str(file.resolve())} if "file" in found and file.is_file() else found

    data = scenario.to_dict()
    for customer in data["customers"].values():
        customer["demand"] = moved(customer["demand"])
    if "randomise" in data:
        data["randomise"] = moved(data["randomise"])
    return data


def scenario_argument(scenario: Scenario, folder: Path) -> str:
    """Value of ``scenario=`` that means this one: its name if it is as shipped, else the file in a run folder."""
    if scenario.name in shipped_scenarios() and Scenario.load(scenario.name).digest == scenario.digest:
        return scenario.name
    return shown(folder / "scenario.yaml")
