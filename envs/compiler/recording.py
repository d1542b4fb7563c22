"""Recordings: what is to be done to arrays, as a plain list of calls."""

from __future__ import annotations

from collections.abc import Callable
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
