"""The reference simulator held to hand-computed worlds and to the balance of units on random ones."""

import collections

import hand_cases_money
import hand_cases_ordering
import hand_cases_service
import hand_cases_stock
import hand_cases_whole
import numpy as np
import pytest
import random_scenarios
import reference
import scenario_features
from hand_cases import HISTORY, check, one_store, requests_of, reserve_of, tape_of
from hypothesis import given

ROOMS = (hand_cases_stock, hand_cases_service, hand_cases_money, hand_cases_whole, hand_cases_ordering)
CASES = [case for room in ROOMS for case in room.CASES]
UNITS = ("continuous", "integer")


def by_reference(case):
    """Fields and costs of a case's trace, by the reference simulator."""
    trace = reference.simulate(case.scenario, tape_of(case), HISTORY, requests_of(case), reserve_of(case))
    return trace, trace["costs"]


@pytest.fixture(params=[by_reference])
def simulator(request):
    """Anything that turns a case into (fields by name, costs by line), arrays with the period first."""
    return request.param


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hand_case(case, simulator):
    check(case, *simulator(case))


def test_cases_are_told_apart():
    names = collections.Counter(case.name for case in CASES)
    assert max(names.values()) == 1
    assert len(CASES) >= 40


# ---------------------------------------------------------------------------------------------- what is observed


def test_observation_shows_the_past_and_not_today():
    """Demand of t is not in the observation of t; history runs back into the periods before the first."""
    seen = []
    tape = {
        "demand": np.arange(7.0).reshape(7, 1, 1),  # four periods of history, then 4, 5, 6
        "lead_time": np.ones((3, 1), int),
        "node_availability": np.ones((3, 2)),
        "lane_availability": np.ones((3, 1)),
        "lane_yield": np.ones((3, 1)),
    }

    def policy(observation):
        seen.append(observation)
        return np.full((1, 1), 2.0), None

    reference.simulate(one_store(shop={"lost_share": 1.0}), tape, 4, policy)
    np.testing.assert_array_equal(seen[0]["demand_history"][0, 0], [3, 2, 1, 0])
    np.testing.assert_array_equal(seen[2]["demand_history"][0, 0], [5, 4, 3, 2])
    assert "lead_time" not in seen[0]
    # Sales: nothing could be served of the 4 of period 0, 2 of the 5 of period 1.
    seen.clear()
    reference.simulate(one_store(shop={"lost_share": 1.0}, observe={"demand": "sales"}), tape, 4, policy)
    np.testing.assert_array_equal(seen[2]["demand_history"][0, 0], [2, 0, 3, 2])


def test_observation_holds_what_was_not_filled_last_period():
    """5 asked of a supplier that is out: seen in the period after, then forgotten."""
    case = next(case for case in CASES if case.name == "what could not be shipped is forgotten")
    asked, seen = requests_of(case), []

    def policy(observation):
        seen.append(observation["unfilled"].tolist())
        return asked[observation["period"]], None

    reference.simulate(case.scenario, tape_of(case), HISTORY, policy)
    assert seen == [[[0]], [[5]], [[0]]]


def test_missing_random_numbers_are_one_half():
    case = next(case for case in CASES if case.name.startswith("priorities first, then the same rule"))
    tape = {name: array for name, array in tape_of(case).items() if name not in ("split", "thin")}
    trace = reference.simulate(case.scenario, tape, HISTORY, requests_of(case))
    check(case, trace, trace["costs"])


def test_fractional_availability_needs_a_capacity():
    tape = tape_of(CASES[0]) | {"lane_availability": np.full((4, 1), 0.5)}
    with pytest.raises(ValueError, match="truck"):
        reference.simulate(CASES[0].scenario, tape, HISTORY, requests_of(CASES[0]))


# ---------------------------------------------------------------------------------------------- random worlds


@pytest.mark.parametrize("units", UNITS)
def test_units_are_conserved(units):
    """Opening (before Receive) + supplied + returned = served + disposed + closing, per product and period."""

    @given(random_scenarios.seeds())
    def balance(seed):
        scenario, tape, history, requests, reserve = random_scenarios.random_world(seed, units)
        trace = reference.simulate(scenario, tape, history, requests, reserve)
        total = {name: trace[name].sum(axis=1) for name in ("served", "disposed", "returned", "lost")}
        into = trace["opening"] + trace["supplied"] + total["returned"]
        out = total["served"] + total["disposed"] + trace["closing"]
        close = {"rtol": 1e-9, "atol": 1e-6} if units == "continuous" else {"rtol": 0, "atol": 0}
        np.testing.assert_allclose(into, out, **close)
        # A customer's books: what came up was served or lost, or waits.
        waiting = trace["backlog"].sum(axis=(1, 3))
        came_up = waiting[:-1] + tape["demand"][history:-1].sum(axis=1)
        np.testing.assert_allclose(came_up, (total["served"] + total["lost"])[:-1] + waiting[1:], **close)
        for name in "on_hand in_transit backlog shipped received served lost disposed unfilled".split():
            assert trace[name].min(initial=0) >= -1e-9, name
            assert (trace[name].dtype == int) == (units == "integer"), name
        assert all(np.isfinite(values).all() for values in trace["costs"].values())

    balance()


def test_nothing_exceeds_its_limit():
    """Lanes and nodes keep to capacity x availability; a node out neither ships nor serves; shut lanes ship nothing."""

    def limit(capacity, availability):
        return np.where(availability > 0, capacity * np.maximum(availability, 1e-300), 0.0) + 1e-9

    @given(random_scenarios.seeds())
    def limits(seed):
        scenario, tape, history, requests, reserve = random_scenarios.random_world(seed, "integer")
        trace = reference.simulate(scenario, tape, history, requests, reserve)
        volume = np.array([terms.get("volume", 1.0) for terms in scenario["products"].values()])
        moved = trace["shipped"] @ volume
        leaving = dict.fromkeys(scenario["nodes"], 0.0)
        for i, lane in enumerate(scenario["lanes"].values()):
            assert (moved[:, i] <= limit(lane.get("capacity", np.inf), tape["lane_availability"][:, i])).all()
            if lane["source"] in leaving:
                leaving[lane["source"]] = leaving[lane["source"]] + moved[:, i]
        for i, (name, node) in enumerate(scenario["nodes"].items()):
            assert (leaving[name] <= limit(node.get("capacity", np.inf), tape["node_availability"][:, i])).all()
        pairs = [source for customer in scenario["customers"].values() for source in customer["sources"]]
        for i, source in enumerate(pairs):
            out = tape["node_availability"][:, list(scenario["nodes"]).index(source)] == 0
            assert not trace["served"][out, i].any()

    limits()


@pytest.mark.parametrize("units", UNITS)
def test_every_feature_appears_often(units):
    """A generator that forgets a feature would test nothing of it."""
    counts = collections.Counter()
    for seed in range(200):
        scenario = random_scenarios.random_scenario(np.random.default_rng(seed), units)
        counts.update(scenario_features.features(scenario))
    rare = {name: counts[name] for name in scenario_features.FEATURES if counts[name] < 15}
    assert not rare


def test_scenarios_follow_from_the_seed():
    first, second = (random_scenarios.random_scenario(np.random.default_rng(3), "integer") for _ in range(2))
    assert first == second
