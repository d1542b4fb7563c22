"""A rule's name after ``tune`` means the tuned rule, in every command that takes one policy."""

import json

import pytest

from echelongym.agents.policy import load_policy
from echelongym.envs.files import write_text, write_yaml
from echelongym.envs.scenario import Scenario
from echelongym.experiments.policy_choice import chosen_policy
from echelongym.experiments.settings import PolicyChoice

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
