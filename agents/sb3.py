"""Stable-Baselines3 glue: the native vector env as its VecEnv, its models, their actors as policies.

::

    env = SB3VecEnv(NetworkVectorEnv(scenario, num_envs=64, autoreset_mode="SAME_STEP"))
    model = stable_baselines3.PPO("MlpPolicy", env, n_steps=64, batch_size=1024)

works with any of its algorithms; ``echelongym train`` adds the settings, budgets, checkpoints and the choice of the best.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from echelongym.envs.errors import InputError, expected
from echelongym.envs.scenario import Scenario
from echelongym.envs.vector_env import NetworkVectorEnv

from .actor import ACTIVATIONS, POLICY_FILE, Actor, ActorPolicy, load_actor
from .learners import PPOConfig, SACConfig
from .rules.rule import check_network


class SB3VecEnv(VecEnv):
    """A :class:`NetworkVectorEnv` (autoreset in the same step) as Stable-Baselines3 wants it.

    Parameters
    ----------
    env
        Steps all its worlds at once.
    reference
        Another env of the same kind. It plays the same worlds with the zero action, and learners get what they earn
        above it. What is subtracted depends on the world alone, so no policy gains on another by it, but most of the noise
        of demand goes (an input-driven baseline: Mao, Venkatakrishnan, Schwarzkopf and Alizadeh, ICLR 2019).
    reward_scale
        What rewards are divided by.
    """

    def __init__(
        self, env: NetworkVectorEnv, reference: NetworkVectorEnv | None = None, reward_scale: float = 1.0
    ) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise expected("autoreset_mode", env.autoreset_mode.name, "SAME_STEP")
        self.env, self.reference, self.reward_scale = env, reference, reward_scale
        self._nothing = np.zeros(env.action_space.shape or (), dtype=np.float32)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.series = 0  # seed of the worlds played
        self.episode = 0  # since that seed was given
        self.played: list[NDArray[Any]] = []  # actions since the episodes began, all at once
        self.returns = np.zeros(self.num_envs)  # of the episodes under way, in the env's own units

    def reset(self) -> NDArray[np.float32]:
        """First observations (B, n); a seed given to :meth:`seed` starts that series of worlds."""
        seed = self._seeds[0]
        self.series, self.episode = (self.series, self.episode + 1) if seed is None else (seed, 0)
        observation: NDArray[np.float32] = self.env.reset(seed=seed)[0]
        if self.reference is not None:
            self.reference.reset(seed=seed)
        self._reset_seeds()
        self.played, self.returns = [], np.zeros(self.num_envs)
        return observation

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions (B, m)."""
        self.played.append(actions)

    def step_wait(self) -> Any:
        """Step; an episode that ends leaves its last observation in ``terminal_observation``."""
        observation, reward, terminated, truncated, info = self.env.step(self.played[-1])
        self.returns += reward
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            for i in np.flatnonzero(done):
                infos[i]["terminal_observation"] = info["final_obs"][i]
                infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
                infos[i]["episode"] = {"r": float(self.returns[i]), "l": len(self.played), "t": 0.0}
            self.played, self.returns = [], np.where(done, 0.0, self.returns)
            self.episode += 1
        if self.reference is not None:
            reward = reward - self.reference.step(self._nothing)[1]
        return observation, (reward / self.reward_scale).astype(np.float32), done, infos

    def restore(self, series: int, episode: int, played: Iterable[NDArray[Any]]) -> NDArray[np.float32]:
        """Stand where another env of this kind stood, by playing its episodes under way again; observations (B, n)."""
        options = {"episode": episode}
        observation: NDArray[np.float32] = self.env.reset(seed=series, options=options)[0]
        if self.reference is not None:
            self.reference.reset(seed=series, options=options)
        self.series, self.episode = series, episode
        self.played, self.returns = [], np.zeros(self.num_envs)
        for actions in played:
            observation = self.step(actions)[0]  # type: ignore[assignment]
        return observation

    def close(self) -> None:
        """Close the envs."""
        self.env.close()
        if self.reference is not None:
            self.reference.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the env, once for every index asked for."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the env: all its worlds share it."""
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method of the env once; its result for every index asked for."""
        return [getattr(self.env, method_name)(*args, **kwargs)] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Nothing is ever wrapped."""
        return [False] * len(list(self._get_indices(indices)))

    def _get_indices(self, indices: Any) -> Iterable[int]:
        if indices is None:
            return range(self.num_envs)
        return [indices] if isinstance(indices, int) else indices


class CosineSchedule:
    """A learning rate that falls along a cosine as ``progress`` goes from 0 to 1.

    Whoever trains sets ``progress``: it may be a share of env-steps or of CPU time, which the model does not know.
    """

    def __init__(self, first: float, final_share: float) -> None:
        self.first, self.final_share, self.progress = first, final_share, 0.0

    def __call__(self, _: float) -> float:
        """The rate now; the argument, Stable-Baselines3's own idea of what remains, is not used."""
        half = 0.5 * (1.0 + math.cos(math.pi * min(self.progress, 1.0)))
        return self.first * (self.final_share + (1.0 - self.final_share) * half)


def make_model(config: PPOConfig | SACConfig, env: SB3VecEnv, seed: int) -> tuple[BaseAlgorithm, CosineSchedule]:
    """An untrained model whose deterministic action is (nearly) zero, and its learning-rate schedule."""
    schedule = CosineSchedule(config.learning_rate, config.final_learning_rate)
    activation = ACTIVATIONS[config.activation]
    shared: dict[str, Any] = {
        "policy": "MlpPolicy",
        "env": env,
        "learning_rate": schedule,
        "gamma": config.gamma,
        "batch_size": config.batch_size,
        "seed": seed,
        "device": "cpu",
    }
    hidden = list(config.hidden)
    if isinstance(config, PPOConfig):
        model: BaseAlgorithm = PPO(
            **shared,
            **config.model_dump(
                include={"n_steps", "n_epochs", "gae_lambda", "clip_range", "ent_coef", "vf_coef", "max_grad_norm"}
            ),
            policy_kwargs={
                "net_arch": {"pi": hidden, "vf": hidden},
                "activation_fn": activation,
                "log_std_init": config.log_std_init,
            },
        )
        return model, schedule
    sac = SAC(
        **shared,
        **config.model_dump(
            include={"buffer_size", "learning_starts", "train_freq", "gradient_steps", "tau", "ent_coef"}
        ),
        policy_kwargs={"net_arch": hidden, "activation_fn": activation},
    )
    with torch.no_grad():  # as PPO does by itself: start from the zero action with the exploration asked for
        for head, start in ((sac.actor.mu, 0.0), (sac.actor.log_std, config.log_std_init)):
            assert isinstance(head, nn.Linear)
            head.weight.mul_(0.01)
            head.bias.fill_(start)
    return sac, schedule


def actor_module(source: BaseAlgorithm | ActorPolicy) -> nn.Module:
    """The deterministic actor as a plain torch module: flat observations (B, n) to actions (B, m) in [-1, 1].

    Raises
    ------
    InputError
        If the model is no perceptron of PPO, A2C, SAC or TQC.
    """
    if isinstance(source, ActorPolicy):
        return source.actor
    policy: Any = source.policy
    if hasattr(policy, "mlp_extractor") and hasattr(policy, "action_net"):
        body, head, squash = policy.mlp_extractor.policy_net, policy.action_net, False
    elif hasattr(getattr(policy, "actor", None), "latent_pi"):
        body, head, squash = policy.actor.latent_pi, policy.actor.mu, True
    else:
        raise expected("model", type(source).__name__, "a perceptron of PPO, A2C, SAC or TQC")
    linear = [layer for layer in [*body, head] if isinstance(layer, nn.Linear)]
    kinds = {type(layer) for layer in body if not isinstance(layer, nn.Linear)} or {nn.Tanh}
    names = [name for name, kind in ACTIVATIONS.items() if {kind} == kinds]
    if not names or len(linear) != (len(body) // 2) + 1:
        raise expected("model.policy", str(body), f"linear layers with {', '.join(ACTIVATIONS)} between them")
    actor = Actor([linear[0].in_features, *(layer.out_features for layer in linear)], names[0], squash)
    own = [layer for layer in actor.layers if isinstance(layer, nn.Linear)]
    for mine, theirs in zip(own, linear, strict=True):
        mine.load_state_dict(theirs.state_dict())
    return actor.eval()


def load_sb3_policy(path: str | Path, scenario: Scenario, trust: bool = False) -> ActorPolicy:
    """A trained policy from a run folder of ``echelongym train``, its ``policy.npz``, or a Stable-Baselines3 zip.

    Parameters
    ----------
    trust
        A zip holds pickled Python, which can do anything when it is read: it is opened only with ``trust=True``.

    Raises
    ------
    InputError
        If there is no such file, it is damaged or not trusted, or it was trained on another network.
    """
    path = Path(path)
    if path.is_dir():
        path = path / POLICY_FILE
        if not path.is_file():
            raise expected("policy", str(path.parent), f"a run folder of train, with a {POLICY_FILE} in it")
    if path.suffix != ".zip":
        return load_actor(path, scenario)
    if not trust:
        raise expected(
            "trust",
            trust,
            f"true to load {path}: a zip of Stable-Baselines3 holds pickled Python, which can do anything",
        )
    return _load_zip(path, scenario)


def _load_zip(path: Path, scenario: Scenario) -> ActorPolicy:
    if not path.is_file():
        raise expected("policy", str(path), "the path of a file that exists")
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
        known: dict[str, type[PPO] | type[SAC]] = {"clip_range": PPO, "target_entropy": SAC}
        algorithm = next(known[key] for key in known if key in data)
    except (zipfile.BadZipFile, KeyError, ValueError):
        raise InputError(f"{path}: is no zip of Stable-Baselines3, or a damaged one") from None
    except StopIteration:
        raise expected("policy", str(path), "a zip of PPO or SAC") from None
    facts = data.get("echelongym", {})
    if facts:
        check_network(facts.get("network"), scenario.tables, str(path))
    model = algorithm.load(path, device="cpu")
    policy = ActorPolicy(scenario, actor_module(model), facts.get("action", "order_up_to"))
    shapes = ((policy.encoder.size,), (policy.decoder.size,))
    if (model.observation_space.shape, model.action_space.shape) != shapes:
        raise InputError(
            f"{path}: was trained on observations {model.observation_space.shape} and actions "
            f"{model.action_space.shape}: expected {shapes[0]} and {shapes[1]}, those of scenario {scenario.name!r}"
        )
    return policy
