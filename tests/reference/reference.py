"""A second simulator, for tests only: one world, one unit of account at a time, written from the contract and nothing else.

It shares no code and no layout with the package. It is slow and literal on purpose: every step is a loop over names, so
that it can be read beside the rules, and a disagreement with the package is a fault in one of the two.

    trace = simulate(scenario, tape, history=4, requests=requests)

`scenario` is the plain mapping of a scenario file. `tape` holds one world's arrays, period first and without a batch
axis: demand (H+T, C, P), lead_time (T, L), node_availability (T, N), lane_availability (T, L), lane_yield (T, L), and
split (T, N, P), thin (T, L+S+C, P) where units are whole (1/2 where they are missing). `requests` is an array (T, L, P)
or a callable from an observation (a dict of arrays) to (requests (L, P), reserve (S, P) or None).

The steps that move stock are in `reference_period`, how amounts are computed (floats, or exact whole numbers) in
`reference_amounts`, what a scenario says, defaults filled in, in `reference_scenario`.
"""

import math
from types import SimpleNamespace

import numpy as np
from reference_amounts import as_written
from reference_period import COST_LINES, close, load, receive, serve, ship, take_back
from reference_scenario import read_scenario

NODES, LANES, PAIRS, CUSTOMERS = "disposed", "requests shipped received returned recovered unfilled", "served", "lost"


def simulate(scenario, tape, history, requests, reserve=None, slots=None):
    """Run one world and return its trace: arrays with the period first, and `costs`, a dict of arrays (T,).

    `slots` (K) only sets how many slots `in_transit` shows; by default the longest lead time, factors included, less one.
    Besides the names of the contract the trace holds `recovered` (T, L, P), `served_new` and `lost_new` (T, C, P),
    `vehicles` (T, L), `emissions` (T,), and for the balance `opening`, `closing`, `supplied` (T, P).
    """
    world = read_scenario(scenario)
    tape = keep_calendars(world, {name: np.asarray(values) for name, values in tape.items()})
    periods = len(tape["lead_time"])
    longest = int(tape["lead_time"].max()) if tape["lead_time"].size else 1
    slots = max(world.slots, longest - 1) if slots is None else slots
    state = opening_state(world)
    rows = []
    for t in range(periods):
        now = today(world, tape, history, t)
        flows = empty_flows(world)
        flows.opening = stock_everywhere(world, state)
        if t > 0:
            receive(world, state, now, flows)
        flows.present = {node: any_unit(world, state, node) for node in world.nodes}
        seen = observe(world, state, tape, history, t, slots)
        if callable(requests):
            asked, held_back = requests(seen)
        else:
            asked, held_back = requests[t], None if reserve is None else reserve[t]
        flows.requests = round_requests(world, asked)
        ship(world, state, now, flows)
        serve(world, state, now, flows, read_reserve(world, held_back))
        take_back(world, state, now, flows)
        costs = close(world, state, now, flows, last=t == periods - 1)
        state.unfilled = flows.unfilled
        flows.closing = stock_everywhere(world, state)
        rows.append((seen, flows, costs))
    return collect(world, rows)


# ---------------------------------------------------------------------------------------------------- the start


def keep_calendars(world, tape):
    """The tape with nothing leaving on closed days, and nothing arriving on them: what is due then comes later."""
    tape = {name: values.copy() for name, values in tape.items()}
    for t in range(len(tape["lead_time"])):
        for i, node in enumerate(world.nodes.values()):
            if not node.works(t):
                tape["node_availability"][t, i] = 0
        for i, lane in enumerate(world.lanes.values()):
            if not (lane.reviewed(t) and lane.departs(t)):
                tape["lane_availability"][t, i] = 0
            tape["lead_time"][t, i] = world.arrives(lane, t + int(tape["lead_time"][t, i])) - t
    return tape


def opening_state(world):
    """Stock before period 0: who waits has done so for a period, nothing has been asked for."""
    a = world.amounts
    on_hand = {n: {p: [a.zero] * world.classes for p in world.products} for n in world.nodes}
    under_way = []

    def fill(lane, p, shipment):
        """One shipment a period on the road; what they hold together."""
        for slot in range(lane.nominal_lead_time - 1):
            sent = -(slot + 1)
            due = world.arrives(lane, sent + lane.nominal_lead_time)
            under_way.append(load(world, lane, p, sent, due - sent, world.fresh(p), shipment))
        return sum([shipment] * (lane.nominal_lead_time - 1), a.zero)

    for lane in world.lanes.values():
        for p in lane.products:
            if lane.opening_in_transit[p] is not None:
                fill(lane, p, a.read(lane.opening_in_transit[p]))
    for node in world.nodes.values():
        if node.supplier:
            continue
        for p in world.products:
            initial = node.initial[p]
            fresh = world.fresh(p)
            if initial != "auto":
                on_hand[node.name][p][fresh] = a.read(initial)
                continue
            lane = world.primary_lane(node.name, p)
            if lane is None:
                continue
            flow = world.mean_flow(node.name, p)
            shipment, position = a.round_mean(flow), a.round_mean(flow * world.lasts(lane))
            given = lane.opening_in_transit[p]
            if given is None:
                on_the_road = fill(lane, p, shipment)
            else:
                on_the_road = sum([a.read(given)] * (lane.nominal_lead_time - 1), a.zero)
            on_hand[node.name][p][fresh] = max(position - on_the_road, a.zero)
    backlog = {c: {p: [a.zero] * world.waits for p in world.products} for c in world.customers}
    for c in world.customers.values():
        for p in world.products:
            backlog[c.name][p][0 if c.patience[p] is None else min(c.patience[p], 1)] += a.read(c.opening_backlog[p])
    unfilled = {lane: dict.fromkeys(world.products, a.zero) for lane in world.lanes}
    return SimpleNamespace(on_hand=on_hand, under_way=under_way, backlog=backlog, unfilled=unfilled)


def today(world, tape, history, t):
    """The tape's row of period t, by name."""
    a = world.amounts
    lane_rows = {name: i for i, name in enumerate(world.lanes)}
    pair_rows = {pair: len(lane_rows) + i for i, pair in enumerate(world.pairs)}
    customer_rows = {c: len(lane_rows) + len(pair_rows) + i for i, c in enumerate(world.customers)}

    def by_name(array, names):
        return {name: array[t, i].item() for i, name in enumerate(names)}

    def by_product(array, row):
        return {
            p: a.fraction(array[t, row, k].item()) if array is not None else a.half
            for k, p in enumerate(world.products)
        }

    split, thin = tape.get("split"), tape.get("thin")
    return SimpleNamespace(
        period=t,
        demand={
            c: {p: a.read(tape["demand"][history + t, i, k].item()) for k, p in enumerate(world.products)}
            for i, c in enumerate(world.customers)
        },
        lead_time=by_name(tape["lead_time"], world.lanes),
        node_availability=by_name(tape["node_availability"], world.nodes),
        lane_availability=by_name(tape["lane_availability"], world.lanes),
        lane_yield=by_name(tape["lane_yield"], world.lanes),
        split={n: by_product(split, i) for i, n in enumerate(world.nodes)},
        thin_lane={name: by_product(thin, row) for name, row in lane_rows.items()},
        thin_pair={pair: by_product(thin, row) for pair, row in pair_rows.items()},
        thin_customer={c: by_product(thin, row) for c, row in customer_rows.items()},
    )


def empty_flows(world):
    zero = world.amounts.zero
    flows = SimpleNamespace(supplied=dict.fromkeys(world.products, zero), served_new={}, lost_new={})
    for names, keys in ((NODES, world.nodes), (LANES, world.lanes), (PAIRS, world.pairs), (CUSTOMERS, world.customers)):
        for name in names.split():
            setattr(flows, name, {key: dict.fromkeys(world.products, zero) for key in keys})
    return flows


# ---------------------------------------------------------------------------------------------------- 2. observe


def observe(world, state, tape, history, t, slots):
    a = world.amounts
    in_transit = np.zeros((len(world.lanes), len(world.products), slots, world.classes), a.dtype)
    lane_index, product_index = list(world.lanes), list(world.products)
    for x in state.under_way:
        in_transit[lane_index.index(x.lane), product_index.index(x.product), t - x.sent - 1] += x.units
    demand = np.asarray(tape["demand"])[t : t + history]
    if world.observe.get("demand") == "sales":  # of what this world has lived through, less what was lost of it at once
        for h in range(min(history, t)):
            lost = state.lost_new[t - 1 - h]
            demand = demand.copy()
            demand[history - 1 - h] -= table(lost, world.customers, world.products, a.dtype)
    seen = {
        "on_hand": table(state.on_hand, world.nodes, world.products, a.dtype),
        "in_transit": in_transit,
        "backlog": table(state.backlog, world.customers, world.products, a.dtype),
        "unfilled": table(state.unfilled, world.lanes, world.products, a.dtype),
        "node_availability": tape["node_availability"][t],
        "lane_availability": tape["lane_availability"][t],
        "demand_history": np.moveaxis(demand[::-1], 0, -1),
        "period": t,
    }
    for name in ("forecast", "features"):
        if name in tape:
            seen[name] = tape[name][t]
    if world.observe.get("lead_time") == "quoted":
        seen["lead_time"] = tape["lead_time"][t]
    return seen


def table(values, names, products, dtype):
    """Nested dicts as an array, in file order."""
    return np.array([[values[name][p] for p in products] for name in names], dtype)


# ---------------------------------------------------------------------------------------------------- 3. request


def round_requests(world, asked):
    """Whole units or whole batches, the nearest, half up; any amount where units are continuous and there is no batch."""
    asked = np.asarray(asked)
    return {
        lane.name: {p: round_request(world, lane, p, asked[i, k].item()) for k, p in enumerate(world.products)}
        for i, lane in enumerate(world.lanes.values())
    }


def round_request(world, lane, p, asked):
    """To the nearest amount that the lane takes; below the least order, to that or to nothing, half up."""
    a, batch, least = world.amounts, lane.batch[p], lane.minimum_order[p]
    if not least:
        return a.round_request(asked, batch)
    if batch:
        least = a.read(math.ceil(as_written(least) / as_written(batch)) * batch)
    if asked >= least:
        return a.round_request(asked, batch)
    return a.read(least) if asked >= least / 2 else a.zero


def read_reserve(world, held_back):
    """Critical levels by pair; None where the decision names none at all."""
    a = world.amounts
    if held_back is None:
        return None
    held_back = np.asarray(held_back)
    return {
        pair: {p: a.round_request(held_back[i, k].item(), 0) for k, p in enumerate(world.products)}
        for i, pair in enumerate(world.pairs)
    }


# ---------------------------------------------------------------------------------------------------- the books


def any_unit(world, state, node):
    return any(world.amounts.something(sum(state.on_hand[node][p])) for p in world.products)


def stock_everywhere(world, state):
    """Units of each product on hand and under way."""
    total = dict.fromkeys(world.products, world.amounts.zero)
    for node in world.nodes:
        for p in world.products:
            total[p] += sum(state.on_hand[node][p])
    for x in state.under_way:
        total[x.product] += sum(x.units)
    return total


def collect(world, rows):
    """Per-period dicts as arrays, period first."""
    dtype = world.amounts.dtype
    trace = {name: np.array([seen[name] for seen, _, _ in rows]) for name in rows[0][0]}
    del trace["unfilled"]  # as observed it is last period's; the trace holds each period's own
    keyed = ((NODES, world.nodes), (LANES, world.lanes), (PAIRS, world.pairs), (CUSTOMERS, world.customers))
    keyed += (("served_new lost_new", world.customers),)
    for names, keys in keyed:
        for name in names.split():
            trace[name] = np.array([table(getattr(flows, name), keys, world.products, dtype) for _, flows, _ in rows])
    for name in ("opening", "closing", "supplied"):
        trace[name] = np.array([[getattr(flows, name)[p] for p in world.products] for _, flows, _ in rows], dtype)
    trace["vehicles"] = np.array([[flows.vehicles[lane] for lane in world.lanes] for _, flows, _ in rows])
    trace["emissions"] = np.array([flows.emissions for _, flows, _ in rows])
    trace["costs"] = {line: np.array([costs[line] for _, _, costs in rows], float) for line in COST_LINES}
    return trace
