"""Recorded programs as machine code, where the system has a C compiler.

A period of a small network is some hundred NumPy calls, of which each costs about a microsecond whatever it does; in a
large batch each call also fetches its operands from memory and puts its results back there. From the calls of a
:class:`Program` C source is written instead: loop nests over the same places of the same memory,
nests of the same shape joined, a part of the batch at a time so that what is intermediate stays in the processor's cache.

Every operation is the one that NumPy does, in the same order, so results are the same to the last bit; a first replay is
compared with NumPy's. Calls that are not known (``exp``, sums in NumPy's pairwise order, looking up places that change)
stay with NumPy between the others. Without a compiler everything does.

The compiled libraries are kept in ``native`` in the cache folder (``$ECHELONGYM_CACHE``, else ``echelongym`` in the
user's). ``$CC`` names the compiler; ``ECHELONGYM_NATIVE=0`` leaves it all with NumPy.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.typing import NumpyArray
from .buffers import Tensor
from .c_compiler import CannotCompile, Faulty, library
from .c_source import source
from .recording import Recording, not_as_recorded
from .schedule import plan

#: Further flags where many worlds are done at a time. GCC turns a maximum of a minimum into jumps that skip one of them, and
#: then takes one number after the other where it could take eight at once. So it does with ``floor`` and comparisons if it
#: has to keep the order in which they might raise exceptions of the processor, which nobody looks at.
_MANY_WORLDS = ("-fno-thread-jumps", "-fno-trapping-math")


class Native:
    """The native form of a program: called with its inputs it brings the program's outputs up to date.

    With ``made`` only if it has been compiled before, by whatever process (``NotMade`` otherwise).

    Raises
    ------
    CannotCompile
        If there is no compiler, or it fails; ``Faulty``, if what it made does not agree with NumPy.
    NothingToGain
        If the program's calls are not known.
    """

    def __init__(self, program: Recording, made: bool = False) -> None:
        if os.environ.get("ECHELONGYM_NATIVE") == "0":
            raise CannotCompile("ECHELONGYM_NATIVE=0")
        planned = plan(program)
        code = source(planned)
        few = planned.worlds is None
        self._library = library(code.text, hold=few, more=() if few else _MANY_WORLDS, made=made)
        self._buffer = np.empty(code.scratch + 64, np.uint8)
        aligned = -(-self._buffer.ctypes.data // 64) * 64
        #: Addresses of what the program reads and writes, by :meth:`slots`; whoever moves one keeps what lies there alive.
        self.table = (ctypes.c_void_p * (len(code.tensors) + 1))(aligned, *(one.start for one in code.tensors))
        self._addresses = np.frombuffer(memoryview(self.table).cast("B"), np.int64)  # the same memory
        self.calls = [self._function(part) if isinstance(part, str) else part for part in code.parts]
        self._slots = {one.start: slot for slot, one in enumerate(code.tensors, 1)}
        #: Whether it is one function, which :meth:`repeat` calls without coming back to Python.
        self.whole = len(code.parts) == 1 and isinstance(code.parts[0], str)
        # Of each input: its memory here, its place in the table (0 if none), the results it may be read from in place.
        self._inputs: list[tuple[Any, int, int, dict[int, int]]] = []
        for number, mine in enumerate(program.inputs):
            tensor, instead = planned.fed.get(number, (None, []))
            if tensor not in code.tensors:
                instead = []
            results = {id(program.outputs[i]): program.outputs[i].ctypes.data for i in instead}
            slot = code.tensors.index(tensor) + 1 if results and tensor is not None else 0
            self._inputs.append((mine, slot, 0 if tensor is None else tensor.start, results))
        if not self._agrees(program, planned.state):
            raise Faulty("what was compiled does not agree with NumPy")

    def _function(self, name: str) -> Callable[[], Any]:
        function = getattr(self._library, name)
        function.argtypes, function.restype = [ctypes.c_void_p], None
        return partial(function, ctypes.c_void_p(ctypes.addressof(self.table)))

    def __call__(self, inputs: tuple[Any, ...]) -> None:
        """Take in new inputs and replay. A result of the program as an input is read where it lies.

        Raises
        ------
        TypeError
            If an input has another type than it was recorded with, is None where that was an array, or the other way about.
        """
        table = self.table
        for (mine, slot, start, results), given in zip(self._inputs, inputs, strict=True):
            if mine is None:
                if given is not None:
                    raise not_as_recorded([one[0] for one in self._inputs], inputs)
                continue
            place = results.get(id(given)) if slot else None
            if place is None:
                if mine is not given:
                    if given is None or getattr(given, "dtype", object) != mine.dtype:
                        raise not_as_recorded([one[0] for one in self._inputs], inputs)
                    mine[...] = given
                place = start
            if slot:
                table[slot] = place
        self.replay()

    def replay(self) -> None:
        """Replay with what lies in the program's inputs, or was taken in last."""
        for call in self.calls:
            call()

    def slots(self, arrays: Sequence[NumpyArray]) -> NDArray[np.int64]:
        """(n,) places in the table of addresses of arrays that the program was recorded with; 0 of those it does not touch."""
        return np.array([self._slots.get(one.ctypes.data, 0) for one in arrays], np.int64)

    def repeat(self, times: int, slots: NDArray[np.int64], starts: NDArray[np.int64], steps: NDArray[np.int64]) -> None:
        """Replay many times in one call; the program must be ``whole``.

        Parameters
        ----------
        times
            How often.
        slots
            (n,) places in the table, > 0, of arrays that the program reads or writes.
        starts, steps
            (n,) the address at which each is found the first time instead, and the bytes by which it moves on from one time
            to the next; contiguous.
        """
        before = self._addresses[slots]
        self._addresses[slots] = starts
        self._library.repeat(
            ctypes.c_void_p(ctypes.addressof(self.table)),
            ctypes.c_int64(times),
            ctypes.c_int64(len(slots)),
            ctypes.c_void_p(slots.ctypes.data),
            ctypes.c_void_p(steps.ctypes.data),
        )
        self._addresses[slots] = before

    def _agrees(self, program: Recording, state: list[Tensor]) -> bool:
        """Whether a replay gives what NumPy's gives; both are undone."""
        before = [ctypes.string_at(one.start, one.size) for one in state]

        def results(calls: list[Callable[[], Any]]) -> list[Any]:
            for call in calls:
                call()
            found = [None if one is None else one.copy() for one in program.outputs]
            found += [np.frombuffer(ctypes.string_at(one.start, one.size), np.uint8) for one in state if not one.owned]
            for one, content in zip(state, before, strict=True):
                ctypes.memmove(one.start, content, one.size)
            return found

        with np.errstate(all="ignore"):
            return all(map(_same, results(program.calls), results(self.calls)))


def _same(one: Any, two: Any) -> bool:
    """Equal to the last bit, signs of zeros included; any NaN is as good as another."""
    if one is None or two is None:
        return one is two
    if one.dtype.kind != "f":
        return np.array_equal(one, two)
    return np.array_equal(one, two, equal_nan=True) and np.array_equal(
        np.signbit(one[~np.isnan(one)]), np.signbit(two[~np.isnan(two)])
    )
