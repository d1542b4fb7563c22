"""Source of worlds: the parts of a scenario that its processes, tapes and records read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..network.entities import Customer, Lane, Node, Product
from ..network.tables import Tables
from ..processes.correlation import Correlation
from ..processes.forecast import Forecast
from .disruption import Disruption


class Observed(Protocol):
    """Observed past: what a policy sees of it."""

    @property
    def history(self) -> int:
        """Periods of demand before the present one."""


class WorldSource(Protocol):
    """A scenario as worlds are drawn from it; :class:`~echelongym.envs.Scenario` is one."""

    @property
    def name(self) -> str: ...

    @property
    def units(self) -> str: ...

    @property
    def horizon(self) -> int: ...

    @property
    def products(self) -> Mapping[str, Product]: ...

    @property
    def nodes(self) -> Mapping[str, Node]: ...

    @property
    def lanes(self) -> Mapping[str, Lane]: ...

    @property
    def customers(self) -> Mapping[str, Customer]: ...

    @property
    def disruptions(self) -> Mapping[str, Disruption]: ...

    @property
    def correlation(self) -> Correlation: ...

    @property
    def forecast(self) -> Forecast: ...

    @property
    def observe(self) -> Observed: ...

    @property
    def demand_processes(self) -> dict[str, dict[str, Any]]: ...

    @property
    def tables(self) -> Tables: ...
