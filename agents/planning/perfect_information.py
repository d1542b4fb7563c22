"""Perfect-information bound: the optimum of every world with all of its future known, which no policy can beat."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np

from echelongym.envs.core.errors import InputError
from echelongym.envs.core.typing import Floats
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage import journal
from echelongym.envs.workers.cores import Asked
from echelongym.envs.workers.pieces import Piece, in_order
from echelongym.envs.worlds.tape import Tape

from .linear_program.outlook import Outlook, Standing
from .linear_program.program import NetworkProgram, bounding, relaxations
from .linear_program.solver import Solver

#: Worlds solved one after another by one process, each from the basis of the last where the structure is the same. The
#: number is fixed, so that results do not hang on the number of processes.
CHUNK = 4


@dataclass(frozen=True, eq=False)
class Bound:
    """Lower bound on what any policy costs, world by world; B worlds."""

    cost: Floats  # (B,) money a period, mean over the whole episode, warm-up included
    worlds: tuple[int, ...]
    periods: int
    relaxations: list[str]  # what of the scenario the program relaxes, in words
    seconds: float  # wall clock, all worlds

    @property
    def mean(self) -> float:
        """Mean over worlds, money a period."""
        return float(self.cost.mean())


def perfect_information(
    scenario: Scenario,
    tape: Tape,
    workers: Asked | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bound:
    """The perfect-information (clairvoyant) bound: each world's cheapest flows, all of its tape known beforehand.

    The mean over worlds bounds the expected cost of every policy, which knows less, and world by world the bound holds
    for the cost of every policy in that world. What is not linear is relaxed (:mod:`program`).

    Parameters
    ----------
    scenario, tape
        The scenario and worlds of it.
    workers
        Number of processes, or ``auto`` (:mod:`echelongym.envs.workers.cores`); left out: as many as the command that runs
        was given, in Python 1. The results are the same for any number.
    progress
        Called with (worlds done, worlds in all).

    Raises
    ------
    InputError
        If the tape does not fit, or stock left at the end is worth more than it costs to bring (no bound exists).
    """
    tape = tape.check(scenario)
    started = time.perf_counter()
    tables, worlds = scenario.tables, range(tape.batch)
    chunks = [worlds[first : first + CHUNK] for first in range(0, tape.batch, CHUNK)]
    key = [scenario.digest, tape.periods, tape_fingerprint(tape)]

    def arguments(chunk: range) -> tuple[Any, ...]:
        return bounding(tables), [(Outlook.of_tape(tape, place), tape.worlds[place]) for place in chunk]

    pieces = [Piece(solve_worlds, partial(arguments, chunk), len(chunk), [*key, list(chunk)]) for chunk in chunks]
    found: list[Floats] = []
    for costs in in_order(pieces, workers=workers):
        found.append(costs)
        if progress is not None:
            progress(sum(len(one) for one in found), tape.batch)
    cost = np.concatenate(found)
    return Bound(cost, tape.worlds, tape.periods, relaxations(tables), time.perf_counter() - started)


def tape_fingerprint(tape: Tape) -> str:
    """Fingerprint of a tape: all that it holds but the records that it was drawn from, which change no outcome."""
    return journal.fingerprint([getattr(tape, one.name) for one in fields(tape) if one.name != "drawn"])


def solve_worlds(tables: Tables, worlds: Sequence[tuple[Outlook, int]]) -> Floats:
    """(worlds,) optimal mean cost a period of some worlds from the scenario's start.

    Raises
    ------
    InputError
        Naming the world whose program has no finite optimum.
    """
    solver, standing = Solver(), Standing.initial(tables)
    program: NetworkProgram | None = None
    costs = np.zeros(len(worlds))
    for i, (outlook, label) in enumerate(worlds):
        if program is None or not program.fits(outlook):
            program = NetworkProgram(tables, outlook.lead_time, outlook.lane_yield)
        try:
            solution = solver.solve(program.problem(outlook, standing))
        except InputError as error:
            raise InputError(f"scenario {tables.name}, world {label}: {error}") from None
        costs[i] = solution.objective / outlook.periods
    return costs
