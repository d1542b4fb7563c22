"""Few numbers of each of many series, drawn in one call: worlds of large networks are of this kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.typing import Floats
from .compiled import Kernels
from .laws import Steps


class FewLaws:
    """Discrete laws of many series, each found by bisection in the edges between its values.

    Parameters
    ----------
    laws
        Law (E,) of each series; many may have the same.
    cells
        Place (E,) of each series among all customers and products.
    score
        Whether they are looked up by normal score rather than by probability.
    """

    def __init__(self, laws: Sequence[Steps], cells: Sequence[int], score: bool) -> None:
        known = {id(law): law for law in laws}
        place = {one: number for number, one in enumerate(known)}
        self._of = np.array([place[id(law)] for law in laws], dtype=np.int64)
        self._cells = np.array(cells, dtype=np.int64)
        edges = [law.score_edges if score else law.uniform_edges for law in known.values()]
        starts = np.cumsum([0, *map(len, edges)], dtype=np.int64)
        values = np.concatenate([law.values for law in known.values()])
        self._tables = starts, np.concatenate(edges), values

    def draw(self, compiled: Kernels, numbers: Floats, first: int, out: NDArray[Any]) -> None:
        """Fill the cells in ``out`` (n, cells, B) of the series from the ``first`` on with values at ``numbers`` (n, E, B)."""
        shown = slice(first, first + numbers.shape[1])
        compiled.few(numbers, self._of[shown], self._tables, self._cells[shown], out)
