"""Recorded files by name: a table beside the scenario, or one of the sources that come with the package."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..core.errors import expected
from .cells import is_table
from .completejourney import load_completejourney
from .reading import Dialect, read_table
from .record import RecordedSeries
from .synthetic import load_synthetic


def load_recorded(
    file: str, base_dir: str | Path = ".", where: str | None = None, dialect: Dialect | None = None
) -> RecordedSeries:
    """The recorded file of that name; read once a process, again if a table has changed.

    Parameters
    ----------
    file
        A path relative to ``base_dir``, ``completejourney:daily`` or ``synthetic:grocery?seed=1``.
    base_dir
        Folder of the scenario file.
    where
        Key of the scenario put in front of errors.
    dialect
        How a table is written, as far as the scenario says.

    Raises
    ------
    InputError
        Naming ``file`` and what was expected, or line and column of a bad cell.
    MissingExtra
        If the package behind ``completejourney:``, Excel or Parquet is not installed.
    """
    kind, colon, rest = file.partition(":")
    if colon and kind == "completejourney":
        return load_completejourney(rest, where)
    if colon and kind == "synthetic":
        return load_synthetic(rest, where)
    if not is_table(file) or "\0" in file:
        known = "the path of a .csv table, completejourney:daily or synthetic:grocery?seed=1"
        raise expected("file", file, f"{known} (or .csv.gz, .xlsx, .parquet)", where)
    try:
        path = Path(base_dir) / Path(file).expanduser()
        stamp = path.stat()
    except (OSError, ValueError, RuntimeError):  # no such file, no such name, no such user
        raise expected("file", file, f"a table that exists in {base_dir}", where) from None
    if not path.is_file():
        raise expected("file", file, "a file", where)
    return read_table(path.resolve(), file, (stamp.st_mtime_ns, stamp.st_size), dialect or Dialect())


def content_of(file: str, base_dir: str | Path = ".") -> str:
    """Identity of a recorded file: the SHA-256 of a table, wherever it lies; else the name of the source.

    A table that cannot be read is known by its name alone.
    """
    if not is_table(file) or "\0" in file:
        return file
    try:
        path = (Path(base_dir) / Path(file).expanduser()).resolve()
        stamp = path.stat()
        return _sha256(path, stamp.st_mtime_ns, stamp.st_size)
    except (OSError, ValueError, RuntimeError):
        return file


@lru_cache(maxsize=256)
def _sha256(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def by_content(data: Any, base_dir: str | Path = ".") -> Any:
    """A scenario's plain data in which recorded files are known by what they hold (:func:`content_of`)."""
    if isinstance(data, list):
        return [by_content(item, base_dir) for item in data]
    if not isinstance(data, dict):
        return data
    found = {key: by_content(item, base_dir) for key, item in data.items()}
    if found.get("kind") == "trace" and isinstance(found.get("file"), str):
        found["file"] = content_of(found["file"], base_dir)
    return found
