"""The Markov decision process of a small scenario: all states and decisions within a box, found from the simulator."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from echelongym.envs.core.errors import InputError
from echelongym.envs.core.typing import Floats, Ints

from .decisions import Box, Decisions
from .finite_laws import expand
from .half_periods import Halves
from .rounding_lots import Lots
from .state_index import Registry, StateNumbers

BATCH = 4_000  # states whose decisions are looked at together
PAIRS_A_STATE = 60  # decisions kept for each state of the limit
MOVES_A_STATE = 200  # transitions kept, and outcomes looked at, for each state of the limit
ROWS = 100_000  # outcomes of demand looked at together
CUT_PERIODS = 25.0  # periods of backorder cost that a unit of backlog beyond the box is charged


class Process:
    """Markov decision process: states x, decisions (pairs), what stands after shipping (z) and at close (y), back to x.

    Attributes
    ----------
    owner, requests, cost : of every decision, in the order of states: (m,), (m, L P), (m,) money.
    after : (m, z) weights, or None where each decision leads to the one z in ``single`` (m,).
    serving : (z, y) probabilities; ``served_cost`` (z,) expected money of the rest of the period.
    receiving : (y, x) probabilities.
    starts : (x,) first decision of every state.
    """

    def __init__(self, halves: Halves, lots: Lots, box: Box, most: int, progress: Callable[[str], None] | None) -> None:
        self.halves, self.lots, self.box, self.most = halves, lots, box, most
        self.progress = progress
        self.decisions = Decisions(halves)
        self.states = Registry(halves.stand_width + halves.road_width)
        self.stands, self.roads = Registry(halves.stand_width), Registry(halves.sent_width)
        self.closings = Registry(halves.stand_width)
        self._outcomes = 0
        self._z, self._y = StateNumbers(), StateNumbers()
        self._stand_cost: dict[str, Any] = {"cost": np.zeros(0), "cut": np.zeros((0, 0))}
        self._collect: dict[str, list[Any]] = {}
        self._netted = _netted(halves)
        self._served_stands = 0
        self._close()
        self._assemble()

    # Enumeration -------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Follow every decision from the empty network until nothing new turns up."""
        self.states.add(np.zeros((1, self.states.width), dtype=np.int64))
        done = pairs = transitions = 0
        while done < len(self.states):
            last = min(done + BATCH, len(self.states))
            vectors = self.states.vectors[done:last].astype(np.int64)
            fresh_z, count = self._decide(vectors, done, self.most * PAIRS_A_STATE - pairs)
            pairs += count
            transitions += self._serve(fresh_z, self.most * MOVES_A_STATE - transitions)
            done = last
            if len(self.states) > self.most:
                self._refuse(f"{len(self.states)} states and more")
            if self.progress is not None:
                self.progress(f"{done} of {len(self.states)} states, {pairs} decisions")

    def _refuse(self, found: str) -> None:
        raise InputError(
            f"{self.halves.tables.name}: state space too large for method value_iteration: found {found}, "
            f"expected at most max_states = {self.most} states, with {PAIRS_A_STATE} decisions and {MOVES_A_STATE} "
            "transitions each on average"
        )

    def _decide(self, vectors: Ints, first: int, most: int) -> tuple[Ints, int]:
        """Decisions of some states; keys of what newly stands after shipping, and the number of decisions."""
        h = self.halves
        stand, road = vectors[:, : h.stand_width], vectors[:, h.stand_width :]
        found = self.decisions.enumerate(stand, road, self.box, most)
        if isinstance(found, int):
            self._refuse(f"{len(self.states)} states with {found} decisions and more")
            raise AssertionError
        owner, requests = found
        row, weight, split = self.lots.shipping(requests)
        at_once = np.flatnonzero((h.chance.at_once > 0) & h.tables.lane_open.any(axis=1))
        instant = None
        if len(at_once):
            combinations = np.array(list(itertools.product((0, 1), repeat=len(at_once))))
            law = np.prod(np.where(combinations, h.chance.at_once[at_once], 1 - h.chance.at_once[at_once]), axis=1)
            columns: list[Any] = [] if split is None else [split]
            options = [(np.arange(len(law)), law)]
            row, weight, columns, which = expand(row, weight, columns, options, np.zeros(len(row), np.int64))
            split = columns[0] if columns else None
            instant = np.zeros((len(row), h.tables.L), dtype=bool)
            instant[:, at_once] = combinations[which] > 0
        stands, roads, money = h.ship(stand[owner][row], road[owner][row], requests[row], instant, split)
        keys = (self.stands.add(stands) << 32) | self.roads.add(roads)
        z, fresh = self._z.add(keys)
        self._keep(owner=first + owner, requests=requests.astype(np.int16), cost=np.bincount(row, money * weight))
        base = self._collect.setdefault("_pairs", [0])
        self._keep(after_row=base[0] + row, after_z=z, after_weight=weight)
        base[0] += len(owner)
        return keys[fresh], len(owner)

    def _serve(self, keys: Ints, most: int) -> int:
        """Demand and the start of the next period after newly found z; the number of transitions."""
        h = self.halves
        self._serve_stands()
        stand, road = keys >> 32, keys & 0xFFFFFFFF
        starts, ends, weights = self._table
        count = starts[stand + 1] - starts[stand]
        if (total := int(count.sum())) > most:
            self._refuse(
                f"{len(self.states)} states with {self.most * MOVES_A_STATE - most + total} transitions and more"
            )
        row = np.repeat(np.arange(len(keys)), count)
        place = starts[stand][row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        closed = (ends[place] << 32) | road[row]
        y, fresh = self._y.add(closed)
        self._keep(serve_z=(self._z.count - len(keys)) + row, serve_y=y, serve_weight=weights[place])
        self._keep(z_stand=stand)
        new = closed[fresh]
        if len(new):
            stands = self.closings.vectors[new >> 32].astype(np.int64)
            roads = self.roads.vectors[new & 0xFFFFFFFF].astype(np.int64)
            owner, weight, opened, under_way, money = h.receive(stands, roads)
            x = self.states.add(np.concatenate([self._net(opened), under_way], axis=1))
            base = self._y.count - len(new)
            self._keep(receive_y=base + owner, receive_x=x, receive_weight=weight, y_cost=money)
        return len(row)

    def _serve_stands(self) -> None:
        """Close the period for stands that have not been served yet."""
        h, most = self.halves, max(1, ROWS // max(len(weights) for weights in self.halves.chance.weights))
        while self._served_stands < len(self.stands):
            first = self._served_stands
            last = min(first + most, len(self.stands))
            ids = np.arange(first, last)
            stands = self.stands.vectors[first:last].astype(np.int64)
            surroundings = stands[:, 0]
            options = [(np.arange(len(w)), w) for w in h.chance.weights]
            row, weight, _, which = expand(np.arange(len(ids)), np.ones(len(ids)), [], options, surroundings)
            demand = np.zeros((len(row), h.tables.C, h.tables.P), dtype=np.int64)
            for e, values in enumerate(h.chance.demands):
                here = surroundings[row] == e
                demand[here] = values[which[here]]
            lot_row, lot_weight, split, thin = self.lots.serving(stands[row], demand)
            row, weight, demand = row[lot_row], weight[lot_row] * lot_weight, demand[lot_row]
            self._outcomes += len(row)
            if self._outcomes > MOVES_A_STATE * self.most:
                self._refuse(f"{len(self.states)} states with {self._outcomes} outcomes of demand and sharing and more")
            closing, money = h.serve(stands[row], demand, split, thin)
            closing, over, penalty = self._cut(closing)
            cost: Floats = np.bincount(row, (money + penalty) * weight, minlength=len(ids)).astype(np.float64)
            cells = over.shape[1]
            cut = np.array([np.bincount(row, over[:, i] * weight, minlength=len(ids)) for i in range(cells)])
            ends = self.closings.add(closing)
            self._merge(row, ends, weight, len(ids), cost, cut.reshape(cells, len(ids)).T)
            self._served_stands = last

    def _merge(self, row: Ints, ends: Ints, weight: Floats, count: int, cost: Floats, cut: Floats) -> None:
        """Add the transitions of ``count`` more stands to the table; several demands may end alike."""
        order = np.lexsort((ends, row))
        row, ends, weight = row[order], ends[order], weight[order]
        lead = np.flatnonzero(np.concatenate([[True], (row[1:] != row[:-1]) | (ends[1:] != ends[:-1])]))
        weight = np.add.reduceat(weight, lead)
        row, ends = row[lead], ends[lead]
        if not self._served_stands:
            self._table: tuple[Ints, Ints, Floats] = (np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
            self._stand_cost = {"cost": np.zeros(0), "cut": np.zeros((0, cut.shape[1]))}
        starts, old_ends, old_weights = self._table
        more = np.cumsum(np.bincount(row, minlength=count)) + starts[-1]
        self._table = (
            np.concatenate([starts, more]),
            np.concatenate([old_ends, ends]),
            np.concatenate([old_weights, weight]),
        )
        self._stand_cost["cost"] = np.concatenate([self._stand_cost["cost"], cost])
        self._stand_cost["cut"] = np.concatenate([self._stand_cost["cut"], cut])

    def _cut(self, closing: Ints) -> tuple[Ints, Floats, Floats]:
        """Backlog cut off at the box: stands, units cut (n, C P), money charged (n,)."""
        t, h = self.halves.tables, self.halves
        backlog = h.backlog(closing)
        limit = self.box.backlog[:, :, None, None]
        over = np.maximum(backlog - limit, 0)
        if not over.any():
            return closing, np.zeros((len(closing), t.C * t.P)), np.zeros(len(closing))
        closing = h.stand(closing[:, 0], h.on_hand(closing), backlog - over)
        units = over.sum(axis=2).reshape(t.C * t.P, -1).T.astype(np.float64)
        price = CUT_PERIODS * (t.backorder_cost + t.holding_cost.max()) + t.lost_sale_cost
        return closing, units, units @ price.reshape(-1)

    def _net(self, stands: Ints) -> Ints:
        """Backlog set off against stock that will serve it anyway, where no cost tells the two apart."""
        t, h = self.halves.tables, self.halves
        for node, customer, p in self._netted:
            stock = 1 + (node * t.P + p) * t.A
            waits = 1 + h.on_hand_size + (customer * t.P + p) * t.W
            both = np.minimum(stands[:, stock], stands[:, waits])
            stands[:, stock] -= both
            stands[:, waits] -= both
        return stands

    def find(self, stands: Ints, roads: Ints) -> Ints:
        """Number of states as observed, -1 where they lie outside."""
        return self.states.find(np.concatenate([self._net(stands.copy()), roads], axis=1))

    # Matrices ----------------------------------------------------------------------------------------

    def _keep(self, **arrays: Any) -> None:
        for key, value in arrays.items():
            narrow = value.astype(np.int32) if value.dtype == np.int64 and key != "requests" else value
            self._collect.setdefault(key, []).append(narrow)

    def _all(self, key: str) -> Any:
        return np.concatenate(self._collect.pop(key))

    def _assemble(self) -> None:
        from scipy.sparse import csr_matrix

        self.count = len(self.states)
        self.owner, self.requests, self.cost = self._all("owner"), self._all("requests"), self._all("cost")
        self.starts = np.searchsorted(self.owner, np.arange(self.count))
        z_count, y_count = self._z.count, self._y.count
        z_stand = self._all("z_stand")
        serve = (self._all("serve_weight"), (self._all("serve_z"), self._all("serve_y")))
        self.serving = csr_matrix(serve, shape=(z_count, y_count))
        receive = (self._all("receive_weight"), (self._all("receive_y"), self._all("receive_x")))
        self.receiving = csr_matrix(receive, shape=(y_count, self.count))
        self.served_cost = self._stand_cost["cost"][z_stand] + self.serving @ self._all("y_cost")
        self.cut = self._stand_cost["cut"][z_stand]
        row, z, weight = self._all("after_row"), self._all("after_z"), self._all("after_weight")
        self.single: Ints | None = None
        self.after: Any = None
        if len(row) == len(self.owner):
            self.single = z
        else:
            self.after = csr_matrix((weight, (row, z)), shape=(len(self.owner), z_count))
        self._collect.clear()
        self._z, self._y = StateNumbers(), StateNumbers()

    def forget(self) -> None:
        """Drop everything but the numbers of states."""
        self.cost = self.served_cost = self.cut = np.zeros(0)
        self.owner = self.starts = np.zeros(0, dtype=np.int64)
        self.serving = self.receiving = self.after = self.single = self.requests = None
        self.stands, self.roads, self.closings = Registry(0), Registry(0), Registry(0)
        self._table = (np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
        self._stand_cost, self.progress = {}, None


def _netted(halves: Halves) -> list[tuple[int, int, int]]:
    """(node, customer, product) where backlog and stock may be set off at once."""
    t = halves.tables
    found: list[tuple[int, int, int]] = []
    if t.A > 1 or t.W > 1:
        return found
    for s, (node, customer) in enumerate(zip(t.pair_source.tolist(), t.pair_customer.tolist(), strict=True)):
        for p in range(t.P):
            alone = ((t.pair_customer == customer) & t.pair_carries[:, p]).sum() == 1
            alone &= ((t.pair_source == node) & t.pair_carries[:, p]).sum() == 1
            alone &= not ((t.lane_source == node) & t.lane_open[:, p]).any() and not t.is_supplier[node]
            free = t.node_fixed_cost[node] == 0 and t.pair_transport_cost[s, p] == 0
            free &= t.carbon_price * t.pair_emissions[s, p] == 0
            available = halves.chance.node_availability
            free &= available is None or bool((available[:, node] > 0).all())
            if alone and free and t.pair_carries[s, p] and t.lost_share[customer, p] < 1:
                found.append((node, customer, p))
    return found
