"""Statistics against closed forms, scipy and matrices worked by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from echelongym.envs.core.errors import InputError
from echelongym.experiments.statistics import (
    Estimate,
    interquartile_mean,
    mean_interval,
    paired_comparison,
    probability_better,
    ratio_interval,
    seeds_comparison,
    seeds_interval,
    t_quantile,
)

RNG = np.random.default_rng(20260)
COSTS = 50 + 5 * RNG.standard_normal(40)
OTHERS = COSTS + 2 + 1.5 * RNG.standard_normal(40)


def test_mean_interval_by_hand() -> None:
    # 1, 2, 3, 4: standard deviation sqrt(5/3), standard error sqrt(5/12), t(3) = 3.182446
    estimate = mean_interval([1, 2, 3, 4])
    assert estimate.mean == 2.5
    assert estimate.high - 2.5 == pytest.approx(3.182446305 * math.sqrt(5 / 12))
    assert 2.5 - estimate.low == pytest.approx(estimate.high - 2.5)


def test_mean_interval_is_scipys() -> None:
    low, high = stats.ttest_1samp(COSTS, 0.0).confidence_interval(0.95)
    estimate = mean_interval(COSTS)
    assert (estimate.low, estimate.high) == (pytest.approx(low), pytest.approx(high))


def test_t_quantile_of_the_tables() -> None:
    assert t_quantile(0.95, 1) == pytest.approx(12.7062, abs=1e-4)
    assert t_quantile(0.95, 10) == pytest.approx(2.2281, abs=1e-4)
    assert t_quantile(0.99, 5) == pytest.approx(4.0321, abs=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "at least one number"),
        ([1.0, math.nan], "values = nan: expected"),
    ],
)
def test_values_that_have_no_interval(values: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mean_interval(values)


def test_one_world_has_no_interval() -> None:
    for found in (mean_interval([3.0]), seeds_interval([[3.0]]), seeds_interval([[3.0], [4.0]])):
        assert not found.known
        assert found.to_dict()["ci95"] == [None, None]
    comparison = seeds_comparison([[3.0]], [4.0])
    assert comparison.difference.mean == -1.0
    assert not comparison.difference.known
    assert comparison.probability_better is None


def test_paired_difference_is_scipys() -> None:
    low, high = stats.ttest_rel(COSTS, OTHERS).confidence_interval(0.95)
    difference = paired_comparison(COSTS, OTHERS).difference
    assert difference.mean == pytest.approx(COSTS.mean() - OTHERS.mean())
    assert (difference.low, difference.high) == (pytest.approx(low), pytest.approx(high))


def test_percent_by_hand() -> None:
    # Costs 9, 11 against 10, 10: ratio 1, residuals of the differences -1, 1, so sd = sqrt(2), se = 1, over 10.
    percent = paired_comparison([9, 11], [10, 10]).percent
    assert percent is not None
    assert percent.mean == 0.0
    assert percent.high == pytest.approx(100 * 12.7062047 * 1.0 / 10)
    # A policy that costs a tenth less in every world does so without any doubt.
    certain = paired_comparison([9, 18, 27], [10, 20, 30]).percent
    assert certain is not None
    assert (certain.low, certain.mean, certain.high) == (pytest.approx(-10),) * 3


def test_percent_agrees_with_a_bootstrap() -> None:
    picks = np.random.default_rng(1).integers(40, size=(20_000, 40))
    ratios = 100 * (COSTS[picks].mean(axis=1) / OTHERS[picks].mean(axis=1) - 1)
    percent = paired_comparison(COSTS, OTHERS).percent
    assert percent is not None
    half = t_quantile(0.95, 39) * ratios.std() * math.sqrt(40 / 39)
    assert percent.high - percent.mean == pytest.approx(half, rel=0.03)


def test_percent_of_a_negative_mean_keeps_its_sign() -> None:
    cheaper = paired_comparison([-12, -10], [-10, -9])
    assert cheaper.difference.mean < 0
    assert cheaper.percent is not None
    assert cheaper.percent.mean == pytest.approx(100 * -1.5 / 9.5)


def test_percent_of_nothing_is_none() -> None:
    comparison = paired_comparison([1, 2], [-1, 1])
    assert comparison.percent is None
    assert comparison.to_dict()["difference_percent"] is None


def test_a_policy_against_itself() -> None:
    comparison = paired_comparison(COSTS, COSTS)
    assert comparison.difference == Estimate(0.0, 0.0, 0.0)
    assert comparison.percent == Estimate(0.0, 0.0, 0.0)
    assert comparison.probability_better == 0.5


def test_probability_better_by_hand() -> None:
    assert probability_better([1, 2, 3, 4], [2, 2, 2, 2]) == (1 + 0.5) / 4
    # Two seeds against one: over both, (1 + 1 + 0.5 + 0) / 4.
    assert probability_better([[1, 2], [2, 5]], [[2, 3]]) == (1 + 1 + 0.5 + 0) / 4


def test_interquartile_mean_by_hand() -> None:
    assert interquartile_mean([1, 2, 3, 100]) == 2.5
    assert interquartile_mean([[8, 1, 2, 3], [4, 5, 6, 70]]) == (3 + 4 + 5 + 6) / 4
    # Of six values one and a half are cut off at each end: half of the second, all of the third and fourth ...
    assert interquartile_mean([0, 1, 2, 3, 4, 50]) == pytest.approx((0.5 * 1 + 2 + 3 + 0.5 * 4) / 3)


def test_interquartile_mean_is_scipys_where_quarters_are_whole() -> None:
    assert interquartile_mean(COSTS) == pytest.approx(stats.trim_mean(COSTS, 0.25))


def test_ratio_interval_by_hand() -> None:
    # y = 1, 3 over x = 2, 2: ratio 1, residuals -1, 1, standard error 1 over mean 2.
    estimate = ratio_interval([1, 3], [2, 2])
    assert estimate is not None
    assert estimate.high == pytest.approx(1 + 12.7062047 / 2)
    assert ratio_interval([1, 3], [-1, 1]) is None
    assert ratio_interval([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]) == Estimate(1.0, 1.0, 1.0)


def test_ratio_interval_covers() -> None:
    """Fill rate of correlated served and demanded units, true ratio known: 95 % of intervals hold it."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        demand = rng.gamma(20.0, 1.0, 30)
        estimate = ratio_interval(0.9 * demand + 0.5 * rng.standard_normal(30), demand)
        assert estimate is not None
        hits += estimate.low <= 0.9 <= estimate.high
    assert 0.92 <= hits / 400 <= 0.98


def test_one_seed_needs_no_bootstrap() -> None:
    assert seeds_comparison([COSTS], OTHERS) == paired_comparison(COSTS, OTHERS)
    assert seeds_interval([COSTS]) == mean_interval(COSTS)


def test_seeds_by_enumeration() -> None:
    """Two seeds whose costs do not vary over worlds: the outer bootstrap has four draws, known by hand."""
    costs = np.array([[10.0] * 6, [14.0] * 6])
    others = np.full(6, 20.0)
    comparison = seeds_comparison(costs, others)
    assert comparison.difference.mean == -8.0
    # Draws of the seeds' mean are 10, 12, 12, 14, widened by sqrt(2) t(1) / z around 12.
    reach = 2 * math.sqrt(2) * 12.7062047 / 1.959964
    assert comparison.difference.low == pytest.approx(-8 - reach, rel=1e-6)
    assert comparison.difference.high == pytest.approx(-8 + reach, rel=1e-6)
    assert comparison.percent is not None
    assert comparison.percent.high == pytest.approx(5 * (-8 + reach), rel=1e-6)
    assert comparison.probability_better == 1.0


def test_worlds_are_the_same_for_both() -> None:
    """Worlds that cost all policies alike cancel from the difference, not from the means."""
    luck = 100 * np.random.default_rng(5).standard_normal(50)
    costs = np.stack([luck + 1, luck + 2, luck + 3])
    comparison = seeds_comparison(costs, luck)
    widest = math.sqrt(3 / 2) * t_quantile(0.95, 2) / 1.959964  # of deviations -1, 0, 1 between the seeds
    assert comparison.difference.low >= 2 - widest - 1e-6
    assert comparison.difference.high <= 2 + widest + 1e-6
    assert seeds_interval(costs).high - seeds_interval(costs).low > 30


def test_a_policy_of_several_seeds_against_itself_is_no_certainty() -> None:
    costs = np.array([[10.0, 11.0, 9.0], [12.0, 13.0, 11.0]])
    comparison = seeds_comparison(costs, costs)
    assert comparison.difference.mean == 0.0
    assert comparison.difference.low < 0 < comparison.difference.high
    assert comparison.probability_better == 0.5


def test_bootstrap_repeats_itself() -> None:
    costs = np.stack([COSTS, COSTS + 1])
    assert seeds_comparison(costs, OTHERS) == seeds_comparison(costs, OTHERS)


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_over_few_seeds_cover(seeds: int) -> None:
    """Seeds and worlds both vary; a plain percentile bootstrap of three seeds would cover some 75 %."""
    rng = np.random.default_rng(11)
    trials, worlds = 300, 20
    hits = 0
    for trial in range(trials):
        luck = rng.standard_normal(worlds)
        costs = rng.standard_normal((seeds, 1)) + luck + 0.5 * rng.standard_normal((seeds, worlds))
        difference = seeds_comparison(costs, luck, draws=500, seed=trial).difference
        hits += difference.low <= 0.0 <= difference.high
    assert 0.91 <= hits / trials <= 0.995
