"""Stock held back: critical levels, which less important customers may not use, and hold-back levels, which lanes leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from echelongym.envs.core.backend import Array, Ops, ops_of
from echelongym.envs.core.segments import Segments
from echelongym.envs.core.typing import Bools
from echelongym.envs.interface.automatic_levels import faced
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario

from .allocation import in_proportion
from .base_stock import BaseStock
from .request_order import Cells
from .rule import Group


def rationed(tables: Tables) -> Bools:
    """(S, P) pairs that share a stock node with a claim that may be more important.

    That is another customer of a priority served before, or for whom the node is an earlier choice, or of a higher
    penalty; and the node's lanes, for a pair whose later choice it is or with a penalty below that of the customers
    these lanes lead to.
    """
    t = tables
    penalty = t.lost_share * (t.lost_sale_cost + t.price) + (1 - t.lost_share) * t.backorder_cost
    passes = t.customer_priority[t.pair_customer][:, None] * (t.S + 1) + t.pair_rank
    found = np.zeros((t.S, t.P), dtype=bool)
    below = faced(t)[0]
    for s, p in np.argwhere(t.pair_carries & ~t.is_supplier[t.pair_source][:, None]):
        source, customer = t.pair_source[s], t.pair_customer[s]
        rivals = np.flatnonzero((t.pair_source == source) & t.pair_carries[:, p] & (np.arange(t.S) != s))
        other = t.pair_customer[rivals]
        mine = penalty[customer, p]
        found[s, p] = bool((passes[rivals, p] < passes[s, p]).any() or (penalty[other, p] > mine).any())
        targets = t.lane_target[(t.lane_source == source) & t.lane_open[:, p]]
        if len(targets) and (t.pair_rank[s, p] > 0 or below[targets, p].max() > mine):
            found[s, p] = True
    return found


class CriticalReserves(BaseStock):
    """Reserves of nodes, by pair of source and customer."""

    def __init__(self, scenario: Scenario, **parameters: Any) -> None:
        given = parameters.get("critical_levels")
        if isinstance(given, Mapping):
            parameters = {**parameters, "critical_levels": _by_pair(given, scenario.tables)}
        super().__init__(scenario, **parameters)

    def _more_groups(self, cells: Cells) -> list[Group]:
        t = self.tables
        source = (t.pair_source[:, None] * t.P + np.arange(t.P)).reshape(-1)
        none = np.zeros(t.S * t.P)
        names = tuple(f"{source}/{customer}" for source, customer in t.pairs)
        scale = cells.flow_deviation[source]
        group = Group("critical_levels", names, rationed(t).reshape(-1), none, none, scale, 0.0)
        return [*super()._more_groups(cells), group]

    def _constants(self, ops: Ops) -> dict[str, Any]:
        made = super()._constants(ops)
        values = self.values["critical_levels"]
        if not isinstance(values, np.ndarray):
            made["reserve"] = values.reshape((1, self.tables.S, self.tables.P))
        elif values.any():
            made["reserve"] = ops.constant(values.reshape((1, self.tables.S, self.tables.P)))
        return made

    def _reserve(self, observation: Observation, constants: dict[str, Any], ops: Ops) -> Array | None:
        if "reserve" not in constants:
            return None
        return constants["reserve"] + ops.zeros((observation.period.shape[0], 1, 1), ops.float)


def _by_pair(given: Mapping[str, Any], tables: Tables) -> dict[str, Any]:
    """A customer's name stands for all pairs of it that may have a level."""
    allowed = np.asarray(rationed(tables).any(axis=1))
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in tables.customers:
            pairs = [pair for s, pair in enumerate(tables.pairs) if allowed[s] and pair[1] == name]
            found.update({f"{source}/{customer}": value for source, customer in pairs} or {name: value})
        else:
            found[name] = value
    return found


class CriticalLevels(CriticalReserves):
    """Critical levels: capped echelon base-stock that reserves stock for the more important customers.

    A customer whose claim on a node is not the most important there (a lower priority or penalty than another's, a later
    choice) may not draw it below a critical level; what is left unserved follows to the customer's next source, is
    lost or waits. (Topkis, Management Science 15(3), 1968; Deshpande, Cohen and Donohue, Management Science 49(6), 2003.)

    Parameters
    ----------
    levels, express_levels, lateral_levels, keep_levels, caps, allocation
        As for ``capped_echelon_base_stock``.
    critical_levels
        Units by ``source/customer`` (and product), or by customer for all its sources where it may have one; left out:
        0.
    """

    name = "critical_levels"
    pure = True
    echelon = True
    capped = True

    @classmethod
    def refusal(cls, scenario: Scenario) -> str | None:
        """Reason to refuse a scenario without customers to reserve stock for."""
        if rationed(scenario.tables).any():
            return None
        return "no stock node has two claims that differ in priority, choice or penalty: there is nobody to ration"


# From lanes -------------------------------------------------------------------------------------------


def serving_and_shipping(tables: Tables) -> Bools:
    """(N, P) stock nodes that serve customers and ship to other nodes."""
    t = tables
    serves, ships = np.zeros((2, t.N, t.P), dtype=bool)
    np.logical_or.at(serves, t.pair_source, t.pair_carries)
    from_nodes = t.lane_source >= 0
    np.logical_or.at(ships, t.lane_source[from_nodes], t.lane_open[from_nodes])
    return serves & ships & ~t.is_supplier[:, None]


class _Leaving(NamedTuple):
    """Lanes of one priority that leave nodes with a hold-back level."""

    cells: Any  # lane cells, as an index
    groups: Segments  # by node cell
    some: Any  # node cells with a hold-back level, as an index


class HoldBackLevels(BaseStock):
    """Hold-back levels: capped echelon base-stock whose lanes leave a node stock for its own customers.

    Of what is on hand at a node when requests are made, its lanes to other nodes leave a hold-back level: scarce stock
    above it is shared as ``allocation`` says (where proportional: lanes of the lowest priority number first), and the rest
    serves the node's customers in the same period. It pays where customers of a shop turn to the warehouse once the shop has
    nothing left, for emergency deliveries: without it a short shop takes the warehouse's last unit before anybody can
    ask for it. Requests are known in full to the positions that they change, as if stock were merely scarce. (A part of
    stock set apart from replenishment: Xu, Evers and Fu, European Journal of Operational Research 145(2), 2003, for
    emergency transshipments; the network: Van Roy, Bertsekas, Lee and Tsitsiklis, IEEE Conference on Decision and Control,
    1997; Kaynov, van Knippenberg, Menkovski, van Breemen and van Jaarsveld, International Journal of Production Economics
    267, 2024.)

    ``keep_levels`` is what lateral lanes alone leave, ``critical_levels`` what customers leave.

    Parameters
    ----------
    levels, express_levels, lateral_levels, keep_levels, caps, allocation
        As for ``capped_echelon_base_stock``.
    hold_back_levels
        Units on hand by node (and product) that serves customers and ships to other nodes; left out: 0.

    Raises
    ------
    InputError
        Besides what every rule raises: if no node both serves customers and ships to other nodes.
    """

    name = "hold_back_levels"
    pure = True
    echelon = True
    capped = True

    @classmethod
    def refusal(cls, scenario: Scenario) -> str | None:
        """Reason to refuse a scenario without a node that could hold back anything for anybody."""
        if serving_and_shipping(scenario.tables).any():
            return None
        return "no stock node both serves customers and ships to other nodes: there is nobody to hold stock back for"

    def _more_groups(self, cells: Cells) -> list[Group]:
        t = self.tables
        none = np.zeros(t.N * t.P)
        allowed = serving_and_shipping(t).reshape(-1)
        group = Group("hold_back_levels", t.nodes, allowed, none, none, cells.flow_deviation, 0.0)
        return [*super()._more_groups(cells), group]

    def _constants(self, ops: Ops) -> dict[str, Any]:
        made, values = super()._constants(ops), self.values["hold_back_levels"]
        if not isinstance(values, np.ndarray):
            made["held_back"] = values[:, None]
        elif values.any():
            # Whole units: what is held back is rounded up.
            made["held_back"] = ops.constant((np.ceil(values - 1e-9) if self.tables.integer else values)[:, None])
        if "held_back" in made:
            made["leaving"] = self._leaving(ops)
        return made

    def _leaving(self, ops: Ops) -> list[_Leaving]:
        """Lanes that leave nodes with a hold-back level, lowest priority number first."""
        t, found = self.tables, []
        allowed = serving_and_shipping(t)
        lanes, products = np.nonzero(t.lane_open & (t.lane_source >= 0)[:, None])
        chosen = allowed[t.lane_source[lanes], products]
        lanes, products = lanes[chosen], products[chosen]
        some = np.flatnonzero(allowed.reshape(-1))
        group = np.searchsorted(some, t.lane_source[lanes] * t.P + products)
        for priority in np.unique(t.lane_priority[lanes]):
            now = t.lane_priority[lanes] == priority
            cells = ops.index(lanes[now] * t.P + products[now])
            found.append(_Leaving(cells, Segments(group[now], len(some), ops), ops.index(some)))
        return found

    def _sharable(self, on_hand: Array, constants: dict[str, Any], ops: Ops) -> Array:
        stock = super()._sharable(on_hand, constants, ops)
        if "held_back" not in constants:
            return stock
        left = stock - constants["held_back"].reshape((self.tables.N, self.tables.P, -1))
        return ops.cast(ops.maximum(left, 0), stock.dtype)

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P), cut to what lanes may take."""
        decision = super().__call__(observation)
        t, ops = self.tables, ops_of(observation.on_hand)
        key = (ops.name, str(observation.on_hand.dtype), str(getattr(observation.on_hand, "device", "")))
        made = self._made[key]
        if "held_back" not in made:
            return decision
        requests = ops.moveaxis(decision.requests, 0, -1).reshape((t.L * t.P, -1))
        stock = self._sharable(ops.moveaxis(observation.on_hand, 0, -1), made, ops).reshape((t.N * t.P, -1))
        left = None
        for cells, groups, some in made["leaving"]:
            left = stock[some] if left is None else left
            share = in_proportion(ops, requests[cells], left, groups)
            requests = ops.put(requests + 0, cells, share)
            left = left - groups.sum(share)
        return Decision(ops.moveaxis(requests.reshape((t.L, t.P, -1)), -1, 0), decision.reserve)
