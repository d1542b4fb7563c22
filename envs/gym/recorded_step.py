"""A step that is recorded when it first comes, and replayed from then on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..accounts.recordable_kpis import RecordableKpis
from ..compiler.recorder import Program
from ..core.named_tuples import entries, mapped, paths, rebuilt
from ..core.typing import Ints
from ..dynamics.playback import Playback
from .pointed_step import AHEAD, PointedStep
from .step import Action, After, Before, Carried

if TYPE_CHECKING:
    from .stepped_network import SteppedNetwork

#: What a step does not read of its start: recorded as None, so that no replay copies it.
UNREAD = ("now.forecast", "now.features", "then.demand", "then.split", "then.features")


@dataclass
class _Recorded:
    """A recorded step; ``pointed`` once it is compiled, where that can be."""

    program: Program
    after: After
    pointed: PointedStep | None = None


class Replay:
    """Steps of a batch: ``stepping(before)``, to the last bit, without working out anew what is done.

    What comes out lives in memory that the next step overwrites, but for observation and figures, which are the
    caller's.
    """

    def __init__(self, network: SteppedNetwork) -> None:
        self.network = network
        self._names: list[str] = []  # of the arrays of a step that it reads
        self._read: Callable[[Before], tuple[Any, ...]] | None = None
        self._recorded: dict[Any, _Recorded] = {}

    def __call__(
        self,
        carried: Carried,
        action: Action,
        playback: Playback,
        row: int,
        age: int | Ints,
        kpis: RecordableKpis | None = None,
        told: bool = True,
    ) -> After:
        """One step.

        Parameters
        ----------
        carried, action
            What it starts from, and what is done in it.
        playback, row
            Its period is a row of these worlds.
        age
            Periods since the start of each world after it, (B,), or one number for all.
        kpis
            Indicators that the step is added to, in the same program.
        told
            Whether its flows are wanted otherwise; they are None if not, and with ``kpis``.
        """
        in_step = isinstance(age, int)
        # The memory of a recording has the types it was made with.
        pattern = (*[None if one is None else one.dtype for one in action], in_step, kpis is not None, told)
        found = self._recorded.get(pattern)
        if found is not None and found.pointed is not None:
            return found.pointed(carried, action, playback, row, None if in_step else self.network.step_period(age))
        then, at = playback.exogenous(row + 1), self.network.step_period(age)
        before = Before(carried, action, playback.exogenous(row), then, at)
        if found is None:
            found = self._recorded[pattern] = self._record(before, kpis, told and kpis is None)
        assert self._read is not None
        program, after = found.program, found.after
        program(*self._read(before))
        if PointedStep.possible(program, after):
            calendar = self.network.calendar if in_step else None
            found.pointed = PointedStep(program, self._names, after, calendar)
        return After(after.carried, after.observation.copy(), after.figures.copy(), after.flows)

    def __getstate__(self) -> dict[str, Any]:
        # Programs are tied to their memory: a copy records its own.
        return {**self.__dict__, "_recorded": {}}

    def _record(self, before: Before, kpis: RecordableKpis | None, told: bool) -> _Recorded:
        places = paths(before)
        names = self._names = [place for place in places if place not in UNREAD]
        self._read = attrgetter(*names)
        afters: list[After] = []

        def function(*arrays: Any) -> list[Any]:
            rest = iter(arrays)
            start: Before = rebuilt(before, [None if place in UNREAD else next(rest) for place in places])
            after = self.network.stepping(start)
            if kpis is not None:
                kpis.add_settled(after.flows)
            if not told:
                after = after._replace(flows=mapped(lambda one: None, after.flows))
            afters.append(after)
            return settled(entries(start.carried), entries(after))

        memory = [] if kpis is None else kpis.memory
        kept = [array.copy() for array in memory]
        # Rows of the tape are read where they lie.
        dense = [number for number, name in enumerate(names) if name.partition(".")[0] in AHEAD]
        program = Program(function, self._read(before), self.network.ops, spaced=True, dense=dense)
        for array, content in zip(memory, kept, strict=True):
            array[...] = content  # to record is to add
        return _Recorded(program, rebuilt(afters[0], program.outputs))


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
