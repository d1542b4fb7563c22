"""How long a decision of the rolling horizon takes by the size of the network, and what it gains over tuned levels.

python -m echelongym.experiments.studies.planning_speed
one warehouse and n stores: milliseconds a decision, and seconds a world of the perfect-information bound
python -m echelongym.experiments.studies.planning_speed grocery 16 scenarios=4
a scenario, and so many test worlds: the rolling horizon, with these of its parameters, against tuned echelon
base-stock on the same worlds
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.agents.planning.rolling import RollingHorizon
from echelongym.agents.tuning.tuner import tune
from echelongym.envs import Decision, Observation, Scenario, simulate
from echelongym.envs.core.errors import expected
from echelongym.envs.worlds.world_sample import sample_of_tape

from ..statistics import paired_comparison
from .console import StudyParser, start

STORES = (10, 25, 50, 100, 198)
LEFT_OUT = 2  # first decisions of a world, in which the solver has no basis to start from


def store_network(stores: int, horizon: int = 40, seed: int = 0) -> dict[str, Any]:
    """One supplier, one warehouse, so many unlike stores with lost sales: the mapping of a scenario."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Any] = {"supplier": {"kind": "supplier"}, "warehouse": {"holding_cost": 0.3}}
    lanes: dict[str, Any] = {"inbound": {"source": "supplier", "target": "warehouse", "lead_time": 3}}
    customers: dict[str, Any] = {}
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


class Timed:
    """A policy that notes how long each of its decisions takes.

    Attributes
    ----------
    seconds
        Wall-clock seconds of each decision so far.
    """

    def __init__(self, policy: RollingHorizon) -> None:
        self.policy = policy
        self.seconds: list[float] = []

    def __call__(self, observation: Observation) -> Decision:
        """Decide, and note the time."""
        started = time.perf_counter()
        decision = self.policy(observation)
        self.seconds.append(time.perf_counter() - started)
        return decision


def decision_times() -> None:
    """Print a row for each number of stores."""
    print("nodes  horizon  rows  columns  ms a decision (start-up left out)  s a world of the bound")
    for stores in STORES:
        scenario = Scenario.from_mapping(store_network(stores))
        tape = scenario.sample(worlds=1, seed=0, purpose="test")
        policy = RollingHorizon(scenario)
        timed = Timed(policy)
        simulate(scenario, timed, tape, kpis=False)
        rows, columns = next(iter(policy._programs.values()))[0].shape
        bound = perfect_information(scenario, tape)
        spent = f"{1e3 * float(np.mean(timed.seconds[LEFT_OUT:])):.1f}"
        print(
            f"{stores + 2:5d} {policy.horizon:8d} {rows:5d} {columns:8d} {spent:>12s} {bound.seconds:12.2f}", flush=True
        )


def against_base_stock(name: str, worlds: int, parameters: Mapping[str, Any]) -> None:
    """Print mean costs a period of the rolling horizon and of tuned echelon base-stock, and their paired difference."""
    scenario = Scenario.load(name)
    tape = scenario.sample(worlds=worlds, seed=0, purpose="test")
    policy = RollingHorizon(scenario, **parameters)
    tuned = tune(scenario, "echelon_base_stock", progress=False).rule
    base = simulate(scenario, tuned, tape).cost_per_period
    started = time.perf_counter()
    planned = simulate(scenario, policy, tape).cost_per_period
    milliseconds = 1e3 * (time.perf_counter() - started) / worlds / tape.periods
    gain = paired_comparison(base, planned, sample_of_tape(tape)).difference
    print(f"{name}: echelon base-stock {base.mean():.3f}, rolling horizon {planned.mean():.3f} ({milliseconds:.1f} ms)")
    print(f"it saves {gain.mean:.3f} [{gain.low:.3f}, {gain.high:.3f}] a period on {worlds} worlds")


def main() -> None:
    """Read the command line and print what it asks for."""
    parser = StudyParser(__doc__)
    parser.add_argument("scenario", nargs="?", help="name or path of a scenario; none: networks of n stores")
    parser.add_argument("worlds", nargs="?", default="16", help="test worlds, 2 or more")
    parser.add_argument("parameter", nargs="*", help="NAME=VALUE of the rolling horizon")
    given = parser.parse_args()
    if given.scenario is None:
        return decision_times()
    if not (given.worlds.isdigit() and int(given.worlds) >= 2):
        raise expected("worlds", given.worlds, "a whole number of 2 or more")
    parameters = {}
    for word in given.parameter:
        name, equals, value = word.partition("=")
        if not equals:
            raise expected("parameter", word, "NAME=VALUE")
        parameters[name] = yaml.safe_load(value)
    against_base_stock(given.scenario, int(given.worlds), parameters)


if __name__ == "__main__":
    start(main)
