"""Key performance indicators held to hand-computed flows, to plain loops over cohorts, and to known laws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_flows import batch_major, column, random_periods
from random_scenarios import random_scenario
from reference_scenario import read_scenario
from scipy import stats

from echelongym.envs import kpis as kpis_module
from echelongym.envs.dynamics.state import Flows
from echelongym.envs.estimators import Largest, Ratio, Spread
from echelongym.envs.kpi_definitions import ECHELON, NETWORK, SERVICE
from echelongym.envs.kpis import KpiAccumulator, windows
from echelongym.envs.observation import Decision
from echelongym.envs.scenario import Scenario
from echelongym.envs.simulate import simulate

WITHIN = (1, 2, 4)


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


def measured(mapping, periods, **options):
    """Figures of one world's periods, each given as a dict of flows."""
    tables = Scenario.from_mapping(mapping).tables
    kpis = KpiAccumulator(tables, 1, **options)
    for given_flows in periods:
        kpis.add(period(tables, **given_flows))
    return kpis.result()


def accumulator(tables, worlds, together, **options):
    """One that works on so many periods at once, which otherwise follows from its size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kpis_module, "GATHERED", 10**9)
        patch.setattr(kpis_module, "MOST_PERIODS", together)
        return KpiAccumulator(tables, worlds, **options)


def assert_figures(figures, **expected):
    for name, value in expected.items():
        assert figures[name] == pytest.approx([value], nan_ok=True), name


# ------------------------------------------------------------------------------------------------------- by hand


def test_service_where_demand_waits():
    """6 come in 0: 2 are served at once, 3 wait 1 period, 1 waits 2. 4 come in 1: 3 wait 1, 1 waits 2, and so on."""
    periods = [
        {"demand": 6, "served": 2, "served_new": 2, "backlog": 4},
        {"demand": 4, "served": 3, "served_new": 0, "backlog": 5},
        {"demand": 0, "served": 4, "served_new": 0, "backlog": 1},
        {"demand": 2, "served": 1, "served_new": 0, "backlog": 2},
        {"demand": 1, "served": 2, "served_new": 0, "backlog": 1},
    ]
    figures = measured(chain(), periods)
    assert_figures(
        figures["total"],
        fill_rate=2 / 13,
        first_choice_fill_rate=2 / 13,
        no_stockout_rate=1 / 5,  # nothing was asked for in period 2
        served_within_1=(5 + 3 + 0 + 2) / 12,  # of what came in 0 to 3
        served_within_2=1.0,  # of what came in 0 to 2
        mean_wait=(4 + 5 + 1 + 2 + 1) / 13,
        longest_wait=2,
        lost_share=0,
        fill_rate_spread=0,
    )
    total = {name: value for name, value in figures["total"].items() if name != "fill_rate_spread"}
    for group in ("customer", "segment", "region"):
        (only,) = figures[group].values()
        assert only == total


def test_service_where_patience_ends():
    """Of 5 in period 0, 1 is served at once, 1 in period 1, 3 are lost then; the 2 of period 1 wait 1."""
    periods = [
        {"demand": 5, "served": 1, "served_new": 1, "backlog": 4},
        {"demand": 2, "served": 1, "served_new": 0, "lost": 3, "backlog": 2},
        {"demand": 0, "served": 2, "served_new": 0, "backlog": 0},
    ]
    assert_figures(
        measured(chain({"patience": 1}), periods, within=(0, 1, 2))["total"],
        fill_rate=1 / 7,
        served_within_0=1 / 7,
        served_within_1=4 / 7,
        served_within_2=4 / 7,  # nobody is served after their patience: known after 1 period
        lost_share=3 / 7,
        mean_wait=6 / 7,
        longest_wait=1,
    )


def test_service_where_unserved_demand_is_lost():
    """Two customers in two regions; the total is the ratio of sums, nobody waits."""
    mapping = chain({"lost_share": 1.0, "region": "north"})
    mapping["customers"]["kiosk"] = {**mapping["customers"]["shop"], "region": "south", "segment": "small"}
    periods = [
        {"demand": [8, 2], "served": [6, 1], "served_new": [6, 1], "lost": [2, 1], "lost_new": [2, 1]},
        {"demand": [4, 0], "served": [4, 0], "served_new": [4, 0]},
    ]
    figures = measured(mapping, periods)
    assert_figures(figures["customer"]["shop"], fill_rate=10 / 12, no_stockout_rate=1 / 2, lost_share=2 / 12)
    assert_figures(figures["segment"]["small"], fill_rate=1 / 2, no_stockout_rate=1 / 2, served_within_2=1 / 2)
    assert_figures(
        figures["total"],
        fill_rate=11 / 14,
        no_stockout_rate=2 / 4,
        served_within_1=11 / 14,
        mean_wait=0,
        longest_wait=0,
        lost_share=3 / 14,
        fill_rate_spread=10 / 12 - 1 / 2,
    )
    assert list(figures["region"]) == ["north", "south"]
    assert list(figures["segment"]) == ["default", "small"]


def test_no_demand_is_no_rate():
    figures = measured(chain(), [{"on_hand": [0, 3, 0]}])
    assert_figures(figures["total"], fill_rate=math.nan, lost_share=math.nan, no_stockout_rate=1.0, longest_wait=0)
    assert_figures(figures["network"], waste_share=math.nan, turns=0.0, expedited_share=0.0)


def test_network_by_hand():
    mapping = {
        "products": {"item": {"volume": 2.0}},
        "nodes": {"mill": {"kind": "supplier"}, "hub": {}, "store": {}, "west": {"initial": 0}},
        "lanes": {
            "mill_hub": {
                "source": "mill",
                "target": "hub",
                "vehicle_volume": 10,
                "distance_km": 100,
                "transport_cost": 1.0,
                "fixed_cost": 5.0,
                "emissions_kg": 0.5,
                "fixed_emissions_kg": 2.0,
            },
            "hub_store": {"source": "hub", "target": "store", "distance_km": 20},
            "fast": {"source": "hub", "target": "store", "mode": "express"},
            "across": {"source": "west", "target": "store", "mode": "transshipment"},
        },
        "customers": {
            "shop": {
                "sources": {"store": {"transport_cost": 0.5}, "mill": {"emissions_kg": 1.5}},
                "demand": {"kind": "deterministic", "mean": 4.0},
                "lost_share": 1.0,
            }
        },
    }
    # Lanes mill_hub, hub_store, fast, across; nodes mill, hub, store, west; pairs store>shop, mill>shop.
    periods = [
        {
            "shipped": [6, 3, 1, 1],
            "in_transit": [6, 3, 0, 1],
            "on_hand": [0, 10, 4, 2],
            "served": [4, 2],
            "disposed": [0, 0, 1, 0],
        },
        {"shipped": [5, 0, 2, 0], "in_transit": [11, 3, 0, 0], "on_hand": [0, 8, 6, 2], "served": [2, 0]},
    ]
    figures = measured(mapping, periods)
    assert_figures(
        figures["network"],
        replenishment_time=24 / 18,
        inventory_units=16,
        inventory_volume=32,
        turns=8 / 32,
        disposed_units=1 / 2,
        waste_share=1 / 13,  # 11 by lane and 2 straight to the customer left the mill
        transport_cost_per_unit=(11 * 1.0 + 3 * 5.0 + 6 * 0.5) / 8,
        expedited_share=3 / 7,
        transshipped_share=1 / 7,
        unit_km=(11 * 100 + 3 * 20) / 2,
        vehicle_km=(3 * 100 + 1 * 20) / 2,  # 12 and 10 volume in vehicles of 10: 2 and 1
        vehicle_fill=22 / 30,
        emissions_kg=(11 * 0.5 + 3 * 2.0 + 2 * 1.5) / 2,
        emissions_kg_per_unit=(11 * 0.5 + 3 * 2.0 + 2 * 1.5) / 8,
    )
    assert list(figures["echelon"]) == ["1", "2"]
    assert_figures(figures["echelon"]["1"], inventory_units=9, replenishment_time=17 / 11)
    assert_figures(figures["echelon"]["2"], inventory_units=5, replenishment_time=1)


def test_order_variance_by_hand():
    """What was asked for in vain is asked again: no new order. The first period has nothing before it."""
    asked, shipped, demand = [4, 6, 2, 5], [4, 3, 2, 5], [9, 1, 4, 7]
    periods = [
        {"requests": [2, a], "shipped": [2, s], "demand": d} for a, s, d in zip(asked, shipped, demand, strict=True)
    ]
    figures = measured(chain(), periods)["echelon"]
    orders = [6, 2 - 3, 5]
    assert_figures(figures["2"], order_variance_ratio=np.var(orders, ddof=1) / np.var(demand[1:], ddof=1))
    assert_figures(figures["1"], order_variance_ratio=0.0)
    assert_figures(measured(chain(), periods[:1])["echelon"]["2"], order_variance_ratio=math.nan)


# ---------------------------------------------------------------------------------------------- random, by plain loops


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


def network_by_loops(mapping, flows, b):
    """Figures of the network and its echelons in world b, over names."""
    world = read_scenario(mapping)
    lanes, pairs = list(world.lanes.values()), list(world.pairs.items())
    products = list(enumerate(world.products))
    periods = len(flows)

    def units(name, i, k):
        return [0.0 if getattr(f, name) is None else float(getattr(f, name)[i, k, b]) for f in flows]

    def summed(name, count):
        return sum(sum(units(name, i, k)) for i in range(count) for k, _ in products)

    def tier(node, p):
        steps, lane = 0, world.primary_lane(node, p)
        while lane is not None:
            steps, lane = steps + 1, world.primary_lane(lane.source, p)
        return steps

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
    ratios = {}
    for level in range(1, 1 + max(tier(node, p) for node in world.nodes for p in world.products)):
        above = below = 0.0
        for k, p in products:
            into = [i for i in open_lanes if p in lanes[i].products and tier(lanes[i].target, p) == level]
            into = [i for i in into if tier(lanes[i].source, p) < level]
            asked = sum((np.array(units("requests", i, k)) for i in into), np.zeros(periods))
            sent = sum((np.array(units("shipped", i, k)) for i in into), np.zeros(periods))
            below_it = [
                i
                for i, c in enumerate(world.customers)
                if world.choices(c, p) and tier(world.choices(c, p)[0][0], p) >= level
            ]
            demand = sum((np.array(units("demand", i, k)) for i in below_it), np.zeros(periods))
            above += np.var(asked[1:] - (asked - sent)[:-1], ddof=1)
            below += np.var(demand[1:], ddof=1)
        ratios[str(level)] = ratio(above, below)
    return network, ratios


def drawn(seed, worlds=2, periods=11):
    rng = np.random.default_rng(seed)
    mapping = random_scenario(rng)
    tables = Scenario.from_mapping(mapping).tables
    flows, queues = random_periods(tables, rng, worlds, periods)
    return mapping, tables, flows, queues


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), together=st.sampled_from([1, 3, 64]))
def test_figures_equal_plain_loops(seed, together):
    """Whatever number of periods is worked on together."""
    mapping, tables, flows, queues = drawn(seed)
    kpis = accumulator(tables, 2, together, within=WITHIN)
    for one in flows:
        kpis.add(one)
    figures = kpis.result()
    for b in range(2):
        groups = {("customer", name): [c] for c, name in enumerate(tables.customers)}
        for key in ("segment", "region"):
            for c, label in enumerate(getattr(tables, key)):
                groups.setdefault((key, label), []).append(c)
        groups["total", None] = list(range(tables.C))
        assert sum(len(figures[key]) for key in ("customer", "segment", "region")) == len(groups) - 1
        for (key, name), chosen in groups.items():
            found = figures[key] if name is None else figures[key][name]
            expected = service_by_loops(tables, queues, flows, chosen, b, WITHIN)
            assert set(expected) == set(found) - {"fill_rate_spread"}
            for figure, value in expected.items():
                np.testing.assert_allclose(
                    found[figure][b], value, rtol=1e-9, atol=1e-9, err_msg=f"{key} {name} {figure}"
                )
        rates = [region["fill_rate"][b] for region in figures["region"].values()]
        rates = [rate for rate in rates if not math.isnan(rate)]
        spread = max(rates) - min(rates) if rates else math.nan
        np.testing.assert_allclose(figures["total"]["fill_rate_spread"][b], spread, atol=1e-12)
        network, ratios = network_by_loops(mapping, flows, b)
        assert set(network) == set(figures["network"]) == set(NETWORK)
        for figure, value in network.items():
            np.testing.assert_allclose(figures["network"][figure][b], value, rtol=1e-9, atol=1e-9, err_msg=figure)
        assert set(ratios) == set(figures["echelon"])
        for level, value in ratios.items():
            assert set(figures["echelon"][level]) == set(ECHELON)
            found = figures["echelon"][level]["order_variance_ratio"][b]
            np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9, err_msg=level)


def flattened(figures, path=()):
    for name, entry in figures.items():
        if isinstance(entry, dict):
            yield from flattened(entry, (*path, name))
        else:
            yield (*path, name), entry


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_a_world_has_the_same_figures_alone_and_in_any_batch(seed):
    """Bit for bit, though one world's periods are worked on together and a batch's one by one."""
    _, tables, flows, _ = drawn(seed, worlds=3, periods=9)
    odd = np.random.default_rng(seed).random(3) * math.pi
    flows = [Flows(*(None if value is None else value * odd for value in one)) for one in flows]
    batch, turned = (accumulator(tables, 3, together, within=WITHIN) for together in (1, 2))
    alone = accumulator(tables, 1, 64, within=WITHIN)
    for one in flows:
        batch.add(one)
        turned.add(batch_major(one))
        alone.add(column(one, 1))
    others, turned = dict(flattened(batch.result())), dict(flattened(turned.result()))
    for path, value in flattened(alone.result()):
        assert value.shape == (1,)
        for other in (others, turned):
            assert np.array_equal(value, other[path][1:2], equal_nan=True), path


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_reset_forgets_some_worlds(seed):
    """A world reset on the way has the figures of the periods after; the others those of all."""
    _, tables, flows, _ = drawn(seed, worlds=3, periods=10)
    kpis, whole, late = (accumulator(tables, 3, together, within=WITHIN) for together in (3, 1, 1))
    for number, one in enumerate(flows):
        if number == 4:
            kpis.reset(np.array([False, True, False]))
        kpis.add(one)
        whole.add(one)
        if number >= 4:
            late.add(one)
    whole, late = dict(flattened(whole.result())), dict(flattened(late.result()))
    for path, value in flattened(kpis.result()):
        np.testing.assert_allclose(value[[0, 2]], whole[path][[0, 2]], rtol=1e-9, atol=1e-9, err_msg=str(path))
        np.testing.assert_allclose(value[1], late[path][1], rtol=1e-9, atol=1e-9, err_msg=str(path))
    kpis.reset()
    for one in flows:
        kpis.add(one)
    for path, value in flattened(kpis.result()):
        np.testing.assert_allclose(value, whole[path], rtol=1e-9, atol=1e-9, err_msg=str(path))


def test_long_waits_are_followed_as_far_as_they_go():
    """50 periods without a delivery, then all at once: the first waited 50, which a short memory would miss."""
    periods = [{"demand": 1, "backlog": t + 1} for t in range(50)]
    periods += [{"demand": 1, "served": 51, "served_new": 1}, {"demand": 1, "served": 1, "served_new": 1}]
    figures = measured(chain(), periods)["total"]
    assert_figures(figures, longest_wait=50, mean_wait=sum(range(51)) / 52)


def test_tensors_are_taken_too():
    _, tables, flows, _ = drawn(3)
    mine, theirs = KpiAccumulator(tables, 2), KpiAccumulator(tables, 2)
    for one in flows:
        mine.add(one)
        theirs.add(Flows(*(None if v is None else torch.tensor(v, requires_grad=True) for v in one)))
    theirs = dict(flattened(theirs.result()))
    for path, value in flattened(mine.result()):
        np.testing.assert_array_equal(value, theirs[path])


def test_replenishment_time_is_unknown_where_it_was_not_counted():
    mapping = chain()
    tables = Scenario.from_mapping(mapping).tables
    kpis = KpiAccumulator(tables, 1)
    kpis.add(period(tables, shipped=[3, 3], in_transit=[3, 3]))
    kpis.add(period(tables, shipped=[3, 3])._replace(in_transit=None))
    assert np.isnan(kpis.result()["network"]["replenishment_time"])


def test_every_definition_says_what_it_is():
    for function in (*SERVICE.values(), *NETWORK.values(), *ECHELON.values()):
        assert len(function.__doc__) > 40


def test_windows_are_those_of_the_targets():
    target = {"targets": {"served_within": {"periods": 3, "share": 0.9}}}
    assert windows(Scenario.from_mapping(chain(target))) == (1, 2, 3)
    assert windows(Scenario.from_mapping(chain())) == (1, 2)


# ---------------------------------------------------------------------------------------------------- known laws


class OrderUpTo:
    """Local base-stock on a chain: every stage orders what was asked of it."""

    def __init__(self, hub, store):
        self.levels = np.array([hub, store])

    def __call__(self, seen):
        on_hand, moving = seen.on_hand.sum((2, 3))[:, 1:], seen.in_transit.sum((2, 3, 4))
        store = on_hand[:, 1] + moving[:, 1] - seen.backlog.sum((1, 2, 3))
        asked = np.maximum(self.levels[1] - store, 0)
        hub = on_hand[:, 0] + moving[:, 0] - asked
        return Decision(np.stack([np.maximum(self.levels[0] - hub, 0), asked], 1)[..., None])


def test_laws_of_base_stock_on_a_chain():
    """Orders are the demand of the period before (no bullwhip), units take the lead time, and Little's law holds."""
    scenario = Scenario.from_mapping(chain({"demand": {"kind": "poisson", "mean": 5}}, horizon=1500, units="integer"))
    outcome = simulate(scenario, OrderUpTo(12, 13), scenario.sample(worlds=16, seed=3))
    figures = outcome.kpis()
    for tier in ("1", "2"):
        assert figures["echelon"][tier]["order_variance_ratio"] == pytest.approx(np.ones(16), abs=0.01)
    assert figures["echelon"]["1"]["replenishment_time"] == pytest.approx(np.full(16, 2.0), abs=0.01)
    assert figures["echelon"]["2"]["replenishment_time"] == pytest.approx(np.ones(16), abs=0.01)
    # Poisson lead-time demand: the store's level of 13 covers 2 periods where the hub never fails; it is worse here.
    total = figures["total"]
    assert (total["no_stockout_rate"] < stats.poisson.cdf(13, 10)).all()
    assert (total["served_within_1"] > total["fill_rate"]).all()
    assert (total["served_within_2"] >= total["served_within_1"]).all()
    assert (total["longest_wait"] <= 4).all()


def test_no_stockout_rate_of_a_single_store():
    """Base-stock S over lead time l: P(demand of l + 1 periods <= S), and the fill rate of the same loss function."""
    mapping = {
        "nodes": {"mill": {"kind": "supplier"}, "store": {"initial": 18}},
        "lanes": {"truck": {"source": "mill", "target": "store", "lead_time": 2}},
        "customers": {
            "shop": {"sources": {"store": {}}, "demand": {"kind": "poisson", "mean": 5}, "lost_share": 0.0},
        },
        "horizon": 800,
        "warm_up": 10,
        "units": "integer",
    }

    def policy(seen):
        position = seen.on_hand.sum((1, 2, 3)) + seen.in_transit.sum((1, 2, 3, 4)) - seen.backlog.sum((1, 2, 3))
        return Decision(np.maximum(18 - position, 0)[:, None, None])

    scenario = Scenario.from_mapping(mapping)
    outcome = simulate(scenario, policy, scenario.sample(worlds=64, seed=1))
    total = outcome._kpis.figures().aggregate()["total"]
    # A period's new demand is met in full if that of three periods does not exceed the level.
    demand = np.arange(200)
    three, two = stats.poisson.pmf(demand, 15), stats.poisson.pmf(demand, 10)
    unmet = (np.maximum(demand - 18, 0) * three).sum() - (np.maximum(demand - 18, 0) * two).sum()
    waiting = (np.maximum(demand - 18, 0) * three).sum()
    known = {"no_stockout_rate": stats.poisson.cdf(18, 15), "fill_rate": 1 - unmet / 5, "mean_wait": waiting / 5}
    for name, value in known.items():
        low, high = total[name]["ci95"]
        half = (high - low) / 2
        assert abs(total[name]["mean"] - value) < 1.6 * half, name  # three standard errors
        assert half < 0.02


# ------------------------------------------------------------------------------------------------------ estimators


def test_ratio_with_a_constant_denominator_is_a_mean_with_student_s_interval():
    values = np.random.default_rng(0).normal(3, 1, 20)
    estimate = Ratio(values, np.ones(20)).estimate()
    known = stats.t.interval(0.95, 19, values.mean(), stats.sem(values))
    assert estimate["mean"] == pytest.approx(values.mean())
    assert estimate["ci95"] == pytest.approx(list(known))


def test_interval_of_a_ratio_covers_it():
    """Demand and service vary together; the ratio of means is 0.6. A mean of ratios would be off."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(1000):
        demand = rng.gamma(2.0, 1.0, 150)
        served = 0.6 * demand + rng.normal(0, 0.2, 150) * demand**1.5
        low, high = Ratio(served, demand).estimate()["ci95"]
        hits += low <= 0.6 <= high
    assert 0.925 < hits / 1000 < 0.97


def test_spread_and_largest():
    north, south = (
        Ratio(np.array([9.0, 8.0]), np.array([10.0, 10.0])),
        Ratio(np.array([5.0, 0.0]), np.array([10.0, 0.0])),
    )
    spread = Spread((north, south))
    assert spread.by_world() == pytest.approx([0.4, 0.0])  # the second world asked nothing of the south
    assert spread.estimate()["mean"] == pytest.approx(17 / 20 - 5 / 10)
    largest = Largest(np.array([[1.0, 4.0], [3.0, 2.0]])).over(slice(None))
    assert largest.by_world().tolist() == [3.0, 4.0]
    estimate = largest.estimate()
    assert (estimate["mean"], estimate["max"]) == (3.5, 4.0)
    assert np.isnan(Ratio(np.ones(1), np.ones(1)).estimate()["ci95"]).all()


def test_interval_of_a_spread_covers_it():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(600):
        demand = rng.gamma(4.0, 1.0, (2, 200))
        served = np.array([[0.9], [0.7]]) * demand + rng.normal(0, 0.3, (2, 200))
        low, high = Spread(tuple(Ratio(*pair) for pair in zip(served, demand, strict=True))).estimate()["ci95"]
        hits += low <= 0.2 <= high
    assert 0.92 < hits / 600 < 0.975


def test_aggregate_pools_worlds():
    """The quoted figure is the ratio of sums over worlds."""
    tables = Scenario.from_mapping(chain({"lost_share": 1.0})).tables
    kpis = KpiAccumulator(tables, 2)
    one = period(tables, demand=10, served=5, served_new=5)
    other = period(tables, demand=2, served=2, served_new=2)
    kpis.add(Flows(*(None if a is None else np.concatenate([a, b], -1) for a, b in zip(one, other, strict=True))))
    figures = kpis.figures()
    assert figures.by_world()["total"]["fill_rate"].tolist() == [0.5, 1.0]
    assert figures.aggregate()["total"]["fill_rate"]["mean"] == pytest.approx(7 / 12)
    whole = dict(flattened(kpis.result()))
    for path, value in flattened(figures.by_world()):
        np.testing.assert_array_equal(value, whole[path])


@pytest.mark.parametrize("together", [1, 64])
@pytest.mark.parametrize("seed", [2, 11])
def test_little_is_kept_and_flows_may_be_overwritten(together, seed):
    """However many periods go by, no more than a few are held, and none of the caller's memory."""
    _, tables, flows, _ = drawn(seed)
    kept, reused = (accumulator(tables, 2, together) for _ in range(2))
    for _ in range(40):
        for one in flows:
            kept.add(one)
            mine = Flows(*(None if value is None else value.copy() for value in one))
            reused.add(mine)
            for value in mine:
                if value is not None:
                    value[...] = -1
            assert kept._held < kpis_module.MOST_PERIODS
    if kept._waiting is not None:
        assert len(kept._waiting.recent) <= 2
    expected = dict(flattened(kept.result()))
    for path, value in flattened(reused.result()):
        np.testing.assert_array_equal(value, expected[path])


@pytest.mark.parametrize("together", [1, 2, 64])
def test_what_waited_before_reporting_counts_as_new(together):
    """5 wait when it begins and are served in the fourth period; nobody else comes."""
    tables = Scenario.from_mapping(chain()).tables
    kpis = accumulator(tables, 1, together)
    kpis.add(period(tables, demand=90, served=90, served_new=90))
    for _ in range(30):
        kpis.add(period(tables))
    kpis.reset()
    for _ in range(3):
        kpis.add(period(tables, backlog=5))
    kpis.add(period(tables, served=5))
    assert_figures(kpis.result()["total"], longest_wait=3, mean_wait=math.nan, fill_rate=math.nan)
