"""Distribution networks of any size for tests of planners, and how long a decision takes on them.

`python tests/helpers/planning_networks.py` prints milliseconds a decision of the rolling horizon by number of nodes, and
seconds a world of the perfect-information bound; `python tests/helpers/planning_networks.py grocery 16` compares the rolling
horizon with tuned echelon base-stock on a shipped scenario, on so many test worlds.
"""

import sys
import time

import numpy as np

from echelongym.envs import Scenario, Tape, simulate

STORES = (10, 25, 50, 100, 198)


def store_network(stores, horizon=40, seed=0):
    """One supplier, one warehouse, so many unlike stores with lost sales: the mapping of a scenario."""
    rng = np.random.default_rng(seed)
    nodes = {"supplier": {"kind": "supplier"}, "warehouse": {"holding_cost": 0.3}}
    lanes = {"inbound": {"source": "supplier", "target": "warehouse", "lead_time": 3}}
    customers = {}
    for i in range(stores):
        name, mean = f"store_{i}", float(rng.uniform(2, 8))
        nodes[name] = {"holding_cost": round(float(rng.uniform(0.8, 1.2)), 3)}
        lanes[f"to_{i}"] = {"source": "warehouse", "target": name, "lead_time": int(rng.integers(1, 4))}
        customers[f"shoppers_{i}"] = {
            "sources": {name: {}},
            "demand": {"kind": "normal", "mean": round(mean, 3), "standard_deviation": round(0.4 * mean, 3)},
            "lost_share": 1.0,
            "lost_sale_cost": round(float(rng.uniform(7, 12)), 3),
        }
    return {
        "name": f"stores_{stores}",
        "horizon": horizon,
        "nodes": nodes,
        "lanes": lanes,
        "customers": customers,
        "correlation": {"between": "all", "demand": 0.5},
    }


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


def decision_times():
    from echelongym.agents.planning.perfect_information import perfect_information
    from echelongym.agents.planning.rolling import RollingHorizon

    print("nodes  horizon  rows  columns  ms a decision (start-up left out)  s a world of the bound")
    for stores in STORES:
        scenario = Scenario.from_mapping(store_network(stores))
        tape = scenario.sample(worlds=1, seed=0, purpose="test")
        policy = RollingHorizon(scenario)
        seconds = []

        def timed(observation, policy=policy, seconds=seconds):
            started = time.perf_counter()
            decision = policy(observation)
            seconds.append(time.perf_counter() - started)
            return decision

        simulate(scenario, timed, tape, kpis=False)
        program = next(iter(policy._programs.values()))[0]
        bound = perfect_information(scenario, tape)
        rows, columns = program.shape
        times = f"{1e3 * float(np.mean(seconds[2:])):.1f}"
        print(
            f"{stores + 2:5d} {policy.horizon:8d} {rows:5d} {columns:8d} {times:>12s} {bound.seconds:12.2f}", flush=True
        )


def against_base_stock(name, worlds, **parameters):
    from echelongym.agents.planning.rolling import RollingHorizon
    from echelongym.agents.tuning.tuner import tune

    scenario = Scenario.load(name)
    tape = scenario.sample(worlds=worlds, seed=0, purpose="test")
    tuned = tune(scenario, "echelon_base_stock", progress=False).rule
    base = simulate(scenario, tuned, tape).cost_per_period
    started = time.perf_counter()
    planned = simulate(scenario, RollingHorizon(scenario, **parameters), tape).cost_per_period
    milliseconds = 1e3 * (time.perf_counter() - started) / worlds / tape.periods
    gain = base - planned
    print(f"{name}: echelon base-stock {base.mean():.3f}, rolling horizon {planned.mean():.3f} ({milliseconds:.1f} ms)")
    print(f"difference {gain.mean():.3f} +- {1.96 * gain.std(ddof=1) / np.sqrt(worlds):.3f} on {worlds} worlds")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        against_base_stock(sys.argv[1], int(sys.argv[2]), **eval(sys.argv[3] if len(sys.argv) > 3 else "{}"))
    else:
        decision_times()
