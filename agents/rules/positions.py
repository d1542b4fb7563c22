"""Inventory positions over the primary forest: whose stock counts for whose order.

A *cell* is a node with a product, numbered ``node * P + product``; a *lane cell* likewise. A node's primary lane is
the first listed into it; primary lanes form a forest, and the echelon of a node is itself with its primary
descendants. Everything is computed over flat cells, batch last, so that products cost no further array operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.backend import Array, Ops
from echelongym.envs.dynamics import Segments
from echelongym.envs.observation import Observation
from echelongym.envs.tables import Tables

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Forest:
    """The primary forest as flat arrays.

    Attributes
    ----------
    parent : (N * P,) cell that feeds each cell over its primary lane, -1 = none.
    depth : (N * P,) primary lanes above each cell.
    primary : (N * P,) lane cell of the primary lane, -1 = none.
    """

    def __init__(self, tables: Tables) -> None:
        t = tables
        products = np.tile(np.arange(t.P), t.N)
        lane = t.primary_lane.reshape(-1)
        self.primary = np.where(lane >= 0, lane * t.P + products, -1)
        source = t.lane_source[np.maximum(lane, 0)] if t.L else lane
        self.parent = np.where(lane >= 0, source * t.P + products, -1)
        self.depth = np.zeros(t.N * t.P, dtype=np.int64)
        above = self.parent
        while (above >= 0).any():
            self.depth += above >= 0
            above = np.where(above >= 0, self.parent[np.maximum(above, 0)], -1)

    def ancestors(self, cell: int) -> list[int]:
        """Cells above ``cell``, nearest first."""
        found = []
        while (cell := int(self.parent[cell])) >= 0:
            found.append(cell)
        return found


class Accumulator:
    """Sums over echelons, deepest cells first; sources without limit are left out."""

    def __init__(self, tables: Tables, forest: Forest, ops: Ops) -> None:
        limited = ~np.repeat(tables.is_supplier, tables.P)
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
            out[parents] = out[parents] + segments.sum(out[children])
        return out


class Stock:
    """What each cell owns: stock and all under way to it, less who waits for it first."""

    def __init__(self, tables: Tables, ops: Ops) -> None:
        t = tables
        self.ops, self.cells = ops, t.N * t.P
        lane_target = (t.lane_target[:, None] * t.P + np.arange(t.P)).reshape(-1)
        self.by_target = Segments(lane_target, self.cells, ops)
        first = np.where(t.first_source >= 0, t.first_source * t.P + np.arange(t.P), -1).reshape(-1)
        waits = (t.lost_share < 1).any() and (first >= 0).any()
        self.by_first_source = Segments(first, self.cells, ops) if waits else None
        self.under_way_possible = bool((t.max_lead_time > 0).any())

    def __call__(self, observation: Observation) -> tuple[Array, Array, Array]:
        """Stock on hand less backlog (N * P, B), slots under way (L * P * K, B), and both together (N * P, B)."""
        ops = self.ops
        on_hand = ops.total(ops.moveaxis(observation.on_hand, 0, -1), 2)
        worlds = on_hand.shape[-1]
        standing = on_hand.reshape((self.cells, worlds))
        if self.by_first_source is not None:
            backlog = ops.total(ops.moveaxis(observation.backlog, 0, -1), 2)
            standing = standing - self.by_first_source.sum(backlog.reshape((-1, worlds)))
        slots = ops.total(ops.moveaxis(observation.in_transit, 0, -1), 3)
        position = standing
        if self.under_way_possible:
            under_way = ops.total(slots, 2).reshape((-1, worlds))
            position = standing + self.by_target.sum(under_way)
        return standing, slots.reshape((-1, worlds)), position


class Later:
    """Units under way to a lane's target that arrive after what the lane would bring if it shipped now.

    Parameters
    ----------
    lanes
        (n,) lane cells that ask.
    counted
        (n, L) whether units on a lane may be left out of a position at all.
    """

    def __init__(self, tables: Tables, lanes: Ints, counted: NDArray[np.bool_], ops: Ops) -> None:
        t = tables
        # Periods from now until slot k of a lane arrives, if its lead time is the nominal one.
        due = np.maximum(t.nominal_lead_time[:, None] - np.arange(t.K) - 1, 1)  # (L, K)
        slots, group = [], []
        for i, cell in enumerate(lanes):
            lane, product = divmod(int(cell), t.P)
            into = (t.lane_target == t.lane_target[lane]) & t.lane_carries[:, product] & counted[i]
            for other in np.flatnonzero(into):
                # A slot at or beyond the lane's longest lead time is always empty.
                for k in range(min(t.K, max(int(t.max_lead_time[other]) - 1, 0))):
                    if due[other, k] > t.nominal_lead_time[lane]:
                        slots.append((other * t.P + product) * t.K + k)
                        group.append(i)
        self.any = bool(slots)
        self.slots = ops.index(np.array(slots, dtype=np.int64))
        self.segments = Segments(np.array(group, dtype=np.int64), len(lanes), ops)

    def __call__(self, under_way: Array) -> Array:
        """(n, B) of slots (L * P * K, B)."""
        return self.segments.sum(under_way[self.slots])


def cover(tables: Tables, forest: Forest, echelon: bool) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the demand that a node's position covers, each (N, P).

    Local: the node's mean flow over its primary lead time and one period. Echelon: of every customer first served
    in the echelon, its demand over all primary lead times down to its source and one period (Clark and Scarf,
    Management Science 6(4), 1960). Nominal lead times; demands of periods and customers taken as independent.
    """
    t = tables
    mean, variance = np.zeros(t.N * t.P), np.zeros(t.N * t.P)
    lead = np.zeros(t.N * t.P)
    fed = forest.primary >= 0
    lead[fed] = t.nominal_lead_time[forest.primary[fed] // t.P]
    for c in range(t.C):
        for p in range(t.P):
            if t.first_source[c, p] < 0:
                continue
            cell, total = int(t.first_source[c, p]) * t.P + p, 0.0
            for node in (cell, *forest.ancestors(cell)):
                total = total + lead[node] if echelon else lead[node]
                mean[node] += t.mean_demand[c, p] * (total + 1)
                variance[node] += t.demand_sd[c, p] ** 2 * (total + 1)
    return mean.reshape((t.N, t.P)), np.sqrt(variance).reshape((t.N, t.P))


Index = Any  # what Ops.index gives
