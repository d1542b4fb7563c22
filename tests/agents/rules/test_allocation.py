"""Sharing scarce stock: against all ways of sharing, the conditions of an optimum, and known equivalences."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import oracle_instances as instances
import pytest
import torch
from hypothesis import given, settings, strategies

from echelongym.agents import load_policy
from echelongym.agents.rules.allocation import equalise, marginal, marginal_positions
from echelongym.envs import InputError, Scenario, simulate
from echelongym.envs.core.backend import NUMPY, TorchOps
from echelongym.envs.dynamics import Segments
from echelongym.envs.simulate import periods

NORMAL = NormalDist()


def expected_cost(position, mean, deviation, penalty, holding):
    """h E(y - D)+ + p E(D - y)+ of normal demand."""
    z = (position - mean) / deviation
    over = deviation * (NORMAL.pdf(z) + z * NORMAL.cdf(z))
    return holding * over + penalty * (over - (position - mean))


def saving(position, mean, deviation, penalty, holding):
    """What a little more saves, a unit."""
    return (penalty + holding) * (1 - NORMAL.cdf((position - mean) / deviation)) - holding


def one_group(items, ops=NUMPY):
    return Segments(np.zeros(items, dtype=np.int64), 1, ops)


def shared(claims, stock, position, numbers, whole, ops=NUMPY):
    """Shares of one group of items; ``numbers`` are mean, deviation, penalty and holding of each."""
    table = marginal_positions(*np.array(numbers, dtype=float).T, np.zeros(len(claims), dtype=np.int64), whole)
    read = ops.whole if whole else ops.constant
    given_ = [read(np.array(value).reshape(len(value), -1)) for value in (claims, [stock], position)]
    return marginal(ops, *given_, one_group(len(claims), ops), ops.constant(table))[:, 0]


def item(rng, whole):
    mean = rng.uniform(0, 12)
    position = rng.uniform(-6, 14)
    numbers = (mean, rng.uniform(0.4, 5), rng.uniform(0.1, 20), rng.uniform(0, 3))
    return numbers, (math.floor(position) if whole else position)


@settings(max_examples=60)
@given(seed=strategies.integers(0, 10**6))
def test_whole_units_go_where_the_expected_cost_falls_most(seed):
    """Against every way of sharing out."""
    rng = np.random.default_rng(seed)
    items = [item(rng, True) for _ in range(int(rng.integers(2, 4)))]
    claims = rng.integers(0, 8, len(items)).tolist()
    stock = int(rng.integers(0, 20))
    shares = shared(claims, stock, [have for _, have in items], [numbers for numbers, _ in items], True).tolist()
    total = min(stock, sum(claims))
    ways = [way for way in itertools.product(*(range(c + 1) for c in claims)) if sum(way) == total]

    def cost(way):
        return sum(expected_cost(have + units, *numbers) for (numbers, have), units in zip(items, way, strict=True))

    assert tuple(shares) in ways
    assert cost(shares) <= min(map(cost, ways)) + 1e-8


@settings(max_examples=100)
@given(seed=strategies.integers(0, 10**6))
def test_continuous_shares_meet_the_conditions_of_an_optimum(seed):
    """What a little more saves is level among those who get a part of their claim, less for those who get nothing."""
    rng = np.random.default_rng(seed)
    items = [item(rng, False) for _ in range(int(rng.integers(2, 6)))]
    claims = rng.uniform(0, 9, len(items))
    stock = float(rng.uniform(0, 30))
    shares = shared(claims, stock, [have for _, have in items], [numbers for numbers, _ in items], False)
    assert (shares >= 0).all()
    assert (shares <= claims).all()
    assert shares.sum() == pytest.approx(min(stock, claims.sum()), abs=1e-6)
    saved = np.array([saving(have + got, *numbers) for (numbers, have), got in zip(items, shares, strict=True)])
    size = max(numbers[2] + numbers[3] for numbers, _ in items)
    gets, wants = shares > 1e-6, shares < claims - 1e-6
    if gets.any() and wants.any():
        assert saved[gets].min() >= saved[wants].max() - 2e-3 * size


@settings(max_examples=60)
@given(seed=strategies.integers(0, 10**6))
def test_with_equal_costs_it_is_the_equal_fractile(seed):
    """Levels at one fractile, penalty and holding cost the same: (claim - share) / deviation is level."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 7))
    mean, deviation = rng.uniform(1, 20, size), rng.uniform(0.5, 6, size)
    position = mean + deviation * rng.uniform(-9, 1.2, size)
    claims = mean + 1.5 * deviation - position
    stock = float(rng.uniform(0, claims.sum()))
    numbers = np.stack([mean, deviation, np.full(size, 9.0), np.full(size, 1.0)], axis=1)
    level = equalise(NUMPY, claims[:, None], np.array([[stock]]), one_group(size), deviation[:, None])[:, 0]
    np.testing.assert_allclose(shared(claims, stock, position, numbers, False), level, atol=1e-6)


def test_far_below_everything_the_dearest_come_first_and_nothing_breaks():
    """Backlogs of hundreds of deviations: all that is saved is the penalty."""
    numbers = [(10, 2, 9, 1), (10, 2, 30, 1), (10, 2, 30, 1)]
    shares = shared([500.0, 400.0, 400.0], 300.0, [-490.0, -390.0, -390.0], numbers, False)
    np.testing.assert_allclose(shares, [0, 150, 150], atol=1e-4)
    whole = shared([500, 400, 400], 301, [-490, -390, -390], numbers, True)
    assert whole.tolist() == [0, 151, 150]


def test_nothing_to_lose_is_no_division_by_zero():
    shares = shared([5.0, 5.0], 4.0, [0.0, 0.0], [(4, 1, 0, 0), (4, 1, 0, 0)], False)
    np.testing.assert_allclose(shares, [2, 2], atol=1e-6)


@settings(max_examples=20)
@given(seed=strategies.integers(0, 10**6), whole=strategies.booleans())
def test_backends_agree_and_groups_and_worlds_keep_apart(seed, whole):
    rng = np.random.default_rng(seed)
    group = np.array([0, 1, 0, 2, 1, 0, 3, 3])
    numbers = np.array([item(rng, whole)[0] for _ in group])
    table = marginal_positions(*numbers.T, group, whole)

    def decided(ops, chosen):
        read = ops.whole if whole else ops.constant
        values = [read(np.floor(v[:, chosen]) if whole else v[:, chosen]) for v in (claims, stock, position)]
        return np.asarray(marginal(ops, *values, Segments(group, 4, ops), ops.constant(table)))

    claims, stock, position = rng.uniform(0, 9, (8, 6)), rng.uniform(0, 20, (4, 6)), rng.uniform(-6, 14, (8, 6))
    together = decided(NUMPY, slice(None))
    np.testing.assert_allclose(decided(TorchOps(), slice(None)), together, atol=1e-9)
    for world in range(6):
        np.testing.assert_array_equal(decided(NUMPY, slice(world, world + 1))[:, 0], together[:, world])
    for number in range(4):
        mine = group == number
        alone = shared(
            *(np.floor(v) if whole else v for v in (claims[mine, 2], stock[number, 2], position[mine, 2])),
            numbers[mine],
            whole,
        )
        np.testing.assert_allclose(alone, together[mine, 2], atol=1e-5)


def test_gradients_of_shares_are_finite_differences():
    rng = np.random.default_rng(3)
    numbers = np.array([item(rng, False)[0] for _ in range(5)])
    table = marginal_positions(*numbers.T, np.zeros(5, dtype=np.int64), False)
    ops, groups = TorchOps(), one_group(5, TorchOps())
    start = np.concatenate([rng.uniform(2, 9, 5), [12.0], rng.uniform(-4, 6, 5)])
    weight = ops.constant(rng.normal(size=(5, 1)))

    def total(x):
        x = x[:, None]
        return (weight * marginal(ops, x[:5], x[5:6], x[6:], groups, ops.constant(table))).sum()

    point = torch.tensor(start, requires_grad=True)
    total(point).backward()
    for k in range(len(start)):
        up, down = (torch.tensor(start + sign * 1e-6 * (np.arange(len(start)) == k)) for sign in (1, -1))
        assert float(point.grad[k]) == pytest.approx(float(total(up) - total(down)) / 2e-6, abs=1e-5)


# In a rule -------------------------------------------------------------------------------------------


def unlike_stores(units="integer"):
    """A warehouse short of supply that feeds a store with dear and one with cheap shortages."""
    data = instances.tiny_warehouse(2).to_dict() | {"units": units}
    data["nodes"]["supplier"]["capacity"] = 2
    data["customers"]["at_store_1"]["lost_sale_cost"] = 2
    data["customers"]["at_store_2"]["lost_sale_cost"] = 18
    return Scenario.from_mapping(data)


LEVELS = {"warehouse": 9, "store_1": 4, "store_2": 4}


def test_a_rule_asks_for_the_shares():
    """Requests of every period against all ways of sharing what stands, positions counted by hand."""
    scenario = unlike_stores()
    policy = load_policy("echelon_base_stock", scenario, levels=LEVELS, allocation="marginal")
    tape = scenario.sample(worlds=4, seed=0, purpose="tune", periods=60)
    scarce = 0
    for _, observation, _, _ in periods(scenario, policy, tape):
        requests = policy(observation).requests
        for world in range(4):
            stands = int(observation.on_hand[world, 1].sum())
            have = [
                int(observation.on_hand[world, 2 + k].sum() + observation.in_transit[world, 1 + k].sum())
                for k in (0, 1)
            ]
            claims = [max(4 - units, 0) for units in have]
            got = requests[world, 1:, 0].astype(int).tolist()
            assert sum(got) == min(stands, sum(claims))
            # Two periods of mean 1 and variance 1/2 each.
            cost = [
                sum(expected_cost(h + x, 2, 1.0, p, 1) for h, x, p in zip(have, way, (2, 18), strict=True))
                for way in itertools.product(*(range(c + 1) for c in claims))
                if sum(way) == sum(got)
            ]
            mine = sum(expected_cost(h + x, 2, 1.0, p, 1) for h, x, p in zip(have, got, (2, 18), strict=True))
            assert mine <= min(cost) + 1e-9
            scarce += sum(claims) > stands > 0
    assert scarce > 20


@pytest.mark.parametrize("units", ["integer", "continuous"])
def test_where_penalties_differ_it_costs_less(units):
    scenario = unlike_stores(units)
    tape = scenario.sample(worlds=64, seed=1, purpose="test")
    cost = {
        name: simulate(
            scenario, load_policy("echelon_base_stock", scenario, levels=LEVELS, allocation=name), tape, kpis=False
        ).cost_per_period
        for name in ("proportional", "fair_share", "equalise", "equal_fractile", "marginal")
    }
    np.testing.assert_array_equal(cost["proportional"], cost["fair_share"])
    np.testing.assert_array_equal(cost["equalise"], cost["equal_fractile"])
    for other in ("proportional", "equalise"):
        saved = cost[other] - cost["marginal"]
        assert saved.mean() > 3 * saved.std(ddof=1) / 8


def test_other_names_are_read_and_wrong_ones_refused():
    scenario = unlike_stores()
    rule = load_policy("echelon_base_stock", scenario, allocation="equal_fractile")
    assert rule.parameters["allocation"] == "equalise"
    with pytest.raises(InputError, match=r"marginal.*fair_share"):
        load_policy("echelon_base_stock", scenario, allocation="fair")
