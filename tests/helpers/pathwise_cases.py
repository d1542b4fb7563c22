"""What tests of pathwise policies share: settings, a store, tuned levels, policies with random weights."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import torch

from echelongym.agents.budget import objective
from echelongym.agents.learners import learner_config
from echelongym.agents.pathwise.config import PathwiseConfig
from echelongym.agents.pathwise.policy import make_policy
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate

DEFAULTS = learner_config("pathwise").model_dump()
SHARED = ("set", "graph")

# Two regions with everything that base-stock rules can have: caps, an express lane, lateral lanes.
TUNED = {
    "levels": {"hub": 200.0, "north": 95.0, "south": 60.0},
    "express_levels": {"hub_north_express": 21.0},
    "lateral_levels": {"north_south": 12.0, "south_north": 11.0},
    "keep_levels": {"north": 40.0, "south": 30.0},
    "caps": {"dairy_hub": 60.0, "hub_north": 41.0, "hub_north_express": 25.0, "hub_south": 30.0},
}


def config(**changes: Any) -> PathwiseConfig:
    return PathwiseConfig(**{**DEFAULTS, "hidden": (8, 8), "head": "levels", **changes})


def one_store(penalty: float = 9.0, lead_time: int = 2, **customer: Any) -> Scenario:
    return Scenario.from_mapping({
        "name": "one_store",
        "units": "continuous",
        "horizon": 120,
        "warm_up": 20,
        "nodes": {"supplier": {"kind": "supplier"}, "store": {"holding_cost": 1.0}},
        "lanes": {"road": {"source": "supplier", "target": "store", "lead_time": lead_time}},
        "customers": {
            "shop": {
                "sources": {"store": {}},
                "demand": {"kind": "normal", "mean": 20, "standard_deviation": 4},
                "lost_share": 0,
                "backorder_cost": penalty,
                **customer,
            }
        },
    })  # fmt: skip


def untrained(scenario: Scenario, settings: PathwiseConfig, rule: Any = None, seed: int = 0, **options: Any) -> Any:
    """A policy whose first weights are those of a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make_policy(scenario, settings, rule, **options)


def stirred(policy: Any, by: float = 0.05, seed: int = 0) -> Any:
    """The same policy with random weights, so that it decides otherwise in every state."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in policy.actor.parameters():
            one.add_(by * torch.randn(one.shape, generator=generator))
        policy.actor.begin(0)
    return policy


def costs(scenario: Scenario, policy: Any, worlds: int = 6, seed: int = 3) -> np.ndarray:
    return objective(simulate(scenario, policy, scenario.sample(worlds, seed, "tune"), kpis=False))


def cost_of_level(level: float, penalty: float, mean: float = 60.0, deviation: float = 4 * 3**0.5) -> float:
    """Cost a period of a level in :func:`one_store` in closed form: h (S - mean) + (h + p) x expected shortage, h = 1.

    Mean and deviation are those of demand over lead time and a period.
    """
    normal, z = NormalDist(), (level - mean) / deviation
    shortage = deviation * (normal.pdf(z) - z * (1 - normal.cdf(z)))
    return (level - mean) + (1 + penalty) * shortage


def best_level(penalty: float, mean: float = 60.0, deviation: float = 4 * 3**0.5) -> float:
    """The level that costs least there: the newsvendor's."""
    return mean + deviation * NormalDist().inv_cdf(penalty / (1 + penalty))
