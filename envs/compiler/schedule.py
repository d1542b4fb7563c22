"""Schedule of a program: statements that belong together, and the axis along which its worlds are independent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .buffers import BufferMemory, Tensor, arrays, extent, rows, written
from .c_operations import known
from .loop_nests import Access, Nest, loops
from .recording import Recording

#: Batches of fewer worlds are done in one go.
FEW_WORLDS = 8


@dataclass(eq=False)
class Operand:
    """An operand as the generated code finds it: bytes to the first place, elements from step to step.

    Of scratch in a batch done in parts both are counted in rows of worlds.
    """

    tensor: Tensor
    access: Access
    offset: int
    strides: tuple[int, ...]
    axis: int | None
    table: tuple[int, ...]
    index: Operand | None = None  # where the place is looked up at every step

    def __post_init__(self) -> None:
        #: Equal where the same place is touched at every step of loops of the same shape.
        self.key: tuple[Any, ...] = (
            id(self.tensor),
            self.access.array.dtype.str,
            self.offset,
            self.strides,
            self.axis,
            self.table,
        )
        if self.index is not None:
            lookup = self.access.lookup
            assert lookup is not None
            self.key = (*self.key, self.index.key, lookup.places, lookup.step, lookup.wraps)


@dataclass(eq=False)
class Statement:
    """A loop nest with its operands placed; axes of one step are left out, worlds (if cut in parts) come last."""

    extents: tuple[int, ...]
    write: Operand
    reads: list[Operand]
    text: str
    serial: bool


@dataclass
class Schedule:
    """A program in order.

    Parameters
    ----------
    worlds
        Worlds of a batch that is done in parts, None for one done whole.
    state
        Memory that others may see change.
    parts
        Statements that belong together, and calls that stay with NumPy.
    fed
        Inputs that are read first of all, by number, and the results that they may be read from instead.
    """

    worlds: int | None
    state: list[Tensor]
    parts: list[list[Statement] | Callable[[], Any]] = field(default_factory=list)
    fed: dict[int, tuple[Tensor, list[int]]] = field(default_factory=dict)


class NothingToGain(Exception):
    """A program that native code cannot help."""


@dataclass
class _Step:
    """A nest, the number of its call and its loop over worlds."""

    number: int
    nest: Nest
    axis: int | None


_Run = list[_Step] | Callable[[], Any]


def plan(program: Recording) -> Schedule:
    """Schedule of a program for native code.

    Raises
    ------
    NothingToGain
        If none of its calls is known, or one of a kind that may do anything.
    """
    calls = []
    for call in program.calls:
        if not isinstance(call, partial) or not _harmless(call):
            raise NothingToGain(f"a call of unknown kind: {call!r:.100}")
        calls.append(call)
    memory = BufferMemory(program, calls)
    sizes = Counter(one.shape[-1] for _, one in program.made if one.ndim).most_common(1)
    worlds = sizes[0][0] if sizes and sizes[0][0] >= FEW_WORLDS else None
    nests = [loops(call, memory.constant) if list(written(call)) else [] for call in calls]
    if not any(nests):
        raise NothingToGain("no call is known")
    planned = _planned(memory, calls, nests, worlds)
    if planned is None:
        planned = _planned(BufferMemory(program, calls), calls, nests, None)
    assert planned is not None
    return planned


def _harmless(call: partial[Any]) -> bool:
    """Whether a call only computes arrays from arrays."""
    owner = getattr(call.func, "__self__", None)
    name = getattr(call.func, "__name__", "")
    return isinstance(owner, np.ufunc | np.ndarray) or name in ("copyto", "concatenate", "stack", "_pick", "_outside")


def _planned(
    memory: BufferMemory, calls: list[partial[Any]], nests: list[list[Nest] | None], worlds: int | None
) -> Schedule | None:
    """The plan for a batch done in parts of its worlds, or whole if None; None if it cannot be done in parts."""
    runs: list[_Run] = []
    for number, (call, found) in enumerate(zip(calls, nests, strict=True)):
        steps = None if found is None else _steps(memory, number, found, worlds)
        if steps is None:
            runs.append(call)
            for one in arrays(call):
                memory.find(one, number).kept = True
            continue
        if not runs or not isinstance(runs[-1], list):
            runs.append([])
        run = runs[-1]
        assert isinstance(run, list)
        run += steps
    _keep_what_crosses(memory, runs)
    if worlds is not None and not _aligned(memory, runs):
        return None
    result = Schedule(worlds, memory.state())
    twins: dict[Tensor, Tensor] = {}
    if len(runs) == 1 and isinstance(runs[0], list):
        runs[0] = _feed(memory, runs[0], result, twins) + runs[0]
    for run in runs:
        if isinstance(run, list):
            result.parts.append([_statement(memory, twins, worlds, step) for step in run])
        else:
            result.parts.append(run)
    return result


def _steps(memory: BufferMemory, number: int, nests: list[Nest], worlds: int | None) -> list[_Step] | None:
    """The nests of a call with their loops over worlds; None if one does not keep worlds apart."""
    steps = []
    for nest in nests:
        axis = None if worlds is None else _world_axis(memory, number, nest, worlds)
        if worlds is not None and axis is None:
            return None
        steps.append(_Step(number, nest, axis))
    return steps


def _world_axis(memory: BufferMemory, number: int, nest: Nest, worlds: int) -> int | None:
    """The loop over worlds, of which each step must touch its own world alone."""
    places = [(access, memory.find(access.extent, number)) for access in (nest.write, *nest.reads)]
    candidates = [axis for axis, steps in enumerate(nest.shape) if steps == worlds]
    for access, tensor in places:
        if tensor.world is not None:
            candidates = [axis for axis in candidates if access.array.strides[axis] == tensor.world]
    if not candidates or any(access.axis == candidates[-1] for access, _ in places):
        return None
    axis = candidates[-1]
    for access, tensor in places:
        if tensor.written or tensor.owned:
            tensor.world = access.array.strides[axis] if tensor.world is None else tensor.world
            if rows(tensor, access, axis, worlds) is None:
                return None
    return axis


def _touched(memory: BufferMemory, run: _Run) -> list[tuple[Tensor, Access, int | None]]:
    """Every tensor that a run touches, how, and the loop over worlds."""
    if not isinstance(run, list):
        return []
    return [
        (memory.find(access.extent, step.number), access, step.axis)
        for step in run
        for access in (step.nest.write, *step.nest.reads)
    ]


def _keep_what_crosses(memory: BufferMemory, runs: list[_Run]) -> None:
    """What is used in more than one run must stay in memory."""
    seen: dict[Tensor, int] = {}
    for place, run in enumerate(runs):
        for tensor, _, _ in _touched(memory, run):
            tensor.kept |= seen.setdefault(tensor, place) != place


def _aligned(memory: BufferMemory, runs: list[_Run]) -> bool:
    """Whether results that stay in one buffer, one after the other, have their worlds in the same places."""
    for run in runs:
        layouts: dict[int, int | None] = {}
        for tensor, _, _ in _touched(memory, run):
            if tensor.owned and tensor.kept and layouts.setdefault(tensor.start, tensor.world) != tensor.world:
                return False
    return True


def _feed(memory: BufferMemory, run: list[_Step], result: Schedule, twins: dict[Tensor, Tensor]) -> list[_Step]:
    """Copies of inputs into scratch, to be made before anything else: they may be results of the replay before."""
    uses: dict[Tensor, list[tuple[Access, int | None]]] = {}
    for tensor, access, axis in _touched(memory, run):
        uses.setdefault(tensor, []).append((access, axis))
    copies = []
    for number, array in enumerate(memory.inputs):
        if array is None or not array.size or not known(array.dtype):
            continue
        tensor, axis = memory.find(array, memory.end), None
        if tensor not in uses or tensor.written or tensor in result.state or tensor.size != extent(array):
            continue
        if result.worlds is not None:
            axis = _input_axis(tensor, array, uses[tensor], result.worlds)
            if axis is None:
                continue
        tensor.fed = True
        twins[tensor] = Tensor(tensor.start, tensor.size, kept=False, world=tensor.world, pitch=tensor.pitch)
        copies.append(_Step(-1, Nest(Access(array), (Access(array),), "{0}"), axis))
        result.fed[number] = tensor, _instead(memory, array, tensor, axis, result.worlds)
    return copies


def _input_axis(tensor: Tensor, array: Any, uses: list[tuple[Access, int | None]], worlds: int) -> int | None:
    """The axis of worlds of an input of which every use keeps worlds apart."""
    for axis in reversed(range(array.ndim)):
        tensor.world = array.strides[axis]
        if array.shape[axis] == worlds and all(a is not None and rows(tensor, use, a, worlds) for use, a in uses):
            return axis
    tensor.world = None
    return None


def _instead(memory: BufferMemory, array: Any, tensor: Tensor, axis: int | None, worlds: int | None) -> list[int]:
    """The results that have an input's layout, worlds in the same places."""
    found = []
    for number, output in enumerate(memory.outputs):
        if output is None or output.dtype != array.dtype or output.shape != array.shape:
            continue
        other = memory.find(output, memory.end)
        apart = axis is None or worlds is None or rows(other, Access(output), axis, worlds) is not None
        if other.owned and apart and output.strides == array.strides:
            found.append(number)
    return found


def _statement(memory: BufferMemory, twins: dict[Tensor, Tensor], worlds: int | None, step: _Step) -> Statement:
    nest, axis = step.nest, step.axis
    order = [i for i, n in enumerate(nest.shape) if n > 1 and i != axis]
    if axis is not None:
        order.append(axis)

    def place(access: Access, first: bool = False) -> Operand:
        tensor = memory.find(access.extent, step.number if step.number >= 0 else memory.end)
        tensor = tensor if first else twins.get(tensor, tensor)
        item = access.array.itemsize
        steps = [stride // item for stride in access.array.strides]
        offset, table = access.array.ctypes.data - tensor.start, access.table
        if not tensor.kept and worlds is not None and axis is not None:
            found = rows(tensor, access, axis, worlds)
            assert found is not None
            offset, steps, table = found[0] * item, found[1], found[2]
            steps[axis] = 1
        if access.axis is not None and access.axis not in order:  # one place only
            offset, table = offset + table[0] * item, ()
        number = order.index(access.axis) if access.axis in order else None
        index = None if access.lookup is None else place(access.lookup.index)
        return Operand(tensor, access, offset, tuple(steps[i] for i in order), number, table, index)

    reads = [place(one, first=step.number < 0) for one in nest.reads]
    return Statement(tuple(nest.shape[i] for i in order), place(nest.write), reads, nest.text, nest.serial)
