"""Recordings: calls on arrays as a plain list."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

#: Bytes of a cache line, and of a row that counts as long.
LINE, LONG = 64, 1024


class Recording:
    """The calls that a function of arrays came down to, and the arrays that go in and come out.

    Attributes
    ----------
    calls
        What is done at every replay, in order.
    made
        Its buffers, each with the number of the call that it was made for.
    inputs
        Arrays that take in a replay's inputs; None stays None.
    outputs
        The function's results, of which some may be None.
    """

    calls: list[Callable[[], Any]]
    made: list[tuple[int, NDArray[Any]]]
    inputs: list[Any]
    outputs: list[Any]

    @property
    def bytes(self) -> int:
        """Bytes of its inputs and buffers; memory that results share one after the other counts once."""
        made: dict[int, int] = {}
        for _, array in self.made:
            low, high = byte_bounds(array)
            made[low] = max(made.get(low, 0), high - low)
        return sum(made.values()) + sum(one.nbytes for one in self.inputs if one is not None)


def not_as_recorded(recorded: Sequence[Any], given: Sequence[Any]) -> TypeError:
    """The error for the first input of another type than the one recorded, or None where that was an array or the other way."""

    def said(one: Any) -> str:
        return "None" if one is None else f"an array of {getattr(one, 'dtype', type(one).__name__)}"

    number, was, now = next(
        (i, said(pair[0]), said(pair[1]))
        for i, pair in enumerate(zip(recorded, given, strict=True))
        if said(pair[0]) != said(pair[1])
    )
    return TypeError(f"inputs[{number}] = {now}: expected {was}, as it was when the function was recorded")


def bytes_of(shape: tuple[int, ...], dtype: Any, spaced: bool) -> int:
    """Bytes of an array, of which :func:`laid_out` makes it; with ``spaced`` those of its gaps included."""
    return math.prod(shape[:-1]) * _pitch(shape, dtype, spaced)


def laid_out(raw: NDArray[np.uint8], shape: tuple[int, ...], dtype: Any, spaced: bool) -> NDArray[Any]:
    """An array in memory given.

    With ``spaced`` long rows, along the last axis, are an odd number of cache lines apart: rows that lie a power of two
    apart, as those of 1,024 worlds would, compete for the same few places of the processor's cache.
    """
    pitch = _pitch(shape, dtype, spaced)
    whole = raw[: math.prod(shape[:-1]) * pitch].view(dtype)
    if not shape:
        return whole.reshape(())
    return whole.reshape(*shape[:-1], pitch // np.dtype(dtype).itemsize)[..., : shape[-1]]


def _pitch(shape: tuple[int, ...], dtype: Any, spaced: bool) -> int:
    row = (shape[-1] if shape else 1) * np.dtype(dtype).itemsize
    if not spaced or len(shape) < 2 or shape[-1] == 1 or row < LONG:
        return row
    return (-(-row // LINE) | 1) * LINE
