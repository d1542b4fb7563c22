"""Many worlds of one scenario stepped together: the one implementation behind both Gymnasium interfaces."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from .backend import NumpyOps
from .dynamics import Arrivals, Dynamics, Flows, State
from .encoding import BOUND, ActionDecoder, ObservationEncoder, View
from .errors import InputError, expected, unknown
from .infos import LEVELS, Reporter
from .ledger import Ledger
from .observation import Decision, Observation, checked_requests
from .processes.series import PURPOSES
from .scenario import Scenario
from .slots import Slots, Worlds

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

OBSERVATIONS = ("flat",)
DTYPES = ("float64", "float32")


class NetworkVectorEnv(VectorEnv[Any, Any, Any]):
    """A batch of worlds of one distribution network, stepped together.

    **Observed** is one flat vector a world, ``Box(-50, 50, (n,), float32)``, in static units; which entry is what say
    ``encoder.slices`` and ``encoder.names`` (:class:`echelongym.envs.encoding.ObservationEncoder`). The named arrays
    behind it are in :attr:`observation`.

    **Acted** is one number in [-1, 1] for each open lane and product (``decoder.names``), which the decoder turns into
    requests (:class:`echelongym.envs.encoding.ActionDecoder`). Zero is a sane policy. Beyond the bounds actions are cut.

    **Rewarded** is (revenue - costs of the period) / the scenario's ``reward_scale``.

    **Episodes** last ``periods`` steps (default: the scenario's horizon) and are truncated then; ``terminated`` is
    always False, and the last observation shows the state to continue from. All three autoreset modes of Gymnasium are
    there. *Worlds:* after ``reset(seed=s)`` slot i of a batch of B plays worlds i, i + B, i + 2 B ... of seed s; a
    ``reset()`` without a seed goes on to the next ones.

    **info**, with the masks that Gymnasium prescribes: ``costs`` (a dictionary by line) and the objectives ``cost``
    (money), ``unmet`` (units of new demand not served in their period), ``emissions`` (kg CO2e), ``waste`` (units
    disposed of), each of the period that ended; ``world`` after a reset; ``kpis`` of the episode when it ends.

    Parameters
    ----------
    scenario
        A :class:`Scenario`, the name of a shipped one, or the path of a YAML file.
    num_envs
        Number of worlds B.
    autoreset_mode
        ``AutoresetMode`` or its value: NEXT_STEP, SAME_STEP (``final_obs``, ``final_info`` in info), DISABLED
        (``reset(options={"reset_mask": ...})``).
    action
        Kind of the action decoder.
    observation
        ``flat``.
    periods
        Periods of an episode; ``max_episode_steps`` is what Gymnasium calls a smaller one.
    purpose
        Which series worlds come from: ``train``, ``tune`` or ``test``.
    dtype
        Floating type of continuous worlds, ``float64`` or ``float32`` (faster).
    info
        ``none``, ``costs`` (no key performance indicators), or ``kpis`` (everything).
    overrides
        Changes to the scenario, dotted keys allowed: ``{"lanes.hub_north_express.capacity": 40}``.
    render_mode
        None or ``rgb_array``.

    Raises
    ------
    InputError
        On an argument that is not usable, or a scenario that has no reward scale.

    Example
    -------
    >>> env = NetworkVectorEnv("two_region", num_envs=64)
    >>> observation, info = env.reset(seed=7)
    >>> for _ in range(200):
    ...     action = env.action_space.sample()
    ...     observation, reward, terminated, truncated, info = env.step(action)
    >>> env.close()
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        scenario: Scenario | str | Path,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        action: str = "order_up_to",
        observation: str = "flat",
        periods: int | None = None,
        max_episode_steps: int | None = None,
        purpose: str = "train",
        dtype: str = "float64",
        info: str = "kpis",
        overrides: dict[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.scenario = _scenario(scenario, overrides)
        t = self.tables = self.scenario.tables
        self.num_envs = _whole("num_envs", num_envs)
        self.autoreset_mode = _mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        for name, value, known in (
            ("observation", observation, OBSERVATIONS),
            ("purpose", purpose, PURPOSES),
            ("dtype", dtype, DTYPES),
            ("info", info, LEVELS),
            ("render_mode", render_mode, (None, "rgb_array")),
        ):
            if value not in known:
                raise unknown(name, value, [str(one) for one in known])
        self.render_mode = render_mode
        lengths = {"periods": periods, "max_episode_steps": max_episode_steps}
        given = [_whole(name, value) for name, value in lengths.items() if value is not None]
        self.periods = min(given, default=t.horizon)
        self.encoder = ObservationEncoder(self.scenario)
        self.decoder = ActionDecoder(self.scenario, action)
        box = spaces.Box(-BOUND, BOUND, (self.encoder.size,), np.float32)
        self.single_observation_space = box
        self.single_action_space = spaces.Box(-1.0, 1.0, (self.decoder.size,), np.float32)
        shape = (self.num_envs, self.encoder.size)
        self.observation_space = spaces.Box(-BOUND, BOUND, shape, np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (self.num_envs, self.decoder.size), np.float32)
        self._shape = (self.num_envs, self.decoder.size)
        ops = self.ops = NumpyOps(dtype)
        self._decoding = self.decoder.on(ops, usable=True)
        self._watching = self.encoder.decoder.on(ops, usable=True)
        self._dynamics = Dynamics(t, ops, count_under_way=info == "kpis" or bool(t.in_transit_cost.any()))
        self._ledger = Ledger(t, ops)
        self._ledger.reward({"holding": np.zeros(1)})  # refuses a scenario without a scale
        self._reporter = Reporter(t, self._ledger, self.num_envs, info)
        # One more than an episode lasts: the last observation shows the period that would follow.
        self._worlds = Worlds(self.scenario, purpose, self.periods + 1, self.num_envs)
        self._slots = Slots(self.scenario, ops, self.num_envs)
        self._initial = self._dynamics.initial(self.num_envs)
        self._state: State | None = None
        self._seed: int | None = None
        self._nobody = np.zeros(self.num_envs, dtype=bool)
        self._everybody = np.ones(self.num_envs, dtype=bool)

    # Gymnasium ---------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start worlds anew; see the class docstring for which.

        ``options={"reset_mask": mask}``, mask (B,) of booleans, does so in some slots only.

        Raises
        ------
        InputError
            On a seed that is no whole number >= 0, an unknown option, or a mask that does not fit.
        """
        chosen = self._reset_mask(seed, options)
        if seed is not None:
            super().reset(seed=_whole("seed", seed, 0))
            self._seed = int(seed)
            self._episode = np.zeros(self.num_envs, dtype=np.int64)
        elif self._seed is None:
            self._seed = int(self.np_random.integers(2**31))
            self._episode = np.zeros(self.num_envs, dtype=np.int64)
        elif chosen is None:
            self._episode += 1
        else:
            self._episode += chosen
        self._start(chosen)
        worlds = self._everybody if chosen is None else chosen
        return self._observe(), self._reporter.started(self._world_numbers(), worlds)

    def step(
        self, actions: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        """One period in every world.

        Raises
        ------
        InputError
            If actions have another shape or are not finite, before the first reset, or (autoreset disabled) if a
            world has ended and was not reset.
        """
        return self._step(self._checked_actions(actions), None)

    def step_decision(
        self, decision: Decision
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        """The same with a policy's decision (requests, and a reserve if wanted) in place of encoded actions."""
        checked = checked_requests(decision, self.tables, self.num_envs, self.ops)
        return self._step(None, checked)

    def _step(
        self, actions: Any, decision: Decision | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        if self._state is None:
            raise expected("state", None, "a reset before the first step")
        waiting = self._pending
        if waiting is not None:
            if self.autoreset_mode is AutoresetMode.DISABLED:
                places = np.flatnonzero(waiting)[:8].tolist()
                raise InputError(
                    f"step: worlds in slots {places} have ended: expected a reset of them first, "
                    'by reset(options={"reset_mask": ...})'
                )
            if waiting.all():
                return self._all_anew()
        flows, lines = self._advance(actions, decision)
        reward, info = self._reporter.report(flows, lines)
        if waiting is not None:
            self._episode += waiting
            self._start(waiting)
            reward = np.where(waiting, 0.0, reward)
            info = self._reporter.mixed(info, ~waiting, self._world_numbers())
        truncated = self._truncated()
        observation = self._observe()
        self._pending = truncated if self._any_ended else None
        if self._any_ended:
            info = self._reporter.ended(info, truncated)
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                final = observation
                self._episode += truncated
                self._start(None if truncated.all() else truncated)
                observation = self._observe()
                info = self._reporter.final(info, final, truncated, self._world_numbers())
                self._pending = None
        return observation, reward, self._nobody.copy(), truncated, info

    def render(self) -> tuple[Any, ...] | None:
        """One picture (height, width, 3) a world of the network and its stock, if asked for at construction."""
        if self.render_mode is None:
            return None
        from .render import draw_network

        return tuple(draw_network(self.scenario, self.observation, i) for i in range(self.num_envs))

    # What is seen ------------------------------------------------------------------------------

    @property
    def observation(self) -> Observation:
        """The state of now as named arrays, batch first: what policies see."""
        if self._state is None:
            raise expected("state", None, "a reset before the first observation")
        view, t, size = self._view, self.tables, self.num_envs

        def turned(array: Any, absent: Any) -> Any:
            return absent if array is None else np.moveaxis(array, -1, 0)

        return Observation(
            on_hand=turned(view.on_hand, None),
            in_transit=turned(self._dynamics.in_transit(self._state), None),
            backlog=turned(view.backlog, None),
            unfilled=turned(view.unfilled, None),
            node_availability=turned(view.node_availability, np.ones((size, t.N), self.ops.float)),
            lane_availability=turned(view.lane_availability, np.ones((size, t.L), self.ops.float)),
            demand_history=turned(view.demand_history, None),
            forecast=turned(view.forecast, np.zeros((size, t.C, t.P, t.F), self.ops.float)),
            features=np.zeros((size, 0), self.ops.float),
            period=view.period,
            lead_time=turned(view.lead_time, np.tile(t.nominal_lead_time, (size, 1))) if t.quoted else None,
        )

    @property
    def worlds(self) -> Ints:
        """(B,) index of the world that each slot plays, in the series of the last seed."""
        return self._world_numbers()

    # Inside ------------------------------------------------------------------------------------

    def _advance(self, actions: Any, decision: Decision | None) -> tuple[Flows, dict[str, Any]]:
        state, slots = self._state, self._slots
        assert state is not None
        reserve = None
        if decision is None:
            positions = self._positions if self._decoding.kind == "order_up_to" else None
            requests = self._decoding(actions.T, state.on_hand, self._owned, positions)
        else:
            requests, reserve = decision.requests, decision.reserve
        state, flows = self._dynamics.advance(state, self._exogenous, requests, reserve, self._arrivals)
        self._age += 1
        if self._together is not None:
            self._together += 1
        lines = self._ledger.period(flows)
        if self.tables.terminal_value.any():
            lines = self._with_terminal(lines, flows, state)
        lost = flows.lost_new
        censored = self.tables.censored and lost is not None
        slots.advance(flows.demand - lost if censored else None)
        self._exogenous = slots.exogenous()
        self._state, self._arrivals = self._dynamics.receive(state, self._exogenous)
        return flows, lines

    def _with_terminal(self, lines: dict[str, Any], flows: Flows, state: State) -> dict[str, Any]:
        """The value of stock left counts in the worlds that end now."""
        ends = self._age >= self.periods
        if ends.any():
            lines = self._ledger.period(flows, last=True, closing=state)
            lines["terminal"] = np.where(ends, lines["terminal"], 0.0)
        return lines

    def _start(self, chosen: Bools | None) -> None:
        """Put the slots' present worlds at their first period: all slots, or the chosen ones."""
        numbers = self._world_numbers()
        seed = self._seed
        assert seed is not None
        if chosen is None or self._state is None:
            self._slots.load(self._worlds.take(seed, numbers))
            self._state, self._arrivals = self._initial, None
            self._age = np.zeros(self.num_envs, dtype=np.int64)
            self._together: int | None = 0
            self._pending: Bools | None = None
        else:
            self._slots.load(self._worlds.take(seed, numbers[chosen]), chosen)
            self._state = _merged(self._state, self._initial, chosen)
            if self._arrivals is not None:
                self._arrivals = Arrivals(*(_cleared(array, chosen) for array in self._arrivals))
            self._age = np.where(chosen, 0, self._age)
            self._together = None
            if self._pending is not None:
                left = self._pending & ~chosen
                self._pending = left if left.any() else None
        self._exogenous = self._slots.exogenous()
        self._reporter.restart(chosen)

    def _all_anew(self) -> Any:
        self._episode += 1
        self._start(None)
        info = self._reporter.started(self._world_numbers(), self._everybody)
        zero = np.zeros(self.num_envs)
        return self._observe(), zero, self._nobody.copy(), self._nobody.copy(), info

    def _observe(self) -> NDArray[np.float32]:
        """Flat observations (B, n), and what the next decision needs of the same state."""
        state, exogenous = self._state, self._exogenous
        assert state is not None
        self._view = View(
            state.on_hand,
            state.rows,
            state.backlog,
            state.unfilled,
            exogenous.node_availability,
            exogenous.lane_availability,
            self._slots.history(),
            self._slots.forecast(),
            self._age.copy(),
            exogenous.lead_time if self.tables.quoted else None,
        )
        self._owned = self._watching.stock(state.on_hand, state.rows, state.backlog)
        self._positions = self._watching.positions(self._owned)
        return self.encoder.flat(self._view, self._positions).T

    def _truncated(self) -> Bools:
        if self._together is not None:
            self._any_ended = self._together >= self.periods
            return self._everybody.copy() if self._any_ended else self._nobody.copy()
        ended = self._age >= self.periods
        self._any_ended = bool(ended.any())
        return ended

    def _world_numbers(self) -> Ints:
        return self._episode * self.num_envs + np.arange(self.num_envs)

    def _reset_mask(self, seed: Any, options: dict[str, Any] | None) -> Bools | None:
        """The slots to reset, None for all of them."""
        for name in options or {}:
            if name != "reset_mask":
                raise unknown("options", name, ["reset_mask"])
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return None
        fits = isinstance(mask, np.ndarray) and mask.shape == (self.num_envs,) and mask.dtype == bool
        if not fits or not mask.any():
            raise expected("options.reset_mask", mask, f"an array ({self.num_envs},) of booleans, some True")
        if mask.all() or self._state is None:
            if not mask.all():
                raise expected("options.reset_mask", mask, "all True in the first reset")
            return None
        if seed is not None:
            raise expected("seed", seed, "no seed together with a reset_mask: one seed names all worlds of a batch")
        return mask.copy()

    def _checked_actions(self, actions: Any) -> NDArray[Any]:
        array = np.asarray(actions)
        if array.shape != self._shape or array.dtype.kind not in "fiu":
            raise InputError(
                f"action has shape {array.shape} and type {array.dtype}: expected {self._shape} real numbers, "
                f"of {', '.join(self.decoder.names[:12])}{', ...' if self.decoder.size > 12 else ''}"
            )
        flat = array.reshape(-1)
        # Sums of squares of finite numbers are finite (or overflow, then the slow way finds nothing).
        if not math.isfinite(flat @ flat):
            for i, k in np.argwhere(~np.isfinite(array)):
                field = f"action[{i}, {self.decoder.names[k]!r}]"
                raise expected(field, float(array[i, k]), "a finite number in [-1, 1]")
        return array


def _merged(state: State, initial: State, chosen: Bools) -> State:
    """The state with the chosen slots at their start."""
    fields = (
        None if array is None else np.where(chosen, first, array)
        for array, first in zip(state, initial, strict=True)
    )
    return State(*fields)


def _cleared(array: Any, chosen: Bools) -> Any:
    return None if array is None else np.where(chosen, 0, array)


def _scenario(scenario: Any, overrides: dict[str, Any] | None) -> Scenario:
    if isinstance(scenario, Scenario):
        return scenario.with_overrides(overrides) if overrides else scenario
    if isinstance(scenario, str | Path):
        return Scenario.load(scenario, overrides)
    raise expected("scenario", scenario, "a Scenario, the name of one, or the path of a YAML file")


def _whole(field: str, value: Any, least: int = 1) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least
    if not whole:
        raise expected(field, value, f"a whole number >= {least}")
    return int(value)


def _mode(mode: Any) -> AutoresetMode:
    known = {one.value: one for one in AutoresetMode} | {one.name: one for one in AutoresetMode}
    if isinstance(mode, AutoresetMode):
        return mode
    if mode not in known:
        raise unknown("autoreset_mode", mode, [one.name for one in AutoresetMode])
    return known[mode]
