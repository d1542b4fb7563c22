"""Changes by dotted keys: the same words mean the same from Python, through Gymnasium and on the command line."""

import copy
import os
import re
import warnings

import gymnasium
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import echelongym.envs  # noqa: F401 (registers the environments)
from echelongym.envs import InputError, Scenario
from echelongym.envs.scenario.overrides import overridden
from echelongym.experiments.cli.compose import prepare
from echelongym.experiments.main import main

SCENARIO = "two_region"


def word(key, value):
    """One word of the command line, from the grammar of Hydra alone."""

    def said(value):
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key}: {said(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(said, value)) + "]"
        return "null" if value is None else repr(value)

    return f"scenario.{key}={said(value)}"


def by_load(changes):
    return Scenario.load(SCENARIO, overrides=changes)


def by_with_overrides(changes):
    return Scenario.load(SCENARIO).with_overrides(changes)


def by_gymnasium(changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gymnasium.make("echelongym/TwoRegion-v1", overrides=changes).unwrapped.scenario


def by_batches(changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = gymnasium.make_vec("echelongym/Network-v1", num_envs=2, scenario=SCENARIO, overrides=changes)
    return made.unwrapped.scenario


def by_words(changes):
    return prepare("show", [f"scenario={SCENARIO}", *(word(key, value) for key, value in changes.items())]).scenario


DOORS = (by_load, by_with_overrides, by_gymnasium, by_batches, by_words)

LANES = ("dairy_hub", "hub_north", "hub_north_express", "hub_south", "north_south", "south_north")
NUMBER = st.one_of(
    st.integers(0, 90), st.floats(0.0, 90.0).map(lambda x: round(x, 6)), st.sampled_from([1e-3, 1e3, 0.1])
)
DEMAND = st.one_of(
    st.builds(lambda mean: {"kind": "poisson", "mean": mean}, NUMBER),
    st.builds(lambda mean: {"kind": "deterministic", "mean": mean}, NUMBER),
    st.builds(
        lambda mean, wave: {"kind": "negative_binomial", "mean": mean, "dispersion": 0.25, "season": wave},
        NUMBER,
        st.builds(lambda amplitude: {"amplitude": amplitude, "period": 26}, st.sampled_from([0.1, 0.5])),
    ),
)
EFFECTS = st.lists(st.builds(lambda lane, factor: {"lanes": lane, "lead_time_factor": factor}, st.sampled_from(LANES),
    st.sampled_from([1.5, 2])), min_size=1, max_size=2)  # fmt: skip
WHEN = st.one_of(
    st.builds(lambda first, more: {"from": first, "to": first + more}, st.integers(0, 9), st.integers(0, 9)),
    st.builds(lambda up, down: {"mean_up": up, "mean_down": down}, st.integers(1, 99), st.integers(1, 9)),
)
CHANGE = st.one_of(
    st.tuples(st.sampled_from([f"lanes.{lane}.transport_cost" for lane in LANES]), NUMBER),
    st.tuples(st.sampled_from([f"lanes.{lane}.lead_time" for lane in LANES[:2]]), st.one_of(st.integers(0, 4), st.just(
        {"values": [1, 2], "probabilities": [0.5, 0.5]}))),
    st.tuples(st.sampled_from(["nodes.north.holding_cost", "nodes.hub.storage_capacity"]), st.one_of(NUMBER, st.none())),
    st.tuples(st.just("nodes.south.holding_cost"), st.fixed_dictionaries({"milk": NUMBER})),
    st.tuples(st.just("nodes.south.holding_cost.milk"), NUMBER),
    st.tuples(st.sampled_from(["customers.north_shops.demand", "customers.south_shops.demand"]), DEMAND),
    st.tuples(st.just("customers.north_shops.demand.mean"), NUMBER),
    st.tuples(st.just("customers.north_shops.demand.season.amplitude"), st.sampled_from([0.1, 0.7])),
    st.tuples(st.just("customers.north_shops.targets"), st.sampled_from([{}, {"fill_rate": 0.5}, {"max_wait": 3}, None])),
    st.tuples(st.just("customers.north_shops.targets.fill_rate"), st.sampled_from([0.5, 1, None])),
    st.tuples(st.just("customers.south_shops.sources"), st.sampled_from([{"south": {}}, {"hub": {"transport_cost": 3}}])),
    st.tuples(st.just("customers.south_shops.segment"), st.sampled_from(["NO", "007", "a b", "it's", "[red]", "x=y, z"])),
    st.tuples(st.just("lanes.new"), st.fixed_dictionaries({"source": st.just("dairy"), "target": st.just("south")})),
    st.tuples(st.just("disruptions"), st.one_of(st.just({}), st.builds(
        lambda when, effects: {"storm": {"when": when, "effects": effects}}, WHEN, EFFECTS))),
    st.tuples(st.just("observe"), st.sampled_from([{}, {"lead_time": "quoted"}, {"history": 6}])),
    st.tuples(st.just("observe.history"), st.integers(1, 8)),
    st.tuples(st.just("forecast"), st.fixed_dictionaries({"horizon": st.integers(1, 5)})),
    st.tuples(st.just("randomise"), st.just({"values": {"nodes.hub.holding_cost": {"low": 1, "high": 2}}})),
    st.tuples(st.sampled_from(["horizon"]), st.integers(60, 90)),
    st.tuples(st.just("units"), st.sampled_from(["integer", "continuous"])),
)  # fmt: skip


def outcome(door, changes):
    """The digest of the scenario that comes out; None where the changes are refused."""
    try:
        return door(copy.deepcopy(changes)).digest
    except InputError:
        return None


@given(st.lists(CHANGE, min_size=1, max_size=4).map(dict))
@settings(max_examples=14, deadline=None)
def test_the_same_words_give_the_same_digest_through_every_door(changes):
    assert len({outcome(door, changes) for door in DOORS}) == 1, {
        door.__name__: outcome(door, changes) for door in DOORS
    }


@given(st.lists(CHANGE, min_size=1, max_size=6).map(dict))
@settings(max_examples=30, deadline=None)
def test_a_file_changed_by_hand_gives_the_same(tmp_path_factory, changes):
    """What stands at a key is replaced by hand in the file's own mapping, and no override takes part."""
    path = tmp_path_factory.mktemp("by_hand") / "two_region.yaml"
    data = Scenario.load(SCENARIO).to_dict()
    for key, value in changes.items():
        place = data
        *parents, last = key.split(".")
        for parent in parents:
            if not isinstance(place.get(parent), dict):
                place[parent] = {}
            place = place[parent]
        place[last] = copy.deepcopy(value)
    path.write_text(yaml.safe_dump(data, sort_keys=False))  # the order of lanes and sources counts
    assert outcome(by_load, changes) == outcome(lambda _: Scenario.load(path), changes)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("lanes.hub_nort.capacity", 40, ["lanes.hub_nort.capacity", "'hub_nort'", "did you mean 'hub_north'"]),
        ("lanes.hub_north.capcity", 40, ["lanes.hub_north", "'capcity'", "did you mean 'capacity'"]),
        ("customers.north_shop.demand.mean", 4, ["'north_shop'", "did you mean 'north_shops'"]),
        ("products.mlik.volume", 4, ["'mlik'", "milk"]),
        ("disruptions.dairy_outge.when", {"from": 1, "to": 2}, ["'dairy_outge'", "did you mean 'dairy_outage'"]),
        ("horizont", 40, ["'horizont'", "did you mean 'horizon'"]),
        ("base_dir", "/", ["base_dir", "no such key"]),
        ("disruptions.dairy_outage.effects.7.availability", 0, ["effects.7", "0 to"]),
    ],
)
def test_unknown_names_are_refused_alike(key, value, words):
    said = []
    for door in DOORS:
        with pytest.raises(InputError) as caught:
            door({key: value})
        message = str(caught.value)
        assert all(part in message for part in words), (door.__name__, message)
        said.append(re.split("unknown key|expected", message, maxsplit=1)[1].replace("scenario.", ""))
    assert len(set(said)) == 1, said


def test_lists_are_reached_by_place():
    changes = {"disruptions.dairy_outage.effects.0.availability": 0.5}
    assert len({outcome(door, changes) for door in DOORS}) == 1
    assert by_load(changes).to_dict()["disruptions"]["dairy_outage"]["effects"][0]["availability"] == 0.5


def test_changes_apply_one_after_another():
    new = {"source": "dairy", "target": "south", "lead_time": 9}
    changes = {"lanes.more": new, "lanes.more.lead_time": 2, "lanes.more.capacity": 5}
    found = {outcome(door, changes) for door in DOORS}
    assert len(found) == 1
    assert by_load(changes).lanes["more"].capacity == 5
    assert None not in found
    assert new["lead_time"] == 9, "what was given is left alone"


@pytest.mark.parametrize("changes", [{"": 1}, {"lanes..x": 1}, {5: 1}, {"horizon.": 2}, [1], "horizon=5"])
def test_what_is_no_dotted_key_is_refused(changes):
    with pytest.raises(InputError, match="overrides"):
        overridden({}, changes)


def test_numbered_places_can_be_named_on_the_command_line(tmp_path, monkeypatch):
    """Hydra's grammar has no key 007 or 3pl."""
    monkeypatch.chdir(tmp_path)
    data = Scenario.load("lost_sales").to_dict()
    data["nodes"] = {"3pl": data["nodes"]["supplier"], "007": data["nodes"]["store"]}
    data["lanes"]["supplier_store"] |= {"source": "3pl", "target": "007"}
    data["customers"]["shoppers"]["sources"] = {"007": {}}
    Scenario.from_mapping(data).save(tmp_path / "x.yaml")
    changes = {
        "nodes.007.holding_cost": 3,
        "nodes.007.storage_capacity": 50,
        "nodes.3pl.capacity": 99,
        "nodes.007.initial": 4,
    }
    found = prepare("show", ["scenario=x.yaml", *(word(key, value) for key, value in changes.items())]).scenario
    assert found.digest == Scenario.load(tmp_path / "x.yaml", changes).digest
    assert found.nodes["007"].initial == 4


# What stands in a file is text ------------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(st.sampled_from("${}\\:'\"[]x.,= "), min_size=1, max_size=12),
    st.sampled_from(
        ["${oc.env:ECHELON_SECRET}", "\\${oc.env:ECHELON_SECRET}", "${horizon}", "${", "$${a}", "${hydra:job.name}"]
    ),
).filter(lambda text: text == text.strip() and text)


@given(TEXTS, TEXTS)
@settings(max_examples=12, deadline=None)
def test_dollars_in_a_file_are_text_through_every_door(tmp_path_factory, name, segment):
    os.environ["ECHELON_SECRET"] = "leaked"
    path = tmp_path_factory.mktemp("text") / "x.yaml"
    scenario = Scenario.load("lost_sales", {"name": name, "customers.shoppers.segment": segment})
    scenario.save(path)
    found = prepare("show", [f"scenario={path}"])
    assert found.scenario.digest == Scenario.load(path).digest == scenario.digest
    assert "leaked" not in found.run


def test_a_hostile_name_stays_in_the_run_folder_and_is_drawn(tmp_path, monkeypatch, capsys):
    work = tmp_path / "a" / "b" / "c" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("ECHELON_SECRET", "leaked")
    name = "../../../x $x^{$ [red]${oc.env:ECHELON_SECRET}"
    changes = {
        "name": name,
        "customers.shoppers.segment": "[b]$\\frac{",
        "lanes.supplier_store.mode": "$_{",
        "horizon": 20,
        "warm_up": 0,
    }
    Scenario.load("lost_sales", changes).save(work / "x.yaml")
    assert main(["show", "scenario=x.yaml"]) == 0
    assert main(["simulate", "scenario=x.yaml", "evaluation.worlds=4", "progress=false"]) == 0
    said = capsys.readouterr().out
    assert name in said
    assert "[b]$\\frac{" in said
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and work not in path.parents]
    assert outside == []
    pictures = list(work.rglob("network.png"))
    assert len(pictures) == 1
    assert pictures[0].stat().st_size > 10_000
    assert not [path for path in work.rglob("*") if path.is_file() and b"leaked" in path.read_bytes()]


def test_an_environment_with_a_hostile_name_is_drawn():
    scenario = Scenario.load("lost_sales", {"name": "$x^{$", "horizon": 10, "warm_up": 0})
    env = gymnasium.make("echelongym/Network-v1", scenario=scenario, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape[-1] == 3


def test_no_escape_code_reaches_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text('name: "\\e[31mred"\nhorizon: 5\n')
    (tmp_path / "y\x1b[31m.yaml").write_text("horizon: [")
    for argument in (
        "scenario=x.yaml",
        "scenario=y\x1b[31m.yaml",
        "scenario=\x1b[31m",
        "scenario.nodes.\x1b[31m.initial=1",
        "\x1b[31m=2",
    ):
        assert main(["show", argument]) == 2
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err, argument
        assert said.err.count("\n") == 1, said.err
