"""Strict reading of YAML: names are text as written, a key stands only once, and no file fills memory.

PyYAML turns the text into events, by its C parser wherever it has one, and values are built here from these: a million
of them take seconds. In YAML 1.1, which PyYAML follows, ``NO`` is false, ``1:30`` is 90, ``007`` is 7 and ``2024-01-05`` is
a date. Here, as in YAML 1.2, only ``true`` and ``false`` are booleans, only decimal numbers are numbers (``1e3`` is one of
them), and all else is text. A key is always text, and so is what names something in a node, lane, customer or effect
(:data:`NAMING`): ``source: 101`` is the place ``"101"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError, expected, printable, shorten

#: Keys of nodes, lanes, customers, demand and effects whose value, or whose list's entries, are names or labels.
NAMING = frozenset({"source", "target", "mode", "segment", "region", "series"})
#: The same, but only where the value is a list: ``nodes: 12`` is a number.
NAMING_LISTS = frozenset({"products", "nodes", "lanes", "customers", "sources"})
MOST_BYTES = 20_000_000
MOST_VALUES = 1_000_000  # aliases counted as often as they stand
DEEPEST = 100
LONGEST_NUMBER = 400  # characters

_STR, _PLAIN = "tag:yaml.org,2002:str", "plain"
_TAGS = {"scalar": (_PLAIN, _STR), "list": ("tag:yaml.org,2002:seq",), "mapping": ("tag:yaml.org,2002:map",)}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9][0-9_]*|(0|[1-9][0-9_]*)(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_KINDS = {"ScalarEvent": "scalar", "SequenceStartEvent": "list", "MappingStartEvent": "mapping"}
_NULL = ("", "~", "null", "Null", "NULL")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, as plain data of which no two places are one object.

    Raises
    ------
    InputError
        In one line, if the file cannot be read, is larger than 20 MB, is not UTF-8, is no YAML, is no mapping, gives a
        key twice, is nested more than 100 deep, or by its aliases stands for more than a million values.
    """
    return parse_yaml(read_text(path), printable(path))


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark (UTF-16 with one is read, too).

    Raises
    ------
    InputError
        If the file cannot be read, is larger than ``most`` bytes, or is in another encoding.
    """
    where = printable(path)
    try:
        if path.stat().st_size > most:
            raise InputError(f"{where}: {path.stat().st_size} bytes: expected at most {most}")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start : error.start + 1]
        hint = "text in UTF-8 (save it as UTF-8; in Excel as 'CSV UTF-8')"
        raise InputError(f"{where}: line {line}: byte {byte!r}: expected {hint}") from None


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping in a YAML text; ``where`` stands in front of errors.

    Raises
    ------
    InputError
        If it is no valid YAML, no mapping, or larger or deeper than any file of use.
    """
    import yaml

    try:
        node = _composed(text, where)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise InputError(f"{where}:{line} is no valid YAML: {printable(problem)}") from None
    except InputError:
        raise
    except (ValueError, OverflowError) as error:  # a number in an escape or a directive that is none
        raise InputError(f"{where}: is no valid YAML: {printable(error)}") from None
    if node is None or node.kind != "mapping":
        found = None if node is None else _Builder(where).value(node, ())
        raise expected("(file)", found, "a mapping", where)
    built: dict[str, Any] = _Builder(where).value(node, ())
    return built


@dataclass(slots=True)
class _Node:
    """One value of a file as it is written: of a scalar the text, of a list its nodes, of a mapping its pairs of nodes."""

    kind: str  # scalar, list or mapping
    tag: str  # _PLAIN for a plain scalar, else YAML's
    value: Any
    line: int


def _composed(text: str, where: str) -> _Node | None:
    """The outermost node of a text; None where there is none.

    PyYAML's own composers recurse, the one in C without a limit, and take ten times as long as its C parser does.
    """
    import yaml

    root = _Node("list", "", [], 0)
    open_nodes, anchors, left = [root], dict[str, _Node](), MOST_VALUES
    events: Iterator[Any] = yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    for event in events:
        kind = type(event).__name__
        line = event.start_mark.line
        if kind in ("SequenceEndEvent", "MappingEndEvent"):
            ended = open_nodes.pop()
            if ended.kind == "mapping":
                ended.value = list(zip(ended.value[::2], ended.value[1::2], strict=True))
            continue
        if kind == "AliasEvent":
            if event.anchor not in anchors:
                raise _fault(where, line, f"*{printable(event.anchor)}: expected an alias of an anchor (&) above it")
            open_nodes[-1].value.append(anchors[event.anchor])
            continue
        if kind in _KINDS:
            node = _Node(_KINDS[kind], _tag(event, _KINDS[kind]), getattr(event, "value", None), line)
        else:
            if kind == "DocumentStartEvent" and root.value:
                raise _fault(where, line, "a second document of YAML (---): expected one")
            continue
        left -= 1
        if left < 0:
            raise _fault(where, line, f"expected at most {MOST_VALUES:,} values in all")
        if event.anchor is not None:
            if event.anchor in anchors:
                raise _fault(where, line, f"&{printable(event.anchor)}: expected each anchor only once")
            anchors[event.anchor] = node
        open_nodes[-1].value.append(node)
        if node.kind != "scalar":
            node.value = []
            open_nodes.append(node)
            if len(open_nodes) > DEEPEST + 2:
                raise _fault(where, line, f"expected values nested at most {DEEPEST} deep")
    return root.value[0] if root.value else None


def _tag(event: Any, kind: str) -> str:
    """The tag of a value as PyYAML resolves it, but that a plain scalar keeps being one."""
    if event.tag not in (None, "!"):
        return str(event.tag)
    return _STR if kind == "scalar" and event.style else _TAGS[kind][0]


def _fault(where: str, line: int, text: str) -> InputError:
    """The error for a line, counted from 0."""
    return InputError(f"{where}: line {line + 1}: {text}")


class _Builder:
    """Plain data from the nodes of one file."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.left = MOST_VALUES

    def fault(self, node: _Node, text: str) -> InputError:
        return _fault(self.where, node.line, text)

    def value(self, node: _Node, path: tuple[str, ...], naming: bool = False) -> Any:
        """The value of a node; a scalar is text where ``naming``."""
        self.left -= 1
        if self.left < 0:
            most = f"{MOST_VALUES:,}"
            raise self.fault(node, f"expected at most {most} values in all, those that aliases (*) stand for included")
        if len(path) > DEEPEST:
            raise self.fault(
                node, f"expected values nested at most {DEEPEST} deep, and no alias (*) within its own anchor (&)"
            )
        if node.tag not in _TAGS[node.kind]:
            tag = printable(node.tag.replace("tag:yaml.org,2002:", "!!"))
            raise self.fault(node, f"{tag}: expected no tag but !!str")
        if node.kind == "list":
            return [self.value(item, (*path, ""), naming) for item in node.value]
        return self.mapping(node, path) if node.kind == "mapping" else self.scalar(node, naming)

    def mapping(self, node: _Node, path: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.kind != "scalar":
                raise self.fault(key_node, "a key that is a list or a mapping: expected text")
            key = str(key_node.value)
            if key == "<<" and key_node.tag == _PLAIN:
                for one in self.merged(value_node, path):
                    merged = {**one, **merged}
                continue
            if key in found:
                raise self.fault(key_node, f"key {shorten(key)}: expected only once")
            listed = value_node.kind == "list"
            naming = _names(path, key) or (listed and key in NAMING_LISTS)
            found[key] = self.value(value_node, (*path, key), naming)
        return {**merged, **found}

    def merged(self, node: _Node, path: tuple[str, ...]) -> list[dict[str, Any]]:
        """What ``<<`` takes over: a mapping, or mappings of which the earlier decide; keys given beside it decide over both."""
        several = node.kind == "list"
        found = [self.value(one, path) for one in (node.value if several else [node])]
        if not all(isinstance(one, dict) for one in found):
            raise self.fault(node, "<<: expected a mapping, an alias (*name) of one, or a list of these")
        return found

    def scalar(self, node: _Node, naming: bool) -> Any:
        """Text where it was quoted or names something, else what it looks like."""
        text = str(node.value)
        if node.tag == _STR or (naming and text not in _NULL):
            return text
        return self.plain(node, text)

    def plain(self, node: _Node, text: str) -> Any:
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if text.lower() in _SPECIAL:
            return float(_SPECIAL[text.lower()])
        if not _FLOAT.fullmatch(text):
            return text
        if len(text) > LONGEST_NUMBER:
            raise self.fault(node, f"{shorten(text, 40)}: expected a number of at most {LONGEST_NUMBER} characters")
        return int(text) if _INTEGER.fullmatch(text) else float(text)


def _names(path: tuple[str, ...], key: str) -> bool:
    """Whether what stands at a key is a name; a cost by product may have a product called ``mode``."""
    if not path:
        return key == "name"
    entry = len(path) == 2 and path[0] in ("nodes", "lanes", "customers")
    return key in NAMING and (entry or "effects" in path or "demand" in path)


def looks_like_a_number(text: str) -> bool:
    """Whether plain text is read as a number."""
    return _FLOAT.fullmatch(text) is not None or text.lower() in _SPECIAL
