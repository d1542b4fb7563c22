"""One policy for all networks of a randomised scenario: shared weights, drawn networks, resume, files, what it reaches."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from echelongym.agents.budget import Budget, objective
from echelongym.agents.checkpoint_files import latest_checkpoint
from echelongym.agents.learners import learner_config
from echelongym.agents.loading import load_policy
from echelongym.agents.pathwise.config import PathwiseConfig
from echelongym.agents.pathwise.family import FamilyTrainer, family_policy, shares, validation
from echelongym.envs.core.errors import InputError
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.experiments.commands.train import train

STEP = 16 * 12  # env-steps of a gradient


def config(**changes: Any) -> PathwiseConfig:
    small = {"hidden": (8,), "worlds": 16, "periods": 12, "variants": 2, "variant_steps": 4}
    return PathwiseConfig(**{**learner_config("pathwise_set").model_dump(), **small, **changes})


@pytest.fixture(scope="module")
def family() -> Scenario:
    """One or two stores behind a warehouse, or a depot more: what is lost costs something else every time."""
    return Scenario.from_mapping({
        "name": "small_family",
        "units": "continuous",
        "horizon": 40,
        "warm_up": 10,
        "randomise": {
            "network": {
                "nodes": {"low": 3, "high": 5},
                "depots": 0.0,
                "stores_per_depot": {"low": 1, "high": 2},
                "demand": {
                    "kind": "normal", "mean": {"low": 4, "high": 8}, "coefficient_of_variation": {"low": 0.3, "high": 0.5}
                },
                "lead_time": {
                    "warehouse": {"low": 1, "high": 2}, "depot": {"low": 1, "high": 2}, "store": {"low": 1, "high": 3}
                },
                "holding_cost": {"low": 0.2, "high": 0.5},
                "holding_rise": {"low": 1.5, "high": 2.0},
                "penalty": {"low": 3, "high": 6},
                "lost": 1.0,
            }
        },
    })  # fmt: skip


@pytest.fixture(autouse=True)
def by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")


def trainer(family: Scenario, settings: PathwiseConfig, steps: int, **options: Any) -> FamilyTrainer:
    found = validation(family, settings, 8, 0)
    return FamilyTrainer(
        family,
        settings,
        0,
        Budget(env_steps=steps * STEP),
        family.sample(2, 0, "tune"),
        evaluations=3,
        variants=tuple(found),
        **options,
    )


@pytest.mark.parametrize("network", ["set", "graph"])
def test_weights_are_the_very_same_everywhere(family, network):
    settings = config(network=network)
    carrier = family_policy(settings, family)
    others = [family_policy(settings, family.variant(number), carrier) for number in range(3)]
    assert len({tuple(one.scenario.nodes) for one in others}) > 1
    with torch.no_grad():
        for one in carrier.actor.parameters():
            one.add_(0.1)
    mine = {name: value for name, value in carrier.actor.named_parameters() if value.numel()}
    assert mine
    for other in others:
        assert all(dict(other.actor.named_parameters())[name] is value for name, value in mine.items())


def test_gradient_of_one_variant_moves_the_policy_on_all(family):
    settings = config()
    made = trainer(family, settings, 1).run()
    fresh = family_policy(settings, family)
    for name, value in fresh.actor.state_dict().items():
        assert made.policy.actor.state_dict()[name].shape == value.shape
    assert made.curve[0]["cost_per_period"] == pytest.approx(1.0, abs=1e-6)  # the start, as a share of the start


def test_costs_are_shares_of_the_starting_rule(family):
    variants = validation(family, config(), 8, 0)
    rules = [load_policy("echelon_base_stock", one.scenario) for one in variants]
    for one, rule in zip(variants, rules, strict=True):
        cost = objective(simulate(one.scenario, rule, one.tape, kpis=False)).mean()
        assert one.scale == pytest.approx(cost)
    np.testing.assert_allclose(shares(variants, rules).reshape(2, 8).mean(1), 1.0)
    assert {one.scenario.name for one in variants} == {f"small_family_tune_{number}" for number in range(2)}


def test_variants_give_way_to_new_ones(family, monkeypatch):
    seen: list[str] = []
    variant = Scenario.variant

    def spy(self: Scenario, number: int, seed: int = 0, purpose: str = "train") -> Scenario:
        if purpose == "train":
            seen.append(f"{seed}/{number}")
        return variant(self, number, seed, purpose)

    monkeypatch.setattr(Scenario, "variant", spy)
    trainer(family, config(), 16).run()
    # Two places, one renewed after two gradients of its own first, both after four each from then on.
    assert seen == [f"0/{number}" for number in range(5)]


def test_resumed_training_is_bit_for_bit_the_uninterrupted_one(family, tmp_path):
    class Killed(BaseException):
        pass

    def dies(progress: Any) -> None:
        if progress.env_steps >= 7 * STEP:
            raise Killed

    whole = trainer(family, config(), 14, checkpoints=tmp_path / "whole").run()
    with pytest.raises(Killed):
        trainer(family, config(), 14, checkpoints=tmp_path / "halves", checkpoint_seconds=0.0).run(report=dies)
    torch.manual_seed(99)
    halves = trainer(family, config(), 14).run(latest_checkpoint(tmp_path / "halves", "pathwise"))
    for name, value in whole.policy.actor.state_dict().items():
        assert torch.equal(value, halves.policy.actor.state_dict()[name])
    np.testing.assert_array_equal(whole.cost, halves.cost)
    fewer = trainer(family, config(variants=3), 14)
    with pytest.raises(InputError, match="the checkpoint is of another model"):
        fewer.run(latest_checkpoint(tmp_path / "halves", "pathwise"))


def test_train_command_gives_a_policy_for_any_network(family, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quiet = {"tensorboard": False, "progress": False, "reference": "automatic", "bound": False}
    agent = config().model_dump(mode="json")
    folder = train(family, agent, "run", budget={"env_steps": 4 * STEP}, validation={"worlds": 4, "times": 2}, **quiet)
    found = json.loads((folder / "summary.json").read_text())
    assert found["agent"] == "pathwise_set"
    assert found["reference"]["cost_per_period"]["mean"] == pytest.approx(1.0)
    for scenario in (family.variant(7, purpose="test"), Scenario.load("serial").replace(horizon=20, warm_up=2)):
        policy, tape = load_policy(folder, scenario), scenario.sample(4, 0, "test")
        learned, start = (
            objective(simulate(scenario, one, tape, kpis=False)).mean()
            for one in (policy, load_policy("echelon_base_stock", scenario))
        )
        assert learned < 1.5 * start


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "perceptron"}, r"agent\.network = 'perceptron': expected set or graph"),
        ({"start": "rules/rule.yaml"}, r"agent\.start = 'rules/rule.yaml': expected auto or a rule by name"),
    ],
)
def test_what_belongs_to_one_network_is_refused(family, changes, message):
    with pytest.raises(InputError, match=message):
        family_policy(config(**changes), family)


def test_trained_briefly_it_beats_automatic_levels_on_unseen_networks(family):
    """Zero-shot: variants of purpose ``test``, never trained on nor chosen by; paired on common worlds."""
    settings = config(variants=4, variant_steps=20, worlds=32, periods=24, learning_rate=0.01, hidden=(16,))
    found = validation(family, settings, 16, 0)
    made = FamilyTrainer(
        family, settings, 0, Budget(env_steps=32 * 24 * 60), family.sample(2, 0, "tune"), evaluations=3,
        variants=tuple(found),
    ).run()  # fmt: skip
    ratios = []
    for number in range(6):
        scenario = family.variant(number, purpose="test")
        tape = scenario.sample(64, 1, "test")
        policy = family_policy(settings, scenario, made.policy)
        learned, start = (
            objective(simulate(scenario, one, tape, kpis=False)).mean()
            for one in (policy, load_policy("echelon_base_stock", scenario))
        )
        ratios.append(learned / start)
    assert np.mean(ratios) < 0.98
    assert max(ratios) < 1.02
