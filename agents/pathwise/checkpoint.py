"""Checkpoints of a pathwise training: tensors, and plain data as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import expected
from echelongym.envs.storage.outside_files import parse_json

from ..checkpoint_files import newest_checkpoint, read_checkpoint, write_checkpoint

KIND = "pathwise"
_SCHEMA = 1


def save_checkpoint(folder: Path, env_steps: int, content: dict[str, Any]) -> Path:
    """Write a checkpoint; ``content`` is tensors, but for ``facts``, which are plain data."""
    facts = json.dumps(content["facts"])
    return write_checkpoint(folder, env_steps, {**content, "facts": facts, "kind": KIND, "schema": _SCHEMA})


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint; nothing in it is ever executed.

    Raises
    ------
    InputError
        If it is none, is damaged, or is of another learner.
    """

    def understood(content: dict[str, Any]) -> dict[str, Any]:
        if content.get("kind") != KIND:
            raise expected("kind", content.get("kind"), f"{KIND}, the learner of this training", str(path))
        if content["schema"] != _SCHEMA:
            raise expected("schema", content["schema"], str(_SCHEMA), str(path))
        facts = parse_json(str(content["facts"]), f"{path}: facts")
        if not isinstance(facts, dict):
            raise expected("facts", facts, "a mapping", str(path))
        return {**content, "facts": facts}

    return read_checkpoint(path, understood)


def latest_checkpoint(folder: Path) -> dict[str, Any]:
    """The newest checkpoint of a folder that can be read.

    Raises
    ------
    InputError
        If there is none.
    """
    return newest_checkpoint(folder, load_checkpoint)
