"""Step 4, Ship: requests cut to lanes, shared over stock, cut to nodes, and their ages."""

from __future__ import annotations

import numpy as np

from ..core.backend import Array, Ops, replaced
from ..core.segments import Segments
from ..network.tables import Tables
from ..worlds.tape_arrays import Exogenous
from .units import TINY, Units


class Shipping:
    """Turns requests into shipments; assembled from the steps that the scenario needs."""

    def __init__(self, tables: Tables, ops: Ops, units: Units) -> None:
        self.ops, self.units, self.tables = ops, units, tables
        t = tables
        self.open = None if t.lane_open.all() else units.amount(t.lane_open[..., None])
        self.batch = units.amount(t.batch[..., None]) if t.batch.any() else None
        self.minimum = units.amount(t.minimum_order[..., None]) if t.minimum_order.any() else None
        self.volume = ops.constant(t.volume[None, :, None])
        self.source_of_lane = ops.index(np.maximum(t.lane_source, 0))
        capped = np.flatnonzero(np.isfinite(t.lane_capacity))
        self.capped_lanes = ops.index(capped) if len(capped) else None
        self.lane_capacity = ops.constant(t.lane_capacity[capped, None])
        self._prepare_sharing()
        self._prepare_node_capacity()

    def _prepare_sharing(self) -> None:
        """Stock nodes with outgoing lanes, and their lanes by level of priority."""
        t, ops = self.tables, self.ops
        scarce = (t.lane_source >= 0) & ~t.is_supplier[np.maximum(t.lane_source, 0)]
        lanes = np.flatnonzero(scarce)
        nodes = np.unique(t.lane_source[lanes])
        level = np.zeros(len(lanes), dtype=np.int64)
        for node in nodes:
            at = t.lane_source[lanes] == node
            level[at] = np.unique(t.lane_priority[lanes[at]], return_inverse=True)[1]
        self.nodes, self.lanes = ops.index(nodes), ops.index(lanes)
        self.sharing = bool(len(lanes))
        compact = np.searchsorted(nodes, t.lane_source[lanes])
        self.by_source = Segments(compact, len(nodes), ops)
        self.levels = []
        for number in range(int(level.max(initial=-1)) + 1):
            chosen = np.flatnonzero(level == number)
            groups = Segments(compact[chosen], len(nodes), ops)
            self.levels.append((ops.index(lanes[chosen]), groups))
        from_supplier = np.flatnonzero((t.lane_source >= 0) & ~scarce)
        self.from_supplier = ops.index(from_supplier) if len(from_supplier) else None
        fresh = np.zeros((1, t.P, t.A, 1))
        fresh[0, np.arange(t.P), t.fresh_class, 0] = 1
        self.fresh = self.units.amount(fresh)

    def _prepare_node_capacity(self) -> None:
        t, ops = self.tables, self.ops
        nodes = np.flatnonzero(np.isfinite(t.node_capacity))
        position = np.full(t.N + 1, -1)
        position[nodes] = np.arange(len(nodes))
        of_lane = position[t.lane_source]  # index -1 (no source) reads the last, which is -1
        lanes = np.flatnonzero(of_lane >= 0)
        self.node_lanes = ops.index(lanes) if len(lanes) else None
        self.capped_nodes = ops.index(nodes) if len(nodes) else None
        self.node_capacity = ops.constant(t.node_capacity[nodes, None])
        self.lanes_by_capped_node = Segments(of_lane[lanes], len(nodes), ops)

    def requested(self, requests: Array) -> Array:
        """(L, P, B) requests in this world's units and batches; below a minimum order, that or nothing.

        The nearer of the two, half up.
        """
        rounded = self.units.rounded(requests, self.batch)
        if self.minimum is None:
            return rounded
        enough = self.ops.cast(2 * requests >= self.minimum, self.units.dtype)
        return self.ops.maximum(rounded, self.minimum) * enough

    def quantities(self, requests: Array, stock: Array, exogenous: Exogenous) -> Array:
        """(L, P, B) units shipped of ``requests``, given ``stock`` (N, P, B)."""
        ops, units = self.ops, self.units
        amounts = requests if self.open is None else requests * self.open
        available = exogenous.node_availability
        if available is not None:
            working = ops.cast(available > 0, units.dtype)
            amounts = amounts * working[self.source_of_lane][:, None]
        amounts = self._cut_to_lanes(amounts, exogenous.lane_availability)
        if self.sharing:
            amounts = self._share(amounts, stock[self.nodes], exogenous.split)
        if self.node_lanes is not None:
            amounts = self._cut_to_nodes(amounts, available)
        return amounts

    def _cut_to_lanes(self, amounts: Array, availability: Array | None) -> Array:
        ops, units = self.ops, self.units
        if availability is not None:
            amounts = amounts * ops.cast(availability > 0, units.dtype)[:, None]
        if self.capped_lanes is None:
            return amounts
        capacity = self.lane_capacity
        if availability is not None:
            capacity = capacity * availability[self.capped_lanes]
        chosen = amounts[self.capped_lanes]
        cut = units.cut(chosen, capacity, ops.total(chosen * self.volume, 1))
        return replaced(self.ops, amounts, self.capped_lanes, cut)

    def _cut_to_nodes(self, amounts: Array, availability: Array | None) -> Array:
        ops = self.ops
        groups, capacity = self.lanes_by_capped_node, self.node_capacity
        if availability is not None:
            capacity = capacity * availability[self.capped_nodes]
        chosen = amounts[self.node_lanes]
        volume = groups.sum(ops.total(chosen * self.volume, 1))
        cut = self.units.cut(chosen, groups.spread(capacity), groups.spread(volume))
        return replaced(self.ops, amounts, self.node_lanes, cut)

    def _share(self, amounts: Array, stock: Array, split: Array | None) -> Array:
        """Lowest priority number first; within a number in proportion to the claims."""
        luck = None if split is None else split[self.nodes]
        shared = amounts + 0
        for number, (lanes, groups) in enumerate(self.levels):
            dealt = self.units.share(stock, amounts[lanes], groups, luck)
            shared = self.ops.put(shared, lanes, dealt)
            if number + 1 < len(self.levels):
                # Rounding of real numbers may take slightly more than there is.
                stock = self.ops.maximum(stock - groups.sum(dealt), 0)
        return shared

    def aged(self, shipped: Array, on_hand: Array, split: Array | None) -> tuple[Array, Array]:
        """Split shipments by remaining life: oldest units first, every lane the same mix.

        Returns shipments (L, P, A, B) and what is left on hand (N, P, A, B).
        """
        ops, A = self.ops, self.tables.A
        by_age = shipped[:, :, None] * self.fresh if A > 1 else shipped[:, :, None]
        if not self.sharing:
            return by_age, on_hand
        left = on_hand + 0
        quantity = shipped[self.lanes]
        standing = on_hand[self.nodes]
        if A == 1:
            out = self.by_source.sum(quantity)[:, :, None]
            return by_age, ops.put(left, self.nodes, standing - ops.minimum(out, standing))
        if self.units.integer:
            taken, mix = self._dealt_by_age(quantity, standing, split)
        else:
            out = self.by_source.sum(quantity)
            taken = take_in_order(ops, standing, out)
            per_unit = taken / ops.maximum(out, TINY)[:, :, None]
            mix = quantity[:, :, None] * self.by_source.spread(per_unit)
        return ops.put(by_age, self.lanes, mix), ops.put(left, self.nodes, standing - taken)

    def _dealt_by_age(self, owed: Array, standing: Array, split: Array | None) -> tuple[Array, Array]:
        """Whole units: each life class, oldest first, is dealt over what lanes are still owed."""
        ops, taken, mix = self.ops, [], []
        luck = None if split is None else split[self.nodes]
        for age in range(self.tables.A):
            dealt = self.units.share(standing[:, :, age], owed, self.by_source, luck)
            owed = owed - dealt
            mix.append(dealt)
            taken.append(self.by_source.sum(dealt))
        return ops.stack(taken, 2), ops.stack(mix, 2)


def take_in_order(ops: Ops, classes: Array, amount: Array) -> Array:
    """Take ``amount`` (n, P, B) from ``classes`` (n, P, A, B), first class first: what is taken.

    Never more than a class holds; what exceeds all classes is not taken. As differences of running
    totals, so that gradients conserve units also where nothing stands and nothing is taken: class by
    class each would pass on the gradient of the same unit, and many such periods make it explode.
    """
    up_to = ops.minimum(ops.cumulate(classes, 2), amount[:, :, None])
    taken = ops.concat([up_to[:, :, :1], up_to[:, :, 1:] - up_to[:, :, :-1]], 2)
    return ops.minimum(taken, classes)
