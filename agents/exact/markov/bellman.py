"""Average-cost dynamic programming on a finite process: improvement, evaluation, bounds, stationary distribution."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from echelongym.envs.core.errors import InputError
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.storage import journal

if TYPE_CHECKING:
    from .decision_process import Process

LAZY = 0.9  # share of a step taken: a chain that would go round in circles settles
SWEEPS = 60  # evaluations of one policy between two improvements
ROUNDS = 400
KEPT_SECONDS = 3.0  # between two states kept in the journal, where there is one
STEPS = 20_000  # periods after which a chain should have forgotten where it began
SETTLED = 1e-10  # change a period of all shares together that may be left then


class Unsettled(InputError):
    """Error for a chain without a long run: too many states, or stock or backlog that grows without end."""


class TooManyStates(Unsettled):
    """Error for a chain with more states than the limit, or one that grows without end."""


class Solution(NamedTuple):
    """Bounds on the average cost, and the best decision of every state."""

    low: float
    high: float
    chosen: Ints  # (states,) decision
    values: Floats  # (states,) relative cost, money


def optimise(process: Process, tolerance: float, values: Floats | None = None) -> Solution:
    """Modified policy iteration (Puterman, Markov Decision Processes, 1994, section 8.7.1).

    After every improvement TV of values V the optimum lies between the least and the greatest of TV - V (Odoni,
    Operations Research 17(5), 1969); ends when these are within ``tolerance`` of each other, relative to the cost.
    Where some states can never be left for better ones (stock that nobody asks for), the two stay apart: then what the
    policy costs that begins in state 0, the empty network, takes the place of the greatest.
    """
    values = np.zeros(process.count) if values is None else values
    if journal.active() is None:
        return _optimised(process, tolerance, values, None)
    begun = [_fingerprint(process), tolerance, values]
    found = journal.step(
        "value iteration: an optimum", begun, lambda: _optimised(process, tolerance, values, begun)._asdict()
    )
    return Solution(**found)


def _fingerprint(process: Process) -> str:
    """What tells a process from others: all its numbers."""
    found: list[Any] = [process.cost, process.starts, process.served_cost, process.single]
    for matrix in (process.after, process.serving, process.receiving):
        found.append(None if matrix is None else [matrix.data, matrix.indices, matrix.indptr])
    return journal.fingerprint(found)


def _optimised(process: Process, tolerance: float, values: Floats, begun: Any) -> Solution:
    solution = Solution(-np.inf, np.inf, np.zeros(0, np.int64), values)
    rounds, kept = 0, time.monotonic()
    # Where an earlier process was when it was killed; what follows is a function of that.
    before = None if begun is None else journal.known("value iteration: a round", begun)
    if before is not None:
        rounds, values = int(before["rounds"]), before["values"]
        solution = solution._replace(low=float(before["low"]), high=float(before["high"]))
    for number in range(rounds + 1, ROUNDS + 1):
        if begun is not None and time.monotonic() - kept > KEPT_SECONDS:
            state = {"rounds": number - 1, "values": values, "low": solution.low, "high": solution.high}
            journal.note("value iteration: a round", begun, state, last=False)
            kept = time.monotonic()
        rest = process.served_cost + process.serving @ (process.receiving @ values)
        costs = process.cost + (rest[process.single] if process.single is not None else process.after @ rest)
        improved = np.minimum.reduceat(costs, process.starts)
        change = improved - values
        low, high = max(float(change.min()), solution.low), min(float(change.max()), solution.high)
        chosen = _first(costs <= improved[process.owner], process.owner)
        solution = Solution(low, high, chosen, improved - improved[0])
        scale = max(abs(low), abs(high), 1e-6)
        if high - low <= tolerance * scale:
            return solution
        if number % 20 == 0:
            share, _ = visits(process, chosen)
            begun = float(share @ _policy(process, chosen)[0])
            if begun - low <= tolerance * scale:
                return solution._replace(high=max(begun, low))
        values = _evaluated(process, chosen, improved, 0.05 * (high - low))
    share, _ = visits(process, solution.chosen)
    return solution._replace(high=float(share @ _policy(process, solution.chosen)[0]))


def _first(mask: Any, owner: Ints) -> Ints:
    """The first decision marked of each state."""
    marked = np.flatnonzero(mask)
    of = owner[marked]
    return marked[np.concatenate([[True], of[1:] != of[:-1]])]


def _evaluated(process: Process, chosen: Ints, values: Floats, accuracy: float) -> Floats:
    """Values moved towards those of one policy."""
    cost, after = _policy(process, chosen)
    for _ in range(SWEEPS):
        step = cost + after @ (process.receiving @ values) - values
        values = values + LAZY * step
        values -= values[0]
        if step.max() - step.min() <= accuracy:
            break
    return values


def _policy(process: Process, chosen: Ints) -> tuple[Floats, Any]:
    """Expected money of a period, and probabilities of what has closed, of one policy."""
    if process.single is not None:
        z = process.single[chosen]
        return process.cost[chosen] + process.served_cost[z], process.serving[z]
    mix = process.after[chosen]
    return process.cost[chosen] + mix @ process.served_cost, mix @ process.serving


def visits(process: Process, chosen: Ints) -> tuple[Floats, Any]:
    """Stationary probability of every state under a policy, and of what stands after shipping (z,)."""
    _, closed = _policy(process, chosen)
    back = (closed @ process.receiving).T.tocsr()
    share = stationary(back, process.count)
    after = process.after[chosen] if process.after is not None else None
    if after is None:
        assert process.single is not None
        standing = np.bincount(process.single[chosen], weights=share, minlength=process.serving.shape[0])
    else:
        standing = after.T @ share
    return share, standing


def stationary(back: Any, count: int, share: Floats | None = None, tolerance: float = 1e-13) -> Floats:
    """Long-run distribution of a chain begun in state 0 (or in ``share``), by its transposed matrix (to, from).

    Raises
    ------
    Unsettled
        If it has not settled after so many periods that it never will.
    """
    if share is None:
        share = np.zeros(count)
        share[0] = 1.0
    change = np.inf
    for _ in range(STEPS):
        moved = LAZY * (back @ share) + (1.0 - LAZY) * share
        change = float(np.abs(moved - share).sum())
        share = moved / moved.sum()
        if change <= tolerance:
            return share
    if change > SETTLED:
        raise Unsettled(f"a chain of {count} states that has not settled after {STEPS} periods")
    return share
