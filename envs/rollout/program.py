"""Program of a rollout: policy, dynamics, ledger and indicators of one period, recorded for W worlds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..accounts.ledger import Ledger
from ..compiler.native import Native
from ..compiler.recorder import Program, RecordedArray
from ..core.backend import Array, NumpyOps
from ..core.named_tuples import entries, rebuilt
from ..core.typing import NumpyArray
from ..core.validation import MOST
from ..dynamics import Arrivals, Dynamics, Exogenous, Flows, State, demand_seen
from ..interface.observation import Observer, Policy, viewed
from ..network.tables import Tables
from .kpi_sums import KpiSums
from .recordable import Recordable
from .tape_part import Rows, TapePart
from .trace_rows import TraceRows, traced


class Unrecordable(Exception):
    """Error for a policy or scenario whose period has no recorded form."""


class HandedOn(NamedTuple):
    """What a period hands on to the next; entity first, batch last."""

    state: State  # as observed
    arrivals: Arrivals
    sold: Array | None  # (H, C, P, B) sales of the periods before, newest first; None where demand is observed


@dataclass(frozen=True, eq=False)
class Machinery:
    """Dynamics, ledger and observer of a scenario, for all its rollouts of W worlds at a time."""

    tables: Tables
    ops: NumpyOps
    dynamics: Dynamics
    ledger: Ledger
    observer: Observer
    worlds: int

    @classmethod
    def of(cls, tables: Tables, worlds: int, vary_lead_times: bool) -> Machinery:
        """On a backend of its own, as nobody else may compute with it while it records."""
        ops = NumpyOps()
        dynamics, ledger, observer = (
            Dynamics(tables, ops, vary_lead_times),
            Ledger(tables, ops),
            Observer(tables, ops, worlds),
        )
        return cls(tables, ops, dynamics, ledger, observer, worlds)


class RolloutProgram:
    """Recorded period; the state, the sums and the numbers of the policy lie in memory of its own.

    Parameters
    ----------
    machinery
        Of the scenario.
    policy
        What is recorded of the policy.
    part
        Worlds of a tape, filled, to record with.
    kpis
        Sums of key performance indicators, None where they are not wanted.
    trace
        Memory for every period, None where it is not wanted.

    Attributes
    ----------
    numbers, memory : arrays (..., W) of the policy, to be written into: its numbers, and what it remembers at the start.
    shared : arrays that all worlds share, to be written into, too.
    sums : money by line (W,) since :meth:`clear`.
    before : (W,) net cost since :meth:`start`.
    outside : what the policy calls that is not recorded, to be replaced by that of another one, or None.
    asked : number of worlds, the first ones, that it is called for; the others get what the last of them does.
    fits : (W,) whether all decisions since :meth:`start` were finite numbers >= 0.

    Raises
    ------
    Unrecordable
        If the policy or the scenario does something that cannot be recorded.
    """

    def __init__(
        self,
        machinery: Machinery,
        policy: Recordable,
        part: TapePart,
        kpis: KpiSums | None,
        trace: TraceRows | None = None,
    ) -> None:
        self.machinery, self.part, self.kpis, self.trace = machinery, part, kpis, trace
        W = machinery.worlds
        self.numbers = [np.broadcast_to(one, (*one.shape[:-1], W)).copy() for one in policy.numbers]
        self.memory = [np.broadcast_to(one, (*one.shape[:-1], W)).copy() for one in policy.memory or ()]
        self.shared = [one.copy() for one in policy.shared]
        self.sums: dict[str, NumpyArray] = {}
        self.before, self.fits = np.zeros(W), np.ones(W, dtype=bool)
        self.native: Native | None = None
        self.outside, self.asked = policy.outside, W
        self._slots: NDArray[np.int64] | None = None  # see Native.repeat
        self._valued = bool(machinery.tables.terminal_value.any())
        self._rows = self._inputs(part)
        try:
            self._initial = self._at_first()
            decide = policy.on(machinery.ops)
            started = [None if one is None else np.asarray(one) for one in entries(self._initial)]
            names, behind = list(self._rows), len(self._rows) + len(started)

            def function(*given: Any) -> list[Any]:
                carried = rebuilt(self._initial, given[len(names) : behind])
                self._period(decide, dict(zip(names, given, strict=False)), carried, list(given[behind:]))
                return []

            shown = [rows.at(0) for rows in self._rows.values()]
            self.program = Program(function, [*shown, *started, *self.memory], machinery.ops)
        except Exception as error:  # whatever it is, there is another way
            raise Unrecordable(f"{type(error).__name__}: {error}") from error
        self._state = self.program.inputs[len(names) :]

    @cached_property
    def bytes(self) -> int:
        """Bytes that it holds of what it was recorded with."""
        return self.program.bytes + sum(one.nbytes for one in (*self.numbers, *self.shared))

    def compile(self, made: bool = False) -> None:
        """Compile it; with ``made`` only load what has been compiled before.

        Raises
        ------
        CannotCompile, NothingToGain
            If that does not come about.
        """
        self.start()
        self.native, self._slots = Native(self.program, made), None

    # Running -------------------------------------------------------------------------------------

    def read(self, part: TapePart) -> None:
        """Go on with the worlds of a part of a tape of the same arrays."""
        self.part, self._rows = part, self._inputs(part)
        written = [
            *([] if self.kpis is None else self.kpis.written),
            *([] if self.trace is None else self.trace.written),
        ]
        self._written = written
        if self.native is None or not self.native.whole:
            return
        moving = [*zip(self.program.inputs, self._rows.values(), strict=False), *written]
        if self._slots is None:
            slots = self.native.slots([array for array, _ in moving])
            self._touched = np.flatnonzero(slots)
            self._slots = slots[self._touched]
        rows = [moving[i][1] for i in self._touched]
        self._starts = np.array([one.address for one in rows], np.int64)
        self._steps = np.array([one.rows.strides[0] for one in rows], np.int64)
        self._begun = np.array([not one.counted for one in rows], np.int64)

    def start(self) -> None:
        """Begin with the worlds that the part holds now."""
        initial = self._initial
        if initial.sold is not None:
            history = self.part.rows["demand"][: self.machinery.tables.H]
            initial = initial._replace(sold=history[::-1])
        for place, value in zip(self._state, [*entries(initial), *self.memory], strict=True):
            if place is not None:
                place[...] = value
        self.before[...] = 0.0
        self.fits[...] = True
        self.clear()

    def clear(self) -> None:
        """Begin the sums anew."""
        for total in self.sums.values():
            total[...] = -0.0  # to which anything adds up to itself
        if self.kpis is not None:
            self.kpis.clear()

    def run(self, first: int, stop: int) -> None:
        """Periods ``first`` to ``stop``."""
        native = self.native
        if native is not None and native.whole:
            assert self._slots is not None
            native.repeat(stop - first, self._slots, self._starts + self._begun * self._steps * first, self._steps)
            return
        read = list(zip(self.program.inputs, self._rows.values(), strict=False))
        calls: Sequence[Callable[[], Any]] = self.program.calls if native is None else native.calls
        for period in range(first, stop):
            for array, rows in read:
                array[...] = rows.at(period - first if rows.counted else period)
            with np.errstate(all="ignore"):  # of decisions that are no numbers, which ``fits`` tells of
                for call in calls:
                    call()
            for array, rows in self._written:
                rows.at(period - first if rows.counted else period)[...] = array

    # Recording -----------------------------------------------------------------------------------

    def _inputs(self, part: TapePart) -> dict[str, Rows]:
        """What a period reads, by name."""
        foreseen = {f"foreseen {i}": Rows(array) for i, array in enumerate(part.foreseen)}
        return part.inputs | foreseen | ({} if self.kpis is None else self.kpis.inputs)

    def _at_first(self) -> HandedOn:
        """The state before the first period and, as zeros, the arrivals that it does not have."""
        m, t = self.machinery, self.machinery.tables
        state = m.dynamics.initial(m.worlds)
        now = exogenous({name: rows.at(0) for name, rows in self._rows.items()})
        after, _ = m.dynamics.advance(state, now, np.zeros((t.L, t.P, m.worlds)))
        _, arrivals = m.dynamics.receive(after, now)
        nothing = Arrivals(*(None if one is None else np.zeros_like(one) for one in arrivals))
        sold = self.part.rows["demand"][: t.H] if t.censored else None
        return HandedOn(state, nothing, sold)

    def _period(
        self,
        decide: Callable[[Sequence[Array]], Policy],
        given: dict[str, Array],
        carried: HandedOn,
        memory: list[Array],
    ) -> None:
        m, program = self.machinery, self.machinery.ops.program
        policy: Any = decide([RecordedArray(one, program, None) for one in (*self.numbers, *self.shared)])
        if self.memory:
            policy.memory = list(memory)
        if self.outside is not None:
            policy.outside = self._call_outside
        if self.part.foreseen:
            policy.foreseen = [given[f"foreseen {i}"] for i in range(len(self.part.foreseen))]
        state, now = carried.state, exogenous(given)
        history = m.ops.moveaxis(m.ops.flip(given["history"], 0) if carried.sold is None else carried.sold, 0, 2)
        view = viewed(m.tables, state, m.dynamics.in_transit(state), now, history, given["period"])
        observation = m.observer(view)
        decision = policy(observation)
        requests = self._decided(decision.requests, m.tables.L)
        reserve = None if decision.reserve is None else self._decided(decision.reserve, m.tables.S)
        state, flows = m.dynamics.advance(state, now, requests, reserve, carried.arrivals)
        lines = self._account(flows, state, given.get("last"))
        if self.trace is not None:
            kept = traced(m.tables, m.ops, observation, flows)
            self.trace.put(kept, lines, given.get("last"), m.ops, program)
        if self.kpis is not None:
            self.kpis.add(flows, program, given)
        following = now._replace(lane_yield=given.get("next lane_yield"), thin=given.get("next thin"))
        state, arrivals = m.dynamics.receive(state, following)
        sold = carried.sold
        if sold is not None:
            sold = m.ops.concat([demand_seen(m.tables, flows)[None], sold[:-1]], 0)
        remembered = list(policy.memory) if self.memory else []
        self._hand_on([*entries(carried), *memory], [*entries(HandedOn(state, arrivals, sold)), *remembered])

    def _call_outside(self, array: RecordedArray, shape: tuple[int, ...], dtype: Any) -> RecordedArray:
        """What the function outside makes of an array (..., W): (shape, W)."""

        def function(given: NumpyArray) -> NumpyArray:
            assert self.outside is not None
            found = self.outside(given[..., : self.asked])
            return found if self.asked == W else np.concatenate([found, *[found[..., -1:]] * (W - self.asked)], -1)

        W = self.machinery.worlds
        return array.program.outside(function, [array], (*shape, W), dtype)

    def _decided(self, value: Array, entities: int) -> Array:
        """(entities, P, W) of what a policy decided, and a note of whether that can be."""
        m = self.machinery
        value = m.ops.moveaxis(value, 0, -1)
        if tuple(value.shape) != (entities, m.tables.P, m.worlds) or value.dtype.kind not in "fi":
            raise Unrecordable(f"a decision of shape {value.shape} and type {value.dtype}")
        value = m.ops.zeros(value.shape, value.dtype) + value if not isinstance(value, RecordedArray) else value.copy()
        usable = np.logical_and.reduce(((value >= 0) & (value <= MOST)).reshape((-1, m.worlds)), axis=0)
        np.logical_and(self.fits, usable, out=self.fits)
        return value

    def _account(self, flows: Flows, closing: State, last: Array | None) -> dict[str, Array]:
        """Add up the cost lines, which are returned."""
        ledger, ops = self.machinery.ledger, self.machinery.ops
        lines = ledger.period(flows, last=self._valued, closing=closing)
        if last is not None and "terminal" in lines:
            lines["terminal"] = ops.where(last > 0, lines["terminal"], -0.0)
        for line, money in lines.items():
            total = self.sums.setdefault(line, np.zeros(self.machinery.worlds))
            np.add(total, money, out=total)
        np.add(self.before, ledger.net_cost(lines), out=self.before)
        return lines

    def _hand_on(self, places: list[Any], results: list[Any]) -> None:
        """Put what the next period starts from where it will look for it."""
        for i, (place, one) in enumerate(zip(places, results, strict=True)):
            if (place is None) != (one is None) or (one is not None and one.dtype != place.dtype):
                raise Unrecordable("the state of a later period has another form than that of the first")
            if one is not None and one is not place and any(_overlap(one, other) for other in places):
                results[i] = one.copy()
        for place, one in zip(places, results, strict=True):
            if one is not None and one is not place:
                place[...] = one


def _overlap(one: Any, other: Any) -> bool:
    return other is not None and np.may_share_memory(one.value, other.value)


def exogenous(given: dict[str, Array]) -> Exogenous:
    """Exogenous data of a period, by name."""
    return Exogenous(*(given.get(name) for name in Exogenous._fields))
