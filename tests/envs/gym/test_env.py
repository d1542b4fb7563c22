"""The single environment: Gymnasium's contract, worlds by seed, infos, errors, over every registered id."""

from __future__ import annotations

import copy
import pickle
import warnings
from dataclasses import fields

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import registry
from gymnasium.utils.env_checker import check_env
from shipped import SHIPPED

from echelongym.envs import (
    Decision,
    EnvSettings,
    InputError,
    NetworkEnv,
    NetworkVectorEnv,
    Scenario,
    registered_ids,
    shipped_scenarios,
    simulate,
)
from echelongym.envs.gym.settings import EnvKeywords
from echelongym.registration import env_id

GENERAL = "echelongym/Network-v1"
IDS = sorted(name for name in registry if name.startswith("echelongym/"))
# Warnings of Gymnasium's checker that are as they should be: none.
ALLOWED_WARNINGS: tuple[str, ...] = ()


def rollout(env, seed, steps, action_seed=0):
    """Observations and rewards of random actions."""
    rng = np.random.default_rng(action_seed)
    observations, rewards = [env.reset(seed=seed)[0]], []
    for _ in range(steps):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        observation, reward, *_ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    return np.stack(observations), np.array(rewards)


def test_every_shipped_scenario_has_an_id_and_every_id_a_scenario():
    assert set(IDS) == {GENERAL, *registered_ids()}
    assert sorted(registered_ids().values()) == sorted(shipped_scenarios())
    assert env_id("two_region") == "echelongym/TwoRegion-v1"


@pytest.mark.parametrize("name", IDS)
def test_gymnasiums_checker_finds_nothing(name):
    scenario = registered_ids().get(name, "two_region")
    kwargs = {"scenario": scenario} if name == GENERAL else {}
    env = gym.make(name, **kwargs, render_mode="rgb_array")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped)
    texts = [str(one.message) for one in caught]
    assert [text for text in texts if not any(allowed in text for allowed in ALLOWED_WARNINGS)] == []
    assert env.unwrapped.scenario.name == scenario


def test_made_by_module_and_name():
    env = gym.make("echelongym.envs:echelongym/Network-v1", scenario="two_region")
    assert isinstance(env.unwrapped, NetworkEnv)
    assert env.observation_space.contains(env.reset(seed=1)[0])
    vector = gym.make_vec("echelongym.envs:echelongym/TwoRegion-v1", num_envs=3)
    assert vector.reset(seed=1)[0].shape == (3, *env.observation_space.shape)
    assert np.array_equal(vector.reset(seed=1)[0][0], env.reset(seed=1)[0])


def test_a_scenario_from_a_path(tmp_path):
    path = tmp_path / "mine.yaml"
    Scenario.load("lost_sales", {"name": "mine", "horizon": 5, "warm_up": 0}).save(path)
    env = gym.make(GENERAL, scenario=str(path))
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]
    assert env.unwrapped.scenario.name == "mine"


def test_overrides_reach_the_scenario():
    env = NetworkEnv("two_region", overrides={"lanes.hub_north_express.capacity": 7})
    lane = env.scenario.tables.lanes.index("hub_north_express")
    assert env.scenario.tables.lane_capacity[lane] == 7


def test_the_horizon_truncates_and_never_terminates():
    env = NetworkEnv("one_warehouse", periods=4)
    env.reset(seed=0)
    ends = [env.step(np.zeros(env.action_space.shape))[2:4] for _ in range(4)]
    assert ends == [(False, False)] * 3 + [(False, True)]
    with pytest.raises(InputError, match="episode = 'ended': expected a reset"):
        env.step(np.zeros(env.action_space.shape))
    assert NetworkEnv("one_warehouse").periods == env.scenario.horizon


def test_two_instances_and_two_runs_agree_and_seeds_differ():
    one, two = NetworkEnv("two_region"), NetworkEnv("two_region")
    first = rollout(one, 7, 30)
    for env in (two, one):
        again = rollout(env, 7, 30)
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], rollout(one, 8, 30)[1])


def test_a_reset_without_a_seed_goes_on_to_the_next_world():
    """World w of seed s is column w of ``scenario.sample(seed=s, purpose="train")``."""
    env = NetworkEnv("one_warehouse", periods=3)
    demand = env.scenario.sample(4, seed=5, periods=3).demand[env.scenario.tables.H :]
    for world in [0, 1, 2, 3]:
        _, info = env.reset(seed=5 if world == 0 else None)
        assert info["world"] == world
        for period in range(3):
            env.step(np.zeros(env.action_space.shape))
            seen = env.observation.demand_history[0, :, :, 0]
            assert np.array_equal(seen, demand[period, world])
    assert env.reset(seed=5)[1]["world"] == 0


def test_without_any_seed_worlds_differ_from_instance_to_instance():
    first, second = (NetworkEnv("one_warehouse").reset()[0] for _ in range(2))
    assert not np.array_equal(first, second)


def test_purposes_are_other_worlds():
    found = {purpose: NetworkEnv("one_warehouse", purpose=purpose) for purpose in ("train", "tune", "test")}
    starts = [bytes(env.reset(seed=1)[0]) for env in found.values()]
    assert len(set(starts)) == 3


@pytest.mark.parametrize("scenario", ["two_region", "dual_sourcing", "one_warehouse"])
def test_rewards_and_infos_are_what_simulate_says(scenario):
    """A policy stepped through the env costs, by line and period, what simulate says on the same world."""
    env = NetworkEnv(scenario, purpose="test")
    tape = env.scenario.sample([0], seed=3, purpose="test")
    decoder = env.decoder
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1, 1, (env.periods, decoder.size)).astype(np.float32)

    def policy(observation):
        from echelongym.envs import Decision

        return Decision(decoder.decode(actions[observation.period], observation))

    outcome = simulate(env.scenario, policy, tape, trace=True)
    env.reset(seed=3)
    t = env.scenario.tables
    for period in range(env.periods):
        _, reward, _, truncated, info = env.step(actions[period])
        lines = {line: values[period, 0] for line, values in outcome.trace.costs.items()}
        for line, money in info["costs"].items():
            assert money == pytest.approx(lines[line], rel=1e-12, abs=1e-9)
        cost = sum(money for line, money in lines.items() if line != "revenue")
        assert info["cost"] == pytest.approx(cost, rel=1e-12)
        assert reward == pytest.approx((lines.get("revenue", 0.0) - cost) / t.reward_scale, rel=1e-12)
        served_first = outcome.trace.demand[period, 0].sum() - info["unmet"]
        assert 0 <= served_first <= outcome.trace.served[period, 0].sum() + 1e-9
        assert info["waste"] == pytest.approx(outcome.trace.disposed[period, 0].sum(), abs=1e-9)
        assert info["emissions"] >= 0
    assert truncated
    kpis = outcome.kpis()
    assert info["kpis"]["total"]["fill_rate"] == pytest.approx(kpis["total"]["fill_rate"][0], rel=1e-12)
    assert set(info["kpis"]["customer"]) == set(t.customers)


def test_info_can_be_left_out():
    env = NetworkEnv("one_warehouse", periods=2, info="none")
    env.reset(seed=0)
    full = NetworkEnv("one_warehouse", periods=2, info="costs")
    full.reset(seed=0)
    action = np.zeros(env.action_space.shape)
    for _ in range(2):
        *ours, info = env.step(action)
        *theirs, told = full.step(action)
        assert info == {}
        assert "kpis" not in told
        assert told["costs"]
        assert ours[1] == theirs[1]
        assert np.array_equal(ours[0], theirs[0])


def test_structured_observation_and_decisions():
    """A rule acts on the named arrays; the decoder's requests given as a decision do what the action does."""
    from echelongym.envs import Decision

    one, two = NetworkEnv("two_region"), NetworkEnv("two_region")
    one.reset(seed=2), two.reset(seed=2)
    action = np.linspace(-0.5, 0.5, one.decoder.size, dtype=np.float32)
    for _ in range(20):
        requests = two.decoder.decode(action[None], two.observation)
        ours, theirs = one.step(action), two.step_decision(Decision(requests))
        assert np.allclose(ours[0], theirs[0], rtol=0, atol=1e-5)
        assert ours[1] == pytest.approx(theirs[1])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(5), r"shape \(5,\).*expected \(6,\) real numbers, of dairy_hub, hub_north"),
        (np.array([0, 0, np.nan, 0, 0, 0]), r"action\['hub_north_express'\] = nan: expected a finite number"),
        (np.array([0, np.inf, 0, 0, 0, 0]), r"action\['hub_north'\] = inf: expected a finite number"),
        (np.array(["a"] * 6), r"expected \(6,\) real numbers"),
        (np.zeros(6, dtype=bool), r"expected \(6,\) real numbers"),
    ],
)
def test_bad_actions_are_named(action, message):
    env = NetworkEnv("two_region")
    env.reset(seed=0)
    with pytest.raises(InputError, match=message):
        env.step(action)
    env.step(np.zeros(6))  # nothing was lost


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"scenario": "two_regions"}, r"two_regions.*did you mean 'two_region'"),
        ({"scenario": "nowhere.yaml"}, "expected the path of a file that exists"),
        ({"scenario": 3}, "scenario = 3: expected a Scenario"),
        ({"action": "order_to"}, "action = 'order_to': expected one of order_up_to"),
        ({"observation": "image"}, "settings = 'observation': expected one of action"),
        ({"periods": 0}, r"periods = 0: expected a whole number >= 1"),
        ({"periods": 2.5}, r"periods = 2.5: expected a whole number >= 1"),
        ({"purpose": "exam"}, "purpose = 'exam': expected one of train, tune, test"),
        ({"dtype": "float16"}, "dtype = 'float16': expected one of float64, float32"),
        ({"info": "all"}, "info = 'all': expected one of none, costs, kpis"),
        ({"render_mode": "human"}, "render_mode = 'human': expected one of"),
        ({"overrides": {"lanes.hub_north.lead_times": 3}}, "lead_times.*did you mean 'lead_time'"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(InputError, match=message):
        NetworkEnv(**({"scenario": "two_region"} | kwargs))


@pytest.mark.parametrize("seed", [-1, 1.5, "7", True, [1]])
def test_bad_seeds_are_named(seed):
    with pytest.raises(InputError, match=r"seed = .*expected a whole number >= 0"):
        NetworkEnv("lost_sales").reset(seed=seed)


def test_misuse_is_told():
    env = NetworkEnv("lost_sales")
    with pytest.raises(InputError, match="episode = None: expected a reset"):
        env.step(np.zeros(1))
    with pytest.raises(InputError, match="reset before the first observation"):
        _ = env.observation
    with pytest.raises(InputError, match="options = "):
        env.reset(options={"world": 3})
    with pytest.raises(InputError, match="reward_scale"):
        NetworkEnv(Scenario.load("lost_sales", {"customers.shoppers.lost_sale_cost": 0}))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])  # noqa: S301
def test_copies_go_on_as_the_original(copied):
    env = NetworkEnv("two_region", periods=12)
    rollout(env, 4, 7)
    twin = copied(env)
    for step in range(20):
        action = np.full(env.action_space.shape, 0.05 * step - 0.5, dtype=np.float32)
        ours, theirs = env.step(action), twin.step(action)
        assert np.array_equal(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]
        if ours[3]:
            assert np.array_equal(env.reset()[0], twin.reset()[0])


def test_keywords_are_those_of_the_settings():
    assert list(EnvKeywords.__annotations__) == [one.name for one in fields(EnvSettings)]
    for make in (NetworkEnv, NetworkVectorEnv):
        with pytest.raises(InputError, match=r"settings = 'period': expected one of .*; did you mean 'periods'"):
            make("one_warehouse", period=3)


def test_pictures():
    env = NetworkEnv("two_region", render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.ndim == 3
    assert first.shape[2] == 3
    assert first.dtype == np.uint8
    assert first.std() > 0
    env.step(np.ones(env.action_space.shape))
    assert not np.array_equal(first, env.render())
    assert NetworkEnv("two_region").render() is None


def test_single_precision_stays_near():
    double = rollout(NetworkEnv("one_warehouse"), 3, 60)
    single = rollout(NetworkEnv("one_warehouse", dtype="float32"), 3, 60)
    assert np.allclose(double[1], single[1], rtol=1e-4, atol=1e-4)
    assert np.allclose(double[0], single[0], atol=1e-3)


def test_terminal_value_comes_in_the_last_period_only():
    env = NetworkEnv(Scenario.load("lost_sales", {"nodes.store.terminal_value": 2.0, "horizon": 3, "warm_up": 0}))
    env.reset(seed=0)
    lines = [env.step(np.zeros(1))[4]["costs"] for _ in range(3)]
    assert [line.get("terminal", 0.0) == 0.0 for line in lines] == [True, True, False]
    # Receive of the period after the end brings what is due then, so stock at the end is known from holding alone.
    assert lines[-1]["terminal"] == -2.0 * lines[-1]["holding"]


def test_censored_demand_shows_sales():
    scenario = Scenario.load("lost_sales", {"observe.demand": "sales"})
    env = NetworkEnv(scenario, action="requests")
    env.reset(seed=0)
    tape = scenario.sample([0], seed=0, purpose="train")
    H = scenario.tables.H
    assert np.array_equal(env.observation.demand_history[0, 0, 0], tape.demand[H - 1 :: -1, 0, 0, 0][:H])
    for _ in range(12):
        _, _, _, _, info = env.step(-np.ones(1))
        demand = tape.demand[H + int(env.observation.period[0]) - 1, 0, 0, 0]
        assert env.observation.demand_history[0, 0, 0, 0] == demand - info["unmet"]
    assert info["unmet"] == demand > 0


class Written:
    """In the place of a recorded program: its function, written out anew at every replay."""

    def __init__(self, function, inputs, ops, in_place):
        assert in_place
        self.function, self.inputs, self.outputs = function, inputs, list(function(*inputs))

    def replay(self):
        for mine, new in zip(self.outputs, self.function(*self.inputs), strict=True):
            if mine is not None and mine is not new:
                mine[...] = new


@pytest.mark.parametrize("scenario", ["two_region", "lost_sales", "one_warehouse"])
@pytest.mark.parametrize("kwargs", [{}, {"action": "allocate", "dtype": "float32"}, {"action": "order_up_to_local"}])
def test_recorded_steps_are_plain_steps(scenario, kwargs, monkeypatch):
    """An env replays its recorded step; written out again every time it gives the same to the last bit."""
    replayed, plain = NetworkEnv(scenario, periods=20, **kwargs), NetworkEnv(scenario, periods=20, **kwargs)
    rng = np.random.default_rng(0)
    replayed.reset(seed=1), plain.reset(seed=1)
    for step in range(45):
        if step % 20 == 0 and step:
            replayed.reset(), plain.reset()
        action = rng.uniform(-1, 1, replayed.action_space.shape).astype(np.float32)
        ours = replayed.step(action)
        with monkeypatch.context() as patched:
            patched.setattr("echelongym.envs.gym.single_world.Program", Written)
            theirs = plain.step(action)
        assert np.array_equal(ours[0], theirs[0])
        assert repr(ours[1:]) == repr(theirs[1:])  # figures of nothing are not numbers
    assert isinstance(plain.batch._steps[None]._program, Written)


@pytest.mark.parametrize("scenario", SHIPPED)
def test_a_single_env_is_a_vector_env_of_one(scenario):
    """Their steps are laid out apart; from a reset on they agree to the last bit, first steps and indicators included."""
    periods = Scenario.load(scenario).warm_up + 5
    single = NetworkEnv(scenario, periods=periods)
    vector = NetworkVectorEnv(scenario, 1, periods=periods, autoreset_mode="DISABLED")
    rng = np.random.default_rng(0)
    for seed in (3, None, None):
        ours, theirs = single.reset(seed=seed), vector.reset(seed=seed)
        assert np.array_equal(ours[0], theirs[0][0])
        assert ours[1]["world"] == theirs[1]["world"][0]
        for period in range(periods):
            action = rng.uniform(-1, 1, single.action_space.shape).astype(np.float32)
            ours, theirs = single.step(action), vector.step(action[None])
            assert np.array_equal(ours[0], theirs[0][0])
            assert ours[1] == theirs[1][0]
            if period in (0, 1, periods - 1):
                assert repr(ours[4]) == repr(_unmasked(theirs[4]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_type_of_decisions_does_not_stick(dtype):
    """Actions and decisions in several types, in turn: a vector env of one, which takes each as it comes, agrees."""
    periods = Scenario.load("two_region").warm_up + 9
    single = NetworkEnv("two_region", periods=periods, dtype=dtype)
    vector = NetworkVectorEnv("two_region", 1, periods=periods, dtype=dtype, autoreset_mode="DISABLED")
    single.reset(seed=1), vector.reset(seed=1)
    rng, t = np.random.default_rng(0), single.batch.tables
    for period in range(periods):
        kind = (None, np.int64, np.float64, np.float32)[period % 4]
        if kind is None:
            action = rng.uniform(-1, 1, single.action_space.shape).astype(np.float32)
            ours, theirs = single.step(action), vector.step(action[None])
        else:
            decision = Decision(rng.uniform(0, 9, (1, t.L, t.P)).astype(kind))
            ours, theirs = single.step_decision(decision), vector.step_decision(decision)
        assert np.array_equal(ours[0], theirs[0][0])
        assert ours[1] == theirs[1][0]
    assert repr(ours[4]) == repr(_unmasked(theirs[4]))


def _unmasked(info):
    """The info of a vector env of one as a single env tells it."""
    return {
        key: _unmasked(value) if isinstance(value, dict) else value.item()
        for key, value in info.items()
        if not key.startswith("_")
    }


def test_worlds_drawn_ahead_are_those_drawn_one_by_one(monkeypatch):
    """However many worlds are drawn in one go, and wherever a seed is left."""
    monkeypatch.setattr("echelongym.envs.gym.episodes.FIRST", 2)
    monkeypatch.setattr("echelongym.envs.gym.episodes.GROWTH", 2)
    ahead = NetworkEnv("two_region", periods=3)
    monkeypatch.setattr("echelongym.envs.gym.episodes.MOST", 1)
    single = NetworkEnv("two_region", periods=3)
    for seed in (1, *[None] * 8, 2, None, 1, None):
        monkeypatch.setattr("echelongym.envs.gym.episodes.MOST", 6)
        found = rollout_from(ahead, seed)
        monkeypatch.setattr("echelongym.envs.gym.episodes.MOST", 1)
        for ours, theirs in zip(found, rollout_from(single, seed), strict=True):
            assert np.array_equal(ours, theirs)


def rollout_from(env, seed):
    """Observations of an episode of zero actions, flat and named."""
    found = [env.reset(seed=seed)[0], env.observation.lead_time, env.observation.forecast]
    for _ in range(env.periods):
        found.append(env.step(np.zeros(env.action_space.shape))[0])
        found += [env.observation.lead_time, env.observation.forecast, env.observation.node_availability]
    return found


def test_decisions_and_actions_take_turns():
    """A decision with what the decoder makes of an action is that action, whichever came before."""
    acted, decided = NetworkEnv("two_region", periods=9), NetworkEnv("two_region", periods=9)
    acted.reset(seed=2), decided.reset(seed=2)
    rng = np.random.default_rng(0)
    for period in range(9):
        action = rng.uniform(-1, 1, acted.action_space.shape).astype(np.float32)
        requests = decided.decoder.decode(action[None], decided.observation)
        reserve = np.zeros((1, decided.batch.tables.S, decided.batch.tables.P)) if period % 3 == 2 else None
        ours = acted.step(action)
        theirs = decided.step_decision(Decision(requests, reserve)) if period % 2 else decided.step(action)
        assert np.array_equal(ours[0], theirs[0])
        assert ours[1] == theirs[1]


def test_compiled_steps_are_recorded_steps(monkeypatch):
    """The same of steps that are compiled because they came often (where there is a compiler)."""
    monkeypatch.setattr("echelongym.envs.compiler.recorder.PATIENCE", 0.0)
    first, rewards = rollout(NetworkEnv("two_region"), 3, 90)
    monkeypatch.setattr("echelongym.envs.compiler.recorder.PATIENCE", float("inf"))
    again, expected = rollout(NetworkEnv("two_region"), 3, 90)
    assert np.array_equal(first, again)
    assert np.array_equal(rewards, expected)


def test_the_type_of_actions_does_not_stick():
    """Actions in double precision after some in single precision are not rounded."""
    mixed, double = NetworkEnv("one_warehouse"), NetworkEnv("one_warehouse")
    mixed.reset(seed=0), double.reset(seed=0)
    for step in range(8):
        action = np.full(mixed.action_space.shape, 0.25 if step < 4 else 0.1)
        ours = mixed.step(action.astype(np.float32) if step < 4 else action)
        assert ours[1] == double.step(action)[1]
