"""Rounding of a plan to requests: whole units and batches, and never more than a source has."""

from __future__ import annotations

import numpy as np

from echelongym.envs.core.backend import half_up
from echelongym.envs.core.typing import Floats
from echelongym.envs.network.tables import Tables

# Less than this of a plan is dust of the solver.
DUST = 1e-7


def requests_of(tables: Tables, shipped: Floats, on_hand: Floats, enough: Floats | None = None) -> Floats:
    """(L, P) requests that come closest to planned shipments.

    Continuous lanes without batch ask for what is planned. Otherwise what leaves a stock node is rounded to steps (units
    or batches) by largest remainders: its lanes' total is rounded half up, no more than stands there, and the steps left
    after rounding down go where most was cut off. What leaves a supplier is rounded half up. A lane that takes lots only
    (:attr:`Tables.lot`) is asked for one where ``enough`` is planned and its source has that much, though less than half.

    Parameters
    ----------
    shipped
        (L, P) units planned.
    on_hand
        (N, P) units at the nodes, as observed.
    enough
        (L, P) units; None: half a lot.
    """
    t = tables
    planned = np.where(shipped > DUST, shipped, 0.0)
    step = np.where(t.batch > 0, t.batch, 1.0 if t.integer else 0.0)
    found = np.where(step > 0, half_up(planned / np.where(step > 0, step, 1.0)) * step, planned)
    for node in np.unique(t.lane_source[t.lane_source >= 0]):
        if t.is_supplier[node]:
            continue
        lanes = np.flatnonzero(t.lane_source == node)
        for p in range(t.P):
            if planned[lanes, p].any() and step[lanes, p].any():
                found[lanes, p] = largest_remainders(planned[lanes, p], step[lanes, p], float(on_hand[node, p]))
    if enough is not None:
        refused = np.maximum(2 * planned, found) < t.lot  # the network makes nothing of it
        for lane, p in np.argwhere(refused & (planned > 0) & (planned >= enough - DUST)):
            source = t.lane_source[lane]
            others = found[t.lane_source == source, p].sum() - found[lane, p]
            if t.is_supplier[source] or on_hand[source, p] - others >= t.lot[lane, p]:
                found[lane, p] = t.lot[lane, p]
    return found


def largest_remainders(planned: Floats, step: Floats, stock: float) -> Floats:
    """Multiples of ``step`` (n,) (0 = any amount) close to ``planned`` (n,), with a sum of at most ``stock``."""
    moves = step > 0
    size = np.where(moves, step, 1.0)
    below = np.floor(planned / size + 1e-9) * size
    found = np.where(moves, below, planned)
    left = min(float(planned.sum()), stock) - float(found.sum())
    rest = np.where(moves, (planned - below) / size, 0.0)
    for i in np.argsort(-rest, kind="stable"):
        if rest[i] <= DUST or found.sum() + size[i] > stock + 1e-9:
            continue
        if left < 0.5 * size[i] - 1e-9:
            break
        found[i] += size[i]
        left -= float(size[i])
    return found
