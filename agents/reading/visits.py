"""Visited states of a policy, kept so that it can be asked what it would do if an observation were different.

B worlds, L lanes, P products; further dimensions as in :class:`echelongym.envs.interface.observation.Observation`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.typing import Floats, NumpyArray
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods as simulated
from echelongym.envs.storage import journal

AT_ONCE = 2048  # states that a policy without memory is asked about at a time


def batch_last(value: Any) -> NumpyArray:
    """A copy, batch first to look at, batch last in memory, as the observations of simulations are."""
    return np.moveaxis(np.array(np.moveaxis(np.asarray(value), 0, -1), order="C"), -1, 0)


@dataclass(frozen=True, eq=False)
class Moment:
    """Moment: B worlds at the start of one period, and the policy as it stood before it decided."""

    observation: Observation
    requests: Floats  # (B, L, P) units
    policy: Callable[[Observation], Decision]

    @property
    def worlds(self) -> int:
        """Number of worlds B."""
        return len(self.observation.period)

    @property
    def period(self) -> int:
        """The period that begins."""
        return int(self.observation.period[0])

    def ask(self, changes: Sequence[Mapping[str, NumpyArray]]) -> Floats:
        """(V, B, L, P) units requested if arrays of the observation were others, for each of V mappings by name."""
        remembers = hasattr(self.policy, "start")
        size = 1 if remembers else max(AT_ONCE // self.worlds, 1)
        if hasattr(self.policy, "settle"):
            self.policy.settle()
        found = []
        for first in range(0, len(changes), size):
            part = changes[first : first + size]
            policy = with_memory(self.policy) if remembers else self.policy
            requests = np.asarray(policy(self.changed(part)).requests, dtype=np.float64)
            found.append(requests.reshape((len(part), self.worlds, *requests.shape[1:])))
        return np.concatenate(found)

    def changed(self, changes: Sequence[Mapping[str, NumpyArray]]) -> Observation:
        """The observation (V * B, ...) of all mappings one after another."""
        arrays: dict[str, Any] = {}
        for one in fields(Observation):
            value = getattr(self.observation, one.name)
            if value is None:
                arrays[one.name] = None
                continue
            many = np.moveaxis(np.concatenate([np.moveaxis(value, 0, -1)] * len(changes), axis=-1), -1, 0)
            for place, change in enumerate(changes):
                if one.name in change:
                    many[place * self.worlds : (place + 1) * self.worlds] = change[one.name]
            arrays[one.name] = many
        return Observation(**arrays)


@dataclass(frozen=True, eq=False)
class Visited:
    """Visited states: moments of one simulation, in the order of time."""

    scenario: Scenario
    moments: tuple[Moment, ...]

    @property
    def tables(self) -> Tables:
        """The compiled scenario."""
        return self.scenario.tables

    @property
    def states(self) -> int:
        """Number of states M: moments x worlds."""
        return sum(moment.worlds for moment in self.moments)

    @property
    def requests(self) -> Floats:
        """(M, L, P) units."""
        return np.concatenate([moment.requests for moment in self.moments])

    @cached_property
    def fingerprint(self) -> str:
        """What tells the policy and where it has been from others: what it saw and asked for."""
        seen = [[getattr(moment.observation, one.name) for one in fields(Observation)] for moment in self.moments]
        return journal.fingerprint([self.scenario.digest, seen, [moment.requests for moment in self.moments]])

    def array(self, name: str) -> NumpyArray:
        """(M, ...) one array of the observations."""
        return np.concatenate([getattr(moment.observation, name) for moment in self.moments])

    def first(self, worlds: int) -> Visited:
        """Moments of fewer worlds; of a policy with memory all stay, as its memory is of them."""
        if worlds >= self.moments[0].worlds or hasattr(self.moments[0].policy, "start"):
            return self
        cut = []
        for moment in self.moments:
            arrays = {one.name: getattr(moment.observation, one.name) for one in fields(Observation)}
            kept = {name: None if value is None else batch_last(value[:worlds]) for name, value in arrays.items()}
            cut.append(Moment(Observation(**kept), moment.requests[:worlds], moment.policy))
        return Visited(self.scenario, tuple(cut))


def visit(
    scenario: Scenario,
    policy: Callable[[Observation], Decision],
    worlds: int = 32,
    moments: int = 8,
    seed: int = 7,
    purpose: str = "test",
    disturbed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Visited:
    """Simulate a policy, and keep states spread over the periods after the warm-up.

    Parameters
    ----------
    worlds, moments
        Worlds B, and periods of which the states are kept.
    disturbed
        Multiply what the policy asks for in worlds 1, 3, 5 ... by random factors in [0, 2): it then sees shortages and
        overstock that it would not bring about itself. Kept is what it asked for.
    progress
        Called with (periods done, periods in all).

    Raises
    ------
    InputError
        If the policy knows the future (``foresee``), or keeps memory that cannot be copied.
    """
    for name, value in (("worlds", worlds), ("moments", moments)):
        if value < 1:
            raise expected(name, value, "a whole number >= 1")
    if hasattr(policy, "foresee"):
        name = getattr(policy, "name", type(policy).__name__)
        raise expected("policy", name, "one that decides from what it observes; this one knows the future")
    t = scenario.tables
    watched = _Watched(policy, _spread(t.warm_up, t.horizon, moments, seed), seed if disturbed else None)
    tape = scenario.sample(worlds, seed, purpose)
    for period, _, _, _ in simulated(scenario, watched, tape):
        if progress is not None:
            progress(period + 1, tape.periods)
    return Visited(scenario, tuple(watched.kept))


def _spread(first: int, end: int, count: int, seed: int) -> set[int]:
    """Periods from ``first`` to ``end - 1``, one at random of each equal part, so that they keep step with no season."""
    edges = np.linspace(first, end, min(count, end - first) + 1)
    random = np.random.default_rng([seed, count])
    return {int(period) for period in np.floor(random.uniform(edges[:-1], edges[1:]))}


class _Watched:
    """A policy that is watched at some periods, and disturbed in every second world where a seed is given."""

    def __init__(self, policy: Callable[[Observation], Decision], chosen: set[int], seed: int | None) -> None:
        self.policy, self.chosen = policy, chosen
        self.random = None if seed is None else np.random.default_rng(seed)
        self.kept: list[Moment] = []

    def start(self, worlds: int) -> None:
        """Clear the memory of the policy, if it has any."""
        begin = getattr(self.policy, "start", None)
        if begin is not None:
            begin(worlds)

    def __call__(self, observation: Observation) -> Decision:
        watched = int(observation.period[0]) in self.chosen
        if watched:
            arrays = {one.name: getattr(observation, one.name) for one in fields(Observation)}
            seen = Observation(**{key: None if value is None else batch_last(value) for key, value in arrays.items()})
            before = with_memory(self.policy) if hasattr(self.policy, "start") else self.policy
        decision = self.policy(observation)
        if watched:
            self.kept.append(Moment(seen, np.array(decision.requests, dtype=np.float64), before))
        if self.random is None:
            return decision
        requests = np.array(decision.requests, dtype=np.float64)
        requests[1::2] *= self.random.uniform(0.0, 2.0, requests[1::2].shape)
        return Decision(requests, decision.reserve)


def with_memory(policy: Any) -> Any:
    """A copy of a policy with its memory as it is now; what never changes (the scenario) is shared.

    Raises
    ------
    InputError
        If it cannot be copied.
    """
    known = vars(policy).values() if hasattr(policy, "__dict__") else ()
    shared = {id(value): value for value in known if isinstance(value, Scenario | Tables)}
    try:
        return copy.deepcopy(policy, shared)
    except (TypeError, RuntimeError, copy.Error) as error:
        name = getattr(policy, "name", type(policy).__name__)
        raise InputError(f"policy {name}: keeps memory (it has start) that cannot be copied: {error}") from None


def counted(progress: Callable[[int, int], None] | None, steps: int, done: int = 0) -> Iterator[None]:
    """An endless iterator of which each step reports one step more, of ``steps`` in all."""
    while True:
        done += 1
        if progress is not None:
            progress(min(done, steps), steps)
        yield
