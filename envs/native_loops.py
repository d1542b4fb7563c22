"""What a recorded call does, as loops over its operands; None for a call that stays with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .native_terms import cast, code, known, literal, term

Array = NDArray[Any]
#: Sums of at most so many terms are written out.
WRITTEN_OUT = 16


@dataclass(frozen=True, eq=False)
class Access:
    """Where a loop nest finds an operand.

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
    """

    array: Array
    axis: int | None = None
    table: tuple[int, ...] = ()
    whole: Any = None

    @property
    def extent(self) -> Array:
        """An array over all that may be touched."""
        return self.array if self.whole is None else self.whole

    def same(self, other: Access) -> bool:
        """Whether both touch the same place at every step."""
        one, two = self.array, other.array
        return (
            one.ctypes.data == two.ctypes.data
            and one.dtype == two.dtype
            and (self.axis, self.table) == (other.axis, other.table)
            and all(a == b for a, b, n in zip(one.strides, two.strides, one.shape, strict=True) if n > 1)
        )

    def apart(self, other: Access) -> bool:
        """Whether the two certainly touch nothing in common."""
        one, two = self.extent, other.extent
        if not np.may_share_memory(one, two):
            return True
        try:
            return not np.shares_memory(one, two, max_work=10_000)
        except Exception:  # NumPy's TooHardError: not certain
            return False


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


def loops(call: Callable[[], Any], constant: Callable[[Array], bool]) -> list[Nest] | None:
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
    if isinstance(owner, np.ufunc):
        handler = {"__call__": _elementwise, "reduce": _reduce, "accumulate": _accumulate}.get(name)
        found = handler(owner, args, kwargs) if handler else None
    elif isinstance(owner, np.ndarray):
        if name == "fill" and not kwargs:
            found = _copy(owner, args[0])
        elif name == "take" and not kwargs and len(args) == 4 and args[1] == 0 and args[3] == "clip":
            found = _gather(owner, args[0], args[2], constant)
        elif name == "__setitem__" and not kwargs:
            found = _scatter(owner, *args, constant)
    elif function is np.copyto and kwargs.keys() <= {"casting", "where"}:
        found = _copy(*args, where=kwargs.get("where", True))
    elif function in (np.concatenate, np.stack) and kwargs.keys() <= {"out", "axis"} and len(args) == 1:
        found = _join(function is np.stack, args[0], **kwargs)
    elif name == "_pick" and len(args) == 3:
        found = _gather(*args, constant)
    return None if found is None or not all(map(_sound, found)) else [nest for nest in found if 0 not in nest.shape]


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


def _loop(ufunc: np.ufunc, operands: Any, out: Array) -> tuple[np.dtype[Any], ...] | None:
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


def _copy(out: Array, source: Any, where: Any = True) -> list[Nest] | None:
    if not known(out.dtype) or (isinstance(source, np.ndarray) and not known(source.dtype)):
        return None
    value = _Value(out.shape)
    dtype = source.dtype if isinstance(source, np.ndarray) else out.dtype
    if isinstance(source, float) and out.dtype.kind != "f":
        return None
    return value.nest(Access(out), value.operand(source, dtype), dtype, where)


def _join(new_axis: bool, parts: Any, out: Any = None, axis: int = 0) -> list[Nest] | None:
    if not isinstance(out, np.ndarray):
        return None
    axis, start, nests = axis % out.ndim, 0, list[Nest]()
    front = (slice(None),) * axis
    for part in parts:
        size = 1 if new_axis else part.shape[axis]
        place = out[(*front, start)] if new_axis else out[(*front, slice(start, start + size))]
        copied = _copy(place, part)
        if copied is None:
            return None
        nests += copied
        start += size
    return nests


# Looking up places ------------------------------------------------------------------------------


def _gather(array: Array, index: Any, out: Array, constant: Callable[[Array], bool]) -> list[Nest] | None:
    access = _looked_up(array, index, constant)
    if access is None or access.array.shape != out.shape:
        return None
    value = _Value(out.shape)
    return value.nest(Access(out), value.operand(access, array.dtype), array.dtype)


def _scatter(array: Array, index: Any, values: Any, constant: Callable[[Array], bool]) -> list[Nest] | None:
    access = _looked_up(array, index, constant)
    if access is None or not known(array.dtype):
        return None
    value = _Value(access.array.shape)
    dtype = values.dtype if isinstance(values, np.ndarray) else array.dtype
    return value.nest(access, value.operand(values, dtype), dtype)


def _looked_up(array: Array, index: Any, constant: Callable[[Array], bool]) -> Access | None:
    """``array[index]`` with integers that never change along one axis, or with several along the first axes."""
    parts = list(index) if isinstance(index, tuple) else [index]
    lists = [one for one in parts if isinstance(one, np.ndarray)]
    rest = [one for one in parts if not isinstance(one, np.ndarray)]
    if not all(isinstance(one, slice) for one in rest) or array.size == 0:
        return Access(array[index]) if array.size == 0 else None
    fits = all(one.ndim == 1 and one.dtype.kind == "i" and len(one) == len(lists[0]) for one in lists)
    if not lists or not fits or not all(map(constant, lists)) or (len(lists) > 1 and rest) or len(lists[0]) == 0:
        return None
    axis = next(i for i, one in enumerate(parts) if isinstance(one, np.ndarray))
    whole = array[tuple(slice(None) if isinstance(one, np.ndarray) else one for one in parts)]
    steps = np.zeros(len(lists[0]), np.int64)
    for number, places in enumerate(lists, axis):
        size = whole.shape[number]
        if (places < -size).any() or (places >= size).any():
            return None
        steps += places % size * (whole.strides[number] // array.itemsize)
    first = whole[(*(slice(None),) * axis, *(0,) * len(lists))]
    shown = np.broadcast_to(np.expand_dims(first, axis), (*first.shape[:axis], len(steps), *first.shape[axis:]))
    return Access(shown, axis, tuple(steps.tolist()), whole)


# Sums -------------------------------------------------------------------------------------------


@cache
def _sums_start_at_zero() -> bool:
    """Whether this NumPy's sums are 0 + a + b, which shows where all are -0."""
    return not np.signbit(np.add.reduce(np.full((2, 64), -0.0), axis=0)).any()


def _in_order(array: Array, axis: int) -> bool:
    """Whether NumPy adds up along an axis in order: not where it is the fastest, and memory runs as the axes do."""
    strides = [(abs(stride), i) for i, (stride, n) in enumerate(zip(array.strides, array.shape, strict=True)) if n > 1]
    descending = all(one[0] > two[0] for one, two in zip(strides, strides[1:], strict=False))
    return descending and strides[-1][1] != axis


def _reduce(ufunc: np.ufunc, args: Any, kwargs: dict[str, Any]) -> list[Nest] | None:
    out, axis, keep = kwargs.pop("out", None), kwargs.pop("axis", 0), kwargs.pop("keepdims", False)
    if kwargs or len(args) != 1 or not isinstance(out, np.ndarray) or not isinstance(axis, int):
        return None
    array = args[0]
    if not isinstance(array, np.ndarray) or not known(array.dtype) or not known(out.dtype) or ufunc.nin != 2:
        return None
    axis %= array.ndim
    size, real = array.shape[axis], out.dtype.kind == "f"
    form = term(ufunc.__name__, (out.dtype,) * 3)
    counted = ufunc is np.add and array.dtype.kind == "b" and code(out.dtype) == "i8"
    if form is None or size == 0 or ufunc.identity is None and ufunc not in (np.maximum, np.minimum):
        return None
    if array.dtype != out.dtype and not counted or ufunc.__name__ in ("subtract", "divide", "floor_divide"):
        return None
    if real and size > 1 and not (_in_order(array, axis) or (ufunc is np.add and size == 2)):
        return None
    target = out[(slice(None),) * axis + (0,)] if keep else out
    rows = np.moveaxis(array, axis, 0)
    value = _Value(target.shape)
    text = value.operand(rows[0], out.dtype)
    if real and ufunc is np.add and _sums_start_at_zero():
        text = f"({literal(0.0, out.dtype)} + {text})"
    for row in rows[1:WRITTEN_OUT]:
        text = form.format(text, value.operand(row, out.dtype))
    nests = value.nest(Access(target), text, out.dtype)
    if nests is None or size <= WRITTEN_OUT:
        return nests
    if not Access(target).apart(Access(array)):
        return None
    others = array[(*(slice(None),) * axis, slice(WRITTEN_OUT, None))]
    value = _Value(others.shape)
    write = Access(np.broadcast_to(np.expand_dims(target, axis), others.shape))
    text = form.format(value.operand(write, out.dtype), value.operand(others, out.dtype))
    more = value.nest(write, text, out.dtype)
    return None if more is None else nests + [Nest(one.write, one.reads, one.text, serial=True) for one in more]


def _accumulate(ufunc: np.ufunc, args: Any, kwargs: dict[str, Any]) -> list[Nest] | None:
    out, axis = kwargs.pop("out", None), kwargs.pop("axis", 0)
    if kwargs or len(args) != 1 or not isinstance(out, np.ndarray) or ufunc is not np.add:
        return None
    array = args[0]
    form = term(ufunc.__name__, (out.dtype,) * 3)
    if not isinstance(array, np.ndarray) or form is None or array.dtype != out.dtype:
        return None
    if not (Access(array).same(Access(out)) or Access(array).apart(Access(out))):
        return None
    axis %= array.ndim
    sums, rows = np.moveaxis(out, axis, 0), np.moveaxis(array, axis, 0)
    nests = _copy(sums[0], rows[0]) if len(rows) else []
    if nests is None:
        return None
    for i in range(1, min(len(rows), WRITTEN_OUT)):
        value = _Value(sums[i].shape)
        text = form.format(value.operand(sums[i - 1], out.dtype), value.operand(rows[i], out.dtype))
        nests += value.nest(Access(sums[i]), text, out.dtype) or []
    if len(rows) > WRITTEN_OUT:
        value, past = _Value(rows[WRITTEN_OUT:].shape), sums[WRITTEN_OUT - 1 : -1]
        text = form.format(value.operand(past, out.dtype), value.operand(rows[WRITTEN_OUT:], out.dtype))
        nests += [Nest(Access(sums[WRITTEN_OUT:]), tuple(value.reads), text, serial=True)]
    return nests
