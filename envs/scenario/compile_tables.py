"""Compilation of scenarios to :class:`~echelongym.envs.network.tables.Tables`, the arrays that the dynamics read."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..core.errors import expected
from ..core.memory_limits import require_memory
from ..core.typing import Bools, Floats, Ints
from ..core.validation import LONGEST_SPAN, by_product
from ..network.calendars import protection, together
from ..network.echelons import Chains, parents
from ..network.entities import Lane, Source
from ..network.open_periods import lane_pattern, node_pattern
from ..network.tables import Tables
from ..worlds.dated import ClosedDates
from ..worlds.disruption import hits
from ..worlds.source import Observed, WorldSource
from .opening import initial_lead_times, initial_stock


class ObservedSettings(Observed, Protocol):
    """Settings of what a policy sees."""

    @property
    def lead_time(self) -> str: ...

    @property
    def demand(self) -> str: ...


class Described(WorldSource, Protocol):
    """A scenario as it is compiled."""

    @property
    def observe(self) -> ObservedSettings: ...

    @property
    def warm_up(self) -> int: ...

    @property
    def carbon_price(self) -> float: ...

    @property
    def reward_scale(self) -> float | str: ...

    def carries(self, item: Lane | Source, product: str) -> bool: ...

    def primary_lanes(self, product: str) -> dict[str, str]: ...


def compile_tables(scenario: Described) -> Tables:
    """Compile a validated scenario.

    Raises
    ------
    InputError
        If a disruption stretches a lead time beyond what anything waits for, or one world does not fit into memory.
    """
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
    node_patterns = tuple(node_pattern(scenario.nodes, name) for name in scenario.nodes)
    sources, targets = (
        [node_pattern(scenario.nodes, getattr(lane, end)) for lane in lanes] for end in ("source", "target")
    )
    waiting = ClosedDates(scenario).longest_waits(node_patterns)
    waiting = _ints(waiting[node_index[lane.target]] for lane in lanes)
    stretched |= waiting > 0
    longest = longest + waiting
    protected = _ints(
        protection(together(own, source), target, int(lead))
        for own, source, target, lead in zip(lane_patterns, sources, targets, nominal, strict=True)
    )
    K = max(int(longest.max(initial=0)) - 1, 1)
    lives = [product.shelf_life or 0 for product in scenario.products.values()]
    patience = np.array(
        [by_product(_unlimited(item.patience), products, -1) for item in customers], dtype=np.int64
    ).reshape(len(customers), len(products))
    A, W = max(max(lives), 1), max(int(patience.max(initial=-1)) + 1, 1)
    _check_size(len(products) * (len(nodes) * A + len(lanes) * K * A + len(customers) * W), A, K, W)
    lane_source = _ints(node_index.get(lane.source, -1) for lane in lanes)
    lane_target = _ints(node_index[lane.target] for lane in lanes)
    primary = np.full((len(nodes), len(products)), -1, dtype=np.int64)
    lane_index = {name: i for i, name in enumerate(scenario.lanes)}
    for p, product in enumerate(products):
        for target, lane in scenario.primary_lanes(product).items():
            primary[node_index[target], p] = lane_index[lane]
    first_cell = np.where(first_source >= 0, first_source * len(products) + np.arange(len(products)), -1)
    chains = Chains(first_cell.reshape(-1), parents(primary, lane_source))
    mean_flow = chains.sums(mean_demand.reshape(-1)).reshape(primary.shape)
    on_hand, in_transit = initial_stock(scenario, primary, mean_flow, nominal, protected, K)
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
        A=A,
        W=W,
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
        by_coin=np.array([[pair[2].accepted_by == "coin"] * len(products) for pair in pairs], dtype=bool),
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


def _check_size(entries: int, A: int, K: int, W: int) -> None:
    """Refuse a state that no memory holds, before anything is made for it."""
    what = f"one world with shelf lives of {A}, lead times of {K + 1} and waits of {W - 1} periods"
    require_memory(8 * _COPIES * entries, what, "a shorter shelf_life, lead_time, lead_time_factor or patience")


_COPIES = 4  # of the state that a period of a simulation holds at a time
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


def _moments(scenario: Described, products: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Mean over seasons and standard deviation of a period's demand, each (C, P)."""
    shape = (len(scenario.customers), len(products))
    mean, deviation = np.zeros(shape), np.zeros(shape)
    for c, name in enumerate(scenario.customers):
        for p, product in enumerate(products):
            process = scenario.demand_processes[name].get(product)
            if process is not None:
                mean[c, p], deviation[c, p] = process.mean, process.standard_deviation
    return mean, deviation


def _longest(scenario: Described, lanes: list[Any]) -> tuple[Ints, Bools]:
    """Longest lead time of each lane with every disruption at work, and whether it varies."""
    factor = np.ones(len(lanes))
    varies = np.array([len(set(lane.lead_time.values)) > 1 for lane in lanes], dtype=bool)
    longest = np.array([max(lane.lead_time.values) for lane in lanes], dtype=np.float64)
    for hit in hits(scenario, "lead_time_factor"):
        factor[hit.entities] *= max(hit.amount, 1.0)
        varies[hit.entities] |= hit.amount != 1.0
        if (longest * factor).max(initial=0.0) > LONGEST_SPAN:
            lane = list(scenario.lanes)[int((longest * factor).argmax())]
            hint = f"at most {LONGEST_SPAN} periods on lane {lane} with all disruptions at work"
            raise expected(hit.field, hit.amount, hint, scenario.name)
    return np.ceil(longest * factor - 1e-9).astype(np.int64), varies
