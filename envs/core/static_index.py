"""Indices that are known beforehand: consecutive ones as slices, and what turns a scatter into a gather."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any  # numpy.ndarray, torch.Tensor or JaxArray
Indices = NDArray[np.int64]


def consecutive(index: np.ndarray[Any, Any]) -> Any:
    """A slice for consecutive increasing integers, the integers themselves otherwise."""
    if index.ndim == 1 and len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def places_of(index: Indices, rows: int) -> list[Indices]:
    """Where each of ``rows`` rows stands in ``index``, as columns: the first place, the second, and so on.

    Returns
    -------
    Arrays (rows,) as many as the most frequent row has places; ``len(index)`` where a row has no further place.
    """
    order = np.argsort(index, kind="stable")
    found = index[order]
    number = np.arange(len(index)) - np.searchsorted(found, found)  # which place of its row each is
    columns = []
    for k in range(int(number.max(initial=-1)) + 1):
        column = np.full(rows, len(index), dtype=np.int64)
        column[found[number == k]] = order[number == k]
        columns.append(column)
    return columns
