"""Buffers of a recorded program: which result lies where, and which part of it belongs to which world."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from ..core.typing import NumpyArray
from .loop_nests import Access
from .recording import Recording


@dataclass(eq=False)
class Tensor:
    """Memory that operands lie in.

    Parameters
    ----------
    start, size
        Address and bytes.
    owned
        Whether the program made it for a result.
    written
        Whether a call writes into it.
    kept
        Whether it stays where it is, for others to see; the rest gets a place in a scratch buffer.
    fed
        Whether it is an input that is read once, first of all, perhaps from somewhere else.
    world
        Bytes from one world to the next, once known; only in batches done in parts.
    pitch
        Bytes from one row of the last axis to the next, with the gap between them (:func:`.recording.laid_out`); None
        where there are no gaps.
    """

    start: int
    size: int
    owned: bool = False
    written: bool = False
    kept: bool = True
    fed: bool = False
    world: int | None = None
    pitch: int | None = None


def extent(array: NumpyArray) -> int:
    """Bytes from the first to the last of an array, gaps included."""
    low, high = byte_bounds(array)
    return int(high - low)


def _pitch(array: NumpyArray) -> int | None:
    gaps = array.ndim > 1 and not array.flags.c_contiguous
    return array.strides[-2] if gaps else None


def arrays(value: Any) -> Iterator[NumpyArray]:
    """The arrays in a call or in its arguments that hold anything."""
    if isinstance(value, np.ndarray):
        if value.size:
            yield value
    elif isinstance(value, partial):
        yield from arrays([getattr(value.func, "__self__", None), value.args, value.keywords])
    elif isinstance(value, dict):
        yield from arrays(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from arrays(one)


def written(call: partial[Any]) -> Iterator[NumpyArray]:
    """The arrays that a call may write into."""
    name = getattr(call.func, "__name__", "")
    if "out" in call.keywords:
        return arrays(call.keywords["out"])
    if name in ("fill", "__setitem__"):
        return arrays(getattr(call.func, "__self__", None))
    if name in ("copyto", "take", "_pick"):
        return arrays(call.args[0 if name == "copyto" else 2])
    return arrays(call)


class BufferMemory:
    """The memory of a program's arrays, by address.

    A buffer that several results share, one after the other, is a tensor for each of them.
    """

    def __init__(self, program: Recording, calls: list[partial[Any]]) -> None:
        self.inputs = program.inputs
        self.outputs = program.outputs
        self._owned: dict[int, list[tuple[int, Tensor]]] = {}
        for number, array in program.made:
            tensor = Tensor(array.ctypes.data, extent(array), owned=True, kept=False, pitch=_pitch(array))
            self._owned.setdefault(tensor.start, []).append((number, tensor))
        self._starts = sorted(self._owned)
        self._ends = {start: start + max(one.size for _, one in self._owned[start]) for start in self._starts}
        self.others: list[Tensor] = []
        others = [one for one in arrays([*calls, *program.inputs, *program.outputs]) if not self._owner(one)]
        for low, high in sorted(map(byte_bounds, others)):
            last = self.others[-1] if self.others else None
            if last is not None and low < last.start + last.size:
                last.size = max(last.size, high - last.start)
            else:
                self.others.append(Tensor(low, high - low))
        self._other_starts = [tensor.start for tensor in self.others]
        for one in arrays(program.inputs):
            tensor = self.find(one, 0)
            if tensor.size == extent(one):
                tensor.pitch = _pitch(one)
        self.end = len(calls)
        for number, call in enumerate(calls):
            for one in written(call):
                self.find(one, number).written = True
        for one in arrays(self.outputs):
            self.find(one, self.end).kept = True

    def _owner(self, array: NumpyArray) -> int | None:
        start = byte_bounds(array)[0]
        place = bisect_right(self._starts, start) - 1
        return self._starts[place] if place >= 0 and start < self._ends[self._starts[place]] else None

    def find(self, array: NumpyArray, number: int) -> Tensor:
        """The tensor that an array of a numbered call lies in."""
        owner = self._owner(array)
        if owner is None:
            return self.others[bisect_right(self._other_starts, byte_bounds(array)[0]) - 1]
        return [tensor for made, tensor in self._owned[owner] if made <= number][-1]

    def constant(self, array: NumpyArray) -> bool:
        """Whether an array is none of the program's own and never written."""
        if not array.size:
            return True
        tensor = self.find(array, self.end)
        changing = tensor.owned or tensor.written
        return not changing and not any(np.may_share_memory(array, one) for one in arrays(self.inputs))

    def state(self) -> list[Tensor]:
        """Tensors whose changes are visible outside: results, and arrays that the program did not make but writes into."""
        found = {self.find(one, self.end): None for one in arrays(self.outputs)}
        return [*found, *(one for one in self.others if one.written and one not in found)]


def rows(tensor: Tensor, access: Access, axis: int, worlds: int) -> tuple[int, list[int], tuple[int, ...]] | None:
    """An access in rows of worlds: the first, from step to step (0 along worlds), in the table; None if worlds mix.

    A tensor is thought of as rows: element ``(high * worlds + world) * inner + low`` belongs to row
    ``high * inner + low``, where ``inner`` elements lie between a world and the next. Where the last axis is that of worlds
    there may be a gap behind it.
    """
    array, item = access.array, access.array.itemsize
    start, world = array.ctypes.data - tensor.start, tensor.world
    if world is None or world <= 0 or world % item or start % item or access.axis == axis:
        return None
    if array.strides[axis] != world or array.shape[axis] != worlds:
        return None
    inner = world // item
    period = tensor.pitch // item if tensor.pitch and inner == 1 else worlds * inner
    high, low = divmod(start // item, period)
    steps = [0 if n == 1 else stride // item for stride, n in zip(array.strides, array.shape, strict=True)]
    steps[axis] = 0
    # Steps of whole periods stay with their world; smaller ones must not leave it.
    reaches = [step * (n - 1) for step, n in zip(steps, array.shape, strict=True) if step % period]
    looked_up = [step for step in access.table if step % period] or [0]
    least = low + sum(min(reach, 0) for reach in reaches) + min(0, *looked_up)
    most = low + sum(max(reach, 0) for reach in reaches) + max(0, *looked_up)
    if least < 0 or most >= inner:
        return None

    def in_rows(step: int) -> int:
        return step if step % period else step // period * inner

    return high * inner + low, [in_rows(step) for step in steps], tuple(in_rows(step) for step in access.table)
