"""Structure of a scenario: its chain of stages, and which feature keeps an exact method from solving it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.scenario.scenario import Scenario

from .lattice import Law, law_of


@dataclass(frozen=True, eq=False)
class Chain:
    """A series of stages, the one that faces the customer first; amounts are money a unit (and period).

    ``holding[j]`` is the local holding cost of stage j, ``lead[j]`` the lead time of the lane into it, ``way[j]`` its
    in-transit cost, ``unit_cost`` what every unit sold pays on its way (purchase, transport, carbon).
    """

    nodes: tuple[str, ...]
    lanes: tuple[str, ...]
    holding: tuple[float, ...]
    lead: tuple[int, ...]
    way: tuple[float, ...]
    unit_cost: float
    fixed_cost: float  # an order of the first stage from the supplier, money
    lost_share: float
    lost_sale_cost: float
    backorder_cost: float
    law: Law

    @property
    def constant_cost(self) -> float:
        """Money a period that no policy changes where nothing is lost: units sold, and what they cost in transit.

        Stock in transit to stage j has left stage j + 1, whose holding cost the echelon costs still count; it is mean
        demand times the lead time whatever the policy.
        """
        above = (*self.holding[1:], 0.0)
        road = sum((way - h) * lead for way, h, lead in zip(self.way, above, self.lead, strict=True))
        return self.law.mean * (self.unit_cost + road)


def check_stationary(scenario: Scenario, method: str) -> None:
    """Refuse what makes the future depend on more than the stock: seasons, calendars, memory in demand, dates, forecasts.

    Raises
    ------
    InputError
        Naming the field.
    """

    def refuse(field: str, value: Any, expectation: str) -> InputError:
        return expected(field, value, f"{expectation} for method {method}", scenario.name)

    if scenario.correlation.periods > 0:
        raise refuse(
            "correlation.periods",
            scenario.correlation.periods,
            "0, demands independent over periods: scenario.correlation.periods=0",
        )
    if scenario.forecast.horizon > 0:
        raise refuse(
            "forecast.horizon",
            scenario.forecast.horizon,
            "0, as exact solutions are for demand that nobody foresees: scenario.forecast.horizon=0",
        )
    for name, disruption in scenario.disruptions.items():
        if not disruption.when.random:
            raise refuse(f"disruptions.{name}.when", "from, to", "mean_up and mean_down, no set dates,")
    for section in ("lanes", "nodes"):
        for name, item in getattr(scenario, section).items():
            for key in ("review", "calendar"):
                given = getattr(item, key, None)
                if given is not None and not given.pattern.all():
                    cycle = f"a cycle of {len(given.pattern)} periods"
                    raise refuse(f"{section}.{name}.{key}", cycle, "none (every period alike)")
    for customer, one in scenario.customers.items():
        for source, terms in one.sources.items():
            if terms.accepted_by == "coin":
                raise refuse(f"customers.{customer}.sources.{source}.accepted_by", "coin", "share")
    for customer, processes in scenario.demand_processes.items():
        for process in processes.values():
            field = f"customers.{customer}.demand"
            if not hasattr(process, "family"):
                raise refuse(f"{field}.kind", "trace", "a family of laws, not recorded demand,")
            if process.family.season is not None and process.family.season.amplitude > 0:
                raise refuse(f"{field}.season", process.family.season.amplitude, "none (amplitude 0)")


def chain_of(scenario: Scenario, method: str, most_stages: int | None = None, fixed_cost: bool = False) -> Chain:
    """The scenario as a chain of one product with linear costs.

    Parameters
    ----------
    method
        Named in errors.
    most_stages
        Refuse longer chains.
    fixed_cost
        Whether the lane out of the supplier may have a fixed cost.

    Raises
    ------
    InputError
        Naming the first feature that breaks the structure.
    """
    check_stationary(scenario, method)
    t = scenario.tables

    def refuse(field: str, value: Any, expectation: str) -> InputError:
        return expected(field, value, f"{expectation} for method {method}", scenario.name)

    for section in ("products", "customers"):
        names = list(getattr(scenario, section))
        if len(names) != 1:
            raise refuse(section, names, "one")
    customer = next(iter(scenario.customers))
    if t.S != 1:
        raise refuse(f"customers.{customer}.sources", [source for source, _ in t.pairs], "one")
    if t.shelf_life[0]:
        raise refuse(f"products.{t.products[0]}.shelf_life", int(t.shelf_life[0]), "none")
    if t.patience[0, 0] >= 0:
        raise refuse(f"customers.{customer}.patience", int(t.patience[0, 0]), "none")
    if scenario.disruptions:
        raise refuse("disruptions", list(scenario.disruptions), "none")
    node, nodes, lanes = int(t.pair_source[0]), list[int](), list[int]()
    while not t.is_supplier[node]:
        into = np.flatnonzero(t.lane_target == node)
        if len(into) != 1:
            raise refuse(f"lanes into {t.nodes[node]}", [t.lanes[lane] for lane in into], "one")
        nodes.append(node)
        lanes.append(int(into[0]))
        if t.lane_customer[into[0]] >= 0:
            raise refuse(f"lanes.{t.lanes[into[0]]}.return_share", float(t.return_share[into[0], 0]), "none")
        node = int(t.lane_source[into[0]])
    if not nodes:
        raise refuse(f"customers.{customer}.sources", [t.nodes[node]], "a node that holds stock")
    if most_stages is not None and len(nodes) > most_stages:
        raise refuse("lanes", [t.lanes[lane] for lane in reversed(lanes)], f"a chain of {most_stages} lane(s)")
    for lane in range(t.L):
        if lane not in lanes:
            raise refuse("lanes", t.lanes[lane], f"no lane beside the chain to {customer}")
    for number, (n, lane) in enumerate(zip(nodes, lanes, strict=True)):
        _check_stage(scenario, n, lane, refuse, fixed_cost and number + 1 == len(nodes))
    if np.isfinite(t.node_capacity[node]):
        raise refuse(f"nodes.{t.nodes[node]}.capacity", float(t.node_capacity[node]), "none")
    top = lanes[-1]
    unit_cost = float(
        sum(_unit_cost(scenario, lane) for lane in lanes)
        + t.pair_transport_cost[0, 0]
        + t.carbon_price * t.pair_emissions[0, 0]
    )
    law = law_of(scenario.demand_processes[customer].get(t.products[0]), scenario.units == "integer")
    if law.mean <= 0:
        raise refuse(f"customers.{customer}.demand", law.mean, "a mean > 0")
    return Chain(
        tuple(t.nodes[n] for n in nodes),
        tuple(t.lanes[lane] for lane in lanes),
        tuple(float(t.holding_cost[n, 0]) for n in nodes),
        tuple(int(t.nominal_lead_time[lane]) for lane in lanes),
        tuple(float(t.in_transit_cost[lane, 0]) for lane in lanes),
        unit_cost,
        float(t.lane_fixed_cost[top] + t.carbon_price * t.lane_fixed_emissions[top]),
        float(t.lost_share[0, 0]),
        float(t.lost_sale_cost[0, 0]),
        float(t.backorder_cost[0, 0]),
        law,
    )


def _unit_cost(scenario: Scenario, lane: int) -> float:
    t = scenario.tables
    return float(t.purchase_cost[lane, 0] + t.lane_transport_cost[lane, 0] + t.carbon_price * t.lane_emissions[lane, 0])


def _check_stage(scenario: Scenario, n: int, lane: int, refuse: Any, fixed_cost: bool) -> None:
    t = scenario.tables
    node_field, lane_field = f"nodes.{t.nodes[n]}", f"lanes.{t.lanes[lane]}"
    if np.isfinite(t.node_capacity[n]):
        raise refuse(f"{node_field}.capacity", float(t.node_capacity[n]), "none")
    if np.isfinite(t.storage_capacity[n]) and t.overflow_cost[n] > 0:
        raise refuse(f"{node_field}.storage_capacity", float(t.storage_capacity[n]), "none")
    if t.node_fixed_cost[n] > 0:
        raise refuse(f"{node_field}.fixed_cost", float(t.node_fixed_cost[n]), "0")
    if not t.lane_open[lane, 0]:
        raise refuse(f"{lane_field}.products", list(scenario.lanes[t.lanes[lane]].products or ()), "all")
    if np.isfinite(t.lane_capacity[lane]):
        raise refuse(f"{lane_field}.capacity", float(t.lane_capacity[lane]), "none")
    if t.lead_time_random[lane]:
        raise refuse(f"{lane_field}.lead_time", scenario.lanes[t.lanes[lane]].lead_time.values, "a fixed one")
    if t.batch[lane, 0] > (1 if t.integer else 0):
        raise refuse(f"{lane_field}.batch", float(t.batch[lane, 0]), "none")
    if t.minimum_order[lane, 0] > (1 if t.integer else 0):
        raise refuse(f"{lane_field}.minimum_order", float(t.minimum_order[lane, 0]), "0")
    if t.commitment[lane, 0] > 0 and t.lane_transport_cost[lane, 0] > 0:
        raise refuse(f"{lane_field}.commitment", float(t.commitment[lane, 0]), "0")
    fixed = t.lane_fixed_cost[lane] + t.carbon_price * t.lane_fixed_emissions[lane]
    if fixed > 0:
        if not fixed_cost:
            raise refuse(f"{lane_field}.fixed_cost", float(fixed), "0")
        if np.isfinite(t.vehicle_volume[lane]):
            raise refuse(f"{lane_field}.vehicle_volume", float(t.vehicle_volume[lane]), "none")
