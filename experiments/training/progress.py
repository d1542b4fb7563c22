"""Progress of a training: a bar with costs, a rate and the time left, and the learning curve on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column

from echelongym.agents.budget import Progress
from echelongym.agents.learners import label
from echelongym.envs.workers.cores import in_worker
from echelongym.envs.workers.telling import tell

from ..cli.terminal import cell, console
from ..runs.folders import RunFolder
from .baselines import Baselines

if TYPE_CHECKING:
    from .settings import Settings


@contextmanager
def reported(settings: Settings, out: RunFolder, baselines: Baselines) -> Iterator[Callable[[Progress], None]]:
    """Reports of progress: the learning curve goes to disk, and a bar or, without a terminal, lines are shown."""
    terminal, name = console(stderr=True), label(settings.agent)
    # The time left stands first: what a narrow terminal cuts off is the end of the description.
    kept = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    described = TextColumn("{task.description}", markup=False, table_column=kept)
    columns = (TaskProgressColumn(), TimeRemainingColumn(), BarColumn(bar_width=12), described)
    shows_bar = settings.progress and terminal.is_terminal and not in_worker()
    bar = Bar(*columns, console=terminal, transient=True, disable=not shows_bar, expand=True)
    task = bar.add_task(f"{name} on {settings.scenario.name}", total=1.0)
    rows, first = 0, (0, 0.0, time.monotonic())

    def report(progress: Progress) -> None:
        nonlocal rows, first
        now, curve = time.monotonic(), progress.curve
        if not rows:
            first = (progress.env_steps, progress.share, now)
        spent, steps = now - first[2], progress.env_steps - first[0]
        text = f"{name} {costs(curve[-1], baselines)}; {steps / max(spent, 1e-9):,.0f} env-steps/s"
        bar.update(task, completed=progress.share, description=text)
        tell(progress.share, text)
        if len(curve) > rows:
            rows = len(curve)
            out.csv("progress.csv", curve)
            if settings.progress and not shows_bar and not in_worker():
                left = _left(progress.share - first[1], 1.0 - progress.share, spent)
                terminal.print(f"{progress.share:4.0%}  {text}{left}", markup=False, soft_wrap=True)

    with bar:
        yield report


def costs(row: dict[str, float | None], baselines: Baselines) -> str:
    """The cost now and the best so far, against the reference, and the bound."""
    now, best, reference = row["cost_per_period"], row["best_cost_per_period"], float(baselines.reference.cost.mean())
    against = ""
    if best is not None and reference > 0:
        against = f" ({100 * (best / reference - 1):+.1f} %)"
    found = f"cost {cell(now)}, best {cell(best)}{against}, {baselines.reference.label} {cell(reference)}"
    return found if baselines.bound is None else f"{found}, {baselines.bound.label}"


def _left(done: float, todo: float, spent: float) -> str:
    """Time left, where it can be told."""
    if done <= 0.0 or todo <= 0.0:
        return ""
    minutes, seconds = divmod(round(spent * todo / done), 60)
    return f", {minutes}:{seconds:02d} left"
