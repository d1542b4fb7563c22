"""Key performance indicators held to hand-computed flows and to known laws."""

import math

import numpy as np
import pytest
from kpi_loops import accumulator, chain, flattened, period
from scipy import stats

from echelongym.agents.registry import RULES
from echelongym.envs.accounts.kpi_definitions import ECHELON, NETWORK, SERVICE
from echelongym.envs.accounts.kpis import KpiAccumulator, windows
from echelongym.envs.dynamics.state import Flows
from echelongym.envs.interface.observation import Decision
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate


def measured(mapping, periods, **options):
    """Figures of one world's periods, each given as a dict of flows."""
    tables = Scenario.from_mapping(mapping).tables
    kpis = KpiAccumulator(tables, 1, **options)
    for given_flows in periods:
        kpis.add(period(tables, **given_flows))
    return kpis.result()


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


def test_nothing_is_ordered_on_days_that_take_no_order():
    """The store may ask on days 1, 4, 7, 10: what its rule asks in between is no order, nor asked again.

    Of day 4's 12 units 2 were missing since day 1; the days up to the first order are left out, of demand too.
    """
    mapping = chain()
    mapping["lanes"]["hub_store"]["review"] = {"every": 3, "first": 1}
    asked = [5, 9, 3, 6, 12, 2, 7, 20, 1, 1, 8]
    shipped = [0, 7, 0, 0, 12, 0, 0, 13, 0, 0, 8]
    demand = [1, 5, 3, 2, 6, 4, 8, 2, 3, 7, 5]
    periods = [
        {"requests": [2, a], "shipped": [2, s], "demand": d} for a, s, d in zip(asked, shipped, demand, strict=True)
    ]
    orders = [0, 0, 12 - 2, 0, 0, 20, 0, 0, 8 - 7]
    ratio = np.var(orders, ddof=1) / np.var(demand[2:], ddof=1)
    assert_figures(measured(mapping, periods)["echelon"]["2"], order_variance_ratio=ratio)
    # Figures that begin in period 4 know nothing of the 2 units.
    late = np.var([0, 0, 20, 0, 0, 1], ddof=1) / np.var(demand[5:], ddof=1)
    assert_figures(measured(mapping, periods[4:], first_period=4)["echelon"]["2"], order_variance_ratio=late)
    # A hub that is closed takes no order either.
    closed = chain()
    closed["nodes"]["hub"]["calendar"] = {"open": [1], "cycle": 3}
    assert_figures(measured(closed, periods)["echelon"]["2"], order_variance_ratio=ratio)


def test_a_weekly_order_varies_more_than_daily_demand():
    """Base-stock on a lane that is asked every seventh day orders the demand of seven days at once.

    Orders of a week are 0 six times and once the sum of seven demands, mean m and variance v each, so their variance
    around m is 7 v / 7 + (6 m^2 + (7 m - m)^2) / 7 = v + 6 m^2; Poisson demand of mean 10 has v = m.
    """
    mapping = chain(shop={"demand": {"kind": "poisson", "mean": 10.0}}, horizon=700, warm_up=70)
    mapping["lanes"]["hub_store"]["review"] = {"every": 7}
    scenario = Scenario.from_mapping(mapping)
    rule = RULES["local_base_stock"](scenario, levels={"hub": 1000.0, "store": 300.0})
    figures = simulate(scenario, rule, scenario.sample(20, 0)).figures().aggregate()["echelon"]
    assert figures["2"]["order_variance_ratio"]["mean"] == pytest.approx((10 + 600) / 10, rel=0.02)


def test_long_waits_are_followed_as_far_as_they_go():
    """50 periods without a delivery, then all at once: the first waited 50, which a short memory would miss."""
    periods = [{"demand": 1, "backlog": t + 1} for t in range(50)]
    periods += [{"demand": 1, "served": 51, "served_new": 1}, {"demand": 1, "served": 1, "served_new": 1}]
    figures = measured(chain(), periods)["total"]
    assert_figures(figures, longest_wait=50, mean_wait=sum(range(51)) / 52)


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
