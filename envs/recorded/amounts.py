"""Amounts in tables: decimal points or commas, thousands apart, empty cells."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..core.errors import expected

EMPTY = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none", "-"})
MOST = 1e12

_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_MARKED = re.compile(r"[+-]?[\d.,]+", re.ASCII)
_SPACES = re.compile(r"(?<=\d)[ \u00a0\u202f'](?=\d{3}(\D|$))", re.ASCII)


def empty(text: str) -> bool:
    """Whether a cell says that there is no number."""
    return text.lower() in EMPTY


def decimal_mark(texts: Iterable[str], given: str | None, delimiter: str, file: str) -> str:
    """Decimal mark in a file: ``.`` or ``,``.

    Cells decide that can be read in one way only (``2,5``; ``1.250,5``; ``1,250,000``). Where there is none, a table with
    commas between its cells has decimal points; in another one ``1,250`` or ``1.250`` may be either.

    Raises
    ------
    InputError
        Where cells contradict each other, or nothing decides.
    """
    if given is not None:
        return given
    votes: dict[str, str] = {}
    doubtful = ""
    for text in texts:
        if not _MARKED.fullmatch(text):
            continue
        commas, dots = text.count(","), text.count(".")
        if not commas and not dots:
            continue
        last = "," if text.rfind(",") > text.rfind(".") else "."
        other = "." if last == "," else ","
        if commas and dots:
            votes.setdefault(last, text)
        elif commas + dots > 1:
            votes.setdefault(other, text)
        else:
            head, _, tail = text.lstrip("+-").partition(last)
            if len(tail) == 3 and 1 <= len(head) <= 3 and not head.startswith("0"):
                doubtful = doubtful or text
            else:
                votes.setdefault(last, text)
    if len(votes) == 2:
        hint = f"one decimal mark in a file, not that of {votes['.']!r}: write decimal: '.' or decimal: ','"
        raise expected("number", votes[","], hint, file)
    if votes:
        return next(iter(votes))
    if doubtful and delimiter != ",":
        hint = "decimal: '.' or decimal: ',' beside the file, as this may be a fraction or thousands"
        raise expected("number", doubtful, hint, file)
    return "."


def amount(text: str, decimal: str) -> float | None:
    """The number that a cell stands for; None where it is none, or not one from 0 to 1e12."""
    if not (decimal == "." and _PLAIN.fullmatch(text)):
        text = _SPACES.sub("", text)
        thousands = "," if decimal == "." else "."
        if thousands in text:
            whole, mark, rest = text.partition(decimal)
            if not re.fullmatch(rf"[+-]?\d{{1,3}}(\{thousands}\d{{3}})+", whole, re.ASCII):
                return None
            text = whole.replace(thousands, "") + mark + rest
        text = text.replace(decimal, ".")
        if not _PLAIN.fullmatch(text):
            return None
    value = float(text)
    return value + 0.0 if 0.0 <= value <= MOST else None
