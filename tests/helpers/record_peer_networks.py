"""Record what other packages' simulators do with a given demand and given requests, for `test_peer_networks.py`.

`python tests/helpers/record_peer_networks.py FOLDER` writes `peer_networks.json` beside this file: numbers only. It needs what
this project does not: gym-invmgmt 0.2.1 installed, and in FOLDER the module `inventory_management.py` of OR-Gym 0.5.0
(from its wheel, `or_gym/envs/supply_chain`; the package itself wants a gym that current tools do not install).
"""

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

PERIODS = 30
# The seeds of arXiv 2605.11355, with the profit of its perfect-information program on each, as published in
# docs/data/leaderboard.json of github.com/r2barati/gym-invmgmt-paper (stationary demand, base network).
SEEDS = [42, 123, 456, 789, 1011, 2022, 3033, 4044, 5055, 6066]
BACKLOG = [857.9, 873.5, 845.8, 790.4, 778.7, 839.8, 799.2, 918.2, 898.8, 854.6]
LOST_SALES = [857.9, 851.6, 845.8, 790.4, 778.7, 839.8, 799.2, 902.8, 898.8, 854.6]


def network(backlog: bool, seed: int) -> dict[str, Any]:
    """An episode of the base network under random requests that overdraw stock but not capacity."""
    from gym_invmgmt import CoreEnv

    env = CoreEnv(scenario="network", num_periods=PERIODS, backlog=backlog)
    links = env.network.reorder_links
    env.reset(seed=seed)
    random = np.random.default_rng(seed)
    most = np.array([11 if buyer == 1 else 40 if buyer in (2, 3) else 20 for _, buyer in links])
    requests = random.integers(0, most + 1, size=(PERIODS, len(links)))
    requests[:, :2] += 90 * (random.random((PERIODS, 2)) < 0.1)
    rewards = [env.step(row.astype(float))[1] for row in requests]
    return {
        "backlog": backlog,
        "requests": requests.tolist(),
        "demand": env.D[:, 0].astype(int).tolist(),
        "filled": env.R.astype(int).tolist(),
        "on_hand": env.X[1:, [4, 5, 6, 2, 3, 1]].astype(int).tolist(),
        "unserved": env.U[:, 0].astype(int).tolist(),
        "reward": [float(reward) for reward in rewards],
    }


def demand_of(seed: int) -> list[int]:
    """Demand of the base network in the episode that a seed names."""
    from gym_invmgmt import CoreEnv

    env = CoreEnv(scenario="network", num_periods=PERIODS)
    env.reset(seed=seed)
    for _ in range(PERIODS):
        env.step(np.zeros(len(env.network.reorder_links)))
    return list(env.D[:, 0].astype(int).tolist())


def chain(folder: Path, name: str) -> dict[str, Any]:
    """OR-Gym's InvManagement, 20 units requested by every stage in every period."""
    import gymnasium

    for alias in ("gym", "or_gym", "or_gym.utils", "or_gym.utils.env_config"):
        sys.modules.setdefault(alias, types.ModuleType(alias))
    sys.modules["gym"] = gymnasium
    for alias in ("or_gym.utils", "or_gym.utils.env_config"):
        sys.modules[alias].assign_env_config = lambda env, given: [setattr(env, k, v) for k, v in given.items()]
    vars(np)["Inf"] = np.inf  # an alias of old
    spec = importlib.util.spec_from_file_location("inventory_management", folder / "inventory_management.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    demand = np.random.default_rng(0).poisson(20, PERIODS)
    env = getattr(module, name)(dist=5, user_D=demand)
    env.reset()
    rewards = [float(env.step(np.full(3, 20))[1]) for _ in range(PERIODS)]
    return {"backlog": bool(env.backlog), "demand": demand.tolist(), "reward": rewards}


def main(folder: Path) -> None:
    found = {
        "about": "Recorded by record_peer_networks.py from gym-invmgmt 0.2.1 and OR-Gym 0.5.0.",
        "network": [network(True, 7), network(False, 8)],
        "published": {
            "seeds": SEEDS,
            "demand": [demand_of(seed) for seed in SEEDS],
            "backlog": BACKLOG,
            "lost_sales": LOST_SALES,
        },
        "chain": [chain(folder, "InvManagementBacklogEnv"), chain(folder, "InvManagementLostSalesEnv")],
    }
    text = json.dumps(found).replace("], ", "],\n").replace(', "', ',\n"')
    Path(__file__).with_name("peer_networks.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
