"""Large networks made by rule, and what it takes to load and to start one: ``python -m ...rooflines.large FILE``."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from echelongym.envs.gym.vector_env import NetworkVectorEnv
from echelongym.envs.scenario.scenario import Scenario

from .peak_memory import peak_memory


def chain(products: int, echelons: int = 3, horizon: int = 100) -> dict[str, Any]:
    """Mapping of a chain of echelons with a storage that all products share, and lost sales at its end."""
    nodes: dict[str, Any] = {"supplier": {"kind": "supplier"}}
    lanes: dict[str, Any] = {}
    before = "supplier"
    for k in range(1, echelons + 1):
        name = f"echelon_{k}"
        nodes[name] = {"holding_cost": 0.1 * k, "storage_capacity": 20.0 * products, "overflow_cost": 0.5}
        lanes[f"to_{name}"] = {"source": before, "target": name, "lead_time": 2}
        before = name
    customers = {
        "shoppers": {
            "sources": {before: {}},
            "demand": {"kind": "poisson", "mean": 5},
            "lost_share": 1.0,
            "lost_sale_cost": 4.0,
        }
    }
    return {
        "name": f"chain_{products}",
        "horizon": horizon,
        "products": {f"product_{k}": {} for k in range(1, products + 1)},
        "nodes": nodes,
        "lanes": lanes,
        "customers": customers,
    }


def regions(lanes: int, products: int, warehouses: int = 10, horizon: int = 100) -> dict[str, Any]:
    """Mapping of a network of so many lanes: a supplier, warehouses, and stores that each are supplied from five of them.

    Transport costs are given by lane and product, demand by store and product, as a company's tables give them.
    """
    names = [f"product_{k}" for k in range(1, products + 1)]
    stores = (lanes - warehouses) // 5
    nodes: dict[str, Any] = {"supplier": {"kind": "supplier"}}
    roads: dict[str, Any] = {}
    customers: dict[str, Any] = {}
    for k in range(warehouses):
        nodes[f"warehouse_{k}"] = {"holding_cost": 0.3}
        roads[f"to_warehouse_{k}"] = {"source": "supplier", "target": f"warehouse_{k}", "lead_time": 3}
    for i in range(stores):
        nodes[f"store_{i}"] = {"holding_cost": 1.0}
        for near in range(5):
            source = f"warehouse_{(i + near) % warehouses}"
            roads[f"{source}_store_{i}"] = {
                "source": source,
                "target": f"store_{i}",
                "lead_time": 1 + (i + near) % 4,
                "transport_cost": {name: round(0.1 + 0.01 * ((i + k + near) % 7), 2) for k, name in enumerate(names)},
            }
        customers[f"shoppers_{i}"] = {
            "sources": {f"store_{i}": {}},
            "demand": {name: {"kind": "poisson", "mean": 2 + (i + k) % 5} for k, name in enumerate(names)},
            "lost_share": 1.0,
            "lost_sale_cost": 9.0,
        }
    return {
        "name": f"regions_{lanes}_{products}",
        "horizon": horizon,
        "products": {name: {} for name in names},
        "nodes": nodes,
        "lanes": roads,
        "customers": customers,
    }


def main(path: str) -> None:
    """Print a line of JSON: CPU-seconds of loading the file and of making an env and its first reset; memory at most, in GB."""
    started = time.process_time()
    scenario = Scenario.load(path)
    scenario.tables  # noqa: B018 (made at first use)
    loaded = time.process_time()
    NetworkVectorEnv(scenario, 1).reset(seed=0)
    ready = time.process_time()
    print(json.dumps({"load": loaded - started, "reset": ready - loaded, "memory": peak_memory() / 1e9}))


if __name__ == "__main__":
    main(sys.argv[1])
