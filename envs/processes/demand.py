"""Demand of a customer for a product, drawn period by period.

Every family is drawn by inverting its distribution function, at a uniform number or, where demands
are correlated, at a normal score: one random number makes one demand.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.memory_limits import require_memory
from ..core.typing import Floats
from .compiled import kernels
from .families import DemandFamily
from .inverse import BYTES_A_VALUE, InverseTables, PlaceNumbers
from .laws import Smooth, Steps, Uniform


class DisruptionFactor(NamedTuple):
    """Factors of disruptions on one customer: ``levels[codes]``, codes (n, 1) or (n, B)."""

    codes: PlaceNumbers
    levels: Floats

    @property
    def values(self) -> Floats:
        """The factors themselves."""
        return self.levels[self.codes]


#: Numbers of one series that are looked up without tables.
FEW = 1_000
_NO_EFFECT = DisruptionFactor(np.zeros((1, 1), np.intp), np.ones(1))


class DemandProcess:
    """Demand of one customer for one product, drawn from a family.

    Attributes
    ----------
    family
        What the user wrote.
    integer
        Whether demands are whole.
    mean
        Mean demand a period, season at 1, which is its mean over whole seasons (but for the rounding of scaled draws in
        integer worlds).
    standard_deviation
        Standard deviation of a period's demand as drawn, season at 1.
    """

    def __init__(self, family: DemandFamily, integer: bool, where: str = "demand") -> None:
        self.family = family
        self._where = where
        self.integer = integer
        if not family.surely_has_law:
            self._law  # noqa: B018  # raises what is wrong with it
        self._laws: dict[float, Steps] = {}
        self._tables: dict[bool, InverseTables] = {}
        self._numbers: dict[tuple[bool, float], int] = {}
        # Only the last of each: every tape of a run has the same periods.
        self._seasons: dict[tuple[int, int], tuple[Floats, PlaceNumbers]] = {}
        self._undisturbed: dict[tuple[bool, int, int], tuple[InverseTables, PlaceNumbers]] = {}
        self.mean, self.standard_deviation = self._moments(1.0)

    @cached_property
    def _law(self) -> Steps | Smooth:
        """The law at factor 1."""
        return self.family.law(1.0, self.integer)

    @property
    def constant(self) -> bool:
        """Whether no random number is needed."""
        if self.family.surely_has_law:
            return self.mean == 0.0
        alone = isinstance(self._law, Steps) and len(self._law.values) == 1
        return alone and (self.family.written or self.mean == 0.0)

    @property
    def needs(self) -> str:
        """Random numbers that demand is drawn from where nothing is correlated: ``nothing, uniform`` or ``score``."""
        if self.constant:
            return "nothing"
        inverted = self.family.surely_has_law or isinstance(self._law, Steps | Uniform)
        return "uniform" if inverted else "score"

    def season(self, first: int, count: int) -> tuple[Floats, PlaceNumbers]:
        """Distinct factors of the season, and which of them holds in each of ``count`` periods."""
        key = (first, count)
        if key not in self._seasons:
            season = self.family.season
            if season is None:
                found = np.ones(1), np.zeros(count, np.intp)
            else:
                factors = season.factor(np.arange(first, first + count))
                found = np.unique(factors, return_inverse=True)
            self._seasons = {key: found}
        return self._seasons[key]

    def moments(self, first: int, count: int) -> tuple[Floats, Floats]:
        """Mean and standard deviation (count,) in each period, without disruptions."""
        factors, index = self.season(first, count)
        pairs = np.array([self._moments(float(factor)) for factor in factors])
        return pairs[index, 0], pairs[index, 1]

    def draw(
        self,
        first: int,
        count: int,
        effect: DisruptionFactor | None = None,
        uniform: Floats | None = None,
        score: Floats | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Demand of ``count`` periods from ``first`` on.

        Parameters
        ----------
        first
            First period, may be negative.
        count
            Number of periods n.
        effect
            Factors of disruptions, if there are any.
        uniform
            Numbers (n, B) in (0, 1), where ``needs`` says uniform.
        score
            Or normal scores (n, B), which any family can be drawn from.
        out
            Array (n, B) to be filled.

        Returns
        -------
        ``out``, or without it (n, B) units, (n, 1) where all worlds are alike.

        Raises
        ------
        TypeError
            If neither uniform numbers nor scores are given.
        """
        argument = uniform if score is None else score
        few = self._few(effect, argument, score is not None)
        if few is not None:
            if out is None:
                return few
            out[...] = few
            return out
        factors, index = self.season(first, count)
        if not self.constant and argument is None:
            raise TypeError("expected uniform or score")
        if isinstance(self._law, Smooth):
            assert argument is not None
            out = np.empty(argument.shape) if out is None else out
            self._scaled(self._law, factors[index], effect, argument, score is not None, out)
            return out
        codes, levels = _NO_EFFECT if effect is None else effect
        pairs = index[:, None] * len(levels) + codes
        if self.constant:
            products = np.array([self._moments(f)[0] for f in np.outer(factors, levels).ravel()])
            if out is None:
                return products[pairs]
            out[...] = products[pairs]
            return out
        assert argument is not None
        key = (score is not None, first, count)
        if effect is None and key in self._undisturbed:
            tables, laws = self._undisturbed[key]
        else:
            tables, numbers = self._numbered(score is not None, factors, levels, pairs)
            laws = numbers[pairs]
            if effect is None:
                self._undisturbed = {key: (tables, laws)}
        out = np.empty(argument.shape) if out is None else out
        tables.draw(laws, argument, out)
        return out

    def _few(self, effect: DisruptionFactor | None, argument: Floats | None, score: bool) -> Floats | None:
        """A few draws of one discrete law, by bisection; None where tables take them.

        Tables pay for many numbers at a time, and then need no more memory than these: a network of 100,000 series has
        none of them for one world.
        """
        if argument is None or argument.size > FEW or effect is not None:
            return None
        law = self.plain
        if law is None:
            return None
        edges = law.score_edges if score else law.uniform_edges
        return law.values[edges.searchsorted(argument)]

    @property
    def plain(self) -> Steps | None:
        """The discrete law that demand has in every period without disruptions, None where it has no such law."""
        if self.family.season is not None:
            return None
        law = self._law
        return law if isinstance(law, Steps) and not (len(law.values) == 1 and self.constant) else None

    def _scaled(
        self,
        law: Smooth,
        season: Floats,
        effect: DisruptionFactor | None,
        argument: Floats,
        score: bool,
        out: NDArray[Any],
    ) -> None:
        """Quantiles of a smooth law at scores, else probabilities, times season (n,) and effect, into ``out``."""
        seasonal = self.family.season is not None
        compiled, form = kernels(out.size), law.form(score)
        if compiled is not None and form is not None:
            factors = None if effect is None else effect.values
            compiled.smooth(form, argument, season if seasonal else None, factors, self.integer, out)
            return
        drawn = law.at_score(argument) if score else law.at_uniform(argument)
        if seasonal:
            np.multiply(drawn, season[:, None], out=drawn)
        if effect is not None:
            drawn = drawn * effect.values
        if self.integer:
            np.floor(np.add(drawn, 0.5, out=drawn), out=drawn)
        out[...] = drawn

    def _numbered(
        self, score: bool, factors: Floats, levels: Floats, pairs: PlaceNumbers
    ) -> tuple[InverseTables, PlaceNumbers]:
        """The tables, and the number in them of each pair of season and level that occurs."""
        if score not in self._tables:
            length = len(self._law.values) if isinstance(self._law, Steps) else 1
            self._tables[score] = InverseTables(score, length)
        tables, known = self._tables[score], self._numbers
        occurs = np.zeros(len(factors) * len(levels), np.bool_)
        occurs[pairs] = True
        numbers = np.zeros(len(occurs), np.intp)
        found = np.flatnonzero(occurs)
        products = np.round(np.outer(factors, levels).ravel()[found], 12).tolist()
        new = sorted({product for product in products if (score, product) not in known})
        if new:
            # The widest law first: the greatest factor has it. Where all are as long, do they fit?
            longest = len(self._law_at(new[-1]).values)
            require_memory(
                len(new) * longest * BYTES_A_VALUE,
                f"{self._where} of mean {self.mean:g}, whose season and disruptions have {len(new)} factors up to {new[-1]:g}, "
                f"with tables of up to {longest} values",
                "a smaller mean or demand_factor, or kind gamma or normal, which need no tables",
            )
            start = tables.add([self._law_at(product) for product in new])
            known.update({(score, product): start + k for k, product in enumerate(new)})
        numbers[found] = [known[score, product] for product in products]
        return tables, numbers

    def _law_at(self, factor: float) -> Steps:
        """The law at a factor, of families that are looked up in tables."""
        if factor not in self._laws:
            try:
                law = self.family.law(factor, self.integer)
            except InputError as error:
                raise InputError(f"{self._where}, times {factor:g} by season and disruptions: {error}") from None
            if not isinstance(law, Steps):
                raise TypeError("expected a discrete law")
            self._laws[factor] = law
        return self._laws[factor]

    def _moments(self, factor: float) -> tuple[float, float]:
        """Mean and standard deviation at a factor, as drawn."""
        known = self.family.moments(factor)
        if known is not None:
            return known
        if isinstance(self._law, Smooth):
            return factor * self._law.mean, factor * self._law.standard_deviation
        law = self._law_at(factor)
        return law.mean, law.standard_deviation
