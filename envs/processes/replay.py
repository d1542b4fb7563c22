"""Recorded demand as a process: which periods of the record each world replays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.backend import half_up
from ..core.typing import Floats, Ints
from ..recorded.blocks import block_positions, block_starts, replayed
from ..recorded.trace import Trace, TraceSeries
from .compiled import kernels
from .series import Streams


@dataclass(frozen=True, eq=False)
class ReplayedDemand:
    """Recorded demand of one customer and product.

    Mean and standard deviation are those of what training worlds see, whatever the period; factors
    of disruptions scale the recorded value, which integer worlds round half up. Where a window is replayed in order and the
    record has nothing before it (history) or may show nothing behind it (what forecasts look at beyond the last period),
    the mean of training worlds stands in, rounded half up in integer worlds.
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
        """Record and settings that decide which periods are replayed: processes alike in it replay the same ones."""
        return (self.series.draws, self.series.block, tuple(self.series.spans.items()), len(self.series.units))

    def positions(self, streams: Streams, first: int, count: int) -> Ints:
        """Periods of the record shown in ``count`` periods from ``first <= 0`` on, (count, B or 1).

        -1 marks periods that the record does not show (see :func:`.recorded.blocks.replayed`). One draw of blocks serves
        all series of a file, and of files that are joined on their common days, so what they have in common is kept. It is
        named after the place of a table among those of the scenario: a copy of it elsewhere gives the same worlds.

        Raises
        ------
        InputError
            Where the scenario leaves no period of the record to the purpose.
        """
        window = self.series.span(streams.shown)
        history, horizon = -first, count + first
        if self.series.block is None:
            return replayed(window, first, count)[:, None]
        blocks = self.series.blocks(history, horizon)
        uniforms = streams.uniforms("trace", [self.series.draws], self.series.first_block(history), blocks)[:, 0]
        starts = block_starts(uniforms, window, self.series.block)
        return block_positions(starts, self.series.block, history, horizon)

    def draw(self, positions: Ints, effect: Floats | None, out: NDArray[Any]) -> None:
        """Fill ``out`` (count, B) with the demand at the periods of the record in ``positions``; ``effect`` scales it."""
        known = np.ascontiguousarray(self.series.units, dtype=np.float64)
        compiled = kernels(out.size)
        if compiled is not None:
            mean = self.mean if self.series.block is None else None
            compiled.replay(known, mean, positions, effect, self.integer, out)
            return
        units: Floats = known.take(positions, mode="clip")
        if self.series.block is None:
            units = np.where(positions < 0, self.mean, units)
        if effect is not None:
            units = units * effect
        out[...] = half_up(units) if self.integer else units
