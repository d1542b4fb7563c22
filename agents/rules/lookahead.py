"""Demand ahead: how far expected demand over the periods that a position covers lies above the mean.

Three things say so: the scenario's forecasts, the calendar (a season, or the weekdays of recorded demand), and, where
demand of one period resembles that of the period before, recent demand.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from echelongym.envs.core.backend import Array, Ops, columns
from echelongym.envs.core.typing import Bools, Floats, Ints
from echelongym.envs.dynamics import Segments
from echelongym.envs.interface.inventory_positions import Forest
from echelongym.envs.interface.observation import Observation
from echelongym.envs.processes.replay import ReplayedDemand
from echelongym.envs.recorded.blocks import whole_blocks
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.disruption import hits

MOST_PERIODS = 5_000  # a calendar that repeats later than that is taken for one that does not repeat


class Covered(NamedTuple):
    """Demand that each level covers, and for how long: M terms, one for each level and customer."""

    level: Ints  # (M,) node cell, or N * P + lane cell of a secondary lane
    customer: Ints  # (M,) customer * P + product
    periods: Ints  # (M,) from now on
    levels: int  # N * P + L * P

    @classmethod
    def of(cls, scenario: Scenario, forest: Forest, further: Bools) -> Covered:
        """Coverage of levels: echelon levels all lead times to the customer and one period; a secondary lane its own and one.

        Nominal lead times, review periods included; ``further`` (L * P,) are the lane cells with a level of their own.
        """
        t = scenario.tables
        rows: list[tuple[int, int, int]] = []
        above: dict[int, list[int]] = {}  # customers of each echelon
        for c, p in np.argwhere(t.first_cell >= 0).tolist():
            cell = int(t.first_cell[c, p])
            total = 0
            for node in (cell, *forest.ancestors(cell)):
                above.setdefault(node, []).append(c * t.P + p)
                if forest.primary[node] >= 0:
                    total += int(t.protection[forest.primary[node] // t.P]) - 1
                    rows.append((node, c * t.P + p, total + 1))
        for lane in np.flatnonzero(further).tolist():
            target = int(t.lane_target[lane // t.P]) * t.P + lane % t.P
            covered = int(t.protection[lane // t.P])
            rows += [(t.N * t.P + lane, customer, covered) for customer in above.get(target, [])]
        level, customer, periods = np.array(rows, dtype=np.int64).reshape(-1, 3).T
        return cls(level, customer, periods, (t.N + t.L) * t.P)


def calendar(scenario: Scenario, first: int, count: int) -> Floats:
    """Mean demand (count, C * P) of each period from ``first`` on as far as the calendar tells.

    The season's; for recorded demand in blocks that of the place in a block, as training worlds see it.
    """
    t = scenario.tables
    means = np.zeros((count, t.C * t.P))
    for c, customer in enumerate(t.customers):
        for p, product in enumerate(t.products):
            process = scenario.demand_processes[customer].get(product)
            if isinstance(process, ReplayedDemand) and process.series.block is not None:
                means[:, c * t.P + p] = _block_means(process)[np.arange(first, first + count) % process.series.block]
            elif process is not None:
                means[:, c * t.P + p] = process.moments(first, count)[0]
    return means


def cycle_lengths(scenario: Scenario) -> list[float | None]:
    """Periods after which each demand process repeats: its season's, or its block's of recorded demand.

    None where it has no season, 0 where a record is replayed in order.
    """
    found: list[float | None] = []
    for process in _processes(scenario):
        if isinstance(process, ReplayedDemand):
            found.append(process.series.block or 0)
        else:
            found.append(None if process.family.season is None else process.family.season.period)
    return found


def cycle_of(scenario: Scenario) -> int | None:
    """Periods after which the calendar repeats; None where it does not."""
    cycle = 1
    for length in cycle_lengths(scenario):
        if length and length != int(length):
            return None
        cycle = math.lcm(cycle, int(length or 1))
    return cycle if cycle <= MOST_PERIODS else None


def has_calendar(scenario: Scenario) -> bool:
    """Whether means of periods differ by the calendar."""
    means = calendar(scenario, 0, cycle_of(scenario) or scenario.horizon)
    return bool(np.ptp(means, axis=0).max(initial=0.0) > 0)


def resembles(scenario: Scenario) -> bool:
    """Whether demand of one period says something of the next: correlation, disruptions of demand, or a record."""
    disrupted = any(True for _ in hits(scenario, "demand_factor"))
    recorded = any(isinstance(process, ReplayedDemand) for process in _processes(scenario))
    return scenario.correlation.periods > 0 or disrupted or recorded


def _processes(scenario: Scenario) -> list[Any]:
    return [process for products in scenario.demand_processes.values() for process in products.values()]


def _block_means(process: ReplayedDemand) -> Floats:
    series = process.series
    assert series.block is not None
    window = series.spans["train"] or (0, len(series.units) - 1)
    starts = whole_blocks(window, series.block)
    return np.asarray(series.units[starts[:, None] + np.arange(series.block)].mean(0))


class Ahead:
    """Demand ahead: units by which it exceeds the mean, over what each level covers; (levels, B) arrays."""

    def __init__(self, scenario: Scenario, covered: Covered, ops: Ops) -> None:
        t = scenario.tables
        self.ops = ops
        self.to_levels = Segments(covered.level, covered.levels, ops)
        self.customers = ops.index(covered.customer)
        self.periods = ops.constant(covered.periods[:, None])
        repeats, H = cycle_of(scenario), t.H
        self.repeats = repeats is not None
        self.cycle = cycle = scenario.horizon if repeats is None else repeats
        means = calendar(scenario, -H, H + cycle + int(covered.periods.max(initial=1)))
        sums = np.concatenate([np.zeros((1, means.shape[1])), np.cumsum(means, axis=0)])
        start = np.arange(H, H + cycle)
        # What the calendar says of each period of the cycle: of the periods covered, and of those just past.
        ends = start[:, None] + covered.periods
        season = sums[ends, covered.customer] - sums[start[:, None], covered.customer]
        season = season - covered.periods * t.mean_demand.reshape(-1)[covered.customer]
        by_level = np.zeros((covered.levels, cycle))
        np.add.at(by_level, covered.level, season.T)
        self.season = ops.constant(by_level)
        self.usual = ops.constant(((sums[start] - sums[start - H]) / H).T)  # (C * P, cycle)
        if t.F:
            looks = np.arange(cycle)[:, None] + np.arange(t.F)
            start_from = _forecast_means(scenario, cycle + t.F)[looks]  # (cycle, F, C * P)
            self.expected = ops.constant(np.cumsum(np.moveaxis(start_from, 0, -1), axis=0))  # (F, C * P, cycle)
            self.slot = ops.whole(np.minimum(covered.periods, t.F) - 1)
            self.looked_at = ops.whole(covered.customer)

    def _column(self, observation: Observation) -> Array:
        period = self.ops.to_int(observation.period)
        return period % self.cycle if self.repeats else self.ops.minimum(period, self.cycle - 1)

    def by_calendar(self, observation: Observation) -> Array:
        """Excess of the season's mean over the mean over seasons."""
        return columns(self.season, self._column(observation))

    def by_forecast(self, observation: Observation) -> Array:
        """Excess of forecasts over the mean that they start from."""
        ops = self.ops
        looks = ops.moveaxis(ops.moveaxis(observation.forecast, 0, -1), 2, 0)  # (F, C, P, B)
        looks = ops.cumulate(looks.reshape((looks.shape[0], -1, looks.shape[-1])), 0)
        above = looks - columns(self.expected, self._column(observation))
        return self.to_levels.sum(above[self.slot, self.looked_at])

    def by_history(self, observation: Observation) -> Array:
        """Excess of recent demand over what the calendar says of it, each period ahead taken to be alike."""
        ops = self.ops
        history = ops.moveaxis(observation.demand_history, 0, -1)  # (C, P, H, B)
        mean = ops.to_float(ops.total(history, 2)) / history.shape[2]
        above = mean.reshape((-1, mean.shape[-1])) - columns(self.usual, self._column(observation))
        return self.to_levels.sum(above[self.customers] * self.periods)


def _forecast_means(scenario: Scenario, periods: int) -> Floats:
    """(periods, C * P) what forecasts start from."""
    t = scenario.tables
    means = np.zeros((periods, t.C * t.P))
    for c, customer in enumerate(t.customers):
        for p, product in enumerate(t.products):
            process = scenario.demand_processes[customer].get(product)
            if process is not None:
                means[:, c * t.P + p] = process.moments(0, periods)[0]
    return means
