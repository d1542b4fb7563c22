"""Tapes as ``.npz`` files."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError, closest, expected, shorten
from ..core.typing import NumpyArray
from ..network.signature import NAMES
from ..storage.files import write_bytes
from ..storage.outside_files import Header, read_npz
from .drawn import KEYS
from .tape_arrays import ARRAYS, AXES, TapeArrays, compact, neutral

_COUNTS = ("no", "one", "two", "three", "four", "five")
_KEYS = (*ARRAYS, *NAMES, "history", "worlds", "connections", *KEYS)


def write_tape(tape: TapeArrays, path: Path) -> None:
    """Write a tape whole or not at all; arrays that are neutral everywhere are left out."""
    arrays: dict[str, NumpyArray] = {}
    for name in ARRAYS:
        array = getattr(tape, name)
        alike = array.size and (compact(array) == neutral(name, (1,) * array.ndim)).all()
        # `thin` and `forecast` are kept: how many there are of them only the scenario says.
        if name in ("demand", "thin", "forecast") or not alike:
            arrays[name] = array
    for key in NAMES:
        arrays[key] = np.array(getattr(tape, key), dtype=np.str_)
    arrays["history"] = np.array(tape.history, dtype=np.int64)
    arrays["worlds"] = np.array(tape.worlds, dtype=np.int64)
    if tape.connections is not None:
        arrays["connections"] = np.array(json.dumps(tape.connections), dtype=np.str_)
    if tape.drawn is not None:
        arrays |= tape.drawn.arrays()
    buffer = io.BytesIO()
    # The fastest compression already takes what repeats down to nothing.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            # A fixed date, so that equal tapes are equal files.
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)
    write_bytes(buffer.getvalue(), path)


def read_tape(path: Path) -> dict[str, NumpyArray]:
    """The arrays of a tape's file by name.

    Raises
    ------
    InputError
        If the file does not exist, is truncated or damaged, no ``.npz``, or holds other arrays or
        pickled objects.
    """
    where = str(path)
    arrays = read_npz(path, "tape", lambda headers: _check_headers(headers, where))
    for key in ("demand", *NAMES):
        if key not in arrays:
            raise InputError(f"{where}: {key}: expected this array, which has no default")
    return arrays


def _check_headers(headers: Mapping[str, Header], where: str) -> None:
    """Refuse what is no tape before any of its arrays is allocated."""
    for key, header in headers.items():
        if key not in _KEYS:
            raise InputError(
                f"{where}: unknown array {shorten(key, 60)}{closest(key, _KEYS)} (known: {', '.join(_KEYS)})"
            )
        axes = AXES[key].split() if key in AXES else []
        if axes and len(header.shape) != len(axes):
            hint = f"{_COUNTS[len(axes)]} axes: {', '.join(axes)}"
            raise expected(f"{key}.shape", header.shape, hint, where)
        if axes and header.dtype.kind not in "iuf":
            raise expected(f"{key}.dtype", str(header.dtype), "numbers", where)


def read_names(arrays: dict[str, Any], where: str) -> dict[str, tuple[str, ...]]:
    """The four tuples of names.

    Raises
    ------
    InputError
        If an array holds no names.
    """
    names = {}
    for key in NAMES:
        array = arrays[key]
        if array.ndim != 1 or (array.size and array.dtype.kind != "U"):
            raise expected(key, array.tolist(), "an array of names", where)
        names[key] = tuple(str(name) for name in array)
    return names


def read_connections(arrays: dict[str, Any], where: str) -> dict[str, Any] | None:
    """Connections of the tape's network (:mod:`.signature`); None where the file does not say.

    Raises
    ------
    InputError
        If it is not what a saved tape has there.
    """
    array = arrays.get("connections")
    if array is None:
        return None
    try:
        found = json.loads(str(array)) if array.ndim == 0 and array.dtype.kind == "U" else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not set(found) <= {"suppliers", "ends", "pairs", "carried"}:
        raise expected("connections", array.tolist(), "the text that a saved tape has there", where)
    return found
