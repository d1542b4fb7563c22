"""Loop nests of a recorded call over its operands; None for a call that stays with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np

from ..core.typing import NumpyArray
from .c_operations import cast, code, known, literal, term

#: Sums of at most so many terms are written out.
WRITTEN_OUT = 16


@dataclass(frozen=True, eq=False)
class Access:
    """Access of a loop nest to an operand.

    Parameters
    ----------
    array
        A view of the nest's shape (stride 0 where the operand is repeated).
    axis
        The axis along which places are looked up in ``table``, of which ``array`` then shows place 0; or None.
    table
        For each step along ``axis``, how many elements further on the place is.
    whole
        Everything that may be touched.
    lookup
        Where the place is looked up in another operand at every step, of the nest's shape: ``array`` then shows place 0.
    """

    array: NumpyArray
    axis: int | None = None
    table: tuple[int, ...] = ()
    whole: Any = None
    lookup: Lookup | None = None

    @property
    def extent(self) -> NumpyArray:
        """An array over all that may be touched."""
        return self.array if self.whole is None else self.whole

    def same(self, other: Access) -> bool:
        """Whether both touch the same place at every step."""
        one, two = self.array, other.array
        return (
            one.ctypes.data == two.ctypes.data
            and one.dtype == two.dtype
            and (self.axis, self.table) == (other.axis, other.table)
            and self.lookup is other.lookup is None
            and all(a == b for a, b, n in zip(one.strides, two.strides, one.shape, strict=True) if n > 1)
        )

    def apart(self, other: Access) -> bool:
        """Whether the two certainly touch nothing in common."""
        one, two = self.extent, other.extent
        if not np.may_share_memory(one, two):
            return True
        try:
            return not np.shares_memory(one, two, max_work=10_000)  # type: ignore[arg-type]
        except np.exceptions.TooHardError:
            return False


@dataclass(frozen=True, eq=False)
class Lookup:
    """Lookup of places that change from replay to replay.

    Parameters
    ----------
    index
        Whole numbers of the nest's shape, read before the place is.
    places, step
        Number of places, and elements from one to the next.
    wraps
        Whether negative numbers count from the end; numbers beyond are cut to what is there.
    """

    index: Access
    places: int
    step: int
    wraps: bool


@dataclass(frozen=True, eq=False)
class Nest:
    """For every place of a shape: one value from the reads, put where the write says.

    ``text`` is the value in C with {0}, {1} ... for the reads. In a ``serial`` nest steps build on each other, so
    their order matters.
    """

    write: Access
    reads: tuple[Access, ...]
    text: str
    serial: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Steps of each loop."""
        return self.write.array.shape


def loops(call: Callable[[], Any], constant: Callable[[NumpyArray], bool]) -> list[Nest] | None:
    """The loop nests of a call, in order (none where there is nothing to do), or None if it is not known.

    Parameters
    ----------
    call
        An entry of ``Program.calls``.
    constant
        Whether an array keeps its values from replay to replay.
    """
    if not isinstance(call, partial):
        return None
    function, args, kwargs = call.func, call.args, dict(call.keywords)
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    found = None
    if isinstance(owner, np.ufunc) and name in _UFUNC_METHODS:
        found = _UFUNC_METHODS[name](owner, args, kwargs)
    elif isinstance(owner, np.ndarray) and not kwargs:
        if name == "fill":
            found = _copy(owner, args[0])
        elif name == "take" and len(args) == 4 and args[1] == 0 and args[3] == "clip":
            found = _gather(owner, args[0], args[2], constant, wraps=False)
        elif name == "__setitem__":
            found = _scatter(owner, args[0], args[1], constant)
    elif function is np.copyto and kwargs.keys() <= {"casting", "where"}:
        found = _copy(args[0], args[1], kwargs.get("where", True))
    elif function in (np.concatenate, np.stack) and kwargs.keys() <= {"out", "axis"} and len(args) == 1:
        found = _join(function is np.stack, args[0], kwargs.get("out"), kwargs.get("axis", 0))
    elif name == "_pick" and len(args) == 3:
        found = _gather(args[0], args[1], args[2], constant)
    if found is None or not all(map(_sound, found)):
        return None
    return [nest for nest in found if 0 not in nest.shape]


def _sound(nest: Nest) -> bool:
    """Types known, memory as C wants it, and nothing read after it was overwritten."""
    for access in (nest.write, *nest.reads):
        array = access.array
        if not known(array.dtype) or not array.flags.aligned or any(s % array.itemsize for s in array.strides):
            return False
    if nest.serial or 0 in nest.shape:
        return True
    return all(nest.write.same(read) or nest.write.apart(read) for read in nest.reads)


class _Value:
    """A value under construction: its C text and the operands that it reads."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.reads, self.sure = shape, list[Access](), True

    def operand(self, value: Any, dtype: np.dtype[Any]) -> str:
        """The text of an array, or of a number, in a type."""
        text: str | None
        if isinstance(value, Access):
            if value.lookup is not None:
                self.reads.append(value.lookup.index)
            self.reads.append(value)
            text = cast(f"{{{len(self.reads) - 1}}}", value.array.dtype, dtype) if known(value.array.dtype) else None
        elif isinstance(value, np.ndarray):
            return self.operand(Access(np.broadcast_to(value, self.shape)), dtype)
        elif isinstance(value, np.generic):
            text = literal(value, value.dtype) if known(value.dtype) else None
            text = None if text is None else cast(text, value.dtype, dtype)
        else:
            text = literal(value, dtype) if isinstance(value, bool | int | float) else None
        self.sure = self.sure and text is not None
        return text or ""

    def nest(self, write: Access, text: str | None, dtype: np.dtype[Any], where: Any = True) -> list[Nest] | None:
        """The nest that writes the value, only where a mask is set if one is given."""
        text = None if text is None or not known(write.array.dtype) else cast(text, dtype, write.array.dtype)
        if where is not True:
            mask, old = self.operand(where, np.dtype(bool)), self.operand(write, write.array.dtype)
            text = None if text is None else f"({mask} ? {text} : {old})"
        if text is None or not self.sure:
            return None
        twice = len(set(write.table)) < len(write.table)
        if twice and not all(write.apart(read) for read in self.reads):
            return None
        return [Nest(write, tuple(self.reads), text, serial=twice)]


def _kind(value: Any) -> Any:
    """What ``ufunc.resolve_dtypes`` is told of an operand."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype
    return np.dtype(bool) if isinstance(value, bool) else type(value)


def _loop(ufunc: np.ufunc, operands: Any, out: NumpyArray) -> tuple[np.dtype[Any], ...] | None:
    try:
        return ufunc.resolve_dtypes((*map(_kind, operands), out.dtype))
    except (TypeError, ValueError):
        return None


def _elementwise(ufunc: np.ufunc, args: Any, kwargs: dict[str, Any]) -> list[Nest] | None:
    out = kwargs.pop("out", None)
    where = kwargs.pop("where", True)
    if kwargs or not isinstance(out, np.ndarray) or ufunc.nout != 1 or len(args) != ufunc.nin:
        return None
    loop = _loop(ufunc, args, out)
    form = None if loop is None else term(ufunc.__name__, loop)
    if loop is None or form is None:
        return None
    value = _Value(out.shape)
    operands = [value.operand(one, dtype) for one, dtype in zip(args, loop, strict=False)]
    return value.nest(Access(out), form.format(*operands) if value.sure else None, loop[-1], where)


def _copy(out: NumpyArray, source: Any, where: Any = True) -> list[Nest] | None:
    if not known(out.dtype) or (isinstance(source, np.ndarray) and not known(source.dtype)):
        return None
    value = _Value(out.shape)
    dtype = source.dtype if isinstance(source, np.ndarray) else out.dtype
    if isinstance(source, float) and out.dtype.kind != "f":
        return None
    return value.nest(Access(out), value.operand(source, dtype), dtype, where)


def _join(new_axis: bool, parts: Any, out: Any, axis: Any) -> list[Nest] | None:
    if not isinstance(out, np.ndarray) or not isinstance(axis, int):
        return None
    if not all(isinstance(part, np.ndarray) for part in parts):
        return None
    start, nests = 0, list[Nest]()
    along = np.moveaxis(out, axis, 0)
    for part in parts:
        part = part if new_axis else np.moveaxis(part, axis, 0)
        size = 1 if new_axis else len(part)
        copied = _copy(along[start, ...] if new_axis else along[start : start + size], part)
        if copied is None:
            return None
        nests += copied
        start += size
    return nests


# Looking up places ------------------------------------------------------------------------------


def _gather(
    array: NumpyArray, index: Any, out: NumpyArray, constant: Callable[[NumpyArray], bool], wraps: bool = True
) -> list[Nest] | None:
    access = _looked_up(array, index, constant) or _looked_up_anew(array, index, constant, wraps)
    if access is None or access.array.shape != out.shape:
        return None
    value = _Value(out.shape)
    return value.nest(Access(out), value.operand(access, array.dtype), array.dtype)


def _scatter(array: NumpyArray, index: Any, values: Any, constant: Callable[[NumpyArray], bool]) -> list[Nest] | None:
    access = _looked_up(array, index, constant)
    if access is None or not known(array.dtype):
        return None
    value = _Value(access.array.shape)
    dtype = values.dtype if isinstance(values, np.ndarray) else array.dtype
    return value.nest(access, value.operand(values, dtype), dtype)


def _looked_up(array: NumpyArray, index: Any, constant: Callable[[NumpyArray], bool]) -> Access | None:
    """``array[index]`` with integers that never change along one axis, or with several along the first axes."""
    parts = list(index) if isinstance(index, tuple) else [index]
    lists = [one for one in parts if isinstance(one, np.ndarray)]
    rest = [one for one in parts if not isinstance(one, np.ndarray)]
    if not lists or (len(lists) > 1 and rest) or not all(isinstance(one, slice) for one in rest):
        return None
    count = lists[0].size
    if not all(one.ndim == 1 and one.dtype.kind == "i" and one.size == count and constant(one) for one in lists):
        return None
    first = next(i for i, one in enumerate(parts) if isinstance(one, np.ndarray))
    whole = array[tuple(slice(None) if isinstance(one, np.ndarray) else one for one in parts)]
    steps = np.zeros(count, np.int64)
    shown = np.moveaxis(whole, first, 0)
    for axis, places in enumerate(lists, first):
        size = whole.shape[axis]
        if not count or (places < -size).any() or (places >= size).any():
            return None
        steps += places % size * (whole.strides[axis] // array.itemsize)
        shown = shown[0, ...]
    shown = np.moveaxis(np.broadcast_to(shown, (count, *shown.shape)), 0, first)
    return Access(shown, first, tuple(steps.tolist()), whole)


def _looked_up_anew(
    array: NumpyArray, index: Any, constant: Callable[[NumpyArray], bool], wraps: bool
) -> Access | None:
    """``array[index]`` of an array that never changes, with integers along one axis that do."""
    parts = list(index) if isinstance(index, tuple) else [index]
    axes = [axis for axis, one in enumerate(parts) if isinstance(one, np.ndarray)]
    if len(axes) != 1 or not all(one == slice(None) for axis, one in enumerate(parts) if axis != axes[0]):
        return None
    axis, numbers = axes[0], parts[axes[0]]
    if code(numbers.dtype) != "i8" or not array.size or not constant(array):
        return None
    first = np.moveaxis(array, axis, 0)[0, ...]
    shown = first.reshape((*first.shape[:axis], *(1,) * numbers.ndim, *first.shape[axis:]))
    if not np.may_share_memory(shown, array):
        return None
    shape = (*first.shape[:axis], *numbers.shape, *first.shape[axis:])
    spread = numbers.reshape((*numbers.shape, *(1,) * (first.ndim - axis)))
    if not np.may_share_memory(spread, numbers):
        return None
    lookup = Lookup(
        Access(np.broadcast_to(spread, shape)), array.shape[axis], array.strides[axis] // array.itemsize, wraps
    )
    return Access(np.broadcast_to(shown, shape), whole=array, lookup=lookup)


# Sums -------------------------------------------------------------------------------------------


@cache
def _sums_start_at_zero() -> bool:
    """Whether this NumPy's sums are 0 + a + b, which shows where all are -0."""
    return not np.signbit(np.add.reduce(np.full((2, 64), -0.0), axis=0)).any()


def _in_order(array: NumpyArray, axis: int) -> bool:
    """Whether NumPy adds up along an axis in order: not where it is the fastest, and memory runs as the axes do."""
    strides = [(abs(stride), i) for i, (stride, n) in enumerate(zip(array.strides, array.shape, strict=True)) if n > 1]
    descending = all(one[0] > two[0] for one, two in pairwise(strides))
    return descending and strides[-1][1] != axis


_SUMMED = (np.add, np.multiply, np.maximum, np.minimum, np.logical_and, np.logical_or)


def _reduce(ufunc: np.ufunc, args: Any, kwargs: dict[str, Any]) -> list[Nest] | None:
    out, axis, keep = kwargs.pop("out", None), kwargs.pop("axis", 0), kwargs.pop("keepdims", False)
    array = args[0]
    if kwargs or len(args) != 1 or ufunc not in _SUMMED or not isinstance(axis, int):
        return None
    if not isinstance(array, np.ndarray) or not isinstance(out, np.ndarray):
        return None
    axis %= array.ndim
    form, size, real = term(ufunc.__name__, (out.dtype,) * 3), array.shape[axis], out.dtype.kind == "f"
    counted = ufunc is np.add and array.dtype.kind == "b" and code(out.dtype) == "i8"
    if form is None or size == 0 or (array.dtype != out.dtype and not counted):
        return None
    if real and size > 1 and not (_in_order(array, axis) or (ufunc is np.add and size == 2)):
        return None
    rows = np.moveaxis(array, axis, 0)
    target = np.moveaxis(out, axis, 0)[0, ...] if keep else out
    value = _Value(target.shape)
    text = value.operand(rows[0, ...], out.dtype)
    if real and ufunc is np.add and _sums_start_at_zero():
        text = f"({literal(0.0, out.dtype)} + {text})"
    for i in range(1, min(size, WRITTEN_OUT)):
        text = form.format(text, value.operand(rows[i, ...], out.dtype))
    nests = value.nest(Access(target), text, out.dtype)
    if nests is None or size <= WRITTEN_OUT:
        return nests
    if not Access(target).apart(Access(array)):
        return None
    value = _Value(rows[WRITTEN_OUT:].shape)
    write = Access(np.broadcast_to(target, value.shape))
    text = form.format(value.operand(write, out.dtype), value.operand(rows[WRITTEN_OUT:], out.dtype))
    return [*nests, Nest(write, tuple(value.reads), text, serial=True)]


def _accumulate(ufunc: np.ufunc, args: Any, kwargs: dict[str, Any]) -> list[Nest] | None:
    out, axis = kwargs.pop("out", None), kwargs.pop("axis", 0)
    array = args[0]
    if kwargs or len(args) != 1 or ufunc is not np.add or not isinstance(axis, int):
        return None
    if not isinstance(array, np.ndarray) or not isinstance(out, np.ndarray) or array.dtype != out.dtype:
        return None
    form = term(ufunc.__name__, (out.dtype,) * 3)
    before, after = Access(array), Access(out)
    if form is None or not (before.same(after) or before.apart(after)):
        return None
    sums, rows = np.moveaxis(out, axis, 0), np.moveaxis(array, axis, 0)
    nests = _copy(sums[0, ...], rows[0, ...])
    for i in range(1, min(len(rows), WRITTEN_OUT)):
        here, value = sums[i, ...], _Value(sums.shape[1:])
        text = form.format(value.operand(sums[i - 1, ...], out.dtype), value.operand(rows[i, ...], out.dtype))
        nests = nests and [*nests, *(value.nest(Access(here), text, out.dtype) or [])]
    if nests and len(rows) > WRITTEN_OUT:
        rest, past = rows[WRITTEN_OUT:], sums[WRITTEN_OUT - 1 : -1]
        value = _Value(rest.shape)
        text = form.format(value.operand(past, out.dtype), value.operand(rest, out.dtype))
        nests = [*nests, Nest(Access(sums[WRITTEN_OUT:]), tuple(value.reads), text, serial=True)]
    return nests


_UFUNC_METHODS = {"__call__": _elementwise, "reduce": _reduce, "accumulate": _accumulate}
