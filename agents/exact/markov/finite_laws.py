"""Finite laws of what is random in one period of a small whole-unit scenario: demand, disruptions, lead times, lots."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import numpy as np

from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.processes.laws import Steps
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.disruption import hits
from echelongym.envs.worlds.tape_arrays import GRAIN

from ..structure import check_stationary

TAIL = 1e-13  # probability of a demand law that is cut off at either end
MOST_OUTCOMES = 50_000  # joint demands
MOST_EVENTS = 6  # random disruptions, that is 64 states of the surroundings


class Chance:
    """Finite laws of one scenario.

    Attributes
    ----------
    surroundings : E states of the random disruptions, each on or off.
    moves : (E, E) their transition probabilities.
    node_availability, lane_availability : (E, N), (E, L), None where never touched.
    demands, weights : by state of the surroundings, (D, C, P) units and (D,) probabilities.
    due : by lane, probability (K + 1,) that what is in transit since k + 1 periods arrives, given that it has not.
    at_once : (L,) probability of lead time 0.

    Raises
    ------
    InputError
        For what has no finite law, or hides part of the state from policies.
    """

    def __init__(self, scenario: Scenario, method: str) -> None:
        t = scenario.tables
        check_stationary(scenario, method)
        if not t.integer:
            raise expected("units", scenario.units, f"integer for method {method}", scenario.name)
        if scenario.correlation.demand > 0 and t.C > 1:
            field = "correlation.demand"
            raise expected(field, scenario.correlation.demand, f"0 for method {method}", scenario.name)
        if t.quoted and t.lead_time_random.any():
            raise expected("observe.lead_time", "quoted", f"hidden, as lead times are random, for method {method}")
        self.scenario, self.tables, self.method = scenario, t, method
        self._read_disruptions()
        self._read_lead_times()
        laws = [self._demand(e) for e in range(len(self.moves))]
        self.demands = [values for values, _ in laws]
        self.weights = [weights for _, weights in laws]

    # Disruptions -----------------------------------------------------------------------------------

    def _read_disruptions(self) -> None:
        scenario, t = self.scenario, self.tables
        names = list(scenario.disruptions)
        if len(names) > MOST_EVENTS:
            raise expected("disruptions", names, f"at most {MOST_EVENTS} for method {self.method}", scenario.name)
        states = list(itertools.product((False, True), repeat=len(names)))
        factor: dict[tuple[str, str], Floats] = {}
        moves = np.ones((len(states), len(states)))
        for i, name in enumerate(names):
            item = scenario.disruptions[name]
            active = np.array([state[i] for state in states], dtype=bool)
            assert item.when.mean_up is not None
            assert item.when.mean_down is not None
            fall, rise = 1.0 / item.when.mean_up, 1.0 / item.when.mean_down
            chain = np.array([[1 - fall, fall], [rise, 1 - rise]])
            moves *= chain[active.astype(int)][:, active.astype(int)]
        for hit in hits(scenario):
            if hit.key in ("lead_time_factor", "yield") and hit.amount != 1:
                raise expected(hit.field, hit.amount, f"no such effect for method {self.method}", scenario.name)
            active = np.array([state[names.index(hit.disruption)] for state in states], dtype=bool)
            size = len(getattr(scenario, hit.kind))
            product = factor.setdefault((hit.kind, hit.key), np.ones((len(states), size)))
            product[np.ix_(active, hit.entities)] *= hit.amount
        self.moves = moves
        self.node_availability = factor.get(("nodes", "availability"))
        self.lane_availability = factor.get(("lanes", "availability"))
        self._demand_factor = factor.get(("customers", "demand_factor"), np.ones((len(states), t.C)))
        seen = [a for a in (self.node_availability, self.lane_availability) if a is not None]
        visible = np.concatenate([*seen, np.zeros((len(states), 1))], axis=1)
        #: (E, V) what policies see of the surroundings.
        self.visible = visible
        if len(np.unique(visible, axis=0)) < len(states):
            raise expected(
                "disruptions",
                names,
                f"ones that policies can tell from node and lane availability, each by itself, for method {self.method}",
                scenario.name,
            )

    # Lead times ------------------------------------------------------------------------------------

    def _read_lead_times(self) -> None:
        t = self.tables
        self.at_once = np.zeros(t.L)
        self.due = np.ones((t.L, int(t.max_lead_time.max(initial=0)) + 1))
        for lane in np.flatnonzero(t.lead_time_random):
            law = np.bincount(t.lead_time_values[lane], weights=t.lead_time_probabilities[lane])
            self.at_once[lane] = law[0]
            left = law[::-1].cumsum()[::-1]
            hazard = law[1:] / np.maximum(left[1:], 1e-300)
            self.due[lane, : len(hazard)] = np.where(law[1:] > 0, np.minimum(hazard, 1.0), 0.0)
            self.due[lane, len(hazard) - 1] = 1.0

    # Demand ----------------------------------------------------------------------------------------

    def _demand(self, e: int) -> tuple[Ints, Floats]:
        """Joint law of a period's demand: (D, C, P) units and (D,) probabilities."""
        t = self.tables
        values = np.zeros((1, t.C, t.P), dtype=np.int64)
        weights = np.ones(1)
        for c, name in enumerate(t.customers):
            for p, product in enumerate(t.products):
                process = self.scenario.demand_processes[name].get(product)
                if process is None:
                    continue
                law = process.family.law(float(self._demand_factor[e, c]), True)
                if not isinstance(law, Steps):
                    field = f"customers.{name}.demand"
                    raise expected(field, process.family.kind, "demands of a few thousand units at most")
                kept, share = cut(law)
                if len(weights) * len(kept) > MOST_OUTCOMES:
                    raise InputError(
                        f"{self.scenario.name}: state space too large for method {self.method}: found "
                        f"{len(weights) * len(kept)} and more joint demands of customers a period, expected at most "
                        f"{MOST_OUTCOMES}"
                    )
                values = np.repeat(values, len(kept), axis=0)
                values[:, c, p] = np.tile(kept, len(weights))
                weights = np.repeat(weights, len(share)) * np.tile(share, len(weights))
        heavy = weights > 1e-17
        return values[heavy], weights[heavy] / weights[heavy].sum()


def cut(law: Steps) -> tuple[Ints, Floats]:
    """Values and weights without tails of probability below ``TAIL``, brought to a total of 1."""
    below, above = np.cumsum(law.weights), np.cumsum(law.weights[::-1])[::-1]
    kept = (below > TAIL) & (above > TAIL)
    weights = law.weights[kept]
    return np.rint(law.values[kept]).astype(np.int64), weights / weights.sum()


@lru_cache(maxsize=4096)
def divisions(totals: tuple[int, ...]) -> tuple[Ints, Floats]:
    """Lots u, as whole multiples of 1 / GRAIN, that deal differently where claims add up to one of ``totals``.

    ``floor(s R_i / R + u)`` changes at multiples of 1 / R; every stretch between them stands for all its lots.

    Returns
    -------
    (k,) the first lot of each stretch and (k,) the share of all lots that lie in it.
    """
    points = {-(-j * GRAIN // total) for total in totals for j in range(total)} | {0}
    return _stretches(points)


@lru_cache(maxsize=4096)
def fractions(shares: tuple[int, ...], most: int) -> tuple[Ints, Floats]:
    """Lots as in :func:`divisions` for ``(n share + u) // GRAIN``, n up to ``most``, shares in multiples of 1 / GRAIN."""
    points = {(-n * share) % GRAIN for share in shares for n in range(most + 1)} | {0}
    return _stretches(points)


def _stretches(points: set[int]) -> tuple[Ints, Floats]:
    starts = np.array(sorted(point for point in points if point < GRAIN), dtype=np.int64)
    return starts, np.diff(np.append(starts, GRAIN)) / GRAIN


def expand(owner: Ints, weight: Floats, columns: list[Any], options: list[tuple[Ints, Floats]], which: Ints) -> Any:
    """Repeat rows for each outcome of a lot.

    Parameters
    ----------
    owner, weight
        (n,) what each row belongs to, and its probability.
    columns
        Arrays (n, ...) that go along.
    options
        Outcomes and their probabilities, of each kind.
    which
        (n,) kind of each row.

    Returns
    -------
    owner, weight, columns, and the outcome of every row.
    """
    sizes = np.array([len(outcome) for outcome, _ in options], dtype=np.int64)
    count = sizes[which]
    rows = np.repeat(np.arange(len(owner)), count)
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    inside = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    place = starts[which[rows]] + inside
    outcomes = np.concatenate([outcome for outcome, _ in options])
    shares = np.concatenate([share for _, share in options])
    return owner[rows], weight[rows] * shares[place], [column[rows] for column in columns], outcomes[place]
