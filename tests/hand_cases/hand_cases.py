"""Tiny worlds computed by pencil: one sentence of the rules each, kept as data so that any simulator can be held to them.

A `Case` holds a scenario, what stands on the tape, the requests, and what must come out. `tape_of`, `requests_of` and
`reserve_of` turn it into one world's arrays (period first, no batch axis); `check` compares a trace with what is expected.
An entity is written `store` (or `store/milk` where there are several products), a pair `store>shop`.

The cases lie in `hand_cases_stock` (receive, request, ship), `hand_cases_service` (serve, wait, return), `hand_cases_money`
(close, costs, initial stock), `hand_cases_whole` (worlds of whole units) and `hand_cases_ordering` (minimum orders,
review periods, calendars, opening backlogs).
"""

from dataclasses import dataclass, field

import numpy as np

HISTORY = 4  # the default of `observe: {history}`


@dataclass(frozen=True)
class Case:
    """One hand-computed world; every list runs over periods."""

    name: str  # what it shows
    scenario: dict  # as in a scenario file
    demand: dict  # entity -> [units]
    expected: dict  # field of the trace -> entity -> [value or list of values]; `costs` -> line -> [money]
    requests: dict = field(default_factory=dict)  # lane -> [units]; a lane left out asks for nothing
    reserve: dict = field(default_factory=dict)  # pair -> [units]
    tape: dict = field(
        default_factory=dict
    )  # array -> entity -> [values]; left out = no disturbance, random numbers 1/2

    @property
    def periods(self):
        return len(next(iter(self.demand.values())))


def network(nodes, lanes, customers, products=("item",), **more):
    """A scenario mapping with one supplier, `mill`, in front of `nodes`."""
    products = products if isinstance(products, dict) else {name: {} for name in products}
    base = {"name": "hand", "units": "continuous", "horizon": 50, "warm_up": 0, "reward_scale": 1.0}
    mill = {"mill": {"kind": "supplier"}}
    return {**base, "products": products, "nodes": {**mill, **nodes}, "lanes": lanes, "customers": customers, **more}


def customer(*sources, **terms):
    """A customer of the sources named, or of a mapping of sources; unserved demand waits unless told otherwise."""
    sources = sources[0] if isinstance(sources[0], dict) else {name: {} for name in sources}
    return {"sources": sources, "demand": {"kind": "deterministic", "mean": 4.0}, "lost_share": 0.0, **terms}


def one_store(store=None, truck=None, shop=None, sources=None, product=None, **more):
    """Mill -> truck -> store -> shop, one product, nothing on hand, lead time 1 unless told otherwise."""
    return network(
        nodes={"store": {"initial": 0, **(store or {})}},
        lanes={"truck": {"source": "mill", "target": "store", "lead_time": 1, **(truck or {})}},
        customers={"shop": customer(sources or {"store": {}}, **(shop or {}))},
        products={"item": product or {}},
        **more,
    )


def fork(hub=None, north=None, south=None, inbound=None, product=None, **more):
    """Mill -> inbound -> hub -> north lane, south lane -> two stores with a shop each; nothing on hand but at the hub."""
    return network(
        nodes={"hub": {"initial": 0, **(hub or {})}, "north": {"initial": 0}, "south": {"initial": 0}},
        lanes={
            "inbound": {"source": "mill", "target": "hub", "lead_time": 1, **(inbound or {})},
            "to_north": {"source": "hub", "target": "north", "lead_time": 1, **(north or {})},
            "to_south": {"source": "hub", "target": "south", "lead_time": 1, **(south or {})},
        },
        customers={"north_shop": customer("north"), "south_shop": customer("south")},
        products={"item": product or {}},
        **more,
    )


def two_stores(customers, east=0, west=0, **more):
    """Two stores, `east` and `west`, with stock, each behind its own truck of lead time 1, and the customers given."""
    return network(
        nodes={"east": {"initial": east}, "west": {"initial": west}},
        lanes={
            "east_truck": {"source": "mill", "target": "east", "lead_time": 1},
            "west_truck": {"source": "mill", "target": "west", "lead_time": 1},
        },
        customers=customers,
        **more,
    )


def two_products(store=None, truck=None, mill=None, **more):
    """Mill -> truck -> store -> shop with milk (volume 1) and bread (volume 2)."""
    return network(
        nodes={"mill": {"kind": "supplier", **(mill or {})}, "store": {"initial": 0, **(store or {})}},
        lanes={"truck": {"source": "mill", "target": "store", "lead_time": 1, **(truck or {})}},
        customers={"shop": customer("store")},
        products={"milk": {"volume": 1.0}, "bread": {"volume": 2.0}},
        **more,
    )


def axes(scenario):
    """Names along each axis of the trace, and the axis that each of its fields has after the period."""
    nodes, lanes, customers = (list(scenario[key]) for key in ("nodes", "lanes", "customers"))
    pairs = [f"{source}>{name}" for name in customers for source in scenario["customers"][name]["sources"]]
    return {
        **dict.fromkeys(("node_availability", "split", "on_hand", "disposed"), nodes),
        **dict.fromkeys(("lane_availability", "lane_yield", "lead_time", "in_transit", "requests", "shipped"), lanes),
        **dict.fromkeys(("received", "returned", "unfilled"), lanes),
        **dict.fromkeys(("served", "reserve"), pairs),
        **dict.fromkeys(("demand", "backlog", "lost"), customers),
        "thin": lanes + pairs + customers,
    }


def place(scenario, name, entity):
    """Indices of an entity (and product) in an array of the trace or tape."""
    entity, _, product = entity.partition("/")
    products = list(scenario["products"])
    index = axes(scenario)[name].index(entity)
    if name in ("node_availability", "lane_availability", "lane_yield", "lead_time"):
        return (index,)
    assert product or len(products) == 1, f"{name} of {entity}: say which product"
    return (index, products.index(product) if product else 0)


def filled(case, name, given, default=0.0):
    """An array over periods, entities and (where it has them) products, from lists by entity."""
    shape = [case.periods, len(axes(case.scenario)[name])]
    if name not in ("node_availability", "lane_availability", "lane_yield", "lead_time"):
        shape.append(len(case.scenario["products"]))
    array = np.full(shape, default)
    for entity, values in given.items():
        array[(slice(None), *place(case.scenario, name, entity))] = values
    return array


def tape_of(case):
    """The world of a case as tape arrays."""
    extra = case.tape
    demand = filled(case, "demand", case.demand)
    fixed = {
        name: [lane["lead_time"]] * case.periods
        for name, lane in case.scenario["lanes"].items()
        if not isinstance(lane["lead_time"], dict)
    }
    lead_time = filled(case, "lead_time", {**fixed, **extra.get("lead_time", {})}, default=1.0)
    tape = {
        "demand": np.concatenate([np.zeros((HISTORY, *demand.shape[1:])), demand]),
        "lead_time": lead_time.astype(np.int64),
    }
    for name, default in (
        *((name, 1.0) for name in ("node_availability", "lane_availability", "lane_yield")),
        *((name, 0.5) for name in ("split", "thin")),
    ):
        tape[name] = filled(case, name, extra.get(name, {}), default)
    if case.scenario["units"] == "integer":
        tape["demand"] = tape["demand"].astype(np.int64)
    return tape


def requests_of(case):
    return filled(case, "requests", case.requests)


def reserve_of(case):
    return filled(case, "reserve", case.reserve) if case.reserve else None


def check(case, fields, costs):
    """Compare a trace (one world: arrays with the period first, and money by line) with what the pencil says."""
    for name, by_entity in case.expected.items():
        for entity, values in by_entity.items():
            if name == "costs":
                got = np.asarray(costs[entity])
            else:
                got = np.asarray(fields[name])[(slice(None), *place(case.scenario, name, entity))]
            want = np.asarray(values, float).reshape(case.periods, -1)
            got = got.reshape(case.periods, -1)
            assert got.shape == want.shape, f"{name} of {entity}: {got.shape[1]} values a period, not {want.shape[1]}"
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9, err_msg=f"{name} of {entity}")
