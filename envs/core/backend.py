"""Array backends: one vocabulary for NumPy, PyTorch and JAX, so that the dynamics, rules and rewards are written once.

Only what the libraries spell differently is here; operators and indexing are the same in all. Entries are
replaced by ``ops.put`` alone, and only in arrays that were freshly made: NumPy and PyTorch write into the array (which
keeps PyTorch's gradients intact), JAX returns another one.

Where two operands of ``maximum`` or ``minimum`` are equal, the derivative is one of several. All backends, and the compiled
gradient of ``agents.pathwise``, choose alike: against a number (a bound such as 0) the array gets all of it; of two arrays
each gets half, though one of them be constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import naming_extras
from .jax_backend import JaxOps
from .static_index import Array as Array
from .static_index import consecutive


def half_up(values: Any, ops: Any = np) -> Any:
    """Nearest whole number of each value, halves up, in the values' type.

    Parameters
    ----------
    values
        An array of the backend, or a number.
    ops
        Backend of the array.
    """
    return ops.floor(values + 0.5)


BLOCK = 16  # columns of a matrix product, as what is added up in which order depends on how many there are


class NumpyOps:
    """NumPy; ``dtype`` is the floating type of continuous worlds."""

    name = "numpy"

    def __init__(self, dtype: Any = np.float64) -> None:
        self.float = np.dtype(dtype)
        self.int = np.dtype(np.int64)
        self.where = np.where
        self.minimum = np.minimum
        self.maximum = np.maximum
        self.floor = np.floor
        self.ceil = np.ceil
        self.exp, self.sqrt, self.sin, self.cos, self.fmod = np.exp, np.sqrt, np.sin, np.cos, np.fmod
        self.broadcast = np.broadcast_to
        self.recording: list[Any] = [None]  # see program; one for all copies of this backend

    @property
    def program(self) -> Any:
        """The program that is being recorded, or None."""
        return self.recording[0]

    @program.setter
    def program(self, program: Any) -> None:
        self.recording[0] = program

    def constant(self, value: Any) -> Array:
        """A constant in the backend's floating type."""
        return np.ascontiguousarray(value, dtype=self.float)

    def whole(self, value: Any) -> Array:
        """A constant of 64-bit integers."""
        return np.ascontiguousarray(value, dtype=self.int)

    def index(self, value: Any) -> Array:
        """Integers to index with; a slice where they are consecutive (a view instead of a copy)."""
        return consecutive(np.asarray(value, dtype=np.int64))

    def asarray(self, value: Any) -> Array:
        """Something array-like as a NumPy array; one that is being recorded is one."""
        return value if hasattr(value, "program") else np.asarray(value)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Zeros of a shape and type."""
        return np.zeros(shape, dtype=dtype) if self.program is None else self.program.zeros(shape, dtype)

    def to_int(self, value: Array) -> Array:
        """Truncate to 64-bit integers."""
        return value.astype(np.int64)

    def to_float(self, value: Array) -> Array:
        """Convert to the floating type."""
        return value.astype(self.float)

    def cast(self, value: Array, dtype: Any) -> Array:
        """Convert to a type."""
        return value.astype(dtype)

    def cumulate(self, value: Array, axis: int) -> Array:
        """Running sums, in order."""
        if value.size < 64 * value.shape[axis]:
            return np.add.accumulate(value, axis=axis)
        # The same additions; NumPy's own loop runs along the axis, one number at a time.
        out = np.empty_like(value)
        rows, sums = np.moveaxis(value, axis, 0), np.moveaxis(out, axis, 0)
        sums[0] = rows[0]
        for i in range(1, len(rows)):
            np.add(sums[i - 1], rows[i], out=sums[i])
        return out

    def total(self, value: Array, axis: int = 0) -> Array:
        """Sum along one axis in sequential order, whatever the other axes' sizes.

        NumPy sums pairwise along the fastest axis: one world alone would then differ from the same
        world in a batch in the last bit. Running sums do not.
        """
        axis %= value.ndim
        if value.shape[axis] == 1:
            return value.squeeze(axis)
        if value.dtype.kind == "f" and math.prod(value.shape[axis:]) == value.shape[axis]:
            return np.add.accumulate(value, axis=axis).take(-1, axis)
        return np.add.reduce(value, axis=axis)

    def stack(self, values: list[Array], axis: int = 0) -> Array:
        """Join along a new axis."""
        return np.stack(values, axis=axis)

    def concat(self, values: list[Array], axis: int = 0) -> Array:
        """Join along an axis."""
        return np.concatenate(values, axis=axis)

    def flip(self, value: Array, axis: int) -> Array:
        """The axis in reverse order."""
        return np.flip(value, axis)

    def moveaxis(self, value: Array, source: int, target: int) -> Array:
        """A view with one axis moved."""
        # As np.moveaxis, which takes several times as long: a period of a simulation moves an axis a dozen times.
        axes = list(range(value.ndim))
        axes.insert(target % value.ndim, axes.pop(source))
        return value.transpose(axes)

    def put(self, out: Array, where: Any, values: Array) -> Array:
        """``out``, an array freshly made, with ``values`` at the places ``where``."""
        out[where] = values
        return out

    def window(self, value: Array, start: Any, count: int) -> Array:
        """Rows ``start`` to ``start + count`` of the first axis."""
        return value[start : start + count]

    def contiguous(self, value: Array) -> Array:
        """The same numbers, in memory in the order of the axes."""
        return np.ascontiguousarray(value)

    def without_gradient(self, value: Array) -> Array:
        """The same numbers; nothing is differentiated here."""
        return value

    def select(self, value: Array, index: Any, axis: int) -> Array:
        """Entries ``index``, what :meth:`index` gives, of an axis."""
        return value[(*[slice(None)] * axis, index)] if axis else value[index]

    def mean(self, value: Array, axis: int) -> Array:
        """Mean along one axis, which is kept with size 1."""
        shape = (*value.shape[:axis], 1, *value.shape[axis + 1 :])
        return self.total(value, axis).reshape(shape) / value.dtype.type(value.shape[axis])

    def product(self, first: Array, second: Array) -> Array:
        """Matrix product (..., m, k) x (..., k, n), of BLOCK columns at a time: with the same last bits for any n."""
        n, whole = second.shape[-1], -(-second.shape[-1] // BLOCK)
        if n % BLOCK:
            more = self.zeros((*second.shape[:-1], whole * BLOCK - n), second.dtype)
            second = np.concatenate([second, more], axis=-1)
        blocks = second.reshape((*second.shape[:-1], whole, BLOCK))
        found = self.moveaxis(np.matmul(first, self.moveaxis(blocks, -2, -3)), -3, -2)
        return found.reshape((*found.shape[:-2], whole * BLOCK))[..., :n]

    def softplus(self, value: Array) -> Array:
        """log(1 + e^value)."""
        return np.logaddexp(value, value.dtype.type(0))

    def dense(self, weight: Array, bias: Array, values: Array, activation: str = "") -> Array:
        """A dense layer: ``activation(weight @ values + bias)``.

        Parameters
        ----------
        weight, bias, values
            (outputs, inputs), (outputs, 1) and (inputs, ..., n).
        activation
            ``tanh``, ``relu``, ``elu`` or ``sigmoid``; empty: none.
        """
        found = self.moveaxis(self.product(weight, self.moveaxis(values, 0, -2)), -2, 0)
        found = found + bias.reshape((-1, *[1] * (values.ndim - 1)))
        return _NUMPY_ACTIVATIONS[activation](found) if activation else found

    def known(self, value: Array) -> np.ndarray[Any, Any] | None:
        """The numbers of an array where they are known and nothing is differentiated by them; None where not."""
        return value if isinstance(value, np.ndarray) else None

    def numpy(self, value: Array) -> np.ndarray[Any, Any]:
        """As a NumPy array."""
        return np.asarray(value)


def _elu(value: Array) -> Array:
    return np.maximum(value, 0) + np.expm1(np.minimum(value, 0))


def _sigmoid(value: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * value))


_NUMPY_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "relu": lambda value: np.maximum(value, 0),
    "elu": _elu,
    "sigmoid": _sigmoid,
}


class TorchOps:
    """PyTorch with the same vocabulary; ``device`` and floating ``dtype`` of the caller's choice."""

    name = "torch"

    def __init__(self, dtype: Any = None, device: Any = "cpu") -> None:
        with naming_extras():
            import torch

        self._torch = torch
        self.device = device
        self.float = dtype or torch.float64
        self.int = torch.int64
        self.floor = torch.floor
        self.ceil = torch.ceil
        self.exp, self.sqrt, self.sin, self.cos, self.fmod = torch.exp, torch.sqrt, torch.sin, torch.cos, torch.fmod
        self.product = torch.matmul

    def where(self, condition: Array, first: Array, second: Array) -> Array:
        """Choose by condition."""
        return self._torch.where(condition, first, second)

    def minimum(self, first: Array, second: Array) -> Array:
        """Elementwise minimum; the second may be a number."""
        if isinstance(second, int | float):
            return first.clamp(max=second)
        return self._torch.minimum(first, second)

    def maximum(self, first: Array, second: Array) -> Array:
        """Elementwise maximum; the second may be a number."""
        if isinstance(second, int | float):
            return first.clamp(min=second)
        return self._torch.maximum(first, second)

    def constant(self, value: Any) -> Array:
        """A constant in the backend's floating type."""
        return self._torch.as_tensor(np.array(value), dtype=self.float, device=self.device)

    def whole(self, value: Any) -> Array:
        """A constant of 64-bit integers."""
        return self._torch.as_tensor(np.array(value), dtype=self.int, device=self.device)

    def index(self, value: Any) -> Array:
        """Integers to index with; a slice where they are consecutive."""
        found = consecutive(np.asarray(value, dtype=np.int64))
        return found if isinstance(found, slice) else self.whole(found)

    def asarray(self, value: Any) -> Array:
        """Something array-like as a tensor on the device."""
        if self._torch.is_tensor(value):
            return value.to(self.device)
        value = np.asarray(value)
        if not value.flags.writeable or any(stride < 0 for stride in value.strides):
            value = value.copy()
        return self._torch.as_tensor(value, device=self.device)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Zeros of a shape and type."""
        return self._torch.zeros(shape, dtype=dtype, device=self.device)

    def to_int(self, value: Array) -> Array:
        """Truncate to 64-bit integers."""
        return value.to(self.int)

    def to_float(self, value: Array) -> Array:
        """Convert to the floating type."""
        return value.to(self.float)

    def cast(self, value: Array, dtype: Any) -> Array:
        """Convert to a type."""
        return value.to(dtype)

    def cumulate(self, value: Array, axis: int) -> Array:
        """Running sums."""
        return self._torch.cumsum(value, dim=axis)

    def total(self, value: Array, axis: int = 0) -> Array:
        """Sum along one axis."""
        return value.squeeze(axis) if value.shape[axis] == 1 else value.sum(dim=axis)

    def stack(self, values: list[Array], axis: int = 0) -> Array:
        """Join along a new axis."""
        return self._torch.stack(values, dim=axis)

    def concat(self, values: list[Array], axis: int = 0) -> Array:
        """Join along an axis."""
        return self._torch.cat(values, dim=axis)

    def flip(self, value: Array, axis: int) -> Array:
        """The axis in reverse order."""
        return value.flip(axis)

    def moveaxis(self, value: Array, source: int, target: int) -> Array:
        """A view with one axis moved."""
        return self._torch.movedim(value, source, target)

    def put(self, out: Array, where: Any, values: Array) -> Array:
        """``out``, a tensor freshly made, with ``values`` at the places ``where``."""
        out[where] = values
        return out

    def window(self, value: Array, start: Any, count: int) -> Array:
        """Rows ``start`` to ``start + count`` of the first axis."""
        return value[start : start + count]

    def contiguous(self, value: Array) -> Array:
        """The same numbers, in memory in the order of the axes."""
        return value.contiguous()

    def without_gradient(self, value: Array) -> Array:
        """The same numbers, as constants."""
        return value.detach()

    def select(self, value: Array, index: Any, axis: int) -> Array:
        """Entries ``index``, what :meth:`index` gives, of an axis."""
        if isinstance(index, slice):
            return value[(*[slice(None)] * axis, index)]
        return value.index_select(axis, index)

    def broadcast(self, value: Array, shape: tuple[int, ...]) -> Array:
        """A view in which axes of size 1 are repeated."""
        return value.expand(shape)

    def mean(self, value: Array, axis: int) -> Array:
        """Mean along one axis, which is kept with size 1."""
        return value.mean(axis, keepdim=True)

    def softplus(self, value: Array) -> Array:
        """log(1 + e^value); spelt out in graphs, as ONNX Runtime has none in 64 bits."""
        if self._torch.compiler.is_exporting():
            return value.clamp(min=0) + self._torch.log1p(self._torch.exp(-value.abs()))
        return self._torch.nn.functional.softplus(value)

    def dense(self, weight: Array, bias: Array, values: Array, activation: str = "") -> Array:
        """A dense layer; see :meth:`NumpyOps.dense`."""
        found = self._torch.addmm(bias, weight, values.reshape(values.shape[0], -1))
        found = found.reshape(-1, *values.shape[1:])
        if activation == "elu":
            return self._torch.nn.functional.elu(found)
        return getattr(self._torch, activation)(found) if activation else found

    def known(self, value: Array) -> np.ndarray[Any, Any] | None:
        """The numbers of a tensor where nothing is differentiated by them; None where something may be."""
        return None if self._torch.is_grad_enabled() and value.requires_grad else self.numpy(value)

    def numpy(self, value: Array) -> np.ndarray[Any, Any]:
        """As a NumPy array, off the graph."""
        array: np.ndarray[Any, Any] = value.detach().cpu().numpy()
        return array


Ops = NumpyOps | TorchOps | JaxOps
NUMPY = NumpyOps()


def ops_of(value: Array) -> Ops:
    """The vocabulary of an array: NumPy's, PyTorch's with the tensor's device, or what it brings as ``ops``."""
    own: Ops | None = getattr(value, "ops", None)
    if own is not None:
        return own
    if isinstance(value, np.ndarray):
        return NUMPY
    return TorchOps(value.dtype if value.dtype.is_floating_point else None, value.device)


def columns(table: Array, index: Array) -> Array:
    """``table[..., index]`` of a constant table (..., n) and whole numbers (B,), recorded ones too."""
    looked_up = getattr(index, "columns_of", None)
    return table[..., index] if looked_up is None else looked_up(table)


def replaced(ops: Ops, array: Array, where: Any, values: Array) -> Array:
    """A copy of an array with ``values`` at the places ``where``."""
    return ops.put(array + 0, where, values)
