"""Outlook and opening state of a linear program: one world, plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.dynamics import opening
from echelongym.envs.network.tables import Tables
from echelongym.envs.worlds.tape import Tape


@dataclass(frozen=True, eq=False)
class Outlook:
    """Exogenous data of T periods, in the units and with the meaning of a tape's slices; None where neutral."""

    demand: Floats  # (T, C, P) units
    lead_time: Ints  # (T, L) periods, of what ships in the period
    node_availability: Floats | None = None  # (T, N) share of capacity
    lane_availability: Floats | None = None  # (T, L) share of capacity
    lane_yield: Floats | None = None  # (T, L) good share of what arrives in the period
    thin: Floats | None = None  # (T, L + S + C, P) in [0, 1), of integer worlds

    @property
    def periods(self) -> int:
        """Number of periods T."""
        return len(self.demand)

    def until(self, periods: int) -> Self:
        """The first periods of it."""
        arrays: dict[str, Any] = {}
        for one in fields(self):
            array = getattr(self, one.name)
            arrays[one.name] = None if array is None else array[:periods]
        return type(self)(**arrays)

    def with_demand(self, demand: Floats) -> Self:
        """Copy with another demand (T, C, P)."""
        return replace(self, demand=demand)

    @classmethod
    def of_tape(cls, tape: Tape, place: int) -> Self:
        """One world of a tape (checked against its scenario), by its place in the batch."""

        def unless_one(values: Floats) -> Floats | None:
            return None if (values == 1).all() else np.array(values, dtype=np.float64)

        return cls(
            np.array(tape.demand[tape.history :, place], dtype=np.float64),
            np.array(tape.lead_time[:, place], dtype=np.int64),
            unless_one(tape.node_availability[:, place]),
            unless_one(tape.lane_availability[:, place]),
            unless_one(tape.lane_yield[:, place]),
            np.array(tape.thin[:, place], dtype=np.float64) if tape.integer else None,
        )


@dataclass(frozen=True, eq=False)
class Standing:
    """Opening state: stock, pipeline and backlog at the start of the first period, as observed."""

    on_hand: Floats  # (N, P, A) units
    in_transit: Floats  # (L, P, K, A) units: slot k was dispatched k + 1 periods ago, life classes at dispatch
    lead_time: Ints  # (L, K) periods: lead time at dispatch of what each slot holds, > k + 1 where it holds any
    backlog: Floats  # (C, P, W) units

    @classmethod
    def initial(cls, tables: Tables) -> Self:
        """The start of a scenario's episodes."""
        start = opening(tables)
        return cls(start.on_hand, start.in_transit, tables.initial_lead_time, start.backlog)
