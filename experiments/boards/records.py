"""Records: what published instances come to here, as numbers with date, commit, command, budget and seeds."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from echelongym.envs.core.errors import InputError
from echelongym.envs.core.validation import Config, Count, Flag, NonNegative, number, validate

from ..runs.sources import tree
from .entries import BoardEntry, Rerun

SCHEMA = 1
LEDGER = "boards.json"
_Number = number(low=-1e15)


class OwnRecord(Config):
    """What one run came to; ``value`` is None, and ``error`` says why, where it could not be run."""

    instance: str
    """Name of the instance."""
    name: str
    """The published number that is re-run, or the name of our own run."""
    digest: str
    """Of scenario, protocol and what is run: another one, and the record is of another instance."""
    value: float | None
    """In the units of the protocol."""
    low: float | None
    """Lower end of the 95 % interval; equal to the value where that is exact."""
    high: float | None
    """Upper end."""
    exact: Flag
    """Whether the value is exact rather than the mean of simulated worlds."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Of the rule that was run."""
    error: str = ""
    """Why there is no value."""
    cpu_seconds: NonNegative
    """That finding it took: tuning, training, solving; measured, evaluation included."""
    budget: NonNegative | None = None
    """CPU-seconds that a training was given."""
    seeds: tuple[Count, ...] = ()
    """Training seeds."""
    worlds: Count | None = None
    """Worlds that were simulated; None where the value is exact."""
    date: str
    """Day, in universal time."""
    commit: str
    """Of the source that was run, with ``+`` where it had been changed since; empty where there is no repository."""
    source: str
    """Digest of that source."""
    command: str
    """That runs it again."""

    @model_validator(mode="after")
    def _check(self) -> OwnRecord:
        if (self.value is None) != bool(self.error):
            raise ValueError(f"value = {self.value}, error = {self.error!r}: expected one of them")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of the interval; the value itself where there is none."""
        assert self.value is not None
        low = self.value if self.low is None else self.low
        return low, self.value if self.high is None else self.high


Records = dict[tuple[str, str], OwnRecord]


def made(entry: BoardEntry, name: str, rerun: Rerun, found: Mapping[str, Any], command: str) -> OwnRecord:
    """The record of a run: what was found, and when, by which source and command."""
    return OwnRecord(
        instance=entry.name,
        name=name,
        digest=entry.digest(name),
        seeds=rerun.seeds if rerun.how == "trained" else (),
        budget=rerun.cpu_seconds if rerun.how == "trained" else None,
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        commit=commit(),
        source=tree(),
        command=command,
        **found,
    )


def commit() -> str:
    """Commit of the source at work, with ``+`` where files it knows have been changed; empty where git does not say."""
    folder = os.path.dirname(os.path.realpath(__file__))

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout.strip()

    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        top = git("rev-parse", "--show-toplevel")
        changed = git("-C", top, "status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.yaml")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    return ""


def read(folder: Path) -> Records:
    """Records of the ledger in a folder; none where there is no ledger.

    Raises
    ------
    InputError
        If the file is no ledger.
    """
    path = folder / LEDGER
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = data["records"] if data["schema"] == SCHEMA else None
    except (OSError, ValueError, KeyError, TypeError):
        rows = None
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a ledger, as `echelongym board` writes")
    found = [validate(OwnRecord, row, f"{path}: records.{place}") for place, row in enumerate(rows)]
    return {(one.instance, one.name): one for one in found}


def valid(entries: Iterable[BoardEntry], records: Mapping[tuple[str, str], OwnRecord]) -> Records:
    """Those records that are of the entries as they stand now, in their order."""
    found = {}
    for entry in entries:
        for name in entry.reruns:
            record = records.get((entry.name, name))
            if record is not None and record.digest == entry.digest(name):
                found[entry.name, name] = record
    return found


def document(records: Records, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ledger as it is written: records, and what they say of each published number."""
    return {
        "schema": SCHEMA,
        "records": [one.model_dump(mode="json") for one in records.values()],
        "ledger": list(lines),
    }


__all__ = ["LEDGER", "OwnRecord", "Records", "commit", "document", "made", "read", "valid"]
