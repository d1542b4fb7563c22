"""Progress of a tuning: a bar with rate and time left, or a word to whoever shows one bar for several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from echelongym.envs.workers.cores import in_worker
from echelongym.envs.workers.telling import tell

ReportStage = Callable[[int, str], None]  # env-periods simulated since the last call, and what to say


@contextmanager
def progress_of(show: bool, title: str, total: int | None, report: ReportStage | None) -> Iterator[ReportStage | None]:
    """A bar with rate and time left; yields ``report(env_periods, text)``. Without a bar whoever listens is told."""
    if report is not None:
        yield report
        return
    if not show or in_worker():
        spent = 0

        def share(env_periods: int, text: str) -> None:
            nonlocal spent
            spent += env_periods
            tell(min(spent / total, 1.0) if total else 0.0, f"{title}: {text}")

        yield share
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    # What a narrow terminal cuts off stands last: the rate; the time left and the cost so far stay.
    last = TextColumn("{task.fields[text]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
    columns = (
        TextColumn("{task.description}"),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        BarColumn(bar_width=6),
        last,
    )
    with Progress(*columns, console=Console(stderr=True), expand=True) as bar:
        task = bar.add_task(title, total=total, text="")

        def told(env_periods: int, text: str) -> None:
            speed = bar.tasks[0].speed
            rate = f"; {_rate(speed)} env-periods/s" if speed else ""
            bar.update(task, advance=env_periods, text=f"{text}{rate}")

        yield told
        bar.update(task, completed=bar.tasks[0].completed if total is None else total)


def _rate(speed: float) -> str:
    return f"{speed / 1000:,.0f} k" if speed >= 10_000 else f"{speed:,.0f}"
