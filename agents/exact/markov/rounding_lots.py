"""Rounding lots of a period that can decide anything, in which states, and with what probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from echelongym.envs.core.backend import half_up
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.worlds.tape_arrays import GRAIN

from .finite_laws import divisions, expand, fractions
from .half_periods import Halves


class Lots:
    """Expansion of rows of states by the outcomes of the tape's lots (``split`` and ``thin``)."""

    def __init__(self, halves: Halves) -> None:
        t = halves.tables
        self.halves, self.tables = halves, t
        self.one_pass = len(halves.dynamics.serving.passes) == 1
        stock_nodes = np.flatnonzero(~t.is_supplier).tolist()
        self.customers_at = {
            (n, p): np.unique(t.pair_customer[(t.pair_source == n) & t.pair_carries[:, p]])
            for n in stock_nodes
            for p in range(t.P)
            if ((t.pair_source == n) & t.pair_carries[:, p]).sum() > 1
        }
        self.lanes_out = {
            (n, p): lanes
            for n in stock_nodes
            for p in range(t.P)
            if len(lanes := np.flatnonzero((t.lane_source == n) & t.lane_open[:, p])) > 1
        }
        share = half_up(t.lost_share * GRAIN).astype(np.int64)
        share[t.patience == 0] = GRAIN
        self.lost = {(c, p): int(share[c, p]) for c, p in np.argwhere((share > 0) & (share < GRAIN))}
        accepted = half_up(t.acceptance * GRAIN).astype(np.int64)
        self.accepted = {
            (s, p): int(accepted[s, p]) for s, p in np.argwhere((accepted < GRAIN) & (t.pair_rank > 0) & (accepted > 0))
        }

    def shipping(self, requests: Ints) -> tuple[Ints, Floats, Ints | None]:
        """Owner, weight and lots (m, N, P) of deliveries ``requests`` (n, L P) that sources can fill.

        Amounts are what was asked for; where units have ages, lots decide which lane gets which.
        """
        t, n = self.tables, len(requests)
        owner, weight = np.arange(n), np.ones(n)
        if t.A == 1 or not self.lanes_out:
            return owner, weight, None
        split = np.full((n, t.N, t.P), GRAIN // 2, dtype=np.int64)
        asked = requests.reshape(n, t.L, t.P)
        for (node, p), lanes in self.lanes_out.items():
            wanted = asked[owner][:, lanes, p]
            total = np.where((wanted > 0).sum(axis=1) > 1, wanted.sum(axis=1), 1)
            options = [divisions(tuple(range(1, r + 1))) for r in range(int(total.max(initial=1)) + 1)]
            owner, weight, (split,), lot = expand(owner, weight, [split], options, total)
            split[:, node, p] = lot
        return owner, weight, split

    def serving(self, stand: Ints, demand: Ints) -> tuple[Ints, Floats, Ints | None, Ints | None]:
        """Owner, weight, ``split`` (m, N, P) and ``thin`` (m, L + S + C, P) of serving demand (n, C, P) from stands."""
        t, h, n = self.tables, self.halves, len(stand)
        owner, weight = np.arange(n), np.ones(n)
        if not (self.customers_at or self.lost or self.accepted):
            return owner, weight, None, None
        stock = np.moveaxis(h.on_hand(stand).sum(axis=2), -1, 0)  # (n, N, P)
        wanted = demand + np.moveaxis(h.backlog(stand).sum(axis=2), -1, 0)  # (n, C, P)
        split = np.full((n, t.N, t.P), GRAIN // 2, dtype=np.int64)
        thin = np.full((n, t.L + t.S + t.C, t.P), GRAIN // 2, dtype=np.int64)
        columns: list[Any] = [split, thin]
        for (node, p), customers in self.customers_at.items():
            claims = wanted[owner][:, customers, p]
            here, total = stock[owner, node, p], claims.sum(axis=1)
            divided = ((claims > 0).sum(axis=1) > 1) & (here > 0) & (here < total)
            kind = np.where(divided, total, 1)
            options = [
                divisions((r,) if self.one_pass else tuple(range(1, r + 1)))
                for r in range(int(kind.max(initial=1)) + 1)
            ]
            options[0] = divisions((1,))
            owner, weight, columns, lot = expand(owner, weight, columns, options, kind)
            columns[0][:, node, p] = lot
        owner, weight, columns = self._of_customers(owner, weight, columns, wanted, demand)
        return owner, weight, columns[0], columns[1]

    def _of_customers(
        self, owner: Ints, weight: Floats, columns: list[Any], wanted: Ints, demand: Ints
    ) -> tuple[Ints, Floats, list[Any]]:
        """Lots of what follows to the next source and of what is lost at once."""
        t = self.tables
        for (pair, p), share in self.accepted.items():
            most = wanted[owner, t.pair_customer[pair], p]
            owner, weight, columns = self._shared(owner, weight, columns, t.L + pair, p, (share,), most)
        for (c, p), share in self.lost.items():
            most = demand[owner, c, p]
            owner, weight, columns = self._shared(owner, weight, columns, t.L + t.S + c, p, (share,), most)
        return owner, weight, columns

    def whole(self, stand: Ints, requests: Ints, reserved: bool, demand: Ints) -> tuple[Ints, Floats, Ints, Ints]:
        """Lots of a whole period, requests (n, L P) that sources may not be able to fill included.

        One lot of a node decides in shipping and in serving alike.
        """
        t, h, n = self.tables, self.halves, len(stand)
        owner, weight = np.arange(n), np.ones(n)
        columns: list[Any] = [
            np.full((n, t.N, t.P), GRAIN // 2, dtype=np.int64),
            np.full((n, t.L + t.S + t.C, t.P), GRAIN // 2, dtype=np.int64),
        ]
        stock = np.moveaxis(h.on_hand(stand).sum(axis=2), -1, 0)  # (n, N, P)
        wanted = demand + np.moveaxis(h.backlog(stand).sum(axis=2), -1, 0)  # (n, C, P)
        asked = requests.reshape(n, t.L, t.P)
        for node, p in sorted(set(self.lanes_out) | set(self.customers_at)):
            totals = self._totals(node, p, stock[:, node, p], asked, wanted, reserved)[owner]
            kinds, which = np.unique(totals, axis=0, return_inverse=True)
            options = [divisions(_claims(kind.tolist())) for kind in kinds]
            owner, weight, columns, lot = expand(owner, weight, columns, options, which.reshape(-1))
            columns[0][:, node, p] = lot
        owner, weight, columns = self._of_customers(owner, weight, columns, wanted, demand)
        for lane in np.flatnonzero(t.lane_customer >= 0).tolist():
            for p in np.flatnonzero(t.lane_carries[lane]).tolist():
                shares = tuple(int(half_up(a[lane, p] * GRAIN)) for a in (t.return_share, t.recovery))
                most = wanted[owner, t.lane_customer[lane], p]
                owner, weight, columns = self._shared(owner, weight, columns, lane, p, shares, most)
        return owner, weight, columns[0], columns[1]

    def _totals(self, node: int, p: int, stock: Ints, asked: Ints, wanted: Ints, reserved: bool) -> Ints:
        """(n, k) totals of claims that one lot may divide; the last two stand for all totals up to themselves."""
        t, found = self.tables, []
        lanes = self.lanes_out.get((node, p), np.zeros(0, dtype=np.int64))
        out = (t.lane_source == node) & t.lane_open[:, p]
        asked_here = asked[:, lanes, p]
        shipped = np.where((asked_here > 0).sum(axis=1) > 1, asked_here.sum(axis=1), 0)
        up_to = np.zeros(len(stock), dtype=np.int64)
        if len(lanes) and (t.A > 1 or np.isfinite(t.lane_capacity[lanes]).any()):
            up_to = shipped
        elif len(lanes):
            for level in np.unique(t.lane_priority[lanes]):
                claims = asked_here[:, t.lane_priority[lanes] == level]
                divided = ((claims > 0).sum(axis=1) > 1) & (stock > 0) & (stock < shipped)
                found.append(np.where(divided, claims.sum(axis=1), 0))
        customers = self.customers_at.get((node, p), np.zeros(0, dtype=np.int64))
        claims = wanted[:, customers, p]
        total = claims.sum(axis=1)
        short = ((claims > 0).sum(axis=1) > 1) & (stock - asked[:, out, p].sum(axis=1) < total)
        exact = self.one_pass and not reserved
        found.append(np.where(short, total, 0) if exact else np.zeros_like(total))
        found += [up_to, np.zeros_like(total) if exact else np.where(short, total, 0)]
        return np.stack(found, axis=1)

    @staticmethod
    def _shared(
        owner: Ints, weight: Floats, columns: list[Any], place: int, p: int, shares: tuple[int, ...], most: Ints
    ) -> tuple[Ints, Floats, list[Any]]:
        options = [fractions(shares, m) for m in range(int(most.max(initial=0)) + 1)]
        owner, weight, columns, lot = expand(owner, weight, columns, options, most)
        columns[1][:, place, p] = lot
        return owner, weight, columns


def _claims(kind: list[int]) -> tuple[int, ...]:
    """Totals that divide, of a row of :meth:`Lots._totals`."""
    *single, first, second = kind
    return tuple(sorted({total for total in single if total > 1} | set(range(2, max(first, second) + 1))))
