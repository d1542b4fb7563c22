"""Queue of the worlds that an env plays, drawn ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.backend import Array
from ..core.named_tuples import mapped
from ..worlds.memory import tape_bytes
from ..worlds.tape import sample_tape
from ..worlds.tape_arrays import Exogenous

if TYPE_CHECKING:
    from ..processes.series import Purpose
    from ..scenario.scenario import Scenario

#: Bytes, and worlds of a slot, drawn in one go, if more than one of each: drawing few costs about as much as drawing one.
AHEAD_BYTES, MOST = 16_000_000, 256
#: How many times as many of each slot are drawn the next time: who names a seed for every episode needs one.
GROWTH = 4


class WorldQueue:
    """World indices in, tape arrays out; draws those that will be asked for next in the same go.

    Parameters
    ----------
    scenario, purpose
        What is drawn, and from which series.
    periods
        Rows of the arrays, history not counted; the last is seen, not played.
    stride
        World i of a slot is followed by world i + stride.
    """

    def __init__(self, scenario: Scenario, purpose: Purpose, periods: int, stride: int) -> None:
        self.scenario, self.purpose = scenario, purpose
        self.periods, self.stride = periods, stride
        self.most = min(max(1, AHEAD_BYTES // max(tape_bytes(scenario, stride, periods), 1)), MOST)
        self._seed: int | None = None
        self._episodes = 1  # of each slot, drawn in the next go
        # Worlds that are most often asked for together, one list after the other, and where their arrays start.
        self._lists: list[tuple[NDArray[np.int64], Exogenous, int]] = []
        self._single: dict[int, tuple[Exogenous, int]] = {}  # the others, one by one

    def take(self, seed: int, worlds: NDArray[np.int64]) -> Exogenous:
        """Arrays of worlds in this order, period first, batch last."""
        if seed != self._seed:
            self._seed, self._episodes, self._lists, self._single = seed, 1, [], {}
        if not self._lists and not self._single:
            self._draw(worlds)
        for place, (listed, data, start) in enumerate(self._lists):
            if np.array_equal(listed, worlds):
                del self._lists[place]
                return (
                    data if len(listed) == data.demand.shape[-1] else _mapped(data, slice(start, start + len(listed)))
                )
        return self._one_by_one(worlds)

    def _one_by_one(self, worlds: NDArray[np.int64]) -> Exogenous:
        self._part()
        asked = worlds.tolist()
        missing = [world for world in asked if world not in self._single]
        if missing:
            self._draw(np.array(missing, dtype=np.int64))
            self._part()
        found = [self._single.pop(world) for world in asked]
        data, start = found[0]
        whole = all(one[0] is data and one[1] == start + i for i, one in enumerate(found))
        if whole and len(found) == data.demand.shape[-1]:
            return data
        if whole:
            return _mapped(data, slice(start, start + len(found)))
        return _gathered(found)

    def _draw(self, worlds: NDArray[np.int64]) -> None:
        assert self._seed is not None
        lists = [worlds + k * self.stride for k in range(self._episodes)]
        ahead = np.concatenate(lists).tolist()
        data = sample_tape(self.scenario, ahead, self._seed, self.purpose, self.periods, beyond=1).exogenous
        self._lists = [(listed, data, k * len(worlds)) for k, listed in enumerate(lists)]
        self._episodes = min(GROWTH * self._episodes, self.most)

    def _part(self) -> None:
        """Take the lists apart, as slots are no longer asked for together."""
        if not self._lists:
            return
        # A slot that is reset on its own asks for one world after another; what nobody asked for is dropped.
        if len(self._single) > 4 * self.most * self.stride:
            self._single = {}
        for listed, data, start in self._lists:
            self._single |= {world: (data, start + i) for i, world in enumerate(listed.tolist())}
        self._lists = []


def _mapped(data: Exogenous, place: slice) -> Exogenous:
    found: Exogenous = mapped(lambda array: None if array is None else _compact(array[..., place]), data)
    return found


def _compact(array: Array) -> Array:
    """Contiguous, unless it only repeats along the batch."""
    return array if array.strides[-1] == 0 else np.ascontiguousarray(array)


def _gathered(found: list[tuple[Exogenous, int]]) -> Exogenous:
    """Columns of several tapes side by side."""

    def joined(*arrays: Any) -> Any:
        known = next((array for array in arrays if array is not None), None)
        if known is None:
            return None
        out = np.ones((*known.shape[:-1], len(found)), dtype=known.dtype)
        for i, (array, (_, place)) in enumerate(zip(arrays, found, strict=True)):
            if array is not None:
                out[..., i] = array[..., place]
        return out

    data: Exogenous = mapped(joined, *(one for one, _ in found))
    return data
