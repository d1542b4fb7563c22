"""Periods of a scenario under ``lax.scan``: the project's own dynamics, traced once and run for all periods of a batch of worlds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from echelongym.envs.core.backend import Array, JaxOps
from echelongym.envs.core.errors import InputError, naming_extras
from echelongym.envs.dynamics import Arrivals, Dynamics, Flows, State
from echelongym.envs.dynamics.rounding import counting
from echelongym.envs.interface.observation import Policy
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import World
from echelongym.envs.worlds.tape import Tape

# What a period is looked at for: (kept so far, period, flows, closing state) to (kept, what is stacked over periods).
Look = Callable[[Any, Array, Flows, State], tuple[Any, Any]]


@contextmanager
def whole_numbers() -> Iterator[None]:
    """Context in which JAX has 64-bit integers and both floating types, whatever its global flag says."""
    with naming_extras():
        import jax
    with jax.enable_x64(True):
        yield


class Scan:
    """Periods of one scenario as a function that JAX can trace, differentiate and compile.

    Period 0 is like every other here: nothing arrives in it. So one period is traced, however many there are.

    Parameters
    ----------
    scenario
        Any; differentiable where its units are continuous.
    worlds, periods
        Of the tapes that will be run.
    ops
        Backend, in single or double precision.
    vary_lead_times
        See :class:`Dynamics`.
    """

    def __init__(
        self, scenario: Scenario, worlds: int, periods: int, ops: JaxOps, vary_lead_times: bool = False
    ) -> None:
        self.scenario, self.worlds, self.periods = scenario, worlds, periods
        self.ops = counting(scenario.tables, ops)
        self.dynamics = Dynamics(scenario.tables, self.ops, vary_lead_times)
        # Only with history does a policy see what was sold.
        self.sees_sales = bool(scenario.tables.censored and scenario.tables.H)

    def arrays(self, tape: Tape) -> dict[str, Any]:
        """The arrays of a tape as the traced function takes them; what is absent stays absent."""
        t, ops, core = self.scenario.tables, self.ops, tape.core
        floats = ("node_availability", "lane_availability", "lane_yield", "forecast", "features")
        types = {name: ops.float for name in floats} | {name: ops.int for name in ("lead_time", "split", "thin")}
        types["demand"] = ops.int if t.integer else ops.float
        given = {name: getattr(core, name) for name in types}
        return {name: np.asarray(value, types[name]) for name, value in given.items() if value is not None}

    def opening(self) -> State:
        """The state at the start of period 0, as the traced function takes it."""
        return self.dynamics.initial(self.worlds)

    def run(self, policy: Policy, arrays: dict[str, Any], opening: State, look: Look, kept: Any) -> tuple[Any, Any]:
        """Run all periods; to be called within a traced function.

        Parameters
        ----------
        policy
            Without memory of its own, and without branches on what it observes.
        arrays, opening
            See :meth:`arrays` and :meth:`opening`.
        look
            Called with what is kept so far, the period, its flows and the closing state.
        kept
            What ``look`` is given first.

        Returns
        -------
        What was kept last, and what ``look`` gave in every period, period first.
        """
        import jax
        from jax import lax, numpy as jnp

        t, ops, dynamics = self.scenario.tables, self.ops, self.dynamics
        absent = {"node_availability", "lane_availability", "lane_yield", "forecast", "features", "lead_time"}
        core = SimpleNamespace(**dict.fromkeys({*absent, "split", "thin"}), **{})
        for name, value in arrays.items():
            setattr(core, name, ops.box(value))
        tape: Any = SimpleNamespace(core=core, batch=self.worlds, periods=self.periods)
        world = World(t, tape, ops)

        def period(carried: Any, now: Array) -> tuple[Any, Any]:
            state, arrivals, sold, kept = carried
            world.sold = list(sold)
            observation = world.observe(state, dynamics.in_transit(state), ops.box(now))
            decision = policy(observation)
            reserve = None if decision.reserve is None else ops.moveaxis(decision.reserve, 0, -1)
            requests = ops.moveaxis(decision.requests, 0, -1)
            closing, flows = dynamics.advance(state, world.exogenous(ops.box(now)), requests, reserve, arrivals)
            if self.sees_sales:
                world.remember(flows)
            kept, found = look(kept, ops.box(now), flows, closing)
            following = dynamics.receive(closing, world.exogenous(ops.box(jnp.minimum(now + 1, self.periods - 1))))
            return (*following, tuple(world.sold), kept), found

        none = ops.zeros((t.L, t.P, self.worlds), opening.on_hand.dtype)
        lost = ops.zeros((t.N, t.P, self.worlds), opening.on_hand.dtype)
        arrivals = Arrivals(none, lost if dynamics.mortal or core.lane_yield is not None else None)
        sold = tuple(world.demand[: t.H]) if self.sees_sales else ()
        carried, found = lax.scan(jax.checkpoint(period), (opening, arrivals, sold, kept), jnp.arange(self.periods))
        return carried[3], found


def check_traceable(policy: Any) -> None:
    """Refuse a policy with memory.

    Raises
    ------
    InputError
        If it has any.
    """
    for name in ("start", "foresee"):
        if callable(getattr(policy, name, None)):
            raise InputError(f"policy {getattr(policy, 'name', policy)}: has {name}(): expected one without memory under JAX")
