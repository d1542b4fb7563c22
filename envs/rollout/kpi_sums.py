"""Sums of key performance indicators as a recorded period adds them up: what :class:`KpiAccumulator` does."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..accounts.kpis import KpiAccumulator
from ..accounts.ledger import Fleet
from ..accounts.waiting_times import Waiting
from ..compiler.recorder import Program, RecordedArray
from ..core.backend import Array, NumpyOps
from ..core.typing import NumpyArray
from ..dynamics.rounding import short_of
from ..dynamics.state import Flows
from ..network.tables import Tables
from .tape_part import Rows


class KpiSums:
    """Sums of W worlds, in memory that a program adds to.

    Parameters
    ----------
    tables, ops
        The compiled scenario and the backend of the recording.
    worlds
        Number of worlds W.
    within
        Periods w for which service within w is wanted.
    periods
        Most periods that are added up.
    """

    def __init__(self, tables: Tables, ops: NumpyOps, worlds: int, within: tuple[int, ...], periods: int) -> None:
        t = tables
        self.tables, self.ops, self.worlds, self.within = t, ops, worlds, within
        self.accumulated = accumulated = KpiAccumulator(t, worlds, within, t.warm_up)
        self.sums = accumulated.sums
        self.dust: Any = short_of(t, ops.float)
        self.stockouts = np.zeros((t.C, worlds))
        self.fleet = Fleet(t, ops, accumulated.moving)
        self.vehicles = np.zeros((self.fleet.size, worlds))
        self.orders = accumulated.orders
        days = self.orders.days
        self.missing = np.zeros((len(self.orders.tiers) if days.always else t.L, t.P, worlds))
        rows = {"known": np.arange(periods)[:, None] >= days.unknown}  # (periods, 1)
        if not days.always:
            rows["open"] = days.open_in(periods)[..., None]  # (periods, L, 1)
        self.rows = {name: np.broadcast_to(one, (*one.shape[:-1], worlds)).copy() for name, one in rows.items()}
        self.counted_under_way = accumulated.counts_under_way
        self.waiting = _WaitingSums(tables, worlds, within, periods, self.dust) if accumulated.waits else None

    @property
    def inputs(self) -> dict[str, Rows]:
        """What a period reads, by name."""
        found = {name: Rows(rows, counted=True) for name, rows in self.rows.items()}
        return found if self.waiting is None else found | self.waiting.inputs

    @property
    def written(self) -> list[tuple[NumpyArray, Rows]]:
        """What a period writes: memory that it was recorded with, and where its rows belong."""
        return [] if self.waiting is None else self.waiting.written

    def clear(self) -> None:
        """Begin anew."""
        kept = [
            *self.sums.values(),
            self.stockouts,
            self.vehicles,
            *self.orders.sums.values(),
            self.missing,
        ]
        for array in kept:
            array[...] = 0
        if self.waiting is not None:
            self.waiting.clear()

    # In a recorded period --------------------------------------------------------------------------

    def add(self, flows: Flows, program: Program, given: dict[str, Array]) -> None:
        """Add a period; ``given`` are the recorded forms of what is moving, by name."""
        ops = self.ops
        for name, total in self.sums.items():
            value = getattr(flows, name)
            if value is not None:
                np.add(total, value, out=total)
        if flows.in_transit is None:
            self.counted_under_way = False
        unserved = flows.demand - flows.served_new
        short = np.logical_or.reduce(unserved > self.dust, axis=1)
        np.add(self.stockouts, short, out=self.stockouts)
        if self.fleet.size:
            np.add(self.vehicles, self.fleet.vehicles(self.fleet.moved(flows)), out=self.vehicles)
        self._add_orders(flows, program, given)
        if self.waiting is not None:
            self.waiting.add(flows, unserved, self.accumulated, program, given, ops)

    def _add_orders(self, flows: Flows, program: Program, given: dict[str, Array]) -> None:
        orders, ops, known = self.orders, self.ops, given["known"]
        if not orders.tiers:
            return
        missing = RecordedArray(self.missing, program, None)
        placed: Any = None
        if not orders.days.always:
            can = given["open"][:, None]
            placed = ops.where(can, flows.requests - missing, 0.0)
            missing[...] = ops.where(can, flows.requests - flows.shipped, missing)
        wanted: Any = None
        for k in range(len(orders.tiers)):
            if placed is None:
                order = orders.lanes[k].total_of(flows.requests, ops)
                short = order - orders.lanes[k].total_of(flows.shipped, ops)
                order = order - missing[k]
                missing[k] = short
            else:
                order = orders.lanes[k].total_of(placed, ops)
            if k not in orders.same:
                wanted = (orders.customers[k].total_of(flows.demand, ops) - orders.around[k]) * known
            order = (order - orders.around[k]) * known
            for key, value in (("order", order), ("demand", wanted)):
                total, squares = orders.sums[key][k], orders.sums[key + "2"][k]
                np.add(total, value, out=total)
                np.add(squares, value * value, out=squares)

    # When all periods are done ---------------------------------------------------------------------

    def hand_over(self, whole: KpiAccumulator, start: int, stop: int, demand: NumpyArray) -> None:
        """Put the sums of the first worlds into those of a whole batch; ``demand`` (periods, C, P, W) is what was added."""
        place, mine, count = slice(start, stop), slice(0, stop - start), len(demand)
        for name, total in whole.sums.items():
            total[..., place] = self.sums[name][..., mine]
        whole.take_over(place, count, self.stockouts[..., mine], self.vehicles[..., mine], self.counted_under_way)
        for key, total in whole.orders.sums.items():
            total[..., place] = self.orders.sums[key][..., mine]
        whole.orders.periods[place] = max(count - self.orders.days.unknown, 0) if self.orders.tiers else 0
        if self.waiting is not None and whole.waiting is not None:
            self.waiting.hand_over(whole.waiting, place, mine, demand)


class _WaitingSums:
    """What :class:`Waiting` keeps, one period at a time and without a look at values.

    Whether the longest wait of a customer grows is asked of every cell. What had joined when the longest wait began
    is looked up in the rows of all periods: row ``ahead + t`` is J at the close of period t.
    """

    def __init__(self, tables: Tables, worlds: int, within: tuple[int, ...], periods: int, dust: Any) -> None:
        t = tables
        self.dust = dust
        shape = (t.C, t.P, worlds)
        self.kept = kept = Waiting(t, worlds, within, dust)
        self.depths = sorted(kept.unserved)
        self.back = kept.deepest + 1  # rows that are looked back
        self.ahead = kept.filled
        self.joined = np.zeros((self.ahead + periods, *shape))
        self.lost = np.zeros((periods, *shape))
        self.closes = np.broadcast_to((self.ahead - 1 + np.arange(periods))[:, None], (periods, worlds)).copy()
        self.unserved = {k: np.zeros(shape) for k in self.depths}
        self.longest = np.zeros(shape, dtype=np.int64)
        self.left, self.standing = np.zeros(shape), np.zeros(shape)
        self.cells = np.arange(self.longest.size).reshape(shape)
        self.joined_now, self.lost_now = np.zeros(shape), np.zeros(shape)

    @property
    def inputs(self) -> dict[str, Rows]:
        """See :class:`KpiSums`."""
        found = {f"joined {k}": Rows(self.joined, self.ahead - k, counted=True) for k in range(1, self.back + 1)}
        return {**found, "closes": Rows(self.closes, counted=True)}

    @property
    def written(self) -> list[tuple[NumpyArray, Rows]]:
        """See :class:`KpiSums`."""
        return [
            (self.joined_now, Rows(self.joined, self.ahead, counted=True)),
            (self.lost_now, Rows(self.lost, counted=True)),
        ]

    def clear(self) -> None:
        """Begin anew; rows are written before they are read, but for those ahead of the first, which stay 0."""
        for array in (*self.unserved.values(), self.longest, self.left, self.standing):
            array[...] = 0

    def add(
        self,
        flows: Flows,
        unserved: Array,
        accumulated: KpiAccumulator,
        program: Program,
        given: dict[str, Array],
        ops: NumpyOps,
    ) -> None:
        """Add a period."""

        def own(array: NumpyArray) -> RecordedArray:
            return RecordedArray(array, program, None)

        backlog = own(self.standing) * 0.0 if flows.backlog is None else ops.to_float(flows.backlog)
        joining, standing = ops.to_float(unserved), backlog
        if "lost_new" in accumulated.sums and flows.lost_new is not None:
            lost_new = ops.to_float(flows.lost_new)
            joining = joining - lost_new
            own(self.lost_now)[...] = lost_new
            if "lost" in accumulated.sums and flows.lost is not None:
                standing = backlog + (ops.to_float(flows.lost) - lost_new)
        now = given["joined 1"] + joining
        gone = now - standing
        older: dict[int, Array] = {}
        for k in sorted({k + step for k in self.depths for step in (0, 1)}):
            before = now if k == 0 else given[f"joined {k}"]
            older[k] = np.maximum(before - gone, 0.0)
        for k, total in self.unserved.items():
            np.add(total, older[k] - older[k + 1], out=total)
        # As at the close before: does what joined when the longest wait began still stand, it waits a period longer.
        at = given["closes"] - own(self.longest)
        rows = own(self.joined.reshape(-1))
        joined = rows[ops.maximum(at, 0) * self.cells.size + self.cells]
        late = (joined - own(self.left) > self.dust) & (at >= self.ahead) & (own(self.standing) > self.dust)
        np.add(self.longest, late, out=self.longest)
        own(self.left)[...] = now - backlog
        own(self.standing)[...] = backlog
        own(self.joined_now)[...] = now

    def hand_over(self, whole: Waiting, place: slice, mine: slice, demand: NumpyArray) -> None:
        """See :meth:`KpiSums.hand_over`."""
        count, ended = len(demand), {k: total[..., mine] for k, total in self.unserved.items()}
        newest = range(count - 1, count - 1 - min(count, whole.deepest), -1)
        recent = [(demand[row][..., mine], self.lost[row][..., mine]) for row in newest]
        whole.take(place, ended, self.longest[..., mine], recent)
