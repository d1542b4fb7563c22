"""``echelongym generalise``: policies on unseen variants, against a rule tuned on each, and what the table says of it."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from echelongym.agents import load_policy
from echelongym.agents.estimation import estimated
from echelongym.envs import InputError, Scenario, simulate
from echelongym.envs.accounts.estimators import Ratio
from echelongym.envs.worlds.world_sample import SHARE, WorldSample
from echelongym.experiments.cli.compose import prepare
from echelongym.experiments.commands.generalise import cells
from echelongym.experiments.comparison.evaluate import Entrant, Scores
from echelongym.experiments.comparison.generality import Trial, VariantFamily, lines, over_variants
from echelongym.experiments.main import main

FAMILY = "distribution_family"
QUICK = [
    "variants=2",
    "tuning.budget=3000",
    "tuning.worlds=8",
    "tuning.judged=8",
    "evaluation.worlds=6",
    "tuning.cache=null",
]
QUICK += ["scenario.horizon=24", "scenario.warm_up=8", "progress=false"]


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def scores(name, cost, seeds=()):
    cost = np.atleast_2d(cost)
    worlds = cost.shape[1]
    served = {"total": {"fill_rate": Ratio(np.full(worlds, 9.0), np.full(worlds, 10.0), SHARE)}}
    figures = (served,) * len(cost)
    return Scores(Entrant(name, (), training_seeds=seeds), cost, cost, {}, None, figures, WorldSample(worlds))


# Families --------------------------------------------------------------------------------------------------------


def test_sizes_and_severities_are_combined_and_changes_follow():
    change = "changes={dear: {randomise.network.penalty: {low: 50, high: 60}}}"
    found = cells(prepare("generalise", ["sizes=[null,20]", "severities=[1,3]", change]))
    assert [(cell.size, cell.severity) for cell in found] == [(None, 1), (None, 3), (20, 1), (20, 3), (None, 1)]
    assert [cell.label for cell in found][2:] == ["size 20, severity 1", "size 20, severity 3", "dear"]
    assert [len(cell.variant(0, 0).nodes) for cell in found[2:4]] == [20, 20]
    store = found[-1].variant(0, 0)
    penalty = max(one.lost_sale_cost + one.backorder_cost for one in store.customers.values())
    assert penalty > 50 * 0.2


def test_a_severity_stretches_random_disruptions_of_the_same_variant():
    family = Scenario.load(FAMILY)
    plain, severe = (
        VariantFamily("plain", family).variant(4, 1),
        VariantFamily("severe", family, severity=2.5).variant(4, 1),
    )
    assert plain.digest == family.variant(4, 1, "test").digest
    when, longer = (one.disruptions["supplier_outage"].when for one in (plain, severe))
    assert longer.mean_down == pytest.approx(2.5 * when.mean_down)
    assert longer.mean_up == when.mean_up
    assert (plain.nodes, plain.lanes, plain.customers) == (severe.nodes, severe.lanes, severe.customers)
    # Never below one period; what is set to certain periods stays.
    storm = {"when": {"from": 3, "to": 5}, "effects": [{"customers": "all", "demand_factor": 2}]}
    mixed = VariantFamily("brief", family.with_overrides({"disruptions.storm": storm}), severity=0.01).variant(0, 0)
    assert mixed.disruptions["supplier_outage"].when.mean_down == 1.0
    assert (mixed.disruptions["storm"].when.first, mixed.disruptions["storm"].when.last) == (3, 5)


# Statistics ------------------------------------------------------------------------------------------------------


def test_the_interval_is_students_t_over_variants():
    rng = np.random.default_rng(0)
    base = rng.uniform(5, 50, (7, 1)) * rng.uniform(0.8, 1.2, (7, 30))
    cost = base * rng.normal(0.95, 0.02, (7, 1)) + rng.normal(0, 0.1, (7, 30))
    pairs = [(scores("a", cost[k]), scores("b", base[k])) for k in range(7)]
    percent = [100 * (cost[k].mean() / base[k].mean() - 1) for k in range(7)]
    found = over_variants(pairs)
    low, high = stats.t.interval(0.95, 6, np.mean(percent), stats.sem(percent))
    np.testing.assert_allclose([found.mean, found.low, found.high], [np.mean(percent), low, high], rtol=1e-9)


def test_several_training_seeds_count_as_such():
    base = np.full(10, 100.0)
    alike = [(scores("a", np.tile(base * ratio, (3, 1)), (0, 1, 2)), scores("b", base)) for ratio in (0.9, 0.95)]
    assert over_variants(alike).mean == pytest.approx(-7.5)
    spread = [(scores("a", np.outer([0.8, 0.9, 1.0], base), (0, 1, 2)), scores("b", base)) for _ in range(2)]
    found = over_variants(spread)
    assert found.mean == pytest.approx(-10)
    # Three seeds at -20, -10 and 0 %: Student's t interval over seeds is -10 +- 24.8.
    assert found.low < -25
    assert found.high > 5


def test_one_variant_has_the_paired_interval_over_worlds():
    rng = np.random.default_rng(1)
    base = rng.uniform(90, 110, 400)
    found = over_variants([(scores("a", 0.9 * base), scores("b", base))])
    assert found.mean == pytest.approx(-10)
    assert found.high - found.low < 1e-6  # the same share in every world
    assert over_variants([]) is None


def test_a_line_puts_the_policy_beside_the_rule_and_what_was_trained_on_the_spot():
    scenario = Scenario.load(FAMILY).variant(0, purpose="test")
    cell, worlds = VariantFamily("all", Scenario.load(FAMILY)), np.ones(4)

    def two(rule, policy):
        return scores("rule", rule * worlds), (scores("policy", policy * worlds),)

    trials = [
        Trial(
            cell,
            0,
            scenario,
            scores("rule", 10 * worlds),
            (scores("policy", 9 * worlds),),
            scores("spot", 8 * worlds),
            50.0,
        ),
        Trial(cell, 1, scenario, *two(10, 11)),
    ]
    (line,) = lines(trials)
    assert line.each == pytest.approx([-10, 10])
    assert line.percent.mean == pytest.approx(0)
    assert line.price.mean == pytest.approx(12.5)  # 9 is 12.5 % above 8
    assert (line.spot_seconds, line.nodes) == (50.0, (len(scenario.nodes),) * 2)


# The command -----------------------------------------------------------------------------------------------------


def test_the_command_runs_policies_on_variants_that_they_were_not_made_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "anywhere.py").write_text(
        "import numpy as np\n"
        "from echelongym.envs import Decision\n"
        "def steady(scenario):\n"
        "    t = scenario.tables\n"
        "    flow = np.maximum(t.mean_flow[t.lane_target], 0)\n"
        "    return lambda seen: Decision(np.broadcast_to(flow, (len(seen.period), *flow.shape)))\n"
    )
    rules = "rules=[echelon_base_stock,local_base_stock]"
    words = [
        rules,
        "policies=[{policy: echelon_base_stock, tuned: false},local_base_stock,anywhere:steady]",
        "sizes=[5,9]",
        "severities=[2]",
        "run=out",
        *QUICK,
    ]
    assert main(["generalise", *words]) == 0
    assert "size 9, severity 2: variant 2 of 2, 9 nodes" in capsys.readouterr().out
    found = rows(tmp_path / "out" / "variants.csv")
    assert len(found) == 2 * 2 * 5
    settings = prepare("generalise", words)
    for cell in cells(settings):
        for number in (0, 1):
            scenario = cell.variant(number, 0)
            tape = scenario.sample(6, 7, "test")
            mine = {
                row["policy"]: row for row in found if row["scenario"] == scenario.name and row["family"] == cell.label
            }
            assert mine["local_base_stock"]["cost_per_period"] == mine["tuned local_base_stock"]["cost_per_period"]
            for name, key in (("echelon_base_stock", "echelon_base_stock (untuned)"), ("anywhere:steady", "steady")):
                cost = simulate(scenario, load_policy(name, scenario), tape).cost_per_period.mean()
                assert float(mine[key]["cost_per_period"]) == pytest.approx(cost, rel=1e-9)
                reference = float(mine["tuned echelon_base_stock"]["cost_per_period"])
                assert float(mine[key]["percent"]) == pytest.approx(100 * (cost / reference - 1), rel=1e-6, abs=1e-6)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    steady = [line for line in summary["families"] if line["policy"] == "steady"]
    assert [line["size"] for line in steady] == [5, 9]
    of_9 = [float(row["percent"]) for row in found if row["policy"] == "steady" and row["nodes"] == "9"]
    assert steady[1]["percent"]["mean"] == pytest.approx(np.mean(of_9))
    assert steady[1]["nodes"] == [9, 9]
    assert len(rows(tmp_path / "out" / "families.csv")) == 8
    assert (tmp_path / "out" / "generality.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["scenario=two_region"], ["scenario = 'two_region'", "randomise", FAMILY]),
        (["scenario.variant=3"], ["scenario = 'distribution_family_train_3'", "randomise"]),
        (["sizes=[2]"], ["nodes = 2", ">= 3"]),
        (["sizes=[]", "severities=[]"], ["sizes = []", "at least one"]),
        (["policies=[]"], ["policies = []", "at least one"]),
        (["policies=[all]"], ["policies = 'all'", "by name or path"]),
        (["policies=[nothing]"], ["echelongym: policy = 'nothing'", "echelon_base_stock"]),
        (["rules=[echelon]"], ["rules = 'echelon'", "echelon_base_stock"]),
        (["rules=[]"], ["rules = []", "at least one"]),
        (["rules=[forecast_base_stock]"], ["size as given, severity 1, variant 0", "forecast"]),
        (["evaluation.periods=5"], ["evaluation.periods = 5", "warm-up"]),
        (["on_the_spot.agent=pppo"], ["pppo", "ppo"]),
        (["history=1"], ["history = 1", "at least 2 periods"]),
        (["changes={dear: {randomise.network.penlty: 3}}"], ["penlty", "penalty"]),
        (
            ["scenario.randomise={network: {nodes: 5}}", "scenario.disruptions={}"],
            ["severities", "no random disruption"],
        ),
        (
            ["scenario=two_region", "scenario.randomise={values: {carbon_price: 1}}", "sizes=[9]"],
            ["sizes = 9", "two_region draws no networks"],
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(words, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["generalise", *words, "run=out"]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in expected), error
    assert not (tmp_path / "out").exists()


def test_a_policy_for_one_network_is_refused_for_others(tmp_path):
    scenario = Scenario.load(FAMILY).variant(0, purpose="test")
    load_policy("echelon_base_stock", scenario).save(tmp_path / "rule.yaml")
    with pytest.raises(InputError, match="nodes"):
        load_policy(tmp_path / "rule.yaml", Scenario.load(FAMILY).variant(1, purpose="test"))


@pytest.mark.slow
def test_the_price_of_generality_is_measured_against_a_policy_trained_on_the_spot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spot = ["on_the_spot.agent=ppo", "on_the_spot.cpu_seconds=2"]
    assert main(["generalise", "sizes=[null,13]", "severities=[1]", "run=out", *spot, *QUICK]) == 0
    line, _ = json.loads((tmp_path / "out" / "summary.json").read_text())["families"]
    given = [row for row in rows(tmp_path / "out" / "variants.csv") if row["family"] == line["family"]]
    found = {(row["variant"], row["policy"]): row for row in given}
    trained = found["0", "ppo trained on the spot"]
    assert ("1", "ppo trained on the spot") not in found
    assert line["cpu_seconds_on_the_spot"] == pytest.approx(float(trained["cpu_seconds_on_the_spot"]))
    assert line["cpu_seconds_on_the_spot"] >= 2
    ratio = float(found["0", "echelon_base_stock (untuned)"]["cost_per_period"]) / float(trained["cost_per_period"])
    assert line["price_of_generality_percent"]["mean"] == pytest.approx(100 * (ratio - 1), rel=1e-6)
    scenario = Scenario.load(FAMILY, {"horizon": 24, "warm_up": 8}).variant(0, purpose="test")
    folders = list((tmp_path / "out" / "trained").iterdir())
    assert len(folders) == 2  # one a family
    (folder,) = (one for one in folders if "given" in one.name)
    assert load_policy(folder, scenario).scenario.digest == scenario.digest


def test_policies_that_estimate_play_the_true_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["policies=[{policy: echelon_base_stock, tuned: false}]", "sizes=[6]", "severities=[1]", "history=12"]
    assert main(["generalise", *words, "run=out", *QUICK]) == 0
    said = capsys.readouterr().out
    assert "from 12 periods that went before" in said
    (cell,) = cells(prepare("generalise", [*words, *QUICK]))
    found = [row for row in rows(tmp_path / "out" / "variants.csv") if row["policy"] == "echelon_base_stock (untuned)"]
    for number, row in enumerate(found):
        scenario = cell.variant(number, 0)
        policy = load_policy("echelon_base_stock", estimated(scenario, 12, 0))
        cost = simulate(scenario, policy, scenario.sample(6, 7, "test")).cost_per_period.mean()
        assert float(row["cost_per_period"]) == pytest.approx(cost, rel=1e-9)
    (line,) = json.loads((tmp_path / "out" / "summary.json").read_text())["families"]
    cheaper = sum(float(row["percent"]) < 0 for row in found)
    assert line["variants_cheaper"] == cheaper
    assert f"{cheaper} of 2" in said
