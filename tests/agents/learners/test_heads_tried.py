"""Heads that are tried briefly before a training goes on with the better one: perishable goods in whole units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkout import CHECKOUT
from oracle_instances import lost_sales
from pathwise_cases import config

from echelongym.agents.budget import Budget, Trained
from echelongym.agents.checkpoint_files import latest_checkpoint
from echelongym.agents.exact import evaluate, solve
from echelongym.agents.pathwise import trainer as trainers
from echelongym.agents.pathwise.automatic import automatic_start, heads_to_try
from echelongym.agents.pathwise.policy import PathwisePolicy, make_policy
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods

STEPS = 1_000_000
PERISHABLE = CHECKOUT / "configs" / "scenario" / "instances" / "perishable_lifo.yaml"


def perishable(**changes: Any) -> Scenario:
    return Scenario.load(str(PERISHABLE)).with_overrides({"horizon": 60, "warm_up": 10, **changes})


def trainer(scenario: Scenario, folder: Path | None = None, steps: int = STEPS, **changes: Any) -> PathwiseTrainer:
    settings = config(**{"head": "auto", "worlds": 32, "periods": 30, "skipped": 8, **changes})
    tape = scenario.sample(128, 0, "validate")
    return PathwiseTrainer(
        scenario, settings, 1, Budget(env_steps=steps), tape, evaluations=4, checkpoints=folder, checkpoint_seconds=0.0
    )


def rows(trained: Trained) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "cpu_seconds"} for row in trained.curve]


@pytest.mark.slow
def test_the_better_head_goes_on_and_what_was_tried_counts(tmp_path):
    kept: list[Any] = []
    scenario = perishable()
    made = trainer(scenario, tmp_path)
    trained = made.run(improved=lambda policy, cost, steps: kept.append((policy.config.head, cost)))
    assert trained.tried is not None
    compared = trained.tried["compared"]
    assert set(compared) == {"levels", "direct"}
    assert trained.tried["head"] == min(compared, key=compared.get) == made.policy.config.head
    assert STEPS <= trained.env_steps < STEPS + 2 * 32 * 30
    # The one that goes on has its own evaluations alone, and is not worse at the end than when it was tried.
    assert trained.curve[0]["env_steps"] > trained.tuned["env_steps"]
    assert float(trained.cost.mean()) <= min(compared.values()) or trained.by_rule
    assert evaluate(scenario, trained.policy) <= 1.01 * solve(scenario).value
    np.testing.assert_array_equal(kept[-1][1], trained.cost)
    assert kept[-1][0] == ("residual" if trained.by_rule else trained.tried["head"])


@pytest.mark.parametrize("better", [pytest.param("levels", marks=pytest.mark.slow), "direct"])
def test_a_training_that_was_stopped_goes_on_with_the_head_that_was_chosen(tmp_path, monkeypatch, better):
    """Whichever is the better one: the other one's scores are made worse."""
    judge = PathwiseTrainer._judge

    def preferring(self: PathwiseTrainer, policy: PathwisePolicy) -> Any:
        found = judge(self, policy)
        if policy.config.head != better:
            object.__setattr__(found, "score", found.score + 100.0)
        return found

    monkeypatch.setattr(PathwiseTrainer, "_judge", preferring)

    def dies(progress: Any) -> None:
        if len(progress.curve) >= trainers.TRIED + 2:
            raise KeyboardInterrupt

    whole = trainer(perishable(), tmp_path / "whole").run()
    with pytest.raises(KeyboardInterrupt):
        trainer(perishable(), tmp_path / "halves").run(report=dies)
    torch.manual_seed(999)
    resumed = trainer(perishable(), tmp_path / "halves")
    halves = resumed.run(latest_checkpoint(tmp_path / "halves", "pathwise"))
    assert whole.tried is not None
    assert halves.tried is not None
    assert whole.tried["head"] == halves.tried["head"] == resumed.policy.config.head == better
    assert {**whole.tried, "cpu_seconds": 0} == {**halves.tried, "cpu_seconds": 0}
    assert rows(whole) == rows(halves)
    assert (whole.by_rule, whole.best_env_steps) == (halves.by_rule, halves.best_env_steps)
    np.testing.assert_array_equal(whole.cost, halves.cost)


def test_heads_are_tried_of_perishable_goods_in_whole_units_alone():
    scenario = perishable()
    assert heads_to_try(scenario, automatic_start(scenario)) == ("levels", "direct")
    assert heads_to_try(scenario.replace(units="continuous"), None) == ()
    assert heads_to_try(lost_sales(4, 4), None) == ()


@pytest.mark.parametrize("changes", [{"head": "levels"}, {"start": "echelon_base_stock"}, {"steps": 400_000}])
def test_nothing_is_tried_where_head_or_start_is_told_or_the_budget_is_small(changes):
    steps = changes.get("steps", STEPS)
    named = {key: value for key, value in changes.items() if key != "steps"}
    assert trainer(perishable(), steps=steps, **named).run().tried is None


def test_units_of_every_remaining_life_are_seen_where_goods_perish_in_whole_units():
    """By a small network that is told nothing else; other policies see what they saw."""
    scenario = perishable(**{"products.item.shelf_life": 5})
    policy = make_policy(scenario, config(head="auto", life_classes=None))
    assert policy.config.life_classes == 3  # of four periods on the shelf; those that expire now are a feature anyway
    features = policy.definition.features
    tape = scenario.sample(8, 0, "tune")
    _, seen, _, _ = list(periods(scenario, policy, tape))[20]
    nodes, _ = features.parts(features(seen, NUMPY))
    place = [features.names.nodes.index(f"life_{left}") for left in (1, 2, 3)]
    store = scenario.tables.nodes.index("store")
    of_flow = np.asarray(seen.on_hand)[:, store, 0, 1:4].T / automatic_levels(scenario).flow[store, 0]
    np.testing.assert_allclose(nodes[place, 0], of_flow, rtol=1e-6)
    assert of_flow.any()
    for other in (scenario.replace(units="continuous"), lost_sales(4, 4)):
        assert make_policy(other, config(head="auto", life_classes=None)).config.life_classes == 0
