"""Ratios over worlds and their intervals, held to Student's t and to how often they cover the truth."""

import numpy as np
import pytest
from scipy import stats

from echelongym.envs.accounts.estimators import Largest, Ratio, Spread


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
