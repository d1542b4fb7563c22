"""Acceptance by coin: the law of each number of units, unit by unit, and the same world whatever a policy does."""

import math

import numpy as np
import pytest

from echelongym.agents.exact.structure import check_stationary
from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.envs import InputError, Scenario, simulate
from echelongym.envs.core.backend import NUMPY, TorchOps
from echelongym.envs.core.jax_backend import JaxOps
from echelongym.envs.dynamics.coins import MOST, Coins
from echelongym.envs.interface.observation import Decision
from echelongym.envs.worlds.tape_arrays import GRAIN

EVERY = np.arange(GRAIN, dtype=np.int64)


def accepted(share, number, luck=EVERY):
    """Units that accept of ``number``, for every number u that a tape can hold."""
    coins = Coins(np.array([[share]]), np.array([[True]]), NUMPY)
    return coins.accepted(np.full((1, 1, len(luck)), number, dtype=np.int64), luck[None, None], None)[0, 0]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("number", [0, 1, 2, 9, 60, MOST])
def test_as_many_accept_as_coins_show_heads(share, number):
    """Over all u the distribution function is the binomial one, to the grain of u (and of the share, for each unit)."""
    found = np.cumsum(np.bincount(accepted(share, number), minlength=number + 1)) / GRAIN
    law = [math.comb(number, k) * share**k * (1 - share) ** (number - k) for k in range(number + 1)]
    np.testing.assert_allclose(found, np.cumsum(law), atol=(1 + number) / GRAIN)


def test_one_more_unit_is_one_more_coin():
    rows = np.array([accepted(0.8, number) for number in range(MOST + 1)])
    assert set(np.unique(np.diff(rows, axis=0))) == {0, 1}
    assert (np.diff(rows, axis=1) >= 0).all()


@pytest.mark.parametrize("number", [MOST + 1, 400, 10_000])
def test_many_units_have_the_mean_and_variance_of_as_many_coins(number):
    found = accepted(0.8, number)
    assert abs(found.mean() - 0.8 * number) < 0.25 + 1e-4 * number
    assert found.var() == pytest.approx(0.16 * number, rel=0.04)
    assert found.min() >= 0
    assert found.max() <= number


@pytest.mark.parametrize("kind", [TorchOps, JaxOps])
def test_backends_toss_the_same(kind):
    pytest.importorskip("torch" if kind is TorchOps else "jax")
    import contextlib

    ops = kind()
    context = ops.jax.enable_x64(True) if kind is JaxOps else contextlib.nullcontext()
    rng = np.random.default_rng(0)
    share, tossed = rng.random((5, 2)), rng.random((5, 2)) < 0.7
    number, luck, by_share = (rng.integers(0, most, size=(5, 2, 50)) for most in (300, GRAIN, 40))
    with context:
        boxed = [ops.asarray(one) for one in (number, luck, by_share)]
        other = ops.numpy(Coins(share, tossed, ops).accepted(*boxed))
    np.testing.assert_array_equal(other, Coins(share, tossed, NUMPY).accepted(number, luck, by_share))


def emergency(**changes):
    """A store without stock, 10 wanted a period, of whom four in five wait for the warehouse."""
    data = {
        "units": "integer",
        "horizon": 20,
        "nodes": {"mill": {"kind": "supplier"}, "hub": {"initial": 1000}, "shop": {"initial": 0}},
        "lanes": {"road": {"source": "mill", "target": "hub"}, "van": {"source": "hub", "target": "shop"}},
        "customers": {
            "people": {
                "demand": {"kind": "deterministic", "mean": 10},
                "lost_share": 1.0,
                "lost_sale_cost": 9.0,
                "sources": {"shop": {}, "hub": {"acceptance": 0.8, "accepted_by": "coin"}},
            }
        },
    }
    return Scenario.from_mapping(data).with_overrides(changes)


def asking(units):
    """A policy that always asks for so much on both lanes."""
    return lambda seen: Decision(np.full(seen.unfilled.shape, units), None)


def test_a_coin_is_no_share_and_belongs_to_the_world():
    scenario = emergency()
    tape = scenario.sample(worlds=500, seed=3, purpose="test")
    served = simulate(scenario, asking(0), tape, trace=True).trace.served[:, :, 1, 0]
    assert abs(served.mean() - 8) < 4 * math.sqrt(1.6 / served.size)
    assert served.var() == pytest.approx(1.6, rel=0.06)
    # Another policy leaves 10 unserved in period 0 too, and 9 in each later one: one coin less, the others the same.
    other = simulate(scenario, asking(1), tape, trace=True).trace.served[:, :, 1, 0]
    np.testing.assert_array_equal(other[0], served[0])
    assert set(np.unique((served - other)[1:])) == {0, 1}
    shared = emergency(**{"customers.people.sources.hub.accepted_by": "share"})
    assert simulate(shared, asking(0), tape, trace=True).trace.served[:, :, 1, 0].var() == 0


def test_only_whole_units_have_coins():
    with pytest.raises(
        InputError, match=r"customers.people.sources.hub.accepted_by = 'coin': expected share, or units"
    ):
        emergency(units="continuous")
    with pytest.raises(InputError, match="accepted_by"):
        emergency(**{"customers.people.sources.hub.accepted_by": "dice"})
    relaxed = emergency().relaxed()
    assert relaxed is not None
    assert not relaxed.tables.by_coin.any()


def test_a_bound_lets_every_coin_show_heads():
    """Nobody serves more than is wanted, and one world of luck may serve all of it: 10 a period cost nothing."""
    scenario = emergency(horizon=5)
    bound = perfect_information(scenario, scenario.sample(worlds=2, seed=0, purpose="test"))
    np.testing.assert_allclose(bound.cost, 0, atol=1e-9)
    assert "all that a source leaves unserved follows to one that is accepted by coin" in bound.relaxations


def test_exact_methods_refuse_coins():
    with pytest.raises(InputError, match=r"accepted_by = 'coin': expected share for method value iteration"):
        check_stationary(emergency(), "value iteration")


# ------------------------------------------------------------------------------------------ pipelines at the start


def test_full_pipelines_and_empty_shelves():
    """What is due in period 0 is initial stock; each later period of the lead time brings a shipment."""
    start = {"nodes.hub.initial": 7, "lanes.road.lead_time": 4, "lanes.road.opening_in_transit": 5}
    scenario = emergency(**start)
    np.testing.assert_array_equal(scenario.tables.initial_in_transit[0, 0], [5, 5, 5])
    trace = simulate(scenario, asking(0), scenario.sample(worlds=1, seed=0, purpose="test"), trace=True).trace
    np.testing.assert_array_equal(trace.received[:5, 0, 0, 0], [0, 5, 5, 5, 0])
    # An automatic start fills the position up with what is given: mean 10 over lead time and one period, less 3 x 5.
    auto = scenario.with_overrides({"customers.people.sources": {"hub": {}}, "nodes.hub.initial": "auto"})
    assert auto.tables.initial_on_hand[1, 0] == 10 * 5 - 3 * 5


def test_nothing_is_under_way_on_a_lane_of_one_period():
    with pytest.raises(InputError, match=r"lanes.road.opening_in_transit = 5.*lead time below 2"):
        emergency(**{"lanes.road.opening_in_transit": 5})
    with pytest.raises(InputError, match=r"opening_in_transit = 2.5: expected a whole number, as units is integer"):
        emergency(**{"lanes.road.lead_time": 2, "lanes.road.opening_in_transit": 2.5})
