"""Inverse of discrete distributions, looked up for many numbers at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.typing import Floats
from .compiled import kernels
from .laws import SCORES, Steps

PlaceNumbers = NDArray[np.intp]

BYTES_A_VALUE = 80  # of a law and of its place in the tables, with what making them takes
_BLOCK = 8_192  # numbers looked up at a time: temporaries stay in the processor's cache


class InverseTables:
    """A growing set of discrete laws, each inverted through a guide table (Chen and Asau 1974).

    The range of the argument is cut into equal bins. Where a bin holds at most one edge between two
    values, one comparison finds the value; the few arguments in fuller bins are found by bisection.

    Parameters
    ----------
    score
        Whether laws are looked up by normal score rather than by probability.
    values
        Length of a typical law, which sets the number of bins.
    """

    def __init__(self, score: bool, values: int) -> None:
        power = int(np.clip(np.ceil(np.log2(16 * values)), 8, 15))
        self._score = score
        # Bins a unit are a power of two, so that the place of a probability is exact.
        self._rate = 2.0 ** (power - 4 if score else power)
        self._start = SCORES if score else 0.0
        self._bins = int(2 * SCORES * self._rate) if score else int(self._rate)
        self._lowest: PlaceNumbers = np.empty(0, np.intp)  # (laws x bins,) first value of each bin
        self._highest: PlaceNumbers = np.empty(0, np.intp)  # last value
        self._full = np.empty(0, np.bool_)  # bins with more than one edge
        self._edges: Floats = np.empty(0)  # upper edge of every value of every law
        self._values: Floats = np.empty(0)

    def add(self, laws: Sequence[Steps]) -> int:
        """Take in laws; the first is known to :meth:`draw` by the number returned, and so on."""
        number = len(self._lowest) // self._bins
        borders = np.arange(self._bins + 1) / self._rate - self._start
        parts: list[list[NDArray[Any]]] = [
            [self._lowest], [self._highest], [self._full], [self._edges], [self._values]
        ]  # fmt: skip
        base = len(self._edges)
        for law in laws:
            edges = law.score_edges if self._score else law.uniform_edges
            below = np.searchsorted(edges, borders)
            lowest, highest = below[:-1].copy(), below[1:].copy()
            lowest[0], highest[-1] = 0, len(edges)
            new = (lowest + base, highest + base, highest - lowest > 1, np.append(edges, np.inf), law.values)
            for part, item in zip(parts, new, strict=True):
                part.append(np.asarray(item, dtype=part[0].dtype))
            base += len(law.values)
        self._lowest, self._highest, self._full, self._edges, self._values = (np.concatenate(part) for part in parts)
        return number

    def draw(self, laws: PlaceNumbers, argument: Floats, out: NDArray[Any]) -> None:
        """Fill ``out (n, B)`` with values at ``argument (n, B)`` of ``laws (n, 1)`` or ``(n, B)``."""
        compiled = kernels(out.size)
        if compiled is None:
            out[...] = self._drawn(laws, argument)
            return
        tables = self._lowest, self._highest, self._full, self._edges, self._values
        bins = self._bins, self._rate, self._start * self._rate, self._score
        compiled.look_up(argument, laws, bins, tables, out)

    def _drawn(self, laws: PlaceNumbers, argument: Floats) -> Floats:
        count, batch = argument.shape
        drawn = np.empty((count, batch))
        rows = max(1, _BLOCK // max(batch, 1))
        late: list[tuple[PlaceNumbers, PlaceNumbers, Floats]] = []  # where, bin and argument in fuller bins
        for row in range(0, count, rows):
            part = np.ascontiguousarray(argument[row : row + rows])
            bins = self._bins_of(part)
            np.add(bins, laws[row : row + rows] * self._bins, out=bins)
            found = self._lowest.take(bins)
            np.add(found, part > self._edges.take(found), out=found)
            drawn[row : row + rows] = self._values.take(found)
            full = np.flatnonzero(self._full.take(bins))
            if full.size:
                late.append((full + row * batch, bins.reshape(-1)[full], part.reshape(-1)[full]))
        if late:
            where, some, arguments = (np.concatenate(parts) for parts in zip(*late, strict=True))
            drawn.reshape(-1)[where] = self._values.take(self._bisect(some, arguments))
        return drawn

    def _bins_of(self, argument: Floats) -> PlaceNumbers:
        place = np.multiply(argument, self._rate)
        if self._score:
            np.add(place, self._start * self._rate, out=place)
            np.clip(place, 0.0, self._bins - 1, out=place)
        return place.astype(np.intp)

    def _bisect(self, bins: PlaceNumbers, argument: Floats) -> PlaceNumbers:
        low, high = self._lowest.take(bins), self._highest.take(bins)
        for _ in range(int(np.max(high - low)).bit_length()):
            middle = (low + high) >> 1
            beyond = (self._edges.take(middle) < argument) & (low < high)
            low = np.where(beyond, middle + 1, low)
            high = np.where(beyond, high, middle)
        return low
