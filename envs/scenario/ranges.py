"""Ranges that numbers of a randomised scenario are drawn from: an interval, a list of values, a factor."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Protocol, Self

from pydantic import AfterValidator, BeforeValidator, PlainValidator, model_validator

from ..core.backend import half_up
from ..core.errors import expected
from ..core.validation import Config, Flag, Positive, is_number

_DIGITS = 6  # significant ones of a drawn number: readable in a file, and the same on any machine


class RandomNumbers(Protocol):
    """Source of the random numbers of one variant."""

    def uniform(self, name: str) -> float:
        """A number in (0, 1) that depends on ``name`` alone."""
        ...

    def chance(self, name: str, probability: float) -> bool:
        """Whether something of that probability happens."""
        ...


def _finite(value: Any) -> float:
    if not is_number(value):
        raise ValueError("expected a finite number")
    return float(value)


Finite = Annotated[float, PlainValidator(_finite)]


class Range(Config):
    """Range of a number: uniform on ``low`` to ``high`` (whole numbers if ``whole``), or one of ``values``."""

    _KINDS: ClassVar[str] = "low and high, or values"

    low: Finite | None = None
    """Least value."""
    high: Finite | None = None
    """Greatest value."""
    whole: Flag = False
    """Whether only whole numbers are drawn."""
    values: tuple[Any, ...] | None = None
    """Values of which one is drawn, instead of `low` and `high`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_ends()
        return self

    def _check_ends(self) -> None:
        if self.values is not None:
            if not self.values:
                raise ValueError("values = []: expected at least one value")
            if self.low is not None or self.high is not None or self.whole:
                raise ValueError(f"expected one of {self._KINDS}")
            return
        if self.low is None or self.high is None:
            raise ValueError(f"expected {self._KINDS}")
        if self.high < self.low:
            raise ValueError(f"high = {self.high:g}: expected a number >= low ({self.low:g})")
        if self.whole and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError(f"low = {self.low:g}, high = {self.high:g}: expected whole numbers, as whole is true")

    @property
    def ends(self) -> tuple[Any, ...]:
        """The lowest and the highest number, or all values."""
        return (self.value(0.0), self.value(1.0)) if self.values is None else self.values

    def value(self, u: float) -> Any:
        """The value at the uniform number ``u`` in (0, 1)."""
        if self.values is not None:
            return self.values[min(int(u * len(self.values)), len(self.values) - 1)]
        assert self.low is not None
        assert self.high is not None
        if self.whole:
            return int(self.low) + min(int(u * (self.high - self.low + 1.0)), int(self.high - self.low))
        return _within(self.low + u * (self.high - self.low), self.low, self.high)

    def __str__(self) -> str:
        if self.values is not None:
            return "one of " + ", ".join(map(str, self.values)) if len(self.values) > 1 else str(self.values[0])
        return f"{self.low:g} to {self.high:g}{', whole' if self.whole else ''}"


class Factor(Config):
    """A factor on the number that the scenario has: ``low`` to ``high``, its logarithm uniform."""

    low: Positive
    """Least factor."""
    high: Positive
    """Greatest factor."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high = {self.high:g}: expected a number >= low ({self.low:g})")
        return self

    def value(self, u: float) -> float:
        """The factor at the uniform number ``u``."""
        power = math.log(self.low) + u * (math.log(self.high) - math.log(self.low))
        return _within(math.exp(power), self.low, self.high)


class Draw(Range):
    """A :class:`Range`, or a ``factor`` on what the scenario has (rounded half up if ``whole``).

    ``together``: all numbers that the pattern matches are drawn at one place of the range (or times one factor), instead of
    each by itself.
    """

    _KINDS: ClassVar[str] = "low and high, values, or factor"

    factor: Factor | None = None
    """Factor on the number that the scenario has, instead of `low` and `high` or `values`."""
    together: Flag = False
    """Whether all numbers that the pattern matches are drawn at one place of the range, instead of each by itself."""

    def _check_ends(self) -> None:
        if self.factor is None:
            super()._check_ends()
        elif self.low is not None or self.high is not None or self.values is not None:
            raise ValueError(f"expected one of {self._KINDS}")

    def drawn(self, u: float, given: Any, path: str) -> Any:
        """Value in place of ``given`` in a variant.

        Raises
        ------
        InputError
            If a factor is drawn for what is no number.
        """
        if self.factor is None:
            return self.value(u)
        return self._times(self.factor.value(u), given, path)

    def _times(self, factor: float, given: Any, path: str) -> Any:
        if isinstance(given, dict) and given:
            return {key: self._times(factor, item, path) for key, item in given.items()}
        if not is_number(given):
            raise expected(f"randomise.values.{path}", given, "a number, which the factor multiplies")
        return int(half_up(given * factor)) if self.whole else _rounded(given * factor)

    def __str__(self) -> str:
        if self.factor is None:
            text = super().__str__()
        else:
            text = f"times {self.factor.low:g} to {self.factor.high:g}{', whole' if self.whole else ''}"
        return f"{text}, all together" if self.together else text


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _within(value: float, low: float, high: float) -> float:
    return min(max(_rounded(value), low), high)


def constant(value: Any) -> Any:
    """A number alone is that number in every variant."""
    return {"values": [value]} if is_number(value) else value


def _whole(value: Any) -> Any:
    if not isinstance(value, dict) or "low" not in value:
        return value
    if value.get("whole", True) is not True:
        raise ValueError("whole: expected true or nothing, as these are whole numbers")
    return {**value, "whole": True}


def _of_numbers(given: Range) -> Range:
    if not all(map(is_number, given.ends)):
        raise ValueError(f"values = {list(given.ends)}: expected finite numbers")
    return given


RangeField = Annotated[Range, BeforeValidator(constant), AfterValidator(_of_numbers)]
WholeField = Annotated[Range, BeforeValidator(_whole), BeforeValidator(constant), AfterValidator(_of_numbers)]
