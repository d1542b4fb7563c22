"""Decisions of a Markov decision process: whole requests that sources can fill, within limits on lanes and positions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario

from .half_periods import Halves

MOST_NUMBERS = 300_000_000  # in arrays of decisions at a time
LONGEST_CYCLE = 40  # periods between two orders at the start of the search
GROWTH = 0.06  # share of a limit that it is moved out for every decade


@dataclass(frozen=True, eq=False)
class Box:
    """Limits within which an optimum is looked for.

    ``position`` (N, P): stock, and all in transit to a node, less the backlog of its own customers, after requests into
    it. ``request`` (L, P) units a lane and period. ``backlog`` (C, P) units a customer; more are cut off at a high cost.
    """

    position: Ints
    request: Ints
    backlog: Ints
    position_step: Ints
    request_step: Ints
    backlog_step: Ints

    def enlarged(self, position: Floats, request: Floats, backlog: Floats) -> Box:
        """A box with limits moved out, the further the more decades above what is allowed they are touched."""

        def moved(limit: Ints, step: Ints, decades: Floats) -> Ints:
            share = np.clip(GROWTH * decades, 0.125, 0.5)
            further = np.maximum(step, np.rint(limit * share).astype(np.int64))
            return np.where(decades > 0, limit + further, limit)

        return replace(
            self,
            position=moved(self.position, self.position_step, position),
            request=moved(self.request, self.request_step, request),
            backlog=moved(self.backlog, self.backlog_step, backlog),
        )

    def wider(self) -> Box:
        """A box with every limit moved out by its smallest step."""
        return replace(
            self,
            position=self.position + self.position_step,
            request=self.request + self.request_step,
            backlog=self.backlog + self.backlog_step,
        )


def first_box(scenario: Scenario, demands: list[Ints]) -> Box:
    """First box of limits: automatic levels, and the demand of a period or two."""
    t = scenario.tables
    auto = automatic_levels(scenario)
    most = np.max([values.max(axis=0) for values in demands], axis=0)  # (C, P)
    spread = np.maximum(auto.flow_deviation, 0.0)
    target = np.maximum(t.lane_target, 0)
    most_local = np.ceil(np.maximum(auto.local, 0)).astype(np.int64)
    position = np.ceil(np.maximum(auto.local, 0) + 0.25 * spread).astype(np.int64) + 1
    request = np.ceil(auto.flow[target] + spread[target]).astype(np.int64) + 1
    step = order_step(t)
    request = np.maximum(request, step)
    # Where an order costs something whatever its size, small ones may look as if none were worth it.
    orders = _economic_orders(t, auto.flow[target])
    request = np.maximum(request, orders + auto.flow[target].astype(np.int64))
    for lane in range(t.L):
        position[t.lane_target[lane]] = np.maximum(
            position[t.lane_target[lane]],
            most_local[t.lane_target[lane]] + np.maximum(orders[lane], t.minimum_order[lane].astype(np.int64)),
        )
    waits = (t.lost_share < 1) & (t.patience != 0)
    backlog = np.minimum(np.ceil(t.mean_demand + 3 * t.demand_sd).astype(np.int64) + 1, 2 * most + 1)
    half = np.maximum(np.rint(0.5 * spread).astype(np.int64), 1)
    return Box(
        position,
        request,
        np.where(waits, backlog, 0),
        half,
        np.maximum(half[target], step),
        np.where(waits, np.maximum(np.ceil(t.demand_sd).astype(np.int64), 1), 0),
    )


def order_step(t: Tables) -> Ints:
    """(L, P) smallest order of each lane: a unit, its batch, or its minimum order."""
    return np.asarray(np.maximum(np.maximum(t.batch, t.minimum_order), 1).astype(np.int64))


def _economic_orders(t: Tables, flow: Floats) -> Ints:
    """(L, P) economic order quantities sqrt(2 K flow / h), one vehicle at most; 0 where an order costs nothing."""
    fixed = (t.lane_fixed_cost + t.carbon_price * t.lane_fixed_emissions)[:, None]
    holding = t.holding_cost[t.lane_target]
    longest = LONGEST_CYCLE * flow
    with np.errstate(divide="ignore", invalid="ignore"):
        quantity = np.sqrt(2.0 * fixed * flow / holding)
        vehicle = t.vehicle_volume[:, None] / t.volume
    quantity = np.minimum(np.where(fixed * flow > 0, quantity, 0.0), np.minimum(longest, vehicle))
    return np.ceil(quantity).astype(np.int64)


class Decisions:
    """Enumeration of decisions of many states at once."""

    def __init__(self, halves: Halves) -> None:
        t = halves.tables
        self.tables, self.halves = t, halves
        # Lanes out of the lowest nodes first: what leaves a node makes room for what enters it.
        height = np.zeros(t.N, dtype=np.int64)
        for _ in range(t.N):
            for lane in range(t.L):
                if t.lane_source[lane] >= 0:
                    source = t.lane_source[lane]
                    height[source] = min(max(height[source], height[t.lane_target[lane]] + 1), t.N)
        cells = [(lane, p) for lane in range(t.L) for p in range(t.P) if t.lane_open[lane, p]]
        self.cells = sorted(cells, key=lambda cell: (height[t.lane_source[cell[0]]], cell))

    def positions(self, stand: Ints, road: Ints) -> Ints:
        """(n, N, P) local positions before requests."""
        t, h = self.tables, self.halves
        own = h.on_hand(stand).sum(axis=2)
        rows = h.rows(road).sum(axis=2)
        for row, lane in enumerate(h.dynamics.road.kept_lane):
            own[t.lane_target[lane]] += rows[row]
        waiting = h.backlog(stand).sum(axis=2)
        for c in range(t.C):
            for p in range(t.P):
                if t.first_source[c, p] >= 0:
                    own[t.first_source[c, p], p] -= waiting[c, p]
        return np.moveaxis(own, -1, 0)

    def enumerate(self, stand: Ints, road: Ints, box: Box, most: int) -> tuple[Ints, Ints] | int:
        """Owner (m,) and requests (m, L P) of all decisions; their number if it is above ``most``, or too many for memory."""
        t, h = self.tables, self.halves
        owner: Ints = np.arange(len(stand))
        position = self.positions(stand, road)
        stock = np.moveaxis(h.on_hand(stand).sum(axis=2), -1, 0).astype(np.int64)  # (n, N, P)
        requests = np.zeros((len(stand), t.L * t.P), dtype=np.int32)
        node, lane_share = h.availability(stand[:, 0].astype(np.int64))
        node_room = _room(t.node_capacity, node, len(stand))
        lane_room = _room(t.lane_capacity, lane_share, len(stand))
        for lane, p in self.cells:
            source, target = int(t.lane_source[lane]), int(t.lane_target[lane])
            limit = np.minimum(box.request[lane, p], box.position[target, p] - position[:, target, p])
            if not t.is_supplier[source]:
                limit = np.minimum(limit, stock[:, source, p])
            limit = np.minimum(limit, _units(node_room[:, source], t.volume[p], limit))
            limit = np.minimum(limit, _units(lane_room[:, lane], t.volume[p], limit))
            batch = max(int(t.batch[lane, p]), 1)
            skipped = max(int(t.minimum_order[lane, p]) // batch - 1, 0)  # multiples below the minimum order
            options = np.maximum(np.maximum(limit, 0) // batch - skipped, 0) + 1
            total = int(options.sum())
            if total > most or total * (2 * t.N + t.L) * t.P > MOST_NUMBERS:
                return total
            rows = np.repeat(np.arange(len(owner)), options)
            number = np.arange(len(rows)) - np.repeat(np.cumsum(options) - options, options)
            quantity = (number + skipped * (number > 0)) * batch
            owner, position, stock, requests = owner[rows], position[rows], stock[rows], requests[rows]
            node_room, lane_room = node_room[rows], lane_room[rows]
            requests[:, lane * t.P + p] = quantity
            position[:, target, p] += quantity
            if not t.is_supplier[source]:
                stock[:, source, p] -= quantity
                position[:, source, p] -= quantity
            node_room[:, source] -= quantity * t.volume[p]
            lane_room[:, lane] -= quantity * t.volume[p]
        return owner, requests.astype(np.int64)


def _room(capacity: Floats, availability: Floats | None, n: int) -> Floats:
    """(n, entities) volume that may leave; nothing where availability is 0."""
    if availability is None:
        return np.tile(capacity, (n, 1))
    share = availability.T
    return np.where(share > 0, capacity * np.where(share > 0, share, 1.0), 0.0)


def _units(room: Floats, volume: float, limit: Ints) -> Ints:
    """Whole units that a room of volume takes; ``limit`` where it is not limited."""
    if volume == 0:
        return np.where(room > 0, limit, 0)
    return np.where(np.isfinite(room), np.floor(np.minimum(room / volume, 1e15) + 1e-9), limit).astype(np.int64)
