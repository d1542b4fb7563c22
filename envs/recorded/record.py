"""A record: series of units a period, and the dates of its periods where the file has dates."""

from __future__ import annotations

import bisect
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..core.errors import unknown
from ..core.typing import Floats


@dataclass(frozen=True, eq=False)
class RecordDates:
    """Dates at which the periods of a record begin.

    Attributes
    ----------
    starts
        Begin of every period, ascending.
    step
        Length of a period in words, such as ``1 day`` or ``1 month``.
    """

    starts: tuple[datetime.datetime, ...]
    step: str

    def label(self, period: int) -> str:
        """The date of a period, with its time where periods begin at other times than midnight."""
        start = self.starts[period]
        return start.isoformat(" ", "minutes") if self._timed else start.date().isoformat()

    @cached_property
    def _timed(self) -> bool:
        return any(start.time() != datetime.time() for start in self.starts)

    def first_from(self, date: datetime.date) -> int:
        """The first period that begins on ``date`` or later; the number of periods where none does."""
        return bisect.bisect_left(self.starts, _midnight(date))

    def last_until(self, date: datetime.date) -> int:
        """The last period that begins on ``date`` or earlier; -1 where none does."""
        if date >= datetime.date.max:
            return len(self.starts) - 1
        return bisect.bisect_left(self.starts, _midnight(date + datetime.timedelta(days=1))) - 1


def _midnight(date: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(date, datetime.time())


def _left_behind(column: str) -> Floats:
    raise unknown("series", column, (), "a record sent to another process")


@dataclass(frozen=True)
class JointRecords:
    """Joint replay of the recorded files of a scenario.

    Attributes
    ----------
    days
        Begin of the first and of the last period that dated files are joined on; None where they are not.
    tables
        What each of several tables holds, in the order of the scenario: their blocks are drawn by the places here, so that
        neither where a table lies nor a corrected number in it changes which blocks a world draws.
    """

    days: tuple[datetime.datetime, datetime.datetime] | None = None
    tables: tuple[str, ...] = ()

    @property
    def several(self) -> bool:
        """Whether there is more than one table."""
        return len(self.tables) > 1

    def name(self, content: str, joined: bool) -> str:
        """Name of the random series that blocks of a record are drawn by."""
        if joined:
            return "joined tables"
        return f"table {self.tables.index(content)}" if content in self.tables else "table 0"


ONE_RECORD = JointRecords()


@dataclass(frozen=True, eq=False)
class Record:
    """A recorded file without its series: what can be said of its periods, and sent to another process.

    Attributes
    ----------
    file
        The name as the scenario gives it.
    periods
        How many there are.
    calendar
        When periods begin; None where the file counts them.
    """

    file: str
    periods: int
    calendar: RecordDates | None = field(default=None, repr=False)

    def label(self, period: int) -> str:
        """A period by its date where there is one, else by its number."""
        return str(period) if self.calendar is None else self.calendar.label(period)

    def span(self, first: int, last: int) -> str:
        """``2024-03-01 to 2024-06-30``, or ``periods 0 to 121``."""
        return f"{'' if self.calendar else 'periods '}{self.label(first)} to {self.label(last)}"


@dataclass(frozen=True, eq=False)
class RecordedSeries:
    """The series of one recorded file, all of the same length.

    Attributes
    ----------
    record
        What can be said of the file and its periods.
    columns
        Names of the series, or None where any name is one (synthetic).
    read
        Units of a column, ``(periods,)``; called with names among ``columns`` only.
    """

    record: Record
    columns: Sequence[str] | None
    read: Callable[[str], Floats] = field(repr=False)

    def __reduce__(self) -> tuple[type[RecordedSeries], tuple[object, ...]]:
        """What a process of its own is sent: the name and the dates; whoever needs a series has read it before."""
        return RecordedSeries, (self.record, (), _left_behind)

    @cached_property
    def _known(self) -> dict[str, str | None]:
        """Names of series, and in lower case where only one name reads so."""
        found: dict[str, str | None] = {}
        for name in self.columns or ():
            lower = name.lower()
            found[lower] = None if lower in found else name
        return found | {name: name for name in self.columns or ()}

    def __contains__(self, column: object) -> bool:
        return self.columns is None or self.named(str(column)) is not None

    def named(self, column: str) -> str | None:
        """The series of that name, capital letters aside where that leaves no doubt; None where there is none."""
        if self.columns is None:
            return column
        return self._known.get(column) or self._known.get(column.lower())

    def within(self, days: tuple[datetime.datetime, datetime.datetime]) -> RecordedSeries:
        """Part of the record between the begins of two of its periods, both included."""
        calendar = self.record.calendar
        assert calendar is not None
        first, last = (bisect.bisect_left(calendar.starts, day) for day in days)
        kept, read = slice(first, last + 1), self.read
        part = Record(self.record.file, last + 1 - first, RecordDates(calendar.starts[kept], calendar.step))
        return RecordedSeries(part, self.columns, lambda name: read(name)[kept])

    def units(self, column: str, product: str | None = None) -> Floats:
        """Units a period, ``(periods,)``, of ``column``, or of ``column/product`` if a product is given.

        Raises
        ------
        InputError
            Naming the column, and the closest one there is.
        """
        name = column if product is None else f"{column}/{product}"
        found = self.named(name)
        if found is None:
            raise unknown("series", name, self.columns or (), self.record.file)
        return self.read(found)
