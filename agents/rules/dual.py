"""Dual sourcing: a slow, cheap lane for the bulk and a fast, expensive one for the rest, at every node that has both.

Of all lanes that bring a product to a node from a supplier or a node above it, the slowest by nominal lead time is the
*regular* one (at equal lead times the primary lane); the others are *fast*. Either may be the primary lane. Nodes with
one lane are under echelon base-stock control, lateral lanes are used only if they are given levels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, NamedTuple

import numpy as np

from echelongym.envs.core.backend import Array, Ops
from echelongym.envs.core.typing import Bools, Floats, Ints
from echelongym.envs.interface.automatic_levels import HIGHEST_RATIO, LOWEST_RATIO, faced
from echelongym.envs.interface.inventory_positions import Forest, Owned
from echelongym.envs.network.tables import Tables
from echelongym.envs.processes.series import normal_quantile
from echelongym.envs.scenario.scenario import Scenario

from .allocation import TINY
from .base_stock import BaseStock
from .reorder import fixed_costs
from .request_order import Cells, Step, StepNumbers, is_lateral
from .rule import Group


class Sources(NamedTuple):
    """Roles of lane cells, each (L * P,); false at nodes with one lane only."""

    regular: Bools
    fast: Bools
    rival: Ints  # of a fast lane, the lane cell of the regular one into the same node; of others, itself
    fastest: Ints  # of a regular lane, the lane cell of the fastest one into the same node; of others, itself


def sources_of(tables: Tables, forest: Forest) -> Sources:
    """Roles of lanes: which are regular and which are fast."""
    t = tables
    cells = t.L * t.P
    regular, fast = np.zeros(cells, dtype=bool), np.zeros(cells, dtype=bool)
    rival, fastest = np.arange(cells), np.arange(cells)
    into: dict[int, list[int]] = {}
    for cell in np.flatnonzero(t.lane_open.reshape(-1)):
        lane, product = divmod(int(cell), t.P)
        if not is_lateral(t, forest, int(cell)):
            into.setdefault(int(t.lane_target[lane]) * t.P + product, []).append(int(cell))
    for target, lanes in into.items():
        primary = int(forest.primary[target])
        if len(lanes) < 2 or primary not in lanes:
            continue
        slowest = max(lanes, key=lambda cell: (t.nominal_lead_time[cell // t.P], cell == primary))
        others = [cell for cell in lanes if cell != slowest]
        regular[slowest], fast[others] = True, True
        rival[others] = slowest
        fastest[slowest] = min(others, key=lambda cell: int(t.nominal_lead_time[cell // t.P]))
    return Sources(regular, fast, rival, fastest)


class DualSourcing(BaseStock):
    """Base of the dual-sourcing rules: roles of lanes, and levels of secondary lanes that are there from the start."""

    echelon = True

    @classmethod
    def refusal(cls, scenario: Scenario) -> str | None:
        """Reason to refuse a scenario in which no node has two lanes from above."""
        t = scenario.tables
        if not sources_of(t, Forest(t)).regular.any():
            return "needs a node with a second lane from a supplier or from a node above it"
        return None

    def _more_groups(self, cells: Cells) -> list[Group]:
        """Prepares the roles; subclasses add their groups."""
        self.cells = cells
        self.sources = sources_of(self.tables, self.forest)
        self._prepare_levels()
        return []

    def _make_groups(self) -> list[Group]:
        return [self._adapted(group) for group in super()._make_groups()]

    def _adapted(self, group: Group) -> Group:
        """A group of the base-stock family as this rule has it."""
        if group.name == "levels":
            primary = np.maximum(self.forest.primary, 0)
            return self._starting(group, group.start + np.where(self.cells.fed, (self.own - self.lone)[primary], 0.0))
        if group.name == "express_levels":
            return self._starting(group, np.where(self.sources.regular & self.cheaper, self.own, group.start))
        return group

    def _starting(self, group: Group, start: Floats) -> Group:
        """The group with numbers that are used unless others are given."""
        start = np.rint(start) if self.tables.integer else start
        return replace(group, start=start, default=np.where(group.allowed, start, group.default))

    def _premium(self) -> Floats:
        """(L * P,) money a unit by which a fast lane is more expensive than the regular one; 0 for other lanes."""
        t, rival = self.tables, self.sources.rival
        cost = (t.purchase_cost + t.lane_transport_cost + t.carbon_price * t.lane_emissions).reshape(-1)
        return np.where(self.sources.fast, cost - cost[rival], 0.0)

    def _prepare_levels(self) -> None:
        """Where levels start that count what a node itself owns, each (L * P,).

        ``lone``: mean demand over the lead time and one period with the newsvendor's safety stock for p / (p + h), as of
        a lane without a rival. ``own``: of a fast lane the same for (p - c) / (p + h), c its premium; of a regular lane,
        halfway from that to ``least``: the fastest lane's level and mean demand over the l periods by which it is slower,
        with the newsvendor's safety stock for c / (c + (l + 1) h): too low and units are expedited, too high and they
        stand. ``cheaper``: whether a regular lane is cheaper than the fastest.
        """
        t, cells, sources = self.tables, self.cells, self.sources
        lanes, target = np.arange(t.L * t.P) // t.P, cells.target
        lead, premium = np.asarray(t.protection[lanes] - 1, dtype=np.float64), self._premium()
        short, holding = faced(t)[0].reshape(-1)[target], t.holding_cost.reshape(-1)[target]
        flow, deviation = cells.flow[target], cells.flow_deviation[target]

        def covering(gain: Floats, loss: Floats, periods: Floats) -> Floats:
            ratio = np.clip(np.where(gain > 0, gain / np.maximum(gain + loss, TINY), 0.0), LOWEST_RATIO, HIGHEST_RATIO)
            return np.asarray(flow * periods + normal_quantile(ratio) * deviation * np.sqrt(periods))

        self.lone = covering(short, holding, lead + 1.0)
        surcharge = np.maximum(premium, 0.0)
        self.own = np.where(sources.fast, covering(short - surcharge, holding + surcharge, lead + 1.0), self.lone)
        fastest = sources.fastest
        slower, paid = np.maximum(lead - lead[fastest], 0.0), premium[fastest]
        self.cheaper = sources.regular & (paid > 0)
        dual = self.own[fastest] + covering(paid, holding * (slower + 1), slower)
        self.least = np.where(self.cheaper, np.minimum(self.lone, dual), self.own)
        # Halfway, as the tails of demand are seldom those of a normal distribution.
        self.own = np.where(self.cheaper, (self.lone + self.least) / 2, self.own)


class SingleIndex(DualSourcing):
    """Single index: both lanes look at the full inventory position, with everything that is in transit.

    The fast lanes raise it to their level first, then the regular lane to its own: a period's demand up to the
    difference of the levels comes by the regular lane, what exceeds it by the fast one (Scheller-Wolf, Veeraraghavan
    and van Houtum, Effective dual sourcing with a single index policy, Tepper working paper, 2007). The position is the
    echelon's at nodes that feed others.

    Parameters
    ----------
    levels
        Units by node (and product), of primary lanes; left out: automatic.
    express_levels
        Units by secondary lane (and product), of the same position; left out: automatic. Those of fast lanes start below
        that of the regular lane by the newsvendor quantile of a period's demand for c / (c + (l + 1) h), c the premium
        of the fastest lane and l the periods by which the regular one is slower.
    lateral_levels, keep_levels, allocation
        As in :class:`~.base_stock.BaseStock`.
    """

    name = "single_index"
    pure = True
    full = True

    def _adapted(self, group: Group) -> Group:
        if group.name not in ("levels", "express_levels"):
            return group
        t, cells, sources = self.tables, self.cells, self.sources
        lanes, primary = np.arange(t.L * t.P) // t.P, np.maximum(self.forest.primary, 0)
        roles = sources.regular | sources.fast
        regular = np.where(sources.fast, sources.rival, np.arange(len(lanes)))  # of the same node, by lane
        # The position covers the lead time of the regular lane, whichever is the primary one.
        longer = t.nominal_lead_time[lanes[regular[primary]]] - t.nominal_lead_time[lanes[primary]]
        moved = self.least[regular] - self.lone[regular]
        full = cells.auto.echelon.reshape(-1) + cells.flow * longer
        full = (full + np.where(cells.fed & roles[primary], moved[primary], 0.0))[cells.target]
        start = full - np.where(sources.fast, self._apart()[regular], 0.0)
        if group.name == "levels":
            return self._starting(group, np.where(cells.fed & roles[primary], start[primary], group.start))
        return self._starting(group, np.where(roles, start, group.start))

    def _apart(self) -> Floats:
        """(L * P,) units a period that a regular lane brings at most, at the start."""
        t, cells, sources = self.tables, self.cells, self.sources
        lanes, fastest = np.arange(t.L * t.P) // t.P, sources.fastest
        slower = np.maximum(t.nominal_lead_time[lanes] - t.nominal_lead_time[lanes[fastest]], 0)
        paid, holding = np.maximum(self._premium()[fastest], 0.0), t.holding_cost.reshape(-1)[cells.target]
        ratio = paid / np.maximum(paid + holding * (slower + 1), TINY)
        safety = normal_quantile(np.clip(ratio, LOWEST_RATIO, HIGHEST_RATIO)) * cells.flow_deviation[cells.target]
        found = np.maximum(cells.flow[cells.target] + safety, 0.0)
        # A lane that mean demand needs is not kept from bringing it.
        needed = cells.auto.needed.reshape(-1)
        return np.where(needed > 0, np.maximum(found, needed + 1.5 * cells.flow_deviation[cells.target]), found)


class DualIndex(DualSourcing):
    """Dual index: fast lanes look at the expedited inventory position, the regular lane at the full inventory position.

    The expedited inventory position is what a node owns less what arrives later than the fast lane would bring it: what
    will be there once the fast lane delivers (Veeraraghavan and Scheller-Wolf, Operations Research 56(4), 2008). The
    rule is echelon base-stock whose secondary lanes are always in use.

    Parameters
    ----------
    levels, express_levels
        Units by node, and by secondary lane (and product); left out: automatic.
    lateral_levels, keep_levels, allocation
        As in :class:`~.base_stock.BaseStock`.
    """

    name = "dual_index"
    pure = True


class CappedDualIndex(DualSourcing):
    """Dual index with a cap on what the regular lane asks for in a period (Sun and Van Mieghem, M&SOM 21(4), 2019).

    Parameters
    ----------
    levels, express_levels
        As in :class:`DualIndex`.
    caps
        Most units the regular lane asks for in a period, by lane (and product); left out: mean and one and a half
        standard deviations of a period's demand.
    lateral_levels, keep_levels, allocation
        As in :class:`~.base_stock.BaseStock`.
    """

    name = "capped_dual_index"
    pure = True
    capped = True

    def _adapted(self, group: Group) -> Group:
        if group.name == "caps":
            return self._starting(replace(group, allowed=self.sources.regular), group.start)
        return super()._adapted(group)


class TailoredBaseSurge(DualSourcing):
    """Tailored base-surge: a constant quantity by the regular lane, base-stock control by the fast lanes.

    Fast lanes look at the expedited inventory position; see :class:`DualIndex`. Allon and Van Mieghem, Management
    Science 56(1), 2010; asymptotically optimal as the regular lead time grows (Xin and Goldberg, Management Science
    64(1), 2018).

    Parameters
    ----------
    base_quantities
        Units a period by regular lane (and product), >= 0; left out: mean flow less s sqrt(h / (2 c)), s the standard
        deviation of a period's demand, h the holding cost, c what the fast lane costs more a unit, which balances in
        heavy traffic the stock that constant arrivals pile up, s^2 / (2 x the gap), with what fills the gap.
    levels, express_levels
        Units by node, of primary lanes that are not regular, and by secondary lane that is not (and product); left out:
        automatic.
    lateral_levels, keep_levels, allocation
        As in :class:`~.base_stock.BaseStock`.
    """

    name = "tailored_base_surge"
    pure = True
    further_groups: ClassVar[tuple[str, ...]] = (*BaseStock.further_groups, "base_quantities")

    def _adapted(self, group: Group) -> Group:
        if group.name == "levels":
            primary = self.forest.primary
            constant = (primary >= 0) & self.sources.regular[np.maximum(primary, 0)]
            return replace(group, allowed=group.allowed & ~constant, default=np.where(constant, -np.inf, group.default))
        if group.name == "express_levels":
            return self._starting(replace(group, allowed=group.allowed & ~self.sources.regular), group.start)
        return group

    def _more_groups(self, cells: Cells) -> list[Group]:
        super()._more_groups(cells)
        t, sources, target = self.tables, self.sources, cells.target
        premium = np.full(t.L * t.P, np.inf)
        for cell in np.flatnonzero(sources.fast):
            rival = sources.rival[cell]
            premium[rival] = min(premium[rival], self._premium()[cell])
        flow, spread = t.mean_flow.reshape(-1)[target], cells.flow_deviation[target]
        holding = t.holding_cost.reshape(-1)[target]
        gap = spread * np.sqrt(holding / (2 * np.maximum(premium, TINY)))
        # In whole worlds below the mean, as constant arrivals of the mean pile up without end.
        start = np.maximum(np.minimum(np.rint(flow - gap), np.ceil(flow) - 1) if t.integer else flow - gap, 0.0)
        # A lane that mean demand needs brings that, and a margin.
        needed = cells.auto.needed.reshape(-1)
        least = np.minimum(needed + spread / 2, flow)
        start = np.where(needed > 0, np.maximum(start, np.ceil(least) if t.integer else least), start)
        default = np.where(sources.regular, start, -np.inf)
        return [Group("base_quantities", t.lanes, sources.regular, default, start, spread, 0.0)]

    def _ask(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned, ops: Ops) -> Array:
        # One of the two is nothing on every lane.
        return ops.maximum(gap, 0) + ops.maximum(numbers.more["base_quantities"], 0)


class ExpediteThreshold(DualSourcing):
    """Dual index with a threshold for expediting, which suits a fixed cost of each expedited order.

    Fast lanes ask, up to their level, only where the expedited inventory position is at or below the threshold.
    The (s, S) form of the expediting orders of Lawson and Porteus (Operations Research 48(6), 2000). A threshold at or
    above its level makes it :class:`DualIndex`.

    Parameters
    ----------
    levels, express_levels
        As in :class:`DualIndex`.
    expedite_thresholds
        Units by fast lane (and product); left out: the lane's level less half a standard deviation of a period's
        demand, or less the economic order quantity of its fixed cost a vehicle if that is more.
    lateral_levels, keep_levels, allocation
        As in :class:`~.base_stock.BaseStock`.
    """

    name = "expedite_threshold"
    pure = True

    def _make_groups(self) -> list[Group]:
        groups = super()._make_groups()
        by_name = {group.name: group for group in groups}
        cells, fast = self.cells, self.sources.fast
        level = np.where(cells.further, by_name["express_levels"].start, by_name["levels"].start[cells.target])
        start = level - self._worth()
        start = np.floor(start) if self.tables.integer else start
        # Lanes without a threshold do not wait.
        default = np.where(fast, start, np.inf)
        scale = cells.flow_deviation[cells.target]
        return [*groups, Group("expedite_thresholds", self.tables.lanes, fast, default, start, scale, smooth=False)]

    def _worth(self) -> Floats:
        """(L * P,) least units that a fast lane brings at the start."""
        t, target = self.tables, self.cells.target
        lanes, products = np.divmod(np.arange(t.L * t.P), t.P)
        holding = np.maximum(t.holding_cost.reshape(-1)[target], TINY)
        economic = np.sqrt(2 * fixed_costs(self.scenario)[lanes] * t.mean_flow.reshape(-1)[target] / holding)
        # No more than one vehicle holds, and no more than a few periods' demand.
        volume = np.maximum(t.volume[products], TINY)
        most = np.minimum(t.vehicle_volume[lanes] / volume, 3 * self.cells.flow[target])
        return np.maximum(np.minimum(economic, most), self.cells.flow_deviation[target] / 2)

    def _ask(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned, ops: Ops) -> Array:
        due = gap >= numbers.level - numbers.more["expedite_thresholds"] - numbers.tolerance
        request = ops.maximum(gap, 0)
        return request * ops.cast(due, request.dtype)
