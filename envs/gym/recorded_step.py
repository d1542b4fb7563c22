"""A step that is recorded when it first comes, and replayed from then on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiler.recorder import Program
from ..core.backend import NumpyOps
from ..dynamics import Arrivals, Exogenous, State
from .step import After, Before, Stepping


class Replay:
    """``replay(before)`` does what ``stepping(before)`` does, to the last bit.

    What comes out lives in memory that the next step overwrites, but for observation and figures, which are the
    caller's. The first step of an episode, to which nothing arrives, is like no other and not recorded.
    """

    def __init__(self, stepping: Stepping, ops: NumpyOps) -> None:
        self.stepping, self.ops = stepping, ops
        self._recorded: dict[Any, tuple[Program, After]] = {}

    def __call__(self, before: Before) -> After:
        """One step."""
        if before.arrivals is None:
            return self.stepping(before)
        flat = _flat(before)
        pattern = (before.action is None or before.action.dtype, before.reserve is None, len(before.period))
        found = self._recorded.get(pattern)
        if found is None:
            found = self._recorded[pattern] = self._record(flat)
        program, after = found
        program(*flat)
        return after._replace(observation=after.observation.copy(), figures=after.figures.copy())

    def __getstate__(self) -> dict[str, Any]:
        # Programs are tied to their memory: a copy records its own.
        return {**self.__dict__, "_recorded": {}}

    def _record(self, flat: list[Any]) -> tuple[Program, After]:
        afters: list[After] = []

        def function(*arrays: Any) -> list[Any]:
            after = self.stepping(_before(arrays))
            afters.append(after)
            leaves = _leaves(after)
            # What the next step starts from is put where it will look for it.
            places = [arrays[i] for i in CARRIED]
            for i, one in enumerate(leaves):
                shared = one is not None and any(_overlap(one, place) for place in places)
                if shared and not (i < len(places) and one is places[i]):
                    leaves[i] = one.copy()
            for i, place in enumerate(places):
                if place is not None and leaves[i] is not place:
                    place[...] = leaves[i]
            return [*places, *leaves[len(places) :]]

        program = Program(function, flat, self.ops)
        return program, _filled(afters[0], iter(program.outputs))


def _flat(before: Before) -> list[Any]:
    """The arrays of a step, one after another; of the next period only what a step reads."""
    b, then = before, before.then
    read = (then.lead_time, then.node_availability, then.lane_availability, then.lane_yield, then.thin)
    # First what the next step starts from, in the order in which a step leaves it.
    first = (*b.state, *(b.arrivals or (None, None)), b.history, b.positions)
    rest = (b.forecast, b.period, b.season, b.ending)
    return [*first, b.action, b.requests, b.reserve, *b.now, *read, *rest]


# Places of ``_flat`` that are leaves of ``After`` in the same order.
CARRIED = range(len(State._fields) + len(Arrivals._fields) + 2)


def _before(arrays: Any) -> Before:
    """The step of what :func:`_flat` gave."""
    state, arrivals, (history, positions), rest = arrays[:5], arrays[5:7], arrays[7:9], arrays[9:]
    now, read = rest[3:10], rest[10:15]
    then = Exogenous(*(None, *read[:4], None, read[4]))
    told = (State(*state), Arrivals(*arrivals), Exogenous(*now), then, history, positions)
    return Before(*(*rest[:3], *told, *rest[15:]))


def _overlap(one: Any, other: Any) -> bool:
    return other is not None and np.may_share_memory(one.value, other.value)


def _leaves(nested: Any) -> list[Any]:
    """Arrays and Nones of nested tuples, in order."""
    found: list[Any] = []
    for one in nested:
        found.extend(_leaves(one) if isinstance(one, tuple) else [one])
    return found


def _filled(nested: Any, leaves: Any) -> Any:
    """Tuples nested likewise, with other leaves."""
    return type(nested)(*(_filled(one, leaves) if isinstance(one, tuple) else next(leaves) for one in nested))
