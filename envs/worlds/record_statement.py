"""Limits and split of a scenario's records, in words: how long worlds can be, and who sees which periods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..core.errors import expected
from ..recorded.blocks import whole_blocks
from ..recorded.trace import TraceSeries
from ..recorded.windows import overlap
from .source import WorldSource


def recorded_series(scenario: WorldSource) -> Iterator[TraceSeries]:
    """The recorded series of a scenario, one for each file, block and split."""
    seen: set[Any] = set()
    for processes in scenario.demand_processes.values():
        for process in processes.values():
            series = getattr(process, "series", None)
            if isinstance(series, TraceSeries):
                key = (series.content, series.block, tuple(series.spans.items()))
                if key not in seen:
                    seen.add(key)
                    yield series


def playable(scenario: WorldSource, purpose: str, periods: int | None = None) -> int:
    """``periods`` (the horizon, if left out), or as many as worlds of a purpose can play where records have fewer.

    Raises
    ------
    InputError
        Where the scenario leaves no period of a record to the purpose.
    """
    rooms = [room for series in recorded_series(scenario) if (room := series.room(purpose)) is not None]
    return min([scenario.horizon if periods is None else periods, *rooms])


def check_room(scenario: WorldSource, purpose: str, periods: int) -> None:
    """Refuse worlds longer than a record that is replayed in order has periods for the purpose.

    Raises
    ------
    InputError
        Naming the window and what to do.
    """
    for series in recorded_series(scenario):
        if purpose not in series.spans:
            continue  # another purpose is refused by name, elsewhere
        room = series.room(purpose)
        if room is not None and periods > room:
            first, last = series.span(purpose)
            whole = " or windows: whole to see everything," if purpose in ("train", "tune", "test") else ""
            hint = (
                f"a window of at least {periods} periods, to be replayed in order ({series.recorded.file} has "
                f"{series.recorded.periods}): a shorter horizon, longer windows,{whole} or block: to draw blocks from it"
            )
            split = " (the split in time)" if series.windows is None else ""
            raise expected(f"windows.{purpose}", [first, last], hint + split, series.where)


def record_split(scenario: WorldSource) -> tuple[str, ...]:
    """Recorded periods that rules and policies are fitted to and judged on: one sentence or more for each record.

    Empty where no demand is recorded.
    """
    found = list(recorded_series(scenario))
    said = tuple(_sentence(series, scenario) for series in found)
    return said + _beginnings(found) + _weekdays(found, scenario) + _joined(found)


def _joined(found: list[TraceSeries]) -> tuple[str, ...]:
    """Which days records of several files are cut to."""
    cut = [series for series in found if series.cut]
    if not cut:
        return ()
    record = cut[0].recorded
    return (
        f"Records of several files are joined on the days that all of them have, {record.span(0, record.periods - 1)}.",
    )


def _beginnings(found: list[TraceSeries]) -> tuple[str, ...]:
    """What is to be said where dated records, replayed in order, are judged from different days on."""
    days: dict[str, str] = {}
    for series in found:
        test, record = series.spans["test"], series.recorded
        if series.block is None and test is not None and record.calendar is not None:
            days.setdefault(record.label(test[0]), record.file)
    if len(days) < 2:
        return ()
    said = ", ".join(f"{day} in {file}" for day, file in days.items())
    return (f"Days of the calendar do not meet: period 0 is {said}. Windows given by date put the same days together.",)


def _weekdays(found: list[TraceSeries], scenario: WorldSource) -> tuple[str, ...]:
    """What is to be said where calendars count days from a period 0 that falls on unlike weekdays."""
    items: list[Any] = [*scenario.nodes.values(), *scenario.lanes.values()]
    patterns = [one.calendar.pattern for one in items if one.calendar is not None]
    patterns += [lane.review.pattern for lane in scenario.lanes.values() if lane.review is not None]
    weekly = any(len(pattern) % 7 == 0 and not pattern.all() for pattern in patterns)
    days: dict[str, list[str]] = {}
    for series in found if weekly else ():
        record = series.recorded
        if series.block is None and record.calendar is not None and record.calendar.step == "1 day":
            for purpose in ("train", "tune", "test"):
                span = series.spans[purpose]
                if span is not None:
                    day = f"{record.calendar.starts[span[0]]:%A}"
                    purposes = days.setdefault(day, [])
                    purposes.extend([purpose] if purpose not in purposes else [])
    if len(days) < 2:
        return ()
    said = ", ".join(f"a {day} in {' and '.join(purposes)}" for day, purposes in days.items())
    hint = "windows by date that begin on the same weekday close the same ones"
    return (f"Calendars count their days from period 0, which is {said}: {hint}.",)


def _sentence(series: TraceSeries, scenario: WorldSource) -> str:
    spans, record = series.spans, series.recorded

    def span(purpose: str) -> str:
        found = spans[purpose]
        if found is None:
            return "no periods"
        if series.block is None:
            return record.span(*found)
        number = len(whole_blocks(found, series.block))
        return f"{record.span(*found)} ({number} block{'s' if number > 1 else ''} of {series.block})"

    train, tune, test = spans["train"], spans["tune"], spans["test"]
    if series.windows == "whole":
        said = f"windows: whole: fitted to and judged on the same periods, {span('test')}"
    elif train == tune:
        said = f"tuned and trained on {span('train')}, judged on {span('test')}"
    else:
        said = f"trained on {span('train')}, tuned on {span('tune')}, judged on {span('test')}"
    if series.windows is None:
        said += " (no windows are given, so the record is split in time)"
    text = f"Record {record.file}: {said}"
    if spans["learn"] is not None and spans["learn"] != train:
        text += f"; of the former, train learns from {span('learn')} and chooses its checkpoint on {span('validate')}"
    text += "."
    if record.calendar is not None and record.calendar.step != "1 day":
        text += f" A period is {record.calendar.step}."
    if series.block is None:
        text += " Replayed in order: all worlds of one purpose are identical, one history."
        begins = [found[0] for found in (train, test) if found is not None]
        short = scenario.observe.history - min(begins, default=0)
        if short > 0:
            text += (
                f" Before the record begins, the mean of the training periods stands in ({series.mean:.4g} a period)."
            )
    return text


def split_is_apart(scenario: WorldSource) -> bool:
    """Whether no record is judged on periods that something was fitted to."""
    for series in recorded_series(scenario):
        test = series.spans["test"]
        for other in (series.spans["train"], series.spans["tune"]):
            if test is not None and other is not None and overlap(other, test):
                return False
    return True
