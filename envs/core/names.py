"""Names that users give: text, printable, and safe in a path, a terminal and a picture."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any

from pydantic import BeforeValidator

from .errors import shorten

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*")
LONGEST_LABEL = 200
_LONGEST_FOLDER = 80


def as_text(value: Any) -> Any:
    """Text of a whole number, as which places and articles are numbered; all else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _named(value: Any) -> Any:
    """Check a mapping by name before its entries are read; ``name:`` alone means all defaults."""
    if not isinstance(value, dict):
        raise ValueError("expected a mapping by name")
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = as_text(key)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > LONGEST_LABEL:
            hint = f"text of at most {LONGEST_LABEL} letters, digits, '_' and '-'"
            raise ValueError(f"name {shorten(key)}: expected {hint}")
        if name in found:
            raise ValueError(f"name {name!r}: expected only once")
        found[name] = {} if item is None else item
    return found


def _label(value: Any) -> Any:
    text = as_text(value)
    if not isinstance(text, str):
        raise ValueError("expected text (in YAML between quotes: 'NO')")
    text = text.strip()
    if not text or not text.isprintable() or len(text) > LONGEST_LABEL:
        raise ValueError(f"expected text of 1 to {LONGEST_LABEL} printable characters in one line")
    return text


def _reference(value: Any) -> Any:
    text = as_text(value)
    if not isinstance(text, str):
        raise ValueError("expected a name (in YAML between quotes: 'null')")
    return text


def _references(value: Any) -> Any:
    return [as_text(item) for item in value] if isinstance(value, list | tuple) else value


#: A mapping by name. Names are used in dotted keys, so they have no dots and no blanks.
Named = BeforeValidator(_named)
#: A name of something else in the scenario.
Name = Annotated[str, BeforeValidator(_reference)]
#: Several of these.
Names = Annotated[tuple[str, ...], BeforeValidator(_references)]
#: Free text in one line, shown in tables and pictures.
Label = Annotated[str, BeforeValidator(_label)]


def folder_name(text: object) -> str:
    """A name as one part of a path: letters, digits, ``_``, ``-`` and single dots within; never empty, hidden or long."""
    plain = unicodedata.normalize("NFC", str(text))
    safe = "".join(sign if sign.isalnum() or sign in "_-." else "_" for sign in plain)
    safe = re.sub(r"\.{2,}", "_", safe).strip(".")
    while len(safe.encode()) > _LONGEST_FOLDER:
        safe = safe[:-1]
    return safe or "unnamed"
