"""Closed days on a tape: a lane or node that does not work has availability 0, and what falls due waits for an open day."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..core.typing import Bools, Ints, NumpyArray
from ..network.calendars import waits
from ..network.tables import Tables


def _compact(array: NumpyArray) -> NumpyArray:
    """The array with axes along which it only repeats cut to length 1."""
    return array[tuple(slice(0, 1) if step == 0 else slice(None) for step in array.strides)]


class Calendars:
    """The calendars of a scenario, applied to arrays of a tape.

    Parameters
    ----------
    tables
        The compiled scenario.
    dated
        Periods >= 0 that are closed by date, ascending, by ``lanes`` or ``nodes`` and number; None: dates are not known.
    """

    def __init__(self, tables: Tables, dated: Mapping[tuple[str, int], Ints] | None = None) -> None:
        t = tables
        closed = {key: periods for key, periods in (dated or {}).items() if len(periods)}
        self._works: dict[str, dict[int, tuple[Bools, Ints]]] = {}  # by kind and number, pattern and dates
        for kind, patterns in (("lanes", t.lane_pattern), ("nodes", t.node_pattern)):
            chosen = [i for i, one in enumerate(patterns) if (kind, i) in closed or not one.all()]
            never = np.zeros(0, dtype=np.int64)
            self._works[kind] = {i: (patterns[i], closed.get((kind, i), never)) for i in chosen}
        self._sizes = {"lanes": t.L, "nodes": t.N}
        nodes = self._works["nodes"]
        self._into = {lane: nodes[int(node)] for lane, node in enumerate(t.lane_target) if int(node) in nodes}

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return any(self._works.values())

    def open(self, kind: str, first: int, count: int) -> NDArray[np.float64] | None:
        """(count, lanes or nodes) 1 where open, from period ``first`` on; None where always."""
        if not self._works[kind]:
            return None
        found, periods = np.ones((count, self._sizes[kind])), np.arange(first, first + count)
        for entity, (pattern, dates) in self._works[kind].items():
            found[:, entity] = pattern[periods % len(pattern)] & ~np.isin(periods, dates)
        return found

    def applied(self, arrays: Mapping[str, NumpyArray], batch_axis: int) -> dict[str, NumpyArray]:
        """Availabilities and lead times (T, ...) of a tape as the calendars leave them; only those that they touch.

        Applied twice they change nothing more. Axes that only repeat go on doing so.
        """
        found = {}
        entity_axis = 3 - batch_axis
        for kind in ("lanes", "nodes"):
            array = arrays[name := f"{kind[:-1]}_availability"]
            works = self.open(kind, 0, len(array))
            if works is not None:
                found[name] = np.broadcast_to(_compact(array) * np.expand_dims(works, batch_axis), array.shape)
        lead_time = arrays["lead_time"]
        if self._into:
            periods = np.arange(len(lead_time))
            once = _compact(lead_time)
            once = np.array(np.broadcast_to(once, (len(periods), *once.shape[1:])))
            once = np.repeat(once, lead_time.shape[entity_axis], entity_axis) if once.shape[entity_axis] == 1 else once
            found["lead_time"] = np.broadcast_to(self.arriving(once, periods[:, None], entity_axis), lead_time.shape)
        return found

    def arriving(self, lead_time: NumpyArray, sent: NumpyArray, lanes: int = 1) -> NumpyArray:
        """Lead times such that nothing arrives on a closed day; a copy where that matters.

        Parameters
        ----------
        lead_time
            Periods, whole, with an axis of lanes.
        sent
            Period of dispatch, of a shape that goes with one lane's lead times.
        lanes
            The axis of lanes.
        """
        if not self._into:
            return lead_time
        found = np.array(lead_time)
        by_lane = np.moveaxis(found, lanes, 0)
        for lane, (pattern, dates) in self._into.items():
            due = sent + by_lane[lane]
            if not len(dates):
                by_lane[lane] += waits(pattern)[due % len(pattern)]
                continue
            # From the first cycle before all that is due to the end of one that begins after the last date.
            start = int(due.min()) // len(pattern) * len(pattern)
            end = max(int(due.max()), int(dates[-1])) + 1 + len(pattern)
            works = pattern[np.arange(end - start) % len(pattern)]
            works[dates[dates >= start] - start] = False
            by_lane[lane] += waits(works)[due - start]
        return found
