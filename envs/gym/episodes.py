"""Episodes of a single world: drawn ahead, each laid out in one piece of memory, so that a step copies one row of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.named_tuples import entries, mapped, rebuilt
from ..dynamics import Exogenous
from ..dynamics.playback import Playback
from ..worlds.memory import tape_bytes
from ..worlds.tape import sample_tape
from .step import Carried, StepPeriod
from .stepped_network import SteppedNetwork

#: Worlds drawn first from a seed, how many times as many the next time, and the most: drawing few costs about as much
#: as drawing one, but who names a seed for every episode needs one world of each.
FIRST, GROWTH, MOST = 8, 4, 256
#: World-periods and bytes drawn in one go, if that is more than a single world.
AHEAD_PERIODS, AHEAD_BYTES = 8_000, 32_000_000
#: Arrays are laid out at multiples of so many bytes.
ALIGNED = 64


class Told(NamedTuple):
    """Inputs of a step that its world and its place in the episode tell."""

    now: Exogenous
    then: Exogenous
    at: StepPeriod


class MemoryLayout:
    """Places of the arrays of a named tuple in one piece of memory, one after the other.

    Parameters
    ----------
    example
        Named tuple, perhaps of named tuples, of arrays in their shapes and types; None stays None.
    still
        Whether each of them is the same in all rows of such memory: they lie behind the others.

    Attributes
    ----------
    size, moving : bytes, and those of them in front of what is the same in all rows.
    """

    def __init__(self, example: Any, still: Sequence[bool] | None = None) -> None:
        self.pattern = mapped(lambda array: None, example)
        arrays = list(entries(example))
        behind = [False] * len(arrays) if still is None else still
        self.size = self.moving = 0
        self._places: list[tuple[int, int, Any, tuple[int, ...]] | None] = [None] * len(arrays)
        for later in (False, True):
            self.moving = self.size if later else 0
            for number, array in enumerate(arrays):
                if array is not None and behind[number] == later:
                    self._places[number] = (self.size, self.size + array.nbytes, array.dtype, array.shape)
                    self.size += -(-array.nbytes // ALIGNED) * ALIGNED

    def views(self, memory: NDArray[np.uint8]) -> Any:
        """The named tuple of arrays in memory (..., size or moving), with its leading axes; None for what lies behind it."""
        before = memory.shape[:-1]
        return rebuilt(
            self.pattern,
            [
                None
                if place is None or place[1] > memory.shape[-1]
                else memory[..., place[0] : place[1]].view(place[2]).reshape((*before, *place[3]))
                for place in self._places
            ],
        )


class Memory:
    """Arrays of a named tuple in one piece of memory, ``bytes``."""

    def __init__(self, layout: MemoryLayout) -> None:
        self.layout = layout
        self.bytes = np.zeros(layout.size, np.uint8)
        self.arrays = layout.views(self.bytes)

    def __getstate__(self) -> dict[str, Any]:
        # Views would be copied as arrays of their own.
        return {"layout": self.layout, "bytes": self.bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, arrays=state["layout"].views(state["bytes"]))


class Episodes:
    """Episodes of worlds ``first``, ``first + 1``, ... of a seed.

    Parameters
    ----------
    network
        What is played.
    seed, first, count
        Which worlds.
    last
        Episodes of the same network, if there are any: they have the same layouts.

    Attributes
    ----------
    start : bytes of what the first step of any world starts from, laid out as ``carried``, but for the next two.
    history, positions : (C, P, H, W) and (n, W), of each world.
    observations : (W, n) first observations.
    rows : (W, periods + 1, moving bytes) what is told, laid out as ``told``: row k brings what is known at the start of
        period k with what happens in period k - 1; of row 0 the latter has no meaning.
    still : bytes behind those, the same in all rows.
    """

    told: MemoryLayout
    still: NDArray[np.uint8]

    def __init__(
        self, network: SteppedNetwork, seed: int, first: int, count: int, last: Episodes | None = None
    ) -> None:
        self.seed, self.first, self.count = seed, first, count
        periods, worlds = network.periods + 1, range(first, first + count)
        data = sample_tape(network.scenario, worlds, seed, network.purpose, periods, beyond=1).exogenous
        playback = Playback(network.tables, network.ops, data, always=network.always)
        told = _told(network, playback.data)
        first_row = _present(lambda array: array[0, ..., :1], told)
        if last is None:
            self.told = MemoryLayout(first_row, [array is not None and _still(array) for array in entries(told)])
            memory = Memory(self.told)
            _fill(memory.arrays, first_row)
            self.still = memory.bytes[self.told.moving :]
        else:
            self.told, self.still = last.told, last.still
        self.rows = np.empty((count, periods, self.told.moving), np.uint8)
        _fill_rows(self.told.views(self.rows), _present(lambda array: np.moveaxis(array, -1, 0)[..., None], told))
        now, at = playback.exogenous(0), StepPeriod(*(array[0] for array in told.at))
        self.history = playback.history(0)
        self.positions, seen = network.stepping.look(network.dynamics.initial(count), now, self.history, at)
        self.observations = np.ascontiguousarray(seen.T)
        if last is None:
            initial, one = network.dynamics.initial(1), _present(lambda array: array[..., :1], now)
            arrivals = network.no_arrivals(initial, one)
            carried = Carried(initial, arrivals, self.history[..., :1], self.positions[..., :1])
            memory = Memory(MemoryLayout(carried))
            _fill(memory.arrays, carried)
            self.carried, self.start = memory.layout, memory.bytes
        else:
            self.carried, self.start = last.carried, last.start

    def has(self, seed: int, world: int) -> bool:
        """Whether a world is among these."""
        return self.seed == seed and self.first <= world < self.first + self.count


def _present(function: Callable[[Any], Any], nested: Any) -> Any:
    """The structure with what a function makes of its arrays; None stays None."""
    return mapped(lambda array: None if array is None else function(array), nested)


def _fill(places: Any, nested: Any) -> None:
    for place, array in zip(entries(places), entries(nested), strict=True):
        if place is not None:
            place[...] = array


def _still(array: NDArray[Any]) -> bool:
    """Whether it only repeats, over periods and worlds: what never varies in a scenario does in all its tapes."""
    return array.strides[0] == array.strides[-1] == 0


def _fill_rows(rows: Told, told: Told) -> None:
    """Rows (W, periods + 1, ...) from what is told (W, periods + 1, ...): what happens in a period comes a row later."""
    _fill((rows.then, rows.at), (told.then, told.at))
    _fill(_present(lambda array: array[:, :1], rows.now), _present(lambda array: array[:, :1], told.now))
    _fill(_present(lambda array: array[:, 1:], rows.now), _present(lambda array: array[:, :-1], told.now))


def _told(network: SteppedNetwork, data: Exogenous) -> Told:
    """What is told of all periods: (periods + 1, ..., W) arrays, the last axis 1 where worlds do not differ."""
    then = np.arange(network.periods + 1)
    demand = data.demand[network.tables.H :]
    return Told(
        now=data._replace(demand=demand, forecast=None, features=None),
        then=data._replace(demand=None, split=None),
        at=StepPeriod(network.ages[then][:, None], network.waves.T[then][:, :, None], network.ends[then][:, None]),
    )


def drawn(network: SteppedNetwork, seed: int, world: int, last: Episodes | None) -> Episodes:
    """The episodes of a world and of those that follow it: the more, the longer a seed has been played."""
    periods = network.periods + 1
    least = tape_bytes(network.scenario, 1, periods) + (0 if last is None else periods * last.told.moving)
    most = min(MOST, AHEAD_PERIODS // periods, AHEAD_BYTES // max(least, 1))
    follows = last is not None and last.seed == seed and last.first + last.count == world
    count = last.count * GROWTH if follows and last is not None else FIRST
    return Episodes(network, seed, world, max(1, min(count, most)), last)
