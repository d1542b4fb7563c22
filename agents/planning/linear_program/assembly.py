"""Columns, rows and entries of a sparse linear program, collected family by family as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from echelongym.envs.core.typing import Bools, Floats, Ints


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """A linear program in numbers: minimise offset + cost x, lower <= x <= upper, row_lower <= matrix x <= row_upper."""

    matrix: Any  # scipy.sparse.csc_array (rows, columns)
    cost: Floats  # (columns,)
    offset: float
    lower: Floats  # (columns,)
    upper: Floats  # (columns,)
    row_lower: Floats  # (rows,)
    row_upper: Floats  # (rows,)


class Assembly:
    """Collects a program. Families of columns and rows are index arrays of any shape, -1 where a cell has none.

    Every row reads ``rhs - span <= matrix x <= rhs``: span 0 is an equation, infinity an upper bound.
    """

    def __init__(self) -> None:
        self.n_columns, self.n_rows = 0, 0
        self._spans: list[Floats] = []
        self._entries: list[tuple[Ints, Ints, Floats]] = []
        self._costs: list[tuple[Ints, Floats]] = []

    def columns(self, where: Bools) -> Ints:
        """New columns >= 0 where a mask holds: their numbers, -1 elsewhere."""
        found, self.n_columns = _numbered(where, self.n_columns)
        return found

    def rows(self, where: Bools, span: float = 0.0) -> Ints:
        """New rows where a mask holds: their numbers, -1 elsewhere."""
        found, after = _numbered(where, self.n_rows)
        self._spans.append(np.full(after - self.n_rows, span))
        self.n_rows = after
        return found

    def add(self, rows: Ints, columns: Ints, factors: ArrayLike = 1.0) -> None:
        """Put entries into the matrix, where both a row and a column are; entries of one place add up."""
        rows, columns, factor = np.broadcast_arrays(rows, columns, np.asarray(factors, np.float64))
        there = (rows >= 0) & (columns >= 0) & (factor != 0)
        if there.any():
            self._entries.append((rows[there], columns[there], factor[there]))

    def charge(self, columns: Ints, prices: ArrayLike) -> None:
        """Add to the cost of columns."""
        columns, price = np.broadcast_arrays(columns, np.asarray(prices, np.float64))
        there = (columns >= 0) & (price != 0)
        if there.any():
            self._costs.append((columns[there], price[there]))

    def matrix(self) -> Any:
        """The matrix by columns, entries of one place added up."""
        from scipy.sparse import coo_array

        rows, columns, factors = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        found = coo_array((factors, (rows, columns)), shape=(self.n_rows, self.n_columns)).tocsc()
        found.sum_duplicates()
        return found

    def cost(self) -> Floats:
        """(columns,) cost of each."""
        found = np.zeros(self.n_columns)
        for columns, prices in self._costs:
            np.add.at(found, columns, prices)
        return found

    def spans(self) -> Floats:
        """(rows,) how far below its right-hand side each row may lie."""
        return np.concatenate(self._spans) if self._spans else np.zeros(0)


def _numbered(where: Bools, first: int) -> tuple[Ints, int]:
    found = np.full(where.shape, -1, dtype=np.int64)
    count = int(where.sum())
    found[where] = np.arange(first, first + count)
    return found, first + count
