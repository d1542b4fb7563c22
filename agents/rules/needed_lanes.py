"""Needed secondary lanes, where primary lanes cannot carry mean demand: their levels, and what is asked before them."""

from __future__ import annotations

import numpy as np

from echelongym.envs.core.typing import Bools, Floats
from echelongym.envs.interface.automatic_levels import Levels
from echelongym.envs.interface.feasibility import carried_share
from echelongym.envs.interface.inventory_positions import Forest
from echelongym.envs.network.tables import Tables

from .request_order import is_lateral


def slower_than_primary(tables: Tables, forest: Forest) -> Bools:
    """(L * P,) secondary lanes from above that are slower than their target's primary lane: they ask after it."""
    t = tables
    found = np.zeros(t.L * t.P, dtype=bool)
    for lane, p in np.argwhere(t.lane_open):
        cell = int(lane) * t.P + int(p)
        primary = int(t.primary_lane[t.lane_target[lane], p])
        if primary not in (-1, lane) and not is_lateral(t, forest, cell):
            found[cell] = t.nominal_lead_time[lane] > t.nominal_lead_time[primary]
    return found


def carried(tables: Tables, forest: Forest) -> Floats:
    """(L * P,) units a period that a primary lane can carry in the mean where that is less than mean demand; else infinite."""
    t = tables
    found = np.full(t.L * t.P, np.inf)
    share = carried_share(t, forest)
    for n, p in np.argwhere(share < 1):
        units = share[n, p] * t.mean_flow[n, p]
        found[forest.primary[n * t.P + p]] = np.ceil(units - 1e-9) if t.integer else units
    return found


def levels_after_primary(tables: Tables, forest: Forest, auto: Levels) -> Floats:
    """(L * P,) automatic levels of secondary lanes, by the position that they see.

    A needed lane that is slower than the primary one asks after it, so what that asks for stands in the position already.
    """
    t = tables
    level = auto.lane.reshape(-1).copy()
    slower = slower_than_primary(t, forest) & (auto.needed.reshape(-1) > 0)
    most = carried(t, forest)
    for cell in np.flatnonzero(slower):
        lane, p = divmod(int(cell), t.P)
        level[cell] += most[forest.primary[int(t.lane_target[lane]) * t.P + p]]
    return level


def asked_at_most(tables: Tables, forest: Forest, used: Bools) -> Floats:
    """(L * P,) units a period that primary lanes ask for at most, as a slower lane in use is to bring the rest.

    More would count as ordered in the position that the slower lane sees, though it is never shipped.
    """
    t = tables
    found, most = np.full(t.L * t.P, np.inf), carried(t, forest)
    if np.isfinite(most).any():
        for cell in np.flatnonzero(slower_than_primary(t, forest) & used):
            lane, p = divmod(int(cell), t.P)
            primary = forest.primary[int(t.lane_target[lane]) * t.P + p]
            found[primary] = most[primary]
    return found
