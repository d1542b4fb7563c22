"""Periods of a scenario under ``lax.scan``: the dynamics are traced for one period, and run for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from ..core.backend import Array
from ..core.devices import chosen_device
from ..core.jax_backend import JaxOps
from ..core.named_tuples import mapped
from ..dynamics import Arrivals, Dynamics, Exogenous, Flows, State, demand_seen
from ..dynamics.playback import Playback
from ..dynamics.rounding import counting
from ..interface.observation import Decision, Observation, Observer, viewed
from ..scenario.scenario import Scenario
from ..worlds.events import disturbed
from ..worlds.tape import Tape
from .reverse import loop

# What a period is looked at for: (kept so far, period, flows, closing state) to (kept, what is stacked over periods).
Look = Callable[[Any, Array, Flows, State], tuple[Any, Any]]
# What decides: (observation, memory) to (decision, memory); of whoever remembers nothing, None both times.
Decide = Callable[[Observation, Any], tuple[Decision, Any]]


@contextmanager
def whole_numbers() -> Iterator[None]:
    """Context in which JAX has 64-bit integers and both floating types, whatever its global flag says.

    It computes on the device that :func:`echelongym.envs.core.devices.on_device` chose, which is the CPU outside of that.
    """
    device = chosen_device()
    import jax

    # A GPU would multiply matrices of single precision with three digits.
    exact = nullcontext() if device.platform == "cpu" else jax.default_matmul_precision("highest")
    with jax.enable_x64(True), jax.default_device(device), exact:
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

    def arrays(self, tape: Tape, alike: bool = False) -> Exogenous:
        """The exogenous data of a tape as the traced function takes them.

        ``alike``: with what is neutral in these worlds but not in others, so that one program serves all tapes.
        """
        always = {name: len(hit) for name, hit in disturbed(self.scenario).items()} if alike else {}
        data = Playback(self.scenario.tables, self.ops, tape.exogenous, always=always).data
        return mapped(lambda one: self.ops.asarray(one) if isinstance(one, np.ndarray) else one, data)

    def opening(self) -> State:
        """The state at the start of period 0, as the traced function takes it."""
        return self.dynamics.initial(self.worlds)

    def run(
        self, decide: Decide, arrays: Exogenous, opening: State, look: Look, kept: Any, memory: Any = None
    ) -> tuple[Any, Any]:
        """Run all periods; to be called within a traced function.

        Parameters
        ----------
        decide
            What decides, without branches on what it observes.
        arrays, opening
            See :meth:`arrays` and :meth:`opening`.
        look
            Called with what is kept so far, the period, its flows and the closing state.
        kept
            What ``look`` is given first.
        memory
            What ``decide`` is given in the first period: arrays, or a nest of them.

        Returns
        -------
        What was kept last, and what ``look`` gave in every period, period first.
        """
        from jax import lax
        from jax import numpy as jnp

        period = self._period(arrays, look)
        carried, found = lax.scan(
            lambda carried, number: period(decide, carried, number),
            self._first(arrays, opening, kept, memory),
            jnp.arange(self.periods),
        )
        return carried[3], found

    def kept(
        self,
        decide_of: Callable[[Any], Decide],
        weights: Any,
        arrays: Exogenous,
        opening: State,
        look: Look,
        kept: Any,
        memory: Any = None,
    ) -> Any:
        """What was kept last, as of :meth:`run`, differentiable in the weights of a policy.

        Parameters
        ----------
        decide_of
            From weights to what decides.
        weights
            Arrays of real numbers, or a nest of them.
        memory
            That it is given in the first period: arrays, or a nest of them.
        """
        period = self._period(arrays, look)

        def step(weights: Any, carried: Any, number: Any) -> Any:
            return period(decide_of(weights), carried, number)[0]

        return loop(step, weights, self._first(arrays, opening, kept, memory), self.periods)[3]

    def _first(self, arrays: Exogenous, opening: State, kept: Any, memory: Any) -> Any:
        """What is carried into period 0."""
        t, ops = self.scenario.tables, self.ops
        dtype = opening.on_hand.dtype
        lost = ops.zeros((t.N, t.P, self.worlds), dtype)
        wasted = self.dynamics.mortal or arrays.lane_yield is not None
        arrivals = Arrivals(ops.zeros((t.L, t.P, self.worlds), dtype), lost if wasted else None)
        # Newest first, where lost demand is not observed.
        sold = tuple(arrays.demand[h] for h in reversed(range(t.H))) if t.censored else ()
        return opening, arrivals, sold, kept, memory

    def _period(self, arrays: Exogenous, look: Look) -> Callable[[Decide, Any, Any], tuple[Any, Any]]:
        """One period: from what decides, what is carried and its number to what is carried next, and what ``look`` gave."""
        t, ops, dynamics = self.scenario.tables, self.ops, self.dynamics
        worlds = Playback(t, ops, arrays)
        observer = Observer(t, ops, self.worlds)
        past = ops.flip(arrays.demand, 0)

        def history(now: Array, sold: tuple[Array, ...]) -> Array:
            newest_first = ops.stack(list(sold), 0) if sold else ops.window(past, self.periods - now, t.H)
            return ops.moveaxis(newest_first, 0, 2)

        def period(decide: Decide, carried: Any, number: Any) -> tuple[Any, Any]:
            state, arrivals, sold, kept, memory = carried
            now = ops.box(number)
            exogenous = worlds.exogenous(now)
            in_transit = dynamics.in_transit(state)
            observation = observer(viewed(t, state, in_transit, exogenous, history(now, sold), now))
            decision, memory = decide(observation, memory)
            reserve = None if decision.reserve is None else ops.moveaxis(decision.reserve, 0, -1)
            requests = ops.moveaxis(decision.requests, 0, -1)
            closing, flows = dynamics.advance(state, exogenous, requests, reserve, arrivals)
            kept, found = look(kept, now, flows, closing)
            sold = (demand_seen(t, flows), *sold)[: t.H] if sold else ()
            # After the last period nothing is looked at any more.
            state, arrivals = dynamics.receive(closing, worlds.exogenous(now + 1))
            return (state, arrivals, sold, kept, memory), found

        return period
