"""Simulation of a policy over a tape, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .accounts.kpis import KpiAccumulator, Kpis, windows
from .accounts.ledger import COST_LINES, REVENUE, Ledger
from .core.backend import NUMPY, Array, NumpyOps, Ops, TorchOps
from .core.devices import check_device, on_device
from .core.errors import expected
from .core.jax_backend import JaxOps
from .core.memory_limits import require_memory
from .dynamics import Arrivals, Dynamics, Flows, State, demand_seen
from .dynamics.playback import Playback, unusual_lead_times
from .dynamics.rounding import counting, is_single
from .interface.feasibility import check_feasible
from .interface.observation import Decision, Observation, Observer, Policy, checked_requests, viewed
from .network.tables import Tables
from .rollout.rollout import Rollout, Sums
from .rollout.trace_rows import joined, traced, traced_names
from .rollout.xla_rollout import roll_out
from .worlds.memory import state_bytes
from .worlds.tape import Tape

if TYPE_CHECKING:
    from .scenario.scenario import Scenario


@dataclass(frozen=True, eq=False)
class Outcome:
    """Outcome of a simulation: what a policy cost in each of B worlds.

    ``cost_per_period`` (B,) is the mean cost of the reported periods (after the warm-up), revenue
    left out; ``costs`` the same by line; ``profit_per_period`` stands beside it where prices are
    given. ``episode_net_cost_per_period`` (B,) is cost less revenue over all periods, what bounds
    are held against. ``trace`` holds every period where it was asked for. ``simulated_on`` says what
    ran it: ``device``, ``backend`` and ``precision`` (``double`` or ``single``).
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
    simulated_on: dict[str, str] = field(default_factory=lambda: simulated_on(NUMPY))

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


def simulated_on(ops: Ops, device: str = "cpu") -> dict[str, str]:
    """What runs a simulation, as results say it."""
    return {"device": device, "backend": ops.name, "precision": "single" if is_single(ops.float) else "double"}


def backend_of(backend: str | Ops, dtype: Any = None) -> Ops:
    """``"numpy"``, ``"torch"``, ``"jax"`` or a backend itself.

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(backend, NumpyOps | TorchOps | JaxOps):
        return backend
    if backend == "numpy":
        return NUMPY if dtype is None else NumpyOps(dtype)
    if backend == "torch":
        return TorchOps(dtype)
    if backend == "jax":
        return JaxOps(dtype)
    raise expected("backend", backend, "'numpy', 'torch' or 'jax'")


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
    ops = counting(t, ops)
    # Copied, as a policy may write into what it is shown.
    worlds = Playback(t, ops, tape.exogenous, own=True)
    observer = Observer(t, ops, worlds.batch)
    dynamics = Dynamics(t, ops, vary_lead_times=unusual_lead_times(t, tape.exogenous))
    foresee = getattr(policy, "foresee", None)
    if callable(foresee):
        foresee(tape)
    start = getattr(policy, "start", None)
    if callable(start):
        start(worlds.batch)
    state, arrivals = dynamics.initial(worlds.batch), None
    sold: list[Array] = []  # newest first, where lost demand is not observed
    for period in range(worlds.periods):
        exogenous = worlds.exogenous(period)
        if period:
            state, arrivals = dynamics.receive(state, exogenous)
        history = worlds.history(period, sold)
        observation = observer(viewed(t, state, dynamics.in_transit(state), exogenous, history, period))
        decision = checked_requests(policy(observation), t, worlds.batch, ops)
        state, flows = dynamics.advance(state, exogenous, decision.requests, decision.reserve, arrivals)
        if t.censored:
            sold = [demand_seen(t, flows), *sold][: t.H]
        yield period, observation, flows, state


def simulate(
    scenario: Scenario,
    policy: Policy,
    tape: Tape,
    trace: bool | Sequence[str] = False,
    backend: str | Ops = "auto",
    kpis: bool = True,
    progress: Callable[[int, int], None] | None = None,
    device: str = "cpu",
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
        ``lost`` (T, B, C, P), ``disposed`` (T, B, N, P), and ``costs`` by line (T, B). Names of some of these
        (``("on_hand",)``) keep only them and the costs.
    backend
        ``"numpy"``, ``"torch"`` (differentiable in continuous worlds), ``"jax"`` (one program for all periods, of policies
        without memory), or a backend object; ``"auto"``: NumPy on the CPU, JAX on a GPU.
    kpis
        Collect key performance indicators (not with PyTorch).
    progress
        Called with (periods done, periods in all).
    device
        ``"cpu"``, or ``"gpu"`` under JAX. Whole units are the same on both, and real numbers differ by the rounding of
        sums that are added up in another order.

    Raises
    ------
    InputError
        If the tape is of another network or too short for the warm-up, its worlds do not fit into memory, a decision
        does not fit, there is no such device, or JAX cannot run the policy.
    MissingExtra
        If the library of the backend is not installed.

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
    if backend == "auto":
        backend = "jax" if check_device(device) == "gpu" else "numpy"
    ops = backend_of(backend)
    if check_device(device) == "gpu" and ops.name != "jax":
        raise expected("device", device, f"cpu where the backend is {ops.name}; backend jax runs on a GPU")
    names = traced_names(trace)
    if names and ops.name == "jax":
        raise expected("trace", trace, "False where the backend is jax; backend numpy keeps traces")
    if tape.periods <= t.warm_up:
        raise expected("tape.periods", tape.periods, f"more than the warm-up of {t.warm_up}")
    what = f"the stock of {tape.batch} worlds, by {t.A} ages and {t.K} periods in transit, and their demand by {t.W} of waiting"
    require_memory(
        2 * state_bytes(t, tape.batch), what, "fewer worlds at a time, or a shorter shelf_life, lead_time or patience"
    )
    kpis = kpis and ops.name != "torch"
    if isinstance(ops, JaxOps):
        with on_device(device):
            done = roll_out(scenario, policy, tape, ops, kpis, progress)
        if done is not None:
            return _outcome(t, Ledger(t), tape, done, simulated_on(counting(t, ops), device))
        ops = NUMPY  # which says what the policy decided that does not fit
    on = simulated_on(counting(t, ops))
    rollout = Rollout.of(scenario, policy, tape, counting(t, ops), kpis, names)
    if rollout is not None and rollout.worth_while():
        found = rollout.run(progress)
        if found is not None:
            return _outcome(t, rollout.ledger, tape, found, on)
    ledger = Ledger(t, ops)
    counted = KpiAccumulator(t, tape.batch, windows(scenario), t.warm_up) if kpis else None
    sums: dict[str, Array] = {}
    kept: list[dict[str, Any]] = []
    costs: list[dict[str, Array]] = []
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
        if names:
            whole = traced(t, ops, observation, flows)
            kept.append({name: whole[name] for name in names})
            costs.append(ledger.full(lines, tape.batch))
        if progress is not None:
            progress(period + 1, tape.periods)
        if rollout is not None and rollout.worth_while(period + 1):
            found = rollout.run(progress, told=period + 1)
            if found is not None:
                return _outcome(t, ledger, tape, found, on)
    return _outcome(t, ledger, tape, Sums(sums, before, counted, joined(kept, costs, ops) if names else None), on)


def _outcome(t: Tables, ledger: Ledger, tape: Tape, sums: Sums, on: dict[str, str]) -> Outcome:
    reported = tape.periods - t.warm_up
    costs = {line: value / reported for line, value in ledger.full(sums.lines, tape.batch).items()}
    total = ledger.cost(costs)
    return Outcome(
        cost_per_period=total,
        episode_net_cost_per_period=(sums.before + ledger.net_cost(costs) * reported) / tape.periods,
        costs={line: costs[line] for line in (*COST_LINES, REVENUE) if line in costs},
        profit_per_period=costs[REVENUE] - total if t.has_prices else None,
        periods=reported,
        warm_up=t.warm_up,
        worlds=tuple(tape.worlds),
        trace=sums.trace,
        _kpis=sums.kpis,
        simulated_on=on,
    )


__all__ = ["Arrivals", "Decision", "Outcome", "backend_of", "periods", "simulate"]
