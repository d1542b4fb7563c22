"""A scenario with a user's own record beside it: what becomes of it in run folders, policies, messages and tables."""

import json
import warnings

import numpy as np
import pytest

from echelongym.envs.core.errors import InputError
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.envs.worlds.world_sample import WorldSample, sample_of

SCENARIO = """
units: integer
horizon: 30
warm_up: 5
products: {{tea: {{}}, coffee: {{}}}}
nodes: {{supplier: {{kind: supplier}}, shop: {{holding_cost: 1}}}}
lanes: {{in: {{source: supplier, target: shop, lead_time: 1}}}}
customers: {{all: {{sources: {{shop: {{}}}}, lost_share: 1, lost_sale_cost: 9, demand: {demand}}}}}
"""


def own(folder, demand="{kind: trace, file: sales.csv}", header="date,all/tea,all/coffee", first="2023-01-01"):
    """A scenario file with a daily record of 200 days beside it."""
    folder.mkdir(exist_ok=True)
    days = np.datetime64(first) + np.arange(200)
    rows = "".join(f"{day},{t % 7},{t % 5}\n" for t, day in enumerate(days))
    (folder / "sales.csv").write_text(f"{header}\n{rows}")
    (folder / "mine.yaml").write_text(SCENARIO.format(demand=demand))
    return folder / "mine.yaml"


def copied(scenario, folder):
    """The copy that a command leaves in its run folder."""
    from echelongym.envs.storage.files import write_yaml
    from echelongym.experiments.runs.folders import portable

    folder.mkdir()
    write_yaml(portable(scenario), folder / "scenario.yaml")
    return Scenario.load(folder / "scenario.yaml")


def test_a_policy_runs_on_the_copy_of_its_scenario_in_a_run_folder(tmp_path):
    pytest.importorskip("torch")
    import torch
    from pathwise_cases import config

    from echelongym.agents.loading import load_policy
    from echelongym.agents.pathwise.policy import make_policy, save_pathwise
    from echelongym.agents.sb3.actor import Actor, ActorPolicy
    from echelongym.agents.sb3.policy_file import save_actor

    scenario = Scenario.load(own(tmp_path / "mine"))
    copy = copied(scenario, tmp_path / "run")
    assert copy.digest == scenario.digest
    sizes = ActorPolicy(scenario, torch.nn.Identity())
    save_actor(tmp_path / "a.npz", ActorPolicy(scenario, Actor([sizes.encoder.size, sizes.decoder.size])))
    save_pathwise(tmp_path / "b.npz", make_policy(scenario, config()))
    tapes = [one.sample(1, seed=0, purpose="test") for one in (scenario, copy)]
    for name in ("a.npz", "b.npz"):
        costs = [
            simulate(one, load_policy(tmp_path / name, one), tape).cost_per_period
            for one, tape in zip((scenario, copy), tapes, strict=True)
        ]
        np.testing.assert_array_equal(*costs)


def test_the_rule_tuned_for_a_scenario_is_the_rule_of_its_copy(tmp_path, monkeypatch):
    from echelongym.agents.loading import load_policy
    from echelongym.envs.storage.files import write_yaml
    from echelongym.experiments.cli.settings import PolicyChoice
    from echelongym.experiments.comparison.policy_choice import chosen_policy
    from echelongym.experiments.runs.folders import portable

    monkeypatch.chdir(tmp_path)
    scenario = Scenario.load(own(tmp_path / "mine"))
    folder = tmp_path / "runs/tune/mine/a"
    load_policy("local_base_stock", scenario, levels={"shop": {"tea": 31.0, "coffee": 32.0}}).save(folder / "rule.yaml")
    write_yaml({"policy": {"parameters": {}}}, folder / "config.yaml")
    write_yaml(portable(scenario), folder / "scenario.yaml")
    summary = {"digest": scenario.digest, "rule": "local_base_stock", "tuning_budget": {"env_periods": 9}}
    (folder / "summary.json").write_text(json.dumps(summary))
    choice = PolicyChoice.model_validate({"name": "local_base_stock", "parameters": {}})
    rule = chosen_policy(choice, copied(scenario, tmp_path / "run"))
    assert rule.parameters["levels"]["shop"] == {"tea": 31.0, "coffee": 32.0}


def test_a_column_may_be_called_after_its_product_where_demand_is_given_by_product(tmp_path):
    demand = (
        "{tea: {kind: trace, file: sales.csv, series: tea}, coffee: {kind: trace, file: sales.csv, series: coffee}}"
    )
    found = Scenario.load(own(tmp_path, demand, "date,tea,coffee")).sample(1, seed=0, purpose="train")
    usual = Scenario.load(own(tmp_path / "usual")).sample(1, seed=0, purpose="train")
    np.testing.assert_array_equal(found.demand, usual.demand)
    assert found.demand[..., 0].max() == 6
    assert found.demand[..., 1].max() == 4


def test_columns_called_after_products_are_met_with_what_to_write(tmp_path):
    with pytest.raises(
        InputError, match=r"expected a column all/tea .*\{tea: \{kind: trace, file: sales.csv, series: tea\}"
    ):
        Scenario.load(own(tmp_path, header="date,tea,coffee")).sample(1, seed=0)


def days(folder, name, first, count, step=1, series="all/tea"):
    """A record whose units are the number of the day, so that demand tells its date."""
    first = np.datetime64(first)
    rows = [f"{first + step * t},{(first + step * t).astype(int)}\n" for t in range(count)]
    (folder / name).write_text(f"date,{series}\n{''.join(rows)}")


def joined(folder, more="", second="2023-02-01", count=150, step=1, north="north.csv"):
    days(folder, "north.csv", "2023-01-01", 200)
    days(folder, "south.csv", second, count, step, "all/coffee")
    demand = "{{tea: {{kind: trace, file: {1}{0}}}, coffee: {{kind: trace, file: south.csv{0}}}}}"
    (folder / "mine.yaml").write_text(SCENARIO.format(demand=demand.format(more, north)))
    return folder / "mine.yaml"


@pytest.mark.parametrize("more", ["", ", windows: whole", ", block: 7", ", block: 7, windows: whole"])
@pytest.mark.parametrize("purpose", ["train", "tune", "test"])
def test_records_of_several_files_show_one_day_at_a_time(tmp_path, more, purpose):
    scenario = Scenario.load(joined(tmp_path, more))
    demand = np.asarray(scenario.sample(6, 3, purpose).demand)[scenario.observe.history :, :, 0]
    np.testing.assert_array_equal(demand[..., 0], demand[..., 1])
    first, last = (np.datetime64(day).astype(int) for day in ("2023-02-01", "2023-06-30"))
    assert first <= demand.min() <= demand.max() <= last
    said = scenario.record_split()
    assert "the days that all of them have, 2023-02-01 to 2023-06-30" in said[-1]
    assert not any("do not meet" in one for one in said)
    if "block" in more:
        sample = sample_of(scenario, 6, 3, purpose)
        assert [one.file for one in sample.blocks] == ["north.csv, south.csv"]  # one record of 21 weeks, not two


def test_records_that_cannot_be_joined_say_so(tmp_path):
    """No day in common; weeks that begin on other weekdays; windows by number: each is played from its own first day."""
    for name, given in {
        "apart": {"second": "2024-02-01"},
        "numbered": {"more": ", windows: {train: [0, 59], test: [60, 119]}"},
    }.items():
        (tmp_path / name).mkdir()
        assert "do not meet" in Scenario.load(joined(tmp_path / name, **given)).record_split()[-1]
    with pytest.raises(InputError, match=r"south.csv = '1 week': expected periods of 1 day, as in north.csv"):
        Scenario.load(joined(tmp_path, step=7, count=40)).sample(1, seed=0)
    by_date = ", windows: {train: [2023-02-01, 2023-05-01], test: [2023-05-02, 2023-06-30]}"
    assert not any("do not meet" in one for one in Scenario.load(joined(tmp_path, by_date)).record_split())


def test_a_record_counts_by_what_it_holds_not_by_where_it_lies(tmp_path):
    """Moved, renamed or named by another path: one digest and the same worlds; another number in it: another digest."""
    found = Scenario.load(joined(tmp_path, ", block: 7"))
    elsewhere = tmp_path / "deep" / "er"
    elsewhere.mkdir(parents=True)
    for north in ("./north.csv", "deep/../north.csv", str(tmp_path / "north.csv"), "deep/er/other.csv"):
        days(elsewhere, "other.csv", "2023-01-01", 200)
        same = Scenario.load(joined(tmp_path, ", block: 7", north=north))
        assert same.digest == found.digest
        np.testing.assert_array_equal(same.sample(8, 5, "test").demand, found.sample(8, 5, "test").demand)
    days(elsewhere, "other.csv", "2023-01-02", 200)
    assert Scenario.load(joined(tmp_path, ", block: 7", north="deep/er/other.csv")).digest != found.digest


def test_a_policy_finds_the_record_that_it_was_trained_on(tmp_path):
    from echelongym.agents.origin import scenario_within
    from echelongym.envs.core.errors import NetworkWarning

    trained = Scenario.load(own(tmp_path / "before"))
    now = Scenario.load(own(tmp_path / "now"))
    (tmp_path / "now" / "sales.csv").rename(tmp_path / "now" / "all_sales.csv")
    now = now.with_overrides({"customers.all.demand.file": "all_sales.csv", "horizon": 25})
    assert trained.digest != now.digest
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scenario_within(trained.to_dict(), now, "policy.npz", trained.digest)
    assert found.digest == trained.digest  # moved and renamed, but the same
    # A file that lies where the policy's scenario had its own, but holds something else, is not taken for it.
    (tmp_path / "now" / "sales.csv").write_text((tmp_path / "now" / "all_sales.csv").read_text().replace(",6,", ",9,"))
    assert scenario_within(trained.to_dict(), now, "policy.npz", trained.digest).digest == trained.digest
    (tmp_path / "now" / "all_sales.csv").write_text((tmp_path / "now" / "sales.csv").read_text())
    with pytest.warns(NetworkWarning, match=r"policy.npz: sales.csv: changed since the policy was trained"):
        scenario_within(trained.to_dict(), now, "policy.npz", trained.digest)


def test_what_more_budget_brought_has_no_interval_in_one_history(tmp_path):
    from echelongym.agents.tuning.tuner import more_budget

    assert sample_of(Scenario.load(own(tmp_path)), 4, 0, "tune").kind == "none"
    found = more_budget(np.full(4, 11.0), np.full(4, 10.0), "budget", WorldSample(4, one_history=True))
    assert found["gain_percent"] == {"mean": 10.0, "ci95": None}
    assert "[" not in found["text"]


def test_a_gap_above_a_bound_has_no_interval_below_zero():
    from echelongym.experiments.statistics import Estimate

    assert Estimate(2.0, -1.0, 5.0, (-0.5, 4.5)).not_negative() == Estimate(2.0, 0.0, 5.0, (0.0, 4.5))
    assert Estimate(-2.0, -3.0, -1.0).not_negative() == Estimate(-2.0, -3.0, -1.0)  # a contradiction is shown
