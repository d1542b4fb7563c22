"""Order-up-to curves: a lane's requests as the position it looks at is varied, all else as visited."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.typing import Floats, NumpyArray
from echelongym.envs.storage import journal

from .level import looks_at, used
from .named import LaneCell, lane_cells
from .readable_rule import ReadableRule, reader
from .sensitivity import TINY
from .visits import AT_ONCE, Moment, Visited, counted

BAND = (10.0, 50.0, 90.0)  # percentiles over visited states
FEWEST = 4  # states at a point of the grid, or it is left out
PROBES = 100_000  # states that are asked about in all, about
SAME = 1e-6  # requests that differ by no more than this share of the largest are the same


@dataclass(frozen=True, eq=False)
class Curve:
    """Order-up-to curve of one lane cell; G points.

    Attributes
    ----------
    looks_at
        ``echelon``, ``local`` or, on lanes that are not their target's primary one, ``expedited``: what will be there when
        the lane delivers.
    position
        (G,) units.
    request, level
        (G, 3) units: 10, 50 and 90 % of visited states; ``level`` is request + position where the lane asks for something and
        less than its cap, else NaN.
    states
        (G,) number of visited states at each point: stock cannot be taken away that is not there.
    up_to
        Order-up-to level: median of request + position over all of these; None where it never asks.
    up_to_band
        10 and 90 % of it.
    slope
        Units requested for one unit more of position, where it asks: -1 is an order-up-to rule.
    cap
        Most units it asks for: what half of the states or more end at, however low the position; None without one.
    asks_below
        Highest position at which half of the states ask for something.
    """

    cell: LaneCell
    looks_at: str
    position: Floats
    request: Floats
    level: Floats
    states: NDArray[np.int64]
    up_to: float | None
    up_to_band: tuple[float, float] | None
    slope: float | None
    cap: float | None
    asks_below: float | None


def order_curves(
    visited: Visited,
    position: str | None = None,
    points: int = 25,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Curve, ...]:
    """A curve for every lane cell that can be asked for.

    Stock on hand at the lane's target is moved: the freshest units are added; the oldest are taken away first, and when nothing
    is left, units in transit to the target, the latest dispatched first.

    Parameters
    ----------
    position
        ``echelon`` or ``local``; None: see :func:`.level.looks_at`.
    points
        Points G of a curve.
    progress
        Called with (curves done, curves in all).
    """
    position = position or looks_at(visited)
    cells = lane_cells(visited.tables)
    rule = reader(visited.scenario, used(visited), position)
    steps = counted(progress, len(cells))
    worlds = max(PROBES // (points * len(cells) * len(visited.moments)), FEWEST)
    visited = visited.first(worlds)
    curves = []
    for cell in cells:
        # A step of the journal, where one is kept.
        inputs = [visited.fingerprint, position, points, list(cell)]
        found = journal.step(
            "reading: an order-up-to curve", inputs, partial(_plain_curve, visited, rule, cell, position, points)
        )
        curves.append(Curve(cell=cell, **{**found, "up_to_band": found["up_to_band"] and tuple(found["up_to_band"])}))
        next(steps)
    return tuple(curves)


def _plain_curve(*given: Any) -> dict[str, Any]:
    """All of a curve but its cell."""
    curve = _curve(*given)
    return {one.name: getattr(curve, one.name) for one in fields(curve) if one.name != "cell"}


def _curve(visited: Visited, rule: ReadableRule, cell: LaneCell, position: str, points: int) -> Curve:
    t = visited.tables
    number = cell.lane * t.P + cell.product
    target = int(t.lane_target[cell.lane])
    primary = t.primary_lane[target, cell.product] == cell.lane
    kind = position if primary else "expedited"
    if not rule.used[number]:  # a secondary lane that asks for nothing where the policy has been
        rule = rule.with_lanes(np.arange(t.L * t.P) == number)
    owns = [_owned(moment, t, target, cell.product) for moment in visited.moments]
    now = [rule.looked_at(moment.observation, moment.requests)[number] for moment in visited.moments]
    asked = [moment.requests[:, cell.lane, cell.product] for moment in visited.moments]
    grid = _grid(np.concatenate(now), np.concatenate(owns), np.concatenate(asked), points, t.integer)
    at, units, states = [], [], []
    first = 0
    for moment, here, own in zip(visited.moments, now, owns, strict=True):
        shift = grid[:, None] - here[None]  # (G, B)
        changes = [_moved(moment, t, target, cell.product, move) for move in shift]
        found = moment.ask(changes)
        kept = shift >= -own[None] - 1e-9
        for start in range(0, len(changes), max(AT_ONCE // moment.worlds, 1)):
            some = slice(start, start + max(AT_ONCE // moment.worlds, 1))
            requests = found[some].reshape((-1, t.L, t.P))
            looked = rule.looked_at(moment.changed(changes[some]), requests)[number].reshape((-1, moment.worlds))
            at.append(looked[kept[some]])
            units.append(found[some, :, cell.lane, cell.product][kept[some]])
            states.append(np.broadcast_to(first + np.arange(moment.worlds), looked.shape)[kept[some]])
        first += moment.worlds
    return _read(cell, kind, grid, np.concatenate(at), np.concatenate(units), np.concatenate(states))


def _owned(moment: Moment, t: Any, target: int, product: int) -> Floats:
    """(B,) units on hand at a node and in transit to it."""
    lanes = np.flatnonzero(t.lane_target == target)
    under_way = moment.observation.in_transit[:, lanes, product].sum(axis=(1, 2, 3))
    return np.asarray(moment.observation.on_hand[:, target, product].sum(axis=1) + under_way, dtype=np.float64)


def _grid(now: Floats, owns: Floats, asked: Floats, points: int, whole: bool) -> Floats:
    """Positions from where half of the states own nothing to a little above the highest level seen."""
    low, high = float(np.median(now - owns)), float((now + asked).max())
    high = max(high, float(now.max())) + 0.1 * max(high - low, 1.0)
    grid = np.linspace(low, high, points)
    return np.unique(np.rint(grid)) if whole else grid


def _moved(moment: Moment, t: Any, target: int, product: int, move: Floats) -> Mapping[str, NumpyArray]:
    """The stock of a node (B,) units higher, or lower as far as there is any."""
    on_hand = np.array(moment.observation.on_hand)
    in_transit = np.array(moment.observation.in_transit)
    on_hand[:, target, product, t.fresh_class[product]] += np.maximum(move, 0).astype(on_hand.dtype)
    less = np.maximum(-move, 0).astype(on_hand.dtype)
    for age in range(t.A):
        taken = np.minimum(on_hand[:, target, product, age], less)
        on_hand[:, target, product, age] -= taken
        less = less - taken
    for slot in range(t.K):
        for lane in np.flatnonzero(t.lane_target == target):
            for age in range(t.A):
                taken = np.minimum(in_transit[:, lane, product, slot, age], less)
                in_transit[:, lane, product, slot, age] -= taken
                less = less - taken
    return {"on_hand": on_hand, "in_transit": in_transit}


def _read(cell: LaneCell, kind: str, grid: Floats, at: Floats, units: Floats, states: NDArray[np.int64]) -> Curve:
    """A curve from probes: positions, units requested, and which state each is of."""
    scale = max(float(units.max(initial=0.0)), 1.0)
    cap = _cap(at, units, states, SAME * scale)
    inside = (units > TINY) & ((units < cap - SAME * scale) if cap is not None else True)
    edges = (grid[1:] + grid[:-1]) / 2
    place = np.searchsorted(edges, at)
    request, level = np.full((len(grid), 3), np.nan), np.full((len(grid), 3), np.nan)
    count = np.bincount(place, minlength=len(grid))
    below = None
    for g in range(len(grid)):
        here = place == g
        if count[g] >= FEWEST:
            request[g] = np.percentile(units[here], BAND)
            below = float(grid[g]) if request[g, 1] > TINY else below
        if (here & inside).sum() >= FEWEST:
            level[g] = np.percentile((units + at)[here & inside], BAND)
    up_to = band = None
    if inside.any():
        low, middle, high = (float(value) for value in np.percentile((units + at)[inside], BAND))
        up_to, band = middle, (low, high)
    return Curve(cell, kind, grid, request, level, count, up_to, band, _slope(at, units, states, inside), cap, below)


def _cap(at: Floats, units: Floats, states: NDArray[np.int64], same: float) -> float | None:
    """What half of the states or more ask for at their lowest two positions alike."""
    ends = []
    for state in np.unique(states):
        here = np.flatnonzero(states == state)
        order = here[np.argsort(at[here])]
        if len(order) < 3:
            continue
        lowest, second = units[order[0]], units[order[1]]
        apart = at[order[1]] - at[order[0]] > TINY
        ends.append(float(lowest) if apart and lowest > TINY and abs(lowest - second) <= same else np.nan)
    flat = np.isfinite(ends)
    return float(np.median(np.array(ends)[flat])) if flat.any() and flat.mean() >= 0.5 else None


def _slope(at: Floats, units: Floats, states: NDArray[np.int64], inside: NDArray[np.bool_]) -> float | None:
    """Least squares over differences between neighbouring probes of one state."""
    order = np.lexsort((at, states))
    same = (states[order][1:] == states[order][:-1]) & inside[order][1:] & inside[order][:-1]
    across, up = np.diff(at[order])[same], np.diff(units[order])[same]
    total = float((across**2).sum())
    return float((across * up).sum()) / total if total > 0 else None
