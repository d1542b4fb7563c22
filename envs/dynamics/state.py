"""State of the network, and flows of a period."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.backend import Array, half_up
from ..core.typing import Floats
from ..network.tables import Tables


class State(NamedTuple):
    """State of the network: stock and waiting customers; entity first, batch last.

    ``rows`` and ``leads`` are what is in transit, in the layout of :class:`Road`: M rows as observed,
    more between periods (after ``advance``, before ``receive``). ``Dynamics.in_transit`` shows them
    by lane and slot.
    """

    on_hand: Array  # (N, P, A, B) units by periods of life left beyond this one
    rows: Array  # (M, P, A, B) units in transit by life at dispatch
    leads: Array | None  # (varied rows, B) lead times at dispatch; None where all are fixed
    backlog: Array  # (C, P, W, B) units by periods waited
    unfilled: Array  # (L, P, B) units requested last period and not shipped


class Arrivals(NamedTuple):
    """Arrivals at the start of a period."""

    received: Array  # (L, P, B) units that joined the target's stock
    disposed: Array | None  # (N, P, B) units lost to yield or expired on the road


class Flows(NamedTuple):
    """Flows of one period, all in units; entity first, batch last."""

    requests: Array  # (L, P, B) after rounding to units and batches
    shipped: Array  # (L, P, B) entering lanes by request
    received: Array  # (L, P, B) good units joining stock, lead time 0 included
    returned: Array | None  # (L, P, B) sent back by customers; None without return lanes
    recovered: Array | None  # (L, P, B) of them, entering the lane
    served: Array  # (S, P, B)
    served_new: Array  # (C, P, B) new demand served in its own period
    served_first: Array  # (C, P, B) of it, by the first source
    demand: Array  # (C, P, B)
    lost_new: Array | None  # (C, P, B) new demand lost; None where none can be
    lost: Array | None  # (C, P, B) with what lost patience
    disposed: Array | None  # (N, P, B) None where nothing can be disposed of
    on_hand: Array  # (N, P, B) standing at close, before the end of life
    in_transit: Array | None  # (L, P, B) in transit at close; None where nothing can be or asks
    backlog: Array | None  # (C, P, B) waiting at close; None where nobody waits
    present: Array | None  # (N, B) 1 where any unit stood after arrivals; None if no node asks


def demand_seen(tables: Tables, flows: Flows) -> Array:
    """(C, P, B) units of a period's demand that policies see afterwards: sales, where lost demand is not observed."""
    if tables.censored and flows.lost_new is not None:
        return flows.demand - flows.lost_new
    return flows.demand


class Opening(NamedTuple):
    """What a scenario's episodes begin with, in a world: units, whole ones where units are."""

    on_hand: Floats  # (N, P, A)
    in_transit: Floats  # (L, P, K, A) slot k was dispatched k + 1 periods ago
    backlog: Floats  # (C, P, W) as if they had come up in the period before


def opening(tables: Tables) -> Opening:
    """Stock, units in transit and waiting customers when period 0 begins; all units are fresh, or were at dispatch."""
    t = tables
    on_hand, in_transit = np.zeros((t.N, t.P, t.A)), np.zeros((t.L, t.P, t.K, t.A))
    products = np.arange(t.P)
    on_hand[:, products, t.fresh_class] = t.initial_on_hand
    for p in products:
        in_transit[:, p, :, t.fresh_class[p]] = t.initial_in_transit[:, p]
    backlog = np.zeros((t.C, t.P, t.W))
    customers, products = np.indices((t.C, t.P))
    backlog[customers, products, np.where(t.patience > 0, 1, 0)] = t.opening_backlog
    found = Opening(on_hand, in_transit, backlog)
    return Opening(*map(half_up, found)) if t.integer else found
