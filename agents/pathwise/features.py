"""Features that a learned policy sees of every stock and lane, centred and scaled from the scenario alone.

All features are linear in the observation, so one sparse matrix makes them of all entities at once. Their list does not
depend on the network, which is what lets a policy with shared weights run on another one.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from echelongym.envs.core.backend import Array, Ops
from echelongym.envs.core.typing import Bools
from echelongym.envs.interface.observation import Observation
from echelongym.envs.interface.observation_encoder import season_periods, season_waves
from echelongym.envs.scenario.scenario import Scenario

from .feature_rows import FeatureRows, feature_names
from .linear_map import LinearMap

BOUND = 20.0  # of its units; beyond it a feature says no more
_SUMMED = {"on_hand": 2, "in_transit": 3, "backlog": 2}  # axis of each array that is summed over


class _Made(NamedTuple):
    """Rows of all features; see the properties of :class:`Features` of these names."""

    arrays: list[str]
    moving: Bools
    map: LinearMap


class Features:
    """Features (f, nodes, B) and (g, lanes, B) of an observation, within +-20 of their units.

    Parameters
    ----------
    scenario
        Whose means, deviations, lead times and costs are the units.
    due_periods
        Units in transit are told apart by the periods until they are due, up to this; the last takes what comes later.
    network
        Whether stocks show what is above and beside them, too; see :mod:`echelongym.agents.networks.network_features`.
    life_classes
        Units on hand are told apart by the periods of life left beyond this one, up to this; 0: by whether any is left.
    demand_memory
        Periods over which a mean of recent demand is kept from period to period (:meth:`remembered`); 0: none is.

    Attributes
    ----------
    cells : (n,) node cells (node * P + product) that hold stock, in order.
    lanes : (l,) lane cells (lane * P + product) that can be requested, in order.
    source, target : (l,) places in ``cells`` of a lane's ends; source -1 = a supplier.
    memory : numbers a world that are kept from period to period.
    """

    def __init__(
        self, scenario: Scenario, due_periods: int, network: bool = False, life_classes: int = 0, demand_memory: int = 0
    ) -> None:
        self.scenario, self.due_periods, self.demand_memory = scenario, due_periods, demand_memory
        t = scenario.tables
        self.memory = t.C * t.P if demand_memory and t.H else 0  # without a history observed there is nothing to keep
        self._rows = made = FeatureRows(scenario, due_periods, network, life_classes, demand_memory)
        self.cells, self.lanes, self.source, self.target = made.cells, made.lanes, made.source, made.target
        self.names = feature_names(due_periods, network, life_classes, demand_memory)
        self.seasons = season_periods(scenario)[:1]
        self.shape = (len(self.names.nodes), len(self.cells)), (len(self.names.lanes), len(self.lanes))

    @cached_property
    def _made(self) -> _Made:
        """All rows: made where a network looks at them, as in a large supply network they take long."""
        made = self._rows
        nodes, lanes = made.node_rows(), made.lane_rows()
        rows = [row for feature in (*nodes, *lanes) for row in feature]
        entries = [(r, column, value) for r, (terms, _) in enumerate(rows) for column, value in terms.items() if value]
        where = np.array([(r, column) for r, column, _ in entries], dtype=np.int64).reshape(-1, 2).T
        # Arrays that no feature looks at are not read at all.
        arrays, used = made.used(where[1])
        where = np.stack([where[0], np.cumsum(used)[where[1]] - 1])
        values = np.array([value for _, _, value in entries])
        constant = np.array([constant for _, constant in rows])
        moving = np.zeros(len(rows), dtype=bool)
        moving[where[0]] = True
        return _Made(arrays, moving, LinearMap(where, values, constant, int(used.sum())))

    @property
    def arrays(self) -> list[str]:
        """Names of the arrays that are read, in the order of the raw column."""
        return self._made.arrays

    @property
    def moving(self) -> Bools:
        """Which of the features can change in an episode, nodes' then lanes', flattened."""
        return self._made.moving

    @property
    def map(self) -> LinearMap:
        """Map from the raw column to all features."""
        return self._made.map

    def remembered(self, observation: Observation, memory: Array | None, ops: Ops) -> Array:
        """(memory, B) mean of recent demand by customer and product, of this and of earlier observations.

        It begins with the mean of the history observed and moves on by what each period adds: the mean of all periods seen,
        and from ``demand_memory`` of them on exponential smoothing with that time constant.

        Parameters
        ----------
        memory
            What it was a period ago; None or zeros in the first period, which does not look at it.
        """
        history = ops.to_float(ops.moveaxis(observation.demand_history, 0, -1))  # (C, P, H, B)
        period = ops.to_float(observation.period)[None]
        mean = (ops.total(history, 2) / history.shape[2]).reshape((self.memory, -1))
        if memory is None:
            return mean
        weight = 1 / ops.minimum(period + history.shape[2], float(self.demand_memory))
        moved = memory + weight * (history[:, :, 0].reshape((self.memory, -1)) - memory)
        first = ops.maximum(1 - period, 0.0)
        return first * mean + (1 - first) * moved

    def __call__(self, observation: Observation, ops: Ops, recent: Array | None = None) -> Array:
        """Feature rows (rows, B) in the backend's floating type: nodes' features in turn, then lanes'; see :meth:`parts`.

        ``recent``: what :meth:`remembered` gives, where the features have a memory.
        """
        parts = [recent if name == "recent" else self._raw(name, observation, ops) for name in self.arrays]
        found = self.map(ops.concat(parts, 0), ops)
        return ops.minimum(ops.maximum(found, -BOUND), BOUND)

    def parts(self, features: Array) -> tuple[Array, Array]:
        """(f, nodes, B) and (g, lanes, B) of rows (rows, B)."""
        (f, n), (g, lanes) = self.shape
        return features[: f * n].reshape((f, n, -1)), features[f * n :].reshape((g, lanes, -1))

    def _raw(self, name: str, observation: Observation, ops: Ops) -> Array:
        """(entries, B) of one array; entity first in memory as simulations have it."""
        if name == "season":
            return self._season(observation, ops)
        if name == "period":
            return ops.to_float(observation.period)[None]
        value: Any = observation.on_hand if name in ("expiring", "life") else getattr(observation, name)
        if name == "expiring":
            value = value[:, :, :, 0]
        turned = ops.moveaxis(value, 0, -1)
        if name in _SUMMED:
            turned = ops.total(turned, _SUMMED[name])
        return ops.to_float(turned.reshape((-1, turned.shape[-1])))

    def _season(self, observation: Observation, ops: Ops) -> Array:
        """Sine and cosine of the season, (2, B); views of periods may bring them along."""
        shown = getattr(observation, "season", None)
        if shown is not None:
            return shown
        return season_waves(ops.to_float(observation.period), self.seasons)
