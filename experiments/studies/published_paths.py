"""Profit of policies on the ten demand paths that gym-invmgmt publishes results on.

    python -m echelongym.experiments.studies.published_paths tests/helpers/peer_networks.json POLICY ...

The file holds the paths (see :mod:`.record_peer_networks`); a policy is what ``load_policy`` takes: a rule's name, a
rule.yaml, a plan, a run folder. Profit is of an episode of 30 periods, mean over the paths, in our form of the network
(``production_network``), which counts holding a little differently: perfect information earns 843.0 in it and 845.7 in
theirs. In brackets stands Student's 95 % interval over the paths.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.agents import load_policy
from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.envs import Scenario, Tape, simulate
from echelongym.envs.core.errors import expected

from ..statistics import mean_interval
from .console import StudyParser, start


def demand_paths(path: Path) -> Any:
    """Demand of the recorded paths (paths, periods), units a period.

    Raises
    ------
    InputError
        If the file cannot be read or holds no such paths.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return np.array(found["published"]["demand"], dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError):
        raise expected("file of demand paths", str(path), "peer_networks.json of tests/helpers") from None


def main() -> None:
    """Read the command line and print the table."""
    parser = StudyParser(__doc__)
    parser.add_argument("paths", type=Path, help="peer_networks.json of tests/helpers")
    parser.add_argument("policy", nargs="*", help="a rule's name, a rule.yaml, a plan, a run folder")
    given = parser.parse_args()
    demand = demand_paths(given.paths)
    scenario = Scenario.load("production_network")
    policies = [load_policy(name, scenario) for name in given.policy]
    history = np.zeros((scenario.observe.history, len(demand)))
    tape = Tape.from_demand(scenario, np.concatenate([history, demand.T])[:, :, None, None])
    print(f"{'perfect information':32} {-scenario.horizon * perfect_information(scenario, tape).cost.mean():8.1f}")
    for name, policy in zip(given.policy, policies, strict=True):
        outcome = simulate(scenario, policy, tape, kpis=False)
        profit = scenario.horizon * np.asarray(outcome.profit_per_period)
        found = mean_interval(profit)
        print(f"{name[-32:]:32} {found.mean:8.1f} [{found.low:.1f}, {found.high:.1f}]", flush=True)


if __name__ == "__main__":
    start(main)
