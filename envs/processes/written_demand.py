"""Demand as a scenario writes it: one process, or one by product, validated and made."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from ..core.errors import InputError, expected, unknown
from ..core.validation import Config, validate
from ..recorded.record import ONE_RECORD, JointRecords
from ..recorded.trace import Columns, Trace
from ..recorded.windows import Windows
from .demand import DemandProcess
from .families import FAMILIES, DemandFamily, Season
from .replay import ReplayedDemand


def parse_demand(
    raw: Any,
    products: tuple[str, ...],
    integer: bool,
    base_dir: str | Path = ".",
    where: str = "demand",
    customer: str = "",
    horizon: int = 1,
    joint: JointRecords = ONE_RECORD,
) -> dict[str, DemandProcess | ReplayedDemand]:
    """Demand processes by product from what a user wrote for one customer.

    Parameters
    ----------
    raw
        ``{kind: ..., ...}``, whose values may be mappings by product, or a mapping from product
        to such. Products left out have no demand.
    products
        All products.
    integer
        Whether units are whole.
    base_dir
        Folder that files of recorded demand are relative to.
    where
        Key put in front of errors.
    customer
        Name of the customer, after which recorded series are called.
    horizon
        Periods of an episode, which the split of a record in time makes room for.
    joint
        How the recorded files of the scenario are replayed beside one another.

    Raises
    ------
    InputError
        Naming the key, its value and what was expected.
    """
    if not isinstance(raw, dict) or not raw:
        raise expected("demand", raw, "a mapping with kind, or a mapping by product", where)
    if isinstance(raw.get("kind"), str) or not any(name in products for name in raw):
        specs = _by_product(raw, products, where)
    else:
        specs = {}
        for name, spec in raw.items():
            if name not in products:
                raise unknown("demand", name, products, where)
            if not isinstance(spec, dict):
                raise expected(name, spec, "a mapping with kind", where)
            specs.update(_by_product(spec, (name,), f"{where}.{name}"))
    # A recorded column named after the customer alone is meant for its only recorded product.
    alone = sum(spec.get("kind") == "trace" for _, spec in specs.values()) == 1
    named = [spec.get("series") for _, spec in specs.values()]
    processes: dict[str, DemandProcess | ReplayedDemand] = {}
    for name in products:
        if name not in specs:
            continue
        place, spec = specs[name]
        config = _family(spec, place)
        if isinstance(config, Trace):
            # So is the column that the demand of one product names as its series.
            own = alone or (config.series is not None and named.count(config.series) == 1)
            series = config.bind(base_dir, customer, name, own, place, horizon, integer, joint)
            processes[name] = ReplayedDemand(config, series, integer)
        elif isinstance(config, DemandFamily):
            if integer:
                config.check_whole(place)
            try:
                processes[name] = DemandProcess(config, integer, place)
            except InputError as error:
                raise InputError(f"{place}: {error}") from None
    return processes


def _by_product(raw: dict[str, Any], products: tuple[str, ...], where: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Place and plain specification of each product that one specification covers."""
    kind = raw.get("kind")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise unknown("kind", kind, FAMILIES, where)
    fields = FAMILIES[kind].model_fields
    mappings = {key for key, value in raw.items() if _is_by_product(key, value, products, where)}
    specs = {}
    for name in products:
        left_out = {key for key in mappings if name not in raw[key]}
        required = {key for key in mappings if key in fields and fields[key].is_required()}
        if required and required <= left_out:
            continue  # no demand for this product
        for key in sorted(required & left_out):
            raise expected(key, raw[key], f"a value for product {name!r}, too", where)
        spec = {
            key: _season_of(name, value[name] if key in mappings else value, products, where)
            if key == "season"
            else (value[name] if key in mappings else value)
            for key, value in raw.items()
            if key not in left_out
        }
        specs[name] = (f"{where} ({name})" if mappings else where, spec)
    return specs


def _family(spec: dict[str, Any], place: str) -> Any:
    """What ``spec`` is validated to; one of numbers and text alone, which many products may share, is looked up."""
    if all(type(value) in (int, float, str) for value in spec.values()):
        try:
            return _validated(tuple((key, type(value), value) for key, value in spec.items()))
        except InputError:
            pass  # said below, with the place
    return validate(FAMILIES[spec["kind"]], spec, place)


@lru_cache(maxsize=4096)
def _validated(items: tuple[tuple[str, type, Any], ...]) -> Any:
    spec = {key: value for key, _, value in items}
    return validate(FAMILIES[spec["kind"]], spec, "")


_MAPPINGS: dict[str, type[Config]] = {"season": Season, "windows": Windows, "columns": Columns}  # by themselves


def _is_by_product(key: str, value: Any, products: tuple[str, ...], where: str) -> bool:
    if not isinstance(value, dict) or not value:
        return False  # an empty one says nothing of any product: the family says what it expects
    if key in _MAPPINGS:
        inner = _MAPPINGS[key].model_fields
        return all(name in products and name not in inner for name in value)
    for name in value:
        if name not in products:
            raise unknown(key, name, products, where)
    return True


def _season_of(name: str, value: Any, products: tuple[str, ...], where: str) -> Any:
    """A season whose own numbers may be mappings by product; one left out has no season."""
    if not isinstance(value, dict):
        return value
    season = {}
    for key, item in value.items():
        if isinstance(item, dict):
            for product in item:
                if product not in products:
                    raise unknown(f"season.{key}", product, products, where)
            if name not in item:
                return None
            item = item[name]
        season[key] = item
    return season
