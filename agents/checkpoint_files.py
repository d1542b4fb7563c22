"""Checkpoint files of trainings: one format, written whole or not at all, the newest found, none of it pickled code.

A file holds ``kind`` (what trains from it), ``schema``, ``facts`` (plain data as JSON), ``best`` (parameters of the best policy
so far) and ``state`` (all else that its trainer needs). PyTorch reads it with ``weights_only=True``: tensors and plain
data, nothing that can run.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from echelongym.envs.core.errors import InputError, expected, shorten
from echelongym.envs.core.validation import is_number
from echelongym.envs.storage.files import write_bytes
from echelongym.envs.storage.outside_files import check_members, parse_json, regular_file

_SCHEMA = 3
# Files of version 0.1.0 had a schema for each kind, one of which was not named, and the state beside the rest.
_FORMER = {1: "pathwise", 2: "stable_baselines3"}
_SPENT = ("env_steps", "cpu_seconds")  # facts that say how much was spent
_PATTERN = "checkpoint_*.pt"
_NAMED = re.compile(r"checkpoint_\d+-([0-9a-f]{16})\.pt")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint: everything that a training needs to go on as if it had not stopped.

    Attributes
    ----------
    path
        Of its file.
    facts
        Plain data: what was spent, the learning curve, what is known of the best policy, and numbers of the trainer.
    best
        Parameters of the best policy so far.
    state
        Tensors and plain data of the trainer.
    """

    path: Path
    facts: dict[str, Any]
    best: dict[str, torch.Tensor]
    state: dict[str, Any]


def write_checkpoint(
    folder: Path, kind: str, facts: dict[str, Any], best: dict[str, torch.Tensor], state: dict[str, Any]
) -> Path:
    """Write ``checkpoint_<env-steps>-<digest of the content>.pt``, then delete all but this and the one before."""
    content = {"kind": kind, "schema": _SCHEMA, "facts": json.dumps(facts), "best": best, "state": state}
    stream = io.BytesIO()
    torch.save(content, stream)
    path = folder / f"checkpoint_{facts['env_steps']:012d}-{_digest(stream.getvalue())}.pt"
    write_bytes(stream.getvalue(), path)
    for old in sorted(folder.glob(_PATTERN))[:-2]:
        old.unlink()
    return path


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def read_checkpoint(path: Path, kind: str) -> Checkpoint:
    """Read one checkpoint of a kind of trainer; nothing in it is ever executed.

    Raises
    ------
    InputError
        If it is none, is damaged, or is of another kind.
    """
    try:
        _check_archive(path)
        raw = regular_file(path, "checkpoint").read_bytes()
        if (named := _NAMED.fullmatch(path.name)) and named[1] != _digest(raw):
            raise InputError(f"{path}: is no checkpoint, or a damaged one: its content is not what its name says")
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
        return _understood(content, kind, path)
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


def _understood(content: Any, kind: str, path: Path) -> Checkpoint:
    """The content of a file of this version, or of an earlier one."""
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise expected("(file)", content, "a checkpoint, a mapping by name", str(path))
    schema = content["schema"]
    written = content.get("kind", _FORMER.get(schema))
    if written != kind:
        raise expected("kind", written, f"{kind}, which trains here", str(path))
    if schema != _SCHEMA and _FORMER.get(schema) != kind:
        raise expected("schema", schema, str(_SCHEMA), str(path))
    rest = {key: value for key, value in content.items() if key not in ("kind", "schema", "facts", "best")}
    parts = {
        "facts": parse_json(str(content["facts"]), f"{path}: facts"),
        "best": content["best"],
        "state": content["state"] if schema == _SCHEMA else rest,
    }
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise expected(name, part, "a mapping", str(path))
    for name in _SPENT:
        if not is_number(parts["facts"].get(name)):
            raise expected(f"facts: {name}", parts["facts"].get(name), "a number", str(path))
    return Checkpoint(path, **parts)


def _check_archive(path: Path) -> None:
    """Refuse an archive that inflates beyond what its size allows; torch stores tensors as they are."""
    path = regular_file(path, "checkpoint")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: is no checkpoint, or a damaged one: expected an archive that torch wrote")
    with zipfile.ZipFile(path) as archive:
        check_members(archive, str(path))


def latest_checkpoint(folder: Path, kind: str) -> Checkpoint:
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
            return read_checkpoint(path, kind)
        except InputError:
            continue
    return read_checkpoint(found[-1], kind)
