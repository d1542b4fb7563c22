"""Bullwhip effect: variance of each tier's orders against the variance of the demand it serves."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.backend import NUMPY, Array, Ops
from ..core.typing import Floats
from ..dynamics.rounding import dust_of
from ..network.calendars import ALWAYS, together
from ..network.tables import Tables
from .linear_costs import row_major
from .waiting_times import fold

# A variance below this share of the mean square is rounding of floating point.
ROUNDING = 1e-12


def tiers_of(tables: Tables) -> NDArray[np.int64]:
    """(N, P) number of primary lanes between a node and the top of its chain; suppliers are 0."""
    t = tables
    tiers = np.zeros((t.N, t.P), dtype=np.int64)
    for p in range(t.P):
        for n in range(t.N):
            lane = t.primary_lane[n, p]
            while lane >= 0:
                tiers[n, p] += 1
                lane = t.primary_lane[t.lane_source[lane], p]
    return tiers


class Orders:
    """Orders and demand: running variances by tier, E tiers from 1 (fed by suppliers) down.

    A tier's *order* for a product in a period is the total of the requests on lanes into its nodes
    from tiers above, less what the period before asked for on them and did not get: a request that
    was not shipped is forgotten and asked again, which is no new order. Where everything asked for
    is shipped, orders are requests. The first period fed has no period before it and is left out,
    of demand too.

    Nothing is ordered on a lane in a period in which it cannot be asked, by its review period, its
    calendar or that of its source: what a policy asks for then is no order, and *the period before*
    is the last one in which the lane could be asked. Periods are left out until all lanes could be.

    Parameters
    ----------
    tables
        The compiled scenario.
    worlds
        Number of worlds B.
    first_period
        Period of the scenario that is fed first, after a reset too.
    """

    def __init__(self, tables: Tables, worlds: int, first_period: int = 0) -> None:
        self.tables = t = tables
        tier = tiers_of(t)
        source = np.maximum(t.lane_source, 0)
        upward = tier[source] < tier[t.lane_target]
        lanes = t.lane_open & (t.lane_source >= 0)[:, None] & upward
        number = np.where(lanes, tier[t.lane_target], 0)
        first = np.maximum(t.first_source, 0)
        depth = np.where(t.first_source >= 0, np.take_along_axis(tier, first, 0), 0)
        #: Tiers, from 1.
        self.tiers = list(range(1, int(number.max(initial=0)) + 1))
        self.lanes = [_Rows(number == k) for k in self.tiers]
        served = [depth >= k for k in self.tiers]
        # Most often every tier serves the same customers: their demand is added up once.
        self.customers = [_Rows(mask) for mask in served]
        self.same = [k for k, mask in enumerate(served) if k and (mask == served[k - 1]).all()]
        # Variances are taken around the mean demand, which keeps their digits.
        around = [(t.mean_demand * (depth >= k)).sum(0) for k in self.tiers]
        self.around = np.array(around).reshape((len(self.tiers), t.P, 1))
        self.days = _OrderDays(t, np.asarray((number > 0).any(1)), worlds, first_period)
        self._targets = [t.lane_target[(number == k).any(1)] for k in self.tiers]
        self._clear(worlds)

    def like(self, worlds: int) -> Orders:
        """The same for B other worlds, empty."""
        other = copy.copy(self)
        other.days = self.days.like(worlds)
        other._clear(worlds)
        return other

    def _clear(self, worlds: int) -> None:
        """New memory for B worlds."""
        shape = (len(self.tiers), self.tables.P, worlds)
        self.sums = {key: np.zeros(shape) for key in ("order", "order2", "demand", "demand2")}
        self.periods = np.zeros(worlds)
        self.seen = np.zeros(worlds)  # periods fed, up to where all is known
        self.all_known = False
        self.missing = np.zeros(shape)  # asked for and not shipped in the period before
        self.count_in(np.float64)

    def count_in(self, dtype: Any) -> None:
        """Take as nothing what rounding leaves of orders in a type."""
        dust = dust_of(self.tables, dtype, 0.0)
        each = [0.0 if isinstance(dust, float) else float(dust[targets].sum()) for targets in self._targets]
        #: (E, 1, 1) units
        self.dust = np.array(each).reshape((-1, 1, 1))

    def add(self, requests: Floats, shipped: Floats, demand: Floats) -> None:
        """Periods in turn, each (periods, lanes or customers, P, B) units."""
        if not self.tiers:
            return
        count = len(requests)
        shape = (count, *self.missing.shape)
        orders, wanted = np.empty(shape), np.empty(shape)
        if self.days.always:
            missing = np.empty(shape)
            for k, rows in enumerate(self.lanes):
                orders[:, k] = rows.total(requests)
                np.subtract(orders[:, k], rows.total(shipped), out=missing[:, k])
            orders[0] -= self.missing
            orders[1:] -= missing[:-1]
            self.missing[...] = missing[-1]  # in place, as recorded programs know where it lies
        else:
            placed = self.days.placed(requests, shipped)
            for k, rows in enumerate(self.lanes):
                orders[:, k] = rows.total(placed)
        for k in range(len(self.tiers)):
            wanted[:, k] = wanted[:, k - 1] if k in self.same else self.customers[k].total(demand)
        orders -= self.around
        wanted -= self.around
        self._leave_out(orders, wanted)
        for key, values in (("order", orders), ("demand", wanted)):
            fold(self.sums[key], values)
            values *= values
            fold(self.sums[key + "2"], values)

    @property
    def settled(self) -> bool:
        """Whether every period from now on counts, and every lane can be asked in it: for :meth:`add_settled`."""
        return not self.tiers or (self.all_known and self.days.always)

    def add_settled(self, requests: Array, shipped: Array, demand: Array, ops: Ops) -> None:
        """Add one period, (lanes or customers, P, B) units, as a program that is recorded can; ``periods`` are left alone."""
        wanted: Any = None
        for k, rows in enumerate(self.lanes):
            asked = ops.to_float(rows.total_of(requests, ops))
            short = asked - ops.to_float(rows.total_of(shipped, ops))
            order = asked - self.missing[k] - self.around[k]
            np.add(short, 0.0, out=self.missing[k])
            if k not in self.same:
                wanted = ops.to_float(self.customers[k].total_of(demand, ops)) - self.around[k]
            for key, value in (("order", order), ("demand", wanted)):
                total, squares = self.sums[key][k], self.sums[key + "2"][k]
                np.add(total, value, out=total)
                np.add(squares, value * value, out=squares)

    def _leave_out(self, orders: Floats, wanted: Floats) -> None:
        """Leave out periods before which not all is known, and count the others."""
        count = len(orders)
        if not self.all_known:
            left = np.clip(self.days.unknown - self.seen, 0, count)  # (B,) of these periods
            counted = np.arange(count)[:, None] >= left
            orders *= counted[:, None, None]
            wanted *= counted[:, None, None]
            self.periods -= left
            self.seen += count
            self.all_known = bool((self.seen >= self.days.unknown).all())
        self.periods += count

    def reset(self, worlds: Any) -> None:
        """Clear the sums of some worlds (B,) bool."""
        for array in (*self.sums.values(), self.periods, self.seen):
            array[..., worlds] = 0
        self.all_known = False
        self.days.reset(worlds)

    def variances(self) -> tuple[Floats, Floats]:
        """Sample variances of orders and of demand, each (E, B), summed over products."""
        found = []
        for key, dust in (("order", self.dust), ("demand", 0.0)):
            total, squares = self.sums[key], self.sums[key + "2"]
            periods = np.maximum(self.periods, 2)
            spread = squares - total * total / periods
            least = ROUNDING * squares + dust**2 * periods
            spread = np.where(spread > least, spread, 0.0) / (periods - 1)
            found.append(NUMPY.total(spread, 1))
        return found[0], found[1]


class _OrderDays:
    """Periods in which lanes can be asked, and what is ordered in them."""

    def __init__(self, tables: Tables, lanes: NDArray[np.bool_], worlds: int, first: int) -> None:
        t = self.tables = tables
        patterns = [
            together(own, t.node_pattern[source]) if lane else ALWAYS
            for own, source, lane in zip(t.lane_pattern, t.lane_source, lanes, strict=True)
        ]
        #: Whether every lane can be asked in every period.
        self.always = all(pattern.all() for pattern in patterns)
        self._lengths = np.array([len(pattern) for pattern in patterns], dtype=np.int64)
        self._starts = np.cumsum([0, *self._lengths])[:-1]
        self._patterns = np.concatenate([*patterns, ALWAYS])
        #: Periods fed until every lane could be asked once.
        self.unknown = 1 + max((int(np.roll(one, -first).argmax()) for one in patterns), default=0)
        self._first = first
        self._clear(worlds)

    def like(self, worlds: int) -> _OrderDays:
        """The same for B other worlds, from the first period on."""
        other = copy.copy(self)
        other._clear(worlds)
        return other

    def _clear(self, worlds: int) -> None:
        self._period = np.full(worlds, self._first)
        self._missing = np.zeros((self.tables.L, self.tables.P, worlds))  # when each lane could be asked last

    def open_in(self, periods: int) -> NDArray[np.bool_]:
        """(periods, L) whether each lane can be asked, from the first period fed on."""
        days = self._first + np.arange(periods)[:, None]
        return np.asarray(self._patterns[self._starts + days % self._lengths])

    def placed(self, requests: Floats, shipped: Floats) -> Floats:
        """(periods, L, P, B) units ordered in some periods: nothing that was asked before, or cannot be asked."""
        found = np.empty(requests.shape)
        for number, (asked, sent) in enumerate(zip(requests, shipped, strict=True)):
            place = self._starts[:, None] + self._period % self._lengths[:, None]
            can = self._patterns[place][:, None]  # (L, 1, B)
            found[number] = np.where(can, asked - self._missing, 0.0)
            self._missing = np.where(can, asked - sent, self._missing)
            self._period += 1
        return found

    def reset(self, worlds: Any) -> None:
        """Begin anew in some worlds (B,) bool."""
        self._period[worlds] = self._first


class _Rows:
    """Totals over some rows of (periods, rows, P, B), which may differ by product."""

    def __init__(self, chosen: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(chosen.any(1))
        if len(rows):
            self.rows = slice(int(rows[0]), int(rows[-1]) + 1)
        else:
            self.rows = slice(0, 1)
        chosen = chosen[self.rows]
        self.mask = None if chosen.all() else chosen.astype(np.float64)[..., None]

    def total(self, values: Floats) -> Floats:
        values = row_major(values[:, self.rows])
        return np.asarray(NUMPY.total(values if self.mask is None else values * self.mask, 1))

    def total_of(self, values: Array, ops: Ops) -> Array:
        """(P, B) of one period's (rows, P, B)."""
        values = values[self.rows]
        return ops.total(values if self.mask is None else values * self.mask, 0)
