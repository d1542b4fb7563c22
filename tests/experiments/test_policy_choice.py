"""A rule's name after ``tune`` means the tuned rule, in every command that takes one policy."""

import json
import shlex
from pathlib import Path

import pytest

from echelongym.agents.loading import load_policy
from echelongym.envs import simulate
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import write_text, write_yaml
from echelongym.experiments.cli.settings import PolicyChoice
from echelongym.experiments.comparison.policy_choice import chosen_policy
from echelongym.experiments.main import main

SCENARIO = Scenario.load("lost_sales")
RULE = "echelon_base_stock"


def left_by_tune(folder, level, scenario=SCENARIO, held=None):
    """A run folder with what ``tune`` writes."""
    load_policy(RULE, scenario, levels={"store": level}).save(folder / "rule.yaml")
    write_yaml({"policy": {"name": RULE, "parameters": held or {}}}, folder / "config.yaml")
    summary = {"digest": scenario.digest, "rule": RULE, "tuning_budget": {"env_periods": 1000}}
    write_text(json.dumps(summary), folder / "summary.json")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def chosen(capsys, **keys):
    policy = chosen_policy(PolicyChoice.model_validate({"name": RULE, "parameters": {}, **keys}), SCENARIO)
    return policy.parameters["levels"]["store"], capsys.readouterr().out


def test_name_is_the_tuned_rule_and_says_so(here, capsys):
    automatic = load_policy(RULE, SCENARIO).parameters["levels"]["store"]
    level, said = chosen(capsys)
    assert level == automatic
    assert f"UNTUNED, automatic levels; type  echelongym tune scenario=lost_sales policy={RULE}" in said
    left_by_tune(here / "runs/tune/lost_sales/a", 33.0)
    left_by_tune(here / "runs/tune/lost_sales/other", 44.0, SCENARIO.replace(horizon=99))
    left_by_tune(here / "runs/tune/lost_sales/held", 55.0, held={"allocation": "equalise"})
    level, said = chosen(capsys)
    assert level == 33.0
    assert "runs/tune/lost_sales/a" in said
    level, said = chosen(capsys, tuned=False)
    assert level == automatic
    assert "automatic levels, as policy.tuned is false" in said


# The commands ---------------------------------------------------------------------------------------

FILE = "my places/it's one.yaml"
CHANGED = "scenario.horizon=60"
COMMANDS = {
    "simulate": ["evaluation.worlds=2", "progress=false"],
    "exact": ["search=false", "progress=false"],
    "export": ["check.observations=8"],
    "read": ["evaluation.worlds=2", "progress=false"],
}


def ran(capsys, command, words):
    """The first line that a command prints."""
    assert main([command, *words]) == 0
    return capsys.readouterr().out.splitlines()[0]


@pytest.fixture
def own(here):
    """A scenario file of the user's, in a place that a shell wants in quotes."""
    (here / "my places").mkdir()
    Path(FILE).write_text(json.dumps(SCENARIO.to_dict()), encoding="utf-8")
    return [f"scenario={FILE}", CHANGED, f"policy={RULE}"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_what_tune_left(own, capsys, command):
    if command == "export":
        pytest.importorskip("onnxscript")
    words = COMMANDS[command]
    said = ran(capsys, command, [*own, *words, "run=before"])
    assert "UNTUNED" in said
    scenario = Scenario.load(FILE).with_overrides({"horizon": 60})
    left_by_tune(Path("runs/tune/lost_sales/a"), 33.0, scenario)
    assert "taken from runs/tune/lost_sales/a" in ran(capsys, command, [*own, *words, "run=after"])
    if command in ("exact", "read"):
        assert load_policy("after/rule.yaml", scenario).parameters["levels"]["store"] == pytest.approx(33, abs=0.01)
    if command == "export":
        bundle, rule = load_policy("after", scenario), load_policy("runs/tune/lost_sales/a/rule.yaml", scenario)
        tape = scenario.sample(2, 1, "test")
        assert (
            simulate(scenario, bundle, tape).cost_per_period == simulate(scenario, rule, tape).cost_per_period
        ).all()


def test_command_to_type_is_the_users_own_and_is_found_wherever_it_wrote(own, capsys):
    simulated = [*own, "policy.parameters={allocation: marginal}", *COMMANDS["simulate"]]
    said = ran(capsys, "simulate", [*simulated, "run=before"])
    program, command, *words = shlex.split(said.partition("type  ")[2])
    assert (program, command) == ("echelongym", "tune")
    assert words == [*own, "policy.parameters.allocation=marginal"]
    small = ["tuning.budget=5000", "tuning.worlds=4", "tuning.judged=4", "tuning.method=search"]
    assert main([command, *words, *small, "run=other place/here", "progress=false"]) == 0
    capsys.readouterr()
    assert "taken from other place/here" in ran(capsys, "simulate", [*simulated, "run=after"])
    said = ran(capsys, "simulate", [*own, *COMMANDS["simulate"], "run=else"])
    assert "UNTUNED" in said  # other parameters were held
