"""A constant affine map on columns of numbers, as each backend computes it fastest: dense where it is small, else sparse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from echelongym.envs.core.backend import Array, Ops
from echelongym.envs.core.typing import Floats, Ints

from ..networks.by_backend import ByBackend

DENSE = 60_000  # entries up to which a dense matrix is faster than a sparse one

Map = Callable[[Array], Array]


class LinearMap:
    """An affine map from columns (inputs, B) to (outputs, B).

    Parameters
    ----------
    places, values
        (2, entries) row and column of every entry of the matrix that is not 0, and (entries,) what it is.
    constant
        (outputs,) added.
    inputs
        Number of them.
    """

    def __init__(self, places: Ints, values: Floats, constant: Floats, inputs: int) -> None:
        self.places, self.values, self.constant = places, values, constant
        self.shape = (len(constant), inputs)
        self.sparse = self.shape[0] * inputs > DENSE
        self._on = ByBackend(self._made)

    def __call__(self, column: Array, ops: Ops) -> Array:
        """(outputs, B) in the backend's floating type, of a column (inputs, B) of that type."""
        found: Array = self._on(ops)(column)
        return found

    def _made(self, ops: Ops) -> Map:
        if ops.name == "symbols" or (self.sparse and ops.name != "torch"):
            return self._by_rows(ops)
        constant = ops.constant(self.constant[:, None])
        if not self.sparse:
            matrix = np.zeros(self.shape)
            matrix[tuple(self.places)] = self.values
            dense = ops.constant(matrix)
            return lambda column: ops.dense(dense, constant, column)
        from .sparse_product import sparse_product

        return sparse_product(self.places, self.values, constant, self.shape)

    def _by_rows(self, ops: Ops) -> Map:
        """Rows with as many entries are summed together, then put in order."""
        rows, columns = self.places
        sizes = np.bincount(rows, minlength=len(self.constant))
        order = np.argsort(rows, kind="stable")
        first = np.cumsum(sizes) - sizes
        parts: list[tuple[Any, Any, int]] = []
        row_order = [np.flatnonzero(sizes == 0)]
        for size in sorted(set(sizes[sizes > 0].tolist())):
            chosen = np.flatnonzero(sizes == size)
            entries = order[first[chosen][:, None] + np.arange(size)].reshape(-1)
            row_order.append(chosen)
            parts.append((ops.index(columns[entries]), ops.constant(self.values[entries][:, None]), size))
        back = ops.index(np.argsort(np.concatenate(row_order), kind="stable"))
        constant = ops.constant(self.constant[:, None])

        def mapped(column: Array) -> Array:
            worlds = column.shape[-1]
            sums = [ops.zeros((len(row_order[0]), worlds), ops.float)]
            for index, value, size in parts:
                weighed = ops.select(column, index, 0) * value
                sums.append(ops.total(weighed.reshape((-1, size, worlds)), 1))
            return ops.select(ops.concat(sums, 0), back, 0) + constant

        return mapped
