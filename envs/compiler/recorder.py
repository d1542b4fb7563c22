"""Recorder: a function of arrays is recorded once and replayed into the same memory, without NumPy's overhead.

A period of a single world is some hundred operations on a few numbers each. Calling NumPy for them costs far more than
the arithmetic: every call makes views, checks arguments and allocates a result. The shapes never change, though, and
nothing is decided by a value. So the function is run once on arrays that note down what is done to them; from then on
only the arithmetic is replayed, each operation writing into a buffer that is its own for the time its result is needed.
Views are made once and cost nothing. The same operations run in the same order on the same numbers, so results are
the same to the last bit (tested).
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Collection, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..core.typing import NumpyArray
from .c_compiler import CannotCompile, NotMade, reason_of
from .native import Native
from .recording import LINE, Recording, bytes_of, laid_out, not_as_recorded
from .schedule import NothingToGain

#: Seconds of use for each of its calls after which a program is compiled: about what that costs.
PATIENCE = 0.003
#: Share of them after which what another process has compiled is taken from the cache: about what that costs.
LOOK = 1 / 12
#: NumPy functions whose result is a view of their first argument.
_VIEWS = {np.moveaxis, np.flip, np.transpose, np.squeeze, np.expand_dims, np.broadcast_to, np.swapaxes}
_JOINS = {np.concatenate, np.stack}


class Program(Recording):
    """A recorded function: ``program(*arrays)`` does what ``function(*arrays)`` did, faster.

    The function may use NumPy's ufuncs (with ``reduce``, ``accumulate`` and ``out``), operators, indexing, assignment,
    ``concatenate, stack, where``, reshaping and views, and new zeros from ``ops.zeros`` of the backend given. It may not
    look at values: what was decided when it was recorded stays so. Arrays that it holds itself are constants, and arrays
    that it adds to in place go on being added to.

    Parameters
    ----------
    function
        From arrays to a flat sequence of arrays, of which some may be None.
    inputs
        Arrays to record with: their shapes and types are those of every later call; None stays None.
    ops
        Backend whose ``zeros`` the function uses.
    in_place
        Whether the program lives in the inputs' own memory, which must be contiguous, in place of copies of them: then
        :meth:`replay` goes by what lies there.
    spaced
        Whether long rows have gaps between them (:func:`.recording.laid_out`), where nobody needs them contiguous.
    dense
        Numbers of inputs without gaps even so.

    Attributes
    ----------
    outputs
        The function's results, in memory that the next call overwrites.
    native
        Its native form, which it gets when it has been in use for a while (:mod:`native`), or None.
    reason
        Why it has none.

    Raises
    ------
    TypeError
        If the function does something that cannot be recorded; when it is called, if an input has another type than it was
        recorded with, or is None where that was an array, or the other way about: what was decided by that stays so.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Any]],
        inputs: Sequence[Any],
        ops: Any,
        in_place: bool = False,
        spaced: bool = False,
        dense: Collection[int] = (),
    ) -> None:
        self.calls = []
        self.made = []
        self.ops = ops
        self.native: Native | None = None
        self.reason = "not used for long enough"
        self._spent = 0.0
        self._looked = False  # whether compiled code was looked for in the cache
        self._free: dict[int, list[NumpyArray]] = {}
        self._spaced = spaced
        self.inputs = [
            one if one is None or in_place else _copied(np.asarray(one), spaced and number not in dense)
            for number, one in enumerate(inputs)
        ]
        traced = [None if one is None else RecordedArray(one, self, None) for one in self.inputs]
        ops.program = self
        try:
            results = list(function(*traced))
        finally:
            ops.program = None
        self._kept = results  # their buffers stay theirs
        self.outputs = [one.value if isinstance(one, RecordedArray) else one for one in results]
        self._free = {}

    def __call__(self, *inputs: Any) -> list[Any]:
        """Replay with new inputs (of the recorded shapes and types; None where it was None): the outputs.

        Raises
        ------
        TypeError
            If an input has another type than it was recorded with, is None where that was an array, or the other way about.
        """
        if self.native is not None:
            self.native(inputs)
            return self.outputs
        began = perf_counter()
        for mine, given in zip(self.inputs, inputs, strict=True):
            if mine is given:
                continue
            if mine is None or given is None or getattr(given, "dtype", object) != mine.dtype:
                raise not_as_recorded(self.inputs, inputs)
            mine[...] = given
        self._run(began)
        return self.outputs

    def replay(self) -> None:
        """Replay with what lies in the inputs."""
        if self.native is not None:
            self.native.replay()
        else:
            self._run(perf_counter())

    def _run(self, began: float) -> None:
        """Every call; compiled once they have taken long enough, or sooner if that was done before."""
        for call in self.calls:
            call()
        self._spent += perf_counter() - began
        patience = PATIENCE * len(self.calls)
        if self._spent > patience:
            self._spent = -math.inf
            accelerate(self)
        elif not self._looked and self._spent > LOOK * patience:
            self._looked = True
            accelerate(self, made=True)

    # Recording -----------------------------------------------------------------------------------

    def buffer(self, shape: tuple[int, ...], dtype: Any) -> RecordedArray:
        """Memory for a result, free again once nothing recorded refers to it."""
        size = -(-max(bytes_of(shape, dtype, self._spaced), 1) // LINE) * LINE
        raw = self._free[size].pop() if self._free.get(size) else _memory(size)
        owner = _Owner()
        free = self._free
        weakref.finalize(owner, lambda: free.setdefault(size, []).append(raw))
        used = laid_out(raw, shape, dtype, self._spaced)
        self.made.append((len(self.calls), used))
        return RecordedArray(used, self, owner)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> RecordedArray:
        """New zeros, at every replay anew."""
        out = self.buffer(shape, dtype)
        self.do(partial(out.value.fill, 0))
        return out

    def outside(
        self, function: Callable[..., NumpyArray], arrays: Sequence[Any], shape: tuple[int, ...], dtype: Any
    ) -> RecordedArray:
        """The result of a function that is not recorded, but called with plain arrays at every replay.

        It may do nothing but compute its result, as it is called more often than the program.
        """
        out = self.buffer(shape, dtype)
        self.do(partial(_outside, function, *_plain(arrays), out=out.value))
        return out

    def do(self, call: Callable[[], Any]) -> None:
        """Execute a call now and at every replay."""
        call()
        self.calls.append(call)


def accelerate(program: Program, made: bool = False) -> bool:
    """Compile a program, with ``made`` only if it is in the cache: whether it runs natively from now on.

    The first time for a network and batch size this takes about a second, and from the cache a tenth of it. Where it
    does not come about ``program.reason`` says why, and the program goes on as before; a fault of this package is warned of.
    """
    if program.native is None:
        try:
            program.native = Native(program, made)
            program.reason = ""
        except NotMade:
            return False
        except Exception as error:  # whatever it is, it would only have made things faster
            program.reason = reason_of(error, (CannotCompile, NothingToGain))
    return program.native is not None


def _copied(array: NumpyArray, spaced: bool) -> NumpyArray:
    memory = _memory(bytes_of(array.shape, array.dtype, spaced))
    copy = laid_out(memory, array.shape, array.dtype, spaced)
    copy[...] = array
    return copy


def _memory(size: int) -> NumpyArray:
    """So many bytes, from a border of cache lines on."""
    raw = np.empty(size + LINE, dtype=np.uint8)
    return raw[-raw.ctypes.data % LINE :][:size]


class _Owner:
    """Its end is the end of a buffer's use."""

    __slots__ = ("__weakref__",)


def _plain(value: Any) -> Any:
    if isinstance(value, RecordedArray):
        return value.value
    if isinstance(value, list | tuple):
        return type(value)(_plain(one) for one in value)
    return value


class RecordedArray(NDArrayOperatorsMixin):
    """An array of a program under recording: what is done to it is done and noted down."""

    __slots__ = ("owner", "program", "value")

    def __init__(self, value: NumpyArray, program: Program, owner: _Owner | None) -> None:
        self.value, self.program, self.owner = value, program, owner

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    strides = property(lambda self: self.value.strides)
    flags = property(lambda self: self.value.flags)
    ops = property(lambda self: self.program.ops)  # see backend.ops_of

    def __len__(self) -> int:
        return len(self.value)

    def __array__(self, *args: Any, **kwargs: Any) -> NumpyArray:
        raise TypeError("a recorded array cannot become a plain one: its values differ at every replay")

    def __bool__(self) -> bool:
        raise TypeError("a recorded function cannot decide by a value")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        plain = [_plain(one) for one in inputs]
        kwargs = {name: _plain(one) for name, one in kwargs.items()}  # where=
        call = getattr(ufunc, method)
        if out is None:
            result = call(*plain, **kwargs)
            target = self.program.buffer(np.shape(result), result.dtype)
        else:
            target = out[0]
        self.program.do(partial(call, *plain, out=_plain(target), **kwargs))
        return target

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        plain = _plain(args)
        if function in _VIEWS:
            return RecordedArray(function(*plain, **kwargs), self.program, args[0].owner)
        if function in _JOINS:
            result = function(*plain, **kwargs)
            target = self.program.buffer(result.shape, result.dtype)
            self.program.do(partial(function, *plain, out=target.value, **kwargs))
            return target
        if function is np.where:
            return self._where(*plain)
        if function is np.empty_like:
            return self.program.buffer(plain[0].shape, plain[0].dtype)
        raise TypeError(f"{function.__name__} of recorded arrays is not provided for")

    def _where(self, condition: Any, first: Any, second: Any) -> RecordedArray:
        result = np.where(condition, first, second)
        target = self.program.buffer(result.shape, result.dtype)
        self.program.do(partial(np.copyto, target.value, second))
        self.program.do(partial(np.copyto, target.value, first, where=condition))
        return target

    def __getitem__(self, index: Any) -> RecordedArray:
        places = _plain(index)  # and ``index`` keeps its buffer until the result has one of its own
        found = self.value[places]
        if isinstance(found, np.ndarray) and np.may_share_memory(found, self.value):
            return RecordedArray(found, self.program, self.owner)
        if not isinstance(found, np.ndarray):
            found = np.asarray(found)
        target = self.program.buffer(found.shape, found.dtype)
        if isinstance(places, np.ndarray) and places.dtype.kind == "i" and (places >= 0).all():
            # In range by having worked once; clipping spares a copy of the output.
            self.program.do(partial(self.value.take, places, 0, target.value, "clip"))
        else:
            self.program.do(partial(_pick, self.value, places, target.value))
        return target

    def __setitem__(self, index: Any, value: Any) -> None:
        index, value = _plain(index), _plain(value)
        place = self.value[index]
        if isinstance(place, np.ndarray) and np.may_share_memory(place, self.value):
            self.program.do(partial(np.copyto, place, value, casting="unsafe"))  # as assignments are
        else:
            self.program.do(partial(self.value.__setitem__, index, value))

    def reshape(self, *shape: Any) -> RecordedArray:
        """A view where there can be one, a copy otherwise."""
        view = self.value.reshape(*shape)
        if np.may_share_memory(view, self.value):
            return RecordedArray(view, self.program, self.owner)
        whole = self.copy()
        return RecordedArray(whole.value.reshape(*shape), self.program, whole.owner)

    def copy(self) -> RecordedArray:
        """The same numbers, contiguous, in memory of their own."""
        target = self.program.buffer(self.shape, self.dtype)
        self.program.do(partial(np.copyto, target.value, self.value))
        return target

    def astype(self, dtype: Any) -> RecordedArray:
        """The same numbers in another type."""
        target = self.program.buffer(self.shape, dtype)
        self.program.do(partial(np.copyto, target.value, self.value, casting="unsafe"))
        return target

    def squeeze(self, axis: int) -> RecordedArray:
        """A view without an axis of one."""
        return RecordedArray(self.value.squeeze(axis), self.program, self.owner)

    def transpose(self, *axes: int) -> RecordedArray:
        """A view with the axes in another order."""
        return RecordedArray(self.value.transpose(*axes), self.program, self.owner)

    @property
    def T(self) -> RecordedArray:
        """A view with the axes reversed."""
        return self.transpose()

    def columns_of(self, table: NumpyArray) -> RecordedArray:
        """A constant table (..., n) at the places that this array says, along its last axis."""
        return RecordedArray(table, self.program, None)[(*(slice(None),) * (table.ndim - 1), self)]

    def take(self, index: int, axis: int) -> RecordedArray:
        """A view of one place along an axis."""
        return self[(slice(None),) * (axis % self.ndim) + (index,)]


def _outside(function: Callable[..., NumpyArray], *arrays: NumpyArray, out: NumpyArray) -> None:
    out[...] = function(*arrays)


def _pick(array: NumpyArray, index: Any, out: NumpyArray) -> None:
    out[...] = array[index]
