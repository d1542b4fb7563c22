"""A scenario as someone knows it who was told no demand law and no lead time, and has watched it for a while.

Policies for many networks take their units, levels and features from a scenario's numbers. Given the estimated scenario
they take them from what was observed, and can play the true one, whose shape is the same.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.record_statement import playable

FEWEST = 2  # periods, below which there is no standard deviation
HIGHEST = 0.95  # correlation, which is below 1


def estimated(scenario: Scenario, periods: int, seed: int = 0) -> Scenario:
    """The scenario with demand laws and lead times estimated from ``periods`` watched periods of one world (``learn``).

    Demand of each customer and product is taken as normal, with the mean and the standard deviation of the sample,
    alike in all periods, whatever law the true one follows. The correlation is the mean of the sample correlations of
    customers that the scenario calls correlated, no less than 0. A lead time that never changes is known from the first
    receipt; of a random one the possible values are known, and each probability is its share of the dispatches seen,
    every value counted once more (Laplace's rule of succession). Costs, the network, and how often disruptions come
    stay as they are.

    Parameters
    ----------
    periods
        At least 2, and no more than worlds of recorded demand have.

    Raises
    ------
    InputError
        With too few periods or too many, or where lost demand is not observed, so that sales say less than that.
    """
    t, most = scenario.tables, playable(scenario, "learn", periods)
    if not FEWEST <= periods <= most:
        wanted = f"at least {FEWEST} periods" + (f", and at most {most}" if most < periods else "")
        raise expected("history", periods, f"{wanted}, to estimate demand from", scenario.name)
    if t.censored:
        raise expected("history", periods, "a scenario whose demand is observed, not its sales alone", scenario.name)
    seen = scenario.sample([0], seed, "learn", periods).exogenous
    demand = np.asarray(seen.demand, dtype=np.float64)[t.H :, :, :, 0]  # (periods, C, P)
    data = scenario.to_dict()
    for c, customer in enumerate(data["customers"].values()):
        laws = {product: _law(demand[:, c, p]) for p, product in enumerate(t.products) if t.mean_demand[c, p] > 0}
        customer["demand"] = next(iter(laws.values())) if len(t.products) == 1 and laws else laws
    if seen.lead_time is not None:
        for lane, (written, given) in enumerate(zip(data["lanes"].values(), scenario.lanes.values(), strict=True)):
            if given.lead_time.random:
                written["lead_time"] = _lead_time(np.asarray(seen.lead_time)[:, lane, 0], given.lead_time.values)
    if scenario.correlation.demand:
        data["correlation"] |= {"demand": _correlation(scenario, demand), "periods": 0.0}
    return Scenario.from_mapping({**data, "name": f"{scenario.name}_estimated", "base_dir": scenario.base_dir})


def _law(demand: Floats) -> dict[str, Any]:
    """A normal law of the sample's mean and standard deviation."""
    return {"kind": "normal", "mean": float(demand.mean()), "standard_deviation": float(demand.std(ddof=1))}


def _lead_time(seen: Ints, values: tuple[int, ...]) -> dict[str, Any]:
    """Probabilities of the values of a lead time: counted, and one more of each."""
    counts = np.array([1 + int((seen == value).sum()) for value in values], dtype=np.float64)
    return {"values": list(values), "probabilities": (counts / counts.sum()).tolist()}


def _correlation(scenario: Scenario, demand: Floats) -> float:
    """Mean of the sample correlations of customers in one group, product by product."""
    between = scenario.correlation.between
    groups = ["" if between == "all" else getattr(one, between) for one in scenario.customers.values()]
    found = []
    for first, second in itertools.combinations(range(len(groups)), 2):
        for p in range(demand.shape[2]):
            one, other = demand[:, first, p], demand[:, second, p]
            if groups[first] == groups[second] and one.std() > 0 and other.std() > 0:
                found.append(float(np.corrcoef(one, other)[0, 1]))
    return float(np.clip(np.mean(found), 0.0, HIGHEST)) if found else 0.0


__all__ = ["estimated"]
