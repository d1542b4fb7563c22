"""Base-stock rules with levels that respond to observations: forecasts, the calendar, recent demand, and outages.

Each response is a class that adds its numbers to the levels of the base-stock family; `playbook` has them all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echelongym.envs.core.backend import Array, Ops
from echelongym.envs.core.typing import Bools
from echelongym.envs.interface.observation import Observation
from echelongym.envs.scenario.scenario import Scenario

from .base_stock import BaseStock
from .critical_levels import CriticalReserves
from .lookahead import Ahead, Covered, has_calendar, resembles
from .outage import Outages
from .request_order import Cells, Shift
from .rule import Group

_GAINS = ("forecast_gains", "history_gains", "season_gains")


class FollowingDemand(BaseStock):
    """Levels that follow what is known of demand ahead."""

    echelon = True
    capped = True
    shifts = True

    def _more_groups(self, cells: Cells) -> list[Group]:
        t, scenario = self.tables, self.scenario
        self._persists = resembles(scenario)
        self._covered = covered = Covered.of(scenario, self.forest, cells.further)
        self._aheads: dict[tuple[str, ...], Ahead] = {}  # the same for copies with other parameters
        fed = np.zeros(t.N * t.P, dtype=bool)
        fed[covered.level[covered.level < t.N * t.P]] = True

        def gains(name: str, allowed: Bools, default: float) -> Group:
            numbers = np.where(allowed, default, 0.0)
            return Group(name, t.nodes, allowed, numbers, numbers, np.full(t.N * t.P, 0.5), 0.0, real=True)

        none = np.zeros_like(fed)
        return [
            *super()._more_groups(cells),
            gains("forecast_gains", fed if t.F else none, 1.0),
            gains("history_gains", fed, 0.5 if self._persists and not t.F else 0.0),
            gains("season_gains", fed if has_calendar(scenario) else none, 1.0),
        ]

    def _free(self, group: str) -> Bools:
        free = super()._free(group)
        return free if group != "history_gains" or self._persists else np.zeros_like(free)

    def _constants(self, ops: Ops) -> dict[str, Any]:
        gains = {name: found for name in _GAINS if (found := self._gains(name, ops)) is not None}
        made = super()._constants(ops) | gains
        if gains:
            key = (ops.name, str(ops.float), str(getattr(ops, "device", "")))
            if key not in self._aheads:
                self._aheads[key] = Ahead(self.scenario, self._covered, ops)
            made["ahead"] = self._aheads[key]
        return made

    def _forget(self) -> None:
        super()._forget()
        self._aheads = {}

    def _gains(self, name: str, ops: Ops) -> Array | None:
        """(N * P + L * P, 1) gain of each level, secondary lanes that of their target; None where all are 0."""
        t, values = self.tables, self.values[name]
        lanes, products = np.divmod(np.arange(t.L * t.P), t.P)
        of_level = np.concatenate([np.arange(t.N * t.P), t.lane_target[lanes] * t.P + products])
        if isinstance(values, np.ndarray):
            return ops.constant(values[of_level][:, None]) if values.any() else None
        return values[ops.whole(of_level)][:, None]

    def _shift(self, observation: Observation, constants: dict[str, Any], ops: Ops) -> Shift:
        shift = super()._shift(observation, constants, ops)
        if "ahead" not in constants:
            return shift
        ahead: Ahead = constants["ahead"]
        parts = []
        for name, look in zip(_GAINS, (ahead.by_forecast, ahead.by_history, ahead.by_calendar), strict=True):
            if name in constants:
                parts.append(constants[name] * look(observation))
        total = sum(parts[1:], start=parts[0])
        nodes = self.tables.N * self.tables.P
        return Shift(_sum(shift.nodes, total[:nodes]), _sum(shift.lanes, total[nodes:]), total[:nodes])


class FollowingOutages(BaseStock):
    """Levels that change while the way from the supplier is impaired."""

    echelon = True
    capped = True
    shifts = True

    def _more_groups(self, cells: Cells) -> list[Group]:
        t = self.tables
        self._outages = Outages(self.scenario, self.forest, cells.target)
        none, spread = np.zeros(t.N * t.P), np.zeros(t.L * t.P)
        further = cells.further & cells.fed[cells.target]
        return [
            *super()._more_groups(cells),
            Group("outage_shifts", t.nodes, cells.fed, none, none, self.spread),
            Group("express_outage_shifts", t.lanes, further, spread, spread, cells.flow_deviation[cells.target]),
        ]

    def _free(self, group: str) -> Bools:
        free = super()._free(group)
        if group == "outage_shifts":
            free &= self._outages.nodes_affected
        elif group == "express_outage_shifts":
            free &= self._outages.lanes_affected
        return free

    def _constants(self, ops: Ops) -> dict[str, Any]:
        made = super()._constants(ops)
        found = {}
        for name in ("outage_shifts", "express_outage_shifts"):
            values = self.values[name]
            if not isinstance(values, np.ndarray):
                found[name] = values[:, None]
            elif values.any():
                found[name] = ops.constant(values[:, None])
        return made | found | ({"outages": self._outages.on(ops)} if found else {})

    def _shift(self, observation: Observation, constants: dict[str, Any], ops: Ops) -> Shift:
        shift = super()._shift(observation, constants, ops)
        if "outages" not in constants:
            return shift
        nodes, lanes = constants["outages"](observation)
        if "outage_shifts" in constants:
            shift = shift._replace(nodes=_sum(shift.nodes, constants["outage_shifts"] * nodes))
        if "express_outage_shifts" in constants:
            shift = shift._replace(lanes=_sum(shift.lanes, constants["express_outage_shifts"] * lanes))
        return shift


def _sum(first: Array | None, second: Array) -> Array:
    return second if first is None else first + second


class ForecastBaseStock(FollowingDemand):
    """Forecast base-stock: capped echelon base-stock with levels that follow what is known of demand ahead.

    In each period a node's level is its level plus

    - forecast gain x sum of (forecast - mean that it starts from),
    - season gain x sum of (mean of the period - mean over all), the mean of a period by the calendar: that of the
      season, or of the place in a block (a weekday, say) of recorded demand,
    - history gain x sum of (mean demand observed of late - what the calendar says of it),

    each sum over the customers first served in the node's echelon, and over the periods that its position covers for
    them: nominal lead times down to the customer, and one. Forecasts that do not reach that far say nothing of the
    rest. Levels of secondary lanes move by the gains of their target, over the periods that they cover. With a gain of 1
    the level is expected demand plus safety stock (Graves, Kletter and Hetzel, Operations Research 46(S3), 1998;
    forecasts that form a martingale: Heath and Jackson, IIE Transactions 26(3), 1994).

    Parameters
    ----------
    levels, express_levels, lateral_levels, keep_levels, caps, allocation
        As for ``capped_echelon_base_stock``.
    forecast_gains
        By node (and product); left out: 1. There are none where the scenario has no forecasts.
    history_gains
        By node (and product); left out: 1/2 where one period says something of the next (correlation over periods,
        disruptions of demand, recorded demand) and there are no forecasts, 0 elsewhere.
    season_gains
        By node (and product); left out: 1. There are none where all periods have the same mean.
    """

    name = "forecast_base_stock"
    pure = True

    @classmethod
    def refusal(cls, scenario: Scenario) -> str | None:
        """Reason to refuse a scenario in which nothing is known of demand ahead."""
        if scenario.forecast.horizon or has_calendar(scenario) or resembles(scenario):
            return None
        return "has nothing to follow: expected forecasts, a season, or demand that says something of the next period's"


class DisruptionAwareBaseStock(FollowingOutages):
    """Disruption-aware base-stock: capped echelon levels that change while the way from the supplier is impaired.

    A primary lane is impaired while it or its source has availability < 1, while its quoted lead time is longer than
    any without disruptions, and while a disruption at set times stretches its lead time. To the level of a node is
    added its outage shift while any primary lane on its way from the supplier is impaired; to that of a secondary lane
    its own while the primary lane of its target is. (Levels by the state of supply: Song and Zipkin, Management Science
    42(10), 1996.)

    Parameters
    ----------
    levels, express_levels, lateral_levels, keep_levels, caps, allocation
        As for ``capped_echelon_base_stock``.
    outage_shifts
        Units by node (and product); left out: 0.
    express_outage_shifts
        Units by secondary lane, express or lateral (and product); left out: 0. They matter for lanes in use; one meant
        for outages alone has a low level.
    """

    name = "disruption_aware_base_stock"
    pure = True

    @classmethod
    def refusal(cls, scenario: Scenario) -> str | None:
        """Reason to refuse a scenario without a disruption that can be seen."""
        if Outages.impaired_lanes(scenario).any():
            return None
        return "sees no disruption: expected one of availability, or of lead times that are quoted or stretched at set times"


class Playbook(FollowingDemand, FollowingOutages, CriticalReserves):
    """Playbook of all responses together: calendar, forecasts, recent demand and outages.

    Capped echelon base-stock with express and lateral lanes, gains of ``forecast_base_stock``, shifts of
    ``disruption_aware_base_stock`` and reserves of ``critical_levels``; with gains, shifts and critical levels 0 and no
    caps it is ``echelon_base_stock``.

    Parameters
    ----------
    levels, express_levels, lateral_levels, keep_levels, caps, allocation
        As for ``capped_echelon_base_stock``.
    forecast_gains, history_gains, season_gains
        As for ``forecast_base_stock``.
    outage_shifts, express_outage_shifts
        As for ``disruption_aware_base_stock``.
    critical_levels
        As for ``critical_levels``.
    """

    name = "playbook"
    pure = True
