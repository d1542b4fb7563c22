"""Plain data from outside: numbers, text, lists and mappings, of limited size and depth.

Every config is looked at here before it is validated, so that validators meet nothing that is endless, nested without end,
a number of thousands of digits, text that a terminal acts on, or an object of any other type.
"""

from __future__ import annotations

import datetime
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from .errors import InputError, expected, shorten
from .yaml_reading import DEEPEST, MOST_VALUES

LONGEST_TEXT = 10_000  # characters
LONGEST_KEY = 1_000
LARGEST = 10**30  # whole numbers beyond are a slip, or meant to break something
_ALLOWED = "\n\t\u200c\u200d"  # the last two join and part letters in some scripts


def check_plain(data: Any, where: str) -> None:
    """Refuse what is no plain data.

    Raises
    ------
    InputError
        Naming the place of the first value that does not fit.
    """
    left, waiting = MOST_VALUES, [("", data, 0)]
    while waiting:
        place, value, depth = waiting.pop()
        left -= 1
        if left < 0:
            raise InputError(f"{where}: expected at most {MOST_VALUES:,} values in all")
        if isinstance(value, str):
            _check_text(value, place, where, LONGEST_TEXT)
        elif isinstance(value, int):
            if abs(value) > LARGEST:
                raise _fault(place, value, where, "a number of at most 30 digits")
        elif isinstance(value, Mapping | list | tuple):
            if depth >= DEEPEST:
                raise InputError(f"{where}: {_cut(place)}: expected values nested at most {DEEPEST} deep")
            if isinstance(value, Mapping):
                for key in value:
                    _check_key(key, place, where)
                waiting += [(_below(place, key), item, depth + 1) for key, item in value.items()]
            else:
                waiting += [(_below(place, index), item, depth + 1) for index, item in enumerate(value)]
        elif not (value is None or isinstance(value, float | BaseModel | np.generic)):
            raise _fault(place, value, where, "a number, text, a list or a mapping")


def _below(place: str, key: Any) -> str:
    return f"{place}.{key}" if place else str(key)


def _check_key(key: Any, place: str, where: str) -> None:
    if isinstance(key, str):
        _check_text(key, place, where, LONGEST_KEY, "key ")
    elif not (key is None or isinstance(key, bool | int | float)) or (isinstance(key, int) and abs(key) > LARGEST):
        raise InputError(f"{where}: {_cut(place) or '(all)'}: key {shorten(key, 60)}: expected text")


def _check_text(text: str, place: str, where: str, most: int, what: str = "") -> None:
    if len(text) > most:
        hint = f"at most {most:,} characters"
        raise _fault(place, text, where, hint, f"{what}of {len(text):,} characters, ")
    if text.isprintable():
        return
    for sign in text:
        if sign not in _ALLOWED and unicodedata.category(sign) in ("Cc", "Cs", "Cf", "Zl", "Zp"):
            raise _fault(place, text, where, f"text without control characters such as {sign!r}", what)


def _fault(place: str, value: Any, where: str, hint: str, what: str = "") -> InputError:
    return InputError(f"{where}: {_cut(place) or '(all)'} = {what}{shorten(value, 60)}: expected {hint}")


def _cut(place: str) -> str:
    return place if len(place) <= 150 else f"{place[:100]} ... {place[-40:]}"


def real_array(value: Any, field: str, where: str | None = None) -> NDArray[np.float64]:
    """Floats from an array, or lists, of whole or real numbers.

    Raises
    ------
    InputError
        If they are ragged, or hold text, booleans, complex numbers or objects.
    """
    try:
        array = np.asarray(value)
    except Exception:  # whatever numpy, or the value's own conversion, says of it
        raise expected(field, value, "an array of real numbers", where) from None
    if array.dtype.kind not in "iuf" or (isinstance(value, list | tuple) and _holds_a_boolean(value)):
        raise expected(field, value, "an array of real numbers", where)
    return array.astype(np.float64)


def _holds_a_boolean(value: Any) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, bool | np.bool_):
            return True
    return False


def iso_date(text: object) -> datetime.date | None:
    """The date that ``2024-03-01`` (or a date that YAML has read) stands for; None for anything else."""
    if isinstance(text, datetime.datetime):
        return text.date() if text.time() == datetime.time() else None
    if isinstance(text, datetime.date):
        return text
    if not isinstance(text, str) or len(text) != 10:
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None
