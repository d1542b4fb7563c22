"""Long-run average cost of a policy on a small scenario: the Markov chain it makes, enumerated from the simulator."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.errors import InputError
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.interface.observation import Decision, Observation, checked_requests
from echelongym.envs.scenario.scenario import Scenario

from .markov.bellman import TooManyStates, Unsettled, stationary
from .markov.finite_laws import Chance, expand
from .markov.half_periods import Halves
from .markov.rounding_lots import Lots
from .markov.state_index import Registry

LARGEST = 200_000
ROWS = 400_000  # states times outcomes followed at a time
SEARCH_ALL = 2_000  # states up to which everything that can happen is followed
LEFT_OUT = 1e-10  # long-run share of periods in states that need not be looked into

#: What the chain's state does not hold, so that a policy may not look at it.
UNKNOWN = ("demand_history", "forecast", "features", "period", "lead_time")


class _ReadsUnfilled(Exception):
    """The policy looks at ``unfilled``, which then has to be part of the state."""


class Seen(Observation):
    """Observation that refuses to show what is not part of the chain's state."""

    def __getattribute__(self, name: str) -> Any:
        """As usual, but for what is hidden."""
        if name in UNKNOWN:
            raise InputError(
                f"the policy reads observation.{name}: expected a function of on_hand, in_transit, backlog, unfilled and "
                "availabilities alone, whose long-run cost can be computed"
            )
        if name == "unfilled" and object.__getattribute__(self, "unfilled") is None:
            raise _ReadsUnfilled
        return object.__getattribute__(self, name)


def evaluate(
    scenario: Scenario,
    policy: Callable[[Observation], Decision],
    max_states: int = LARGEST,
    progress: Callable[[str], None] | None = None,
) -> float:
    """Long-run average cost of a policy, money a period, revenue left out.

    From the scenario's initial stock on, every state that the policy leads to is found with the simulator's own
    dynamics and exact probabilities; the cost is that of their stationary distribution. The rarest states are not
    followed further, 1e-10 of all periods at most.

    Parameters
    ----------
    scenario
        Integer units; no seasons, forecasts, recorded or autocorrelated demand, set dates.
    policy
        A function of stock, units in transit, backlog, unfilled requests and availabilities, without memory.
    max_states
        Limit of states.
    progress
        Called with a line of text now and then.

    Raises
    ------
    InputError
        If a feature has no finite law, the policy reads what no state holds, or there are too many states.
    """
    if hasattr(policy, "foresee"):
        name = getattr(policy, "name", type(policy).__name__)
        raise InputError(f"policy {name}: expected one that does not foresee the tape, for evaluate")
    chance = Chance(scenario, "evaluate")
    for unfilled in (False, True):
        try:
            chain = PolicyChain(scenario, chance, policy, unfilled, max_states, progress)
        except _ReadsUnfilled:
            continue
        return chain.cost
    raise AssertionError("unfilled was shown")


class PolicyChain:
    """Markov chain of one policy; ``cost`` is its long-run average, ``share`` (states,) the long-run share of periods.

    Raises
    ------
    TooManyStates
        If more states are reached than may be enumerated.
    """

    def __init__(
        self, scenario: Scenario, chance: Chance, policy: Any, unfilled: bool, most: int, progress: Any = None
    ) -> None:
        self.scenario, self.chance, self.policy, self.most = scenario, chance, policy, most
        self.halves = halves = Halves(scenario, chance)
        self.lots = Lots(halves)
        t = scenario.tables
        self.unfilled_width = t.L * t.P if unfilled else 0
        self.states = Registry(halves.stand_width + halves.road_width + self.unfilled_width)
        self.closed = Registry(halves.stand_width + halves.sent_width + self.unfilled_width)
        self._opened: list[tuple[Ints, Ints, Floats]] = []
        self._opened_cost = np.zeros(0)
        self._moves: list[tuple[Ints, Ints, Floats]] = []
        self.money = np.zeros(1024)
        self.known = np.zeros(1024, dtype=bool)
        self.share = np.ones(1)
        opening = halves.dynamics.initial(1)
        stand = halves.stand(np.zeros(1, np.int64), opening.on_hand, opening.backlog)
        road = opening.rows.reshape(halves.road_width, 1).T
        self.states.add(np.concatenate([stand, road, np.zeros((1, self.unfilled_width), np.int64)], axis=1))
        self._explore(progress)
        self.cost = float(self.share @ self.money[: len(self.share)])

    def _explore(self, progress: Any) -> None:
        while True:
            count = len(self.states)
            self._grow(count)
            waiting = np.flatnonzero(~self.known[:count])
            if count > SEARCH_ALL or not len(waiting):
                self._settle(1e-12)
                waiting = waiting[np.argsort(self.share[waiting])]
                rest = np.cumsum(self.share[waiting])
                if not len(waiting) or rest[-1] <= LEFT_OUT:
                    self._settle(1e-14)
                    return
                waiting = waiting[rest > 0.25 * LEFT_OUT]
            if count > self.most:
                raise TooManyStates(
                    f"{self.scenario.name}: state space too large for evaluate: found {count} states and more, expected "
                    f"at most max_states = {self.most} (or the policy lets stock or backlog grow without end)"
                )
            if progress is not None:
                progress(f"{count} states, {len(waiting)} to look into")
            most = max(1, ROWS // max(len(w) for w in self.chance.weights))
            for first in range(0, len(waiting), most):
                self._follow(waiting[first : first + most])

    def _grow(self, count: int) -> None:
        if count > len(self.known):
            self.money = np.concatenate([self.money, np.zeros(2 * count - len(self.money))])
            self.known = np.concatenate([self.known, np.zeros(2 * count - len(self.known), dtype=bool)])

    def _settle(self, tolerance: float) -> None:
        """Long-run shares, states not followed yet being sent back to the start."""
        from scipy.sparse import csr_matrix

        count = len(self.states)
        source, target, weight = (np.concatenate(part) for part in zip(*self._moves, strict=True))
        self._moves = [(source, target, weight)]
        ends = np.flatnonzero(~self.known[:count])
        source = np.concatenate([source, ends])
        target = np.concatenate([target, np.zeros(len(ends), dtype=np.int64)])
        weight = np.concatenate([weight, np.ones(len(ends))])
        back = csr_matrix((weight, (target, source)), shape=(count, count))
        start = np.zeros(count)
        start[: len(self.share)] = self.share
        try:
            self.share = stationary(back, count, start, tolerance)
        except Unsettled as error:
            raise Unsettled(
                f"{self.scenario.name}: {error}: expected a policy under which stock and backlog stay limited"
            ) from None

    # One period ------------------------------------------------------------------------------------

    def _observation(self, vectors: Ints) -> Observation:
        t, h = self.scenario.tables, self.halves
        n, stand = len(vectors), vectors[:, : h.stand_width]
        rows = h.rows(vectors[:, h.stand_width : h.stand_width + h.road_width])
        shown = h.dynamics.road.by_slot(rows)  # (L, P, K, A, n)
        node, lane = h.availability(stand[:, 0])
        unfilled: Any = None
        if self.unfilled_width:
            unfilled = vectors[:, -self.unfilled_width :].reshape(n, t.L, t.P)
        return Seen(
            on_hand=np.moveaxis(h.on_hand(stand), -1, 0),
            in_transit=np.moveaxis(shown, -1, 0),
            backlog=np.moveaxis(h.backlog(stand), -1, 0),
            unfilled=unfilled,
            node_availability=np.ones((n, t.N)) if node is None else node.T,
            lane_availability=np.ones((n, t.L)) if lane is None else lane.T,
            demand_history=None,
            forecast=None,
            features=None,
            period=None,
        )

    def _follow(self, ids: Ints) -> None:
        """All that can happen in a period from some states."""
        t, h, chance = self.scenario.tables, self.halves, self.chance
        vectors = self.states.vectors[ids].astype(np.int64)
        start = getattr(self.policy, "start", None)
        if start is not None:
            start(len(ids))
        decision = checked_requests(self.policy(self._observation(vectors)), t, len(ids), NUMPY)
        asked = h.dynamics.shipping.requested(np.asarray(decision.requests))
        requests = np.ascontiguousarray(asked.reshape(t.L * t.P, len(ids)).T)
        reserve = None
        if decision.reserve is not None:
            reserve = np.ascontiguousarray(np.asarray(decision.reserve).reshape(t.S * t.P, len(ids)).T)
        stand = vectors[:, : h.stand_width]
        road = vectors[:, h.stand_width : h.stand_width + h.road_width]
        options = [(np.arange(len(w)), w) for w in chance.weights]
        row, weight, _, which = expand(np.arange(len(ids)), np.ones(len(ids)), [], options, stand[:, 0])
        demand = np.zeros((len(row), t.C, t.P), dtype=np.int64)
        for e, values in enumerate(chance.demands):
            here = stand[row, 0] == e
            demand[here] = values[which[here]]
        lot, lot_weight, split, thin = self.lots.whole(stand[row], requests[row], reserve is not None, demand)
        row, weight, demand = row[lot], weight[lot] * lot_weight, demand[lot]
        instant = None
        at_once = np.flatnonzero(chance.at_once > 0)
        if len(at_once):
            combinations = np.array(list(itertools.product((0, 1), repeat=len(at_once))))
            law = np.prod(np.where(combinations, chance.at_once[at_once], 1 - chance.at_once[at_once]), axis=1)
            columns: list[Any] = [demand, split, thin]
            once = [(np.arange(len(law)), law)]
            row, weight, columns, which = expand(row, weight, columns, once, np.zeros(len(row), np.int64))
            demand, split, thin = columns
            instant = np.zeros((len(row), t.L), dtype=bool)
            instant[:, at_once] = combinations[which] > 0
        kept = None if reserve is None else reserve[row]
        closed, sent, unfilled, money = h.whole(
            stand[row], road[row], requests[row], kept, demand, instant, split, thin
        )
        parts = [closed, sent] + ([unfilled] if self.unfilled_width else [])
        before = len(self.closed)
        ends = self.closed.add(np.concatenate(parts, axis=1))
        self._open(before)
        # Join what closes alike, then go on to the next opening.
        row, ends, weight, money = _merged(row, ends, weight, money)
        begins, opened, law = self._table()
        count = begins[ends + 1] - begins[ends]
        wide = np.repeat(np.arange(len(ends)), count)
        place = begins[ends][wide] + np.arange(len(wide)) - np.repeat(np.cumsum(count) - count, count)
        self._moves.append((ids[row[wide]], opened[place], weight[wide] * law[place]))
        self._grow(len(self.states))
        self.money[ids] = np.bincount(row, money + weight * self._opened_cost[ends], minlength=len(ids))
        self.known[ids] = True

    def _open(self, first: int) -> None:
        """Openings of the next period after closings that are new."""
        h = self.halves
        vectors = self.closed.vectors[first:].astype(np.int64)
        if not len(vectors):
            return
        sent = vectors[:, h.stand_width : h.stand_width + h.sent_width]
        owner, weight, stands, roads, money = h.receive(vectors[:, : h.stand_width], sent)
        unfilled = vectors[:, h.stand_width + h.sent_width :]
        opened = self.states.add(np.concatenate([stands, roads, unfilled[owner]], axis=1))
        order = np.argsort(owner, kind="stable")
        self._opened.append((np.bincount(owner, minlength=len(vectors)), opened[order], weight[order]))
        self._opened_cost = np.concatenate([self._opened_cost, money])

    def _table(self) -> tuple[Ints, Ints, Floats]:
        counts, opened, weight = (np.concatenate(part) for part in zip(*self._opened, strict=True))
        self._opened = [(counts, opened, weight)]
        return np.concatenate([[0], np.cumsum(counts)]), opened, weight


def _merged(row: Ints, ends: Ints, weight: Floats, money: Floats) -> tuple[Ints, Ints, Floats, Floats]:
    """Rows with the same origin and end joined; money times probability is summed."""
    order = np.lexsort((ends, row))
    row, ends, weight, money = row[order], ends[order], weight[order], (money * weight)[order]
    lead = np.flatnonzero(np.concatenate([[True], (row[1:] != row[:-1]) | (ends[1:] != ends[:-1])]))
    return row[lead], ends[lead], np.add.reduceat(weight, lead), np.add.reduceat(money, lead)
