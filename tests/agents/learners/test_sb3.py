"""Stable-Baselines3 glue: the VecEnv adaptor, deterministic actors, policy files and who may load them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from constant_policy import constant_policy
from stable_baselines3 import A2C, PPO, SAC

from echelongym.agents.learners import learner_config
from echelongym.agents.loading import load_policy
from echelongym.agents.sb3.actor import Actor, ActorPolicy
from echelongym.agents.sb3.models import SB3VecEnv, actor_module, make_model
from echelongym.agents.sb3.policy_file import load_actor, save_actor
from echelongym.agents.sb3.zip_files import load_sb3_policy
from echelongym.envs.core.errors import InputError
from echelongym.envs.gym.vector_env import NetworkVectorEnv
from echelongym.envs.interface.action_decoder import DEFAULT_ACTION
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate

PERIODS = 6


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario.load("lost_sales").replace(horizon=PERIODS, warm_up=1)


def native(
    scenario: Scenario, worlds: int = 3, mode: str = "SAME_STEP", action: str = DEFAULT_ACTION
) -> NetworkVectorEnv:
    return NetworkVectorEnv(scenario, num_envs=worlds, autoreset_mode=mode, action=action, info="none")


def trained_policy(scenario: Scenario, seed: int = 0, action: str = DEFAULT_ACTION) -> ActorPolicy:
    torch.manual_seed(seed)
    blank = constant_policy(scenario, action)
    return ActorPolicy(scenario, Actor([blank.encoder.size, 5, blank.decoder.size]), action, {"seed": seed})


# The adaptor ---------------------------------------------------------------------------------------


def test_adaptor_gives_what_the_native_env_gives(scenario):
    ours, theirs = SB3VecEnv(native(scenario)), native(scenario)
    ours.seed(5)
    observation, expected = ours.reset(), theirs.reset(seed=5)[0]
    np.testing.assert_array_equal(observation, expected)
    rng = np.random.default_rng(0)
    for step in range(2 * PERIODS + 1):
        actions = rng.uniform(-1, 1, (3, 1)).astype(np.float32)
        observation, reward, done, infos = ours.step(actions)
        expected, wanted, _, truncated, info = theirs.step(actions)
        np.testing.assert_array_equal(observation, expected)
        np.testing.assert_allclose(reward, wanted, rtol=1e-6)
        assert reward.dtype == np.float32
        np.testing.assert_array_equal(done, truncated)
        assert done.all() == ((step + 1) % PERIODS == 0)
        for i, one in enumerate(infos):
            assert bool(one) == bool(done[i])
            if done[i]:
                np.testing.assert_array_equal(one["terminal_observation"], info["final_obs"][i])
                assert one["TimeLimit.truncated"] is True
                assert one["episode"]["l"] == PERIODS


def test_reported_return_is_the_sum_of_native_rewards(scenario):
    env = SB3VecEnv(native(scenario), native(scenario), reward_scale=3.0)
    env.seed(2)
    env.reset()
    plain = native(scenario)
    plain.reset(seed=2)
    actions, total = np.full((3, 1), 0.4, np.float32), np.zeros(3)
    for _ in range(PERIODS):
        infos = env.step(actions)[3]
        total += plain.step(actions)[1]
    np.testing.assert_allclose([info["episode"]["r"] for info in infos], total)


def test_zero_action_earns_nothing_above_the_reference(scenario):
    env = SB3VecEnv(native(scenario), native(scenario), reward_scale=2.0)
    env.seed(0)
    env.reset()
    for _ in range(PERIODS + 2):
        assert not env.step(np.zeros((3, 1), np.float32))[1].any()


def test_reference_takes_away_the_same_from_every_policy(scenario):
    """The difference of two policies' rewards is what it is without a reference."""

    def rewards(reference: bool, action: float) -> np.ndarray:
        env = SB3VecEnv(native(scenario), native(scenario) if reference else None)
        env.seed(1)
        env.reset()
        return np.array([env.step(np.full((3, 1), action, np.float32))[1] for _ in range(2 * PERIODS)])

    with_one, without = (rewards(on, 0.5) - rewards(on, -0.5) for on in (True, False))
    np.testing.assert_allclose(with_one, without, atol=1e-5)


def test_restored_env_goes_on_as_if_it_had_not_stopped(scenario):
    def made() -> SB3VecEnv:
        env = SB3VecEnv(native(scenario), native(scenario))
        env.seed(3)
        return env

    rng = np.random.default_rng(1)
    actions = rng.uniform(-1, 1, (2 * PERIODS + 7, 3, 1)).astype(np.float32)
    first = made()
    first.reset()
    for one in actions[: PERIODS + 3]:
        last = first.step(one)[0]
    second = made()
    np.testing.assert_array_equal(second.restore(first.series, first.episode, first.played), last)
    for one in actions[PERIODS + 3 :]:
        for got, wanted in zip(second.step(one)[:3], first.step(one)[:3], strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_adaptor_wants_autoreset_in_the_same_step(scenario):
    with pytest.raises(InputError, match="autoreset_mode = 'NEXT_STEP': expected SAME_STEP"):
        SB3VecEnv(native(scenario, mode="NEXT_STEP"))


@pytest.mark.parametrize("algorithm", [PPO, A2C, SAC])
def test_algorithms_of_stable_baselines_run_on_it(scenario, algorithm):
    keys = {"n_steps": 8} if algorithm is not SAC else {"learning_starts": 6}
    if algorithm is PPO:
        keys["batch_size"] = 24
    model = algorithm("MlpPolicy", SB3VecEnv(native(scenario)), device="cpu", seed=0, **keys)
    model.learn(48)
    assert model.num_timesteps == 48


# Actors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ppo", "sac"])
def test_actor_module_does_what_predict_does(scenario, kind):
    """Stable-Baselines3's own deterministic prediction is the truth."""
    env = SB3VecEnv(native(scenario))
    model, _ = make_model(learner_config(kind), env, seed=0)
    with torch.no_grad():
        for value in model.policy.parameters():
            value.add_(0.3 * torch.randn(value.shape))
    observation = np.random.default_rng(0).normal(0, 3, (50, env.observation_space.shape[0])).astype(np.float32)
    wanted, _ = model.predict(observation, deterministic=True)
    with torch.no_grad():
        got = actor_module(model)(torch.from_numpy(observation)).numpy()
    np.testing.assert_allclose(got, wanted, atol=2e-6)
    assert np.ptp(got) > 0.1


@pytest.mark.parametrize("kind", ["ppo", "sac"])
def test_untrained_actor_is_nearly_the_zero_action(scenario, kind):
    env = SB3VecEnv(native(scenario))
    model, _ = make_model(learner_config(kind), env, seed=0)
    with torch.no_grad():
        action = actor_module(model)(torch.randn(100, env.observation_space.shape[0]))
    assert action.abs().max() < 0.05


@pytest.mark.parametrize("name", ["lost_sales", "two_region"])
def test_zero_action_in_simulate_is_the_zero_action_in_the_env(name):
    """Mean reward x scale of the env is the cost of the policy: encoder, actor and decoder fit together."""
    scenario = Scenario.load(name).replace(horizon=12, warm_up=0)
    env = native(scenario, worlds=4)
    env.reset(seed=7)
    rewards = [env.step(np.zeros(env.action_space.shape, np.float32))[1] for _ in range(12)]
    outcome = simulate(scenario, constant_policy(scenario), scenario.sample(4, 7, "train"), kpis=False)
    revenue = 0.0 if outcome.profit_per_period is None else outcome.profit_per_period + outcome.cost_per_period
    np.testing.assert_allclose(
        np.mean(rewards, axis=0) * scenario.tables.reward_scale, revenue - outcome.cost_per_period, rtol=1e-9
    )


# Files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["order_up_to", "proportional", "requests"])
def test_policy_file_keeps_the_policy(scenario, tmp_path, action):
    policy = trained_policy(scenario, action=action)
    save_actor(tmp_path / "policy.npz", policy)
    tape = scenario.sample(5, 0, "test")
    for path in (tmp_path, tmp_path / "policy.npz"):
        loaded = load_policy(path, scenario)
        assert (loaded.action, loaded.facts) == (action, {"seed": 0})
        costs = [simulate(scenario, one, tape, kpis=False).cost_per_period for one in (policy, loaded)]
        np.testing.assert_array_equal(*costs)


def test_units_of_the_policy_stay_those_it_was_trained_in(scenario, tmp_path):
    policy = trained_policy(scenario)
    save_actor(tmp_path / "policy.npz", policy)
    busier = scenario.with_overrides({"customers.shoppers.demand.mean": 8})
    loaded = load_actor(tmp_path / "policy.npz", busier)
    np.testing.assert_array_equal(loaded.encoder.centre, policy.encoder.centre)
    assert not np.array_equal(loaded.encoder.centre, constant_policy(busier).encoder.centre)


def test_policy_of_another_network_is_refused(scenario, tmp_path):
    save_actor(tmp_path / "policy.npz", trained_policy(scenario))
    with pytest.raises(InputError, match=r"nodes\[1\] is 'store', expected 'warehouse'"):
        load_policy(tmp_path, Scenario.load("one_warehouse"))


def test_policy_of_another_lead_time_is_refused(scenario, tmp_path):
    save_actor(tmp_path / "policy.npz", trained_policy(scenario))
    slower = scenario.with_overrides({"lanes.supplier_store.lead_time": 7})
    with pytest.raises(InputError, match=r"in_transit has shape \(1, 1, 3, 1\): expected \(1, 1, 6, 1\)"):
        load_policy(tmp_path, slower)


@pytest.mark.parametrize("damage", ["half", "text", "pickle", "layout", "empty"])
def test_damaged_policy_file_is_an_input_error(scenario, tmp_path, damage):
    path = tmp_path / "policy.npz"
    save_actor(path, trained_policy(scenario))
    content = path.read_bytes()
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("weights")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "pickle":
        np.savez(path, config=np.array([{"schema": 1}], dtype=object))
    else:
        with np.load(path) as archive:
            arrays = dict(archive)
        np.savez(path, **{**arrays, "layers.0.weight": arrays["layers.0.weight"][:, 1:]})
    with pytest.raises(InputError, match="is no policy file, or a damaged one"):
        load_policy(tmp_path, scenario)


def test_folder_without_a_policy_and_absent_file_are_refused(scenario, tmp_path):
    with pytest.raises(InputError, match="expected a run folder of train"):
        load_policy(tmp_path, scenario)
    with pytest.raises(InputError, match="expected the path of a file that exists"):
        load_actor(tmp_path / "gone.npz", scenario)


def test_zip_is_loaded_only_when_trusted(scenario, tmp_path):
    path = tmp_path / "model.zip"
    model, _ = make_model(learner_config("sac"), SB3VecEnv(native(scenario)), seed=0)
    model.learning_rate = 1e-3
    model._setup_lr_schedule()
    model.save(path)
    for load in (load_policy, load_sb3_policy):
        with pytest.raises(InputError, match=r"trust = False: expected true to load .*model\.zip"):
            load(path, scenario)
    policy = load_policy(path, scenario, trust=True)
    observation = torch.randn(20, policy.encoder.size)
    with torch.no_grad():
        np.testing.assert_allclose(
            policy.actor(observation), model.predict(observation.numpy(), deterministic=True)[0], atol=2e-6
        )


def test_untrusted_zip_is_never_opened(scenario, tmp_path, monkeypatch):
    path = tmp_path / "model.zip"
    path.write_bytes(b"anything")
    monkeypatch.setattr("zipfile.ZipFile", lambda *_: pytest.fail("opened"))
    with pytest.raises(InputError, match="trust"):
        load_policy(path, scenario)


@pytest.mark.parametrize("content", [b"", b"PK no zip"])
def test_damaged_zip_is_an_input_error(scenario, tmp_path, content):
    path = tmp_path / "model.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is no zip of Stable-Baselines3, or a damaged one"):
        load_policy(path, scenario, trust=True)


def test_zip_of_other_sizes_is_refused(scenario, tmp_path):
    model, _ = make_model(learner_config("sac"), SB3VecEnv(native(scenario)), seed=0)
    model.save(tmp_path / "model.zip")
    with pytest.raises(InputError, match=r"another network .* nodes\[1\] is 'store', expected 'warehouse'"):
        load_policy(tmp_path / "model.zip", Scenario.load("one_warehouse"), trust=True)


def test_only_plain_perceptrons_are_written(scenario, tmp_path):
    with pytest.raises(InputError, match="expected an Actor or a RecurrentActor"):
        save_actor(tmp_path / "policy.npz", constant_policy(scenario))
    assert list(Path(tmp_path).iterdir()) == []


def test_write_that_fails_leaves_the_old_file(scenario, tmp_path, monkeypatch):
    path = tmp_path / "policy.npz"
    save_actor(path, trained_policy(scenario, seed=0))
    before = path.read_bytes()

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="disk full"):
        save_actor(path, trained_policy(scenario, seed=1))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["policy.npz"]
