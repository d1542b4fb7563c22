"""Validation of configs: strict models, number types and readable errors."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, PlainValidator, StrictBool, ValidationError, model_validator

from .errors import InputError, closest, shorten
from .names import as_text
from .plain import check_plain

#: Whole numbers beyond this are no numbers of anything here; floats hold those up to it exactly.
MOST = 2**53
#: Amounts below this that are meant to be greater than 0 are slips: a quotient by one of them is no number.
LEAST = 1e-12
#: Longer spans of periods, in which goods age, people wait, vehicles drive or forecasts look ahead, are slips: of
#: days they are 27 years, and every period of them takes memory in every world.
LONGEST_SPAN = 10_000
_UNIONS = (Union, types.UnionType)
Model = TypeVar("Model", bound=BaseModel)


class Config(BaseModel):
    """Base of all config models: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if data is None:
            return {}
        if isinstance(data, BaseModel):
            return data
        # An alias stands where the key is a Python keyword (`from`, `yield`).
        keys = [field.alias or name for name, field in cls.model_fields.items()]
        if not isinstance(data, dict):
            raise ValueError(f"expected a mapping with keys among {', '.join(keys)}")
        for key in data:
            if key not in keys:
                near = cls._deeper(key) or closest(key, keys) or cls._parameter(key)
                raise ValueError(f"unknown key {shorten(key, 60)}{near} (known: {', '.join(keys)})")
        return data

    @classmethod
    def _deeper(cls, key: object) -> str:
        """``; did you mean 'evaluation.worlds'?`` where a key is one of a part of this config."""
        paths = [path for path in _paths(cls) if path.rpartition(".")[2] == key]
        return f"; did you mean {' or '.join(map(repr, paths[:2]))}?" if paths else ""

    @classmethod
    def _parameter(cls, key: object) -> str:
        takes = "parameters" in cls.model_fields and isinstance(key, str)
        return f"; did you mean {f'parameters.{key}'!r}?" if takes else ""


def _paths(model: type[BaseModel], prefix: str = "", depth: int = 2) -> Iterator[str]:
    """Dotted keys of the parts of a config, the near ones first; keys of items in lists and mappings are none."""
    parts = []
    for name, field in model.model_fields.items():
        if prefix:
            yield f"{prefix}{field.alias or name}"
        kinds = [field.annotation, *(get_args(field.annotation) if get_origin(field.annotation) in _UNIONS else ())]
        parts += [(name, kind) for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    if depth:
        for name, kind in parts:
            yield from _paths(kind, f"{prefix}{name}.", depth - 1)


def is_number(value: Any) -> bool:
    """True for numbers up to 2^53; False beyond, and for booleans, text, NaN and infinities."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST


def _checked(value: Any, low: float, high: float, integer: bool, strict: bool) -> float | int:
    bound = f" {'>' if strict else '>='} {low:.12g}" if low > -math.inf else ""
    bound += f" and <= {high:.12g}" if high < math.inf else ""
    kind = "a whole number" if integer else "a finite number"
    if high == math.inf and isinstance(value, int | float) and MOST < abs(value) < math.inf:
        bound += f" and at most {MOST:.1e}"
    fits = is_number(value) and (value > low if strict else value >= low) and value <= high
    if fits and strict and low == 0.0 and value < LEAST:
        fits, bound = False, f"{bound} and at least {LEAST:g}"
    if not fits or (integer and value != int(value)):
        raise ValueError(f"expected {kind}{bound}")
    return int(value) if integer else float(value)


def number(low: float = 0.0, high: float = math.inf, integer: bool = False, strict: bool = False) -> Any:
    """Validator of a number in ``[low, high]`` (``(low, high]`` if ``strict``).

    Raises
    ------
    ValueError
        By the validator: with what was expected.
    """
    return PlainValidator(partial(_checked, low=low, high=high, integer=integer, strict=strict))


def number_by_product(low: float = 0.0, high: float = math.inf, integer: bool = False, auto: bool = False) -> Any:
    """Validator of a number, or a mapping from product name to such a number.

    Raises
    ------
    ValueError
        By the validator: with what was expected.
    """
    return PlainValidator(partial(_checked_by_product, low=low, high=high, integer=integer, auto=auto))


def _checked_by_product(value: Any, low: float, high: float, integer: bool, auto: bool) -> Any:
    def one(value: Any, of: str = "") -> Any:
        if auto and value == "auto":
            return value
        try:
            return _checked(value, low, high, integer, False)
        except ValueError as error:
            named = f"{shorten(of, 60)} = {shorten(value, 60)}: " if of else ""
            raise ValueError(f"{named}{error}{' or auto' if auto else ''}, or a mapping by product") from None

    if isinstance(value, dict):
        if not value:
            raise ValueError("expected a number, or a mapping by product with at least one entry")
        return {as_text(key): one(item, str(key)) for key, item in value.items()}
    return one(value)


Flag = StrictBool  # true or false; of themselves models would take 1 and "yes" for true
NonNegative = Annotated[float, number()]
Positive = Annotated[float, number(strict=True)]
Share = Annotated[float, number(0.0, 1.0)]
Count = Annotated[int, number(0, integer=True)]
PositiveCount = Annotated[int, number(1, integer=True)]
PeriodsFromOne = Annotated[int, number(1, LONGEST_SPAN, integer=True)]
PeriodsFromZero = Annotated[int, number(0, LONGEST_SPAN, integer=True)]
AmountByProduct = Annotated[float | dict[str, float], number_by_product()]
ShareByProduct = Annotated[float | dict[str, float], number_by_product(0.0, 1.0)]


def by_product(value: Any, products: tuple[str, ...], default: Any = 0.0) -> list[Any]:
    """One number a product from a number or a mapping; products left out get ``default``."""
    if isinstance(value, dict):
        return [value.get(name, default) for name in products]
    return [value] * len(products)


def validate(model: type[Model], data: Any, where: str) -> Model:
    """Build ``model`` from ``data``; every fault becomes one line naming file, key and value.

    Raises
    ------
    InputError
        With one line for each fault found.
    """
    check_plain(data, where)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InputError(describe(error, where)) from None


# What pydantic says of types, in words of a file.
_PLAIN = {
    "tuple_type": "expected a list, as in [a, b]",
    "list_type": "expected a list, as in [a, b]",
    "dict_type": "expected a mapping, as in {name: value}",
    "model_type": "expected a mapping, as in {name: value}",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
}


def describe(error: ValidationError, where: str) -> str:
    """Lines ``where: key = value: expected ...`` for the faults pydantic found."""
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        text = fault["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        text = _PLAIN.get(fault["type"], text)
        if fault["type"] in ("too_short", "too_long"):
            end, count = ("least", "min_length") if fault["type"] == "too_short" else ("most", "max_length")
            text = f"expected at {end} {fault['ctx'][count]} entries, this has {fault['ctx']['actual_length']}"
        if not key:
            lines.append(f"{where}: {text}")
        elif fault["type"] == "missing":
            lines.append(f"{where}: {key}: expected this key, which has no default")
        elif isinstance(fault["input"], dict) and fault["type"] == "value_error":
            lines.append(f"{where}: {key}: {text}")
        else:
            lines.append(f"{where}: {key} = {shorten(fault['input'])}: {text}")
    return "\n".join(lines)
