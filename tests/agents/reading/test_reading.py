"""Reading a policy: what is read of rules is what they were given; of other policies, what can be computed by hand."""

import json
import re

import numpy as np
import pytest
import yaml
from checkout import CHECKOUT
from oracle_instances import build, dual_sourcing, one_store, serial
from scipy.optimize import least_squares
from shipped import SHIPPED

from echelongym.agents import load_policy
from echelongym.agents.export.export import make_bundle
from echelongym.agents.reading import (
    ReadableRule,
    demand_shock,
    fit_readable,
    load_readable,
    order_curves,
    outage,
    respond,
    sensitivity,
    visit,
)
from echelongym.agents.reading.clipped import fit_clipped
from echelongym.agents.reading.level import looks_at
from echelongym.agents.reading.named import named_entries, named_features, season_part
from echelongym.envs import Decision, Scenario, simulate
from echelongym.envs.core.errors import InputError
from echelongym.experiments.cli.hydra_jobs import launch
from echelongym.experiments.reading import pictures as reading_pictures

STEADY = {"kind": "uniform", "low": 3, "high": 7}  # never 0: a base-stock rule asks in every period


def chain(units: str = "continuous") -> Scenario:
    """Two stages with backorders."""
    return serial([1, 2], [2, 1], [0, 0], 9, STEADY, units).replace(horizon=80, warm_up=20)


def store(units: str = "continuous", **changes: object) -> Scenario:
    """One store, lead time 3, backorders."""
    return one_store(3, 9, STEADY, False, units).replace(**{"horizon": 80, "warm_up": 20, **changes})


def named(values, names):
    return dict(zip(names, values, strict=True))


# Order-up-to curves --------------------------------------------------------------------------------


@pytest.mark.parametrize("units", ["continuous", "integer"])
def test_a_base_stock_rule_is_flat_at_its_levels(units):
    scenario = chain(units)
    rule = load_policy("echelon_base_stock", scenario, levels={"stage_2": 33, "stage_1": 14})
    curves = {one.cell.name: one for one in order_curves(visit(scenario, rule))}
    for lane, level in {"to_stage_2": 33, "to_stage_1": 14}.items():
        one = curves[lane]
        assert one.looks_at == "echelon"
        assert one.up_to == pytest.approx(level, abs=1e-9)
        assert one.up_to_band == pytest.approx((level, level), abs=1e-9)
        assert np.nanmax(np.abs(one.level - level)) < 1e-9
        assert one.slope == pytest.approx(-1)
        assert one.cap is None
        # At every point the request is what the position lacks, whatever else the states have in common.
        there = np.isfinite(one.request[:, 0])
        assert there.sum() > 5
        lacks = np.maximum(level - one.position[there], 0)
        assert one.request[there] == pytest.approx(np.repeat(lacks[:, None], 3, axis=1), abs=1e-9)
        step = np.diff(one.position).max()
        assert level - step <= one.asks_below < level


def test_caps_and_local_levels_are_read_off():
    scenario = chain()
    given = {"levels": {"stage_2": 17.5, "stage_1": 14.25}, "caps": {"to_stage_2": 6.5, "to_stage_1": 5.75}}
    rule = load_policy("capped_local_base_stock", scenario, **given)
    # Disturbed, stages are out of step, which tells the two kinds of positions apart.
    assert looks_at(visit(scenario, rule, disturbed=True)) == "local"
    curves = {one.cell.name: one for one in order_curves(visit(scenario, rule), "local")}
    for lane, node in {"to_stage_2": "stage_2", "to_stage_1": "stage_1"}.items():
        assert curves[lane].looks_at == "local"
        assert curves[lane].up_to == pytest.approx(given["levels"][node])
        assert curves[lane].cap == given["caps"][lane]


def test_a_second_source_looks_at_what_will_be_there():
    scenario = dual_sourcing(2, 105).replace(horizon=80, warm_up=20)
    given = {"levels": {"store": 9}, "express_levels": {"expedited": 4}, "caps": {"regular": 3}}
    rule = load_policy("capped_dual_index", scenario, **given)
    regular, expedited = order_curves(visit(scenario, rule, worlds=64))
    assert (regular.up_to, regular.cap) == (9, 3)
    assert (expedited.looks_at, expedited.up_to, expedited.cap) == ("expedited", 4, None)


def test_a_reorder_point_shows():
    scenario = store("integer")
    numbers = {"levels": {"store": 40}, "reorder_points": {"store": 22}}
    rule = load_policy("reorder_point_order_up_to", scenario, **numbers)
    (one,) = order_curves(visit(scenario, rule), points=60)
    assert one.up_to == 40
    assert one.asks_below == 22


# Sensitivity ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", ["continuous", "integer"])
def test_a_base_stock_rule_counts_every_unit_once(units):
    scenario = store(units)
    rule = load_policy("echelon_base_stock", scenario, levels={"store": 22})
    found = sensitivity(visit(scenario, rule))
    per_unit = named(found.per_unit[:, 0], [one.name for one in found.entries])
    counted = {
        "on_hand[store]": -1,
        "in_transit[to_store, 0]": -1,
        "in_transit[to_store, 1]": -1,
        "backlog[shoppers]": 1,
    }
    assert set(counted) < set(per_unit)
    for name, value in per_unit.items():
        assert value == pytest.approx(counted.get(name, 0), abs=1e-9), name
    assert found.asking == pytest.approx([1])
    assert found.per_deviation[:, 0] == pytest.approx(found.per_unit[:, 0] * found.deviation)
    # What is not looked at has no share.
    shares = named(found.share[:, 0], per_unit)
    assert sum(shares.values()) == pytest.approx(1)
    assert all((shares[name] > 0) == (name in counted) for name in shares if found.deviation[list(shares).index(name)])


def test_slopes_and_shares_of_a_policy_linear_in_independent_demands():
    """Of 3 d_1 + 4 d_2 + 5, the variance of d_1 and d_2 being equal, shares are 9 and 16 of 25."""

    def policy(observation):
        history = observation.demand_history[:, 0, 0]
        return Decision((3 * history[:, 0] + 4 * history[:, 1] + 5).reshape((-1, 1, 1)))

    found = sensitivity(visit(store(), policy, worlds=400))
    names = [one.name for one in found.entries]
    per_unit, effects = named(found.per_unit[:, 0], names), named(found.effect[:, 0], names)
    first, second = "demand_history[shoppers, 0]", "demand_history[shoppers, 1]"
    assert (per_unit.pop(first), per_unit.pop(second)) == pytest.approx((3, 4))
    assert all(abs(value) < 1e-9 for value in per_unit.values())
    assert (effects.pop(first), effects.pop(second)) == pytest.approx((9 / 25, 16 / 25), rel=0.1)
    assert all(abs(value) < 1e-9 for value in effects.values())
    deviation = named(found.deviation, names)[first]
    assert deviation == pytest.approx(4 / np.sqrt(12), rel=0.05)  # of U(3, 7)


def test_availability_is_what_it_does_at_one_less_at_zero():
    down = {"when": {"mean_up": 10, "mean_down": 5}, "effects": [{"nodes": "supplier", "availability": 0.0}]}
    scenario = Scenario.from_mapping(store().to_dict() | {"disruptions": {"down": down}})

    def policy(observation):
        return Decision((7 - 2 * observation.node_availability[:, [0]])[:, :, None])

    found = sensitivity(visit(scenario, policy))
    names = [one.name for one in found.entries]
    assert named(found.per_unit[:, 0], names)["node_availability[supplier]"] == pytest.approx(-2)
    assert named(found.share[:, 0], names)["node_availability[supplier]"] == pytest.approx(1)


class Smoother:
    """Half of what it asked for last, half of the last demand: a policy with memory."""

    def start(self, worlds):
        self.last = np.full(worlds, 5.0)

    def __call__(self, observation):
        self.last = 0.5 * self.last + 0.5 * observation.demand_history[:, 0, 0, 0]
        return Decision(self.last.reshape((-1, 1, 1)))


def test_a_policy_with_memory_is_asked_as_it_stood():
    scenario, policy = store(), Smoother()
    visited = visit(scenario, policy)
    later = visited.moments[-1]
    assert later.requests == pytest.approx(later.ask([{}, {}])[1])
    found = sensitivity(visited)
    per_unit = named(found.per_unit[:, 0], [one.name for one in found.entries])
    assert per_unit.pop("demand_history[shoppers, 0]") == pytest.approx(0.5)
    assert all(abs(value) < 1e-9 for value in per_unit.values())
    # The memory itself is left as the simulation left it.
    assert policy.last == pytest.approx(_smoothed(scenario, 32))


def _smoothed(scenario, worlds):
    demand = scenario.sample(worlds, 7, "test").demand[:, :, 0, 0]
    last = np.full(worlds, 5.0)
    for period in range(scenario.horizon):
        last = 0.5 * last + 0.5 * demand[scenario.observe.history + period - 1]
    return last


# Response to a shock -------------------------------------------------------------------------------


@pytest.mark.parametrize("units", ["continuous", "integer"])
def test_a_base_stock_rule_passes_a_shock_on_one_for_one(units):
    """Whatever is demanded more is asked for in the next period, on every lane, and never again."""
    scenario = chain(units)
    rule = load_policy("echelon_base_stock", scenario, levels={"stage_2": 60, "stage_1": 20})
    shock = demand_shock(scenario, "market", deviations=1.0)
    deviation = float(scenario.tables.demand_sd[0, 0])
    assert shock.units == pytest.approx(deviation if units == "continuous" else max(round(deviation), 1))
    found = respond(scenario, rule, shock, worlds=32)
    asked = np.zeros_like(found.requests.mean)
    asked[1] = shock.units
    for band in found.requests:
        assert band == pytest.approx(asked, abs=1e-9)
    assert found.total_requests.mean == pytest.approx([shock.units, shock.units])
    assert found.peak_after.tolist() == [1, 1]
    assert found.settled_after.tolist() == [2, 2]
    # The units that went out come back after the lead time: nothing else moves.
    on_hand = dict(zip(found.nodes, found.on_hand.mean.T, strict=True))
    assert on_hand["stage_2"][2] == pytest.approx(-shock.units)
    assert on_hand["stage_2"][4:] == pytest.approx(0, abs=1e-9)


def test_lost_sales_are_not_made_up_for():
    """Where the shock finds empty shelves, nothing is asked for instead; so requests grow by less than it."""
    scenario = one_store(1, 9, STEADY, True, "continuous").replace(horizon=60, warm_up=10)
    rule = load_policy("echelon_base_stock", scenario, levels={"store": 12})
    shock = demand_shock(scenario, deviations=3.0)
    found = respond(scenario, rule, shock, worlds=64)
    tape = scenario.sample(64, 7, "test")
    change = [simulate(scenario, rule, one, trace=True).trace for one in (tape, shock.applied(tape))]
    lost = (change[1].lost - change[0].lost).sum(axis=(0, 2, 3))
    assert lost.mean() > 1
    assert found.total_requests.mean[0] == pytest.approx(shock.units - lost.mean(), abs=1e-6)
    rate = found.fill_rate.mean[0]
    new = [one.demand[shock.period].sum() for one in change]
    lost_then = [one.lost[shock.period].sum() for one in change]
    assert rate == pytest.approx((1 - lost_then[1] / new[1]) - (1 - lost_then[0] / new[0]))
    costs = [sum(line.sum(axis=0) for line in one.costs.values()) for one in change]
    assert float(found.total_cost.mean) == pytest.approx((costs[1] - costs[0]).mean())


def test_in_an_outage_requests_pile_up():
    """j periods into it, what a base-stock rule asks for has grown by the demand of j periods."""
    scenario = store()
    rule = load_policy("echelon_base_stock", scenario, levels={"store": 40})
    stop = outage(scenario, "supplier", length=3, period=30)
    found = respond(scenario, rule, stop, worlds=16, periods=12)
    demand = scenario.sample(16, 7, "test").demand[scenario.observe.history :, :, 0, 0].mean(axis=1)
    grown = [demand[29 : 29 + j].sum() for j in range(4)]
    assert found.requests.mean[:4, 0] == pytest.approx(grown)
    assert found.requests.mean[4:, 0] == pytest.approx(0, abs=1e-9)


def test_a_scenario_without_outages_has_none():
    assert outage(store()) is None
    stop = outage(Scenario.load("two_region"))
    assert (stop.name, stop.array) == ("dairy", "node_availability")
    for wrong in ({"customer": "shopers"}, {"period": 80}, {"deviations": 0}):
        with pytest.raises(InputError, match="shock"):
            demand_shock(store(), **wrong)
    with pytest.raises(InputError, match=r"did you mean 'to_store'"):
        outage(store(), "to_stoer")


# Tables --------------------------------------------------------------------------------------------


def test_a_rule_of_the_family_is_recovered():
    """Gain, cap, a number to look up and a season: all come back as they were given."""
    season = {"kind": "gamma", "mean": 8, "standard_deviation": 2, "season": {"amplitude": 0.4, "period": 12}}
    scenario = build(one_store(2, 9, season, True, "continuous").to_dict() | {"horizon": 150, "warm_up": 30})
    add = [-3.0, -2, -1, 0, 1, 2, 3, 2, 1, 0, -1, -2]
    terms = {"demand_history[shoppers, 1]": {"per_unit": 0.9, "typical": 8}, "season[12]": {"add": add}}
    truth = ReadableRule(
        scenario,
        levels={"store": 30},
        gains={"to_store": 0.6},
        caps={"to_store": 11},
        terms={"to_store": terms},
    )
    (line,) = fit_readable(scenario, truth, worlds=32, moments=120).lines
    assert line.explained == pytest.approx(1, abs=1e-6)
    assert line.explained_by_level < 0.9
    assert (line.gain, line.cap) == pytest.approx((0.6, 11))
    found = {term.feature.name: term for term in line.terms}
    assert set(found) == set(terms)
    history = found["demand_history[shoppers, 1]"]
    assert history.per_unit == pytest.approx(0.9, rel=1e-4)
    assert found["season[12]"].add == pytest.approx(add, abs=1e-3)
    assert line.level + history.per_unit * (8 - history.typical) == pytest.approx(30, abs=1e-3)


def test_a_level_that_outages_raise_is_read_as_a_regime():
    down = {"when": {"mean_up": 15, "mean_down": 4}, "effects": [{"nodes": "supplier", "availability": 0.0}]}
    scenario = Scenario.from_mapping(chain().to_dict() | {"disruptions": {"down": down}})
    levels, shifts = {"stage_2": 40, "stage_1": 18}, {"stage_2": 12}
    rule = load_policy("disruption_aware_base_stock", scenario, levels=levels, outage_shifts=shifts)
    read = fit_readable(scenario, rule)
    line = {one.cell.name: one for one in read.lines}["to_stage_2"]
    (term,) = line.terms
    assert (line.looks_at, term.feature.name) == ("echelon", "node_availability[supplier]")
    assert term.per_unit == pytest.approx(-12)
    assert line.level + term.per_unit * (1 - term.typical) == pytest.approx(40, rel=1e-5)


@pytest.mark.parametrize("name", SHIPPED)
def test_on_every_scenario_base_stock_is_read_as_what_it_is(name):
    """The table of a base-stock rule is the rule: the same levels, and the same cost in every world."""
    scenario = Scenario.load(name)
    rule = load_policy("echelon_base_stock", scenario)
    visited = visit(scenario, rule, worlds=4, moments=2)
    found = sensitivity(visited)
    assert np.isfinite(found.per_unit).all()
    for one in order_curves(visited, "echelon", points=5):
        if one.up_to is not None:
            node = scenario.tables.nodes[scenario.tables.lane_target[one.cell.lane]]
            level = rule.parameters["levels"][node]
            level = level if np.isscalar(level) else level[scenario.tables.products[one.cell.product]]
            assert one.up_to == pytest.approx(level)
    assert respond(scenario, rule, demand_shock(scenario), worlds=2, periods=4).requests.mean.shape[0] == 4
    read = fit_readable(scenario, rule, worlds=8, moments=6)
    assert read.explained == pytest.approx(1, abs=1e-6)
    tape = scenario.sample(4, seed=5, purpose="test")
    costs = [simulate(scenario, one, tape, kpis=False).cost_per_period for one in (rule, read.rule)]
    assert costs[1] == pytest.approx(costs[0], rel=1e-3)


def test_what_is_explained_is_the_share_of_variance():
    """A policy that no table says: what the table leaves unexplained is what is measured on the states visited."""
    scenario = one_store(4, 4, {"kind": "poisson", "mean": 5}, True, "continuous").replace(horizon=100, warm_up=20)

    def policy(observation):
        stock = observation.on_hand.sum(axis=(1, 2, 3)) + observation.in_transit.sum(axis=(1, 2, 3, 4))
        return Decision((40 / (1 + np.exp((stock - 14) / 4)) * 0.7).reshape((-1, 1, 1)))

    read = fit_readable(scenario, policy, worlds=64, moments=20)
    visited = visit(scenario, policy, 64, 20, 0, "tune", disturbed=True)
    plain = np.arange(64) % 2 == 0
    asked = np.concatenate([moment.requests[plain] for moment in visited.moments]).ravel()
    said = np.concatenate([read.rule(moment.observation).requests[plain] for moment in visited.moments]).ravel()
    share = 1 - ((asked - said) ** 2).sum() / ((asked - asked.mean()) ** 2).sum()
    assert read.lines[0].explained == pytest.approx(share, abs=1e-4)
    assert 0.8 < share < 1
    tape = scenario.sample(64, seed=3)
    costs = [simulate(scenario, one, tape, kpis=False).cost_per_period.mean() for one in (policy, read.rule)]
    assert costs[1] == pytest.approx(costs[0], rel=0.03)


def test_a_lane_that_always_asks_for_the_same_is_a_cap():
    scenario = store()
    read = fit_readable(scenario, lambda observation: Decision(np.full((len(observation.period), 1, 1), 5.0)))
    assert read.lines[0].cap == 5
    assert (read.lines[0].gain, read.lines[0].terms) == (1, ())
    visited = visit(scenario, lambda observation: Decision(np.full((len(observation.period), 1, 1), 5.0)))
    assert all((read.rule(moment.observation).requests == 5).all() for moment in visited.moments)


@pytest.mark.parametrize("gain", [1.0, None])
def test_clipped_least_squares_find_what_a_general_solver_finds(gain):
    random = np.random.default_rng(3)
    position, other = random.normal(10, 4, 400), random.normal(0, 1, 400)
    units = np.clip(0.7 * (14 - position) + 1.5 * other + random.normal(0, 0.8, 400), 0, 5)
    design = np.column_stack([np.ones(400), other])
    fit = fit_clipped(design, position, units, np.ones(400), 5.0, gain)

    def errors(numbers):
        slope = numbers[2] if gain is None else gain
        return np.clip(design @ numbers[:2] - slope * position, 0, 5) - units

    start = [9.0, 1.0, 0.6] if gain is None else [13.0, 1.0]
    best = least_squares(errors, start, x_scale="jac", xtol=1e-12, ftol=1e-12)
    assert fit.loss <= 2 * best.cost * (1 + 1e-3)
    assert (errors([*fit.coefficients, fit.gain]) ** 2).sum() == pytest.approx(fit.loss)


# The rule and its file -----------------------------------------------------------------------------


def test_a_readable_rule_by_hand():
    """gain x (level + per unit x (value - typical) - position), cut at 0 and at the cap."""
    scenario = store()
    terms = {"to_store": {"demand_history[shoppers]": {"per_unit": 2, "typical": 5}}}
    rule = ReadableRule(scenario, levels={"store": 22}, gains={"to_store": 0.5}, caps={"to_store": 6}, terms=terms)
    for moment in visit(scenario, rule, worlds=16, moments=5).moments:
        seen = moment.observation
        position = (
            seen.on_hand.sum(axis=(1, 2, 3)) + seen.in_transit.sum(axis=(1, 2, 3, 4)) - seen.backlog.sum(axis=(1, 2, 3))
        )
        level = 22 + 2 * (seen.demand_history[:, 0, 0].mean(axis=1) - 5)
        by_hand = np.clip(0.5 * (level - position), 0, 6)
        assert moment.requests[:, 0, 0] == pytest.approx(by_hand)
        assert 0 < by_hand.mean() < 6


def test_a_readable_rule_is_the_same_in_torch_and_from_its_file(tmp_path):
    scenario = Scenario.load("two_region").replace(horizon=60, warm_up=10)
    read = fit_readable(scenario, load_policy("forecast_base_stock", scenario), worlds=8, moments=12)
    assert any(line.terms for line in read.lines)
    read.rule.save(tmp_path / "rule.yaml", read_from={"policy": "forecast_base_stock"})
    again = load_readable(tmp_path / "rule.yaml", scenario)
    assert again.parameters == read.rule.parameters
    tape = scenario.sample(4, seed=2)
    costs = [simulate(scenario, one, tape, kpis=False).cost_per_period for one in (read.rule, again)]
    assert np.array_equal(*costs)
    in_torch = simulate(scenario, again, tape, backend="torch").cost_per_period.numpy()
    assert in_torch == pytest.approx(costs[0])
    # One world alone decides as it does among others.
    alone = simulate(scenario, again, tape[2], kpis=False).cost_per_period
    assert alone[0] == costs[0][2]


@pytest.mark.slow
def test_a_readable_rule_can_be_exported():
    scenario = store("integer")
    terms = {"to_store": {"demand_history[shoppers]": {"per_unit": 2, "typical": 5}}}
    rule = ReadableRule(scenario, levels={"store": 22.5}, gains={"to_store": 0.5}, caps={"to_store": 6}, terms=terms)
    bundle = make_bundle(rule, scenario, count=30)
    tape = scenario.sample(4, seed=2)
    costs = [simulate(scenario, one, tape, kpis=False).cost_per_period for one in (rule, bundle.policy())]
    assert np.array_equal(*costs)


def test_a_readable_rule_is_refused_where_it_does_not_fit(tmp_path):
    ReadableRule(chain()).save(tmp_path / "rule.yaml")
    with pytest.raises(InputError, match="made for another network"):
        load_readable(tmp_path / "rule.yaml", store())
    load_policy("echelon_base_stock", store()).save(tmp_path / "other.yaml")
    with pytest.raises(InputError, match="rule = 'echelon_base_stock': expected readable"):
        load_readable(tmp_path / "other.yaml", store())
    with pytest.raises(InputError, match="cannot be read"):
        load_readable(tmp_path / "none.yaml", store())
    (tmp_path / "half.yaml").write_text("rule: readable\n")
    with pytest.raises(InputError, match="network: expected this key"):
        load_readable(tmp_path / "half.yaml", store())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"position": "global"}, "readable position = 'global': expected echelon or local"),
        ({"gains": {"to_store": -1}}, "gains.to_store = -1: expected a finite number >= 0"),
        ({"terms": {"to_stor": {}}}, "did you mean 'to_store'"),
        ({"terms": {"to_store": {"on_hand[stor]": {}}}}, r"did you mean 'on_hand\[store\]'"),
        ({"terms": {"to_store": {"on_hand[store]": {"per_unti": 1}}}}, "did you mean 'per_unit'"),
        (
            {"terms": {"to_store": {"on_hand[store]": {"per_unit": "much"}}}},
            "per_unit = 'much': expected a finite number",
        ),
        ({"terms": {"to_store": 3}}, "terms.to_store = 3: expected a mapping"),
        ({"term": {}}, "'term': expected one of .*did you mean 'terms'"),
    ],
)
def test_a_bad_parameter_is_named(parameters, message):
    with pytest.raises(InputError, match=message):
        ReadableRule(store(), **parameters)


def test_policies_that_cannot_be_read_are_refused():
    scenario = store()
    with pytest.raises(InputError, match=r"just_in_time.*knows the future"):
        visit(scenario, load_policy("just_in_time", scenario))

    class Open:
        def start(self, worlds):
            self.file = iter([])
            self.lock = (one for one in [])

        def __call__(self, observation):
            return Decision(np.zeros((len(observation.period), 1, 1)))

    with pytest.raises(InputError, match=r"Open: keeps memory .* cannot be copied"):
        visit(scenario, Open())


# Names ---------------------------------------------------------------------------------------------


def test_every_name_is_there_once_and_means_its_entry():
    scenario = Scenario.load("two_region")
    names = [one.name for one in named_entries(scenario)]
    assert len(names) == len(set(names))
    assert {"on_hand[hub]", "in_transit[hub_north, 0]", "backlog[south_shops]", "period"} <= set(names)
    rule = load_policy("echelon_base_stock", scenario)
    seen = visit(scenario, rule, worlds=3, moments=1).moments[0].observation
    entries = {one.name: one for one in named_entries(scenario)}
    features = {one.name: one for one in named_features(scenario)}
    hub = scenario.tables.nodes.index("hub")
    lane = scenario.tables.lanes.index("hub_north")
    # Stock of every age counts.
    assert entries["on_hand[hub]"].values(seen.on_hand) == pytest.approx(seen.on_hand[:, hub].sum(axis=(1, 2)))
    under_way = features["in_transit[hub_north]"].values(seen.in_transit)
    assert under_way == pytest.approx(seen.in_transit[:, lane].sum(axis=(1, 2, 3)))
    below = features["demand_history[below hub]"].values(seen.demand_history)
    assert below == pytest.approx(seen.demand_history.mean(axis=3).sum(axis=(1, 2)))
    assert season_part(np.array([0, 3, 4, 51, 52, 55]), 52.0, 13).tolist() == [0, 0, 1, 12, 0, 0]


# The command ---------------------------------------------------------------------------------------


def test_the_command_leaves_pictures_tables_and_a_rule(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["scenario=two_region", "policy=capped_dual_index", "policy.parameters.levels.hub=250", "run=read"]
    words += ["scenario.horizon=80", "evaluation.worlds=4", "states.worlds=4", "states.periods=3"]
    words += ["shock.worlds=4", "table.worlds=8", "table.periods=8", "progress=false"]
    launch("read", words)
    folder = tmp_path / "read"
    written = {path.name for path in folder.iterdir()}
    pictures = {"curves.png", "sensitivity.png", "shock_demand.png", "shock_outage.png"}
    assert pictures < written
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["levels"][0]["up_to"] == pytest.approx(250)
    assert summary["shocks"]["outage"]["what"] == "dairy ships nothing for 4 periods"
    assert abs(summary["table"]["versus_policy"]["difference_percent"]["mean"]) < 0.1
    assert "| dairy_hub | echelon | 250 |" in (folder / "table.md").read_text()
    data = yaml.safe_load((folder / "rule.yaml").read_text())
    assert data["parameters"]["levels"]["hub"] == pytest.approx(250)
    printed = capsys.readouterr().out
    assert "policies='[capped_dual_index,read/rule.yaml]'" in printed
    assert "cost of this rule, less that of the policy" in printed
    # The file runs as a policy, and costs what was said.
    scenario = Scenario.load(folder / "scenario.yaml")
    policy = load_policy("capped_dual_index", scenario, levels={"hub": 250})
    tape = scenario.sample(4, 7, "test")
    costs = [
        simulate(scenario, one, tape).cost_per_period.mean()
        for one in (policy, load_readable(folder / "rule.yaml", scenario))
    ]
    said = summary["table"]["versus_policy"]["difference"]["mean"]
    assert costs[1] - costs[0] == pytest.approx(said, abs=1e-6)


def test_what_terms_are_worth_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [
        "scenario=two_region",
        "policy=forecast_base_stock",
        "run=read",
        "scenario.horizon=60",
        "scenario.warm_up=20",
    ]
    words += ["evaluation.worlds=4", "states.worlds=2", "states.periods=2", "shock.worlds=2", "table.worlds=8"]
    monkeypatch.setattr(reading_pictures, "curves", lambda *given: None)
    monkeypatch.setattr(reading_pictures, "heat_map", lambda *given: None)
    monkeypatch.setattr(reading_pictures, "response", lambda *given: None)
    launch("read", [*words, "progress=false"])
    summary = json.loads((tmp_path / "read" / "summary.json").read_text())["table"]
    assert summary["without_terms"]["explained"] < summary["explained"]
    scenario = Scenario.load(tmp_path / "read" / "scenario.yaml")
    tape = scenario.sample(4, 7, "test")
    own = simulate(scenario, load_policy("forecast_base_stock", scenario), tape).cost_per_period
    found = {"rule.yaml": summary, "rule_without_terms.yaml": summary["without_terms"]}
    costs = {}
    for file, said in found.items():
        rule = load_readable(tmp_path / "read" / file, scenario)
        assert bool(rule.terms) == (file == "rule.yaml")
        costs[file] = (simulate(scenario, rule, tape).cost_per_period - own).mean()
        assert costs[file] == pytest.approx(said["versus_policy"]["difference"]["mean"], abs=1e-6)
    # The one that costs least comes next.
    assert f"read/{min(costs, key=lambda file: costs[file])}]'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shock.customer=nobody"], "shock.customer = 'nobody': expected one of north_shops, south_shops"),
        (["shock.outage=diary"], "did you mean 'dairy'"),
        (["table.position=here"], "table.position = 'here': expected 'echelon' or 'local'"),
        (["states.worlds=0"], "states.worlds = 0: expected a whole number >= 1"),
        (["table.trems=1"], "unknown key 'trems'; did you mean 'terms'"),
        (["policy=just_in_time"], "knows the future"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_command_names_what_it_cannot_use(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        launch("read", [*words, "progress=false"])
    assert not list(tmp_path.rglob("summary.json"))


def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "reading.md").read_text(), re.DOTALL):
        exec(compile(example, "reading", "exec"), names)
    assert (tmp_path / "rule.yaml").is_file()
