"""Journal of finished steps, so that work that was killed goes on where it stopped.

Long work is a sequence of steps, each a function of plain inputs: what a candidate costs, what a chunk of worlds gave.
While a journal is active (:func:`recording`), :func:`step` writes what each step gave as soon as it is done, under a digest
of its inputs; the same work, begun again with the same journal, takes from it what is there and computes the rest. As a
step is a function of its inputs alone, the result is the same to the bit. Without a journal steps are merely computed.

A step may have steps of its own: they are there to be taken up until it is finished, then its own value stands for them.

A journal is a folder of text files, one or more for each process that wrote to it. A line is a checksum, the digest of the
inputs, and the value as JSON; a line that is cut off or altered is as good as none. Nothing in it is ever executed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .files import make_folder

T = TypeVar("T")
_SUFFIX, _STATE = ".steps", ".state"
_ARRAY = "~array"
_active: Journal | None = None


class Journal:
    """Finished steps in a folder; several processes may write to it at once.

    Parameters
    ----------
    folder
        Made if it is not there; what its files hold is known from now on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved_seconds = 0.0  # that steps found here had taken
        self._known: dict[str, str] = {}
        # Files written to: of steps, of steps within the one at work, and so on.
        self._streams: list[tuple[int, Path] | None] = [None]
        make_folder(folder)
        for path in sorted((*folder.glob(f"*{_SUFFIX}"), *folder.glob(f"*{_STATE}"))):
            with contextlib.suppress(OSError):
                self._read(path.read_bytes())

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> tuple[Any, float] | None:
        """Value and seconds of a finished step; None if there is none."""
        text = self._known.get(key)
        if text is None:
            return None
        found = json.loads(text)
        return _decoded(found["value"]), float(found["seconds"])

    def put(self, key: str, value: Any, seconds: float) -> None:
        """Keep what a step gave; a disk that is full costs the journal, not the work."""
        text = json.dumps({"seconds": round(seconds, 3), "value": _encoded(value)}, separators=(",", ":"))
        if len(self._streams) == 1:
            self._known[key] = text
        line = f"{key} {text}"
        with contextlib.suppress(OSError):
            stream = self._streams[-1]
            if stream is None:
                path = self.folder / f"{os.getpid()}-{time.time_ns()}{_SUFFIX}"
                stream = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), path
                self._streams[-1] = stream
            os.write(stream[0], f"{_checksum(line)} {line}\n".encode())

    def step(self, key: str, compute: Callable[[], T]) -> T:
        """Compute and keep a step; what was kept of steps within it goes once it is finished."""
        started = time.perf_counter()
        self._streams.append(None)
        try:
            value = compute()
            within = self._streams[-1]
        finally:
            self._end(self._streams.pop())
        self.put(key, value, time.perf_counter() - started)
        if within is not None:
            with contextlib.suppress(OSError):
                within[1].unlink()
        return value

    def replace(self, key: str, value: Any) -> None:
        """Keep a value in place of the one that this key had."""
        text = json.dumps({"seconds": 0.0, "value": _encoded(value)}, separators=(",", ":"))
        self._known[key] = text
        line, made = f"{key} {text}", self.folder / f"{key}-{os.getpid()}.new"
        with contextlib.suppress(OSError):
            made.write_bytes(f"{_checksum(line)} {line}\n".encode())
            os.replace(made, self.folder / f"{key}{_STATE}")

    def close(self) -> None:
        """Close the file that is written to."""
        self._end(self._streams[0])
        self._streams[0] = None

    def _end(self, stream: tuple[int, Path] | None) -> None:
        if stream is not None:
            os.close(stream[0])

    def _read(self, content: bytes) -> None:
        for raw in content.split(b"\n"):
            checksum, _, line = raw.decode("utf-8", errors="replace").partition(" ")
            if line and checksum == _checksum(line):
                key, _, text = line.partition(" ")
                self._known[key] = text


def step(name: str, inputs: Any, compute: Callable[[], T]) -> T:
    """Value of ``compute``: taken from the active journal where the same step is finished, else computed and kept.

    Parameters
    ----------
    name
        Of the kind of step.
    inputs
        All that the value depends on: numbers, text, None, arrays, and lists, tuples and mappings of them.
    compute
        Gives a value of the same kinds; tuples come back as lists.
    """
    journal = _active
    if journal is None:
        return compute()
    key = fingerprint((name, inputs))
    found = journal.get(key)
    if found is not None:
        value: T = found[0]
        journal.saved_seconds += found[1]
        return value
    return journal.step(key, compute)


def known(name: str, inputs: Any) -> Any:
    """The value of a finished step in the active journal; None where there is none."""
    found = None if _active is None else _active.get(fingerprint((name, inputs)))
    return None if found is None else found[0]


def note(name: str, inputs: Any, value: Any, last: bool = True) -> None:
    """Keep a value as that of a step, in the active journal if there is one.

    ``last``: whether it is the step's value for good; else a later one takes its place.
    """
    if _active is not None:
        key = fingerprint((name, inputs))
        if last:
            _active.put(key, value, 0.0)
        else:
            _active.replace(key, value)


def saved_seconds() -> float:
    """Seconds that the steps taken from the active journal so far had taken when they were computed."""
    return 0.0 if _active is None else _active.saved_seconds


def active() -> Journal | None:
    """The journal that steps are kept in, if any."""
    return _active


def begin(journal: Journal) -> None:
    """Keep steps in this journal from now on."""
    global _active
    _active = journal


@contextlib.contextmanager
def recording(journal: Journal | None) -> Iterator[None]:
    """Keep steps in this journal for a while; None: in none."""
    global _active
    before, _active = _active, journal
    try:
        yield
    finally:
        _active = before
        if journal is not None:
            journal.close()


def fingerprint(value: Any) -> str:
    """SHA-256 of plain data and arrays, 40 hexadecimal digits: equal only for what is equal to the bit."""
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()[:40]


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        found.update(f"array {value.dtype.str} {value.shape} ".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        found.update(f"mapping {len(value)} ".encode())
        for key in sorted(value, key=str):
            _feed(found, str(key))
            _feed(found, value[key])
    elif isinstance(value, list | tuple):
        found.update(f"list {len(value)} ".encode())
        for item in value:
            _feed(found, item)
    elif isinstance(value, bytes):
        found.update(f"bytes {len(value)} ".encode() + value)
    else:
        value = value.item() if isinstance(value, np.generic) else value
        text = repr(value).encode()
        found.update(f"{type(value).__name__} {len(text)} ".encode() + text)


def _checksum(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:16]


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        content = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {_ARRAY: [value.dtype.str, list(value.shape), content]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            kind, shape, content = value[_ARRAY]
            return np.frombuffer(base64.b64decode(content), dtype=np.dtype(kind)).reshape(shape).copy()
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value
