"""Segments: sums and shares over groups, such as lanes by source, lanes by target, pairs by node.

Items of a group are kept in their listed order. Groups of equal size are handled together (one
gather a size), so a period costs a fixed number of array operations however large the network is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Array, Ops
from .typing import Ints


def sorted_groups(groups: np.ndarray[Any, Any], count: int) -> tuple[Ints, Ints]:
    """Items group by group, each group's in their listed order, and where each group starts among them.

    Parameters
    ----------
    groups
        (items,) group of each item, -1 = none.
    count
        Number of groups.

    Returns
    -------
    Items, those of no group left out, and (count + 1,) starts: those of group g are ``order[starts[g] : starts[g + 1]]``.
    """
    groups = np.asarray(groups)
    kept = np.flatnonzero((groups >= 0) & (groups < count))
    order = kept[np.argsort(groups[kept], kind="stable")]
    return order, np.searchsorted(groups[order], np.arange(count + 1))


def members_of(groups: Ints, wanted: Ints, count: int) -> tuple[Ints, Ints]:
    """Items whose group, one of ``count``, is wanted.

    Returns
    -------
    Items, those of ``wanted[0]`` first, in their listed order; and the place of each item's group in ``wanted``.
    """
    order, starts = sorted_groups(groups, count)
    first, number = starts[wanted], starts[wanted + 1] - starts[wanted]
    place = np.repeat(np.arange(len(wanted)), number)
    return order[np.arange(len(place)) + np.repeat(first - (np.cumsum(number) - number), number)], place


class Segments:
    """Items in groups; items whose group is -1 belong to none.

    Parameters
    ----------
    groups
        (items,) group of each item.
    count
        Number of groups.
    """

    def __init__(self, groups: np.ndarray[Any, Any], count: int, ops: Ops) -> None:
        self.ops = ops
        self.count = count
        self.items = len(groups)
        order, starts = sorted_groups(groups, count)
        sizes = np.diff(starts)
        self.largest = int(sizes.max(initial=0))
        self.buckets = []
        for size in np.unique(sizes[sizes > 0]).tolist():
            chosen = np.flatnonzero(sizes == size)
            grid = order[starts[chosen][:, None] + np.arange(size)]  # (groups of this size, size)
            flat = ops.index(grid.reshape(-1))
            self.buckets.append((ops.index(chosen), flat, len(chosen), size))
        self.of_item = ops.index(np.maximum(groups, 0))
        # Every group has exactly the item of its own number: nothing to gather.
        self.identity = count == self.items and bool((np.asarray(groups) == np.arange(count)).all())

    def sum(self, values: Array) -> Array:
        """(items, ...) summed by group into (groups, ...)."""
        if self.identity:
            return values
        if len(self.buckets) == 1 and self.buckets[0][2] == self.count:
            return self._grouped(values, self.buckets[0])
        out = self.ops.zeros((self.count, *values.shape[1:]), values.dtype)
        for bucket in self.buckets:
            out = self.ops.put(out, bucket[0], self._grouped(values, bucket))
        return out

    def _grouped(self, values: Array, bucket: tuple[Any, Any, int, int]) -> Array:
        _, flat, number, size = bucket
        picked = values[flat]
        if size == 1:
            return picked
        return self.ops.total(picked.reshape((number, size, *values.shape[1:])), 1)

    def spread(self, values: Array) -> Array:
        """(groups, ...) handed to each item: (items, ...), or what broadcasts to it for one group.

        Items of no group get group 0's.
        """
        return values if self.identity or self.count == 1 else values[self.of_item]
