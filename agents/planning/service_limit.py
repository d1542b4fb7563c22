"""Upper bounds on service: targets beyond them are reported before a rule is tuned for them.

An upper limit for every customer by itself, as if all else in the network were there for it alone and all of the future
known. In each world, period by period and for every node and product:

- the latest period in which units now on hand there can have left a supplier (or entered as a return, or stood at the
  start), over lanes and nodes that are available, with the lead times of the world; older ones would be spent if their
  shelf life is over;
- the most units that can have come there so far, by the capacities of lanes and nodes and by what all suppliers can have
  shipped.

Demand of a period is within reach of a source that holds usable units and is available; of a later source only the share
that follows there (``acceptance``). What every customer takes from the others, and whole units, batches, yields and calendars
are left out, so every policy serves less. It takes a pass over the periods, all worlds at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from echelongym.envs.accounts.estimators import Ratio
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.record_statement import playable
from echelongym.envs.worlds.tape import Tape
from echelongym.envs.worlds.world_sample import SHARE, sample_of

from ..service_targets import Target, targets_of

#: Worlds that a limit is computed in, where nobody says; fewer of large networks.
WORLDS = 64
_NUMBERS = 20_000_000  # worlds x periods x lanes x products at most
_NEVER = -(2**40)  # a period long ago

KINDS = ("fill_rate", "no_stockout_rate", "served_within")


@dataclass(frozen=True)
class ServiceLimit:
    """Upper bound of any policy on a service figure, and whether its target lies beyond that."""

    target: Target
    estimate: dict[str, Any]  # mean and ci95 of the limit over worlds
    worlds: int

    @property
    def beyond_reach(self) -> bool:
        """Whether the target lies above the limit and its interval."""
        high = self.estimate["ci95"][1]
        known = self.estimate["mean"] if high is None or high != high else high
        return bool(known < self.target.value)

    @property
    def text(self) -> str:
        """One line for a user."""
        low, high = self.estimate["ci95"]
        ends = "" if low is None or low != low else f" [{low:.3f}, {high:.3f}]"
        worlds = f"{self.worlds} world{'s' if self.worlds > 1 else ''}"
        return (
            f"Target {self.target.name} >= {self.target.value:g} is beyond reach: no policy gets above "
            f"{self.estimate['mean']:.3f}{ends}, by outages, lead times, shelf lives and capacities alone ({worlds})."
        )

    def to_dict(self) -> dict[str, Any]:
        """The form of a summary."""
        limit = {"mean": self.estimate["mean"], "ci95": self.estimate["ci95"]}
        return {
            "name": self.target.name,
            "target": self.target.value,
            "limit": limit,
            "beyond_reach": self.beyond_reach,
        }


def service_limits(
    scenario: Scenario, worlds: int = WORLDS, seed: int = 0, purpose: str = "tune", periods: int | None = None
) -> list[ServiceLimit]:
    """Limits of every target of service, in the order of the scenario; other kinds of target have none.

    Parameters
    ----------
    scenario, worlds, seed, purpose, periods
        As of :meth:`Scenario.sample`; of large networks fewer worlds are taken.

    Raises
    ------
    InputError
        Where the scenario leaves no period of a record to the purpose, or no more than the warm-up.
    """
    targets = [target for target in targets_of(scenario) if target.kind in KINDS and target.customer is not None]
    if not targets:
        return []
    t = scenario.tables
    count = playable(scenario, purpose, periods)
    if count <= t.warm_up:
        raise expected("warm_up", t.warm_up, f"less than the {count} periods", scenario.name)
    worlds = min(worlds, max(_NUMBERS // (count * max(t.L, t.N) * t.P), 2))
    sample = sample_of(scenario, worlds, seed, purpose, count)
    tape = scenario.sample(sample.worlds, seed, purpose, count).check(scenario)
    ratios = most_served(t, tape, targets)
    return [
        ServiceLimit(target, ratio.estimate(sample), sample.worlds)
        for target, ratio in zip(targets, ratios, strict=True)
    ]


def most_served(t: Tables, tape: Tape, targets: Sequence[Target]) -> list[Ratio]:
    """The figure of each target (of a kind in ``KINDS``, by customer) that no policy exceeds, world by world."""
    customers = sorted({t.customers.index(str(target.customer)) for target in targets})
    reach = within_reach(t, tape, customers)
    found = []
    for target in targets:
        row = customers.index(t.customers.index(str(target.customer)))
        found.append(_limit(t, tape, target, Reach(reach.share[:, row], reach.units[:, row])))
    return found


class Reach(NamedTuple):
    """Reachable service of some customers, period first, worlds last."""

    share: Floats  # (T, C, P, B) share of the period's demand that some source can serve
    units: Floats  # (T, C, P, B) units that can have come to their sources so far; may be infinite


def within_reach(t: Tables, tape: Tape, customers: Sequence[int]) -> Reach:
    """Demand that can be served to each of some customers, by their numbers, in every period of every world."""
    turned = (np.moveaxis(array, 1, -1) for array in (tape.lead_time, tape.node_availability, tape.lane_availability))
    lead_time, node_there, lane_there = turned
    T, B = tape.periods, tape.batch
    shape, flow = (t.N, t.P, B), (t.L, t.P, B)
    life = np.where(t.shelf_life > 0, t.shelf_life, -_NEVER)[:, None]  # (P, 1)
    slots = max(int(lead_time.max(initial=0)), t.K) + 1
    arriving = np.full((slots, *shape), _NEVER)
    landing = np.zeros((slots, *flow))  # units that left so far and are there by then
    fresh = np.where(t.initial_on_hand > 0, 0, _NEVER)[..., None] + np.zeros(shape, dtype=np.int64)
    start = t.initial_on_hand[..., None] + np.zeros(shape)
    for lane in range(t.L):
        for slot in range(t.K):
            units, due = t.initial_in_transit[lane, :, slot], int(t.nominal_lead_time[lane]) - slot - 1
            there = units > 0
            if there.any() and 0 <= due < slots:
                cell = arriving[due, t.lane_target[lane]]
                cell[there] = np.maximum(cell[there], -(slot + 1))
                start[t.lane_target[lane], there] += units[there, None]
    left, there_by = np.zeros(flow), np.zeros(flow)
    source, returns = np.maximum(t.lane_source, 0), t.lane_customer >= 0
    supplied = returns | t.is_supplier[source]
    rows = (t.lane_target[:, None, None], np.arange(t.P)[None, :, None], np.arange(B)[None, None, :])
    share, units = np.zeros((2, T, len(customers), t.P, B))
    choices = _choices(t, customers)
    for period in range(T):
        slot = period % slots
        fresh = np.maximum(fresh, arriving[slot])
        arriving[slot] = _NEVER
        there_by = np.maximum(there_by, landing[slot])
        landing[slot] = 0.0
        coming = _sum_into(start, t, there_by)
        fresh[t.is_supplier] = period
        coming[t.is_supplier] = np.inf
        fresh = np.where(period - fresh >= life, _NEVER, fresh)
        # Ship: what a lane can have taken so far, and the freshest of it.
        most = np.minimum(
            _scaled(t.lane_capacity, lane_there[period]), _scaled(t.node_capacity, node_there[period])[source]
        )
        most = np.where(returns[:, None], np.inf, most)
        opened = t.lane_carries[..., None] & (most > 0)[:, None]
        left = np.minimum(
            left + np.where(opened, most[:, None] / t.volume[:, None], 0.0), _above(coming, source, returns)
        )
        total = start.sum(axis=0) + np.where(supplied[:, None, None], left, 0.0).sum(axis=0)
        age = np.where(opened, np.where(returns[:, None, None], period, fresh[source]), _NEVER)
        lead = lead_time[period]
        due = ((period + lead) % slots)[:, None]
        later = np.broadcast_to((lead > 0)[:, None], flow)
        np.maximum.at(arriving, (due + np.zeros(flow, np.int64), *rows), np.where(later, age, _NEVER))
        place = (due + np.zeros(flow, np.int64), np.arange(t.L)[:, None, None], rows[1], rows[2])
        landing[place] = np.maximum(landing[place], np.where(later, left, 0.0))
        np.maximum.at(fresh, rows, np.where(later, _NEVER, age))
        there_by = np.maximum(there_by, np.where(later, 0.0, left))
        coming = np.minimum(_sum_into(start, t, there_by), total)
        coming[t.is_supplier] = np.inf
        usable = (period - fresh < life) & (node_there[period] > 0)[:, None]
        for rows_of, sources, carries, follows in choices:
            there = usable[sources] & carries
            share[period, rows_of] = np.where(there & (share[period, rows_of] == 0), follows, share[period, rows_of])
            units[period, rows_of] += np.where(carries, coming[sources], 0.0)
    return Reach(share, units)


def _scaled(capacity: Floats, availability: Floats) -> Floats:
    """(entities, B) volume a period; no capacity and no availability are nothing."""
    there = availability > 0
    return np.where(there, capacity[:, None] * np.where(there, availability, 1.0), 0.0)


def _above(coming: Floats, source: Any, returns: Any) -> Floats:
    """(L, P, B) units that can have come to the source of each lane."""
    found = coming[source]
    found[returns] = np.inf
    return found


def _sum_into(start: Floats, t: Tables, there_by: Floats) -> Floats:
    """(N, P, B) units at the start and over all lanes."""
    found = start.copy()
    np.add.at(found, t.lane_target, there_by)
    return found


class _Choice(NamedTuple):
    """The k-th sources of the customers who have so many, M of them."""

    rows: Any  # (M,) places of the customers
    sources: Any  # (M,)
    carries: Any  # (M, P, 1) whether the source has the product
    follows: Floats  # (M, P, 1) share of demand that gets there


def _choices(t: Tables, customers: Sequence[int]) -> list[_Choice]:
    """Sources of customers in the order of choice, and the share of a period's demand that gets to each."""
    found: dict[int, list[tuple[int, int, Any, Any]]] = {}
    for row, customer in enumerate(customers):
        follows = np.ones((t.P, 1))
        for k, s in enumerate(np.flatnonzero(t.pair_customer == customer)):
            carries = t.pair_carries[s][:, None]
            accepted = np.where(t.by_coin[s], 1.0, t.acceptance[s])[:, None]  # any number of coins may show heads
            follows = np.where(carries & (t.pair_rank[s] > 0)[:, None], follows * accepted, follows)
            found.setdefault(k, []).append((row, int(t.pair_source[s]), carries, follows))
    return [_Choice(*(np.array(part) for part in zip(*found[k], strict=True))) for k in sorted(found)]


def _limit(t: Tables, tape: Tape, target: Target, reach: Reach) -> Ratio:
    """The figure of a target at its best, over reported periods."""
    customer = t.customers.index(str(target.customer))
    demand = np.moveaxis(np.asarray(tape.demand[tape.history :, :, customer], dtype=np.float64), 1, -1)  # (T, P, B)
    share, units, first = reach.share, reach.units, t.warm_up
    if target.kind == "no_stockout_rate":
        possible = (_shares(t, share, demand) >= demand * (1 - 1e-9)) & (demand <= units * (1 + 1e-9))
        held = np.asarray(possible.all(axis=1), dtype=np.float64)[first:]
        return Ratio(held.sum(axis=0), np.full(held.shape[1], float(len(held))), SHARE)
    served, asked = np.zeros(demand.shape[1:]), np.zeros(demand.shape[1:])
    waits = bool((t.lost_share < 1).any())
    for p in range(t.P):
        window = target.window if target.kind == "served_within" and waits else 0
        if t.patience[customer, p] >= 0:
            window = min(window, int(t.patience[customer, p]))
        served[p], asked[p] = _within(t, demand[:, p], share[:, p], units[:, p], window, first)
    return Ratio(served.sum(axis=0), asked.sum(axis=0), SHARE)


def _within(t: Tables, demand: Floats, share: Floats, units: Floats, window: int, first: int) -> tuple[Floats, Floats]:
    """(B,) units of one product that can be served within a window, and the demand that counts; arguments (T, B)."""
    last = len(demand) - window
    if window:
        # Who waits comes before new demand, so a later source may serve all of it.
        later = np.max([share[w : w + last] for w in range(1, window + 1)], axis=0)
        share = np.where(later > 0.0, 1.0, share[:last])
    reachable, units = _shares(t, share, demand[:last]), units[window:]
    served = np.zeros(demand.shape[1])
    for period in range(first, last):
        served = served + np.minimum(reachable[period], np.maximum(units[period] - served, 0.0))
    return served, demand[first:last].sum(axis=0)


def _shares(t: Tables, share: Floats, demand: Floats) -> Floats:
    """Units within reach; a share of whole units may be rounded up."""
    found = share * demand
    return np.asarray(np.ceil(found - 1e-9) if t.integer else found)
