"""Files of checkpoints: written whole or not at all, the newest found, none of it pickled code.

Torch reads them with ``weights_only=True``: tensors and plain data, nothing that can run.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from echelongym.envs.errors import InputError, shorten
from echelongym.envs.files import write_bytes

_PATTERN = "checkpoint_*.pt"
T = TypeVar("T")


def write_checkpoint(folder: Path, env_steps: int, content: dict[str, Any]) -> Path:
    """Write ``checkpoint_<env-steps>.pt``, then delete all but this and the one before."""
    stream = io.BytesIO()
    torch.save(content, stream)
    path = folder / f"checkpoint_{env_steps:012d}.pt"
    write_bytes(stream.getvalue(), path)
    for old in sorted(folder.glob(_PATTERN))[:-2]:
        old.unlink()
    return path


def read_checkpoint(path: Path, understood: Callable[[dict[str, Any]], T]) -> T:
    """What ``understood`` makes of the content of one checkpoint.

    Raises
    ------
    InputError
        If it is none, or damaged; or whatever ``understood`` refuses.
    """
    try:
        return understood(torch.load(path, map_location="cpu", weights_only=True))
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
