"""Customers in a linear program: service, lost sales and backlog, and which source serves how much."""

from __future__ import annotations

import numpy as np

from echelongym.envs.core.backend import half_up
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.worlds.tape_arrays import GRAIN

from .assembly import Assembly
from .cells import CellConstants
from .outlook import Outlook, Standing
from .rounded_shares import Shares


class ServiceFamilies:
    """Families of customers over T periods.

    Attributes
    ----------
    serve
        (T, S, Q) columns, units served over each pair.
    unserved
        (T, C, P) columns, new demand not served in its own period, of customers who do not simply wait.
    waiting
        (T, C, P) columns, units waiting at close, of unlimited patience.
    patient
        (T, C, P, W) columns, units that had waited w >= 1 periods at the start and were not served, of limited patience.
    lost_new
        (T, C, P) columns, units lost at once, in whole worlds where a share of the unserved is.
    """

    def __init__(self, assembly: Assembly, cells: CellConstants, periods: int, shares: Shares) -> None:
        t, T = cells.tables, periods
        self.assembly, self.cells, self.periods, self.shares = assembly, cells, periods, shares
        self.serve = assembly.columns(np.broadcast_to(cells.pair, (T, t.S, cells.Q)))
        assembly.charge(self.serve, cells.serving)
        self.unserved = assembly.columns(np.broadcast_to(~cells.unlimited | (cells.lost_share > 0), (T, t.C, t.P)))
        self.waiting = assembly.columns(np.broadcast_to(cells.unlimited, (T, t.C, t.P)))
        classes = (np.arange(t.W) >= 1) & (np.arange(t.W) <= t.patience[..., None]) & cells.impatient[..., None]
        self.patient = assembly.columns(np.broadcast_to(classes, (T, t.C, t.P, t.W)))
        self.lost_new = self._lost_at_once()
        self._pay()
        self._balance()
        self._order_of_service()
        self._acceptance()

    def _each_served(self, rows: Ints, factor: float) -> None:
        """Put all that is served to each customer into rows (T, C, P)."""
        t = self.cells.tables
        at = rows[:, t.pair_customer][:, :, self.cells.product]  # (T, S, Q)
        self.assembly.add(at, self.serve, factor)

    def _lost_at_once(self) -> Ints:
        """In whole worlds a share of units is rounded, and what is lost has columns of its own."""
        cells, t = self.cells, self.cells.tables
        mixed = (cells.lost_share > 0) & (cells.lost_share < 1)
        found = np.full(self.unserved.shape, -1, dtype=np.int64)
        if not self.shares.whole or not mixed.any():
            return found
        where = np.broadcast_to(mixed, found.shape)
        period, customer, product = np.nonzero(where)
        slots = np.arange(len(period))
        found[where] = self.shares.rounded(
            slots,
            self.unserved[where],
            np.ones(len(slots)),
            cells.lost_share[customer, product],
            (period, t.L + t.S + customer, product),
        )
        return found

    def _pay(self) -> None:
        cells, t, assembly = self.cells, self.cells.tables, self.assembly
        lost, back = t.lost_sale_cost, t.backorder_cost
        share = cells.lost_share
        split = self.lost_new >= 0
        assembly.charge(np.where(split, -1, self.unserved), share * lost)
        assembly.charge(self.lost_new, lost)
        assembly.charge(self.waiting, back)
        # Of limited patience: new demand that stays waits at close, and so does what is not at its last period.
        stays = np.where(cells.impatient, (1 - share) * back, 0.0)
        assembly.charge(np.where(split, -1, self.unserved), stays)
        assembly.charge(np.where(split & cells.impatient, self.unserved, -1), back)
        assembly.charge(np.where(split & cells.impatient, self.lost_new, -1), -back)
        last = np.arange(t.W) == t.patience[..., None]
        assembly.charge(self.patient, np.where(last, lost[..., None], back[..., None]))

    def _balance(self) -> None:
        """served + what is lost or waits = demand + what waited."""
        cells, assembly = self.cells, self.assembly
        self.balance = assembly.rows(np.ones(self.unserved.shape, dtype=bool))
        self._each_served(self.balance, 1.0)
        share = np.where(cells.unlimited, cells.lost_share, 1.0)
        split = (self.lost_new >= 0) & cells.unlimited
        assembly.add(self.balance, np.where(split, -1, self.unserved), share)
        assembly.add(self.balance, np.where(split, self.lost_new, -1), 1.0)
        assembly.add(self.balance, self.waiting, 1.0)
        assembly.add(self.balance[1:], self.waiting[:-1], -1.0)
        assembly.add(self.balance[..., None], self.patient, 1.0)
        for columns, factor, _ in self.waited():
            assembly.add(self.balance[1:], columns, -factor)

    def waited(self) -> list[tuple[Ints, Floats, int]]:
        """Backlog at the start of periods 1.. of limited patience: columns (T - 1, C, P), factors, periods waited."""
        cells, t = self.cells, self.cells.tables
        if not cells.impatient.any():
            return []
        new = np.where(cells.impatient, self.unserved[:-1], -1)
        split = self.lost_new[:-1] >= 0
        found = [(new, np.where(split, 1.0, 1 - cells.lost_share), 1)]
        found.append((np.where(cells.impatient, self.lost_new[:-1], -1), -np.ones(new.shape), 1))
        for w in range(2, t.W):
            older = np.where(t.patience >= w, self.patient[:-1, :, :, w - 1], -1)
            found.append((older, np.ones(new.shape), w))
        return found

    def _order_of_service(self) -> None:
        """Nobody is served twice: within a waiting class, and where new demand counts apart."""
        cells, assembly = self.cells, self.assembly
        self.classes = assembly.rows(self.patient >= 0, np.inf)
        assembly.add(self.classes, self.patient, 1.0)
        for columns, factor, waits in self.waited():
            assembly.add(self.classes[1:, :, :, waits], columns, -factor)
        mixed = np.broadcast_to(cells.unlimited & (cells.lost_share > 0), self.unserved.shape)
        self.new_first = assembly.rows(mixed, np.inf)  # served to those who waited >= 0
        self._each_served(self.new_first, -1.0)
        assembly.add(self.new_first, self.unserved, -1.0)
        self.old_last = assembly.rows(mixed, np.inf)  # and not more than waited
        self._each_served(self.old_last, 1.0)
        assembly.add(self.old_last, self.unserved, 1.0)
        assembly.add(self.old_last[1:], self.waiting[:-1], -1.0)

    def _acceptance(self) -> None:
        """A later source serves at most what followed: f_k = acceptance_k (f_(k-1) - served_(k-1)), f_0 = all wanted.

        A run of sources that everybody follows to needs one row, its last.
        """
        cells, t, T, assembly = self.cells, self.cells.tables, self.periods, self.assembly
        self.followers: list[tuple[Ints, int, int, float, list[tuple[int, float]]]] = []
        whole = self.shares.whole
        for c, p, pairs in cells.chains():
            accept = [1.0] + [float(t.acceptance[s, p]) for s in pairs[1:]]
            if whole:
                accept = [half_up(a * GRAIN) / GRAIN for a in accept]
            reach = 1.0
            before: list[tuple[int, float]] = []
            lucks: list[tuple[int, float]] = []
            for k, s in enumerate(pairs):
                a = accept[k]
                if k:
                    before = [(j, factor * a) for j, factor in before] + [(pairs[k - 1], a)]
                    lucks = [(j, factor * a) for j, factor in lucks]
                reach *= a
                if whole and 0 < a < 1:
                    lucks.append((s, 1.0))
                ends = k + 1 == len(pairs) or accept[k + 1] < 1
                if not ends or all(a == 1 for a in accept[: k + 1]):
                    continue
                rows = assembly.rows(np.ones(T, dtype=bool), np.inf)
                of_product = cells.product == p
                for pair, factor in [(s, 1.0), *before]:
                    assembly.add(rows[:, None], self.serve[:, pair][:, of_product], factor)
                if cells.unlimited[c, p]:
                    assembly.add(rows[1:], self.waiting[:-1, c, p], -reach)
                for columns, weight, _ in self.waited():
                    assembly.add(rows[1:], columns[:, c, p], -reach * weight[..., c, p])
                self.followers.append((rows, c, p, reach, list(lucks)))

    # One world -----------------------------------------------------------------------------------

    def fill(self, rhs: Floats, upper: Floats, outlook: Outlook, standing: Standing) -> None:
        """Right-hand sides and bounds of one world."""
        cells, t = self.cells, self.cells.tables
        demand = outlook.demand
        waited = standing.backlog.sum(2) * (cells.lost_share < 1)  # (C, P)
        wanted = demand.copy()
        wanted[0] += waited
        rhs[self.balance] = wanted
        there = self.unserved >= 0
        bounded = there & (cells.lost_share < 1)
        upper[self.unserved[bounded]] = demand[bounded]
        start = self.classes[0]
        rhs[start[start >= 0]] = standing.backlog[start >= 0]
        mixed = self.new_first >= 0
        rhs[self.new_first[mixed]] = -demand[mixed]
        rhs[self.old_last[mixed]] = wanted[mixed]
        for rows, c, p, reach, lucks in self.followers:
            rhs[rows] = reach * wanted[:, c, p]
            for pair, factor in lucks:
                assert outlook.thin is not None
                rhs[rows] += factor * outlook.thin[:, t.L + pair, p]
        if outlook.node_availability is not None:
            out = (outlook.node_availability == 0)[:, t.pair_source]
            stopped = self.serve[out]
            upper[stopped[stopped >= 0]] = 0.0
