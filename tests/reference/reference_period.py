"""Where stock moves in the reference simulator: receive, ship, serve, take back, close; each step a literal loop.

`world` is what the scenario says, `state` what stands (changed in place), `now` the tape's row, `flows` what moved.
"""

import math
from types import SimpleNamespace

COST_LINES = (
    "purchase transport fixed_transport holding in_transit backorder lost_sale overflow disposal node commitment carbon "
    "terminal revenue"
).split()


def load(world, lane, product, sent, lead_time, life, units):
    """`units` of one life class put on a lane in period `sent`."""
    classes = [world.amounts.zero] * world.classes
    classes[life] = units
    return SimpleNamespace(lane=lane.name, product=product, sent=sent, due=sent + lead_time, units=classes)


def receive(world, state, now, flows):
    """Units due now join the target's stock."""
    for lane in world.lanes.values():
        for p in world.products:
            due = [x for x in state.under_way if x.lane == lane.name and x.product == p and x.due == now.period]
            land(world, state, now, flows, lane, p, due)
    state.under_way = [x for x in state.under_way if x.due != now.period]


def land(world, state, now, flows, lane, p, due):
    """Age what arrives by its time under way, dispose of the expired, keep the share that the yield leaves of the rest."""
    a = world.amounts
    arriving = [a.zero] * world.classes
    for x in due:
        for life, units in enumerate(x.units):
            life_left = life - (x.due - x.sent) if world.shelf_life[p] else life
            if life_left < 0:
                flows.disposed[lane.target][p] += units
            else:
                arriving[life_left] += units
    for life, units in enumerate(arriving):
        kept = a.share(now.lane_yield[lane.name], units, now.thin_lane[lane.name][p])
        state.on_hand[lane.target][p][life] += kept
        flows.received[lane.name][p] += kept
        flows.disposed[lane.target][p] += units - kept


# ---------------------------------------------------------------------------------------------------- 4. ship


def ship(world, state, now, flows):
    """Cut to lane capacity, share the stock, cut to node capacity, send oldest first; lead time 0 arrives at the end."""
    a = world.amounts
    granted = {}
    for lane in world.lanes.values():
        wanted = {
            (lane.name, p): flows.requests[lane.name][p] if p in lane.products and not lane.is_return else a.zero
            for p in world.products
        }
        capacity = a.capacity(lane.capacity, now.lane_availability[lane.name], f"lane {lane.name}")
        granted.update(a.cut(wanted, world.volume, capacity))
    departing = []
    for node in world.nodes.values():
        lanes = [lane for lane in world.lanes.values() if lane.source == node.name]
        if not node.supplier:
            for p in world.products:
                share_stock(world, state, now, node.name, p, lanes, granted)
        leaving = {(lane.name, p): granted[lane.name, p] for lane in lanes for p in world.products}
        capacity = a.capacity(node.capacity, now.node_availability[node.name], f"node {node.name}")
        leaving = a.cut(leaving, world.volume, capacity)
        for p in world.products:
            totals = [leaving[lane.name, p] for lane in lanes]
            if node.supplier:
                ages = [
                    [a.zero] * world.fresh(p) + [x] + [a.zero] * (world.classes - 1 - world.fresh(p)) for x in totals
                ]
                flows.supplied[p] += sum(totals, a.zero)
            else:
                ages = a.take_oldest(state.on_hand[node.name][p], totals, now.split[node.name][p])
            for lane, total, units in zip(lanes, totals, ages, strict=True):
                flows.shipped[lane.name][p] = total
                due = now.period + int(now.lead_time[lane.name])
                departing.append(SimpleNamespace(lane=lane.name, product=p, sent=now.period, due=due, units=units))
    for x in departing:
        if x.due > now.period:
            state.under_way.append(x)
        else:
            lane = world.lanes[x.lane]
            land(world, state, now, flows, lane, x.product, [x])
            if world.amounts.something(flows.received[x.lane][x.product]):
                flows.present[lane.target] = True
    for lane in world.lanes:
        for p in world.products:
            flows.unfilled[lane][p] = flows.requests[lane][p] - flows.shipped[lane][p]


def share_stock(world, state, now, node, p, lanes, granted):
    """Lowest priority number first; in proportion within a number."""
    a = world.amounts
    left = sum(state.on_hand[node][p], a.zero)
    for priority in sorted({lane.priority for lane in lanes}):
        group = [lane for lane in lanes if lane.priority == priority]
        parts = a.divide(left, [granted[lane.name, p] for lane in group], now.split[node][p])
        for lane, part in zip(group, parts, strict=True):
            granted[lane.name, p] = part
        left = max(left - sum(parts, a.zero), a.zero)


# ---------------------------------------------------------------------------------------------------- 5. serve


def serve(world, state, now, flows, reserve):
    """Passes over (customer priority, choice rank); then what nobody served is lost or waits."""
    a = world.amounts
    for p in world.products:
        claim, served_last = {}, {}
        for c in world.customers:
            claim[c] = sum(state.backlog[c][p], a.zero) + now.demand[c][p]
            served_last[c] = a.zero
        for priority in sorted({c.priority for c in world.customers.values()}):
            members = [c for c in world.customers.values() if c.priority == priority]
            choices = {c.name: world.choices(c.name, p) for c in members}
            for rank in range(max(len(pairs) for pairs in choices.values())):
                asking = [choices[c.name][rank] for c in members if rank < len(choices[c.name])]
                for pair in asking:
                    c = pair[1]
                    if rank > 0:  # what the last source left follows, cut by this one's acceptance
                        follows = world.pairs[pair].acceptance[p]
                        left = max(claim[c] - served_last[c], a.zero)
                        number = now.thin_pair[pair][p]
                        coins = world.pairs[pair].accepted_by == "coin"
                        claim[c] = a.heads(follows, left, number) if coins else a.share(follows, left, number)
                for node in world.nodes:
                    here = [pair for pair in asking if pair[0] == node]
                    levels = None if reserve is None else [reserve[pair][p] for pair in here]
                    parts = one_pass(world, state, now, node, p, [claim[c] for _, c in here], levels)
                    for pair, part in zip(here, parts, strict=True):
                        served_last[pair[1]] = part
                        flows.served[pair][p] += part
                        draw(world, state, flows, node, p, part, world.customers[pair[1]].issuing)
    for c in world.customers.values():
        for p in world.products:
            settle(world, state, now, flows, c, p)


def one_pass(world, state, now, node, p, claims, reserves):
    """What each claim gets of what stands at a node when the pass begins."""
    a = world.amounts
    if now.node_availability[node] == 0:
        return [a.zero] * len(claims)
    if world.nodes[node].supplier:
        return claims
    left = sum(state.on_hand[node][p], a.zero)
    if reserves is not None:  # where reserves are named, also a reserve of 0 cuts a claim, to all that stands there
        claims = [min(claim, max(left - reserve, a.zero)) for claim, reserve in zip(claims, reserves, strict=True)]
    return a.divide(left, claims, now.split[node][p])


def draw(world, state, flows, node, p, units, issuing):
    """Take units off the shelf: the oldest first, or the freshest."""
    if world.nodes[node].supplier:
        flows.supplied[p] += units
        return
    shelf = state.on_hand[node][p]
    order = range(world.classes) if issuing == "fifo" else reversed(range(world.classes))
    for life in order:
        taken = min(shelf[life], units)
        shelf[life] -= taken
        units -= taken


def settle(world, state, now, flows, c, p):
    """Hand what was served to those who waited longest, new demand last; lose and keep the rest."""
    a = world.amounts
    served = sum((flows.served[pair][p] for pair in world.pairs if pair[1] == c.name), a.zero)
    waiting = state.backlog[c.name][p]
    for wait in reversed(range(world.waits)):
        taken = min(waiting[wait], served)
        waiting[wait] -= taken
        served -= taken
    new = now.demand[c.name][p]
    flows.served_new.setdefault(c.name, {})[p] = min(new, served)
    left = max(new - served, a.zero)
    lost = a.share(c.lost_share[p], left, now.thin_customer[c.name][p])
    flows.lost_new.setdefault(c.name, {})[p] = lost
    waiting[0] += left - lost  # has waited no period yet
    patience = c.patience[p]
    if patience is not None:
        for wait in range(patience, world.waits):
            lost += waiting[wait]
            waiting[wait] = a.zero
    flows.lost[c.name][p] = lost


def take_back(world, state, now, flows):
    """Return lanes: a share of what was served comes back, a share of that can be used again."""
    a = world.amounts
    for lane in world.lanes.values():
        if not lane.is_return:
            continue
        lead_time = int(now.lead_time[lane.name])
        if lead_time < 1:
            raise ValueError(f"return lane {lane.name}: lead time {lead_time}, expected at least 1")
        for p in lane.products:
            u = now.thin_lane[lane.name][p]
            served = sum((flows.served[pair][p] for pair in world.pairs if pair[1] == lane.source), a.zero)
            returned = a.share(lane.return_share[p], served, u)
            recovered = a.share(lane.recovery[p], returned, u)
            flows.returned[lane.name][p] = returned
            flows.recovered[lane.name][p] = recovered
            flows.disposed[lane.target][p] += returned - recovered
            state.under_way.append(load(world, lane, p, now.period, lead_time, world.fresh(p), recovered))


# ---------------------------------------------------------------------------------------------------- 6. close


def close(world, state, now, flows, last):
    """Charge what stands, then let a period pass: stock at the end of its life goes, everything else grows older."""
    a = world.amounts
    cost = dict.fromkeys(COST_LINES, 0.0)
    flows.emissions, flows.vehicles = 0.0, {}
    for lane in world.lanes.values():
        moved = {p: flows.shipped[lane.name][p] + flows.recovered[lane.name][p] for p in world.products}
        vehicles = count_vehicles(world, lane, sum(moved[p] * world.volume[p] for p in world.products))
        flows.vehicles[lane.name] = vehicles
        cost["fixed_transport"] += lane.fixed_cost * vehicles
        flows.emissions += lane.fixed_emissions_kg * vehicles
        for p in world.products:
            shipped = flows.shipped[lane.name][p]
            cost["purchase"] += lane.purchase_cost[p] * shipped
            cost["transport"] += lane.transport_cost[p] * moved[p]
            if p in lane.products:
                cost["commitment"] += lane.transport_cost[p] * max(lane.commitment[p] - shipped, 0)
            flows.emissions += lane.emissions_kg[p] * moved[p]
    for x in state.under_way:
        cost["in_transit"] += world.lanes[x.lane].in_transit_cost[x.product] * float(sum(x.units))
    for pair, terms in world.pairs.items():
        for p in world.products:
            served = flows.served[pair][p]
            cost["transport"] += terms.transport_cost[p] * served
            cost["revenue"] += world.customers[pair[1]].price[p] * served
            flows.emissions += terms.emissions_kg[p] * served
    for c in world.customers.values():
        for p in world.products:
            cost["backorder"] += c.backorder_cost[p] * float(sum(state.backlog[c.name][p]))
            cost["lost_sale"] += c.lost_sale_cost[p] * flows.lost[c.name][p]
    cost["carbon"] = world.carbon_price * flows.emissions
    for node in world.nodes.values():
        shelf = state.on_hand[node.name]
        volume = sum(float(sum(shelf[p])) * world.volume[p] for p in world.products)
        if node.storage_capacity is not None:
            cost["overflow"] += node.overflow_cost * max(volume - node.storage_capacity, 0.0)
        if flows.present[node.name]:
            cost["node"] += node.fixed_cost
        for p in world.products:
            cost["holding"] += node.holding_cost[p] * float(sum(shelf[p]))
            if world.shelf_life[p]:
                flows.disposed[node.name][p] += shelf[p][0]
                shelf[p][:] = [*shelf[p][1:], a.zero]
            cost["disposal"] += node.disposal_cost[p] * flows.disposed[node.name][p]
            if last:
                cost["terminal"] -= node.terminal_value[p] * float(sum(shelf[p]))
    for c in world.customers.values():
        for p in world.products:
            if c.patience[p] is not None:
                waiting = state.backlog[c.name][p]
                waiting[:] = [a.zero, *waiting[:-1]]
    state.lost_new = [*getattr(state, "lost_new", []), flows.lost_new]
    return cost


def count_vehicles(world, lane, volume):
    if not world.amounts.something(volume):
        return 0
    if lane.vehicle_volume is None:
        return 1
    return max(math.ceil(volume / lane.vehicle_volume - 1e-9), 0)
