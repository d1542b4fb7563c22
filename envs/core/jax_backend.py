"""The JAX backend: the vocabulary of :mod:`backend`, and the arrays that it works on.

JAX arrays cannot be written into, and the derivative of taking rows by index is a scatter, which its compiler runs entry by
entry. Here an array is held by a :class:`JaxArray`, which takes and puts rows whose numbers are known beforehand so that the
derivative is a gather, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from .errors import naming_extras
from .static_index import Array, Indices, consecutive, places_of

# Up to so many gathers, or entries gathered for each one there is, gathering beats a product with a matrix of ones and
# zeros; a matrix of more entries is too large to be part of a program.
SPARSE, LARGE = 4, 100_000


class JaxArray:
    """An array of JAX, traced or not, or a constant: then of NumPy, and what is computed from constants alone is one.

    A constant belongs to no trace, so what is prepared once serves every function that is traced later.
    """

    __array_ufunc__ = None  # arithmetic with NumPy arrays is ours, too
    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("empty", "ops", "value")

    def __init__(self, value: Any, ops: JaxOps, empty: bool = False) -> None:
        # One floating type throughout: NumPy would widen a product of whole and real numbers.
        if value.dtype.kind == "f" and value.dtype != ops.float:
            value = value.astype(ops.float)
        self.value, self.ops = value, ops
        self.empty = empty  # known to be zeros, so that what is put in need not be chosen between

    @property
    def shape(self) -> tuple[int, ...]:
        """As of any array."""
        found: tuple[int, ...] = self.value.shape
        return found

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of any array."""
        return np.dtype(self.value.dtype)

    @property
    def ndim(self) -> int:
        """As of any array."""
        return len(self.value.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> JaxArray:
        index = _bare(index)
        if isinstance(index, np.ndarray) and index.dtype.kind == "i" and index.ndim == 1 and self._is_traced:
            return JaxArray(self.ops.take(self.value, index), self.ops)
        traced = any(not isinstance(one, _KNOWN) for one in (index if isinstance(index, tuple) else (index,)))
        value = self.ops.jnp.asarray(self.value) if traced else self.value
        return JaxArray(value[index], self.ops)

    @property
    def _is_traced(self) -> bool:
        return not isinstance(self.value, np.ndarray | np.generic)

    def reshape(self, shape: tuple[int, ...]) -> JaxArray:
        """As of any array."""
        return JaxArray(self.value.reshape(shape), self.ops)

    def astype(self, dtype: Any) -> JaxArray:
        """As of any array."""
        return JaxArray(self.value.astype(dtype), self.ops)

    def squeeze(self, axis: int) -> JaxArray:
        """As of any array."""
        return JaxArray(self.value.squeeze(axis), self.ops)

    def sum(self, axis: int | None = None) -> JaxArray:
        """As of any array."""
        return JaxArray(self.value.sum(axis), self.ops)

    def mean(self, axis: int | None = None) -> JaxArray:
        """As of any array."""
        return JaxArray(self.value.mean(axis), self.ops)

    def any(self, axis: int | None = None) -> JaxArray:
        """As of any array."""
        return JaxArray(self.value.any(axis), self.ops)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """As a NumPy array; JAX refuses what is traced, which NumPy would otherwise take apart entry by entry."""
        return np.asarray(self.value, dtype)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __neg__(self) -> JaxArray:
        return JaxArray(-self.value, self.ops)

    def __invert__(self) -> JaxArray:
        return JaxArray(~self.value, self.ops)


# Numbers and NumPy's arrays are known; what JAX traces is not.
_KNOWN = (int, float, slice, type(None), type(...), np.ndarray, np.generic)


def _bare(value: Any) -> Any:
    """What JAX's functions take: arrays out of their boxes, in tuples and lists, too."""
    if isinstance(value, JaxArray):
        return value.value
    return type(value)(map(_bare, value)) if isinstance(value, list | tuple) else value


def _operator(name: str) -> Any:
    def apply(self: JaxArray, other: Any) -> JaxArray:
        other = _bare(JaxArray(other, self.ops) if isinstance(other, np.ndarray | np.generic) else other)
        if self._is_traced or isinstance(other, _KNOWN):
            return JaxArray(getattr(self.value, name)(other), self.ops)
        return JaxArray(getattr(self.ops.jnp.asarray(self.value), name)(other), self.ops)

    return apply


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "and", "or"):
    setattr(JaxArray, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(JaxArray, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(JaxArray, f"__{_name}__", _operator(f"__{_name}__"))


class JaxOps:
    """JAX with the same vocabulary, on :class:`JaxArray`; ``dtype`` is the floating type of continuous worlds.

    Whole numbers are 64-bit integers, which JAX has only within ``jax.enable_x64(True)``: trace and call everything in this
    context. It changes nothing about the floating type.
    """

    name = "jax"

    def __init__(self, dtype: Any = None) -> None:
        with naming_extras():
            import jax

        self.jax, self.jnp = jax, jax.numpy
        self.float: Any = np.dtype(dtype or np.float64)
        self.int: Any = np.dtype(np.int64)
        self.floor, self.ceil, self.exp, self.sqrt, self.sin, self.cos, self.fmod = (
            partial(self._call, name) for name in ("floor", "ceil", "exp", "sqrt", "sin", "cos", "fmod")
        )
        _register(jax)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JaxOps) and other.float == self.float

    def __hash__(self) -> int:
        return hash(self.float)

    def box(self, value: Any) -> Array:
        """An array of JAX or NumPy as the dynamics take it."""
        return JaxArray(value, self)

    def _call(self, name: str, *arguments: Any) -> Array:
        """A function of both libraries: of NumPy where everything is known."""
        bare = tuple(map(_bare, arguments))
        flat = [one for item in bare for one in (item if isinstance(item, list | tuple) else (item,))]
        library = np if all(isinstance(one, _KNOWN) for one in flat) else self.jnp
        return JaxArray(getattr(library, name)(*bare), self)

    # Arithmetic ----------------------------------------------------------------------------------

    def where(self, condition: Any, first: Any, second: Any) -> Array:
        """Choose by condition."""
        return self._call("where", condition, first, second)

    def minimum(self, first: Any, second: Any) -> Array:
        """Elementwise minimum; the second may be a number, and then equal entries pass on all of the derivative."""
        if isinstance(second, int | float):
            return self.where(first <= second, first, second)
        return self._call("minimum", first, second)

    def maximum(self, first: Any, second: Any) -> Array:
        """Elementwise maximum; the second may be a number, and then equal entries pass on all of the derivative."""
        if isinstance(second, int | float):
            return self.where(first >= second, first, second)
        return self._call("maximum", first, second)

    def softplus(self, value: Any) -> Array:
        """log(1 + e^value)."""
        return JaxArray(self.jax.nn.softplus(self._real(value)), self)

    def mean(self, value: Array, axis: int) -> Array:
        """Mean along one axis, which is kept with size 1."""
        return JaxArray(value.value.mean(axis, keepdims=True), self)

    def product(self, first: Any, second: Any) -> Array:
        """Matrix product (..., m, k) x (..., k, n)."""
        return JaxArray(self.jnp.matmul(self._real(first), self._real(second), precision="highest"), self)

    def dense(self, weight: Any, bias: Any, values: Any, activation: str = "") -> Array:
        """A dense layer; see :meth:`NumpyOps.dense`."""
        flat = _bare(values).reshape((values.shape[0], -1))
        found = (self.product(weight, flat).value + self._real(bias)).reshape((-1, *values.shape[1:]))
        return JaxArray(getattr(self.jax.nn, activation)(found) if activation else found, self)

    def _real(self, value: Any) -> Any:
        """An array of JAX in the floating type."""
        return self.jnp.asarray(_bare(value), self.float)

    def known(self, value: Any) -> np.ndarray[Any, Any] | None:
        """The numbers of an array that is not traced; None of one that is."""
        bare = _bare(value)
        return bare if isinstance(bare, np.ndarray) else None

    def cumulate(self, value: Any, axis: int) -> Array:
        """Running sums: of all entries of the axis, those behind left out, as one sum is quicker than a chain of them."""
        axis, size = axis % value.ndim, value.shape[axis]
        upto = np.tri(size, dtype=bool).reshape((size, size, *[1] * (value.ndim - axis - 1)))
        each = self.where(upto, value[(*[slice(None)] * axis, None)], value.value.dtype.type(0))
        return each.sum(axis + 1)

    def total(self, value: Any, axis: int = 0) -> Array:
        """Sum along one axis."""
        return value.squeeze(axis) if value.shape[axis] == 1 else value.sum(axis)

    # Made of something else ----------------------------------------------------------------------

    def constant(self, value: Any) -> Array:
        """A constant in the backend's floating type."""
        return JaxArray(np.ascontiguousarray(_bare(value), dtype=self.float), self)

    def whole(self, value: Any) -> Any:
        """A constant of 64-bit integers."""
        return JaxArray(np.ascontiguousarray(_bare(value), dtype=self.int), self)

    def index(self, value: Any) -> Any:
        """Integers to index with; a slice where they are consecutive."""
        return consecutive(np.asarray(value, dtype=np.int64))

    def asarray(self, value: Any) -> Array:
        """Something array-like as an array of JAX, or as the constant it is."""
        value = _bare(value)
        return JaxArray(value if isinstance(value, self.jax.Array) else np.asarray(value), self)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Zeros of a shape and type."""
        return JaxArray(self.jnp.zeros(shape, dtype), self, empty=True)

    def to_int(self, value: Array) -> Array:
        """Truncate to 64-bit integers."""
        return value.astype(self.int)

    def to_float(self, value: Array) -> Array:
        """Convert to the floating type."""
        return value.astype(self.float)

    def cast(self, value: Array, dtype: Any) -> Array:
        """Convert to a type."""
        return value.astype(dtype)

    def numpy(self, value: Any) -> np.ndarray[Any, Any]:
        """As a NumPy array; not of what is being traced."""
        return np.asarray(_bare(value))

    def without_gradient(self, value: Array) -> Array:
        """The same numbers, as constants."""
        return JaxArray(self.jax.lax.stop_gradient(value.value), self)

    # Axes ----------------------------------------------------------------------------------------

    def stack(self, values: list[Any], axis: int = 0) -> Array:
        """Join along a new axis."""
        return self._call("stack", values, axis)

    def concat(self, values: list[Any], axis: int = 0) -> Array:
        """Join along an axis."""
        return self._call("concatenate", values, axis)

    def flip(self, value: Any, axis: int) -> Array:
        """The axis in reverse order."""
        return self._call("flip", value, axis)

    def moveaxis(self, value: Any, source: int, target: int) -> Array:
        """One axis moved."""
        return self._call("moveaxis", value, source, target)

    def select(self, value: Array, index: Any, axis: int) -> Array:
        """Entries ``index``, what :meth:`index` gives, of an axis."""
        if axis == 0:
            return value[index]
        return self.moveaxis(self.moveaxis(value, axis, 0)[index], 0, axis)

    def broadcast(self, value: Any, shape: tuple[int, ...]) -> Array:
        """An array in which axes of size 1 are repeated."""
        return self._call("broadcast_to", value, shape)

    def contiguous(self, value: Array) -> Array:
        """The array itself: JAX knows no other order in memory."""
        return value

    def window(self, value: Array, start: Any, count: int) -> Array:
        """Rows ``start`` to ``start + count`` of the first axis; ``start`` may be traced."""
        rows = self.jax.lax.dynamic_slice_in_dim(self.jnp.asarray(value.value), _bare(start), count, 0)
        return JaxArray(rows, self)

    # Rows by number ------------------------------------------------------------------------------

    def put(self, out: Array, where: Any, values: Any) -> Array:
        """A copy of ``out`` with ``values`` at the places ``where``, which are known."""
        target, new = self.jnp.asarray(out.value), self.jnp.asarray(_bare(values)).astype(out.dtype)
        where = _bare(where)
        if isinstance(where, tuple):  # two leading axes at once
            leading = tuple(target.shape[: len(where)])
            flat = target.reshape((math.prod(leading), *target.shape[len(where) :]))
            rows = np.ravel_multi_index(where, leading)
            return self.put(JaxArray(flat, self), rows, values).reshape(target.shape)
        new = self.jnp.broadcast_to(new, (*np.arange(len(target))[where].shape, *target.shape[1:]))
        if isinstance(where, slice):
            found = self.jax.lax.dynamic_update_slice_in_dim(target, new, where.indices(len(target))[0], 0)
            return JaxArray(found, self)
        (place,) = places_of(where, len(target)) or [np.full(len(target), len(where))]
        there = place < len(where)
        if there.all():
            return JaxArray(self.take(new, place), self)
        if not there.any():
            return out
        spread = self._spread(new, where, place, there)
        if out.empty:
            return JaxArray(spread, self)
        return JaxArray(self.jnp.where(_along(there, target.ndim), spread, target), self)

    def _spread(self, rows: Any, where: Indices, place: Indices, there: np.ndarray[Any, Any]) -> Any:
        """Rows at the places ``where`` of an array of zeros; both ways are one gather."""

        def forward(_: Any, rows: Any) -> Any:
            return self.jnp.take(rows, place, axis=0, mode="fill", fill_value=0)

        if rows.dtype.kind != "f":
            return forward((), rows)
        found: Callable[..., Any] = self.jax.custom_derivatives.linear_call(
            forward, lambda _, slopes: self.jnp.take(slopes, where, axis=0, mode="clip"), (), rows
        )
        return found

    def take(self, value: Any, index: np.ndarray[Any, Any]) -> Any:
        """Rows ``index``, known numbers >= 0, of a bare array; the derivative gathers, too."""
        found = consecutive(index)
        if isinstance(found, slice) or not len(index):
            return value[found]
        if value.dtype.kind != "f":
            return self.jnp.take(value, index, axis=0, mode="clip")
        take: Callable[..., Any] = self.jax.custom_derivatives.linear_call(
            lambda _, rows: self.jnp.take(rows, index, axis=0, mode="clip"),
            lambda _, slopes: _summed(self.jnp, slopes, index, value.shape[0]),
            (),
            value,
        )
        return take


@cache
def _register(jax: Any) -> None:
    """Let JAX look into boxes: in arguments, results and what a scan carries."""

    def box(ops: JaxOps, inside: Any) -> Array:
        found = object.__new__(JaxArray)  # JAX puts stand-ins in, which have no type
        found.value, found.ops, found.empty = inside[0], ops, False
        return found

    jax.tree_util.register_pytree_node(JaxArray, lambda one: ((one.value,), one.ops), box)


def _along(mask: np.ndarray[Any, Any], axes: int) -> np.ndarray[Any, Any]:
    """A mask of rows as what broadcasts over so many axes."""
    return mask.reshape((-1, *[1] * (axes - 1)))


def _summed(jnp: Any, slopes: Any, index: np.ndarray[Any, Any], rows: int) -> Any:
    """(rows, ...) sums of the rows of ``slopes`` that ``index`` took from each."""
    columns = places_of(index, rows)
    if len(columns) > SPARSE and rows * len(columns) > SPARSE * len(index):
        if rows * len(index) > LARGE:
            return jnp.zeros((rows, *slopes.shape[1:]), slopes.dtype).at[index].add(slopes)
        taken = (np.arange(rows)[:, None] == index).astype(slopes.dtype)
        return jnp.tensordot(taken, slopes, 1, precision="highest")
    if any((column == len(index)).any() for column in columns):
        slopes = jnp.concatenate([slopes, jnp.zeros_like(slopes[:1])], 0)
    found = [jnp.take(slopes, column, axis=0, mode="clip") for column in columns]
    return sum(found[1:], start=found[0])
