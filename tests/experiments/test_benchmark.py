"""Benchmark on a store that can be worked out by hand: no lead time, Poisson demand, lost sales."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from echelongym.envs.accounts.estimators import Largest, Ratio, Spread
from echelongym.envs.core.errors import InputError
from echelongym.envs.scenario.scenario import Scenario
from echelongym.experiments.cli.compose import prepare
from echelongym.experiments.commands.benchmark import Settings, compare, run
from echelongym.experiments.comparison.evaluate import OverSeeds, chunk_size, chunks, concatenated
from echelongym.experiments.main import main

STORE = """
units: integer
horizon: 20
warm_up: 4
nodes: {plant: {kind: supplier}, store: {holding_cost: 1.0, initial: 0}}
lanes: {road: {source: plant, target: store, lead_time: 0, distance_km: 10, fixed_emissions_kg: 2.0}}
customers:
  buyers:
    sources: {store: {}}
    demand: {kind: poisson, mean: 5}
    lost_share: 1.0
    lost_sale_cost: 4.0
    segment: town
    region: west
    targets: {fill_rate: 0.8, no_stockout_rate: 0.999}
targets: {emissions_kg_per_unit: 0.5}
"""
OWN = """
import numpy as np
from echelongym.envs import Decision

class UpTo:
    def __init__(self, scenario, level=7):
        self.level = level

    def __call__(self, observation):
        stock = observation.on_hand.sum((2, 3))[:, 1:]
        return Decision(np.maximum(self.level - stock, 0)[:, :, None])

def seven(observation):
    return UpTo(None)(observation)

def late(observation):
    if observation.period[0] == 19 and len(observation.period) == 3:
        raise RuntimeError("power cut")
    return seven(observation)
"""
ALONE = ("bounds=none", "open_loop=false")  # tests/experiments/test_yardsticks.py has what stands beside policies


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in a folder of its own, with the store and policies of its user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "own_policies", raising=False)
    (tmp_path / "store.yaml").write_text(STORE)
    (tmp_path / "own_policies.py").write_text(OWN)
    return tmp_path


def level(units: int, name: str | None = None) -> dict[str, Any]:
    """An entry of the list of policies: base-stock at a level that is given."""
    entry = {"policy": "local_base_stock", "parameters": {"levels": {"store": units}}}
    return {**entry, "name": name or f"level_{units}"}


def settings(policies: list[Any], *words: str, run: str = "compared") -> Settings:
    given = ["scenario=store.yaml", "tune=false", "pictures=false", "progress=false", f"run={run}", *ALONE, *words]
    prepared = prepare("benchmark", given)
    return Settings.model_validate({**dict(prepared), "policies": policies})


def expected_cost(units: int) -> float:
    """Holding what is left of a Poisson demand of 5, and losing what is short, for a level: the newsvendor's cost."""
    demand = np.arange(60)
    chance = stats.poisson.pmf(demand, 5)
    return float(chance @ (np.maximum(units - demand, 0) + 4.0 * np.maximum(demand - units, 0)))


# Figures -------------------------------------------------------------------------------------------


def test_costs_are_those_of_the_closed_form() -> None:
    results, _ = compare(settings([level(7), level(5), level(8)], "evaluation.worlds=1500"), Path("compared"))
    for units in (5, 7, 8):
        found = results.cost[f"level_{units}"]
        standard_error = (found.high - found.low) / 3.92
        assert abs(found.mean - expected_cost(units)) < 3 * standard_error
    worse = results.versus["level_5", "level_7"]
    true = 100 * (expected_cost(5) / expected_cost(7) - 1)
    assert worse.percent is not None
    assert worse.percent.low - 0.5 * (worse.percent.high - worse.percent.low) < true
    assert true < worse.percent.high + 0.5 * (worse.percent.high - worse.percent.low)
    assert worse.probability_better < 0.2


def test_pairing_takes_the_luck_of_worlds_out() -> None:
    results, _ = compare(settings([level(7), level(8)], "evaluation.worlds=200"), Path("compared"))
    difference = results.versus["level_7", "level_8"].difference
    apart = np.hypot(*(estimate.high - estimate.low for estimate in results.cost.values()))
    assert difference.high - difference.low < 0.8 * apart


def test_a_policy_against_itself_differs_by_exactly_nothing() -> None:
    words = ("evaluation.worlds=9", "evaluation.chunk=4")
    results, _ = compare(settings([level(7, "one"), level(7, "other"), "own_policies:seven"], *words), Path("compared"))
    for pair in (("one", "other"), ("one", "seven"), ("seven", "one")):
        found = results.versus[pair].to_dict()
        nothing = {"mean": 0.0, "ci95": [0.0, 0.0]}
        assert found == {"difference": nothing, "difference_percent": nothing, "probability_better": 0.5}


def test_comparisons_mirror_each_other() -> None:
    results, _ = compare(settings([level(6), level(8)], "evaluation.worlds=30"), Path("compared"))
    one, other = results.versus["level_6", "level_8"], results.versus["level_8", "level_6"]
    assert one.difference.mean == -other.difference.mean
    assert one.difference.low == pytest.approx(-other.difference.high)
    assert one.probability_better == 1 - other.probability_better


def test_chunks_change_nothing() -> None:
    whole, _ = compare(settings([level(7)], "evaluation.worlds=11"), Path("whole"))
    parts, _ = compare(settings([level(7)], "evaluation.worlds=11", "evaluation.chunk=3"), Path("parts"))
    assert np.array_equal(whole.scores[0].cost, parts.scores[0].cost)
    kept = [json.loads(Path(run, "summary.json").read_text())["policies"][0]["kpis"] for run in ("whole", "parts")]
    assert Path("whole/worlds.csv").read_text() == Path("parts/worlds.csv").read_text()
    flat = [dict(_flatten(tree)) for tree in kept]
    assert flat[0].keys() == flat[1].keys()
    for key, value in flat[0].items():
        assert value == pytest.approx(flat[1][key]), key


def _flatten(tree: dict[str, Any], prefix: str = "") -> Any:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_chunks_cover_every_world_once() -> None:
    for worlds, size in ((10, 3), (3, 10), (12, 4), (1, 1)):
        parts = list(chunks(worlds, size))
        assert [world for part in parts for world in part] == list(range(worlds))
        assert max(map(len, parts)) <= size
    tables = Scenario.load("store.yaml").tables
    assert chunk_size(tables, 20) > 1000
    assert chunk_size(tables, 10**9) == 16


def test_more_worlds_leave_the_first_as_they_were() -> None:
    few, _ = compare(settings([level(7)], "evaluation.worlds=4"), Path("few"))
    many, _ = compare(settings([level(7)], "evaluation.worlds=7"), Path("many"))
    assert np.array_equal(few.scores[0].cost, many.scores[0].cost[:, :4])
    other, _ = compare(settings([level(7)], "evaluation.worlds=4", "evaluation.seed=8"), Path("other"))
    assert not np.array_equal(few.scores[0].cost, other.scores[0].cost)


# Summary -------------------------------------------------------------------------------------------


def test_summary_is_the_contracts() -> None:
    run(settings([level(7), "own_policies:UpTo"], "evaluation.worlds=40"), Path("compared"))
    summary = json.loads(Path("compared/summary.json").read_text())
    limits = {"service_limits", "joint_service_limit"}
    assert set(summary) == {"schema", "scenario", "evaluation", "intervals", "policies", "bound", *limits}
    assert (summary["schema"], summary["scenario"], summary["bound"]) == (1, "store", {})
    assert summary["evaluation"] == {"worlds": 40, "seed": 7, "periods": 20, "warm_up": 4, "record": []}
    for policy, other in zip(summary["policies"], reversed(summary["policies"]), strict=True):
        keys = {"name", "cost_per_period", "kpis", "simulated_on", "tuning_budget", "training_seeds", "versus"}
        assert set(policy) == keys
        assert set(policy["cost_per_period"]) == {"mean", "ci95"}
        assert set(policy["versus"]) == {other["name"]}
        versus = policy["versus"][other["name"]]
        service = {"fill_rate", "serves", "targets_missed", "other_targets_missed", "comparable"}
        assert set(versus) == {"difference", "difference_percent", "probability_better"} | service
        # Both are the same policy, which misses a target: what they cost can be compared, but does not stand alone.
        assert (versus["serves"], versus["comparable"]) == ("alike", False)
        assert set(versus["difference"]) == {"mean", "ci95"}
        assert set(policy["kpis"]) == {"total", "customer", "segment", "region", "network", "echelon"}
        low, high = policy["cost_per_period"]["ci95"]
        assert low < policy["cost_per_period"]["mean"] < high
    # Expected lost units over demand, from the same closed form.
    lost = float(stats.poisson.pmf(np.arange(60), 5) @ np.maximum(np.arange(60) - 7, 0)) / 5
    rate = summary["policies"][0]["kpis"]["region"]["west"]["fill_rate"]
    assert abs(rate["mean"] - (1 - lost)) < 1.5 * (rate["ci95"][1] - rate["ci95"][0])


def test_tables_agree_with_the_summary() -> None:
    run(settings([level(7), level(8)], "evaluation.worlds=6"), Path("compared"))
    summary = json.loads(Path("compared/summary.json").read_text())
    rows = [line.split(",") for line in Path("compared/worlds.csv").read_text().splitlines()]
    costs = [float(row[rows[0].index("cost")]) for row in rows[1:] if row[0] == "level_7"]
    assert len(costs) == 6
    assert np.mean(costs) == pytest.approx(summary["policies"][0]["cost_per_period"]["mean"])
    lines = [float(row[rows[0].index(name)]) for row in rows[1:2] for name in ("holding", "lost_sale")]
    assert sum(lines) == pytest.approx(costs[0])
    versus = Path("compared/versus.csv").read_text().splitlines()[1].split(",")
    assert versus[:2] == ["level_7", "level_8"]
    assert float(versus[2]) == pytest.approx(summary["policies"][0]["versus"]["level_8"]["difference"]["mean"])


def test_targets_are_called_met_missed_or_undecided() -> None:
    results, _ = compare(settings([level(7)], "evaluation.worlds=200"), Path("compared"))
    found = {row["name"]: row["status"] for row in results.targets()}
    # Fill rate some 0.95; a stock-out is certain enough in 0.13 of periods; 2 kg a vehicle of five units are 0.4 a unit.
    assert found == {
        "buyers.fill_rate": "met",
        "buyers.no_stockout_rate": "missed",
        "emissions_kg_per_unit": "met",
    }
    text = Path("compared/targets.csv").read_text()
    assert "level_7,buyers.fill_rate,0.8,True," in text


def test_prices_put_the_profit_beside_the_cost() -> None:
    words = ("scenario.customers.buyers.price=3", "evaluation.worlds=10")
    results, _ = compare(settings([level(7)], *words), Path("compared"))
    policy = json.loads(Path("compared/summary.json").read_text())["policies"][0]
    revenue = results.scores[0].lines["revenue"].mean()
    assert policy["profit_per_period"]["mean"] == pytest.approx(revenue - policy["cost_per_period"]["mean"])


def test_pictures_are_drawn() -> None:
    run(settings([level(7), level(8)], "evaluation.worlds=4", "pictures=true"), Path("compared"))
    for name in ("cost_by_line", "service_by_region", "stock_over_time", "network"):
        assert Path(f"compared/{name}.png").read_bytes().startswith(b"\x89PNG")


# Who takes part ------------------------------------------------------------------------------------


def test_rules_are_tuned_first_on_worlds_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune=true", "tuning.worlds=40", "tuning.judged=40", "tuning.budget=60000", "evaluation.worlds=40"]
    words += ["scenario.customers.buyers.targets.no_stockout_rate=null"]
    given = [*words, *ALONE, "policies=[local_base_stock]", "run=first", "pictures=false", "progress=false"]
    assert main(["benchmark", "scenario=store.yaml", *given]) == 0
    policy = json.loads(Path("first/summary.json").read_text())["policies"][0]
    assert 0 < policy["tuning_budget"] <= 60_000
    assert "tuned before" not in capsys.readouterr().out
    # The newsvendor's level: the smallest with P(D <= level) >= 4 / 5.
    (rule,) = Path("runs/cache").glob("*/rule.yaml")
    assert yaml.safe_load(rule.read_text())["parameters"]["levels"]["store"] in (6, 7, 8)
    # A changed scenario is tuned anew; the same one is not.
    results, _ = compare(settings([{"policy": "local_base_stock"}], *words), Path("again"))
    assert "tuned before" in capsys.readouterr().out
    assert results.scores[0].entrant.tuning_budget == policy["tuning_budget"]
    compare(settings([{"policy": "local_base_stock"}], *words, "scenario.nodes.store.holding_cost=2"), Path("third"))
    assert len(list(Path("runs/cache").glob("*/rule.yaml"))) == 2
    # The folder that `tune` leaves, and the file in it, stand for the rule with the budget it had.
    for source in (rule.parent, rule):
        results, _ = compare(settings([str(source)]), Path(f"by_{source.suffix}"))
        assert results.scores[0].entrant.tuning_budget == policy["tuning_budget"]


def test_untuned_rules_are_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    run(settings(["local_base_stock", "own_policies:seven"], "evaluation.worlds=4"), Path("compared"))
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.lstrip().startswith("local_base_stock"))
    assert row.split()[-1] == "untuned"


def _trained(folder: Path, scenario: Scenario, seed: int, shift: float) -> None:
    """A run folder like that of a training: an actor whose action is always the same."""
    import torch

    from echelongym.agents.loading import POLICY_FILE
    from echelongym.agents.sb3.actor import Actor, ActorPolicy
    from echelongym.agents.sb3.policy_file import save_actor

    policy = ActorPolicy(scenario, torch.nn.Identity())
    actor = Actor([policy.encoder.size, policy.decoder.size])
    with torch.no_grad():
        for weights in actor.parameters():
            weights.zero_()
        next(reversed(list(actor.parameters()))).fill_(shift)
    folder.mkdir(parents=True)
    save_actor(folder / POLICY_FILE, ActorPolicy(scenario, actor))
    (folder / "config.yaml").write_text(f"seed: {seed}\nagent: {{kind: ppo}}\n")


def test_training_seeds_are_one_policy() -> None:
    scenario = Scenario.load("store.yaml")
    for seed, shift in ((0, 0.0), (1, 0.1), (10, 0.3)):
        _trained(Path(f"trained/seed_{seed}"), scenario, seed, shift)
    results, _ = compare(settings(["trained/*", level(7)], "evaluation.worlds=30"), Path("compared"))
    summary = json.loads(Path("compared/summary.json").read_text())
    learner, rule = summary["policies"]
    assert (learner["name"], learner["training_seeds"]) == ("ppo", [0, 1, 10])
    assert (rule["training_seeds"], rule["tuning_budget"]) == ([], None)
    costs = results.scores[0].cost
    assert costs.shape == (3, 30)
    assert learner["cost_per_period"]["mean"] == pytest.approx(costs.mean())
    difference = learner["versus"]["level_7"]["difference"]
    assert difference["mean"] == pytest.approx((costs.mean(axis=0) - results.scores[1].cost[0]).mean())
    # Seeds differ far more than worlds do, so the interval is that of the seeds.
    assert difference["ci95"][1] - difference["ci95"][0] > np.ptp(costs.mean(axis=1))
    rows = Path("compared/seeds.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["0", "1", "10", ""]
    alone, _ = compare(settings(["trained/seed_1", "trained/seed_10"], "evaluation.worlds=30"), Path("alone"))
    assert [one.name for one in alone.scores] == ["ppo (seed_1)", "ppo (seed_10)"]
    assert np.array_equal(alone.scores[0].cost[0], costs[1])


def test_the_same_seed_twice_is_no_second_seed() -> None:
    scenario = Scenario.load("store.yaml")
    for name in ("a", "b"):
        _trained(Path(f"trained/{name}"), scenario, 3, 0.0)
    with pytest.raises(InputError, match="expected run folders of different training seeds, found seeds"):
        compare(settings(["trained/*"]), Path("compared"))
    with pytest.raises(InputError, match="a rule has no training seeds"):
        compare(settings([["local_base_stock", "trained/a"]]), Path("compared"))


# Whole or not at all -------------------------------------------------------------------------------


def test_a_policy_that_fails_late_leaves_nothing_behind(elsewhere: Path) -> None:
    before = {path for path in elsewhere.rglob("*") if "__pycache__" not in path.parts}
    with pytest.raises(RuntimeError, match="power cut"):
        compare(
            settings([level(7), "own_policies:late"], "evaluation.worlds=9", "evaluation.chunk=3"), Path("compared")
        )
    assert {path for path in elsewhere.rglob("*") if "__pycache__" not in path.parts} == before


def test_a_taken_folder_is_refused_before_any_work() -> None:
    Path("compared").mkdir()
    Path("compared/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="run = 'compared': expected a folder that is new or empty"):
        compare(settings(["own_policies:nothing_of_that_name"]), Path("compared"))


# Parts ---------------------------------------------------------------------------------------------


def test_figures_of_chunks_join_to_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    served, asked = rng.uniform(0, 5, 12), rng.uniform(5, 9, 12)
    whole, halves = Ratio(served, asked), [Ratio(served[:5], asked[:5]), Ratio(served[5:], asked[5:])]
    assert concatenated(list(halves)).estimate() == whole.estimate()
    assert concatenated([Largest(served[:5]), Largest(served[5:])]).estimate() == Largest(served).estimate()
    other = Ratio(asked, asked)
    spreads = [Spread((half, Ratio(half.denominator, half.denominator))) for half in halves]
    assert concatenated(list(spreads)).estimate() == Spread((whole, other)).estimate()


def test_figures_over_seeds_by_hand() -> None:
    # Fill rates that do not vary over worlds: 0.8 and 0.9 for two seeds.
    asked = np.full(4, 10.0)
    seeds = [Ratio(0.8 * asked, asked), Ratio(0.9 * asked, asked)]
    found = OverSeeds(list(seeds)).estimate()
    assert found["mean"] == pytest.approx(0.85)
    half = 0.05 * np.sqrt(2) * 12.7062047 / 1.959964  # the bootstrap's extreme draw, widened for two seeds
    assert found["ci95"] == pytest.approx([0.85 - half, 0.85 + half], rel=1e-6)
    assert OverSeeds([Largest(np.array([1.0, 3.0])), Largest(np.array([2.0, 2.0]))]).estimate()["max"] == 3.0
    nothing = OverSeeds([Ratio(np.zeros(3), np.zeros(3))] * 2).estimate()
    assert np.isnan(nothing["mean"])
