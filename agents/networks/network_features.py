"""Features of a stock that speak of its place in the network: what is above it, and who competes for the same stock.

A policy for one network can learn these by heart, as they are the same in every episode. A policy for many has to see
them: that the supplier a store hangs on fails is shown by the other features at the lane from that supplier alone, and
what a shortage costs here beside what it costs elsewhere by none.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np

from echelongym.envs.core.typing import Floats
from echelongym.envs.interface.automatic_levels import Levels, faced
from echelongym.envs.interface.inventory_positions import Forest
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.disruption import hits

MOVING = ("upstream_availability", "upstream_on_hand", "top_position", "siblings_position")
STATICS = (
    "upstream_lead_time",
    "share_of_time_down",
    "length_of_outages",
    "relative_penalty",
    "relative_lost_share",
    "holding_cost_over_source",
    "penalty_over_holding",
    "correlation",
)


Row = tuple[dict[int, float], float]  # coefficients by place in the raw column, and a constant


class StockRows(Protocol):
    """Units and terms of the features of single stocks, which those of their place in the network are made of."""

    scenario: Scenario
    t: Tables
    forest: Forest
    auto: Levels
    lead: Floats  # (N * P,) of each cell's primary lane, in periods
    children: dict[int, list[int]]  # cells by the cell that feeds them
    at: dict[str, int]  # where each array begins in the raw column

    def scaled(self, terms: dict[int, float], centre: float, unit: float) -> Row: ...

    def available(self, array: str, entity: int) -> Row: ...

    def own(self, cell: int) -> dict[int, float]: ...

    def covered(self, cell: int) -> float: ...

    def standing(self, cell: int) -> float: ...

    def echelon_row(self, cell: int) -> Row: ...


class NetworkRows:
    """Rows of ``MOVING`` and ``STATICS`` for each cell; linear in the observation, as all features are.

    Parameters
    ----------
    rows
        The rows of the scenario's other features, whose units and terms these take.
    """

    def __init__(self, rows: StockRows) -> None:
        self.rows = rows

    def of_node(self, cell: int) -> list[Row]:
        """What can change, then what cannot."""
        above = self.rows.forest.ancestors(cell)
        stocks = [one for one in above if not self.rows.t.is_supplier[one // self.rows.t.P]]
        moving = [
            self._availability(cell, above),
            self._on_hand(stocks),
            self.rows.echelon_row(stocks[-1] if stocks else cell),
            self._siblings(cell),
        ]
        return [*moving, *(({}, value) for value in self._statics(cell, above))]

    def _availability(self, cell: int, above: list[int]) -> Row:
        """Availabilities less 1 of all nodes above and of all primary lanes down from them, summed."""
        terms: dict[int, float] = {}
        missing = 0.0
        for array, entity in self._path(cell, above):
            own, constant = self.rows.available(array, entity)
            terms |= own
            missing += constant
        return terms, missing

    def _path(self, cell: int, above: list[int]) -> list[tuple[str, int]]:
        rows = self.rows
        lanes = [int(rows.forest.primary[one]) for one in (cell, *above)]
        path = [("node_availability", one // rows.t.P) for one in above]
        return path + [("lane_availability", lane // rows.t.P) for lane in lanes if lane >= 0]

    def _on_hand(self, stocks: list[int]) -> Row:
        """Units on hand at all stocks above."""
        rows = self.rows
        terms = {rows.at["on_hand"] + one: 1.0 for one in stocks}
        unit = sum(rows.covered(one) ** 2 for one in stocks) ** 0.5
        return rows.scaled(terms, sum(rows.standing(one) for one in stocks), unit)

    def _siblings(self, cell: int) -> Row:
        """Local inventory positions, less their levels, of the other stocks that the same stock feeds."""
        rows = self.rows
        parent = int(rows.forest.parent[cell])
        if parent < 0 or rows.t.is_supplier[parent // rows.t.P]:
            return {}, 0.0
        terms: dict[int, float] = {}
        centre, variance = 0.0, 0.0
        for one in rows.children[parent]:
            if one != cell:
                terms |= rows.own(one)
                centre += float((rows.auto.local - rows.t.mean_flow).reshape(-1)[one])
                variance += rows.covered(one) ** 2
        return rows.scaled(terms, centre, variance**0.5)

    @cached_property
    def _down(self) -> tuple[dict[tuple[str, int], float], dict[tuple[str, int], float]]:
        """By availability array and entity: share of the time that random disruptions take, and their mean length."""
        share: dict[tuple[str, int], float] = {}
        length: dict[tuple[str, int], float] = {}
        for hit in hits(self.rows.scenario, "availability"):
            when = hit.when
            if when.mean_up is None or when.mean_down is None:
                continue
            for entity in hit.entities.tolist():
                key = f"{hit.kind[:-1]}_availability", entity
                taken = (1 - hit.amount) * when.mean_down / (when.mean_up + when.mean_down)
                share[key] = share.get(key, 0.0) + taken
                length[key] = max(length.get(key, 0.0), when.mean_down)
        return share, length

    @cached_property
    def _usual(self) -> tuple[float, float]:
        """Penalty a unit short and share lost of the network: means by demand."""
        t = self.rows.t
        flow = np.where(t.first_cell >= 0, t.mean_demand, 0.0)
        total = max(float(flow.sum()), 1e-9)
        short = t.lost_share * (t.lost_sale_cost + t.price) + (1 - t.lost_share) * t.backorder_cost
        return max(float((flow * short).sum() / total), 1e-9), float((flow * t.lost_share).sum() / total)

    def _statics(self, cell: int, above: list[int]) -> list[float]:
        rows, t = self.rows, self.rows.t
        node, product = divmod(cell, t.P)
        penalty, _, lost = (float(part[node, product]) for part in faced(t))
        usual_penalty, usual_lost = self._usual
        path = self._path(cell, above)
        share, length = ([of.get(one, 0.0) for one in path] for of in self._down)
        held = max(float(t.holding_cost[node, product]), 1e-9)
        parent = above[0] if above and not t.is_supplier[above[0] // t.P] else -1
        source = max(float(t.holding_cost.reshape(-1)[parent]), 1e-9) if parent >= 0 else held
        lead = float(rows.lead[cell])
        return [
            (lead + sum(float(rows.lead[one]) for one in above) - 6) / 4,
            10 * min(sum(share), 0.5) - 0.5,
            float(np.log1p(max(length, default=0.0))) - 1.0,
            _log(penalty / usual_penalty),
            lost - usual_lost,
            _log(held / source),
            _log(penalty / (held * (lead + 1))),
            self.rows.scenario.correlation.demand - 0.25,
        ]


def _log(ratio: float) -> float:
    """Logarithm, within +-3."""
    return float(np.log(np.clip(ratio, np.exp(-3), np.exp(3))))


__all__ = ["MOVING", "STATICS", "NetworkRows", "Row"]
