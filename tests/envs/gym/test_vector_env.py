"""The vector environment: its worlds, its three autoreset modes, and each of its worlds against the single env."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from shipped import SHIPPED

from echelongym.envs import InputError, NetworkEnv, NetworkVectorEnv, Scenario, check_vector_env
from echelongym.envs.gym.checker import Checked

MODES = list(AutoresetMode)


def make(mode, scenario="two_region", num_envs=3, periods=4, **kwargs):
    """A short vector env."""
    return NetworkVectorEnv(scenario, num_envs, autoreset_mode=mode, periods=periods, **kwargs)


def act(env, value=0.1):
    """One step of a constant action."""
    return env.step(np.full(env.action_space.shape, value, dtype=np.float32))


@pytest.mark.parametrize("name", SHIPPED)
def test_our_checker_finds_nothing(name):
    """Among the rest: every slot, in every mode, in step and out of step, is the single env to the last bit."""
    scenario = Scenario.load(name)
    check_vector_env(
        lambda n, mode: make(mode, scenario, n, 6),
        lambda: NetworkEnv(scenario, periods=6),
        steps=17,
        one_world=name == "beer_game",
    )


@pytest.mark.parametrize("kwargs", [{"dtype": "float32"}, {"action": "order_up_to_local"}, {"action": "allocate"}])
def test_our_checker_finds_nothing_in_variants(kwargs):
    scenario = Scenario.load("two_region", {"observe": {"demand": "sales", "lead_time": "quoted"}})
    check_vector_env(
        lambda n, mode: make(mode, scenario, n, 6, **kwargs),
        lambda: NetworkEnv(scenario, periods=6, **kwargs),
        steps=17,
    )


class Broken(NetworkVectorEnv):
    """With one of the faults that the checker is there to find."""

    fault = ""

    def reset(self, *, seed=None, options=None):
        if self.fault == "seed" and seed is not None:
            seed = 1
        observation, info = super().reset(seed=seed, options=options)
        if self.fault == "mask" and options:
            observation = observation + np.float32(0.1)
        self.held = observation.copy()
        return (self.held if self.fault == "alias" else observation), info

    def step(self, actions):
        observation, reward, terminated, truncated, info = super().step(actions)
        if self.fault == "alias":
            self.held[:] = observation
            observation = self.held
        if self.fault == "terminated":
            terminated, truncated = truncated, terminated
        if self.fault == "info":
            info.pop("_cost", None)
        if self.fault == "final":
            info.pop("final_obs", None)
        if self.fault == "reward":
            reward = reward - reward.mean()
        return observation, reward, terminated, truncated, info


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("seed", "another seed plays the same worlds"),
        ("mask", "slots outside it changed"),
        ("alias", "overwritten"),
        ("terminated", "terminated is not that of the single env"),
        ("info", "expected a mask"),
        ("final", "final_obs"),
        ("reward", "reward is not that of the single env"),
    ],
)
def test_our_checker_finds_faults(fault, message):
    kind = type("Faulty", (Broken,), {"fault": fault})
    with pytest.raises(Checked, match=message):
        check_vector_env(
            lambda n, mode: kind("lost_sales", n, autoreset_mode=mode, periods=4),
            lambda: NetworkEnv("lost_sales", periods=4),
            steps=11,
        )


def test_next_step_resets_in_the_step_after_the_end():
    env = make(AutoresetMode.NEXT_STEP)
    env.reset(seed=1)
    for step in range(1, 13):
        _, reward, terminated, truncated, info = act(env)
        assert not terminated.any()
        assert truncated.all() == (step % 5 == 4)
        if step % 5 == 0:
            assert not reward.any()
            assert "cost" not in info
            assert info["world"].tolist() == [3 * step // 5 + i for i in range(3)]
        else:
            assert reward.all()
            assert info["_cost"].all()
            assert "world" not in info
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


def test_same_step_gives_the_end_in_final_obs_and_info():
    env, follow = make(AutoresetMode.SAME_STEP), make(AutoresetMode.DISABLED)
    env.reset(seed=1), follow.reset(seed=1)
    for step in range(1, 13):
        observation, reward, _, truncated, info = act(env)
        last, expected, _, ended, told = act(follow)
        assert np.array_equal(reward, expected)
        assert np.array_equal(truncated, ended)
        if step % 4:
            assert "final_obs" not in info
            assert np.array_equal(observation, last)
            continue
        assert info["_final_obs"].all()
        assert info["_final_info"].all()
        assert all(np.array_equal(info["final_obs"][i], last[i]) for i in range(3))
        assert np.array_equal(info["final_info"]["cost"], told["cost"])
        rates = [one["kpis"]["total"]["fill_rate"] for one in (info["final_info"], told)]
        assert np.array_equal(*rates)
        assert "cost" not in info
        assert "kpis" not in info
        assert info["world"].tolist() == [3 * step // 4 + i for i in range(3)]
        first, _ = follow.reset()
        assert np.array_equal(observation, first)


def test_disabled_waits_for_a_masked_reset():
    env = make(AutoresetMode.DISABLED)
    env.reset(seed=1)
    for _ in range(4):
        observation, *_ = act(env)
    with pytest.raises(InputError, match=r"slots \[0, 1, 2\] have ended"):
        act(env)
    after, info = env.reset(options={"reset_mask": np.array([True, False, True])})
    assert np.array_equal(after[1], observation[1])
    assert not np.array_equal(after[0], observation[0])
    assert info["world"][[0, 2]].tolist() == [3, 5]
    assert info["_world"].tolist() == [True, False, True]
    with pytest.raises(InputError, match=r"slots \[1\] have ended"):
        act(env)
    env.reset(options={"reset_mask": np.array([False, True, False])})
    assert env.worlds.tolist() == [3, 4, 5]
    assert act(env)[1].all()


def test_slots_out_of_step_end_when_they_end():
    env = make(AutoresetMode.SAME_STEP)
    env.reset(seed=1)
    act(env)
    env.reset(options={"reset_mask": np.array([False, True, False])})
    ends = [act(env)[3].tolist() for _ in range(4)]
    assert ends == [[False] * 3, [False] * 3, [True, False, True], [False, True, False]]
    assert env.worlds.tolist() == [3, 7, 5]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_slot_i_plays_worlds_i_then_i_plus_b(size):
    env = NetworkVectorEnv("one_warehouse", size, periods=2, autoreset_mode="SAME_STEP")
    demand = env.scenario.sample(4 * size, seed=9, periods=2).demand[env.tables.H :]
    env.reset(seed=9)
    for episode in range(3):
        assert env.worlds.tolist() == [episode * size + i for i in range(size)]
        act(env)
        for slot in range(size):
            seen = env.observation.demand_history[slot, :, :, 0]
            assert np.array_equal(seen, demand[0, episode * size + slot])
        act(env)


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_restarts_the_series_and_no_seed_continues(mode):
    env = make(mode)
    first = env.reset(seed=5)[0].copy()
    act(env)
    assert env.reset()[1]["world"].tolist() == [3, 4, 5]
    act(env)
    again, info = env.reset(seed=5)
    assert np.array_equal(again, first)
    assert info["world"].tolist() == [0, 1, 2]
    assert not np.array_equal(env.reset(seed=6)[0], first)


def test_indicators_of_slots_out_of_step_are_those_of_the_single_env():
    scenario = Scenario.load("two_region", {"warm_up": 3})
    env = NetworkVectorEnv(scenario, 2, periods=9, autoreset_mode="SAME_STEP")
    single = NetworkEnv(scenario, periods=9)
    env.reset(seed=4)
    for _ in range(5):
        act(env)
    env.reset(options={"reset_mask": np.array([False, True])})
    told = {}
    for _ in range(9):
        info = act(env)[4]
        for slot in np.flatnonzero(info.get("_final_info", [])):
            kpis = info["final_info"]["kpis"]
            told.setdefault(
                int(slot), (kpis["total"]["fill_rate"][slot], kpis["customer"]["south_shops"]["mean_wait"][slot])
            )
    for slot, world in ((0, 0), (1, 3)):
        single.reset(seed=4)
        for _ in range(world):
            single.reset()
        for _ in range(9):
            *_, info = single.step(np.full(single.action_space.shape, 0.1, dtype=np.float32))
        kpis = info["kpis"]
        assert told[slot] == (kpis["total"]["fill_rate"], kpis["customer"]["south_shops"]["mean_wait"])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.array([True, False]), r"reset_mask.*expected an array \(3,\) of booleans"),
        (np.zeros(3, dtype=bool), "some True"),
        ([True, False, True], "expected an array"),
        (np.array([1, 0, 1]), "of booleans"),
    ],
)
def test_bad_masks_are_named(mask, message):
    env = make(AutoresetMode.DISABLED)
    env.reset(seed=0)
    with pytest.raises(InputError, match=message):
        env.reset(options={"reset_mask": mask})


def test_other_misuse_is_named():
    env = make(AutoresetMode.DISABLED)
    some = np.array([True, False, False])
    with pytest.raises(InputError, match="all True in the first reset"):
        env.reset(options={"reset_mask": some})
    env.reset(seed=0)
    with pytest.raises(InputError, match="no seed together with a reset_mask"):
        env.reset(seed=0, options={"reset_mask": some})
    with pytest.raises(InputError, match="options = 'mask'"):
        env.reset(options={"mask": some})
    actions = np.zeros(env.action_space.shape)
    actions[1, 1] = np.nan
    with pytest.raises(InputError, match=r"action\[1, 'hub_north'\] = nan"):
        env.step(actions)
    with pytest.raises(InputError, match=r"shape \(6,\).*expected \(3, 6\)"):
        env.step(np.zeros(6))
    with pytest.raises(InputError, match="num_envs = 0"):
        NetworkVectorEnv("two_region", 0)
    with pytest.raises(InputError, match="autoreset_mode = 'never': expected one of NEXT_STEP"):
        NetworkVectorEnv("two_region", 2, autoreset_mode="never")


def test_made_by_gymnasium():
    env = gym.make_vec("echelongym/Network-v1", num_envs=2, scenario="lost_sales", autoreset_mode="SameStep")
    assert isinstance(env.unwrapped, NetworkVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    short = gym.make_vec("echelongym/LostSales-v1", num_envs=2, max_episode_steps=3)
    short.reset(seed=0)
    assert [act(short)[3].all() for _ in range(3)] == [False, False, True]
    wrapped = gym.wrappers.vector.RecordEpisodeStatistics(short)
    wrapped.reset(seed=0)
    for _ in range(3):
        *_, info = act(wrapped)
    assert info["episode"]["l"].tolist() == [3, 3]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])  # noqa: S301
def test_copies_go_on_as_the_original(copied):
    env = make(AutoresetMode.SAME_STEP)
    env.reset(seed=4)
    act(env)
    env.reset(options={"reset_mask": np.array([False, True, False])})
    twin = copied(env)
    for _ in range(9):
        ours, theirs = act(env), act(twin)
        assert all(np.array_equal(a, b) for a, b in zip(ours[:4], theirs[:4], strict=True))


@pytest.mark.parametrize("kind", ["order_up_to", "order_up_to_local", "proportional", "allocate", "requests"])
@pytest.mark.parametrize("scenario", ["one_warehouse", "two_region"])
def test_worlds_are_the_same_to_the_bit_alone_and_among_others(scenario: str, kind: str) -> None:
    """From the first step on, whatever an action is."""
    envs = NetworkVectorEnv(scenario, num_envs=24, action=kind, info="none", periods=3)
    alone = NetworkEnv(scenario, action=kind, info="none", periods=3)
    envs.reset(seed=11)
    actions = np.random.default_rng(2).uniform(-1, 1, (2, *envs.action_space.shape))
    together = [envs.step(one)[:2] for one in actions]
    for world in range(24):
        alone.reset(seed=11 if world == 0 else None)
        for one, (observations, rewards) in zip(actions, together, strict=True):
            observation, reward, *_ = alone.step(one[world])
            np.testing.assert_array_equal(observation, observations[world])
            assert reward == rewards[world]
