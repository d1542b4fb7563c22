"""Ledger: costs of a period's flows by named line, revenue, and kilograms of emissions.

Written once for NumPy and PyTorch; differentiable where the dynamics are. A line that the scenario
does not price is not computed. Sums over entities and products keep one order whatever the number
of worlds, so a world costs the same to the last bit alone and in a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.backend import NUMPY, Array, Ops
from ..core.errors import expected
from ..dynamics.rounding import counting, dust_of
from ..dynamics.state import Flows, State
from ..network.tables import Tables
from .linear_costs import CostTerm, PricedSums, priced, row_major

COST_LINES = (
    "purchase",
    "transport",
    "fixed_transport",
    "holding",
    "in_transit",
    "backorder",
    "lost_sale",
    "overflow",
    "disposal",
    "node",
    "commitment",
    "carbon",
    "terminal",
)
REVENUE = "revenue"
LINES = (*COST_LINES, REVENUE)


class Fleet:
    """Vehicles of some lanes: ceil(volume / vehicle volume), one if none is given and units move.

    Parameters
    ----------
    tables, ops
        The compiled scenario and the backend.
    lanes
        (n,) index of the lanes counted.
    """

    def __init__(self, tables: Tables, ops: Ops, lanes: np.ndarray[Any, Any]) -> None:
        t = tables
        self.ops = ops
        self.size = len(lanes)
        self.lanes = ops.index(lanes) if self.size else slice(0, 0)
        self.integer = t.integer
        self.volume = None if (t.volume == 1).all() else ops.constant(t.volume[:, None])
        given = np.isfinite(t.vehicle_volume[lanes])
        self.all_given, self.none_given = bool(given.all()), not given.any()
        self.given = ops.constant(given[:, None])
        # An absent vehicle volume is an absent step, never an infinity.
        self.vehicle_volume = ops.constant(np.where(given, t.vehicle_volume[lanes], 1.0)[:, None])
        # Rounding of floating point that is not to be taken for a further unit or vehicle.
        self.dust: Any = dust_of(t, ops.float)
        self.overfull: Any = self.dust
        if not isinstance(self.dust, float):
            dust = self.dust[t.lane_target[lanes]]
            share = dust * t.volume.max(initial=0.0) / np.where(given, t.vehicle_volume[lanes], 1.0)
            self.dust, self.overfull = ops.constant(dust[:, None]), ops.constant(np.clip(share, 0.0, 0.5)[:, None])

    def moved(self, flows: Flows) -> Array:
        """(n, P, B) units entering each lane counted: shipped, or recovered from customers."""
        moved = flows.shipped[self.lanes]
        return moved if flows.recovered is None else moved + flows.recovered[self.lanes]

    def volumes(self, moved: Array) -> Array:
        """(..., n, B) volume of units (..., n, P, B)."""
        moved = row_major(self.ops.to_float(moved) if self.integer else moved)
        return self.ops.total(moved if self.volume is None else moved * self.volume, -2)

    def vehicles(self, moved: Array) -> Array:
        """(..., n, B) vehicles that units (..., n, P, B) take in a period; flat, no gradient.

        A vehicle filled to within 1e-9 of its volume is one vehicle (in single precision: to within what rounding leaves).
        """
        ops = self.ops
        if self.none_given:
            return self._any(moved)
        full = ops.ceil(self.volumes(moved) / self.vehicle_volume - self.overfull)
        if self.all_given:
            return full
        return ops.where(self.given > 0, full, self._any(moved))

    def _any(self, moved: Array) -> Array:
        units = row_major(self.ops.to_float(moved) if self.integer else moved)
        return self.ops.cast(self.ops.total(units, -2) > self.dust, self.ops.float)


class Ledger:
    """Cost lines of one scenario on one backend.

    Lines, each (B,) money a period:

    - ``purchase`` lane purchase cost x units shipped, paid at shipment;
    - ``transport`` lane transport cost x units entering lanes (shipped, or recovered on return
      lanes) + source transport cost x units served;
    - ``fixed_transport`` lane fixed cost x vehicles (see :class:`Fleet`);
    - ``holding`` holding cost x units on hand at close, before stock at its end of life goes;
    - ``in_transit`` cost x units in transit at close, those shipped this period included;
    - ``backorder`` cost x units waiting at close; ``lost_sale`` cost x units lost;
    - ``overflow`` cost x volume on hand at close above the storage capacity;
    - ``disposal`` cost x units disposed of; ``node`` fixed cost where any unit stood after
      arrivals;
    - ``commitment`` transport cost x max(commitment - units shipped, 0), of products carried;
    - ``carbon`` carbon price x :meth:`emissions_kg`;
    - ``terminal`` minus terminal value x units on hand after the close of the last period;
    - ``revenue`` price x units served: no cost, and left out of :meth:`cost`.

    Example
    -------
    >>> ledger = Ledger(scenario.tables)
    >>> lines = ledger.period(flows)
    >>> ledger.cost(lines)  # (B,)
    """

    def __init__(self, tables: Tables, ops: Ops = NUMPY) -> None:
        t = tables
        ops = counting(t, ops)
        self.tables, self.ops = t, ops
        returning = (t.lane_customer >= 0)[:, None]
        pair_price = t.price[t.pair_customer] * t.pair_carries
        terms = [
            priced("purchase", "shipped", t.purchase_cost * ~returning),
            priced("transport", "shipped", t.lane_transport_cost * ~returning),
            priced("transport", "recovered", t.lane_transport_cost * returning),
            priced("transport", "served", t.pair_transport_cost * t.pair_carries),
            priced("holding", "on_hand", t.holding_cost),
            priced("in_transit", "in_transit", t.in_transit_cost),
            priced("backorder", "backlog", t.backorder_cost),
            priced("lost_sale", "lost", t.lost_sale_cost),
            priced("disposal", "disposed", t.disposal_cost),
            priced(REVENUE, "served", pair_price),
        ]
        emissions = [
            priced("kg", "shipped", t.lane_emissions * ~returning),
            priced("kg", "recovered", t.lane_emissions * returning),
            priced("kg", "served", t.pair_emissions * t.pair_carries),
        ]
        self._linear = PricedSums([term for term in terms if term is not None], t, ops)
        self._emissions = PricedSums([term for term in emissions if term is not None], t, ops)
        self._prepare_fleet()
        self._prepare_nodes()
        due = np.where(t.lane_open, t.commitment, 0.0) * (t.lane_transport_cost > 0)
        self._committed = self._rows(np.asarray(due.any(1)))
        if self._committed is not None:
            self._commitment = ops.constant(due[self._committed][..., None])
            rate = t.lane_transport_cost[self._committed]
            self._commitment_rate = ops.constant(rate[..., None])
        self._carbon = t.carbon_price > 0 and self.emits
        self._terminal = PricedSums(_only(priced("terminal", "on_hand", -t.terminal_value)), t, ops)
        special = {
            "fixed_transport": self._fixed_cost is not None,
            "overflow": self._storing is not None,
            "node": self._node_cost is not None,
            "commitment": self._committed is not None,
            "carbon": self._carbon,
            "terminal": bool(self._terminal.lines),
        }
        found = {*self._linear.lines, *(line for line, used in special.items() if used)}
        #: Lines that can differ from zero in this scenario, in the order of ``LINES``.
        self.lines = tuple(line for line in LINES if line in found)
        self._special = any(special.values())

    def _prepare_fleet(self) -> None:
        t, ops = self.tables, self.ops
        chosen = np.flatnonzero((t.lane_fixed_cost > 0) | (t.lane_fixed_emissions > 0))
        self.fleet = Fleet(t, ops, chosen)
        cost, kg = t.lane_fixed_cost[chosen], t.lane_fixed_emissions[chosen]
        self._fixed_cost = ops.constant(cost[:, None]) if cost.any() else None
        self._fixed_kg = ops.constant(kg[:, None]) if kg.any() else None
        #: Whether anything in the scenario emits.
        self.emits = bool(self._emissions.lines) or self._fixed_kg is not None

    def _prepare_nodes(self) -> None:
        t, ops = self.tables, self.ops
        limited = np.isfinite(t.storage_capacity) & (t.overflow_cost > 0)
        self._storing = self._rows(np.asarray(limited))
        if self._storing is not None:
            self._capacity = ops.constant(t.storage_capacity[self._storing][:, None])
            self._overflow_cost = ops.constant(t.overflow_cost[self._storing][:, None])
        self._volume = None if (t.volume == 1).all() else ops.constant(t.volume[:, None])
        cost = t.node_fixed_cost[:, None]
        self._node_cost = ops.constant(cost) if cost.any() else None

    def _rows(self, chosen: np.ndarray[Any, Any]) -> Any:
        """Index of the entities chosen, None where there are none."""
        found = np.flatnonzero(chosen)
        return NUMPY.index(found) if len(found) else None

    def period(self, flows: Flows, last: bool = False, closing: State | None = None) -> dict[str, Array]:
        """Lines of one period: line -> (B,) money, in the order of ``LINES``.

        Only what can differ from zero is there (at least one line is); ``terminal`` comes in the
        last period alone.

        Parameters
        ----------
        flows
            What flowed, as ``Dynamics.advance`` returns it.
        last
            Whether this is the last period of the episode.
        closing
            The state after the close; needed in the last period where stock has a terminal value.

        Raises
        ------
        ValueError
            If the closing state is needed and missing.
        """
        lines = self._linear(flows)
        if self._special:
            self._add_special(lines, flows, last, closing)
            lines = {line: lines[line] for line in self.lines if line in lines}
        if not lines:
            lines["holding"] = self._nothing(flows)
        return lines

    def _add_special(self, lines: dict[str, Array], flows: Flows, last: bool, closing: State | None) -> None:
        ops = self.ops
        vehicles = None
        if self._fixed_cost is not None:
            vehicles = self.vehicles(flows)
            lines["fixed_transport"] = self.fixed_transport(vehicles)
        if self._storing is not None:
            standing = row_major(flows.on_hand[self._storing])
            if self._volume is not None:
                standing = standing * self._volume
            volume = ops.total(self._float(standing), 1)
            over = ops.maximum(volume - self._capacity, 0)
            lines["overflow"] = ops.total(over * self._overflow_cost, 0)
        if self._node_cost is not None and flows.present is not None:
            lines["node"] = ops.total(flows.present * self._node_cost, 0)
        if self._committed is not None:
            shipped = self._float(flows.shipped[self._committed])
            short = ops.maximum(self._commitment - shipped, 0)
            cost = row_major(short * self._commitment_rate)
            lines["commitment"] = ops.total(cost.reshape((-1, cost.shape[-1])), 0)
        if self._carbon:
            lines["carbon"] = self.emissions_kg(flows, vehicles) * self.tables.carbon_price
        if last and self._terminal.lines:
            if closing is None:
                raise ValueError("closing = None: expected the State after the last period's close")
            standing = ops.total(closing.on_hand, 2)
            lines.update(self._terminal(flows._replace(on_hand=standing)))

    def _float(self, value: Array) -> Array:
        return self.ops.to_float(value) if self.tables.integer else value

    def _nothing(self, flows: Flows) -> Array:
        return self.ops.zeros((flows.shipped.shape[-1],), self.ops.float)

    def vehicles(self, flows: Flows) -> Array:
        """(n, B) vehicles of the lanes with a fixed cost or fixed emissions (``fleet.lanes``)."""
        return self.fleet.vehicles(self.fleet.moved(flows))

    def fixed_transport(self, vehicles: Array) -> Array:
        """(B,) money for vehicles (n, B) of ``fleet.lanes``."""
        return self.ops.total(vehicles * self._fixed_cost, 0)

    def emissions_kg(self, flows: Flows, vehicles: Array | None = None) -> Array:
        """(B,) kg of CO2 equivalents.

        Lane emissions x units moved + fixed emissions x vehicles + source emissions x units served.
        The sum is linear, so totals over periods may be handed in, then with their ``vehicles``
        (n, B).
        """
        found = self._emissions(flows)
        kg = found.get("kg")
        if self._fixed_kg is not None:
            vehicles = self.vehicles(flows) if vehicles is None else vehicles
            fixed = self.ops.total(vehicles * self._fixed_kg, 0)
            kg = fixed if kg is None else kg + fixed
        return self._nothing(flows) if kg is None else kg

    def transport_cost(self, flows: Flows, vehicles: Array) -> Array:
        """(B,) money: lines ``transport`` and ``fixed_transport`` of flows, or of their totals."""
        cost = self._linear(flows).get("transport")
        if self._fixed_cost is not None:
            fixed = self.fixed_transport(vehicles)
            cost = fixed if cost is None else cost + fixed
        return self._nothing(flows) if cost is None else cost

    def cost(self, lines: dict[str, Array]) -> Array:
        """Total of the cost lines, revenue left out; lines of any one shape."""
        total: Array = None
        for line, money in lines.items():
            if line != REVENUE:
                total = money if total is None else total + money
        if total is None:
            return lines[REVENUE] * 0 if lines else 0.0
        return total

    def net_cost(self, lines: dict[str, Array]) -> Array:
        """Total of the cost lines less revenue: what tuners, plans and bounds look at."""
        revenue = lines.get(REVENUE)
        cost = self.cost(lines)
        return cost if revenue is None else cost - revenue

    def reward(self, lines: dict[str, Array]) -> Array:
        """(revenue - costs) / reward_scale.

        Raises
        ------
        InputError
            If the scenario's reward_scale is neither given nor derivable.
        """
        scale = self.tables.reward_scale
        if not scale > 0:
            raise expected(
                "reward_scale",
                scale,
                "a number > 0 (auto finds neither price, lost_sale_cost nor backorder_cost)",
                self.tables.name,
            )
        return -self.net_cost(lines) / scale

    def full(self, lines: dict[str, Array], worlds: int) -> dict[str, Array]:
        """Every cost line, and revenue where prices are given; zeros (B,) where the scenario has none."""
        zero = self.ops.zeros((worlds,), self.ops.float)
        told = LINES if self.tables.has_prices else COST_LINES
        return {line: lines.get(line, zero) for line in told}


def _only(term: CostTerm | None) -> list[CostTerm]:
    return [] if term is None else [term]
