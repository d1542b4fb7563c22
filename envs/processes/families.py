"""Demand families: what a user can name, and the distribution of one period's demand in each.

Another family is another class here and a line in ``FAMILIES``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainValidator, model_validator

from ..core.backend import half_up
from ..core.errors import expected
from ..core.typing import Floats
from ..core.validation import Config, NonNegative, Share, is_number, number
from ..recorded.trace import Trace
from .laws import MOST_WHOLE, ClippedNormal, Gamma, Smooth, Steps, Uniform, count_law, surely_narrow
from .lead_time import check_probabilities

Mean = Annotated[float, number(0.0, 1e9)]


class Season(Config):
    """A rhythm: demand times ``1 + amplitude sin(2 pi (t + phase) / period)`` in period t."""

    amplitude: Share
    """Largest deviation from the mean, as a share of it."""
    period: Annotated[float, number(2.0)]
    """Periods of one season."""
    phase: Annotated[float, number(-math.inf)] = 0.0
    """Periods by which the season is shifted to an earlier time."""

    def factor(self, periods: NDArray[np.int64]) -> Floats:
        """Factor in each of ``periods (n,)``, which may lie before period 0."""
        turn = np.mod(periods + self.phase, self.period) / self.period
        # Rounded, so that the last bit of a machine's sine does not enter the worlds.
        return np.round(1.0 + self.amplitude * np.sin(2.0 * np.pi * turn), 12)


class DemandFamily(Config):
    """Base of the demand families: what one period's demand is distributed like.

    A family has a law for every factor f, the product of season and disruptions. For counts
    (poisson, negative_binomial) f scales the mean of the law; for all others it scales the draw, so
    that the coefficient of variation stays. Where units are integer, what is not whole is rounded
    half up after scaling; normal and gamma keep their mean in that, too.
    """

    kind: str
    """Family of distributions."""
    season: Season | None = None
    """Season of the mean; left out: none."""

    def law(self, factor: float, integer: bool) -> Steps | Smooth:
        """Law of a period's demand at a factor; a smooth one at factor 1, to be scaled.

        Raises
        ------
        TypeError
            If the family has none.
        """
        raise TypeError(f"{type(self).__name__} has no law")

    def moments(self, factor: float) -> tuple[float, float] | None:
        """Mean and standard deviation at a factor where a formula gives them without the law."""
        return None

    @property
    def surely_has_law(self) -> bool:
        """Whether there is a law at factor 1, and :meth:`moments` too, so that it can be made when it is first drawn from."""
        return False

    @property
    def written(self) -> bool:
        """Whether the values that are drawn are written out, so that factors bend whole ones."""
        return False

    def check_whole(self, where: str) -> None:
        """Refuse fractions in what the family draws as written, where units are integer."""


def _written(values: Any, weights: Any, factor: float, integer: bool) -> Steps:
    """Law over values as the user wrote them, times a factor."""
    scaled = np.asarray(values, dtype=np.float64) * factor
    if integer:
        scaled = half_up(scaled)
    return Steps.of(scaled, np.asarray(weights, dtype=np.float64))


class Deterministic(DemandFamily):
    """Deterministic demand, the same every period: ``mean`` times the factor."""

    kind: Literal["deterministic"]
    """Family of the demand."""
    mean: Mean
    """Demand in each period, in units."""

    @property
    def written(self) -> bool:
        """See :class:`DemandFamily`."""
        return True

    def law(self, factor: float, integer: bool) -> Steps:
        """See :class:`DemandFamily`."""
        return _written([self.mean], [1.0], factor, integer)

    def check_whole(self, where: str) -> None:
        """See :class:`DemandFamily`.

        Raises
        ------
        InputError
            On a parameter that is no whole number.
        """
        _check_whole("mean", [self.mean], where)


class Poisson(DemandFamily):
    """Poisson demand with that ``mean``, which is also the variance."""

    kind: Literal["poisson"]
    """Family of the demand."""
    mean: Mean
    """Mean demand in a period, in units."""

    @property
    def surely_has_law(self) -> bool:
        """See :class:`DemandFamily`."""
        return surely_narrow(self.mean, 0.0)

    def law(self, factor: float, integer: bool) -> Steps:
        """See :class:`DemandFamily`."""
        return count_law(self.mean * factor, 0.0)

    def moments(self, factor: float) -> tuple[float, float]:
        """See :class:`DemandFamily`."""
        return self.mean * factor, math.sqrt(self.mean * factor)


class NegativeBinomial(DemandFamily):
    """Negative binomial: variance ``mean + dispersion mean^2``; dispersion 0 is Poisson."""

    kind: Literal["negative_binomial"]
    """Family of the demand."""
    mean: Mean
    """Mean demand in a period, in units."""
    dispersion: NonNegative
    """Dispersion d: the variance is mean + d mean^2."""

    @property
    def surely_has_law(self) -> bool:
        """See :class:`DemandFamily`."""
        return surely_narrow(self.mean, self.dispersion)

    def law(self, factor: float, integer: bool) -> Steps:
        """See :class:`DemandFamily`."""
        return count_law(self.mean * factor, self.dispersion)

    def moments(self, factor: float) -> tuple[float, float]:
        """See :class:`DemandFamily`."""
        mean = self.mean * factor
        return mean, math.sqrt(mean + self.dispersion * mean**2)


class _Scaled(DemandFamily):
    """Families with a smooth law, drawn and then scaled, or tabulated where units are integer."""

    def smooth(self) -> Smooth:
        """The law at factor 1 in continuous worlds."""
        raise TypeError(f"{type(self).__name__} has no smooth law")

    def law(self, factor: float, integer: bool) -> Steps | Smooth:
        """See :class:`DemandFamily`."""
        law = self.smooth()
        if not integer or law.reach > MOST_WHOLE:
            return law
        if factor == 0.0:
            return Steps(np.zeros(1), np.ones(1))
        return law.whole(factor)


class Normal(_Scaled):
    """Normal clipped at 0: ``max(X, 0)``.

    ``mean`` is the mean after clipping, which X's mean is moved down for; ``standard_deviation`` is
    that of X before clipping, so that what is drawn varies a little less: with x the mean of X over
    s, its variance is ``s^2 ((x^2 + 1) Phi(x) + x phi(x)) - mean^2``.
    """

    kind: Literal["normal"]
    """Family of the demand."""
    mean: Mean
    """Mean demand in a period, in units, after clipping at 0."""
    standard_deviation: NonNegative
    """Standard deviation before clipping at 0, in units."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.standard_deviation > 0.0:
            self.smooth()
        return self

    def smooth(self) -> Smooth:
        """See :class:`_Scaled`."""
        return ClippedNormal.of(self.mean, self.standard_deviation)

    @property
    def written(self) -> bool:
        """See :class:`DemandFamily`."""
        return self.standard_deviation == 0.0

    def law(self, factor: float, integer: bool) -> Steps | Smooth:
        """See :class:`DemandFamily`."""
        if self.standard_deviation == 0.0:
            return _written([self.mean], [1.0], factor, integer)
        return super().law(factor, integer)

    def check_whole(self, where: str) -> None:
        """See :class:`DemandFamily`.

        Raises
        ------
        InputError
            On a parameter that is no whole number.
        """
        if self.standard_deviation == 0.0:
            _check_whole("mean", [self.mean], where)


class GammaDemand(_Scaled):
    """Gamma demand with that ``mean`` and ``standard_deviation``."""

    kind: Literal["gamma"]
    """Family of the demand."""
    mean: Annotated[float, number(0.0, 1e9, strict=True)]
    """Mean demand in a period, in units."""
    standard_deviation: Annotated[float, number(0.0, strict=True)]
    """Standard deviation, in units."""

    @model_validator(mode="after")
    def _not_too_wild(self) -> Self:
        if self.standard_deviation > 20.0 * self.mean:
            raise ValueError(
                f"standard_deviation = {self.standard_deviation:g}: expected at most 20 x the mean {self.mean:g}"
            )
        return self

    def smooth(self) -> Smooth:
        """See :class:`_Scaled`."""
        return Gamma.of(self.mean, self.standard_deviation)


class UniformDemand(_Scaled):
    """Uniform demand on ``[low, high]``; where units are integer, low to high in whole numbers."""

    kind: Literal["uniform"]
    """Family of the demand."""
    low: Mean
    """Least demand in a period, in units."""
    high: Mean
    """Greatest demand in a period, in units."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high = {self.high:g}: expected a number >= low ({self.low:g})")
        return self

    @property
    def written(self) -> bool:
        """See :class:`DemandFamily`."""
        return True

    def smooth(self) -> Smooth:
        """See :class:`_Scaled`."""
        return Uniform.of(self.low, self.high)

    def check_whole(self, where: str) -> None:
        """See :class:`DemandFamily`.

        Raises
        ------
        InputError
            On a parameter that is no whole number.
        """
        _check_whole("low", [self.low], where)
        _check_whole("high", [self.high], where)


def _amounts(raw: Any) -> tuple[float, ...]:
    """A list of numbers >= 0."""
    if not isinstance(raw, list | tuple) or not raw:
        raise ValueError("expected a list of numbers >= 0")
    for value in raw:
        if not is_number(value) or value < 0:
            raise ValueError(f"value {value!r}: expected a number >= 0")
    return tuple(float(value) for value in raw)


Amounts = Annotated[tuple[float, ...], PlainValidator(_amounts)]


class Discrete(DemandFamily):
    """Discrete demand: one of ``values``, with ``probabilities``."""

    kind: Literal["discrete"]
    """Family of the demand."""
    values: Amounts
    """Possible demands in a period, in units."""
    probabilities: Amounts
    """Their probabilities."""

    @model_validator(mode="after")
    def _total(self) -> Self:
        check_probabilities(self.values, self.probabilities)
        return self

    @property
    def written(self) -> bool:
        """See :class:`DemandFamily`."""
        return True

    def law(self, factor: float, integer: bool) -> Steps:
        """See :class:`DemandFamily`."""
        return _written(self.values, self.probabilities, factor, integer)

    def check_whole(self, where: str) -> None:
        """See :class:`DemandFamily`.

        Raises
        ------
        InputError
            On a parameter that is no whole number.
        """
        _check_whole("values", self.values, where)


class Empirical(DemandFamily):
    """Empirical demand: one of ``values``, each equally likely, drawn anew every period."""

    kind: Literal["empirical"]
    """Family of the demand."""
    values: Amounts
    """Demands of which each period draws one, all equally likely, in units."""

    @property
    def written(self) -> bool:
        """See :class:`DemandFamily`."""
        return True

    def law(self, factor: float, integer: bool) -> Steps:
        """See :class:`DemandFamily`."""
        return _written(self.values, [1.0 / len(self.values)] * len(self.values), factor, integer)

    def check_whole(self, where: str) -> None:
        """See :class:`DemandFamily`.

        Raises
        ------
        InputError
            On a parameter that is no whole number.
        """
        _check_whole("values", self.values, where)


def _check_whole(key: str, values: Any, where: str) -> None:
    for value in values:
        if value != int(value):
            raise expected(key, value, "a whole number, as units is integer", where)


FAMILIES: dict[str, type[Config]] = {
    "deterministic": Deterministic,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "normal": Normal,
    "gamma": GammaDemand,
    "uniform": UniformDemand,
    "discrete": Discrete,
    "empirical": Empirical,
    "trace": Trace,
}
