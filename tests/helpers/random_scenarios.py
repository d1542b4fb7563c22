"""Random scenarios, tapes and requests for tests: every feature of the contract often, every network valid.

`random_scenario(rng, units, size)` is a plain mapping as in a scenario file, `random_tape` one world of it (period first,
no batch axis; not drawn by the scenario's processes, only within what they allow), `random_requests` and `random_reserve`
what a careless policy might ask. `scenarios(units)` and `worlds(units)` are Hypothesis strategies over seeds.

Numbers that decide a rounding in worlds of whole units (volumes, capacities, availabilities) are binary fractions, and
mean demands lie off ties, so that no reading of floating point changes a world.
"""

import numpy as np
from hypothesis import strategies

HISTORY = 4
PRODUCTS = ("milk", "bread", "salt")
SUPPLIERS = ("farm", "mill")
STOCKS = ("hub", "north", "south", "east", "west")
CUSTOMERS = ("bakery", "canteen", "market", "kiosk")
REGIONS, SEGMENTS = ("coast", "hills"), ("retail", "wholesale")
SIZES = {"small": (1, 1, 2, 2), "any": (3, 2, 5, 4)}  # most products, suppliers, stock nodes, customers


def chance(rng, share):
    return bool(rng.random() < share)


def pick(rng, values):
    return values[int(rng.integers(len(values)))]


def money(rng, high):
    return round(float(rng.uniform(0, high)), 2)


def per_product(rng, products, draw):
    """One number, or a mapping by product."""
    if len(products) > 1 and chance(rng, 0.35):
        return {p: draw() for p in products}
    return draw()


def random_scenario(rng, units="continuous", size="any"):
    """A valid scenario mapping; the same generator state gives the same scenario."""
    most_products, most_suppliers, most_stocks, most_customers = SIZES[size]
    products = PRODUCTS[: rng.integers(1, most_products + 1)]
    suppliers = SUPPLIERS[: rng.integers(1, most_suppliers + 1)]
    stocks = STOCKS[: rng.integers(2, most_stocks + 1)]
    customers = CUSTOMERS[: rng.integers(1, most_customers + 1)]
    horizon = int(rng.integers(8, 15))
    scenario = {
        "name": "random",
        "units": units,
        "horizon": horizon,
        "warm_up": int(rng.integers(0, 4)),
        "reward_scale": 10.0,
        "products": {p: random_product(rng) for p in products},
        "nodes": {name: random_supplier(rng) for name in suppliers},
    }
    scenario["nodes"] |= {name: random_stock(rng, products) for name in stocks}
    scenario["lanes"] = random_lanes(rng, products, suppliers, stocks, customers, units)
    scenario["customers"] = {name: random_customer(rng, products, suppliers, stocks, units) for name in customers}
    if chance(rng, 0.4):
        scenario["carbon_price"] = money(rng, 1)
    if chance(rng, 0.6):
        scenario["disruptions"] = random_disruptions(rng, scenario)
    if chance(rng, 0.4):
        scenario["forecast"] = {"horizon": int(rng.integers(1, 5)), "skill": round(float(rng.uniform(0, 1)), 2)}
    if chance(rng, 0.3):
        scenario["correlation"] = {"between": "region", "demand": round(float(rng.uniform(0, 0.6)), 2), "periods": 0.2}
    if chance(rng, 0.4):
        scenario["observe"] = {"lead_time": "quoted"} if chance(rng, 0.5) else {"demand": "sales"}
    if chance(rng, 0.4):
        add_ordering(rng, scenario, products, units)
    add_starts_and_coins(rng.spawn(1)[0], scenario, products, units)
    return scenario


def add_starts_and_coins(rng, scenario, products, units):
    """Shipments under way at the start and acceptance by coin; a generator of its own leaves everything else as it is."""
    for lane in scenario["lanes"].values():
        given = lane["lead_time"]
        if max(given["values"] if isinstance(given, dict) else [given]) > 1 and chance(rng, 0.3):
            sizes = (0, 1, 4, 9) if units == "integer" else (0, 0.75, 4, 9.5)
            lane["opening_in_transit"] = per_product(rng, products, lambda sizes=sizes: pick(rng, sizes))
    for customer in scenario["customers"].values() if units == "integer" else ():
        for terms in customer["sources"].values():
            if chance(rng, 0.5):
                terms["accepted_by"] = pick(rng, ("coin", "coin", "share"))


def add_ordering(rng, scenario, products, units):
    """Minimum orders, review periods, calendars and opening backlogs, here and there."""

    def calendar():
        cycle = int(rng.integers(2, 8))
        days = sorted(rng.permutation(cycle)[: int(rng.integers(1, cycle))].tolist())
        return {pick(rng, ("open", "closed")): days} | ({} if cycle == 7 else {"cycle": cycle})

    for lane in scenario["lanes"].values():
        if "return_share" in lane:
            continue
        if chance(rng, 0.3):
            sizes = (1, 3, 8) if units == "integer" else (0.5, 3.25, 8)
            lane["minimum_order"] = per_product(rng, products, lambda sizes=sizes: pick(rng, sizes))
        if chance(rng, 0.25):
            every = int(rng.integers(1, 6))
            lane["review"] = {"every": every, "first": int(rng.integers(0, every))}
        elif chance(rng, 0.2):
            lane["calendar"] = calendar()
    for name, node in scenario["nodes"].items():
        leaving = [lane for lane in scenario["lanes"].values() if lane["source"] == name]
        if chance(rng, 0.2) and not any("review" in lane or "calendar" in lane for lane in leaving):
            node["calendar"] = calendar()
    for customer in scenario["customers"].values():
        lost, patience = customer["lost_share"], customer.get("patience")
        waits = {
            p: (lost[p] if isinstance(lost, dict) else lost) < 1
            and (patience[p] if isinstance(patience, dict) else patience) != 0
            for p in products
        }
        if chance(rng, 0.5) and any(waits.values()):
            customer["opening_backlog"] = {p: int(rng.integers(0, 9)) if waits[p] else 0 for p in products}


def random_product(rng):
    given = {}
    if chance(rng, 0.5):
        given["shelf_life"] = int(rng.integers(1, 7))
    if chance(rng, 0.6):
        given["volume"] = pick(rng, (0.5, 1.0, 1.25, 2.0))
    return given


def random_supplier(rng):
    return {"kind": "supplier", "capacity": float(rng.integers(8, 60))} if chance(rng, 0.4) else {"kind": "supplier"}


def random_stock(rng, products):
    def initial():
        return int(rng.integers(0, 25))

    given = {"initial": "auto" if chance(rng, 0.5) else per_product(rng, products, initial)}
    given["holding_cost"] = per_product(rng, products, lambda: money(rng, 2))
    if chance(rng, 0.5):
        given["disposal_cost"] = per_product(rng, products, lambda: money(rng, 2))
    if chance(rng, 0.25):
        given["capacity"] = float(rng.integers(4, 40))
    if chance(rng, 0.3):
        given |= {"storage_capacity": float(rng.integers(0, 40)), "overflow_cost": money(rng, 2)}
    if chance(rng, 0.3):
        given["fixed_cost"] = money(rng, 9)
    if chance(rng, 0.3):
        given["terminal_value"] = per_product(rng, products, lambda: money(rng, 3))
    return given


# ------------------------------------------------------------------------------------------------------------- lanes


def random_lanes(rng, products, suppliers, stocks, customers, units):
    """Every stock node is fed every product by a supplier or a node before it, so primary lanes form a forest."""
    lanes = {}

    def add(source, target, **terms):
        lanes[f"{source}_{target}_{len(lanes)}"] = {"source": source, "target": target} | terms

    for i, target in enumerate(stocks):
        if chance(rng, 0.15):
            add(pick(rng, customers), target, **random_return(rng, products))
        before = suppliers if i == 0 or chance(rng, 0.25) else stocks[:i]
        source = pick(rng, before)
        missing = list(products)
        terms = random_terms(rng, products, units)
        if len(products) > 1 and chance(rng, 0.3):
            terms["products"] = missing[: int(rng.integers(1, len(missing)))]
            missing = missing[len(terms["products"]) :]
            add(source, target, **terms)
            terms = random_terms(rng, products, units) | ({"products": missing} if chance(rng, 0.5) else {})
            add(pick(rng, (*suppliers, *stocks[:i])), target, **terms)
        else:
            add(source, target, **terms)
        if chance(rng, 0.35):
            add(source, target, **random_terms(rng, products, units) | {"mode": "express", "lead_time": 0})
    for target in stocks[1:]:
        for source in stocks:
            if source != target and chance(rng, 0.15):
                add(source, target, **random_terms(rng, products, units), mode="transshipment")
    if chance(rng, 0.3):
        add(pick(rng, customers), pick(rng, stocks), **random_return(rng, products))
    return lanes


def random_lead_time(rng, least=0):
    if chance(rng, 0.3):
        first = int(rng.integers(least, 3))
        return {"values": [first, first + 1, first + 3], "probabilities": [0.25, 0.5, 0.25]}
    return int(rng.integers(least, 4))


def random_terms(rng, products, units):
    """Terms of an ordinary lane; a `lead_time` named later takes the place of the one drawn here."""
    terms = {"lead_time": random_lead_time(rng), **random_charges(rng, products)}
    if chance(rng, 0.5):
        terms["purchase_cost"] = per_product(rng, products, lambda: money(rng, 4))
    if chance(rng, 0.4):
        terms["priority"] = int(rng.integers(1, 4))
    if chance(rng, 0.3):
        terms["capacity"] = float(rng.integers(2, 30))
    if chance(rng, 0.2):
        sizes = (1, 2, 5) if units == "integer" else (2.5, 4, 0.5)
        terms["batch"] = per_product(rng, products, lambda: pick(rng, sizes))
    if chance(rng, 0.25):
        terms["commitment"] = per_product(rng, products, lambda: int(rng.integers(0, 8)))
    if "fixed_cost" not in terms and chance(rng, 0.2):
        terms["fixed_cost"] = money(rng, 20)
    return terms


def random_charges(rng, products):
    """What any lane may charge, a return lane too."""
    terms = {"transport_cost": per_product(rng, products, lambda: money(rng, 3))}
    if chance(rng, 0.5):
        terms["in_transit_cost"] = per_product(rng, products, lambda: money(rng, 1))
    if chance(rng, 0.4):
        terms["emissions_kg"] = per_product(rng, products, lambda: money(rng, 1))
    if chance(rng, 0.3):
        terms |= {"vehicle_volume": pick(rng, (4, 7.5, 30)), "fixed_cost": money(rng, 20)}
    if chance(rng, 0.2):
        terms |= {"distance_km": float(rng.integers(10, 400)), "fixed_emissions_kg": money(rng, 50)}
    return terms


def random_return(rng, products):
    share, recovery = pick(rng, (0.05, 0.1, 0.15)), pick(rng, (0.0, 0.5, 0.8, 1.0))
    terms = {"lead_time": random_lead_time(rng, least=1), **random_charges(rng, products)}
    return {**terms, "return_share": share, "recovery": recovery}


# --------------------------------------------------------------------------------------------------------- customers


def random_customer(rng, products, suppliers, stocks, units):
    sources = {name: {} for name in rng.permutation(stocks)[: int(rng.integers(1, min(3, len(stocks)) + 1))].tolist()}
    if chance(rng, 0.15):
        sources[pick(rng, suppliers)] = {}
    if chance(rng, 0.05):
        sources = {pick(rng, suppliers): {}, **sources}
    for terms in sources.values():
        if chance(rng, 0.4):
            terms["transport_cost"] = per_product(rng, products, lambda: money(rng, 4))
        if chance(rng, 0.4):
            terms["acceptance"] = per_product(rng, products, lambda: pick(rng, (0.0, 0.3, 0.5, 0.8, 1.0)))
        if chance(rng, 0.2):
            terms["emissions_kg"] = money(rng, 1)
    if len(sources) > 1 and len(products) > 1 and chance(rng, 0.5):  # one of the sources sells a part only
        sources[pick(rng, list(sources))]["products"] = [pick(rng, products)]
    given = {
        "segment": pick(rng, SEGMENTS),
        "region": pick(rng, REGIONS),
        "sources": sources,
        "demand": random_demand(rng, products, units),
        "lost_share": per_product(rng, products, lambda: pick(rng, (0.0, 0.0, 1.0, 1.0, 0.3, 0.5))),
        "lost_sale_cost": per_product(rng, products, lambda: money(rng, 12)),
        "backorder_cost": per_product(rng, products, lambda: money(rng, 9)),
    }
    if chance(rng, 0.45):
        given["patience"] = per_product(rng, products, lambda: int(rng.integers(0, 4)))
    if chance(rng, 0.4):
        given["priority"] = int(rng.integers(1, 4))
    if chance(rng, 0.3):
        given["issuing"] = pick(rng, ("fifo", "lifo", "lifo"))
    if chance(rng, 0.3):
        given["price"] = per_product(rng, products, lambda: money(rng, 15))
    return given


def random_demand(rng, products, units):
    def mean():  # off every tie of rounding, also summed over customers and multiplied by a few periods
        return int(rng.integers(0, 7)) + 0.37 if chance(rng, 0.7) else float(rng.integers(1, 8))

    kinds = ("deterministic", "poisson", "negative_binomial", "normal", "gamma", "uniform", "discrete", "empirical")
    kind = pick(rng, kinds)
    demand = {"kind": kind}
    if kind == "uniform":
        demand |= {"low": float(rng.integers(0, 3)), "high": float(rng.integers(4, 11))}
    elif kind == "discrete":
        demand |= {"values": [0, int(rng.integers(1, 5)), int(rng.integers(5, 12))], "probabilities": [0.25, 0.5, 0.25]}
    elif kind == "empirical":
        demand["values"] = rng.integers(0, 12, size=4).tolist()
    elif kind == "deterministic" and units == "integer":
        demand["mean"] = per_product(rng, products, lambda: int(rng.integers(0, 8)))
    else:
        demand["mean"] = per_product(rng, products, mean)
    if kind == "negative_binomial":
        demand["dispersion"] = 0.5
    if kind == "gamma":
        demand["standard_deviation"] = 1.5
    if kind == "normal":  # clipping at 0 must not move the mean
        demand |= {"mean": per_product(rng, products, lambda: mean() + 3), "standard_deviation": 0.25}
    if kind not in ("deterministic", "discrete", "empirical") and chance(rng, 0.3):
        demand["season"] = {"amplitude": 0.3, "period": int(rng.integers(4, 13))}
    return demand


# ------------------------------------------------------------------------------------------------------- disruptions


def random_disruptions(rng, scenario):
    disruptions = {}
    for i in range(int(rng.integers(1, 4))):
        if chance(rng, 0.5):
            first = int(rng.integers(0, scenario["horizon"]))
            when = {"from": first, "to": first + int(rng.integers(0, 6))}
        else:
            when = {"mean_up": int(rng.integers(3, 20)), "mean_down": int(rng.integers(1, 5))}
        effects = [random_effect(rng, scenario) for _ in range(int(rng.integers(1, 3)))]
        disruptions[f"event_{i}"] = {"when": when, "effects": effects}
    return disruptions


def random_effect(rng, scenario):
    kind = pick(rng, ("node", "lane", "lead_time", "demand", "yield"))
    lanes = scenario["lanes"]
    ordinary = [name for name, lane in lanes.items() if "return_share" not in lane]
    if kind == "node":
        name = pick(rng, list(scenario["nodes"]))
        return {"nodes": name, "availability": random_availability(rng, scenario["nodes"][name])}
    if kind == "lane":
        name = pick(rng, ordinary)
        return {"lanes": name, "availability": random_availability(rng, lanes[name])}
    if kind == "demand":
        selector = pick(rng, ({"region": pick(rng, REGIONS)}, {"segment": pick(rng, SEGMENTS)}))
        present = [c for c in scenario["customers"].values() if selector.items() <= c.items()]
        customers = selector if present else pick(rng, list(scenario["customers"]))
        return {"customers": customers, "demand_factor": pick(rng, (0.0, 0.5, 1.3, 2.0))}
    name = pick(rng, list(lanes))
    selector = {"target": lanes[name]["target"]} if chance(rng, 0.4) else name
    if kind == "lead_time":
        return {"lanes": selector, "lead_time_factor": pick(rng, (1.5, 2, 3))}
    return {"lanes": selector, "yield": pick(rng, (0.0, 0.5, 0.8))}


def random_availability(rng, entity):
    """A fraction only where there is a capacity to scale."""
    return pick(rng, (0.0, 0.25, 0.5, 0.75)) if "capacity" in entity else 0.0


# ------------------------------------------------------------------------------- one world and what is asked of it


def random_tape(rng, scenario, periods=None, history=HISTORY):
    """One world within what the scenario allows: disruptions strike any node, lane and period."""
    periods = scenario["horizon"] if periods is None else periods
    nodes, lanes, customers = (list(scenario[key].values()) for key in ("nodes", "lanes", "customers"))
    products, pairs = len(scenario["products"]), sum(len(c["sources"]) for c in customers)
    demand = rng.negative_binomial(1.5, 0.25, size=(history + periods, len(customers), products)).astype(float)
    if scenario["units"] == "continuous":
        demand *= rng.uniform(0.5, 1.5, size=demand.shape)
    lead_time = np.empty((periods, len(lanes)), np.int64)
    for i, lane in enumerate(lanes):
        given = lane["lead_time"]
        values = given["values"] if isinstance(given, dict) else [given]
        factor = np.where(rng.random(periods) < 0.1, stretch(scenario, list(scenario["lanes"])[i]), 1.0)
        lead_time[:, i] = np.ceil(rng.choice(values, size=periods) * factor)

    def availability(entities, never=()):
        array = np.ones((periods, len(entities)))
        for i, entity in enumerate(entities):
            if i in never:
                continue
            struck = rng.random(periods) < 0.1
            array[struck, i] = [random_availability(rng, entity) for _ in range(int(struck.sum()))]
        return array

    grid = 65536
    returns = [i for i, lane in enumerate(lanes) if "return_share" in lane]
    uniform = {
        name: rng.integers(0, grid, size=(periods, rows, products)) / grid
        for name, rows in (("split", len(nodes)), ("thin", len(lanes) + pairs + len(customers)))
    }
    lane_yield = np.where(rng.random((periods, len(lanes))) < 0.2, rng.random((periods, len(lanes))), 1.0)
    return {
        "demand": demand.astype(np.int64) if scenario["units"] == "integer" else demand,
        "lead_time": lead_time,
        "node_availability": availability(nodes),
        "lane_availability": availability(lanes, returns),
        "lane_yield": lane_yield,
        **uniform,
    }


def stretch(scenario, name):
    """The largest lead-time factor that one disruption may put on a lane."""
    lane, largest = scenario["lanes"][name], 1.0
    for disruption in scenario.get("disruptions", {}).values():
        for effect in disruption["effects"]:
            selector = effect.get("lanes")
            if selector == name or (isinstance(selector, dict) and selector.items() <= lane.items()):
                largest = max(largest, effect.get("lead_time_factor", 1.0))
    return largest


def random_requests(rng, scenario, periods, lanes, products):
    """Nothing, something sensible, or far too much; on closed lanes and products not carried as well."""
    shape = (periods, lanes, products)
    scale = rng.choice([0.0, 1.0, 10.0, 1e4], size=shape, p=[0.35, 0.5, 0.12, 0.03])
    asked = rng.uniform(0, 12, size=shape) * scale
    halves = rng.random(shape) < 0.3  # ties of rounding
    return np.where(halves, np.floor(asked * 2) / 2, asked)


def random_reserve(rng, scenario, periods, pairs, products):
    """Critical levels, none for most pairs; whole where units are whole."""
    reserve = rng.uniform(0, 10, size=(periods, pairs, products)) * (rng.random((periods, pairs, products)) < 0.3)
    return np.floor(reserve) if scenario["units"] == "integer" else reserve


def random_world(seed, units="continuous", size="any"):
    """Scenario, tape, history, requests and reserve (or None) of a seed."""
    rng = np.random.default_rng(seed)
    scenario = random_scenario(rng, units, size)
    tape = random_tape(rng, scenario)
    periods, products = scenario["horizon"], len(scenario["products"])
    pairs = sum(len(c["sources"]) for c in scenario["customers"].values())
    requests = random_requests(rng, scenario, periods, len(scenario["lanes"]), products)
    reserve = random_reserve(rng, scenario, periods, pairs, products) if chance(rng, 0.5) else None
    return scenario, tape, HISTORY, requests, reserve


def seeds():
    return strategies.integers(min_value=0, max_value=2**32 - 1)


def scenarios(units="continuous", size="any"):
    """Strategy of scenario mappings."""
    return seeds().map(lambda seed: random_scenario(np.random.default_rng(seed), units, size))


def worlds(units="continuous", size="any"):
    """Strategy of (scenario, tape, history, requests, reserve)."""
    return seeds().map(lambda seed: random_world(seed, units, size))
