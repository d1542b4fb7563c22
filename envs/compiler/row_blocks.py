"""Blocks of rows: what one loop computes of every world, what it reads and what memory keeps of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.typing import Ints
from .buffers import Tensor


@dataclass(eq=False)
class FoundRows:
    """Rows that the program finds in memory: of one tensor, type and step from world to world.

    ``places`` are the numbers of values by element from the tensor's start, -1 where none was read.
    """

    tensor: Tensor
    dtype: np.dtype[Any]
    step: int
    places: Ints


@dataclass(eq=False)
class Constant:
    """A number, in C."""

    text: str
    dtype: np.dtype[Any]


@dataclass(eq=False)
class Read:
    """What a loop reads, row by row: values and, where the place is looked up, which read before says where and how."""

    values: Ints
    dtype: np.dtype[Any]
    index: int | None = None
    lookup: Any = None


@dataclass(eq=False)
class Store:
    """Rows of a tensor that keep what a loop computes, by element from its start."""

    tensor: Tensor
    places: Ints
    step: int


@dataclass(eq=False)
class RowBlock:
    """Rows that one loop computes, each from its reads; in a ``serial`` one steps build on each other.

    ``homes`` are the places among the block's own rows in scratch.
    """

    text: str
    dtype: np.dtype[Any]
    values: Ints  # their numbers
    reads: list[Read]
    serial: bool
    homes: Ints
    early: bool  # to be done before anything is kept
    stores: list[Store] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Rows."""
        return len(self.values)


ValueSource = FoundRows | Constant | RowBlock
