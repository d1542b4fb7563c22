"""Our policies on the ten demand paths that gym-invmgmt publishes results on: `python published_paths.py POLICY ...`

Profit of an episode of 30 periods, mean over the paths, in our form of the network (`production_network`), which counts
holding a little differently: perfect information earns 843.0 in it and 845.7 in theirs (test_peer_networks.py).
"""

import json
import sys
from pathlib import Path

import numpy as np

from echelongym.agents import load_policy
from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.envs import Scenario, Tape, simulate

FACTS = json.loads((Path(__file__).parent / "peer_networks.json").read_text())


def main(policies: list[str]) -> None:
    scenario = Scenario.load("production_network")
    demand = np.array(FACTS["published"]["demand"], dtype=np.float64)
    history = np.zeros((scenario.observe.history, len(demand)))
    tape = Tape.from_demand(scenario, np.concatenate([history, demand.T])[:, :, None, None])
    print(f"{'perfect information':32} {-scenario.horizon * perfect_information(scenario, tape).cost.mean():8.1f}")
    for name in policies:
        outcome = simulate(scenario, load_policy(name, scenario), tape, kpis=False)
        profit = scenario.horizon * np.asarray(outcome.profit_per_period)
        print(f"{name[-32:]:32} {profit.mean():8.1f} +- {1.96 * profit.std(ddof=1) / len(profit) ** 0.5:.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
