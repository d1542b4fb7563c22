"""Outages of primary lanes, and whose way from the supplier leads over an impaired one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from echelongym.envs.core.backend import Array, Ops, columns
from echelongym.envs.core.typing import Bools, Ints
from echelongym.envs.dynamics import Segments
from echelongym.envs.interface.inventory_positions import Forest
from echelongym.envs.interface.observation import Observation
from echelongym.envs.network.calendars import waits
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.disruption import hits
from echelongym.envs.worlds.events import impaired


class Outages:
    """Impaired ways as an observation shows them.

    Attributes
    ----------
    nodes_affected : (N * P,) cells whose way a disruption of the scenario may impair.
    lanes_affected : (L * P,) cells of lanes whose target's primary lane one may impair.
    """

    def __init__(self, scenario: Scenario, forest: Forest, target: Ints) -> None:
        self.tables = t = scenario.tables
        self.primary = np.where(forest.primary >= 0, forest.primary // t.P, -1)  # lane of each node cell
        self.target = target
        ways = [
            (cell, int(self.primary[node]))
            for cell in np.flatnonzero(forest.primary >= 0).tolist()
            for node in (cell, *forest.ancestors(cell))
            if self.primary[node] >= 0
        ]
        self.cells, self.lanes = np.array(ways, dtype=np.int64).reshape(-1, 2).T
        impaired = self.impaired_lanes(scenario)
        self.nodes_affected = np.zeros(t.N * t.P, dtype=bool)
        np.logical_or.at(self.nodes_affected, self.cells, impaired[self.lanes])
        fed_by = self.primary[target]
        self.lanes_affected = (fed_by >= 0) & impaired[np.maximum(fed_by, 0)]
        self.scheduled = [
            (*hit.when.periods, hit.when.every or 0, _mask(hit.entities, t.L))
            for hit in hits(scenario, "lead_time_factor")
            if hit.when.periods is not None and hit.amount > 1
        ]

    @staticmethod
    def impaired_lanes(scenario: Scenario) -> Bools:
        """(L,) lanes that a disruption of the scenario may impair so that it can be seen."""
        t = scenario.tables
        nodes, lanes = impaired(scenario)
        found = lanes | nodes[t.lane_source]
        for hit in hits(scenario, "lead_time_factor"):
            if hit.amount > 1 and (t.quoted or hit.when.periods is not None):
                found[hit.entities] = True
        return found & (t.lane_source >= 0)

    def on(self, ops: Ops) -> Callable[[Observation], tuple[Array, Array]]:
        """A function from an observation to ones where a way is impaired: (N * P, B), (L * P, B)."""
        t = self.tables
        by_cell = Segments(self.cells, t.N * t.P, ops)
        lanes, source = ops.index(self.lanes), ops.index(np.maximum(t.lane_source, 0))
        from_node = ops.constant((t.lane_source >= 0)[:, None])
        fed_by = self.primary[self.target]
        feeding, fed = ops.index(np.maximum(fed_by, 0)), ops.constant((fed_by >= 0)[:, None])
        longest = np.array([values.max() for values in t.lead_time_values], dtype=np.int64)
        longest += np.array([waits(t.node_pattern[node]).max() for node in t.lane_target], dtype=np.int64)
        usual = ops.whole(longest[:, None])
        open_lanes, open_nodes = _on_open_days(t.lane_pattern, ops), _on_open_days(t.node_pattern, ops)
        scheduled = [(first, last, every, ops.constant(mask[:, None])) for first, last, every, mask in self.scheduled]

        def look(observation: Observation) -> tuple[Array, Array]:
            lane = ops.cast(ops.moveaxis(observation.lane_availability, 0, -1) < 1, ops.float)
            node = ops.cast(ops.moveaxis(observation.node_availability, 0, -1) < 1, ops.float)
            # A closed day is no outage.
            lane, node = open_lanes(lane, observation.period), open_nodes(node, observation.period)
            impaired = ops.maximum(lane, node[source] * from_node)
            if observation.lead_time is not None:
                late = ops.moveaxis(observation.lead_time, 0, -1) > usual
                impaired = ops.maximum(impaired, ops.cast(late, ops.float))
            for first, last, every, mask in scheduled:
                since = observation.period - first
                begun = since >= 0
                since = since % every if every else since
                now = ops.cast(begun & (since <= last - first), ops.float)
                impaired = ops.maximum(impaired, mask * now)
            ways = ops.minimum(by_cell.sum(impaired[lanes]), 1.0)
            return ways, impaired[feeding] * fed

        return look


def _on_open_days(patterns: Sequence[Bools], ops: Ops) -> Callable[[Array, Array], Array]:
    """A function that leaves rows (entities, B) as they are in periods (B,) in which they are open, and makes others 0."""
    by_cycle: dict[int, Bools] = {}
    for i, pattern in enumerate(patterns):
        if not pattern.all():
            table = by_cycle.setdefault(len(pattern), np.ones((len(patterns), len(pattern)), dtype=bool))
            table[i] = pattern
    tables = [(cycle, ops.constant(table)) for cycle, table in by_cycle.items()]

    def kept(rows: Array, period: Array) -> Array:
        for cycle, table in tables:
            rows = rows * columns(table, ops.to_int(period) % cycle)
        return rows

    return kept


def _mask(chosen: Ints, size: int) -> Bools:
    mask = np.zeros(size, dtype=bool)
    mask[chosen] = True
    return mask
