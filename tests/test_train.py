"""Training from the command line: it learns, a killed run continues to the same policy, and nothing untrusted is loaded."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from echelongym.agents import load_policy
from echelongym.envs import InputError, Scenario, simulate
from echelongym.experiments.train import train

SETTINGS = {
    "budget": {"env_steps": 16_384, "cpu_seconds": None},
    "validation": {"worlds": 16, "seed": 0, "times": 4},
    "checkpoint_seconds": 0.001,
    "tensorboard": False,
    "progress": False,
}


def weights(folder):
    with np.load(folder / "policy.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ppo"
    return train("lost_sales", "ppo", folder, seed=3, **SETTINGS)


def test_a_seed_names_a_policy(trained, tmp_path):
    again = train("lost_sales", "ppo", tmp_path / "again", seed=3, **SETTINGS)
    other = train("lost_sales", "ppo", tmp_path / "other", seed=4, **SETTINGS)
    mine, same, different = weights(trained), weights(again), weights(other)
    assert mine.keys() == same.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], same[name])
    floats = [name for name in mine if mine[name].dtype.kind == "f"]
    assert any((mine[name] != different[name]).any() for name in floats)


def test_a_killed_run_continues_to_the_same_policy(trained, tmp_path):
    """Killed without warning in the middle, then resumed: as many steps, the same weights as if nothing had happened."""
    folder = tmp_path / "killed"
    flat = [
        *(f"budget.{key}={'null' if value is None else value}" for key, value in SETTINGS["budget"].items()),
        *(f"validation.{key}={value}" for key, value in SETTINGS["validation"].items()),
    ]
    command = [
        *(sys.executable, "-m", "echelongym.experiments.main", "train", "scenario=lost_sales", "agent=ppo", "seed=3"),
        *(*flat, "checkpoint_seconds=0.001", "tensorboard=false", "progress=false", f"run={folder}"),
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and not list(folder.glob("checkpoints/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert list(folder.glob("checkpoints/*"))
    resumed = subprocess.run([*command, "resume=true"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    summary, whole = (json.loads((place / "summary.json").read_text()) for place in (folder, trained))
    assert summary["env_steps"] == whole["env_steps"] == SETTINGS["budget"]["env_steps"]
    mine, same = weights(trained), weights(folder)
    for name in mine:
        np.testing.assert_array_equal(mine[name], same[name])


def test_the_run_folder_is_a_policy_without_trust(trained):
    """And better than the levels it started from, on worlds it has not seen."""
    scenario = Scenario.load("lost_sales")
    tape = scenario.sample(worlds=128, seed=5, purpose="test")
    learned = simulate(scenario, load_policy(trained, scenario), tape, kpis=False).cost_per_period
    rule = simulate(scenario, load_policy("echelon_base_stock", scenario), tape, kpis=False).cost_per_period
    difference = learned - rule
    assert difference.mean() + 2 * difference.std() / np.sqrt(len(difference)) < 0


def test_a_zip_is_loaded_only_if_trusted(trained):
    scenario = Scenario.load("lost_sales")
    path = trained / "model.zip"
    with pytest.raises(InputError, match="trust"):
        load_policy(path, scenario)
    tape = scenario.sample(worlds=4, seed=5, purpose="test")
    assert simulate(scenario, load_policy(path, scenario, trust=True), tape).cost_per_period.shape == (4,)


def test_a_policy_for_another_network_is_refused(trained):
    with pytest.raises(InputError, match=r"another network.*products\[0\]"):
        load_policy(trained, Scenario.load("two_region"))


def test_a_folder_that_is_taken_is_refused(trained):
    with pytest.raises(InputError):
        train("lost_sales", "ppo", trained, seed=3, **SETTINGS)


def test_sac_trains_and_is_a_policy(tmp_path):
    settings = {**SETTINGS, "budget": {"env_steps": 1_024, "cpu_seconds": None}}
    folder = train("two_region", "sac", tmp_path / "sac", seed=0, **settings)
    scenario = Scenario.load("two_region")
    tape = scenario.sample(worlds=2, seed=5, purpose="test")
    assert np.isfinite(simulate(scenario, load_policy(folder, scenario), tape).cost_per_period).all()
