"""Key performance indicators of a run: collected period by period, by world, and over all worlds.

What each one means is in :mod:`echelongym.envs.accounts.kpi_definitions`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.backend import NUMPY, NumpyOps, ops_of
from ..core.typing import Floats
from ..dynamics.rounding import is_single, short_of
from ..dynamics.state import Flows
from ..network.tables import Tables
from ..worlds.world_sample import WorldSample
from .bullwhip import Orders, tiers_of
from .estimators import Figure, Largest, Ratio, Spread
from .kpi_definitions import ECHELON, NETWORK, SERVICE, Totals, served_within
from .ledger import Fleet, Ledger
from .waiting_times import Waiting

if TYPE_CHECKING:
    from ..scenario.scenario import Scenario

# Numbers of one flow gathered before they are worked on: one world is bound by the number of array
# operations, so its periods are handled many at a time; a large batch is handled at once.
GATHERED = 16_384
MOST_PERIODS = 64


def windows(scenario: Scenario) -> tuple[int, ...]:
    """Periods w for which service within w is reported: 1, 2, and those of customers' targets."""
    asked = [customer.targets.served_within for customer in scenario.customers.values()]
    return tuple(sorted({1, 2, *(target.periods for target in asked if target is not None)}))


@dataclass(frozen=True, eq=False)
class Kpis:
    """Key performance indicators: ``total``, by ``customer``, ``segment``, ``region``, of ``network``, by ``echelon``.

    ``figures["region"]["north"]["fill_rate"]`` is a ``Ratio`` over worlds;
    ``figures["total"]`` and ``figures["network"]`` have no names between.
    """

    figures: dict[str, Any]

    def by_world(self) -> dict[str, Any]:
        """Nested dict of the figures in each world, (B,) arrays."""
        return _each(self.figures, lambda figure: figure.by_world())

    def aggregate(self, sample: WorldSample | None = None) -> dict[str, Any]:
        """Nested dict of ``{"mean": float, "ci95": [low, high]}`` over all worlds.

        Means of rates are ratios of sums over worlds; see :mod:`estimators`. ``sample`` says what the
        worlds are a sample of; None: they are independent.
        """
        return _each(self.figures, lambda figure: figure.estimate(sample))


def _each(figures: dict[str, Any], function: Any) -> dict[str, Any]:
    return {
        name: _each(entry, function) if isinstance(entry, dict) else function(entry) for name, entry in figures.items()
    }


def _wanted(tables: Tables) -> dict[str, int]:
    """Flows to add up, with their numbers of entities.

    Nothing is added up twice: where nobody waits, what is not served at once is lost; where each
    customer has one source, the first serves all; where nobody loses patience, what is lost is lost
    at once.
    """
    t = tables
    sizes = {"demand": t.C, "served_new": t.C, "shipped": t.L, "requests": t.L, "on_hand": t.N}
    sizes["disposed"] = t.N
    waits, several = bool((t.lost_share < 1).any()), t.S != t.C
    if t.max_lead_time.any():
        sizes["in_transit"] = t.L
    if (t.lane_customer >= 0).any():
        sizes["recovered"] = t.L
    if several:
        sizes["served_first"] = t.C
    if several or waits:
        sizes["served"] = t.S
    if waits:
        sizes["backlog"] = t.C
        if t.lost_share.any() or (t.patience >= 0).any():
            sizes["lost_new"] = t.C
            if t.W > 1:
                sizes["lost"] = t.C
    return sizes


class KpiAccumulator:
    """Collects flows of the periods reported (the caller leaves the warm-up out).

    Flows are read when they are added, so their memory may be used again. Figures of a world are
    the same to the last bit alone and in a batch.

    Parameters
    ----------
    tables
        The compiled scenario.
    worlds
        Number of worlds B.
    within
        Periods w for which service within w is wanted; see :func:`windows`.
    first_period
        Period of the scenario that is added first, after a reset too: days of calendars count from period 0.

    Example
    -------
    >>> kpis = KpiAccumulator(scenario.tables, worlds=512, within=windows(scenario))
    >>> kpis.add(flows)  # once a period
    >>> kpis.result()["total"]["fill_rate"]  # (512,)
    >>> kpis.figures().aggregate()["total"]["fill_rate"]["ci95"]
    """

    def __init__(self, tables: Tables, worlds: int, within: tuple[int, ...] = (1, 2), first_period: int = 0) -> None:
        t = tables
        self.tables, self.within = t, tuple(within)
        self._ledger = Ledger(t, NUMPY)
        self._sizes = sizes = _wanted(t)
        self.waits = "backlog" in sizes
        self._fields = [Flows._fields.index(name) for name in sizes]
        ends = np.cumsum(list(sizes.values()))
        self._places = {
            name: slice(int(end) - size, int(end)) for (name, size), end in zip(sizes.items(), ends, strict=True)
        }
        moving = np.isfinite(t.vehicle_volume) | (t.distance_km > 0)
        moving |= (t.lane_fixed_cost > 0) | (t.lane_fixed_emissions > 0)
        self.moving = np.flatnonzero(moving)
        self.orders = Orders(t, worlds, first_period)
        self._clear(worlds)

    def like(self, worlds: int) -> KpiAccumulator:
        """Another accumulator of the same scenario, for B worlds and empty; quicker than making one anew."""
        other = copy.copy(self)
        other.orders = self.orders.like(worlds)
        other._clear(worlds)
        return other

    def _clear(self, worlds: int) -> None:
        """New memory for B worlds."""
        t, sizes, self.worlds = self.tables, self._sizes, worlds
        self._nothing = [np.broadcast_to(0.0, (size, t.P, worlds)) for size in sizes.values()]
        numbers = max(max(sizes.values()) * t.P * worlds, 1)
        self._most = min(max(GATHERED // numbers, 1), MOST_PERIODS)
        self._held = 0
        # All flows of a period stand in one row; row 0 of a block is their total so far.
        rows = self._most + 1 if self._most > 1 else 1
        self._block = np.zeros((rows, sum(sizes.values()), t.P, worlds))
        self.sums = {name: self._block[0, place] for name, place in self._places.items()}
        self.counts_under_way = "in_transit" in sizes
        self._stockouts = np.zeros((t.C, worlds))
        self._periods = np.zeros(worlds)
        self._vehicles = np.zeros((len(self.moving), worlds))
        self.waiting: Waiting | None = None
        self._seen: Any = None  # the type of the flows added last
        self._arithmetic(NUMPY)

    def _arithmetic(self, ops: NumpyOps) -> None:
        """Count as the flows were computed: in their type, with what rounding leaves behind in it."""
        t, self._ops = self.tables, ops
        self._fleet = Fleet(t, ops, self.moving)
        #: Units below which nobody is short and nobody waits: one number, or (C, 1, 1).
        dust = short_of(t, ops.float)
        self._dust: Any = dust if isinstance(dust, float) else dust[:, None, None]
        if self.waiting is not None:
            self.waiting.dust = self._dust
        self.orders.count_in(ops.float)

    def add(self, flows: Flows) -> None:
        """Add one period."""
        if not isinstance(flows.demand, np.ndarray):
            off = ops_of(flows.demand).numpy
            flows = Flows(*(None if value is None else off(value) for value in flows))
        values = self._wanted_of(flows)
        self._counting(flows.demand.dtype)
        if self._most > 1:
            self._held += 1
            np.concatenate(values, out=self._block[self._held])
            if self._held == self._most:
                self._work()
            return
        for total, value, nothing in zip(self.sums.values(), values, self._nothing, strict=True):
            if value is not nothing:
                np.add(total, value, out=total)
        self._take({name: value[None] for name, value in zip(self.sums, values, strict=True)})

    def take_over(
        self, worlds: slice, periods: int, stockouts: Floats, vehicles: Floats, under_way: bool, dtype: Any = np.float64
    ) -> None:
        """Take over what was counted elsewhere of some worlds: (C, worlds) and (moving lanes, worlds).

        ``sums``, ``orders`` and ``waiting`` are taken over by who calls. Nothing can be added afterwards.
        """
        self._counting(dtype)
        if self.waits and self.waiting is None:
            self.waiting = Waiting(self.tables, self.worlds, self.within, self._dust)
        self._periods[worlds] = periods
        self._stockouts[..., worlds] = stockouts
        self._vehicles[..., worlds] = vehicles
        self.counts_under_way = under_way

    def row(self, flows: Flows) -> Any:
        """(entities, P, B) what is counted of a period, as one array: for :meth:`add_rows`."""
        values, dtype = self._wanted_of(flows), flows.demand.dtype
        # Zeros in the flows' type, which would be wider with them.
        pairs = zip(values, self._nothing, strict=True)
        return NUMPY.concat([value.astype(dtype) if value is nothing else value for value, nothing in pairs], 0)

    def add_rows(self, rows: Any, dtype: Any) -> None:
        """Add periods of which each is a :meth:`row`, of flows whose demand has a type: (periods, entities, P, B)."""
        self._counting(dtype)
        rows = rows.reshape((-1, *self._block.shape[1:]))
        done = 0
        while done < len(rows):
            some = rows[done : done + self._most - self._held]
            done += len(some)
            if self._most > 1:
                self._block[self._held + 1 : self._held + 1 + len(some)] = some
                self._held += len(some)
                if self._held == self._most:
                    self._work()
            else:
                self._block[0] += some[0]
                self._take({name: some[:, place] for name, place in self._places.items()})

    def _wanted_of(self, flows: Flows) -> list[Any]:
        """The flows counted, one after the other; zeros where one is not there."""
        if flows.in_transit is None:
            self.counts_under_way = False
        return [
            nothing if flows[i] is None else flows[i] for i, nothing in zip(self._fields, self._nothing, strict=True)
        ]

    def _counting(self, dtype: Any) -> None:
        """Count in the arithmetic of flows of a type."""
        if self._seen is None or dtype != self._seen:  # a name takes microseconds to look at
            self._seen = dtype
            if is_single(dtype) != is_single(self._ops.float):
                self._work()
                self._arithmetic(NumpyOps(np.float32) if is_single(dtype) else NUMPY)

    def reset(self, worlds: Any = None) -> None:
        """Clear the sums: of all worlds, or of those marked in (B,) bool."""
        self._work()
        chosen = np.ones(self.worlds, dtype=bool) if worlds is None else np.asarray(worlds)
        for array in (self._block[0], self._stockouts, self._periods, self._vehicles):
            array[..., chosen] = 0
        self.orders.reset(chosen)
        if self.waiting is not None:
            self.waiting.reset(chosen)

    def _work(self) -> None:
        """Take in the periods held."""
        if self._held:
            block, self._held = self._block[: self._held + 1], 0
            block[0] = NUMPY.total(block, 0)
            self._take({name: block[1:, place] for name, place in self._places.items()})

    def _take(self, rows: dict[str, Floats]) -> None:
        """Everything that is no plain sum, of some periods (periods, entities, P, B)."""
        demand = rows["demand"]
        count = len(demand)
        self._periods += count
        unserved = demand - rows["served_new"]
        short = np.asarray(unserved > self._dust)
        short = short[:, :, 0] if self.tables.P == 1 else np.asarray(short.any(axis=2))
        self._stockouts += short[0] if count == 1 else short.sum(axis=0)
        if self._fleet.size:
            moved = rows["shipped"][:, self._fleet.lanes]
            if "recovered" in rows:
                moved = moved + rows["recovered"][:, self._fleet.lanes]
            if is_single(self._ops.float):
                moved = moved.astype(np.float32)  # as the ledger counts
            self._vehicles += self._fleet.vehicles(moved).sum(axis=0)
        self.orders.add(rows["requests"], rows["shipped"], demand)
        if self.waits:
            if self.waiting is None:
                self.waiting = Waiting(self.tables, self.worlds, self.within, self._dust)
            backlog = standing = rows["backlog"]
            lost_new = rows.get("lost_new")
            if lost_new is not None:
                unserved = unserved - lost_new
                if "lost" in rows:
                    standing = backlog + (rows["lost"] - lost_new)
            self.waiting.add(demand, lost_new, unserved, standing, backlog)

    def _totals(self) -> Totals:
        self._work()
        t, sums = self.tables, self.sums
        demand, served_new = sums["demand"], sums["served_new"]
        lost_new = demand - served_new
        if self.waits:
            lost_new = sums.get("lost_new", np.zeros(demand.shape))
        lost = sums.get("lost", lost_new)
        longest = np.zeros((t.C, self.worlds))
        waiting = self.waiting
        if waiting is None:
            at_once = (NUMPY.total(served_new, 1), NUMPY.total(demand, 1))
            within = dict.fromkeys(self.within, at_once)
        else:
            longest = waiting.longest.max(axis=1).astype(np.float64)
            within = {w: waiting.served_within(w, demand, lost_new) for w in self.within}
        vehicles, loaded = np.zeros((t.L, self.worlds)), np.zeros((t.L, self.worlds))
        vehicles[self._fleet.lanes] = self._vehicles
        recovered = sums.get("recovered")
        moved = sums["shipped"] if recovered is None else sums["shipped"] + recovered
        given = np.isfinite(t.vehicle_volume)[:, None]
        loaded = np.where(given, NUMPY.total(moved * t.volume[:, None], 1), 0.0)
        order_variance, demand_variance = self.orders.variances()
        if not t.max_lead_time.any():
            in_transit: Floats | None = np.zeros((t.L, t.P, self.worlds))
        else:
            in_transit = sums["in_transit"] if self.counts_under_way else None
        return Totals(
            tables=t,
            ledger=self._ledger,
            periods=self._periods,
            demand=demand,
            served_new=served_new,
            served_first=sums.get("served_first", served_new),
            stockouts=self._stockouts,
            lost=lost,
            lost_new=lost_new,
            backlog=sums.get("backlog", np.zeros(demand.shape)),
            longest=longest,
            within=within,
            served=sums.get("served", served_new),
            shipped=sums["shipped"],
            recovered=recovered,
            in_transit=in_transit,
            on_hand=sums["on_hand"],
            disposed=sums["disposed"],
            vehicles=vehicles,
            loaded=loaded,
            order_variance=order_variance,
            demand_variance=demand_variance,
            tier=tiers_of(t),
        )

    def _service(self, totals: Totals) -> dict[str, Ratio | Largest]:
        """By customer, each (C, B)."""
        service = {name: function(totals) for name, function in SERVICE.items()}
        return service | {f"served_within_{w}": served_within(totals, w) for w in self.within}

    def _groups(self, totals: Totals, service: dict[str, Ratio | Largest]) -> dict[str, Any]:
        """All figures but those by customer."""
        t = self.tables

        def over(rows: Any) -> dict[str, Figure]:
            return {name: figure.over(rows) for name, figure in service.items()}

        groups: dict[str, Any] = {"total": over(slice(None))}
        for key in ("segment", "region"):
            labels = getattr(t, key)
            groups[key] = {
                label: over(NUMPY.index(np.flatnonzero([other == label for other in labels])))
                for label in dict.fromkeys(labels)
            }
        regions = [region["fill_rate"] for region in groups["region"].values()]
        groups["total"]["fill_rate_spread"] = Spread(tuple(regions))
        groups["network"] = {name: function(totals) for name, function in NETWORK.items()}
        groups["echelon"] = {
            str(tier): {name: function(totals, tier) for name, function in ECHELON.items()}
            for tier in self.orders.tiers
        }
        return groups

    def figures(self) -> Kpis:
        """The figures so far, by world and over all."""
        totals = self._totals()
        service = self._service(totals)
        customers = {
            customer: {name: figure.over(slice(c, c + 1)) for name, figure in service.items()}
            for c, customer in enumerate(self.tables.customers)
        }
        return Kpis({"customer": customers, **self._groups(totals, service)})

    def result(self) -> dict[str, Any]:
        """Figures of each world: nested dict of (B,) arrays; see :class:`Kpis`."""
        totals = self._totals()
        service = self._service(totals)
        # Many customers at once, as this runs at the end of every episode of an environment.
        values = {name: figure.by_world() for name, figure in service.items()}
        customers = {
            customer: {name: value[c] for name, value in values.items()}
            for c, customer in enumerate(self.tables.customers)
        }
        return {"customer": customers, **Kpis(self._groups(totals, service)).by_world()}
