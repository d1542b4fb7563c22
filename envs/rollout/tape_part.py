"""Part of a tape for a program: some worlds, copied so that a period of them lies together in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.typing import NumpyArray
from ..dynamics.playback import WHOLE
from ..network.tables import Tables
from ..worlds.tape import Tape


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
    foreseen
        What a policy knows of worlds ``start`` to ``stop``: arrays (T, ..., worlds).

    Attributes
    ----------
    rows : arrays (T + 1, ..., W) by name, demand (H + T + 1, C, P, W); their last row stands for what follows the tape.
    numbers : (T, W) of the periods.
    last : (T, W) 1 in the last period.
    foreseen : arrays (T, ..., W) that a policy knows.
    """

    def __init__(
        self,
        tables: Tables,
        tape: Tape,
        size: int,
        foreseen: Callable[[int, int], Sequence[NumpyArray]] | None = None,
    ) -> None:
        self.size, self.history, self._foreseen = size, tables.H, foreseen
        self.foreseen: list[NumpyArray] = []
        self.arrays = read_arrays(tape)
        self.rows: dict[str, NumpyArray] = {}
        for name, array in self.arrays.items():
            whole = name in WHOLE or (name == "demand" and tables.integer)
            self.rows[name] = np.zeros((len(array) + 1, *array.shape[1:-1], size), np.int64 if whole else np.float64)
        self.numbers = np.broadcast_to(np.arange(tape.periods)[:, None], (tape.periods, size)).copy()
        self.last = (self.numbers == tape.periods - 1).astype(np.float64)

    def fill(self, start: int, stop: int) -> None:
        """Take in worlds ``start`` to ``stop``; the last one stands in for those that are missing."""
        worlds = stop - start
        for name, array in self.arrays.items():
            rows = self.rows[name]
            rows[:-1, ..., :worlds] = array[..., start:stop]
            if worlds < self.size:
                rows[:-1, ..., worlds:] = array[..., stop - 1 : stop]
            rows[-1] = rows[-2]
        if self._foreseen is not None:
            known = self._foreseen(start, stop)
            if not self.foreseen:
                self.foreseen = [np.zeros((*one.shape[:-1], self.size), one.dtype) for one in known]
            for place, one in zip(self.foreseen, known, strict=True):
                place[..., :worlds] = one
                place[..., worlds:] = one[..., -1:]


def read_arrays(tape: Tape) -> dict[str, Any]:
    """Arrays of a tape, period first and batch last; what is neutral everywhere is left out."""
    return {name: array for name, array in tape.exogenous._asdict().items() if array is not None}


def parts(worlds: int, size: int) -> Iterator[tuple[int, int]]:
    """First world of each part, and the one behind its last."""
    for start in range(0, worlds, size):
        yield start, min(start + size, worlds)
