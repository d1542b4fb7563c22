"""Without the extras: commands run, and what needs an extra names it; paths may begin with ~."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pinned_worlds import FOLDER

import echelongym
from echelongym.envs import Scenario, Tape
from echelongym.experiments.cli.compose import arguments

LIGHT = Path(__file__).with_name("light.py")
TUNING = "tuning.worlds=4 tuning.judged=4 tuning.budget=4000 tuning.cache=null"
BOUNDS = "bounds.worlds=2 bounds.cache=null bounds.penalty=false open_loop=false"


def light(folder, *commands):
    """Output and errors of commands run one after the other where nothing optional can be imported."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
    command = [sys.executable, str(LIGHT), *commands]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_commands_run_without_any_extra(tmp_path):
    commands = (
        "show scenario=lost_sales",
        "simulate scenario=two_region policy=echelon_base_stock evaluation.worlds=4",
        f"tune scenario=lost_sales policy=echelon_base_stock {TUNING}",
        f"benchmark scenario=lost_sales policies=[echelon_base_stock] evaluation.worlds=4 {TUNING} {BOUNDS}",
        f"bound scenario=lost_sales {BOUNDS} tune=false",
    )
    out, errors = light(tmp_path, *commands)
    assert [line for line in out.splitlines() if line.startswith("exit")] == [f"exit 0: {one}" for one in commands]
    assert "echelongym:" not in errors
    for said in (
        'no pictures: matplotlib is not installed: run  pip install "echelongym[pictures]"',
        'Tuned without gradients: torch is not installed: run  pip install "echelongym[train]"',
        "fill_rate",
        "optimum in the long run",
    ):
        assert said in out


def test_what_needs_an_extra_names_it_before_any_work(tmp_path):
    (tmp_path / "trained").mkdir()
    shutil.copy(FOLDER / "saved" / "train_ppo" / "policy.npz", tmp_path / "trained")
    commands = (
        "train scenario=lost_sales agent=ppo",
        "demo scenario=lost_sales",
        "tune scenario=serial policy=echelon_base_stock tuning.method=gradient",
        "simulate scenario=lost_sales policy=trained",
    )
    out, errors = light(tmp_path, *commands)
    assert out.splitlines() == [f"exit 2: {one}" for one in commands]
    assert errors.splitlines() == 4 * ['echelongym: torch is not installed: run  pip install "echelongym[train]"']


def test_paths_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    scenario = Scenario.load("lost_sales")
    scenario.save("~/mine.yaml")
    assert (tmp_path / "mine.yaml").is_file()
    assert Scenario.load("~/mine.yaml").digest == scenario.digest
    scenario.sample(2, periods=60).save("~/worlds.npz")
    assert Tape.load("~/worlds.npz").batch == 2
    assert echelongym.envs.NetworkEnv("~/mine.yaml").scenario.digest == scenario.digest
    made = arguments("benchmark", ["policies=[~/a,'~/b']", "run=~/here", "tuning.cache=a~/b"])
    assert made == [f"++policies=[{tmp_path}/a,'{tmp_path}/b']", f"++run={tmp_path}/here", "++tuning.cache=a~/b"]
    assert arguments("show", ["scenario=~/mine.yaml"])[0].startswith("scenario=mine-")
