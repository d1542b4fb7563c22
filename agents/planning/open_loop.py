"""Open-loop plans: requests fixed beforehand, a policy that never looks at the state.

Where such a plan does well, observing the state is worth little, and so is anything that learns from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.core.backend import Array, Ops, half_up, ops_of
from echelongym.envs.core.errors import InputError, expected, is_installed
from echelongym.envs.core.plain import real_array
from echelongym.envs.core.typing import Floats
from echelongym.envs.core.validation import MOST as LARGEST
from echelongym.envs.interface.automatic_levels import faced
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.network.signature import check_network, signature
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import backend_of, periods, simulate
from echelongym.envs.storage import journal
from echelongym.envs.storage.files import write_text
from echelongym.envs.storage.outside_files import read_json
from echelongym.envs.worlds.tape import Tape

from .expectation import Expectations
from .linear_program.outlook import Outlook, Standing
from .linear_program.program import NetworkProgram
from .linear_program.solver import Solver
from .rounding import DUST

#: Plans that are compared first: factors on expected demand, and safety in standard deviations of cumulative demand.
FACTORS = (0.8, 0.9, 1.0, 1.1)
SAFETIES = (0.0, 1.0, 2.0)
WIDTHS = (0.05, 0.025, 0.0125)  # of the search that follows; of safeties ten times that
#: World numbers of purpose tune: plans are compared on the first, moved along gradients on the second.
COMPARED, MOVED = 40_000_000, 50_000_000
#: Gradients: periods simulated in all, fewest and most; worlds of each.
PERIODS, FEWEST, MOST, WORLDS = 8_000, 5, 32, 64
RATE = 0.012  # Adam's first step, in mean flows of a lane


class OpenLoopPlan:
    """A policy that asks for what was planned, period by period, whatever happens.

    Parameters
    ----------
    scenario
        The scenario it is for.
    requests
        (T, L, P) units, finite and >= 0; T at least the scenario's horizon.

    Raises
    ------
    InputError
        If the shape does not fit or an entry is negative or no number; in a period beyond the plan.
    """

    name = "open_loop_plan"

    def __init__(self, scenario: Scenario, requests: Any) -> None:
        t = self.tables = scenario.tables
        self.requests: Floats = real_array(requests, "requests", self.name)
        if self.requests.ndim != 3 or self.requests.shape[1:] != (t.L, t.P) or len(self.requests) < t.horizon:
            shape = f"({t.horizon} or more periods, {t.L} lanes, {t.P} products)"
            raise expected("requests.shape", self.requests.shape, shape, self.name)
        if not ((self.requests >= 0) & (self.requests <= LARGEST)).all():
            worst = self.requests.max() if self.requests.max() > LARGEST else self.requests.min()
            raise expected("requests", float(worst), f"numbers >= 0 and at most {LARGEST:.1e}", self.name)

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P) of the period.

        Raises
        ------
        InputError
            If the period lies beyond those that were planned.
        """
        ops = ops_of(observation.on_hand)
        period, worlds = int(observation.period[0]), len(observation.period)
        if period >= len(self.requests):
            raise expected("period", period, f"one of the {len(self.requests)} periods planned", self.name)
        return Decision(ops.asarray(np.repeat(self.requests[period][None], worlds, 0)))

    def recordable(self, dtype: Any) -> Recordable | None:
        """What a compiled rollout records of it: requests known beforehand, those beyond the plan as none that fit."""

        def foreseen(tape: Tape) -> Callable[[int, int], list[Floats]]:
            missing = max(tape.periods - len(self.requests), 0)
            rows = np.pad(self.requests[: tape.periods], [(0, missing), (0, 0), (0, 0)], constant_values=-1.0)[
                ..., None
            ]
            return lambda start, stop: [np.broadcast_to(rows, (*rows.shape[:-1], stop - start))]

        return Recordable((type(self), self.tables), [], lambda ops: lambda numbers: _RecordedPlan(), foreseen=foreseen)

    def to_dict(self) -> dict[str, Any]:
        """The plan with the names of its network, as plain data."""
        requests = self.requests.tolist()  # to the last bit: a plan that is read decides as the one that was made
        return {
            "plan": self.name,
            "scenario": self.tables.name,
            "network": signature(self.tables),
            "requests": requests,
        }

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON, whole or not at all."""
        write_text(json.dumps(self.to_dict()) + "\n", Path(path))

    @classmethod
    def from_dict(cls, scenario: Scenario, data: Any, where: str = "plan") -> Self:
        """A plan from what :meth:`to_dict` gave.

        Raises
        ------
        InputError
            If a key is missing, the plan is for another network, or its requests do not fit.
        """
        if not isinstance(data, Mapping):
            raise expected("plan", data, "a mapping with network and requests", where)
        for key in ("plan", "network", "requests"):
            if key not in data:
                raise InputError(f"{where}: {key}: expected this key, as in the file of a plan")
        if data["plan"] != cls.name:
            raise expected("plan", data["plan"], cls.name, where)
        check_network(data["network"], scenario.tables, where)
        requests = real_array(data["requests"], "requests", where)
        return cls(scenario, requests)

    @classmethod
    def load(cls, scenario: Scenario, path: str | Path) -> Self:
        """A plan from a file that :meth:`save` wrote.

        Raises
        ------
        InputError
            If there is no such file, it is no JSON, or the plan does not fit.
        """
        return cls.from_dict(scenario, read_json(path, "plan"), str(path))


def plan_open_loop(
    scenario: Scenario,
    seed: int = 0,
    worlds: int = 256,
    iterations: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> OpenLoopPlan:
    """The best open-loop plan found for whole episodes (warm-up included), on worlds of purpose ``tune``.

    Linear programs of expected demand, scaled and with safety that grows with the square root of time, give plans to
    start from. The best is moved along gradients of simulated cost, taken through the dynamics (in scenarios of
    whole units or batches on their continuous relaxation); what costs least in simulation, rounded where units ask for
    it, is returned. The worlds, and so the plan, follow from ``seed``.

    Parameters
    ----------
    worlds
        That plans are compared on.
    iterations
        Gradients; None: what takes some twenty seconds; 0: none.
    progress
        Called with (steps done, steps in all).

    Raises
    ------
    InputError
        For numbers out of range, or if no plan has a finite optimum (see ``terminal_value``).
    """
    for name, value, least in (("worlds", worlds, 1), ("iterations", iterations, 0)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise expected(name, value, f"a whole number >= {least}")
    count = iterations
    if count is None:
        t = scenario.tables
        slow = 1 if t.A * t.W == 1 else 8
        count = min(max(PERIODS // (slow * t.horizon), FEWEST), MOST)
    first = len(FACTORS) * len(SAFETIES) + 4 * len(WIDTHS)
    search = _PlanSearch(scenario, seed, worlds, count + first, progress)
    sample = np.asarray(search.tape.demand)

    def first_plans() -> list[Any]:
        _search_first(search, FirstPlans(scenario))
        return [search.best, search.cost]

    search.best, search.cost = journal.step("open-loop plan: first plans", [scenario.digest, sample], first_plans)
    if count and is_installed("torch"):  # without it the plan is the best of the searched ones
        begun = [scenario.digest, sample, search.best, count, seed]
        moved = journal.step(
            "open-loop plan: gradients", begun, lambda: _moved(scenario, search.best, count, seed, search.step)
        )
        for requests in moved:
            search.offer(requests)
    return OpenLoopPlan(scenario, search.best)


class _RecordedPlan:
    """A plan under recording."""

    foreseen: Sequence[Array]

    def __call__(self, observation: Observation) -> Decision:
        """The requests of the period."""
        (requests,) = self.foreseen
        return Decision(ops_of(requests).moveaxis(requests, -1, 0))


class _PlanSearch:
    """The cheapest plan offered so far."""

    def __init__(
        self, scenario: Scenario, seed: int, worlds: int, steps: int, progress: Callable[[int, int], None] | None
    ) -> None:
        self.scenario, self.steps, self.progress, self.done = scenario, steps, progress, 0
        numbers = list(range(COMPARED, COMPARED + worlds))
        self.tape = scenario.sample(worlds=numbers, seed=seed, purpose="tune").check(scenario)
        self.cost = math.inf
        self.best: Floats = np.zeros((0, 0, 0))

    def offer(self, requests: Floats) -> bool:
        """Simulate a plan, rounded where units are whole; whether it is the cheapest so far."""
        if self.scenario.tables.lot.any():
            requests = saved_up(self.scenario, requests)
        elif self.scenario.tables.integer:
            requests = _carried(requests)
        outcome = simulate(self.scenario, OpenLoopPlan(self.scenario, requests), self.tape, kpis=False)
        cost = float(np.mean(outcome.episode_net_cost_per_period))
        if cost >= self.cost:
            return False
        self.cost, self.best = cost, requests
        return True

    def step(self) -> None:
        """Report one step more."""
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.steps)


def _carried(requests: Floats) -> Floats:
    """Whole units whose running sums stay within half a unit of the plan's, so that no flow is rounded away."""
    total = half_up(np.cumsum(requests, 0))
    return np.diff(total, axis=0, prepend=0.0)


def saved_up(scenario: Scenario, requests: Floats) -> Floats:
    """Requests (T, L, P) in units, batches and minimum orders: what is rounded off is carried over to later periods.

    What is owed on a lane is what was planned so far less what was shipped where demand is as expected: the plan is played
    once, and each lane asked on the days of the plan for the lots it owes, a lot (a batch, the minimum order) as soon as
    the share h / (p + h) of it is owed. That is the share of its cycle for which a lot of any size is best late, h the
    holding cost and p the penalty that customers bring (Zipkin, Foundations of Inventory Management, 2000, section 3.3).
    """
    t, T = scenario.tables, len(requests)
    step = np.where(t.batch > 0, t.batch, 1.0 if t.integer else 0.0)
    penalty, holding, _ = (one[t.lane_target] for one in faced(t))
    late = np.where(penalty + holding > 0, holding / np.where(penalty + holding > 0, penalty + holding, 1.0), 0.5)
    late = np.where(t.lot > 0, np.minimum(late, 0.5), 0.5)
    found, owed = np.zeros(requests.shape), np.zeros((t.L, t.P))

    def asked(observation: Observation) -> Decision:
        period = int(observation.period[0])
        owed[:] += requests[period] + np.asarray(observation.unfilled)[0]
        whole = np.floor(owed / np.where(step > 0, step, 1.0) + 1 - late - DUST) * step
        due = (requests[period] > 0) & (owed > DUST) & (owed >= late * t.minimum_order - DUST)
        found[period] = np.where(due, np.maximum(np.where(step > 0, whole, owed), t.minimum_order), 0.0)
        owed[:] -= found[period]
        return Decision(found[period][None])

    history = np.repeat(t.mean_demand[None], t.H, 0)
    demand = np.concatenate([history, Expectations(scenario, T).mean_demand(0)])
    simulate(scenario, asked, Tape.from_demand(scenario, _carried(demand) if t.integer else demand), kpis=False)
    return np.maximum(found, 0.0)


class FirstPlans:
    """Plans (T, L, P) of linear programs: expected demand times a factor, with a safety.

    Cumulative demand is uncertain by the square root of time; so is what the safety adds to it, in standard deviations.
    """

    def __init__(self, scenario: Scenario) -> None:
        t, T = scenario.tables, scenario.horizon
        expectations = Expectations(scenario, T)
        self.mean = expectations.mean_demand(0)
        self.program = NetworkProgram(t, expectations.lead_time(0, None), whole=False)
        self.solver, self.standing = Solver(), Standing.initial(t)
        self.node = expectations.scheduled("nodes", "availability", 0, t.N)
        self.lane = expectations.scheduled("lanes", "availability", 0, t.L)
        self.growth = np.diff(np.sqrt(np.arange(T + 1)))[:, None, None] * t.demand_sd

    def __call__(self, factor: float, safety: float) -> Floats:
        """The plan of one factor and safety."""
        demand = np.maximum(factor * self.mean + safety * self.growth, 0.0)
        outlook = Outlook(demand, self.program.lead_time, self.node, self.lane)
        return self.program.shipped(self.solver.solve(self.program.problem(outlook, self.standing)).values)


def _search_first(search: _PlanSearch, plans: FirstPlans) -> None:
    """Offer the plans of a grid, then ever nearer ones to the best."""
    best = (FACTORS[0], SAFETIES[0])

    def offer(factor: float, safety: float) -> None:
        nonlocal best
        if search.offer(plans(factor, safety)):
            best = (factor, safety)
        search.step()

    for safety in SAFETIES:
        for factor in FACTORS:
            offer(factor, safety)
    for width in WIDTHS:
        factor, safety = best
        for one in (factor - width, factor + width):
            offer(one, safety)
        factor, _ = best
        for one in (safety - 10 * width, safety + 10 * width):
            offer(factor, one)


def _moved(scenario: Scenario, start: Floats, count: int, seed: int, step: Callable[[], None]) -> list[Floats]:
    """Plans along Adam's way from ``start``: the average of the last quarter, and the last."""
    import torch

    relaxed = scenario.relaxed()
    if relaxed is None:
        return []
    t, T = relaxed.tables, len(start)
    ops: Ops = backend_of("torch", torch.float32)
    ledger = Ledger(t, ops)
    scale = np.maximum(t.mean_flow[t.lane_target], 0.25 * max(float(t.mean_flow.max()), 1e-6))  # (L, P)
    origin, unit, opened = (ops.constant(a) for a in (start, scale, t.lane_open))
    by_lane = torch.zeros((t.L, t.P), dtype=ops.float, requires_grad=True)  # in shares of what was planned
    each = torch.zeros((T, t.L, t.P), dtype=ops.float, requires_grad=True)  # in mean flows
    groups: list[dict[str, Any]] = [{"params": [by_lane], "lr": RATE / 4}, {"params": [each]}]
    optimiser = torch.optim.Adam(groups, lr=RATE, betas=(0.8, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: 0.05 + 0.95 * (1 + math.cos(math.pi * i / count)) / 2
    )
    late: list[Floats] = []
    for iteration in range(count):
        numbers = list(range(MOVED + iteration * WORLDS, MOVED + (iteration + 1) * WORLDS))
        tape = relaxed.sample(worlds=numbers, seed=seed, purpose="tune")
        plan = torch.clamp(origin * (1 + by_lane) + each * unit, min=0.0) * opened

        def policy(observation: Observation, plan: Any = plan) -> Decision:
            return Decision(plan[int(observation.period[0])].expand(WORLDS, -1, -1))

        loss = torch.zeros((), dtype=ops.float)
        for period, _, flows, state in periods(relaxed, policy, tape, ops):
            loss = loss + ledger.net_cost(ledger.period(flows, last=period + 1 == T, closing=state)).mean()
        optimiser.zero_grad()
        (loss / T).backward()
        for value in (by_lane, each):
            assert value.grad is not None
            torch.nan_to_num_(value.grad, 0.0, 0.0, 0.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            now = torch.clamp(origin * (1 + by_lane) + each * unit, min=0.0) * opened
        if iteration >= 0.75 * count - 1:
            late.append(now.double().numpy())
        step()
    return [np.mean(late, axis=0), late[-1]]
