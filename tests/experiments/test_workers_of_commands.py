"""Commands with workers: the same results for any number of them, and nothing left behind however a command ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from needs import needs_linux
from processes import children

from echelongym.experiments.main import main

STORE = """
horizon: 40
warm_up: 10
nodes:
  supplier: {kind: supplier}
  depot: {holding_cost: 0.5, initial: 30}
  store: {holding_cost: 1.0, initial: 12}
lanes:
  inbound: {source: supplier, target: depot, lead_time: 2, purchase_cost: 1.0}
  supply: {source: depot, target: store, lead_time: 1}
customers:
  shop: {sources: {store: {}}, demand: {kind: gamma, mean: 5, standard_deviation: 2}, lost_share: 0.0, backorder_cost: 9.0}
"""
TIMES = {"seconds", "cpu_seconds", "decision_microseconds"}
TUNING = ["tuning=quick", "tuning.worlds=8", "tuning.judged=16", "tuning.budget=6000", "tuning.cache=null"]
BOUNDS = ["bounds.worlds=10", "bounds.steps=2", "bounds.cache=null"]
COMMANDS = {
    "simulate": ["simulate", "evaluation.worlds=300"],
    "tune": ["tune", *TUNING, "tuning.refit=2", "tuning.budget=null"],
    "benchmark": [
        "benchmark", "policies=[local_base_stock,echelon_base_stock]", "pictures=false",
        "evaluation.worlds=130", *TUNING, *BOUNDS,
    ],
    "bound": ["bound", *TUNING, *BOUNDS],
    "sweep": ["simulate", "evaluation.worlds=8", "-m", "evaluation.seed=1,2,3"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store.yaml").write_text(STORE)


def plain(value):
    """Results without times."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in TIMES}
    return [plain(item) for item in value] if isinstance(value, list) else value


def results(folder):
    """All tables and summaries of a run folder."""
    files = [path for path in sorted(Path(folder).rglob("*")) if path.suffix in (".json", ".csv")]
    assert files
    return {
        str(path.relative_to(folder)): plain(json.loads(path.read_text()))
        if path.suffix == ".json"
        else path.read_text()
        for path in files
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_results_are_the_same_for_any_number_of_workers(command, capsys):
    for workers in (1, 2, 3, "auto"):
        words = [*COMMANDS[command], "scenario=store.yaml", f"workers={workers}", f"run={workers}", "progress=false"]
        assert main(words) == 0, capsys.readouterr().err
    assert results("1") == results("2") == results("3") == results("auto")


@pytest.mark.parametrize("workers", ["0", "-1", "2.5", "many"])
def test_what_is_no_number_of_workers_is_one_line(workers, capsys):
    assert main(["tune", "scenario=store.yaml", f"workers={workers}"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("echelongym: tune: workers = ")
    assert said.endswith(': expected "auto" or a whole number >= 1 and <= 1024')


def alive(number):
    """Whether a process is there and no mere entry of one that has ended."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


CODE = "import sys; from echelongym.experiments.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, "terminal"])
@pytest.mark.parametrize("command", ["bound", "train"])
def test_nothing_is_left_of_a_command_that_is_ended(how, command):
    words = {
        "bound": [
            "bound",
            "bounds.worlds=2000",
            "bounds.penalty=false",
            "tune=false",
            "open_loop=false",
            "exact=false",
        ],
        "train": ["train", "agent=pathwise", "-m", "seed=0,1,2", "budget.cpu_seconds=300", "reference=automatic"],
    }[command]
    words += ["scenario=store.yaml", "scenario.horizon=300", "workers=2", "progress=false", "run=out"]
    child = subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what a shell runs behind ignores it
    )
    deadline = time.monotonic() + 120
    while len(children(child.pid)) < 3:  # two workers, and what tracks their resources
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(3.0)
    started = children(child.pid)
    if how == "terminal":  # Ctrl-C goes to all of them
        os.killpg(child.pid, signal.SIGINT)
    else:
        child.send_signal(how)
    said = child.communicate(timeout=60)[1]
    deadline = time.monotonic() + 20
    while any(map(alive, started)):
        assert time.monotonic() < deadline, "orphans go on"
        time.sleep(0.05)
    if how in (signal.SIGINT, "terminal"):
        assert child.returncode == 130
        assert said.startswith("echelongym: stopped"), said
        assert said.count("\n") == 1, said


@pytest.mark.slow
@needs_linux
def test_a_worker_that_is_killed_is_one_line():
    words = ["bound", "bounds.worlds=2000", "bounds.penalty=false", "tune=false", "open_loop=false", "exact=false"]
    words += ["scenario=store.yaml", "scenario.horizon=300", "workers=2", "progress=false", "run=out"]
    child = subprocess.Popen([sys.executable, "-c", CODE, *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(children(child.pid)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2.0)
    os.kill(max(children(child.pid)), signal.SIGKILL)
    said = child.communicate(timeout=60)[1]
    assert child.returncode == 2
    assert said.startswith("echelongym: workers = 2: a worker process ended in the middle of its work")
    assert said.count("\n") == 1, said
