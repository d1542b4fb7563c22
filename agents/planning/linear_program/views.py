"""States and flows of a program as affine functions of its columns, in the shapes in which policies observe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from echelongym.envs.core.typing import Floats, Ints

from .outlook import Standing
from .program import NetworkProgram

NAMES = ("ship", "on_hand", "in_transit", "backlog", "served", "lost")


@dataclass(frozen=True, eq=False)
class AffineView:
    """``matrix @ values + constant``, read in ``shape``."""

    matrix: Any  # scipy.sparse.csr_array (entries, columns)
    constant: Floats  # (entries,)
    shape: tuple[int, ...]

    def __call__(self, values: Floats) -> Floats:
        """The array of a solution's column values."""
        found: Floats = (self.matrix @ values + self.constant).reshape(self.shape)
        return found


def view(program: NetworkProgram, name: str, standing: Standing) -> AffineView:
    """A named array of a program.

    Parameters
    ----------
    name
        ``ship`` (T, L, P) units shipped; ``on_hand`` (T, N, P, A), ``in_transit`` (T, L, P, K, A), ``backlog``
        (T, C, P, W) as observed at the start of each period; ``served`` (T, S, P); ``lost`` (T, C, P). K is the
        scenario's; what the lead times would keep in transit longer is not shown.
    standing
        The state at the start, of which constants are made.
    """
    return {
        "ship": _ship,
        "on_hand": _on_hand,
        "in_transit": _in_transit,
        "backlog": _backlog,
        "served": _served,
        "lost": _lost,
    }[name](program, standing)


class _Collector:
    """Entries of a view: place in the array, column, factor."""

    def __init__(self, program: NetworkProgram, shape: tuple[int, ...]) -> None:
        self.columns, self.shape = program.shape[1], shape
        self.constant = np.zeros(shape)
        self.parts: list[tuple[Ints, Ints, Floats]] = []

    def add(self, place: tuple[Any, ...], columns: Ints, factors: Any = 1.0) -> None:
        """Columns and factors at places, each index of which broadcasts with them; -1 = none."""
        flat = np.ravel_multi_index(tuple(np.broadcast_arrays(*place)), self.shape)
        flat, columns, factor = np.broadcast_arrays(flat, columns, np.asarray(factors, np.float64))
        there = columns >= 0
        self.parts.append((flat[there], columns[there], factor[there]))

    def view(self) -> AffineView:
        from scipy.sparse import coo_array

        rows, columns, factors = (np.concatenate(part) for part in zip(*self.parts, strict=True))
        size = int(np.prod(self.shape))
        matrix = coo_array((factors, (rows, columns)), shape=(size, self.columns)).tocsr()
        return AffineView(matrix, self.constant.reshape(-1), self.shape)


def _grid(*sizes: int) -> tuple[Ints, ...]:
    return tuple(np.ogrid[tuple(slice(0, size) for size in sizes)])


def _ship(program: NetworkProgram, standing: Standing) -> AffineView:
    t, T, cells = program.tables, program.periods, program.cells
    found = _Collector(program, (T, t.L, t.P))
    period, lane, cell = _grid(T, t.L, cells.Q)
    found.add((period, lane, cells.product[cell]), program.ship)
    return found.view()


def _served(program: NetworkProgram, standing: Standing) -> AffineView:
    t, T, cells = program.tables, program.periods, program.cells
    found = _Collector(program, (T, t.S, t.P))
    period, pair, cell = _grid(T, t.S, cells.Q)
    found.add((period, pair, cells.product[cell]), program.service.serve)
    return found.view()


def _on_hand(program: NetworkProgram, standing: Standing) -> AffineView:
    """What stood at close, with what left in the period and without what came at once."""
    t, T, cells = program.tables, program.periods, program.cells
    found = _Collector(program, (T, t.N, t.P, t.A))
    period, node, cell = _grid(T, t.N, cells.Q)
    place = (cells.product[cell], cells.shown[cell])
    found.add((period, node, *place), program.stock.close)
    _, pair, _ = _grid(T, t.S, cells.Q)
    direct = cells.direct[pair]
    found.add((period, t.pair_source[pair], *place), np.where(direct, -1, program.service.serve))
    _, lane, _ = _grid(T, t.L, cells.Q)
    of_stock = ~cells.from_supplier[lane] & ~cells.returning[lane]
    found.add((period, np.maximum(t.lane_source, 0)[lane], *place), np.where(of_stock, program.ship, -1))
    for columns, at, lanes, onto, factor in program.stock.instant_arrivals:
        found.add((at, t.lane_target[lanes], cells.product[onto], cells.shown[onto]), columns, -factor)
    return found.view()


def _in_transit(program: NetworkProgram, standing: Standing) -> AffineView:
    t, T, cells = program.tables, program.periods, program.cells
    found = _Collector(program, (T, t.L, t.P, t.K, t.A))
    for entering in program.stock.entered:
        product, shown = cells.product[entering.cell], cells.shown[entering.cell]
        wait = program.lead_time[entering.period, entering.lane]
        for slot in range(t.K):
            seen = entering.period + slot + 1
            there = (seen < T) & (wait > slot + 1)
            place = (seen[there], entering.lane[there], product[there], slot, shown[there])
            found.add(place, entering.column[there], entering.factor[there])
    for period in range(min(T, t.K)):  # the initial pipeline moves on slot by slot
        for slot in range(period, t.K):
            still = standing.lead_time[:, slot - period] > slot + 1
            found.constant[period, :, :, slot] = standing.in_transit[:, :, slot - period] * still[:, None, None]
    if not found.parts:
        found.add((np.zeros(1, np.int64),) * 5, np.full(1, -1))
    return found.view()


def _backlog(program: NetworkProgram, standing: Standing) -> AffineView:
    t, T, service = program.tables, program.periods, program.service
    found = _Collector(program, (T, t.C, t.P, t.W))
    period, customer, product = _grid(T, t.C, t.P)
    found.add((period[1:], customer, product, 0), service.waiting[:-1])
    for columns, factors, waits in service.waited():
        found.add((period[1:], customer, product, waits), columns, factors)
    found.constant[0] = standing.backlog * (program.cells.lost_share < 1)[..., None]
    return found.view()


def _lost(program: NetworkProgram, standing: Standing) -> AffineView:
    t, T, service, cells = program.tables, program.periods, program.service, program.cells
    found = _Collector(program, (T, t.C, t.P))
    place = _grid(T, t.C, t.P)
    split = service.lost_new >= 0
    found.add(place, np.where(split, -1, service.unserved), cells.lost_share)
    found.add(place, service.lost_new)
    last = np.arange(t.W) == t.patience[..., None]
    period, customer, product, _ = _grid(T, t.C, t.P, t.W)
    found.add((period, customer, product), np.where(last, service.patient, -1))
    return found.view()
