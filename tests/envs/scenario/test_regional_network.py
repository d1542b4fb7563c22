"""Networks that ``generate`` writes: how many places and lanes, which lane is whose first, and what is drawn."""

import numpy as np
import pytest

from echelongym.envs import InputError, Scenario
from echelongym.envs.interface.feasibility import problems
from echelongym.experiments.main import main

SMALL = {"generate.regions": 3, "generate.stores_per_region": 4}
TINY = ["tuning.worlds=4", "tuning.judged=4", "tuning.budget=500", "tuning.cache=null"]
SIZES = [(5, 5, 10, 18), (1, 2, 3, 3), (3, 4, 6, 5)]  # suppliers, central warehouses, regions, stores of a region


def generated(suppliers, central, regions, stores, **more):
    changes = {
        "generate.suppliers": suppliers,
        "generate.central_warehouses": central,
        "generate.regions": regions,
        "generate.stores_per_region": stores,
        "disruptions": {},
    }
    return Scenario.load("continental", changes | more)


@pytest.mark.parametrize(("S", "Z", "R", "s"), SIZES)
def test_sizes_are_those_that_are_documented(S, Z, R, s):
    found = generated(S, Z, R, s)
    seconds = S * Z if S > 1 else 0  # a supplier alone has no second one
    assert len(found.nodes) == S + Z + R * (s + 1)
    assert len(found.lanes) == S * Z + seconds + 5 * R + 5 * R * s
    assert len(found.customers) == R * s
    assert problems(found) == []


def test_continental_is_as_large_as_it_says():
    t = Scenario.load("continental").tables
    assert (t.N, t.L, t.P) == (200, 1000, 20)
    assert t.lane_open.sum() == 19_200


def test_first_lanes_lead_from_the_main_supplier_the_nearest_warehouse_and_the_own_region():
    scenario = generated(5, 5, 10, 2)
    t = scenario.tables
    for p, product in enumerate(t.products):
        first = scenario.primary_lanes(product)
        for central in range(1, 6):
            assert first[f"central_{central}"] == f"supplier_{p % 5 + 1}_central_{central}"
        for region in range(1, 11):
            # Central warehouses stand at regions 1, 3, 5, 7 and 9; between two of them the one with the lower number serves.
            nearest = 1 if region == 10 else (region + 1) // 2
            assert first[f"region_{region}"] == f"central_{nearest}_region_{region}"
            assert first[f"store_{region}_2"] == f"region_{region}_store_{region}_2"
    central = [t.nodes.index(f"central_{k}") for k in range(1, 6)]
    flow = (t.mean_flow[central] * t.volume).sum(axis=1)
    np.testing.assert_array_equal(t.node_capacity[central], np.ceil(flow / 0.8 - 1e-9))


def test_another_seed_draws_other_numbers_for_the_same_network():
    one, other = (generated(2, 2, 3, 4, **{"generate.seed": seed}) for seed in (0, 1))
    assert list(one.lanes) == list(other.lanes)
    assert not np.array_equal(one.tables.mean_demand, other.tables.mean_demand)
    assert generated(2, 2, 3, 4).digest == one.digest


def test_what_is_generated_can_be_changed_and_is_written_out(tmp_path):
    lane = "region_1_store_1_1"
    # In any order: what the network is generated from comes first.
    found = Scenario.load("continental", {f"lanes.{lane}.capacity": 7, **SMALL})
    assert found.lanes[lane].capacity == 7
    assert found.generate is None
    found.save(tmp_path / "written.yaml")
    assert Scenario.load(tmp_path / "written.yaml").digest == found.digest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generate.regions": 0}, "generate: regions = 0: expected a whole number >= 1"),
        ({"generate.region": 3}, "unknown key 'region'; did you mean 'regions'?"),
        ({"generate.utilisation": 1.5}, "utilisation = 1.5"),
        ({"nodes": {"depot": {}}}, "beside nodes"),
        ({"lanes.nowhere.capacity": 3}, "'nowhere': expected one of supplier_1_central_1"),
    ],
)
def test_what_cannot_be_generated_is_said(changes, said):
    with pytest.raises(InputError) as error:
        Scenario.load("continental", changes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["show"],
        ["simulate", "policy=echelon_base_stock", "evaluation.worlds=4"],
        ["benchmark", "policies=[echelon_base_stock]", "evaluation.worlds=4", *TINY],
        ["tune", "policy=echelon_base_stock", *TINY],
    ],
)
def test_continental_end_to_end(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, *rest = words
    short = ["scenario.horizon=20", "scenario.warm_up=5", "progress=false"] if command != "show" else []
    assert main([command, "scenario=continental", *short, *rest, "run=found"]) == 0
    assert (tmp_path / "found" / "summary.json").is_file()
