"""Worlds of one scenario, stepped together: what both Gymnasium interfaces are adapters of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import NumpyOps
from .dynamics import Arrivals, Dynamics, Flows, State
from .encoding import ActionDecoder, ObservationEncoder, View
from .errors import InputError, expected, unknown
from .infos import LEVELS, Reporter
from .ledger import Ledger
from .observation import Decision, Observation
from .processes.series import PURPOSES
from .scenario import Scenario
from .slots import Slots, Worlds

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

OBSERVATIONS = ("flat",)
DTYPES = ("float64", "float32")


class NetworkBatch:
    """B slots, each playing world after world of one series.

    Parameters
    ----------
    scenario, size
        What is played, in how many slots B.
    action, observation, periods, purpose, dtype, info, overrides
        As of :class:`echelongym.envs.NetworkVectorEnv`.

    Attributes
    ----------
    age : (B,) periods since each slot's start where slots are out of step, else one number.
    """

    def __init__(
        self,
        scenario: Scenario | str | Path,
        size: int,
        *,
        action: str,
        observation: str,
        periods: int | None,
        purpose: str,
        dtype: str,
        info: str,
        overrides: dict[str, Any] | None,
    ) -> None:
        self.scenario = _scenario(scenario, overrides)
        t = self.tables = self.scenario.tables
        self.size = size
        for name, value, known in (
            ("observation", observation, OBSERVATIONS),
            ("purpose", purpose, PURPOSES),
            ("dtype", dtype, DTYPES),
            ("info", info, LEVELS),
        ):
            if value not in known:
                raise unknown(name, value, known)
        self.periods = t.horizon if periods is None else whole_number("periods", periods)
        self.encoder = ObservationEncoder(self.scenario)
        self.decoder = ActionDecoder(self.scenario, action)
        ops = self.ops = NumpyOps(dtype)
        self._decoding = self.decoder.on(ops, usable=True)
        self._watching = self.encoder.decoder.on(ops, usable=True)
        counted = info == "kpis" or bool(t.in_transit_cost.any())
        self._dynamics = Dynamics(t, ops, count_under_way=counted)
        self._ledger = Ledger(t, ops)
        self._ledger.reward({"holding": np.zeros(1)})  # refuses a scenario without a scale
        self.reporter = Reporter(self.scenario, self._ledger, size, info, self.periods)
        # One more than an episode lasts: the last observation shows the period that would follow.
        self._worlds = Worlds(self.scenario, purpose, self.periods + 1, size)
        self._slots = Slots(self.scenario, ops, size)
        self._initial = self._dynamics.initial(size)
        self._valued = bool(t.terminal_value.any())
        self._state: State | None = None
        self.seed: int | None = None
        self.episode = np.zeros(size, dtype=np.int64)
        self.age: int | Ints = 0

    @property
    def started(self) -> bool:
        """Whether there are worlds to step."""
        return self._state is not None

    @property
    def worlds(self) -> Ints:
        """(B,) index of the world that each slot plays."""
        return self.episode * self.size + np.arange(self.size)

    def ended(self) -> bool | Bools:
        """Whether slots are at the end of their episodes: (B,), or one answer where they are in step."""
        ended: bool | Bools = self.age >= self.periods
        return ended

    def start(self, chosen: Bools | None = None) -> None:
        """Put the slots' present worlds at their first period: all slots, or the chosen ones."""
        numbers, seed = self.worlds, self.seed
        assert seed is not None
        if chosen is None or self._state is None:
            self._slots.load(self._worlds.take(seed, numbers))
            self._state, self._arrivals = self._initial, None
            self.age = 0
        else:
            self._slots.load(self._worlds.take(seed, numbers[chosen]), chosen)
            self._state = State(*(_mixed(array, chosen, first) for array, first in zip(self._state, self._initial, strict=True)))
            if self._arrivals is not None:
                self._arrivals = Arrivals(*(_mixed(array, chosen, 0) for array in self._arrivals))
            self.age = np.where(chosen, 0, self.age)
        self._exogenous = self._slots.exogenous()
        self.reporter.restart(chosen)

    def advance(self, actions: Any, decision: Decision | None = None) -> tuple[Flows, dict[str, Any]]:
        """One period, of checked actions (B, n) or a checked decision; flows and cost lines."""
        state, slots = self._state, self._slots
        assert state is not None
        reserve = None
        if decision is None:
            positions = self._positions if self._decoding.kind == "order_up_to" else None
            turned = np.ascontiguousarray(actions.T, dtype=self.ops.float)
            requests = self._decoding(turned, state.on_hand, self._owned, positions)
        else:
            requests, reserve = decision.requests, decision.reserve
        state, flows = self._dynamics.advance(state, self._exogenous, requests, reserve, self._arrivals)
        self.age = self.age + 1
        lines = self._ledger.period(flows)
        if self._valued:
            lines = self._with_terminal(lines, flows, state)
        lost = flows.lost_new
        censored = self.tables.censored and lost is not None
        slots.advance(flows.demand - lost if censored else None)
        self._exogenous = slots.exogenous()
        self._state, self._arrivals = self._dynamics.receive(state, self._exogenous)
        return flows, lines

    def _with_terminal(self, lines: dict[str, Any], flows: Flows, state: State) -> dict[str, Any]:
        """The value of stock left counts in the worlds that end now."""
        ends = self.ended()
        if np.any(ends):
            lines = self._ledger.period(flows, last=True, closing=state)
            lines["terminal"] = np.where(ends, lines["terminal"], 0.0)
        return lines

    def observe(self) -> NDArray[np.float32]:
        """Flat observations (n, B), and what the next decision needs of the same state."""
        state, exogenous, slots = self._state, self._exogenous, self._slots
        assert state is not None
        self._view = View(
            state.on_hand,
            state.rows,
            state.backlog,
            state.unfilled,
            exogenous.node_availability,
            exogenous.lane_availability,
            slots.history(),
            slots.forecast(),
            self.age,
            exogenous.lead_time if self.tables.quoted else None,
        )
        self._owned = self._watching.stock(state.on_hand, state.rows, state.backlog)
        self._positions = self._watching.positions(self._owned)
        return self.encoder.flat(self._view, self._positions)

    @property
    def observation(self) -> Observation:
        """The state of now as named arrays, batch first."""
        if self._state is None:
            raise expected("state", None, "a reset before the first observation")
        view, t, size = self._view, self.tables, self.size

        def turned(array: Any, absent: Any = None) -> Any:
            return absent if array is None else np.moveaxis(array, -1, 0)

        return Observation(
            on_hand=turned(view.on_hand),
            in_transit=turned(self._dynamics.in_transit(self._state)),
            backlog=turned(view.backlog),
            unfilled=turned(view.unfilled),
            node_availability=turned(view.node_availability, np.ones((size, t.N), self.ops.float)),
            lane_availability=turned(view.lane_availability, np.ones((size, t.L), self.ops.float)),
            demand_history=turned(view.demand_history),
            forecast=turned(view.forecast, np.zeros((size, t.C, t.P, t.F), self.ops.float)),
            features=np.zeros((size, 0), self.ops.float),
            period=np.zeros(size, dtype=np.int64) + self.age,
            lead_time=turned(view.lead_time, np.tile(t.nominal_lead_time, (size, 1))) if t.quoted else None,
        )

    def checked(self, actions: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """Actions (B, n), given in a shape that says the same, if they are finite numbers.

        Raises
        ------
        InputError
            Naming the action that is none.
        """
        array = np.asarray(actions)
        if array.shape != shape or array.dtype.kind not in "fiu":
            names = self.decoder.names
            raise InputError(
                f"action has shape {array.shape} and type {array.dtype}: expected {shape} real numbers, "
                f"of {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
            )
        flat = array.reshape(-1)
        # Sums of squares of finite numbers are finite (or overflow, then the slow way finds nothing).
        if not math.isfinite(flat.dot(flat)):
            rows = array.reshape((self.size, -1))
            for i, k in np.argwhere(~np.isfinite(rows)):
                name = self.decoder.names[k]
                field = f"action[{name!r}]" if array.ndim == 1 else f"action[{i}, {name!r}]"
                raise expected(field, float(rows[i, k]), "a finite number in [-1, 1]")
        return array.reshape((self.size, -1))


def _mixed(array: Any, chosen: Bools, first: Any) -> Any:
    """The array with the chosen slots (its last axis) as ``first`` has them."""
    return None if array is None else np.where(chosen, first, array)


def _scenario(scenario: Any, overrides: dict[str, Any] | None) -> Scenario:
    if isinstance(scenario, Scenario):
        return scenario.with_overrides(overrides) if overrides else scenario
    if isinstance(scenario, str | Path):
        return Scenario.load(scenario, overrides)
    raise expected("scenario", scenario, "a Scenario, the name of one, or the path of a YAML file")


def whole_number(field: str, value: Any, least: int = 1) -> int:
    """A whole number from outside, checked."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least
    if not whole:
        raise expected(field, value, f"a whole number >= {least}")
    return int(value)
