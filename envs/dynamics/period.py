"""One period of the network: the only place where stock moves.

Pure functions of a state: nothing is written into what is handed in. All worlds of a batch move
together; the same code runs on NumPy and on PyTorch (differentiable in continuous worlds).
A feature that the scenario does not use is no step here and costs nothing.
"""

from __future__ import annotations

import numpy as np

from ..backend import NUMPY, Array, Ops
from ..tables import Tables
from .segments import Segments
from .serve import Service, Serving
from .ship import Shipping
from .state import Arrivals, Exogenous, Flows, State
from .units import units_of


class Dynamics:
    """The period of one scenario on one backend.

    A period t is ``receive`` (not in period 0), the decision, then ``advance``. See ``docs/model.md``
    for the formulas.

    Parameters
    ----------
    tables
        The compiled scenario.
    ops
        Backend: ``NumpyOps`` or ``TorchOps``, of any floating type.
    vary_lead_times
        True where the tape's lead times may differ from the nominal ones although no process of
        the scenario makes them (a recorded tape).
    """

    def __init__(self, tables: Tables, ops: Ops = NUMPY, vary_lead_times: bool = False) -> None:
        t = tables
        self.tables, self.ops = t, ops
        self.units = units_of(t.integer, ops)
        self.shipping = Shipping(t, ops, self.units)
        self.serving = Serving(t, ops, self.units)
        self.by_target = Segments(t.lane_target, t.N, ops)
        # Lead time 0 today: always, never, or to be looked up.
        shortest = np.array([values.min() for values in t.lead_time_values], dtype=np.int64)
        self.fixed = not (t.lead_time_random.any() or vary_lead_times)
        self.instant_possible = vary_lead_times or bool((shortest == 0).any())
        self.road_possible = vary_lead_times or bool((t.max_lead_time > 0).any())
        self.nominal = ops.whole(t.nominal_lead_time[:, None])
        returning = np.flatnonzero(t.lane_customer >= 0)
        self.return_lanes = ops.index(returning) if len(returning) else None
        self.return_customers = ops.index(t.lane_customer[returning])
        self.return_share = ops.constant(t.return_share[returning][..., None])
        self.recovery = ops.constant(t.recovery[returning][..., None])
        self.mortal = bool((t.shelf_life > 0).any())
        self.expiring = self.units.amount((t.shelf_life > 0)[:, None, None])
        self.counts_presence = bool(t.node_fixed_cost.any())
        slot = np.arange(t.K + 1)[None, :, None]
        self.slots = ops.whole(slot + 1)  # (1, K + 1, 1) periods under way at the next Receive
        self.fixed_slot = ops.whole(np.maximum(t.nominal_lead_time - 1, 0))
        self.lanes = ops.whole(np.arange(t.L))
        later = (slot[:, : t.K] + 1) < t.nominal_lead_time[:, None, None]
        self.fixed_later = self.units.amount(later[:, None, :, :, None])

    def initial(self, worlds: int) -> State:
        """The state at the start of period 0 for a batch of worlds."""
        t, ops, units = self.tables, self.ops, self.units
        batch = units.amount(np.zeros(worlds))
        life = np.where(t.shelf_life > 0, t.shelf_life, t.A) - 1
        on_hand = np.zeros((t.N, t.P, t.A, 1))
        on_hand[:, np.arange(t.P), life, 0] = t.initial_on_hand
        in_transit = np.zeros((t.L, t.P, t.K, t.A, 1))
        for p in range(t.P):
            in_transit[:, p, :, life[p], 0] = t.initial_in_transit[:, p]
        return State(
            units.amount(on_hand) + batch,
            units.amount(in_transit) + batch,
            units.amount(np.zeros((t.C, t.P, t.W, 1))) + batch,
            units.amount(np.zeros((t.L, t.P, 1))) + batch,
            None
            if self.fixed
            else ops.whole(np.repeat(t.nominal_lead_time[:, None], t.K, 1)[..., None])
            + ops.whole(np.zeros(worlds)),
        )

    # Receive -----------------------------------------------------------------------------------

    def receive(self, state: State, exogenous: Exogenous | None) -> tuple[State, Arrivals]:
        """Step 1: units due join their target's stock, less yield loss and what expired.

        ``exogenous`` is the period that begins; None reads it as one with full yield.
        """
        t, ops = self.tables, self.ops
        moving = state.in_transit
        if self.fixed:
            # Lanes of lead time 0 hold nothing, so it does not matter which slot is read.
            arrived, expired = self._aged_fixed(moving[self.lanes, :, self.fixed_slot])
            kept_moving = moving[:, :, : t.K] * self.fixed_later
            leads = None
        else:
            is_due = ops.cast(state.dispatch_lead_time == self.slots, self.units.dtype)
            arrived, expired = self._aged_random(moving * is_due[:, None, :, None])
            kept_moving = moving[:, :, : t.K] * (1 - is_due[:, None, : t.K, None])
            leads = state.dispatch_lead_time[:, : t.K]
        good = self._yielded(arrived, exogenous)
        on_hand = state.on_hand + self.by_target.sum(good)
        lost = None
        if good is not arrived:
            lost = ops.total(arrived - good, 2)
        if expired is not None:
            lost = expired if lost is None else lost + expired
        received = ops.total(good, 2)
        disposed = None if lost is None else self.by_target.sum(lost)
        return State(on_hand, kept_moving, state.backlog, state.unfilled, leads), Arrivals(
            received, disposed
        )

    def _yielded(self, arriving: Array, exogenous: Exogenous | None) -> Array:
        """The good share (L, P, A, B) of what arrives in the period."""
        if exogenous is None or exogenous.lane_yield is None:
            return arriving
        thin = exogenous.thin
        luck = None if thin is None else thin[: self.tables.L][:, :, None]
        return self.units.fraction(exogenous.lane_yield[:, None, None], arriving, luck)

    def _aged_fixed(self, due: Array) -> tuple[Array, Array | None]:
        """Life left on arrival after the lane's fixed lead time: (L, P, A, B), expired (L, P, B)."""
        t, ops = self.tables, self.ops
        if not self.mortal:
            return due, None
        arrived = due + 0
        expired = ops.zeros((t.L, t.P, due.shape[-1]), due.dtype)
        for lead in sorted(set(t.nominal_lead_time.tolist()) - {0}):
            lanes = ops.index(np.flatnonzero(t.nominal_lead_time == lead))
            arrived[lanes], expired[lanes] = self._aged(due[lanes], lead)
        return arrived, expired

    def _aged_random(self, due: Array) -> tuple[Array, Array | None]:
        """The same where slots say how long units were under way: (L, P, K + 1, A, B) summed."""
        ops = self.ops
        if not self.mortal:
            return ops.total(due, 2), None
        arrived, expired = zip(
            *(self._aged(due[:, :, k], k + 1) for k in range(self.tables.K + 1)), strict=True
        )
        return ops.total(ops.stack(list(arrived)), 0), ops.total(ops.stack(list(expired)), 0)

    def _aged(self, units: Array, periods: int) -> tuple[Array, Array]:
        """Units (n, P, A, B) after some periods of ageing, and those that did not live so long."""
        ops, A = self.ops, self.tables.A
        gone = min(periods, A)
        older = units[:, :, gone:]
        if gone:
            nothing = units[:, :, :gone] * 0
            older = ops.concat([older, nothing], 2)
        lost = ops.total(units[:, :, :gone], 2) * self.expiring[:, 0]
        return ops.where(self.expiring > 0, older, units), lost

    # Ship, serve, close ------------------------------------------------------------------------

    def advance(
        self,
        state: State,
        exogenous: Exogenous,
        requests: Array,
        reserve: Array | None = None,
        arrivals: Arrivals | None = None,
    ) -> tuple[State, Flows]:
        """Steps 3 to 6: request, ship, serve, close.

        Parameters
        ----------
        state
            As observed: after ``receive``.
        exogenous
            The period of the tape.
        requests
            (L, P, B) units requested on each lane, >= 0.
        reserve
            (S, P, B) units each pair must leave on hand; None = none.
        arrivals
            What ``receive`` brought this period; None in period 0.
        """
        t, ops, units = self.tables, self.ops, self.units
        demand = units.read(exogenous.demand)
        exogenous = exogenous._replace(demand=demand)
        if reserve is not None:
            reserve = units.read(reserve)
        requests = self.shipping.requested(requests)
        stock = ops.total(state.on_hand, 2)
        shipped = self.shipping.quantities(requests, stock, exogenous)
        by_age, on_hand = self.shipping.aged(shipped, state.on_hand, exogenous.split)
        lead_time = exogenous.lead_time
        received = None if arrivals is None else arrivals.received
        disposed = None if arrivals is None else arrivals.disposed
        present = stock if self.counts_presence else None
        departing = by_age
        if self.instant_possible:
            if lead_time is None:
                lead_time = self.nominal
            instant = by_age * ops.cast(lead_time == 0, units.dtype)[:, None, None]
            departing = by_age - instant
            good = self._yielded(instant, exogenous)
            joined = self.by_target.sum(good)
            on_hand = on_hand + joined
            received = _plus(received, ops.total(good, 2))
            if good is not instant:
                lost_now = self.by_target.sum(ops.total(instant - good, 2))
                disposed = _plus(disposed, lost_now)
            if present is not None:
                present = present + ops.total(joined, 2)
        waiting = ops.total(state.backlog, 2) if self.serving.keeps_waiting else None
        here = ops.total(on_hand, 2)
        service = self.serving.serve(here, waiting, exogenous, reserve)
        on_hand = self.serving.drawn(on_hand, service.served)
        lost_new, lost, waits, backlog = self.serving.settle(
            state.backlog, service, waiting, exogenous
        )
        returned, recovered, departing, disposed = self._returns(
            service, exogenous, departing, disposed
        )
        moving = ops.concat([departing[:, :, None], state.in_transit], 2)
        standing = ops.total(on_hand, 2)
        if self.mortal:
            on_hand, ended = self._end_of_life(on_hand)
            disposed = _plus(disposed, ended)
        leads = state.dispatch_lead_time
        if leads is not None:
            today = exogenous.lead_time
            today = self.nominal + 0 * leads[:, 0] if today is None else today
            leads = ops.concat([today[:, None], leads], 1)
        flows = Flows(
            requests=requests,
            shipped=shipped,
            received=shipped * 0 if received is None else received,
            returned=returned,
            recovered=recovered,
            served=service.served,
            served_new=service.served_new,
            served_first=service.served_first,
            demand=demand,
            lost_new=lost_new,
            lost=lost,
            disposed=disposed,
            on_hand=standing,
            in_transit=self._under_way(moving),
            backlog=waits,
            present=None
            if present is None
            else ops.cast((ops.total(present, 1) > 0), self.units.dtype),
        )
        return State(on_hand, moving, backlog, requests - shipped, leads), flows

    def _under_way(self, moving: Array) -> Array | None:
        """(L, P, B) units under way at close, of slots (L, P, K + 1, A, B)."""
        if not self.road_possible:
            return None
        by_slot = self.ops.total(moving, 3)
        return self.ops.total(by_slot, 2)

    def _end_of_life(self, on_hand: Array) -> tuple[Array, Array]:
        """Life advances by one; what has none left is disposed of: stock, and (N, P, B) units."""
        return self._aged(on_hand, 1)

    def _returns(
        self,
        service: Service,
        exogenous: Exogenous,
        departing: Array,
        disposed: Array | None,
    ) -> tuple[Array | None, Array | None, Array, Array | None]:
        """What customers send back enters the return lanes, fresh; the rest is disposed of."""
        lanes = self.return_lanes
        if lanes is None:
            return None, None, departing, disposed
        ops, t = self.ops, self.tables
        luck = None if exogenous.thin is None else exogenous.thin[: t.L][lanes]
        sold = service.total[self.return_customers]
        back = self.units.fraction(self.return_share, sold, luck)
        entering = self.units.fraction(self.recovery, back, luck)
        shape = (t.L, t.P, sold.shape[-1])
        returned, recovered = ops.zeros(shape, back.dtype), ops.zeros(shape, back.dtype)
        returned[lanes], recovered[lanes] = back, entering
        fresh = recovered[:, :, None]
        departing = departing + (fresh * self.shipping.fresh if t.A > 1 else fresh)
        disposed = _plus(disposed, self.by_target.sum(returned - recovered))
        return returned, recovered, departing, disposed


def _plus(first: Array | None, second: Array) -> Array:
    return second if first is None else first + second
