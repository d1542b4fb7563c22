"""What the saved files of ``tests/pinned/saved`` decide and cost when they are read, and how trainings go on from them."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from pinned_worlds import FOLDER

from echelongym.agents import load_policy
from echelongym.agents.reading import load_readable
from echelongym.envs import NetworkEnv, Scenario, Tape, simulate
from echelongym.experiments.main import main

SAVED = FOLDER / "saved"
COSTS = "costs.json"
#: Policies by the path that a user gives, and the folder whose scenario they are for.
POLICIES = {
    "train_ppo": "train_ppo",
    "train_ppo/policy.npz": "train_ppo",
    "train_ppo/model.zip": "train_ppo",
    "train_ppo_graph": "train_ppo_graph",
    "train_ppo_graph/model.zip": "train_ppo_graph",
    "train_sac": "train_sac",
    "train_sac/model.zip": "train_sac",
    "train_pathwise": "train_pathwise",
    "train_pathwise_graph": "train_pathwise_graph",
    "train_pathwise_recurrent": "train_pathwise_recurrent",
    "tune": "tune",
    "tune/rule.yaml": "tune",
    "export_ppo": "export_ppo",
    "export_rule": "export_rule",
    "read/rule.yaml": "read",
}
TRAININGS = ("train_ppo", "train_ppo_graph", "train_sac", "train_pathwise", "train_pathwise_recurrent")
MORE = 4608  # env-steps that trainings, which ended at 4096, go on to


def policy_costs(path: str) -> dict[str, list[Any]]:
    """Requests of the first period and costs of three worlds under a saved policy."""
    scenario = Scenario.load(SAVED / POLICIES[path] / "scenario.yaml")
    policy = load_policy(str(SAVED / path), scenario, trust=True)
    env = NetworkEnv(scenario, purpose="test")
    env.reset(seed=5)
    if hasattr(policy, "start"):
        policy.start(1)
    return {
        "requests": np.asarray(policy(env.observation).requests).tolist(),
        "cost_per_period": _costs(scenario, policy, scenario.sample(3, 5, "test")),
    }


def _costs(scenario: Scenario, policy: Any, tape: Tape) -> list[float]:
    costs: list[float] = simulate(scenario, policy, tape, kpis=False).cost_per_period.tolist()
    return costs


def tape_costs() -> list[float]:
    """Costs of automatic levels on the saved tape."""
    scenario = Scenario.load(SAVED / "tune" / "scenario.yaml")
    return _costs(scenario, load_policy("echelon_base_stock", scenario), Tape.load(SAVED / "tape.npz"))


def readable_costs() -> list[float]:
    """Costs of the rule that ``read`` fitted."""
    scenario = Scenario.load(SAVED / "read" / "scenario.yaml")
    return _costs(scenario, load_readable(SAVED / "read" / "rule.yaml", scenario), scenario.sample(3, 5, "test"))


def resumed(name: str, folder: Path) -> dict[str, Any]:
    """The learning curve of a training that went on from its checkpoint, and what its policy then costs.

    ``folder`` is where a copy of the run folder is put.
    """
    copy = folder / name
    shutil.copytree(SAVED / name, copy)
    code = main(["train", "resume=true", f"run={copy}", f"budget.env_steps={MORE}", "progress=false"])
    assert code == 0
    scenario = Scenario.load(copy / "scenario.yaml")
    with (copy / "progress.csv").open() as file:
        curve = [
            {key: float(value) for key, value in row.items() if value and _is_result(key)}
            for row in csv.DictReader(file)
        ]
    return {"curve": curve, "costs": _costs(scenario, load_policy(copy, scenario), scenario.sample(3, 5, "test"))}


def _is_result(key: str) -> bool:
    return "second" not in key


def read_costs(folder: Path) -> dict[str, Any]:
    """All of the above by name."""
    return {
        "policies": {path: policy_costs(path) for path in POLICIES},
        "tape": tape_costs(),
        "readable": readable_costs(),
        "resumed": {name: resumed(name, folder) for name in TRAININGS},
    }
