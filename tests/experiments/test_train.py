"""``echelongym train``: what it leaves behind, budgets, the seed, resume after a kill, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from echelongym.agents.checkpoint_files import latest_checkpoint, read_checkpoint
from echelongym.agents.loading import load_policy
from echelongym.agents.sb3.settings import KIND
from echelongym.envs.core.errors import InputError, MissingExtra
from echelongym.envs.core.validation import validate
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.experiments.cli.compose import compose, prepare
from echelongym.experiments.commands import train as command
from echelongym.experiments.commands.train import train
from echelongym.experiments.main import main
from echelongym.experiments.training import trainers

START = {"start": "zero", "start_as": "residual", "features": "flat", "graph_hidden": 4, "graph_rounds": 1}
PPO = {
    **START,
    "kind": "ppo",
    "worlds": 4,
    "n_steps": 8,
    "batch_size": 16,
    "n_epochs": 2,
    "learning_rate": 3e-3,
    "final_learning_rate": 0.1,
    "gamma": 0.95,
    "gae_lambda": 0.9,
    "clip_range": 0.2,
    "ent_coef": 0.0,
    "vf_coef": 0.5,
    "max_grad_norm": 0.5,
    "log_std_init": -1.5,
    "hidden": [8],
    "activation": "tanh",
}
SAC = {
    **START,
    "kind": "sac",
    "worlds": 4,
    "train_freq": 1,
    "gradient_steps": 1,
    "n_steps": 3,
    "batch_size": 16,
    "buffer_size": 200,
    "learning_starts": 16,
    "learning_rate": 1e-3,
    "final_learning_rate": 0.1,
    "gamma": 0.95,
    "tau": 0.01,
    "actor_learning_rate": 1.0,
    "actor_starts": 4,
    "random_worlds": 1,
    "ent_coef": "auto_0.01",
    "log_std_init": -1.5,
    "hidden": [8],
    "activation": "relu",
}
SETTINGS: dict[str, Any] = {
    "validation": {"worlds": 4, "times": 4},
    "reference": "automatic",
    "bound": False,
    "tensorboard": False,
    "progress": False,
}
PLAIN = ["reference=automatic", "bound=false", "progress=false", "tensorboard=false"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario.load("lost_sales").replace(horizon=20, warm_up=2)


def weights(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "policy.npz") as archive:
        return {name: archive[name] for name in archive.files if name != "config"}


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "cpu_seconds"} for row in csv.DictReader(file)]


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return all(np.array_equal(a[name], b[name]) for name in a) and curve(one) == curve(other)


def short(scenario: Scenario, agent: dict[str, Any], folder: str, steps: int = 256, **changes: Any) -> Path:
    return train(scenario, agent, folder, **{"budget": {"env_steps": steps}, **SETTINGS, **changes})


# What it leaves behind -----------------------------------------------------------------------------


@pytest.mark.parametrize("agent", [PPO, SAC], ids=["ppo", "sac"])
def test_run_folder_holds_policy_curve_and_summary(scenario, agent, capsys):
    folder = short(scenario, agent, "run")
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.yaml", "scenario.yaml", "policy.npz", "progress.csv", "summary.json", "model.zip"}
    summary = json.loads((folder / "summary.json").read_text())
    rows = curve(folder)
    assert int(rows[0]["env_steps"]) == 0
    assert int(rows[-1]["env_steps"]) == summary["env_steps"] >= 256
    best = min(float(row["cost_per_period"]) for row in rows)
    assert summary["best"]["cost_per_period"]["mean"] == pytest.approx(best)
    # The policy on disk costs in the validation worlds what the summary says.
    policy, tape = load_policy(folder, scenario), scenario.sample(4, 0, "tune")
    assert simulate(scenario, policy, tape).cost_per_period.mean() == pytest.approx(best)
    said = capsys.readouterr().out
    assert "Results: run" in said
    assert "echelongym benchmark scenario=run/scenario.yaml policies='[echelon_base_stock,run]'" in said


def test_best_policy_is_the_one_kept(scenario, monkeypatch):
    """Even when what follows it is worse: costs of evaluations are made to rise after the second."""
    from echelongym.agents import budget
    from echelongym.agents.sb3 import trainer as training

    costs = iter([5.0, 3.0, 4.0, 6.0, 7.0])
    seen: list[dict[str, torch.Tensor]] = []
    evaluated = training.Trainer._evaluate

    def spy(self: Any, improved: Any) -> None:
        seen.append({k: v.clone() for k, v in self.model.policy.state_dict().items()})
        evaluated(self, improved)

    monkeypatch.setattr(training.Trainer, "_evaluate", spy)
    monkeypatch.setattr(budget, "objective", lambda _: np.full(4, next(costs)))
    folder = short(scenario, PPO, "run")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best"]["cost_per_period"]["mean"] == 3.0
    assert summary["best"]["env_steps"] == int(curve(folder)[1]["env_steps"])
    kept = weights(folder)["layers.0.weight"]
    np.testing.assert_array_equal(kept, seen[1]["mlp_extractor.policy_net.0.weight"])
    assert not np.array_equal(kept, seen[-1]["mlp_extractor.policy_net.0.weight"])


def test_zip_beside_it_holds_the_same_policy(scenario):
    folder = short(scenario, PPO, "run")
    tape = scenario.sample(4, 1, "test")
    policies = [load_policy(folder, scenario), load_policy(folder / "model.zip", scenario, trust=True)]
    one, other = (simulate(scenario, policy, tape).cost_per_period for policy in policies)
    np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="another network"):
        load_policy(folder / "model.zip", Scenario.load("serial"), trust=True)


def test_targets_are_judged(scenario):
    strict = scenario.with_overrides({"customers.shoppers.targets": {"fill_rate": 1.0}})
    folder = short(strict, PPO, "run", steps=64, validation={"worlds": 32, "times": 4})
    (target,) = json.loads((folder / "summary.json").read_text())["best"]["targets"]
    assert (target["name"], target["status"]) == ("shoppers.fill_rate", "missed")


def test_tensorboard_is_written_when_asked_for(scenario):
    pytest.importorskip("tensorboard")
    folder = short(scenario, PPO, "run", steps=64, tensorboard=True)
    assert any((folder / "tensorboard").iterdir())


def test_missing_tensorboard_names_the_extra(scenario, monkeypatch):
    find = trainers.importlib.util.find_spec
    missing = lambda name, *rest: None if name == "tensorboard" else find(name, *rest)  # noqa: E731
    monkeypatch.setattr(trainers.importlib.util, "find_spec", missing)
    with pytest.raises(MissingExtra, match=r'pip install "echelongym\[tensorboard\]"'):
        short(scenario, PPO, "run", tensorboard=True)
    assert not Path("run").exists()
    assert not (short(scenario, PPO, "other", steps=32, tensorboard=None) / "tensorboard").exists()


# Budget and seed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", [PPO, SAC], ids=["ppo", "sac"])
def test_a_seed_gives_the_same_policy_every_time(scenario, agent):
    first, again, other = (
        short(scenario, agent, name, steps=512, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert same(first, again)
    assert not same(first, other)


def test_budget_in_cpu_seconds_ends(scenario):
    folder = short(scenario, PPO, "run", budget={"env_steps": None, "cpu_seconds": 0.5})
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["cpu_seconds"] >= 0.5
    assert summary["env_steps"] % 32 == 0


def test_a_budget_that_preparing_uses_up_is_named_in_one_line(tmp_path, capsys):
    words = [
        "scenario=lost_sales",
        "scenario.horizon=12",
        "scenario.warm_up=2",
        "agent=pathwise",
        "agent.gradient=torch",
    ]
    words += ["budget.cpu_seconds=1e-6", "validation.worlds=2", "reference=automatic", "run=short", *PLAIN]
    assert main(["train", *words]) == 0
    said = [line for line in " ".join(capsys.readouterr().out.split()).split(". ") if "used up by preparing" in line]
    assert len(said) == 1
    assert "no step was taken, the policy is the start; raise budget.cpu_seconds above about" in said[0]


def test_sweep_over_seeds_from_the_command_line(tmp_path):
    words = ["scenario=lost_sales", "scenario.horizon=12", "scenario.warm_up=2", "budget.env_steps=64", "run=sweep"]
    words += ["agent.worlds=4", "agent.n_steps=8", "agent.batch_size=16", "validation.worlds=2", *PLAIN]
    assert main(["train", *words, "-m", "seed=0,1"]) == 0
    configs = [yaml.safe_load((tmp_path / f"sweep/seed_{seed}/config.yaml").read_text()) for seed in (0, 1)]
    assert [config["seed"] for config in configs] == [0, 1]


# Resume --------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a signal that nothing can catch."""


def interrupted(
    scenario: Scenario, agent: dict[str, Any], folder: str, after: int, monkeypatch: Any, **changes: Any
) -> None:
    """Train, writing a checkpoint after every piece, and die in the piece after ``after`` of them."""
    from echelongym.agents.sb3 import trainer as training

    check, count = training.Trainer._check_finite, iter(range(10_000))

    def dies(self: Any) -> None:
        if next(count) == after:
            raise Killed
        check(self)

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "_check_finite", dies)
        with pytest.raises(Killed):
            short(scenario, agent, folder, checkpoint_seconds=1e-9, **changes)


@pytest.mark.parametrize("after", [1, 5, 11])
def test_resumed_ppo_is_bit_for_bit_the_uninterrupted_one(scenario, monkeypatch, after):
    whole = short(scenario, PPO, "whole", steps=512)
    interrupted(scenario, PPO, "halves", after, monkeypatch, steps=512)
    assert not Path("halves/summary.json").exists()
    torch.manual_seed(12345)
    np.random.seed(6789)  # noqa: NPY002 (a resumed process starts from any state)
    halves = command.run(resumed("halves"), Path("halves"))
    assert same(whole, halves)
    one, other = (json.loads((path / "summary.json").read_text()) for path in (whole, halves))
    assert [one[key] for key in ("env_steps", "best")] == [other[key] for key in ("env_steps", "best")]


def test_resumed_sac_is_bit_for_bit_the_uninterrupted_one(scenario, monkeypatch):
    """Its replay buffer, full and started over, goes along."""
    steps = 4 * 256
    whole = short(scenario, SAC, "whole", steps=steps)
    interrupted(scenario, SAC, "halves", 1, monkeypatch, steps=steps)
    torch.manual_seed(12345)
    halves = command.run(resumed("halves"), Path("halves"))
    assert same(whole, halves)


def resumed(folder: str, *words: str) -> Any:
    config = compose("train", [f"run={folder}", "resume=true", "progress=false", *words])
    return validate(command.Settings, config, "train")


def test_killed_process_resumes_from_the_command_line(tmp_path):
    """SIGKILL in the middle; the same command with resume=true ends at the same step with the same policy."""
    words = ["scenario=lost_sales", "scenario.horizon=20", "scenario.warm_up=2", "budget.env_steps=8192", "seed=5"]
    words += ["agent.worlds=8", "agent.n_steps=16", "agent.batch_size=64", "validation.worlds=4", "validation.times=10"]
    words += [*PLAIN, "checkpoint_seconds=0.05"]
    code = "import sys; from echelongym.experiments.main import main; sys.exit(main(sys.argv[1:]))"
    child = subprocess.Popen([sys.executable, "-c", code, "train", *words, "run=killed"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(Path("killed/checkpoints").glob("checkpoint_00000000[1-9]*.pt")):
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not Path("killed/summary.json").exists()
    stopped = latest_checkpoint(Path("killed/checkpoints"), KIND).facts["env_steps"]
    assert 0 < stopped < 8192
    assert load_policy("killed", Scenario.load("killed/scenario.yaml")) is not None
    assert main(["train", "run=killed", "resume=true", "progress=false"]) == 0
    assert main(["train", *words, "run=whole"]) == 0
    assert same(Path("killed"), Path("whole"))
    assert json.loads(Path("killed/summary.json").read_text())["env_steps"] == 8192


def test_finished_training_goes_on_with_a_larger_budget(scenario):
    short(scenario, PPO, "run", steps=64)
    with pytest.raises(InputError, match=r"train: budget = .*expected more than run has spent already"):
        command.run(resumed("run"), Path("run"))
    command.run(resumed("run", "budget.env_steps=128"), Path("run"))
    assert json.loads(Path("run/summary.json").read_text())["env_steps"] == 128


def test_resume_keeps_the_settings_of_the_training(scenario):
    short(scenario, PPO, "run", steps=64, seed=7)
    with pytest.raises(InputError, match=r"train: seed = 8: expected that of the training in run"):
        command.run(resumed("run", "seed=8", "budget.env_steps=128"), Path("run"))
    command.run(resumed("run", "seed=7", "budget.env_steps=128"), Path("run"))
    assert yaml.safe_load(Path("run/config.yaml").read_text())["agent"]["worlds"] == 4


def test_damaged_newest_checkpoint_falls_back_to_the_one_before(scenario):
    folder = short(scenario, PPO, "run", steps=128, checkpoint_seconds=1e-9)
    newest, older = sorted((folder / "checkpoints").iterdir(), reverse=True)
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(InputError, match="is no checkpoint, or a damaged one"):
        read_checkpoint(newest, KIND)
    assert latest_checkpoint(folder / "checkpoints", KIND).path == older


def test_pickled_checkpoint_is_refused_and_never_run(tmp_path):
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"schema": 1, "facts": Bomb()}, tmp_path / "checkpoint_000000000001.pt")
    with pytest.raises(InputError, match="is no checkpoint, or a damaged one"):
        read_checkpoint(tmp_path / "checkpoint_000000000001.pt", KIND)
    assert not (tmp_path / "ran").exists()


# What it refuses -----------------------------------------------------------------------------------


def test_taken_folder_is_refused_before_any_work(scenario):
    short(scenario, PPO, "run", steps=32)
    before = Path("run/policy.npz").read_bytes()
    with pytest.raises(InputError, match="or resume=true to go on with the finished training in it"):
        short(scenario, PPO, "run", steps=32)
    assert Path("run/policy.npz").read_bytes() == before


def test_resume_without_a_checkpoint_is_refused():
    with pytest.raises(InputError, match="holds no checkpoint"):
        command.run(resumed("nowhere"), Path("nowhere"))


def test_small_networks_choose_on_more_worlds() -> None:
    def chosen(*words: str) -> int:
        return int(prepare("train", list(words)).validation.worlds)

    # 250,000 periods of a lane and a product: lost_sales has one of each and 250 periods, one_warehouse 11 lanes and 200.
    assert chosen("scenario=lost_sales") == 1_000
    assert chosen("scenario=one_warehouse") == 113
    assert chosen("scenario=lost_sales", "scenario.horizon=100") == 2_048
    assert chosen("scenario=continental") == chosen("scenario=distribution_family") == 64
    assert chosen("scenario=lost_sales", "validation.worlds=64") == 64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["agent.batch_size=100"], r"batch_size = 100: expected a divisor >= 2 of n_steps x worlds = 4096"),
        (["agent.gama=0.9"], r"unknown key 'gama'; did you mean 'gamma'"),
        (["agent.gamma=1.5"], r"gamma = 1\.5: expected a finite number > 0 and <= 1"),
        (["agent=sac", "agent.ent_coef=auto_x"], r"ent_coef = 'auto_x': expected a number >= 0, auto, or auto_"),
        (["agent=sac", "agent.buffer_size=3"], r"buffer_size = 3: expected at least the number of worlds, 64"),
        (["budget.env_steps=null"], r"budget = None: expected env_steps or cpu_seconds"),
        (["budget.env_steps=-5"], r"env_steps = -5: expected a whole number >= 1"),
        (["action=order_upto"], r"action = 'order_upto': expected one of .*did you mean 'order_up_to'"),
        (["seed=-1"], r"seed = -1: expected a whole number >= 0"),
        (["validation.worlds=1"], r"worlds = 1: expected a whole number >= 2, or auto"),
        (["agent=pppo"], r"did you mean 'ppo'"),
        (["agent.start=echelon_stock"], r"agent\.start = 'echelon_stock': expected one of auto, zero, .*"),
        (["agent=dqn", "agent.start=echelon_base_stock", "agent.start_as=clone"], r"has no actor that could imitate"),
    ],
)
def test_bad_settings_are_refused_with_nothing_left_behind(words, message, capsys):
    import re

    assert main(["train", "scenario=lost_sales", "run=run", *words]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not Path("run").exists()


def test_training_that_diverges_says_so(scenario):
    with pytest.raises(InputError, match="the training diverged before env-step"):
        short(scenario, {**PPO, "learning_rate": 1e3, "max_grad_norm": 1e9}, "run")


# What it reaches -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_ppo_gets_below_the_untuned_rule_on_one_warehouse():
    scenario = Scenario.load("one_warehouse")
    folder = train(scenario, "ppo", "run", budget={"env_steps": 200_000}, **SETTINGS)
    tape = scenario.sample(256, 5, "test")
    learned, rule = (
        simulate(scenario, load_policy(name, scenario), tape, kpis=False).cost_per_period
        for name in (folder, "echelon_base_stock")
    )
    difference = learned - rule
    assert difference.mean() + 4 * difference.std() / 16 < 0
