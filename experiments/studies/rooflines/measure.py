"""Measurements in turns: this package, its roofline and a peer one after the other, several times over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

#: Does some of the work and says how much: env-steps, or how many times.
Work = Callable[[], float]
TURNS = 5
SECONDS = 0.25  # CPU-seconds of one measurement, at least


@dataclass(frozen=True)
class TableLine:
    """One line of the table: a kind of work, the goals for it, and how it is measured.

    ``ours`` and ``roofline`` do some of it. A ``peer`` is asked for by name; ``itself`` says that one call of ``ours`` returns
    the figure of the line, however it was measured.
    """

    work: str
    unit: str  # "steps" (per CPU-second, more is better), "ms", "s" or "GB" (less is better)
    before: float
    goal: float | None
    ours: Work
    roofline: Work | None = None
    peer: str | None = None
    itself: bool = False
    turns: int = TURNS
    note: Callable[[], str] | None = None  # asked for after the last turn

    @property
    def rate(self) -> bool:
        """Whether more is better."""
        return self.unit == "steps"


@dataclass
class Found:
    """Figures of a line, one a turn."""

    line: TableLine
    ours: list[float] = field(default_factory=list)
    roofline: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)

    def best(self, which: str) -> float | None:
        """The best of all turns: what other processes take away only makes a figure worse."""
        values: list[float] = getattr(self, which)
        if not values:
            return None
        return max(values) if self.line.rate else min(values)

    def middle(self, which: str) -> float | None:
        """The median of all turns."""
        values: list[float] = getattr(self, which)
        return median(values) if values else None

    def ratio(self, which: str) -> float | None:
        """How many times as much as the roofline or the peer: the median of the ratios within a turn."""
        others: list[float] = getattr(self, which)
        if not others:
            return None
        ratio = median(mine / other for mine, other in zip(self.ours, others, strict=False))
        return ratio if self.line.rate else 1 / ratio

    def of_goal(self) -> float | None:
        """How much of the goal the best turn reached; 1 and more: all of it."""
        best, goal = self.best("ours"), self.line.goal
        if best is None or goal is None:
            return None
        return best / goal if self.line.rate else goal / best

    def to_dict(self) -> dict[str, Any]:
        """Plain data with every turn."""
        line = self.line
        return {
            "work": line.work,
            "unit": line.unit,
            "before": line.before,
            "goal": line.goal,
            **{which: getattr(self, which) for which in ("ours", "roofline", "peer")},
            "peer_name": line.peer if self.peer else None,
            "times_the_roofline": self.ratio("roofline"),
            "times_the_peer": self.ratio("peer"),
            "of_goal": self.of_goal(),
            "note": line.note() if line.note else None,
        }


def measured(line: TableLine, seconds: float, ask: Callable[[str, float], float | None]) -> Iterator[Found]:
    """Take the turns of a line; what was found so far after each.

    Parameters
    ----------
    seconds
        CPU-seconds of one measurement, at least.
    ask
        Asks a peer for its figure; None where there is no such peer.
    """
    found = Found(line)
    for _ in range(line.turns):
        found.ours.append(line.ours() if line.itself else figure(line, line.ours, seconds))
        if line.roofline is not None:
            found.roofline.append(figure(line, line.roofline, seconds))
        if line.peer is not None:
            theirs = ask(line.peer, seconds)
            if theirs is not None:
                found.peer.append(theirs)
        yield found


def figure(line: TableLine, work: Work, seconds: float) -> float:
    """Work for so many CPU-seconds of this process: how much in a second, or how long it takes once."""
    done, begun = 0.0, time.process_time()
    while True:
        done += work()
        spent = time.process_time() - begun
        if spent >= seconds:
            break
    scale = {"steps": 1.0, "s": 1.0, "ms": 1000.0}[line.unit]
    return done / spent if line.rate else scale * spent / done
