"""Joined records: several files on the days that they have in common.

A scenario whose customers or products are recorded in files of their own plays one day everywhere at once: where no window
says otherwise by number or date, records with dates are cut to their common days, and one draw of blocks serves them all, so
that what they have in common is kept.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from ..core.errors import expected
from .cells import is_table
from .record import JointRecords, RecordDates
from .trace import TraceSeries
from .windows import Windows


def joint_records(series: Iterable[TraceSeries]) -> JointRecords:
    """Joint replay of the records of a scenario.

    Records without a day in common, or whose periods begin at different times (weeks from Mondays and from Sundays), are not
    joined.

    Raises
    ------
    InputError
        Where periods of one dated record are longer than those of another.
    """
    found = [one for one in series if is_table(one.recorded.file)]
    tables = tuple(dict.fromkeys(one.content for one in found))
    return JointRecords(_common_days(found) if len(tables) > 1 else None, tables)


def _common_days(series: Sequence[TraceSeries]) -> tuple[datetime.datetime, datetime.datetime] | None:
    dated: dict[tuple[str, RecordDates], TraceSeries] = {}
    for one in series:
        if one.recorded.calendar is not None:
            dated.setdefault((one.content, one.recorded.calendar), one)
    step = next(iter(dated), ("", None))[1]
    for (_, calendar), one in dated.items():
        if step is not None and calendar.step != step.step:
            first = next(iter(dated.values())).recorded.file
            hint = f"periods of {step.step}, as in {first}: a period is the same for all customers and products"
            raise expected(one.recorded.file, calendar.step, hint, one.where)
    starts = [calendar.starts for (_, calendar), one in dated.items() if not isinstance(one.windows, Windows)]
    if len(starts) < 2:
        return None
    begin, end = max(one[0] for one in starts), min(one[-1] for one in starts)
    common = [tuple(start for start in one if begin <= start <= end) for one in starts]
    return (begin, end) if begin <= end and all(one == common[0] for one in common) else None
