"""Reorder-point rules: (s, S), (R, nQ), and can-order levels for products that share a lane.

They pay where an order costs something whatever its size: a lane's ``fixed_cost`` a vehicle. Their thresholds make
costs jump, so no gradient says where to move them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from echelongym.envs.core.backend import Array, Ops
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.interface.automatic_levels import automatic_levels, faced
from echelongym.envs.interface.inventory_positions import Forest, Owned
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario

from .allocation import TINY
from .base_stock import BaseStock
from .request_order import Cells, Step, StepNumbers
from .rule import Group, Space

POSITIONS = ("echelon", "local")
LONGEST_CYCLE = 0.1  # of the horizon, between two orders: beyond it holding costs next to nothing
CAN_ORDER = 0.5  # where can-order points start, from the reorder point (0) to the level (1)


def served_share(tables: Tables) -> Floats:
    """(N * P,) p / (p + h): the share of a cycle of optimal length in which there is stock (economic order quantity
    with backorders); p and h are what :func:`echelongym.envs.interface.automatic_levels.faced` says.
    """
    penalty, holding, _ = faced(tables)
    both = (penalty + holding).reshape(-1)
    return np.where(both > 0, penalty.reshape(-1) / np.where(both > 0, both, 1.0), 0.5)


def fixed_costs(scenario: Scenario) -> Floats:
    """(L,) money a vehicle, its emissions at the carbon price included."""
    t = scenario.tables
    return np.asarray(t.lane_fixed_cost + t.carbon_price * t.lane_fixed_emissions, dtype=np.float64)


def economic_orders(scenario: Scenario, forest: Forest) -> Floats:
    """Economic order quantities of primary lanes, (N * P,) units by their target; 0 where an order costs nothing.

    Products of a lane share its vehicles and are ordered together every T = sqrt(2 K / sum of lambda h p / (p + h))
    periods (Harris 1913; with backorders Zipkin, Foundations of Inventory Management, 2000, section 3.3), K a vehicle's
    fixed cost, lambda the mean flow, h what a unit costs more at the target than at a stock node that feeds it. No
    cycle is longer than it takes to fill one vehicle, as a second one saves nothing. No order is smaller than a batch or the
    minimum order of the lane.
    """
    t = scenario.tables
    flow = t.mean_flow.reshape(-1)
    share = served_share(t)
    fixed = fixed_costs(scenario)
    found = np.zeros(t.N * t.P)
    for lane in range(t.L):
        cells = np.flatnonzero(forest.primary // t.P == lane)
        cells = cells[(forest.primary[cells] >= 0) & (flow[cells] > 0)]
        if not len(cells) or fixed[lane] <= 0:
            continue
        products, source = cells % t.P, int(t.lane_source[lane])
        holding = t.holding_cost[cells // t.P, products]
        if not t.is_supplier[source]:
            below = holding - t.holding_cost[source, products]
            holding = np.where(below > 0, below, holding)
        rate = float((flow[cells] * holding * share[cells]).sum())
        volume = float((flow[cells] * t.volume[products]).sum())
        longest = min(LONGEST_CYCLE * t.horizon, t.vehicle_volume[lane] / volume)
        cycle = min(np.sqrt(2 * fixed[lane] / rate), longest) if rate > 0 else longest
        found[cells] = flow[cells] * cycle
    fed = forest.primary >= 0
    found[fed] = np.maximum(found[fed], t.lot.reshape(-1)[forest.primary[fed]])
    return found


class Reorder(BaseStock):
    """Base of the reorder-point rules: points that orders wait for, and where both points and levels start.

    Positions are raised from a reorder point s to a level S or by a quantity Q, so that after ordering they lie between
    base-stock level - Q h / (p + h) and base-stock level + Q p / (p + h), as in the economic order quantity with
    backorders; Q is less by what a position falls below s before anyone looks, (mean^2 + variance) / (2 mean) of a
    period's demand.
    """

    differentiable = False
    echelon = True

    def _make_groups(self) -> list[Group]:
        groups = super()._make_groups()
        first = next(i for i, group in enumerate(groups) if group.name == self.primary_group)
        groups[first] = self._moved(groups[first], self._raised_to())
        return groups

    def _more_groups(self, cells: Cells) -> list[Group]:
        """Prepares where points and levels start; subclasses add their groups."""
        t = self.tables
        self.orders = economic_orders(self.scenario, self.forest)
        self.flow = cells.flow
        flow, spread = np.maximum(cells.flow, TINY), cells.flow_deviation
        self.overshot = (flow**2 + spread**2) / (2 * flow)
        span = self._spans()
        share = served_share(t)
        auto = automatic_levels(self.scenario, lots=False)  # orders of their size are made room for here
        plain, level = ((one.echelon if self.echelon else one.local).reshape(-1) for one in (cells.auto, auto))
        self.plain = np.rint(plain) if t.integer else plain  # of base-stock control
        base = level + self._raised(span * (share - 0.5))
        self.bottoms, self.tops = base - span * (1 - share), base + span * share
        self.step = np.maximum(self.spread, span / 4)
        return []

    def starts(self, space: Space) -> list[Floats]:
        """Starting vectors: the economic order quantity's, and base-stock control at the automatic levels."""
        least = 1.0 if self.tables.integer else 0.0
        level = self.plain[space.cells % len(self.plain)]
        simple = {"levels": level, "order_quantities": np.full(len(level), least)}
        simple |= dict.fromkeys(("reorder_points", "can_order_points"), level - least)
        groups = np.array(space.groups)
        plain = np.select([groups == name for name in simple], list(simple.values()), space.start)
        return [*super().starts(space), plain]

    def _spans(self) -> Floats:
        """(N * P,) units between the lowest and the highest position after ordering."""
        return np.maximum(self.orders - self.overshot, 0.0)

    def _raised_to(self) -> Floats:
        """(N * P,) where the numbers start that gaps are measured from."""
        return self.tops

    def _raised(self, own: Floats) -> Floats:
        """(N * P,) by how much positions below each cell stand higher than under base-stock control."""
        total = np.zeros(len(own))
        if self.echelon:
            for cell in np.argsort(-self.forest.depth, kind="stable"):
                if self.forest.parent[cell] >= 0:
                    total[self.forest.parent[cell]] += total[cell] + own[cell]
        return total

    def _moved(self, group: Group, start: Floats) -> Group:
        """A group by node, of thresholds, that starts elsewhere."""
        start = np.rint(start) if self.tables.integer else start
        default = np.where(group.allowed, start, group.default)
        return replace(group, default=default, start=start, scale=self.step, smooth=False)

    def _points(self, name: str, cells: Cells, start: Floats) -> Group:
        """Thresholds by node with a primary lane."""
        return self._moved(Group(name, self.tables.nodes, cells.fed, np.full(len(start), -np.inf), start, start), start)


class _EitherPosition(Reorder):
    """With the option ``position``: what the reorder point is compared with."""

    def __init__(self, scenario: Scenario, **parameters: Any) -> None:
        # Groups start elsewhere by position, so it is read before they are made.
        position = parameters.get("position", POSITIONS[0])
        if position not in POSITIONS:
            raise expected(f"{self.name} position", position, " or ".join(POSITIONS))
        self.echelon = position == "echelon"
        super().__init__(scenario, **parameters)

    def _options(self) -> tuple[str, ...]:
        return (*super()._options(), "position")

    def _get_options(self) -> dict[str, Any]:
        return super()._get_options() | {"position": POSITIONS[0] if self.echelon else POSITIONS[1]}


class ReorderPointOrderUpTo(_EitherPosition):
    """(s, S): where a position is at or below its reorder point s, it is ordered up to its level S.

    Optimal for one node with a fixed cost an order (Scarf, in Arrow, Karlin and Suppes (eds.), Mathematical Methods in
    the Social Sciences, 1960; best numbers: Zheng and Federgruen, Operations Research 39(4), 1991). A reorder point at
    or above its level makes it base-stock. Secondary lanes are those of :class:`~.base_stock.BaseStock`.

    Parameters
    ----------
    reorder_points, levels
        s and S in units by node (and product); left out: from the economic order quantity.
    position
        ``echelon`` (default) or ``local``: which position is compared and raised.
    express_levels, lateral_levels, keep_levels, allocation
        As in :class:`~.base_stock.BaseStock`.
    """

    name = "reorder_point_order_up_to"
    pure = True

    def _more_groups(self, cells: Cells) -> list[Group]:
        super()._more_groups(cells)
        return [self._points("reorder_points", cells, self.bottoms)]

    def _ask(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned, ops: Ops) -> Array:
        request = ops.maximum(gap, 0)
        if not step.primary:
            return request
        # position <= s, said of the gap to S; the tolerance is for positions that were summed up in another order.
        due = gap >= numbers.level - numbers.more["reorder_points"] - numbers.tolerance
        return request * ops.cast(due, request.dtype)


class CappedReorderPointOrderUpTo(ReorderPointOrderUpTo):
    """(s, S, q): (s, S) that asks for at most q units at a time.

    The modified (s, S) policy for lost sales with a fixed cost an order: where a position is at or below s, min(S -
    position, q) units are ordered, with q < S - s possible, so that the next order may follow at once (Bijvank, Bhulai
    and Huh, European Journal of Operational Research 241(2), 2015). Without caps it is (s, S); with reorder points at
    or above levels it is capped base-stock; in whole units with S = s + q it orders q at a time, as (R, nQ) with n at
    most 1 does.

    Parameters
    ----------
    reorder_points, levels, position
        As in :class:`ReorderPointOrderUpTo`.
    caps
        q: most units a lane asks for in a period, by lane (and product); left out: none.
    express_levels, lateral_levels, keep_levels, allocation
        As in :class:`~.base_stock.BaseStock`.

    Raises
    ------
    InputError
        Besides what every rule raises: if orders cost nothing and have no least size on any primary lane.
    """

    name = "capped_reorder_point_order_up_to"
    pure = True
    capped = True

    @classmethod
    def refusal(cls, scenario: Scenario) -> str | None:
        """Reason to refuse a scenario in which waiting to order saves nothing."""
        t, primary = scenario.tables, Forest(scenario.tables).primary
        primary = primary[primary >= 0]
        if (fixed_costs(scenario)[primary // t.P] > 0).any() or (t.lot.reshape(-1)[primary] > 0).any():
            return None
        return (
            "no primary lane has a fixed cost, a batch or a minimum order, so that base-stock with caps does the same"
        )

    def _make_groups(self) -> list[Group]:
        """Caps of primary lanes start at what is ordered at once from the reorder point."""
        groups, primary = super()._make_groups(), self.forest.primary
        place = next(i for i, group in enumerate(groups) if group.name == "caps")
        start, scale = groups[place].start.copy(), groups[place].scale.copy()
        fed = primary >= 0
        ordered = np.maximum((self.tops - self.bottoms + self.overshot)[fed], start[primary[fed]])
        start[primary[fed]] = np.rint(ordered) if self.tables.integer else ordered
        scale[primary[fed]] = self.step[fed]
        groups[place] = replace(groups[place], start=start, scale=scale)
        return groups


class ReorderPointQuantity(_EitherPosition):
    """(R, nQ): where a position is at or below its reorder point R, the least whole number of quantities Q is ordered
    that raises it above R.

    In the long run positions after ordering are evenly spread over (R, R + Q], whatever the demand (Hadley and Whitin,
    Analysis of Inventory Systems, 1963; echelon positions: Axsater and Rosling, Management Science 39(10), 1993). With
    Q = 0 it is base-stock with level R. Secondary lanes are those of :class:`~.base_stock.BaseStock`.

    Parameters
    ----------
    reorder_points, order_quantities
        R and Q >= 0 (in whole worlds >= 1) in units by node (and product); left out: from the economic order quantity,
        in whole batches where the lane has batches.
    position
        ``echelon`` (default) or ``local``: which position is compared and raised.
    express_levels, lateral_levels, keep_levels, allocation
        As in :class:`~.base_stock.BaseStock`.
    """

    name = "reorder_point_quantity"
    pure = True
    primary_group = "reorder_points"

    def _raised_to(self) -> Floats:
        # In whole worlds the lowest position after ordering is R + 1.
        return self.bottoms - self.least

    def _spans(self) -> Floats:
        t, primary = self.tables, self.forest.primary
        batch = np.where(primary >= 0, t.batch.reshape(-1)[np.maximum(primary, 0)], 0.0)
        self.least = 1.0 if t.integer else 0.0
        unit = np.where(batch > 0, batch, self.least)
        whole = np.maximum(np.rint(self.orders / np.where(unit > 0, unit, 1.0)), 1.0) * unit
        self.quantities = np.where(unit > 0, whole, self.orders)
        return self.quantities - self.least

    def _more_groups(self, cells: Cells) -> list[Group]:
        super()._more_groups(cells)
        return [replace(self._points("order_quantities", cells, self.quantities), lower=self.least)]

    def _ask(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned, ops: Ops) -> Array:
        if not step.primary:
            return ops.maximum(gap, 0)
        lacks = ops.maximum(gap, 0)
        due = ops.cast(gap >= -numbers.tolerance, gap.dtype)
        quantity = numbers.more["order_quantities"]
        if gap.dtype == ops.int:
            quantity = ops.maximum(quantity, 1)
            return (lacks // quantity + 1) * quantity * due
        some = ops.cast(quantity > TINY, gap.dtype)
        divisor = ops.maximum(quantity, TINY)
        slack = TINY if isinstance(numbers.tolerance, float) else numbers.tolerance / divisor
        wanted = (ops.floor(lacks / divisor + slack) + 1) * quantity * due
        return wanted * some + lacks * (1 - some)


class CanOrder(Reorder):
    """Can-order levels (s, c, S) for products that share a lane.

    When a product's echelon position is at or below its must-order point s, every product of the same primary lane that
    is at or below its can-order point c rides along, each ordered up to its level S (Balintfy, Management Science 10(2),
    1964; Silver, Management Science 20(9), 1974). With c = s it is (s, S) of each product, with c just below S whatever
    lacks anything rides along.

    Parameters
    ----------
    reorder_points, can_order_points, levels
        s, c and S in units by node and product; left out: from the economic order quantity of all products of the lane
        together, c halfway from s to S. A can-order point below s counts as s.
    express_levels, lateral_levels, keep_levels, allocation
        As in :class:`~.base_stock.BaseStock`.

    Raises
    ------
    InputError
        Besides what every rule raises: if no primary lane carries several products.
    """

    name = "can_order"
    pure = True

    @classmethod
    def refusal(cls, scenario: Scenario) -> str | None:
        """Reason to refuse a scenario without lanes that several products share."""
        primary = Forest(scenario.tables).primary
        lanes = primary[primary >= 0] // scenario.tables.P
        if len(lanes) == len(np.unique(lanes)):
            return "needs primary lanes that carry several products, to order them together"
        return None

    def _more_groups(self, cells: Cells) -> list[Group]:
        super()._more_groups(cells)
        middle = self.bottoms + CAN_ORDER * (self.tops - self.bottoms)
        return [self._points("reorder_points", cells, self.bottoms), self._points("can_order_points", cells, middle)]

    def _ask(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned, ops: Ops) -> Array:
        request = ops.maximum(gap, 0)
        if not step.primary:
            return request
        must = gap >= numbers.level - numbers.more["reorder_points"] - numbers.tolerance
        can = gap >= numbers.level - numbers.more["can_order_points"] - numbers.tolerance
        goes = step.by_lane.sum(ops.cast(must, ops.int)) > 0
        along = ops.cast(can, ops.int) * ops.cast(step.by_lane.spread(goes), ops.int)
        return request * ops.cast((along > 0) | must, request.dtype)
