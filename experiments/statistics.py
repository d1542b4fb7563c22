"""Statistics of a comparison on common worlds: means, paired differences, bootstrap over training seeds.

A cost matrix is (seeds, worlds): one row a training seed, one column a world. Worlds are common to all policies, so what
compares two policies is the difference in each world.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echelongym.envs.errors import InputError, expected
from echelongym.envs.estimators import Ratio, interval

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 4000  # of a bootstrap; the ends of an interval then stand to within a few hundredths of its width
_CHUNK = 250  # draws worked on at a time, which bounds memory at chunk x worlds
_KEPT = 2**26  # draws x worlds, bytes, that are kept: a summary estimates hundreds of figures from the same draws


@dataclass(frozen=True)
class Estimate:
    """A mean and the 95 % interval it lies in."""

    mean: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """``{"mean", "ci95": [low, high]}``, the form of the summary."""
        return {"mean": self.mean, "ci95": [self.low, self.high]}

    def scaled(self, factor: float) -> Estimate:
        """The estimate of ``factor`` times the quantity."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Estimate(self.mean * factor, low, high)


@dataclass(frozen=True)
class Comparison:
    """One policy against another; a negative difference is cheaper, a negative percentage too."""

    difference: Estimate
    percent: Estimate | None  # of the other's mean cost; None where that is 0
    probability_better: float

    def to_dict(self) -> dict[str, Any]:
        """The form of the summary's ``versus``."""
        return {
            "difference": self.difference.to_dict(),
            "difference_percent": None if self.percent is None else self.percent.to_dict(),
            "probability_better": self.probability_better,
        }


def mean_interval(values: ArrayLike) -> Estimate:
    """Mean of independent values with Student's t interval.

    Raises
    ------
    InputError
        On fewer than two values, or one that is not finite.
    """
    x = _values(values)
    mean = float(x.mean())
    return Estimate(mean, *interval(mean, x - mean))


def ratio_interval(numerator: ArrayLike, denominator: ArrayLike) -> Estimate | None:
    """Ratio of two means over the same worlds, by the delta method; None where the denominator's mean is 0.

    See :mod:`echelongym.envs.estimators`, which estimates rates the same way.
    """
    ratio = Ratio(_values(numerator), _values(denominator))
    if not ratio.denominator.mean():
        return None
    return Estimate(ratio.pooled, *interval(ratio.pooled, ratio.residuals()))


def paired_comparison(costs: ArrayLike, others: ArrayLike) -> Comparison:
    """Two policies, one run of each, over the same worlds.

    The difference has a t interval on the paired differences; the percentage, 100 (mean / other's mean - 1), has one by
    the delta method (:func:`ratio_interval`), in which the other's mean is as uncertain as it is. Where the other's mean
    is negative (terminal value) the sign of the percentage follows the difference.
    """
    a, b = _values(costs), _values(others)
    if a.shape != b.shape:
        raise expected("costs", a.shape, f"as many worlds as the other policy, {b.shape}")
    ratio = ratio_interval(a - b, b)
    percent = None if ratio is None else ratio.scaled(math.copysign(100.0, float(b.mean())))
    return Comparison(mean_interval(a - b), percent, probability_better(a, b))


def probability_better(costs: ArrayLike, others: ArrayLike) -> float:
    """Share of worlds in which the policy costs less, ties counted half; several seeds: over all pairs of seeds."""
    a, b = _matrix(costs), _matrix(others)
    pairs = [np.sign(y - x) for x in a for y in b]
    return float(np.mean(pairs) + 1.0) / 2.0


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half of all values, a quarter cut off at each end.

    Where a quarter of the number of values is no whole number, the value cut through counts by the part that stays.
    """
    x = np.sort(_finite(values).ravel())
    cut = x.size / 4.0
    ranks = np.arange(x.size)
    weight = np.clip(np.minimum(ranks + 1.0 - cut, x.size - cut - ranks), 0.0, 1.0)
    return float((weight * x).sum() / weight.sum())


def seeds_interval(costs: ArrayLike, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Mean cost of a (seeds, worlds) matrix; see :func:`seeds_comparison` for the interval."""
    a = _matrix(costs)
    if len(a) == 1:
        return mean_interval(a[0])
    means = _Bootstrap(a.shape[1], draws, seed).means(a)
    centre = float(a.mean())
    return Estimate(centre, *_percentiles(means))


def seeds_comparison(costs: ArrayLike, others: ArrayLike, draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Two policies of which at least one was trained from several seeds, over the same worlds.

    Each draw of the bootstrap takes seeds with replacement, of each policy on its own, and worlds with replacement, the
    same for both; intervals are percentiles of the difference and of the percentage. With few seeds such an interval
    is far too narrow (of three it can reach no further than the best and the worst), so deviations between seeds are
    widened by sqrt(n / (n - 1)) t / z, with t of n - 1 degrees of freedom (Hesterberg, The American Statistician 69(4),
    2015, section 4.3: the expanded percentile interval, applied to the outer level).
    """
    a, b = _matrix(costs), _matrix(others)
    if a.shape[1] != b.shape[1]:
        raise expected("costs", a.shape, f"as many worlds as the other policy, {b.shape}")
    if len(a) == len(b) == 1:
        return paired_comparison(a[0], b[0])
    bootstrap = _Bootstrap(a.shape[1], draws, seed)
    first, second = bootstrap.means(a), bootstrap.means(b)
    difference = Estimate(float(a.mean() - b.mean()), *_percentiles(first - second))
    percent = None
    if b.mean() != 0.0 and not (second == 0.0).any():
        ratios = 100.0 * (first - second) / np.abs(second)
        percent = Estimate(100.0 * difference.mean / abs(float(b.mean())), *_percentiles(ratios))
    return Comparison(difference, percent, probability_better(a, b))


def t_quantile(confidence: float, freedom: int) -> float:
    """Two-sided quantile of Student's t: 12.706 for 95 % and one degree of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2.0))


class _Bootstrap:
    """Draws of worlds, the same for every policy and figure, and of each policy's seeds."""

    def __init__(self, worlds: int, draws: int, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 0])
        self.worlds, self.draws, self.seed = worlds, draws, seed

    def means(self, costs: Floats) -> Floats:
        """(draws,) mean cost of a (seeds, worlds) matrix in each draw."""
        runs = len(costs)
        weights = _counts(self.rng, self.draws, runs) / runs
        if runs > 1:
            widen = math.sqrt(runs / (runs - 1)) * t_quantile(CONFIDENCE, runs - 1) / t_quantile(CONFIDENCE, 10**9)
            weights = 1.0 / runs + widen * (weights - 1.0 / runs)
        by_run = [taken @ costs.T for taken in _world_draws(self.worlds, self.draws, self.seed)]
        means: Floats = (weights * np.concatenate(by_run)).sum(axis=1) / self.worlds
        return means


def _world_draws(worlds: int, draws: int, seed: int) -> Iterable[Floats]:
    """How often each world is taken, (rows, worlds) at a time; kept where that is not too much."""
    if worlds * draws <= _KEPT:
        return (part.astype(np.float64) for part in _kept_draws(worlds, draws, seed))
    return _new_draws(worlds, draws, seed)


@lru_cache(maxsize=2)
def _kept_draws(worlds: int, draws: int, seed: int) -> list[NDArray[np.uint8]]:
    return [part.astype(np.uint8) for part in _new_draws(worlds, draws, seed)]


def _new_draws(worlds: int, draws: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng([seed, 1])
    for first in range(0, draws, _CHUNK):
        yield _counts(rng, min(_CHUNK, draws - first), worlds)


def _counts(rng: np.random.Generator, draws: int, size: int) -> Floats:
    """(draws, size) how often each of ``size`` items is taken in ``size`` takes with replacement."""
    if size == 1:
        return np.ones((draws, 1))
    picks = rng.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(picks.ravel(), minlength=draws * size).reshape(draws, size).astype(np.float64)


def _percentiles(values: Floats) -> tuple[float, float]:
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)


def _finite(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        raise InputError("values = []: expected at least one number")
    if not np.isfinite(x).all():
        raise expected("values", float(x[~np.isfinite(x)].ravel()[0]), "finite numbers")
    return x


def _values(values: ArrayLike) -> Floats:
    x = _finite(values).ravel()
    if x.size < 2:
        raise expected("worlds", x.size, "at least 2 for an interval")
    return x


def _matrix(values: ArrayLike) -> Floats:
    x = _finite(values)
    x = x[None] if x.ndim == 1 else x
    if x.ndim != 2 or x.shape[1] < 2:
        raise expected("costs", x.shape, "a (seeds, worlds) matrix of at least 2 worlds")
    return x
