"""Small whole-unit scenarios, each with features of its own, for which halves and whole periods must agree."""

from typing import Any

from echelongym.envs.scenario.scenario import Scenario

THREE = {"kind": "discrete", "values": [0, 1, 2], "probabilities": [0.25, 0.5, 0.25]}
TWO = {"kind": "discrete", "values": [0, 1], "probabilities": [0.4, 0.6]}
LOST = {"lost_share": 1, "lost_sale_cost": 8}
SUPPLIER = {"plant": {"kind": "supplier"}}
STORE = {"store": {"holding_cost": 1}}


def small(nodes: Any, lanes: Any, customers: Any, **rest: Any) -> Scenario:
    """A scenario of a plant and what is given."""
    data = {"name": "small", "units": "integer", "horizon": 400, "warm_up": 100}
    return Scenario.from_mapping(data | {"nodes": SUPPLIER | nodes, "lanes": lanes, "customers": customers} | rest)


def lane(target: str = "store", lead_time: Any = 1, source: str = "plant", **rest: Any) -> dict[str, Any]:
    """A lane as plain data."""
    return {"source": source, "target": target, "lead_time": lead_time} | rest


def at(node: str = "store", demand: Any = THREE, **rest: Any) -> dict[str, Any]:
    """A customer of one node, lost sales unless told otherwise."""
    return {"sources": {node: {}}, "demand": demand} | LOST | rest


def perishable(life: int = 3, lead_time: int = 1, issuing: str = "fifo") -> Scenario:
    """One store of milk."""
    return small(
        {"store": {"holding_cost": 0.2, "disposal_cost": 4}},
        {"in": lane(lead_time=lead_time, purchase_cost=1)},
        {"shoppers": at(issuing=issuing)},
        products={"milk": {"shelf_life": life}},
    )


def perishable_network() -> Scenario:
    """A warehouse that sends milk on in its own period, and two shops."""
    shops = {name: {"holding_cost": 0.2, "disposal_cost": 4} for name in ("east", "west")}
    return small(
        {"warehouse": {"holding_cost": 0.1, "disposal_cost": 1}} | shops,
        {"in": lane("warehouse", 0)} | {name: lane(name, 1, "warehouse") for name in shops},
        {f"at_{name}": at(name, TWO) for name in shops},
        products={"milk": {"shelf_life": 3}},
    )


def random_lead_times() -> Scenario:
    """Lead times 0, 1 or 3, so that orders cross."""
    drawn = {"values": [0, 1, 3], "probabilities": [0.2, 0.5, 0.3]}
    return small(STORE, {"in": lane(lead_time=drawn, in_transit_cost=0.1)}, {"shoppers": at()})


def outages() -> Scenario:
    """A plant that is down now and then, when less is asked for, too."""
    effects = [{"nodes": "plant", "availability": 0}, {"customers": "shoppers", "demand_factor": 0.5}]
    event = {"when": {"mean_up": 10, "mean_down": 3}, "effects": effects}
    shoppers = at(lost_share=0, backorder_cost=5)
    return small(STORE, {"in": lane()}, {"shoppers": shoppers}, disruptions={"outage": event})


def shared_store() -> Scenario:
    """Two customers of one store, one of whom waits now and then; batches and a fixed cost."""
    waits = at(lost_share=0.5, backorder_cost=3, lost_sale_cost=6)
    return small(STORE, {"in": lane(fixed_cost=2, batch=2)}, {"waits": waits, "leaves": at()})


def lateral() -> Scenario:
    """Two stores, transshipment, a second source that not everybody accepts, patience and priorities."""
    waits = at("store", TWO, lost_share=0, patience=1, backorder_cost=3, lost_sale_cost=9)
    waits["sources"] = {"store": {}, "other": {"acceptance": 0.5, "transport_cost": 0.7}}
    return small(
        STORE | {"other": {"holding_cost": 1}},
        {"in": lane(), "in_other": lane("other"), "over": lane("other", 1, "store", transport_cost=0.3)},
        {"waits": waits, "leaves": at("other", TWO, priority=2)},
    )


def two_products() -> Scenario:
    """Two products of different volume, capacity of the lane, overflow, a cost of being open, carbon."""
    store = {"holding_cost": {"a": 1, "b": 0.5}, "storage_capacity": 5, "overflow_cost": 0.6, "fixed_cost": 0.3}
    shoppers = at(demand=TWO)
    shoppers["sources"] = {"store": {"emissions_kg": 0.1}}
    return small(
        {"store": store},
        {"in": lane(capacity=4, emissions_kg=0.2)},
        {"shoppers": shoppers},
        products={"a": {}, "b": {"volume": 2}},
        carbon_price=0.5,
    )


def divergent() -> Scenario:
    """A warehouse, two stores with backorders, a lane that arrives at once and one with a commitment."""
    waits = {"lost_share": 0, "backorder_cost": 8}
    return small(
        {"warehouse": {"holding_cost": 0.5}, "east": {"holding_cost": 1}, "west": {"holding_cost": 1}},
        {
            "in": lane("warehouse"),
            "to_east": lane("east", 0, "warehouse"),
            "to_west": lane("west", 1, "warehouse", commitment=1, transport_cost=0.5),
        },
        {"at_east": at("east", TWO, **waits), "at_west": at("west", TWO, **waits)},
    )


def idle_store() -> Scenario:
    """A second store that nobody buys from: what is sent there stands for ever, so that costs depend on the start."""
    return small(STORE | {"idle": {"holding_cost": 1}}, {"in": lane(), "to_idle": lane("idle", 2)}, {"shoppers": at()})


def passes() -> Scenario:
    """Three customers of two stores in several passes: priorities, acceptance, a share lost, patience."""
    both = {"sources": {"store": {}, "other": {"acceptance": 0.7}}}
    waits = at(lost_share=0.3, backorder_cost=2, patience=2)
    return small(
        STORE | {"other": {"holding_cost": 0.4}},
        {"in": lane(), "in_other": lane("other", 2)},
        {"first": at() | both, "waits": waits, "early": at(demand=TWO, priority=0) | both},
        disruptions={
            "closed": {"when": {"mean_up": 8, "mean_down": 2}, "effects": [{"nodes": "other", "availability": 0}]}
        },
    )


def three_stores(**changes: Any) -> Scenario:
    """A warehouse too small for three stores, which share in proportion to what they ask."""
    stores = ["one", "two", "three"]
    scenario = small(
        {"warehouse": {"holding_cost": 0.5}} | {name: {"holding_cost": 1} for name in stores},
        {"in": lane("warehouse")} | {f"to_{name}": lane(name, 1, "warehouse") for name in stores},
        {f"at_{name}": at(name) for name in stores},
    )
    return scenario.with_overrides(changes)


HALF = {"values": [0, 2], "probabilities": [0.5, 0.5]}
#: Scenarios, with levels at which stock is scarce and dealt by lots.
SCARCE = {
    "passes": (passes, {"store": 4, "other": 4}),
    "three_stores": (three_stores, {"warehouse": 9, "one": 3, "two": 3, "three": 3}),
    "capacities": (
        lambda: three_stores(**{"lanes.to_one.capacity": 1, "nodes.warehouse.capacity": 2}),
        {"warehouse": 9, "one": 3, "two": 3, "three": 3},
    ),
    "priorities": (
        lambda: three_stores(**{"lanes.to_three.priority": 0, "lanes.to_two.lead_time": HALF}),
        {"warehouse": 8, "one": 3, "two": 3, "three": 3},
    ),
    "perishable_network": (perishable_network, {"warehouse": 4, "east": 3, "west": 3}),
}

FEATURES = {
    "perishable": perishable,
    "perishable_lifo": lambda: perishable(4, 2, "lifo"),
    "perishable_network": perishable_network,
    "random_lead_times": random_lead_times,
    "outages": outages,
    "shared_store": shared_store,
    "lateral": lateral,
    "two_products": two_products,
    "divergent": divergent,
    "idle_store": idle_store,
}
