"""Which memory a program's calls touch, which of it nobody else sees, and along which axis worlds are independent."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .native_loops import Access, Array, Nest, loops

if TYPE_CHECKING:
    from .program import Program

#: Batches of fewer worlds are done in one go.
FEW_WORLDS = 16


@dataclass(eq=False)
class Tensor:
    """Memory that operands lie in.

    ``world`` is the number of bytes from one world to the next, once known (batches done in parts only). What is
    ``kept`` stays where it is, for others to see; the rest gets a place in a scratch buffer.
    """

    start: int
    size: int
    itemsize: int = 1
    owned: bool = False
    written: bool = False
    kept: bool = True
    world: int | None = None


@dataclass(eq=False)
class Place:
    """An operand as the generated code finds it: bytes to the first place, elements from step to step.

    Of scratch in a batch done in parts both are counted in rows of worlds.
    """

    tensor: Tensor
    access: Access
    offset: int
    strides: tuple[int, ...]
    axis: int | None = None
    table: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal where the same place is touched at every step of loops of the same shape."""
        return (id(self.tensor), self.access.array.dtype.str, self.offset, self.strides, self.axis, self.table)


@dataclass(eq=False)
class Statement:
    """A loop nest with its operands placed; axes of one step are left out, worlds (if cut in parts) come last."""

    extents: tuple[int, ...]
    write: Place
    reads: list[Place]
    text: str
    serial: bool


@dataclass
class Plan:
    """A program in order: statements that belong together, and calls that stay with NumPy."""

    worlds: int | None
    parts: list[list[Statement] | Callable[[], Any]] = field(default_factory=list)


def plan(program: Program) -> Plan | None:
    """How to run a program natively; None where nothing can be."""
    memory = Memory(program)
    batch = Counter(one.shape[-1] for _, one in program.made if one.ndim).most_common(1)
    worlds = batch[0][0] if batch and batch[0][0] >= FEW_WORLDS else None
    steps = [(number, call, loops(call, memory.constant)) for number, call in enumerate(program.calls)]
    planned = _planned(memory, steps, worlds)
    if planned is None:
        planned = _planned(Memory(program), steps, None)
    return planned


def arrays(value: Any) -> Iterator[Array]:
    """The arrays in a call or in its arguments."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, partial):
        yield from arrays([getattr(value.func, "__self__", None), value.args, value.keywords])
    elif isinstance(value, list | tuple):
        for one in value:
            yield from arrays(one)
    elif isinstance(value, dict):
        yield from arrays(list(value.values()))


def _written(call: Any) -> list[Array]:
    """The arrays that a call may write into."""
    name = getattr(call.func, "__name__", "")
    if "out" in call.keywords:
        return list(arrays(call.keywords["out"]))
    if name in ("fill", "__setitem__"):
        return [call.func.__self__]
    if name in ("copyto", "take", "_pick"):
        return [call.args[0 if name == "copyto" else 2]]
    return list(arrays(call))


class Memory:
    """The memory of a program's arrays, by address.

    A buffer that several results share, one after the other, is a tensor for each of them.
    """

    def __init__(self, program: Program) -> None:
        self.owned: dict[int, list[tuple[int, Tensor]]] = {}
        for number, array in program.made:
            tensor = Tensor(array.ctypes.data, array.nbytes, array.itemsize, owned=True, kept=False)
            self.owned.setdefault(tensor.start, []).append((number, tensor))
        self.starts = sorted(self.owned)
        self.ends = {start: start + max(t.size for _, t in self.owned[start]) for start in self.starts}
        self.others: list[Tensor] = []
        others = [one for call in program.calls for one in arrays(call) if one.size and not self._owner(one)]
        others += [one for one in program.inputs if one is not None and one.size]
        for low, high, itemsize in sorted((*byte_bounds(one), one.itemsize) for one in others):
            last = self.others[-1] if self.others else None
            if last is not None and low < last.start + last.size:
                last.size = max(last.size, high - last.start)
            else:
                self.others.append(Tensor(low, high - low, itemsize))
        self.other_starts = [tensor.start for tensor in self.others]
        for number, call in enumerate(program.calls):
            for one in _written(call):
                if one.size:
                    self.find(one, number).written = True
        for output in program.outputs:
            if output is not None and output.size and self._owner(output):
                self.find(output, len(program.calls)).kept = True

    def _owner(self, array: Array) -> int | None:
        start = array.ctypes.data
        place = bisect_right(self.starts, start) - 1
        return self.starts[place] if place >= 0 and start < self.ends[self.starts[place]] else None

    def find(self, array: Array, number: int) -> Tensor:
        """The tensor that an array of a numbered call lies in."""
        owner = self._owner(array)
        if owner is None:
            return self.others[bisect_right(self.other_starts, byte_bounds(array)[0]) - 1]
        return [tensor for made, tensor in self.owned[owner] if made <= number][-1]

    def constant(self, array: Array) -> bool:
        """Whether an array is none of the program's own and never written."""
        return not array.size or not (self._owner(array) or self.find(array, 0).written)


def _planned(memory: Memory, steps: list[tuple[int, Any, list[Nest] | None]], worlds: int | None) -> Plan | None:
    """The plan for a batch done in parts, or for one done whole (``worlds`` None); None if the first cannot be."""
    result = Plan(worlds)
    runs: list[list[tuple[int, Nest, int | None]] | Callable[[], Any]] = []
    for number, call, nests in steps:
        axes = None if nests is None else [_world_axis(memory, number, nest, worlds) for nest in nests]
        if nests is None or axes is None or -1 in axes:
            runs.append(call)
            for one in arrays(call):
                if one.size:
                    memory.find(one, number).kept = True
            continue
        if not runs or not isinstance(runs[-1], list):
            runs.append([])
        run = runs[-1]
        assert isinstance(run, list)
        run += [(number, nest, axis) for nest, axis in zip(nests, axes, strict=True)]
    _keep_what_crosses(memory, runs)
    if worlds is not None and not _aligned(memory, runs):
        return None
    for run in runs:
        if isinstance(run, list):
            result.parts.append([_statement(memory, worlds, *one) for one in run])
        else:
            result.parts.append(run)
    return result


def _keep_what_crosses(memory: Memory, runs: list[Any]) -> None:
    """What is used in more than one run must stay in memory."""
    seen: dict[Tensor, int] = {}
    for place, run in enumerate(runs):
        for number, nest, _ in run if isinstance(run, list) else ():
            for access in (nest.write, *nest.reads):
                tensor = memory.find(access.extent, number)
                tensor.kept |= seen.setdefault(tensor, place) != place


def _aligned(memory: Memory, runs: list[Any]) -> bool:
    """Whether results that stay in one buffer, one after the other, have their worlds in the same places."""
    for run in runs:
        layouts: dict[int, int | None] = {}
        for number, nest, _ in run if isinstance(run, list) else ():
            for access in (nest.write, *nest.reads):
                tensor = memory.find(access.extent, number)
                if tensor.owned and tensor.kept and layouts.setdefault(tensor.start, tensor.world) != tensor.world:
                    return False
    return True


# Worlds -----------------------------------------------------------------------------------------


def _world_axis(memory: Memory, number: int, nest: Nest, worlds: int | None) -> int | None:
    """The loop over worlds, of which each step must touch its own world alone; -1 if there is none."""
    if worlds is None:
        return None
    places = [(access, memory.find(access.extent, number)) for access in (nest.write, *nest.reads)]
    candidates = [axis for axis, steps in enumerate(nest.shape) if steps == worlds]

    def along(access: Access, axis: int) -> int:
        return access.array.strides[axis]

    for access, tensor in places:
        if tensor.world is not None:
            candidates = [axis for axis in candidates if along(access, axis) == tensor.world]
    if not candidates:
        return -1
    axis = candidates[-1]
    for access, tensor in places:
        if tensor.written and tensor.world is None:
            tensor.world = along(access, axis)
        if tensor.written and (access.axis == axis or rows(tensor, access, axis, worlds) is None):
            return -1
        if access.axis == axis:
            return -1
    return axis


def rows(
    tensor: Tensor, access: Access, axis: int, worlds: int
) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
    """First row, rows from step to step (0 along worlds) and rows of the table; None if worlds get mixed.

    A tensor is thought of as rows of worlds: element ``(high * worlds + world) * inner + low`` belongs to row
    ``high * inner + low``.
    """
    array, item = access.array, access.array.itemsize
    first, world = array.ctypes.data - tensor.start, tensor.world or 0
    if world <= 0 or world % item or first % item or array.strides[axis] != world:
        return None
    first, inner = first // item, world // item
    period = worlds * inner
    shape = enumerate(array.shape)
    steps = [0 if i == axis or n == 1 else array.strides[i] // item for i, n in shape]
    near = [step * (n - 1) for step, n in zip(steps, array.shape, strict=True) if step % period]
    low = first % period + sum(min(reach, 0) for reach in near) + min((one for one in access.table if one % period), default=0)
    high = first % period + sum(max(reach, 0) for reach in near) + max((one for one in access.table if one % period), default=0)
    if low < 0 or high >= inner:
        return None

    def in_rows(step: int) -> int:
        return step if step % period else step // period * inner

    return in_rows(first - first % period) + first % period, tuple(map(in_rows, steps)), tuple(map(in_rows, access.table))


def _statement(memory: Memory, worlds: int | None, number: int, nest: Nest, axis: int | None) -> Statement:
    keep = [i for i, n in enumerate(nest.shape) if n > 1 and i != axis]
    order = keep if axis is None else [*keep, axis]

    def place(access: Access) -> Place:
        tensor = memory.find(access.extent, number)
        item = access.array.itemsize
        steps = [stride // item for stride in access.array.strides]
        offset, table = access.array.ctypes.data - tensor.start, access.table
        if not tensor.kept and worlds is not None and axis is not None:
            found = rows(tensor, access, axis, worlds)
            assert found is not None
            offset, steps, table = found[0] * item, list(found[1]), found[2]
            steps[axis] = 1
        looked_up = access.axis in order
        if access.axis is not None and not looked_up:  # one place only
            offset += table[0] * item
            table = ()
        return Place(
            tensor,
            access,
            offset,
            tuple(steps[i] for i in order),
            order.index(access.axis) if looked_up and access.axis is not None else None,
            table,
        )

    extents = tuple(nest.shape[i] for i in order)
    return Statement(extents, place(nest.write), [place(one) for one in nest.reads], nest.text, nest.serial)
