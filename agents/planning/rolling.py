"""Rolling-horizon planner: every period solves the linear program of the next ones and requests its first shipments."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.backend import ops_of
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Bools, Floats
from echelongym.envs.core.validation import is_number
from echelongym.envs.interface.inventory_positions import longest_way
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage import journal

from ..rules.rule import Group, Rule
from .expectation import Expectations
from .linear_program.solver import Solver, basis_of, plain_basis
from .rounding import requests_of
from .safety_stock import PlannedProgram, StockTargets, automatic_safety_factors
from .scenarios import DemandPaths, Recourse

# Periods planned beyond the longest way from a supplier, and the most and fewest planned by default.
REVIEW, LONGEST, SHORTEST = 2, 40, 4
# Structures (lead times of a horizon) kept at a time.
KEPT = 16
# A journal is told every so many plans where one ended; to write it down takes a third of the time that a plan takes.
KEPT_PLANS = 4


class RollingHorizon(Rule):
    """Rolling-horizon planner: linear programs of the next periods, of which the first period's shipments are requested.

    The program is the network's own (:mod:`program`) with the demand, lead times and
    availabilities expected (:class:`~echelongym.agents.planning.expectation.Expectations`). Safety stock comes from
    targets of echelon stock whose shortfall is paid for (:mod:`safety_stock`); they also see to it
    that stock is left at the end of the horizon. This is the certainty-equivalent controller of dynamic programming with
    chance margins (Bertsekas, Dynamic Programming and Optimal Control, volume I, section 6.1).

    Parameters
    ----------
    safety_factors
        Standard deviations of demand that a node's echelon holds above the mean, by node (and product); left out: those
        of :func:`echelongym.envs.interface.automatic_levels.automatic_levels`.
    horizon
        Periods planned, >= 1; left out: the longest way from a supplier, the longest time until a lane can be asked again
        and two more, 4 to 40.
    margin
        Factor on all standard deviations, >= 0; 0 plans for the mean alone.
    scenarios
        Number of sampled demand paths (of training worlds) that are planned for together: what ships first is the same on
        all of them, what follows is each path's own. 0, the default, plans for the expected path. A handful of paths is
        noise: with targets at work, plans for the expected path cost less on the shipped scenarios.

    Notes
    -----
    Whole units and batches are rounded by largest remainders. Of what is planned below half a batch or minimum order nothing
    would come; it is planned anew and has grown the next time, except where customers do not wait: there a lot is asked for
    once a period's demand and half of the safety stock are missing. Warm starts are kept for each world of a batch, so a world
    is decided alike alone and in a batch. Plans go on beyond the end of the episode, as those of rules do. Each plan is a
    step of the journal, where one is kept (:mod:`echelongym.envs.storage.journal`).
    """

    name: ClassVar[str] = "rolling_horizon"
    differentiable: ClassVar[bool] = False
    slow: ClassVar[bool] = True

    def __init__(self, scenario: Scenario, **parameters: Any) -> None:
        self.horizon, self.margin, self.scenarios = 0, 1.0, 0
        super().__init__(scenario, **parameters)
        self.targets = StockTargets(scenario, self.horizon, self._factors)
        self.expectations = Expectations(scenario, self.horizon + self.targets.ahead)
        self.paths = DemandPaths(scenario, self.scenarios) if self.scenarios else None
        self.enough = self._enough() if self.tables.lot.any() else None
        self._reset()

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """Number of safety factors, without a look at demand."""
        return int(_fed(scenario.tables).sum())

    def _make_groups(self) -> list[Group]:
        t = self.tables
        self._factors = automatic_safety_factors(self.scenario)
        z, fed = self._factors.reshape(-1), _fed(t).reshape(-1)
        none = np.full(t.N * t.P, -np.inf)
        return [Group("safety_factors", t.nodes, fed, np.where(fed, z, none), z, np.full(t.N * t.P, 0.5), smooth=False)]

    def _options(self) -> tuple[str, ...]:
        return ("horizon", "margin", "scenarios")

    def _set_options(self, options: dict[str, Any]) -> None:
        horizon = options.get("horizon")
        if horizon is None:
            asked = int(self.tables.review.max(initial=1)) - 1  # until each lane can be asked again
            horizon = min(max(longest_way(self.tables) + asked + REVIEW, SHORTEST), LONGEST)
        margin, scenarios = options.get("margin", 1.0), options.get("scenarios", 0)
        for name, value, least in (("horizon", horizon, 1), ("scenarios", scenarios, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise expected(f"{self.name} {name}", value, f"a whole number >= {least}")
        if not is_number(margin) or margin < 0:
            raise expected(f"{self.name} margin", margin, "a finite number >= 0")
        self.horizon, self.margin, self.scenarios = horizon, float(margin), scenarios

    def _get_options(self) -> dict[str, Any]:
        return {"horizon": self.horizon, "margin": self.margin, "scenarios": self.scenarios}

    def _enough(self) -> Floats:
        """(L, P) units planned for which a lane is asked for a lot."""
        t = self.tables
        z = np.asarray(self.values["safety_factors"], dtype=np.float64).reshape(t.N, t.P)
        safety = self.margin * np.where(np.isfinite(z), np.maximum(z, 0.0), 0.0) * self.targets.deviation[0]
        leaves = (t.first_source >= 0) & ((t.lost_share > 0) | (t.patience >= 0))  # (C, P)
        bounded = t.served_above.sums(leaves.reshape(-1).astype(np.float64)).reshape((t.N, t.P)) > 0
        at = t.lane_target
        missing = t.mean_flow[at] * t.review[:, None] + safety[at] / 2
        return np.where(bounded[at], np.minimum(t.lot / 2, missing), t.lot / 2)

    def _reset(self) -> None:
        self._programs: OrderedDict[bytes, Any] = OrderedDict()
        self.start(0)

    def __getstate__(self) -> dict[str, Any]:
        """A copy for another process starts without programs."""
        return self.__dict__ | {"_programs": OrderedDict(), "_bases": {}, "_plans": {}, "_waiting": {}}

    def start(self, worlds: int) -> None:
        """Drop the warm starts of an earlier episode."""
        self._bases: dict[int, tuple[bytes, Any]] = {}  # by world: lead times of its last program, and where that ended
        self._plans: dict[int, str] = {}  # by world: what tells its last plan from others
        self._waiting: dict[int, list[Observation]] = {}  # by world: what it saw since the plan whose end is known

    def _asks(self) -> Bools:
        return self.tables.lane_open.reshape(-1)

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P)."""
        ops = ops_of(observation.on_hand)
        if ops.name != "numpy":
            arrays = {field.name: getattr(observation, field.name) for field in fields(observation)}
            arrays = {name: None if value is None else ops.numpy(value) for name, value in arrays.items()}
            return Decision(ops.asarray(self(Observation(**arrays)).requests))
        worlds = len(observation.period)
        on_hand = np.asarray(observation.on_hand, dtype=np.float64).sum(3)
        requests = np.zeros((worlds, self.tables.L, self.tables.P))
        for world in range(worlds):
            requests[world] = requests_of(self.tables, self._shipped(observation, world), on_hand[world], self.enough)
        return Decision(requests)

    def _shipped(self, observation: Observation, world: int) -> Floats:
        """(L, P) shipments planned for this period, taken from the journal where the same plan was made before."""
        if journal.active() is None:
            return self.planned(observation, world)[0]
        arrays = {field.name: getattr(observation, field.name) for field in fields(observation)}
        here = {name: None if value is None else np.array(value[world : world + 1]) for name, value in arrays.items()}
        # Where a plan starts, at the end of the one before, follows from all the plans before it.
        inputs = [self._identity, self.parameters, self._plans.get(world), here]
        self._plans[world] = journal.fingerprint(inputs)
        waiting = self._waiting.setdefault(world, [])
        waiting.append(Observation(**here))

        def compute() -> list[Any]:
            shipped = self._caught_up(world)[0]
            kept = int(observation.period[world]) % KEPT_PLANS == 0
            return [shipped, _packed(*self._bases[world]) if kept else None]

        shipped, ended = journal.step("rolling horizon: plan", inputs, compute)
        if waiting and ended is not None:
            self._bases[world] = _unpacked(ended)
            waiting.clear()
        return np.asarray(shipped, dtype=np.float64)

    def _caught_up(self, world: int) -> Floats:
        """The last plan of a world, after those that were taken from the journal without where they ended."""
        waiting = self._waiting[world]
        plans = [self.planned(seen, 0, world) for seen in waiting]
        waiting.clear()
        return plans[-1]

    def settle(self) -> None:
        """Solve again the plans that the journal holds without their basis, so that copies need not."""
        for world in [world for world, waiting in self._waiting.items() if waiting]:
            self._caught_up(world)

    @cached_property
    def _identity(self) -> str:
        """What tells the scenario from others; recorded demand is no part of its digest."""
        t = self.tables
        known = [t.mean_demand, t.demand_sd, self.expectations.mean_demand(0)]
        return journal.fingerprint([self.scenario.digest, *known])

    def planned(self, observation: Observation, world: int, number: int | None = None) -> Floats:
        """(horizon, L, P) shipments planned in one world of a batch, without rounding.

        ``number`` is that of the world where the observation is of fewer.
        """
        own = world if number is None else number
        T, expectations = self.horizon, self.expectations
        standing = expectations.standing(observation, world)
        demand = expectations.demand(observation, world)
        whole = expectations.outlook(observation, world, demand)
        outlook = whole.until(T)
        lead_time = outlook.lead_time.tobytes()
        program, solver = self._program(outlook.lead_time)
        if self.paths is None:
            problem = program.plan(outlook, standing, demand)
        else:
            paths = self.paths(demand, int(observation.period[world]))
            problem = program.plan(outlook, standing, paths)
        key, basis = self._bases.get(own, (b"", None))
        # Nothing of another world's solution may be left: not its factors, whose last bits differ.
        solver.forget()
        if key != lead_time:  # of another structure
            basis = None
        solution = solver.solve(problem, basis)
        self._bases[own] = (lead_time, solver.basis())
        return program.shipped(solution.values)

    def _program(self, lead_time: Any) -> tuple[Any, Solver]:
        key = lead_time.tobytes()
        if key not in self._programs:
            z = np.asarray(self.values["safety_factors"], dtype=np.float64).reshape(self.tables.N, self.tables.P)
            program: Any = PlannedProgram(self.targets, lead_time, z, self.margin)
            if self.scenarios:
                program = Recourse(program, self.scenarios)
            self._programs[key] = (program, Solver(near=True))
            if len(self._programs) > KEPT:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        found: tuple[Any, Solver] = self._programs[key]
        return found


def _packed(lead_time: bytes, basis: Any) -> NDArray[np.uint8]:
    """Lead times and a basis, compressed; a journal keeps many of them."""
    columns, rows = plain_basis(basis)
    sizes = np.array([len(lead_time), len(columns)], dtype=np.int64).tobytes()
    return np.frombuffer(zlib.compress(sizes + lead_time + columns.tobytes() + rows.tobytes(), 1), dtype=np.uint8)


def _unpacked(packed: NDArray[np.uint8]) -> tuple[bytes, Any]:
    found = zlib.decompress(packed.tobytes())
    (lead, columns), found = np.frombuffer(found[:16], dtype=np.int64), found[16:]
    statuses = np.frombuffer(found[lead:], dtype=np.uint8)
    return found[:lead], basis_of(statuses[:columns], statuses[columns:])


def _fed(t: Tables) -> Bools:
    """(N, P) where a safety factor says something."""
    return np.asarray((t.primary_lane >= 0) & ~t.is_supplier[:, None])
