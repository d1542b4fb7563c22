"""A figure over worlds: its value in each, and one estimate with a 95 % interval over all.

Rates are estimated as the ratio of sums over worlds, not as the mean of each world's rate: worlds
with much demand count more, worlds without any do no harm. Intervals are those of the linearised
ratio (the delta method): the residuals (numerator - ratio x denominator) / mean denominator are
averaged like any sample, with Student's t. W. G. Cochran, *Sampling Techniques*, 3rd ed. 1977,
chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import NUMPY

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ratio:
    """Numerator over denominator, each (B,), or (entities, B) before ``over`` joins entities."""

    numerator: Floats
    denominator: Floats

    def over(self, rows: Any) -> Ratio:
        """The ratio of sums over some entities."""
        return Ratio(NUMPY.total(self.numerator[rows], 0), NUMPY.total(self.denominator[rows], 0))

    def by_world(self) -> Floats:
        """(..., B) the ratio in each world; NaN where the denominator is 0."""
        defined = self.denominator != 0
        empty = np.full(self.denominator.shape, np.nan)
        return np.divide(self.numerator, self.denominator, out=empty, where=defined)

    @property
    def pooled(self) -> float:
        """Ratio of sums over worlds; NaN if the denominators sum to 0."""
        below = float(self.denominator.sum())
        return float(self.numerator.sum()) / below if below else np.nan

    def residuals(self) -> Floats:
        """(B,) what each world adds to the linearised ratio, around 0."""
        mean = float(self.denominator.mean())
        if not mean:
            return np.full(self.numerator.shape, np.nan)
        return np.asarray((self.numerator - self.pooled * self.denominator) / mean)

    def estimate(self) -> dict[str, Any]:
        """``{"mean": pooled ratio, "ci95": [low, high]}``; see :func:`interval`."""
        return {"mean": self.pooled, "ci95": interval(self.pooled, self.residuals())}


@dataclass(frozen=True, eq=False)
class Largest:
    """The largest of some values: (B,), or (entities, B) before ``over`` joins entities."""

    values: Floats

    def over(self, rows: Any) -> Largest:
        """The largest over some entities."""
        return Largest(self.values[rows].max(axis=0))

    def by_world(self) -> Floats:
        """(..., B) the largest in each world."""
        return self.values

    def estimate(self) -> dict[str, Any]:
        """Mean over worlds of each world's largest, its interval, and ``max`` over all worlds."""
        mean = float(self.values.mean())
        around = np.asarray(self.values - mean)
        return {"mean": mean, "ci95": interval(mean, around), "max": float(self.values.max())}


@dataclass(frozen=True, eq=False)
class Spread:
    """Largest minus smallest of several ratios (those that are defined)."""

    ratios: tuple[Ratio, ...]

    def by_world(self) -> Floats:
        """(B,) the spread in each world; chance alone makes it larger than the pooled one."""
        values = np.array([ratio.by_world() for ratio in self.ratios])
        high = np.where(np.isnan(values), -np.inf, values).max(axis=0)
        low = np.where(np.isnan(values), np.inf, values).min(axis=0)
        return np.where(high >= low, high - low, np.nan)

    def estimate(self) -> dict[str, Any]:
        """Spread of the pooled ratios, which of them are extreme taken as given."""
        defined = [ratio for ratio in self.ratios if not np.isnan(ratio.pooled)]
        if not defined:
            return {"mean": np.nan, "ci95": [np.nan, np.nan]}
        high = max(defined, key=lambda ratio: ratio.pooled)
        low = min(defined, key=lambda ratio: ratio.pooled)
        spread = high.pooled - low.pooled
        return {"mean": spread, "ci95": interval(spread, high.residuals() - low.residuals())}


Figure = Ratio | Largest | Spread


def interval(mean: float, residuals: Floats) -> list[float]:
    """95 % interval ``mean -+ t s / sqrt(B)`` of B residuals around 0; NaN for a single world."""
    worlds = len(residuals)
    if worlds < 2:
        return [np.nan, np.nan]
    from scipy.special import stdtrit

    error = float(np.sqrt((residuals**2).sum() / (worlds - 1) / worlds))
    half = float(stdtrit(worlds - 1, 0.975)) * error
    return [mean - half, mean + half]
