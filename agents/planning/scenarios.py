"""Stochastic program over several demand paths: first shipments in common, later ones for each path."""

from __future__ import annotations

import numpy as np

from echelongym.envs.core.typing import Floats
from echelongym.envs.processes.replay import ReplayedDemand
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.record_statement import playable

from .linear_program.assembly import LinearProblem
from .linear_program.outlook import Outlook, Standing
from .safety_stock import PlannedProgram

#: First number of the training worlds that paths are taken from, beyond those that learners train on.
FIRST_WORLD = 30_000_000


class DemandPaths:
    """Sample of demand paths that could follow: expected demand with the deviations of training worlds.

    The surprises (demand less its mean) of the same periods of other worlds are added to what is expected, scaled down by
    what a forecast already knows. Which worlds is fixed, so a decision is the same whenever it is asked for.

    Parameters
    ----------
    scenario
        The scenario.
    count
        Number of paths.
    """

    def __init__(self, scenario: Scenario, count: int) -> None:
        t = scenario.tables
        self.history, self.count = t.H, count
        worlds = list(range(FIRST_WORLD, FIRST_WORLD + count))
        periods = playable(scenario, "train", 2 * t.horizon)
        tape = scenario.sample(worlds=worlds, seed=0, purpose="train", periods=periods)
        drawn = np.asarray(tape.demand[tape.history :], dtype=np.float64).copy()  # (T, count, C, P)
        # A record replayed in order is one world: each path begins somewhere else in it, so that none is the world itself.
        shift = np.random.default_rng(0).integers(1, max(periods, 2), size=count)
        turned = (np.arange(periods)[:, None] + shift) % periods
        mean = np.zeros((len(drawn), t.C, t.P))
        for c, customer in enumerate(t.customers):
            for p, product in enumerate(t.products):
                process = scenario.demand_processes[customer].get(product)
                if isinstance(process, ReplayedDemand):
                    if process.series.block is None:
                        drawn[:, :, c, p] = drawn[turned, np.arange(count), c, p]
                    mean[:, c, p] = drawn[:, :, c, p].mean()
                elif process is not None:
                    mean[:, c, p] = process.moments(0, len(drawn))[0]
        self.surprises = drawn - mean[:, None]
        self.unknown = np.sqrt(1 - scenario.forecast.skill ** (np.arange(t.F) + 1.0))

    def __call__(self, demand: Floats, first: int) -> Floats:
        """(count, periods, C, P) paths around expected ``demand`` (periods, C, P) from period ``first`` on."""
        periods = np.arange(first, first + len(demand)) % len(self.surprises)
        surprise = np.moveaxis(self.surprises[periods], 1, 0).copy()
        slots = min(len(self.unknown), len(demand))
        surprise[:, :slots] *= self.unknown[:slots, None, None]
        return np.maximum(demand + surprise, 0.0)


class Recourse:
    """Stochastic program: copies of a program side by side, with the first period's shipments in common.

    Parameters
    ----------
    program
        The program of one path.
    count
        Number of paths, each as likely.
    """

    def __init__(self, program: PlannedProgram, count: int) -> None:
        from scipy.sparse import block_diag, coo_array, vstack

        self.program, self.count = program, count
        columns = program.shape[1]
        first = program.ship[0]
        first = first[first >= 0]
        ties = np.arange((count - 1) * len(first))
        copies = np.repeat(np.arange(1, count), len(first))
        alike = np.tile(first, count - 1)
        rows, where = np.concatenate([ties, ties]), np.concatenate([alike, alike + copies * columns])
        values = np.concatenate([np.ones(len(ties)), -np.ones(len(ties))])
        tied = coo_array((values, (rows, where)), shape=(len(ties), count * columns))
        self.matrix = vstack([block_diag([program.matrix] * count), tied]).tocsc()
        self.ties = len(ties)

    def plan(self, outlook: Outlook, standing: Standing, paths: Floats) -> LinearProblem:
        """The program of one world; ``paths`` (count, T + ahead, C, P) demand."""
        T = outlook.periods
        one = [self.program.plan(outlook.with_demand(path[:T]), standing, path) for path in paths]
        none = np.zeros(self.ties)
        return LinearProblem(
            self.matrix,
            np.tile(one[0].cost, self.count) / self.count,
            one[0].offset,
            np.concatenate([p.lower for p in one]),
            np.concatenate([p.upper for p in one]),
            np.concatenate([*(p.row_lower for p in one), none]),
            np.concatenate([*(p.row_upper for p in one), none]),
        )

    def shipped(self, values: Floats) -> Floats:
        """(T, L, P) mean shipments over paths; the first period's are the same on all."""
        found: Floats = np.mean([self.program.shipped(part) for part in np.split(values, self.count)], axis=0)
        return found
