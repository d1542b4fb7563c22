"""Checkpoint files: written whole or not at all, the newest found, none of it pickled code.

Torch reads them with ``weights_only=True``: tensors and plain data, nothing that can run.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from echelongym.envs.core.errors import InputError, expected, shorten
from echelongym.envs.storage.files import write_bytes
from echelongym.envs.storage.outside_files import check_members, regular_file

_PATTERN = "checkpoint_*.pt"
_NAMED = re.compile(r"checkpoint_\d+-([0-9a-f]{16})\.pt")
T = TypeVar("T")


def write_checkpoint(folder: Path, env_steps: int, content: dict[str, Any]) -> Path:
    """Write ``checkpoint_<env-steps>-<digest of the content>.pt``, then delete all but this and the one before."""
    stream = io.BytesIO()
    torch.save(content, stream)
    path = folder / f"checkpoint_{env_steps:012d}-{_digest(stream.getvalue())}.pt"
    write_bytes(stream.getvalue(), path)
    for old in sorted(folder.glob(_PATTERN))[:-2]:
        old.unlink()
    return path


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def read_checkpoint(path: Path, understood: Callable[[dict[str, Any]], T]) -> T:
    """Content of one checkpoint, as ``understood`` interprets it.

    Raises
    ------
    InputError
        If it is none, or damaged; or whatever ``understood`` refuses.
    """
    try:
        _check_archive(path)
        raw = regular_file(path, "checkpoint").read_bytes()
        if (named := _NAMED.fullmatch(path.name)) and named[1] != _digest(raw):
            raise InputError(f"{path}: is no checkpoint, or a damaged one: its content is not what its name says")
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
            raise expected("(file)", content, "a checkpoint, a mapping by name", str(path))
        return understood(content)
    except InputError:
        raise
    except (
        OSError,
        RuntimeError,
        ValueError,
        AttributeError,
        TypeError,
        EOFError,
        LookupError,
        ArithmeticError,
        MemoryError,
        RecursionError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        raise InputError(f"{path}: is no checkpoint, or a damaged one: {shorten(str(error))}") from None


def _check_archive(path: Path) -> None:
    """Refuse an archive that inflates beyond what its size allows; torch stores tensors as they are."""
    path = regular_file(path, "checkpoint")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: is no checkpoint, or a damaged one: expected an archive that torch wrote")
    with zipfile.ZipFile(path) as archive:
        check_members(archive, str(path))


def newest_checkpoint(folder: Path, load: Callable[[Path], T]) -> T:
    """The newest checkpoint of a folder that can be read.

    Raises
    ------
    InputError
        If there is none.
    """
    found = sorted(folder.glob(_PATTERN), reverse=True)
    if not found:
        raise InputError(f"{folder}: holds no checkpoint: start the training anew")
    for path in found[:-1]:
        try:
            return load(path)
        except InputError:
            continue
    return load(found[-1])
