"""Disruptions and lead times: how long, how often, on what, and what a user may not write."""

import itertools

import numpy as np
import pytest
from demand_worlds import busy, customer, scenario
from scipy import stats

from echelongym.envs.core.errors import InputError
from echelongym.envs.worlds.disruption import any_at_set_times, hits
from echelongym.envs.worlds.events import disturbed, impaired

WORLDS, PERIODS = 400, 500


def chain(up, down, periods=PERIODS, history=4, worlds=WORLDS):
    """Whether the store is down, (H + T, B), history from demand and the rest from availability."""
    outage = {
        "when": {"mean_up": up, "mean_down": down},
        "effects": [{"nodes": "store", "availability": 0}, {"customers": "all", "demand_factor": 0}],
    }
    demand = {"shop": customer({"kind": "deterministic", "mean": 1})}
    made = scenario(demand, disruptions={"outage": outage}, observe={"history": history})
    tape = made.sample(worlds, seed=5, periods=periods)
    down_now = tape.demand[:, :, 0, 0] == 0
    assert np.array_equal(down_now[history:], tape.node_availability[:, :, 1] == 0)
    assert (tape.node_availability[:, :, 0] == 1).all()
    return down_now


def runs(state):
    """Lengths of the stretches that lie wholly within a world, up and down."""
    found = {False: [], True: []}
    for world in state.T:
        turns = np.flatnonzero(np.diff(world.astype(int))) + 1
        for start, end in itertools.pairwise(turns):
            found[bool(world[start])].append(end - start)
    return {key: np.array(lengths) for key, lengths in found.items()}


@pytest.mark.parametrize(("up", "down"), [(20, 5), (6, 1), (1.5, 1.2), (1, 1), (3, 40)])
def test_stretches_are_geometric_and_stationary(up, down):
    state = chain(up, down)
    fall, rise = 1 / up, 1 / down
    share = down / (up + down)
    # Stationary at every period, history included.
    by_period = state.mean(axis=1)
    assert np.abs(by_period - share).max() < 5.5 * np.sqrt(share * (1 - share) / WORLDS)
    # Every step leaves a state with its probability, wherever it starts from.
    for before, chance in ((False, fall), (True, rise)):
        steps = state[1:][state[:-1] == before] != before
        assert abs(steps.mean() - chance) < 5 * np.sqrt(chance * (1 - chance) / steps.size) + 1e-12
    if down == 1:
        assert (runs(state)[True] == 1).all()
    elif share < 0.5:
        # Cut off at both ends, short stretches are seen a little more often: compare the shape.
        lengths = runs(state)[True]
        longest = 12
        observed = np.bincount(np.minimum(lengths, longest), minlength=longest + 1)[1:]
        weights = np.array([(PERIODS + 3 - k) * stats.geom(rise).pmf(k) for k in range(1, PERIODS)])
        expected = np.append(weights[: longest - 1], weights[longest - 1 :].sum())
        expected *= observed.sum() / expected.sum()
        kept = expected > 5
        expected, observed = expected[kept], observed[kept]
        assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-6


def test_memory_is_that_of_a_markov_chain():
    """Correlation over k periods is (1 - 1/up - 1/down)^k, also across period 0 and when negative."""
    for up, down in ((8, 4), (1.4, 1.6)):
        state = chain(up, down, periods=100, history=20, worlds=8000).astype(float)
        share, keep = down / (up + down), 1 - 1 / up - 1 / down
        for lag in (1, 2, 5):
            products = (state[lag:] - share) * (state[:-lag] - share)
            spread = products.mean(axis=0).std() / np.sqrt(8000)
            assert abs(products.mean() - share * (1 - share) * keep**lag) < 5 * spread
            around_0 = (state[20] - share) * (state[20 - lag] - share)
            assert abs(around_0.mean() - share * (1 - share) * keep**lag) < 5 * around_0.std() / np.sqrt(8000)


def test_worlds_do_not_depend_on_history_or_horizon():
    short, long = chain(8, 4, periods=30, history=1), chain(8, 4, periods=50, history=25)
    assert np.array_equal(short, long[24:55])


def test_set_times_include_both_ends():
    storm = {"when": {"from": 3, "to": 5}, "effects": [{"lanes": "truck", "yield": 0.25}]}
    tape = scenario(disruptions={"storm": storm}).sample(2, periods=8)
    expected = [1, 1, 1, 0.25, 0.25, 0.25, 1, 1]
    assert np.array_equal(tape.lane_yield[:, :, 0], np.transpose([expected, expected]))


NETWORK = {
    "nodes": {
        "mill": {"kind": "supplier", "capacity": 9},
        "hub": {"capacity": 5},
        "store": {"initial": 0},
        "kiosk": {"initial": 0},
    },
    "lanes": {
        "rail": {"source": "mill", "target": "hub", "mode": "rail", "capacity": 8},
        "truck": {"source": "hub", "target": "store", "capacity": 8},
        "van": {"source": "hub", "target": "kiosk", "mode": "express"},
    },
    "customers": {
        "a": customer({"kind": "deterministic", "mean": 8}, "store", region="north", segment="retail"),
        "b": customer({"kind": "deterministic", "mean": 8}, "kiosk", region="north", segment="online"),
        "c": customer({"kind": "deterministic", "mean": 8}, "store", region="south", segment="retail"),
    },
}


def hit(effect, key):
    """Which entities an effect of 1/2 changes."""
    made = scenario(disruptions={"d": {"when": {"from": 0, "to": 0}, "effects": [effect]}}, **NETWORK)
    tape = made.sample(1, periods=1)
    return (
        {
            "nodes": lambda: tape.node_availability[0, 0] == 0.5,
            "lanes": lambda: {"availability": tape.lane_availability, "yield": tape.lane_yield}[key][0, 0] == 0.5,
            "customers": lambda: tape.demand[-1, 0, :, 0] == 4,
        }[next(kind for kind in ("nodes", "lanes", "customers") if kind in effect)]()
        .nonzero()[0]
        .tolist()
    )


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ({"nodes": "hub"}, [1]),
        ({"nodes": ["hub", "mill"]}, [0, 1]),
        ({"nodes": {"kind": "supplier"}}, [0]),
        ({"lanes": "all"}, [0, 1, 2]),
        ({"lanes": {"source": "hub"}}, [1, 2]),
        ({"lanes": {"source": ["mill", "hub"], "mode": ["regular", "express"]}}, [1, 2]),
        ({"lanes": {"source": "hub", "target": "store"}}, [1]),
        ({"lanes": {"mode": "rail"}}, [0]),
        ({"customers": {"region": "north"}}, [0, 1]),
        ({"customers": {"region": "north", "segment": "retail"}}, [0]),
        ({"customers": ["c", "a"]}, [0, 2]),
    ],
    ids=str,
)
def test_selectors(selector, chosen):
    key = {"nodes": "availability", "lanes": "yield", "customers": "demand_factor"}[next(iter(selector))]
    assert hit({**selector, key: 0.5}, key) == chosen


def test_active_effects_multiply():
    events = {
        "a": {"when": {"from": 0, "to": 1}, "effects": [{"lanes": "truck", "yield": 0.5, "lead_time_factor": 1.5}]},
        "b": {
            "when": {"from": 1, "to": 2},
            "effects": [
                {"lanes": {"source": "hub"}, "yield": 0.8},
                {"lanes": "truck", "yield": 0.5, "lead_time_factor": 1.5},
                {"customers": "all", "demand_factor": 1.5},
                {"customers": {"region": "north"}, "demand_factor": 0.5},
            ],
        },
    }
    tape = scenario(disruptions=events, **NETWORK).sample(1, periods=4)
    assert np.allclose(tape.lane_yield[:, 0, 1], [0.5, 0.2, 0.4, 1])
    assert np.allclose(tape.lane_yield[:, 0, 2], [1, 0.8, 0.8, 1])
    # The lead time of 1 is stretched to 1.5, 2.25, 1.5 and rounded up.
    assert tape.lead_time[:, 0, 1].tolist() == [2, 3, 2, 1]
    assert np.allclose(tape.demand[4:, 0, :, 0], [[8, 8, 8], [6, 6, 12], [6, 6, 12], [8, 8, 8]])


def test_many_events_on_one_customer():
    """More events than combinations are listed for."""
    events = {
        f"e{k}": {
            "when": {"mean_up": 2, "mean_down": 2},
            "effects": [{"customers": "all", "demand_factor": 1 + k / 10}, {"nodes": "store", "availability": 0}],
        }
        for k in range(14)
    }
    tape = scenario({"shop": customer({"kind": "deterministic", "mean": 1})}, disruptions=events).sample(300)
    mean = np.prod([1 + k / 20 for k in range(14)])
    sample = tape.demand[-1, :, 0, 0]
    assert abs(sample.mean() - mean) < 5 * sample.std() / np.sqrt(300)


def test_a_whole_product_of_factors_is_not_rounded_up():
    events = {
        f"e{k}": {"when": {"from": 0, "to": 0}, "effects": [{"lanes": "all", "lead_time_factor": factor}]}
        for k, factor in enumerate((1.1, 10 / 11))
    }
    lanes = {"truck": {"source": "mill", "target": "store", "lead_time": 3}}
    assert scenario(lanes=lanes, disruptions=events).sample(1).lead_time[0, 0, 0] == 3


def test_lead_times_follow_their_probabilities():
    law = {"values": [5, 0, 2], "probabilities": [0.2, 0.5, 0.3]}
    lanes = {
        "truck": {"source": "mill", "target": "store", "lead_time": law},
        "van": {"source": "mill", "target": "store", "lead_time": 4},
        "car": {"source": "mill", "target": "store", "lead_time": law},
    }
    made = scenario(lanes=lanes)
    tape = made.sample(300, periods=200)
    observed = np.bincount(tape.lead_time[:, :, 0].ravel(), minlength=6)
    assert stats.chisquare(observed[[0, 2, 5]], np.array([0.5, 0.3, 0.2]) * 60_000).pvalue > 1e-6
    assert observed[[1, 3, 4]].sum() == 0
    assert (tape.lead_time[:, :, 1] == 4).all()
    # Lanes and periods are independent.
    one, other = tape.lead_time[:, :, 0], tape.lead_time[:, :, 2]
    for a, b in ((one, other), (one[1:], one[:-1]), (one[:, 1:], one[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)
    assert made.lanes["truck"].lead_time.mean == pytest.approx(1.6)
    assert made.lanes["truck"].lead_time.longest == 5


def test_a_lead_time_of_probability_0_is_none():
    law = {"values": [1, 9], "probabilities": [1, 0]}
    lane = scenario(lanes={"truck": {"source": "mill", "target": "store", "lead_time": law}}).lanes["truck"]
    assert lane.lead_time.longest == 1
    assert not lane.lead_time.random


@pytest.mark.parametrize(
    ("lead_time", "message"),
    [
        (-1, "lead_time = -1: -1: expected a whole number of periods >= 0"),
        (1.5, "1.5: expected a whole number"),
        ("two", "'two': expected a whole number"),
        (None, "None: expected a whole number"),
        ({"values": [1, 2]}, "probabilities = None: expected a list"),
        ({"values": [1, 2], "probabilities": [0.5]}, "expected as many as values"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "expected a total of 1"),
        ({"values": [1, -2], "probabilities": [0.5, 0.5]}, "-2: expected a whole number"),
        ({"values": [1, 2], "probabilities": [1.5, -0.5]}, "probabilities = 1.5: expected a number"),
        ({"values": [], "probabilities": []}, "expected at least one value"),
        ({"value": [1], "probabilities": [1]}, "unknown key 'value'"),
    ],
)
def test_bad_lead_times_are_refused(lead_time, message):
    with pytest.raises(InputError, match=message):
        scenario(lanes={"truck": {"source": "mill", "target": "store", "lead_time": lead_time}})


WHEN = {"from": 1, "to": 2}
YIELD = {"lanes": "all", "yield": 0.5}


def event(effect=None, when=None, **more):
    return {"when": WHEN if when is None else when, "effects": [YIELD if effect is None else effect], **more}


@pytest.mark.parametrize(
    ("disruption", "message"),
    [
        (event(when={"from": 5, "to": 2}), "to = 2: expected a period >= from"),
        (event(when={"from": 5}), "when: expected either mean_up and mean_down, or from and to"),
        (event(when={"mean_up": 5}), "when: expected either"),
        (event(when={"from": 5, "to": 6, "every": 1}), "every = 1: expected at least the 2 periods that it lasts"),
        (event(when={"mean_up": 5, "mean_down": 2, "every": 7}), "every = 7: expected with from and to only"),
        (event(when={"from": "2024-01-01", "to": 6}), "to = 6: expected a date, as from"),
        (
            event(when={"from": "01/02/2024", "to": 6}),
            "when.from = '01/02/2024': expected a whole number >= 0, or a date",
        ),
        (event(when={"from": "2024-01-01", "to": "2024-01-02"}), "expected numbers of periods: dates are known where"),
        (event(when={"mean_up": 5, "mean_down": 2, "from": 1, "to": 2}), "when: expected either"),
        (event(when={"mean_up": 5, "mean_down": 0.5}), "when.mean_down = 0.5: expected a finite number >= 1"),
        (event(when={"from": -3, "to": 2}), "when.from = -3: expected a whole number >= 0"),
        (event(when={"start": 3}), "unknown key 'start'"),
        (event(when={}), "when: expected either"),
        ({"when": WHEN, "effects": []}, r"effects = \[\]"),
        ({"effects": [YIELD]}, "when: expected this key"),
        (event(severity=3), "unknown key 'severity'"),
        (event({"yield": 0.5}), "expected exactly one of nodes, lanes and customers"),
        (event({"lanes": "all", "nodes": "all", "yield": 0.5}), "expected exactly one of nodes, lanes and customers"),
        (event({"lanes": "all"}), "expected at least one of availability"),
        (event({"nodes": "hub", "yield": 0.5}), "yield = 0.5: expected on lanes, not nodes"),
        (event({"nodes": "hub", "lead_time_factor": 2}), "lead_time_factor = 2: expected on lanes, not nodes"),
        (event({"lanes": "all", "demand_factor": 2}), "demand_factor = 2: expected on customers, not lanes"),
        (event({"customers": "a", "availability": 0}), "availability = 0: expected on nodes or lanes, not customers"),
        (event({"lanes": "all", "yield": 1.5}), "yield = 1.5: expected a finite number >= 0 and <= 1"),
        (event({"nodes": "hub", "availability": -0.1}), "availability = -0.1"),
        (event({"lanes": "all", "lead_time_factor": 0}), "lead_time_factor = 0: expected a finite number > 0"),
        (event({"customers": "a", "demand_factor": -1}), "demand_factor = -1"),
        (event({"lanes": "all", "yeild": 1}), "unknown key 'yeild'; did you mean 'yield'"),
        (event({"lanes": "trukc", "yield": 0.5}), "lanes = 'trukc': expected one of .*; did you mean 'truck'"),
        (event({"lanes": ["truck", "bike"], "yield": 0.5}), "lanes = 'bike': expected one of"),
        (event({"lanes": {"colour": "red"}, "yield": 0.5}), "lanes = 'colour': expected one of source, target, mode"),
        (event({"lanes": {"mode": "ship"}, "yield": 0.5}), "lanes.mode = 'ship': expected one of"),
        (
            event({"lanes": {"mode": "rail", "target": "store"}, "yield": 0.5}),
            "expected a selector that some of the lanes match",
        ),
        (event({"lanes": 3, "yield": 0.5}), "lanes = '3': expected one of rail, truck, van, all"),
        (event({"lanes": [], "yield": 0.5}), "expected a name, a list of names, all"),
        (
            event({"nodes": ["hub", "store"], "availability": 0.5}),
            "availability = 0.5: expected 0 or 1, as nodes.store has no capacity to scale",
        ),
        (event({"lanes": "van", "availability": 0.5}), "expected 0 or 1, as lanes.van has no capacity"),
    ],
)
def test_bad_disruptions_are_refused(disruption, message):
    with pytest.raises(InputError, match=message):
        scenario(disruptions={"d": disruption}, **NETWORK)


def test_a_scenario_with_disruptions_is_written_and_read_back():
    made = scenario(disruptions={"d": event(), "e": event(when={"mean_up": 9, "mean_down": 2})}, **NETWORK)
    again = type(made).from_mapping(made.to_dict())
    assert again.to_dict() == made.to_dict()
    assert np.array_equal(again.sample(5).lane_yield, made.sample(5).lane_yield)
    assert made.to_dict()["disruptions"]["d"]["when"] == {"from": 1, "to": 2}


def test_impaired_is_what_tapes_show_below_one_and_disturbed_also_what_an_effect_of_one_touches():
    when = {"mean_up": 3, "mean_down": 2}
    made = busy(
        disruptions={
            "outage": {"when": when, "effects": [{"nodes": "dairy", "availability": 0.5}]},
            "jam": {
                "when": when,
                "effects": [{"lanes": "hub_south", "availability": 0}, {"nodes": "hub", "availability": 1}],
            },
            "decay": {
                "when": {"from": 2, "to": 4},
                "effects": [{"lanes": "hub_north", "yield": 0.5, "lead_time_factor": 2}],
            },
        }
    )
    tape, hit = made.sample(200, seed=1), disturbed(made)
    for name, shown in zip(("node_availability", "lane_availability"), impaired(made), strict=True):
        assert np.array_equal(shown, (getattr(tape, name) < 1).any((0, 1)))
    assert np.array_equal(hit["lane_yield"], (tape.lane_yield < 1).any((0, 1)))
    assert np.array_equal(hit["lane_availability"], impaired(made)[1])
    assert dict(zip(made.nodes, hit["node_availability"].tolist(), strict=True)) == {
        "dairy": True, "hub": True, "north": False, "south": False,
    }  # fmt: skip
    assert [(one.disruption, one.key, one.amount, one.entities.tolist()) for one in hits(made)] == [
        ("outage", "availability", 0.5, [0]),
        ("jam", "availability", 0.0, [2]),
        ("jam", "availability", 1.0, [1]),
        ("decay", "lead_time_factor", 2.0, [1]),
        ("decay", "yield", 0.5, [1]),
    ]
    assert any_at_set_times(made)
    assert not any_at_set_times(busy())
