"""One store and its worlds for tests of planners; networks of any size come from the study of their speed."""

import numpy as np

from echelongym.envs import Scenario, Tape


def one_store(units="continuous", **changes):
    """A supplier, a store with lead time 1, a customer who does not wait."""
    mapping = {
        "name": "one_store",
        "units": units,
        "horizon": 4,
        "nodes": {"supplier": {"kind": "supplier"}, "store": {"holding_cost": 1.0, "initial": 2}},
        "lanes": {"truck": {"source": "supplier", "target": "store", "lead_time": 1, "purchase_cost": 3.0}},
        "customers": {
            "shop": {
                "sources": {"store": {}},
                "demand": {"kind": "deterministic", "mean": 4},
                "lost_share": 1.0,
                "lost_sale_cost": 9.0,
            }
        },
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = mapping
        for parent in parents:
            place = place[parent]
        place[last] = value
    return Scenario.from_mapping(mapping)


def tape_of(scenario, demand, **arrays):
    """One world of given demand (T, C, P), or (T,) of a single customer."""
    demand = np.asarray(demand, dtype=np.int64 if scenario.tables.integer else np.float64)
    demand = demand.reshape(len(demand), scenario.tables.C, scenario.tables.P)
    history = np.zeros((scenario.tables.H, *demand.shape[1:]), demand.dtype)
    return Tape.from_demand(scenario, np.concatenate([history, demand]), **arrays)


def episode_cost(outcome, world=0):
    """Money of a whole episode less revenue, from its trace."""
    lines = {line: float(values[:, world].sum()) for line, values in outcome.trace.costs.items()}
    return sum(lines.values()) - 2 * lines.get("revenue", 0.0)
