"""Safety stock in a linear program of expected demand: an echelon pays for what it lacks of its target.

A program that sees means only keeps no safety stock. Here each fed node has a target for the net stock of its echelon at
every close: stock of the node and its primary descendants, what is in transit between them, less the backlog of their
customers. The target is the mean demand until the echelon's stock has reached the customers, plus a safety factor z times
the standard deviation of demand over that time and the time that has passed since the plan was made (at most until the
node's own replenishment). Falling short costs, a unit and period, the slope of the newsvendor's expected shortage cost,

    echelon holding cost x (1 - F(z + (net stock - target) / deviation)) / (1 - F(z)),    F the normal distribution function,

which balances the holding cost exactly at the target (Clark and Scarf, Management Science 6(4), 1960, with normal demand).
The z in it is that of the automatic levels, whatever the target.
It is made piecewise linear, so that scarce stock is shared by need instead of all or nothing.
"""

from __future__ import annotations

import numpy as np

from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.interface.inventory_positions import Forest, cover
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.record_statement import playable

from .linear_program.assembly import Assembly, LinearProblem
from .linear_program.outlook import Outlook, Standing
from .linear_program.program import NetworkProgram

#: Ends of the linear pieces, in standard deviations above z; below the last the slope stays.
PIECES = (1.0, 0.4, 0.0, -0.4, -1.0, -2.0)
#: Least echelon holding cost, as a share of the node's own: stock that is as expensive above is still not wanted everywhere.
LEAST_HOLDING = 0.1
#: Training worlds that quantiles of demand are read from: the first, and how many.
SAMPLED, SAMPLED_WORLDS = 31_000_000, 256


def automatic_safety_factors(scenario: Scenario) -> Floats:
    """(N, P) z of the automatic echelon levels, for demand as it is drawn.

    The levels (:func:`automatic_levels`) take demand as normal. Here the same probability of
    covering demand is read from sampled training worlds, seasons taken off: z is that quantile over the standard
    deviation. So demand in bursts gets what it needs.
    """
    t, forest = scenario.tables, Forest(scenario.tables)
    auto, normal = automatic_levels(scenario), _normal(scenario)
    found = normal.copy()
    worlds = list(range(SAMPLED, SAMPLED + SAMPLED_WORLDS))
    tape = scenario.sample(worlds=worlds, seed=0, purpose="train", periods=playable(scenario, "train"))
    demand = np.moveaxis(np.asarray(tape.demand[tape.history :], dtype=np.float64), 1, -1)  # (T, C, P, B)
    total = np.append(np.zeros((1, *demand.shape[1:])), np.cumsum(demand, 0), 0)
    lead = _leads(t)
    way, lot = _ways(t, forest, lead), _lots(t)
    for n, p in np.argwhere((way >= 0).any(1) & (auto.deviation > 0)):
        covered = way[n, :, p] + lead[n, p] + 1
        customers = np.flatnonzero(way[n, :, p] >= 0)
        starts = len(demand) - int(covered[customers].max())
        if starts < 1:
            continue
        sums = np.zeros((starts, SAMPLED_WORLDS))
        for c in customers:
            sums += total[covered[c] : covered[c] + starts, c, p] - total[:starts, c, p]
        surprise = sums - sums.mean(1, keepdims=True)
        if lot[n, p]:
            surprise = surprise + lot[n, p] * _evenly_spread(surprise.size).reshape(surprise.shape)
        found[n, p] = np.quantile(surprise, _probability(normal[n, p])) / auto.deviation[n, p]
    return np.clip(found, -2.0, 6.0)


def _normal(scenario: Scenario) -> Floats:
    """(N, P) z of the automatic echelon levels, as they stand."""
    auto, mean = automatic_levels(scenario), cover(scenario.tables, Forest(scenario.tables), echelon=True)[0]
    return np.clip((auto.echelon - mean) / auto.deviation, -2.0, 4.0)


def _probability(z: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(z))


def _evenly_spread(count: int) -> Floats:
    """Numbers in [-1/2, 1/2) that fill it evenly, also those at any regular distance from one another."""
    return np.asarray((np.arange(count) * (np.sqrt(5) - 1) / 2) % 1 - 0.5)


def _lots(t: Tables) -> Floats:
    """(N, P) least units that the primary lane of a fed node takes at a time, 0 elsewhere."""
    fed = (t.primary_lane >= 0) & ~t.is_supplier[:, None]
    return np.where(fed, t.lot[np.maximum(t.primary_lane, 0), np.arange(t.P)], 0.0) if t.L else np.zeros((t.N, t.P))


def _leads(t: Tables) -> Ints:
    """(N, P) periods less one that an order on a fed node's primary lane has to last for, 0 elsewhere."""
    fed = (t.primary_lane >= 0) & ~t.is_supplier[:, None]
    return np.where(fed, t.protection[np.maximum(t.primary_lane, 0)] - 1, 0)


def _ways(t: Tables, forest: Forest, lead: Ints) -> Ints:
    """(N, C, P) periods over primary lanes from a fed node to a customer's first source; -1 = not in its echelon."""
    way = np.full((t.N, t.C, t.P), -1, dtype=np.int64)
    for c, p in np.argwhere(t.first_source >= 0):
        node, passed = int(t.first_source[c, p]), 0
        while node >= 0:
            if t.primary_lane[node, p] >= 0 and not t.is_supplier[node]:
                way[node, c, p] = passed
            passed += int(lead[node, p])
            above = int(forest.parent[node * t.P + p])
            node = above // t.P if above >= 0 else -1
    return way


class StockTargets:
    """Means and deviations of what each echelon is to hold, as far as they do not change with the state.

    Parameters
    ----------
    scenario
        The scenario.
    periods
        T of the program.
    factors
        (N, P) :func:`automatic_safety_factors`.

    Attributes
    ----------
    fed
        (N, P) cells that have a target.
    ahead
        Periods beyond T whose demand the targets look at.
    """

    def __init__(self, scenario: Scenario, periods: int, factors: Floats) -> None:
        t = self.tables = scenario.tables
        self.periods, forest = periods, Forest(t)
        self.fed = (t.primary_lane >= 0) & ~t.is_supplier[:, None]
        lead = _leads(t)
        #: (N, C, P) see :func:`_ways`
        self.way = _ways(t, forest, lead)
        self.ahead = int(max(self.way.max(initial=0), 0))
        #: Each way > 0 with the (N, C, P) cells that have it
        self._ways = [(int(way), (self.way == way).astype(np.float64)) for way in np.unique(self.way) if way > 0]
        pooled = cover(t, forest, echelon=True)[1]
        ratio = np.where(pooled > 0, automatic_levels(scenario).deviation / np.where(pooled > 0, pooled, 1.0), 1.0)
        self.deviation = self._deviations(lead, scenario) * ratio
        #: (N, P) z of normal demand, whose slopes are taken, and how much wider demand is spread there than normal
        self.normal, sampled = _normal(scenario), factors
        usual = self.normal > 0.5
        self.stretch = np.where(usual, np.clip(sampled / np.where(usual, self.normal, 1.0), 0.5, 3.0), 1.0)
        source = np.where(t.primary_lane >= 0, t.lane_source[np.maximum(t.primary_lane, 0)], 0)
        holding_above = np.where(t.is_supplier[source], 0.0, t.holding_cost[source, np.arange(t.P)])
        own = t.holding_cost
        typical = own[self.fed].mean() if self.fed.any() else 1.0
        self.holding = np.maximum(own - holding_above, LEAST_HOLDING * np.where(own > 0, own, max(typical, 1e-6)))

    def _deviations(self, lead: Ints, scenario: Scenario) -> Floats:
        """(T, N, P) standard deviation of the demand that a target covers, what a forecast knows left out, and of lots."""
        t, T = self.tables, self.periods
        most = T + int(lead.max(initial=0)) + self.ahead + 2
        known = np.zeros(most)
        known[: t.F] = scenario.forecast.skill ** (np.arange(min(t.F, most)) + 1)
        unknown = np.append(0.0, np.cumsum(1 - known))  # of so many periods from now
        passed = np.minimum(np.arange(T)[:, None, None], lead) + 1  # (T, N, P)
        variance = np.zeros((T, t.N, t.P))
        for n, c, p in np.argwhere(self.way >= 0):
            variance[:, n, p] += t.demand_sd[c, p] ** 2 * unknown[passed[:, n, p] + self.way[n, c, p]]
        variance += _lots(t) ** 2 / 12  # of where an order of whole lots leaves the stock (positions.cover)
        return np.sqrt(variance)

    def mean(self, demand: Floats) -> Floats:
        """(T, N, P) mean demand until an echelon's stock has reached the customers; ``demand`` (T + ahead, C, P)."""
        T = self.periods
        total = np.append(np.zeros((1, *demand.shape[1:])), np.cumsum(demand, 0), 0)
        found = np.zeros((T, *self.fed.shape))
        now = np.arange(T) + 1
        for way, inside in self._ways:
            found += np.einsum("ncp,tcp->tnp", inside, total[now + way] - total[now])
        return found


class PlannedProgram(NetworkProgram):
    """A program with safety stock.

    Parameters
    ----------
    targets
        Of the scenario, for as many periods as ``lead_time`` has.
    lead_time
        (T, L) periods.
    safety_factors
        (N, P) z of each fed node; infinite ones have no target.
    margin
        Factor on all standard deviations, >= 0.
    """

    def __init__(self, targets: StockTargets, lead_time: Ints, safety_factors: Floats, margin: float) -> None:
        self.targets, self.margin = targets, margin
        self.chosen = targets.fed & np.isfinite(safety_factors) & (margin > 0)
        self.z = np.where(self.chosen, safety_factors, 0.0)
        # What is left at the end of a plan is a matter of the targets.
        super().__init__(targets.tables, lead_time, whole=False, terminal_value=np.zeros(targets.fed.shape))

    def _extend(self, assembly: Assembly) -> None:
        from scipy.special import ndtr

        t, T, cells = self.tables, self.periods, self.cells
        self.rows = assembly.rows(np.broadcast_to(self.chosen, (T, t.N, t.P)), np.inf)
        pieces = len(PIECES)
        self.short = assembly.columns(np.broadcast_to(self.chosen[..., None], (T, t.N, t.P, pieces)))
        assembly.add(self.rows[..., None], self.short, -1.0)
        ends = np.array(PIECES)
        middle = np.append((ends[:-1] + ends[1:]) / 2, ends[-1])  # (pieces,)
        z, holding = self.targets.normal[..., None], self.targets.holding[..., None]
        assembly.charge(self.short, holding * ndtr(-(z + middle)) / ndtr(-z))
        inside = t.echelon  # [n, m, p]
        for n in np.flatnonzero(self.chosen.any(1)):
            at = self.rows[:, n][:, None, :]  # (T, 1, P)
            own = np.where(inside[n][None], at, -1)  # (T, N, P)
            stays = ~(cells.mortal & (cells.life == 0))
            assembly.add(own[:, :, cells.product], self.stock.close, -1.0 * stays)
            waits = np.where(t.served_below(n)[None], at, -1)  # (T, C, P)
            service = self.service
            assembly.add(waits, service.waiting, 1.0)
            stay = np.where(cells.impatient, 1 - cells.lost_share, 0.0)
            assembly.add(waits, service.unserved, stay)
            assembly.add(waits[..., None], service.patient, np.arange(t.W) < t.patience[..., None])
        self._under_way(assembly)

    def _between(self) -> np.ndarray:
        """(N, L, P) whether a lane brings stock to a primary descendant of a node, not to itself."""
        t = self.tables
        return t.echelon[:, t.lane_target] & (np.arange(t.N)[:, None] != t.lane_target)[..., None]

    def _under_way(self, assembly: Assembly) -> None:
        between, T = self._between() & self.chosen[:, None], self.periods
        for period, lane, cell, column, factor in self.stock.entered:
            product, wait = self.cells.product[cell], self.lead_time[period, lane]
            for passed in range(int(wait.max(initial=0))):
                still = np.flatnonzero((wait > passed) & (period + passed < T))
                nodes, found = np.nonzero(between[:, lane[still], product[still]])
                i = still[found]
                assembly.add(self.rows[period[i] + passed, nodes, product[i]], column[i], -factor[i])

    def planned(self, outlook: Outlook, standing: Standing, demand: Floats) -> tuple[Floats, Floats]:
        """Right-hand sides of the targets' rows and widths of their pieces, as flat arrays."""
        t, T = self.tables, self.periods
        deviation = self.margin * self.targets.deviation  # (T, N, P)
        spread = deviation * self.targets.stretch
        top = self.targets.mean(demand) + self.z * deviation + PIECES[0] * spread
        units = standing.in_transit.sum(3)  # (L, P, K)
        due = standing.lead_time - np.arange(t.K) - 1  # (L, K)
        still = np.arange(T)[:, None, None] < due  # (T, L, K): in transit at the close of each period
        there = np.einsum("lpk,tlk->tlp", units, still.astype(np.float64))
        between = np.einsum("nlp,tlp->tnp", self._between().astype(np.float64), there)
        width = -np.diff(np.array(PIECES)) * spread[..., None]
        width = np.concatenate([width, np.full((*spread.shape, 1), np.inf)], -1)
        return between - top, width

    def plan(self, outlook: Outlook, standing: Standing, demand: Floats) -> LinearProblem:
        """The program of one world; ``demand`` (T + ahead, C, P) also of the periods that targets look at."""
        problem = self.problem(outlook, standing)
        rhs, width = self.planned(outlook, standing, demand)
        there = self.rows >= 0
        problem.row_upper[self.rows[there]] = rhs[there]
        problem.upper[self.short[there]] = width[there]
        return problem
