"""Checkpoints of a pathwise training: tensors and plain data in one file, none of it pickled code."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import torch

from echelongym.envs.errors import InputError, expected, shorten
from echelongym.envs.files import write_bytes

KIND = "pathwise"
_SCHEMA = 1
_PATTERN = "checkpoint_*.pt"


def save_checkpoint(folder: Path, env_steps: int, content: dict[str, Any]) -> Path:
    """Write ``checkpoint_<env-steps>.pt``, whole or not at all, then delete all but this and the one before.

    ``content`` is tensors, but for ``facts``, which are plain data.
    """
    stream = io.BytesIO()
    facts = json.dumps(content["facts"])
    torch.save({**content, "facts": facts, "kind": KIND, "schema": _SCHEMA}, stream)
    path = folder / f"checkpoint_{env_steps:012d}.pt"
    write_bytes(stream.getvalue(), path)
    for old in sorted(folder.glob(_PATTERN))[:-2]:
        old.unlink()
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint; nothing in it is ever executed.

    Raises
    ------
    InputError
        If it is none, is damaged, or is of another learner.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if content.get("kind") != KIND:
            raise expected("kind", content.get("kind"), f"{KIND}, the learner of this training", str(path))
        if content["schema"] != _SCHEMA:
            raise expected("schema", content["schema"], str(_SCHEMA), str(path))
        content["facts"] = json.loads(content["facts"])
    except InputError:
        raise
    except (
        OSError,
        RuntimeError,
        ValueError,
        AttributeError,
        KeyError,
        TypeError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(f"{path}: is no checkpoint, or a damaged one: {shorten(str(error))}") from None
    return content


def latest_checkpoint(folder: Path) -> dict[str, Any]:
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
            return load_checkpoint(path)
        except InputError:
            continue
    return load_checkpoint(found[-1])
