"""Distributions of one period's demand: discrete laws as tables, smooth ones by their quantile."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from ..core.backend import half_up
from ..core.errors import InputError
from ..core.typing import Floats
from .compiled import CLIPPED, JOINED, LINEAR, Form
from .series import normal_quantile

MOST_VALUES = 4_000_000  # a longer table of counts is a slip of the pen
MOST_WHOLE = 8_192  # whole values that a smooth law is tabulated over; beyond, rounding is no matter
SCORES = 8.5  # normal scores beyond +-8.5 are drawn as +-8.5
KNOTS = 64  # of a tabulated quantile per unit of score
_BLOCK = 8_192  # numbers drawn at a time: temporaries stay in the processor's cache
_NEVER = 1e-19  # probability below which a value is left out: no 53-bit number can draw it


@dataclass(frozen=True, eq=False)
class Steps:
    """A discrete law: ascending ``values (k,)`` with ``weights (k,)`` that add up to 1."""

    values: Floats
    weights: Floats

    @classmethod
    def of(cls, values: Floats, weights: Floats) -> Steps:
        """A law from values in any order: equal ones are merged, weights brought to a total of 1."""
        merged, place = np.unique(values, return_inverse=True)
        total = np.bincount(place, weights=weights, minlength=len(merged))
        kept = total > _NEVER
        return cls(merged[kept], total[kept] / math.fsum(total[kept]))

    @property
    def mean(self) -> float:
        """Mean of the law."""
        return math.fsum(self.values * self.weights)

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of the law."""
        return math.sqrt(math.fsum((self.values - self.mean) ** 2 * self.weights))

    @cached_property
    def uniform_edges(self) -> Floats:
        """Edges between values, ``(k - 1,)``, in probability."""
        return self.weights.cumsum()[:-1]

    @cached_property
    def score_edges(self) -> Floats:
        """The same as normal scores."""
        below = self.uniform_edges
        above = self.weights[::-1].cumsum()[::-1][1:]
        low = below < 0.5
        tail = np.clip(np.where(low, below, above), 1e-300, 0.5)
        return np.where(low, 1.0, -1.0) * normal_quantile(tail)


def surely_narrow(mean: float, dispersion: float) -> bool:
    """Whether :func:`count_law` has a table for these, found without making it; False: perhaps not."""
    return mean <= 10_000 and dispersion <= 1  # 44 (1 + mean) values in the tail at most, beyond 12 deviations


@lru_cache(maxsize=4096)
def count_law(mean: float, dispersion: float) -> Steps:
    """Negative binomial law with variance ``mean + dispersion mean^2``; Poisson at dispersion 0.

    Built outwards from the mode with the ratio of neighbouring probabilities,
    ``p(k + 1) / p(k) = (1 + k d) m / ((1 + m d) (k + 1))`` for mean m and dispersion d, so that no
    factorial is needed (Johnson, Kemp and Kotz, Univariate Discrete Distributions, 2005, ch. 4, 5).

    Raises
    ------
    InputError
        If the law would need a table of millions of values.
    """
    if mean == 0.0:
        return Steps(np.zeros(1), np.ones(1))

    def ratio(k: Floats) -> Floats:
        return (1.0 + k * dispersion) * mean / ((1.0 + mean * dispersion) * (k + 1.0))

    mode = max(0, math.ceil(mean * (1.0 - dispersion) - 1.0))
    length = math.ceil(12.0 * math.sqrt(mean + dispersion * mean**2)) + 64
    if 1 + length > MOST_VALUES:
        raise _too_wide(mean, dispersion)
    down = np.cumprod(1.0 / ratio(np.arange(mode - 1, max(mode - length, 0) - 1, -1, dtype=float)))
    up = np.ones(1)
    while up[-1] > _NEVER:
        if len(up) + length > MOST_VALUES:
            raise _too_wide(mean, dispersion)
        k = np.arange(mode + len(up) - 1, mode + len(up) - 1 + length, dtype=np.float64)
        up = np.concatenate([up, up[-1] * np.cumprod(ratio(k))])
    weights: Floats = np.concatenate([down[down > _NEVER][::-1], up[up > _NEVER]])
    lowest = mode - int((down > _NEVER).sum())
    values = np.arange(lowest, lowest + len(weights), dtype=np.float64)
    return Steps(values, np.divide(weights, math.fsum(weights)))


def _too_wide(mean: float, dispersion: float) -> InputError:
    return InputError(
        f"demand of mean {mean:g} and dispersion {dispersion:g}: expected numbers small "
        "enough for a table of its values; kind gamma has none"
    )


@dataclass(frozen=True, eq=False)
class Smooth(ABC):
    """A continuous law, drawn by its quantile."""

    mean: float
    standard_deviation: float

    @abstractmethod
    def at_score(self, score: Floats) -> Floats:
        """Quantile at ``Phi(score)``; a new array."""

    def at_uniform(self, uniform: Floats) -> Floats:
        """Quantile at a probability; a new array."""
        return self.at_score(normal_quantile(uniform))

    @abstractmethod
    def form(self, score: bool) -> Form | None:
        """What compiled code computes the quantile from, at scores or at probabilities; None if it cannot."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """Value that is exceeded with a probability below 1e-17."""

    @abstractmethod
    def whole(self, factor: float) -> Steps:
        """Law of ``floor(factor X + 1/2)`` for a factor > 0, its mean kept at ``factor`` x mean.

        Rounding moves the mean of small demands, so X's centre or scale is set anew.
        """


@dataclass(frozen=True, eq=False)
class ClippedNormal(Smooth):
    """``max(X, 0)``, X normal with mean ``centre`` and standard deviation ``spread``."""

    centre: float
    spread: float

    @classmethod
    def of(cls, mean: float, deviation: float) -> ClippedNormal:
        """The law of that mean, X having the standard deviation ``deviation > 0``.

        With x the mean of X over its standard deviation s, the mean after clipping is
        ``s (x Phi(x) + phi(x))`` and the second moment ``s^2 ((x^2 + 1) Phi(x) + x phi(x))``.

        Raises
        ------
        ValueError
            If X would need a negative mean: then most demands are 0 by clipping.
        """
        target = mean / deviation
        if target < _density(0.0):
            raise ValueError(
                f"standard_deviation = {deviation:g}: expected at most {mean / _density(0.0):.6g}, "
                f"2.507 x the mean: beyond, a normal law clipped at 0 cannot keep the mean {mean:g} "
                "without a negative mean before clipping; kind gamma can"
            )
        x = target
        for _ in range(100):
            step = (x * _below(x) + _density(x) - target) / _below(x)
            x -= step
            if abs(step) < 1e-15 * max(x, 1.0):
                break
        second = (x * x + 1.0) * _below(x) + x * _density(x)
        drawn = deviation * math.sqrt(max(second - target * target, 0.0))
        return cls(mean, drawn, _steady(x * deviation), deviation)

    def at_score(self, score: Floats) -> Floats:
        """See :class:`Smooth`."""
        drawn = np.multiply(score, self.spread)
        np.add(drawn, self.centre, out=drawn)
        return np.maximum(drawn, 0.0, out=drawn)

    def form(self, score: bool) -> Form | None:
        """See :class:`Smooth`."""
        return (CLIPPED, self.spread, self.centre, None) if score else None

    @property
    def reach(self) -> float:
        """See :class:`Smooth`."""
        return self.centre + 9.0 * self.spread

    def whole(self, factor: float) -> Steps:
        """See :class:`Smooth`."""
        from scipy.special import ndtr

        reach = 9.0 * self.spread + 2.0 / factor
        half = (np.arange(1, math.ceil(factor * (self.centre + reach)) + 2) - 0.5) / factor

        def tail(centre: float) -> Floats:
            return np.asarray(ndtr((centre - half) / self.spread), dtype=np.float64)

        low, high = self.centre - reach, self.centre + reach
        return _from_tail(tail(_solve(tail, low, high, factor * self.mean)))


@dataclass(frozen=True, eq=False)
class Quantile(Smooth):
    """A law whose quantile is tabulated over the normal score and joined by cubic splines."""

    knots: Floats = field(repr=False)  # (4, intervals), highest power first

    def at_score(self, score: Floats) -> Floats:
        """See :class:`Smooth`."""
        drawn = np.empty(score.shape)
        rows = max(1, _BLOCK // max(score[0].size, 1))
        for row in range(0, len(score), rows):
            drawn[row : row + rows] = self._spline(score[row : row + rows])
        return drawn

    def _spline(self, score: Floats) -> Floats:
        place = np.multiply(score, float(KNOTS))
        np.add(place, SCORES * KNOTS, out=place)
        np.clip(place, 0.0, 2 * SCORES * KNOTS, out=place)
        index = np.minimum(place.astype(np.intp), self.knots.shape[1] - 1)
        np.subtract(place, index, out=place)
        total = self.knots[0].take(index)
        for coefficients in self.knots[1:]:
            np.multiply(total, place, out=total)
            np.add(total, coefficients.take(index), out=total)
        return np.maximum(total, 0.0, out=total)

    def form(self, score: bool) -> Form | None:
        """See :class:`Smooth`."""
        return (JOINED, float(KNOTS), SCORES * KNOTS, self.knots) if score else None


def _knots(values: Floats) -> Floats:
    from scipy.interpolate import CubicSpline

    return np.ascontiguousarray(CubicSpline(np.arange(float(len(values))), values).c)


def _grid() -> Floats:
    return np.arange(-SCORES * KNOTS, SCORES * KNOTS + 1) / KNOTS


@dataclass(frozen=True, eq=False)
class Gamma(Quantile):
    """Gamma law of a mean and standard deviation, both > 0."""

    @classmethod
    def of(cls, mean: float, deviation: float) -> Gamma:
        """The law with its quantile table."""
        from scipy.special import gammainccinv, gammaincinv, ndtr

        shape, grid = (mean / deviation) ** 2, _grid()
        tail = ndtr(-np.abs(grid))
        quantile = np.where(grid < 0, gammaincinv(shape, tail), gammainccinv(shape, tail))
        return cls(mean, deviation, _knots(quantile * (deviation * deviation / mean)))

    @property
    def reach(self) -> float:
        """See :class:`Smooth`."""
        from scipy.special import gammainccinv

        shape = (self.mean / self.standard_deviation) ** 2
        return float(gammainccinv(shape, 1e-18)) * self.standard_deviation**2 / self.mean

    def whole(self, factor: float) -> Steps:
        """See :class:`Smooth`."""
        from scipy.special import gammaincc

        shape = (self.mean / self.standard_deviation) ** 2
        scale = factor * self.standard_deviation**2 / self.mean
        # Rounding half up lowers a mean that lies below 1/2 most: let the scale grow at will.
        highest = scale
        while True:
            reach = factor * self.reach * (highest / scale) + 2.0
            half = np.arange(1, math.ceil(reach) + 1) - 0.5
            if gammaincc(shape, half / highest).sum() > factor * self.mean:
                break
            highest *= 2.0

        def tail(size: float) -> Floats:
            return np.asarray(gammaincc(shape, half / size), dtype=np.float64)

        return _from_tail(tail(_solve(tail, scale / 16.0, highest, factor * self.mean)))


@dataclass(frozen=True, eq=False)
class Uniform(Quantile):
    """Uniform law on ``[low, high]``."""

    low: float
    high: float

    @classmethod
    def of(cls, low: float, high: float) -> Uniform:
        """The law with its quantile table."""
        from scipy.special import ndtr

        knots = _knots(low + (high - low) * ndtr(_grid()))
        return cls((low + high) / 2.0, (high - low) / math.sqrt(12.0), knots, low, high)

    def at_uniform(self, uniform: Floats) -> Floats:
        """See :class:`Smooth`."""
        drawn = np.multiply(uniform, self.high - self.low)
        return np.add(drawn, self.low, out=drawn)

    def form(self, score: bool) -> Form | None:
        """See :class:`Smooth`."""
        return super().form(score) if score else (LINEAR, self.high - self.low, self.low, None)

    @property
    def reach(self) -> float:
        """See :class:`Smooth`."""
        return self.high

    def whole(self, factor: float) -> Steps:
        """See :class:`Smooth`. Whole numbers ``low .. high``, equally likely, times the factor."""
        values = half_up(np.arange(self.low, self.high + 1.0) * factor)
        return Steps.of(values, np.full(len(values), 1.0 / len(values)))


def _solve(tail: object, low: float, high: float, mean: float) -> float:
    """Where the mean of a rounded law, the sum of its tail, is as wanted; steady to 12 digits."""
    from scipy.optimize import brentq

    return _steady(float(brentq(lambda x: tail(x).sum() - mean, low, high, xtol=1e-13)))  # type: ignore[operator]


def _from_tail(tail: Floats) -> Steps:
    """Law of whole numbers from ``P(X >= 1), P(X >= 2), ...``."""
    weights = np.concatenate([[1.0], tail]) - np.concatenate([tail, [0.0]])
    return Steps.of(np.arange(float(len(weights))), np.maximum(weights, 0.0))


def _steady(value: float) -> float:
    """Cut to 12 digits, so that the last bits of a machine's library do not enter the worlds."""
    return float(f"{value:.12g}")


def _below(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def _density(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
