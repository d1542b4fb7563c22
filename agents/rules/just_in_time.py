"""Just-in-time baseline that knows the future: everything arrives in the period in which it is used."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.backend import NUMPY, Array, NumpyOps, Ops, ops_of
from echelongym.envs.core.errors import InputError
from echelongym.envs.core.typing import Ints
from echelongym.envs.interface.inventory_positions import Accumulator, Forest, Stock
from echelongym.envs.interface.observation import Decision, Observation, Policy
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.worlds.tape import Tape

from .request_order import is_numbers, rows_of
from .rule import Group, Rule

Way = tuple[int, ...]  # lanes, the one asked first


class JustInTime(Rule):
    """Just-in-time reference: echelon base-stock whose levels are future demand, which nobody could know.

    Each period every primary lane raises the echelon position of its target to what the echelon's customers will demand
    before anything shipped later than now can reach them, by the lead times to come, a lane or its source standing
    still (availability 0) included. Where supply has no limit and nothing is lost on the way, after the first lead
    times nobody waits, and with fixed lead times nothing is left over where it is sold. It knows nothing of capacities,
    yields, shelf lives, costs or secondary lanes, so that it is no bound where these matter: a plan with perfect
    information is.

    It learns the future from :func:`echelongym.envs.simulate`, which shows it the tape (``foresee``), and cannot decide
    without.

    Parameters
    ----------
    safety
        Units added to levels by node (and product); left out: 0.
    """

    name = "just_in_time"
    pure = True
    reference = True

    def _make_groups(self) -> list[Group]:
        t = self.tables
        self.forest = forest = Forest(t)
        fed = forest.primary >= 0
        none, flow = np.zeros(t.N * t.P), t.mean_flow.reshape(-1)
        self._cells = np.flatnonzero(fed)
        self._ways = _ways(self)
        self._future: _Future | None = None
        self._reset()
        return [Group("safety", t.nodes, fed, none, none, np.where(flow > 0, flow, 1.0))]

    def _reset(self) -> None:
        self._plans: dict[tuple[str, ...], _FedCells] = {}
        self.foreseen: list[Array] = []  # (fed cells, B) units needed in a period that is recorded

    def foresee(self, tape: Tape) -> None:
        """Take in the demand of the worlds to come.

        Raises
        ------
        InputError
            If the tape is of another network.
        """
        self._future = _Future(self, tape.check(self.scenario))

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P).

        Raises
        ------
        InputError
            If no tape was shown, or one of another number of worlds or too few periods.
        """
        t, ops = self.tables, ops_of(observation.on_hand)
        standing = ops.moveaxis(observation.on_hand, 0, -1)
        if self.foreseen:
            level = self.foreseen[0]
        else:
            level = ops.cast(ops.asarray(self._needed(observation)), standing.dtype)
        key = (ops.name, str(standing.dtype), str(getattr(standing, "device", "")))
        if key not in self._plans:
            self._plans[key] = _FedCells(self, ops)
        plan = self._plans[key]
        asked = ops.maximum(plan.raised(level) - plan.position(observation, standing), 0)
        requests = ops.put(ops.zeros((t.L * t.P, asked.shape[-1]), asked.dtype), plan.lanes, asked)
        return Decision(ops.moveaxis(requests.reshape((t.L, t.P, asked.shape[-1])), -1, 0))

    def _needed(self, observation: Observation) -> NDArray[Any]:
        """(fed cells, B) units demanded before anything shipped later can serve."""
        future, worlds, period = self._future, int(observation.on_hand.shape[0]), int(observation.period[0])
        if future is None or future.worlds != worlds or period >= future.periods:
            raise InputError(
                f"{self.name}: knows nothing of these worlds: expected to be run by simulate or benchmark, which show it "
                "the tape"
            )
        return future.needed(period)

    def recordable(self, dtype: Any) -> Recordable | None:
        """See :meth:`Rule.recordable`: what is needed in every period is computed before."""
        if not self.pure or not is_numbers(self.values["safety"]):
            return None
        key = (NUMPY.name, str(dtype), "")
        safety = _FedCells(self, NUMPY).safety
        numbers = [] if safety is None else [safety]

        def foreseen(tape: Tape) -> Callable[[int, int], list[NDArray[Any]]]:
            future = _Future(self, tape)
            return lambda start, stop: [future.every(start, stop).astype(dtype)]

        def on(ops: NumpyOps) -> Callable[[Sequence[Array]], Policy]:
            own, cells, there = copy.copy(self), _FedCells(self, ops), (ops.name, *key[1:])

            def recorded(given: Sequence[Array]) -> Policy:
                if given:
                    (cells.safety,) = given
                own._plans = {there: cells}
                return own

            return recorded

        return Recordable((type(self), self.tables, len(numbers)), numbers, on, None, foreseen)


class _FedCells:
    """Index arrays and constants of the rule on one backend; n fed cells."""

    def __init__(self, rule: JustInTime, ops: Ops) -> None:
        t = rule.tables
        self.ops, self.cells = ops, ops.index(rule._cells)
        self.lanes = ops.index(rule.forest.primary[rule._cells])
        self.stock, self.accumulate = Stock(t, ops, rows_of(t)), Accumulator(t, rule.forest, ops)
        safety = rule.values["safety"]
        self.safety: Array | None = None  # (n, 1) units
        if not isinstance(safety, np.ndarray):
            self.safety = safety[ops.whole(rule._cells)][:, None]
        elif safety[rule._cells].any():
            self.safety = ops.constant(safety[rule._cells][:, None])

    def raised(self, level: Array) -> Array:
        """Levels with what is added to them."""
        return level if self.safety is None else level + self.safety

    def position(self, observation: Observation, standing: Array) -> Array:
        """(n, B) echelon positions."""
        ops = self.ops
        under_way = ops.moveaxis(ops.moveaxis(observation.in_transit, 0, -1), 2, 1)
        rows = under_way.reshape((-1, *under_way.shape[2:]))
        owned = self.stock(standing, rows, ops.moveaxis(observation.backlog, 0, -1))
        return self.accumulate(owned.position)[self.cells]


def _ways(rule: JustInTime) -> tuple[list[Way], Ints, Ints, Ints]:
    """Distinct ways, and by term (a fed cell and a customer first served in its echelon) its cell, way and customer."""
    t, forest = rule.tables, rule.forest
    place = {int(cell): i for i, cell in enumerate(np.flatnonzero(forest.primary >= 0))}
    ways: dict[Way, int] = {}
    terms = []
    for c, p in np.argwhere(t.first_cell >= 0).tolist():
        cell = int(t.first_cell[c, p])
        way: Way = ()
        for node in (cell, *forest.ancestors(cell)):
            if node not in place:
                break
            way = (int(forest.primary[node]) // t.P, *way)
            terms.append((place[node], ways.setdefault(way, len(ways)), c * t.P + p))
    cells, numbers, customers = np.array(terms, dtype=np.int64).reshape(-1, 3).T
    return list(ways), cells, numbers, customers


class _Future:
    """What a tape says, as sums that levels are read from."""

    def __init__(self, rule: JustInTime, tape: Tape) -> None:
        t = rule.tables
        self.periods, self.worlds = tape.periods, tape.batch
        self.count = len(rule._cells)
        ways, self.cells, self.way, self.customer = rule._ways
        demand = tape.exogenous.demand[tape.history :].reshape(tape.periods, -1, tape.batch)
        self.sums = np.concatenate([np.zeros_like(demand[:1]), np.cumsum(demand, axis=0)])  # (T + 1, C * P, B)
        self.ends = _first_uses(ways, tape, t)  # (ways, T + 1, 1 or B)

    def needed(self, period: int) -> NDArray[Any]:
        """(fed cells, B) units demanded before anything shipped after ``period`` can serve."""
        until = np.maximum(self.ends[:, period + 1], period)[self.way]  # (terms, 1 or B)
        worlds = np.arange(self.worlds)
        units = self.sums[until, self.customer[:, None], worlds] - self.sums[period, self.customer]
        found = np.zeros((self.count, self.worlds), dtype=units.dtype)
        np.add.at(found, self.cells, units)
        return found

    def every(self, start: int, stop: int) -> NDArray[Any]:
        """(periods, fed cells, worlds) of some worlds: what :meth:`needed` says of each period."""
        now, worlds = np.arange(self.periods)[:, None], np.arange(start, stop)
        found = np.zeros((self.periods, self.count, stop - start), dtype=self.sums.dtype)
        for cell, way, customer in zip(self.cells, self.way, self.customer, strict=True):
            ends = self.ends[way, 1:]
            until = np.maximum(ends if ends.shape[1] == 1 else ends[:, start:stop], now)
            found[:, cell] += self.sums[until, customer, worlds] - self.sums[:-1, customer, start:stop]
        return found


def _first_uses(ways: list[Way], tape: Tape, tables: Any) -> NDArray[np.int64]:
    """(ways, T + 1, 1 or B) the first period in which units shipped in period t or later can serve; T if never.

    What arrives at a node is shipped on in the same period, but crosses one lane a period at most.
    """
    t, T, data = tables, tape.periods, tape.exogenous
    now = np.arange(T)[:, None]

    def arrival(lane: int) -> NDArray[np.int64]:
        """(T, 1 or B) period of arrival by period of dispatch, T where nothing is shipped or it is too late."""
        lead = np.full((T, 1), t.nominal_lead_time[lane]) if data.lead_time is None else data.lead_time[:, lane]
        due = now + lead
        for availability, index in ((data.lane_availability, lane), (data.node_availability, int(t.lane_source[lane]))):
            if availability is not None:
                due = np.where(availability[:, index] > 0, due, T)
        return np.minimum(due, T)

    arrivals = {lane: arrival(lane) for way in ways for lane in way}
    found: dict[Way, NDArray[np.int64]] = {}

    def first_use(way: Way) -> NDArray[np.int64]:
        if way not in found:
            due = arrivals[way[0]]
            if len(way) > 1:
                onward = first_use(way[1:])
                at = np.minimum(np.maximum(due, now + 1), T)
                due = onward[at, np.arange(onward.shape[1])] if onward.shape[1] > 1 else onward[at, 0]
            ahead = np.minimum.accumulate(due[::-1], axis=0)[::-1]
            found[way] = np.concatenate([ahead, np.full((1, due.shape[1]), T)])
        return found[way]

    every = [first_use(way) for way in ways]
    width = max((one.shape[1] for one in every), default=1)
    return np.stack([np.broadcast_to(one, (T + 1, width)) for one in every]) if every else np.zeros((0, T + 1, 1), int)


__all__ = ["JustInTime"]
