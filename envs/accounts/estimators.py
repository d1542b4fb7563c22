"""Estimators of a figure over worlds: its value in each, and one estimate with a 95 % interval over all.

Rates are estimated as the ratio of sums over worlds, not as the mean of each world's rate: worlds
with much demand count more, worlds without any do no harm. Intervals are those of the linearised
ratio (the delta method): the residuals (numerator - ratio x denominator) / mean denominator are
averaged like any sample. W. G. Cochran, *Sampling Techniques*, 3rd ed. 1977, chapter 6; he advises
30 of a sample or more. What the worlds are a sample of, and so how wide an interval is, and how it
stays within the range of its quantity, is in :mod:`.world_sample`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.backend import NUMPY
from ..core.typing import Floats
from ..worlds.world_sample import ANY, NON_NEGATIVE, NOTHING, SHARE, Limits, WorldSample


@dataclass(frozen=True, eq=False)
class Ratio:
    """Ratio of a numerator and a denominator, each (B,), or (entities, B) before ``over`` joins entities."""

    numerator: Floats
    denominator: Floats
    limits: Limits = ANY  # range of the ratio

    def over(self, rows: Any) -> Ratio:
        """The ratio of sums over some entities."""
        return Ratio(NUMPY.total(self.numerator[rows], 0), NUMPY.total(self.denominator[rows], 0), self.limits)

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

    def estimate(self, sample: WorldSample | None = None) -> dict[str, Any]:
        """``{"mean": pooled ratio, "ci95": [low, high]}``; see :meth:`WorldSample.estimate`."""
        return (sample or WorldSample(len(self.numerator))).estimate(self.pooled, self.residuals(), self.limits)


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

    def estimate(self, sample: WorldSample | None = None) -> dict[str, Any]:
        """Mean over worlds of each world's largest, its interval, and ``max`` over all worlds."""
        mean = float(self.values.mean())
        found = (sample or WorldSample(len(self.values))).estimate(mean, np.asarray(self.values - mean), NON_NEGATIVE)
        return {**found, "max": float(self.values.max())}


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

    def estimate(self, sample: WorldSample | None = None) -> dict[str, Any]:
        """Spread of the pooled ratios, which of them are extreme taken as given."""
        defined = [ratio for ratio in self.ratios if not np.isnan(ratio.pooled)]
        if not defined:
            return {"mean": np.nan, "ci95": list(NOTHING)}
        high = max(defined, key=lambda ratio: ratio.pooled)
        low = min(defined, key=lambda ratio: ratio.pooled)
        spread = high.pooled - low.pooled
        return (sample or WorldSample(len(high.numerator))).estimate(spread, high.residuals() - low.residuals(), SHARE)


Figure = Ratio | Largest | Spread
