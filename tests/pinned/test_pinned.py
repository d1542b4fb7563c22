"""What the code gave, wrote and named before its modules moved is what it gives, reads and names now.

The pins lie in ``tests/pinned``; ``make_pinned.py`` made them. Bits of worlds, levels and costs depend on the last digit
of exponentials, quantiles, sums and matrix products, so on the processor, NumPy and SciPy: pins to the bit hold where the
digest of such operations (``arithmetic``) is that of the machine they were made on. Elsewhere sums of every array are held
to nine digits. What trained policies decide, and how trainings go on, depends on PyTorch's kernels, and is held to five.
"""

from __future__ import annotations

import base64
import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pinned_worlds import (
    FOLDER,
    SEEDS,
    arithmetic,
    digests,
    pinned,
    public_names,
    scenario_named,
    scenario_names,
    worlds,
)
from shipped import LARGE

from echelongym.envs import MissingExtra, Scenario

SAVED = FOLDER / "saved"
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def stored(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")


# Names and worlds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("package", stored("names.json"))
def test_public_names_are_still_there(package):
    missing = set(stored("names.json")[package]) - set(public_names()[package])
    assert not missing, f"{package}: {', '.join(sorted(missing))}"


def test_digests_of_scenarios_are_the_same():
    """Files are held against scenarios by them, and caches found."""
    assert digests() == stored("scenarios.json")["digests"]


@pytest.fixture(scope="module")
def pins() -> dict[str, Any]:
    found: dict[str, Any] = stored("worlds.json")
    assert sorted(found) == sorted(f"{name} {seed}" for name in scenario_names() for seed in SEEDS)
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == LARGE)) for name in scenario_names()]
)
def test_worlds_are_the_same(pins, name, seed):
    """Tape, both environments, every quick rule: to the bit on the same arithmetic, else to nine digits."""
    try:
        scenario = scenario_named(name)
        found = {key: pinned(value) for key, value in worlds(scenario, seed).items()}
    except MissingExtra as error:
        pytest.skip(str(error))
    wanted = pins[f"{name} {seed}"]
    assert not set(wanted) - set(found), "quantities that are gone"
    for key in wanted:  # the sums first: they say by how much, and on what arithmetic ever
        np.testing.assert_allclose(found[key][1:], wanted[key][1:], rtol=1e-9, atol=1e-9, err_msg=key)
    if arithmetic() == stored("scenarios.json")["arithmetic"]:
        changed = [key for key in wanted if found[key][0] != wanted[key][0]]
        assert not changed, f"other bits: {', '.join(changed)}"


def test_a_pin_knows_one_bit():
    array = np.linspace(0.0, 1.0, 50)
    other = array.copy()
    other[7] = np.nextafter(other[7], 2.0)
    assert pinned(array)[0] != pinned(other)[0] == pinned(other.copy())[0]
    assert pinned(array)[0] != pinned(array.astype(np.float32))[0]
    np.testing.assert_allclose(pinned(array)[1:], pinned(other)[1:])
    assert not np.allclose(pinned(array)[1:], pinned(array[::-1])[1:])


# Files that users have -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files() -> Any:
    for package in ("torch", "stable_baselines3", "onnxruntime"):
        pytest.importorskip(package)
    import pinned_files

    return pinned_files


@pytest.fixture(scope="module")
def costs(files) -> dict[str, Any]:
    found: dict[str, Any] = stored(files.COSTS)
    return found


def test_saved_policies_decide_and_cost_what_they_did(files, costs):
    assert list(costs["policies"]) == list(files.POLICIES)
    for path, wanted in costs["policies"].items():
        found = files.policy_costs(path)
        for key, value in wanted.items():
            np.testing.assert_allclose(found[key], value, err_msg=f"{path}: {key}", **CLOSE)


def test_saved_tape_and_readable_rule_cost_what_they_did(files, costs):
    np.testing.assert_allclose(files.tape_costs(), costs["tape"], rtol=1e-12)
    np.testing.assert_allclose(files.readable_costs(), costs["readable"], rtol=1e-12)


def test_trainings_go_on_from_their_checkpoints_as_they_did(files, costs, tmp_path):
    """Each to the curve and the policy that it reached when its checkpoint was written."""
    for name, wanted in costs["resumed"].items():
        found = files.resumed(name, tmp_path)
        assert len(found["curve"]) == len(wanted["curve"]), name
        for row, other in zip(found["curve"], wanted["curve"], strict=True):
            assert row == pytest.approx(other, rel=1e-4, abs=1e-5), name
        np.testing.assert_allclose(found["costs"], wanted["costs"], err_msg=name, **CLOSE)


def test_run_folders_name_the_scenarios_that_they_were_made_with():
    folders = [path for path in SAVED.iterdir() if path.is_dir()]
    assert {"tune", "benchmark", "read", "train_ppo", "train_pathwise"} <= {path.name for path in folders}
    for folder in folders:
        digest = Scenario.load(folder / "scenario.yaml").digest
        assert json.loads((folder / "summary.json").read_text()).get("digest", digest) == digest, folder.name


@pytest.mark.parametrize("command", ["tune", "benchmark", "train", "read", "export"])
def test_settings_of_run_folders_are_still_understood(files, command):
    """Every key that a command wrote into ``config.yaml`` is one that it takes."""
    from importlib import import_module

    for folder in SAVED.glob(f"{command}*"):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        settings = import_module(f"echelongym.experiments.commands.{command}").Settings.model_validate(config)
        assert_kept(config, json.loads(json.dumps(settings.to_dict())), folder.name)


def assert_kept(written, read, where):
    """All that was written is read as it was; keys that came later stand at their defaults."""
    if isinstance(written, dict):
        for key, value in written.items():
            assert key in read, f"{where}: {key} is gone"
            assert_kept(value, read[key], f"{where}: {key}")
    elif isinstance(written, list):
        assert len(written) == len(read), where
        for number, (one, other) in enumerate(zip(written, read, strict=True)):
            assert_kept(one, other, f"{where}: {number}")
    else:
        assert written == read, where


def test_benchmark_typed_again_gives_its_table(files, tmp_path, monkeypatch):
    """Its rules are tuned anew, to the same levels; its run folders are read."""
    from echelongym.experiments.main import main

    monkeypatch.chdir(SAVED)
    config = yaml.safe_load((SAVED / "benchmark" / "config.yaml").read_text())
    chosen = (
        "tuning.worlds",
        "tuning.judged",
        "tuning.budget",
        "evaluation.worlds",
        "open_loop",
        "pictures",
        "progress",
    )
    given = []
    for key in chosen:
        value = config
        for part in key.split("."):
            value = value[part]
        given.append(f"{key}={json.dumps(value)}")
    policies = "policies=[local_base_stock,tune/rule.yaml,[train_ppo],export_ppo]"
    again = tmp_path / "again"
    command = ["benchmark", "scenario=tune/scenario.yaml", policies, "tuning.cache=null", "bounds=none", f"run={again}"]
    assert main([*command, *given]) == 0
    with (SAVED / "benchmark" / "worlds.csv").open() as one, (again / "worlds.csv").open() as other:
        for wanted, found in zip(csv.DictReader(one), csv.DictReader(other), strict=True):
            for key, value in wanted.items():
                same = found[key] == value or float(found[key]) == pytest.approx(float(value), rel=1e-5)
                assert same, (key, value, found[key])


def test_former_modules_are_light_and_hold_their_classes_alone():
    """In a process that has imported nothing yet, as one that reads a zip with Stable-Baselines3 alone."""
    code = (
        "import sys; import echelongym.agents.graph_policy as one; assert 'torch' not in sys.modules; "
        "from echelongym.agents.graph_features import GraphLayout; "
        "assert GraphLayout.__module__.endswith('networks.graph_features'); "
        "assert not hasattr(one, 'os') and not hasattr(one, 'GraphLayout')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_stable_baselines3_alone_reads_an_earlier_zip(files):
    import torch
    from stable_baselines3 import PPO

    from echelongym.agents import load_policy

    path = SAVED / "train_ppo_graph" / "model.zip"
    policy = load_policy(path, Scenario.load(path.parent / "scenario.yaml"), trust=True)
    seen = np.random.default_rng(0).normal(size=(20, policy.encoder.size)).astype(np.float32)
    acted = PPO.load(path, device="cpu").predict(seen, deterministic=True)[0]
    np.testing.assert_allclose(policy.act(torch.from_numpy(seen)).numpy(), acted, **CLOSE)


def test_zip_that_names_a_module_that_has_moved(files, tmp_path, monkeypatch):
    """The graph classes of a zip are found under a former path, and nothing else is."""
    from echelongym.agents import load_policy, pickled_paths
    from echelongym.envs import InputError

    former = {path: path[:-3] + "was" for path in pickled_paths.FORMER}
    moved = tmp_path / "moved.zip"
    with zipfile.ZipFile(SAVED / "train_ppo_graph" / "model.zip") as old, zipfile.ZipFile(moved, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, _renamed(content, former) if name == "data" else content)
    scenario = Scenario.load(SAVED / "train_ppo_graph" / "scenario.yaml")
    with pytest.raises(InputError, match="cannot load this zip"):
        load_policy(moved, scenario, trust=True)
    table = {former[path]: classes for path, classes in pickled_paths.FORMER.items()}
    for path, classes in table.items():
        monkeypatch.setitem(sys.modules, path, pickled_paths.FormerModule(path, classes))
    load_policy(moved, scenario, trust=True)
    for path in table:
        monkeypatch.setitem(sys.modules, path, pickled_paths.FormerModule(path, {"int": "builtins"}))
    with pytest.raises(InputError, match="cannot load this zip"):
        load_policy(moved, scenario, trust=True)


def _renamed(data: bytes, paths: dict[str, str]) -> str:
    """The data of a zip with other module paths, of the same length, in its pickles."""
    found = json.loads(data)
    for value in found.values():
        if isinstance(value, dict) and ":serialized:" in value:
            content = base64.b64decode(value[":serialized:"])
            for path, other in paths.items():
                content = content.replace(path.encode(), other.encode())
            value[":serialized:"] = base64.b64encode(content).decode()
    return json.dumps(found)
