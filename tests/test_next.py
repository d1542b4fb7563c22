"""The last line of every command, ``Next: ...``, runs as it is typed."""

import shlex

import pytest

from echelongym.agents.rules import RULES
from echelongym.envs import Scenario
from echelongym.experiments.cli.compose import arguments
from echelongym.experiments.cli.terminal import listed, typed
from echelongym.experiments.main import main

TUNING = "tuning.worlds=4 tuning.judged=4 tuning.budget=4000 tuning.cache=null tuning.workers=1"
BOUNDS = "bounds.worlds=2 bounds.cache=null bounds.penalty=false bounds.workers=1 open_loop=false"
TRAINING = (
    "budget.env_steps=64 agent.worlds=4 agent.n_steps=8 agent.batch_size=16 agent.epochs=1 validation.worlds=4 "
    "reference=local_base_stock bound.worlds=2 tensorboard=false"
)
# What makes each command small.
SMALL = {
    "show": "",
    "simulate": "evaluation.worlds=2",
    "tune": TUNING,
    "benchmark": f"evaluation.worlds=4 pictures=false {TUNING} {BOUNDS}",
    "bound": f"{TUNING} {BOUNDS} tune=false",
    "exact": "",
    "read": "evaluation.worlds=4",
}


def run(capsys, line):
    """Type a line, made small; returns the line that it says comes next."""
    words = shlex.split(line)
    words = words[1:] if words[0] == "echelongym" else words
    assert main([*words, *shlex.split(SMALL.get(words[0], ""))]) == 0, (line, capsys.readouterr().err)
    said = [one for one in capsys.readouterr().out.splitlines() if one.startswith("Next:")]
    assert len(said) == 1
    return said[0].removeprefix("Next:").strip()


@pytest.mark.parametrize(
    "line",
    [
        "show scenario=lost_sales",
        "simulate scenario=lost_sales policy=echelon_base_stock",
        "simulate scenario=lost_sales policy=capped_echelon_base_stock scenario.horizon=60",
        "tune scenario='my shop.yaml' policy=echelon_base_stock",
        "bound scenario=lost_sales",
        "exact scenario=lost_sales policy=echelon_base_stock",
        "read scenario=lost_sales policy=echelon_base_stock",
        "simulate scenario='my shop.yaml' policy=rules:nothing",
    ],
)
def test_the_next_line_runs(tmp_path, monkeypatch, capsys, line):
    monkeypatch.chdir(tmp_path)
    Scenario.load("lost_sales", {"horizon": 60}).save(tmp_path / "my shop.yaml")
    (tmp_path / "rules.py").write_text(
        "import numpy as np\nfrom echelongym.envs import Decision\n"
        "def nothing(seen): return Decision(np.zeros(seen.unfilled.shape))\n"
    )
    run(capsys, run(capsys, line))


def test_what_is_typed_survives_the_shell_and_hydra():
    policies = listed("echelon_base_stock", "echelon_base_stock", "runs/a b/rule.yaml", 'odd"name', "rules:thing")
    line = typed("benchmark", scenario="my runs/x.yaml", policies=policies)
    words = shlex.split(line)
    assert words[2] == "scenario=my runs/x.yaml"
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(arguments("benchmark", [words[3]])[0]).value()
    assert [str(one) for one in parsed] == ["echelon_base_stock", "runs/a b/rule.yaml", 'odd"name', "rules:thing"]


def test_shows_rule_is_one_that_the_scenario_takes(capsys, tmp_path, monkeypatch):
    from echelongym.experiments.commands.show import _rule

    for name in ("lost_sales", "two_region", "beer_game", "production_network"):
        scenario = Scenario.load(name)
        assert RULES[_rule(scenario)].refusal(scenario) is None
