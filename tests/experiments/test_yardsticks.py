"""Bounds, plan and optimum on the command line, on a store whose optimum can be worked out by hand."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from echelongym.experiments.main import main

STORE = """
units: integer
horizon: 30
warm_up: 0
nodes: {plant: {kind: supplier}, store: {holding_cost: 1.0, initial: 0}}
lanes: {road: {source: plant, target: store, lead_time: 0}}
customers:
  buyers: {sources: {store: {}}, demand: {kind: poisson, mean: 5}, lost_share: 1.0, lost_sale_cost: 4.0}
"""
DEMAND = np.arange(60)
# Holding what is left and losing what is short at level 7, where P(D <= 7) first exceeds 4 / 5: the newsvendor's cost.
OPTIMUM = float(stats.poisson.pmf(DEMAND, 5) @ (np.maximum(7 - DEMAND, 0) + 4.0 * np.maximum(DEMAND - 7, 0)))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store.yaml").write_text(STORE)


def run(command: str, *words: str) -> dict[str, Any]:
    """The summary of a command."""
    assert main([command, "scenario=store.yaml", "progress=false", "run=made", *words]) == 0
    found: dict[str, Any] = json.loads(Path("made/summary.json").read_text())
    return found


def test_bound(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("bounds.worlds=40", "bounds.steps=60", "workers=1", "tune=false", "policies=[local_base_stock]")
    found = run("bound", *words)
    printed = capsys.readouterr().out
    assert found["exact"]["cost_per_period"] == pytest.approx(OPTIMUM, abs=1e-6)
    assert f"optimum in the long run: {OPTIMUM:.6}" in printed
    bound = found["bound"]
    # Who knows the demand of a store without lead time orders just that.
    assert bound["perfect_information"]["cost_per_period"]["mean"] == pytest.approx(0, abs=1e-9)
    tighter = bound["penalised"]["cost_per_period"]
    assert tighter["mean"] > 0.7 * OPTIMUM
    assert tighter["ci95"][0] < OPTIMUM
    assert (bound["best"], bound["worlds"]) == ("penalised", 40)
    names = [policy["name"] for policy in found["policies"]]
    assert names == ["local_base_stock", "open_loop_plan"]
    for policy in found["policies"]:
        gap = bound["gap"][policy["name"]]["penalised"]["difference"]["mean"]
        assert gap == pytest.approx(policy["cost_per_period"]["mean"] - tighter["mean"], abs=1e-9)
        assert gap > 0
    # What was computed is not computed again.
    kept = {path: path.stat().st_mtime_ns for path in Path("runs/cache").iterdir()}
    assert len(kept) == 2
    assert main(["bound", "scenario=store.yaml", "progress=false", "run=again", *words]) == 0
    assert {path: path.stat().st_mtime_ns for path in Path("runs/cache").iterdir()} == kept
    again = json.loads(Path("again/summary.json").read_text())
    assert again["bound"] == bound


def test_targets_that_cannot_be_met_together_are_said_once_before_and_once_in_the_notes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Eight units a period for two customers who ask for 4.5 of their 5 each: one is missing."""
    people = "{sources: {store: {}}, demand: {kind: deterministic, mean: 5}, lost_share: 1.0, lost_sale_cost: 4.0, "
    people += "targets: {fill_rate: 0.9}}"
    text = STORE.replace("lead_time: 0}", "lead_time: 0, capacity: 8}")
    text = text[: text.index("  buyers:")] + f"  east: {people}\n  west: {people}\n"
    Path("store.yaml").write_text(text)
    words = ("evaluation.worlds=2", "policies=[local_base_stock]", "tune=false", "bounds=none", "open_loop=false")
    found = run("benchmark", *words)
    line = "east.fill_rate >= 0.9, west.fill_rate >= 0.9 are beyond reach together: every policy falls short of the 9 units"
    assert capsys.readouterr().out.replace("\n", " ").count(line) == 2
    assert found["joint_service_limit"]["names"] == ["east.fill_rate", "west.fill_rate"]
    assert found["joint_service_limit"]["units_a_period"]["shortfall"]["mean"] == pytest.approx(1.0)


def test_benchmark_shows_bounds_and_plan_unless_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("evaluation.worlds=10", "tune=false", "pictures=false", "policies=[local_base_stock]")
    found = run("benchmark", *words, "bounds=quick", "workers=1")
    printed = capsys.readouterr().out
    assert found["bound"]["worlds"] == 10
    assert [policy["name"] for policy in found["policies"]] == ["local_base_stock", "open_loop_plan"]
    assert "no policy costs less than" in printed
    assert "% above bound" in printed
    assert Path("made/bounds.csv").read_text().startswith("policy,bound,mean,low,high,percent")
    assert main(["benchmark", "scenario=store.yaml", *words, "run=off", "bounds=none", "open_loop=false"]) == 0
    off = json.loads(Path("off/summary.json").read_text())
    assert off["bound"] == {}
    assert len(off["policies"]) == 1
    assert "above bound" not in capsys.readouterr().out


def test_a_comparison_goes_on_where_nothing_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    """Stock that is worth more at the end than it costs: there is no cheapest plan."""
    words = ("evaluation.worlds=4", "tune=false", "pictures=false", "policies=[local_base_stock]", "open_loop=false")
    found = run("benchmark", *words, "bounds=quick", "scenario.nodes.store.terminal_value=100")
    assert found["bound"] == {}
    assert "no bounds: scenario store, world 0: the program has no finite optimum" in capsys.readouterr().out


def test_all_stands_for_every_rule_that_makes_sense() -> None:
    words = ("evaluation.worlds=4", "tune=false", "pictures=false", "bounds=none", "open_loop=false")
    found = run("benchmark", *words, "policies=[{policy: sterman, name: people},all]")
    names = {policy["name"] for policy in found["policies"]}
    assert {"people", "echelon_base_stock", "reorder_point_quantity", "sterman"} <= names
    assert not {"random", "just_in_time", "rolling_horizon", "dual_index", "can_order"} & names


def test_exact_optimum_rule_and_policy(capsys: pytest.CaptureFixture[str]) -> None:
    found = run("exact")
    assert found["cost_per_period"] == pytest.approx(OPTIMUM, abs=1e-6)
    assert main(["exact", "scenario=store.yaml", "policy=echelon_base_stock", "run=rule"]) == 0
    rule = json.loads(Path("rule/summary.json").read_text())
    assert rule["cost_per_period"] == pytest.approx(OPTIMUM, abs=1e-6)
    assert rule["parameters"]["levels"] == {"store": 7}
    given = ["policy=echelon_base_stock", "policy.parameters.levels.store=5", "search=false", "run=given"]
    assert main(["exact", "scenario=store.yaml", *given]) == 0
    five = float(stats.poisson.pmf(DEMAND, 5) @ (np.maximum(5 - DEMAND, 0) + 4.0 * np.maximum(DEMAND - 5, 0)))
    assert json.loads(Path("given/summary.json").read_text())["cost_per_period"] == pytest.approx(five, abs=1e-6)
    assert main(["exact", "scenario=two_region", "run=none"]) == 2
    assert "forecast.horizon = 4: expected 0" in capsys.readouterr().err
    assert not Path("none").exists()


def test_a_plan_is_a_policy(tmp_path: Path) -> None:
    run("bound", "bounds=quick", "workers=1", "bounds.penalty=false", "tune=false", "policies=[local_base_stock]")
    (plan,) = Path("runs/cache").glob("plan-*.json")
    words = ("tune=false", "pictures=false", "bounds=none", "open_loop=false", "evaluation.worlds=4")
    assert main(["benchmark", "scenario=store.yaml", *words, f"policies=[{plan}]", "run=planned"]) == 0
    plan.write_text(plan.read_text()[:40])
    assert main(["benchmark", "scenario=store.yaml", *words, f"policies=[{plan}]", "run=broken"]) == 2


def test_a_network_whose_programs_are_too_large_is_compared_without_bounds_and_plan(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One lane, one product and 30 periods: at most 29 is too few, and 30 or any number are not."""
    words = ("tune=false", "policies=[local_base_stock]", "bounds.worlds=4", "bounds.penalty=false", "workers=1")
    rest = ("bounds.cache=null", "tuning.cache=null", "evaluation.worlds=8", "pictures=false")
    without = run("benchmark", *words, *rest, "bounds.most_cells=29")
    printed = capsys.readouterr().out
    assert printed.count("no bounds and no open-loop plan: a world of store has 30 lanes x products x periods") == 1
    assert "bounds.most_cells=29" in printed
    assert without["bound"] == {}
    assert [policy["name"] for policy in without["policies"]] == ["local_base_stock"]
    for most in ("30", "null"):
        shutil.rmtree("made")
        found = run("benchmark", *words, *rest, f"bounds.most_cells={most}")
        assert "no bounds" not in capsys.readouterr().out
        assert found["bound"]["worlds"] == 4
        assert [policy["name"] for policy in found["policies"]] == ["local_base_stock", "open_loop_plan"]
        assert found["policies"][0]["cost_per_period"] == without["policies"][0]["cost_per_period"]


def test_bounds_that_take_hours_are_refused_before_anything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("policies=[nothing_that_is_there]", "bounds.most_cells=29")
    assert main(["bound", "scenario=store.yaml", "progress=false", "run=made", *words]) == 2
    error = capsys.readouterr().err
    assert "bounds.most_cells=29" in error
    assert "nothing_that_is_there" not in error
    assert not Path("made").exists()
