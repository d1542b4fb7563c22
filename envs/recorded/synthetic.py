"""Synthetic grocery sales: a seeded stand-in where recorded data are not at hand.

``synthetic:grocery?seed=1`` has a series under any column name; options follow as ``&mean=4&periods=365``. Units a day of
a column ``store/category`` are Poisson with mean

    level x weekday x day x traffic x item

level: lognormal over columns, of the mean asked for; weekday: a fixed pattern, from Sunday; day: what all
stores share; traffic: what all columns of a store share that day; item: the column's own. The last three are gamma
with mean 1. The variances are fitted to ``completejourney:daily``, 30 largest stores x 50 largest categories: mean
0.92 a day, 66 % zeros, correlation of two stores' daily totals 0.07, of two categories in a store 0.16, weekly
coefficient of variation 0.78.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from urllib.parse import parse_qsl

import numpy as np

from ..core.errors import expected, unknown
from ..core.typing import Floats
from .record import Record, RecordedSeries

_WEEKDAYS = np.array([1.31, 1.03, 0.91, 0.84, 0.82, 0.90, 1.19])  # from Sunday; mean 1
_MOST = {"seed": 2**53, "mean": 1e6, "periods": 1e6}
_LEVEL_SD = 0.67  # of the logarithm, over columns
_DAY_VARIANCE = 0.02
_TRAFFIC_VARIANCE = 0.6
_ITEM_VARIANCE = 1.4


def load_synthetic(name: str, where: str | None = None) -> RecordedSeries:
    """The recorded file ``synthetic:<name>``: ``grocery`` with options ``seed``, ``mean`` and ``periods``.

    Raises
    ------
    InputError
        Naming the option, its value and what was expected.
    """
    dataset, _, query = name.partition("?")
    if dataset != "grocery":
        raise expected("file", f"synthetic:{name}", "synthetic:grocery?seed=1", where)
    options = {"seed": 0.0, "mean": 0.92, "periods": 365.0}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in options:
            raise unknown(f"file synthetic:{name}", key, options, where)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        low = 1 if key == "periods" else 0
        if not low <= value <= _MOST[key] or (key != "mean" and value != int(value)):
            kind = "a number" if key == "mean" else "a whole number"
            raise expected(f"file synthetic:{name}: {key}", text, f"{kind} >= {low} and <= {_MOST[key]:g}", where)
        options[key] = value
    return _load(name, int(options["seed"]), options["mean"], int(options["periods"]))


@lru_cache(maxsize=16)
def _load(name: str, seed: int, mean: float, periods: int) -> RecordedSeries:
    def gamma(variance: float, *key: str) -> Floats:
        return _generator(seed, *key).gamma(1 / variance, variance, periods)

    shared = _WEEKDAYS[np.arange(periods) % 7] * gamma(_DAY_VARIANCE, "day")

    @lru_cache(maxsize=4096)
    def read(column: str) -> Floats:
        level = mean * math.exp(_generator(seed, "level", column).normal(-(_LEVEL_SD**2) / 2, _LEVEL_SD))
        traffic = gamma(_TRAFFIC_VARIANCE, "traffic", column.partition("/")[0])
        rate = level * shared * traffic * gamma(_ITEM_VARIANCE, "item", column)
        units = _generator(seed, "units", column).poisson(rate).astype(np.float64)
        units.flags.writeable = False
        return units

    return RecordedSeries(Record(f"synthetic:{name}", periods), None, read)


def _generator(seed: int, *key: str) -> np.random.Generator:
    """A stream that belongs to a name, whatever else is read."""
    return np.random.default_rng([seed, zlib.crc32("\0".join(key).encode())])
