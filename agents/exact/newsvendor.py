"""The newsvendor: one stage with backorders at any lead time, or with lost sales at lead time 0.

The optimality of a fractile for one period goes back to F. Edgeworth (1888) and K. Arrow, T. Harris and J. Marschak,
Econometrica 19(3), 1951; that it holds period after period, as stock never exceeds the level, to S. Karlin (1958).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from echelongym.envs.core.errors import expected
from echelongym.envs.processes.laws import ClippedNormal
from echelongym.envs.scenario.scenario import Scenario

from ..rules import EchelonBaseStock
from .answer import Exact
from .lattice import extrapolated, total_of, vertex
from .structure import Chain, chain_of


def newsvendor(scenario: Scenario) -> Exact:
    """Optimal base-stock level and cost of one store.

    What is short costs p a unit: the backorder cost where it waits; where it is lost (``lost_share``), the cost of the
    lost sale less what the unit would have cost to bring. The level is the p / (p + h) fractile of the demand over lead
    time and one period.

    Raises
    ------
    InputError
        Naming what makes the scenario no such store.
    """
    chain = chain_of(scenario, "newsvendor", most_stages=1)
    customer = next(iter(scenario.customers))
    lead = chain.lead[0]
    if chain.lost_share > 0 and lead > 0:
        raise expected(
            f"lanes.{chain.lanes[0]}.lead_time", lead, "0, as sales are lost, for method newsvendor", scenario.name
        )
    waits = 1.0 - chain.lost_share
    penalty = waits * chain.backorder_cost + chain.lost_share * (chain.lost_sale_cost - chain.unit_cost)
    for field, cost in ((f"customers.{customer}", penalty), (f"nodes.{chain.nodes[0]}.holding_cost", chain.holding[0])):
        if cost <= 0:
            where = "a cost of what is short above that of bringing it" if field.startswith("customers") else "> 0"
            raise expected(field, cost, f"{where} for method newsvendor", scenario.name)
    costs, level = [], 0.0
    for step in chain.law.steps():
        level, cost = _fractile(chain, penalty, step)
        costs.append(cost + chain.constant_cost)
    value, error = extrapolated(costs)
    rule = EchelonBaseStock(scenario, levels={chain.nodes[0]: level})
    notes = ["error is " + ("of rounding" if len(costs) == 1 else "estimated from lattices of demand")]
    spec = chain.law.spec
    if isinstance(spec, ClippedNormal):
        high, cost = normal_newsvendor(spec.mean, spec.spread, chain.holding[0], penalty, lead)
        notes.append(
            f"demand is clipped at 0; the closed form of a normal demand that may be negative gives level {high:.6g} and "
            f"cost {cost + chain.constant_cost:.7g}"
        )
    return Exact(value, "newsvendor", rule, {"levels": rule.parameters["levels"]}, error, tuple(notes))


def _fractile(chain: Chain, penalty: float, step: float) -> tuple[float, float]:
    """Level and cost a period on a lattice."""
    total = total_of(chain.law.weights(step), chain.lead[0] + 1)
    points = step * np.arange(len(total))
    ratio = penalty / (penalty + chain.holding[0])
    index = int(np.searchsorted(np.cumsum(total), ratio - 1e-14))
    index = min(index, len(total) - 1)

    def cost(at: int) -> float:
        over = math.fsum((points[at] - points[: at + 1]) * total[: at + 1])
        under = math.fsum((points[at:] - points[at]) * total[at:])
        return chain.holding[0] * over + penalty * under

    if chain.law.natural is not None or not 0 < index < len(total) - 1:
        return float(points[index]), cost(index)
    least, shift = vertex(np.array([cost(at) for at in (index - 1, index, index + 1)]), 1)
    return float(points[index]) + shift * step, least


def normal_newsvendor(
    mean: float, deviation: float, holding: float, penalty: float, lead_time: int = 0
) -> tuple[float, float]:
    """Level and cost of the textbook's normal demand, negative demands and all: (h + p) phi(z) s sqrt(l + 1).

    The scenarios' own normal demand is clipped at 0, so that :func:`newsvendor` finds a little less where the mean is
    few deviations from 0.

    Example
    -------
    >>> round(normal_newsvendor(5, 1.6, 1, 9, lead_time=4)[1], 3)
    6.279
    """
    standard = NormalDist()
    z, spread = standard.inv_cdf(penalty / (penalty + holding)), deviation * math.sqrt(lead_time + 1)
    return mean * (lead_time + 1) + z * spread, (holding + penalty) * standard.pdf(z) * spread
