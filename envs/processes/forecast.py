"""Forecasts: looks ahead at demand whose errors follow a martingale (Heath and Jackson 1994)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.typing import Floats
from ..core.validation import Config, PeriodsFromZero, Share
from .compiled import kernels
from .series import Streams


class Forecast(Config):
    """Forecasts that every customer and product has of the ``horizon`` periods from this one on.

    Slot j of period t looks at the demand of period t + j, j + 1 periods before it is known, and
    knows the share ``skill ** (j + 1)`` of its variance: ``skill`` is the share known at lead 1.
    A look is ``mean + w (demand - mean) + noise`` with the noise of a Brownian bridge in w, so
    that looks at one demand form a martingale: averaging them gains nothing over the latest. They
    are not clipped and may be negative. The mean is that of the season, without disruptions.
    """

    horizon: PeriodsFromZero = 0
    """Periods that forecasts look ahead, this period included; 0: no forecasts."""
    skill: Share = 0.0
    """Share of the variance of demand known one period ahead; h periods ahead it is `skill^h`."""


def sample_forecasts(
    demand: NDArray[Any],
    mean: Floats,
    deviation: Floats,
    forecast: Forecast,
    streams: Streams,
    entities: Sequence[str],
    looks: Floats,
) -> None:
    """Forecasts of every period of a tape, written into ``looks``.

    With ``v = skill ** lead`` the share of variance known, a look is
    ``mean + v (demand - mean) + deviation b(v)``, b a Brownian bridge on [0, 1] of its own for every
    demand. It is drawn from the nearest lead outwards, given the look before: at v it has the mean
    ``b(v') v / v'`` and variance ``v (v' - v) / v'`` for the nearer v', so that a longer horizon
    leaves nearer looks as they are. Looks at leads j < k have covariance ``skill^k deviation^2``.

    Parameters
    ----------
    demand
        (T + F - 1, E, B) from period 0 on.
    mean, deviation
        (T + F - 1, E) of demand, without disruptions.
    forecast
        Horizon F >= 1 and skill.
    streams
        The worlds.
    entities
        Names (E,) of the series.
    looks
        (T, E, F, B), filled with units.
    """
    rows = len(demand)
    noisy = np.flatnonzero(deviation.any(axis=0)).tolist()
    # One series for each lead, so that the horizon does not enter the names.
    names = [entities[k] for k in noisy]
    bridge: Floats | None = None
    nearer = 1.0
    for slot in range(forecast.horizon):
        known = forecast.skill ** (slot + 1)
        before, noise, scale = bridge, None, 1.0
        if 0.0 < known < 1.0 and noisy:
            noise = streams.normals(f"forecast {slot + 1}", names, 0, rows)
            scale = math.sqrt(known * (nearer - known) / nearer)
        weights = (known, scale, known / nearer)
        if noise is not None:
            bridge, nearer = noise, known
        compiled = kernels(looks[:, :, slot].size)
        if compiled is None:
            _look(demand, mean, deviation, noisy, noise, before, weights, slot, looks[:, :, slot])
            continue
        place = dict(zip(noisy, range(len(noisy)), strict=True)) if noise is not None else {}
        for k in range(len(entities)):
            own, older = ((None if one is None or k not in place else one[:, place[k]]) for one in (noise, before))
            compiled.look(demand[:, k], (mean[:, k], deviation[:, k]), own, older, slot, weights, looks[:, k, slot])


def _look(
    demand: NDArray[Any],
    mean: Floats,
    deviation: Floats,
    noisy: list[int],
    noise: Floats | None,
    before: Floats | None,
    weights: tuple[float, float, float],
    slot: int,
    looks: Floats,
) -> None:
    """One lead's looks (T, E, B); ``noise``, of the noisy series, becomes the bridge, ``before`` being the nearer lead's."""
    known, scale, ratio = weights
    shown = slice(slot, slot + len(looks))
    seen = (demand[shown] - mean[shown, :, None]) * known
    seen += mean[shown, :, None]
    if noise is not None:
        noise *= scale
        if before is not None:
            noise += before * ratio
        seen[:, noisy] += noise[shown] * deviation[shown][:, noisy, None]
    looks[...] = seen
