"""One period of the network: the only place where stock moves.

Pure functions of a state: nothing is written into what is handed in. All worlds of a batch move
together; the same code runs on NumPy, PyTorch and JAX (differentiable in continuous worlds).
A feature that the scenario does not use is no step here and costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.allocator import keep_freed_memory
from ..core.backend import NUMPY, Array, Ops, replaced
from ..core.segments import Segments
from ..network.tables import Tables
from ..worlds.tape_arrays import Exogenous
from .road import Road
from .rounding import counting, dust_of
from .serve import Service, Serving
from .ship import Shipping
from .state import Arrivals, Flows, State, opening
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
        Backend: ``NumpyOps``, ``TorchOps`` or ``JaxOps``, of any floating type.
    vary_lead_times
        True where the tape's lead times may differ from the nominal ones although no process of
        the scenario makes them (a recorded tape).
    count_under_way
        Whether ``flows.in_transit`` is wanted; it costs a pass over all that is in transit.
    """

    def __init__(
        self,
        tables: Tables,
        ops: Ops = NUMPY,
        vary_lead_times: bool = False,
        count_under_way: bool = True,
    ) -> None:
        t = tables
        keep_freed_memory()
        ops = counting(t, ops)
        self.tables, self.ops = t, ops
        self.units = units_of(t.integer, ops)
        dust = dust_of(t, ops.float)
        self.dust: Any = dust if isinstance(dust, float) else ops.constant(dust[:, None])
        self.shipping = Shipping(t, ops, self.units)
        self.serving = Serving(t, ops, self.units)
        self.by_target = Segments(t.lane_target, t.N, ops)
        self.road = Road(t, ops, self.units, vary_lead_times)
        # Lanes whose lead time may be 0 today; on some it always is.
        shortest = np.array([values.min() for values in t.lead_time_values], dtype=np.int64)
        instant = np.flatnonzero((shortest == 0) | vary_lead_times)
        self.instant_lanes = ops.index(instant) if len(instant) else None
        self.always_instant = not vary_lead_times and not t.lead_time_random[instant].any()
        self.into = Segments(t.lane_target[instant], t.N, ops)
        self.count_under_way = count_under_way and self.road.any
        returning = np.flatnonzero(t.lane_customer >= 0)
        self.return_lanes = ops.index(returning) if len(returning) else None
        self.return_customers = ops.index(t.lane_customer[returning])
        self.return_share = ops.constant(t.return_share[returning][..., None])
        self.recovery = ops.constant(t.recovery[returning][..., None])
        self.mortal = bool((t.shelf_life > 0).any())
        self.all_mortal = bool((t.shelf_life > 0).all())
        self.expiring = self.units.amount((t.shelf_life > 0)[:, None, None])
        self.counts_presence = bool(t.node_fixed_cost.any())

    def initial(self, worlds: int) -> State:
        """The state at the start of period 0 for a batch of worlds."""
        t, units = self.tables, self.units
        batch = units.amount(np.zeros(worlds))
        start = opening(t)
        rows, leads = self.road.initial(start.in_transit, worlds)
        return State(
            units.amount(start.on_hand[..., None]) + batch,
            rows,
            leads,
            units.amount(start.backlog[..., None]) + batch,
            units.amount(np.zeros((t.L, t.P, 1))) + batch,
        )

    def in_transit(self, state: State) -> Array:
        """(L, P, K, A, B) units in transit as observed: slot k was dispatched k + 1 periods ago."""
        return self.road.by_slot(state.rows)

    # Receive -----------------------------------------------------------------------------------

    def receive(self, state: State, exogenous: Exogenous | None) -> tuple[State, Arrivals]:
        """Step 1: units due join their target's stock, less yield loss and what expired.

        ``exogenous`` is the period that begins; None reads it as one with full yield.
        """
        ops = self.ops
        arrived, expired, rows, leads = self.road.arrive(state.rows, state.leads)
        good = self._yielded(arrived, exogenous)
        on_hand = state.on_hand + self.by_target.sum(good)
        lost = expired
        if good is not arrived:
            lost = _plus(lost, ops.total(arrived - good, 2))
        disposed = None if lost is None else self.by_target.sum(lost)
        arrivals = Arrivals(ops.total(good, 2), disposed)
        return State(on_hand, rows, leads, state.backlog, state.unfilled), arrivals

    def _yielded(self, arriving: Array, exogenous: Exogenous | None, lanes: Any = None) -> Array:
        """The good share of what arrives in the period on all or some lanes, (lanes, P, A, B)."""
        if exogenous is None or exogenous.lane_yield is None:
            return arriving
        share, thin = exogenous.lane_yield, exogenous.thin
        luck = None if thin is None else thin[: self.tables.L]
        if lanes is not None:
            share, luck = share[lanes], None if luck is None else luck[lanes]
        luck = None if luck is None else luck[:, :, None]
        return self.units.fraction(share[:, None, None], arriving, luck)

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
        ops, units = self.ops, self.units
        demand = units.read(exogenous.demand)
        exogenous = exogenous._replace(demand=demand)
        if reserve is not None:
            reserve = units.read(reserve)
        requests = self.shipping.requested(requests)
        stock = ops.total(state.on_hand, 2)
        shipped = self.shipping.quantities(requests, stock, exogenous)
        by_age, on_hand = self.shipping.aged(shipped, state.on_hand, exogenous.split)
        received = None if arrivals is None else arrivals.received
        disposed = None if arrivals is None else arrivals.disposed
        present = stock if self.counts_presence else None
        if self.instant_lanes is not None:
            here = by_age[self.instant_lanes]
            if not self.always_instant:
                here = here * self._is_zero(exogenous.lead_time, here)
                by_age = replaced(ops, by_age, self.instant_lanes, by_age[self.instant_lanes] - here)
            good = self._yielded(here, exogenous, self.instant_lanes)
            joined = self.into.sum(good)
            on_hand = on_hand + joined
            if received is None:
                received = shipped * 0
            now = received[self.instant_lanes] + ops.total(good, 2)
            received = replaced(ops, received, self.instant_lanes, now)
            if good is not here:
                disposed = _plus(disposed, self.into.sum(ops.total(here - good, 2)))
            if present is not None:
                present = present + ops.total(joined, 2)
        waiting = ops.total(state.backlog, 2) if self.serving.keeps_waiting else None
        service = self.serving.serve(ops.total(on_hand, 2), waiting, exogenous, reserve)
        on_hand = self.serving.drawn(on_hand, service.served)
        lost_new, lost, waits, backlog = self.serving.settle(state.backlog, service, waiting, exogenous)
        returned, recovered, by_age, disposed = self._returns(service, exogenous, by_age, disposed)
        rows, leads = self.road.dispatch(state.rows, state.leads, by_age, exogenous.lead_time)
        standing = ops.total(on_hand, 2)
        if self.mortal:
            on_hand, ended = self._end_of_life(on_hand)
            disposed = _plus(disposed, ended)
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
            in_transit=self.road.under_way(rows) if self.count_under_way else None,
            backlog=waits,
            present=None if present is None else ops.cast(ops.total(present, 1) > self.dust, self.units.dtype),
        )
        return State(on_hand, rows, leads, backlog, requests - shipped), flows

    def _is_zero(self, lead_time: Array | None, like: Array) -> Array:
        """(instant lanes, 1, 1, B) 1 where today's lead time is 0."""
        if lead_time is None:
            lead_time = self.ops.whole(self.tables.nominal_lead_time[:, None])
        return self.ops.cast(lead_time[self.instant_lanes] == 0, like.dtype)[:, None, None]

    def _end_of_life(self, on_hand: Array) -> tuple[Array, Array]:
        """Life advances by one; what has none left is disposed of: stock, and (N, P, B) units."""
        ops = self.ops
        ended = on_hand[:, :, 0]
        older = ops.concat([on_hand[:, :, 1:], ops.zeros(ended[:, :, None].shape, ended.dtype)], 2)
        if self.all_mortal:
            return older, ended
        return ops.where(self.expiring > 0, older, on_hand), ended * self.expiring[:, 0]

    def _returns(
        self,
        service: Service,
        exogenous: Exogenous,
        by_age: Array,
        disposed: Array | None,
    ) -> tuple[Array | None, Array | None, Array, Array | None]:
        """What customers send back enters the return lanes, fresh; the rest is disposed of."""
        lanes = self.return_lanes
        if lanes is None:
            return None, None, by_age, disposed
        ops, t = self.ops, self.tables
        luck = None if exogenous.thin is None else exogenous.thin[: t.L][lanes]
        sold = service.total[self.return_customers]
        back = self.units.fraction(self.return_share, sold, luck)
        entering = self.units.fraction(self.recovery, back, luck)
        shape = (t.L, t.P, sold.shape[-1])
        returned = ops.put(ops.zeros(shape, back.dtype), lanes, back)
        recovered = ops.put(ops.zeros(shape, back.dtype), lanes, entering)
        fresh = recovered[:, :, None]
        by_age = by_age + (fresh * self.shipping.fresh if t.A > 1 else fresh)
        disposed = _plus(disposed, self.by_target.sum(returned - recovered))
        return returned, recovered, by_age, disposed


def _plus(first: Array | None, second: Array) -> Array:
    return second if first is None else first + second
