"""Rollouts: which policies run as programs, when these are worth compiling, and what comes out."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..accounts.kpis import KpiAccumulator, windows
from ..accounts.ledger import Ledger
from ..compiler.c_compiler import CannotCompile, NotMade, reason_of
from ..compiler.schedule import NothingToGain
from ..core.backend import Array, Ops
from ..dynamics.playback import unusual_lead_times
from ..network.tables import Tables
from ..worlds.tape import Tape
from .kpi_sums import KpiSums
from .program import Machinery, RolloutProgram, Unrecordable
from .recordable import Recordable, recordable
from .tape_part import TapePart, filled, read_arrays
from .trace_rows import TraceRows, traced_names

if TYPE_CHECKING:
    from ..interface.observation import Policy
    from ..scenario.scenario import Scenario

#: Programs that are kept, bytes of what parts of a batch hand on from period to period, and worlds in a part.
KEPT, BYTES, LEAST, MOST = 32, 200_000, 16, 64
MOST_ASKED = 256  # worlds in a part where the policy calls what is not recorded
ROOM, ROOM_IN_ALL = 2**27, 2**29  # most bytes that the rows of those who wait may take, of one program and of all
#: Most bytes of inputs and buffers that the programs kept may hold together, besides the one in use: four of `continental`,
#: which take 120 MB each and 150 to 250 MB of the process, and more than :data:`KEPT` of any other shipped scenario.
BYTES_IN_ALL = 2**29
#: Seconds, first ones and for each call of a period: what it costs to record and to find compiled code in the cache, and
#: what it costs to compile.
TO_LOAD, TO_COMPILE = (0.05, 0.0005), (0.05, 0.0025)
MOST_CALLS = 4_000  # of a period, more are not compiled
TRIED = 4  # first periods that say how long the others would take without a program


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of a simulation in B worlds: cost lines of the periods reported, net cost of those before, and indicators."""

    lines: dict[str, Array]  # (B,) money
    before: Array  # (B,) money
    kpis: KpiAccumulator | None
    trace: Any = None  # where it was asked for


@dataclass(eq=False)
class KnownProgram:
    """A program of a scenario and a kind of policy: recorded, or not used for long enough."""

    tables: Tables  # so that its identity stays its own
    room: int  # bytes of rows, see ROOM
    spent: float = 0.0  # seconds that were spent without it
    program: RolloutProgram | None = None
    looked: bool = False  # whether it was looked for in the cache of compiled code
    reason: str | None = "not used for long enough"  # why it does not run; None where it does
    refused: bool = False  # it never will


_entries: OrderedDict[Any, KnownProgram] = OrderedDict()
_machinery: OrderedDict[Any, Machinery] = OrderedDict()
_lock = Lock()  # programs have one memory


class Rollout:
    """A policy over a tape, that :meth:`run` does with a program where that is :meth:`worth_while`.

    Parameters
    ----------
    scenario, tape
        What is simulated; the tape has been checked.
    policy
        What is recorded of the policy.
    kpis, trace
        Whether key performance indicators are wanted, and what is kept of every period.
    """

    def __init__(
        self, scenario: Scenario, policy: Recordable, tape: Tape, kpis: bool, trace: bool | Sequence[str] = False
    ) -> None:
        self.scenario, self.policy, self.tape, self.kpis = scenario, policy, tape, kpis
        self.trace = traced_names(trace)
        self.tables = t = scenario.tables
        self.worlds = worlds_of(t, policy, tape)
        self.vary = unusual_lead_times(t, tape.exogenous)
        self.most = 256  # periods
        while self.most < tape.periods:
            self.most *= 2
        pattern = tuple((name, array.shape[1:-1]) for name, array in read_arrays(tape).items())
        key = (id(t), policy.structure, pattern, self.vary, self.most if kpis else 0, self.trace, self.worlds)
        self.entry = _entries.get(key) or KnownProgram(t, room_of(t, tape, self.worlds) if kpis else 0)
        _entries[key] = self.entry
        _entries.move_to_end(key)
        forget()
        self._began = self._first_done = perf_counter()

    @classmethod
    def of(
        cls, scenario: Scenario, policy: Policy, tape: Tape, ops: Ops, kpis: bool, trace: bool | Sequence[str] = False
    ) -> Rollout | None:
        """None where the policy cannot be recorded, or the arithmetic is another one."""
        if ops.name != "numpy" or ops.float != np.float64 or os.environ.get("ECHELONGYM_NATIVE") == "0":
            return None
        t = scenario.tables
        recorded = recordable(policy, ops.int if t.integer else ops.float)
        if recorded is None or (kpis and room_of(t, tape, worlds_of(t, recorded, tape)) > ROOM):
            return None
        found = cls(scenario, recorded, tape.check(scenario), kpis, trace)
        return None if found.entry.refused else found

    def worth_while(self, done: int = 0) -> bool:
        """Whether to run the program from now on: it is there, or soon pays for its making.

        Parameters
        ----------
        done
            Periods that were simulated without it since the rollout was made.
        """
        entry, periods = self.entry, self.tape.periods
        if entry.refused or done not in (0, 1, TRIED, periods):
            return False
        now, ahead = perf_counter(), 0.0
        if done == periods:
            entry.spent += now - self._began  # who comes next may find it worth while
            return False
        if done == 1:
            self._first_done = now  # the first period makes what all need
            return False
        if done == TRIED:
            ahead = now - self._began + (now - self._first_done) / (TRIED - 1) * (periods - TRIED)
        if entry.reason is not None:
            self._make(entry.spent + ahead)
        return entry.reason is None

    def _make(self, seconds: float) -> None:
        """Make the program if it saves so many seconds."""
        if seconds < TO_LOAD[0]:
            return
        with _lock:
            self._recorded_or_compiled(seconds)

    def _recorded_or_compiled(self, seconds: float) -> None:
        entry = self.entry
        try:
            if entry.program is None:
                entry.program = self.record()
                forget()
                if len(entry.program.program.calls) > MOST_CALLS:
                    raise Unrecordable(f"{len(entry.program.program.calls)} operations")
            calls = len(entry.program.program.calls)
            compiles = seconds >= TO_COMPILE[0] + calls * TO_COMPILE[1]
            if compiles or (not entry.looked and seconds >= TO_LOAD[0] + calls * TO_LOAD[1]):
                entry.looked = True
                entry.program.compile(made=not compiles)
                entry.reason = None
        except NotMade:
            return
        except Exception as error:  # whatever it is, it would only have made things faster
            entry.refused, entry.program = True, None
            entry.reason = reason_of(error, (Unrecordable, CannotCompile, NothingToGain))

    @property
    def ledger(self) -> Ledger:
        """The scenario's ledger, made once."""
        return machinery_of(self.tables, self.worlds, self.vary).ledger

    def record(self) -> RolloutProgram:
        """Record a period.

        Raises
        ------
        Unrecordable
            If that cannot be.
        """
        t, W = self.tables, self.worlds
        machinery = machinery_of(t, W, self.vary)
        part = TapePart(t, self.tape, W)
        stop = min(W, self.tape.batch)
        part.fill(0, stop)
        if self.policy.foreseen is not None:
            part.foresee(self.policy.foreseen(self.tape)(0, stop))
        sums = KpiSums(t, machinery.ops, W, windows(self.scenario), self.most) if self.kpis else None
        rows = TraceRows(machinery.ledger, self.trace) if self.trace else None
        return RolloutProgram(machinery, self.policy, part, sums, rows)

    def run(self, progress: Callable[[int, int], None] | None = None, told: int = 0) -> Sums | None:
        """All periods of all worlds; None if the policy decides what does not fit, to be said by who asks it again.

        Parameters
        ----------
        progress
            Called once for each period, with (periods done, periods in all).
        told
            For so many of them it has been called already.
        """
        with _lock:
            return self._run(progress, told)

    def _run(self, progress: Callable[[int, int], None] | None, told: int) -> Sums | None:
        assert self.entry.program is not None
        t, tape, program, W = self.tables, self.tape, self.entry.program, self.worlds
        foreseen = None if self.policy.foreseen is None else self.policy.foreseen(tape)
        for number, given in zip(program.numbers, self.policy.numbers, strict=True):
            number[...] = given
        for array, given in zip(program.shared, self.policy.shared, strict=True):
            array[...] = given
        for memory, opening in zip(program.memory, self.policy.memory or (), strict=True):
            memory[...] = opening
        program.outside = self.policy.outside
        if program.trace is not None:
            program.trace.begin(tape.periods, tape.batch)
        lines = {line: np.zeros(tape.batch) for line in program.sums}
        before = np.zeros(tape.batch)
        whole = None if program.kpis is None else program.kpis.accumulated.like(tape.batch)
        for start, stop, part in filled(t, tape, W):
            part.foresee([] if foreseen is None else foreseen(start, stop))
            program.read(part)
            program.start()
            mine = slice(0, stop - start)
            # A few worlds alone: products of matrices of few columns are rounded in another way than those of many.
            program.asked = min(W, tape.batch, -(-(stop - start) // LEAST) * LEAST)
            if t.warm_up:
                program.run(0, t.warm_up)
                before[start:stop] = program.before[mine]
                program.clear()
            program.run(t.warm_up, tape.periods)
            if not program.fits[mine].all():
                return None
            for line, total in program.sums.items():
                lines[line][start:stop] = total[mine]
            if whole is not None and program.kpis is not None:
                program.kpis.hand_over(whole, start, stop, part.rows["demand"][t.H + t.warm_up : -1])
            if program.trace is not None:
                program.trace.keep(start, stop)
            done = tape.periods * stop // tape.batch
            while progress is not None and told < done:
                told += 1
                progress(told, tape.periods)
        return Sums(lines, before, whole, None if program.trace is None else program.trace.hand_over())


def forget() -> None:
    """Drop programs, those first that were not used for longest, until few enough and small enough ones are left.

    The last one stays, and of each scenario that has none left the dynamics go, too.
    """
    while len(_entries) > 1 and (
        len(_entries) > KEPT
        or sum(one.room for one in _entries.values()) > ROOM_IN_ALL
        or sum(one.program.bytes for one in _entries.values() if one.program is not None) > BYTES_IN_ALL
    ):
        _entries.popitem(last=False)
    known = {id(one.tables) for one in _entries.values()}
    for key in [key for key in _machinery if key[0] not in known]:
        del _machinery[key]


def worlds_together(tables: Tables) -> int:
    """Worlds W that are run together, so that what one period hands on to the next stays in the cache."""
    t = tables
    numbers = t.N * t.P * t.A + (t.L * t.P * t.K + t.L * t.P) * t.A + t.C * t.P * (t.W + 4) + 4 * t.L * t.P
    return max(LEAST, min(MOST, BYTES // (8 * numbers) // 16 * 16))


def worlds_of(tables: Tables, policy: Recordable, tape: Tape) -> int:
    """The same for a policy; one that calls what is not recorded is asked for more, as that costs hardly more."""
    worlds = worlds_together(tables)
    if (
        worlds == LEAST and tape.batch <= LEAST // 2
    ):  # a period of a large network takes twice as long with twice the worlds
        worlds = LEAST // 2
    while policy.outside is not None and worlds < min(tape.batch, MOST_ASKED):
        worlds *= 2
    return worlds


def program_bytes(tables: Tables) -> int:
    """Bytes that a program of a scenario takes, about: some two hundred numbers for each world, lane and product."""
    return 8 * 200 * tables.L * tables.P * worlds_together(tables)


def room_of(tables: Tables, tape: Tape, worlds: int) -> int:
    """Bytes of the rows of those who wait: two numbers a period, customer and product."""
    return 16 * tape.periods * tables.C * tables.P * worlds


def machinery_of(tables: Tables, worlds: int, vary: bool) -> Machinery:
    """Dynamics and ledger, made once for a scenario."""
    key = (id(tables), worlds, vary)
    if key not in _machinery:
        _machinery[key] = Machinery.of(tables, worlds, vary)
        while len(_machinery) > KEPT:
            _machinery.popitem(last=False)
    return _machinery[key]
