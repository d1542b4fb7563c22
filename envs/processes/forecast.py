"""Forecasts: looks ahead at demand whose errors follow a martingale (Heath and Jackson 1994)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..config import Config, Count, Share
from .series import Streams

Floats = NDArray[np.float64]


class Forecast(Config):
    """Forecasts that every customer and product has of the ``horizon`` periods from this one on.

    Slot j of period t looks at the demand of period t + j, j + 1 periods before it is known, and
    knows the share ``skill ** (j + 1)`` of its variance: ``skill`` is the share known at lead 1.
    A look is ``mean + w (demand - mean) + noise`` with the noise of a Brownian bridge in w, so
    that looks at one demand form a martingale: averaging them gains nothing over the latest. They
    are not clipped and may be negative. The mean is that of the season, without disruptions.
    """

    horizon: Count = 0
    skill: Share = 0.0


def sample_forecasts(
    demand: Floats,
    mean: Floats,
    deviation: Floats,
    forecast: Forecast,
    streams: Streams,
    entities: Sequence[str],
    periods: int,
) -> Floats:
    """Forecasts of every period of a tape.

    With ``v = skill ** lead`` the share of variance known, a look is
    ``mean + v (demand - mean) + deviation b(v)``, b a Brownian bridge on [0, 1] of its own for every
    demand. It is drawn from the nearest lead outwards, given the look before: the value at v has mean
    ``b(v') v / v'`` and variance ``v (v' - v) / v'`` for the nearer v', so that a longer horizon
    leaves nearer looks as they are. Looks at leads j < k have covariance ``skill^k deviation^2``.

    Args:
        demand: (periods + horizon - 1 or more, E, B) from period 0 on.
        mean: (rows, E) expected demand without disruptions.
        deviation: (rows, E) its standard deviation.
        forecast: horizon F >= 1 and skill.
        streams: the worlds.
        entities: names (E,) of the series.
        periods: number of periods T.

    Returns:
        (T, E, F, B) units.
    """
    horizon, skill = forecast.horizon, forecast.skill
    looks = np.empty((periods, len(entities), horizon, streams.batch))
    rows = periods + horizon - 1
    centre, spread = mean[:rows, :, None], deviation[:rows, :, None]
    surprise = demand[:rows] - centre
    bridge: Floats | float = 0.0
    nearer = 1.0
    for slot in range(horizon):
        known = skill ** (slot + 1)
        if 0.0 < known < 1.0:
            # One series for each lead, so that the horizon does not enter the names.
            noise = streams.normals(f"forecast {slot + 1}", entities, 0, rows)
            noise *= math.sqrt(known * (nearer - known) / nearer)
            noise += bridge * (known / nearer)
            bridge, nearer = noise, known
            seen = known * surprise + spread * noise + centre
        else:
            seen = known * surprise + centre
        looks[:, :, slot] = seen[slot : slot + periods]
    return looks
