"""Random requests: a baseline that looks at nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.backend import Array, NumpyOps, ops_of
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Bools, Floats
from echelongym.envs.core.validation import is_number
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.interface.observation import Decision, Observation, Policy
from echelongym.envs.processes.series import Streams
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.worlds.tape import Tape

from .rule import Group, Rule


class RandomRequests(Rule):
    """Random requests: every lane asks for a uniform random number of units, whatever the state.

    Between 0 and ``spread`` times the mean flow of the lane's target, shared evenly among the lanes into it, so that
    with ``spread`` 2 targets ask for their mean flow on average. The numbers are a series of their own for each world,
    lane and product, as the tape's are: a world gets the same requests alone and in any batch. Where nobody says
    which worlds are played (``foresee``), they are numbered from 0.

    Parameters
    ----------
    spread
        Largest request in mean flows, >= 0; 2 if left out.
    seed
        Names the series, a whole number >= 0; 0 if left out.
    """

    name = "random"
    pure = True
    differentiable = False
    reference = True

    def __init__(self, scenario: Any, **parameters: Any) -> None:
        self.spread, self.seed = 2.0, 0
        self._worlds: NDArray[np.int64] | None = None
        self._named = False
        self.foreseen: list[Array] = []  # (L * P, B) requests of a period that is recorded
        super().__init__(scenario, **parameters)
        t = self.tables
        into = np.zeros((t.N, t.P))
        np.add.at(into, t.lane_target, t.lane_open)
        share = automatic_levels(self.scenario).flow / np.maximum(into, 1)
        self._most = self.spread * np.where(t.lane_open, share[t.lane_target], 0.0).reshape(-1)  # (L * P,) units
        self._names = [f"{lane}/{product}" for lane in t.lanes for product in t.products]

    def _make_groups(self) -> list[Group]:
        return []

    def _options(self) -> tuple[str, ...]:
        return ("spread", "seed")

    def _set_options(self, options: dict[str, Any]) -> None:
        super()._set_options(options)
        self.spread, self.seed = options.get("spread", self.spread), options.get("seed", self.seed)
        if not is_number(self.spread) or self.spread < 0:
            raise expected(f"{self.name} spread", self.spread, "a finite number >= 0")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise expected(f"{self.name} seed", self.seed, "a whole number >= 0")

    def _reset(self) -> None:
        """Nothing is computed from parameters."""

    def foresee(self, tape: Tape) -> None:
        """Take in which worlds are played, and nothing else about them."""
        self._worlds, self._named = np.array(tape.worlds, dtype=np.int64), True

    def start(self, worlds: int) -> None:
        """Number the worlds, unless they have just been named."""
        if not self._named:
            self._worlds = None
        self._named = False

    def _asks(self) -> Bools:
        return self.tables.lane_open.reshape(-1)

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P)."""
        t, ops = self.tables, ops_of(observation.on_hand)
        if self.foreseen:
            return Decision(ops.moveaxis(self.foreseen[0].reshape((t.L, t.P, -1)), -1, 0))
        periods = ops.numpy(observation.period)
        worlds = self._worlds
        if worlds is None or len(worlds) != len(periods):
            worlds = np.arange(len(periods))
        streams = Streams("test", self.seed, worlds)
        drawn = np.empty((len(self._names), len(periods)))
        for period in np.unique(periods):
            now = periods == period
            drawn[:, now] = streams.uniforms("random_requests", self._names, int(period), 1)[0][:, now]
        requests = (drawn * self._most[:, None]).reshape((t.L, t.P, -1))
        return Decision(ops.constant(np.moveaxis(requests, -1, 0)))

    def recordable(self, dtype: Any) -> Recordable | None:
        """See :meth:`Rule.recordable`: the requests of all periods are drawn before."""
        if not self.pure:
            return None

        def foreseen(tape: Tape) -> Callable[[int, int], list[Floats]]:
            def drawn(start: int, stop: int) -> list[Floats]:
                streams = Streams("test", self.seed, np.array(tape.worlds[start:stop], dtype=np.int64))
                return [streams.uniforms("random_requests", self._names, 0, tape.periods) * self._most[:, None]]

            return drawn

        def on(ops: NumpyOps) -> Callable[[Sequence[Array]], Policy]:
            own = copy.copy(self)
            return lambda numbers: own

        return Recordable((type(self), self.tables), [], on, None, foreseen)
