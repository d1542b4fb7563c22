"""Small scenarios for the tests of processes and tapes: what is not under test is as plain as can be."""

from __future__ import annotations

from typing import Any

import numpy as np

from echelongym.envs.scenario.scenario import Scenario

POISSON = {"kind": "poisson", "mean": 5}


def customer(demand: Any, source: str = "store", **more: Any) -> dict[str, Any]:
    return {"demand": demand, "lost_share": 1, "sources": {source: {}}, **more}


def scenario(customers: dict[str, Any] | None = None, **more: Any) -> Scenario:
    """A supplier, a store, one lane and the customers given."""
    return Scenario.from_mapping(
        {
            "nodes": {"mill": {"kind": "supplier"}, "store": {"initial": 0}},
            "lanes": {"truck": {"source": "mill", "target": "store"}},
            "customers": customers or {"shop": customer(POISSON)},
            "reward_scale": 1,
            "horizon": 20,
            **more,
        }
    )


def busy(**more: Any) -> Scenario:
    """Two regions, two products, and something random of every kind."""
    data: dict[str, Any] = {
        "products": {"milk": {}, "bread": {}},
        "nodes": {
            "dairy": {"kind": "supplier", "capacity": 400},
            "hub": {"capacity": 300, "initial": 0},
            "north": {"initial": 0},
            "south": {"initial": 0},
        },
        "lanes": {
            "dairy_hub": {"source": "dairy", "target": "hub", "lead_time": 3},
            "hub_north": {
                "source": "hub",
                "target": "north",
                "lead_time": {"values": [1, 2, 4], "probabilities": [0.2, 0.5, 0.3]},
            },
            "hub_south": {"source": "hub", "target": "south", "lead_time": 2},
        },
        "customers": {
            "north_shops": customer(
                {"kind": "negative_binomial", "mean": {"milk": 20, "bread": 4}, "dispersion": 0.5},
                "north",
                region="north",
                lost_share=0.5,
            ),
            "south_shops": customer(
                {"milk": {"kind": "normal", "mean": 15, "standard_deviation": 4}, "bread": POISSON},
                "south",
                region="south",
            ),
        },
        "correlation": {"between": "all", "demand": 0.3, "periods": 0.4},
        "disruptions": {
            "outage": {
                "when": {"mean_up": 10, "mean_down": 4},
                "effects": [{"nodes": "hub", "availability": 0.5}],
            },
            "strike": {
                "when": {"mean_up": 12, "mean_down": 3},
                "effects": [
                    {"lanes": "hub_south", "lead_time_factor": 2, "yield": 0.9},
                    {"customers": {"region": "south"}, "demand_factor": 1.5},
                ],
            },
        },
        "forecast": {"horizon": 3, "skill": 0.6},
        "horizon": 30,
        "reward_scale": 1,
    }
    return Scenario.from_mapping({**data, **more})


def share_error(count: int) -> float:
    """Five standard errors of the mean of independent numbers of variance 1."""
    return 5.0 / float(np.sqrt(count))
