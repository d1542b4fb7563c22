"""Tables: a scenario compiled to NumPy arrays, which are all that the dynamics read.

Arrays are entity first and have no batch axis. Dimensions: N nodes, L lanes, S source-customer
pairs, C customers, P products, A life classes, W waiting classes, K slots in transit, H periods of
history, F forecast slots. An absent capacity is ``inf``, an absent index is -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.segments import sorted_groups
from ..core.typing import Bools, Floats, Ints
from .calendars import ALWAYS, together
from .echelons import Chains, parents


@dataclass(frozen=True, eq=False)
class Tables:
    """Compiled scenario; see the module docstring for dimensions; amounts are money or units a period and product."""

    name: str
    products: tuple[str, ...]
    nodes: tuple[str, ...]
    lanes: tuple[str, ...]
    customers: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]  # (source, customer)
    A: int
    W: int
    K: int
    H: int
    F: int
    horizon: int
    warm_up: int
    integer: bool
    carbon_price: float  # money per kg
    censored: bool  # demand history shows sales
    quoted: bool  # today's lead times are seen
    shelf_life: Ints  # (P,) periods, 0 = never expires
    volume: Floats  # (P,)
    is_supplier: Bools  # (N,)
    node_capacity: Floats  # (N,) volume
    holding_cost: Floats  # (N, P)
    storage_capacity: Floats  # (N,) volume
    overflow_cost: Floats  # (N,) money per volume
    disposal_cost: Floats  # (N, P)
    node_fixed_cost: Floats  # (N,)
    terminal_value: Floats  # (N, P)
    primary_lane: Ints  # (N, P) lane, -1 = none
    mean_flow: Floats  # (N, P) mean demand through the node
    initial_on_hand: Floats  # (N, P)
    initial_in_transit: Floats  # (L, P, K)
    lane_source: Ints  # (L,) node, -1 on a return lane
    lane_customer: Ints  # (L,) customer of a return lane, -1 else
    lane_target: Ints  # (L,) node
    lane_mode: tuple[str, ...]
    lane_carries: Bools  # (L, P)
    lane_open: Bools  # (L, P) carries, and can be requested
    lead_time_values: tuple[Ints, ...]
    lead_time_probabilities: tuple[Floats, ...]
    lead_time_random: Bools  # (L,) drawn, or stretched by a disruption
    nominal_lead_time: Ints  # (L,) mean, rounded up
    max_lead_time: Ints  # (L,) factors and closed days included
    protection: (
        Ints  # (L,) periods from a request until the next one's arrival, at most; lead time + 1 without calendar
    )
    lane_pattern: tuple[Bools, ...]  # each (cycle,) periods in which a lane can be asked
    node_pattern: tuple[Bools, ...]  # each (cycle,) periods in which a node works
    initial_lead_time: Ints  # (L, K) of what is in transit at the start
    lane_capacity: Floats  # (L,) volume
    lane_priority: Ints  # (L,)
    purchase_cost: Floats  # (L, P)
    lane_transport_cost: Floats  # (L, P)
    in_transit_cost: Floats  # (L, P)
    lane_emissions: Floats  # (L, P) kg a unit
    commitment: Floats  # (L, P) units a period
    batch: Floats  # (L, P) units, 0 = none
    minimum_order: Floats  # (L, P) units, a multiple of the batch, 0 = none
    return_share: Floats  # (L, P)
    recovery: Floats  # (L, P)
    distance_km: Floats  # (L,)
    vehicle_volume: Floats  # (L,) volume
    lane_fixed_cost: Floats  # (L,) a vehicle
    lane_fixed_emissions: Floats  # (L,) kg a vehicle
    pair_source: Ints  # (S,)
    pair_customer: Ints  # (S,)
    pair_rank: Ints  # (S, P) 0 = first choice among the sources that carry it, -1 = not carried
    pair_carries: Bools  # (S, P)
    acceptance: Floats  # (S, P)
    by_coin: Bools  # (S, P) each unit accepts by itself
    pair_transport_cost: Floats  # (S, P)
    pair_emissions: Floats  # (S, P) kg a unit
    first_source: Ints  # (C, P) node, -1 = none
    lost_share: Floats  # (C, P)
    lost_sale_cost: Floats  # (C, P)
    backorder_cost: Floats  # (C, P) a unit and period
    price: Floats  # (C, P)
    patience: Ints  # (C, P) periods, -1 = unlimited
    opening_backlog: Floats  # (C, P) units
    lifo: Bools  # (C,)
    customer_priority: Ints  # (C,)
    segment: tuple[str, ...]
    region: tuple[str, ...]
    mean_demand: Floats  # (C, P)
    demand_sd: Floats  # (C, P)
    reward_scale: float  # money; 0 = neither given nor derivable

    @property
    def P(self) -> int:
        """Number of products."""
        return len(self.products)

    @property
    def N(self) -> int:
        """Number of nodes, suppliers included."""
        return len(self.nodes)

    @property
    def L(self) -> int:
        """Number of lanes, return lanes included."""
        return len(self.lanes)

    @property
    def C(self) -> int:
        """Number of customers."""
        return len(self.customers)

    @property
    def S(self) -> int:
        """Number of source-customer pairs."""
        return len(self.pairs)

    @cached_property
    def fresh_class(self) -> Ints:
        """(P,) life class in which fresh stock arrives; what never expires stands in the last one."""
        return np.where(self.shelf_life > 0, self.shelf_life, self.A) - 1

    @cached_property
    def first_cell(self) -> Ints:
        """(C, P) cell, that is node * P + product, of each first source; -1 = none."""
        return np.where(self.first_source >= 0, self.first_source * self.P + np.arange(self.P), -1)

    @cached_property
    def parent(self) -> Ints:
        """(N * P,) cell that feeds each cell over its primary lane, -1 = none."""
        return parents(self.primary_lane, self.lane_source)

    @cached_property
    def served_above(self) -> Chains:
        """Of each customer and product, numbered ``customer * P + product``, the first source's cell and all cells above."""
        return Chains(self.first_cell.reshape(-1), self.parent)

    @cached_property
    def cells_above(self) -> Chains:
        """Of each cell itself and all cells above it."""
        return Chains(np.arange(self.N * self.P), self.parent)

    @cached_property
    def echelon(self) -> Bools:
        """(N, N, P) for plans over small networks, as it grows with N^2: [n, m, p] = m is in the echelon of n."""
        found = np.zeros((self.N, self.N, self.P), dtype=bool)
        below, above = self.cells_above.items, self.cells_above.cells
        found[above // self.P, below // self.P, below % self.P] = True
        return found

    @cached_property
    def stocked(self) -> Bools:
        """(N, P) cells where units can stand: a lane brings them, or they are there at the start; no supplier's."""
        found = self.initial_on_hand > 0
        for target, carries in zip(self.lane_target, self.lane_carries, strict=True):
            found[target] |= carries
        return found & ~self.is_supplier[:, None]

    def served_below(self, node: int | np.integer) -> Bools:
        """(C, P) whether the first source of customers is in the echelon of a node."""
        inside = self.echelon[node, np.maximum(self.first_source, 0), np.arange(self.P)]
        return np.asarray(inside & (self.first_source >= 0))

    @cached_property
    def lanes_into(self) -> list[Ints]:
        """Of each node the lanes that lead into it, ascending."""
        order, starts = sorted_groups(self.lane_target, self.N)
        return np.split(order, starts[1:-1])

    @property
    def review(self) -> Ints:
        """(L,) longest time between two opportunities to ask, closed days of the target included; 1 without calendars."""
        return np.asarray(self.protection - self.nominal_lead_time)

    @property
    def lot(self) -> Floats:
        """(L, P) least units that a lane takes at a time: its minimum order, or a batch; 0 = any amount."""
        return np.maximum(self.minimum_order, self.batch)

    @property
    def mean_capacity(self) -> tuple[Floats, Floats]:
        """(L,) and (N,) volume a period that may leave, closed days included."""
        works = [self.node_pattern[node] if node >= 0 else ALWAYS for node in self.lane_source]
        asked = [together(own, source).mean() for own, source in zip(self.lane_pattern, works, strict=True)]
        open_days = [pattern.mean() for pattern in self.node_pattern]
        return self.lane_capacity * np.array(asked), self.node_capacity * np.array(open_days)

    @property
    def smooth(self) -> bool:
        """Whether any amount can be asked for, so that gradients exist."""
        return not (self.integer or self.batch.any() or self.minimum_order.any())

    @property
    def has_prices(self) -> bool:
        """Whether revenue is counted."""
        return bool(self.price.any())
