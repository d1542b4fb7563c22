"""Service comparison: where two policies do not serve alike, a difference of their costs is no saving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from echelongym.agents.service_targets import MISSED, targets_of
from echelongym.envs.accounts.estimators import Ratio
from echelongym.envs.accounts.kpis import Kpis
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.world_sample import WorldSample

from ..statistics import Estimate, seeds_comparison
from .evaluate import Scores

#: Difference of fill rates up to which two policies serve alike, whatever its interval: half a percentage point.
MARGIN = 0.005
UNEQUAL, MISSES = "*", "!"  # marks on a percentage
ALIKE, LESS, MORE = "alike", "less", "more"


@dataclass(frozen=True)
class ServiceComparison:
    """Fill rates of two policies over all customers, on common worlds, and the targets that each misses.

    They serve unequally where the paired difference of fill rates is larger than ``MARGIN`` and its interval, where there is
    one, leaves out 0.
    """

    fill_rate: float
    other: float
    difference: Estimate
    missed: tuple[str, ...] = ()
    other_missed: tuple[str, ...] = ()

    @property
    def serves(self) -> str:
        """``alike``, ``less`` or ``more`` than the other."""
        found = self.difference
        if not abs(found.mean) > MARGIN or (found.known and found.low <= 0.0 <= found.high):
            return ALIKE
        return LESS if found.mean < 0 else MORE

    @property
    def comparable(self) -> bool:
        """Whether a percentage of cost can stand alone: both serve alike and miss no target."""
        return self.serves == ALIKE and not self.missed and not self.other_missed

    @property
    def mark(self) -> str:
        """Symbol behind a percentage that cannot stand alone."""
        return (UNEQUAL if self.serves != ALIKE else "") + (MISSES if self.missed or self.other_missed else "")

    @property
    def text(self) -> str:
        """``serves less: fill rate 0.874 against 0.926``; empty where both serve alike."""
        if self.serves == ALIKE:
            return ""
        return f"serves {self.serves}: fill rate {self.fill_rate:.3f} against {self.other:.3f}"

    @property
    def rates(self) -> str:
        """``fill rate 0.874 against 0.926``."""
        return f"fill rate {self.fill_rate:.3f} against {self.other:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Fields of the summary's ``versus``."""
        return {
            "fill_rate": {"mean": self.fill_rate, "other": self.other, "difference": self.difference.to_dict()},
            "serves": self.serves,
            "targets_missed": list(self.missed),
            "other_targets_missed": list(self.other_missed),
            "comparable": self.comparable,
        }

    def columns(self) -> dict[str, Any]:
        """Columns of ``versus.csv``."""
        found = {
            "fill_rate": self.fill_rate,
            "other_fill_rate": self.other,
            **self.difference.flat("fill_rate_difference"),
        }
        return {**found, "serves": self.serves, "comparable": self.comparable}


def compare_service(scenario: Scenario, one: Scores, other: Scores) -> ServiceComparison:
    """Two policies on common worlds."""
    rates = [[figures["total"]["fill_rate"] for figures in scores.figures] for scores in (one, other)]
    found = compare_fill_rates(rates[0], rates[1], one.sample)
    missed = tuple(missed_targets(scenario, scores.kpis(), scores.sample) for scores in (one, other))
    return ServiceComparison(found.fill_rate, found.other, found.difference, *missed)


def compare_kpis(scenario: Scenario, one: Kpis, other: Kpis, sample: WorldSample) -> ServiceComparison:
    """One run of each of two policies on common worlds."""
    rates = [kpis.figures["total"]["fill_rate"] for kpis in (one, other)]
    found = compare_fill_rates(rates[:1], rates[1:], sample)
    missed = tuple(missed_targets(scenario, kpis, sample) for kpis in (one, other))
    return ServiceComparison(found.fill_rate, found.other, found.difference, *missed)


def compare_fill_rates(ones: Sequence[Ratio], others: Sequence[Ratio], sample: WorldSample) -> ServiceComparison:
    """Fill rates over the same worlds, one of each training seed."""
    rows = [np.array([rate.pooled + rate.residuals() for rate in rates]) for rates in (ones, others)]
    means = [float(np.mean([rate.pooled for rate in rates])) for rates in (ones, others)]
    if not (np.isfinite(rows[0]).all() and np.isfinite(rows[1]).all()):
        nothing = Estimate(np.nan, np.nan, np.nan)  # no demand at all
        return ServiceComparison(means[0], means[1], nothing)
    difference = seeds_comparison(rows[0], rows[1], sample=sample).difference
    return ServiceComparison(means[0], means[1], _clipped(difference))


def missed_targets(scenario: Scenario, kpis: Kpis, sample: WorldSample) -> tuple[str, ...]:
    """Names of the targets that a policy misses beyond doubt."""
    judged = (target.judge(kpis, sample) for target in targets_of(scenario))
    return tuple(found["name"] for found in judged if found["status"] == MISSED)


def _clipped(difference: Estimate) -> Estimate:
    """Shares differ by 1 at most."""
    low, high = (float(np.clip(end, -1.0, 1.0)) for end in (difference.low, difference.high))
    record = None if difference.record is None else (max(difference.record[0], -1.0), min(difference.record[1], 1.0))
    return Estimate(difference.mean, low, high, record)
