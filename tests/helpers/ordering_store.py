"""A store with one lane, for tests of what planners ask first: minimum orders, review periods, calendars."""

from typing import Any

from echelongym.envs import Scenario

STORE: dict[str, Any] = {
    "name": "store",
    "units": "integer",
    "horizon": 210,
    "warm_up": 70,
    "nodes": {"plant": {"kind": "supplier"}, "shop": {"holding_cost": 1}},
    "lanes": {"truck": {"source": "plant", "target": "shop", "lead_time": 2}},
    "customers": {
        "people": {
            "sources": {"shop": {}},
            "demand": {"kind": "poisson", "mean": 3},
            "lost_share": 0,
            "backorder_cost": 9,
        }
    },
}


def store(**changes: Any) -> Scenario:
    return Scenario.from_mapping(STORE).with_overrides(changes)
