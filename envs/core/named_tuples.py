"""Named tuples of named tuples of arrays: their arrays as a list, and the same structure with other arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def paths(nested: Any) -> list[str]:
    """Dotted names of the entries, in order: ``["state.on_hand", ..., "period"]``; None is an entry."""
    found: list[str] = []
    for name, one in zip(nested._fields, nested, strict=True):
        found += [f"{name}.{path}" for path in paths(one)] if isinstance(one, tuple) else [name]
    return found


def entries(nested: Any) -> list[Any]:
    """The entries themselves, in the order of :func:`paths`."""
    found: list[Any] = []
    for one in nested:
        found += entries(one) if isinstance(one, tuple) else [one]
    return found


def mapped(function: Callable[..., Any], *nested: Any) -> Any:
    """The structure of the first, with what ``function`` makes of the entries in the same place of all."""
    return type(nested[0])(
        *(mapped(function, *one) if isinstance(one[0], tuple) else function(*one) for one in zip(*nested, strict=True))
    )


def rebuilt(nested: Any, given: Sequence[Any]) -> Any:
    """The same structure with other entries, in the order of :func:`paths`."""
    rest = iter(given)
    return mapped(lambda _: next(rest), nested)
