"""CMA-ES over pathwise policies: known optima, whole units and fixed costs as they are, resume, files that load."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exact_oracles import fixed_order_cost
from pathwise_cases import best_level, cost_of_level, one_store

from echelongym.agents.budget import Budget, judge
from echelongym.agents.checkpoint_files import latest_checkpoint
from echelongym.agents.evolution.trainer import EvolutionTrainer
from echelongym.agents.learners import learner_config
from echelongym.agents.loading import load_policy
from echelongym.agents.pathwise.policy import PathwisePolicy, load_pathwise, save_pathwise
from echelongym.envs.core.errors import InputError, MissingExtra
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate

SETTINGS = learner_config("cma_es").model_dump()


def trainer(scenario: Scenario, steps: int, seed: int = 0, start: Any = None, **changes: Any) -> EvolutionTrainer:
    """One whose budget is so many env-steps; its best policy is chosen on 64 worlds."""
    folder = {name: changes.pop(name) for name in ("checkpoints",) if name in changes}
    learner = learner_config({**SETTINGS, **changes})
    tape = scenario.sample(64, 0, "tune")
    return EvolutionTrainer(scenario, learner, seed, Budget(env_steps=steps), tape, start, evaluations=4, **folder)


def test_a_level_far_off_reaches_the_newsvendor_optimum():
    """One number is searched; the cost of a level in closed form: h (S - mean) + (h + p) x expected shortage."""
    scenario = one_store(penalty=19.0)
    start = load_policy("echelon_base_stock", scenario, levels=40.0)
    found = trainer(scenario, 16 * 120 * 4 * 30, 0, start, network="none", worlds=16).run()
    optimum = cost_of_level(best_level(19.0), 19.0)
    (level,) = found.policy.actor.vector()
    assert cost_of_level(40.0, 19.0) > 10 * optimum
    assert cost_of_level(float(level), 19.0) < optimum * 1.005


def test_a_fixed_cost_is_learnt_as_it_is():
    """From (20, 30), which orders nearly every period, towards the optimum of Zheng and Federgruen (1991), 35.021555."""
    scenario = fixed_order_cost().replace(horizon=120, warm_up=20)
    start = load_policy("reorder_point_order_up_to", scenario, levels=30.0, reorder_points=20.0)
    found = trainer(scenario, 1_500_000, 0, start, network="none", worlds=32, head="residual").run()
    (rule,) = [found.policy.definition.head.base]
    numbers = {name: float(rule.values[name].max()) for name in ("levels", "reorder_points")}
    tape = scenario.sample(400, 3, "test")
    before, after = (simulate(scenario, one, tape, kpis=False).cost_per_period for one in (start, found.policy))
    noise = 3 * float(after.std(ddof=1)) / 400**0.5
    assert before.mean() > 50.0
    assert 35.021555 - noise < after.mean() < 35.021555 * 1.01 + noise
    assert all(value == round(value) for value in numbers.values()), "units are whole"


def test_candidates_are_compared_by_what_chooses_the_best():
    """With a service target, too; the vector 0 is the rule that training starts from."""
    scenario = one_store(penalty=2.0, targets={"fill_rate": 0.95})
    rule = load_policy("echelon_base_stock", scenario, levels=55.0)
    one = trainer(scenario, 1, 0, rule)
    one.run()
    tape = scenario.sample(5, 1, "tune")
    own, wanted = one._cost(np.zeros(one._search.size), tape), judge(scenario, rule, tape, False)
    assert own == wanted.score
    assert own > 1.1 * wanted.cost.mean(), "the target is missed"


def stopped(folder: Path, after: int, **changes: Any) -> EvolutionTrainer:
    """A training that Ctrl-C stops after so many generations."""
    seen = []

    def types(progress: Any) -> None:
        if progress.env_steps and len(seen) < after:
            seen.append(progress.env_steps)
            if len(seen) == after:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer(SMALL, STEPS, checkpoints=folder, **changes).run(report=types)
    return trainer(SMALL, STEPS, checkpoints=folder, **changes)


SMALL = fixed_order_cost().replace(horizon=20, warm_up=5)
TINY = {"worlds": 8, "hidden": (3,), "population": 6}
STEPS = 8 * 20 * 6 * 12


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_seed_names_a_policy_and_resuming_changes_nothing(tmp_path, covariance):
    def same(one: Any, other: Any) -> bool:
        curves = [[{k: v for k, v in row.items() if k != "cpu_seconds"} for row in each.curve] for each in (one, other)]
        a, b = one.policy.weights(), other.policy.weights()
        return curves[0] == curves[1] and all(np.array_equal(a[name], b[name]) for name in a)

    changes = {**TINY, "covariance": covariance}
    common = np.random.get_state()[1].copy()  # noqa: NPY002
    whole = trainer(SMALL, STEPS, **changes).run()
    np.testing.assert_array_equal(np.random.get_state()[1], common)  # noqa: NPY002
    assert same(whole, trainer(SMALL, STEPS, **changes).run())
    assert not same(whole, trainer(SMALL, STEPS, 1, **changes).run())
    again = stopped(tmp_path, 5, **changes)
    kept = latest_checkpoint(tmp_path, "cma_es")
    assert 0 < kept.facts["env_steps"] < whole.env_steps
    assert same(whole, again.run(kept))
    with pytest.raises(InputError, match="another seed, machine or version"):
        trainer(SMALL, STEPS, 2, **changes).run(kept)


def test_what_is_saved_is_a_pathwise_policy_with_the_numbers_of_its_rule(tmp_path):
    start = load_policy("reorder_point_order_up_to", SMALL, levels=30.0, reorder_points=20.0)
    found = trainer(SMALL, STEPS, 0, start, **TINY).run()
    save_pathwise(tmp_path / "policy.npz", found.policy)
    for read in (load_pathwise(tmp_path / "policy.npz", SMALL), load_policy(tmp_path / "policy.npz", SMALL)):
        assert isinstance(read, PathwisePolicy)
        moved = read.definition.head.base
        assert float(moved.values["levels"].max()) != 30.0
        tape = SMALL.sample(64, 0, "tune")
        np.testing.assert_array_equal(simulate(SMALL, read, tape).cost_per_period, found.cost)


def test_what_does_not_fit_is_said_in_one_line(monkeypatch):
    with pytest.raises(InputError, match=r"agent.covariance is 'full'|agent.covariance.*full"):
        trainer(SMALL, 1, hidden=(80, 80), covariance="full").run()
    assert trainer(SMALL, 1, **{**TINY, "hidden": (80, 80)}).run().env_steps > 0
    monkeypatch.setitem(sys.modules, "cma", None)
    with pytest.raises(MissingExtra, match=r"echelongym\[tune\]"):
        trainer(SMALL, 1).run()
