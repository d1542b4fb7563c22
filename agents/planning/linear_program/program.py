"""The linear program of a network over T periods: one model for bounds, plans and the rolling horizon.

Given all that the world does (demand, lead times, availabilities, yields), the cheapest flows through the network from
any state are a linear program. It has the network's own period (``docs/model.md``) in it: what is shipped in t with lead
time l is on hand in t + l, the stock of lead time 0 serves but is not shipped on, capacities scale with availability,
outages, yield in the period of arrival, life classes and disposal, sources with acceptance, lost shares, patience,
return lanes, and every cost line of the ledger.

What is not linear is relaxed, always so that every policy's flows remain feasible and cost no less in the program:

- vehicles: volume / vehicle volume instead of its ceiling; where no vehicle volume is given, volume / lane capacity, and
  nothing where there is no capacity either;
- fixed costs of nodes are left out;
- an order may be smaller than the least a lane takes;
- batches and whole units may be fractions (a rounded share, of yield, say, lies within one unit of the share);
- how customers share scarce stock, their priorities, the order in which units of unlike life go (oldest first on lanes,
  FIFO or LIFO to customers), serving whatever can be served, and serving the longest wait first are left to the program.

:func:`relaxations` says which of these matter for a scenario.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.network.tables import Tables

from .assembly import Assembly, LinearProblem
from .cells import CellConstants
from .outlook import Outlook, Standing
from .rounded_shares import Shares
from .service import ServiceFamilies
from .stock import StockFamilies


class NetworkProgram:
    """The program's structure: what does not change with demand, availability and the state at the start.

    Parameters
    ----------
    tables
        The compiled scenario.
    lead_time
        (T, L) periods, of what ships in each period.
    lane_yield
        (T, L) good share of what arrives in each period; None = all.
    whole
        Bound shares of whole units by their rounding (needed for a bound); None: where the scenario's units are integer.
    terminal_value
        (N, P) money a unit on hand after the last period; None: the scenario's own.

    Attributes
    ----------
    ship
        (T, L, Q) columns of units shipped, by cell of product and life class (:class:`~.cells.CellConstants`), -1 where none.
    stock, service
        The families of columns and rows.

    Raises
    ------
    InputError
        If lead times are not whole numbers >= 0 of that shape.

    Example
    -------
    >>> outlook = Outlook.of_tape(tape.check(scenario), 0)
    >>> program = Program(scenario.tables, outlook.lead_time, outlook.lane_yield)
    >>> problem = program.problem(outlook, Standing.initial(scenario.tables))
    >>> solution = Solver().solve(problem)
    >>> program.shipped(solution.values)  # (T, L, P)
    """

    def __init__(
        self,
        tables: Tables,
        lead_time: Ints,
        lane_yield: Floats | None = None,
        whole: bool | None = None,
        terminal_value: Floats | None = None,
    ) -> None:
        lead_time = np.asarray(lead_time, dtype=np.int64)
        if lead_time.ndim != 2 or lead_time.shape[1] != tables.L or not len(lead_time) or (lead_time < 0).any():
            raise expected("lead_time", lead_time.shape, f"whole numbers >= 0 of shape (periods, {tables.L})")
        self.tables, self.periods = tables, len(lead_time)
        self.lead_time, self.lane_yield = lead_time, lane_yield
        self.cells = CellConstants(tables)
        self.whole = tables.integer if whole is None else whole
        assembly = Assembly()
        shares = Shares(assembly, self.whole)
        self.service = ServiceFamilies(assembly, self.cells, self.periods, shares)
        value = tables.terminal_value if terminal_value is None else terminal_value
        self.stock = StockFamilies(assembly, self.cells, self.service, shares, lead_time, lane_yield, value)
        self.ship = self.stock.ship
        self._extend(assembly)
        self.matrix: Any = assembly.matrix()
        self.cost = assembly.cost()
        self._spans = assembly.spans()

    def _extend(self, assembly: Assembly) -> None:
        """Add what a subclass wants besides."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.matrix.shape[0]), int(self.matrix.shape[1])

    def fits(self, outlook: Outlook) -> bool:
        """Whether the structure is that of a world: lead times and yields are the same."""
        same = np.array_equal(outlook.lead_time, self.lead_time)
        if outlook.lane_yield is None or self.lane_yield is None:
            return same and outlook.lane_yield is self.lane_yield
        return same and np.array_equal(outlook.lane_yield, self.lane_yield)

    def problem(self, outlook: Outlook, standing: Standing) -> LinearProblem:
        """The program of one world from one state.

        Parameters
        ----------
        outlook
            Its lead times and yields must be those of the structure.
        standing
            Where things stand at the start of the first period.
        """
        rows, columns = self.shape
        rhs, upper = np.zeros(rows), np.full(columns, np.inf)
        offset = self.stock.fill(rhs, upper, outlook, standing)
        self.service.fill(rhs, upper, outlook, standing)
        return LinearProblem(self.matrix, self.cost, offset, np.zeros(columns), upper, rhs - self._spans, rhs)

    # Solutions as arrays -------------------------------------------------------------------------

    def shipped(self, values: Floats) -> Floats:
        """(T, L, P) units shipped on each lane, life classes added up, of column values."""
        return self._by_product(self.ship, values)

    def served(self, values: Floats) -> Floats:
        """(T, S, P) units served over each pair."""
        return self._by_product(self.service.serve, values)

    def closing(self, values: Floats) -> Floats:
        """(T, N, P) units on hand at close, before what ends its life goes."""
        return self._by_product(self.stock.close, values)

    def _by_product(self, columns: Ints, values: Floats) -> Floats:
        # The solver's zeros may lie below 0 by its tolerance.
        units = np.where(columns >= 0, np.maximum(values[np.maximum(columns, 0)], 0.0), 0.0)
        found = np.zeros((*columns.shape[:2], self.tables.P))
        for cell, p in enumerate(self.cells.product):
            found[:, :, p] += units[:, :, cell]
        return found


def bounding(tables: Tables) -> Tables:
    """The tables that a bound is computed from: where acceptance is by coin everybody follows, as any number of units may."""
    if not (tables.by_coin.any() and tables.integer):
        return tables
    return replace(tables, acceptance=np.where(tables.by_coin, 1.0, tables.acceptance))


def relaxations(tables: Tables) -> list[str]:
    """Features of the network that the program relaxes, in words; empty where it is exact.

    Being exact does not make the bound tight: a clairvoyant knows what no policy can.
    """
    t = tables
    ships = ~(t.lane_customer >= 0)
    fixed = (t.lane_fixed_cost > 0) | ((t.lane_fixed_emissions > 0) & (t.carbon_price > 0))
    mortal = bool((t.shelf_life > 1).any())
    leaving = np.bincount(t.lane_source[ships], minlength=t.N) * ~t.is_supplier  # (N,) lanes
    drawing = np.bincount(t.pair_source, minlength=t.N) * ~t.is_supplier  # (N,) customers
    several = (np.bincount(t.pair_customer, minlength=1) > 1).any()
    waits = (t.lost_share < 1) & (t.patience != 0)
    # Else whoever serves what he can serves best: nobody else can use the unit, and nothing is paid for serving.
    choosy = several or (drawing > 1).any() or ((leaving > 0) & (drawing > 0)).any()
    choosy = choosy or t.pair_transport_cost.any() or t.pair_emissions.any() or t.terminal_value.any()
    found = [
        (fixed.any(), "vehicles may be fractions; a lane without vehicle volume and capacity costs no vehicle"),
        ((t.node_fixed_cost > 0).any(), "fixed costs of nodes are left out"),
        (t.minimum_order.any(), "orders may be smaller than the minimum"),
        (t.batch.any(), "batches may be fractions"),
        (t.integer, "whole units may be fractions"),
        (
            t.integer and bool((t.by_coin & (t.pair_rank > 0)).any()),
            "all that a source leaves unserved follows to one that is accepted by coin",
        ),
        (mortal, "which units go first, by remaining life, is left to the program"),
        ((drawing > 1).any() or several, "which customers scarce stock serves is left to the program"),
        (
            (waits & ((t.lost_share > 0) | (t.patience > 0))).any(),
            "who is served first, new demand or old, is left to the program",
        ),
        (choosy, "demand need not be served though stock is there"),
    ]
    return [text for there, text in found if there]
