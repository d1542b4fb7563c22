"""The checklists of CONTRIBUTING, each tried by adding one: a scenario, a rule, a learner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from echelongym.agents import learners
from echelongym.agents.learners import learner_config
from echelongym.agents.loading import load_policy
from echelongym.agents.registry import RULES
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.experiments.main import main

# Ten units are asked for in each period and come in the next one; nothing is random.
SCENARIO = """
name: steady
horizon: 12
warm_up: 4
nodes:
  plant: {kind: supplier}
  shop: {holding_cost: 1.0, initial: 30}
lanes:
  truck: {source: plant, target: shop, lead_time: 1}
customers:
  people: {sources: {shop: {}}, demand: {kind: deterministic, mean: 10}, lost_share: 0.0, backorder_cost: 9}
"""

RULE = '''"""A rule without parameters."""

import numpy as np

from echelongym.agents.rules import Rule
from echelongym.envs import Decision


class ConstantOrder(Rule):
    """Asks for the mean demand, whatever there is."""

    name = "constant_order"

    def _make_groups(self):
        return []

    def _reset(self):
        pass

    def __call__(self, observation):
        requests = np.zeros(observation.unfilled.shape)
        requests[:, 0] = self.tables.mean_flow[self.tables.lane_target[0]]
        return Decision(requests)
'''

LEARNER = '''"""Advantage actor-critic under another name, with a bound on gradients of its own."""

from typing import Literal

from echelongym.agents.sb3.settings import OnPolicy
from echelongym.agents.sb3.training import StableBaselinesRun


class CautiousConfig(OnPolicy):
    """Small steps."""

    algorithm = "stable_baselines3:A2C"
    own_fields = ("caution",)
    kind: Literal["cautious"] = "cautious"
    caution: float

    def further(self, actions):
        return {"use_rms_prop": False}


CONFIG = CautiousConfig
RUN = StableBaselinesRun
'''


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_scenario_is_a_yaml(elsewhere, capsys):
    """Loaded, shown, simulated; a level of 25 leaves 25 - 2 x 10 units at the end of every period."""
    Path("steady.yaml").write_text(SCENARIO)
    assert Scenario.load("steady.yaml").name == "steady"
    assert main(["show", "scenario=steady.yaml", "run=shown"]) == 0
    level = "+policy.parameters={levels: {shop: 25}}".lstrip("+")
    words = ["scenario=steady.yaml", "policy=echelon_base_stock", level, "evaluation.worlds=2", "run=played"]
    assert main(["simulate", *words]) == 0
    assert "steady" in capsys.readouterr().out
    scenario = Scenario.load("steady.yaml")
    policy = load_policy("echelon_base_stock", scenario, levels={"shop": 25})
    np.testing.assert_allclose(simulate(scenario, policy, scenario.sample(2, 0), kpis=False).cost_per_period, 5.0)


def test_a_rule_is_a_class(elsewhere, monkeypatch):
    """By its import path, and by its name in the registry: 30 units less the first period's 10 stay for ever."""
    Path("steady.yaml").write_text(SCENARIO)
    Path("own_constant_rule.py").write_text(RULE)
    scenario = Scenario.load("steady.yaml")
    tape = scenario.sample(2, 0)
    policy = load_policy("own_constant_rule:ConstantOrder", scenario)
    np.testing.assert_allclose(simulate(scenario, policy, tape, kpis=False).cost_per_period, 20.0)
    monkeypatch.setitem(RULES, "constant_order", type(policy))
    named = load_policy("constant_order", scenario)
    np.testing.assert_allclose(simulate(scenario, named, tape, kpis=False).cost_per_period, 20.0)
    words = "scenario=steady.yaml policy=constant_order evaluation.worlds=2 run=played"
    assert main(["simulate", *words.split()]) == 0


def test_a_learner_is_a_module_and_a_yaml(elsewhere, monkeypatch):
    """Nothing else is edited: `train` knows its settings, trains it, and its policy is loaded from the run folder."""
    pytest.importorskip("stable_baselines3")
    settings = {**learner_config("a2c").model_dump(mode="json"), "kind": "cautious", "caution": 0.5}
    del settings["normalize_advantage"]
    Path("cautious.yaml").write_text(yaml.safe_dump({**settings, "worlds": 2, "n_steps": 4, "hidden": [4]}))
    (elsewhere / "added").mkdir()
    (elsewhere / "added" / "cautious.py").write_text(LEARNER)
    monkeypatch.setattr(learners, "__path__", [*learners.__path__, str(elsewhere / "added")])
    assert "cautious" in learners.learners()
    words = "scenario=lost_sales scenario.horizon=12 scenario.warm_up=2 agent=cautious.yaml budget.env_steps=16 run=new"
    quick = "validation.worlds=3 validation.times=2 reference=automatic bound=false progress=false tensorboard=false"
    try:
        assert main(["train", *words.split(), *quick.split()]) == 0
        assert main(["train", *words.split(), *quick.split(), "run=bad", "agent.caution=much"]) != 0
    finally:
        sys.modules.pop("echelongym.agents.learners.cautious", None)
    summary = yaml.safe_load(Path("new/summary.json").read_text())
    assert summary["agent"] == "cautious"
    assert summary["env_steps"] == 16
    scenario = Scenario.load("new/scenario.yaml")
    tape = scenario.sample(3, 0, "validate")
    cost = simulate(scenario, load_policy("new", scenario), tape, kpis=False).cost_per_period
    assert summary["best"]["cost_per_period"]["mean"] == pytest.approx(np.mean(cost))


def test_every_learner_has_a_yaml_and_a_module_that_imports_no_torch():
    known = set(learners.learners())
    assert known == {learner_config(name).kind for name in known}
    code = "import sys; from echelongym.agents.learners import learners; learners(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
