"""Opening stock on hand, in transit and on backlog when period 0 begins, and when shipments arrive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.backend import half_up
from ..core.typing import Floats, Ints
from ..core.validation import by_product
from ..network.calendars import waits
from ..worlds.source import WorldSource


def initial_lead_times(nominal: Ints, targets: Sequence[NDArray[np.bool_]], slots: int) -> Ints:
    """(L, K) lead time of what each slot holds at the start: nominal, and longer where it is due on a closed day.

    Parameters
    ----------
    nominal
        (L,) periods.
    targets
        Of each lane the periods of a cycle in which its target works.
    slots
        K; what slot k holds was dispatched in period -k - 1.
    """
    found = np.repeat(nominal[:, None], slots, 1)
    for lane, wait in enumerate(waits(target) for target in targets):
        found[lane] += wait[(nominal[lane] - np.arange(slots) - 1) % len(wait)]
    return found


def initial_stock(
    scenario: WorldSource, primary: Ints, mean_flow: Floats, nominal: Ints, protected: Ints, K: int
) -> tuple[Floats, Floats]:
    """Stock at the start of period 0: on hand (N, P) and in the slots of each lane (L, P, K).

    ``auto`` fills the primary pipeline with the mean flow and raises the node's position to
    ``mean flow x (lead time + 1)``, or + the review period by calendars. Integer worlds round each
    shipment and the position half up. A lane's ``opening_in_transit`` says instead what each of its
    slots up to the lead time holds; the position of its target is then made up with it.
    """
    N, P = primary.shape
    products = tuple(scenario.products)
    whole = half_up if scenario.units == "integer" else (lambda x: x)
    on_hand = np.zeros((N, P))
    in_transit = np.zeros((len(scenario.lanes), P, K))
    given = np.zeros((len(scenario.lanes), P), dtype=bool)
    for k, item in enumerate(scenario.lanes.values()):
        for p, units in enumerate(by_product(item.opening_in_transit, products, None)):
            if units is not None and (item.products is None or products[p] in item.products):
                in_transit[k, p, : max(int(nominal[k]) - 1, 0)] = units
                given[k, p] = True
    for n, node in enumerate(scenario.nodes.values()):
        if node.kind == "supplier":
            continue
        for p, initial in enumerate(by_product(node.initial, products, "auto")):
            if initial != "auto":
                on_hand[n, p] = initial
                continue
            lane = primary[n, p]
            if lane < 0:
                continue
            slots = max(int(nominal[lane]) - 1, 0)
            shipment = in_transit[lane, p, 0] if given[lane, p] else whole(mean_flow[n, p])
            in_transit[lane, p, :slots] = shipment
            position = whole(mean_flow[n, p] * protected[lane])
            on_hand[n, p] = max(position - shipment * slots, 0.0)
    return on_hand, in_transit
