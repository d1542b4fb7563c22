"""A compiled step that reads the tape where it lies and writes results where they stay: only addresses are new."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..compiler.native import Native
from ..compiler.recorder import Program
from ..compiler.recording import not_as_recorded
from ..core.named_tuples import entries
from ..core.typing import NumpyArray
from ..dynamics.playback import Playback
from .step import Action, After, Carried, StepPeriod

#: How many rows of a tape a step's arrays of it are ahead of its period.
AHEAD = {"now": 0, "then": 1}


_address, _byte = ctypes.addressof, ctypes.c_char.from_buffer


class PointedStep:
    """Compiled step of a batch, told by addresses which row of the tape it reads and where its results go.

    Parameters
    ----------
    program
        Has a native form, which is one function.
    names
        Dotted names, within :class:`.step.Before`, of its inputs.
    after
        The program's own results.
    calendar
        Of worlds in step: what :class:`.step.StepPeriod` holds for every age (periods, ...), contiguous. None where worlds
        are out of step.
    """

    def __init__(self, program: Program, names: list[str], after: After, calendar: StepPeriod | None) -> None:
        assert program.native is not None
        self._program = program  # keeps the memory that the table names
        self._native = native = program.native
        self._call = native.calls[0]
        self._inputs = inputs = dict(zip(names, program.inputs, strict=True))
        self._after, self._kept = after, calendar
        self._state = [one for name, one in inputs.items() if name.startswith("carried.")]
        self._asked = [inputs[f"action.{name}"] for name in Action._fields]
        self._at = [(inputs[f"at.{name}"], name) for name in StepPeriod._fields if calendar is None]
        # Of every input that is read from rows elsewhere: place in the table, address of the first row, bytes from row to
        # row, number of rows, and how many the step's own is ahead of its period.
        self._moving: list[tuple[int, int, int, int, int]] = []
        if calendar is not None:
            places = [(inputs[f"at.{name}"], getattr(calendar, name)) for name in StepPeriod._fields]
            self._moving = [_rows(self._slot(mine), every, 1) for mine, every in places if self._slot(mine)]
        self._calendar = len(self._moving)
        self._seen, self._counted = _Result(native, after.observation), _Result(native, after.figures)
        self._tape: Any = None

    @staticmethod
    def possible(program: Program, after: After) -> bool:
        """Whether a program is compiled as one function that leaves nothing of its results to others."""
        native = program.native
        return native is not None and native.whole and all(native.slots([after.observation, after.figures]))

    def __call__(self, carried: Carried, action: Action, playback: Playback, row: int, at: StepPeriod | None) -> After:
        """One step of the period in a row of the tape; ``at`` of worlds out of step, else None.

        Raises
        ------
        TypeError
            If the tape has numbers of other types than the one that was recorded.
        """
        if playback.data is not self._tape:
            self._read_from(playback)
        after = self._after
        if carried is not after.carried:
            for mine, given in zip(self._state, entries(carried), strict=True):
                if mine is not None and mine is not given:
                    mine[...] = given
        for mine, given in zip(self._asked, action, strict=True):
            if mine is not None:
                mine[...] = given
        for mine, name in self._at:
            mine[...] = getattr(at, name)
        table = self._native.table
        for slot, first, step, count, ahead in self._moving:
            table[slot] = first + (row + ahead) % count * step
        for mine, every, ahead in self._copied:
            mine[...] = every[(row + ahead) % len(every)]
        observation, table[self._seen.slot] = self._seen.new()
        figures, table[self._counted.slot] = self._counted.new()
        self._call()
        return After(after.carried, observation, figures, after.flows)

    def _slot(self, mine: NumpyArray | None) -> int:
        """The place of an input in the table of addresses, 0 if the step does not read it."""
        return 0 if mine is None or not mine.size else int(self._native.slots([mine])[0])

    def _read_from(self, playback: Playback) -> None:
        """Read a tape's rows from now on: by address where they lie as they were recorded."""
        data, table = playback.data, self._native.table
        del self._moving[self._calendar :]
        self._copied: list[tuple[NumpyArray, NumpyArray, int]] = []
        names = [name.split(".") for name in self._inputs if name.partition(".")[0] in AHEAD]
        own = [self._inputs[f"{when}.{field}"] for when, field in names]
        given = [getattr(data, field) for _, field in names]
        if [one is None or one.dtype for one in own] != [one is None or one.dtype for one in given]:
            raise not_as_recorded(own, given)
        for (when, _), mine, every in zip(names, own, given, strict=True):
            slot = self._slot(mine)
            if not slot:  # the step does not read it
                continue
            ahead = AHEAD[when] + (len(every) - playback.periods)  # demand begins with its history
            table[slot] = mine.ctypes.data
            if every.strides[0] == 0:
                mine[...] = every[0]
            elif _steps(every[0]) == _steps(mine):
                self._moving.append(_rows(slot, every, ahead))
            else:
                self._copied.append((mine, every, ahead))
        self._tape = data


def _rows(slot: int, every: NumpyArray, ahead: int) -> tuple[int, int, int, int, int]:
    return slot, every.ctypes.data, every.strides[0], len(every), ahead


class _Result:
    """Memory for a result of every step anew, laid out as the program has it."""

    def __init__(self, native: Native, array: NumpyArray) -> None:
        self.slot = int(native.slots([array])[0])
        self._shape, self._dtype, self._row = array.shape, array.dtype, array.shape[-1]
        self._memory = (*array.shape[:-1], array.strides[-2] // array.itemsize)
        self._gaps = self._memory != self._shape

    def new(self) -> tuple[NumpyArray, int]:
        """The result, and its address."""
        memory = np.empty(self._memory, self._dtype)
        address = _address(_byte(memory.data))
        return (memory[:, : self._row] if self._gaps else memory), address


def _steps(array: NumpyArray) -> list[int]:
    """Bytes from step to step along axes that have more than one."""
    return [step for step, size in zip(array.strides, array.shape, strict=True) if size > 1]
