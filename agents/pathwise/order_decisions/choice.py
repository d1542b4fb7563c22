"""Lanes on which whether to order is a decision of its own, and the orders that a policy chooses from there."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from echelongym.envs.core.backend import Array, Ops, half_up
from echelongym.envs.core.segments import Segments
from echelongym.envs.core.typing import Bools, Ints
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.scenario.scenario import Scenario

from ...networks.by_backend import ByBackend
from ...rules.reorder import fixed_costs

#: Orders of a lane, by their number: as the policy asks without a choice; nothing; up to levels whatever the reorder
#: points say; the same in whole vehicles, rounded down and rounded up.
AS_ASKED, NOTHING, UP_TO_LEVELS, VEHICLES_DOWN, VEHICLES_UP = range(5)
#: Steps by which the level of a product of such a lane is shifted where it orders up to levels or in vehicles.
SHIFTS = (0.0, -2.0, -1.0, 1.0, 2.0)
STEP = 0.2  # of a mean period's demand; in whole units at least one
OPTIONS = 5  # of either decision
#: By how much the score of option 0 is ahead at the start: training begins with the policy as it is without a choice.
AHEAD = 2.0
#: Mean periods' demand that a vehicle may hold at most for whole vehicles to be among the orders.
MOST_PERIODS = 20.0
NEVER = 1e9
SLIGHT = 1e-6  # of a vehicle: rounding that is not to be taken for a further one


def lanes_to_decide(scenario: Scenario) -> Ints:
    """(D,) lanes with demand whose vehicles, or whose orders, have a fixed cost."""
    t = scenario.tables
    flow = automatic_levels(scenario).flow[t.lane_target] * t.lane_open
    own: Bools = (fixed_costs(scenario) > 0) & (t.lane_customer < 0) & (flow.sum(1) > 0)
    return np.flatnonzero(own)


class _Constants(NamedTuple):
    """What a choice computes with in one backend."""

    groups: Segments  # pairs by lane
    share: Array  # (D, 1) one over their number
    lanes: Array  # (D,)
    own: Array  # (Q,) pairs of these lanes
    places: Array  # (Q,) where they stand among (D, P)
    step: Array  # (Q, 1) units
    capacity: Array  # (D, 1) volume of a vehicle
    flow: Array  # (D, P, 1) share of each product in a lane's volume
    volume: Array  # (1, P, 1) of a unit
    ahead: Array  # (OPTIONS, U, 1) added to scores


class OrderChoice:
    """Choice of an order for each of D lanes, and of a shift for each of their Q pairs of a lane and a product.

    The U = D + Q decisions, lanes first, have five options each, of which the one with the best score is taken.

    Parameters
    ----------
    scenario
        Whose lanes they are.
    pairs
        (pairs,) cells (lane * P + product) that the network has outputs for.

    Attributes
    ----------
    lanes : (D,) of :func:`lanes_to_decide`.
    decided : (U,) the lane among D that a decision belongs to.
    possible : (OPTIONS, U) whether there is such an option.
    """

    def __init__(self, scenario: Scenario, pairs: Ints) -> None:
        t = scenario.tables
        self.lanes = lanes = lanes_to_decide(scenario)
        self.products, self.whole = t.P, t.integer
        flow = automatic_levels(scenario).flow[t.lane_target[lanes]] * t.lane_open[lanes]
        moved = flow * t.volume
        capacity = t.vehicle_volume[lanes]
        limited = np.isfinite(capacity) & (capacity <= MOST_PERIODS * moved.sum(1))
        place = np.full(t.L, -1)
        place[lanes] = np.arange(len(lanes))
        group = place[pairs // t.P]
        own = np.flatnonzero(group >= 0)
        self.decided: Ints = np.concatenate([np.arange(len(lanes)), group[own]])
        given = np.ones(len(lanes), dtype=bool)
        self.possible: Bools = np.concatenate(
            [np.array([given, given, given, limited, limited]), np.ones((OPTIONS, len(own)), dtype=bool)], 1
        )
        ahead = np.where(self.possible, 0.0, -NEVER)
        ahead[0] += AHEAD
        step = STEP * flow[group[own], pairs[own] % t.P]
        self._on = ByBackend(
            _constants,
            {
                "groups": (group, len(lanes)),
                "share": 1.0 / np.maximum(np.bincount(group[own], minlength=len(lanes)), 1)[:, None],
                "lanes": lanes,
                "own": own,
                "places": group[own] * t.P + pairs[own] % t.P,
                "step": (np.maximum(np.rint(step), 1.0) if t.integer else step)[:, None],
                "capacity": np.where(limited, capacity, 1.0)[:, None],
                "flow": (moved / moved.sum(1)[:, None])[:, :, None],
                "volume": np.asarray(t.volume, dtype=np.float64)[None, :, None],
                "ahead": ahead[:, :, None],
            },
        )

    def scores(self, outputs: Array, ops: Ops) -> Array:
        """(OPTIONS, U, B) of outputs (2 * OPTIONS, pairs, B): orders' first, of which a lane has the mean over its products."""
        one: _Constants = self._on(ops)
        found = [
            ops.concat(
                [
                    one.groups.sum(outputs[option]) * one.share,
                    ops.select(outputs[OPTIONS + option], one.own, 0),
                ],
                0,
            )
            for option in range(OPTIONS)
        ]
        return ops.stack(found, 0) + one.ahead

    def chosen(self, asked: Array, up_to: Array | None, outputs: Array, forced: Array | None, ops: Ops) -> Array:
        """Requests (B, L, P) with the options of the best scores.

        Parameters
        ----------
        asked, up_to
            (B, L, P) units as asked, and up to the levels; None: the same.
        outputs
            (2 * OPTIONS, pairs, B) of the network.
        forced
            (U, B) options that are taken whatever the scores; -1: none.
        """
        one: _Constants = self._on(ops)
        lanes = len(self.lanes)
        requests = ops.to_float(ops.moveaxis(asked, 0, -1))
        usual = ops.select(requests, one.lanes, 0)
        up = usual if up_to is None else ops.select(ops.to_float(ops.moveaxis(up_to, 0, -1)), one.lanes, 0)
        scores = self.scores(outputs, ops)
        if forced is not None:
            held = [
                ops.cast(forced > option - 0.5, ops.float) * ops.cast(forced < option + 0.5, ops.float)
                for option in range(OPTIONS)
            ]
            scores = scores + 2 * NEVER * ops.stack(held, 0)
        zeros = 0.0 * scores[0, lanes:]
        shift = self._best(scores[:, lanes:], [zeros + step for step in SHIFTS], ops) * one.step
        moved = ops.put(ops.zeros((lanes * self.products, shift.shape[-1]), shift.dtype), one.places, shift)
        up = ops.maximum(up + moved.reshape((lanes, self.products, -1)), 0.0)
        options = [usual, 0.0 * usual, up]
        if self.possible[VEHICLES_DOWN].any():
            options += [self._vehicles(up, False, one, ops), self._vehicles(up, True, one, ops)]
        found = self._best(scores[:, :lanes], options, ops)
        return ops.moveaxis(ops.put(requests + 0, one.lanes, found), -1, 0)

    def _best(self, scores: Array, options: list[Array], ops: Ops) -> Array:
        """The option with the best score; (n, ...) options of (options, n, B) scores."""
        best, found = scores[0], options[0]
        for score, option in zip(scores[1:], options[1:], strict=False):
            better = ops.cast(score > best, ops.float)
            best = best + better * (score - best)
            found = found + (better if option.ndim == 2 else better[:, None]) * (option - found)
        return found

    def _vehicles(self, units: Array, up: bool, one: _Constants, ops: Ops) -> Array:
        """(D, P, B) units in whole vehicles.

        What is left out, or put in, is shared out as demand is, so that all products last as long; none falls below 0.
        """
        wanted = units * one.volume
        total = ops.total(wanted, 1)
        filled = total / one.capacity
        full = (ops.ceil(filled - SLIGHT) if up else ops.floor(filled + SLIGHT)) * one.capacity
        found = wanted + (full - total)[:, None] * one.flow
        if not up:
            # Who lacks little is left out altogether, and the others give what is still too much in proportion.
            found = ops.maximum(found, 0.0)
            found = found * (full / ops.maximum(ops.total(found, 1), SLIGHT))[:, None]
        found = found / one.volume
        if not self.whole or self.products == 1:
            return found
        # Rounded so that the sum stays what it is: differences of rounded running sums.
        running = half_up(ops.cumulate(found, 1), ops)
        return running - ops.concat([0.0 * running[:, :1], running[:, :-1]], 1)


def _constants(ops: Ops, given: dict[str, Any]) -> _Constants:
    group, count = given["groups"]
    made: dict[str, Any] = {"groups": Segments(group, count, ops)}
    made |= {name: ops.index(given[name]) for name in ("lanes", "own", "places")}
    made |= {name: ops.constant(value) for name, value in given.items() if name not in made}
    return _Constants(**made)
