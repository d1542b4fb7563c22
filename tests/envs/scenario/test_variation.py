"""Randomised scenarios: variants are named, valid, drawn from what is written, and leave each other alone."""

import re

import numpy as np
import pytest
from checkout import CHECKOUT
from hypothesis import given, settings
from hypothesis import strategies as st
from shipped import WITHOUT_EXTRA

from echelongym.agents import load_policy
from echelongym.envs import InputError, Scenario, simulate, variants
from echelongym.envs.processes.series import Streams
from echelongym.envs.scenario.random_network import ExtraLane, LeadTimes, RandomDemand, RandomNetwork
from echelongym.envs.storage.files import read_yaml, write_yaml
from echelongym.experiments.cli.compose import prepare
from echelongym.experiments.main import main
from echelongym.experiments.runs.folders import portable

FAMILY = "distribution_family"


def two_region(values, **changes):
    return Scenario.load("two_region", {"randomise": {"values": values}, **changes})


def at(scenario, path):
    """The number at a dotted path of a scenario's plain data."""
    found = scenario.to_dict()
    for key in path.split("."):
        found = found[int(key) if isinstance(found, list) else key]
    return found


# Names and series ------------------------------------------------------------------------------------------------


def test_a_variant_is_the_same_whenever_and_wherever_it_is_drawn(tmp_path):
    family = Scenario.load(FAMILY)
    family.save(tmp_path / "copy.yaml")
    again = Scenario.load(tmp_path / "copy.yaml")
    assert again.digest == family.digest
    assert [one.digest for one in variants(again, 4, seed=2)] == [family.variant(k, seed=2).digest for k in range(4)]


def test_numbers_seeds_and_purposes_have_variants_of_their_own():
    family = Scenario.load(FAMILY)
    found = {}
    for purpose in ("train", "tune", "test"):
        for seed in (0, 1):
            for number in range(12):
                data = family.variant(number, seed, purpose).to_dict()
                del data["name"]
                found[purpose, seed, number] = repr(data)
    assert len(set(found.values())) == len(found) == 72


def test_a_number_is_the_first_of_the_series_named_by_its_path():
    scenario = two_region({"nodes.*.holding_cost": {"low": 1.0, "high": 3.0}})
    u = Streams("test", 4, np.array([9])).uniforms("variation", ["nodes.hub.holding_cost"], 0, 1)[0, 0, 0]
    assert at(scenario.variant(9, 4, "test"), "nodes.hub.holding_cost") == pytest.approx(1 + 2 * u, abs=1e-5)


def test_another_pattern_leaves_the_other_numbers_alone():
    means = {"customers.*.demand.mean": {"low": 5, "high": 30}}
    few, more = two_region(means), two_region({"lanes.*.transport_cost": {"low": 0, "high": 1}, **means})
    for number in range(5):
        one, other = few.variant(number), more.variant(number)
        for customer in one.customers:
            assert one.customers[customer] == other.customers[customer]
        assert one.lanes != other.lanes


def test_a_larger_network_has_the_stores_of_a_smaller_one():
    # Without depots, so that every store has the same source in both.
    small = Scenario.load(FAMILY, {"randomise.network": {"nodes": 6, "depots": 0}})
    large = small.with_overrides({"randomise.network.nodes": 40})
    for number in range(4):
        one, other = small.variant(number, purpose="test"), large.variant(number, purpose="test")
        assert (len(one.nodes), len(other.nodes)) == (6, 40)
        for section in ("nodes", "lanes", "customers"):
            assert getattr(one, section).items() <= getattr(other, section).items()
        assert one.disruptions == other.disruptions


# What is drawn ---------------------------------------------------------------------------------------------------


def test_ranges_are_drawn_as_they_say():
    scenario = two_region(
        {
            "nodes.hub.holding_cost": {"low": 0.2, "high": 0.6},
            "lanes.dairy_hub.lead_time": {"low": 1, "high": 4, "whole": True},
            "customers.south_shops.demand": {
                "values": [{"kind": "poisson", "mean": 3}, {"kind": "deterministic", "mean": 8}]
            },
            "lanes.dairy_hub.purchase_cost": {"factor": {"low": 0.25, "high": 4.0}},
        }
    )
    drawn = variants(scenario, 400)
    holding = np.array([at(one, "nodes.hub.holding_cost") for one in drawn])
    assert ((holding >= 0.2) & (holding <= 0.6)).all()
    # Four standard errors of a uniform mean, and of its quartiles' shares.
    assert abs(holding.mean() - 0.4) < 4 * 0.4 / 12**0.5 / 20
    assert abs((holding < 0.3).mean() - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5
    lead = np.array([at(one, "lanes.dairy_hub.lead_time") for one in drawn])
    assert sorted(set(lead)) == [1, 2, 3, 4]
    assert (abs(np.bincount(lead)[1:] / 400 - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5).all()
    kinds = [at(one, "customers.south_shops.demand.kind") for one in drawn]
    assert abs(kinds.count("poisson") / 400 - 0.5) < 0.1
    factor = np.array([at(one, "lanes.dairy_hub.purchase_cost") for one in drawn]) / 2.0
    assert factor.min() >= 0.25
    assert factor.max() <= 4.0
    assert abs(np.log(factor).mean()) < 4 * np.log(16) / 12**0.5 / 20  # centred at 1


def test_what_is_matched_is_drawn_by_itself_or_together():
    for together, count in ((False, 3), (True, 1)):
        scenario = two_region({"nodes.*.holding_cost": {"low": 0, "high": 9, "together": together}})
        node = scenario.variant(0).nodes
        assert node["dairy"].holding_cost == 0.0  # a supplier holds nothing
        assert len({node[name].holding_cost for name in ("hub", "north", "south")}) == count


def test_a_factor_on_numbers_by_product_keeps_their_ratio():
    scenario = two_region(
        {"nodes.hub.holding_cost": {"factor": {"low": 2, "high": 5}}},
        products={"milk": {}, "bread": {}},
        **{"nodes.hub.holding_cost": {"milk": 1.0, "bread": 3.0}},
    )
    found = at(scenario.variant(0), "nodes.hub.holding_cost")
    assert found["bread"] == pytest.approx(3 * found["milk"], rel=1e-5)
    assert 2 <= found["milk"] <= 5


def test_a_whole_factor_rounds_half_up():
    scenario = two_region({"lanes.dairy_hub.lead_time": {"factor": {"low": 1.5, "high": 1.5}, "whole": True}})
    assert at(scenario.variant(0), "lanes.dairy_hub.lead_time") == 5  # 3 x 1.5 = 4.5


def test_patterns_apply_in_order_and_reach_into_what_earlier_ones_gave():
    scenario = two_region(
        {
            "customers.south_shops.demand": {"values": [{"kind": "gamma", "mean": 4, "standard_deviation": 1}]},
            "customers.*.demand.standard_deviation": {"low": 2, "high": 3},
            "nodes.*.holding_cost": 7,
            "nodes.hub.holding_cost": 8,
        }
    )
    one, other = scenario.variant(0), scenario.variant(1)
    spreads = [at(v, "customers.south_shops.demand.standard_deviation") for v in (one, other)]
    assert len(set(spreads)) == 2
    assert all(2 <= spread <= 3 for spread in spreads)
    assert at(scenario, "customers.south_shops.demand.mean") == 15
    assert [one.nodes[name].holding_cost for name in ("hub", "north")] == [8, 7]


def by_product(cost, scenario):
    """A cost of every product, from one that may be one number for all."""
    return cost if isinstance(cost, dict) else dict.fromkeys(scenario.products, cost)


@pytest.mark.parametrize("name", WITHOUT_EXTRA)
def test_every_shipped_scenario_can_be_randomised(name):
    values = {
        "nodes.*.holding_cost": {"factor": {"low": 0.5, "high": 2.0}},
        "lanes.*.lead_time": {"values": [1, 3, {"values": [1, 2], "probabilities": [0.5, 0.5]}]},
        "lanes.*.transport_cost": {"low": 0, "high": 2},
        "customers.*.*_cost": {"factor": {"low": 0.5, "high": 2.0}, "together": True},
        "horizon": 12,
        "warm_up": 0,
    }
    base = Scenario.load(name).replace(disruptions={}, randomise=None)
    for one in variants(base.replace(randomise={"values": values}), 3):
        tape = one.sample(worlds=2)
        outcome = simulate(one, load_policy("local_base_stock", one), tape)
        assert np.isfinite(outcome.cost_per_period).all()
        assert tape.periods == 12
        assert len(one.lanes) == len(base.lanes)
        drawn, given = (
            np.array([list(by_product(node.holding_cost, base).values()) for node in each.nodes.values()])
            for each in (one, base)
        )
        assert ((0.5 * given <= drawn) & (drawn <= 2.0 * given)).all()
        assert not np.array_equal(drawn, given) or not given.any()


def test_nested_mappings_are_dotted_keys():
    nested = two_region({"customers": {"*": {"demand": {"mean": {"low": 5, "high": 30}}}}})
    dotted = two_region({"customers.*.demand.mean": {"low": 5, "high": 30}})
    assert nested.digest == dotted.digest


# Networks --------------------------------------------------------------------------------------------------------


@st.composite
def networks(draw):
    low = draw(st.integers(3, 9))
    extra = st.none() | st.fixed_dictionaries({"probability": st.sampled_from([0.0, 0.4, 1.0])})
    return {
        "nodes": {"low": low, "high": low + draw(st.integers(0, 20))},
        "depots": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "stores_per_depot": {"low": 1, "high": draw(st.integers(1, 9))},
        "demand": {"kind": draw(st.sampled_from(["normal", "gamma", "poisson", "negative_binomial"]))},
        "lost": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "express": draw(extra),
        "lateral": draw(extra),
    }


def check_network(scenario, network):
    """A tree from the supplier to every store, costs rising on the way, a customer a store."""
    assert network["nodes"]["low"] <= len(scenario.nodes) <= network["nodes"]["high"]
    up = {
        scenario.lanes[name].target: scenario.lanes[name].source for name in scenario.primary_lanes("product").values()
    }
    stores = [name for name in scenario.nodes if name.startswith("store_")]
    assert [list(one.sources) for one in scenario.customers.values()] == [[store] for store in stores]
    for store in stores:
        path = [store]
        while path[-1] in up:
            path.append(up[path[-1]])
        assert path[-2:] == ["warehouse", "supplier"]
        assert len(path) in (3, 4)
        costs = [scenario.nodes[name].holding_cost for name in path[:-1]]
        assert costs == sorted(costs, reverse=True)
    depots = {up[store] for store in stores} - {"warehouse"}
    assert depots == {name for name in scenario.nodes if name.startswith("depot_")}


@settings(max_examples=30, deadline=None)
@given(networks(), st.integers(0, 10**6), st.sampled_from(["train", "tune", "test"]))
def test_every_network_that_is_drawn_is_valid_and_conserves_stock(network, number, purpose):
    family = Scenario.load(FAMILY)
    data = {key: value for key, value in family.to_dict().items() if key not in ("nodes", "lanes", "customers")}
    scenario = Scenario.from_mapping({**data, "randomise": {"network": network}}).variant(number, 0, purpose)
    check_network(scenario, network)
    assert Scenario.from_mapping(scenario.to_dict()).digest == scenario.digest
    tape = scenario.sample(worlds=2, seed=1, periods=scenario.warm_up + 6)
    trace = simulate(scenario, load_policy("echelon_base_stock", scenario), tape, trace=True).trace
    stock = trace.on_hand.sum(axis=(2, 3, 4)) + trace.in_transit.sum(axis=(2, 3, 4, 5))
    supply = [place for place, lane in enumerate(scenario.lanes.values()) if lane.source == "supplier"]
    supplied = trace.shipped[:, :, supply].sum(axis=(2, 3))
    gone = trace.served.sum(axis=(2, 3)) + trace.disposed.sum(axis=(2, 3))
    np.testing.assert_allclose(stock[1:], (stock + supplied - gone)[:-1], rtol=1e-9, atol=1e-7)


def test_express_and_lateral_lanes_stand_beside_the_regular_ones():
    given_lanes = {"probability": 1.0, "lead_time": 0, "transport_cost": 2.5}
    family = Scenario.load(
        FAMILY, {"randomise.network": {"nodes": 7, "depots": 0, "express": given_lanes, "lateral": {"probability": 1}}}
    )
    lanes = family.variant(0).lanes.values()
    express = [lane for lane in lanes if lane.mode == "express"]
    lateral = {(lane.source, lane.target) for lane in lanes if lane.mode == "transshipment"}
    assert [(lane.source, lane.lead_time.values, lane.transport_cost) for lane in express] == [
        ("warehouse", (0,), 2.5)
    ] * 5
    pairs = {(f"store_{k}", f"store_{k + 1}") for k in range(1, 5)}
    assert lateral == pairs | {(b, a) for a, b in pairs}


def test_the_base_of_a_family_of_networks_is_that_of_variant_0():
    family = Scenario.load(FAMILY)
    first = family.variant(0)
    assert (family.nodes, family.lanes, family.customers) == (first.nodes, first.lanes, first.customers)
    assert family.with_overrides({"randomise.network.nodes": 30}).tables.N == 30
    alone = family.replace(randomise=None)
    assert (alone.randomise, alone.nodes) == (None, family.nodes)
    values = {"lanes.*.lead_time": {"low": 1, "high": 3, "whole": True}}
    assert family.replace(randomise={"values": values}).variant(5).nodes == family.nodes
    # A network that is written stays, whatever is drawn.
    written = family.replace(nodes=family.to_dict()["nodes"] | {"spare": {}})
    assert len(written.with_overrides({"randomise.network.nodes": 30}).nodes) == len(family.nodes) + 1
    assert len(written.with_overrides({"randomise.network.nodes": 30}).variant(0).nodes) == 30


def test_the_shipped_family_stays_within_twelve_nodes_and_covers_them():
    drawn = variants(Scenario.load(FAMILY), 60)
    assert {len(one.nodes) for one in drawn} == set(range(5, 13))
    assert {bool(one.nodes.keys() & {"depot_1"}) for one in drawn} == {True, False}


# Where a variant is chosen ---------------------------------------------------------------------------------------


def test_a_scenario_without_the_key_is_its_own_and_a_variant_has_none():
    with pytest.raises(InputError, match="two_region: randomise = None: expected this key"):
        Scenario.load("two_region").variant(0)
    assert Scenario.load(FAMILY).variant(0).randomise is None
    assert "randomise" not in Scenario.load("two_region").to_dict()


def test_the_command_line_and_overrides_choose_a_variant():
    wanted = Scenario.load(FAMILY).variant(3, 1, "test").digest
    assert Scenario.load(FAMILY, {"variant": {"number": 3, "seed": 1, "purpose": "test"}}).digest == wanted
    words = [f"scenario={FAMILY}", "scenario.variant={number: 3, seed: 1, purpose: test}"]
    assert prepare("simulate", words).scenario.digest == wanted
    assert prepare("tune", [f"scenario={FAMILY}", "scenario.variant=3"]).scenario.name == f"{FAMILY}_train_3"
    larger = prepare("show", [f"scenario={FAMILY}", "scenario.randomise.network.nodes=33", "scenario.variant=0"])
    assert len(larger.scenario.nodes) == 33


def test_patterns_on_the_command_line():
    values = "scenario.randomise={values: {customers.*.demand.mean: {low: 5, high: 30}}}"
    scenario = prepare("show", ["scenario=two_region", values, "scenario.variant=1"]).scenario
    assert scenario.digest == two_region({"customers.*.demand.mean": {"low": 5, "high": 30}}).variant(1).digest


def test_show_lists_what_varies(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["show", f"scenario={FAMILY}", "run=seen"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"network\.holding_rise +1\.2 to 2", out)
    assert re.search(r"disruptions\.supplier_outage\.when\.mean_down +1 +2 to 6", out)
    assert (tmp_path / "seen" / "randomise.csv").is_file()
    # The folder's scenario is the family again.
    assert Scenario.load(tmp_path / "seen" / "scenario.yaml").digest == Scenario.load(FAMILY).digest


def test_recorded_demand_to_choose_from_is_found_from_a_run_folder_too(tmp_path):
    beside, run = tmp_path / "mine", tmp_path / "run"
    beside.mkdir()
    for name in ("low", "high"):
        days = range(40)
        (beside / f"{name}.csv").write_text("period,south_shops\n" + "".join(f"{day},{day % 7}\n" for day in days))
    given = Scenario.load("two_region").to_dict()
    traces = [{"kind": "trace", "file": f"{name}.csv", "block": 7} for name in ("low", "high")]
    given["randomise"] = {"values": {"customers.south_shops.demand": {"values": traces}}}
    given["disruptions"] = {}
    write_yaml(given, beside / "recorded.yaml")
    family = Scenario.load(beside / "recorded.yaml")
    write_yaml(portable(family), run / "scenario.yaml")
    again = Scenario.load(run / "scenario.yaml")
    for number in range(4):
        one, other = family.variant(number), again.variant(number)
        assert one.customers["south_shops"].demand["kind"] == "trace"
        np.testing.assert_array_equal(one.sample(3).demand, other.sample(3).demand)


# Errors ----------------------------------------------------------------------------------------------------------

VALUES = [
    ("customers.*.demand.maen", {"low": 1, "high": 2}, ["customers.*.demand.maen", "matches nothing"]),
    ("customers.*.demand.mean", {"low": 1, "hihg": 2}, ["customers.*.demand.mean", "hihg", "did you mean 'high'"]),
    ("customers.*.demand.mean", {"low": 3, "high": 2}, ["customers.*.demand.mean", "high = 2", ">= low"]),
    ("customers.*.demand.mean", {"low": 3}, ["customers.*.demand.mean", "low and high, values, or factor"]),
    (
        "customers.*.demand.mean",
        {"low": 1, "high": 2, "values": [1]},
        ["customers.*.demand.mean", "one of low and high"],
    ),
    ("customers.*.demand.mean", {"values": []}, ["customers.*.demand.mean", "at least one value"]),
    ("customers.*.demand.mean", {"low": float("nan"), "high": 2}, ["customers.*.demand.mean.low", "finite"]),
    ("customers.*.demand.mean", {"low": 1.5, "high": 2, "whole": True}, ["customers.*.demand.mean", "whole numbers"]),
    ("customers.*.demand.mean", "five", ["customers.*.demand.mean", "five"]),
    ("customers.*.demand.mean", {"low": -3, "high": 2}, ["customers.north_shops.demand", "mean", "-3"]),
    ("customers.*.demand.kind", {"factor": {"low": 1, "high": 2}}, ["customers.north_shops.demand.kind", "a number"]),
    ("nodes.*.holding_cost", {"factor": {"low": 0, "high": 2}}, ["nodes.*.holding_cost.factor.low", "> 0"]),
    ("lanes.*.lead_time", {"low": 1, "high": 4}, ["lanes.dairy_hub.lead_time", "whole: true"]),
    ("nodes.dairy.holding_cost", 1, ["nodes.dairy.holding_cost", "supplier"]),
    ("nodes.hub.holding_cots", 1, ["nodes.hub", "holding_cots", "holding_cost"]),
]


@pytest.mark.parametrize(("pattern", "drawn", "words"), VALUES, ids=range(len(VALUES)))
def test_errors_name_the_pattern_or_the_key(pattern, drawn, words):
    with pytest.raises(InputError) as caught:
        two_region({pattern: drawn})
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "two_region.yaml" in text


NETWORKS = [
    ({"nodes": 2}, ["randomise.network", "nodes = 2", ">= 3"]),
    ({"nodes": {"low": 4, "hihg": 9}}, ["randomise.network.nodes", "hihg"]),
    ({"nodes": {"low": 4.5, "high": 9}}, ["randomise.network.nodes", "4.5", "whole"]),
    ({"depots": 2}, ["randomise.network.depots", "<= 1"]),
    ({"demand": {"kind": "poison"}}, ["randomise.network.demand.kind", "poison"]),
    ({"demand": {"mean": {"low": -1, "high": 3}}}, ["customers.customers_of_store_1.demand", "mean"]),
    ({"lead_time": {"shop": 3}}, ["randomise.network.lead_time", "shop"]),
    ({"express": {"lead_time": 1}}, ["randomise.network.express.probability", "no default"]),
    ({"transport_cost": {"values": [4, "nine"]}}, ["randomise.network.transport_cost", "nine", "numbers"]),
    ({"penalty": {"factor": {"low": 1, "high": 2}}}, ["randomise.network.penalty", "factor"]),
]


@pytest.mark.parametrize(("network", "words"), NETWORKS)
def test_errors_of_a_network_name_its_key(network, words):
    with pytest.raises(InputError) as caught:
        Scenario.load(FAMILY, {"randomise.network": network})
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"randomise.netwrok": {}}, ["randomise", "netwrok", "did you mean 'network'"]),
        ({"nodes.store_1.holding_cost": 3}, ["randomise.network", "nodes", "all given beside it, or none"]),
        ({"variant": -1}, ["variant", "-1", ">= 0"]),
        ({"variant": {"number": 1, "purpose": "tset"}}, ["variant", "purpose", "tset", "'test'"]),
    ],
)
def test_errors_of_the_key_itself(changes, words):
    with pytest.raises(InputError) as caught:
        Scenario.load(FAMILY, changes)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_empty_key_says_what_it_lacks():
    with pytest.raises(InputError, match="randomise: expected values, network or both"):
        Scenario.load("two_region", {"randomise": {}})


def test_errors_of_the_call():
    family = Scenario.load(FAMILY)
    for arguments, words in (((-1,), "variant = -1"), ((1.5,), "variant = 1.5"), ((0, 0, "tset"), "purpose = 'tset'")):
        with pytest.raises(InputError, match=words):
            family.variant(*arguments)
    for count in (0, 1.5, True):
        with pytest.raises(InputError, match=f"count = {count}"):
            variants(family, count)


# The page --------------------------------------------------------------------------------------------------------


def test_the_page_describes_every_key_and_its_examples_run(tmp_path):
    page = (CHECKOUT / "docs" / "scenario.md").read_text().partition("## Randomised scenarios")[2]
    reference = (CHECKOUT / "docs" / "reference" / "scenario_keys.md").read_text()
    for model in (RandomNetwork, RandomDemand, LeadTimes, ExtraLane):
        for key in model.model_fields:
            assert re.search(rf"`{key}`", reference), key
    (tmp_path / "key.yaml").write_text(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0])
    assert Scenario.load("two_region", read_yaml(tmp_path / "key.yaml")).variant(0).randomise is None
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(example, "scenario.md", "exec"), {})
