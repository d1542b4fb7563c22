"""Symbolic arrays: entries are expressions, so that the dynamics, run once, record the operations of one world's period.

Worlds of a batch have nothing to do with each other, so a period is a list of scalar operations, the same for every
world. What is written for NumPy and PyTorch is called with arrays of :class:`Operation` instead of numbers (batch last, of
one world) and leaves such a list behind; :mod:`native_source` makes C of it, and of its derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from echelongym.envs.core.backend import Array
from echelongym.envs.core.static_index import consecutive

_FOLDED: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "min": min,
    "max": max,
    "at_most": min,
    "at_least": max,
    "lt": lambda a, b: float(a < b),
    "le": lambda a, b: float(a <= b),
    "eq": lambda a, b: float(a == b),
    "select": lambda c, a, b: a if c else b,
    "floor": lambda a: float(math.floor(a)),
    "ceil": lambda a: float(math.ceil(a)),
    "exp": math.exp,
    "log": math.log,
    "stop": lambda a: a,
    "softplus": lambda a: math.log1p(math.exp(-abs(a))) + max(a, 0.0),
}


#: ``min`` and ``max`` of two arrays, of which equal entries get half of the derivative each, though one be a known constant;
#: ``at_most`` and ``at_least`` a number, where the array gets all of it. See :mod:`echelongym.envs.core.backend`.
EXTREMES = ("min", "max", "at_most", "at_least")


class Operation:
    """One scalar operation; numbers stand for themselves.

    ``input`` nodes have (kind, place) as arguments; ``layer`` nodes (call, place).
    """

    __array_ufunc__ = None  # arithmetic with NumPy scalars is ours, too
    __slots__ = ("arguments", "graph", "number", "operation")

    def __init__(self, graph: Graph, number: int, operation: str, arguments: tuple[Any, ...]) -> None:
        self.graph, self.number, self.operation, self.arguments = graph, number, operation, arguments

    def __add__(self, other: Any) -> Any:
        return self.graph.make("add", self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self.graph.make("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.graph.make("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return self.graph.make("mul", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self.graph.make("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.graph.make("div", other, self)

    def __neg__(self) -> Any:
        return self.graph.make("sub", 0.0, self)

    def __bool__(self) -> bool:
        raise TypeError("an expression is neither true nor false")


class Graph:
    """Expression graph: each operation on the same operands once, in an order in which they can be computed."""

    def __init__(self) -> None:
        self.nodes: list[Operation] = []
        self._known: dict[tuple[Any, ...], Operation] = {}

    def make(self, operation: str, *arguments: Any) -> Any:
        """The node of an operation, or a number where that is known."""
        arguments = tuple(one if isinstance(one, Operation) else float(one) for one in arguments)
        if not any(isinstance(one, Operation) for one in arguments):
            return _FOLDED[operation](*arguments)
        shorter = _shorter(operation, arguments)
        return self.node(operation, arguments) if shorter is None else shorter

    def node(self, operation: str, arguments: tuple[Any, ...]) -> Operation:
        """The node, made if it is new."""
        key = (operation, *(one.number if isinstance(one, Operation) else ("number", one) for one in arguments))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Operation(self, len(self.nodes), operation, arguments)
            self.nodes.append(found)
        return found

    def inputs(self, kind: str, first: int, shape: tuple[int, ...]) -> SymbolArray:
        """Input nodes, numbered from ``first`` on, as an array."""
        found = np.empty(math.prod(shape), dtype=object)
        for i in range(len(found)):
            found[i] = self.node("input", (kind, first + i))
        return found.reshape(shape).view(SymbolArray)


def _shorter(operation: str, arguments: tuple[Any, ...]) -> Any:
    """What an operation comes to where one operand is a number that makes it trivial; None where it is not."""
    first: Any = arguments[0]
    second: Any = arguments[1] if len(arguments) > 1 else None
    if operation in ("add", "sub"):
        endless = [one for one in (first, second) if not isinstance(one, Operation) and math.isinf(one)]
        if endless:  # an absent cap stays absent, whatever is added
            return endless[0] if operation == "add" or endless[0] is first else -endless[0]
    if operation == "add":
        return second if first == 0.0 and first is not second else first if second == 0.0 else None
    if operation == "sub":
        return first if second == 0.0 else 0.0 if first is second else None
    if operation == "mul":
        if first == 0.0 or second == 0.0:
            return 0.0
        return second if first == 1.0 else first if second == 1.0 else None
    if operation == "div":
        return first if second == 1.0 else 0.0 if first == 0.0 else None
    if operation in EXTREMES:
        none = math.inf if operation in ("min", "at_most") else -math.inf
        return first if second == none or first is second else second if first == none else None
    if operation == "select" and not isinstance(first, Operation):
        return arguments[1] if first else arguments[2]
    if operation == "select" and arguments[1] is arguments[2]:
        return arguments[1]
    return None


def _over_arrays(operation: str, operands: int) -> Any:
    """The operation on arrays of nodes and numbers."""

    def one(*arguments: Any) -> Any:
        for argument in arguments:
            if isinstance(argument, Operation):
                return argument.graph.make(operation, *arguments)
        return _FOLDED[operation](*arguments)

    return np.frompyfunc(one, operands, 1)


_ufunc = {name: _over_arrays(name, 2) for name in (*EXTREMES, "lt", "le", "eq")}
_ufunc |= {name: _over_arrays(name, 1) for name in ("floor", "ceil", "exp", "stop", "softplus")}
_ufunc["select"] = _over_arrays("select", 3)


class SymbolArray(np.ndarray[Any, Any]):
    """An array of nodes and numbers; comparisons give 1 and 0."""

    ops: Any

    def __lt__(self, other: Any) -> Any:
        return symbols(_ufunc["lt"](self, other))

    def __le__(self, other: Any) -> Any:
        return symbols(_ufunc["le"](self, other))

    def __gt__(self, other: Any) -> Any:
        return symbols(_ufunc["lt"](other, self))

    def __ge__(self, other: Any) -> Any:
        return symbols(_ufunc["le"](other, self))

    def __eq__(self, other: Any) -> Any:
        return symbols(_ufunc["eq"](self, other))

    __hash__ = None

    def __and__(self, other: Any) -> Any:
        return self * other

    def __or__(self, other: Any) -> Any:
        return symbols(_ufunc["max"](self, other))

    def detach(self) -> SymbolArray:
        """The same values, without a derivative."""
        return symbols(_ufunc["stop"](self))


def symbols(value: Any) -> SymbolArray:
    """Any array as one of these."""
    array = np.asarray(value)
    if array.dtype != object:
        array = array.astype(np.float64).astype(object)
    return array.view(SymbolArray)


class SymbolOps:
    """NumPy's vocabulary on arrays of expressions; see :class:`echelongym.envs.core.backend.NumpyOps`."""

    name = "symbols"

    def __init__(self) -> None:
        self.float = np.dtype(object)
        self.int = np.dtype(np.int64)

    def constant(self, value: Any) -> Array:
        """A constant."""
        return symbols(value)

    def whole(self, value: Any) -> Array:
        """Whole numbers, known ones."""
        return np.ascontiguousarray(value, dtype=np.int64)

    def index(self, value: Any) -> Array:
        """Integers to index with."""
        return consecutive(np.asarray(value, dtype=np.int64))

    def asarray(self, value: Any) -> Array:
        """An array."""
        return symbols(value)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Zeros."""
        return symbols(np.zeros(shape))

    def to_float(self, value: Array) -> Array:
        """Expressions."""
        return symbols(value)

    def cast(self, value: Array, dtype: Any) -> Array:
        """Expressions, of which 1 and 0 are truth values."""
        return symbols(value)

    def where(self, condition: Array, first: Array, second: Array) -> Array:
        """Choose by condition."""
        return symbols(_ufunc["select"](symbols(condition), first, second))

    def minimum(self, first: Array, second: Array) -> Array:
        """Elementwise minimum; the second may be a number."""
        return symbols(_ufunc["at_most" if isinstance(second, int | float) else "min"](first, second))

    def maximum(self, first: Array, second: Array) -> Array:
        """Elementwise maximum; the second may be a number."""
        return symbols(_ufunc["at_least" if isinstance(second, int | float) else "max"](first, second))

    def floor(self, value: Array) -> Array:
        """Whole numbers below."""
        return symbols(_ufunc["floor"](value))

    def ceil(self, value: Array) -> Array:
        """Whole numbers above."""
        return symbols(_ufunc["ceil"](value))

    def softplus(self, value: Array) -> Array:
        """log(1 + exp(value))."""
        return symbols(_ufunc["softplus"](value))

    def select(self, value: Array, index: Any, axis: int) -> Array:
        """Entries ``index`` of an axis."""
        return symbols(value[(*[slice(None)] * axis, index)])

    def broadcast(self, value: Array, shape: tuple[int, ...]) -> Array:
        """A view in which axes of size 1 are repeated."""
        return symbols(np.broadcast_to(value, shape))

    def mean(self, value: Array, axis: int) -> Array:
        """Mean along one axis, which is kept with size 1."""
        return symbols(value.sum(axis, keepdims=True) * (1.0 / value.shape[axis]))

    def known(self, value: Array) -> None:
        """None: expressions have no numbers yet."""
        return None

    def cumulate(self, value: Array, axis: int) -> Array:
        """Running sums."""
        return symbols(np.add.accumulate(value, axis=axis))

    def total(self, value: Array, axis: int = 0) -> Array:
        """Sum along one axis."""
        return symbols(value.squeeze(axis) if value.shape[axis] == 1 else np.add.reduce(value, axis=axis))

    def stack(self, values: list[Array], axis: int = 0) -> Array:
        """Join along a new axis."""
        return symbols(np.stack(values, axis=axis))

    def concat(self, values: list[Array], axis: int = 0) -> Array:
        """Join along an axis."""
        return symbols(np.concatenate(values, axis=axis))

    def flip(self, value: Array, axis: int) -> Array:
        """The axis in reverse order."""
        return np.flip(value, axis)

    def moveaxis(self, value: Array, source: int, target: int) -> Array:
        """A view with one axis moved."""
        return np.moveaxis(value, source, target)

    def put(self, out: Array, where: Any, values: Array) -> Array:
        """``out``, an array freshly made, with ``values`` at the places ``where``."""
        out[where] = values
        return out

    def without_gradient(self, value: Array) -> Array:
        """The same numbers, as constants."""
        return value.detach() if isinstance(value, SymbolArray) else value

    def contiguous(self, value: Array) -> Array:
        """The array itself."""
        return value


SYMBOLS = SymbolOps()
SymbolArray.ops = SYMBOLS
