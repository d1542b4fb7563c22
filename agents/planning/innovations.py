"""Innovations: demand less what was expected of it, series of mean zero that a penalty is made of.

For every node and product with a primary lane: whether the demand of its echelon over the periods that an order covers
exceeds a quantile of its law, less the probability of that. No decision of a period that looks at the past alone is
correlated with them, whatever it is.

What is not demand (disruptions, lead times, yields, lots) counts as known beforehand here, and so do forecast periods and
recorded days up to the end of their block: windows begin after what is known. A bound for those who know more is a bound
for those who know less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.errors import InputError
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.interface.inventory_positions import Forest
from echelongym.envs.worlds.disruption import hits
from echelongym.envs.worlds.tape import Tape, demand_of_other_worlds

if TYPE_CHECKING:
    from echelongym.envs.scenario.scenario import Scenario


#: Where the laws of sums are cut.
QUANTILES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95, 0.98)
WINDOWS = 2  # of a node: what an order covers, and for nodes that feed others what it covers with them
OTHERS = 1_000_000_000  # world numbers of the draws that laws are read off, beyond all that are simulated
NUMBERS = 3e7  # sums drawn for that at most
MOST_DRAWS, FEWEST_DRAWS = 16_384, 256


def refusal(scenario: Scenario) -> str | None:
    """Reason why there are no such series; None where there are."""
    if scenario.correlation.periods > 0:
        return f"correlation.periods is {scenario.correlation.periods:g}: what demand may still be depends on what was"
    if (known_until(scenario, scenario.horizon) >= scenario.horizon).all():
        return "all demand is known beforehand"
    if not (scenario.tables.primary_lane >= 0).any():
        return "no node has a primary lane"
    return None


def known_until(scenario: Scenario, periods: int) -> Ints:
    """(T,) the first period whose demand counts as unknown at the start of each period."""
    now = np.arange(periods)
    until = now + scenario.forecast.horizon
    for processes in scenario.demand_processes.values():
        for process in processes.values():
            series = getattr(process, "series", None)
            if series is None:
                continue
            if series.block is None:
                return np.full(periods, periods)
            until = np.maximum(until, -(-now // series.block) * series.block)
    return np.minimum(until, periods)


class Innovations:
    """Series of the worlds of one purpose and seed over T periods.

    Parameters
    ----------
    scenario, periods, seed, purpose
        Of the worlds.

    Attributes
    ----------
    cells
        (I, 2) node and product of each coordinate.
    shape
        (I, WINDOWS, quantiles) of the series of a period.

    Raises
    ------
    InputError
        Where :func:`refusal` gives a reason.
    """

    def __init__(self, scenario: Scenario, periods: int, seed: int, purpose: str) -> None:
        reason = refusal(scenario)
        if reason is not None:
            raise InputError(f"penalty: {reason} (scenario {scenario.name})")
        t = scenario.tables
        self.scenario, self.periods, self.seed, self.purpose = scenario, periods, seed, purpose
        self.cells = np.argwhere(t.primary_lane >= 0)
        self.shape = (len(self.cells), WINDOWS, len(QUANTILES))
        self.ends = _covers(scenario, self.cells)  # (I, WINDOWS) periods after the first, -1 = no window
        self.known = known_until(scenario, periods)
        #: (I, C) customers of each coordinate's echelon, by product
        below = [t.served_below(node)[:, product] for node, product in self.cells]
        self._members = np.array(below, dtype=np.float64).reshape(-1, t.C)
        self._by_world = any(hit.when.random for hit in hits(scenario, "demand_factor"))
        count = int(np.clip(NUMBERS / (periods * len(self.cells) * WINDOWS), FEWEST_DRAWS, MOST_DRAWS))
        self._draws = FEWEST_DRAWS if self._by_world else count
        drawn = scenario.sample(range(OTHERS, OTHERS + count), seed, purpose, periods)
        sums = self._sums(drawn.demand[drawn.history :])
        #: (T, I, WINDOWS, quantiles) what sums are held against
        self.cuts = np.moveaxis(np.quantile(sums, QUANTILES, axis=1), 0, -1)
        self._exceeded = self._shares(sums)

    def of(self, tape: Tape) -> Floats:
        """(B, T, I, WINDOWS, quantiles) of worlds of this purpose and seed."""
        sums = self._sums(tape.demand[tape.history :])
        found = np.empty((tape.batch, self.periods, *self.shape))
        for place, world in enumerate(tape.worlds):
            mean = self._given(world) if self._by_world else self._exceeded
            found[place] = (sums[:, place, ..., None] > self.cuts) - mean
        return found

    def _given(self, world: int) -> Floats:
        """Probabilities under the disruptions of one world."""
        others = [OTHERS + (world + 1) * self._draws + draw for draw in range(self._draws)]
        worlds = [world] * self._draws
        drawn = demand_of_other_worlds(self.scenario, worlds, others, self.seed, self.purpose, self.periods)
        return self._shares(self._sums(drawn[self.scenario.observe.history :]))

    def _shares(self, sums: Floats) -> Floats:
        """(T, I, WINDOWS, quantiles) share of worlds in which sums (T, B, I, WINDOWS) exceed the cuts."""
        found = np.empty((self.periods, *self.shape))
        for period in range(self.periods):
            found[period] = (sums[period][..., None] > self.cuts[period]).mean(0)
        return found

    def _sums(self, demand: NDArray[np.generic]) -> Floats:
        """(T, B, I, WINDOWS) demand of each echelon not known yet, up to the end of each window; 0 beyond the end."""
        T, B = self.periods, demand.shape[1]
        running = np.zeros((T + 1, B, len(self.cells)))
        by_product = np.asarray(demand, dtype=np.float64)
        for i, (_, p) in enumerate(self.cells):
            running[1:, :, i] = by_product[:, :, :, p] @ self._members[i]
        np.cumsum(running, axis=0, out=running)
        found = np.zeros((T, B, len(self.cells), WINDOWS))
        now = np.arange(T)
        for i, w in np.argwhere(self.ends >= 0):
            last = now + self.ends[i, w] + 1
            inside = (last <= T) & (self.known < last)
            found[inside, :, i, w] = running[last[inside], :, i] - running[self.known[inside], :, i]
        return found


def _covers(scenario: Scenario, cells: Ints) -> Ints:
    """(I, WINDOWS) last period, counted from the order, that it covers: alone, and down to the farthest customers."""
    t = scenario.tables
    forest = Forest(t)
    lead = np.zeros(t.N * t.P, dtype=np.int64)
    fed = forest.primary >= 0
    lead[fed] = t.protection[forest.primary[fed] // t.P] - 1
    further = np.zeros(t.N * t.P, dtype=np.int64)
    for cell in np.argsort(-forest.depth, kind="stable"):
        above = forest.parent[cell]
        if above >= 0:
            further[above] = max(further[above], further[cell] + lead[cell])
    own = cells[:, 0] * t.P + cells[:, 1]
    both = np.where(further[own] > 0, lead[own] + further[own], -1)
    return np.stack([lead[own], both], axis=1)
