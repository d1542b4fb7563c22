"""Drift of a record: how far levels of demand move from one quarter of it to the next, beyond what chance explains.

Days differ from day to day, so means of two quarters differ even where nothing has changed. What is left of their variance
when the variance of a mean is taken off (as in a one-way analysis of variance with random effects; Searle, Casella and
McCulloch, Variance Components, 1992) is drift. It has three parts: what all customers' demand of a product does together,
what all products of a customer do, and what a single series does by itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.typing import Floats

PARTS = 4  # of the record that are compared
LEAST_BLOCKS = 2  # of each, as the variance of their mean is needed


class LevelDrift(NamedTuple):
    """Standard deviations of the level of demand, as shares of it: of a product, of a customer, of a single series."""

    product: float
    customer: float
    series: float

    def factors(self, products: Floats, customers: Floats, series: Floats) -> Floats:
        """Levels drawn, as multiples of those recorded: lognormal with mean 1, in the shape that the arguments have together.

        The arguments are standard normal numbers that broadcast against each other.
        """
        found: Floats = np.ones(())
        for deviation, normal in zip(self, (products, customers, series), strict=True):
            spread = np.sqrt(np.log1p(deviation**2))
            found = found * np.exp(spread * normal - spread**2 / 2)
        return found


def level_drift(units: Floats, block: int) -> LevelDrift:
    """Drift of recorded demand ``units`` (customers, products, periods); NaN where a customer does not demand a product.

    Means are of blocks of ``block`` periods, taken to be independent of one another. No drift where the record is too short
    to tell: fewer than two blocks a part.
    """
    count = units.shape[-1] // block // PARTS
    used = count * PARTS * block
    if count < LEAST_BLOCKS or not used:
        return LevelDrift(0.0, 0.0, 0.0)
    blocks = units[..., units.shape[-1] - used :].reshape(*units.shape[:2], PARTS, count, block).mean(-1)
    customers, products = blocks.shape[:2]
    of_product = np.nansum(blocks, axis=0)
    product = _beyond_chance(of_product)
    blocks = blocks / _relative(of_product)
    if customers == 1:
        return LevelDrift(product, 0.0, 0.0)
    of_customer = np.nansum(blocks, axis=1)
    customer = _beyond_chance(of_customer)
    if products == 1:
        return LevelDrift(product, customer, 0.0)
    blocks = blocks / _relative(of_customer)[:, None]
    return LevelDrift(product, customer, _beyond_chance(blocks.reshape(-1, PARTS, count)))


def _relative(blocks: Floats) -> Floats:
    """Level of each part as a multiple of all parts' (entities, parts, 1); 1 where nothing is demanded."""
    level = blocks.mean(-1, keepdims=True)
    mean = level.mean(-2, keepdims=True)
    found: Floats = np.where(level > 0, level / np.where(mean > 0, mean, 1.0), 1.0)
    return found


def _beyond_chance(blocks: Floats) -> float:
    """Standard deviation between parts as a share of the mean, of (entities, parts, blocks), averaged over entities."""
    level = blocks.mean(-1)
    mean = level.mean(-1)
    known = mean > 0  # which NaN is not
    if not known.any():
        return 0.0
    chance = blocks.var(-1, ddof=1).mean(-1) / blocks.shape[-1]
    share = (level.var(-1, ddof=1) - chance)[known] / mean[known] ** 2
    return float(np.sqrt(max(share.mean(), 0.0)))
