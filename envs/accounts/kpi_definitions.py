"""Definitions of all key performance indicators: functions of the totals of the reported periods.

Sums run over the reported periods and, for a customer, over products; a segment, a region and the
total are ratios of sums over their customers. Units, periods, money and kilograms are the
scenario's. What has no basis (a fill rate without demand) is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.backend import NUMPY
from ..core.typing import Floats
from ..dynamics.state import Flows
from ..network.tables import Tables
from ..worlds.world_sample import NON_NEGATIVE, SHARE
from .estimators import Largest, Ratio
from .ledger import Ledger


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums over the reported periods; entity first, batch last; units unless said otherwise."""

    tables: Tables
    ledger: Ledger
    periods: Floats  # (B,) periods reported
    demand: Floats  # (C, P, B)
    served_new: Floats  # (C, P, B) new demand served in its own period
    served_first: Floats  # (C, P, B) of it, by the first source
    stockouts: Floats  # (C, B) periods in which some new demand was not served
    lost: Floats  # (C, P, B) with what lost patience
    lost_new: Floats  # (C, P, B) new demand lost at once
    backlog: Floats  # (C, P, B) waiting at close
    longest: Floats  # (C, B) periods
    within: dict[int, tuple[Floats, Floats]]  # window -> served within it, of demand; (C, B)
    served: Floats  # (S, P, B)
    shipped: Floats  # (L, P, B)
    recovered: Floats | None  # (L, P, B)
    in_transit: Floats | None  # (L, P, B) in transit at close; None where it was not counted
    on_hand: Floats  # (N, P, B) standing at close
    disposed: Floats  # (N, P, B)
    vehicles: Floats  # (L, B) on lanes where vehicles count, else 0
    loaded: Floats  # (L, B) volume moved on lanes with a vehicle volume, else 0
    order_variance: Floats  # (E, B)
    demand_variance: Floats  # (E, B)
    tier: NDArray[np.int64]  # (N, P) primary lanes up to the top

    @property
    def moved(self) -> Floats:
        """(L, P, B) units that entered each lane."""
        return self.shipped if self.recovered is None else self.shipped + self.recovered

    @property
    def delivered(self) -> Floats:
        """(B,) units served to customers."""
        return all_of(self.served)


def all_of(values: Floats) -> Floats:
    """(rows, P, B) summed to (B,)."""
    return np.asarray(NUMPY.total(values.reshape((-1, values.shape[-1])), 0))


# By customer: (C, B) -----------------------------------------------------------------------------


def _share(part: Floats, whole: Floats) -> Ratio:
    """A part of a whole; what is lost or disposed of may have come before the warm-up ended, and exceed it."""
    return Ratio(part, whole, SHARE)


def _amount(amount: Floats, per: Floats) -> Ratio:
    return Ratio(amount, per, NON_NEGATIVE)


def fill_rate(t: Totals) -> Ratio:
    """New demand served in its own period / new demand.

    The fill rate or beta service level (S. Axsater, *Inventory Control*, 3rd ed. 2015, section
    5.3), counted over all of a customer's sources.
    """
    return _share(NUMPY.total(t.served_new, 1), NUMPY.total(t.demand, 1))


def first_choice_fill_rate(t: Totals) -> Ratio:
    """New demand served in its own period by the first source / new demand."""
    return _share(NUMPY.total(t.served_first, 1), NUMPY.total(t.demand, 1))


def no_stockout_rate(t: Totals) -> Ratio:
    """Customer-periods in which all new demand is served at once / customer-periods.

    The alpha service level by period (H. Tempelmeier, *Inventory Management in Supply Networks*,
    2nd ed. 2011, section 2.3). All products count together; a period without demand is served.
    """
    periods = np.broadcast_to(t.periods, t.stockouts.shape)
    return _share(periods - t.stockouts, periods)


def served_within(t: Totals, window: int) -> Ratio:
    """Demand served within w periods after its own / demand at least w periods old at the end.

    w = 0 is the fill rate. Demand of the last w periods is left out of both, as its window is
    still open; who loses patience sooner is known to be unserved then, and w is cut to that.
    """
    return _share(*t.within[window])


def mean_wait(t: Totals) -> Ratio:
    """Periods waited per unit not lost at once: sum of backlog at close / (demand - lost at once).

    Little's law, L = lambda W (J. D. C. Little, *Operations Research* 9, 1961): who waits k periods
    stands in the backlog at k closes. Demand served in its own period waits 0; what loses patience
    counts with the periods it waited.
    """
    return _amount(NUMPY.total(t.backlog, 1), NUMPY.total(t.demand - t.lost_new, 1))


def longest_wait(t: Totals) -> Largest:
    """Longest wait met, in periods, of any unit: until it was served, was lost, or time ended.

    What already waited when reporting began counts as new in the first period reported.
    """
    return Largest(t.longest)


def lost_share(t: Totals) -> Ratio:
    """Demand lost, at once or out of patience / demand."""
    return _share(NUMPY.total(t.lost, 1), NUMPY.total(t.demand, 1))


SERVICE: dict[str, Callable[[Totals], Ratio | Largest]] = {
    "fill_rate": fill_rate,
    "first_choice_fill_rate": first_choice_fill_rate,
    "no_stockout_rate": no_stockout_rate,
    "mean_wait": mean_wait,
    "longest_wait": longest_wait,
    "lost_share": lost_share,
}


# Of the network: (B,) ----------------------------------------------------------------------------


def replenishment_time(t: Totals) -> Ratio:
    """Periods from dispatch to receipt of a unit: sum of units in transit at close / dispatched.

    Little's law over all requested lanes (no return lanes); a unit that crosses two lanes counts
    on each. NaN where the units in transit were not counted.
    """
    return _replenishment(t, t.tables.lane_open)


def _replenishment(t: Totals, chosen: NDArray[np.bool_]) -> Ratio:
    weight = chosen[..., None]
    dispatched = all_of(t.shipped * weight)
    if t.in_transit is None:
        return _amount(np.full(dispatched.shape, np.nan), dispatched)
    return _amount(all_of(t.in_transit * weight), dispatched)


def inventory_units(t: Totals) -> Ratio:
    """Mean units on hand at close, over all nodes, before stock at the end of its life goes."""
    return _amount(all_of(t.on_hand), t.periods)


def inventory_volume(t: Totals) -> Ratio:
    """Mean volume (units x product volume) on hand at close, over all nodes."""
    return _amount(all_of(t.on_hand * t.tables.volume[:, None]), t.periods)


def turns(t: Totals) -> Ratio:
    """Inventory turns per period (not per year): units served / sum of units on hand at close.

    W. J. Hopp and M. L. Spearman, *Factory Physics*, 3rd ed. 2008: throughput / average inventory.
    """
    return _amount(t.delivered, all_of(t.on_hand))


def disposed_units(t: Totals) -> Ratio:
    """Units disposed of per period.

    At the end of life on hand or on the road, lost to yield, and returns not recovered.
    """
    return _amount(all_of(t.disposed), t.periods)


def waste_share(t: Totals) -> Ratio:
    """Units disposed of / units supplied.

    Supplied is what leaves suppliers, on lanes or straight to customers.
    """
    tables = t.tables
    by_lane = (tables.lane_source >= 0) & tables.is_supplier[np.maximum(tables.lane_source, 0)]
    direct = tables.is_supplier[tables.pair_source]
    supplied = all_of(t.shipped * by_lane[:, None, None])
    return _share(all_of(t.disposed), supplied + all_of(t.served * direct[:, None, None]))


def transport_cost_per_unit(t: Totals) -> Ratio:
    """Cost lines ``transport`` and ``fixed_transport`` / units served to customers."""
    flows = _flows(t)
    return _amount(t.ledger.transport_cost(flows, t.vehicles[t.ledger.fleet.lanes]), t.delivered)


def expedited_share(t: Totals) -> Ratio:
    """Units dispatched on lanes of mode ``express`` / units dispatched to nodes they lead to.

    Only nodes (and products) into which such a lane leads count; 0 where there is none.
    """
    return _mode_share(t, "express")


def transshipped_share(t: Totals) -> Ratio:
    """Units dispatched on lanes of mode ``transshipment`` / units dispatched to nodes they lead to.

    Only nodes (and products) into which such a lane leads count; 0 where there is none.
    """
    return _mode_share(t, "transshipment")


def _mode_share(t: Totals, mode: str) -> Ratio:
    tables = t.tables
    of_mode = np.array([name == mode for name in tables.lane_mode], dtype=bool)
    chosen = of_mode[:, None] & tables.lane_open
    if not chosen.any():
        return _share(np.zeros(t.periods.shape), np.ones(t.periods.shape))
    led = np.zeros((tables.N, tables.P), dtype=bool)
    for lane in np.flatnonzero(of_mode):
        led[tables.lane_target[lane]] |= chosen[lane]
    into = led[tables.lane_target] & tables.lane_open
    return _share(all_of(t.shipped * chosen[..., None]), all_of(t.shipped * into[..., None]))


def unit_km(t: Totals) -> Ratio:
    """Units moved x distance of their lane, per period."""
    return _amount(all_of(t.moved * t.tables.distance_km[:, None, None]), t.periods)


def vehicle_km(t: Totals) -> Ratio:
    """Vehicles x distance of their lane, per period."""
    return _amount(NUMPY.total(t.vehicles * t.tables.distance_km[:, None], 0), t.periods)


def vehicle_fill(t: Totals) -> Ratio:
    """Volume moved / volume of the vehicles that moved it, on lanes with a vehicle volume."""
    volume = t.tables.vehicle_volume
    offered = t.vehicles * np.where(np.isfinite(volume), volume, 0.0)[:, None]
    return _share(NUMPY.total(t.loaded, 0), NUMPY.total(offered, 0))


def emissions_kg(t: Totals) -> Ratio:
    """Kilograms of CO2 equivalents per period; see :meth:`Ledger.emissions_kg`."""
    flows = _flows(t)
    return _amount(t.ledger.emissions_kg(flows, t.vehicles[t.ledger.fleet.lanes]), t.periods)


def emissions_kg_per_unit(t: Totals) -> Ratio:
    """Kilograms of CO2 equivalents / units served to customers."""
    return _amount(emissions_kg(t).numerator, t.delivered)


def _flows(t: Totals) -> Flows:
    """Totals in the shape of flows, for sums that are linear in them."""
    absent = Flows(*[None] * len(Flows._fields))
    return absent._replace(shipped=t.shipped, recovered=t.recovered, served=t.served)


NETWORK: dict[str, Callable[[Totals], Ratio]] = {
    function.__name__: function
    for function in (
        replenishment_time,
        inventory_units,
        inventory_volume,
        turns,
        disposed_units,
        waste_share,
        transport_cost_per_unit,
        expedited_share,
        transshipped_share,
        unit_km,
        vehicle_km,
        vehicle_fill,
        emissions_kg,
        emissions_kg_per_unit,
    )
}


# By echelon: tier k, from 1 (fed by suppliers) down ----------------------------------------------


def order_variance_ratio(t: Totals, tier: int) -> Ratio:
    """Variance of a tier's orders / variance of the customer demand it serves: the bullwhip effect.

    H. L. Lee, V. Padmanabhan and S. Whang, *Management Science* 43, 1997; as a ratio F. Chen et
    al., *Management Science* 46, 2000. Variances over periods of the tier's total of a product,
    summed over products; orders as in :class:`echelongym.envs.accounts.bullwhip.Orders`; demand of the
    customers whose first source is in the tier or below.
    """
    return _amount(t.order_variance[tier - 1], t.demand_variance[tier - 1])


def tier_inventory_units(t: Totals, tier: int) -> Ratio:
    """Mean units on hand at close at the nodes of a tier."""
    return _amount(all_of(t.on_hand * (t.tier == tier)[..., None]), t.periods)


def tier_replenishment_time(t: Totals, tier: int) -> Ratio:
    """``replenishment_time`` of the lanes that lead to the nodes of a tier."""
    return _replenishment(t, (t.tier == tier)[t.tables.lane_target] & t.tables.lane_open)


ECHELON: dict[str, Callable[[Totals, int], Ratio]] = {
    "order_variance_ratio": order_variance_ratio,
    "inventory_units": tier_inventory_units,
    "replenishment_time": tier_replenishment_time,
}
