"""Dates of events and closed days as periods, where demand is a record with dates, replayed in order."""

from __future__ import annotations

import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import expected
from ..core.typing import Ints
from ..network.calendars import waits
from ..recorded.record import RecordDates
from .closed_days import Calendars
from .disruption import When
from .record_statement import recorded_series
from .source import WorldSource

#: A period may last so long at most, if single days are to be closed.
DAY = datetime.timedelta(days=1)


def _beginnings(
    scenario: WorldSource, purpose: str, dates: tuple[datetime.date, datetime.date], key: str, value: Any, where: str
) -> list[tuple[RecordDates, int]]:
    """Calendar of each dated record that is replayed in order, and which of its periods is period 0 of a purpose.

    Raises
    ------
    InputError
        Where there is no such record, two of the kind begin at different dates, or the dates are not in one.
    """
    first, last = dates
    instead = "days of a cycle" if key == "closed" else "numbers of periods"
    found: dict[str, tuple[RecordDates, int]] = {}
    for series in recorded_series(scenario):
        calendar = series.recorded.calendar
        if calendar is None or series.block is not None:
            continue
        begin, end = calendar.starts[0].date(), calendar.starts[-1].date()
        if last < begin or first > end:
            raise expected(key, value, f"dates from {begin} to {end}, those of {series.recorded.file}", where)
        window = series.spans[purpose]
        zero = 0 if window is None else window[0]
        found[f"{series.recorded.file} from {calendar.label(zero)}, {calendar.step}"] = calendar, zero
    if not found:
        hint = f"{instead}: dates are known where demand is a record with dates, replayed in order (without block)"
        raise expected(key, value, hint, where)
    if len({name.partition(" from ")[2] for name in found}) > 1:
        hint = f"{instead}, as records begin differently: {'; '.join(found)}"
        raise expected(key, value, hint, where)
    return list(found.values())


def dated_span(scenario: WorldSource, when: When, purpose: str, where: str) -> tuple[int, int]:
    """First and last period of an event by date, in worlds of a purpose, which begin with their window.

    Raises
    ------
    InputError
        Where demand is no record with dates that is replayed in order, two records of the kind begin at different dates,
        or the dates are not in the record.
    """
    assert when.dates is not None
    first, last = when.dates
    calendar, zero = _beginnings(scenario, purpose, when.dates, "from, to", [str(first), str(last)], where)[0]
    return calendar.first_from(first) - zero, calendar.last_until(last) - zero


class ClosedDates:
    """Days on which lanes and nodes of a scenario are closed by date.

    Parameters
    ----------
    scenario
        The scenario; its dates are those of the record that it replays in order.
    """

    def __init__(self, scenario: WorldSource) -> None:
        self._scenario = scenario
        self._calendars: dict[str, Calendars] = {}
        self._dates: dict[tuple[str, int], tuple[datetime.date, ...]] = {}
        for kind in ("lanes", "nodes"):
            for i, item in enumerate(getattr(scenario, kind).values()):
                if item.calendar is not None and item.calendar.dates:
                    self._dates[kind, i] = item.calendar.dates

    def check(self) -> None:
        """Refuse dates that are not those of periods.

        Raises
        ------
        InputError
            Naming the lane or node: without a record with dates, where periods are longer than a day, or for a date that
            the record does not have.
        """
        for (kind, i), dates in self._dates.items():
            where = f"{kind}.{list(getattr(self._scenario, kind))[i]}.calendar"
            for date in dates:
                for calendar, _ in _beginnings(self._scenario, "test", (date, date), "closed", str(date), where):
                    if len(calendar.starts) > 1 and calendar.starts[1] - calendar.starts[0] > DAY:
                        hint = f"days of a cycle: a single day has no period of its own, as one is {calendar.step}"
                        raise expected("closed", str(date), hint, where)

    def __bool__(self) -> bool:
        return bool(self._dates)

    def periods(self, purpose: str) -> dict[tuple[str, int], Ints]:
        """Closed periods >= 0 in worlds of a purpose, ascending, by ``lanes`` or ``nodes`` and number.

        Raises
        ------
        InputError
            On a date that is not among those of the record.
        """
        found = {}
        for key, dates in self._dates.items():
            calendar, zero = _beginnings(self._scenario, purpose, (dates[0], dates[-1]), "closed", "", "")[0]
            closed = [p for day in dates for p in range(calendar.first_from(day), calendar.last_until(day) + 1)]
            found[key] = np.array([p - zero for p in sorted(set(closed)) if p >= zero], dtype=np.int64)
        return found

    def calendars(self, purpose: str) -> Calendars:
        """The calendars of the scenario with the dates that they have in worlds of a purpose."""
        if purpose not in self._calendars:
            self._calendars[purpose] = Calendars(self._scenario.tables, self.periods(purpose))
        return self._calendars[purpose]

    @cached_property
    def purposes(self) -> tuple[str, ...]:
        """Purposes whose worlds begin at a date of their own."""
        first = next(recorded_series(self._scenario))
        return tuple(first.spans)

    def longest_waits(self, patterns: tuple[NDArray[np.bool_], ...]) -> Ints:
        """(N,) periods that what falls due at each node waits at most, given the weekly patterns of nodes."""
        found = np.array([waits(pattern).max() for pattern in patterns], dtype=np.int64)
        for purpose in self.purposes if self else ():
            for (kind, node), closed in self.periods(purpose).items():
                if kind == "nodes" and len(closed):
                    pattern = patterns[node]
                    works = pattern[np.arange(int(closed[-1]) + 1 + len(pattern)) % len(pattern)]
                    works[closed] = False
                    found[node] = max(found[node], waits(works).max())
        return found
