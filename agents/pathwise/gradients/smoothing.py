"""Smoothed gradients of costs that are flat almost everywhere (vehicles, fixed costs): the slope that they have on average."""

from __future__ import annotations

import numpy as np

from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.core.backend import Array, Ops
from echelongym.envs.core.typing import Floats
from echelongym.envs.dynamics import Flows, Segments, State
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario


class SmoothLedger(Ledger):
    """A ledger whose values are exact and whose gradients are those of dithered flows.

    A vehicle more costs nothing until it is needed: the gradient of ceil(volume / vehicle volume) is 0, and a policy
    trained on it would think vehicles free. Were each shipment moved by a uniform draw as wide as a vehicle, the expected
    number of vehicles would be the volume over the vehicle volume, plus a constant: that slope is used (gradients of
    step functions by convolution with a density: Ermoliev, Norkin and Wets, SIAM Journal on Control and Optimization 33(1),
    1995). Where one vehicle takes all, and for fixed costs of nodes (of what stands there after arrivals), the draw is
    ``smoothing`` mean flows wide: the slope is one over that below it, and 0 above.

    Parameters
    ----------
    smoothing
        In mean flows; 0 switches all of this off.
    """

    def __init__(self, tables: Tables, ops: Ops, smoothing: float, scenario: Scenario) -> None:
        super().__init__(tables, ops)
        self.smoothing = smoothing
        t = tables
        flow = automatic_levels(scenario).flow
        lanes = np.arange(t.L)[
            self.fleet.lanes if isinstance(self.fleet.lanes, slice) else np.asarray(self.fleet.lanes)
        ]
        self._lane_width = ops.constant(self._width((flow * t.volume).sum(1))[t.lane_target[lanes]][:, None])
        self._node_width = ops.constant(self._width(flow.sum(1))[:, None])
        self._by_source, self._by_server = (Segments(nodes, t.N, ops) for nodes in (t.lane_source, t.pair_source))

    def _width(self, flow: Floats) -> Floats:
        """(N,) of the draw; where nothing usually flows, as wide as where most does."""
        return np.where(flow > 0, flow, max(float(flow.max(initial=0.0)), 1.0)) * max(self.smoothing, 1e-9)

    def vehicles(self, flows: Flows) -> Array:
        """(n, B) whole vehicles, with the slope of their expected number."""
        moved = self.fleet.moved(flows)
        exact = self.fleet.vehicles(moved)
        if not self.smoothing or not self.fleet.size:
            return exact
        volumes = self.fleet.volumes(moved)
        smooth = self.ops.minimum(volumes / self._lane_width, 1.0)
        if not self.fleet.none_given:
            filled = volumes / self.fleet.vehicle_volume
            smooth = filled if self.fleet.all_given else self.ops.where(self.fleet.given > 0, filled, smooth)
        return smooth + self.ops.without_gradient(exact - smooth)

    def period(self, flows: Flows, last: bool = False, closing: State | None = None) -> dict[str, Array]:
        """Lines of one period; see :meth:`Ledger.period`."""
        if flows.present is not None and self.smoothing:
            total = self.ops.total
            stood = total(flows.on_hand, 1) + self._by_source.sum(total(flows.shipped, 1))
            stood = stood + self._by_server.sum(total(flows.served, 1))
            smooth = self.ops.minimum(stood / self._node_width, 1.0)
            flows = flows._replace(present=smooth + self.ops.without_gradient(flows.present - smooth))
        return super().period(flows, last, closing)
