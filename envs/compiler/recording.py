"""Recordings: calls on arrays as a plain list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray


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


def not_as_recorded(recorded: Sequence[Any], given: Sequence[Any]) -> TypeError:
    """The error for the first input that is None where an array was recorded, or the other way about."""
    number = next(
        i for i, pair in enumerate(zip(recorded, given, strict=True)) if (pair[0] is None) != (pair[1] is None)
    )
    was, now = ("None" if one[number] is None else "an array" for one in (recorded, given))
    return TypeError(f"inputs[{number}] = {now}: expected {was}, as it was when the function was recorded")
