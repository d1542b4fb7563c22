"""Random flows of a few periods, not from the dynamics: queues are played by lists of cohorts, everything else is drawn.

Amounts are quarters of a unit, so sums are exact and a truth can be compared without dust.
"""

from types import SimpleNamespace

import numpy as np

from echelongym.envs.dynamics.state import Flows


def quarters(rng, high, shape):
    """Multiples of 1/4 from 0 to `high`, a third of them 0."""
    return rng.integers(0, 4 * high + 1, shape) / 4 * (rng.random(shape) < 2 / 3)


class Queue:
    """One customer, product and world: demand served first in, first out by a random amount a period."""

    def __init__(self, lost_share, patience):
        self.lost_share, self.patience = lost_share, patience  # patience None = unlimited
        self.cohorts = []  # of every period: units by what became of them

    def play(self, demand, capacity):
        """One period: what was served, served at once, lost at once, lost, and waits."""
        now = len(self.cohorts)
        joined = SimpleNamespace(period=now, demand=demand, served={}, lost={}, waiting=demand)
        self.cohorts.append(joined)
        left = capacity
        for cohort in self.cohorts:
            taken = min(cohort.waiting, left)
            if taken:
                cohort.served[now - cohort.period] = taken
            cohort.waiting -= taken
            left -= taken
        at_once = joined.served.get(0, 0.0)
        lost = joined.waiting if self.patience == 0 else joined.waiting * self.lost_share
        if lost:
            joined.lost[0] = lost
        joined.waiting -= lost
        lost_new = lost
        for cohort in self.cohorts[:-1]:
            if self.patience is not None and now - cohort.period >= self.patience and cohort.waiting:
                cohort.lost[now - cohort.period] = cohort.waiting
                lost += cohort.waiting
                cohort.waiting = 0.0
        return capacity - left, at_once, lost_new, lost, sum(cohort.waiting for cohort in self.cohorts)


def random_periods(tables, rng, worlds, periods):
    """A list of Flows, and the queues (C, P, B) that made them."""
    t = tables
    queues = np.empty((t.C, t.P, worlds), dtype=object)
    for c, p, b in np.ndindex(queues.shape):
        patience = int(t.patience[c, p])
        queues[c, p, b] = Queue(t.lost_share[c, p], None if patience < 0 else patience)
    return [random_period(t, rng, worlds, queues) for _ in range(periods)], queues


def random_period(t, rng, worlds, queues):
    demand = quarters(rng, 6, (t.C, t.P, worlds))
    capacity = quarters(rng, 12, demand.shape)
    played = np.zeros((5, *demand.shape))
    for cell in np.ndindex(demand.shape):
        played[(slice(None), *cell)] = queues[cell].play(demand[cell], capacity[cell])
    total, served_new, lost_new, lost, backlog = played
    served, first = shared_out(t, rng, total, served_new)
    keeps = bool((t.lost_share < 1).any())
    lanes = (t.L, t.P, worlds)
    shipped = quarters(rng, 10, lanes) * t.lane_open[..., None]
    returning = (t.lane_customer >= 0)[:, None, None] & t.lane_carries[..., None]
    returned = quarters(rng, 4, lanes) * returning if returning.any() else None
    return Flows(
        requests=shipped + quarters(rng, 3, lanes) * t.lane_open[..., None],
        shipped=shipped,
        received=quarters(rng, 10, lanes),
        returned=returned,
        recovered=None if returned is None else np.floor(returned),
        served=served,
        served_new=served_new,
        served_first=first,
        demand=demand,
        lost_new=lost_new,
        lost=lost,
        disposed=quarters(rng, 3, (t.N, t.P, worlds)) if rng.random() < 0.8 else None,
        on_hand=quarters(rng, 30, (t.N, t.P, worlds)),
        in_transit=quarters(rng, 20, lanes),
        backlog=backlog if keeps else None,
        present=rng.integers(0, 2, (t.N, worlds)).astype(float) if t.node_fixed_cost.any() else None,
    )


def shared_out(t, rng, total, served_new):
    """Units served (S, P, B) by the first two sources of each customer, and of new demand those by the first."""
    served, first = np.zeros((t.S, *total.shape[1:])), served_new.copy()
    for c, p in np.ndindex(total.shape[:2]):
        pairs = [s for s in range(t.S) if t.pair_customer[s] == c and t.pair_carries[s, p]]
        if len(pairs) > 1:
            first[c, p] = np.floor(4 * served_new[c, p] * rng.random()) / 4
            served[pairs[1], p] = total[c, p] - first[c, p]
        if pairs:
            served[pairs[0], p] = total[c, p] - served[pairs, p].sum(0)
    return served, first


def column(flows, world):
    """The flows of one world alone."""
    return Flows(*(None if value is None else value[..., world : world + 1].copy() for value in flows))


def batch_major(flows):
    """The same flows with the batch running slowest in memory."""
    return Flows(
        *(None if v is None else np.moveaxis(np.ascontiguousarray(np.moveaxis(v, -1, 0)), 0, -1) for v in flows)
    )
