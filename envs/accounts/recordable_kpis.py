"""Key performance indicators to which a recorded program can add periods in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.backend import ops_of
from ..core.typing import Floats
from ..dynamics.rounding import is_single
from ..dynamics.state import Flows
from .kpis import KpiAccumulator


class RecordableKpis(KpiAccumulator):
    """Accumulator whose sums a program can add to that is recorded: see :meth:`settle`."""

    _settled: bool  # whether nothing but whole periods counted came since :meth:`settle` looked

    def settle(self) -> bool:
        """Take in what is held; whether :meth:`add_settled` does what :meth:`add` does from now on.

        It does in double precision where nobody waits, once every period counts.
        """
        if self._settled:
            return True
        orders = self.orders
        if self._seen is None or self.waits or is_single(self._ops.float) or (orders.tiers and not orders.days.always):
            return False
        self._work()
        self._settled = orders.settled
        return self._settled

    def add(self, flows: Flows) -> None:
        """Add one period."""
        self._settled = False
        super().add(flows)

    def reset(self, worlds: Any = None) -> None:
        """Clear the sums: of all worlds, or of those marked in (B,) bool."""
        self._settled = False
        super().reset(worlds)

    def _clear(self, worlds: int) -> None:
        self._settled = False
        super()._clear(worlds)

    def add_settled(self, flows: Flows) -> None:
        """Add one period in place, as a program that is recorded can; :meth:`count_settled` does the rest."""
        for name, total in self.sums.items():
            value = getattr(flows, name)
            if value is not None:
                np.add(total, value, out=total)
        short = np.logical_or.reduce(flows.demand - flows.served_new > self._dust, axis=1)
        np.add(self._stockouts, short, out=self._stockouts)
        if self._fleet.size:
            np.add(self._vehicles, self._fleet.vehicles(self._fleet.moved(flows)), out=self._vehicles)
        self.orders.add_settled(flows.requests, flows.shipped, flows.demand, ops_of(flows.demand))

    def count_settled(self) -> None:
        """Count a period of which a program has added the flows."""
        self._periods += 1
        if self.orders.tiers:
            self.orders.periods += 1

    @property
    def memory(self) -> list[Floats]:
        """What :meth:`add_settled` writes."""
        orders = self.orders
        return [*self.sums.values(), self._stockouts, self._vehicles, *orders.sums.values(), orders.missing]
