"""Network made ready to be stepped: encoder, decoder and step function of an env, and the calendar of its episodes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..accounts.ledger import Ledger
from ..core.backend import NumpyOps
from ..core.errors import InputError, expected
from ..core.memory_limits import require_memory
from ..core.named_tuples import mapped
from ..core.threads import one_thread
from ..core.typing import Ints
from ..dynamics import Arrivals, Dynamics, Exogenous, State
from ..dynamics.rounding import counting
from ..interface.feasibility import check_feasible
from ..interface.observation import Observation, Observer, viewed
from ..interface.observation_encoder import ActionDecoder, ObservationEncoder
from ..processes.series import Purpose
from ..scenario.scenario import Scenario
from ..worlds.events import disturbed
from ..worlds.memory import state_bytes, tape_bytes
from .settings import EnvSettings
from .step import StepPeriod, Stepping


class SteppedNetwork:
    """Network made ready to be stepped in ``size`` worlds at a time: what single and vector environments share.

    Parameters
    ----------
    scenario, settings
        What is played, and how.
    size
        Number of worlds B that are stepped together.

    Raises
    ------
    InputError
        On a scenario that cannot be played, or more worlds than memory holds.
    """

    def __init__(self, scenario: Scenario | str | Path, size: int, settings: EnvSettings) -> None:
        one_thread()
        self.scenario = settings.network(scenario)
        check_feasible(self.scenario)
        t = self.tables = self.scenario.tables
        self.size, self.purpose = size, cast(Purpose, settings.purpose)
        self.periods = t.horizon if settings.periods is None else settings.periods
        self.encoder = ObservationEncoder(self.scenario)
        self.decoder = ActionDecoder(self.scenario, settings.action)
        require_memory(self._bytes(), f"num_envs = {size}, periods = {self.periods}", "fewer environments or periods")
        ops = self.ops = counting(t, NumpyOps(settings.dtype))
        counted = settings.info == "kpis" or bool(t.in_transit_cost.any())
        self.dynamics = Dynamics(t, ops, count_under_way=counted)
        ledger = Ledger(t, ops)
        ledger.reward({"holding": np.zeros(1)})  # refuses a scenario without a scale
        decoding, watching = self.decoder.on(ops, usable=True), self.encoder.decoder.on(ops, usable=True)
        self.stepping = Stepping(t, self.dynamics, ledger, decoding, watching, self.encoder, settings.info != "none")
        self.ages = np.arange(self.periods + 2)
        self.waves = self.encoder.season(self.ages)
        self.ends = (self.ages >= self.periods).astype(ops.float)
        # What is neutral in some worlds but not in others is always there, so that every step is alike.
        self.always = {name: len(hit) for name, hit in disturbed(self.scenario).items()}
        self.seed: int | None = None

    def _bytes(self) -> int:
        """What the worlds of all slots take, with their states, observations and bounds of spaces."""
        each = 8 * 2 * self.tables.C * self.tables.P * self.tables.H + 4 * 4 * (self.encoder.size + self.decoder.size)
        return (
            2 * state_bytes(self.tables, self.size)
            + self.size * each
            + tape_bytes(self.scenario, self.size, self.periods + 1)
        )

    @property
    def calendar(self) -> StepPeriod:
        """What :meth:`step_period` says of every age (periods, ...), contiguous."""
        return StepPeriod(self.ages, np.ascontiguousarray(self.waves.T), self.ends)

    def step_period(self, age: int | Ints) -> StepPeriod:
        """The step that brings worlds to an age (B,), or all of them to one."""
        shown = slice(age, age + 1) if isinstance(age, int) else age
        return StepPeriod(self.ages[shown], self.waves[:, shown], self.ends[shown])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rows of a step's figures."""
        return self.stepping.names

    def no_arrivals(self, initial: State, exogenous: Exogenous) -> Arrivals:
        """Arrivals of a first period: zeros in place of None, so that its step is like every other."""
        t = self.tables
        requests = self.dynamics.units.amount(np.zeros((t.L, t.P, initial.unfilled.shape[-1])))
        moved, _ = self.dynamics.advance(initial, exogenous, requests)
        _, arrivals = self.dynamics.receive(moved, exogenous)
        found: Arrivals = mapped(lambda array: None if array is None else np.zeros_like(array), arrivals)
        return found

    def observed(self, state: State, now: Exogenous, history: Any, age: int | Ints) -> Observation:
        """The state of now as named arrays of their own, batch first."""

        def copied(array: Any) -> Any:
            # As the next step writes into the same memory.
            return None if array is None else np.array(array)

        mine, in_transit = mapped(copied, state), copied(self.dynamics.in_transit(state))
        view = viewed(self.tables, mine, in_transit, mapped(copied, now), copied(history), age)
        return Observer(self.tables, self.ops, self.size)(view)

    def checked(self, actions: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """Actions as an array of the shape given, if they are finite numbers.

        Raises
        ------
        InputError
            Naming the action that is none.
        """
        array = actions if type(actions) is np.ndarray else _array(actions)
        if array.shape != shape or array.dtype.kind not in "fiu":
            names = self.decoder.names
            raise InputError(
                f"action has shape {array.shape} and type {array.dtype}: expected {shape} real numbers, "
                f"of {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
            )
        flat = array if array.ndim == 1 else array.reshape(-1)
        # Sums of squares of finite numbers are finite (or overflow, then the slow way finds nothing).
        if not math.isfinite(flat.dot(flat)):
            rows = array.reshape((self.size, -1))
            for i, k in np.argwhere(~np.isfinite(rows)):
                name = self.decoder.names[k]
                field = f"action[{name!r}]" if array.ndim == 1 else f"action[{i}, {name!r}]"
                raise expected(field, float(rows[i, k]), "a finite number in [-1, 1]")
        return array


def _array(actions: Any) -> NDArray[Any]:
    try:
        return np.asarray(actions)
    except Exception:  # whatever NumPy, or the value's own conversion, says of it
        raise expected("action", actions, "an array of real numbers") from None
