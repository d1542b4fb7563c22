"""Recorded demand as a process: which periods of the record each world replays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .laws import Floats
from .recorded import Ints, Trace, TraceSeries, block_positions, block_starts, replayed
from .series import Streams


@dataclass(frozen=True, eq=False)
class ReplayedDemand:
    """Recorded demand of one customer and product.

    Mean and standard deviation are those of what training worlds see, whatever the period; factors
    of disruptions scale the recorded value, which integer worlds round half up.
    """

    trace: Trace
    series: TraceSeries
    integer: bool

    @property
    def mean(self) -> float:
        """Mean units a period in training worlds."""
        return self.series.mean

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of a period's units in training worlds."""
        return self.series.standard_deviation

    def moments(self, first: int, count: int) -> tuple[Floats, Floats]:
        """Mean and standard deviation (count,) that a forecast starts from: the same every period."""
        return np.full(count, self.mean), np.full(count, self.standard_deviation)

    @property
    def record(self) -> tuple[Any, ...]:
        """What decides which periods are replayed: processes alike in it replay the same ones."""
        return (self.trace.file, self.series.block, self.series.windows, len(self.series.units))

    def positions(self, streams: Streams, first: int, count: int) -> Ints:
        """Periods of the record shown in ``count`` periods from ``first <= 0`` on, (count, B or 1).

        One draw of blocks serves all series of a file, so what they have in common is kept.
        """
        window = self.series.windows.of(streams.purpose, len(self.series.units))
        history, horizon = -first, count + first
        if self.series.block is None:
            return replayed(window, count, streams.purpose, self.series.where)[:, None]
        blocks = self.series.blocks(history, horizon)
        uniforms = streams.uniforms("trace", [self.trace.file], self.series.first_block(history), blocks)[:, 0]
        starts = block_starts(uniforms, window, self.series.block)
        return block_positions(starts, self.series.block, history, horizon)

    def draw(self, positions: Ints, effect: Floats | None) -> Floats:
        """Demand (count, B) at the periods of the record in ``positions``; ``effect`` scales it."""
        units: Floats = self.series.units.take(positions)
        if effect is not None:
            units = units * effect
        return np.floor(units + 0.5) if self.integer else units
