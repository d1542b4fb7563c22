"""Record what other packages' simulators do with a given demand and given requests, as truth for tests.

    python -m echelongym.experiments.studies.record_peer_networks FOLDER tests/helpers/peer_networks.json

The file, numbers only, is what ``tests/envs/dynamics/test_peer_networks.py`` compares with. The study needs what this
project does not: gym-invmgmt 0.2.1 installed, and in FOLDER the module ``inventory_management.py`` of OR-Gym 0.5.0 (from
its wheel, ``or_gym/envs/supply_chain``; the package itself wants a gym that current tools do not install).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.storage.files import write_text

from .console import StudyParser, start

PERIODS = 30
# The seeds of arXiv 2605.11355, with the profit of its perfect-information program on each, as published in
# docs/data/leaderboard.json of github.com/r2barati/gym-invmgmt-paper (stationary demand, base network).
SEEDS = [42, 123, 456, 789, 1011, 2022, 3033, 4044, 5055, 6066]
BACKLOG = [857.9, 873.5, 845.8, 790.4, 778.7, 839.8, 799.2, 918.2, 898.8, 854.6]
LOST_SALES = [857.9, 851.6, 845.8, 790.4, 778.7, 839.8, 799.2, 902.8, 898.8, 854.6]


def core_env() -> Any:
    """The class of gym-invmgmt's environment.

    Raises
    ------
    InputError
        If the package is not installed.
    """
    try:
        return importlib.import_module("gym_invmgmt").CoreEnv
    except ModuleNotFoundError:
        raise InputError("gym-invmgmt is not installed: run  pip install gym-invmgmt==0.2.1") from None


def network(backlog: bool, seed: int) -> dict[str, Any]:
    """An episode of the base network under random requests that overdraw stock but not capacity."""
    env = core_env()(scenario="network", num_periods=PERIODS, backlog=backlog)
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
    env = core_env()(scenario="network", num_periods=PERIODS)
    env.reset(seed=seed)
    for _ in range(PERIODS):
        env.step(np.zeros(len(env.network.reorder_links)))
    return list(env.D[:, 0].astype(int).tolist())


def assign(env: object, given: dict[str, Any]) -> None:
    """Set attributes of an environment: what OR-Gym's modules call for their settings."""
    for key, value in given.items():
        setattr(env, key, value)


def or_gym_module(folder: Path) -> ModuleType:
    """OR-Gym's module of inventory chains, with stand-ins for the packages that it wants and does not use.

    Raises
    ------
    InputError
        If the folder does not hold it.
    """
    path = folder / "inventory_management.py"
    if not path.is_file():
        raise expected("FOLDER", str(folder), "the folder with inventory_management.py of OR-Gym 0.5.0")
    utilities = ("or_gym.utils", "or_gym.utils.env_config")
    for alias in ("or_gym", *utilities):
        sys.modules.setdefault(alias, ModuleType(alias))
    sys.modules["gym"] = gymnasium
    for alias in utilities:
        vars(sys.modules[alias])["assign_env_config"] = assign
    vars(np)["Inf"] = np.inf  # an alias that NumPy has dropped
    spec = importlib.util.spec_from_file_location("inventory_management", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def chain(module: ModuleType, name: str) -> dict[str, Any]:
    """OR-Gym's InvManagement, 20 units requested by every stage in every period."""
    demand = np.random.default_rng(0).poisson(20, PERIODS)
    env = getattr(module, name)(dist=5, user_D=demand)
    env.reset()
    rewards = [float(env.step(np.full(3, 20))[1]) for _ in range(PERIODS)]
    return {"backlog": bool(env.backlog), "demand": demand.tolist(), "reward": rewards}


def main() -> None:
    """Read the command line, run both packages, write the file."""
    parser = StudyParser(__doc__)
    parser.add_argument("folder", type=Path, help="folder with inventory_management.py of OR-Gym 0.5.0")
    parser.add_argument("file", type=Path, help="JSON file to write")
    given = parser.parse_args()
    module = or_gym_module(given.folder)
    found = {
        "about": "Recorded by record_peer_networks.py from gym-invmgmt 0.2.1 and OR-Gym 0.5.0.",
        "network": [network(True, 7), network(False, 8)],
        "published": {
            "seeds": SEEDS,
            "demand": [demand_of(seed) for seed in SEEDS],
            "backlog": BACKLOG,
            "lost_sales": LOST_SALES,
        },
        "chain": [chain(module, "InvManagementBacklogEnv"), chain(module, "InvManagementLostSalesEnv")],
    }
    text = json.dumps(found).replace("], ", "],\n").replace(', "', ',\n"')
    write_text(text + "\n", given.file)


if __name__ == "__main__":
    start(main)
