"""Response to a shock: the same worlds with and without it, differences world by world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.accounts.estimators import Ratio
from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.core.errors import InputError, expected, unknown
from echelongym.envs.core.typing import Floats
from echelongym.envs.interface.inventory_positions import longest_way
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods as simulated
from echelongym.envs.worlds.disruption import hits
from echelongym.envs.worlds.tape import Tape
from echelongym.envs.worlds.world_sample import ANY, Limits, WorldSample, sample_of, within

from .named import LaneCell, lane_cells

SETTLED = 0.05  # of the peak: what is smaller counts as over


@dataclass(frozen=True)
class Shock:
    """Shock: a change to every world in one period, or from it on."""

    kind: Literal["demand", "outage"]
    name: str  # customer (and product), or the node or lane that ships nothing
    place: tuple[int, ...]  # customer and product, or node, or lane
    array: str  # of the tape
    period: int  # the first
    length: int  # periods
    units: float  # of demand more, 0 for an outage

    @property
    def text(self) -> str:
        """Description of the shock, for titles."""
        if self.kind == "demand":
            return f"{self.units:.4g} units more demand of {self.name} in one period"
        return f"{self.name} ships nothing for {self.length} periods"

    def applied(self, tape: Tape) -> Tape:
        """A copy of the worlds with the shock in them; forecasts know nothing of it."""
        array = np.array(getattr(tape, self.array))
        start = self.period + (tape.history if self.kind == "demand" else 0)
        chosen: tuple[Any, ...] = (slice(start, start + self.length), slice(None), *self.place)
        rows = array[chosen]
        rows[...] = rows + self.units if self.kind == "demand" else 0
        return tape.replace(**{self.array: array})


def demand_shock(
    scenario: Scenario,
    customer: str | None = None,
    product: str | None = None,
    deviations: float = 2.0,
    period: int | None = None,
) -> Shock:
    """More demand of one customer in one period.

    Parameters
    ----------
    customer, product
        None: the customer, or its product, of the largest mean demand.
    deviations
        In standard deviations of a period's demand (of a quarter of the mean where it does not vary), at least one unit where
        units are whole.
    period
        None: a quarter of the way from the end of the warm-up.

    Raises
    ------
    InputError
        For a name or period that does not exist, or a customer without demand.
    """
    t = scenario.tables
    if not deviations > 0:
        raise expected("shock.deviations", deviations, "a number > 0")
    c = _number("shock.customer", customer, t.customers, t.mean_demand.sum(axis=1))
    p = _number("shock.product", product, t.products, t.mean_demand[c])
    if not t.mean_demand[c, p] > 0:
        raise InputError(f"shock: {t.customers[c]} asks for no {t.products[p]}: expected a customer with demand")
    spread = float(t.demand_sd[c, p]) or 0.25 * float(t.mean_demand[c, p])
    units = deviations * spread
    if t.integer:
        units = max(float(np.rint(units)), 1.0)
    name = t.customers[c] if t.P == 1 else f"{t.customers[c]}/{t.products[p]}"
    return Shock("demand", name, (c, p), "demand", _first(scenario, period), 1, units)


def outage(scenario: Scenario, name: str | None = None, length: int = 4, period: int | None = None) -> Shock | None:
    """A node or lane that ships nothing for some periods; None where the scenario has no outages and none is named.

    Parameters
    ----------
    name
        Of a node or lane; None: what a disruption of the scenario makes unavailable, the one of the largest mean flow.
    length, period
        Periods it lasts; the first one, None: as of :func:`demand_shock`.

    Raises
    ------
    InputError
        For a name or period that does not exist.
    """
    t = scenario.tables
    if length < 1:
        raise expected("shock.length", length, "a whole number >= 1")
    flow = np.where(t.primary_lane >= 0, t.mean_flow, 0.0)
    of_lane = np.array([flow[t.lane_target[k]][t.primary_lane[t.lane_target[k]] == k].sum() for k in range(t.L)])
    of_node = np.array([of_lane[t.lane_source == n].sum() for n in range(t.N)])
    if name is None:
        flows = {"nodes": of_node, "lanes": of_lane}
        affected = [
            (float(flows[hit.kind][i]), getattr(t, hit.kind)[i])
            for hit in hits(scenario, "availability")
            for i in hit.entities
        ]
        if not affected:
            return None
        name = max(affected, key=lambda one: one[0])[1]
    first = _first(scenario, period)
    if name in t.nodes:
        return Shock("outage", name, (t.nodes.index(name),), "node_availability", first, length, 0.0)
    if name in t.lanes:
        return Shock("outage", name, (t.lanes.index(name),), "lane_availability", first, length, 0.0)
    raise unknown("shock.outage", name, (*t.nodes, *t.lanes))


def _number(field: str, name: str | None, names: tuple[str, ...], weight: Floats) -> int:
    if name is None:
        return int(np.argmax(weight))
    if name not in names:
        raise unknown(field, name, names)
    return names.index(name)


def _first(scenario: Scenario, period: int | None) -> int:
    t = scenario.tables
    if period is None:
        return t.warm_up + (t.horizon - t.warm_up) // 4
    if not 0 <= period < t.horizon:
        raise expected("shock.period", period, f"a period from 0 to {t.horizon - 1}")
    return period


class Band(NamedTuple):
    """Means over worlds with 95 % intervals, arrays of one shape; ends are NaN where there is no interval."""

    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class Response:
    """Response, with the shock less without it; R periods, first that of the shock; n lane cells, N nodes, P products.

    Attributes
    ----------
    requests : (R, n) units.
    on_hand : (R, N) units at the start of the period, all products.
    waiting : (R,) units of all customers that wait at the start of the period.
    fill_rate : (R,) share of new demand that is served at once, all customers.
    cost : (R,) money, revenue taken off; terminal value left out.
    total_requests : (n,) units over all R periods.
    total_cost : () money over all R periods.
    peak : (n,) the largest mean difference of requests, by size.
    peak_after : (n,) periods after the shock began.
    settled_after : (n,) periods after which the mean difference stays below 5 % of the peak.
    sample : what the worlds are a sample of, and so what the intervals are about.
    """

    shock: Shock
    cells: tuple[LaneCell, ...]
    nodes: tuple[str, ...]
    requests: Band
    on_hand: Band
    waiting: Band
    fill_rate: Band
    cost: Band
    total_requests: Band
    total_cost: Band
    sample: WorldSample

    @property
    def peak(self) -> Floats:
        """(n,) units."""
        mean = self.requests.mean
        return np.asarray(mean[self.peak_after, np.arange(mean.shape[1])])

    @property
    def peak_after(self) -> NDArray[np.int64]:
        """(n,) periods."""
        return np.abs(self.requests.mean).argmax(axis=0)

    @property
    def settled_after(self) -> NDArray[np.int64]:
        """(n,) periods; R where it has not settled."""
        size = np.abs(self.requests.mean)
        there = size >= np.maximum(SETTLED * size.max(axis=0), 1e-9)
        last = len(size) - there[::-1].argmax(axis=0)
        return np.where(there.any(axis=0), last, 0)


def respond(
    scenario: Scenario,
    policy: Callable[[Observation], Decision],
    shock: Shock,
    worlds: int = 128,
    seed: int = 7,
    periods: int | None = None,
    purpose: str = "test",
    progress: Callable[[int, int], None] | None = None,
) -> Response:
    """Run a policy over common worlds with and without a shock.

    Parameters
    ----------
    worlds, seed, purpose
        Of the worlds.
    periods
        R; None: twice the longest way of goods through the network, and twenty more; never beyond the horizon.
    progress
        Called with (periods done, periods in all).
    """
    count = 2 * longest_way(scenario.tables) + 20 + shock.length - 1 if periods is None else periods
    count = min(count, scenario.horizon - shock.period)
    sample = sample_of(scenario, worlds, seed, purpose, shock.period + count)
    tape = scenario.sample(sample.worlds, seed, purpose, shock.period + count)
    total = 2 * tape.periods
    plain = _run(scenario, policy, tape, shock.period, progress, 0, total)
    hit = _run(scenario, policy, shock.applied(tape), shock.period, progress, tape.periods, total)
    apart = {name: hit[name] - plain[name] for name in plain}
    nodes = ~scenario.tables.is_supplier
    return Response(
        shock=shock,
        cells=lane_cells(scenario.tables),
        nodes=tuple(name for name, kept in zip(scenario.tables.nodes, nodes, strict=True) if kept),
        requests=_band(apart["requests"], sample),
        on_hand=_band(apart["on_hand"][:, nodes], sample),
        waiting=_band(apart["waiting"], sample),
        fill_rate=_rates(hit, plain, sample),
        cost=_band(apart["cost"], sample),
        total_requests=_band(apart["requests"].sum(axis=0), sample),
        total_cost=_band(apart["cost"].sum(axis=0), sample),
        sample=sample,
    )


def _run(
    scenario: Scenario,
    policy: Callable[[Observation], Decision],
    tape: Tape,
    first: int,
    progress: Callable[[int, int], None] | None,
    done: int,
    total: int,
) -> dict[str, Floats]:
    """What happened from period ``first`` on: (R, ..., B) by name."""
    t = scenario.tables
    ledger = Ledger(t)
    picked = np.argwhere(t.lane_open)
    lanes, products = picked[:, 0], picked[:, 1]
    kept: dict[str, list[Any]] = {}
    for period, observation, flows, _ in simulated(scenario, policy, tape):
        if period >= first:
            found = {
                "requests": flows.requests[lanes, products],
                "on_hand": np.moveaxis(observation.on_hand.sum(axis=(2, 3)), 0, -1),
                "waiting": observation.backlog.sum(axis=(1, 2, 3)),
                "served": flows.served_new.sum(axis=(0, 1)),
                "demand": flows.demand.sum(axis=(0, 1)),
                "cost": ledger.net_cost(ledger.period(flows)),
            }
            for name, value in found.items():
                kept.setdefault(name, []).append(np.array(value, dtype=np.float64))
        if progress is not None:
            progress(done + period + 1, total)
    return {name: np.stack(values) for name, values in kept.items()}


def _band(values: Floats, sample: WorldSample, limits: Limits = ANY) -> Band:
    """Means over the last axis, worlds, with what these say of other worlds."""
    mean = np.asarray(values.mean(axis=-1))
    rows = (values - mean[..., None]).reshape(-1, values.shape[-1])
    ends = [within(float(one), sample.half(row), limits) for one, row in zip(mean.ravel(), rows, strict=True)]
    low, high = np.array(ends).reshape(-1, 2).T.reshape(2, *mean.shape)
    return Band(mean, low, high)


def _rates(hit: dict[str, Floats], plain: dict[str, Floats], sample: WorldSample) -> Band:
    """Difference of two fill rates in the same worlds, by the delta method; 0 where nothing is asked for."""
    found = []
    for row in range(len(hit["served"])):
        one, other = (Ratio(run["served"][row], run["demand"][row]) for run in (hit, plain))
        if not (one.denominator.any() and other.denominator.any()):
            found.append(Band(np.zeros(()), np.zeros(()), np.zeros(())))
            continue
        apart = one.pooled - other.pooled + one.residuals() - other.residuals()
        found.append(_band(apart, sample, (-1.0, 1.0)))
    return Band(*(np.array([float(part[i]) for part in found]) for i in range(3)))
