"""Statistics of a comparison on common worlds: means, paired differences, bootstrap over training seeds.

A cost matrix is (seeds, worlds): one row a training seed, one column a world. Worlds are common to all policies, so what
compares two policies is the difference in each world. What the worlds are a sample of, and so what an interval is about, is
said by a :class:`echelongym.envs.worlds.world_sample.WorldSample`; without one they count as independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echelongym.envs.accounts.estimators import Ratio
from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.worlds.world_sample import ANY, NON_NEGATIVE, Limits, WorldSample, cost_limits

CONFIDENCE = 0.95
DRAWS = 4000  # of a bootstrap; the ends of an interval then stand to within a few hundredths of its width
_CHUNK = 250  # draws worked on at a time, which bounds memory at chunk x worlds
_KEPT = 2**26  # draws x worlds, bytes, that are kept: a summary estimates hundreds of figures from the same draws


@dataclass(frozen=True)
class Estimate:
    """A mean and the 95 % interval it lies in; NaN where there is none.

    ``record`` is the narrower interval that is about other worlds of the same record, where worlds are drawn from one.
    """

    mean: float
    low: float
    high: float
    record: tuple[float, float] | None = None

    @classmethod
    def of(cls, found: dict[str, Any]) -> Estimate:
        """The form of the summary as an estimate; an interval that is null is NaN."""
        low, high = (math.nan if end is None else float(end) for end in found["ci95"])
        record = found.get("ci95_record")
        return cls(float(found["mean"]), low, high, None if record is None else (record[0], record[1]))

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    def to_dict(self) -> dict[str, Any]:
        """``{"mean", "ci95": [low, high]}``, the form of the summary; ``[None, None]`` where there is no interval."""
        found: dict[str, Any] = {"mean": self.mean, "ci95": [self.low, self.high] if self.known else [None, None]}
        return found if self.record is None else {**found, "ci95_record": list(self.record)}

    def flat(self, prefix: str = "") -> dict[str, float | None]:
        """Columns of a table: mean (or ``prefix`` alone), low, high and, of a record, its own ends."""
        low, high = self.to_dict()["ci95"]
        name = f"{prefix}_" if prefix else ""
        found: dict[str, float | None] = {prefix or "mean": self.mean, f"{name}low": low, f"{name}high": high}
        if self.record is not None:
            found |= {f"{name}record_low": self.record[0], f"{name}record_high": self.record[1]}
        return found

    def scaled(self, factor: float) -> Estimate:
        """The estimate of ``factor`` times the quantity."""
        low, high = sorted((self.low * factor, self.high * factor)) if self.known else (self.low, self.high)
        record = None if self.record is None else (min(x := [end * factor for end in self.record]), max(x))
        return Estimate(self.mean * factor, low, high, record)

    def not_negative(self) -> Estimate:
        """The estimate of a quantity known to be 0 or more: its intervals are cut there.

        A negative mean is left as it is, with its interval: it contradicts what is known, and shall be seen.
        """
        if not self.known or self.mean < 0:
            return self
        record = None if self.record is None else (max(self.record[0], 0.0), self.record[1])
        return Estimate(self.mean, max(self.low, 0.0), self.high, record)


@dataclass(frozen=True)
class Comparison:
    """One policy against another; a negative difference is cheaper, a negative percentage too."""

    difference: Estimate
    percent: Estimate | None  # of the other's mean cost; None where that is 0
    probability_better: float | None  # None where the worlds are no sample

    def not_negative(self) -> Comparison:
        """The comparison with something that nothing can be cheaper than."""
        percent = None if self.percent is None else self.percent.not_negative()
        return Comparison(self.difference.not_negative(), percent, self.probability_better)

    def to_dict(self) -> dict[str, Any]:
        """The form of the summary's ``versus``."""
        return {
            "difference": self.difference.to_dict(),
            "difference_percent": None if self.percent is None else self.percent.to_dict(),
            "probability_better": self.probability_better,
        }


def mean_interval(values: ArrayLike, sample: WorldSample | None = None, limits: Limits = ANY) -> Estimate:
    """Mean of a value in each world, with its interval; see :meth:`WorldSample.estimate`.

    Raises
    ------
    InputError
        On no value, or one that is not finite.
    """
    x = _finite(values).ravel()
    mean = float(x.mean())
    return Estimate.of((sample or WorldSample(x.size)).estimate(mean, x - mean, limits))


def ratio_interval(
    numerator: ArrayLike, denominator: ArrayLike, sample: WorldSample | None = None, limits: Limits = ANY
) -> Estimate | None:
    """Ratio of sums over worlds, with an interval by the delta method; None where the denominators sum to 0."""
    ratio = Ratio(_finite(numerator).ravel(), _finite(denominator).ravel(), limits)
    if not ratio.denominator.mean():
        return None
    return Estimate.of(ratio.estimate(sample))


def cost_interval(costs: ArrayLike, sample: WorldSample | None = None) -> Estimate:
    """:func:`mean_interval` of money in each world, which stays at 0 or more where no world has less."""
    x = _finite(costs)
    return mean_interval(x, sample, cost_limits(x))


def paired_comparison(costs: ArrayLike, others: ArrayLike, sample: WorldSample | None = None) -> Comparison:
    """Two policies, one run of each, over the same worlds.

    The difference has an interval on the paired differences; the percentage, 100 (mean / other's mean - 1), has one by
    the delta method (:func:`ratio_interval`), in which the other's mean is as uncertain as it is. Where the other's mean
    is negative (terminal value) the sign of the percentage follows the difference. Costs that are nowhere negative fall by
    100 % at most.
    """
    a, b = _finite(costs).ravel(), _finite(others).ravel()
    if a.shape != b.shape:
        raise expected("costs", a.shape, f"as many worlds as the other policy, {b.shape}")
    limits = (-1.0, math.inf) if cost_limits(a, b) == NON_NEGATIVE else ANY
    ratio = ratio_interval(a - b, b, sample, limits)
    percent = None if ratio is None else ratio.scaled(math.copysign(100.0, float(b.mean())))
    difference = mean_interval(a - b, sample)
    several = a.size > 1 and not (sample is not None and sample.one_history)
    return Comparison(difference, percent, probability_better(a, b) if several else None)


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


def seeds_interval(
    costs: ArrayLike,
    draws: int = DRAWS,
    seed: int = 0,
    sample: WorldSample | None = None,
    limits: Limits = ANY,
) -> Estimate:
    """Mean cost of a (seeds, worlds) matrix; see :func:`seeds_comparison` for the interval."""
    a = _matrix(costs)
    if len(a) == 1:
        return mean_interval(a[0], sample, limits)
    around = a.mean(axis=0)
    means = _Bootstrap(a.shape[1], draws, seed).means(a)
    return _percentiles(means, float(a.mean()), around - around.mean(), sample, limits)


def seeds_comparison(
    costs: ArrayLike, others: ArrayLike, draws: int = DRAWS, seed: int = 0, sample: WorldSample | None = None
) -> Comparison:
    """Two policies of which at least one was trained from several seeds, over the same worlds.

    Each draw of the bootstrap takes seeds with replacement, of each policy on its own, and worlds with replacement, the
    same for both; intervals are percentiles of the difference and of the percentage. With few seeds such an interval
    is far too narrow (of three it can reach no further than the best and the worst), so deviations between seeds are
    widened by sqrt(n / (n - 1)) t / z, with t of n - 1 degrees of freedom, and so are those between worlds (Hesterberg, The
    American Statistician 69(4), 2015, section 4.3: the expanded percentile interval). Where worlds are drawn from a record,
    what another record would change is added to every draw, as it is to the interval of a single run
    (:meth:`WorldSample.between`).
    """
    a, b = _matrix(costs), _matrix(others)
    if a.shape[1] != b.shape[1]:
        raise expected("costs", a.shape, f"as many worlds as the other policy, {b.shape}")
    if len(a) == len(b) == 1:
        return paired_comparison(a[0], b[0], sample)
    bootstrap = _Bootstrap(a.shape[1], draws, seed)
    first, second = bootstrap.means(a), bootstrap.means(b)
    mean, other = a.mean(axis=0), b.mean(axis=0)
    apart, base = mean - other, float(other.mean())
    difference = _percentiles(first - second, float(apart.mean()), apart - apart.mean(), sample)
    percent = None
    if base != 0.0 and not (second == 0.0).any():
        ratio, scale = float(apart.mean()) / base, 100.0 * math.copysign(1.0, base)
        around = scale * (apart - ratio * other) / base
        limits = (-100.0, math.inf) if cost_limits(a, b) == NON_NEGATIVE else ANY
        percent = _percentiles(100.0 * (first - second) / np.abs(second), scale * ratio, around, sample, limits)
    several = a.shape[1] > 1 and not (sample is not None and sample.one_history)
    return Comparison(difference, percent, probability_better(a, b) if several else None)


def t_quantile(confidence: float, freedom: int) -> float:
    """Two-sided quantile of Student's t: 12.706 for 95 % and one degree of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2.0))


class _Bootstrap:
    """Draws of worlds, the same for every policy and figure, and of each policy's seeds."""

    def __init__(self, worlds: int, draws: int, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 0])
        self.widen = _widening(worlds)
        self.worlds, self.draws, self.seed = worlds, draws, seed

    def means(self, costs: Floats) -> Floats:
        """(draws,) mean cost of a (seeds, worlds) matrix in each draw."""
        runs = len(costs)
        weights = _counts(self.rng, self.draws, runs) / runs
        weights = 1.0 / runs + _widening(runs) * (weights - 1.0 / runs)
        by_run = [taken @ costs.T for taken in _world_draws(self.worlds, self.draws, self.seed)]
        centre = costs.mean(axis=1)
        found = centre + self.widen * (np.concatenate(by_run) / self.worlds - centre)
        means: Floats = (weights * found).sum(axis=1)
        return means


def _widening(size: int) -> float:
    """What makes the percentiles of a bootstrap of so few as wide as Student's interval; 1 for a single one."""
    if size < 2:
        return 1.0
    return math.sqrt(size / (size - 1)) * t_quantile(CONFIDENCE, size - 1) / t_quantile(CONFIDENCE, 10**9)


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


def _percentiles(
    draws: Floats, mean: float, around: Floats, sample: WorldSample | None, limits: Limits = ANY
) -> Estimate:
    """Percentiles of a bootstrap over seeds and worlds; ``around`` (B,) is what each world adds to the mean."""
    sample = sample or WorldSample(len(around))
    record = _ends(draws, limits) if sample.has_record else None
    if sample.kind == "none":
        return Estimate(mean, math.nan, math.nan, record)
    if sample.blocks:
        rng = np.random.default_rng(len(draws))
        deviations = np.sqrt(rng.choice(sample.between(around), len(draws)))
        draws = draws + deviations * rng.standard_normal(len(draws))
    return Estimate(mean, *_ends(draws, limits), record)


def _ends(draws: Floats, limits: Limits) -> tuple[float, float]:
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.clip(np.percentile(draws, [tail, 100.0 - tail]), *limits)
    return float(low), float(high)


def _finite(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        raise InputError("values = []: expected at least one number")
    if not np.isfinite(x).all():
        raise expected("values", float(x[~np.isfinite(x)].ravel()[0]), "finite numbers")
    return x


def _matrix(values: ArrayLike) -> Floats:
    x = _finite(values)
    x = x[None] if x.ndim == 1 else x
    if x.ndim != 2:
        raise expected("costs", x.shape, "a (seeds, worlds) matrix")
    return x
