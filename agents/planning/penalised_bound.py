"""Information-relaxation bound: tighter than perfect information, as knowing the future is penalised.

A penalty whose mean is zero for every policy that does not look ahead, added to what a clairvoyant pays, leaves a lower
bound; the right one makes it the optimum (Brown, Smith and Sun, Operations Research 58(4), 2010). Here it is the slope of
an approximate value function in the echelon positions, less what could be expected of it (Brown and Smith, Operations
Research 62(6), 2014, for penalties that keep a linear program linear):

    penalty = sum over periods t, nodes n of (sum over k of weight_nk innovation_tnk) x (position_tn - level_n)

with the position after ordering, which is what a decision sets, and series of mean zero given what is known when it is
set (:mod:`.innovations`): whether demand over the periods that the order covers exceeds a quantile, less the probability.
For a newsvendor, whose cost has the slope h - (h + p) 1{demand > level}, that is the right one. The bound is concave in
the weights; they are fitted by stochastic ascent on other worlds of the same law. Any weights bound.

It holds for policies that on no lane ship more than ``MOST_PERIODS`` periods of mean flow in one period, which keeps the
programs bounded. Probabilities are estimated from many worlds; nothing of the worlds that are bounded enters them.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.interface.inventory_positions import longest_way
from echelongym.envs.network.tables import Tables
from echelongym.envs.storage.journal import step
from echelongym.envs.workers.cores import Asked
from echelongym.envs.workers.pieces import Piece, in_order
from echelongym.envs.worlds.tape import Tape

from .innovations import Innovations
from .linear_program.assembly import LinearProblem
from .linear_program.outlook import Outlook, Standing
from .linear_program.program import NetworkProgram, bounding, relaxations
from .linear_program.solver import Solver
from .linear_program.views import view
from .perfect_information import CHUNK, Bound, tape_fingerprint

if TYPE_CHECKING:
    from echelongym.envs.scenario.scenario import Scenario

FITTED = 100_000_000  # first number of the worlds of the ascent
MOST_PERIODS = 20  # of mean flow that a lane ships in a period at most
WORLDS = 8  # of one step of the ascent
WORK = 1_200_000  # columns x steps, about, that the ascent takes
MOST_STEPS, FEWEST_STEPS = 150, 20
PERIODS = 60  # of the worlds of the ascent, or four times the longest way
RATE = 0.02  # Adam's step, in units of what a unit short costs
SHARES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)  # of the penalty that are tried
VALIDATED = 24  # worlds that they are tried on
TOGETHER = 8  # steps between two fresh starts of the solver
AVERAGED = 0.25  # share of the steps, the last ones, whose weights are averaged


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of a fitted penalty."""

    values: Floats  # (I, windows, quantiles) money a unit
    bound: float  # on worlds that the ascent has not seen, of fewer periods
    steps: int
    seconds: float


class Positions:
    """Echelon positions after ordering as affine functions of a program's columns, (T, I)."""

    def __init__(self, program: NetworkProgram, standing: Standing, cells: Ints) -> None:
        t = program.tables
        on_hand, in_transit = view(program, "on_hand", standing), view(program, "in_transit", standing)
        backlog, ship = view(program, "backlog", standing), view(program, "ship", standing)
        parts, constant = [], np.zeros(program.periods * len(cells))
        for one, weights in (
            (on_hand, _of_nodes(t, cells)),
            (in_transit, _of_lanes(t, cells)),
            (backlog, -_of_customers(t, cells)),
            (ship, _entering(t, cells)),
        ):
            matrix = _pick(weights, one.shape)
            parts.append(matrix @ one.matrix)
            constant += matrix @ one.constant
        self.matrix, self.constant = sum(parts[1:], parts[0]).tocsr(), constant
        self.shape = (program.periods, len(cells))

    def __call__(self, values: Floats) -> Floats:
        """(T, I) positions of a solution."""
        found: Floats = (self.matrix @ values + self.constant).reshape(self.shape)
        return found

    def charged(self, problem: LinearProblem, prices: Floats, level: Floats) -> LinearProblem:
        """A program with prices (T, I) a unit on the positions less levels (I,)."""
        flat = prices.reshape(-1)
        offset = float(flat @ self.constant) - float((prices * level).sum())
        return dataclasses.replace(problem, cost=problem.cost + self.matrix.T @ flat, offset=problem.offset + offset)


def _pick(weights: Floats, shape: tuple[int, ...]) -> Any:
    """Sparse (T * I, entries) from weights (I, entity, product) of an array (T, entity, product, ...)."""
    from scipy.sparse import coo_array

    coordinate, entity, product = np.nonzero(weights)
    rest = int(np.prod(shape[3:]))
    T, count = shape[0], len(weights)
    within = ((entity * shape[2] + product)[:, None] * rest + np.arange(rest)).reshape(-1)
    rows = np.repeat(coordinate, rest)
    size = int(np.prod(shape[1:]))
    now = np.arange(T)[:, None]
    data = np.broadcast_to(np.repeat(weights[coordinate, entity, product], rest), (T, len(within)))
    places = (now * count + rows).reshape(-1), (now * size + within).reshape(-1)
    return coo_array((data.reshape(-1), places), shape=(T * count, T * size)).tocsr()


def _of_nodes(t: Tables, cells: Ints) -> Floats:
    """(I, N, P) 1 where the node's stock is in the coordinate's echelon."""
    found = np.zeros((len(cells), t.N, t.P))
    for i, (node, product) in enumerate(cells):
        found[i, :, product] = t.echelon[node, :, product] & ~t.is_supplier
    return found


def _of_lanes(t: Tables, cells: Ints) -> Floats:
    """(I, L, P) 1 where what is in transit on the lane is."""
    return _of_nodes(t, cells)[:, t.lane_target] * t.lane_carries


def _of_customers(t: Tables, cells: Ints) -> Floats:
    """(I, C, P) 1 where who waits is first served there."""
    found = np.zeros((len(cells), t.C, t.P))
    for i, (node, product) in enumerate(cells):
        found[i, :, product] = t.served_below(node)[:, product]
    return found


def _entering(t: Tables, cells: Ints) -> Floats:
    """(I, L, P) 1 where a shipment enters the echelon from outside, -1 where it leaves it."""
    nodes = _of_nodes(t, cells)
    source = np.where((t.lane_source >= 0)[:, None], nodes[:, np.maximum(t.lane_source, 0)], 0.0)
    found: Floats = (nodes[:, t.lane_target] - source) * t.lane_open
    return found


class _Charged:
    """Programs of worlds with a penalty, solved one after another."""

    def __init__(self, tables: Tables, cells: Ints, level: Floats, most: Floats) -> None:
        self.tables, self.cells, self.level, self.most = tables, cells, level, most
        self.standing, self.solver = Standing.initial(tables), Solver()
        self.program: NetworkProgram | None = None

    def restart(self) -> None:
        """Forget what was solved: what comes does not depend on it."""
        self.solver = Solver()

    def solve(self, outlook: Outlook, prices: Floats) -> tuple[float, Floats]:
        """Mean cost a period, and positions less levels (T, I), of one world; ``prices`` (T, I)."""
        if self.program is None or not self.program.fits(outlook):
            self.program = NetworkProgram(self.tables, outlook.lead_time, outlook.lane_yield)
            self.positions = Positions(self.program, self.standing, self.cells)
            ship = self.program.ship
            self.limited = ship >= 0
            self.limits = np.broadcast_to(self.most[:, self.program.cells.product], ship.shape)[self.limited]
        problem = self.program.problem(outlook, self.standing)
        columns = self.program.ship[self.limited]
        upper = problem.upper.copy()
        upper[columns] = np.minimum(upper[columns], self.limits)
        charged = self.positions.charged(dataclasses.replace(problem, upper=upper), prices, self.level)
        solution = self.solver.solve(charged)
        return solution.objective / outlook.periods, self.positions(solution.values) - self.level


def fit(
    scenario: Scenario,
    seed: int = 0,
    purpose: str = "test",
    steps: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Weights:
    """Weights of the penalty, by stochastic ascent of the bound on worlds of the same law as those to be bounded.

    Parameters
    ----------
    seed, purpose
        Of the worlds to be bounded; the ascent has others, of numbers beyond ``FITTED``.
    steps
        Of the ascent, of 8 worlds each; None: as many as make about a minute.
    progress
        Called with (steps done, steps in all).

    Raises
    ------
    InputError
        Where there is no penalty for the scenario (:func:`.innovations.refusal`).
    """
    started = time.perf_counter()
    t = scenario.tables
    periods = min(t.horizon, max(PERIODS, 4 * longest_way(t)))
    series = Innovations(scenario, periods, seed, purpose)
    charged = _Charged(t, series.cells, *_scales(scenario, series.cells))
    ascent = _Ascent(scenario, series, charged, seed, purpose, periods, steps)
    while not ascent.over:
        ascent.advance()
        if progress is not None:
            progress(ascent.step, ascent.last)
    theta, last = ascent.average, ascent.last
    charged.restart()
    # On fresh worlds a part of the penalty may bound better than all of it: the ascent has learnt its own worlds, too.
    numbers = range(FITTED + last * WORLDS, FITTED + last * WORLDS + VALIDATED)
    tape = scenario.sample(numbers, seed, purpose, periods).check(scenario)
    prices = np.einsum("btiwq,iwq->bti", series.of(tape), theta)
    means = [
        np.mean([charged.solve(Outlook.of_tape(tape, place), share * prices[place])[0] for place in range(VALIDATED)])
        for share in SHARES
    ]
    best = int(np.argmax(means))
    return Weights(SHARES[best] * theta, float(means[best]), last, time.perf_counter() - started)


class _Ascent:
    """Stochastic ascent of the bound in the weights, a few steps at a time.

    The solver starts afresh with each few: so what they give follows from where they begin alone, and they are a step of
    the journal, where one is kept.
    """

    def __init__(
        self,
        scenario: Scenario,
        series: Innovations,
        charged: _Charged,
        seed: int,
        purpose: str,
        periods: int,
        steps: int | None,
    ) -> None:
        self.scenario, self.series, self.charged = scenario, series, charged
        self.seed, self.purpose, self.periods = seed, purpose, periods
        self.step, self.last, self.natural = 0, 1 if steps is None else steps, steps is None
        self.unit = _penalty_unit(scenario.tables, series.cells)[:, None, None]
        self.theta, self.first, self.second, self.total = np.zeros((4, *series.shape))
        self.kept = 0
        sample = scenario.sample(2, seed, purpose, periods).demand
        self.made_from = [scenario.digest, sample, seed, purpose, periods, steps]

    @property
    def over(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.last

    @property
    def average(self) -> Floats:
        """(I, windows, quantiles) mean weights of the last share of the steps."""
        return self.total / max(self.kept, 1)

    def advance(self) -> None:
        """Go a few steps on."""
        arrays = ("theta", "first", "second", "total")
        numbers = ("step", "last", "kept")

        def compute() -> dict[str, Any]:
            self.charged.restart()
            for _ in range(min(TOGETHER, self.last)):
                if not self.over:
                    self._once()
            return {name: getattr(self, name) for name in (*arrays, *numbers)}

        begun = [self.made_from, *(getattr(self, name) for name in (*arrays, *numbers))]
        for name, value in step("bound: steps of the ascent", begun, compute).items():
            setattr(self, name, value)

    def _once(self) -> None:
        numbers = range(FITTED + self.step * WORLDS, FITTED + (self.step + 1) * WORLDS)
        tape = self.scenario.sample(numbers, self.seed, self.purpose, self.periods).check(self.scenario)
        innovations = self.series.of(tape)
        gradient = np.zeros(self.series.shape)
        for place in range(WORLDS):
            prices = np.einsum("tiwq,iwq->ti", innovations[place], self.theta)
            _, positions = self.charged.solve(Outlook.of_tape(tape, place), prices)
            gradient += np.einsum("tiwq,ti->iwq", innovations[place], positions) / (self.periods * WORLDS)
        if self.natural and self.step == 0:
            assert self.charged.program is not None
            self.last = int(np.clip(WORK / self.charged.program.shape[1], FEWEST_STEPS, MOST_STEPS))
        self.step += 1
        self.first = 0.8 * self.first + 0.2 * gradient
        self.second = 0.95 * self.second + 0.05 * gradient**2
        rate = RATE * self.unit * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * self.step / self.last)))
        moment = self.first / (1 - 0.8**self.step)
        self.theta = self.theta + rate * moment / (np.sqrt(self.second / (1 - 0.95**self.step)) + 1e-9)
        if self.step > (1 - AVERAGED) * self.last:
            self.total, self.kept = self.total + self.theta, self.kept + 1


def tightened(
    scenario: Scenario,
    tape: Tape,
    seed: int,
    purpose: str,
    weights: Weights,
    workers: Asked | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bound:
    """Information-relaxation bound, world by world; only the mean over worlds bounds the expected cost of policies.

    Parameters
    ----------
    tape
        Worlds of that seed and purpose.
    weights
        From :func:`fit` for the same network.
    workers, progress
        As in :func:`.bound.perfect_information`.

    Raises
    ------
    InputError
        If the weights are of another network.
    """
    started = time.perf_counter()
    tape = tape.check(scenario)
    series = Innovations(scenario, tape.periods, seed, purpose)
    if weights.values.shape != series.shape:
        raise expected("weights", weights.values.shape, f"those of scenario {scenario.name}, {series.shape}")
    level, most = _scales(scenario, series.cells)
    places = [range(tape.batch)[first : first + CHUNK] for first in range(0, tape.batch, CHUNK)]
    fixed = (bounding(scenario.tables), series.cells, level, most)
    made_from = [scenario.digest, tape.periods, tape_fingerprint(tape), seed, purpose, weights.values]

    def arguments(chunk: range) -> tuple[Any, ...]:
        prices = np.einsum("btiwq,iwq->bti", series.of(tape[list(chunk)]), weights.values)
        return *fixed, ([Outlook.of_tape(tape, place) for place in chunk], prices)

    pieces = [Piece(_solve_chunk, partial(arguments, chunk), len(chunk), [*made_from, list(chunk)]) for chunk in places]
    costs: list[Floats] = []
    for found in in_order(pieces, workers=workers):
        costs.append(found)
        if progress is not None:
            progress(sum(len(one) for one in costs), tape.batch)
    notes = relaxations(scenario.tables)
    return Bound(np.concatenate(costs), tape.worlds, tape.periods, notes, time.perf_counter() - started)


def _solve_chunk(
    tables: Tables, cells: Ints, level: Floats, most: Floats, task: tuple[Sequence[Outlook], Floats]
) -> Floats:
    charged = _Charged(tables, cells, level, most)
    return np.array([charged.solve(outlook, prices)[0] for outlook, prices in zip(*task, strict=True)])


def _scales(scenario: Scenario, cells: Ints) -> tuple[Floats, Floats]:
    """Levels (I,) that positions are counted from, and the most (L, P) that a lane ships in a period."""
    auto = automatic_levels(scenario)
    level = auto.echelon[cells[:, 0], cells[:, 1]]
    most: Floats = MOST_PERIODS * np.maximum(auto.flow, 1.0)[scenario.tables.lane_target]
    return level, most


def _penalty_unit(t: Tables, cells: Ints) -> Floats:
    """(I,) what a unit short costs the customers of a coordinate's echelon, at most."""
    short = t.lost_share * (t.lost_sale_cost + t.price) + (1 - t.lost_share) * t.backorder_cost
    found = (_of_customers(t, cells) * short).max((1, 2))
    return np.where(found > 0, found, 1.0)
