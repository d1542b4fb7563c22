"""Features of stocks and lanes as linear functions of an observation, centred and scaled by the scenario."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.interface.automatic_levels import automatic_levels, faced
from echelongym.envs.interface.inventory_positions import Forest
from echelongym.envs.interface.observation_encoder import season_periods
from echelongym.envs.processes.series import normal_quantile
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.disruption import any_at_set_times
from echelongym.envs.worlds.events import disturbed

from ..networks.network_features import MOVING, STATICS, NetworkRows, Row
from ..rules.lookahead import resembles

NODE_STATICS = (
    "size",
    "variation",
    "lead_time",
    "holding_cost",
    "critical_ratio",
    "lost_share",
    "depth",
    "serves",
    "life",
)
WIDEST = 15.0  # what an episode starts with is within so many units of the centre
LANE_STATICS = ("lead_time", "premium", "primary", "lateral", "supplied", "share", "capacity")


class FeatureEntities(NamedTuple):
    """Features by stock (node with product) and by lane that can be requested."""

    nodes: tuple[str, ...]
    lanes: tuple[str, ...]


def feature_names(
    due_periods: int, network: bool = False, life_classes: int = 0, demand_memory: int = 0
) -> FeatureEntities:
    """Names of the features; ``network``: those of :mod:`echelongym.agents.networks.network_features`, too."""
    recent = ("recent_demand",) if demand_memory else ()
    due = tuple(f"due_{j}" for j in range(1, due_periods + 1))
    lives = tuple(f"life_{j}" for j in range(1, life_classes + 1))
    nodes: tuple[str, ...] = (
        "on_hand",
        "position",
        "echelon_position",
        "demand",
        "demand_history",
        "forecast",
        "forecast_mean",
    )
    nodes += ("backlog", "expiring", "node_availability", "lane_availability", "source_availability", *due, *lives)
    nodes += ("season_sine", "season_cosine", "period", *recent)
    lanes: tuple[str, ...] = (
        "unfilled",
        "shipped",
        "lane_availability",
        "source_availability",
        "lead_time",
        "scarcity",
        "short_position",
    )
    more = (*MOVING, *STATICS) if network else ()
    return FeatureEntities((*nodes, *NODE_STATICS, *more), (*lanes, *LANE_STATICS))


class FeatureRows:
    """The rows of the matrix; see :func:`feature_names`."""

    def __init__(
        self, scenario: Scenario, due_periods: int, network: bool = False, life_classes: int = 0, demand_memory: int = 0
    ) -> None:
        self.scenario, self.due, self.lives = scenario, due_periods, life_classes
        self.demand_memory = demand_memory
        self.t = t = scenario.tables
        self.forest = Forest(t)
        self.auto = automatic_levels(scenario)
        self.flow = self.auto.flow.reshape(-1)
        self.resembles = resembles(scenario)
        hit = disturbed(scenario)
        self.disturbed = hit.get("node_availability", np.zeros(t.N, dtype=bool))
        self.disturbed_lanes = hit.get("lane_availability", np.zeros(t.L, dtype=bool))
        self.deviation = np.maximum(self.auto.flow_deviation.reshape(-1), 1e-9)
        self.cells = np.flatnonzero(t.stocked | ((t.mean_flow > 0) & ~t.is_supplier[:, None]))
        self.lanes = np.flatnonzero(t.lane_open)
        place = np.full(t.N * t.P + 1, -1)
        place[self.cells] = np.arange(len(self.cells))
        lane, product = np.divmod(self.lanes, t.P)
        self.source = place[np.where(t.lane_source[lane] >= 0, t.lane_source[lane] * t.P + product, -1)]
        self.target = place[t.lane_target[lane] * t.P + product]
        self._lay_out()
        self.start = self._start()
        self.lead = np.zeros(t.N * t.P)
        fed = self.forest.primary >= 0
        self.lead[fed] = t.nominal_lead_time[self.forest.primary[fed] // t.P]
        self.children: dict[int, list[int]] = {}
        for cell in self.cells.tolist():
            self.children.setdefault(int(self.forest.parent[cell]), []).append(cell)
        self.below = {cell: self._below(cell) for cell in self.cells.tolist()}
        first = t.first_cell.reshape(-1)
        self.customers = {cell: np.flatnonzero(np.isin(first, below)).tolist() for cell, below in self.below.items()}
        self.own_customers = {cell: np.flatnonzero(first == cell).tolist() for cell in self.cells.tolist()}
        self.network = NetworkRows(self) if network else None

    def _below(self, cell: int) -> list[int]:
        found = [cell]
        for one in found:
            found += self.children.get(one, [])
        return found

    def _lay_out(self) -> None:
        """Where each array begins in the raw column."""
        t = self.t
        sizes = {
            "on_hand": t.N * t.P,
            "expiring": t.N * t.P if t.A > 1 else 0,
            "life": t.N * t.P * t.A if self.lives else 0,
            "in_transit": t.L * t.P * t.K,
            "backlog": t.C * t.P,
            "unfilled": t.L * t.P,
            "demand_history": t.C * t.P * t.H,
            "forecast": t.C * t.P * t.F,
            "node_availability": t.N,
            "lane_availability": t.L,
            "lead_time": t.L if t.quoted else 0,
            "season": 2 * len(season_periods(self.scenario)[:1]),
            "period": 1,
            "recent": t.C * t.P if self.demand_memory and t.H else 0,
        }
        starts = np.cumsum([0, *sizes.values()])
        self.at = dict(zip(sizes, starts.tolist(), strict=False))
        self.size, self.raw = sizes, int(starts[-1])

    def used(self, columns: Ints) -> tuple[list[str], NDArray[np.bool_]]:
        """Names of the arrays that any of these columns is of, and (raw,) which columns they have together."""
        kept, names = np.zeros(self.raw, dtype=bool), []
        for name, size in self.size.items():
            part = slice(self.at[name], self.at[name] + size)
            if ((columns >= part.start) & (columns < part.stop)).any():
                names.append(name)
                kept[part] = True
        return names, kept

    def _start(self) -> Floats:
        """(raw,) the column at the start of an episode; NaN where that is not known."""
        t = self.t
        found = np.full(self.raw, np.nan)
        for name, units in (("on_hand", t.initial_on_hand), ("in_transit", t.initial_in_transit)):
            found[self.at[name] : self.at[name] + self.size[name]] = units.reshape(-1)
        found[self.at["backlog"] : self.at["backlog"] + self.size["backlog"]] = 0.0
        return found

    def scaled(self, terms: dict[int, float], centre: float, unit: float) -> Row:
        """(sum of terms - centre) / unit; nothing where there are no terms.

        The unit is at least such that what an episode starts with is within bounds.
        """
        if not terms:
            return {}, 0.0
        start = sum(value * self.start[place] for place, value in terms.items())
        least = abs(start - centre) / WIDEST if np.isfinite(start) else 0.0
        unit = max(float(unit), least, 1e-9)
        return {place: value / unit for place, value in terms.items()}, -centre / unit

    def _under_way(self, cell: int, due: tuple[int, int] | None = None) -> list[int]:
        """Raw places of what is in transit to a cell; ``due``: in so many periods, first and last of them."""
        t, found = self.t, []
        node, product = divmod(cell, t.P)
        for lane in np.flatnonzero((t.lane_target == node) & t.lane_carries[:, product]).tolist():
            for slot in range(max(int(t.max_lead_time[lane]) - 1, 0)):
                left = max(int(t.nominal_lead_time[lane]) - slot - 1, 1)
                if due is None or due[0] <= left <= due[1]:
                    found.append(self.at["in_transit"] + (lane * t.P + product) * t.K + slot)
        return found

    def own(self, cell: int) -> dict[int, float]:
        """A cell's stock and all in transit to it, less who waits there."""
        terms = {self.at["on_hand"] + cell: 1.0}
        terms |= dict.fromkeys(self._under_way(cell), 1.0)
        return terms | {self.at["backlog"] + c: -1.0 for c in self.own_customers[cell]}

    def _echelon(self, cell: int) -> dict[int, float]:
        terms: dict[int, float] = {}
        for one in self.below[cell]:
            terms |= self.own(one)
        return terms

    def covered(self, cell: int) -> float:
        """Standard deviation of the demand through a cell that its local position covers."""
        return float(self.deviation[cell] * np.sqrt(self.lead[cell] + 1))

    def standing(self, cell: int) -> float:
        """Units that are usually on hand."""
        flow = self.flow[cell]
        return float(max(self.auto.local.reshape(-1)[cell] - flow * self.lead[cell], 0.5 * flow))

    def echelon_row(self, cell: int) -> Row:
        """A cell's echelon inventory position."""
        usual = float(self.auto.echelon.reshape(-1)[cell] - self.t.mean_flow.reshape(-1)[cell])
        return self.scaled(self._echelon(cell), usual, max(float(self.auto.deviation.reshape(-1)[cell]), 1e-9))

    def node_rows(self) -> list[list[Row]]:
        """By feature, a row for each cell."""
        return [list(feature) for feature in zip(*(self._of_node(cell) for cell in self.cells.tolist()), strict=True)]

    def _of_node(self, cell: int) -> list[Row]:
        t, at, auto = self.t, self.at, self.auto
        node, product = divmod(cell, t.P)
        flow, spread, lead = self.flow[cell], self.deviation[cell], self.lead[cell]
        local, covered = auto.local.reshape(-1)[cell], self.covered(cell)
        mean_flow = float(t.mean_flow[node, product])
        rows = [
            self.scaled({at["on_hand"] + cell: 1.0}, self.standing(cell), covered),
            self.scaled(self.own(cell), local - mean_flow, covered),
            self.echelon_row(cell),
            *self._demands(cell, spread),
            self.scaled({at["backlog"] + c: 1.0 for c in self.own_customers[cell]}, 0.0, spread),
            self.scaled({at["expiring"] + cell: 1.0} if t.shelf_life[product] else {}, 0.0, max(flow, 1e-9)),
            *self._supply(cell, node),
        ]
        for j in range(1, self.due + 1):
            last = j if j < self.due else 10**6
            usual = sum(1 for k in range(1, int(lead)) if j <= k <= last)
            rows.append(
                self.scaled(
                    dict.fromkeys(self._under_way(cell, (j, last)), 1.0), mean_flow * usual, spread * max(usual, 1)
                )
            )
        rows += [
            self.scaled({at["life"] + cell * t.A + j: 1.0} if j < t.shelf_life[product] else {}, 0.0, max(flow, 1e-9))
            for j in range(1, self.lives + 1)
        ]
        waves = [({at["season"] + i: 1.0}, 0.0) if self.size["season"] else ({}, 0.0) for i in range(2)]
        clock = {at["period"]: 2.0 / t.horizon} if any_at_set_times(self.scenario) else {}
        rows += [*waves, (clock, -1.0 if clock else 0.0)]
        if self.demand_memory:
            rows.append(self._recent(cell, spread))
        rows += [({}, value) for value in self._node_statics(cell)]
        return rows if self.network is None else [*rows, *self.network.of_node(cell)]

    def _recent(self, cell: int, spread: float) -> Row:
        """Mean of the demand remembered of all customers of the echelon, in units of its standard deviation."""
        customers = self.customers[cell] if self.size["recent"] else []
        mean = float(self.t.mean_demand.reshape(-1)[customers].sum())
        terms = {self.at["recent"] + c: 1.0 for c in customers}
        return self.scaled(terms, mean if terms else 0.0, spread / np.sqrt(self.demand_memory))

    def _demands(self, cell: int, spread: float) -> list[Row]:
        """Of all customers of the echelon: last period's demand, that of all periods seen, and the same of forecasts.

        Where demands of periods have nothing to do with each other, those that were say nothing and are left out.
        """
        t, customers, rows = self.t, self.customers[cell], []
        mean = float(t.mean_demand.reshape(-1)[customers].sum())
        for name, count in (("demand_history", t.H if self.resembles else 0), ("forecast", t.F)):
            for periods in (min(count, 1), count):
                terms = {self.at[name] + c * count + h: 1.0 for c in customers for h in range(periods)}
                rows.append(self.scaled(terms, mean * periods if terms else 0.0, spread * np.sqrt(max(periods, 1))))
        return rows

    def _supply(self, cell: int, node: int) -> list[Row]:
        lane = int(self.forest.primary[cell])
        found: list[Row] = [self.available("node_availability", node)]
        if lane < 0:
            return [*found, ({}, 0.0), ({}, 0.0)]
        source = int(self.t.lane_source[lane // self.t.P])
        found.append(self.available("lane_availability", lane // self.t.P))
        return [*found, self.available("node_availability", source)]

    def available(self, array: str, entity: int) -> Row:
        """Availability less 1, of what a disruption can stop."""
        hit = self.disturbed if array == "node_availability" else self.disturbed_lanes
        return ({self.at[array] + entity: 1.0}, -1.0) if hit[entity] else ({}, 0.0)

    def _node_statics(self, cell: int) -> list[float]:
        t = self.t
        node, product = divmod(cell, t.P)
        penalty, below, lost = (float(part[node, product]) for part in faced(t))
        flow, lead = self.flow[cell], self.lead[cell]
        held, typical = float(t.holding_cost[node, product]), max(float(np.mean(t.holding_cost[~t.is_supplier])), 1e-9)
        ratio = np.clip(penalty / max(penalty + below, 1e-9), 0.05, 0.99)
        life = float(t.shelf_life[product])
        return [
            float(np.log(flow / max(float(self.flow[self.cells].mean()), 1e-9))),
            float(self.deviation[cell] / max(flow, 1e-9) - 0.5) * 2,
            (lead - 3) / 3,
            float(np.log(max(held / typical, 1e-2))),
            float(normal_quantile(np.array([ratio]))[0] - 1.3),
            lost - 0.5,
            float(self.forest.depth[cell]) - 1.5,
            1.0 if self.own_customers[cell] else -1.0,
            3.0 / life if life else 0.0,
        ]

    def lane_rows(self) -> list[list[Row]]:
        """By feature, a row for each lane."""
        return [list(feature) for feature in zip(*(self._of_lane(cell) for cell in self.lanes.tolist()), strict=True)]

    def _of_lane(self, cell: int) -> list[Row]:
        t, at = self.t, self.at
        lane, product = divmod(cell, t.P)
        target, source = int(t.lane_target[lane]) * t.P + product, int(t.lane_source[lane])
        primary = int(self.forest.primary[target]) == cell
        flow, spread = self.flow[target], self.deviation[target]
        slot = at["in_transit"] + cell * t.K
        moving = int(t.max_lead_time[lane]) > 1
        usual = float(t.mean_flow.reshape(-1)[target]) if primary else 0.0
        nominal = float(t.nominal_lead_time[lane])
        quoted = bool(t.quoted and t.lead_time_random[lane])
        short = self.own(target) if not primary else {}
        for place in self._under_way(target, (int(nominal) + 1, 10**6)) if short else []:
            short[place] = 0.0
        later = max(self.lead[target] - nominal, 0.0)
        expected = float(self.auto.local.reshape(-1)[target]) - (later + 1) * flow
        # From a supplier that always delivers nothing is ever unfilled.
        scarce = (
            not t.is_supplier[source]
            or self.disturbed[source]
            or bool(np.isfinite(t.node_capacity[source]) or np.isfinite(t.lane_capacity[lane]))
        )
        rows = [
            self.scaled({at["unfilled"] + cell: 1.0} if scarce else {}, 0.0, max(flow, 1e-9)),
            self.scaled({slot: 1.0} if moving else {}, usual if moving else 0.0, spread),
            self.available("lane_availability", lane),
            self.available("node_availability", source),
            ({at["lead_time"] + lane: 1.0}, -nominal) if quoted else ({}, 0.0),
            self._scarcity(source * t.P + product),
            self.scaled(short, expected if short else 0.0, spread * np.sqrt(nominal + 1)),
        ]
        return [*rows, *(({}, value) for value in self._lane_statics(cell, target, primary))]

    def _scarcity(self, source: int) -> Row:
        """What a stock has on hand beyond what its primary descendants lack of their levels."""
        if self.t.is_supplier[source // self.t.P]:
            return {}, 0.0
        terms = {self.at["on_hand"] + source: 1.0}
        centre = 0.0
        for child in self.children.get(source, []):
            terms |= self.own(child)
            centre += float(self.auto.local.reshape(-1)[child])
        return self.scaled(terms, centre, max(float(self.deviation[source]) * np.sqrt(self.lead[source] + 1), 1e-9))

    def _lane_statics(self, cell: int, target: int, primary: bool) -> list[float]:
        t = self.t
        lane, product = divmod(cell, t.P)
        source = int(t.lane_source[lane])
        cost = (t.purchase_cost + t.lane_transport_cost).reshape(-1)
        first = int(self.forest.primary[target])
        penalty = max(float(faced(t)[0].reshape(-1)[target]), 1e-9)
        premium = 0.0 if primary or first < 0 else float(np.clip((cost[cell] - cost[first]) / penalty, -3, 3))
        above = source * t.P + product in self.forest.ancestors(target)
        supplied = bool(t.is_supplier[source])
        share = self.flow[target] / max(float(self.flow[source * t.P + product]), 1e-9) if not supplied else 1.0
        volume = max(float(t.volume[product]), 1e-12)
        room = float(t.lane_capacity[lane]) / volume / max(float(self.flow[target]), 1e-9)
        return [
            (float(t.nominal_lead_time[lane]) - 3) / 3,
            premium,
            1.0 if primary else -1.0,
            1.0 if not (primary or above or supplied) else 0.0,
            1.0 if supplied else 0.0,
            float(np.log(np.clip(share, 1e-2, 1e2))) / 2,
            float(1 / max(room, 0.2)) if np.isfinite(room) else 0.0,
        ]
