"""Rounded shares of whole units: floor(share x units + u) lies within one unit of the share, and u is on the tape."""

from __future__ import annotations

from typing import Any

import numpy as np

from echelongym.envs.core.backend import half_up
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.worlds.tape_arrays import GRAIN

from .assembly import Assembly


class Shares:
    """Columns for what is left of units after a share of them is taken, where units are whole.

    ``share n + u - 1 <= r <= share n + u`` and ``r <= n`` hold for every r that a simulation can have; so a program with
    them bounds it, though u decides whether one unit arrives or none.

    Parameters
    ----------
    assembly
        Where columns and rows go.
    whole
        Whether units are whole; if not, callers multiply.
    """

    def __init__(self, assembly: Assembly, whole: bool) -> None:
        self.assembly, self.whole = assembly, whole
        self._groups: list[tuple[Ints, Ints, Floats, tuple[Any, ...], Ints | None]] = []

    def rounded(
        self,
        slots: Ints,
        columns: Ints,
        factors: Floats,
        share: Floats,
        luck: tuple[Any, ...],
        place: Ints | None = None,
    ) -> Ints:
        """(M,) columns r for M sums n of columns.

        Parameters
        ----------
        slots, columns, factors
            (E,) each: sum number ``slots`` holds ``factors`` x ``columns``.
        share
            (M,) in [0, 1], rounded to multiples of 1 / 65536.
        luck
            Index of (M,) entries of ``Outlook.thin``.
        place
            (M,) index into the flat constants of :meth:`fill`, of units that come on top of the columns.
        """
        share = half_up(share * GRAIN) / GRAIN
        new = self.assembly.columns(np.ones(len(share), dtype=bool))
        near = self.assembly.rows(np.ones(len(share), dtype=bool), 1.0)
        most = self.assembly.rows(np.ones(len(share), dtype=bool), np.inf)
        for rows in (near, most):
            self.assembly.add(rows, new, 1.0)
        self.assembly.add(near[slots], columns, -share[slots] * factors)
        self.assembly.add(most[slots], columns, -factors)
        self._groups.append((near, most, share, luck, place))
        return new

    def fill(self, rhs: Floats, thin: Floats | None, constants: Floats) -> None:
        """Right-hand sides: the u of one world, and the units ``constants`` (flat) that are there anyway."""
        for near, most, share, luck, place in self._groups:
            assert thin is not None
            on_top = 0.0 if place is None else constants[place]
            rhs[near] = thin[luck] + share * on_top
            rhs[most] = on_top

    def places(self) -> list[Ints]:
        """Indices into the constants of :meth:`fill` that columns are rounded together with."""
        return [place for *_, place in self._groups if place is not None]
