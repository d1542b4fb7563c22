"""Waiting times of customers, from what joins, leaves and stands in their queues.

Within a customer and product the longest wait is served first, and what loses patience is the
oldest too, so a queue is first in, first out: its order follows from counts alone, whether or not
the dynamics keep waiting classes. With J(t) the units that joined in periods up to t and D(u) those
that left up to u, what joined up to t and still stands at u is max(J(t) - D(u), 0), and what joined
in t itself is the difference of two such terms. Only the last few J(t) are kept: as many as the
widest window asked for, or as the longest wait met so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.backend import NUMPY
from ..core.typing import Floats, NumpyArray
from ..dynamics.rounding import SHORT, SINGLE
from ..network.tables import Tables

# Rows kept beyond those needed, so that they are moved together only now and then.
SPARE = 16


def fold(total: Floats, block: Floats) -> None:
    """Add a block (periods, ...) to a total in place, period by period whatever its size."""
    if len(block) == 1:
        np.add(total, block[0], out=total)
    else:
        total[...] = NUMPY.total(np.concatenate([total[None], block]), 0)


class Waiting:
    """Service within some periods, and the longest wait, of each customer and product.

    Parameters
    ----------
    tables
        The compiled scenario.
    worlds
        Number of worlds B.
    windows
        Periods w for which service within w is wanted.
    dust
        Units below which nobody waits; rounding of floating point stays below it. A number in double precision; in
        single precision by customer, (C, 1, 1), and besides some roundings of what stands count as nothing.
    """

    def __init__(self, tables: Tables, worlds: int, windows: tuple[int, ...], dust: Any = SHORT) -> None:
        t = tables
        self.dust = dust
        shape = (t.C, t.P, worlds)
        # Nobody is served after their patience, so looking further than it shows nothing new.
        patience = np.where(t.patience < 0, np.iinfo(np.int64).max, t.patience)
        self.looks = {w: np.minimum(w, patience) for w in windows}  # (C, P) periods
        depths = sorted({int(k) for look in self.looks.values() for k in look.flat})
        self.unserved = {k: np.zeros(shape) for k in depths}  # after k periods, by time joined
        self.deepest = depths[-1] if depths else 0
        self.recent: list[tuple[Floats, Floats]] = []  # demand, lost at once: last `deepest`
        self.filled = self.deepest + 2
        self.joined = np.zeros((self.filled + SPARE, *shape))  # J of the last closes
        self.first = np.full(worlds, self.filled)  # row of a world's first period
        self.longest = np.zeros(shape, dtype=np.int64)  # periods
        self.left = np.zeros(shape)  # D at the last close
        self.standing = np.zeros(shape)  # at the last close
        self.nothing = np.zeros(shape)

    def take(
        self,
        place: slice,
        unserved: Mapping[int, Floats],
        longest: NumpyArray,
        recent: Sequence[tuple[Floats, Floats]],
    ) -> None:
        """Take over what was added up elsewhere for the worlds ``place``: (C, P, worlds) arrays.

        ``recent`` has demand and what of it was lost at once, newest period first, as many as are looked back upon.
        """
        for k, total in self.unserved.items():
            total[..., place] = unserved[k]
        self.longest[..., place] = longest
        if not self.recent:
            self.recent += [(self.nothing.copy(), self.nothing.copy()) for _ in recent]
        for (demand, lost), (asked, given) in zip(reversed(self.recent), recent, strict=True):
            demand[..., place], lost[..., place] = asked, given

    def add(
        self,
        demand: Floats,
        lost_new: Floats | None,
        joining: Floats,
        unserved: Floats,
        backlog: Floats,
    ) -> None:
        """Periods in turn, each (periods, C, P, B) units.

        ``lost_new`` is None where nothing is lost at once; ``joining`` is new demand that starts to wait, ``unserved``
        what stands after service and before what is out of patience goes, ``backlog`` what stands at close.
        """
        count = len(joining)
        row = self._room(count)
        J = self.joined[row - 1 : row + count]
        if count == 1:
            np.add(J[0], joining[0], out=J[1])
        else:
            J[1:] = joining
            J[...] = np.add.accumulate(J, axis=0)
        self._count_unserved(row, J[1:] - unserved)
        self._age(row, J, backlog)
        self.filled += count
        if self.deepest:
            for i in range(max(count - self.deepest, 0), count):
                lost = self.nothing if lost_new is None else lost_new[i].copy()
                self.recent.append((demand[i].copy(), lost))
            del self.recent[: -self.deepest]

    def _room(self, count: int) -> int:
        """Make room for some rows: the index of the first of them."""
        if self.filled + count > len(self.joined):
            keep = max(self.deepest, int(self.longest.max(initial=0))) + 2
            kept = self.joined[max(self.filled - keep, 0) : self.filled]
            self.first -= self.filled - len(kept)
            self.filled = len(kept)
            if len(kept) + count > len(self.joined):
                rows = len(kept) + count + SPARE
                self.joined = np.zeros((rows, *self.joined.shape[1:]))
            self.joined[: len(kept)] = kept
        return self.filled

    def _count_unserved(self, row: int, gone: Floats) -> None:
        """Of what joined k periods ago, what was not served yet (``gone`` leaves out losses)."""
        count = len(gone)
        older: dict[int, Floats] = {}
        for k in sorted({k + step for k in self.unserved for step in (0, 1)}):
            older[k] = self.joined[row - k : row - k + count] - gone
            np.maximum(older[k], 0.0, out=older[k])
        for k, total in self.unserved.items():
            older[k] -= older[k + 1]
            fold(total, older[k])

    def _age(self, row: int, J: Floats, backlog: Floats) -> None:
        """What stood at a close and joined k periods before waits k + 1 periods by the next one.

        A wait grows by a period at most, so each cell's record is only tested against the next.
        """
        count = len(backlog)
        if count == 1:
            left, standing = self.left[None], self.standing[None]
        else:
            left = np.concatenate([self.left[None], J[1:-1] - backlog[:-1]])
            standing = np.concatenate([self.standing[None], backlog[:-1]])
        self.left, self.standing = J[-1] - backlog[-1], backlog[-1].copy()
        dust = self.dust
        if not isinstance(dust, float):
            dust = dust + SINGLE * standing
        waits = standing > dust
        cells = np.flatnonzero(waits[0] if count == 1 else waits.any(axis=0))
        joined, record, size = self.joined.reshape(-1), self.longest.reshape(-1), self.longest.size
        left = left.reshape((count, size)).take(cells, axis=1)
        if not isinstance(dust, float):
            dust = dust.reshape((count, size)).take(cells, axis=1)
        first = np.maximum(self.first, 0).take(cells % self.longest.shape[-1])
        closes = np.arange(row - 1, row - 1 + count)[:, None]
        while len(cells):
            at = closes - record.take(cells)
            late = joined.take(np.maximum(at, 0) * size + cells) - left > dust
            late &= at >= first
            still = np.flatnonzero(late[0] if count == 1 else late.any(axis=0))
            if not len(still):
                break
            cells, left, first = cells[still], left[:, still], first[still]
            if not isinstance(dust, float):
                dust = dust[:, still]
            record[cells] += 1
            if count == 1:
                break  # a wait grows by one period at most

    def reset(self, worlds: Any) -> None:
        """Clear the sums of some worlds (B,) bool; what waits now counts from now on."""
        kept = [self.joined, self.left, self.standing, self.longest, *self.unserved.values()]
        for array in (*kept, *(array for pair in self.recent for array in pair)):
            array[..., worlds] = 0
        self.first[worlds] = self.filled

    def served_within(self, window: int, demand: Floats, lost_new: Floats) -> tuple[Floats, Floats]:
        """Units served within some periods, and the demand they are of; each (C, B).

        Demand counts if the window had passed by the last period; ``demand`` and ``lost_new``
        (C, P, B) are totals of all periods.
        """
        look = self.looks[window][..., None]
        served, of = np.zeros(demand.shape), np.zeros(demand.shape)
        for k, unserved in self.unserved.items():
            asked, lost = demand.copy(), lost_new.copy()
            for recent_demand, recent_lost in self.recent[len(self.recent) - k :]:
                asked -= recent_demand
                lost -= recent_lost
            of = np.where(look == k, asked, of)
            served = np.where(look == k, asked - lost - unserved, served)
        return NUMPY.total(served, 1), NUMPY.total(of, 1)
