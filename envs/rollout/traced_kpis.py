"""Sums of key performance indicators as a period traced by JAX adds them up: what :class:`KpiAccumulator` does."""

from __future__ import annotations

from typing import Any

from ..accounts.kpis import KpiAccumulator
from ..accounts.ledger import Fleet
from ..accounts.waiting_times import Waiting
from ..core.backend import Array
from ..core.jax_backend import JaxOps
from ..core.named_tuples import mapped
from ..core.typing import Floats
from ..dynamics.rounding import SINGLE, short_of
from ..dynamics.state import Flows
from ..network.tables import Tables

Kept = dict[str, Any]  # sums by name, nested


class TracedKpis:
    """Sums as pure functions: :meth:`nothing` is what they begin with, and :meth:`add` adds a period.

    All sums are double precision, whatever the simulation is in.

    Parameters
    ----------
    tables, ops
        The compiled scenario and the backend of the simulation.
    within
        Periods w for which service within w is wanted.
    periods
        Number of periods that are added up.
    """

    def __init__(self, tables: Tables, ops: JaxOps, within: tuple[int, ...], periods: int) -> None:
        t = tables
        self.tables, self.ops, self.wide, self.periods = t, ops, JaxOps(), periods
        self._accumulated = like = KpiAccumulator(t, 1, within, t.warm_up)  # says what is added up; holds nothing
        self.under_way = like.counts_under_way  # known once a period was traced
        dust = short_of(t, ops.float)
        self._dust: Any = dust if isinstance(dust, float) else self.wide.constant(dust[:, None, None])
        self._fleet = Fleet(t, ops, like.moving)
        self._orders = like.orders
        days = self._orders.days
        self._open = None if days.always else days.open_in(periods)[..., None, None]  # (periods, L, 1, 1)
        self._waiting = _TracedWaiting(t, self.wide, within, self._dust) if like.waits else None

    def nothing(self, worlds: int) -> Kept:
        """Sums of no period, for so many worlds."""
        t, wide = self.tables, self.wide

        def zeros(*shape: int) -> Array:
            return wide.zeros((*shape, worlds), wide.float)

        tiers = len(self._orders.tiers)
        found: Kept = {
            "sums": {name: zeros(*one.shape[:-1]) for name, one in self._accumulated.sums.items()},
            "stockouts": zeros(t.C),
            "vehicles": zeros(self._fleet.size),
            "orders": {name: zeros(tiers, t.P) for name in self._orders.sums},
            "missing": zeros(tiers if self._orders.days.always else t.L, t.P),
        }
        if self._waiting is not None:
            found["waiting"] = self._waiting.nothing(worlds, self.periods)
        return found

    # In a traced period ----------------------------------------------------------------------------

    def add(self, kept: Kept, flows: Flows, number: Array, counts: Array) -> Kept:
        """Sums with a period added.

        Parameters
        ----------
        kept
            The sums so far.
        flows
            What flowed.
        number
            Of the period among those that are reported; below 0 in the warm-up.
        counts
            Whether it is one of them.
        """
        wide = self.wide
        widened = mapped(lambda one: None if one is None else wide.to_float(wide.box(one.value)), flows)

        def plus(total: Array, value: Array) -> Array:
            return total + wide.where(counts, value, 0)

        found = dict(kept)
        found["sums"] = {
            name: total if getattr(widened, name) is None else plus(total, getattr(widened, name))
            for name, total in kept["sums"].items()
        }
        if flows.in_transit is None:
            self.under_way = False
        unserved = widened.demand - widened.served_new
        short = wide.to_float((unserved > self._dust).any(1))
        found["stockouts"] = plus(kept["stockouts"], short)
        if self._fleet.size:
            found["vehicles"] = plus(kept["vehicles"], wide.box(self._fleet.vehicles(self._fleet.moved(flows)).value))
        if self._orders.tiers:
            found["orders"], found["missing"] = self._with_orders(kept, widened, number, counts)
        if self._waiting is not None:
            lost_new = widened.lost_new if "lost_new" in self._accumulated.sums else None
            lost = widened.lost if "lost" in self._accumulated.sums else None
            found["waiting"] = self._waiting.add(
                kept["waiting"], widened.backlog, unserved, lost_new, lost, number, counts
            )
        return found

    def _with_orders(self, kept: Kept, flows: Flows, number: Array, counts: Array) -> tuple[Kept, Array]:
        """Sums of orders and demand by tier, and what of the orders is not shipped yet."""
        wide, orders, missing = self.wide, self._orders, kept["missing"]
        known = wide.to_float(counts & (number >= orders.days.unknown))
        placed: Any = None
        if self._open is not None:
            can = wide.box(self._open)[wide.maximum(number, 0)]
            placed = wide.where(can, flows.requests - missing, 0.0)
            missing = wide.where(counts & can, flows.requests - flows.shipped, missing)
        left, wanted = [], wide.zeros((1,), wide.float)
        found: dict[str, list[Array]] = {name: [] for name in orders.sums}
        for k in range(len(orders.tiers)):
            order = orders.lanes[k].total_of(flows.requests if placed is None else placed, wide)
            if placed is None:
                left.append(order - orders.lanes[k].total_of(flows.shipped, wide))
                order = order - missing[k]
            if k not in orders.same:
                wanted = (orders.customers[k].total_of(flows.demand, wide) - orders.around[k]) * known
            order = (order - orders.around[k]) * known
            for key, value in (("order", order), ("demand", wanted)):
                found[key].append(value)
                found[key + "2"].append(value * value)
        if placed is None:
            missing = wide.where(counts, wide.stack(left, 0), 0)
        return {name: kept["orders"][name] + wide.stack(rows, 0) for name, rows in found.items()}, missing

    # When all periods are done ---------------------------------------------------------------------

    def hand_over(self, kept: Kept, whole: KpiAccumulator, place: slice, demand: Floats) -> None:
        """Put the sums of the first worlds into those of a whole batch.

        Parameters
        ----------
        kept
            The sums, as NumPy arrays.
        whole
            Sums of the whole batch.
        place
            Where these worlds belong in it.
        demand
            (periods, C, P, worlds) units that were added up.
        """
        mine, count = slice(0, place.stop - place.start), len(demand)
        for name, total in whole.sums.items():
            total[..., place] = kept["sums"][name][..., mine]
        stockouts, vehicles = kept["stockouts"][..., mine], kept["vehicles"][..., mine]
        whole.take_over(place, count, stockouts, vehicles, self.under_way, self.ops.float)
        orders = whole.orders
        for name, total in orders.sums.items():
            total[..., place] = kept["orders"][name][..., mine]
        orders.periods[place] = max(count - orders.days.unknown, 0) if orders.tiers else 0
        if self._waiting is not None and whole.waiting is not None:
            self._waiting.hand_over(kept["waiting"], whole.waiting, place, mine, demand)


class _TracedWaiting:
    """What :class:`Waiting` keeps. Row ``ahead + t`` of what joined is J at the close of period t."""

    def __init__(self, tables: Tables, wide: JaxOps, within: tuple[int, ...], dust: Any) -> None:
        self.wide, self.dust = wide, dust
        like = Waiting(tables, 1, within)
        self.shape = like.longest.shape[:-1]
        self.depths, self.deepest, self.ahead = sorted(like.unserved), like.deepest, like.filled

    def nothing(self, worlds: int, periods: int) -> Kept:
        wide, shape = self.wide, (*self.shape, worlds)
        return {
            "joined": wide.zeros((self.ahead + periods, *shape), wide.float),
            "unserved": {str(k): wide.zeros(shape, wide.float) for k in self.depths},
            "longest": wide.zeros(shape, wide.int),
            "left": wide.zeros(shape, wide.float),
            "standing": wide.zeros(shape, wide.float),
            "lost": wide.zeros((self.deepest, *shape), wide.float),  # newest first
        }

    def add(
        self,
        kept: Kept,
        backlog: Array | None,
        unserved: Array,
        lost_new: Array | None,
        lost: Array | None,
        number: Array,
        counts: Array,
    ) -> Kept:
        """See :meth:`Waiting.add`; all is 0 until the first period that counts."""
        wide = self.wide
        row = wide.maximum(number, 0) + self.ahead
        backlog = kept["standing"] * 0 if backlog is None else backlog
        joining, standing = unserved, backlog
        lost_now = kept["standing"] * 0
        if lost_new is not None:
            lost_now = lost_new
            joining = joining - lost_now
            if lost is not None:
                standing = backlog + (lost - lost_now)
        now = wide.where(counts, kept["joined"][row - 1] + joining, 0)
        # Written first and read afterwards, so that the compiler need not copy all rows.
        joined = self._with_row(kept["joined"], row, now)
        gone = now - standing
        older: dict[int, Array] = {}
        for k in sorted({k + step for k in self.depths for step in (0, 1)}):
            older[k] = wide.maximum((now if k == 0 else joined[row - k]) - gone, 0)
        totals = {
            str(k): kept["unserved"][str(k)] + wide.where(counts, older[k] - older[k + 1], 0) for k in self.depths
        }
        # As at the close before: does what joined when the longest wait began still stand, it waits a period longer.
        dust = self.dust if isinstance(self.dust, float) else self.dust + kept["standing"] * SINGLE
        at = row - 1 - kept["longest"]
        late = (self._picked(joined, wide.maximum(at, 0)) - kept["left"] > dust) & (at >= self.ahead)
        late = late & (kept["standing"] > dust) & counts
        found = {
            "joined": joined,
            "unserved": totals,
            "longest": kept["longest"] + wide.to_int(late),
            "left": wide.where(counts, now - backlog, 0),
            "standing": wide.where(counts, backlog, 0),
            "lost": kept["lost"],
        }
        if self.deepest:
            found["lost"] = wide.concat([wide.where(counts, lost_now, 0)[None], kept["lost"][:-1]], 0)
        return found

    def _with_row(self, rows: Array, row: Array, new: Array) -> Array:
        wide = self.wide
        return wide.box(wide.jax.lax.dynamic_update_index_in_dim(rows.value, new.value, row.value, 0))

    def _picked(self, rows: Array, at: Array) -> Array:
        """Of each cell, the row ``at``."""
        wide = self.wide
        return wide.box(wide.jnp.take_along_axis(rows.value, at.value[None], axis=0, mode="clip")[0])

    def hand_over(self, kept: Kept, whole: Waiting, place: slice, mine: slice, demand: Floats) -> None:
        """See :meth:`TracedKpis.hand_over`."""
        count, ended = len(demand), {k: kept["unserved"][str(k)][..., mine] for k in whole.unserved}
        backs = range(min(count, whole.deepest))
        recent = [(demand[count - 1 - back][..., mine], kept["lost"][back][..., mine]) for back in backs]
        whole.take(place, ended, kept["longest"][..., mine], recent)
