"""Automatic order-up-to levels from the scenario's data alone: where learners' actions start.

No simulation and no search: means, standard deviations, lead times and costs. They stand within some percent to some
tens of percent of tuned levels; :mod:`echelongym.agents.tuning.tuner` finds the tuned ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..core.typing import Floats
from ..network.tables import Tables
from ..processes.series import normal_quantile
from .feasibility import carried_share, seconds
from .inventory_positions import Forest, cover

if TYPE_CHECKING:
    from ..scenario.scenario import Scenario


# A critical ratio is kept within these: beyond them levels follow the tails of a distribution nobody knows.
LOWEST_RATIO, HIGHEST_RATIO = 0.05, 0.99


class Levels(NamedTuple):
    """Automatic levels, in units."""

    echelon: Floats  # (N, P) order-up-to level of the echelon position
    local: Floats  # (N, P) the same of the local position
    lane: Floats  # (L, P) level of the expedited inventory position of a lane that is not its target's primary one
    deviation: Floats  # (N, P) standard deviation of the demand that the echelon position covers
    flow: Floats  # (N, P) mean flow, or a stand-in > 0 where nobody's first choice leads through the node
    flow_deviation: Floats  # (N, P) standard deviation of a period's demand through the node
    needed: Floats  # (L, P) units a period that a lane carries as the primary lane of its target cannot, 0 elsewhere


def automatic_levels(scenario: Scenario, lots: bool = True) -> Levels:
    """Levels of every node and product, and of every secondary lane.

    *Primary lanes.* The echelon level is the mean of what the position covers plus z standard deviations, z the
    average of the two newsvendor quantiles that bound the optimum of a serial system (Shang and Song, Management
    Science 49(5), 2003): critical ratios (p + h') / (p + H) and (p + h') / (p + h), with p the customers' penalty, h
    the node's holding cost, h' that of its supplier, H that of the nodes that serve the customers. Where sales are lost
    the penalty is spread over the lead time: p / (p + (l + 1) h) is averaged in as a third bound (Archibald, Management
    Science 27(10), 1981). An echelon level is no less than those of the nodes fed and the mean flow over the lead time
    together, which shops of erratic demand need; the local level is what it has above those of the nodes fed. Where sales
    are lost, what is missing never exceeds a level, so that half a lot (a batch, a minimum order) is missing only if the
    level is higher than that: it then is, by half of the mean covered.

    *Secondary lanes* look at the expedited inventory position: what is there by the time the lane delivers. Their level
    covers mean demand until then plus z standard deviations, z the newsvendor quantile of (p - premium) / (p + h), premium the
    lane's extra cost a unit over the primary lane. A lane no faster than that asks only for what a failing primary lane
    leaves missing: its level is lower by mean and two standard deviations of a period's demand. But where capacity keeps
    the primary lane from carrying mean demand, the cheapest secondary lanes are *needed*, as many as it takes: the level of
    one that is no faster is lower only by what the lanes before it bring until it delivers, so that it asks for the rest of
    the gap, and nothing is ordered twice. A lateral lane, from a
    stock node that is not above its target, has level 0: taking stock from others without a look at them costs more
    than it brings.

    Parameters
    ----------
    lots
        False: as if lanes took any amount, for rules that find room for batches and minimum orders themselves.
    """
    t = scenario.tables
    forest = Forest(t)
    mean, deviation = cover(t, forest, echelon=True, lots=lots)
    spread = _correlated(scenario)
    deviation = deviation * np.where(t.mean_flow > 0, spread, 1.0)
    penalty, holding_below, lost = faced(t)
    echelon = mean + _serial_quantile(t, forest, penalty, holding_below, lost) * deviation
    lead = _primary_lead(t, forest)
    unasked = _unasked(t, forest) * (lost > 0) if lots else 0.0
    echelon, local = _nested(t, forest, np.maximum(echelon, 0.5 * mean + unasked), lead)
    flow = _stand_in(t)
    flow_deviation = np.sqrt(_variance(t)) * spread
    flow_deviation = np.where(flow_deviation > 0, flow_deviation, 0.25 * flow)
    lane, needed = _further(t, forest, penalty, flow_deviation)
    deviation = np.where(deviation > 0, deviation, 0.25 * np.maximum(mean, flow))
    return Levels(echelon, local, lane, deviation, flow, flow_deviation, needed)


def _nested(t: Tables, forest: Forest, echelon: Floats, lead: Floats) -> tuple[Floats, Floats]:
    """Echelon levels that hold those of the nodes fed and what is in transit to the node itself; and local levels."""
    echelon, fed = echelon.reshape(-1).copy(), np.zeros(t.N * t.P)
    pipeline = (t.mean_flow * lead).reshape(-1)
    for cells in reversed(forest.by_depth):
        echelon[cells] = np.maximum(echelon[cells], fed[cells] + pipeline[cells])
        children = cells[forest.parent[cells] >= 0]
        np.add.at(fed, forest.parent[children], echelon[children])
    return echelon.reshape((t.N, t.P)), (echelon - fed).reshape((t.N, t.P))


def _unasked(t: Tables, forest: Forest) -> Floats:
    """(N, P) units that may be missing before the primary lane takes a request: half a lot."""
    found, fed = np.zeros(t.N * t.P), forest.primary >= 0
    found[fed] = t.lot.reshape(-1)[forest.primary[fed]] / 2
    return found.reshape((t.N, t.P))


def _primary_lead(t: Tables, forest: Forest) -> Floats:
    """(N, P) nominal lead time of each cell's primary lane and mean wait until it can be asked, 0 without one."""
    lead = np.zeros(t.N * t.P)
    fed = forest.primary >= 0
    lanes = forest.primary[fed] // t.P
    lead[fed] = t.nominal_lead_time[lanes] + (t.review[lanes] - 1) / 2
    return lead.reshape((t.N, t.P))


def _variance(t: Tables) -> Floats:
    """(N, P) variance of a period's demand of the echelon's customers, taken as independent."""
    return t.served_above.sums(t.demand_sd.reshape(-1) ** 2).reshape((t.N, t.P))


def _correlated(scenario: Scenario) -> Floats:
    """(N, P) standard deviation of a period's demand with the scenario's correlation, over that without."""
    t, rho = scenario.tables, scenario.correlation.demand
    if rho == 0:
        return np.ones((t.N, t.P))
    between = scenario.correlation.between
    labels = {"region": t.region, "segment": t.segment}.get(between, ("",) * t.C)
    number = {label: k for k, label in enumerate(dict.fromkeys(labels))}
    group = np.array([number[label] for label in labels])
    chains, cells = t.served_above, t.N * t.P
    places, place = np.unique(group[chains.items // t.P] * cells + chains.cells, return_inverse=True)
    sums = np.bincount(place, weights=t.demand_sd.reshape(-1)[chains.items], minlength=len(places))
    both = np.bincount(places % cells, weights=sums**2, minlength=cells).reshape((t.N, t.P))
    variance = _variance(t)
    ratio = (1 - rho) + rho * both / np.where(variance > 0, variance, 1.0)
    return np.where(variance > 0, np.sqrt(ratio), 1.0)


def faced(t: Tables) -> tuple[Floats, Floats, Floats]:
    """(N, P) each: penalty a unit short, holding cost where customers are served, share lost; means by demand."""
    lost_cost = t.lost_share * (t.lost_sale_cost + t.price)
    short = lost_cost + (1 - t.lost_share) * t.backorder_cost
    served_at = t.holding_cost.reshape(-1)[np.maximum(t.first_cell, 0)]  # (C, P)
    total = np.where(t.mean_flow > 0, t.mean_flow, 1.0)
    weighed = ((t.mean_demand * one).reshape(-1) for one in (short, served_at, t.lost_share))
    penalty, holding, lost = (t.served_above.sums(one).reshape(total.shape) / total for one in weighed)
    return penalty, holding, lost


def _quantile(ratio: Floats) -> Floats:
    return normal_quantile(np.clip(ratio, LOWEST_RATIO, HIGHEST_RATIO))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Their quotient; nothing to lose on either side is a ratio of one half."""
    positive = denominator > 0
    return np.where(positive, numerator / np.where(positive, denominator, 1.0), 0.5)


def _serial_quantile(t: Tables, forest: Forest, penalty: Floats, below: Floats, lost: Floats) -> Floats:
    """(N, P) z of the echelon level; see :func:`automatic_levels`."""
    parent = np.where(forest.parent >= 0, forest.parent, 0)
    supplied = np.repeat(t.is_supplier, t.P)[parent] | (forest.parent < 0)
    above = np.where(supplied, 0.0, t.holding_cost.reshape(-1)[parent]).reshape((t.N, t.P))
    own = np.maximum(t.holding_cost, above)
    served = penalty + np.minimum(above, below)
    z_low = _quantile(_ratio(served, penalty + below))
    z_high = _quantile(_ratio(served, penalty + np.minimum(own, below)))
    spread = penalty + (_primary_lead(t, forest) + 1) * below
    z_lost = _quantile(_ratio(penalty, spread))
    both = (z_low + z_high) / 2
    return both + lost * (np.minimum(z_lost, both) - both) / 2


def _stand_in(t: Tables) -> Floats:
    """(N, P) mean flow; of nodes that are nobody's first choice, the mean demand of an average customer."""
    demanding = np.maximum((t.mean_demand > 0).sum(0), 1)
    average = t.mean_demand.sum(0) / demanding
    average = np.where(average > 0, average, 1.0)
    return np.where(t.mean_flow > 0, t.mean_flow, np.broadcast_to(average, t.mean_flow.shape))


def _further(t: Tables, forest: Forest, penalty: Floats, flow_deviation: Floats) -> tuple[Floats, Floats]:
    """(L, P) each: levels of expedited inventory positions, 0 but on secondary lanes; and :attr:`Levels.needed`."""
    levels, needed = np.zeros((t.L, t.P)), np.zeros((t.L, t.P))
    brought = _brought_before(t, forest)
    cost = t.purchase_cost + t.lane_transport_cost
    lead = _primary_lead(t, forest)
    secondary = t.lane_open & (t.primary_lane[t.lane_target] != np.arange(t.L)[:, None])
    for lane, p in np.argwhere(secondary):
        target, source = t.lane_target[lane], t.lane_source[lane]
        primary = t.primary_lane[target, p]
        above = source * t.P + p in forest.ancestors(int(target * t.P + p))
        if not (above or t.is_supplier[source]):
            continue
        premium = cost[lane, p] - (cost[primary, p] if primary >= 0 else 0.0)
        missing, holding = penalty[target, p], t.holding_cost[target, p]
        ratio = (missing - max(premium, 0.0)) / max(missing + holding, 1e-12)
        covered = t.protection[lane]
        z = float(_quantile(np.array([ratio]))[0])
        level = t.mean_flow[target, p] * covered + z * flow_deviation[target, p] * np.sqrt(covered)
        if (lane, p) in brought and ratio > 0:
            units = t.lane_capacity[lane] / max(t.volume[p], 1e-12)
            needed[lane, p] = min(t.mean_flow[target, p] - brought[lane, p], units)
            level -= brought[lane, p] * max(covered - lead[target, p], 0.0)
        elif primary >= 0 and t.nominal_lead_time[lane] >= lead[target, p]:
            level -= t.mean_flow[target, p] + 2 * flow_deviation[target, p]
        levels[lane, p] = max(level, 0.25 * t.mean_flow[target, p])
    return levels, needed


def _brought_before(t: Tables, forest: Forest) -> dict[tuple[int, int], float]:
    """Lanes that carry what others cannot, each with the units a period that these carry: the primary lane, cheaper ones."""
    found: dict[tuple[int, int], float] = {}
    share = carried_share(t, forest)
    for n, p in np.argwhere(share < 1):
        brought = float(share[n, p] * t.mean_flow[n, p])
        for lane in seconds(t, forest, int(n), int(p)):
            if brought < t.mean_flow[n, p]:
                found[lane, int(p)] = brought
                brought += float(t.lane_capacity[lane]) / max(float(t.volume[p]), 1e-12)
    return found
