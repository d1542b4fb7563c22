"""The pipeline: shipments in transit by lane and slot, their ageing on the road, and the units that fall due.

Only slots that a lane can ever use are kept, as *rows*: slot k of lane l is one row, slots in turn and
lanes in turn within a slot. So a lane of lead time 2 takes one row at the time of observation, however
long the longest lane is, and moving on by a period is putting the new shipments in front.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..core.backend import Array, Ops, replaced
from ..core.segments import Segments
from ..core.typing import Floats
from ..network.tables import Tables
from .units import Units


class Lives(NamedTuple):
    """Lives on arrival of what lies in n rows."""

    turned: Any  # (n * P * A,) index of the class at dispatch, in turn
    alive: Array  # (n, P, A, 1) 1 where that class has not expired on the road
    ended: Array  # (n, P, A, 1) 1 where what was dispatched in this class has


class Road:
    """Rows of the lanes, before Receive (with the slot that is due at the latest) and after it.

    Parameters
    ----------
    vary
        True where lead times may differ from the nominal ones on every lane (a recorded tape).
    """

    def __init__(self, tables: Tables, ops: Ops, units: Units, vary: bool) -> None:
        t = tables
        self.tables, self.ops, self.units = t, ops, units
        varies = np.full(t.L, vary) | t.lead_time_random
        slots = np.where(varies, np.full(t.L, t.K + 1) if vary else t.max_lead_time, t.nominal_lead_time)
        self.any = bool((slots > 0).any())
        before = [(k, lane) for k in range(int(slots.max(initial=0))) for lane in range(t.L) if slots[lane] > k]
        kept = [i for i, (k, lane) in enumerate(before) if k + 1 < slots[lane]]
        self.row_slot = np.array([k for k, _ in before], dtype=np.int64)
        self.row_lane = np.array([lane for _, lane in before], dtype=np.int64)
        self.rows = len(before)
        self.departing = ops.index([lane for k, lane in before if k == 0])
        self.starting = int((self.row_slot == 0).sum())
        self.kept = ops.index(kept)
        self.kept_slot, self.kept_lane = self.row_slot[kept], self.row_lane[kept]
        self.by_lane = Segments(self.row_lane, t.L, ops)
        due = (self.row_slot + 1 == slots[self.row_lane]) & ~varies[self.row_lane]
        self._prepare_fixed(np.flatnonzero(due))
        self._prepare_varied(np.flatnonzero(varies[self.row_lane]), np.asarray(kept, dtype=np.int64))

    # Which unit of a row arrives in which life class ---------------------------------------------

    def _prepare_lives(self, rows: np.ndarray[Any, Any]) -> Lives | None:
        """Lives on arrival of what lies in some rows; None where nothing ever expires.

        Life passes in transit, too: class a on arrival was class a + k + 1 at dispatch. Products that
        never expire keep their class.
        """
        t, ages = self.tables, np.arange(self.tables.A)
        if not t.shelf_life.any():
            return None
        wait = (self.row_slot[rows][:, None, None] + 1) * (t.shelf_life > 0)[None, :, None]
        first = np.arange(len(rows) * t.P).reshape((len(rows), t.P, 1)) * t.A
        # Classes are turned round, so that each is taken once; what comes round the end is no longer there.
        turned = first + (ages + wait) % t.A
        amount = self.units.amount
        return Lives(
            self.ops.index(turned.reshape(-1)),
            amount((ages + wait < t.A)[..., None]),
            amount((ages < wait)[..., None]),
        )

    def _prepare_fixed(self, rows: np.ndarray[Any, Any]) -> None:
        self.fixed = len(rows)
        self.fixed_lanes = self.ops.index(self.row_lane[rows])
        self.fixed_rows = self.ops.index(rows)
        self.fixed_lives = self._prepare_lives(rows)

    def _prepare_varied(self, rows: np.ndarray[Any, Any], kept: np.ndarray[Any, Any]) -> None:
        t, ops = self.tables, self.ops
        self.varied = len(rows)
        self.varied_rows = ops.index(rows)
        lanes = np.unique(self.row_lane[rows])
        self.varied_lanes = ops.index(lanes)
        self.varied_by_lane = Segments(np.searchsorted(lanes, self.row_lane[rows]), len(lanes), ops)
        self.varied_slot = ops.whole(self.row_slot[rows][:, None] + 1)
        self.varied_lives = self._prepare_lives(rows)
        # The rows that stay after Receive, among the varied ones and among all that stay.
        self.varied_kept = ops.index(np.flatnonzero(np.isin(rows, kept)))
        self.kept_varied = ops.index(np.flatnonzero(np.isin(kept, rows)))
        self.varied_start = ops.index(self.row_lane[rows[self.row_slot[rows] == 0]])
        standing = rows[np.isin(rows, kept)]
        opening = t.initial_lead_time[self.row_lane[standing], self.row_slot[standing]]
        self.opening = ops.whole(opening[:, None])

    # The road in a period ------------------------------------------------------------------------

    def initial(self, in_transit: Floats, worlds: int) -> tuple[Array, Array | None]:
        """Rows (M, P, A, B) at the start of period 0, of units (L, P, K, A), and the lead times of the varied ones."""
        ops = self.ops
        kept = in_transit[self.kept_lane, :, self.kept_slot][..., None]
        rows = np.broadcast_to(kept, (*kept.shape[:-1], worlds))
        leads = self.opening + ops.whole(np.zeros((1, worlds))) if self.varied else None
        return self.units.amount(rows), leads

    def dispatch(
        self, rows: Array, leads: Array | None, shipped: Array, today: Array | None
    ) -> tuple[Array, Array | None]:
        """Put this period's shipments (L, P, A, B) in front, with today's lead times (L, B)."""
        ops, batch = self.ops, shipped.shape[-1]
        moved = ops.concat([shipped[self.departing], rows], 0)
        if self.varied:
            if today is None:
                nominal = ops.whole(self.tables.nominal_lead_time[:, None])
                today = nominal + ops.whole(np.zeros((1, batch)))
            leads = ops.concat([today[self.varied_start], leads], 0)
        return moved, leads

    def arrive(self, moved: Array, leads: Array | None) -> tuple[Array, Array | None, Array, Array | None]:
        """Units that fall due: arrived (L, P, A, B) by life now, expired (L, P, B); rows and leads left."""
        ops, t = self.ops, self.tables
        shape = (t.P, t.A, moved.shape[-1])
        arrived = ops.zeros((t.L, *shape), moved.dtype)
        mortal = self.fixed_lives is not None
        expired: Any = ops.zeros((t.L, t.P, shape[-1]), moved.dtype) if mortal else None
        rows = moved[self.kept]
        if self.fixed:
            here = moved[self.fixed_rows]
            if self.fixed_lives is not None:
                here, gone = self._lived(here, self.fixed_lives)
                expired = ops.put(expired, self.fixed_lanes, gone)
            arrived = ops.put(arrived, self.fixed_lanes, here)
        if self.varied and leads is not None:
            due = ops.cast(leads == self.varied_slot, moved.dtype)
            here = moved[self.varied_rows] * due[:, None, None]
            staying = (1 - due[self.varied_kept])[:, None, None]
            rows = replaced(ops, rows, self.kept_varied, rows[self.kept_varied] * staying)
            leads = leads[self.varied_kept]
            if self.varied_lives is not None:
                here, gone = self._lived(here, self.varied_lives)
                expired = ops.put(expired, self.varied_lanes, self.varied_by_lane.sum(gone))
            arrived = ops.put(arrived, self.varied_lanes, self.varied_by_lane.sum(here))
        return arrived, expired, rows, leads

    def _lived(self, here: Array, lives: Lives) -> tuple[Array, Array]:
        """Rows (n, P, A, B) that arrive, by life now, and (n, P, B) units of them that expired on the road."""
        flat = here.reshape((-1, here.shape[-1]))
        return flat[lives.turned].reshape(here.shape) * lives.alive, self.ops.total(here * lives.ended, 2)

    def under_way(self, moved: Array) -> Array:
        """(L, P, B) units in transit at close, of rows before Receive."""
        return self.by_lane.sum(self.ops.total(moved, 2))

    def by_slot(self, rows: Array) -> Array:
        """(L, P, K, A, B) the rows after Receive as policies see them."""
        t, ops = self.tables, self.ops
        shown = ops.zeros((t.L, t.K, *rows.shape[1:]), rows.dtype)
        if len(self.kept_lane):
            shown = ops.put(shown, (ops.whole(self.kept_lane), ops.whole(self.kept_slot)), rows)
        return ops.moveaxis(shown, 1, 2)
