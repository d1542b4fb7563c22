"""What worlds are a sample of: intervals about another season cover, one history has none, none leaves its range."""

import json
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from echelongym.agents.loading import load_policy
from echelongym.agents.reading import demand_shock, respond
from echelongym.agents.tuning.tuner import more_budget
from echelongym.envs import Scenario
from echelongym.envs.accounts.estimators import Ratio
from echelongym.envs.core.errors import InputError
from echelongym.envs.simulate import simulate
from echelongym.envs.worlds.recorded_blocks import RecordedBlocks, recorded_blocks
from echelongym.envs.worlds.tape import Tape
from echelongym.envs.worlds.world_sample import (
    ANY,
    NON_NEGATIVE,
    SHARE,
    WorldSample,
    sample_of,
    sample_of_tape,
    student_half,
    within,
)
from echelongym.experiments.comparison.bounds import Bounded
from echelongym.experiments.comparison.service import LESS, compare_fill_rates
from echelongym.experiments.main import main
from echelongym.experiments.statistics import mean_interval, paired_comparison, seeds_comparison

STORE = """
horizon: 42
nodes: {plant: {kind: supplier}, shop: {holding_cost: 1.0}}
lanes: {truck: {source: plant, target: shop, lead_time: 1}}
customers: {people: {sources: {shop: {}}, demand: {kind: trace, file: sales.csv%s}, lost_share: 1.0, lost_sale_cost: 9}}
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    units = np.random.default_rng(1).poisson(8, 280)
    rows = "".join(f"{t},{x}\n" for t, x in enumerate(units))
    (tmp_path / "sales.csv").write_text("period,people\n" + rows)
    return tmp_path


def store(more: str = "") -> Scenario:
    Path("shop.yaml").write_text(STORE % more)
    return Scenario.load("shop.yaml")


# Blocks ------------------------------------------------------------------------------------------


def test_counts_are_those_of_the_demand_that_is_played() -> None:
    """Every day of a record of ordinals says by itself which block it is from."""
    Path("sales.csv").write_text("period,people\n" + "".join(f"{t},{t}\n" for t in range(280)))
    scenario = store(", block: 7, windows: {train: [0, 139], tune: [0, 139], test: [140, 279]}")
    (found,) = recorded_blocks(scenario, 20, 3, "test")
    demand = np.asarray(scenario.sample(20, 3, "test").demand)[:, :, 0, 0]
    history = scenario.observe.history
    for world in range(20):
        begun = demand[history::7, world].astype(int) // 7 - 20
        shown = np.bincount(begun, minlength=20)
        before = found.counts[world] - shown
        assert (before >= 0).all()
        assert before.sum() == math.ceil(history / 7)
    assert found.counts.shape == (20, 20)


def test_a_scenario_with_a_record_travels_to_other_processes() -> None:
    scenario = store(", block: 7")
    sent = pickle.loads(pickle.dumps(scenario))  # noqa: S301 (our own bytes)
    assert np.array_equal(sent.sample(4, 7, "test").demand, scenario.sample(4, 7, "test").demand)
    assert sent.record_split() == scenario.record_split()


def linear(rng: np.random.Generator, blocks: int, draws: int, worlds: int, noise: float = 0.0):
    """A record of normal blocks of mean 0, and a figure that is the mean over a world's blocks."""
    record = rng.standard_normal(blocks)
    picks = rng.integers(blocks, size=(worlds, draws))
    counts = np.stack([np.bincount(row, minlength=blocks) for row in picks])
    values = record[picks].mean(axis=1) + noise * rng.standard_normal(worlds)
    return record, WorldSample(worlds, (RecordedBlocks("record", 7, counts),)), values


def test_of_many_worlds_the_interval_is_that_of_the_mean_over_blocks() -> None:
    """A figure that is linear in the counts is known as well as the mean of K blocks is: Student's interval of K - 1."""
    record, sample, values = linear(np.random.default_rng(0), 9, 12, 40_000)
    found = mean_interval(values, sample)
    half = stats.t.ppf(0.975, 8) * record.std(ddof=1) / 3
    assert found.high - found.mean == pytest.approx(half, rel=0.02)
    assert found.record is not None
    assert found.record[1] - found.mean == pytest.approx(student_half(values - values.mean()))


def coverage(trials: int, blocks: int, draws: int, worlds: int, noise: float) -> tuple[float, float]:
    rng = np.random.default_rng(blocks + draws + worlds)
    hits = np.zeros(2)
    for _ in range(trials):
        _, sample, values = linear(rng, blocks, draws, worlds, noise)
        found = mean_interval(values, sample)
        assert found.record is not None
        hits += found.low <= 0.0 <= found.high, found.record[0] <= 0.0 <= found.record[1]
    return tuple(hits / trials)  # type: ignore[return-value]


def test_intervals_about_another_season_cover() -> None:
    season, record = coverage(200, 17, 13, 256, 0.0)
    assert 0.91 <= season <= 0.985
    assert record < 0.3  # what was printed before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("blocks", "draws", "worlds"), [(17, 13, 512), (17, 13, 64), (8, 13, 64), (5, 5, 32), (3, 6, 64)]
)
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.5, 5.0])
def test_they_cover_whatever_else_is_random(blocks: int, draws: int, worlds: int, noise: float) -> None:
    """Where other randomness drowns the blocks, few worlds make the interval too wide, never too narrow."""
    season, _ = coverage(500, blocks, draws, worlds, noise)
    assert season >= 0.925


@pytest.mark.slow
def test_they_cover_on_recorded_demand() -> None:
    """Many short records of a known law, each a scenario's, worlds drawn by block: mean demand of the law."""
    rng = np.random.default_rng(4)
    hits, trials = np.zeros(2), 150
    for _ in range(trials):
        weeks = rng.gamma(8.0, 1.0, 12)  # what a week has in common
        days = rng.poisson(np.repeat(weeks, 7))
        Path("sales.csv").write_text("period,people\n" + "".join(f"{t},{x}\n" for t, x in enumerate(days)))
        scenario = store(", block: 7, windows: whole")
        sample = sample_of(scenario, 128, 0, "test")
        demand = scenario.sample(128, 0, "test").demand[scenario.observe.history :, :, 0, 0]
        found = mean_interval(np.asarray(demand, dtype=float).mean(axis=0), sample)
        assert found.record is not None
        hits += found.low <= 8.0 <= found.high, found.record[0] <= 8.0 <= found.record[1]
    assert 0.9 <= hits[0] / trials <= 0.99
    assert hits[1] / trials < 0.6


def test_independent_records_add_up() -> None:
    rng = np.random.default_rng(2)
    one, first, a = linear(rng, 9, 12, 40_000)
    two, second, b = linear(rng, 11, 12, 40_000)
    both = WorldSample(40_000, first.blocks + second.blocks)
    variance = one.var(ddof=1) / 9 + two.var(ddof=1) / 11
    ends = mean_interval(a + b, both)
    half = ends.high - ends.mean
    assert stats.norm.ppf(0.975) * variance**0.5 < half < stats.t.ppf(0.975, 8) * variance**0.5 * 1.05


def test_training_seeds_and_blocks_both_count() -> None:
    """Costs of two seeds that differ, over worlds of few blocks: the interval is wider than either alone makes it."""
    _, sample, values = linear(np.random.default_rng(3), 6, 8, 2000)
    seeds = np.stack([values + 0.4, values - 0.4, values])
    found = seeds_comparison(seeds, np.zeros(2000) + 1.0, sample=sample).difference
    blocks = mean_interval(values, sample)
    alone = seeds_comparison(seeds, np.zeros(2000) + 1.0).difference
    assert found.high - found.low > max(blocks.high - blocks.low, alone.high - alone.low)
    assert found.record is not None
    assert found.record[1] - found.record[0] == pytest.approx(alone.high - alone.low)


def test_bands_after_a_shock_are_clustered_by_block() -> None:
    scenario = store(", block: 7").with_overrides({"horizon": 40})
    rule = load_policy("echelon_base_stock", scenario, levels={"shop": 14.0})
    found = respond(scenario, rule, demand_shock(scenario, deviations=2.0), worlds=24)
    sample = sample_of(scenario, 24, 7, "test", len(found.cost.mean) + found.shock.period)
    assert (found.sample.kind, sample.kind) == ("another_season", "another_season")
    tape = scenario.sample(24, 7, "test", len(found.cost.mean) + found.shock.period)
    one, other = (simulate(scenario, rule, worlds, trace=True).trace for worlds in (found.shock.applied(tape), tape))
    asked = (one.requests - other.requests)[found.shock.period :].sum(axis=(0, 2, 3))
    assert float(found.total_requests.mean[0]) == pytest.approx(asked.mean())
    ends = mean_interval(asked, sample)
    band = found.total_requests
    assert (float(band.low[0]), float(band.high[0])) == pytest.approx((ends.low, ends.high))
    assert found.fill_rate.low.min() >= -1.0


def test_what_more_budget_brought_is_clustered_by_block() -> None:
    _, sample, values = linear(np.random.default_rng(5), 9, 12, 2000)
    after, gain = 10.0 + 0.0 * values, 0.5 + values
    found = more_budget(after + gain, after, "budget", sample)["gain_percent"]
    ends = mean_interval(10.0 * gain, sample)
    assert found["ci95"] == pytest.approx([ends.low, ends.high])
    assert found["ci95_record"] == pytest.approx(list(ends.record or ()))
    worse = more_budget(np.array([0.0, 1.0]), np.array([30.0, 20.0]), "budget")["gain_percent"]
    assert worse["ci95"][0] == -100.0  # a cost that nothing makes negative falls by no more than all of it


@pytest.mark.parametrize("costs", [(0.004, 0.184), (0.0, 30.0), (5.0, 5.1)])
def test_a_bound_of_two_worlds_is_printed_within_its_range(costs: tuple[float, float]) -> None:
    line = Bounded({"perfect_information": np.array(costs)}, []).lines()[0]
    mean, low, high = (float(text) for text in re.findall(r"-?\d+\.?\d*", line)[:3])
    half = stats.t.ppf(0.975, 1) * np.std(costs, ddof=1) / 2**0.5
    assert mean == pytest.approx(np.mean(costs), rel=1e-3)
    assert low == pytest.approx(max(np.mean(costs) - half, 0.0), abs=2e-3)
    assert high == pytest.approx(np.mean(costs) + half, rel=1e-3)


# Tapes -------------------------------------------------------------------------------------------


def test_a_saved_tape_keeps_what_its_worlds_were_drawn_from() -> None:
    scenario = store(", block: 7")
    tape = scenario.sample(24, 7, "test")
    tape.save("worlds.npz")
    read = Tape.load("worlds.npz").check(scenario)
    wanted, found = sample_of(scenario, 24, 7, "test"), sample_of_tape(read)
    assert (found.kind, found.notes()) == (wanted.kind, wanted.notes())
    assert np.array_equal(found.blocks[0].counts, wanted.blocks[0].counts)
    values = np.random.default_rng(0).normal(5, 1, 24) + 0.1 * wanted.blocks[0].counts[:, 0]
    assert mean_interval(values, found) == mean_interval(values, wanted)
    some = sample_of_tape(read[[3, 5, 8]])
    assert np.array_equal(some.blocks[0].counts, wanted.blocks[0].counts[[3, 5, 8]])
    assert np.array_equal(scenario.sample([3, 5, 8], 7, "test").drawn.blocks[0].counts, some.blocks[0].counts)
    lost = store().with_overrides({"lanes.truck.lead_time": {"values": [1, 2], "probabilities": [0.5, 0.5]}})
    assert sample_of_tape(lost.sample(8, 7, "test")).notes()[0] == sample_of(lost, 8, 7, "test").notes()[0]


def test_a_tape_that_does_not_say_what_it_was_drawn_from_is_said_not_to(capsys: pytest.CaptureFixture[str]) -> None:
    scenario = store(", block: 7")
    tape = scenario.sample(24, 7, "test")
    tape.replace(demand=np.asarray(tape.demand) + 1.0).save("worlds.npz")  # demand of the user's own
    found = run("simulate", "scenario=shop.yaml", "policy=local_base_stock", "policy.tuned=false", "tape=worlds.npz")
    said = "does not say what its worlds were drawn from"
    assert said in " ".join(capsys.readouterr().out.split())
    assert (found["intervals"]["kind"], found["intervals"]["known"]) == ("worlds", False)
    assert said in found["intervals"]["note"]


@pytest.mark.parametrize(
    "arrays",
    [
        {"drawn": np.array("nonsense")},
        {"drawn": np.array(7)},
        {"drawn": np.array('{"records": [{"file": "a.csv", "block": 7, "blocks": -4}], "replayed": []}')},
        {"blocks": np.zeros((3, 9), np.int64)},
        {"blocks": np.full((24, 10), 0.5)},
        {"blocks": np.full((24, 10), -1)},
    ],
)
def test_a_tape_that_says_something_else_is_refused(arrays: dict[str, Any]) -> None:
    store(", block: 7").sample(24, 7, "test").save("worlds.npz")
    with np.load("worlds.npz") as kept:
        np.savez("other.npz", **{**kept, **arrays})
    with pytest.raises(InputError, match=f"other.npz: {next(iter(arrays))}"):
        Tape.load("other.npz")


# No interval -------------------------------------------------------------------------------------


def test_what_worlds_are_a_sample_of() -> None:
    assert sample_of(store(), 64, 7, "test").to_dict()["kind"] == "none"
    assert sample_of(store(), 64, 7, "test").worlds == 1
    drawn = sample_of(store(", block: 7"), 64, 7, "test")
    assert (drawn.kind, drawn.worlds, drawn.has_record) == ("another_season", 64, True)
    assert sample_of(store(", block: 7"), 1, 7, "test").kind == "none"
    alone = sample_of(store(", block: 7, windows: {train: [0, 139], tune: [0, 139], test: [140, 146]}"), 8, 7, "test")
    assert alone.kind == "none"
    lost = store().with_overrides({"lanes.truck.lead_time": {"values": [1, 2], "probabilities": [0.5, 0.5]}})
    rest = sample_of(lost, 64, 7, "test")
    assert rest.kind == "worlds"
    assert "one history, replayed in order: intervals are about all else" in rest.notes()[0]
    certain = lost.with_overrides(
        {"customers.people.demand": {"kind": "deterministic", "mean": 3}, "lanes.truck.lead_time": 1}
    )
    assert sample_of(certain, 64, 7, "test").one_history
    assert sample_of(Scenario.load("serial"), 64, 7, "test").kind == "worlds"


def test_who_gets_an_odd_unit_makes_no_other_history() -> None:
    whole = Path("shop.yaml").write_text("units: integer" + STORE % "") and Scenario.load("shop.yaml")
    found = sample_of(whole, 16, 7, "test")
    assert (found.one_history, found.worlds) == (True, 16)
    assert not mean_interval(np.arange(16.0), found).known


def run(*words: str) -> dict:
    assert main([*words, "progress=false", "run=made"]) == 0
    return json.loads(Path("made/summary.json").read_text())


def test_tables_of_one_history_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    store()
    policies = "policies=[local_base_stock,{policy: local_base_stock, name: low, parameters: {levels: {shop: 9}}}]"
    quick = ("tune=false", "bounds=none", "open_loop=false", "pictures=false")
    found = run("benchmark", "scenario=shop.yaml", policies, *quick, "evaluation.worlds=64")
    printed = capsys.readouterr().out
    assert "shop: one history" in printed
    assert "no interval: one history: all worlds are the same one" in printed
    assert "+-" not in printed
    assert (found["evaluation"]["worlds"], found["intervals"]["kind"]) == (1, "none")
    assert "one history" in found["intervals"]["about"]
    first = found["policies"][0]
    assert first["cost_per_period"]["ci95"] == [None, None]
    assert first["kpis"]["total"]["fill_rate"]["ci95"] == [None, None]
    versus = first["versus"]["low"]
    assert versus["probability_better"] is None
    assert versus["difference_percent"]["ci95"] == [None, None]
    assert versus["serves"] == "more"  # of one history a difference is what it is
    rows = Path("made/versus.csv").read_text().splitlines()
    assert rows[1].endswith(",none")


def test_tables_of_a_record_label_both_questions(capsys: pytest.CaptureFixture[str]) -> None:
    store(", block: 7")
    words = ("scenario=shop.yaml", "policy=local_base_stock", "evaluation.worlds=64")
    found = run("simulate", *words)
    printed = capsys.readouterr().out
    assert "95 %, this record" in printed
    assert "which the 64 worlds are drawn from: about the mean over other seasons" in " ".join(printed.split())
    assert "over 10 recorded blocks of 7 periods" in found["intervals"]["about"]
    wide, narrow = (found["cost_per_period"][key] for key in ("ci95", "ci95_record"))
    assert wide[0] <= narrow[0] < narrow[1] <= wide[1]
    assert found["intervals"]["records"][0]["block"] == 7


def test_one_world_runs_and_has_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    found = run("simulate", "scenario=serial", "policy=echelon_base_stock", "evaluation.worlds=1")
    assert found["cost_per_period"]["ci95"] == [None, None]
    assert "no interval: one world" in capsys.readouterr().out


# Ranges ------------------------------------------------------------------------------------------


def test_shares_have_wilsons_interval() -> None:
    """Of independent trials: 27 of 30 successes, the score interval of scipy for the same quantile."""
    successes, trials = 27, 30
    share = successes / trials
    half = stats.norm.ppf(0.975) * math.sqrt(share * (1 - share) / trials)
    known = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert within(share, half, SHARE) == pytest.approx([known.low, known.high])


@given(st.floats(0, 1), st.floats(0, 50))
def test_no_share_leaves_its_range(mean: float, half: float) -> None:
    low, high = within(mean, half, SHARE)
    assert 0.0 <= low <= mean <= high <= 1.0


def test_intervals_stay_within_their_range() -> None:
    assert within(0.2, 0.5, NON_NEGATIVE) == [0.0, 0.7]
    assert within(0.2, 0.5, ANY) == [-0.3, 0.7]
    low, high = Ratio(np.array([9.9, 8.0]), np.array([10.0, 10.0]), SHARE).estimate()["ci95"]
    assert 0.0 <= low < 0.895 < high <= 1.0
    percent = paired_comparison([1.0, 30.0], [20.0, 40.0]).percent
    assert percent is not None
    assert percent.low >= -100.0


# Unequal service ---------------------------------------------------------------------------------


def test_service_is_unequal_beyond_a_margin_and_doubt() -> None:
    asked = np.full(50, 100.0)
    shaken = np.random.default_rng(0).normal(0, 1, 50)
    sample = WorldSample(50)

    def rate(mean: float, spread: float = 1.0) -> list[Ratio]:
        return [Ratio(100 * mean + spread * shaken, asked, SHARE)]

    assert compare_fill_rates(rate(0.90), rate(0.95), sample).serves == LESS
    assert compare_fill_rates(rate(0.95), rate(0.90), sample).serves == "more"
    assert compare_fill_rates(rate(0.950), rate(0.953), sample).serves == "alike"  # less than half a point
    doubtful = compare_fill_rates(rate(0.95, 20.0), [Ratio(96 - 20 * shaken, asked, SHARE)], sample)
    assert doubtful.serves == "alike"
    assert not compare_fill_rates(rate(0.90), rate(0.95), sample).comparable


def test_where_a_target_is_missed_the_rule_tuned_on_cost_alone_stands_beside() -> None:
    Path("dear.yaml").write_text(
        "units: integer\nhorizon: 30\nnodes: {plant: {kind: supplier}, shop: {holding_cost: 1.0, initial: 0}}\n"
        "lanes: {truck: {source: plant, target: shop, lead_time: 2}}\n"
        "customers: {people: {sources: {shop: {}}, demand: {kind: poisson, mean: 5}, lost_share: 1.0, lost_sale_cost: 4,"
        " targets: {fill_rate: 0.97}}}\n"
    )
    words = ("bounds=none", "open_loop=false", "pictures=false", "tuning.cache=null", "tuning.method=search")
    found = run("benchmark", "scenario=dear.yaml", "policies=[local_base_stock]", "tuning.budget=60000", *words)
    tuned, alone = found["policies"]
    assert alone["name"] == "local_base_stock (cost alone)"
    assert alone["cost_per_period"]["mean"] < tuned["cost_per_period"]["mean"]
    versus = alone["versus"]["local_base_stock"]
    assert (versus["serves"], versus["comparable"]) == ("less", False)
    assert versus["targets_missed"] == ["people.fill_rate"]
    (limit,) = found["service_limits"]
    assert limit["beyond_reach"]  # two of thirty periods have nothing to serve from
    assert limit["limit"]["mean"] == pytest.approx(28 / 30, abs=0.01)


if __name__ == "__main__":
    for setting in ((17, 13, 512), (17, 13, 64), (8, 13, 64), (5, 5, 32), (3, 6, 64)):
        for noise in (0.0, 1.5):
            season, record = coverage(1000, *setting, noise)
            print(*setting, f"noise {noise}: another season {100 * season:.1f} %, this record {100 * record:.0f} %")
