"""Batch of worlds of one scenario, stepped together: what the vector environment is an adapter of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import expected
from ..core.named_tuples import mapped
from ..core.typing import Bools, Ints
from ..dynamics import Arrivals, Exogenous
from ..dynamics.playback import Playback
from ..interface.observation import Decision, Observation
from ..scenario.scenario import Scenario
from .infos import Reporter
from .recorded_step import Replay
from .settings import EnvSettings
from .step import Action, Carried
from .stepped_network import SteppedNetwork
from .world_queue import WorldQueue


class NetworkBatch(SteppedNetwork):
    """Batch of B slots, each playing world after world of one series.

    Parameters
    ----------
    scenario, size, settings
        As of :class:`SteppedNetwork`.

    Attributes
    ----------
    age : (B,) periods since each slot's start where slots are out of step, else one number.

    Raises
    ------
    InputError
        On an argument that is not usable.
    """

    def __init__(self, scenario: Scenario | str | Path, size: int, settings: EnvSettings) -> None:
        super().__init__(scenario, size, settings)
        self._replay = Replay(self)
        self.reporter = Reporter(self.scenario, size, settings.info, self.periods)
        # One more than an episode lasts: the last observation shows the period that would follow.
        self._worlds = WorldQueue(self.scenario, self.purpose, self.periods + 1, size)
        self._playback: Playback | None = None
        self._row = 0  # steps since all slots started together
        self._initial = self.dynamics.initial(size)
        self._no_arrivals: Arrivals | None = None  # known with the first worlds
        self._carried: Carried | None = None
        self.episode = np.zeros(size, dtype=np.int64)
        self.age: int | Ints = 0

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
            playback = self._playback = Playback(self.tables, self.ops, data, always=self.always)
            self._row = 0
            if self._no_arrivals is None:
                self._no_arrivals = self.no_arrivals(self._initial, playback.exogenous(0))
            self._carried = Carried(self._initial, self._no_arrivals, playback.history(0), None)
            self.age = 0
        else:
            playback = self._played
            playback.restart(chosen, self._worlds.take(seed, numbers[chosen]), self._row)

            def mixed(array: Any, first: Any = 0) -> Any:
                return None if array is None else np.where(chosen, first, array)

            self._carried = carried._replace(
                state=mapped(mixed, carried.state, self._initial),
                arrivals=mapped(mixed, carried.arrivals),
                history=mixed(carried.history, playback.history(self._row)),
            )
            self.age = np.where(chosen, 0, self.age)
        self.reporter.restart(chosen)

    def advance(self, actions: Any, decision: Decision | None = None) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """One period, of checked actions (B, n) or a checked decision: flat observations (n, B), figures (names, B)."""
        assert self._carried is not None
        row, reporter = self._row, self.reporter
        self._row = row + 1
        self.age = age = self.age + 1
        if decision is None:
            action = Action(actions.T, None, None)
        else:
            action = Action(None, decision.requests, decision.reserve)
        kpis, settled = reporter.kpis, reporter.settled(age)
        counting = kpis if settled else None
        after = self._replay(self._carried, action, self._played, row, age, counting, kpis is not None)
        self._carried = after.carried
        if counting is not None:
            counting.count_settled()
        elif kpis is not None:
            reporter.count(after.flows, age)
        return after.observation, after.figures

    def observe(self) -> NDArray[np.float32]:
        """Flat observations (n, B) after a start."""
        carried = self._carried
        assert carried is not None
        positions, observation = self.stepping.look(
            carried.state, self._exogenous, carried.history, self.step_period(self.age)
        )
        self._carried = carried._replace(positions=positions)
        return observation

    @property
    def _played(self) -> Playback:
        assert self._playback is not None
        return self._playback

    @property
    def _exogenous(self) -> Exogenous:
        return self._played.exogenous(self._row)

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
        return self.observed(self._carried.state, self._exogenous, self._carried.history, self.age)
