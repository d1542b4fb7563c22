"""Runs that are killed, doubled, or come upon damage: they go on to the same result, and share nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from needs import needs_linux
from processes import children

from echelongym.agents.planning.linear_program.solver import Solver
from echelongym.agents.registry import RULES
from echelongym.agents.tuning.tuner import tune
from echelongym.envs.core.errors import InputError
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.envs.storage.cache import is_own_file, is_private
from echelongym.envs.storage.files import make_folder
from echelongym.envs.storage.journal import Journal, note, recording, step
from echelongym.envs.storage.locks import take
from echelongym.experiments.cli import hydra_jobs
from echelongym.experiments.cli.hydra_jobs import launch
from echelongym.experiments.commands import simulate as simulating
from echelongym.experiments.comparison.played import played
from echelongym.experiments.main import main
from echelongym.experiments.runs.claims import claim, claimed, unfinished
from echelongym.experiments.training import trainers

CODE = "import sys; from echelongym.experiments.main import main; sys.exit(main(sys.argv[1:]))"
STORE = """
horizon: 30
warm_up: 5
nodes: {supplier: {kind: supplier}, store: {holding_cost: 1.0, initial: 12}}
lanes: {supply: {source: supplier, target: store, lead_time: 2, purchase_cost: 1.0}}
customers:
  shop: {sources: {store: {}}, demand: {kind: gamma, mean: 5, standard_deviation: 2}, lost_share: 0.0, backorder_cost: 9.0}
"""
TUNE = ["tune", "scenario=store.yaml", "tuning=quick", "tuning.worlds=8", "tuning.judged=16", "tuning.budget=24000"]
TUNE += ["tuning.cache=null", "progress=false"]
# What a clock, the name of the folder or the number of processes says is no part of a result.
TIMES = {"resume", "seconds", "cpu_seconds", "export_seconds", "decision_microseconds"}
TIMES |= {"run", "from_cache", "workers", "time"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store.yaml").write_text(STORE)
    return tmp_path


def result(folder):
    """All that a run folder holds, without times."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if key not in TIMES}
        return [plain(item) for item in value] if isinstance(value, list) else value

    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            found[name] = plain(json.loads(path.read_text()))
        elif path.suffix == ".yaml" and path.name != "multirun.yaml":  # of Hydra: the words typed
            found[name] = plain(yaml.safe_load(path.read_text()))
        elif path.suffix == ".csv" and path.name not in ("progress.csv", "trainings.csv"):  # which hold times
            found[name] = path.read_text()
    return found


# The journal ---------------------------------------------------------------------------------------


def test_a_step_is_computed_once_and_kept_to_the_bit(tmp_path):
    values = [0.1 + 0.2, np.nan, -0.0, [1, "text", None, True], {"array": np.linspace(0, 1, 7, dtype=np.float32)}]
    calls = []
    for _ in range(2):
        with recording(Journal(tmp_path / "steps")):
            found = step("values", [np.arange(3), "x"], lambda: calls.append(1) or values)
    assert len(calls) == 1
    assert repr(found[:4]) == repr(values[:4])
    assert found[4]["array"].dtype == np.float32
    assert (found[4]["array"] == values[4]["array"]).all()
    with recording(Journal(tmp_path / "steps")):
        assert step("values", [np.arange(3), "y"], lambda: 5) == 5  # other inputs, another step
        assert step("values", [np.arange(3.0), "x"], lambda: 6) == 6


@pytest.mark.parametrize("how", ["cut", "flipped", "emptied", "swapped", "binary"])
def test_a_damaged_journal_costs_time_only(tmp_path, how):
    rng = np.random.default_rng(3)
    for _ in range(20):
        folder = tmp_path / f"steps{rng.integers(1 << 60)}"
        with recording(Journal(folder)):
            for number in range(5):
                step("square", number, lambda number=number: number**2)
            note("state", 1, [1.5], last=False)
            note("state", 1, [2.5], last=False)
        for path in folder.iterdir():
            content = bytearray(path.read_bytes())
            place = int(rng.integers(len(content)))
            if how == "cut":
                content = content[:place]
            elif how == "flipped":
                content[place] ^= 1 << int(rng.integers(8))
            elif how == "emptied":
                content = b""
            elif how == "swapped":
                content = content.replace(b'"value":4}', b'"value":5}')
            else:
                content = rng.bytes(200) + b"\n" + content
            path.write_bytes(content)
        with recording(Journal(folder)):
            assert [step("square", number, lambda number=number: number**2) for number in range(5)] == [0, 1, 4, 9, 16]


def test_steps_within_a_step_are_taken_up_until_it_is_finished(tmp_path):
    done = []

    def inner(number):
        return step("inner", number, lambda: done.append(number) or number**2)

    def outer(last):
        return step("outer", 1, lambda: sum(inner(number) for number in range(last)) if last < 6 else 1 / 0)

    with pytest.raises(RuntimeError), recording(Journal(tmp_path / "steps")):
        step("outer", 1, lambda: [inner(0), inner(1), fail()])
    with recording(Journal(tmp_path / "steps")):
        assert outer(4) == 14
    assert done == [0, 1, 2, 3]  # the first two were known
    kept = Journal(tmp_path / "steps")
    assert outer_value(kept) == 14
    assert len(kept) == 3  # what was known before, and the value that stands for all; nothing of the steps within it


def fail():
    raise RuntimeError


def outer_value(journal):
    with recording(journal):
        return step("outer", 1, fail)


def test_a_planner_goes_on_in_the_midst_of_an_episode_to_the_same_plans(tmp_path):
    scenario = Scenario.load("production_network").with_overrides({"horizon": 26, "warm_up": 0})
    tape = scenario.sample(2, 3, "test")

    steps = tmp_path / "steps"

    def plays(journal):
        policy = RULES["rolling_horizon"](scenario)
        with recording(journal):
            return simulate(scenario, policy, tape, trace=True)

    plain = plays(None)
    kept = plays(Journal(steps))
    (path,) = steps.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2 * 26  # a plan a world and period
    solved, solve = [], Solver.solve
    for cut in (0, 1, 2, 7, 23, 51, 52):
        path.write_bytes(b"".join(lines[:cut]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Solver, "solve", lambda *given: solved.append(1) or solve(*given))
            again = plays(Journal(steps))
        # Besides what is missing at most three plans a world, since where one ended is not kept of every plan.
        assert 52 - cut <= len(solved) <= 52 - cut + (6 if cut < 52 else 0)
        solved.clear()
        for other in (kept, again):
            assert (other.trace.requests == plain.trace.requests).all()
            assert (other.cost_per_period == plain.cost_per_period).all()
        for other in steps.iterdir():
            other.unlink()


def test_a_function_that_takes_long_is_not_asked_again(tmp_path):
    scenario = Scenario.load("store.yaml")
    tape = scenario.sample(3, 1, "test")
    rule, calls = RULES["echelon_base_stock"](scenario), []

    def slowly(observation):
        calls.append(int(observation.period[0]))
        if len(calls) == 8:
            raise KeyboardInterrupt
        time.sleep(0.021)
        return rule(observation)

    with pytest.raises(KeyboardInterrupt), recording(Journal(tmp_path / "steps")):
        played(scenario, slowly, tape, ["slowly"])
    with recording(Journal(tmp_path / "steps")):
        found = played(scenario, slowly, tape, ["slowly"])
    assert calls == [*range(8), *range(7, 30)]
    assert (found.cost_per_period == simulate(scenario, rule, tape).cost_per_period).all()
    with recording(Journal(tmp_path / "steps")):  # of another policy nothing is taken
        assert (played(scenario, lambda seen: rule(seen), tape, ["other"]).worlds) == (0, 1, 2)


@pytest.mark.parametrize(
    ("policy", "kills"),
    [
        ("rule", [4]),
        pytest.param("rule", [1, 3, 6], marks=pytest.mark.slow),
        pytest.param("function", [1, 4, 9, 200], marks=pytest.mark.slow),
        pytest.param("planner", [40, 900, 2000], marks=pytest.mark.slow),
    ],
)
def test_a_reading_goes_on_where_it_was_killed(tmp_path, policy, kills):
    """Killed after each share of its steps, the reading that goes on is equal in all that it writes."""
    if policy == "function":
        (tmp_path / "own_policy.py").write_text(OWN_POLICY)
    name = {"rule": "capped_echelon_base_stock", "function": "own_policy:ask", "planner": "rolling_horizon"}[policy]
    words = ["read", "scenario=store.yaml", f"policy={name}", "states.worlds=3", "states.periods=2", "table.worlds=4"]
    words += ["table.periods=6", "shock.worlds=4", "evaluation.worlds=4", "progress=false"]
    assert main([*words, "run=whole"]) == 0
    put, left = Journal.put, [0]

    def until(journal, *given):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        put(journal, *given)

    for number, steps in enumerate(kills):
        left[0] = steps
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Journal, "put", until)
            assert main([*words, f"run=half{number}"]) == (130 if left[0] < 0 else 0)
        killed = left[0] < 0
        assert killed or number  # the first at least
        assert main([*words, f"run=half{number}"]) == (0 if killed else 2)
        assert result(f"half{number}") == result("whole")


OWN_POLICY = """
import numpy as np, time
from echelongym.envs.interface.observation import Decision

def ask(observation):
    time.sleep(0.02)
    stock = observation.on_hand.sum(axis=(1, 2, 3)) + observation.in_transit.sum(axis=(1, 2, 3, 4))
    return Decision(np.maximum(18.0 - stock + observation.backlog.sum(axis=(1, 2, 3)), 0.0)[:, None, None])
"""


def test_the_last_judging_of_a_tuning_is_kept(tmp_path, monkeypatch):
    scenario = Scenario.load("store.yaml").with_overrides({"customers.shop.targets.fill_rate": 0.95})
    how = {"worlds": 4, "judged": 8, "budget": 3000, "method": "search", "progress": False, "refit": 1}
    with recording(Journal(tmp_path / "steps")):
        first = tune(scenario, "echelon_base_stock", **how).summary()
    monkeypatch.setattr("echelongym.agents.tuning.judging.simulate", fail)
    with recording(Journal(tmp_path / "steps")):
        second = tune(scenario, "echelon_base_stock", **how).summary()
    assert first.pop("tuning_budget")["evaluations"] == second.pop("tuning_budget")["evaluations"]
    assert first["targets"][0]["status"]
    assert json.dumps(first) == json.dumps(second)


# Run folders ---------------------------------------------------------------------------------------


def test_a_name_belongs_to_one_run(tmp_path):
    with claimed(tmp_path / "run", {"seed": 1}):
        with pytest.raises(InputError, match=r"run = .*run': expected another folder, as process \d+ is at work"):
            claim(tmp_path / "run", {"seed": 1}, named=True)
        other = claim(tmp_path / "run", {"seed": 1}, named=False)
        assert other.folder == tmp_path / "run-2"
        other.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["store.yaml"]


def test_an_unfinished_run_is_taken_up_by_the_same_settings_alone(tmp_path):
    def interrupted():
        with claimed(tmp_path / "run", {"seed": 1, "progress": True}):
            step("one", 1, lambda: 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert unfinished(tmp_path / "run") == {"seed": 1}  # with what it was asked for
    with pytest.raises(InputError, match="holds an unfinished run with another seed"):
        claim(tmp_path / "run", {"seed": 2})
    again = claim(tmp_path / "later", {"seed": 1, "progress": False}, named=False)
    assert (again.folder, again.taken_up) == (tmp_path / "later", 1)
    again.abandon(refused=True)
    assert [path.name for path in tmp_path.iterdir()] == ["store.yaml"]


def test_stray_folders_of_dead_runs_are_cleared(tmp_path):
    stray = tmp_path / ".old.unfinished"
    (stray / "results").mkdir(parents=True)
    (stray / "results" / "half.csv").write_text("a,b")
    alive = take(tmp_path / ".alive.unfinished" / "lock")
    claim(tmp_path / "run", {}).abandon()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".alive.unfinished", "store.yaml"]
    alive.release()


def start(words, **more):
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more
    )


def test_a_killed_command_typed_again_ends_in_the_same(capsys):
    assert main([*TUNE, "run=whole"]) == 0
    child = start([*TUNE, "run=half"])
    wait_for(child, lambda: any(path.stat().st_size > 500 for path in Path().glob(".half.unfinished/steps/*.steps")))
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not Path("half").exists()
    capsys.readouterr()
    assert main(["tune", "resume=half", "progress=false"]) == 0
    assert "steps were finished before" in capsys.readouterr().out
    assert result("half") == result("whole")
    assert not list(Path().glob(".half*"))
    assert main([*TUNE, "run=half"]) == 2
    assert main([*TUNE, "run=half", "resume=true"]) == 0
    assert "is finished already" in capsys.readouterr().out


def wait_for(child, reached):
    deadline = time.monotonic() + 60
    while not reached():
        assert child.poll() is None, child.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_training_killed_before_its_first_checkpoint_is_no_dead_end():
    words = [
        "train",
        "scenario=store.yaml",
        "budget.env_steps=64",
        "agent.worlds=4",
        "agent.n_steps=8",
        "agent.batch_size=8",
    ]
    words += ["validation.worlds=2", "validation.times=2", "reference=automatic", "bound=false", "tensorboard=false"]
    words += ["progress=false"]
    assert main([*words, "run=whole"]) == 0

    def killed(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers.Learning, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            launch("train", [*words[1:], "run=half"])
    assert Path("half/config.yaml").is_file()
    assert main([*words, "run=half"]) == 0
    assert result("half") == result("whole")
    with np.load("half/policy.npz") as half, np.load("whole/policy.npz") as whole:
        for name in whole.files:
            assert name == "config" or (half[name] == whole[name]).all()


@pytest.mark.parametrize("how", ["in one second", pytest.param("by name", marks=pytest.mark.slow)])
def test_a_sweep_that_was_interrupted_is_taken_up_by_typing_it_again(how, monkeypatch, capsys):
    named = ["run=all"] if how == "by name" else []
    again = named or ["run=runs/simulate/store/${now:%Y}"]  # the second, made longer
    monkeypatch.setattr(hydra_jobs, "_names_run", lambda job: bool(named))
    words = ["simulate", "scenario=store.yaml", "evaluation.worlds=4", "progress=false", "-m", "evaluation.seed=0,1,2"]
    run, seeds = simulating.run, []

    def stopped(settings, folder):
        if settings.evaluation.seed == 1 and len(seeds) < 2:
            seeds.append(1)
            raise KeyboardInterrupt
        seeds.append(settings.evaluation.seed)
        return run(settings, folder)

    monkeypatch.setattr(simulating, "run", stopped)
    assert main([*words, *again]) == 130
    assert main([*words[:-1], "evaluation.seed=0,1", *again]) == (2 if named else 0)  # other words, another sweep
    monkeypatch.setattr(simulating, "run", run)
    capsys.readouterr()
    assert main([*words, *again]) == 0
    assert "is finished already" in capsys.readouterr().out
    place = Path() if named else Path("runs/simulate/store")
    found = {path.parent.parent: [] for path in place.rglob("summary.json")}
    for path in place.rglob("summary.json"):
        found[path.parent.parent].append(json.loads(path.read_text())["seed"])
    assert sorted(sorted(one) for one in found.values()) == ([] if named else [[0, 1]]) + [[0, 1, 2]]
    assert [path for path in place.rglob(".*") if path.name != ".hydra"] == []
    assert {path.parent for path in place.rglob("multirun.yaml")} <= set(found)  # no folder of one that was taken up


# Caches --------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="owners and modes")
def test_compiled_code_is_taken_from_private_places_alone(tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    assert is_private(private)
    own = private / "own.so"
    own.write_bytes(b"")
    own.chmod(0o700)
    assert is_own_file(own)
    own.chmod(0o722)
    assert not is_own_file(own)
    (private / "link.so").symlink_to(own)
    assert not is_own_file(private / "link.so")
    opened = tmp_path / "opened"
    (opened / "inside").mkdir(parents=True)
    opened.chmod(0o777)  # anybody could rename `inside` and put another in its place
    assert not is_private(opened)
    assert not is_private(opened / "inside")
    (private / "way").symlink_to(opened / "inside")
    assert not is_private(private / "way")


SLOWLY = [pytest.param(how, marks=pytest.mark.slow) for how in ("cut", "emptied", "binary")]


@pytest.mark.parametrize("how", ["flipped", "other", *SLOWLY])
def test_a_damaged_cache_is_made_anew(how, tmp_path):
    words = [
        "benchmark",
        "scenario=store.yaml",
        "policies=[echelon_base_stock]",
        "evaluation.worlds=4",
        "pictures=false",
    ]
    words += ["tuning=quick", "tuning.worlds=2", "tuning.judged=2", "tuning.budget=400", "tuning.method=search"]
    words += ["bounds=quick", "bounds.worlds=2", "bounds.penalty=false", "workers=1", "progress=false"]
    rng = np.random.default_rng(5)
    assert main([*words, "run=first"]) == 0
    entries = sorted(path for path in Path("runs/cache").rglob("*") if path.is_file())
    assert len(entries) == 5  # rule, summary and seal of a tuning; a bound; a plan
    before = {path: path.read_bytes() for path in entries}
    for path in entries:
        content = bytearray(before[path])
        place = int(rng.integers(len(content)))
        if how == "cut":
            content = content[:place]
        elif how == "flipped":
            content[place] ^= 1 << int(rng.integers(8))
        elif how == "emptied":
            content = b""
        elif how == "other":
            content = before[entries[0] if path != entries[0] else entries[1]]
        else:
            content = rng.bytes(300)
        path.write_bytes(content)
    assert main([*words, "run=second"]) == 0
    assert result("second") == result("first")


# The import path -----------------------------------------------------------------------------------

CANARIES = ["hydra_plugins/x", "cython", "dill", "numpy", "torch", "yaml", "sitecustomize", "usercustomize", "pickle"]
CANARIES += ["struct", "multiprocessing", "rich", "matplotlib", "IPython", "pandas", "highspy", "cma", "optuna", "evil"]


@pytest.mark.slow
@pytest.mark.parametrize("started", [["-c", CODE], ["-m", "echelongym.experiments.main"]], ids=["script", "module"])
def test_nothing_that_lies_beside_a_command_is_executed(tmp_path, started):
    for name in CANARIES:
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"open({str(tmp_path / 'RAN')!r}, 'a').write({name!r} + '\\n')\n")
    (tmp_path / "matplotlibrc").write_text("backend: module://evil\nlines.linewidth: 77\n")
    words = [
        "bound",
        "scenario=store.yaml",
        "bounds.worlds=8",
        "workers=2",
        "bounds.penalty=false",
        "tune=false",
    ]
    words += ["open_loop=false", "exact=false", "progress=false", "run=out"]
    # A console script has its own folder in front, `python -c` the working folder: -P stands for the script.
    safe = ["-P"] if started[0] == "-c" else []
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    for line in (words, ["show", "scenario=store.yaml", "run=shown"]):
        done = subprocess.run(
            [sys.executable, *safe, *started, *line], env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "RAN").exists(), (tmp_path / "RAN").read_text()


def test_settings_of_matplotlib_beside_the_command_are_left_alone(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 77\n")
    code = "from echelongym.experiments.main import main; main(['show', 'scenario=store.yaml', 'run=shown'])\n"
    code += "import matplotlib; print('width', matplotlib.rcParams['lines.linewidth'])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "width 77" not in done.stdout
    assert "width" in done.stdout


def test_a_policy_beside_the_command_is_found_last_and_its_folder_is_left(tmp_path):
    (tmp_path / "my_policy.py").write_text(
        "def ask(observation):\n    raise SystemExit\n\n\nclass Nothing:\n    pass\n"
    )
    (tmp_path / "json.py").write_text("raise RuntimeError('this one hides what is installed')\n")
    before = list(sys.path)
    assert main(["simulate", "scenario=store.yaml", "policy=my_policy:asks", "run=out"]) == 2
    assert "my_policy" in sys.modules
    assert [entry for entry in sys.path if entry == str(tmp_path)] == []
    assert len(sys.path) <= len(before)


def test_a_file_cannot_have_hydra_call_things(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("hydra: {callbacks: {x: {_target_: os.system}}}\nseed: 1\n")
    assert main(["train", "experiment=bad.yaml", "run=out"]) == 2
    assert "expected no settings of Hydra in a file" in capsys.readouterr().err


# Processes -----------------------------------------------------------------------------------------


@needs_linux
def test_workers_end_with_their_parent():
    words = [
        "bound",
        "scenario=store.yaml",
        "bounds.worlds=400",
        "workers=2",
        "bounds.penalty=false",
        "tune=false",
    ]
    child = start([*words, "scenario.horizon=300", "open_loop=false", "exact=false", "progress=false", "run=out"])
    wait_for(child, lambda: len(children(child.pid)) >= 3)  # two workers and what tracks their resources
    workers = children(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 20
    while [number for number in workers if Path(f"/proc/{number}").exists()]:
        assert time.monotonic() < deadline, "orphans go on"
        time.sleep(0.02)


def test_processes_of_one_second_share_no_folder():
    """The name of all is the same second; each has its results whole, in a folder of its own."""
    again(eight=3)


def test_a_folder_that_another_process_made_and_removed_is_made(tmp_path, monkeypatch):
    """``mkdir`` finds it there, and it is gone when it is looked at: as if nothing had been."""
    made, meanwhile = os.mkdir, [3]

    def crowded(path, *rest, **more):
        if meanwhile[0]:
            meanwhile[0] -= 1
            raise FileExistsError(17, "File exists", str(path))
        made(path, *rest, **more)

    monkeypatch.setattr(os, "mkdir", crowded)
    lock = take(tmp_path / ".name.unfinished" / "lock")
    assert lock is not None
    lock.release()
    meanwhile[0] = 3
    make_folder(tmp_path / "made")
    assert (tmp_path / "made").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


@pytest.mark.slow
def test_eight_processes_five_times():
    for _ in range(5):
        again(eight=8)


def again(eight):
    before = set(Path("runs").glob("simulate/store/*")) if Path("runs").exists() else set()
    name = "run=runs/simulate/store/${now:%Y}"  # the second, made longer
    code = CODE.replace(
        "sys.exit", "import echelongym.experiments.cli.hydra_jobs as c; c._names_run = lambda job: False; sys.exit"
    )
    words = ["simulate", "scenario=store.yaml", "evaluation.worlds=4", "progress=false", name]
    processes = [
        subprocess.Popen([sys.executable, "-c", code, *words, f"evaluation.seed={seed}"], stdout=subprocess.DEVNULL)
        for seed in range(eight)
    ]
    assert [process.wait() for process in processes] == [0] * eight
    folders = set(Path("runs").glob("simulate/store/*")) - before
    seeds = [json.loads((folder / "summary.json").read_text())["seed"] for folder in folders]
    assert sorted(seeds) == list(range(eight))
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {
            "config.yaml",
            "scenario.yaml",
            "summary.json",
            "worlds.csv",
        }
    assert not list(Path("runs/simulate/store").glob(".*"))
