"""A step that is recorded when it first comes, and replayed from then on."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np

from ..accounts.recordable_kpis import RecordableKpis
from ..compiler.recorder import Program
from ..core.backend import NumpyOps
from ..core.named_tuples import entries, mapped, paths, rebuilt
from .step import After, Before, Stepping

#: What a step does not read of its start: recorded as None, so that no replay copies it.
UNREAD = ("now.forecast", "now.features", "then.demand", "then.split", "then.features")


class Replay:
    """``replay(before)`` does what ``stepping(before)`` does, to the last bit.

    What comes out lives in memory that the next step overwrites, but for observation and figures, which are the
    caller's.
    """

    def __init__(self, stepping: Stepping, ops: NumpyOps) -> None:
        self.stepping, self.ops = stepping, ops
        self._read: Callable[[Before], tuple[Any, ...]] | None = None  # the arrays of a step that it reads
        self._recorded: dict[Any, tuple[Program, After]] = {}

    def __call__(self, before: Before, kpis: RecordableKpis | None = None, told: bool = True) -> After:
        """One step.

        Parameters
        ----------
        kpis
            Indicators that the step is added to, in the same program.
        told
            Whether its flows are wanted otherwise; they are None if not, and with ``kpis``.
        """
        # The memory of a recording has the types it was made with.
        types = [None if one is None else one.dtype for one in before.action]
        pattern = (*types, len(before.at.period), kpis is not None, told)
        found = self._recorded.get(pattern)
        if found is None:
            found = self._recorded[pattern] = self._record(before, kpis, told and kpis is None)
        assert self._read is not None
        program, after = found
        program(*self._read(before))
        return After(after.carried, after.observation.copy(), after.figures.copy(), after.flows)

    def __getstate__(self) -> dict[str, Any]:
        # Programs are tied to their memory: a copy records its own.
        return {**self.__dict__, "_recorded": {}}

    def _record(self, before: Before, kpis: RecordableKpis | None, told: bool) -> tuple[Program, After]:
        places = paths(before)
        self._read = attrgetter(*(place for place in places if place not in UNREAD))
        afters: list[After] = []

        def function(*arrays: Any) -> list[Any]:
            rest = iter(arrays)
            start: Before = rebuilt(before, [None if place in UNREAD else next(rest) for place in places])
            after = self.stepping(start)
            if kpis is not None:
                kpis.add_settled(after.flows)
            if not told:
                after = after._replace(flows=mapped(lambda one: None, after.flows))
            afters.append(after)
            return settled(entries(start.carried), entries(after))

        memory = [] if kpis is None else kpis.memory
        kept = [array.copy() for array in memory]
        program = Program(function, self._read(before), self.ops, spaced=True)
        for array, content in zip(memory, kept, strict=True):
            array[...] = content  # to record is to add
        return program, rebuilt(afters[0], program.outputs)


def settled(carried: list[Any], results: list[Any]) -> list[Any]:
    """Results of a step, of which what the next step starts from comes first and is put where the next looks for it."""
    for i, one in enumerate(results):
        stays = i < len(carried) and one is carried[i]
        if not stays and any(_overlap(one, place) for place in carried):
            results[i] = one.copy()
    for place, one in zip(carried, results, strict=False):
        if place is not None and one is not place:
            place[...] = one
    return [*carried, *results[len(carried) :]]


def _overlap(one: Any, other: Any) -> bool:
    return one is not None and other is not None and np.may_share_memory(_plain(one), _plain(other))


def _plain(array: Any) -> Any:
    return getattr(array, "value", array)
