"""Key performance indicators by plain loops over names and cohorts, and what their tests share."""

import math

import numpy as np
import pytest
from reference_scenario import read_scenario

from echelongym.envs.accounts import kpis as kpis_module
from echelongym.envs.accounts.kpis import KpiAccumulator
from echelongym.envs.dynamics.state import Flows


def chain(shop=None, **more):
    """Mill -> hub -> store -> shop; unserved demand waits."""
    customer = {"sources": {"store": {}}, "demand": {"kind": "deterministic", "mean": 4.0}, "lost_share": 0.0}
    return {
        "nodes": {"mill": {"kind": "supplier"}, "hub": {}, "store": {}},
        "lanes": {
            "mill_hub": {"source": "mill", "target": "hub", "lead_time": 2},
            "hub_store": {"source": "hub", "target": "store", "lead_time": 1},
        },
        "customers": {"shop": {**customer, **(shop or {})}},
        "warm_up": 0,
        **more,
    }


def period(tables, **given_flows):
    """Flows of one period and world; zero where nothing is given."""
    t = tables
    sizes = dict.fromkeys(("requests", "shipped", "received", "in_transit"), t.L)
    sizes |= {"served": t.S, "on_hand": t.N, "disposed": t.N}
    sizes |= dict.fromkeys(("served_new", "served_first", "demand", "lost_new", "lost", "backlog"), t.C)
    flows = {name: np.zeros((size, t.P, 1)) for name, size in sizes.items()}
    flows |= {name: np.asarray(values, float).reshape(flows[name].shape) for name, values in given_flows.items()}
    return Flows(**{"returned": None, "recovered": None, "present": None, **flows})


def accumulator(tables, worlds, together, **options):
    """One that works on so many periods at once, which otherwise follows from its size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kpis_module, "GATHERED", 10**9)
        patch.setattr(kpis_module, "MOST_PERIODS", together)
        return KpiAccumulator(tables, worlds, **options)


def flattened(figures, path=()):
    for name, entry in figures.items():
        if isinstance(entry, dict):
            yield from flattened(entry, (*path, name))
        else:
            yield (*path, name), entry


def service_by_loops(tables, queues, flows, chosen, b, windows):
    """Figures of some customers in world b, from what became of every cohort."""
    t, last = tables, len(flows) - 1
    cells = [(c, p) for c in chosen for p in range(t.P)]
    cohorts = [(c, p, cohort) for c, p in cells for cohort in queues[c, p, b].cohorts]
    demand = sum(cohort.demand for _, _, cohort in cohorts)
    at_once = sum(cohort.lost.get(0, 0.0) for _, _, cohort in cohorts)
    waits, waited = [0], 0.0
    for _, _, cohort in cohorts:
        for outcome in (cohort.served, cohort.lost):
            waited += sum(wait * units for wait, units in outcome.items())
            waits += [wait for wait, units in outcome.items() if units > 1e-9]
        waited += cohort.waiting * (last + 1 - cohort.period)
        if cohort.waiting > 1e-9:
            waits.append(last - cohort.period)
    complete = 0
    for c in chosen:
        for when in range(last + 1):
            asked = [queues[c, p, b].cohorts[when] for p in range(t.P)]
            complete += all(one.demand - one.served.get(0, 0.0) < 1e-9 for one in asked)

    def ratio(above, below):
        return above / below if below else math.nan

    figures = {
        "fill_rate": ratio(sum(cohort.served.get(0, 0.0) for _, _, cohort in cohorts), demand),
        "first_choice_fill_rate": ratio(sum(f.served_first[c, p, b] for f in flows for c, p in cells), demand),
        "no_stockout_rate": complete / len(chosen) / (last + 1),
        "mean_wait": ratio(waited, demand - at_once),
        "longest_wait": max(waits),
        "lost_share": ratio(sum(sum(cohort.lost.values()) for _, _, cohort in cohorts), demand),
    }
    for window in windows:
        served = of = 0.0
        for c, p, cohort in cohorts:
            # Where nobody waits, what is not served at once is known not to be served.
            keeps = (t.lost_share < 1).any()
            look = min([window, *([int(t.patience[c, p])] if t.patience[c, p] >= 0 else [])]) if keeps else 0
            if cohort.period + look <= last:
                of += cohort.demand
                served += sum(units for wait, units in cohort.served.items() if wait <= look)
        figures[f"served_within_{window}"] = ratio(served, of)
    return figures


def network_by_loops(mapping, flows, b, first_period=0):
    """Figures of the network and its echelons in world b, over names."""
    world = read_scenario(mapping)
    lanes, pairs = list(world.lanes.values()), list(world.pairs.items())
    products = list(enumerate(world.products))
    periods = len(flows)

    def units(name, i, k):
        return [0.0 if getattr(f, name) is None else float(getattr(f, name)[i, k, b]) for f in flows]

    def summed(name, count):
        return sum(sum(units(name, i, k)) for i in range(count) for k, _ in products)

    def ratio(above, below):
        return above / below if below else math.nan

    delivered, held = summed("served", len(pairs)), summed("on_hand", len(world.nodes))
    cost = kg = km = vehicle_km = loaded = offered = supplied = 0.0
    for i, lane in enumerate(lanes):
        distance = mapping["lanes"][lane.name].get("distance_km", 0.0)
        for t in range(periods):
            moved = {p: units("shipped", i, k)[t] + units("recovered", i, k)[t] for k, p in products}
            volume = sum(moved[p] * world.volume[p] for p in world.products)
            count = math.ceil(volume / lane.vehicle_volume - 1e-9) if lane.vehicle_volume else sum(moved.values()) > 0
            cost += lane.fixed_cost * count + sum(lane.transport_cost[p] * moved[p] for p in world.products)
            kg += lane.fixed_emissions_kg * count + sum(lane.emissions_kg[p] * moved[p] for p in world.products)
            km += distance * sum(moved.values())
            vehicle_km += distance * count
            if lane.vehicle_volume:
                loaded += volume
                offered += lane.vehicle_volume * count
        if lane.source in world.nodes and world.nodes[lane.source].supplier:
            supplied += sum(sum(units("shipped", i, k)) for k, _ in products)
    for i, (pair, terms) in enumerate(pairs):
        for k, p in products:
            served = sum(units("served", i, k))
            cost += terms.transport_cost[p] * served
            kg += terms.emissions_kg[p] * served
            supplied += served if world.nodes[pair[0]].supplier else 0.0

    def share(mode):
        above = below = 0.0
        for k, p in products:
            of_mode = [x for x in lanes if mapping["lanes"][x.name].get("mode") == mode and p in x.products]
            targets = {lane.target for lane in of_mode}
            for i, lane in enumerate(lanes):
                if lane.target in targets and not lane.is_return:
                    below += sum(units("shipped", i, k))
                    above += sum(units("shipped", i, k)) if lane in of_mode else 0.0
        there = any(mapping["lanes"][lane.name].get("mode") == mode for lane in lanes)
        return ratio(above, below) if there else 0.0

    open_lanes = [i for i, lane in enumerate(lanes) if not lane.is_return]
    dispatched = sum(sum(units("shipped", i, k)) for i in open_lanes for k, _ in products)
    under_way = sum(sum(units("in_transit", i, k)) for i in open_lanes for k, p in products if p in lanes[i].products)
    by_volume = sum(world.volume[p] * sum(units("on_hand", i, k)) for i in range(len(world.nodes)) for k, p in products)
    no_time = all(lead == 0 for lane in lanes for lead in lane.lead_time_values)
    network = {
        "replenishment_time": 0.0 if no_time else ratio(under_way, dispatched),
        "inventory_units": held / periods,
        "inventory_volume": by_volume / periods,
        "turns": ratio(delivered, held),
        "disposed_units": summed("disposed", len(world.nodes)) / periods,
        "waste_share": ratio(summed("disposed", len(world.nodes)), supplied),
        "transport_cost_per_unit": ratio(cost, delivered),
        "expedited_share": share("express"),
        "transshipped_share": share("transshipment"),
        "unit_km": km / periods,
        "vehicle_km": vehicle_km / periods,
        "vehicle_fill": ratio(loaded, offered),
        "emissions_kg": kg / periods,
        "emissions_kg_per_unit": ratio(kg, delivered),
    }
    return network, ratios_by_loops(world, units, periods, first_period)


def ratios_by_loops(world, units, periods, first_period):
    """Variance of orders / variance of demand by echelon: on days without orders there is none, whatever is asked."""

    def tier(node, p):
        steps, lane = 0, world.primary_lane(node, p)
        while lane is not None:
            steps, lane = steps + 1, world.primary_lane(lane.source, p)
        return steps

    lanes = list(world.lanes.values())
    into = {
        (i, k): tier(lane.target, p)
        for i, lane in enumerate(lanes)
        for k, p in enumerate(world.products)
        if not lane.is_return and p in lane.products and tier(lane.source, p) < tier(lane.target, p)
    }
    days = {i: [world.may_ask(lanes[i], first_period + t) for t in range(periods)] for i, _ in into}
    # Before a lane could be asked once, nobody knows what of an order is asked again.
    start = 1 + max((taken.index(True) if True in taken else periods for taken in days.values()), default=0)
    ratios = {}
    for level in range(1, 1 + max(tier(node, p) for node in world.nodes for p in world.products)):
        above = below = 0.0
        for k, p in enumerate(world.products):
            orders = np.zeros(periods)
            for i in (i for (i, product), number in into.items() if (product, number) == (k, level)):
                asked, sent, again = units("requests", i, k), units("shipped", i, k), 0.0
                for t in range(periods):
                    if days[i][t]:
                        orders[t] += asked[t] - again
                        again = asked[t] - sent[t]
            demand = np.zeros(periods)
            for i, c in enumerate(world.customers):
                if world.choices(c, p) and tier(world.choices(c, p)[0][0], p) >= level:
                    demand += units("demand", i, k)
            if periods - start > 1:
                above += np.var(orders[start:], ddof=1)
                below += np.var(demand[start:], ddof=1)
        ratios[str(level)] = above / below if below else math.nan
    return ratios
