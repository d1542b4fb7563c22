"""Serial systems with backorders: echelon base-stock levels by the recursion of Clark and Scarf.

A. Clark and H. Scarf, Optimal Policies for a Multi-Echelon Inventory Problem, Management Science 6(4), 1960; average
costs after A. Federgruen and P. Zipkin, Operations Research 32(4), 1984, in the form of F. Chen and Y.-S. Zheng,
Management Science 40(11), 1994.
"""

from __future__ import annotations

import numpy as np

from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.scenario.scenario import Scenario

from ..rules import EchelonBaseStock
from .answer import Exact
from .lattice import LONGEST, extrapolated, total_of, vertex
from .structure import Chain, chain_of

# Costs closer than this share are equal; of equal levels the lowest is told.
_TIE = 1e-12


def clark_scarf(scenario: Scenario) -> Exact:
    """Optimal echelon base-stock levels and cost of a chain with backorders.

    With y the echelon position of stage j after ordering (1 faces the customers), D(n) the demand of n periods, h' the
    echelon holding costs (local cost less that of the stage above) and p the backorder cost,

        C_1(y) = h'_1 (y - (l_1 + 1) mean) + (p + h_1) E[(D(l_1 + 1) - y)^+]
        C_j(y) = h'_j (y - (l_j + 1) mean) + E[min over x <= y - D(max(l_j, 1)) of C_{j-1}(x)]

    as an order of stage j can be shipped on l_j periods later, and not in its own period. The optimum is the minimum of
    the last C, and what units cost in transit and on being bought.

    Raises
    ------
    InputError
        Naming what makes the scenario no such chain.
    """
    chain = chain_of(scenario, "clark_scarf")
    customer = next(iter(scenario.customers))
    if chain.lost_share > 0:
        raise expected(
            f"customers.{customer}.lost_share", chain.lost_share, "0 (backorders) for method clark_scarf", scenario.name
        )
    if chain.backorder_cost <= 0:
        raise expected(
            f"customers.{customer}.backorder_cost", chain.backorder_cost, "> 0 for method clark_scarf", scenario.name
        )
    if all(h <= 0 for h in chain.holding):
        raise expected(
            f"nodes.{chain.nodes[0]}.holding_cost", chain.holding[0], "> 0 for method clark_scarf", scenario.name
        )
    costs, levels = [], np.zeros(len(chain.nodes))
    for step in chain.law.steps():
        cost, levels = recursion(chain, step)
        costs.append(cost)
    value, error = extrapolated(costs)
    found = {name: float(level) for name, level in zip(chain.nodes, levels, strict=True)}
    rule = EchelonBaseStock(scenario, levels=dict(reversed(found.items())))
    notes = ["error is " + ("of rounding" if len(costs) == 1 else "estimated from lattices of demand")]
    return Exact(value, "clark_scarf", rule, {"levels": rule.parameters["levels"]}, error, tuple(notes))


def recursion(chain: Chain, step: float) -> tuple[float, Floats]:
    """Cost and levels (bottom up) on a lattice; see :func:`clark_scarf`.

    Raises
    ------
    InputError
        If costs do not stay finite, or optimal levels lie beyond the longest lattice.
    """
    weights = chain.law.weights(step)
    count = sum(chain.lead) + len(chain.lead) + 1
    reach = chain.law.mean * count + 6.0 * chain.law.deviation * np.sqrt(count)
    size = max(int(np.ceil(reach / step)), 8) + 2
    while size < LONGEST:
        cost, levels, inside = _on(chain, step, weights, size)
        if inside:
            return cost + chain.constant_cost, levels
        size *= 2
    raise InputError(
        f"demand of mean {chain.law.mean:g} and standard deviation {chain.law.deviation:g}: expected costs and a "
        f"demand whose optimal levels lie below {LONGEST * step:g}"
    )


def _on(chain: Chain, step: float, weights: Floats, size: int) -> tuple[float, Floats, bool]:
    """Cost, levels, and whether the upper end of the lattice was far enough, on ``size`` points from 0."""
    points = step * np.arange(size)
    mean = chain.law.mean
    stages = len(chain.nodes)
    above = (*chain.holding[1:], 0.0)
    levels = np.zeros(stages)
    expectation: Floats = np.zeros(0)
    cost = 0.0
    last = 0
    for j in range(stages):
        echelon_cost = chain.holding[j] - above[j]
        if j == 0:
            total = total_of(weights, chain.lead[0] + 1)
            expectation = (chain.backorder_cost + chain.holding[0]) * _shortage(total, step, size)
        else:
            total = total_of(weights, max(chain.lead[j], 1))
            # Below 0 all is owed: costs of the stages below are linear there.
            slope = -(chain.backorder_cost + above[j - 1])
            expectation = _averaged(expectation, total, slope * step)
        costs = echelon_cost * (points - mean * (chain.lead[j] + 1)) + expectation
        best = float(costs.min())
        last = int(np.argmax(costs <= best + _TIE * max(1.0, abs(best))))
        cost, shift = (best, 0.0) if chain.law.natural is not None else vertex(costs, last)
        levels[j] = points[last] + shift * step
        # G(x) = C(min(x, level)).
        expectation = np.where(points > levels[j], cost, costs)
    # A stage whose echelon cost is <= 0 passes on whatever it has: its level is that of the stage above.
    for j in range(stages - 2, -1, -1):
        levels[j] = min(levels[j], levels[j + 1])
    return cost, levels, last < size - 1


def _shortage(total: Floats, step: float, size: int) -> Floats:
    """E[(D - y)^+] at y = 0, step ...; from the tail, so that small values keep their digits."""
    tail = np.zeros(max(size, len(total)) + 1)
    tail[: len(total)] = total[::-1].cumsum()[::-1]
    beyond = tail[1:]  # P(D > k)
    loss = step * beyond[::-1].cumsum()[::-1]
    return np.asarray(loss[:size], dtype=np.float64)


def _averaged(costs: Floats, total: Floats, slope: float) -> Floats:
    """E[G(y - D)] on the lattice, G linear with ``slope`` a point below 0."""
    from scipy.signal import fftconvolve

    padding = costs[0] + slope * np.arange(-(len(total) - 1), 0)
    extended = np.concatenate([padding, costs])
    if min(len(total), len(extended)) > 64:
        found = fftconvolve(extended, total, mode="valid")
    else:
        found = np.convolve(extended, total, mode="valid")
    return np.asarray(found, dtype=np.float64)
