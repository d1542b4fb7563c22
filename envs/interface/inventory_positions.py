"""Inventory positions over the primary forest: whose stock counts for whose order.

A *cell* is a node with a product, numbered ``node * P + product``; a *lane cell* likewise. A node's primary lane is
the first listed into it; primary lanes form a forest, and the echelon of a node is itself with its primary
descendants. Everything is computed over flat cells, batch last, so that products cost no further array operations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.backend import Array, Ops
from ..core.segments import Segments, members_of, sorted_groups
from ..core.typing import Floats, Ints
from ..network.tables import Tables


class Forest:
    """The primary forest as flat arrays.

    Attributes
    ----------
    parent : (N * P,) cell that feeds each cell over its primary lane, -1 = none.
    depth : (N * P,) primary lanes above each cell.
    primary : (N * P,) lane cell of the primary lane, -1 = none.
    by_depth : of each depth, from 0 on, its cells, ascending.
    """

    def __init__(self, tables: Tables) -> None:
        t = tables
        products = np.tile(np.arange(t.P), t.N)
        lane = t.primary_lane.reshape(-1)
        self.primary = np.where(lane >= 0, lane * t.P + products, -1)
        self.parent = t.parent
        self.depth = np.zeros(t.N * t.P, dtype=np.int64)
        above = self.parent
        while (above >= 0).any():
            self.depth += above >= 0
            above = np.where(above >= 0, self.parent[np.maximum(above, 0)], -1)

        order, starts = sorted_groups(self.depth, int(self.depth.max(initial=0)) + 1)
        self.by_depth = np.split(order, starts[1:-1])

    def ancestors(self, cell: int) -> list[int]:
        """Cells above ``cell``, nearest first."""
        found = []
        while (cell := int(self.parent[cell])) >= 0:
            found.append(cell)
        return found


class Accumulator:
    """Sums over echelons, deepest cells first; suppliers, whose stock has no limit, are left out."""

    def __init__(self, tables: Tables, forest: Forest, ops: Ops) -> None:
        limited = ~np.repeat(tables.is_supplier, tables.P)
        self.ops = ops
        self.levels = []
        for depth in range(int(forest.depth.max(initial=0)), 0, -1):
            children = np.flatnonzero(forest.depth == depth)
            children = children[limited[forest.parent[children]]]
            if len(children):
                parents, group = np.unique(forest.parent[children], return_inverse=True)
                segments = Segments(group, len(parents), ops)
                self.levels.append((ops.index(children), segments, ops.index(parents)))

    def __call__(self, values: Array) -> Array:
        """(N * P, B) per cell to (N * P, B) per echelon."""
        if not self.levels:
            return values
        out = values + 0
        for children, segments, parents in self.levels:
            out = self.ops.put(out, parents, out[parents] + segments.sum(out[children]))
        return out


class SlotRows(NamedTuple):
    """Pipeline slots that are looked at, as the leading axis of an array: slots in turn, lanes in turn within one."""

    lane: Ints  # (M,)
    slot: Ints  # (M,) dispatched slot + 1 periods ago

    @classmethod
    def every(cls, tables: Tables) -> SlotRows:
        """All slots of all lanes."""
        slot, lane = np.divmod(np.arange(tables.K * tables.L), max(tables.L, 1))
        return cls(lane, slot)

    @classmethod
    def usable(cls, tables: Tables) -> SlotRows:
        """Those that can hold units, with lead times as the scenario has them."""
        rows = cls.every(tables)
        used = rows.slot < tables.max_lead_time[rows.lane] - 1
        return cls(rows.lane[used], rows.slot[used])


def every_row(in_transit: Array, ops: Ops) -> Array:
    """``in_transit`` (L, P, K, A, B) in the layout of :meth:`SlotRows.every`: (K * L, P, A, B)."""
    return ops.moveaxis(in_transit, 2, 0).reshape((-1, in_transit.shape[1], *in_transit.shape[3:]))


class Owned(NamedTuple):
    """Units that cells own."""

    standing: Array  # (N * P, B) on hand, less the backlog of customers whose first source the cell is
    rows: Array  # (M * P, B) in transit
    position: Array  # (N * P, B) on hand and in transit to the cell


class Stock:
    """Local inventory position: stock on hand and in transit, less backlog of customers that are served here first."""

    def __init__(self, tables: Tables, ops: Ops, rows: SlotRows) -> None:
        t = tables
        self.ops, self.cells = ops, t.N * t.P
        self.by_target = Segments(t.lane_target[rows.lane], t.N, ops) if len(rows.lane) else None
        first = t.first_cell.reshape(-1)
        waits = (t.lost_share < 1).any() and (first >= 0).any()
        self.by_first_source = Segments(first, self.cells, ops) if waits else None

    def __call__(self, on_hand: Array, rows: Array, backlog: Array) -> Owned:
        """From ``on_hand`` (N, P, A, B), ``rows`` (M, P, A, B) and ``backlog`` (C, P, W, B)."""
        ops, worlds = self.ops, on_hand.shape[-1]
        standing = ops.total(on_hand, 2).reshape((self.cells, worlds))
        if self.by_first_source is not None:
            waits = ops.total(backlog, 2)
            standing = standing - self.by_first_source.sum(waits.reshape((-1, worlds)))
        amounts = ops.total(rows, 2)
        position = standing
        if self.by_target is not None:
            position = standing + self.by_target.sum(amounts).reshape((self.cells, worlds))
        return Owned(standing, amounts.reshape((-1, worlds)), position)


class Later:
    """Units in transit to a lane's target that arrive after what the lane would bring if it shipped now.

    Parameters
    ----------
    lanes
        (n,) lane cells that ask.
    """

    def __init__(self, tables: Tables, lanes: Ints, ops: Ops, rows: SlotRows) -> None:
        t = tables
        # Periods from now until a row arrives, if the lead time of its lane is the nominal one.
        due = np.maximum(t.nominal_lead_time[rows.lane] - rows.slot - 1, 1)
        asking, products = lanes // t.P, lanes % t.P
        row, group = members_of(t.lane_target[rows.lane], t.lane_target[asking], t.N)
        later = t.lane_carries[rows.lane[row], products[group]] & (due[row] > t.nominal_lead_time[asking[group]])
        group, row = group[later], row[later]
        self.any = bool(len(row))
        self.picked = ops.index(row * t.P + products[group])
        self.segments = Segments(group, len(lanes), ops)

    def __call__(self, rows: Array) -> Array:
        """(n, B) of rows (M * P, B)."""
        return self.segments.sum(rows[self.picked])


def cover(tables: Tables, forest: Forest, echelon: bool, lots: bool = True) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the demand that a node's position covers, each (N, P).

    Local: the node's mean flow over its primary lead time and one period. Echelon: of every customer first served
    in the echelon, its demand over all primary lead times down to its source and one period (Clark and Scarf,
    Management Science 6(4), 1960). Where a lane can be asked every R periods only, what stands in a period is what the
    last request left of lead time + 1 to lead time + R periods of demand: their mean, and as a further source of variance
    that they differ. Where the lane takes lots of Q units, batches or a minimum order, what the last request left the
    position at is up to Q / 2 from its level, evenly spread (Hadley and Whitin, Analysis of Inventory Systems, 1963, section
    4-7): Q^2 / 12 more, unless ``lots`` is False. Nominal lead times; demands of periods and customers taken as independent.
    """
    t = tables
    lead = np.zeros(t.N * t.P)
    fed = forest.primary >= 0
    review = np.ones(t.N * t.P)
    review[fed] = t.review[forest.primary[fed] // t.P]
    lead[fed] = t.nominal_lead_time[forest.primary[fed] // t.P]
    lead = lead + (review - 1) / 2
    apart, chains = (review**2 - 1) / 12, t.served_above
    covered, differs = (chains.from_below(one) if echelon else one[chains.cells] for one in (lead, apart))
    demand, variation = t.mean_demand.reshape(-1)[chains.items], t.demand_sd.reshape(-1)[chains.items] ** 2
    mean = chains.totals(demand * (covered + 1))
    variance = chains.totals(variation * (covered + 1))
    variance += chains.totals(demand * np.sqrt(differs)) ** 2
    if lots:
        variance[fed] += t.lot.reshape(-1)[forest.primary[fed]] ** 2 / 12
    return mean.reshape((t.N, t.P)), np.sqrt(variance).reshape((t.N, t.P))


def longest_way(tables: Tables) -> int:
    """Periods along the slowest path of primary lanes, nominal lead times."""
    t, forest = tables, Forest(tables)
    way = np.zeros(t.N * t.P, dtype=np.int64)
    for cells in forest.by_depth[1:]:
        way[cells] = way[forest.parent[cells]] + t.nominal_lead_time[forest.primary[cells] // t.P]
    return int(way.max(initial=0))
