"""Pathwise policies on disk: checkpoints, policy files, memory, and export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pathwise_cases import SHARED, TUNED, config, costs, one_store, stirred, untrained

from echelongym.agents.budget import Budget
from echelongym.agents.checkpoint_files import latest_checkpoint, read_checkpoint
from echelongym.agents.loading import load_policy
from echelongym.agents.pathwise.automatic import automatic_start
from echelongym.agents.pathwise.policy import load_pathwise, make_policy, save_pathwise
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.envs.core.errors import InputError
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods

# Resume and files ----------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a signal that nothing can catch."""


@pytest.mark.parametrize(("network", "native"), [("perceptron", "0"), ("perceptron", "1"), ("recurrent", "0")])
def test_resumed_training_is_bit_for_bit_the_uninterrupted_one(tmp_path, monkeypatch, network, native):
    monkeypatch.setenv("ECHELONGYM_NATIVE", native)
    scenario = one_store(targets={"fill_rate": 0.95})
    tape, settings = scenario.sample(8, 0, "tune"), config(network=network, worlds=16, periods=10)

    def trainer(folder: Path, **changes: Any) -> PathwiseTrainer:
        budget = Budget(env_steps=16 * 10 * 10)
        return PathwiseTrainer(scenario, settings, 1, budget, tape, evaluations=5, checkpoints=folder, **changes)

    def dies(progress: Any) -> None:
        if progress.env_steps >= 16 * 10 * 4:
            raise Killed

    whole = trainer(tmp_path / "whole").run()
    with pytest.raises(Killed):
        trainer(tmp_path / "halves", checkpoint_seconds=0.0).run(report=dies)
    torch.manual_seed(999)  # a resumed process starts from any state
    halves = trainer(tmp_path / "halves").run(latest_checkpoint(tmp_path / "halves", "pathwise"))
    for name, value in whole.policy.actor.state_dict().items():
        assert torch.equal(value, halves.policy.actor.state_dict()[name])
    rows = [[{k: v for k, v in row.items() if k != "cpu_seconds"} for row in one.curve] for one in (whole, halves)]
    assert rows[0] == rows[1]
    assert len(list((tmp_path / "halves").glob("*.pt"))) <= 2


def test_damaged_checkpoints_are_refused_and_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")
    scenario = one_store()
    trainer = PathwiseTrainer(
        scenario,
        config(worlds=16, periods=8),
        0,
        Budget(env_steps=16 * 8 * 3),
        scenario.sample(4, 0, "tune"),
        checkpoints=tmp_path,
        checkpoint_seconds=0.0,
    )
    trainer.run()
    older, newest = sorted(tmp_path.iterdir())
    assert read_checkpoint(newest, "pathwise").facts["env_steps"] == 16 * 8 * 3
    newest.write_bytes(newest.read_bytes()[:500])
    with pytest.raises(InputError, match="is no checkpoint, or a damaged one"):
        read_checkpoint(newest, "pathwise")
    assert (
        latest_checkpoint(tmp_path, "pathwise").facts["env_steps"]
        == read_checkpoint(older, "pathwise").facts["env_steps"]
    )
    other = {"kind": "ppo", "schema": 1}
    torch.save(other, tmp_path / "checkpoint_9.pt")
    with pytest.raises(InputError, match="kind = 'ppo': expected pathwise"):
        read_checkpoint(tmp_path / "checkpoint_9.pt", "pathwise")
    with pytest.raises(InputError, match="holds no checkpoint"):
        latest_checkpoint(tmp_path / "nowhere", "pathwise")


@pytest.mark.parametrize("network", ["none", "perceptron", "graph", "recurrent"])
@pytest.mark.parametrize("head", ["levels", "direct", "residual"])
def test_saved_policy_decides_as_before(tmp_path, network, head):
    if network == "none" and head == "residual":
        return  # nothing would be learned
    scenario = Scenario.load("two_region").replace(horizon=30, warm_up=0)
    policy = stirred(
        untrained(
            scenario, config(network=network, head=head), load_policy("capped_echelon_base_stock", scenario, **TUNED)
        )
    )
    policy.facts = {"agent": "pathwise", "seed": 3}
    save_pathwise(tmp_path / "policy.npz", policy)
    for path in (tmp_path, tmp_path / "policy.npz"):
        again = load_policy(path, scenario)
        assert again.facts == policy.facts
        np.testing.assert_array_equal(costs(scenario, again), costs(scenario, policy))


def test_file_says_nothing_of_how_it_was_trained(tmp_path):
    """So that a setting of training that comes later does not make it unreadable."""
    save_pathwise(tmp_path / "policy.npz", untrained(one_store(), config(head="auto")))
    with np.load(tmp_path / "policy.npz") as archive:
        kept = json.loads(str(archive["config"]))["layout"]
    known = {"network", "hidden", "activation", "rounds", "due_periods", "features", "life_classes", "demand_memory"}
    assert set(kept) == {*known, "head", "reach", "shared"}
    assert kept["head"] == "levels"  # what was chosen, not that it was left open


@pytest.mark.parametrize("network", SHARED)
def test_shared_policy_loads_on_any_network(tmp_path, network):
    small, large = Scenario.load("one_warehouse_three"), Scenario.load("grocery").replace(horizon=20, warm_up=0)
    rule = load_policy("capped_echelon_base_stock", small)
    settings = config(network=network, head="direct")
    policy = make_policy(small, settings, rule, learn_levels=False)
    save_pathwise(tmp_path / "policy.npz", policy)
    elsewhere = load_policy(tmp_path, large)
    fresh = make_policy(large, settings, rule, learn_levels=False)
    np.testing.assert_allclose(costs(large, elsewhere), costs(large, fresh))


def test_policy_of_one_network_is_refused_elsewhere(tmp_path):
    scenario = one_store()
    save_pathwise(tmp_path / "policy.npz", make_policy(scenario, config(network="graph")))
    with pytest.raises(InputError, match="made for another network than scenario 'serial': nodes"):
        load_policy(tmp_path, Scenario.load("serial"))
    # The same network with other numbers is no other network: means of the training stay the units.
    cheaper = one_store(penalty=3.0)
    assert load_policy(tmp_path, cheaper).scenario.digest == scenario.digest


def test_damaged_policy_files_are_refused(tmp_path):
    scenario, path = one_store(), tmp_path / "policy.npz"
    save_pathwise(path, make_policy(scenario, config()))
    whole = path.read_bytes()
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    first = next(name for name in arrays if name.endswith("weight"))
    np.savez(path, **{**arrays, first: arrays[first][:1]})
    with pytest.raises(InputError, match="is no policy file, or a damaged one"):
        load_pathwise(path, scenario)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is no policy file, or a damaged one"):
        load_policy(tmp_path, scenario)
    with pytest.raises(InputError, match="expected the path of a file that exists"):
        load_pathwise(tmp_path / "nothing.npz", scenario)


def test_memory_is_cleared_at_the_start():
    """The second episode is like the first, and memory does matter in between."""
    scenario = Scenario.load("lost_sales").replace(horizon=30, warm_up=0)
    policy = stirred(untrained(scenario, config(network="recurrent")), 0.5)
    once, again = costs(scenario, policy), costs(scenario, policy)
    np.testing.assert_array_equal(once, again)
    _, first, _, _ = next(periods(scenario, automatic_start(scenario), scenario.sample(4, 0, "tune")))
    policy.start(4)
    one, other = policy(first).requests, policy(first).requests
    assert not np.array_equal(one, other)


def test_policy_with_memory_is_not_exported():
    pytest.importorskip("onnxruntime")
    from echelongym.agents.export.export import make_bundle

    scenario = one_store()
    with pytest.raises(InputError, match="keeps memory between periods"):
        make_bundle(make_policy(scenario, config(network="recurrent")), scenario)


@pytest.mark.parametrize("head", ["levels", pytest.param("direct", marks=pytest.mark.slow)])
def test_exported_policy_decides_the_same(tmp_path, head):
    """``make_bundle`` checks ONNX Runtime against the policy itself in simulated worlds."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from echelongym.agents.export.export import make_bundle

    scenario = one_store()
    bundle = make_bundle(stirred(untrained(scenario, config(head=head))), scenario, count=50)
    assert bundle.facts.parity["native"]["relative"] < 1e-5
    np.testing.assert_allclose(
        costs(scenario, load_policy(bundle.save(tmp_path / "bundle"), scenario)),
        costs(scenario, stirred(untrained(scenario, config(head=head)))),
        rtol=1e-5,
    )
