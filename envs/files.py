"""Files: YAML read strictly (a key given twice is an error), everything written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from .errors import InputError, expected

_EXPONENT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; a key given twice, or ``1e3`` read as text, does not pass silently.

    Raises
    ------
    InputError
        If the file does not exist, is no YAML, is no mapping or gives a key twice.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe loading that refuses duplicate keys."""

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        seen: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise InputError(f"{path}: line {line}: key {key!r}: expected only once")
            seen[key] = loader.construct_object(value_node, deep=True)
        return seen

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    # YAML 1.1 reads 1e3 as text; users mean a number.
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789."))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        data = yaml.load(text, Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is no valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise expected("(file)", data, "a mapping", str(path))
    unshared: dict[str, Any] = _unshared(data)
    return unshared


def _unshared(value: Any) -> Any:
    """A copy in which no two places are one object, as ``*alias`` makes them: an override of one must spare the other."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unshared(item) for item in value]
    return value


def write_yaml(data: Any, path: Path) -> None:
    """Write plain data as YAML through a temporary file beside the target."""
    import yaml

    write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), path)


def write_text(text: str, path: Path) -> None:
    """Write a text file whole or not at all."""
    write_bytes(text.encode("utf-8"), path)


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file whole or not at all: a temporary file beside it, then one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
