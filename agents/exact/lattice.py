"""Demand laws on an evenly spaced lattice, and the demand of several periods.

A continuous law is replaced by one on multiples of a step: weight of point k = second difference of the stop-loss
function E[(X - a)^+] at k, over the step. That splits every outcome over its two neighbours with its mean kept, so that
the expectation of a function that is linear between points is exact, and the error of the others shrinks with the
square of the step, which extrapolation from several steps removes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from echelongym.envs.core.typing import Floats
from echelongym.envs.processes.laws import ClippedNormal, Gamma, Smooth, Steps, Uniform

LONGEST = 2_000_000  # points of a lattice; beyond, the demand is spread too widely
FINEST = 4_096  # a denominator beyond which discrete values are treated as real numbers


@dataclass(frozen=True, eq=False)
class Law:
    """Law of one period's demand: ``spec`` as the processes draw it, its moments, and a natural step.

    ``natural`` is the distance that all values are multiples of, None where there is none.
    """

    spec: Steps | Smooth
    mean: float
    deviation: float
    natural: float | None

    def steps(self) -> tuple[float, ...]:
        """Steps to compute with: the natural one, or fine ones, each half of the one before."""
        if self.natural is not None:
            return (self.natural,)
        parts = 1_024.0 if isinstance(self.spec, Steps) else 128.0
        fine = max(self.deviation, 1e-3 * self.mean) / parts
        return (4.0 * fine, 2.0 * fine, fine)

    def weights(self, step: float) -> Floats:
        """(k,) probabilities of 0, step, 2 step ..."""
        if isinstance(self.spec, Steps):
            if self.natural is not None:
                place = np.rint(self.spec.values / step).astype(np.int64)
                return np.asarray(np.bincount(place, weights=self.spec.weights), dtype=np.float64)
            exact = self.spec.values / step
            below = np.floor(exact).astype(np.int64)
            up = (exact - below) * self.spec.weights
            found = np.zeros(int(below.max()) + 2)
            np.add.at(found, below, self.spec.weights - up)
            np.add.at(found, below + 1, up)
            return found
        count = math.ceil(self.spec.reach / step) + 2
        loss = stop_loss(self.spec, step * np.arange(-1.0, count + 1.0))
        found = np.maximum(np.diff(loss, 2) / step, 0.0)
        return np.asarray(found / math.fsum(found), dtype=np.float64)


def law_of(process: Any, integer: bool) -> Law:
    """The law of a demand process at season and disruption factors of 1."""
    if process is None:
        return Law(Steps(np.zeros(1), np.ones(1)), 0.0, 0.0, 1.0)
    spec = process.family.law(1.0, integer)
    natural = _spacing(spec.values) if isinstance(spec, Steps) else None
    return Law(spec, float(process.mean), float(spec.standard_deviation), natural)


def _spacing(values: Floats) -> float | None:
    """Greatest number that all values are multiples of, where they are fractions of small denominators."""
    found = Fraction(0)
    for value in values.tolist():
        fraction = Fraction(value).limit_denominator(FINEST)
        if abs(float(fraction) - value) > 1e-12 * max(1.0, abs(value)):
            return None
        found = Fraction(
            math.gcd(found.numerator * fraction.denominator, fraction.numerator * found.denominator),
            found.denominator * fraction.denominator,
        )
        if found and values[-1] / float(found) > 65_536:
            return None
    return float(found) or 1.0


def stop_loss(law: Smooth, points: Floats) -> Floats:
    """E[(X - a)^+] at each point a.

    Raises
    ------
    TypeError
        If the law has no such function.
    """
    if isinstance(law, ClippedNormal):
        from scipy.special import ndtr

        z = (law.centre - points) / law.spread
        above = (law.centre - points) * ndtr(z) + law.spread * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    elif isinstance(law, Gamma):
        from scipy.special import gammaincc

        shape = (law.mean / law.standard_deviation) ** 2
        at = np.maximum(points, 0.0) * law.mean / law.standard_deviation**2
        above = law.mean * gammaincc(shape + 1.0, at) - points * gammaincc(shape, at)
    elif isinstance(law, Uniform):
        width = law.high - law.low
        left = np.clip(law.high - points, 0.0, width)
        above = np.where(points < law.low, law.mean - points, left * left / (2.0 * width) if width else 0.0)
    else:
        raise TypeError(f"no stop-loss function of {type(law).__name__}")
    mean = float(_clipped_mean(law))
    return np.asarray(np.where(points <= 0, mean - points, above), dtype=np.float64)


def _clipped_mean(law: Smooth) -> float:
    """Mean as drawn: of a clipped normal from its centre, which is kept to 12 digits."""
    if isinstance(law, ClippedNormal):
        x = law.centre / law.spread
        below = 0.5 * math.erfc(-x / math.sqrt(2.0))
        return law.centre * below + law.spread * math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return law.mean


def total_of(weights: Floats, periods: int) -> Floats:
    """Law of the sum of ``periods`` independent demands."""
    from scipy.signal import fftconvolve

    total, power, rest = np.ones(1), weights, periods
    while rest:
        if rest & 1:
            total = _trimmed(
                fftconvolve(total, power) if min(len(total), len(power)) > 64 else np.convolve(total, power)
            )
        rest >>= 1
        if rest:
            power = _trimmed(fftconvolve(power, power) if len(power) > 64 else np.convolve(power, power))
    return total


def _trimmed(weights: Floats) -> Floats:
    """Without the noise of the transform, and without a tail that cannot matter."""
    weights = np.where(weights < 1e-17, 0.0, weights)
    last = np.flatnonzero(weights)[-1]
    weights = weights[: last + 1]
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def vertex(costs: Floats, index: int) -> tuple[float, float]:
    """Least value of a smooth function near its least point ``index``, and where, in steps from it: by a parabola."""
    if not 0 < index < len(costs) - 1:
        return float(costs[index]), 0.0
    left, here, right = (float(costs[index + k]) for k in (-1, 0, 1))
    bend = left - 2.0 * here + right
    if bend <= 0.0:
        return here, 0.0
    shift = min(max(0.5 * (left - right) / bend, -1.0), 1.0)
    return here + 0.5 * shift * (right - left) + 0.5 * shift * shift * bend, shift


def extrapolated(values: list[float]) -> tuple[float, float]:
    """Limit of values at steps 4 d, 2 d and d whose error is of order d^2, and an estimate of what is left."""
    if len(values) == 1:
        return values[0], 1e-10 * max(1.0, abs(values[0]))
    first, second, third = values
    before, limit = second + (second - first) / 3.0, third + (third - second) / 3.0
    return limit, max(abs(limit - before), 1e-9 * max(1.0, abs(limit)))
