"""The last line of every command, ``Next: ...``, runs as it is typed."""

import shlex

import pytest

from echelongym.agents.registry import RULES
from echelongym.envs import Scenario
from echelongym.experiments.cli.compose import arguments
from echelongym.experiments.cli.terminal import listed, typed
from echelongym.experiments.main import COMMANDS, main

TUNING = "tuning.worlds=4 tuning.judged=4 tuning.budget=4000 tuning.cache=null workers=1"
BOUNDS = "bounds.worlds=2 bounds.cache=null bounds.penalty=false open_loop=false"
TRAINING = (
    "budget.env_steps=64 agent.worlds=4 agent.n_steps=8 agent.batch_size=16 agent.n_epochs=1 validation.worlds=4 "
    "reference=automatic bound=false tensorboard=false"
)
FAMILY = (
    "budget.env_steps=500 agent.worlds=2 agent.variants=2 agent.variant_steps=1 validation.worlds=2 validation.times=1 "
    "reference=automatic bound=false tensorboard=false"
)
GENERAL = f"evaluation.worlds=4 variants=1 sizes=[null] severities=[1] {TUNING}"
# What makes each command small.
SMALL = {
    "show": "",
    "simulate": "evaluation.worlds=2",
    "tune": TUNING,
    "benchmark": f"evaluation.worlds=4 pictures=false {TUNING} {BOUNDS}",
    "bound": f"{TUNING} {BOUNDS} tune=false",
    "exact": "",
    "read": "evaluation.worlds=4",
    "train": TRAINING,
    "export": "check.observations=20",
    "generalise": GENERAL,
    "demo": f"evaluation.worlds=4 training.cpu_seconds=1 rules=[local_base_stock] {TUNING}",
    "board": f"trainings=false {TUNING}",
    "bench": "seconds=0.01 batches=[2] dynamics_batch=2 scenarios=[lost_sales]",
}


def run(capsys, line):
    """Type a line, made small; returns the line that it says comes next."""
    words = shlex.split(line)
    words = words[1:] if words[0] == "echelongym" else words
    small = SMALL[words[0]] if "agent=pathwise_set" not in words else FAMILY
    assert main([*words, *shlex.split(small)]) == 0, (line, capsys.readouterr().err)
    said = [one for one in capsys.readouterr().out.splitlines() if one.startswith("Next:")]
    assert len(said) == 1 or "-m" in words  # of a sweep, each run has one, and all together have the last
    return said[-1].removeprefix("Next:").strip()


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
        "benchmark scenario=lost_sales policies='[echelon_base_stock,rules:nothing]'",
        "train scenario='my shop.yaml' agent=ppo",
        "train scenario=lost_sales agent=ppo -m seed=0,1",
        "export scenario='my shop.yaml' policy=local_base_stock",
        "generalise",
        "board",
        pytest.param("bench", marks=pytest.mark.slow),
        pytest.param("demo scenario='my shop.yaml'", marks=pytest.mark.slow),
        pytest.param("show scenario=distribution_family", marks=pytest.mark.slow),
        pytest.param("train scenario=distribution_family agent=pathwise_set", marks=pytest.mark.slow),
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


def test_every_command_has_a_line_that_is_typed_here():
    (mark,) = [mark for mark in test_the_next_line_runs.pytestmark if mark.name == "parametrize"]
    lines = [getattr(one, "values", [one])[0] for one in mark.args[1]]
    assert {line.split()[0] for line in lines} == set(COMMANDS) == set(SMALL)


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
