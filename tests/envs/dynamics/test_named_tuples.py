"""Nested named tuples: their entries in order, and the same structure with other entries."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

import pytest

from echelongym.envs.core.named_tuples import entries, mapped, paths, rebuilt


class Inner(NamedTuple):
    left: Any
    right: Any


class Outer(NamedTuple):
    first: Inner
    second: Any
    third: Inner


NESTED = Outer(Inner(1, None), 3, Inner(4, 5))


def test_every_entry_has_its_path() -> None:
    assert paths(NESTED) == ["first.left", "first.right", "second", "third.left", "third.right"]
    assert entries(NESTED) == [1, None, 3, 4, 5] == list(attrgetter(*paths(NESTED))(NESTED))


def test_what_is_rebuilt_has_the_same_structure() -> None:
    assert rebuilt(NESTED, "abcde") == Outer(Inner("a", "b"), "c", Inner("d", "e"))
    assert rebuilt(NESTED, entries(NESTED)) == NESTED


def test_structures_are_mapped_entry_by_entry() -> None:
    found = mapped(lambda one, two: (one, two), NESTED, rebuilt(NESTED, "abcde"))
    assert found == Outer(Inner((1, "a"), (None, "b")), (3, "c"), Inner((4, "d"), (5, "e")))
    with pytest.raises(ValueError):
        mapped(lambda one, two: one, Inner(1, 2), (1, 2, 3))
