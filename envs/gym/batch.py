"""Batch of worlds of one scenario, stepped together: what both Gymnasium interfaces are adapters of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..accounts.ledger import Ledger
from ..core.backend import NumpyOps
from ..core.errors import InputError, expected, unknown
from ..core.memory_limits import require_memory
from ..core.named_tuples import mapped
from ..core.threads import one_thread
from ..core.typing import Bools, Ints
from ..dynamics import Dynamics
from ..dynamics.playback import Playback
from ..dynamics.rounding import counting
from ..interface.feasibility import check_feasible
from ..interface.observation import Decision, Observation, Observer, viewed
from ..interface.observation_encoder import ActionDecoder, ObservationEncoder
from ..processes.series import APART, PURPOSES, Purpose
from ..scenario.scenario import Scenario
from ..worlds.events import disturbed
from ..worlds.memory import tape_bytes
from .infos import LEVELS, Reporter
from .recorded_step import Replay
from .step import Action, Before, Carried, StepPeriod, Stepping
from .world_queue import WorldQueue

OBSERVATIONS = ("flat",)
DTYPES = ("float64", "float32")


class NetworkBatch:
    """Batch of B slots, each playing world after world of one series.

    Parameters
    ----------
    scenario, size
        What is played, in how many slots B.
    action, observation, periods, purpose, dtype, info, overrides
        As of :class:`echelongym.envs.NetworkVectorEnv`.

    Attributes
    ----------
    age : (B,) periods since each slot's start where slots are out of step, else one number.

    Raises
    ------
    InputError
        On an argument that is not usable.
    """

    def __init__(
        self,
        scenario: Scenario | str | Path,
        size: int,
        *,
        action: str,
        observation: str,
        periods: int | None,
        purpose: Purpose | str,
        dtype: str,
        info: str,
        overrides: dict[str, Any] | None,
    ) -> None:
        one_thread()
        self.scenario = _scenario(scenario, overrides)
        check_feasible(self.scenario)
        t = self.tables = self.scenario.tables
        self.size = size
        for name, value, known in (
            ("observation", observation, OBSERVATIONS),
            ("purpose", purpose, (*PURPOSES, *APART)),
            ("dtype", dtype, DTYPES),
            ("info", info, LEVELS),
        ):
            if not isinstance(value, str) or value not in known:
                raise unknown(name, value, known)
        self.periods = t.horizon if periods is None else whole_number("periods", periods)
        self.encoder = ObservationEncoder(self.scenario)
        self.decoder = ActionDecoder(self.scenario, action)
        require_memory(self._bytes(), f"num_envs = {size}, periods = {self.periods}", "fewer environments or periods")
        ops = self.ops = counting(t, NumpyOps(dtype))
        counted = info == "kpis" or bool(t.in_transit_cost.any())
        self._dynamics = Dynamics(t, ops, count_under_way=counted)
        ledger = Ledger(t, ops)
        ledger.reward({"holding": np.zeros(1)})  # refuses a scenario without a scale
        decoding, watching = self.decoder.on(ops, usable=True), self.encoder.decoder.on(ops, usable=True)
        self._step = Stepping(t, self._dynamics, ledger, decoding, watching, self.encoder, info != "none")
        self._replay = Replay(self._step, ops)
        self.reporter = Reporter(self.scenario, size, info, self.periods)
        # One more than an episode lasts: the last observation shows the period that would follow.
        self._worlds = WorldQueue(self.scenario, cast(Purpose, purpose), self.periods + 1, size)
        self._stops = {name: len(hit) for name, hit in disturbed(self.scenario).items()}
        self._playback: Playback | None = None
        self._row = 0  # steps since all slots started together
        self._initial = self._dynamics.initial(size)
        self._ages = np.arange(self.periods + 2)
        self._waves = self.encoder.season(self._ages)
        self._ends = (self._ages >= self.periods).astype(ops.float)
        self._carried: Carried | None = None
        self.seed: int | None = None
        self.episode = np.zeros(size, dtype=np.int64)
        self.age: int | Ints = 0

    def _bytes(self) -> int:
        """What the worlds of all slots take, with their states, observations and bounds of spaces."""
        t = self.tables
        state = t.N * t.P * t.A + t.L * t.P * t.K * t.A + t.C * t.P * (t.W + t.H)
        each = 8 * 2 * state + 4 * 4 * (self.encoder.size + self.decoder.size)
        return self.size * each + tape_bytes(self.scenario, self.size, self.periods + 1)

    @property
    def started(self) -> bool:
        """Whether there are worlds to step."""
        return self._carried is not None

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
        carried = self._carried
        if chosen is None or carried is None:
            # What is neutral in these worlds but not in others is always there, so that every step is alike.
            data = self._worlds.take(seed, numbers)
            playback = self._playback = Playback(self.tables, self.ops, data, always=self._stops)
            self._row = 0
            self._carried = Carried(self._initial, None, playback.history(0), None)
            self.age = 0
        else:
            playback = self._played
            playback.restart(chosen, self._worlds.take(seed, numbers[chosen]), self._row)

            def mixed(array: Any, first: Any = 0) -> Any:
                return None if array is None else np.where(chosen, first, array)

            self._carried = carried._replace(
                state=mapped(mixed, carried.state, self._initial),
                arrivals=None if carried.arrivals is None else mapped(mixed, carried.arrivals),
                history=mixed(carried.history, playback.history(self._row)),
            )
            self.age = np.where(chosen, 0, self.age)
        self._exogenous = playback.exogenous(self._row)
        self.reporter.restart(chosen)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rows of the figures that :meth:`advance` returns."""
        return self._step.names

    def advance(self, actions: Any, decision: Decision | None = None) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """One period, of checked actions (B, n) or a checked decision: flat observations (n, B), figures (names, B)."""
        assert self._carried is not None
        now = self._exogenous
        self._row += 1
        self._exogenous = then = self._played.exogenous(self._row)
        self.age = age = self.age + 1
        if decision is None:
            action = Action(actions.T, None, None)
        else:
            action = Action(None, decision.requests, decision.reserve)
        before = Before(self._carried, action, now, then, self._step_period())
        after = self._replay(before)
        self._carried = after.carried
        self.reporter.count(after.flows, age)
        return after.observation, after.figures

    def observe(self) -> NDArray[np.float32]:
        """Flat observations (n, B) after a start."""
        carried = self._carried
        assert carried is not None
        positions, observation = self._step.look(carried.state, self._exogenous, carried.history, self._step_period())
        self._carried = carried._replace(positions=positions)
        return observation

    @property
    def _played(self) -> Playback:
        assert self._playback is not None
        return self._playback

    def _step_period(self) -> StepPeriod:
        age = self.age
        shown = slice(age, age + 1) if isinstance(age, int) else age
        return StepPeriod(self._ages[shown], self._waves[:, shown], self._ends[shown])

    @property
    def observation(self) -> Observation:
        """The state of now as named arrays, batch first.

        Raises
        ------
        InputError
            Before the first reset.
        """
        if self._carried is None:
            raise expected("state", None, "a reset before the first observation")
        carried = self._carried

        def copied(array: Any) -> Any:
            # As the next step writes into the same memory.
            return None if array is None else np.array(array)

        state, now = mapped(copied, carried.state), mapped(copied, self._exogenous)
        in_transit, history = copied(self._dynamics.in_transit(carried.state)), copied(carried.history)
        view = viewed(self.tables, state, in_transit, now, history, self.age)
        return Observer(self.tables, self.ops, self.size)(view)

    @staticmethod
    def _array(actions: Any) -> NDArray[Any]:
        try:
            return np.asarray(actions)
        except Exception:  # whatever NumPy, or the value's own conversion, says of it
            raise expected("action", actions, "an array of real numbers") from None

    def checked(self, actions: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """Actions (B, n), given in a shape that says the same, if they are finite numbers.

        Raises
        ------
        InputError
            Naming the action that is none.
        """
        array = actions if type(actions) is np.ndarray else self._array(actions)
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


def _scenario(scenario: Any, overrides: dict[str, Any] | None) -> Scenario:
    if isinstance(scenario, Scenario):
        return scenario if overrides is None else scenario.with_overrides(overrides)
    if isinstance(scenario, str | Path):
        return Scenario.load(scenario, overrides)
    raise expected("scenario", scenario, "a Scenario, the name of one, or the path of a YAML file")


def whole_number(field: str, value: Any, least: int = 1) -> int:
    """A whole number from outside, checked.

    Raises
    ------
    InputError
        If it is none, or below ``least``.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least
    if not whole:
        raise expected(field, value, f"a whole number >= {least}")
    if value >= 1 << 63:
        raise expected(field, value, f"a whole number >= {least} and below 2^63")
    return int(value)
