"""``echelongym train agent=pathwise...``: run folder, start, reference and bound, resume, sweeps, and what it refuses."""

from __future__ import annotations

import csv
import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from exact_oracles import fixed_order_cost
from shipped import SMALL as SHIPPED_SMALL

from echelongym.agents.learners import learner_config
from echelongym.agents.loading import load_policy
from echelongym.envs.core.errors import InputError
from echelongym.envs.core.validation import validate
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.experiments.cli.compose import choices, compose, prepare
from echelongym.experiments.commands import train as command
from echelongym.experiments.commands.train import train
from echelongym.experiments.main import main

SETTINGS: dict[str, Any] = {
    "validation": {"worlds": 8, "times": 4},
    "tensorboard": False,
    "progress": False,
    "reference": "automatic",
    "bound": False,
}
SMALL = {"hidden": [8], "worlds": 16, "periods": 12}
STEP = 16 * 12  # env-steps of an iteration


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")
    return tmp_path


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario.load("lost_sales").replace(horizon=20, warm_up=2)


def agent(**changes: Any) -> dict[str, Any]:
    return {**learner_config("pathwise").model_dump(mode="json"), **SMALL, **changes}


def short(scenario: Scenario, folder: str, steps: int = 5 * STEP, learner: Any = None, **changes: Any) -> Path:
    return train(scenario, learner or agent(), folder, **{"budget": {"env_steps": steps}, **SETTINGS, **changes})


def summary(folder: Path | str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "summary.json").read_text())
    return found


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "cpu_seconds"} for row in csv.DictReader(file)]


def weights(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "policy.npz") as archive:
        return {name: archive[name] for name in archive.files if name != "config"}


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return all(np.array_equal(a[name], b[name]) for name in a) and curve(one) == curve(other)


@pytest.mark.parametrize("name", ["pathwise", "pathwise_set", "pathwise_graph", "pathwise_recurrent"])
def test_run_folder_is_that_of_every_learner(scenario, name):
    learner = {**learner_config(name).model_dump(mode="json"), **SMALL}
    folder = short(scenario, "run", 2 * STEP, learner)
    names = {path.name for path in folder.iterdir()}
    results = {
        "config.yaml",
        "scenario.yaml",
        "policy.npz",
        "progress.csv",
        "checkpoints",
        "summary.json",
        "learning.png",
    }
    assert names == results
    assert summary(folder)["agent"] == name
    rows = curve(folder)
    best = min(float(row["cost_per_period"]) for row in rows)
    assert summary(folder)["best"]["cost_per_period"]["mean"] == pytest.approx(best)
    policy, tape = load_policy(folder, scenario), scenario.sample(8, 0, "tune")
    assert simulate(scenario, policy, tape).cost_per_period.mean() == pytest.approx(best)
    assert policy.facts["agent"] == name


def test_stable_baselines_is_not_imported(scenario, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("stable_baselines3", "sb3_contrib"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("echelongym.agents.") and "sb3" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    short(scenario, "run", STEP)
    assert load_policy("run", scenario) is not None


def test_a_seed_gives_the_same_policy_every_time(scenario):
    first, again, other = (short(scenario, name, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert same(first, again)
    assert not same(first, other)


# Start, reference, bound ---------------------------------------------------------------------------


def test_start_by_name_is_tuned_first_and_kept(scenario):
    tuning = {"worlds": 8, "judged": 8, "budget": 4_000, "method": "search"}
    learner = agent(start="capped_echelon_base_stock")
    folder = short(scenario, "run", 2 * STEP, learner, tuning=tuning)
    start = summary(folder)["start"]
    assert start["rule"] == "capped_echelon_base_stock"
    assert start["cpu_seconds"] > 0
    assert not start["from_cache"]
    tape = scenario.sample(8, 0, "tune")
    rule = simulate(scenario, load_policy(folder / "start.yaml", scenario), tape).cost_per_period.mean()
    assert float(curve(folder)[0]["cost_per_period"]) == pytest.approx(rule)
    again = short(scenario, "again", 2 * STEP, learner, tuning=tuning)
    assert summary(again)["start"]["from_cache"]
    assert same(folder, again)
    by_path = short(scenario, "by_path", 2 * STEP, agent(start=str(folder / "start.yaml")))
    assert same(folder, by_path)


def test_reference_and_bound_are_said_and_kept(scenario, capsys):
    tuning = {"worlds": 8, "judged": 8, "budget": 2_000, "method": "search"}
    short(scenario, "run", STEP, reference="tuned", bound=True, tuning=tuning)
    found = summary("run")
    assert (found["reference"]["name"], found["reference"]["how"]) == ("echelon_base_stock", "tuned")
    assert found["reference"]["tuning"]["env_periods"] > 0
    # Poisson 5, lead time 4, penalty 4: Zipkin's table says 4.73.
    assert found["bound"]["kind"] == "optimum"
    assert found["bound"]["cost_per_period"] == pytest.approx(4.73, abs=0.005)
    assert "in the long run 4.729" in capsys.readouterr().out
    chain = Scenario.load("one_warehouse_three").replace(horizon=14, warm_up=2)
    short(chain, "other", STEP, bound=True)
    bound = summary("other")["bound"]
    assert (bound["kind"], bound["worlds"]) == ("perfect_information", 8)
    assert bound["cost_per_period"] < summary("other")["best"]["cost_per_period"]["mean"]


def test_progress_is_told_without_a_terminal(scenario, capsys):
    short(scenario, "run", progress=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if "pathwise" in line]
    assert len(lines) == len(curve(Path("run"))) == 5
    assert "echelon_base_stock with automatic levels" in lines[-1]
    assert "left" in lines[2]
    assert lines[-1].startswith("100%")


def test_tensorboard_shows_cost_lines_and_indicators(scenario):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = short(scenario, "run", tensorboard=True)
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    names = set(events.Tags()["scalars"])
    assert {"evaluation/cost_per_period", "evaluation/cost/lost_sale", "evaluation/shoppers/fill_rate"} <= names
    shown = [event.value for event in events.Scalars("evaluation/cost_per_period")]
    assert shown == pytest.approx([float(row["cost_per_period"]) for row in curve(folder)], rel=1e-6)


# Resume and sweeps ---------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a signal that nothing can catch."""


def resumed(folder: str, *words: str) -> Any:
    config = compose("train", [f"run={folder}", "resume=true", "progress=false", *words])
    return validate(command.Settings, config, "train")


def test_resumed_training_is_bit_for_bit_the_uninterrupted_one(scenario, monkeypatch):
    from echelongym.agents.pathwise import trainer

    learner = agent(start="echelon_base_stock")
    tuning = {"worlds": 8, "judged": 8, "budget": 2_000, "method": "search"}
    whole = short(scenario, "whole", 12 * STEP, learner, tuning=tuning)
    step, count = trainer.PathwiseTrainer._step, iter(range(1_000))

    def dies(self: Any, share: float) -> None:
        if next(count) == 7:
            raise Killed
        step(self, share)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.PathwiseTrainer, "_step", dies)
        with pytest.raises(Killed):
            short(scenario, "halves", 12 * STEP, learner, checkpoint_seconds=1e-9, tuning=tuning)
    assert not Path("halves/summary.json").exists()
    torch.manual_seed(12345)  # a resumed process starts from any state
    assert same(whole, command.run(resumed("halves"), Path("halves")))
    one, other = summary(whole), summary("halves")
    assert [one[key] for key in ("env_steps", "best")] == [other[key] for key in ("env_steps", "best")]


def test_finished_training_goes_on_with_a_larger_budget(scenario):
    short(scenario, "run", 2 * STEP)
    with pytest.raises(InputError, match=r"train: budget = .*expected more than run has spent already"):
        command.run(resumed("run"), Path("run"))
    command.run(resumed("run", f"budget.env_steps={4 * STEP}"), Path("run"))
    assert summary("run")["env_steps"] == 4 * STEP


def test_sweep_over_seeds_and_agents_from_the_command_line():
    words = ["scenario=lost_sales", "scenario.horizon=12", "scenario.warm_up=2", f"budget.env_steps={16 * 8}"]
    words += ["run=sweep", "validation.worlds=2", "progress=false", "tensorboard=false", "reference=automatic"]
    words += ["bound=false", "agent.worlds=16", "agent.periods=8", "agent.hidden=[4]"]
    assert main(["train", *words, "-m", "agent=pathwise,pathwise_set", "seed=0,1"]) == 0
    for name in ("pathwise", "pathwise_set"):
        for seed in (0, 1):
            folder = Path(f"sweep/agent_{name}-seed_{seed}")
            assert yaml.safe_load((folder / "config.yaml").read_text())["seed"] == seed
            assert summary(folder)["agent"] == name


# Experiments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_composes_and_says_its_command(name):
    """Its first lines: what Hydra wants, and the command; what it names besides is a plain change of ``train``."""
    text = (Path(str(resources.files("echelongym.configs"))) / "experiment" / f"{name}.yaml").read_text()
    package, usage, *_ = text.splitlines()
    assert package == "# @package _global_"
    assert usage.startswith(f"# echelongym train experiment={name} -m ")
    settings = prepare("train", [f"experiment={name}"])
    budget = settings.budget.of(settings.agent, settings.scenario)
    assert budget.env_steps is None
    assert budget.cpu_seconds > 0
    chosen = prepare("train", [f"experiment={name}", "seed=3", "budget.cpu_seconds=7"])
    assert (chosen.seed, chosen.budget.cpu_seconds) == (3, 7)
    assert chosen.scenario.digest == settings.scenario.digest


@pytest.mark.parametrize(("agent", "usual"), [("pathwise", 20_000_000), ("ppo", 3_000_000)])
def test_a_training_without_a_budget_ends_in_minutes_in_a_large_network_and_as_before_in_others(agent, usual):
    for name in SHIPPED_SMALL:
        settings = prepare("train", [f"scenario={name}", f"agent={agent}"])
        assert settings.budget.of(settings.agent, settings.scenario).env_steps == usual
    large = ["scenario=continental", f"agent={agent}"]
    settings = prepare("train", large)
    # 4e9 env-steps x lanes x products, of which it has 1,000 x 20.
    assert settings.budget.of(settings.agent, settings.scenario).env_steps == 200_000
    for words, steps in ((["budget.env_steps=3000000"], 3_000_000), (["budget.cpu_seconds=60"], None)):
        settings = prepare("train", [*large, *words])
        assert settings.budget.of(settings.agent, settings.scenario).env_steps == steps


def test_experiment_of_ones_own(tmp_path):
    Path("mine.yaml").write_text(
        "defaults: [{override /scenario: serial}, {override /agent: pathwise_set}]\n"
        "validation: {worlds: 33}\nscenario: {horizon: 77, warm_up: 3}\n"
    )
    settings = prepare("train", ["experiment=mine.yaml", "scenario.lanes.supplier_4.lead_time=1"])
    assert (settings.scenario.name, settings.scenario.horizon, settings.validation.worlds) == ("serial", 77, 33)
    assert settings.agent.network == "set"
    with pytest.raises(InputError, match="stage_5"):
        prepare("train", ["experiment=mine.yaml", "scenario.nodes.stage_5.holding_cost=1"])
    with pytest.raises(InputError, match=r"experiment = 'serial_sevn': expected one of .*did you mean 'serial_seven'"):
        prepare("train", ["experiment=serial_sevn"])


# What it refuses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["action=requests"], r"train: action = 'requests': expected nothing: agent\.head says"),
        (
            ["agent.start=echelon_basestock"],
            r"agent\.start = 'echelon_basestock': expected one of auto, .*did you mean",
        ),
        (["agent.head=splits"], r"head = 'splits': expected 'auto', 'levels', 'direct', 'split' or 'residual'"),
        (["agent.periods=10", "agent.skipped=10"], r"skipped = 10: expected fewer than the 10 periods"),
        (["agent.learnin_rate=1"], r"unknown key 'learnin_rate'; did you mean 'learning_rate'"),
        (["agent.hidden=[]"], r"hidden = \(\): expected at least one width"),
        (["agent.head=split"], r"head = 'split': expected a scenario with lanes out of a stock node"),
        (["reference=best"], r"reference = 'best': expected"),
    ],
)
def test_bad_settings_are_refused_with_nothing_left_behind(words, message, capsys):
    import re

    quiet = ["reference=automatic", "bound=false", "tensorboard=false"]
    assert main(["train", "scenario=lost_sales", "agent=pathwise", "run=run", *quiet, *words]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not Path("run").exists()


def test_the_reference_is_the_best_rule_that_the_training_found_where_base_stock_is_not(capsys):
    """A fixed order cost: the (s, S) family costs less than half of echelon base-stock, which orders in every period."""
    scenario = fixed_order_cost().with_overrides({"horizon": 30, "warm_up": 5})
    tuning = {"worlds": 8, "judged": 8, "budget": 20_000, "method": "search"}
    budget = {"env_steps": 150_000}
    short(scenario, "run", learner=agent(start_share=0.9), reference="tuned", tuning=tuning, budget=budget)
    found, said = summary("run"), capsys.readouterr().out
    reference = found["reference"]
    assert (reference["name"], reference["how"]) == (found["start"]["rule"], "tuned")
    assert reference["name"].startswith("reorder_point")
    assert f"tuned {reference['name']}" in said
    tape = scenario.sample(8, 0, "validate")
    base_stock = [
        float(
            simulate(scenario, load_policy("echelon_base_stock", scenario, levels=level), tape).cost_per_period.mean()
        )
        for level in range(10, 30)
    ]
    cost, best = reference["cost_per_period"]["mean"], found["best"]["cost_per_period"]["mean"]
    assert cost < 0.8 * min(base_stock)
    assert found["versus"]["difference_percent"]["mean"] == pytest.approx(100 * (best / cost - 1), abs=1e-6)
