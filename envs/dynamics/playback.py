"""Playback: the exogenous data of a batch of worlds, row by row, on one backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ..core.backend import Array, Ops
from ..core.named_tuples import mapped
from ..core.typing import Bools
from ..network.tables import Tables
from ..worlds.tape_arrays import Exogenous

WHOLE = ("lead_time", "split", "thin")  # arrays of whole numbers; demand is one in integer worlds


class Playback:
    """Playback of a batch of worlds: one row of each array serves one period of all.

    Row k is period k of worlds that start together. Worlds that start anew while others go on are written round the
    ring from the row of now, so that the rows of a batch out of step are found in the same way.

    Parameters
    ----------
    tables, ops
        The compiled scenario, and the backend that it is computed with.
    data
        Exogenous data of all periods.
    own
        Whether the arrays are copied. Else that is done only before something is written into them.
    always
        Arrays that are there even where they are neutral, with their number of entities, so that every period is alike.
    """

    def __init__(
        self,
        tables: Tables,
        ops: Ops,
        data: Exogenous,
        own: bool = False,
        always: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.tables, self.ops, self.always = tables, ops, always
        self._owned = own
        self._hold(self._typed(data, own))
        self.batch = int(self.data.demand.shape[-1])
        self.periods = len(self.data.demand) - tables.H

    def _hold(self, data: Exogenous) -> None:
        self.data = data
        # History is read newest first: time runs backwards here.
        self._past = self.ops.flip(data.demand, 0)

    def _typed(self, data: Exogenous, own: bool) -> Exogenous:
        """The arrays in the types of the dynamics."""
        ops: Any = self.ops
        found: dict[str, Any] = {}
        for name, value in data._asdict().items():
            if value is None:
                size = self.always.get(name)
                if size is not None:
                    shape = (len(data.demand) - self.tables.H, size, data.demand.shape[-1])
                    found[name] = np.broadcast_to(np.ones((), ops.float), shape)
                continue
            whole = name in WHOLE or (name == "demand" and self.tables.integer)
            dtype, array = ops.int if whole else ops.float, ops.asarray(value)
            found[name] = ops.cast(array, dtype) if own or array.dtype != dtype else array
        return Exogenous(**found)

    def exogenous(self, row: int) -> Exogenous:
        """Exogenous data of one period."""
        demand, *others = self.data
        now = row % self.periods
        return Exogenous(
            demand[(row + self.tables.H) % len(demand)], *[None if array is None else array[now] for array in others]
        )

    def history(self, row: int, seen: Sequence[Array] = ()) -> Array:
        """(C, P, H, B) demand of the periods before one, newest first.

        ``seen`` (C, P, B) each, newest first, is what of the latest was observed, where that is not all demand.
        """
        H, rows = self.tables.H, len(self.data.demand)
        start = (rows - H - row) % rows
        if start + H <= rows:
            past = self._past[start : start + H]
        else:
            past = self._past[np.arange(start, start + H) % rows]
        if seen:
            past = self.ops.stack([*seen[:H], *[past[h] for h in range(len(seen), H)]], 0)
        return self.ops.moveaxis(past, 0, 2)

    def restart(self, chosen: Bools, data: Exogenous, row: int) -> None:
        """Start the chosen worlds (B,) anew at a row, with data of their own only."""
        if not self._owned:
            self._hold(mapped(lambda array: None if array is None else array.copy(), self.data))
            self._owned = True
        places = np.flatnonzero(chosen)

        def written(ring: Any, new: Any) -> Any:
            if ring is None and new is not None:
                ring = np.ones((*new.shape[:-1], self.batch), dtype=new.dtype)
            if ring is not None:
                # The first row of demand is its oldest history; all others start with period 0.
                rows = (row + np.arange(len(ring))) % len(ring)
                ring[rows[:, None], ..., places] = 1 if new is None else np.moveaxis(new, -1, 1)
            return ring

        self._hold(mapped(written, self.data, self._typed(data, own=False)))


def unusual_lead_times(tables: Tables, exogenous: Exogenous) -> bool:
    """Whether a tape has lead times that no process of the scenario makes: they need slots of their own."""
    fixed = ~tables.lead_time_random
    if exogenous.lead_time is None:
        return False
    return bool((exogenous.lead_time[:, fixed] != tables.nominal_lead_time[fixed, None]).any())
