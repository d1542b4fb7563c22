"""Correlation of demands of a period and of neighbouring periods (a Gaussian copula)."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np

from ..core.typing import Floats
from ..core.validation import Config, number

Coefficient = Annotated[float, number(0.0, 1.0 - 1e-9)]


class Correlation(Config):
    """Correlation of the normal scores that demands are drawn from, in [0, 1).

    A demand is the inverse of its distribution at ``Phi(z)``. Customers of one group
    (``between``: the same region, the same segment, or all) share a part of ``z`` for each product,
    ``z = sqrt(demand) common + sqrt(1 - demand) own``, and ``z`` runs over the periods as an AR(1)
    process with coefficient ``periods``. Means and variances of the demands stay as configured;
    their own correlation is a little below that of the scores, the more so for small counts.
    Recorded demand keeps the correlation it was recorded with.
    """

    between: Literal["region", "segment", "all"] = "all"
    """Customers whose demand is correlated: `all`, or those of one `region` or `segment`."""
    demand: Coefficient = 0.0
    """Correlation within a period, of the normal scores that demand is drawn from."""
    periods: Coefficient = 0.0
    """Correlation from one period to the next, of the same scores."""


def correlated_scores(own: Floats, common: Floats | None, correlation: Correlation, zero: int) -> Floats:
    """Normal scores of one series of demand; changes ``own`` in place.

    Parameters
    ----------
    own
        Independent standard normal numbers (n, B) of the series.
    common
        Those of its group, or None where ``correlation.demand`` is 0.
    correlation
        The coefficients.
    zero
        Row of period 0. The AR(1) process is stationary there; it runs forward from it, and
        backward as well, being reversible, so that worlds do not depend on the history's length.

    Returns
    -------
    (n, B) scores, each standard normal.
    """
    if common is not None:
        np.multiply(own, math.sqrt(1.0 - correlation.demand), out=own)
        own += math.sqrt(correlation.demand) * common
    if correlation.periods:
        keep, fresh = correlation.periods, math.sqrt(1.0 - correlation.periods**2)
        for row in range(zero + 1, len(own)):
            own[row] = fresh * own[row] + keep * own[row - 1]
        for row in range(zero - 1, -1, -1):
            own[row] = fresh * own[row] + keep * own[row + 1]
    return own
