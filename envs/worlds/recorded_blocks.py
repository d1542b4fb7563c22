"""Counts of recorded blocks by world, as worlds that share blocks are not independent.

Worlds that string together blocks of one record (``kind: trace`` with ``block``) are no independent news about the law
that the record came from: 512 worlds of 17 recorded weeks hold 17 weeks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..processes.replay import ReplayedDemand
from ..processes.series import Streams
from ..recorded.blocks import whole_blocks
from .record_statement import playable
from .source import WorldSource

#: What a block of so many periods of a length is called.
_CALLED = {
    ("1 day", 1): "day",
    ("1 day", 7): "week",
    ("1 week", 1): "week",
    ("1 month", 1): "month",
    ("1 month", 3): "quarter",
    ("1 month", 12): "year",
    ("1 hour", 24): "day",
    ("1 hour", 168): "week",
}


@dataclass(frozen=True, eq=False)
class RecordedBlocks:
    """The K blocks of one record that B worlds are drawn from."""

    file: str
    block: int  # periods
    counts: NDArray[np.int64]  # (B, K) how many times each world draws each block
    step: str = ""  # length of a period in words, such as ``1 day``; empty where the record has no dates

    @property
    def size(self) -> int:
        """Number of blocks K that could be drawn."""
        return int(self.counts.shape[1])

    def of(self, chosen: Any) -> RecordedBlocks:
        """Counts of some worlds by their place."""
        return replace(self, counts=self.counts[chosen])

    @property
    def described(self) -> str:
        """The blocks in words: ``17 recorded weeks``, ``12 recorded blocks of 5 periods``."""
        called = _CALLED.get((self.step, self.block))
        several = "s" if self.size != 1 else ""
        if called is not None:
            return f"{self.size} recorded {called}{several}"
        return f"{self.size} recorded block{several} of {self.block} period{'s' if self.block > 1 else ''}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a summary."""
        found = {"file": self.file, "block": self.block, "blocks": self.size}
        return {**found, "period": self.step} if self.step else found


def recorded_blocks(
    scenario: WorldSource, worlds: int | Sequence[int], seed: int, purpose: str, periods: int | None = None
) -> tuple[RecordedBlocks, ...]:
    """Counts of drawn blocks, one entry a record; empty where nothing is drawn by block.

    A world draws a block for every stretch of its periods, history and warm-up included: what was sold then decides the
    stock that the reported periods begin with. Series that replay the same periods count as one record.

    Parameters
    ----------
    scenario, worlds, seed, purpose, periods
        As of :meth:`Scenario.sample`.
    """
    labels = np.arange(worlds) if isinstance(worlds, int) else np.asarray(worlds, dtype=np.int64)
    count = playable(scenario, purpose) if periods is None else periods
    history = scenario.observe.history
    streams = Streams.of(purpose, seed, labels)
    found: dict[Any, RecordedBlocks] = {}
    for process in replayed_demands(scenario):
        block = process.series.block
        if block is None:
            continue
        if process.record in found:
            before = found[process.record]
            if process.trace.file not in before.file.split(", "):
                found[process.record] = replace(before, file=f"{before.file}, {process.trace.file}")
            continue
        shown = process.positions(streams, -history, history + count) // block  # (H + T, B)
        # Period 0 begins a block: the rows that begin one, and the first of all.
        rows = [0, *(row for row in range(1, len(shown)) if (row - history) % block == 0)]
        drawn = whole_blocks(process.series.span(streams.shown), block) // block
        places = np.searchsorted(drawn, shown[rows])
        counts = np.zeros((len(labels), len(drawn)), dtype=np.int64)
        np.add.at(counts, (np.arange(len(labels))[None, :], places), 1)
        calendar = process.series.recorded.calendar
        step = "" if calendar is None else calendar.step
        found[process.record] = RecordedBlocks(process.trace.file, block, counts, step)
    return tuple(found.values())


def replayed_demands(scenario: WorldSource) -> list[ReplayedDemand]:
    """Every recorded demand of a scenario, in the order of customers and products."""
    return [
        process
        for by_product in scenario.demand_processes.values()
        for process in by_product.values()
        if isinstance(process, ReplayedDemand)
    ]
