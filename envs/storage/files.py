"""Files: YAML read strictly (see :mod:`.yaml_reading`), everything written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from ..core.errors import CannotWrite
from ..core.yaml_reading import looks_like_a_number, read_yaml
from .outside_files import as_path

#: How the names of files end that are being written; one that stays was left by a process that was killed.
TEMPORARY = ".tmp"
_TIMES = 100  # that a folder is made, which others remove


def write_yaml(data: Any, path: Path) -> None:
    """Write plain data as YAML through a temporary file beside the target; :func:`read_yaml` reads it back.

    Text that either YAML 1.1 or :func:`read_yaml` takes for something else is quoted.
    """
    import yaml

    # libyaml writes the same ten times as fast, but for characters outside ASCII, of which it escapes some.
    plain = json.dumps(data, ensure_ascii=False, default=str).isascii()
    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper) if plain else yaml.SafeDumper

    class Dumper(base):
        """A dumper that quotes 1e5."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = "'" if looks_like_a_number(value) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    write_text(yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True), path)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there, while other processes may make and remove them.

    ``mkdir(exist_ok=True)`` fails where another process made the folder and removed it before it is looked at.

    Raises
    ------
    OSError
        If it cannot be made: something else has its name, or a folder above cannot be written into.
    """
    for _ in range(_TIMES):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return
        except (FileExistsError, FileNotFoundError):
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise
            time.sleep(0.001)
    folder.mkdir(parents=True, exist_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write a text file whole or not at all."""
    write_bytes(text.encode("utf-8"), path)


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file whole or not at all: a temporary file beside it, then one rename; both are on the disk afterwards.

    Without waiting for the disk, the new name could be there after a power cut and the content not.

    Raises
    ------
    CannotWrite
        If the disk is full, the folder may not be written to, a folder stands in the way ...; nothing is left behind.
    """
    path = as_path(path, "path")
    temporary = None
    try:
        make_folder(path.parent)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=TEMPORARY)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CannotWrite(f"{path}: cannot be written: {error.strerror or error}") from None
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the disk know the names in a folder; a system that cannot do that does without."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


__all__ = ["as_path", "read_yaml", "write_bytes", "write_text", "write_yaml"]
