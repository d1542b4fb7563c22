"""Review periods and weekly calendars: when lanes can be asked and nodes work.

They change nothing in the period itself. On a closed day the availability of the lane or node is 0, and what falls due
at a node on a closed day arrives on its next open one, a longer lead time; both stand on the tape, as disruptions do.
"""

from __future__ import annotations

import datetime
import math
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, PlainValidator, model_validator

from ..core.plain import iso_date
from ..core.typing import Bools, Ints
from ..core.validation import Config, number

LONGEST_CYCLE = 3_660  # periods; also of cycles that have to be looked at together

Cycle = Annotated[int, number(1, LONGEST_CYCLE, integer=True)]


class Review(Config):
    """A lane can be asked in period ``first`` and every ``every`` periods from there."""

    every: Cycle
    """Periods from one review to the next."""
    first: Annotated[int, number(0, LONGEST_CYCLE, integer=True)] = 0
    """Period of the first review."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.first >= self.every:
            raise ValueError(f"first = {self.first}: expected a period < every ({self.every})")
        return self

    @property
    def pattern(self) -> Bools:
        """(every,) True in the period of the cycle that it can be asked in."""
        return np.arange(self.every) == self.first


def _days(raw: Any) -> Any:
    if not isinstance(raw, list | tuple) or any(isinstance(day, bool) or not isinstance(day, int) for day in raw):
        raise ValueError("expected a list of days of the cycle, counted from 0")
    return tuple(raw)


def _closed_days(raw: Any) -> Any:
    hint = "expected a list of days of the cycle, counted from 0, or of dates such as 2024-12-25"
    if not isinstance(raw, list | tuple):
        raise ValueError(hint)
    days = [day if isinstance(day, int) and not isinstance(day, bool) else iso_date(day) for day in raw]
    for day, given in zip(days, raw, strict=True):
        if day is None:
            raise ValueError(f"{given!r}: {hint}")
    return tuple(days)


Days = Annotated[tuple[int, ...], BeforeValidator(_days)]
# Any: what is written out as JSON on the way to a file is a text then.
DaysAndDates = Annotated[Any, PlainValidator(_closed_days)]


class Calendar(Config):
    """Days of a cycle on which a lane departs or a node works; period 0 is day 0.

    Either the ``open`` days or the ``closed`` ones are listed; ``cycle`` is 7, a week, unless given. ``closed`` may have
    dates besides or alone, which do not repeat (holidays, say); beside ``open`` it has dates only. Dates are known where
    demand is a record with dates that is replayed in order.
    """

    open: Days | None = None
    """Days of the cycle that are open, counted from 0."""
    closed: DaysAndDates | None = None
    """Days of the cycle that are closed, counted from 0, and dates."""
    cycle: Cycle = 7
    """Days of the cycle; period 0 is its day 0."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.open is None and self.closed is None:
            raise ValueError("expected either open or closed, a list of days")
        if self.open is not None and self.closed is not None and len(self.dates) < len(self.closed):
            raise ValueError("expected either open or closed, a list of days; beside open, closed can have dates only")
        if self.closed is not None and len(set(self.closed)) != len(self.closed):
            raise ValueError(f"closed = {[str(day) for day in self.closed]}: expected every day only once")
        key = "open" if self.open is not None else "closed"
        days = self._closed_in_cycle if self.open is None else self.open
        for day in days:
            if not 0 <= day < self.cycle:
                raise ValueError(
                    f"{key} = {day}: expected days from 0 to {self.cycle - 1}, as the cycle is {self.cycle}"
                )
        if len(set(days)) != len(days):
            raise ValueError(f"{key} = {list(days)}: expected every day only once")
        if not self.pattern.any():
            raise ValueError(f"{key} = {list(days)}: expected at least one open day")
        return self

    @property
    def _closed_in_cycle(self) -> tuple[int, ...]:
        return tuple(day for day in self.closed or () if isinstance(day, int))

    @property
    def dates(self) -> tuple[datetime.date, ...]:
        """Dates on which it is closed, ascending."""
        return tuple(sorted(day for day in self.closed or () if isinstance(day, datetime.date)))

    @property
    def pattern(self) -> Bools:
        """(cycle,) True on open days, dates aside."""
        days = np.arange(self.cycle)
        return np.isin(days, self.open) if self.open is not None else ~np.isin(days, self._closed_in_cycle)


def _number_alone(raw: Any) -> Any:
    return {"every": raw} if isinstance(raw, int | float) and not isinstance(raw, bool) else raw


ReviewField = Annotated[Review, BeforeValidator(_number_alone)]

ALWAYS = np.ones(1, dtype=np.bool_)


def together(*patterns: Bools) -> Bools:
    """The pattern that is open where all are, over their common cycle."""
    length = math.lcm(*(len(pattern) for pattern in patterns))
    periods = np.arange(length)
    found = np.ones(length, dtype=np.bool_)
    for pattern in patterns:
        found &= pattern[periods % len(pattern)]
    return found


def waits(pattern: Bools) -> Ints:
    """(cycle,) periods from each one until the next that is open, 0 on open ones."""
    twice = np.concatenate([pattern, pattern])
    where = np.where(twice, np.arange(len(twice)), len(twice))
    following = np.minimum.accumulate(where[::-1])[::-1]
    return (following - np.arange(len(twice)))[: len(pattern)].astype(np.int64)


def protection(asked: Bools, target: Bools, lead_time: int) -> int:
    """Longest time from a request until what is asked at the next opportunity has arrived.

    That is what a request has to last for: the lead time and a review period (Silver, Pyke and Thomas, Inventory and
    Production Management in Supply Chains, 2017, section 6.4); lead time + 1 for a lane that can be asked every period.
    """
    cycle = together(asked, np.ones_like(target))
    times = np.flatnonzero(cycle)
    following = np.append(times[1:], times[0] + len(cycle))
    due = following + lead_time
    return int((due + waits(target)[due % len(target)] - times).max())
