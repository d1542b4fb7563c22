"""Stock in a linear program: shipments, arrivals, stock on hand and disposal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from echelongym.envs.core.typing import Floats, Ints

from .assembly import Assembly
from .cells import CellConstants
from .outlook import Outlook, Standing
from .rounded_shares import Shares
from .service import ServiceFamilies


class Entering(NamedTuple):
    """Units that enter lanes, E of them: ``factor`` x column ``column`` enters lane ``lane`` in ``period``."""

    period: Ints
    lane: Ints
    cell: Ints  # product and life class on entering
    column: Ints
    factor: Floats


class StockFamilies:
    """Families of stock over T periods.

    Attributes
    ----------
    ship
        (T, L, Q) columns, units shipped on request.
    close
        (T, N, Q) columns, units on hand at close, before what ends its life goes.
    """

    def __init__(
        self,
        assembly: Assembly,
        cells: CellConstants,
        service: ServiceFamilies,
        shares: Shares,
        lead_time: Ints,
        lane_yield: Floats | None,
        terminal_value: Floats,
    ) -> None:
        t, T = cells.tables, len(lead_time)
        self.assembly, self.cells, self.service, self.shares = assembly, cells, service, shares
        self.periods, self.lead_time, self.lane_yield = T, lead_time, lane_yield
        self.terminal_value = terminal_value
        self.entered: list[Entering] = []  # all that enters lanes
        #: Columns that join stock at once: columns, periods, lanes, cells on arrival, factors.
        self.instant_arrivals: list[tuple[Ints, Ints, Ints, Ints, Floats]] = []
        self.ship = assembly.columns(np.broadcast_to(cells.lane, (T, t.L, cells.Q)))
        self.close = assembly.columns(np.broadcast_to(cells.held, (T, t.N, cells.Q)))
        self.balance = assembly.rows(self.close >= 0)
        self._stand()
        self.instant = assembly.rows(self._instant_nodes(), np.inf)
        assembly.add(self.instant, self.close, -1.0)
        drawn = self._drawn(self.instant)
        assembly.add(drawn, service.serve, -1.0)
        self._road(self._shipments())
        if cells.returning.any():
            self._returns()
        self._capacities()
        self._commitments()
        self._overflow()

    # What stands ---------------------------------------------------------------------------------

    def _drawn(self, rows: Ints) -> Ints:
        """(T, S, Q) row of the node that each pair draws on."""
        return rows[:, self.cells.tables.pair_source]

    def _out(self, rows: Ints) -> Ints:
        """(T, L, Q) row of the node that each lane leaves; -1 for suppliers and return lanes."""
        t = self.cells.tables
        found = rows[:, np.maximum(t.lane_source, 0)]
        return np.where((t.lane_source >= 0)[:, None], found, -1)

    def _stand(self) -> None:
        cells, t, assembly = self.cells, self.cells.tables, self.assembly
        assembly.add(self.balance, self.close, 1.0)
        # What stood at the last close, a period younger.
        younger = np.where(cells.mortal, np.where(cells.fresh, -1, np.arange(cells.Q) + 1), np.arange(cells.Q))
        before = np.where(younger >= 0, self.close[:-1][:, :, younger], -1)
        assembly.add(self.balance[1:], before, -1.0)
        assembly.add(self._out(self.balance), self.ship, 1.0)
        assembly.add(self._drawn(self.balance), self.service.serve, 1.0)
        ends = cells.mortal & (cells.life == 0)
        assembly.charge(self.close, t.holding_cost[:, cells.product])
        assembly.charge(self.close, np.where(ends, t.disposal_cost[:, cells.product], 0.0))
        assembly.charge(self.close[-1], np.where(ends, 0.0, -self.terminal_value[:, cells.product]))

    def _instant_nodes(self) -> np.ndarray:
        """(T, N, Q) where stock may arrive and serve, but not be shipped on: arrivals of lead time 0 where lanes leave."""
        cells, t = self.cells, self.cells.tables
        found = np.zeros(self.close.shape, dtype=bool)
        leaves = np.zeros((t.N, cells.Q), dtype=bool)
        for lane in np.flatnonzero(t.lane_source >= 0):
            leaves[t.lane_source[lane]] |= cells.lane[lane]
        for period, lane in zip(*np.nonzero(self.lead_time == 0), strict=True):
            found[period, t.lane_target[lane]] |= leaves[t.lane_target[lane]] & cells.lane[lane]
        return found & (self.close >= 0)

    # The pipeline -------------------------------------------------------------------------------

    def _shipments(self) -> Entering:
        period, lane, cell = np.nonzero(self.ship >= 0)
        self.assembly.charge(self.ship, self.cells.entering)
        return Entering(period, lane, cell, self.ship[period, lane, cell], np.ones(len(period)))

    def _road(self, entering: Entering) -> None:
        """Entries of what enters lanes where it arrives, and the cost of its way."""
        cells, t, T, assembly = self.cells, self.cells.tables, self.periods, self.assembly
        period, lane, cell, column, factor = entering
        self.entered.append(entering)
        product = cells.product[cell]
        wait = self.lead_time[period, lane]
        due = period + wait
        assembly.charge(column, factor * t.in_transit_cost[lane, product] * np.minimum(wait, T - period))
        arrives = due < T
        expired = arrives & cells.mortal[cell] & (cells.life[cell] < wait)
        waste = factor * t.disposal_cost[t.lane_target[lane], product]
        assembly.charge(column[expired], waste[expired])
        good = np.ones(len(due))
        if self.lane_yield is not None:
            good[arrives] = self.lane_yield[due[arrives], lane[arrives]]
        lands = arrives & ~expired
        onto = cell - np.where(cells.mortal[cell], wait, 0)
        thinned = lands & (good < 1)
        assembly.charge(column[thinned], (waste * (1 if self.shares.whole else 1 - good))[thinned])
        certain = lands & ~thinned if self.shares.whole else lands
        node = t.lane_target[lane]
        now = wait == 0
        joins = good * factor
        assembly.add(self.balance[due[certain], node[certain], onto[certain]], column[certain], -joins[certain])
        at_once = certain & now
        assembly.add(self.instant[due[at_once], node[at_once], onto[at_once]], column[at_once], joins[at_once])
        self.instant_arrivals.append((column[at_once], due[at_once], lane[at_once], onto[at_once], joins[at_once]))
        if self.shares.whole and thinned.any():
            self._thinned(
                Entering(due[thinned], lane[thinned], onto[thinned], column[thinned], factor[thinned]), now[thinned]
            )

    def _thinned(self, arriving: Entering, now: np.ndarray) -> None:
        """Whole units: what arrives of a cell on a lane in a period is rounded together, at once or after a way."""
        cells, t, assembly = self.cells, self.cells.tables, self.assembly
        shape = (2, self.periods, t.L, cells.Q)
        keys = np.ravel_multi_index((now.astype(np.int64), arriving.period, arriving.lane, arriving.cell), shape)
        found, slots = np.unique(keys, return_inverse=True)
        instant, period, lane, cell = np.unravel_index(found, shape)
        assert self.lane_yield is not None
        place = np.ravel_multi_index((period, lane, cell), shape[1:])
        # A unit that was in transit at the start never arrives at once.
        place = np.where(instant == 1, self.periods * t.L * cells.Q, place)
        product = cells.product[cell]
        got = self.shares.rounded(
            slots,
            arriving.column,
            arriving.factor,
            self.lane_yield[period, lane],
            (period, lane, product),
            place,
        )
        target = t.lane_target[lane]
        assembly.charge(got, -t.disposal_cost[target, product])
        assembly.add(self.balance[period, target, cell], got, -1.0)
        at_once = instant == 1
        assembly.add(self.instant[period, target, cell], np.where(at_once, got, -1), 1.0)
        ones = np.ones(int(at_once.sum()))
        self.instant_arrivals.append((got[at_once], period[at_once], lane[at_once], cell[at_once], ones))

    def _returns(self) -> None:
        """What customers send back: a share of what they were served, of that a share enters the lane, fresh."""
        cells, t, T, assembly = self.cells, self.cells.tables, self.periods, self.assembly
        for lane in np.flatnonzero(cells.returning):
            own = np.flatnonzero(t.pair_customer == t.lane_customer[lane])
            for p in range(t.P):
                share, recovery = float(t.return_share[lane, p]), float(t.recovery[lane, p])
                if share == 0:
                    continue
                served = self.service.serve[:, own][:, :, cells.product == p].reshape(T, -1)
                period = np.broadcast_to(np.arange(T)[:, None], served.shape)
                period, column = period[served >= 0], served[served >= 0]
                back, enters = np.full(len(column), share), np.full(len(column), share * recovery)
                if self.shares.whole:
                    luck = (np.arange(T), np.full(T, lane), np.full(T, p))
                    sent = self.shares.rounded(period, column, np.ones(len(column)), np.full(T, share), luck)
                    kept = sent
                    if recovery < 1:
                        kept = self.shares.rounded(np.arange(T), sent, np.ones(T), np.full(T, recovery), luck)
                    assembly.charge(sent, t.disposal_cost[t.lane_target[lane], p])
                    assembly.charge(kept, -t.disposal_cost[t.lane_target[lane], p])
                    period, column, enters = np.arange(T), kept, np.ones(T)
                else:
                    assembly.charge(column, (back - enters) * t.disposal_cost[t.lane_target[lane], p])
                cell = int(cells.fresh_cell[p])
                assembly.charge(column, enters * cells.entering[lane, cell])
                alike = np.ones(len(column), dtype=np.int64)
                self._road(Entering(period, alike * lane, alike * cell, column, enters))

    # Limits --------------------------------------------------------------------------------------

    def _capacities(self) -> None:
        cells, t, T, assembly = self.cells, self.cells.tables, self.periods, self.assembly
        # A single column is bounded itself.
        shared = np.isfinite(t.lane_capacity) & (cells.lane.sum(1) > 1)
        self.lane_rows = assembly.rows(np.broadcast_to(shared, (T, t.L)), np.inf)
        assembly.add(self.lane_rows[..., None], self.ship, cells.volume)
        self.node_rows = assembly.rows(np.broadcast_to(np.isfinite(t.node_capacity), (T, t.N)), np.inf)
        leaving = np.where(t.lane_source >= 0, self.node_rows[:, np.maximum(t.lane_source, 0)], -1)
        assembly.add(leaving[..., None], self.ship, cells.volume)

    def _commitments(self) -> None:
        """What a lane falls short of its commitment pays all the same."""
        cells, t, assembly = self.cells, self.cells.tables, self.assembly
        due = t.lane_open & (t.commitment > 0) & (t.lane_transport_cost > 0)
        self.commitment_rows = assembly.rows(np.broadcast_to(due, (self.periods, t.L, t.P)), np.inf)
        short = assembly.columns(self.commitment_rows >= 0)
        assembly.charge(short, t.lane_transport_cost)
        assembly.add(self.commitment_rows, short, -1.0)
        assembly.add(self.commitment_rows[:, :, cells.product], self.ship, -1.0)

    def _overflow(self) -> None:
        cells, t, assembly = self.cells, self.cells.tables, self.assembly
        limited = np.isfinite(t.storage_capacity) & (t.overflow_cost > 0) & cells.stock
        self.overflow_rows = assembly.rows(np.broadcast_to(limited, (self.periods, t.N)), np.inf)
        over = assembly.columns(self.overflow_rows >= 0)
        assembly.charge(over, t.overflow_cost)
        assembly.add(self.overflow_rows, over, -1.0)
        assembly.add(self.overflow_rows[..., None], self.close, cells.volume)

    # One world -----------------------------------------------------------------------------------

    def fill(self, rhs: Floats, upper: Floats, outlook: Outlook, standing: Standing) -> float:
        """Right-hand sides and bounds of one world; returns the cost of what nobody can change."""
        cells, t = self.cells, self.cells.tables
        arriving, cost = self.pipeline(standing)
        self.shares.fill(rhs, outlook.thin, np.append(arriving.reshape(-1), 0.0))
        good = arriving
        if self.lane_yield is not None:
            share = self.lane_yield[..., None]
            good = share * arriving
            if self.shares.whole:
                assert outlook.thin is not None
                alone = np.floor(good + outlook.thin[:, : t.L, cells.product])
                good = np.where(share < 1, np.where(self._in_shares(), 0.0, alone), arriving)
        lost = arriving - good
        if self.shares.whole:
            lost = np.where(self._in_shares(), arriving, lost)
        cost += float((lost * t.disposal_cost[t.lane_target][:, cells.product]).sum())
        into = np.zeros((self.periods, t.N, cells.Q))
        for lane in range(t.L):
            into[:, t.lane_target[lane]] += good[:, lane]
        into[0] += standing.on_hand[:, cells.product, cells.shown]
        here = self.balance >= 0
        rhs[self.balance[here]] = into[here]
        self._fill_limits(rhs, upper, outlook)
        return cost

    def _in_shares(self) -> np.ndarray:
        """(T, L, Q) where what arrives after a way is rounded together with columns."""
        cells, t = self.cells, self.cells.tables
        found = np.zeros(self.periods * t.L * cells.Q + 1, dtype=bool)
        for place in self.shares.places():
            found[place] = True
        return found[:-1].reshape(self.periods, t.L, cells.Q)

    def _fill_limits(self, rhs: Floats, upper: Floats, outlook: Outlook) -> None:
        cells, t, T = self.cells, self.cells.tables, self.periods
        lane = np.ones((T, t.L)) if outlook.lane_availability is None else outlook.lane_availability
        node = np.ones((T, t.N)) if outlook.node_availability is None else outlook.node_availability
        source = np.where(t.lane_source >= 0, node[:, np.maximum(t.lane_source, 0)], 1.0)
        limit = np.where(np.isfinite(t.lane_capacity), t.lane_capacity, 1.0) * lane
        most = np.where(np.isfinite(t.lane_capacity), limit, np.inf)
        most = np.where((lane > 0) & (source > 0), most, 0.0)
        there = self.ship >= 0
        upper[self.ship[there]] = (most[..., None] / cells.volume)[there]
        rows = self.lane_rows >= 0
        rhs[self.lane_rows[rows]] = limit[rows]
        rows = self.node_rows >= 0
        full = np.where(np.isfinite(t.node_capacity), t.node_capacity, 0.0)
        rhs[self.node_rows[rows]] = (node * full)[rows]
        rows = self.commitment_rows >= 0
        rhs[self.commitment_rows[rows]] = -np.broadcast_to(t.commitment, rows.shape)[rows]
        rows = self.overflow_rows >= 0
        rhs[self.overflow_rows[rows]] = np.broadcast_to(t.storage_capacity, rows.shape)[rows]

    def pipeline(self, standing: Standing) -> tuple[Floats, float]:
        """(T, L, Q) units in transit at the start by period and cell of arrival; what their way costs."""
        cells, t, T = self.cells, self.cells.tables, self.periods
        arriving = np.zeros((T, t.L, cells.Q))
        units = standing.in_transit[:, cells.product, :, cells.shown]  # (Q, L, K)
        cell, lane, slot = np.nonzero(units)
        amount, product, mortal = units[cell, lane, slot], cells.product[cell], cells.mortal[cell]
        wait = standing.lead_time[lane, slot]
        due = wait - slot - 1
        cost = float((amount * t.in_transit_cost[lane, product] * np.clip(due, 0, T)).sum())
        expired = (due < T) & mortal & (cells.life[cell] < wait)
        cost += float((amount * t.disposal_cost[t.lane_target[lane], product])[expired].sum())
        lands = (due < T) & ~expired
        onto = np.where(mortal, cell - wait, cell)
        np.add.at(arriving, (due[lands], lane[lands], onto[lands]), amount[lands])
        return arriving, cost
