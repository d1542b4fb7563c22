"""Part of a tape for a program: some worlds, copied so that a period of them lies together in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..core.typing import NumpyArray
from ..dynamics.playback import WHOLE
from ..network.tables import Tables
from ..worlds.tape import Tape

ROOM = 2**26  # most bytes that the parts of a tape may take, to be kept


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows in memory of which a program shows or writes another one in every period.

    Parameters
    ----------
    rows
        (rows, ...) in order.
    first
        The row of the first period.
    block
        So many rows from there on are shown together; 0: one, without an axis of its own.
    counted
        Whether the first period is the first one that is reported, not that of the tape.
    """

    rows: NumpyArray
    first: int = 0
    block: int = 0
    counted: bool = False

    @cached_property
    def address(self) -> int:
        """Where the row of the first period lies in memory."""
        place: int = self.rows.__array_interface__["data"][0]
        return place + self.first * self.rows.strides[0]

    def at(self, period: int) -> NumpyArray:
        """What is shown in a period."""
        row = self.first + period
        found: NumpyArray = self.rows[row : row + self.block] if self.block else self.rows[row]
        return found


class TapePart:
    """Memory for the tape of W worlds, to be filled with part after part.

    Parameters
    ----------
    tables
        The compiled scenario.
    tape
        Whose worlds, of how many periods T.
    size
        Number of worlds W.

    Attributes
    ----------
    rows : arrays (T + 1, ..., W) by name, demand (H + T + 1, C, P, W); their last row stands for what follows the tape.
    inputs : what a period reads of them and of the calendar, by name.
    foreseen : arrays (T, ..., W) that a policy knows.
    """

    def __init__(self, tables: Tables, tape: Tape, size: int) -> None:
        t = tables
        self.size = size
        self.arrays = read_arrays(tape)
        self.rows: dict[str, NumpyArray] = {}
        for name, array in self.arrays.items():
            whole = name in WHOLE or (name == "demand" and t.integer)
            self.rows[name] = np.zeros((len(array) + 1, *array.shape[1:-1], size), np.int64 if whole else np.float64)
        self.inputs = {name: Rows(array, t.H if name == "demand" else 0) for name, array in self.rows.items()}
        self.inputs |= {
            f"next {name}": Rows(self.rows[name], 1) for name in ("lane_yield", "thin") if name in self.rows
        }
        numbers = np.broadcast_to(np.arange(tape.periods)[:, None], (tape.periods, size))
        self.inputs["period"] = Rows(numbers.copy())
        if t.terminal_value.any():
            self.inputs["last"] = Rows((numbers == tape.periods - 1).astype(np.float64))
        if not t.censored:
            self.inputs["history"] = Rows(self.rows["demand"], 0, block=t.H)
        self.foreseen: list[NumpyArray] = []

    def fill(self, start: int, stop: int) -> None:
        """Take in worlds ``start`` to ``stop``; the last one stands in for those that are missing."""
        worlds = stop - start
        for name, array in self.arrays.items():
            rows = self.rows[name]
            rows[:-1, ..., :worlds] = array[..., start:stop]
            if worlds < self.size:
                rows[:-1, ..., worlds:] = array[..., stop - 1 : stop]
            rows[-1] = rows[-2]

    def foresee(self, known: Sequence[NumpyArray]) -> None:
        """Take in what a policy knows of the worlds: arrays (T, ..., worlds)."""
        self.foreseen = []
        for one in known:
            place = np.empty((*one.shape[:-1], self.size), one.dtype)
            place[..., : one.shape[-1]] = one
            place[..., one.shape[-1] :] = one[..., -1:]
            self.foreseen.append(place)


def read_arrays(tape: Tape) -> dict[str, Any]:
    """Arrays of a tape, period first and batch last; what is neutral everywhere is left out."""
    return {name: array for name, array in tape.exogenous._asdict().items() if array is not None}


class _Kept(NamedTuple):
    """Parts of a tape that are kept for the next who plays it."""

    tables: Tables
    size: int
    parts: list[TapePart]  # none after the first time


_kept: WeakKeyDictionary[Tape, _Kept] = WeakKeyDictionary()


def filled(tables: Tables, tape: Tape, size: int) -> Iterator[tuple[int, int, TapePart]]:
    """First world of each part of a tape, the one behind its last, and memory filled with them.

    The memory is used again for the part that follows, but where a tape is played for the second time: then all
    parts are kept with it, so that nothing is copied when a tuner or a benchmark plays it again and again.
    """
    places = list(parts(tape.batch, size))
    known = _kept.get(tape)
    if known is not None and known.tables is tables and known.size == size and known.parts:
        for (start, stop), part in zip(places, known.parts, strict=True):
            yield start, stop, part
        return
    part = TapePart(tables, tape, size)
    needed = sum(array.nbytes for array in part.rows.values()) * len(places)
    again = known is not None and known.tables is tables and known.size == size
    if not again or needed > ROOM:
        _kept[tape] = _Kept(tables, size, [])
        for start, stop in places:
            part.fill(start, stop)
            yield start, stop, part
        return
    made = list[TapePart]()
    for start, stop in places:
        part = TapePart(tables, tape, size) if made else part
        part.fill(start, stop)
        made.append(part)
        yield start, stop, part
    _kept[tape] = _Kept(tables, size, made)


def parts(worlds: int, size: int) -> Iterator[tuple[int, int]]:
    """First world of each part, and the one behind its last."""
    for start in range(0, worlds, size):
        yield start, min(start + size, worlds)
