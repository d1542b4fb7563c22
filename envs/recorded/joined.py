"""Records of several files, joined on the days that they have in common.

A scenario whose customers or products are recorded in files of their own plays one day everywhere at once: where no window
says otherwise by number or date, records with dates are cut to their common days, and one draw of blocks serves them all, so
that what they have in common is kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..core.errors import expected
from .record import Calendar, CommonDates
from .trace import TraceSeries
from .windows import Windows


def common_dates(series: Iterable[TraceSeries]) -> CommonDates | None:
    """The common days of the dated records among ``series``; None where fewer than two files could be joined.

    Records without a day in common, or whose periods begin at different times (weeks from Mondays and from Sundays), are not.

    Raises
    ------
    InputError
        Where periods of one record are longer than those of another.
    """
    dated: dict[tuple[str, Calendar], TraceSeries] = {}
    for one in series:
        if one.recorded.calendar is not None:
            dated.setdefault((one.content, one.recorded.calendar), one)
    step = next(iter(dated), ("", None))[1]
    for (_, calendar), one in dated.items():
        if step is not None and calendar.step != step.step:
            first = next(iter(dated.values())).recorded.file
            hint = f"periods of {step.step}, as in {first}: a period is the same for all customers and products"
            raise expected(one.recorded.file, calendar.step, hint, one.where)
    free = {key: one for key, one in dated.items() if not isinstance(one.windows, Windows)}
    starts = [calendar.starts for _, calendar in free]
    if len(free) < 2:
        return None
    begin, end = max(one[0] for one in starts), min(one[-1] for one in starts)
    common = [tuple(start for start in one if begin <= start <= end) for one in starts]
    if begin > end or any(one != common[0] for one in common):
        return None
    return CommonDates(begin, end, " and ".join(sorted({content for content, _ in free})))
