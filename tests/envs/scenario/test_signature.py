"""A policy or tape belongs to its network: every change of what is connected to what is refused, whatever kept it."""

import json
import warnings

import numpy as np
import pytest
import torch
from constant_policy import constant_policy

from echelongym.agents.export.bundle import BundlePolicy, load_bundle
from echelongym.agents.export.export import export_policy
from echelongym.agents.loading import load_policy
from echelongym.agents.pathwise.config import Layout
from echelongym.agents.pathwise.policy import make_policy, save_pathwise
from echelongym.agents.sb3.actor import Actor, ActorPolicy
from echelongym.agents.sb3.policy_file import save_actor
from echelongym.envs.core.errors import InputError
from echelongym.envs.interface.observation import Observation, observation_shapes
from echelongym.envs.network.signature import check_network, signature
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import read_yaml, write_yaml
from echelongym.envs.worlds.tape import Tape

DATA = {
    "name": "crossing",
    "horizon": 4,
    "warm_up": 0,
    "reward_scale": 1.0,
    "products": {"milk": {}, "tea": {}},
    "nodes": {"plant": {"kind": "supplier"}, "hub": {}, "north": {}, "south": {}},
    "lanes": {
        "in": {"source": "plant", "target": "hub", "lead_time": 1},
        "up": {"source": "hub", "target": "north", "lead_time": 1},
        "down": {"source": "hub", "target": "south", "lead_time": 1},
    },
    "customers": {
        "all": {"sources": {"north": {}, "south": {}}, "demand": {"kind": "poisson", "mean": 5}, "lost_share": 1},
    },
}
SCENARIO = Scenario.from_mapping(DATA)


def changed(**changes):
    data = json.loads(json.dumps(DATA))
    for path, value in changes.items():
        place = data
        *parts, last = path.split("__")
        for part in parts:
            place = place[part]
        place[last] = value
    return Scenario.from_mapping(data)


#: Networks with the same names, and what is told of the first difference.
OTHERS = {
    "ends of a lane": (
        changed(lanes__up__target="south", lanes__down__target="north"),
        "lane up goes from hub to north",
    ),
    "source of a lane": (changed(lanes__down__source="north"), "lane down goes from hub to south, expected from north"),
    "order of sources": (
        changed(customers__all__sources={"south": {}, "north": {}}),
        "pairs[0] is north -> all, expected south -> all",
    ),
    "products of a lane": (changed(lanes__up__products=["milk"]), "up carries milk, tea, expected milk"),
    "units": (changed(units="integer"), "units is 'continuous', expected 'integer'"),
}
EACH = pytest.mark.parametrize(("other", "words"), OTHERS.values(), ids=OTHERS)


def actor():
    torch.manual_seed(0)
    blank = constant_policy(SCENARIO)
    return ActorPolicy(SCENARIO, Actor([blank.encoder.size, 3, blank.decoder.size]))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("kept")
    load_policy("echelon_base_stock", SCENARIO).save(folder / "rule.yaml")
    save_actor(folder / "actor.npz", actor())
    layout = Layout.model_validate(LAYOUT)
    save_pathwise(folder / "pathwise.npz", make_policy(SCENARIO, layout))
    export_policy(load_policy("echelon_base_stock", SCENARIO), SCENARIO, folder / "bundle", count=20)
    SCENARIO.sample(2, 0, "test").save(folder / "tape.npz")
    return folder


LAYOUT = {
    "network": "perceptron",
    "hidden": [4],
    "activation": "tanh",
    "rounds": 1,
    "due_periods": None,
    "head": "auto",
    "reach": 1.0,
}


@EACH
@pytest.mark.parametrize("file", ["rule.yaml", "actor.npz", "pathwise.npz", "bundle"])
def test_policy_is_refused_on_another_network_of_the_same_names(kept, other, words, file):
    load_policy(kept / file, SCENARIO)
    load_policy(kept / file, SCENARIO.with_overrides({"lanes.up.lead_time": 1, "nodes.hub.holding_cost": 3}))
    with pytest.raises(InputError, match="made for another network than scenario 'crossing'") as raised:
        load_policy(kept / file, other)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@EACH
def test_tape_is_refused_on_another_network_of_the_same_names(kept, other, words):
    tape = Tape.load(kept / "tape.npz")
    tape.check(SCENARIO)
    tape[[1]].check(SCENARIO.with_overrides({"nodes.hub.holding_cost": 3}))
    if "units" in words:  # what is on a tape is checked number by number
        return
    for one in (tape, SCENARIO.sample(1, 0, "test")):
        with pytest.raises(InputError, match="another network") as raised:
            one.check(other)
        assert words in str(raised.value)


@EACH
def test_trained_policy_of_an_earlier_version_is_compared_by_the_scenario_it_holds(kept, tmp_path, other, words):
    for file in ("actor.npz", "pathwise.npz"):
        with np.load(kept / file) as archive:
            arrays = {name: archive[name] for name in archive.files}
        content = json.loads(str(arrays.pop("config")))
        content["network"] = {key: content["network"][key] for key in ("products", "nodes", "lanes", "customers")}
        np.savez(tmp_path / file, config=np.array(json.dumps(content)), **arrays)
        load_policy(tmp_path / file, SCENARIO)
        with pytest.raises(InputError, match="made for another network") as raised:
            load_policy(tmp_path / file, other)
        assert words in str(raised.value)


def test_files_that_give_names_alone_still_load(kept, tmp_path):
    """Rules by hand and tapes by hand give names; a bundle of an earlier version says so in one line."""
    names = ("products", "nodes", "lanes", "customers")
    rule = read_yaml(kept / "rule.yaml")
    rule["network"] = {key: rule["network"][key] for key in names}
    write_yaml(rule, tmp_path / "rule.yaml")
    with np.load(kept / "tape.npz") as archive:
        np.savez(tmp_path / "tape.npz", **{name: archive[name] for name in archive.files if name != "connections"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_policy(tmp_path / "rule.yaml", OTHERS["order of sources"][0])
        Tape.load(tmp_path / "tape.npz").check(OTHERS["order of sources"][0])
    facts = json.loads((kept / "bundle" / "bundle.json").read_text())
    facts["network"] = {key: facts["network"][key] for key in names}
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "policy.onnx").write_bytes((kept / "bundle" / "policy.onnx").read_bytes())
    (tmp_path / "bundle" / "bundle.json").write_text(json.dumps(facts))
    with pytest.warns(UserWarning, match="exported by an earlier version"):
        load_bundle(tmp_path / "bundle", SCENARIO)
    with pytest.raises(InputError, match=r"pairs\[0\] is north -> all"):
        load_bundle(tmp_path / "bundle", OTHERS["order of sources"][0])


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        {"nodes": []},
        {**signature(SCENARIO.tables), "nodes": 3},
        {**signature(SCENARIO.tables), "ends": [[1, 2]]},
        {**signature(SCENARIO.tables), "pairs": "north"},
        {**signature(SCENARIO.tables), "carried": ["up"]},
        {**signature(SCENARIO.tables), "more": 1},
    ],
)
def test_what_is_no_signature_is_refused_in_a_line(given):
    with pytest.raises(InputError, match=r"file: network") as raised:
        check_network(given, SCENARIO.tables, "file")
    assert "\n" not in str(raised.value)


def observed(worlds=2, **changes):
    arrays = {name: np.zeros((worlds, *shape)) for name, shape in observation_shapes(SCENARIO.tables).items()}
    return Observation(**{**arrays, **changes})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"on_hand": np.zeros((2, 4, 2))}, r"observation\.on_hand is float64 of shape \(2, 4, 2\): expected numbers"),
        ({"on_hand": np.full((2, 4, 2, 1), "1")}, r"observation\.on_hand is"),
        ({"on_hand": np.zeros((3, 4, 2, 1))}, r"worlds of the observation"),
        ({"in_transit": None}, r"observation\.in_transit is None: expected numbers"),
    ],
)
def test_bundle_refuses_observations_of_other_types_and_shapes(kept, change, words):
    policy = load_policy(kept / "bundle", SCENARIO)
    assert isinstance(policy, BundlePolicy)
    assert policy(observed()).requests.shape == (2, 3, 2)
    with pytest.raises(InputError, match=words):
        policy(observed(**change))
