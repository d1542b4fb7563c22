"""Dates in tables, and the periods that they make: evenly spaced in seconds, days or months."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from ..core.errors import expected
from .record import RecordDates

MOST_PERIODS = 1_000_000
GAP = "missing: zero takes periods without a row, and empty cells, as demand 0"

_NUMBERS = re.compile(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})", re.ASCII)
_COMPACT = re.compile(r"\d{8}", re.ASCII)
_MONTH = re.compile(r"(\d{4})[-/](\d{1,2})", re.ASCII)
_WORDS = ("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %Y", "%B %Y", "%b-%Y")
_CLOCK = re.compile(r"(.*?)[ T](\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)\s*(Z|UTC|[+-]\d{2}:?\d{2})?", re.ASCII)

NumberedText = tuple[int, str]  # line of the file, text


class Periods(NamedTuple):
    """Periods that the rows of a table belong to."""

    places: list[int]
    number: int
    calendar: RecordDates | None


def counted(cells: Sequence[NumberedText], missing: str, file: str) -> Periods:
    """Periods that a column counts: 0, 1, 2, ..., in any order.

    Raises
    ------
    InputError
        On a cell that is no such number, or one left out where ``missing`` is not ``zero``.
    """
    places = []
    for line, text in cells:
        whole = re.fullmatch(r"(\d{1,9})(\.0*)?", text, re.ASCII)
        if not whole:
            raise expected(f"line {line}, period", text, "a whole number: periods count 0, 1, 2, ...", file)
        places.append(int(whole[1]))
    order = sorted(range(len(cells)), key=lambda row: places[row])
    due = 0
    for row in order:
        if places[row] > due and (missing != "zero" or due == 0):
            hint = f"{due}: periods count 0, 1, 2, ... without a gap" + (f" ({GAP})" if due else "")
            raise expected(f"line {cells[row][0]}, period", cells[row][1], hint, file)
        due = places[row] + 1
    _check_count(due, file)
    return Periods(places, due, None)


def dated(cells: Sequence[NumberedText], missing: str, date_format: str | None, file: str) -> Periods:
    """Periods that begin at the dates of a column, in any order.

    Raises
    ------
    InputError
        On a cell that is no date or an ambiguous one, dates that are not evenly spaced, or a gap where ``missing`` is not
        ``zero``.
    """
    times = _times(cells, date_format, file)
    distinct = sorted(set(times))
    line_of = {time: cells[row] for row, time in reversed(list(enumerate(times)))}
    month = _monthly(distinct)
    if month:
        counts = [time.year * 12 + time.month for time in distinct]
        unit, step = "month", min((b - a for a, b in itertools.pairwise(counts)), default=1)
    else:
        counts = [int((time - distinct[0]).total_seconds()) for time in distinct]
        unit, step = "second", min((b - a for a, b in itertools.pairwise(counts)), default=86_400)
    places, due = {}, 0
    for time, count in zip(distinct, counts, strict=True):
        place, rest = divmod(count - counts[0], step)
        gap = place - due
        if rest or (gap and missing != "zero"):
            line, text = line_of[time]
            hint = "dates evenly spaced and without a gap"
            if not rest:
                hint += f": {gap} missing before it ({GAP})"
            raise expected(f"line {line}, date", text, hint, file)
        places[time], due = place, place + 1
    _check_count(due, file)
    if month:
        starts = tuple(_later(distinct[0], k * step, distinct) for k in range(due))
    else:
        starts = tuple(distinct[0] + datetime.timedelta(seconds=k * step) for k in range(due))
    return Periods([places[time] for time in times], due, RecordDates(starts, _length(step, unit)))


def _check_count(count: int, file: str) -> None:
    if count > MOST_PERIODS:
        raise expected("periods", count, f"at most {MOST_PERIODS:,}", file)


def _times(cells: Sequence[NumberedText], date_format: str | None, file: str) -> list[datetime.datetime]:
    known: dict[str, datetime.datetime] = {}
    zones: set[str] = set()
    first = _day_first(cells, file) if date_format is None else None
    for line, text in cells:
        if text in known:
            continue
        found = _formatted(text, date_format) if date_format else _time(text, first, zones)
        if found is None:
            hint = f"a date like {date_format}" if date_format else "a date like 2024-03-01 (or date_format: says how)"
            raise expected(f"line {line}, date", text, hint, file)
        if len(zones) > 1:
            raise expected(f"line {line}, date", text, "one time zone in a file", file)
        known[text] = found
    return [known[text] for _, text in cells]


def _formatted(text: str, date_format: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.strptime(text, date_format).replace(tzinfo=None)
    except (ValueError, re.error):
        return None


def _day_first(cells: Sequence[NumberedText], file: str) -> bool | None:
    """Whether the day stands before the month in dates such as 03/04/2024; None where there are none.

    Dots have the day first. Elsewhere a number above 12 says it, in any row.

    Raises
    ------
    InputError
        Where nothing says it, or two rows say different things.
    """
    said: dict[bool, NumberedText] = {}
    doubtful: NumberedText | None = None
    for line, text in cells:
        clock = _CLOCK.fullmatch(text)
        parts = _NUMBERS.fullmatch(clock[1] if clock else text)
        if not parts or len(parts[1]) == 4:
            continue
        if parts[2] == "." or int(parts[1]) > 12:
            said.setdefault(True, (line, text))
        elif int(parts[3]) > 12:
            said.setdefault(False, (line, text))
        else:
            doubtful = doubtful or (line, text)
    if len(said) == 2:
        line, text = max(said.values())
        raise expected(f"line {line}, date", text, "day and month in the same order as in the rows before", file)
    if not said and doubtful:
        hint = "a date like 2024-03-01, or date_format: '%d/%m/%Y' or '%m/%d/%Y', as day and month cannot be told apart"
        raise expected(f"line {doubtful[0]}, date", doubtful[1], hint, file)
    return next(iter(said), None)


def _time(text: str, day_first: bool | None, zones: set[str]) -> datetime.datetime | None:
    clock = _CLOCK.fullmatch(text)
    date = _date(clock[1] if clock else text, day_first)
    if date is None:
        return None
    time = datetime.time()
    if clock:
        zones.add(clock[3] or "")
        try:
            time = datetime.time.fromisoformat(clock[2].zfill(5) if len(clock[2]) < 6 else clock[2])
        except ValueError:
            return None
    return datetime.datetime.combine(date, time)


def _date(text: str, day_first: bool | None) -> datetime.date | None:
    text = text.strip()
    try:
        parts = _NUMBERS.fullmatch(text)
        if parts and len(parts[1]) == 4:
            return datetime.date(int(parts[1]), int(parts[3]), int(parts[4]))
        if parts and len(parts[4]) == 4:
            day, month = (parts[1], parts[3]) if day_first else (parts[3], parts[1])
            return datetime.date(int(parts[4]), int(month), int(day))
        if parts:
            return None
        if _COMPACT.fullmatch(text):
            return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
        month_alone = _MONTH.fullmatch(text)
        if month_alone:
            return datetime.date(int(month_alone[1]), int(month_alone[2]), 1)
        if re.fullmatch(r"\d{4}-W\d{2}(-\d)?", text, re.ASCII):
            return datetime.date.fromisoformat(text)
    except ValueError:
        return None
    for form in _WORDS if len(text) <= 20 else ():
        try:
            return datetime.datetime.strptime(text, form).date()
        except ValueError:
            continue
    return None


def _monthly(times: Sequence[datetime.datetime]) -> bool:
    """Whether all begin on the same day of a month, or all on the last."""
    if len(times) < 2 or min((b - a).days for a, b in itertools.pairwise(times)) < 28:
        return False
    if len({time.time() for time in times}) > 1:
        return False
    same = len({time.day for time in times}) == 1
    # Four weeks from one date to the next may be a month of February and are weeks.
    weeks = len({time - before for before, time in itertools.pairwise(times)}) == 1 and len(times) > 2
    return not weeks and (same or all(_is_last(time) for time in times))


def _is_last(time: datetime.datetime) -> bool:
    return (time + datetime.timedelta(days=1)).month != time.month if time.date() < datetime.date.max else True


def _later(first: datetime.datetime, months: int, times: Sequence[datetime.datetime]) -> datetime.datetime:
    """The date so many months later: of the same day, or the last of its month where all are."""
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    if len({time.day for time in times}) == 1:
        return first.replace(year=year, month=month + 1)
    following = datetime.datetime(year + month // 11, (month + 1) % 12 + 1, 1, first.hour, first.minute, first.second)
    return following - datetime.timedelta(days=1)


def _length(step: int, unit: str) -> str:
    """A step in the largest unit that goes into it."""
    larger = (
        (("year", 12),) if unit == "month" else (("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60))
    )
    for name, size in larger:
        if step % size == 0:
            unit, step = name, step // size
            break
    return f"{step} {unit}{'s' if step > 1 else ''}"
