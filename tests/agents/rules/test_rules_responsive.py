"""Rules that respond: levels recomputed by walking the network, closed forms, Markov chains, and properties anywhere."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import oracle_instances as instances
import pytest
import torch
from hypothesis import given, settings, strategies
from random_scenarios import random_scenario
from reference_scenario import read_scenario

from echelongym.agents import load_policy
from echelongym.agents.registry import RULES
from echelongym.agents.tuning.tuner import tune
from echelongym.envs import InputError, Scenario, simulate
from echelongym.envs.core.backend import TorchOps
from echelongym.envs.simulate import periods

MINE = (
    "capped_local_base_stock",
    "forecast_base_stock",
    "disruption_aware_base_stock",
    "critical_levels",
    "playbook",
    "just_in_time",
)
PLAIN = {"capped_local_base_stock": "local_base_stock"}  # of the others: echelon_base_stock
NO_GAINS = {"forecast_gains": 0, "history_gains": 0, "season_gains": 0}
units = strategies.sampled_from(["continuous", "integer"])
seeds = strategies.integers(0, 10**6)


def drawn(seed, kind="continuous"):
    return Scenario.from_mapping(random_scenario(np.random.default_rng(seed), kind))


def cost(scenario, policy, tape, **options):
    return np.asarray(simulate(scenario, policy, tape, kpis=False, **options).cost_per_period)


def everything_on(name, scenario, seed=0):
    """A rule with every number in use, gains and shifts at random."""
    rule = RULES[name](scenario)
    space, rng = rule.space(), np.random.default_rng(seed)
    vector = space.start + space.scale * rng.uniform(-1, 1, len(space))
    real = np.array([rule.groups[group].real for group in space.groups], dtype=bool)
    if scenario.tables.integer:
        vector = np.where(real, vector, np.round(vector))
    return rule.with_vector(space, np.maximum(vector, space.lower))


# Nothing to respond to -------------------------------------------------------------------------------


@settings(max_examples=8)
@given(seed=seeds, kind=units)
def test_without_gains_shifts_and_caps_it_is_the_plain_rule_to_the_last_bit(seed, kind):
    scenario = drawn(seed, kind)
    tape = scenario.sample(worlds=3, seed=1, purpose="test")
    for name in MINE[:-1]:
        if RULES[name].refusal(scenario) is None:
            nothing = NO_GAINS if "forecast_gains" in RULES[name](scenario).groups else {}
            plain = load_policy(PLAIN.get(name, "echelon_base_stock"), scenario)
            mine = load_policy(name, scenario, **nothing)
            np.testing.assert_array_equal(cost(scenario, mine, tape), cost(scenario, plain, tape))


# Levels counted by walking the network ---------------------------------------------------------------


class Walk:
    """One product of one scenario, by names."""

    def __init__(self, scenario, product):
        self.scenario, self.product = scenario, product
        self.world = read_scenario(scenario.to_dict())
        self.name = list(scenario.products)[product]
        self.first = {}
        for key, lane in scenario.lanes.items():
            if lane.source in scenario.nodes and scenario.carries(lane, self.name):
                self.first.setdefault(lane.target, key)
        self.home = {}
        for key, customer in scenario.customers.items():
            sources = [s for s, source in customer.sources.items() if scenario.carries(source, self.name)]
            if sources:
                self.home[key] = sources[0]

    def lead(self, node):
        """Lead time, or more where the lane cannot be asked every period or nothing arrives on some."""
        return self.world.lasts(self.world.lanes[self.first[node]]) - 1

    def way_down(self, node, home):
        """Periods from the supplier of ``node`` down to ``home``; None if home is not below it."""
        total = 0
        while home in self.first:
            total += self.lead(home)
            if home == node:
                return total
            home = self.scenario.lanes[self.first[home]].source
        return None

    def covered(self, node):
        """Customer and number of periods."""
        return [(c, way + 1) for c, home in self.home.items() if (way := self.way_down(node, home)) is not None]

    def mean(self, customer, period):
        """Mean demand of a period: the season's."""
        process = self.scenario.demand_processes[customer].get(self.name)
        if process is None:
            return 0.0
        season = process.family.season
        turn = (
            0 if season is None else season.amplitude * math.sin(2 * math.pi * (period + season.phase) / season.period)
        )
        return process.mean * (1 + turn)

    def echelon(self, node, observation, world):
        t, p = self.scenario.tables, self.product
        position = observation.on_hand[world, t.nodes.index(node), p].sum()
        for k, lane in enumerate(self.scenario.lanes.values()):
            if lane.target == node:
                position += observation.in_transit[world, k, p].sum()
        for c, home in self.home.items():
            if home == node:
                position -= observation.backlog[world, t.customers.index(c), p].sum()
        below = [target for target, key in self.first.items() if self.scenario.lanes[key].source == node]
        return position + sum(self.echelon(target, observation, world) for target in below)

    def ahead(self, node, observation, world, gains):
        """What forecasts, demand of late and the calendar add."""
        t, p, now = self.scenario.tables, self.product, int(observation.period[world])
        total = 0.0
        for customer, cover in self.covered(node):
            c = t.customers.index(customer)
            process = self.scenario.demand_processes[customer].get(self.name)
            mean = 0.0 if process is None else process.mean
            looks = range(min(cover, t.F))
            total += gains[0] * sum(observation.forecast[world, c, p, j] - self.mean(customer, now + j) for j in looks)
            late = [observation.demand_history[world, c, p, h] - self.mean(customer, now - 1 - h) for h in range(t.H)]
            total += gains[1] * cover * sum(late) / t.H
            total += gains[2] * sum(self.mean(customer, now + j) - mean for j in range(cover))
        return total

    def impaired(self, lane, observation, world):
        t, item = self.scenario.tables, self.scenario.lanes[lane]
        k = t.lanes.index(lane)
        now, item_of_world = int(observation.period[world]), self.world.lanes[lane]
        asked = item_of_world.reviewed(now) and item_of_world.departs(now)
        if observation.lane_availability[world, k] < 1 and asked:
            return True
        closed = item.source in self.world.nodes and not self.world.nodes[item.source].works(now)
        if observation.node_availability[world, t.nodes.index(item.source)] < 1 and not closed:
            return True
        wait = max(self.world.arrives(item_of_world, due) - due for due in range(100))
        if observation.lead_time is not None and observation.lead_time[world, k] > max(item.lead_time.values) + wait:
            return True
        for disruption in self.scenario.disruptions.values():
            when = disruption.when
            if when.first is not None and when.first <= now <= when.last:
                for effect, chosen in disruption.select(self.scenario):
                    if k in chosen and (effect.lead_time_factor or 1) > 1:
                        return True
        return False

    def way_impaired(self, node, observation, world):
        while node in self.first:
            if self.impaired(self.first[node], observation, world):
                return True
            node = self.scenario.lanes[self.first[node]].source
        return False


@settings(max_examples=20)
@given(seed=seeds)
def test_levels_of_the_playbook_by_walking_the_network(seed):
    scenario = drawn(seed)
    t, rng = scenario.tables, np.random.default_rng(seed)
    gains = {name: round(float(rng.uniform(0, 1.5)), 2) for name in NO_GAINS}
    shift = float(rng.uniform(-4, 9))
    rule = load_policy("playbook", scenario, **gains, outage_shifts=shift)
    levels = rule.values["levels"].reshape(t.N, t.P)
    tape = scenario.sample(worlds=2, seed=0, purpose="tune", periods=6)
    for _, observation, _, _ in periods(scenario, rule, tape):
        requests = rule(observation).requests
        for world, p in itertools.product(range(2), range(t.P)):
            walk = Walk(scenario, p)
            asked = np.zeros(t.L)
            for node, lane in walk.first.items():
                level = levels[t.nodes.index(node), p]
                level += walk.ahead(node, observation, world, list(gains.values()))
                level += shift * walk.way_impaired(node, observation, world)
                asked[t.lanes.index(lane)] = max(level - walk.echelon(node, observation, world), 0)
            np.testing.assert_allclose(requests[world, :, p], asked, atol=1e-8)


def test_levels_are_rounded_half_up_where_units_are_whole():
    scenario = instances.lost_sales(2, 4).replace(forecast={"horizon": 2, "skill": 0.7})
    rule = load_policy("forecast_base_stock", scenario, levels=16, forecast_gains=0.7)
    tape = scenario.sample(worlds=3, seed=0, purpose="tune", periods=30)
    for _, observation, _, _ in periods(scenario, rule, tape):
        position = observation.on_hand.sum((1, 2, 3)) + observation.in_transit.sum((1, 2, 3, 4))
        shift = 0.7 * (observation.forecast[:, 0, 0].sum(1) - 2 * 5)
        expected = np.maximum(16 + np.floor(shift + 0.5) - position, 0)
        requests = rule(observation).requests
        assert requests.dtype == np.int64
        np.testing.assert_array_equal(requests[:, 0, 0], expected)


def test_express_levels_move_over_their_own_short_cover_and_only_while_the_primary_lane_is_down():
    """Two lanes into one store: lead times 3 and 1, so that the fast one covers two periods."""
    data = instances.dual_sourcing(3, 110).to_dict() | {"units": "continuous", "forecast": {"horizon": 6, "skill": 0.5}}
    data["lanes"]["expedited"]["lead_time"] = 1
    data["disruptions"] = {
        "strike": {"when": {"mean_up": 6, "mean_down": 4}, "effects": [{"lanes": "regular", "availability": 0}]}
    }
    scenario = Scenario.from_mapping(data)
    rule = load_policy(
        "playbook",
        scenario,
        levels=9,
        express_levels=4,
        express_outage_shifts=3.5,
        **NO_GAINS | {"forecast_gains": 0.8},
    )
    tape = scenario.sample(worlds=8, seed=0, purpose="tune", periods=40)
    seen = set()
    for _, observation, _, _ in periods(scenario, rule, tape):
        stock = observation.on_hand.sum((1, 2, 3)) - observation.backlog.sum((1, 2, 3))
        # Of regular orders what arrives within the next period; the fast lane's arrive at once or next period.
        soon = observation.in_transit[:, 0, 0, 1:, 0].sum(1) + observation.in_transit[:, 1].sum((1, 2, 3))
        down = observation.lane_availability[:, 0] < 1
        ahead = 0.8 * (observation.forecast[:, 0, 0, :2].sum(1) - 2 * 2)
        expected = np.maximum(4 + 3.5 * down + ahead - stock - soon, 0)
        np.testing.assert_allclose(rule(observation).requests[:, 1, 0], expected, atol=1e-9)
        seen |= set(down.tolist())
    assert seen == {True, False}


# What it is worth ------------------------------------------------------------------------------------


def forecast_store(lead, skill):
    demand = {"kind": "normal", "mean": 5, "standard_deviation": 1.6}
    return instances.one_store(lead, 9, demand, False, "continuous").replace(
        forecast={"horizon": lead + 1, "skill": skill}
    )


def test_perfect_forecasts_leave_nothing_short_and_nothing_over():
    scenario = forecast_store(2, 1.0)
    rule = load_policy("forecast_base_stock", scenario, levels=15, forecast_gains=1)
    assert cost(scenario, rule, scenario.sample(worlds=16, seed=1, purpose="test")).max() < 1e-9


def test_cost_is_that_of_what_forecasts_leave_open():
    """(h + p) phi(z) s, s^2 the variance of demand over lead time and a period that is not known yet.

    Looks at leads 1 to L + 1 know skill^1 to skill^(L + 1) of it (Graves, Kletter and Hetzel 1998).
    """
    lead, skill = 3, 0.7
    scenario = forecast_store(lead, skill)
    deviation = 1.6 * math.sqrt(sum(1 - skill**slot for slot in range(1, lead + 2)))
    z = NormalDist().inv_cdf(0.9)
    known = 10 * NormalDist().pdf(z) * deviation
    rule = load_policy("forecast_base_stock", scenario, levels=5 * (lead + 1) + z * deviation)
    costs = cost(scenario, rule, scenario.sample(worlds=256, seed=1, purpose="test"))
    assert abs(costs.mean() - known) < 3 * costs.std(ddof=1) / 16 + 0.003 * known
    assert known < 0.85 * instances_newsvendor_cost(lead)


def instances_newsvendor_cost(lead):
    return 10 * NormalDist().pdf(NormalDist().inv_cdf(0.9)) * 1.6 * math.sqrt(lead + 1)


def regimes():
    demand = {"kind": "poisson", "mean": 5}
    busy = {"when": {"mean_up": 60, "mean_down": 60}, "effects": [{"customers": "all", "demand_factor": 3}]}
    return instances.one_store(2, 9, demand, False, "continuous").replace(
        disruptions={"busy": busy}, observe={"history": 3}
    )


def test_demand_of_late_by_a_loop_and_what_it_saves_where_regimes_switch():
    """One store, stock and orders in a list; level = 26 + 0.9 x 3 x (mean of the last three - 5)."""
    scenario = regimes()
    rule = load_policy("forecast_base_stock", scenario, levels=26, history_gains=0.9)
    tape = scenario.sample(worlds=20, seed=2, purpose="test")
    outcome = simulate(scenario, rule, tape, trace=True, kpis=False)
    demand = tape.demand[:, :, 0, 0]
    for world in range(4):
        net = float(outcome.trace.on_hand[0, world].sum())
        under_way = [float(outcome.trace.in_transit[0, world, 0, 0, 0, 0])]
        total = 0.0
        for t in range(tape.periods):
            if t:
                net += under_way.pop(0)
            level = 26 + 0.9 * 3 * (demand[t : t + 3, world].mean() - 5)
            order = max(level - net - sum(under_way), 0)
            assert outcome.trace.requests[t, world, 0, 0] == pytest.approx(order, abs=1e-9)
            under_way.append(order)
            net -= demand[t + 3, world]
            total += max(net, 0) + 9 * max(-net, 0) if t >= scenario.warm_up else 0
        assert outcome.cost_per_period[world] == pytest.approx(total / (tape.periods - scenario.warm_up))
    best = min(
        cost(scenario, load_policy("echelon_base_stock", scenario, levels=s), tape).mean() for s in range(38, 62, 4)
    )
    assert outcome.cost_per_period.mean() < 0.8 * best


def test_seasons_repeat_and_are_known_beyond_the_horizon():
    """A level of expected demand: with no noise and lead time 1 each period's demand is there and nothing else."""
    season = {"amplitude": 0.5, "period": 6, "phase": 1}
    demand = {"kind": "deterministic", "mean": 8, "season": season}
    scenario = instances.one_store(1, 9, demand, False, "continuous").replace(horizon=20, warm_up=5)
    rule = load_policy("forecast_base_stock", scenario, levels=16)
    assert cost(scenario, rule, scenario.sample(worlds=1, seed=0, purpose="test", periods=100)).max() < 1e-9
    plain = load_policy("echelon_base_stock", scenario, levels=16)
    assert cost(scenario, plain, scenario.sample(worlds=1, seed=0, purpose="test")).min() > 1


def test_weekdays_of_a_record_are_known(tmp_path):
    """A record that repeats every four periods leaves nothing open."""
    week = [2, 9, 4, 1]
    rows = "\n".join(f"{t},{week[t % 4]}" for t in range(40))
    (tmp_path / "sales.csv").write_text("period,shoppers\n" + rows + "\n")
    data = instances.one_store(1, 9, {"kind": "poisson", "mean": 4}, False, "continuous").to_dict()
    data["customers"]["shoppers"]["demand"] = {"kind": "trace", "file": "sales.csv", "block": 4}
    scenario = Scenario.from_mapping(data | {"base_dir": str(tmp_path), "horizon": 30, "warm_up": 6})
    rule = load_policy("forecast_base_stock", scenario, levels=8, history_gains=0)
    assert cost(scenario, rule, scenario.sample(worlds=2, seed=0, purpose="test")).max() < 1e-9


# Critical levels -------------------------------------------------------------------------------------


def two_classes(cap=6):
    """Both served by one store whose supply is short, one after the other; lead time 0, lost sales."""
    data = {
        "name": "two_classes",
        "units": "integer",
        "horizon": 200,
        "warm_up": 50,
        "nodes": {"supplier": {"kind": "supplier"}, "store": {"holding_cost": 0.2, "initial": 8}},
        "lanes": {"to_store": {"source": "supplier", "target": "store", "lead_time": 0, "capacity": cap}},
        "customers": {},
    }
    for priority, (name, mean, penalty) in enumerate((("gold", 2, 20), ("silver", 4, 1.5)), 1):
        demand = {"kind": "poisson", "mean": mean}
        terms = {"lost_share": 1, "lost_sale_cost": penalty, "priority": priority}
        data["customers"][name] = {"sources": {"store": {}}, "demand": demand, **terms}
    return Scenario.from_mapping(data)


def chain_cost(level, cap, critical, means=(2, 4), penalties=(20, 1.5), holding=0.2):
    """Stationary cost of the Markov chain of stock after demand."""

    def poisson(mean):
        return [math.exp(-mean) * mean**k / math.factorial(k) for k in range(40)]

    first, second = map(poisson, means)
    move, costs = np.zeros((level + 1, level + 1)), np.zeros(level + 1)
    for left in range(level + 1):
        stock = min(level, left + cap)
        for (a, pa), (b, pb) in itertools.product(enumerate(first), enumerate(second)):
            got = min(a, stock)
            other = min(b, max(stock - got - critical, 0))
            stays = stock - got - other
            move[left, stays] += pa * pb
            costs[left] += pa * pb * (holding * stays + penalties[0] * (a - got) + penalties[1] * (b - other))
    share = np.linalg.matrix_power(move / move.sum(1, keepdims=True), 4096)[0]
    return float(share @ costs)


@pytest.mark.parametrize("critical", [0, 3])
def test_two_classes_cost_what_a_markov_chain_says(critical):
    scenario = two_classes()
    rule = load_policy("critical_levels", scenario, levels=8, critical_levels={"silver": critical})
    costs = cost(scenario, rule, scenario.sample(worlds=256, seed=4, purpose="test"))
    assert abs(costs.mean() - chain_cost(8, 6, critical)) < 3 * costs.std(ddof=1) / 16


def test_keeping_back_pays_and_the_tuner_finds_it():
    scenario = two_classes(3)
    best = min(range(7), key=lambda critical: chain_cost(8, 3, critical))
    assert best >= 1
    found = tune(
        scenario,
        "critical_levels",
        method="search",
        budget=400_000,
        worlds=64,
        judged=64,
        parameters={"levels": 8},
        progress=False,
    )
    kept = found.parameters["critical_levels"]["store/silver"]
    assert chain_cost(8, 3, int(kept)) < 1.01 * chain_cost(8, 3, best) < chain_cost(8, 3, 0)


def test_critical_levels_are_of_pairs_or_of_a_customer_with_all_its_pairs():
    scenario = Scenario.load("two_region")
    by_pair = load_policy("critical_levels", scenario, critical_levels={"hub/north_shops": 7})
    by_customer = load_policy("critical_levels", scenario, critical_levels={"north_shops": 7})
    assert by_pair.parameters == by_customer.parameters
    assert by_pair.parameters["critical_levels"] == {"hub/north_shops": 7}
    for name, message in (
        ("hub/north_shop", "hub/north_shops"),
        ("north/north_shops", "has none"),
        ("south_shops", "south"),
    ):
        with pytest.raises(InputError, match=message):
            load_policy("critical_levels", scenario, critical_levels={name: 7})
    with pytest.raises(InputError, match=">= 0"):
        load_policy("critical_levels", scenario, critical_levels=-1)


# Refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scenario", "message"),
    [
        ("forecast_base_stock", "lost_sales", "nothing to follow"),
        ("disruption_aware_base_stock", "lost_sales", "no disruption"),
        ("critical_levels", "serial", "nobody to ration"),
    ],
)
def test_a_rule_without_a_point_is_refused_and_says_why(name, scenario, message):
    scenario = Scenario.load(scenario)
    assert message in RULES[name].refusal(scenario)
    with pytest.raises(InputError, match=message):
        load_policy(name, scenario)
    assert RULES["playbook"].refusal(scenario) is None


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"effects": [{"lanes": "to_store", "lead_time_factor": 2}]}, True),
        ({"effects": [{"lanes": "to_store", "lead_time_factor": 2}], "observe": {"lead_time": "quoted"}}, False),
        ({"effects": [{"lanes": "to_store", "lead_time_factor": 2}], "when": {"from": 3, "to": 9}}, False),
        ({"effects": [{"nodes": "supplier", "availability": 0}]}, False),
        ({"effects": [{"nodes": "store", "availability": 0}]}, True),
        ({"effects": [{"customers": "all", "demand_factor": 2}]}, True),
    ],
)
def test_only_disruptions_that_can_be_seen_count(change, refused):
    event = {"when": change.get("when", {"mean_up": 9, "mean_down": 3}), "effects": change["effects"]}
    scenario = instances.lost_sales(2, 4).replace(disruptions={"event": event}, observe=change.get("observe", {}))
    assert (RULES["disruption_aware_base_stock"].refusal(scenario) is not None) == refused


# Just in time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [instances.serial_a(), instances.serial_b(), instances.serial_four()])
def test_with_fixed_lead_times_nothing_stands_where_it_is_sold_and_nobody_waits(scenario):
    tape = scenario.sample(worlds=8, seed=0, purpose="test", periods=120)
    outcome = simulate(scenario, load_policy("just_in_time", scenario), tape, kpis=False)
    for line in ("holding", "backorder"):
        assert np.abs(outcome.costs[line]).max() < 1e-9


def uncertain_store():
    data = instances.one_store(1, 9, {"kind": "poisson", "mean": 5}, False, "integer").to_dict()
    data["lanes"]["to_store"]["lead_time"] = {"values": [1, 2, 4], "probabilities": [0.3, 0.4, 0.3]}
    data["disruptions"] = {
        "outage": {"when": {"mean_up": 15, "mean_down": 4}, "effects": [{"nodes": "supplier", "availability": 0}]}
    }
    return Scenario.from_mapping(data)


def test_nobody_waits_either_where_lead_times_cross_and_supply_stops():
    scenario = uncertain_store()
    tape = scenario.sample(worlds=8, seed=0, purpose="test")
    outcome = simulate(scenario, load_policy("just_in_time", scenario), tape, kpis=False)
    assert outcome.costs["backorder"].max() == 0
    plain = [load_policy("echelon_base_stock", scenario, levels=s) for s in range(10, 90, 10)]
    best = np.min([cost(scenario, rule, tape) for rule in plain], axis=0)  # the best level of each world
    assert (outcome.cost_per_period < best).all()


def test_what_arrives_at_a_node_crosses_one_lane_a_period():
    """A warehouse on a lane of lead time 0 ships on only in the next period."""
    scenario = instances.serial([1, 2], [0, 2], [0, 0], 9, {"kind": "poisson", "mean": 5}, "integer")
    outcome = simulate(
        scenario, load_policy("just_in_time", scenario), scenario.sample(worlds=8, seed=3, purpose="test"), kpis=False
    )
    assert outcome.costs["backorder"].max() == 0


def test_one_rule_runs_over_chunks_of_worlds():
    scenario = uncertain_store()
    tape = scenario.sample(worlds=7, seed=0, purpose="test")
    rule = load_policy("just_in_time", scenario)
    chunks = [cost(scenario, rule, tape[:3]), cost(scenario, rule, tape[3:])]
    np.testing.assert_array_equal(np.concatenate(chunks), cost(scenario, rule, tape))


def test_it_needs_the_tape_of_the_worlds_it_decides_for():
    scenario = instances.serial_b()
    rule = load_policy("just_in_time", scenario)
    tape = scenario.sample(worlds=3, seed=0, purpose="tune", periods=60)
    _, observation, _, _ = next(periods(scenario, load_policy("echelon_base_stock", scenario), tape))
    with pytest.raises(InputError, match="simulate"):
        rule(observation)
    rule.foresee(tape[:2])
    with pytest.raises(InputError, match="simulate"):
        rule(observation)
    rule.foresee(tape)
    assert rule(observation).requests.shape == (3, 2, 1)
    with pytest.raises(InputError):
        rule.foresee(instances.serial_a().sample(worlds=3, seed=0, purpose="tune"))


# Anywhere --------------------------------------------------------------------------------------------


@settings(max_examples=6)
@given(seed=seeds, kind=units)
def test_decisions_are_sound_alike_on_both_backends_and_alone(seed, kind):
    scenario = drawn(seed, kind)
    t = scenario.tables
    tape = scenario.sample(worlds=3, seed=1, purpose="tune")
    for name in MINE:
        if RULES[name].refusal(scenario) is not None:
            with pytest.raises(InputError, match=name):
                RULES[name](scenario)
            continue
        rule = everything_on(name, scenario, seed)
        for _, observation, _, _ in periods(scenario, rule, tape):
            decision = rule(observation)
            shapes = [(decision.requests, (3, t.L, t.P)), (decision.reserve, (3, t.S, t.P))]
            for values, shape in shapes:
                if values is not None:
                    assert values.shape == shape
                    assert (np.isfinite(values) & (values >= 0)).all()
        together = cost(scenario, rule, tape)
        assert cost(scenario, rule, tape[1])[0] == together[1]
        np.testing.assert_allclose(cost(scenario, rule, tape, backend="torch"), together, rtol=1e-9)


@settings(max_examples=4)
@given(seed=seeds, kind=units)
def test_a_saved_rule_is_read_back(tmp_path_factory, seed, kind):
    scenario = drawn(seed, kind)
    tape = scenario.sample(worlds=2, seed=1, purpose="tune")
    for name in MINE:
        if RULES[name].refusal(scenario) is None:
            rule = everything_on(name, scenario, seed)
            path = tmp_path_factory.mktemp("rule") / "rule.yaml"
            rule.save(path)
            again = load_policy(path, scenario)
            assert again.parameters == rule.parameters
            np.testing.assert_array_equal(cost(scenario, again, tape), cost(scenario, rule, tape))


@pytest.mark.parametrize("allocation", ["proportional", "marginal"])
@pytest.mark.parametrize("name", ["playbook", "just_in_time"])
def test_gradients_by_parameters_are_finite_differences(name, allocation):
    scenario = Scenario.load("two_region")
    held = {"allocation": allocation} if name == "playbook" else {}
    rule = RULES[name](scenario, **held)
    space = rule.space()
    tape = scenario.sample(worlds=2, seed=5, purpose="tune", periods=scenario.warm_up + 40)
    rng = np.random.default_rng(1)
    start = space.start + space.scale * rng.uniform(0.05, 0.3, len(space))
    direction = rng.normal(size=len(space)) * space.scale

    def total(step, backend="numpy"):
        if torch.is_tensor(step):
            vector, backend = torch.tensor(start) + step * torch.tensor(direction), TorchOps(torch.float64)
        else:
            vector = start + step * direction
        return simulate(
            scenario, rule.with_vector(space, vector), tape, backend=backend, kpis=False
        ).cost_per_period.sum()

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    total(step).backward()
    assert float(step.grad) == pytest.approx((total(1e-7) - total(-1e-7)) / 2e-7, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", MINE)
def test_a_tiny_budget_tunes(name):
    scenario = Scenario.load("two_region").with_overrides({"horizon": 24, "warm_up": 8})
    found = tune(scenario, name, budget=8_000, worlds=16, judged=16, progress=False)
    assert np.isfinite(found.cost)
    again = load_policy(name, scenario, **found.parameters)
    assert again.parameters == found.parameters
