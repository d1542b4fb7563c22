"""Constants of every linear program of a network: what its cells (products by life class) cost and may do."""

from __future__ import annotations

import numpy as np

from echelongym.envs.core.typing import Bools, Floats, Ints
from echelongym.envs.network.tables import Tables


class CellConstants:
    """Masks and prices of lanes, pairs and customers; Q cells of product and life class.

    A product that never expires has one class, whatever others have.

    Parameters
    ----------
    tables
        The compiled scenario.
    """

    def __init__(self, tables: Tables) -> None:
        t = self.tables = tables
        lives = np.where(t.shelf_life > 0, t.shelf_life, 1)
        self.Q = int(lives.sum())
        self.product = np.repeat(np.arange(t.P), lives)  # (Q,)
        self.life = np.concatenate([np.arange(n) for n in lives])  # (Q,) periods left beyond this one
        self.mortal = t.shelf_life[self.product] > 0  # (Q,)
        #: (Q,) life class in the arrays of states and observations
        self.shown = np.where(self.mortal, self.life, t.A - 1)
        self.fresh = self.shown == t.fresh_class[self.product]  # (Q,)
        #: (P,) cell of a fresh unit
        self.fresh_cell = np.flatnonzero(self.fresh)
        self.stock = ~t.is_supplier  # (N,)
        source = np.maximum(t.lane_source, 0)
        self.from_supplier = (t.lane_source >= 0) & t.is_supplier[source]  # (L,)
        self.returning = t.lane_customer >= 0  # (L,)
        whole = t.lane_open[:, self.product]
        self.lane = whole & (~self.from_supplier[:, None] | self.fresh)  # (L, Q) that can be shipped
        direct = t.is_supplier[t.pair_source]
        self.direct = direct  # (S,) pairs served by a supplier
        self.pair = t.pair_carries[:, self.product] & (~direct[:, None] | self.fresh)  # (S, Q)
        self.held = t.stocked[:, self.product]  # (N, Q) that can stand
        self._prices()
        self._customers()

    def _prices(self) -> None:
        """Money a unit on entering a lane, or served over a pair; emissions, the vehicle's share and revenue included."""
        t, product = self.tables, self.product
        vehicle = np.where(np.isfinite(t.vehicle_volume), t.vehicle_volume, t.lane_capacity)
        fixed = t.lane_fixed_cost + t.carbon_price * t.lane_fixed_emissions
        share = np.where(np.isfinite(vehicle) & (vehicle > 0), fixed / np.maximum(vehicle, 1e-300), 0.0)
        entering = t.lane_transport_cost + t.carbon_price * t.lane_emissions + share[:, None] * t.volume
        entering = entering + np.where(self.returning[:, None], 0.0, t.purchase_cost)
        self.entering = entering[:, product]  # (L, Q)
        serving = t.pair_transport_cost + t.carbon_price * t.pair_emissions - t.price[t.pair_customer]
        self.serving = serving[:, product]  # (S, Q)
        self.volume = t.volume[product]  # (Q,)

    def _customers(self) -> None:
        """Which form each customer's waiting takes."""
        t = self.tables
        self.lost_share: Floats = np.where(t.patience == 0, 1.0, t.lost_share)  # (C, P)
        waits = self.lost_share < 1
        self.impatient: Bools = waits & (t.patience > 0)  # (C, P) waits in classes
        self.unlimited: Bools = waits & (t.patience < 0)  # (C, P) waits in one sum

    def older(self, periods: Ints) -> Ints:
        """Cell that each cell (Q,) has become after ``periods`` (..., Q); -1 expired."""
        cell = np.arange(self.Q)
        return np.where(self.mortal, np.where(self.life >= periods, cell - periods, -1), cell)

    def chains(self) -> list[tuple[int, int, list[int]]]:
        """(customer, product, pairs in order of choice) where somebody sells the product to the customer."""
        t = self.tables
        found = []
        for c in range(t.C):
            own = np.flatnonzero(t.pair_customer == c)
            for p in range(t.P):
                pairs = [int(s) for s in own if t.pair_rank[s, p] >= 0]
                found.append((c, p, sorted(pairs, key=lambda s, p=p: int(t.pair_rank[s, p]))))  # type: ignore[misc]
        return found
