"""Critical levels: stock of a node that less important customers may not use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from echelongym.envs.core.backend import Array, Ops
from echelongym.envs.core.typing import Bools
from echelongym.envs.interface.automatic_levels import faced
from echelongym.envs.interface.observation import Observation
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario

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
