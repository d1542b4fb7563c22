"""A scenario compiled to NumPy arrays: the only thing the hot code reads.

Arrays are entity first and have no batch axis. Dimensions: N nodes, L lanes, S source-customer
pairs, C customers, P products, A life classes, W waiting classes, K slots under way, H periods of
history, F forecast slots. An absent capacity is ``inf``, an absent index is -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.validation import by_product
from ..scenario.opening import initial_lead_times, initial_stock
from .calendars import ALWAYS, lane_pattern, node_pattern, protection, together, waits

if TYPE_CHECKING:
    from ..scenario.scenario import Scenario

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tables:
    """See the module docstring for dimensions; amounts are money or units a period and product."""

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
    echelon: Bools  # (N, N, P): [n, m, p] = m is in the echelon of n
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
    initial_lead_time: Ints  # (L, K) of what is under way at the start
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

    @property
    def review(self) -> Ints:
        """(L,) longest time between two opportunities to ask, closed days of the target included; 1 without calendars."""
        return np.asarray(self.protection - self.nominal_lead_time)

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


def compile_tables(scenario: Scenario) -> Tables:
    """Compile a validated scenario."""
    products = tuple(scenario.products)
    nodes, lanes, customers = (list(getattr(scenario, key).values()) for key in _SECTIONS)
    node_index = {name: i for i, name in enumerate(scenario.nodes)}
    customer_index = {name: i for i, name in enumerate(scenario.customers)}
    pairs = [
        (source, name, customer.sources[source])
        for name, customer in scenario.customers.items()
        for source in customer.sources
    ]

    def amounts(items: list[Any], key: str, default: float = 0.0) -> Floats:
        rows = [by_product(getattr(item, key), products, default) for item in items]
        return np.array(rows, dtype=np.float64).reshape(len(items), len(products))

    def numbers(items: list[Any], key: str, absent: float = np.inf) -> Floats:
        values = [getattr(item, key) for item in items]
        return np.array([absent if v is None else v for v in values], dtype=np.float64)

    def carried(items: list[Any]) -> Bools:
        rows = [[scenario.carries(item, product) for product in products] for item in items]
        return np.array(rows, dtype=bool).reshape(len(items), len(products))

    is_return = np.array([lane.source in customer_index for lane in lanes], dtype=bool)
    lane_carries = carried(lanes)
    pair_carries = carried([pair[2] for pair in pairs])
    pair_source = _ints(node_index[pair[0]] for pair in pairs)
    pair_customer = _ints(customer_index[pair[1]] for pair in pairs)
    first_source = np.full((len(customers), len(products)), -1, dtype=np.int64)
    for s in reversed(range(len(pairs))):  # the earliest listed overwrites the later ones
        first_source[pair_customer[s], pair_carries[s]] = pair_source[s]
    mean_demand, demand_sd = _moments(scenario, products)
    nominal = _ints(int(np.ceil(lane.lead_time.mean - 1e-9)) for lane in lanes)
    longest, stretched = _longest(scenario, lanes)
    lane_patterns = tuple(lane_pattern(lane) for lane in lanes)
    node_patterns = tuple(node_pattern(scenario, name) for name in scenario.nodes)
    sources, targets = ([node_pattern(scenario, getattr(lane, end)) for lane in lanes] for end in ("source", "target"))
    stretched |= np.array([not target.all() for target in targets], dtype=bool)
    longest = longest + _ints(waits(target).max() for target in targets)
    protected = _ints(
        protection(together(own, source), target, int(lead))
        for own, source, target, lead in zip(lane_patterns, sources, targets, nominal, strict=True)
    )
    K = max(int(longest.max(initial=0)) - 1, 1)
    lane_source = _ints(node_index.get(lane.source, -1) for lane in lanes)
    lane_target = _ints(node_index[lane.target] for lane in lanes)
    primary = np.full((len(nodes), len(products)), -1, dtype=np.int64)
    lane_index = {name: i for i, name in enumerate(scenario.lanes)}
    for p, product in enumerate(products):
        for target, lane in scenario.primary_lanes(product).items():
            primary[node_index[target], p] = lane_index[lane]
    echelon = _echelons(primary, lane_source)
    mean_flow = np.zeros((len(nodes), len(products)))
    for c in range(len(customers)):
        for p in range(len(products)):
            if first_source[c, p] >= 0:
                mean_flow[echelon[:, first_source[c, p], p], p] += mean_demand[c, p]
    on_hand, in_transit = initial_stock(scenario, primary, mean_flow, nominal, protected, K)
    lives = [product.shelf_life or 0 for product in scenario.products.values()]
    patience = np.array(
        [by_product(_unlimited(item.patience), products, -1) for item in customers], dtype=np.int64
    ).reshape(len(customers), len(products))
    batch, least = np.nan_to_num(amounts(lanes, "batch")), np.nan_to_num(amounts(lanes, "minimum_order"))
    per_unit = sum(amounts(customers, key) for key in ("lost_sale_cost", "backorder_cost", "price"))
    scale = scenario.reward_scale
    return Tables(
        name=scenario.name,
        products=products,
        nodes=tuple(scenario.nodes),
        lanes=tuple(scenario.lanes),
        customers=tuple(scenario.customers),
        pairs=tuple((pair[0], pair[1]) for pair in pairs),
        A=max(max(lives), 1),
        W=max(int(patience.max(initial=-1)) + 1, 1),
        K=K,
        H=scenario.observe.history,
        F=scenario.forecast.horizon,
        horizon=scenario.horizon,
        warm_up=scenario.warm_up,
        integer=scenario.units == "integer",
        carbon_price=scenario.carbon_price,
        censored=scenario.observe.demand == "sales",
        quoted=scenario.observe.lead_time == "quoted",
        shelf_life=_ints(lives),
        volume=np.array([item.volume for item in scenario.products.values()]),
        is_supplier=np.array([node.kind == "supplier" for node in nodes], dtype=bool),
        node_capacity=numbers(nodes, "capacity"),
        holding_cost=amounts(nodes, "holding_cost"),
        storage_capacity=numbers(nodes, "storage_capacity"),
        overflow_cost=numbers(nodes, "overflow_cost"),
        disposal_cost=amounts(nodes, "disposal_cost"),
        node_fixed_cost=numbers(nodes, "fixed_cost"),
        terminal_value=amounts(nodes, "terminal_value"),
        primary_lane=primary,
        mean_flow=mean_flow,
        echelon=echelon,
        initial_on_hand=on_hand,
        initial_in_transit=in_transit,
        lane_source=lane_source,
        lane_customer=_ints(customer_index.get(lane.source, -1) for lane in lanes),
        lane_target=lane_target,
        lane_mode=tuple(lane.mode for lane in lanes),
        lane_carries=lane_carries,
        lane_open=lane_carries & ~is_return[:, None],
        lead_time_values=tuple(np.asarray(lane.lead_time.values, np.int64) for lane in lanes),
        lead_time_probabilities=tuple(np.asarray(lane.lead_time.probabilities, np.float64) for lane in lanes),
        lead_time_random=stretched,
        nominal_lead_time=nominal,
        max_lead_time=longest,
        protection=protected,
        lane_pattern=lane_patterns,
        node_pattern=node_patterns,
        initial_lead_time=initial_lead_times(nominal, targets, K),
        lane_capacity=numbers(lanes, "capacity"),
        lane_priority=_ints(lane.priority for lane in lanes),
        purchase_cost=amounts(lanes, "purchase_cost"),
        lane_transport_cost=amounts(lanes, "transport_cost"),
        in_transit_cost=amounts(lanes, "in_transit_cost"),
        lane_emissions=amounts(lanes, "emissions_kg"),
        commitment=amounts(lanes, "commitment"),
        batch=batch,
        minimum_order=np.where(batch > 0, np.ceil(least / np.where(batch > 0, batch, 1.0) - 1e-9) * batch, least),
        return_share=np.nan_to_num(amounts(lanes, "return_share")) * lane_carries,
        recovery=amounts(lanes, "recovery", 1.0),
        distance_km=numbers(lanes, "distance_km"),
        vehicle_volume=numbers(lanes, "vehicle_volume"),
        lane_fixed_cost=numbers(lanes, "fixed_cost"),
        lane_fixed_emissions=numbers(lanes, "fixed_emissions_kg"),
        pair_source=pair_source,
        pair_customer=pair_customer,
        pair_rank=_ranks(pair_customer, pair_carries),
        pair_carries=pair_carries,
        acceptance=amounts([pair[2] for pair in pairs], "acceptance", 1.0),
        pair_transport_cost=amounts([pair[2] for pair in pairs], "transport_cost"),
        pair_emissions=amounts([pair[2] for pair in pairs], "emissions_kg"),
        first_source=first_source,
        lost_share=amounts(customers, "lost_share"),
        lost_sale_cost=amounts(customers, "lost_sale_cost"),
        backorder_cost=amounts(customers, "backorder_cost"),
        price=amounts(customers, "price"),
        patience=patience,
        opening_backlog=np.nan_to_num(amounts(customers, "opening_backlog")),
        lifo=np.array([customer.issuing == "lifo" for customer in customers], dtype=bool),
        customer_priority=_ints(customer.priority for customer in customers),
        segment=tuple(customer.segment for customer in customers),
        region=tuple(customer.region for customer in customers),
        mean_demand=mean_demand,
        demand_sd=demand_sd,
        reward_scale=float(mean_demand.sum() * np.mean(per_unit)) if scale == "auto" else float(scale),
    )


_SECTIONS = ("nodes", "lanes", "customers")


def _ints(values: Any) -> Ints:
    return np.array(list(values), dtype=np.int64)


def _unlimited(patience: Any) -> Any:
    return -1 if patience is None else patience


def _ranks(pair_customer: Ints, pair_carries: Bools) -> Ints:
    """Each pair's place among its customer's choices, counted by product."""
    ranks = np.full(pair_carries.shape, -1, dtype=np.int64)
    for customer in set(pair_customer.tolist()):
        own = np.flatnonzero(pair_customer == customer)
        place = np.cumsum(pair_carries[own], axis=0) - 1
        ranks[own] = np.where(pair_carries[own], place, -1)
    return ranks


def _moments(scenario: Scenario, products: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Mean over seasons and standard deviation of a period's demand, each (C, P)."""
    shape = (len(scenario.customers), len(products))
    mean, deviation = np.zeros(shape), np.zeros(shape)
    for c, name in enumerate(scenario.customers):
        for p, product in enumerate(products):
            process = scenario.demand_processes[name].get(product)
            if process is not None:
                mean[c, p], deviation[c, p] = process.mean, process.standard_deviation
    return mean, deviation


def _longest(scenario: Scenario, lanes: list[Any]) -> tuple[Ints, Bools]:
    """Longest lead time of each lane with every disruption at work, and whether it varies."""
    factor = np.ones(len(lanes))
    varies = np.array([len(set(lane.lead_time.values)) > 1 for lane in lanes], dtype=bool)
    for disruption in scenario.disruptions.values():
        for effect, chosen in disruption.select(scenario):
            if effect.lead_time_factor is not None:
                factor[chosen] *= max(effect.lead_time_factor, 1.0)
                varies[chosen] |= effect.lead_time_factor != 1.0
    longest = np.array([max(lane.lead_time.values) for lane in lanes], dtype=np.float64)
    return np.ceil(longest * factor - 1e-9).astype(np.int64), varies


def _echelons(primary: Ints, lane_source: Ints) -> Bools:
    """``[n, m, p]``: m is n or one of its descendants over primary lanes."""
    N, P = primary.shape
    echelon = np.zeros((N, N, P), dtype=bool)
    for p in range(P):
        for m in range(N):
            node = m
            while node >= 0:
                echelon[node, m, p] = True
                lane = primary[node, p]
                node = int(lane_source[lane]) if lane >= 0 else -1
    return echelon
