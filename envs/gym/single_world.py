"""Single world: one episode after another of a series, every step replayed in memory that is laid out once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.recorder import Program
from ..core.errors import expected
from ..core.named_tuples import entries, rebuilt
from ..interface.observation import Decision, Observation
from ..scenario.scenario import Scenario
from .episode_info import EpisodeReporter
from .episodes import Episodes, Memory, drawn
from .recorded_step import settled
from .settings import EnvSettings
from .step import Action, Before, Carried
from .stepped_network import SteppedNetwork


class SingleWorld(SteppedNetwork):
    """World of a network, stepped alone: what the single environment is an adapter of.

    A step of one world takes microseconds, so nothing is looked up, shaped or copied that need not be: what a period's
    world tells lies ready in one row (:class:`Episodes`), and a recorded program goes from one state to the next in place.

    Parameters
    ----------
    scenario, settings
        As of :class:`SteppedNetwork`.

    Attributes
    ----------
    episode : index of the world of the seed that is played.
    age : periods since its start.

    Raises
    ------
    InputError
        On an argument that is not usable.
    """

    def __init__(self, scenario: Scenario | str | Path, settings: EnvSettings) -> None:
        super().__init__(scenario, 1, settings)
        self.reporter = EpisodeReporter(self.scenario, settings.info, self.periods)
        self.episode = self.age = 0
        self._episodes: Episodes | None = None
        self._rows: Any = None  # of the present episode
        self._carried: Any = None
        self._told: Any = None
        self._steps: dict[Any, RecordedStep] = {}

    @property
    def started(self) -> bool:
        """Whether an episode was started."""
        return self._rows is not None

    def start(self) -> NDArray[np.float32]:
        """Start the present world: its first observation (n,)."""
        assert self.seed is not None
        episodes = self._episodes
        if episodes is None or not episodes.has(self.seed, self.episode):
            episodes = self._episodes = drawn(self, self.seed, self.episode, episodes)
            if self._carried is None:
                self._carried, self._told = Memory(episodes.carried), Memory(episodes.told)
                self._told.bytes[episodes.told.moving :] = episodes.still
        place = self.episode - episodes.first
        self._carried.bytes[...] = episodes.start
        carried: Carried = self._carried.arrays
        carried.history[..., 0] = episodes.history[..., place]
        carried.positions[..., 0] = episodes.positions[..., place]
        self._rows = episodes.rows[place]
        self._told.bytes[: episodes.told.moving] = self._rows[0]
        self.age = 0
        self.reporter.restart()
        return episodes.observations[place].copy()

    def advance(self, action: Any, decision: Decision | None = None) -> RecordedStep:
        """One period, of a checked action (n,) or a checked decision: the step, which holds what came of it."""
        self.age = age = self.age + 1
        rows = self._rows
        self._told.bytes[: rows.shape[1]] = rows[age]
        if decision is None:
            step = self._steps.get(None) or self._recorded(None)
            step.action[...] = action
        else:
            asked = decision.requests, decision.reserve
            pattern = tuple(None if one is None else one.dtype for one in asked)
            step = self._steps.get(pattern) or self._recorded(pattern)
            for mine, given in zip(step.asked, asked, strict=True):
                if mine is not None:
                    mine[...] = given
        step.replay()
        self.reporter.count(step.flows, age)
        return step

    def _recorded(self, pattern: Any) -> RecordedStep:
        """The step of encoded actions (None), or of decisions with requests and a reserve of certain types."""
        t = self.tables
        if pattern is None:
            action = Action(np.zeros((self.decoder.size, 1), self.ops.float), None, None)
        else:
            shapes = (t.L, t.P, 1), (t.S, t.P, 1)
            asked = [None if one is None else np.zeros(shape, one) for shape, one in zip(shapes, pattern, strict=True)]
            action = Action(None, *asked)
        step = self._steps[pattern] = RecordedStep(self, action, self._carried, self._told)
        return step

    @property
    def observation(self) -> Observation:
        """The state of now as named arrays, a batch of one.

        Raises
        ------
        InputError
            Before the first reset.
        """
        if not self.started:
            raise expected("state", None, "a reset before the first observation")
        carried, told = self._carried.arrays, self._told.arrays
        return self.observed(carried.state, told.then, carried.history, self.age)

    def __getstate__(self) -> dict[str, Any]:
        # Programs are tied to their memory: a copy records its own, and draws further worlds itself.
        return {**self.__dict__, "_steps": {}, "_episodes": None}


class RecordedStep:
    """Step recorded in the memory it starts from: every replay goes on from the one before.

    Attributes
    ----------
    action : (n,) takes in an encoded action.
    asked : (L, P, 1) and (S, P, 1) take in a decision, None where it is not there.
    observation, figures, flows : (n,), (names,), and what indicators count, if any; overwritten by the next replay.
    """

    def __init__(self, world: SingleWorld, action: Action, carried: Memory, told: Memory) -> None:
        before = Before(carried.arrays, action, *told.arrays)
        encoded, *self.asked = action
        self.action: Any = None if encoded is None else encoded[:, 0]

        def function(*arrays: Any) -> list[Any]:
            start: Before = rebuilt(before, arrays)
            after = world.stepping(start)
            flows = world.reporter.row(after.flows)
            return settled(entries(start.carried), [*entries(after.carried), after.observation, after.figures, flows])

        kept = carried.bytes.copy()
        self._program = Program(function, entries(before), world.ops, in_place=True)
        carried.bytes[...] = kept  # to record is to step
        self.replay = self._program.replay
        observation, figures, flows = self._program.outputs[-3:]
        self.observation, self.figures = observation[:, 0], figures[:, 0]
        self.flows = None if flows is None else flows.reshape(-1)
