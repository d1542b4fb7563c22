"""Correlation of demands of a period and of neighbouring periods (a Gaussian copula)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

from ..core.typing import Floats
from ..core.validation import Config, number
from .compiled import kernels

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


def correlated_scores(
    own: Floats, common: Floats | None, groups: Sequence[int], correlation: Correlation, zero: int
) -> None:
    """Make independent normal numbers into the scores that demands are drawn from, in place.

    Parameters
    ----------
    own
        Independent standard normal numbers (n, E, B) of E series.
    common
        Those (n, G, B) of the groups, or None where ``correlation.demand`` is 0.
    groups
        Group (E,) of each series.
    correlation
        The coefficients.
    zero
        Row of period 0. The AR(1) process is stationary there; it runs forward from it, and
        backward as well, being reversible, so that worlds do not depend on the history's length.
    """
    alone, shared = math.sqrt(1.0 - correlation.demand), math.sqrt(correlation.demand)
    keep, fresh = correlation.periods, math.sqrt(1.0 - correlation.periods**2)
    compiled = kernels(own.size)
    if compiled is not None:
        for k, group in enumerate(groups):
            in_common = None if common is None else common[:, group]
            compiled.correlate(own[:, k], in_common, zero, (alone, shared), (keep, fresh))
        return
    if common is not None:
        np.multiply(own, alone, out=own)
        own += shared * common[:, groups]
    if keep:
        for row in range(zero + 1, len(own)):
            own[row] = fresh * own[row] + keep * own[row - 1]
        for row in range(zero - 1, -1, -1):
            own[row] = fresh * own[row] + keep * own[row + 1]
