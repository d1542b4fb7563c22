"""Zips of Stable-Baselines3: a model trained behind a wrapper is refused, or costs what the wrapped env costs."""

import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from echelongym.agents.loading import load_policy
from echelongym.envs.core.errors import InputError, NetworkWarning
from echelongym.envs.gym.env import NetworkEnv
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.experiments.main import main

PERIODS, WORLDS = 40, 3
SCENARIO = Scenario.load("lost_sales").replace(horizon=PERIODS, warm_up=0)


def env(**keys):
    return NetworkEnv(SCENARIO, purpose="test", **keys)


def trained(algorithm, made, path, **keys):
    usual = {"n_steps": 16} | ({"batch_size": 16} if algorithm is PPO else {})
    algorithm("MlpPolicy", made, seed=0, device="cpu", **(keys or usual)).learn(32).save(path)
    return algorithm.load(path, device="cpu")


def played(made, model, prepare=lambda one: one):
    """Cost a period of each world, the model itself acting in the (wrapped) env."""
    costs = []
    for world in range(WORLDS):
        seen, _ = made.reset(seed=7) if world == 0 else made.reset()
        total = 0.0
        for _ in range(PERIODS):
            seen, _, _, _, info = made.step(model.predict(prepare(seen), deterministic=True)[0])
            total += info["cost"]
        costs.append(total / PERIODS)
    return np.array(costs)


def simulated(path, **parameters):
    policy = load_policy(path, SCENARIO, trust=True, **parameters)
    return simulate(SCENARIO, policy, SCENARIO.sample(WORLDS, 7, "test"), kpis=False).cost_per_period


@pytest.mark.parametrize("action", ["order_up_to", "requests"])
def test_model_of_the_plain_env_costs_what_it_costs_there(tmp_path, action):
    """The kind of action is noted in the space, as it changes the meaning of numbers and not their count."""
    model = trained(A2C, env(action=action), tmp_path / "model.zip")
    np.testing.assert_allclose(simulated(tmp_path / "model.zip"), played(env(action=action), model))


def silent(action):
    """An env whose spaces say nothing, as behind a wrapper that makes both anew."""
    made = env(action=action)
    for name in ("observation_space", "action_space"):
        space = getattr(made, name)
        setattr(made, name, spaces.Box(space.low, space.high, space.shape, space.dtype))
    return made


def test_zip_that_does_not_say_its_action_has_levels(tmp_path):
    """Spaces noted nothing when ``order_up_to`` was the default: such a model means what it meant, and that is said."""
    model = trained(A2C, silent("order_up_to"), tmp_path / "model.zip")
    with pytest.warns(NetworkWarning, match=r"read as order_up_to, .* policy\.parameters\.action=") as said:
        costs = simulated(tmp_path / "model.zip")
    assert len(said) == 1
    np.testing.assert_allclose(costs, played(env(action="order_up_to"), model))


@pytest.mark.parametrize("action", ["proportional", "requests"])
def test_action_that_a_zip_does_not_say_is_given_with_it(tmp_path, action, recwarn):
    path = tmp_path / "model.zip"
    model = trained(A2C, silent(action), path)
    np.testing.assert_allclose(simulated(path, action=action), played(env(action=action), model))
    assert not [one for one in recwarn if issubclass(one.category, NetworkWarning)]
    SCENARIO.save(tmp_path / "shop.yaml")
    words = [f"scenario={tmp_path}/shop.yaml", f"policy={path}", "trust=true", f"policy.parameters.action={action}"]
    assert main(["simulate", *words, "evaluation.worlds=2", "progress=false", f"run={tmp_path}/run"]) == 0


def test_action_other_than_the_zip_says_is_refused(tmp_path):
    trained(A2C, env(action="requests"), tmp_path / "model.zip")
    simulated(tmp_path / "model.zip", action="requests")
    with pytest.raises(InputError, match=r"action = 'allocate': expected requests, which the zip says") as caught:
        simulated(tmp_path / "model.zip", action="allocate")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"action = 'request': expected one of .* did you mean 'requests'"):
        simulated(tmp_path / "model.zip", action="request")


@pytest.mark.parametrize("algorithm", [PPO, SAC])
@pytest.mark.parametrize("form", ["pickle", "npz"])
def test_statistics_of_vec_normalize_go_with_the_model(tmp_path, algorithm, form):
    around = VecNormalize(DummyVecEnv([env]), clip_obs=4.0)
    keys = {"learning_starts": 4} if algorithm is SAC else {}
    model = trained(algorithm, around, tmp_path / "model.zip", **keys)
    around.training = False
    file = tmp_path / ("norm.pkl" if form == "pickle" else "norm.npz")
    if form == "pickle":
        around.save(file)
    else:
        np.savez(file, mean=around.obs_rms.mean, var=around.obs_rms.var, clip_obs=4.0)
    wanted = played(env(), model, around.normalize_obs)
    np.testing.assert_allclose(simulated(tmp_path / "model.zip", normalize=str(file)), wanted)
    with pytest.raises(
        InputError, match=r"trained under VecNormalize: expected policy.parameters.normalize=none where .*=FILE"
    ):
        simulated(tmp_path / "model.zip")


@pytest.mark.parametrize("algorithm", [SAC, TD3, DDPG])
def test_what_is_asked_of_off_policy_models_runs_as_it_is_typed(tmp_path, monkeypatch, capsys, algorithm):
    """One line that says what to type; typed, it runs."""
    monkeypatch.chdir(tmp_path)
    around = VecNormalize(DummyVecEnv([env]))
    trained(algorithm, around, tmp_path / "model.zip", learning_starts=4, buffer_size=50)
    around.save("FILE")
    SCENARIO.save("shop.yaml")
    words = [
        "simulate",
        "scenario=shop.yaml",
        "policy=model.zip",
        "trust=true",
        "evaluation.worlds=2",
        "progress=false",
    ]
    assert main(words) == 2
    (said,) = capsys.readouterr().err.splitlines()
    asked = re.findall(r"policy\.parameters\.normalize=\w+", said)
    assert len(asked) == 2
    for one in asked:
        assert main([*words, one]) == 0


def test_discrete_actions_of_others_are_refused_in_a_line(tmp_path):
    class Two(gym.ActionWrapper):
        action_space = spaces.Discrete(2)

        def action(self, number):
            return np.full(self.env.action_space.shape, number, dtype=np.float32)

    trained(DQN, Two(env()), tmp_path / "model.zip", learning_starts=4, buffer_size=50)
    with pytest.raises(InputError, match="says nothing of what its discrete actions mean") as caught:
        simulated(tmp_path / "model.zip")
    assert "\n" not in str(caught.value)


def test_vec_normalize_of_rewards_alone_changes_nothing(tmp_path):
    around = VecNormalize(DummyVecEnv([env]), norm_obs=False)
    model = trained(A2C, around, tmp_path / "model.zip")
    around.save(tmp_path / "norm.pkl")
    wanted = played(env(), model)
    for given in (str(tmp_path / "norm.pkl"), "none"):
        np.testing.assert_allclose(simulated(tmp_path / "model.zip", normalize=given), wanted)


class Discrete(gym.ActionWrapper):
    """Three levels of the one action."""

    def __init__(self, inner):
        super().__init__(inner)
        self.action_space = spaces.MultiDiscrete([3])

    def action(self, action):
        return (np.asarray(action) - 1.0).astype(np.float32)


WRAPPERS = {
    "actions rescaled": lambda: gym.wrappers.RescaleAction(env(), np.float32(0), np.float32(1)),
    "actions discrete": lambda: Discrete(env()),
    "observations normalised": lambda: gym.wrappers.NormalizeObservation(env()),
    "observations rescaled": lambda: gym.wrappers.RescaleObservation(env(), np.float32(-1), np.float32(1)),
    "time added": lambda: gym.wrappers.TimeAwareObservation(gym.wrappers.TimeLimit(env(), PERIODS)),
    "frames stacked": lambda: VecFrameStack(DummyVecEnv([env]), 2),
}


@pytest.mark.parametrize("wrapped", WRAPPERS.values(), ids=WRAPPERS)
def test_model_behind_another_wrapper_is_refused(tmp_path, wrapped):
    trained(A2C, wrapped(), tmp_path / "model.zip", n_steps=16)
    with pytest.raises(InputError, match=r"was trained on (observations|actions) .* a wrapper that") as raised:
        simulated(tmp_path / "model.zip")
    assert "\n" not in str(raised.value)


def test_units_are_those_of_the_scenario_it_was_trained_on(tmp_path):
    busier = SCENARIO.with_overrides({"customers.shoppers.demand.mean": 8})
    trained(A2C, env(), tmp_path / "model.zip")
    policy = load_policy(tmp_path / "model.zip", busier, trust=True)
    assert policy.scenario.digest == SCENARIO.digest


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"normalise": "x.pkl"}, "did you mean 'normalize'"),
        ({"normalize": "gone.pkl"}, "expected the path of a file that exists, or none"),
    ],
)
def test_parameters_of_a_zip_are_checked(tmp_path, parameters, words):
    trained(A2C, env(), tmp_path / "model.zip")
    with pytest.raises(InputError, match=words):
        simulated(tmp_path / "model.zip", **parameters)


@pytest.mark.parametrize("mean", [np.zeros(3), np.full(11, np.nan)])
def test_statistics_that_do_not_fit_are_refused(tmp_path, mean):
    trained(A2C, env(), tmp_path / "model.zip")
    np.savez(tmp_path / "norm.npz", mean=mean, var=np.ones(len(mean)))
    with pytest.raises(InputError, match=r"mean\.shape"):
        simulated(tmp_path / "model.zip", normalize=str(tmp_path / "norm.npz"))
