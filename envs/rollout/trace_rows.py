"""Traces: what a simulation keeps of every period, and the memory that a program puts it into."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..accounts.ledger import Ledger
from ..compiler.recorder import Program, RecordedArray
from ..core.backend import Array, NumpyOps, Ops
from ..core.errors import expected, unknown
from ..core.typing import NumpyArray
from ..dynamics.state import Flows
from ..interface.observation import Observation
from ..network.tables import Tables
from .tape_part import Rows

#: What a trace may keep, costs left out, which it always does.
TRACED = (
    "on_hand", "in_transit", "backlog", "unfilled", "demand", "requests", "shipped", "received", "returned", "recovered",
    "served", "lost", "disposed",
)  # fmt: skip


def traced_names(trace: bool | Sequence[str]) -> tuple[str, ...]:
    """What of :data:`TRACED` is to be kept, in its order: all for True, nothing for False.

    Raises
    ------
    InputError
        For another name.
    """
    if isinstance(trace, bool):
        return TRACED if trace else ()
    if isinstance(trace, str) or not isinstance(trace, Sequence):
        raise expected("trace", trace, f"True, False, or names out of {', '.join(TRACED)}")
    for name in trace:
        if name not in TRACED:
            raise unknown("trace", name, TRACED)
    return tuple(name for name in TRACED if name in trace)


def traced(t: Tables, ops: Ops, observation: Observation, flows: Flows) -> dict[str, Array]:
    """What is kept of a period, batch first: see :func:`echelongym.envs.simulate.simulate`; costs are kept beside it."""
    worlds = flows.demand.shape[-1]
    dtype = flows.shipped.dtype

    def kept(value: Array | None, entities: int) -> Array:
        if value is None:
            value = ops.zeros((entities, t.P, worlds), dtype)
        return ops.moveaxis(value, -1, 0)

    return {
        "on_hand": observation.on_hand,
        "in_transit": observation.in_transit,
        "backlog": observation.backlog,
        "unfilled": observation.unfilled,
        "demand": kept(flows.demand, t.C),
        "requests": kept(flows.requests, t.L),
        "shipped": kept(flows.shipped, t.L),
        "received": kept(flows.received, t.L),
        "returned": kept(flows.returned, t.L),
        "recovered": kept(flows.recovered, t.L),
        "served": kept(flows.served, t.S),
        "lost": kept(flows.lost, t.C),
        "disposed": kept(flows.disposed, t.N),
    }


class TraceRows:
    """Memory for the trace of W worlds, that a program writes period after period.

    Parameters
    ----------
    ledger
        Of the scenario, on the backend of the recording.
    names
        What of :data:`TRACED` is kept.
    """

    def __init__(self, ledger: Ledger, names: Sequence[str] = TRACED) -> None:
        self.ledger, self.names = ledger, names
        self._now: dict[str, NumpyArray] = {}  # (..., W) as it was recorded; costs by ``costs.`` and the line
        self._rows: dict[str, NumpyArray] = {}  # (periods, ..., W)
        self._whole: dict[str, NumpyArray] = {}  # (periods, ..., B)

    @property
    def written(self) -> list[tuple[NumpyArray, Rows]]:
        """What a period writes: memory that it was recorded with, and where its rows belong."""
        return [(now, Rows(self._rows[name])) for name, now in self._now.items()]

    def put(
        self, kept: dict[str, Array], lines: dict[str, Array], last: Array | None, ops: NumpyOps, program: Program
    ) -> None:
        """Put what is kept of a recorded period, batch first, and its cost lines in their places."""
        worlds = kept["demand"].shape[0]
        values = {name: ops.moveaxis(kept[name], 0, -1) for name in self.names}
        if last is not None and "terminal" in lines:
            lines = lines | {"terminal": ops.where(last > 0, lines["terminal"], 0.0)}
        values |= {f"costs.{line}": money for line, money in self.ledger.full(lines, worlds).items()}
        for name, value in values.items():
            self._now[name] = np.zeros(value.shape, value.dtype)
            RecordedArray(self._now[name], program, None)[...] = value

    def begin(self, periods: int, worlds: int) -> None:
        """Make memory for the periods of a batch of B worlds."""
        for name, now in self._now.items():
            self._rows[name] = np.zeros((periods, *now.shape), now.dtype)
            self._whole[name] = np.empty((periods, *now.shape[:-1], worlds), now.dtype)

    def keep(self, start: int, stop: int) -> None:
        """Take over the first worlds of the memory as worlds ``start`` to ``stop`` of the batch."""
        for name, whole in self._whole.items():
            whole[..., start:stop] = self._rows[name][..., : stop - start]

    def hand_over(self) -> SimpleNamespace:
        """The trace of the whole batch, (periods, B, ...); its memory is no longer held here."""
        whole = {name: np.moveaxis(array, -1, 1) for name, array in self._whole.items()}
        self._rows, self._whole = {}, {}
        costs = {name.partition(".")[2]: array for name, array in whole.items() if name.startswith("costs.")}
        return SimpleNamespace(**{name: one for name, one in whole.items() if "." not in name}, costs=costs)


def joined(kept: list[dict[str, Any]], lines: list[dict[str, Array]], ops: Ops) -> SimpleNamespace:
    """The trace of periods that were kept one by one."""

    def together(arrays: list[Any]) -> Any:
        if ops.name != "numpy":
            return ops.stack(arrays, 0)
        whole = np.empty((len(arrays), *arrays[0].shape[1:], len(arrays[0])), arrays[0].dtype)
        for row, one in zip(whole, arrays, strict=True):
            row[...] = np.moveaxis(one, 0, -1)
        return np.moveaxis(whole, -1, 1)  # in memory as a program leaves it, as the order of sums follows from that

    arrays = {name: together([one[name] for one in kept]) for name in kept[0]}
    costs = {line: together([one[line] for one in lines]) for line in lines[0]}
    return SimpleNamespace(**arrays, costs=costs)
