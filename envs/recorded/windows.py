"""Windows of a record that each purpose may see: a split in time, unless the scenario says otherwise.

Nothing is fitted to what it is judged on. Without the key ``windows`` the last part of a record is for ``test``: a quarter
of its whole blocks; of a record replayed in order a quarter, or one horizon where that is longer and leaves as much before
it. ``train`` and ``tune`` see what comes before. ``windows: whole`` shows everything to everybody.

A learner's best checkpoint is chosen on periods that it has not trained on. Where ``train`` and ``tune`` are apart, these
are those of ``tune``; else the last part of ``train``: a quarter of its blocks, or, replayed in order, one horizon, half of
it at most. Two further purposes say so: worlds of purpose ``learn`` are those of ``train``, without the periods that worlds
of purpose ``validate`` show, which are otherwise those of ``tune``.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Self

from pydantic import PlainValidator, model_validator

from ..core.errors import expected
from ..core.plain import iso_date
from ..core.validation import Config
from .blocks import whole_blocks
from .record import Record

Span = tuple[int, int]
End = int | datetime.date
EXPECTATION = "expected [first, last], whole numbers with 0 <= first <= last, or two dates such as 2024-03-01"


def _window(value: Any) -> tuple[End, End]:
    if isinstance(value, list | tuple) and len(value) == 2:
        if all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            if 0 <= value[0] <= value[1]:
                return value[0], value[1]
        else:
            first, last = (iso_date(v) for v in value)
            if first is not None and last is not None and first <= last:
                return first, last
    raise ValueError(EXPECTATION)


Window = Annotated[tuple[End, End], PlainValidator(_window)]


def overlap(one: Any, other: Any) -> bool:
    """Whether two spans share a period."""
    return one[0] <= other[1] and other[0] <= one[1]


class Windows(Config):
    """Windows of the record by purpose: ``[first, last]``, numbers from 0 on or dates, both included.

    What ``test`` sees may be in no other window, so that nothing is fitted to what it is judged on. Of ``train`` and
    ``tune``, one left out is the other; both left out are what comes before ``test`` (after it, if nothing comes before);
    ``test`` left out is what comes after them.
    """

    train: Window | None = None
    """Periods that training sees; left out: those of `tune`."""
    tune: Window | None = None
    """Periods that tuning sees; left out: those of `train`."""
    test: Window | None = None
    """Periods that policies are judged on."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for name in ("train", "tune"):
            other = getattr(self, name)
            if other and self.test and type(other[0]) is type(self.test[0]) and overlap(other, self.test):
                raise ValueError(f"test = {shown(self.test)}: expected no period of {name} = {shown(other)}")
        return self


def shown(window: Any) -> list[Any]:
    """A window as it is written."""
    return [str(end) if isinstance(end, datetime.date) else end for end in window]


def spans(
    windows: Windows | str | None, recorded: Record, block: int | None, horizon: int, where: str | None
) -> dict[str, Span | None]:
    """First and last period for ``train, tune, test, learn`` and ``validate``; None where nothing is left for one.

    Parameters
    ----------
    windows
        What the scenario says: windows, ``whole``, or None for the split in time.
    recorded
        The record.
    block
        Periods in a block; None where windows are replayed in order.
    horizon
        Periods of an episode.
    where
        Key of the scenario put in front of errors.

    Raises
    ------
    InputError
        If a window lies outside the record, holds no whole block, or a date is given to a record without dates.
    """
    last = recorded.periods - 1
    found: dict[str, Span | None] = {"train": (0, last), "tune": (0, last), "test": (0, last)}
    if windows is None:
        found = _split(recorded.periods, block, horizon)
    elif isinstance(windows, Windows):
        found = _given(windows, recorded, block, where)
    train, tune = found["train"], found["tune"]
    if train is None or tune is None:
        found["learn"] = found["validate"] = None
    elif not overlap(train, tune):
        found["learn"], found["validate"] = train, tune
    else:
        found["learn"], found["validate"] = _apart(train, block, horizon)
    return found


def _split(periods: int, block: int | None, horizon: int) -> dict[str, Span | None]:
    if block:
        count = periods // block
        cut = (count - max(count // 4, 1)) * block
    elif periods >= 2 * horizon:
        cut = periods - min(max(periods // 4, horizon), periods - horizon)
    elif periods > horizon:
        cut = periods - horizon  # what is judged on comes first: a policy can be simulated, if not tuned
    else:
        cut = periods - max(periods // 4, 1)
    before: Span | None = (0, cut - 1) if cut > 0 else None
    return {"train": before, "tune": before, "test": (cut, periods - 1) if cut < periods else None}


def _given(windows: Windows, recorded: Record, block: int | None, where: str | None) -> dict[str, Span | None]:
    periods, given = recorded.periods, {}
    for name in ("train", "tune", "test"):
        window = getattr(windows, name)
        given[name] = None if window is None else _in_record(window, name, recorded, block, where)
    train, tune, test = given["train"] or given["tune"], given["tune"] or given["train"], given["test"]
    if train is None or tune is None:
        train = tune = None
        if test is None:
            return _split(periods, block, 1)
        for side in ((0, test[0] - 1), (test[1] + 1, periods - 1)):
            if side[1] >= side[0] and _holds(side, block):
                train = tune = side
                break
    elif test is None:
        rest = (max(train[1], tune[1]) + 1, periods - 1)
        test = rest if rest[1] >= rest[0] and _holds(rest, block) else None
    for name, other in (("train", train), ("tune", tune)):
        if other and test and overlap(other, test):
            raise expected("windows.test", list(test), f"no period of {name} = {list(other)}", where)
    return {"train": train, "tune": tune, "test": test}


def _holds(span: Span, block: int | None) -> bool:
    return block is None or len(whole_blocks(span, block)) > 0


def _in_record(window: tuple[End, End], name: str, recorded: Record, block: int | None, where: str | None) -> Span:
    key, (first, last) = f"windows.{name}", window
    if isinstance(first, datetime.date) and isinstance(last, datetime.date):
        calendar = recorded.calendar
        if calendar is None:
            hint = f"numbers of periods from 0 on, as {recorded.file} has no dates"
            raise expected(key, shown(window), hint, where)
        begin, end = calendar.starts[0].date(), calendar.starts[-1].date()
        if first < begin or last > end:
            raise expected(key, shown(window), f"dates from {begin} to {end}, those of {recorded.file}", where)
        span = calendar.first_from(first), calendar.last_until(last)
        if span[0] > span[1]:
            raise expected(key, shown(window), f"a begin of a period of {recorded.file} between the dates", where)
    else:
        assert isinstance(first, int)
        assert isinstance(last, int)
        span = first, last
        if last >= recorded.periods:
            raise expected(key, [first, last], f"periods 0 to {recorded.periods - 1} of {recorded.file}", where)
    if not _holds(span, block):
        hint = f"at least one whole block of {block} periods, begun at a multiple of {block}"
        raise expected(key, shown(window), hint, where)
    return span


def _apart(train: Span, block: int | None, horizon: int) -> tuple[Span | None, Span | None]:
    """What is trained on, and what checkpoints are compared on: the last part of ``train``."""
    first, last = train
    if block:
        starts = whole_blocks(train, block)
        if len(starts) < 2:
            return None, None
        cut = int(starts[-max(len(starts) // 4, 1)])
    else:
        held = min(horizon, (last - first + 1) // 2)
        if held < 1:
            return None, None
        cut = last + 1 - held
    return (first, cut - 1), (cut, last)


def lacking(purpose: str, block: int | None) -> str:
    """Advice where a record has nothing for a purpose."""
    unit = f"blocks of {block} periods" if block else "periods"
    if purpose in ("learn", "validate"):
        return f"a train window of at least two {unit}, to train on one part and choose the checkpoint on another"
    return f"{unit} for it that no other window has, or windows: whole, which shows everything to everybody"
