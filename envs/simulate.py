"""Simulation of a policy over a tape, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from .accounts.kpis import KpiAccumulator, Kpis, windows
from .accounts.ledger import COST_LINES, REVENUE, Ledger
from .core.backend import NUMPY, Array, NumpyOps, Ops, TorchOps
from .core.errors import expected
from .core.memory_limits import require_memory
from .dynamics import Arrivals, Dynamics, Exogenous, Flows, State
from .dynamics.rounding import counting
from .interface.feasibility import check_feasible
from .interface.observation import Decision, Observation, Policy, checked_requests
from .network.tables import Tables
from .worlds.memory import state_bytes
from .worlds.tape import Tape

if TYPE_CHECKING:
    from .scenario.scenario import Scenario


class World:
    """A tape as the dynamics and an observer read it, on one backend: entity first, batch last.

    Parameters
    ----------
    tables
        The compiled scenario.
    tape
        Worlds of that scenario.
    ops
        Backend.
    """

    def __init__(self, tables: Tables, tape: Tape, ops: Ops) -> None:
        self.tables = tables
        self.ops = ops = counting(tables, ops)
        core = tape.core
        self.batch, self.periods = tape.batch, tape.periods
        whole = ops.int if tables.integer else ops.float

        def read(value: Any, dtype: Any) -> Any:
            return None if value is None else ops.cast(ops.asarray(value), dtype)

        self.demand = read(core.demand, whole)  # (H + T, C, P, B)
        # History is read newest first, so time runs backwards in this copy.
        self.past = self.demand[::-1] if ops.name == "numpy" else self.demand.flip(0)
        self.lead_time = read(core.lead_time, ops.int)
        self.node_availability = read(core.node_availability, ops.float)
        self.lane_availability = read(core.lane_availability, ops.float)
        self.lane_yield = read(core.lane_yield, ops.float)
        self.split = read(core.split, ops.int)
        self.thin = read(core.thin, ops.int)
        self.forecast = read(core.forecast, ops.float)
        self.features = read(core.features, ops.float)
        one = ops.zeros((1,), ops.float) + 1
        self.all_nodes = one.reshape((1, 1)) + ops.zeros((self.batch, tables.N), ops.float)
        self.all_lanes = one.reshape((1, 1)) + ops.zeros((self.batch, tables.L), ops.float)
        self.nothing = ops.zeros((self.batch, 0), ops.float)
        self.no_forecast = ops.zeros((self.batch, tables.C, tables.P, tables.F), ops.float)
        self.sold: list[Array] = []
        # Lead times that no process of the scenario makes need slots of their own.
        fixed = ~tables.lead_time_random
        self.unusual_lead_times = core.lead_time is not None and bool(
            (core.lead_time[:, fixed] != tables.nominal_lead_time[fixed, None]).any()
        )

    def exogenous(self, period: int) -> Exogenous:
        """Exogenous data of one period."""

        def at(value: Any) -> Any:
            return None if value is None else value[period]

        return Exogenous(
            self.demand[period + self.tables.H],
            at(self.lead_time),
            at(self.node_availability),
            at(self.lane_availability),
            at(self.lane_yield),
            at(self.split),
            at(self.thin),
        )

    def observe(self, state: State, in_transit: Array, period: int) -> Observation:
        """The observation at the start of a period: views, batch first."""
        turn = self._batch_first
        t = self.tables

        def at(value: Any, absent: Any) -> Any:
            return absent if value is None else turn(value[period])

        lead_time = None
        if t.quoted:
            nominal = self.ops.whole(np.tile(t.nominal_lead_time, (self.batch, 1)))
            lead_time = at(self.lead_time, nominal)
        return Observation(
            on_hand=turn(state.on_hand),
            in_transit=turn(in_transit),
            backlog=turn(state.backlog),
            unfilled=turn(state.unfilled),
            node_availability=at(self.node_availability, self.all_nodes),
            lane_availability=at(self.lane_availability, self.all_lanes),
            demand_history=self._history(period),
            forecast=at(self.forecast, self.no_forecast),
            features=at(self.features, self.nothing),
            period=self.ops.zeros((self.batch,), self.ops.int) + period,
            lead_time=lead_time,
        )

    def _batch_first(self, value: Array) -> Array:
        return self.ops.moveaxis(value, -1, 0)

    def _history(self, period: int) -> Array:
        """(B, C, P, H) demand, or sales where lost demand is not seen, newest first."""
        H, start = self.tables.H, self.periods - period
        recent = self.past[start : start + H]
        if self.tables.censored and self.sold:
            latest = self.sold[::-1][:H]
            old = [recent[h] for h in range(len(latest), H)]
            recent = self.ops.stack([*latest, *old], 0)
        return self.ops.moveaxis(self._batch_first(recent), 1, -1)

    def remember(self, flows: Flows) -> None:
        """Keep what a policy may see of the period that ended."""
        if self.tables.censored:
            lost = flows.lost_new
            self.sold.append(flows.demand if lost is None else flows.demand - lost)
            del self.sold[: -self.tables.H]


@dataclass(frozen=True, eq=False)
class Outcome:
    """Outcome of a simulation: what a policy cost in each of B worlds.

    ``cost_per_period`` (B,) is the mean cost of the reported periods (after the warm-up), revenue
    left out; ``costs`` the same by line; ``profit_per_period`` stands beside it where prices are
    given. ``episode_net_cost_per_period`` (B,) is cost less revenue over all periods, what bounds
    are held against. ``trace`` holds every period where it was asked for.
    """

    cost_per_period: Array
    episode_net_cost_per_period: Array
    costs: dict[str, Array]
    profit_per_period: Array | None
    periods: int
    warm_up: int
    worlds: tuple[int, ...]
    trace: Any = None
    _kpis: Any = field(default=None, repr=False)

    @property
    def net_cost_per_period(self) -> Array:
        """(B,) cost less revenue of the reported periods: what is tuned and trained for."""
        return self.cost_per_period if self.profit_per_period is None else -self.profit_per_period

    def kpis(self) -> dict[str, Any]:
        """Key performance indicators of the reported periods; see :mod:`echelongym.envs.accounts.kpis`.

        Raises
        ------
        InputError
            If the simulation was told not to collect them.
        """
        return self.figures().by_world()

    def figures(self) -> Kpis:
        """Key performance indicators as objects that also estimate: ``.figures``, ``.aggregate()``.

        Raises
        ------
        InputError
            If the simulation was told not to collect them.
        """
        if self._kpis is None:
            raise expected("kpis", False, "a simulation with kpis=True")
        found: Kpis = self._kpis.figures()
        return found


def backend_of(backend: str | Ops, dtype: Any = None) -> Ops:
    """``"numpy"``, ``"torch"`` or a backend itself.

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(backend, NumpyOps | TorchOps):
        return backend
    if not isinstance(backend, str):
        raise expected("backend", backend, "'numpy' or 'torch'")
    if backend == "numpy":
        return NUMPY if dtype is None else NumpyOps(dtype)
    if backend == "torch":
        return TorchOps(dtype)
    raise expected("backend", backend, "'numpy' or 'torch'")


def periods(
    scenario: Scenario, policy: Policy, tape: Tape, ops: Ops = NUMPY
) -> Iterator[tuple[int, Observation, Flows, State]]:
    """Run a policy over a tape, period by period: yields period, observation, flows, closing state.

    Raises
    ------
    InputError
        If the tape is of another network, or a decision does not fit.
    """
    tape = tape.check(scenario)
    t = scenario.tables
    world = World(t, tape, ops)
    ops = world.ops
    dynamics = Dynamics(t, ops, vary_lead_times=world.unusual_lead_times)
    foresee = getattr(policy, "foresee", None)
    if callable(foresee):
        foresee(tape)
    start = getattr(policy, "start", None)
    if callable(start):
        start(world.batch)
    state, arrivals = dynamics.initial(world.batch), None
    for period in range(world.periods):
        exogenous = world.exogenous(period)
        if period:
            state, arrivals = dynamics.receive(state, exogenous)
        observation = world.observe(state, dynamics.in_transit(state), period)
        decision = checked_requests(policy(observation), t, world.batch, ops)
        state, flows = dynamics.advance(state, exogenous, decision.requests, decision.reserve, arrivals)
        world.remember(flows)
        yield period, observation, flows, state


def simulate(
    scenario: Scenario,
    policy: Policy,
    tape: Tape,
    trace: bool = False,
    backend: str | Ops = "numpy",
    kpis: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Run ``policy`` over every world of ``tape``.

    Parameters
    ----------
    policy
        Any callable from :class:`Observation` to :class:`Decision`; its ``start(worlds)`` is called
        first where it has one. A reference policy that knows the future has ``foresee(tape)``, called
        before that.
    trace
        Keep every period in ``outcome.trace``, period first: ``on_hand, in_transit, backlog`` as
        observed, ``requests, shipped, received, returned`` (T, B, L, P), ``served`` (T, B, S, P),
        ``lost`` (T, B, C, P), ``disposed`` (T, B, N, P), and ``costs`` by line (T, B).
    backend
        ``"numpy"`` or ``"torch"`` (differentiable in continuous worlds), or a backend object.
    kpis
        Collect key performance indicators (NumPy only).
    progress
        Called with (periods done, periods in all).

    Raises
    ------
    InputError
        If the tape is of another network or too short for the warm-up, its worlds do not fit into memory, or a decision
        does not fit.

    Warns
    -----
    NetworkWarning
        Naming what cannot work: customers whom nothing can ever reach, nodes without supply, capacity below mean demand.
    """
    for name, value, wanted in (("scenario", scenario, "demand_processes"), ("tape", tape, "fixed_lead_time")):
        if not hasattr(type(value), wanted):
            raise expected(name, value, f"a {name.capitalize()}")
    for name, one in (("policy", policy), ("progress", progress)):
        if not callable(one) and (one is not None or name == "policy"):
            raise expected(name, one, "a callable")
    check_feasible(scenario, refuse=False)
    t = scenario.tables
    ops = backend_of(backend)
    if tape.periods <= t.warm_up:
        raise expected("tape.periods", tape.periods, f"more than the warm-up of {t.warm_up}")
    what = f"the stock of {tape.batch} worlds, by {t.A} ages and {t.K} periods in transit, and their demand by {t.W} of waiting"
    require_memory(
        2 * state_bytes(t, tape.batch), what, "fewer worlds at a time, or a shorter shelf_life, lead_time or patience"
    )
    ledger = Ledger(t, ops)
    counted = KpiAccumulator(t, tape.batch, windows(scenario)) if kpis and ops.name == "numpy" else None
    sums: dict[str, Array] = {}
    kept: list[dict[str, Any]] = []
    reported = tape.periods - t.warm_up
    before: Array = 0.0  # cost of the warm-up
    for period, observation, flows, state in periods(scenario, policy, tape, ops):
        lines = ledger.period(flows, last=period + 1 == tape.periods, closing=state)
        if period >= t.warm_up:
            for line, value in lines.items():
                sums[line] = sums[line] + value if line in sums else value
            if counted is not None:
                counted.add(flows)
        else:
            before = before + ledger.net_cost(lines)
        if trace:
            kept.append(_traced(t, ops, observation, flows, ledger.full(lines, tape.batch)))
        if progress is not None:
            progress(period + 1, tape.periods)
    costs = {line: value / reported for line, value in ledger.full(sums, tape.batch).items()}
    total = ledger.cost(costs)
    return Outcome(
        cost_per_period=total,
        episode_net_cost_per_period=(before + ledger.net_cost(costs) * reported) / tape.periods,
        costs={line: costs[line] for line in (*COST_LINES, REVENUE) if line in costs},
        profit_per_period=costs[REVENUE] - total if t.has_prices else None,
        periods=reported,
        warm_up=t.warm_up,
        worlds=tuple(tape.worlds),
        trace=_joined(kept, ops) if trace else None,
        _kpis=counted,
    )


def _traced(t: Tables, ops: Ops, observation: Observation, flows: Flows, lines: dict[str, Array]) -> dict[str, Any]:
    worlds = flows.demand.shape[-1]
    dtype = flows.shipped.dtype

    def kept(value: Array | None, entities: int) -> Array:
        if value is None:
            value = ops.zeros((entities, t.P, worlds), dtype)
        return ops.moveaxis(value, -1, 0)

    return {
        "on_hand": observation.on_hand,
        "in_transit": observation.in_transit,
        "backlog": observation.backlog,
        "unfilled": observation.unfilled,
        "demand": kept(flows.demand, t.C),
        "requests": kept(flows.requests, t.L),
        "shipped": kept(flows.shipped, t.L),
        "received": kept(flows.received, t.L),
        "returned": kept(flows.returned, t.L),
        "recovered": kept(flows.recovered, t.L),
        "served": kept(flows.served, t.S),
        "lost": kept(flows.lost, t.C),
        "disposed": kept(flows.disposed, t.N),
        "costs": lines,
    }


def _joined(kept: list[dict[str, Any]], ops: Ops) -> SimpleNamespace:
    names = [name for name in kept[0] if name != "costs"]
    arrays = {name: ops.stack([one[name] for one in kept], 0) for name in names}
    lines = {line: ops.stack([one["costs"][line] for one in kept], 0) for line in kept[0]["costs"]}
    return SimpleNamespace(**arrays, costs=lines)


__all__ = ["Arrivals", "Decision", "Outcome", "World", "backend_of", "periods", "simulate"]
