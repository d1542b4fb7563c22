"""Echelons over primary lanes: which cells stand above a cell, as flat arrays whose size grows with the network only.

A *cell* is a node with a product, numbered ``node * P + product``. Every cell has one parent at most, the source of its
primary lane, so that the cells above it are a chain; an echelon is a cell with all cells below it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..core.typing import Floats, Ints


def parents(primary_lane: Ints, lane_source: Ints) -> Ints:
    """(N * P,) cell that feeds each cell over its primary lane, -1 = none.

    Parameters
    ----------
    primary_lane
        (N, P) lanes, -1 = none.
    lane_source
        (L,) nodes.
    """
    count = primary_lane.shape[1]
    lane = primary_lane.reshape(-1)
    source = lane_source[np.maximum(lane, 0)] if len(lane_source) else lane
    return np.where(lane >= 0, source * count + np.arange(len(lane)) % max(count, 1), -1)


class Chains:
    """Chains of cells that items stand below: the cell of each item, then every cell above that.

    Parameters
    ----------
    first
        (I,) cell of each item, -1 = none.
    parent
        (cells,) as :func:`parents` gives them; without a circle.

    Attributes
    ----------
    items, cells : (E,) each entry's item and cell: items in their order, within an item the nearest cell first.
    """

    def __init__(self, first: Ints, parent: Ints) -> None:
        self.count = len(parent)
        found = list(_climbed(first, parent))
        items = np.concatenate([np.zeros(0, np.int64), *(one for one, _ in found)])
        cells = np.concatenate([np.zeros(0, np.int64), *(one for _, one in found)])
        order = np.argsort(items, kind="stable")
        self.items, self.cells = items[order], cells[order]
        # Of each entry its place in the chain: 0 is the item's own cell.
        start = np.flatnonzero(np.diff(self.items, prepend=-1))
        self.place = np.arange(len(order)) - np.repeat(start, np.diff(np.append(start, len(order))))

    def sums(self, values: Floats) -> Floats:
        """(cells,) total of ``values (I,)`` of the items below each cell, added in the order of items."""
        return self.totals(values[self.items])

    def totals(self, entries: Floats) -> Floats:
        """(cells,) total of ``entries (E,)``, added in the order of items."""
        return np.bincount(self.cells, weights=entries, minlength=self.count).astype(np.float64)

    def from_below(self, values: Floats) -> Floats:
        """(E,) total of ``values (cells,)`` along each chain, from the item's own cell up to each entry's."""
        out = values[self.cells]
        for place in range(1, int(self.place.max(initial=0)) + 1):
            entries = np.flatnonzero(self.place == place)
            out[entries] = out[entries - 1] + out[entries]
        return out


def _climbed(first: Ints, parent: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Items and their cells, then the items that have a cell above these and that cell, and so on."""
    items = np.flatnonzero(first >= 0)
    cells = first[items]
    while len(items):
        yield items, cells
        above = parent[cells]
        items, cells = items[above >= 0], above[above >= 0]


__all__ = ["Chains", "parents"]
