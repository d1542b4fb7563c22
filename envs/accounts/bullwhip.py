"""Bullwhip effect: variance of each tier's orders against the variance of the demand it serves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.backend import NUMPY
from ..core.typing import Floats
from ..dynamics.rounding import dust_of
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
    """

    def __init__(self, tables: Tables, worlds: int) -> None:
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
        self._lanes = [_Rows(number == k) for k in self.tiers]
        served = [depth >= k for k in self.tiers]
        # Most often every tier serves the same customers: their demand is added up once.
        self._customers = [_Rows(mask) for mask in served]
        self._same = [k for k, mask in enumerate(served) if k and (mask == served[k - 1]).all()]
        shape = (len(self.tiers), t.P, worlds)
        # Variances are taken around the mean demand, which keeps their digits.
        around = [(t.mean_demand * (depth >= k)).sum(0) for k in self.tiers]
        self.around = np.array(around).reshape((len(self.tiers), t.P, 1))
        self.sums = {key: np.zeros(shape) for key in ("order", "order2", "demand", "demand2")}
        self.periods = np.zeros(worlds)
        self.known = np.zeros(worlds)  # 1 where the period before is known
        self.all_known = False
        self.missing = np.zeros(shape)  # asked for and not shipped in the period before
        self._targets = [t.lane_target[(number == k).any(1)] for k in self.tiers]
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
        orders, missing, wanted = np.empty(shape), np.empty(shape), np.empty(shape)
        for k, rows in enumerate(self._lanes):
            orders[:, k] = rows.total(requests)
            np.subtract(orders[:, k], rows.total(shipped), out=missing[:, k])
            if k in self._same:
                wanted[:, k] = wanted[:, k - 1]
            else:
                wanted[:, k] = self._customers[k].total(demand)
        orders[0] -= self.missing
        orders[1:] -= missing[:-1]
        self.missing = missing[-1]
        orders -= self.around
        wanted -= self.around
        if not self.all_known:
            orders[0] *= self.known
            wanted[0] *= self.known
            self.periods += self.known - 1
            self.known[:] = 1
            self.all_known = True
        self.periods += count
        for key, values in (("order", orders), ("demand", wanted)):
            fold(self.sums[key], values)
            values *= values
            fold(self.sums[key + "2"], values)

    def reset(self, worlds: Any) -> None:
        """Clear the sums of some worlds (B,) bool."""
        for array in (*self.sums.values(), self.periods, self.known):
            array[..., worlds] = 0
        self.all_known = False

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
