"""Step 5, Serve: customers in passes over their sources; lost sales and backlog."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..core.backend import Array, Ops, replaced
from ..core.segments import Segments
from ..network.tables import Tables
from ..worlds.tape_arrays import Exogenous
from .coins import Coins
from .ship import take_in_order
from .units import Units


class Pass(NamedTuple):
    """Pairs that are served together: one customer priority, one rank of choice."""

    pairs: Any  # (pairs,) index
    customers: Any  # (pairs,) index
    nodes: Any  # (nodes,) index of the nodes drawn on
    by_node: Segments
    by_customer: Segments  # of all customers
    chosen: Array | None  # (pairs, P, 1) products for which it is this choice; None = all
    looking: Array | None  # (C, P, 1) what this pass does not touch; None where chosen is
    acceptance: Array | None  # (pairs, P, 1) None where all follow
    coins: Coins | None  # None where none accepts by coin
    unlimited: Array | None  # (nodes, 1, 1) suppliers; None where there are none


class Service(NamedTuple):
    """Result of serving."""

    served: Array  # (S, P, B)
    total: Array  # (C, P, B) served to each customer
    served_new: Array  # (C, P, B)
    served_first: Array  # (C, P, B)


class Serving:
    """Serves demand and backlog; assembled from the steps that the scenario needs."""

    def __init__(self, tables: Tables, ops: Ops, units: Units) -> None:
        self.ops, self.units, self.tables = ops, units, tables
        t = tables
        self.passes = [self._prepare(*key) for key in _passes(t)]
        self.single = t.S == t.C and len(self.passes) == 1 and bool(t.pair_carries.all())
        self.of_customer = Segments(t.pair_customer, t.C, ops)
        # Without patience, what is not served at once is lost.
        lost_share = np.where(t.patience == 0, 1.0, t.lost_share)
        self.keeps_waiting = bool((lost_share < 1).any())
        self.by_node = Segments(t.pair_source, t.N, ops)
        self.is_first = units.amount((t.pair_rank == 0)[..., None])
        if t.lifo.any():
            self.lifo_pair = units.amount(t.lifo[t.pair_customer][:, None, None])
        self.lost_share = ops.constant(lost_share[..., None])
        self.waiting = bool(t.W > 1)
        limit = t.patience
        self.unlimited = units.amount((limit < 0)[..., None])
        if self.waiting:
            classes = np.arange(t.W)[None, None, :, None]
            self.last_wait = units.amount((classes == limit[..., None, None]) & (classes > 0))

    def _prepare(self, priority: int, rank: int) -> Pass:
        t, ops, units = self.tables, self.ops, self.units
        mask = (t.pair_rank == rank) & (t.customer_priority[t.pair_customer] == priority)[:, None]
        pairs = np.flatnonzero(mask.any(axis=1))
        mask = mask[pairs]
        source, customer = t.pair_source[pairs], t.pair_customer[pairs]
        touched = np.zeros((t.C, t.P), dtype=bool)
        for i, c in enumerate(customer):
            touched[c] |= mask[i]
        nodes = np.unique(source)
        acceptance = t.acceptance[pairs]
        # Everybody looks at the first choice; acceptance is a matter of the later ones.
        all_follow = rank == 0 or bool((acceptance[mask] == 1).all())
        tossed = t.by_coin[pairs] & t.integer
        unlimited = t.is_supplier[nodes]
        return Pass(
            pairs=ops.index(pairs),
            customers=ops.index(customer),
            nodes=ops.index(nodes),
            by_node=Segments(np.searchsorted(nodes, source), len(nodes), ops),
            by_customer=Segments(customer, t.C, ops),
            chosen=None if mask.all() else units.amount(mask[..., None]),
            looking=None if touched.all() else units.amount(~touched[..., None]),
            acceptance=None if all_follow else ops.constant(acceptance[..., None]),
            coins=Coins(acceptance, tossed, ops) if tossed.any() and not all_follow else None,
            unlimited=units.amount(unlimited[:, None, None]) if unlimited.any() else None,
        )

    def serve(self, stock: Array, waiting: Array | None, exogenous: Exogenous, reserve: Array | None) -> Service:
        """Serve from ``stock`` (N, P, B) at the time of service.

        ``waiting`` (C, P, B) is the backlog in total, None where nobody waits; ``reserve``
        (S, P, B) what each pair must leave on hand.
        """
        ops = self.ops
        demand = exogenous.demand
        wanted = demand if waiting is None else demand + waiting
        if exogenous.node_availability is not None:
            working = ops.cast(exogenous.node_availability > 0, self.units.dtype)
            stock = stock * working[:, None]
        else:
            working = None
        if self.single:
            served = self._give(self.passes[0], wanted, stock, exogenous.split, reserve, working)
            total = first = served
        else:
            served = self._all_passes(wanted, stock, exogenous, reserve, working)
            total = self.of_customer.sum(served)
            first = self.of_customer.sum(served * self.is_first)
        if waiting is None:
            return Service(served, total, total, first)
        # The longest wait comes first, so new demand gets what exceeds the backlog.
        served_new = ops.maximum(total - waiting, 0)
        return Service(served, total, served_new, ops.maximum(first - waiting, 0))

    def _all_passes(
        self,
        wanted: Array,
        stock: Array,
        exogenous: Exogenous,
        reserve: Array | None,
        working: Array | None,
    ) -> Array:
        ops, t = self.ops, self.tables
        served = ops.zeros((t.S, *wanted.shape[1:]), wanted.dtype)
        following = wanted  # what looks for the next source, by customer
        for number, one in enumerate(self.passes):
            claims = self._claims(one, following[one.customers], exogenous.thin)
            given = self._give(one, claims, stock, exogenous.split, reserve, working)
            served = ops.put(served, one.pairs, given if one.chosen is None else served[one.pairs] + given)
            if number + 1 == len(self.passes):
                break
            unserved = one.by_customer.sum(claims - given)
            following = unserved if one.looking is None else unserved + following * one.looking
            out = one.by_node.sum(given)
            here = stock[one.nodes]
            stock = replaced(ops, stock, one.nodes, here - ops.minimum(out, here))
        return served

    def _claims(self, one: Pass, claims: Array, thin: Array | None) -> Array:
        """What follows to this pass's sources (pairs, P, B) of what the former left unserved."""
        if one.acceptance is not None:
            luck = None if thin is None else thin[self.tables.L :][one.pairs]
            wanted = claims
            claims = self.units.fraction(one.acceptance, wanted, luck)
            if one.coins is not None:
                claims = one.coins.accepted(wanted, luck, claims)
        return claims if one.chosen is None else claims * one.chosen

    def _give(
        self,
        one: Pass,
        claims: Array,
        stock: Array,
        split: Array | None,
        reserve: Array | None,
        working: Array | None,
    ) -> Array:
        """Share what stands at each node over the claims of one pass: (pairs, P, B) served."""
        ops = self.ops
        here = stock[one.nodes]
        if one.unlimited is not None:
            # A supplier has whatever is claimed, unless an outage stops it.
            plenty = one.by_node.sum(claims)
            if working is not None:
                plenty = plenty * working[one.nodes][:, None]
            here = ops.where(one.unlimited > 0, plenty, here)
        if reserve is not None:
            above = ops.maximum(one.by_node.spread(here) - reserve[one.pairs], 0)
            if one.unlimited is not None:
                above = ops.where(one.by_node.spread(one.unlimited) > 0, claims, above)
            claims = ops.minimum(claims, above)
        luck = None if split is None else split[one.nodes]
        return self.units.share(here, claims, one.by_node, luck)

    def drawn(self, on_hand: Array, served: Array) -> Array:
        """Stock after service, by life class: FIFO customers take the oldest, LIFO the freshest.

        The two ends never meet, as no more is served than stands; so order does not matter.
        """
        ops, t = self.ops, self.tables
        if not t.lifo.any():
            out = self.by_node.sum(served)
            return on_hand - self._taken(on_hand, out)
        lifo = served * self.lifo_pair
        oldest = self.by_node.sum(served - lifo)
        freshest = self.by_node.sum(lifo)
        left = on_hand - self._taken(on_hand, oldest)
        if t.A == 1:
            return left - self._taken(left, freshest)
        turned = ops.flip(left, 2)
        return ops.flip(turned - self._taken(turned, freshest), 2)

    def _taken(self, on_hand: Array, out: Array) -> Array:
        if self.tables.A == 1:
            return self.ops.minimum(out[:, :, None], on_hand)
        return take_in_order(self.ops, on_hand, out)

    def settle(
        self, backlog: Array, service: Service, waiting: Array | None, exogenous: Exogenous
    ) -> tuple[Array | None, Array | None, Array | None, Array]:
        """Lost sales and backlog after serving.

        Returns ``lost_new`` (C, P, B), ``lost`` (C, P, B), what waits at close in total (C, P, B),
        and the backlog of the next period (C, P, W, B), waiting advanced by one.
        """
        ops, units, t = self.ops, self.units, self.tables
        # Sums of real numbers may exceed what was wanted by a rounding error.
        unserved = ops.maximum(exogenous.demand - service.served_new, 0)
        if not self.keeps_waiting:
            return unserved, unserved, None, backlog
        thin = exogenous.thin
        luck = None if thin is None else thin[t.L + t.S :]
        lost_new = units.fraction(self.lost_share, unserved, luck)
        stays = unserved - lost_new
        old_served = service.total - service.served_new
        if not self.waiting:
            standing = backlog - ops.minimum(old_served[:, :, None], backlog)
            standing = standing + stays[:, :, None]
            return lost_new, lost_new, standing[:, :, 0], standing
        longest_first = ops.flip(backlog, 2)
        left = ops.flip(longest_first - take_in_order(ops, longest_first, old_served), 2)
        gone = left * self.last_wait
        left = left - gone
        lost = lost_new + ops.total(gone, 2)
        waits = ops.total(left, 2) + stays
        # Advance: unlimited patience stays in class 0, everybody else moves up by one.
        unlimited = stays * self.unlimited
        ages = [left[:, :, :1] + unlimited[:, :, None], (stays - unlimited)[:, :, None]]
        return lost_new, lost, waits, ops.concat([*ages, left[:, :, 1 : t.W - 1]], 2)


def _passes(tables: Tables) -> list[tuple[int, int]]:
    """Each pass as (priority, rank): customer priorities in turn, within one the choices in turn."""
    ranks = tables.pair_rank
    priority = np.broadcast_to(tables.customer_priority[tables.pair_customer][:, None], ranks.shape)
    carried = ranks >= 0
    return sorted(set(zip(priority[carried].tolist(), ranks[carried].tolist(), strict=True)))
