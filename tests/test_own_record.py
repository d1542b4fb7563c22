"""A scenario with a user's own record beside it: what becomes of it in run folders, policies, messages and tables."""

import json

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
    assert copy.digest != scenario.digest
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


def test_records_that_begin_on_different_days_say_that_their_days_do_not_meet(tmp_path):
    own(tmp_path / "late", first="2023-02-01")
    each = (
        "{{tea: {{kind: trace, file: sales.csv, series: all/tea{0}}}, "
        "coffee: {{kind: trace, file: late/sales.csv, series: all/coffee{0}}}}}"
    )
    from echelongym.envs.recorded.statement import record_split

    apart = Scenario.load(own(tmp_path, each.format("")))
    assert any("2023-05-31 in sales.csv, 2023-07-01 in late/sales.csv" in one for one in record_split(apart)), (
        record_split(apart)
    )
    windows = ", windows: {train: [2023-02-01, 2023-05-01], test: [2023-05-02, 2023-07-01]}"
    together = Scenario.load(own(tmp_path, each.format(windows)))
    assert not any("do not meet" in one for one in record_split(together))


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
