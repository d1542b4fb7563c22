"""Samples of worlds: what the worlds of an evaluation stand for, and the 95 % intervals that this allows.

Independent worlds give Student's interval. Where all worlds are one history there is none: nothing is known of others.
Worlds strung together from K recorded blocks (:mod:`.recorded_blocks`) answer two questions. How well is the mean over
worlds *of this record* known: Student's interval again. And what of *another season*, of the law that the record came
from: then the blocks are the sample. For a mean over worlds whose blocks are drawn with replacement the infinitesimal
jackknife gives the variance between records,

    sum over blocks k of Cov(N_k, t)^2,

where N_k is how often a world draws block k and t what the world adds to the figure (B. Efron, *Journal of the American
Statistical Association* 109, 2014, theorem 1), here times K / (K - 1). Of B worlds the covariances are noisy, which adds the
sum of their sampling variances (S. Wager, T. Hastie and B. Efron, *Journal of Machine Learning Research* 15, 2014).
Subtracting that noise leaves a poor estimate where blocks matter little, even a negative one; so the variance between
records keeps its posterior distribution (chi-squared with K - 1 degrees of freedom for the sum, prior 1 / variance, cut off
at the noise: G. E. P. Box and G. C. Tiao, *Bayesian Inference in Statistical Analysis*, 1973, section 5.2) and the interval
is that of a normal mean over it, to which the ordinary variance over worlds is added. Many worlds make it Student's t with
K - 1 degrees of freedom; few worlds make it too wide rather than too narrow. Several records are independent and add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.backend import NUMPY
from ..core.typing import Floats
from .drawn import Drawn, drawn_from
from .recorded_blocks import RecordedBlocks
from .source import WorldSource
from .tape import Tape, sample_tape
from .tape_arrays import ARRAYS

Limits = tuple[float, float]

ANY: Limits = (-np.inf, np.inf)
NON_NEGATIVE: Limits = (0.0, np.inf)
SHARE: Limits = (0.0, 1.0)
NOTHING = [np.nan, np.nan]

FEW = 30  # worlds below which an interval of a ratio is rough (W. G. Cochran, Sampling Techniques, 1977, section 6.8)
_LEVELS = 400  # points that a posterior distribution is held by
#: Said of a tape that does not say what its worlds were drawn from.
UNKNOWN = "the tape does not say what its worlds were drawn from: they count as independent, which worlds of one record are not"
_ROUNDING = ("split", "thin")  # arrays of a tape that only say who gets an odd unit
_SAMPLED = 128  # worlds compared at a time


@dataclass(frozen=True, eq=False)
class WorldSample:
    """B worlds as a sample: independent, drawn from recorded blocks, or all one history.

    Attributes
    ----------
    worlds
        Number of worlds B that are simulated.
    blocks
        Records that the worlds are strung together from.
    one_history
        Whether all worlds are the same (but for who gets an odd unit).
    replayed
        Recorded files that are replayed in order, the same in all worlds.
    asked
        Number of worlds that were asked for; of one history, one is as good as all.
    known
        Whether it is known what the worlds were drawn from: not of a tape that does not say so.
    """

    worlds: int
    blocks: tuple[RecordedBlocks, ...] = ()
    one_history: bool = False
    replayed: tuple[str, ...] = ()
    asked: int | None = None
    known: bool = True

    @property
    def kind(self) -> str:
        """Kind of the intervals: about ``worlds``, ``another_season`` or ``none``."""
        if self.one_history or self.worlds < 2 or any(one.size < 2 for one in self.blocks):
            return "none"
        return "another_season" if self.blocks else "worlds"

    @property
    def reason(self) -> str | None:
        """Reason why there is no interval; None where there is one."""
        if self.one_history:
            return "one history: all worlds are the same one, so nothing is known of others"
        if self.worlds < 2:
            return "one world: nothing is known of others"
        alone = [one for one in self.blocks if one.size < 2]
        if alone:
            return f"one block of {alone[0].file}: nothing is known of another season"
        return None

    @property
    def over(self) -> str:
        """What the headline intervals are over, in words: ``17 recorded weeks``; empty where it is the worlds."""
        return " and ".join(one.described for one in self.blocks) if self.kind == "another_season" else ""

    @property
    def has_record(self) -> bool:
        """Whether the narrower interval, of worlds of this record, stands beside the headline."""
        return bool(self.blocks) and self.worlds > 1 and not self.one_history

    def first(self, worlds: int) -> WorldSample:
        """The first of these worlds."""
        if worlds >= self.worlds:
            return self
        blocks = tuple(one.of(slice(worlds)) for one in self.blocks)
        return WorldSample(worlds, blocks, self.one_history, self.replayed, worlds, self.known)

    # In words ------------------------------------------------------------------------------------

    def notes(self) -> list[str]:
        """Notes for below a table about its intervals."""
        found = []
        if self.reason is not None:
            found.append(f"no interval: {self.reason}")
        if self.kind == "another_season":
            of = " and ".join(f"{one.described} of {one.file}" for one in self.blocks)
            found.append(
                f"intervals over {of}, which the {self.worlds} worlds are drawn from: about the mean over other seasons"
            )
        if self.kind == "worlds" and self.replayed:
            files = ", ".join(self.replayed)
            found.append(
                f"demand of {files} is one history, replayed in order: intervals are about all else that is random"
            )
        if self.kind != "none" and not self.known:
            found.append(UNKNOWN)
        if self.kind != "none" and self.worlds < FEW:
            found.append(f"of {self.worlds} worlds the intervals of rates and percentages are rough")
        return found

    def to_dict(self) -> dict[str, Any]:
        """The summary's ``intervals``: what ``ci95`` is about, or why it is null."""
        said = {
            "worlds": "other worlds of the same scenario",
            "another_season": f"the mean over other seasons of the law that the record came from, over {self.over}; "
            "ci95_record: other worlds of this very record",
            "none": self.reason,
        }[self.kind]
        found: dict[str, Any] = {"kind": self.kind, "about": said, "worlds": self.worlds}
        if self.blocks:
            found["records"] = [one.to_dict() for one in self.blocks]
        if self.replayed:
            found["replayed_in_order"] = list(self.replayed)
        return found if self.known else {**found, "known": False, "note": UNKNOWN}

    # Intervals -----------------------------------------------------------------------------------

    def estimate(self, mean: float, residuals: Floats, limits: Limits = ANY) -> dict[str, Any]:
        """``{"mean", "ci95"}`` and, of worlds drawn from a record, ``ci95_record``; NaN where there is no interval.

        Parameters
        ----------
        mean
            The figure over all worlds.
        residuals
            (B,) what each world adds to it, around 0.
        limits
            Range of the figure, which no interval leaves; see :func:`within`.
        """
        found: dict[str, Any] = {"mean": mean, "ci95": list(NOTHING)}
        if self.kind != "none":
            found["ci95"] = within(mean, self.half(residuals), limits)
        if self.has_record:
            found["ci95_record"] = within(mean, student_half(residuals), limits)
        return found

    def half(self, residuals: Floats) -> float:
        """Half of the 95 % interval of a mean from (B,) residuals around 0; NaN where there is none."""
        if self.kind == "none" or not np.isfinite(residuals).all():
            return np.nan
        if not self.blocks:
            return student_half(residuals)
        if not residuals.any():
            return 0.0
        between, ordinary = self.between(residuals), float(residuals.var(ddof=1)) / len(residuals)
        return _mixed_half(np.sqrt(between + ordinary))

    def between(self, residuals: Floats) -> Floats:
        """(400,) equally likely values of the variance between records of a mean; of no record, zeros."""
        total = np.zeros(_LEVELS)
        for number, one in enumerate(self.blocks):
            if one.size > 1:
                found = _posterior(one.counts, residuals)
                # Records are independent: their values are paired at random.
                total += found if not number else np.random.default_rng(number).permutation(found)
        return total

    def skewness(self, residuals: Floats) -> float:
        """Skewness of what the blocks add to a mean, over all records: far from 0 where few of them decide.

        That of the covariances of :meth:`between`, which noise brings nearer to 0; 0 where nothing is drawn by block.
        """
        if self.kind != "another_season" or not np.isfinite(residuals).all() or not residuals.any():
            return 0.0
        added = np.concatenate([_covariance(one.counts, residuals)[1] for one in self.blocks])
        centred = added - added.mean()
        spread = float((centred**2).mean())
        return float((centred**3).mean()) / spread**1.5 if spread > 0.0 else 0.0


def student_half(residuals: Floats) -> float:
    """Half of Student's 95 % interval, ``t s / sqrt(B)``, of B residuals around 0; NaN for a single one."""
    worlds = len(residuals)
    if worlds < 2:
        return np.nan
    from scipy.special import stdtrit

    return float(stdtrit(worlds - 1, 0.975)) * float(np.sqrt((residuals**2).sum() / (worlds - 1) / worlds))


def within(mean: float, half: float, limits: Limits = ANY) -> list[float]:
    """The interval ``mean -+ half``, brought into the range of its quantity.

    A share gets the score interval of Wilson (1927) for the number of independent trials that the half-width stands for, as
    is advised for shares of complex samples (C. Franco, R. J. A. Little, T. A. Louis and E. V. Slud, *Journal of Survey
    Statistics and Methodology* 7, 2019): it never leaves [0, 1] and reaches further on the side where there is room. Any
    other interval is cut at the limits: the true value lies within them, so it covers as often.
    """
    if half != half or mean != mean:
        return list(NOTHING)
    if limits == SHARE and mean > 1.0 + 1e-9:  # no share after all
        limits = NON_NEGATIVE
    low, high = limits
    mean = float(np.clip(mean, low, high))
    if limits == SHARE:
        spread = mean * (1.0 - mean)
        if half <= 0.0 or spread <= 0.0:
            return [mean, mean]
        if spread < 1e-12 * half**2:  # less than a millionth of a millionth of a trial says nothing
            return [0.0, 1.0]
        per_trial = half**2 / spread  # t^2 / n
        reach = float(np.sqrt(half**2 + per_trial**2 / 4.0))
        ends = [(mean + per_trial / 2.0 + sign * reach) / (1.0 + per_trial) for sign in (-1.0, 1.0)]
    else:
        ends = [mean - half, mean + half]
    return [float(np.clip(ends[0], low, mean)), float(np.clip(ends[1], mean, high))]


def cost_limits(*costs: Floats) -> Limits:
    """Range of costs: not below 0, unless revenue or what is left at the end makes some negative."""
    return NON_NEGATIVE if all(np.min(one) >= 0.0 for one in costs) else ANY


def _covariance(counts: NDArray[np.int64], residuals: Floats) -> tuple[Floats, Floats]:
    """Covariance (K,) of the counts (B, K) with the residuals (B,), behind its terms by world (B, K)."""
    moved = (counts - counts.mean(axis=0)) * (residuals - residuals.mean())[:, None]
    return moved, moved.sum(axis=0) / (len(counts) - 1)


def _posterior(counts: NDArray[np.int64], residuals: Floats) -> Floats:
    """(400,) equally likely values of the variance between records, from (B, K) counts and (B,) residuals."""
    from scipy.special import gammainc, gammaincinv

    worlds, size = counts.shape
    moved, covariance = _covariance(counts, residuals)
    noise = float(((moved - covariance) ** 2).sum()) / (worlds - 1) / worlds
    seen = float((covariance**2).sum())  # between records, and noise
    if seen <= 0.0:
        return np.zeros(_LEVELS)
    shape = (size - 1) / 2.0
    rate = shape * seen
    most = float(gammainc(shape, rate / noise)) if noise > 0.0 else 1.0
    levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
    precision = gammaincinv(shape, levels * most) / rate if most > 0.0 else np.full(_LEVELS, 1.0 / max(noise, seen))
    variance = 1.0 / np.maximum(precision, 1e-300) - noise
    return np.asarray(np.maximum(variance, 0.0) * size / (size - 1))


def _mixed_half(deviations: Floats) -> float:
    """Half of the 95 % interval of a normal mixture with these equally likely standard deviations."""
    from scipy.special import ndtr

    low, high = 0.0, 2.0 * float(deviations.max())
    if high == 0.0:
        return 0.0
    for _ in range(60):
        half = 0.5 * (low + high)
        inside = 2.0 * ndtr(half / np.maximum(deviations, 1e-300)) - 1.0
        low, high = (half, high) if NUMPY.total(inside, 0) < 0.95 * len(deviations) else (low, half)
    return 0.5 * (low + high)


# Which sample it is ------------------------------------------------------------------------------


def sample_of(
    scenario: WorldSource, worlds: int, seed: int, purpose: str, periods: int | None = None, first: int = 0
) -> WorldSample:
    """Sample that ``worlds`` worlds of a scenario, numbered from ``first``, are; arguments as of ``Scenario.sample``."""
    numbers = range(first, first + worlds)
    one_history, rounding = _one_history(scenario, numbers, seed, purpose, periods)
    drawn = drawn_from(scenario, list(numbers), seed, purpose, periods)
    if one_history:
        return WorldSample(worlds if rounding else 1, (), True, drawn.replayed, worlds)
    return WorldSample(worlds, drawn.blocks, False, drawn.replayed, worlds)


def sample_of_tape(tape: Tape) -> WorldSample:
    """Sample that the worlds of a tape read from a file are, as far as it says."""
    one_history = _alike(tape, tape)[0] and tape.batch > 1
    drawn = tape.drawn or Drawn()
    blocks = () if one_history else drawn.blocks
    return WorldSample(tape.batch, blocks, one_history, drawn.replayed, tape.batch, tape.drawn is not None)


def _one_history(
    scenario: WorldSource, numbers: range, seed: int, purpose: str, periods: int | None
) -> tuple[bool, bool]:
    """Whether all worlds are the same, and whether they differ in who gets an odd unit; two that differ settle it."""
    if len(numbers) < 2:
        return False, False
    first = sample_tape(scenario, [numbers[0]], seed, purpose, periods)
    rounding, start, size = False, 1, 1
    while start < len(numbers):
        others = sample_tape(scenario, list(numbers[start : start + size]), seed, purpose, periods)
        same, rounded = _alike(first, others)
        if not same:
            return False, False
        rounding |= rounded
        start, size = start + size, _SAMPLED
    return True, rounding


def _alike(first: Tape, others: Tape) -> tuple[bool, bool]:
    """Whether all worlds of a tape equal the first world of another, and whether they differ in rounding."""
    rounding = False
    for name in ARRAYS:
        one, other = getattr(first, name)[:, :1], getattr(others, name)
        if other.shape[1] and other.strides[1] == 0:
            other = other[:, :1]
        if not np.array_equal(np.broadcast_to(one, other.shape), other):
            if name not in _ROUNDING:
                return False, rounding
            rounding = True
    return True, rounding
