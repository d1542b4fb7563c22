"""A step that is recorded when it first comes, and replayed from then on."""

from __future__ import annotations

from typing import Any

from .backend import NumpyOps
from .dynamics import Arrivals, Exogenous, State
from .program import Program
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
        pattern = (before.action is None, before.reserve is None, len(before.period))
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
            afters.append(self.stepping(_before(arrays)))
            return _leaves(afters[0])

        program = Program(function, flat, self.ops)
        return program, _filled(afters[0], iter(program.outputs))


def _flat(before: Before) -> list[Any]:
    """The arrays of a step, one after another; of the next period only what a step reads."""
    b, then = before, before.then
    read = (then.lead_time, then.node_availability, then.lane_availability, then.lane_yield, then.thin)
    rest = (b.history, b.forecast, b.period, b.ending, b.positions)
    return [b.action, b.requests, b.reserve, *b.state, *(b.arrivals or (None, None)), *b.now, *read, *rest]


def _before(arrays: tuple[Any, ...]) -> Before:
    """The step of what :func:`_flat` gave."""
    state, arrivals, now, read = arrays[3:8], arrays[8:10], arrays[10:17], arrays[17:22]
    then = Exogenous(None, *read[:4], None, read[4])  # type: ignore[arg-type]
    return Before(*arrays[:3], State(*state), Arrivals(*arrivals), Exogenous(*now), then, *arrays[22:])


def _leaves(nested: Any) -> list[Any]:
    """Arrays and Nones of nested tuples, in order."""
    found: list[Any] = []
    for one in nested:
        found.extend(_leaves(one) if isinstance(one, tuple) else [one])
    return found


def _filled(nested: Any, leaves: Any) -> Any:
    """Tuples nested likewise, with other leaves."""
    return type(nested)(*(_filled(one, leaves) if isinstance(one, tuple) else next(leaves) for one in nested))
