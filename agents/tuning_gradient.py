"""Tuning by gradients: the cost of a window of periods is differentiated through the dynamics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.ledger import Ledger
from echelongym.envs.positions import Forest
from echelongym.envs.scenario import Scenario
from echelongym.envs.simulate import backend_of, periods
from echelongym.envs.tables import Tables

from .rules import Rule, Space
from .targets import Multipliers
from .tuning_worlds import MOVED, Budget

Floats = NDArray[np.float64]

RATE = 0.2  # Adam's step, in units of each parameter's scale
LAST = 0.01  # of it is left at the end of the cosine
AVERAGED = 0.25  # share of the iterations, the last ones, whose parameters are averaged


@dataclass(frozen=True)
class Window:
    """What one gradient looks at."""

    worlds: int
    periods: int
    skipped: int  # first periods left out of the loss


def window_of(scenario: Scenario) -> Window:
    """Worlds and periods of one gradient.

    The first periods are left out of the loss: orders of the last ones cost inside the window and pay off outside it,
    and leaving out as many at the start makes up for it; twice the longest way from a supplier is left out. After them
    come forty periods, or the longest way, or a whole season or block of recorded periods, if longer. Where something
    is scheduled, or a record is replayed from its start, the window is the whole horizon.
    """
    t = scenario.tables
    longest = longest_way(t)
    lanes = t.L * t.P
    worlds = 256 if lanes <= 16 else 128 if lanes <= 64 else 64
    skipped = max(2 * longest, 4)
    cycle = _cycle(scenario)
    scored = max(40, longest) if cycle is None else max(cycle * -(-max(40, longest) // cycle), 1)
    scheduled = any(getattr(item.when, "mean_up", None) is None for item in scenario.disruptions.values())
    if scheduled or cycle == 0 or skipped + scored >= t.horizon:
        return Window(worlds, t.horizon, min(max(skipped, t.warm_up), t.horizon - 1))
    return Window(worlds, skipped + scored, skipped)


def _cycle(scenario: Scenario) -> int | None:
    """Longest season or block of recorded demand, in periods; None without; 0 where a record is replayed in order."""
    found = []
    for customer in scenario.customers.values():
        demand = customer.demand
        for part in [demand] if "kind" in demand else demand.values():
            if part.get("kind") == "trace":
                found.append(int(part.get("block") or 0))
            elif part.get("season"):
                found.append(math.ceil(part["season"]["period"]))
    if 0 in found:
        return 0
    return max(found, default=None)


def longest_way(t: Tables) -> int:
    """Periods along the slowest path of primary lanes, nominal lead times."""
    forest = Forest(t)
    longest = 0
    for start in range(t.N * t.P):
        way, cell = 0, start
        while (lane := int(forest.primary[cell])) >= 0:
            way += int(t.nominal_lead_time[lane // t.P])
            cell = int(forest.parent[cell])
        longest = max(longest, way)
    return longest


def descend(
    rule: Rule,
    space: Space,
    start: Floats,
    iterations: int,
    window: Window,
    seed: int,
    budget: Budget,
) -> list[Floats]:
    """Adam from ``start``: parameter vectors worth comparing, the average of the last iterations first.

    Every iteration has worlds of its own. Continuous worlds only.
    """
    import torch

    scenario = rule.scenario
    ops = backend_of("torch", torch.float32)
    ledger = Ledger(scenario.tables, ops)
    multipliers = Multipliers(scenario, ops)
    scale = ops.constant(space.scale)
    lower = ops.constant(np.maximum(space.lower, -1e30))
    origin = ops.constant(start)
    theta = torch.zeros(len(space), dtype=ops.float, requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * step / max(iterations, 1)))
    )
    averaged, count = np.zeros(len(space)), 0
    kept = []
    for iteration in range(iterations):
        numbers = range(MOVED + iteration * window.worlds, MOVED + (iteration + 1) * window.worlds)
        tape = scenario.sample(worlds=list(numbers), seed=seed, purpose="tune", periods=window.periods)
        candidate = rule.with_vector(space, torch.maximum(origin + scale * theta, lower))
        scored, cost = 0, torch.zeros((), dtype=ops.float)
        for period, _, flows, state in periods(scenario, candidate, tape, ops):
            if period < window.skipped:
                continue
            last = period + 1 == scenario.tables.horizon
            cost = cost + ledger.cost(ledger.period(flows, last=last, closing=state)).mean()
            multipliers.add(flows)
            scored += 1
        loss = cost / scored
        optimiser.zero_grad()
        multipliers.penalised(loss, scored).backward()
        assert theta.grad is not None
        torch.nan_to_num_(theta.grad, 0.0, 0.0, 0.0)
        optimiser.step()
        schedule.step()
        multipliers.update()
        value = start + space.scale * theta.detach().double().numpy()
        if iteration >= (1 - AVERAGED) * iterations:
            averaged, count = averaged + value, count + 1
        if iteration + 1 in (iterations // 2, 3 * iterations // 4):
            kept.append(value)
        budget.iterations += 1
        budget.spend(window.worlds * window.periods, f"cost {float(loss.detach()):.4f}")
    return [averaged / max(count, 1), *kept[::-1]]
