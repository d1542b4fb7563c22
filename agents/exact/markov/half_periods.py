"""Half periods made of the simulator's own dynamics: ship, serve, and receive at the start of the next.

Shipping depends on the decision and not on demand, serving on demand and not on what is in transit. So each half is one
call of :class:`echelongym.envs.dynamics.Dynamics` in which the other half has nothing to do: no demand and no backlog,
or no request. No line of the model is written anew, and a period of many states, decisions and demands costs the sum of
the parts rather than their product.

States are rows of whole numbers. A *stand* is [surroundings | on hand (N P A) | backlog (C P W)]; a *road* is what is
in transit, one row of the simulator's layout after another, (M P A). Lead times of what is in transit are not part of it:
policies do not see them, and what is known of them is how long the units have been on the road.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.accounts.ledger import REVENUE, Ledger
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.dynamics import Arrivals, Dynamics, Exogenous, Flows, State
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.tape_arrays import GRAIN

from .finite_laws import Chance, expand

BLOCK = 200_000  # columns handed to the dynamics at a time
SHIPPING_LINES = ("purchase", "fixed_transport", "in_transit", "node", "commitment")


class Halves:
    """Half periods of one scenario: ship, serve, receive.

    Parameters
    ----------
    scenario
        Integer units.
    chance
        Its finite laws.
    """

    def __init__(self, scenario: Scenario, chance: Chance) -> None:
        t = scenario.tables
        self.tables, self.chance = t, chance
        self.dynamics = Dynamics(t, NUMPY)
        self.ledger = Ledger(t, NUMPY)
        road = self.dynamics.road
        self.kept_rows, self.sent_rows = len(road.kept_lane), road.rows
        self.on_hand_size, self.backlog_size = t.N * t.P * t.A, t.C * t.P * t.W
        self.stand_width = 1 + self.on_hand_size + self.backlog_size
        self.road_width = self.kept_rows * t.P * t.A
        self.sent_width = self.sent_rows * t.P * t.A
        self.mortal = (t.shelf_life > 0)[None, :, None, None]
        self.varied_rows = np.arange(road.rows)[road.varied_rows] if road.varied else np.zeros(0, np.int64)
        self.varied_lanes = road.row_lane[self.varied_rows]
        self.varied_slots = road.row_slot[self.varied_rows]

    # Layout ----------------------------------------------------------------------------------------

    def on_hand(self, stand: NDArray[Any]) -> Ints:
        """(N, P, A, n) of stands (n, width)."""
        t = self.tables
        return _turned(stand[:, 1 : 1 + self.on_hand_size], (t.N, t.P, t.A))

    def backlog(self, stand: NDArray[Any]) -> Ints:
        """(C, P, W, n) of stands (n, width)."""
        t = self.tables
        return _turned(stand[:, 1 + self.on_hand_size :], (t.C, t.P, t.W))

    def rows(self, road: NDArray[Any]) -> Ints:
        """(M, P, A, n) of roads (n, width)."""
        t = self.tables
        return _turned(road, (road.shape[1] // (t.P * t.A), t.P, t.A))

    def stand(self, surroundings: Ints, on_hand: Ints, backlog: Ints) -> Ints:
        """Stands (n, width) of on-hand stock and backlog; the reverse of :meth:`on_hand` and :meth:`backlog`."""
        n = on_hand.shape[-1]
        parts = [surroundings[None], on_hand.reshape(-1, n), backlog.reshape(-1, n)]
        return np.ascontiguousarray(np.concatenate(parts).T)

    def availability(self, surroundings: Ints) -> tuple[Floats | None, Floats | None]:
        """Node and lane availability, (N, n) and (L, n)."""
        c = self.chance
        node = None if c.node_availability is None else np.ascontiguousarray(c.node_availability[surroundings].T)
        lane = None if c.lane_availability is None else np.ascontiguousarray(c.lane_availability[surroundings].T)
        return node, lane

    def exogenous(
        self, surroundings: Ints, demand: Ints, instant: Any = None, split: Any = None, thin: Any = None
    ) -> Exogenous:
        """A period's tape: demand (C, P, n), lanes that deliver at once (L, n), lots (N, P, n), (L + S + C, P, n)."""
        t, n = self.tables, demand.shape[-1]
        node, lane = self.availability(surroundings)
        half = GRAIN // 2
        lead = None
        if self.dynamics.road.varied:
            # What does not arrive at once is drawn when it arrives; until then any later lead time will do.
            longest = np.repeat(t.max_lead_time[:, None], n, axis=1)
            lead = longest if instant is None else np.where(instant, 0, longest)
            fixed = ~t.lead_time_random
            lead[fixed] = t.nominal_lead_time[fixed, None]
        return Exogenous(
            demand,
            lead,
            node,
            lane,
            None,
            np.full((t.N, t.P, n), half) if split is None else split,
            np.full((t.L + t.S + t.C, t.P, n), half) if thin is None else thin,
        )

    def leads(self, count: int, n: int) -> Any:
        """Lead times of varied rows that never fall due by themselves."""
        return np.zeros((count, n), dtype=np.int64) if self.dynamics.road.varied else None

    # Halves ----------------------------------------------------------------------------------------

    def ship(
        self, stand: Ints, road: Ints, requests: Ints, instant: Any = None, split: Any = None
    ) -> tuple[Ints, Ints, Floats]:
        """Stands and roads (n, ...) after shipping ``requests`` (n, L P), and money (n,)."""
        return _blocks(self._ship, len(stand), stand, road, requests, instant, split)

    def _ship(self, stand: Ints, road: Ints, requests: Ints, instant: Any, split: Any) -> tuple[Ints, Ints, Floats]:
        t, n = self.tables, len(stand)
        surroundings = stand[:, 0].astype(np.int64)
        nobody = np.zeros((t.C, t.P, n), dtype=np.int64)
        on_hand = self.on_hand(stand)
        state = State(
            on_hand,
            self.rows(road),
            self.leads(int(self.dynamics.road.varied - self._starting()), n),
            np.zeros((t.C, t.P, t.W, n), dtype=np.int64),
            np.zeros((t.L, t.P, n), dtype=np.int64),
        )
        turned = None if split is None else np.ascontiguousarray(np.moveaxis(split, 0, -1))
        delivered = None if instant is None else np.ascontiguousarray(instant.T)
        exogenous = self.exogenous(surroundings, nobody, delivered, turned)
        asked = np.ascontiguousarray(requests.T.reshape(t.L, t.P, n).astype(np.int64))
        closing, flows = self.dynamics.advance(state, exogenous, asked)
        left = closing.on_hand
        if flows.disposed is not None and self.mortal.any():
            # Stock aged by a period as it closed: what was disposed of was the class of the last period.
            back = np.concatenate([flows.disposed[:, :, None], left[:, :, :-1]], axis=2)
            left = np.where(self.mortal, back, left)
        sent = closing.rows[: self.sent_rows].reshape(self.sent_width, n).T
        nothing = {
            key: value * 0
            for key in ("on_hand", "served", "lost", "disposed", "backlog", "recovered")
            if (value := getattr(flows, key)) is not None
        }
        money = self._money(flows._replace(**nothing), lambda line: True)
        return self.stand(surroundings, left, self.backlog(stand)), np.ascontiguousarray(sent), money

    def _starting(self) -> int:
        """Varied rows that a period adds."""
        return int((self.varied_slots == 0).sum())

    def serve(self, stand: Ints, demand: Ints, split: Any = None, thin: Any = None) -> tuple[Ints, Floats]:
        """Stands (n, width) at close after ``demand`` (n, C, P), and money (n,)."""
        closed: tuple[Ints, Floats] = _blocks(self._serve, len(stand), stand, demand, split, thin)
        return closed

    def _serve(self, stand: Ints, demand: Ints, split: Any, thin: Any) -> tuple[Ints, Floats]:
        t, n = self.tables, len(stand)
        surroundings = stand[:, 0].astype(np.int64)
        state = State(
            self.on_hand(stand),
            np.zeros((self.kept_rows, t.P, t.A, n), dtype=np.int64),
            self.leads(int(self.dynamics.road.varied - self._starting()), n),
            self.backlog(stand),
            np.zeros((t.L, t.P, n), dtype=np.int64),
        )
        lots = [None if u is None else np.ascontiguousarray(np.moveaxis(u, 0, -1)) for u in (split, thin)]
        wanted = np.ascontiguousarray(np.moveaxis(demand, 0, -1)).astype(np.int64)
        exogenous = self.exogenous(surroundings, wanted, None, lots[0], lots[1])
        requests = np.zeros((t.L, t.P, n), dtype=np.int64)
        closing, flows = self.dynamics.advance(state, exogenous, requests)
        money = self._money(flows, lambda line: line not in SHIPPING_LINES)
        return self.stand(surroundings, closing.on_hand, closing.backlog), money

    def receive(self, stand: Ints, sent: Ints) -> tuple[Ints, Floats, Ints, Ints, Floats]:
        """Start of the next period after closing stands (n, width) and roads (n, ...).

        Returns
        -------
        Owner (m,), probability (m,), stands and roads (m, ...) of every outcome (lead times, surroundings), and the
        expected money (n,) that what expired on the road costs.
        """
        chance, n = self.chance, len(stand)
        owner, weight = np.arange(n), np.ones(n)
        columns: list[Any] = [stand, sent]
        moves = [(np.flatnonzero(row > 0), row[row > 0]) for row in chance.moves]
        surroundings = stand[:, 0].astype(np.int64)
        owner, weight, columns, following = expand(owner, weight, columns, moves, surroundings)
        due = np.ones((len(owner), len(self.varied_rows)), dtype=np.int64)
        per_row = self.tables.P * self.tables.A
        for i, (row, lane, slot) in enumerate(zip(self.varied_rows, self.varied_lanes, self.varied_slots, strict=True)):
            hazard = float(chance.due[lane, slot])
            content = columns[1][:, row * per_row : (row + 1) * per_row].any(axis=1)
            # An empty row may as well have arrived.
            options = [(np.array([1]), np.ones(1))]
            law = [(o, q) for o, q in ((0, 1.0 - hazard), (1, hazard)) if q > 0]
            options.append((np.array([o for o, _ in law]), np.array([q for _, q in law])))
            columns += [following, due]
            owner, weight, columns, arrives = expand(owner, weight, columns, options, content.astype(np.int64))
            due, following = columns.pop(), columns.pop()
            due[:, i] = arrives
        stands, roads, money = _blocks(self._receive, len(owner), columns[0], columns[1], due)
        stands[:, 0] = following
        cost = np.asarray(np.bincount(owner, weights=money * weight, minlength=n), dtype=np.float64)
        return owner, weight, stands, roads, cost

    def _receive(self, stand: Ints, sent: Ints, due: Ints) -> tuple[Ints, Ints, Floats]:
        t, n = self.tables, len(stand)
        rows = self.rows(sent)
        leads = None
        if self.dynamics.road.varied:
            leads = np.where(due.T > 0, self.varied_slots[:, None] + 1, 0)
        unfilled = np.zeros((t.L, t.P, n), dtype=np.int64)
        state = State(self.on_hand(stand), rows, leads, self.backlog(stand), unfilled)
        opened, arrivals = self.dynamics.receive(state, None)
        road = np.ascontiguousarray(opened.rows.reshape(self.road_width, n).T)
        return self.stand(stand[:, 0], opened.on_hand, opened.backlog), road, self.arrival_cost(arrivals, n)

    def whole(
        self, stand: Ints, road: Ints, requests: Ints, reserve: Any, demand: Ints, instant: Any, split: Any, thin: Any
    ) -> tuple[Ints, Ints, Ints, Floats]:
        """A whole period at once, for decisions of any kind: stands and roads at close, unfilled (n, L P), money (n,)."""
        arrays = (stand, road, requests, reserve, demand, instant, split, thin)
        found: tuple[Ints, Ints, Ints, Floats] = _blocks(self._whole, len(stand), *arrays)
        return found

    def _whole(
        self, stand: Ints, road: Ints, requests: Ints, reserve: Any, demand: Ints, instant: Any, split: Any, thin: Any
    ) -> tuple[Ints, Ints, Ints, Floats]:
        t, n = self.tables, len(stand)

        def last(values: Any) -> Any:
            return None if values is None else np.ascontiguousarray(np.moveaxis(values, 0, -1))

        state = State(
            self.on_hand(stand),
            self.rows(road),
            self.leads(int(self.dynamics.road.varied - self._starting()), n),
            self.backlog(stand),
            np.zeros((t.L, t.P, n), dtype=np.int64),
        )
        surroundings = stand[:, 0].astype(np.int64)
        exogenous = self.exogenous(surroundings, last(demand).astype(np.int64), last(instant), last(split), last(thin))
        asked = last(requests).reshape(t.L, t.P, n)
        kept = None if reserve is None else last(reserve).reshape(t.S, t.P, n)
        closing, flows = self.dynamics.advance(state, exogenous, asked, kept)
        sent = np.ascontiguousarray(closing.rows[: self.sent_rows].reshape(self.sent_width, n).T)
        unfilled = np.ascontiguousarray(closing.unfilled.reshape(t.L * t.P, n).T)
        closed = self.stand(surroundings, closing.on_hand, closing.backlog)
        return closed, sent, unfilled, self._money(flows, lambda line: True)

    def arrival_cost(self, arrivals: Arrivals, n: int) -> Floats:
        """(n,) money for what expired on the road."""
        if arrivals.disposed is None:
            return np.zeros(n)
        cost = self.tables.disposal_cost[..., None] * arrivals.disposed
        return np.asarray(cost.reshape(-1, n).sum(axis=0), dtype=np.float64)

    def _money(self, flows: Flows, counted: Any) -> Floats:
        lines = self.ledger.period(flows)
        total = np.zeros(flows.shipped.shape[-1])
        for line, money in lines.items():
            if line != REVENUE and counted(line):
                total = total + money
        return total


def _turned(values: NDArray[Any], shape: tuple[int, ...]) -> Ints:
    """(n, width) as (*shape, n) of 64-bit integers."""
    return np.ascontiguousarray(values.T).astype(np.int64).reshape((*shape, len(values)))


def _blocks(function: Any, n: int, *arrays: Any) -> Any:
    """``function`` over rows of ``arrays`` (None goes along as it is), a block at a time."""
    if n <= BLOCK:
        return function(*arrays)
    parts = [function(*(None if a is None else a[i : i + BLOCK] for a in arrays)) for i in range(0, n, BLOCK)]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))
