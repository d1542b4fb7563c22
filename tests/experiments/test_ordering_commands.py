"""What planners ask first, key by key: every rule, planner, bound, exact method and learner runs or refuses in one line."""

import itertools
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import random_scenarios
from ordering_store import store

from echelongym.agents import RULES, load_policy
from echelongym.agents.exact import solve
from echelongym.agents.planning.open_loop import plan_open_loop
from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.agents.planning.rolling import RollingHorizon
from echelongym.envs import Decision, Scenario, simulate
from echelongym.envs.core.errors import InputError
from echelongym.experiments.main import main

KEYS: dict[str, dict[str, Any]] = {
    "minimum_order": {"lanes.*.minimum_order": 9},
    "minimum_order and batch": {"lanes.*.minimum_order": 9, "lanes.*.batch": 4},
    "batch": {"lanes.*.batch": 4},
    "review": {"lanes.*.review": {"every": 3, "first": 1}},
    "calendar of lanes": {"lanes.*.calendar": {"open": [0, 2, 4]}},
    "closed days": {"nodes.*.calendar": {"closed": [5, 6]}},
    "opening_backlog": {"customers.*.opening_backlog": 20},
}
SMALL = {"two_region": {"horizon": 40, "warm_up": 10}, "dual_sourcing": {"horizon": 60, "warm_up": 10}}


def with_key(name: str, key: str) -> Scenario:
    """A shipped scenario with the key on all lanes, stock nodes or customers who wait."""
    scenario = Scenario.load(name, SMALL[name])
    changes = {}
    for path, value in KEYS[key].items():
        section, field = path.split(".*.")
        for one, item in getattr(scenario, section).items():
            if getattr(item, "kind", "") != "supplier" and getattr(item, "lost_share", 0) != 1:
                changes[f"{section}.{one}.{field}"] = value
    return scenario.with_overrides(changes)


@pytest.mark.parametrize("key", [key for key in KEYS if key not in ("batch", "opening_backlog")])
def test_exact_methods_solve_or_refuse_by_name(key: str) -> None:
    changes = {path.replace("*", "truck" if "lanes" in path else "shop"): v for path, v in KEYS[key].items()}
    scenario, field = store(**changes), next(iter(changes)).rpartition(".")[2]
    for method in ("newsvendor", "clark_scarf", "reorder_point", "value_iteration"):
        if method == "value_iteration" and "order" in field:
            continue  # solved: test_ordering
        with pytest.raises(InputError) as caught:
            solve(scenario, method=method)
        assert "\n" not in str(caught.value)
        assert any(f".{path.rpartition('.')[2]} = " in str(caught.value) for path in changes)
        assert f"for method {method}" in str(caught.value)


@pytest.mark.parametrize("action", ["requests", "order_up_to", "proportional"])
def test_what_is_asked_on_days_that_take_no_order_changes_nothing(action: str) -> None:
    """The same rewards, stock and costs, whatever is asked in between: in one env, in a vector and in a simulation.

    It is seen as ``unfilled`` in the period after, and nowhere else.
    """
    scenario = store(
        **{
            "nodes.shop.calendar.closed": [5, 6],
            "lanes.truck.review": {"every": 3, "first": 1},
            "lanes.truck.minimum_order": 6,
            "customers.people.opening_backlog": 4,
            "horizon": 42,
            "warm_up": 0,
        }
    )
    made = "echelongym.envs:echelongym/Network-v1"
    actions = np.random.default_rng(0).uniform(-1, 1, (42, 1)).astype(np.float32)
    other = np.where(np.arange(42)[:, None] % 3 == 1, actions, np.float32(1))
    rewards, seen = [], []
    for chosen in (actions, other):
        env = gymnasium.make(made, scenario=scenario, action=action)
        env.reset(seed=3)
        names = env.unwrapped.batch.encoder.slices  # type: ignore[attr-defined]
        played = [env.step(one) for one in chosen]
        rewards.append([one[1] for one in played])
        flat = np.array([one[0] for one in played])
        seen.append(np.delete(flat, np.r_[names["unfilled"]], 1))
        vector = gymnasium.make_vec(made, num_envs=2, scenario=scenario, action=action)
        vector.reset(seed=3)
        rewards.append([vector.step(np.stack([one, one]))[1][0] for one in chosen])
    for one in rewards[1:]:
        np.testing.assert_allclose(one, rewards[0], rtol=1e-6)
    np.testing.assert_array_equal(seen[0], seen[1])
    tape = scenario.sample(worlds=[0], seed=3, purpose="train")
    costs, ratios = [], []
    for extra in (0.0, 50.0):
        outcome = simulate(
            scenario,
            lambda o, extra=extra: Decision(np.full((1, 1, 1), 9.0 if int(o.period[0]) % 3 == 1 else extra)),
            tape,
            trace=True,
        )
        ratios.append(outcome.figures().by_world()["echelon"]["1"]["order_variance_ratio"])
        costs.append(np.asarray(outcome.episode_net_cost_per_period))
        assert outcome.trace is not None
        assert not np.asarray(outcome.trace.shipped)[np.arange(42) % 3 != 1].any()
    np.testing.assert_array_equal(costs[0], costs[1])
    np.testing.assert_array_equal(ratios[0], ratios[1])


@pytest.mark.filterwarnings("ignore:.*the rule never asks")
@pytest.mark.parametrize("examples", [5, pytest.param(150, marks=pytest.mark.slow)])
def test_no_policy_costs_less_than_the_bound_with_lots_and_calendars(examples: int) -> None:
    """Random small networks, every second one of whole units, with minimum orders, batches, reviews and calendars."""
    rules = ("local_base_stock", "echelon_base_stock", "reorder_point_quantity", "random", "just_in_time")
    held = 0
    for seed in range(examples):
        rng = np.random.default_rng(seed)
        units = ("integer", "continuous")[seed % 2]
        mapping = random_scenarios.random_scenario(rng, units, "small")
        random_scenarios.add_ordering(rng, mapping, list(mapping["products"]), units)
        for lane in mapping["lanes"].values():
            if "return_share" not in lane and rng.random() < 0.5:
                lane["batch"] = int(rng.integers(2, 9))
        try:
            scenario = Scenario.from_mapping(mapping)
            tape = scenario.sample(worlds=2, seed=seed, purpose="test")
            bound = np.asarray(perfect_information(scenario, tape).cost)
            policies: list[Any] = [RollingHorizon(scenario), plan_open_loop(scenario, worlds=2, iterations=0)]
        except InputError as error:
            # a lane that is never open, or stock at the end that pays without end
            if "never open" not in str(error) and "terminal_value" not in str(error):
                raise
            continue
        policies += [load_policy(name, scenario) for name in rules if RULES[name].refusal(scenario) is None]
        for policy in policies:
            outcome = simulate(scenario, policy, tape, kpis=False)
            cost = np.asarray(outcome.episode_net_cost_per_period)
            assert (cost >= bound - 1e-7 * (1 + np.abs(bound))).all(), (seed, policy.name)
            held += 1
    assert held > 3 * examples


# From the command line -------------------------------------------------------------------------------------


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main([*words, "progress=false", "resume=false"])
    return code, capsys.readouterr().err.strip()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "key"), list(itertools.product(SMALL, KEYS)))
def test_every_command_works_or_refuses_in_a_line(
    name: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = with_key(name, key)
    scenario.save("one.yaml")
    quick = ["tuning.budget=3000", "tuning.worlds=8", "tuning.judged=8"]
    for rule in RULES:
        refusal = RULES[rule].refusal(scenario)
        for command, words in (("simulate", ["evaluation.worlds=4"]), ("tune", quick)):
            code, error = typed(capsys, command, "scenario=one.yaml", f"policy={rule}", *words)
            untunable = command == "tune" and rule == "random"
            assert (code, len(error.splitlines())) == ((0, 0) if refusal is None and not untunable else (2, 1)), error
    words = ["bounds.worlds=2", "bounds.steps=2", "workers=1", *quick]
    assert typed(capsys, "bound", "scenario=one.yaml", *words) == (0, "")
    pytest.importorskip("stable_baselines3")
    short = ["validation.worlds=4", "validation.times=2", "bound=false", *quick]
    for agent, budget in (
        ("pathwise", ["budget.cpu_seconds=2", "budget.env_steps=null"]),
        ("ppo", ["budget.env_steps=512", "agent.worlds=8", "agent.n_steps=16", "agent.batch_size=128"]),
    ):
        assert typed(capsys, "train", "scenario=one.yaml", f"agent={agent}", *short, *budget) == (0, ""), agent
