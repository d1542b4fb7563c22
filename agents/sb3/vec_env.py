"""The native vector env as Stable-Baselines3's VecEnv.

::

    env = SB3VecEnv(NetworkVectorEnv(scenario, num_envs=64, autoreset_mode="SAME_STEP"))
    model = stable_baselines3.PPO("MlpPolicy", env, n_steps=64, batch_size=1024)

works with any of its algorithms; ``echelongym train`` adds the settings, budgets, checkpoints and the choice of the best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from echelongym.envs.core.errors import expected
from echelongym.envs.gym.vector_env import NetworkVectorEnv

from ..residual import Residual


class SB3VecEnv(VecEnv):
    """A :class:`NetworkVectorEnv` (autoreset in the same step) as Stable-Baselines3 wants it.

    Parameters
    ----------
    env
        Steps all its worlds at once.
    reference
        Another env of the same kind. It plays the same worlds with the actions that :attr:`follow` gives, and learners get
        what they earn above it. What is subtracted depends on the world alone, so no policy gains on another by it, but
        most of the noise of demand goes (an input-driven baseline: Mao, Venkatakrishnan, Schwarzkopf and Alizadeh, ICLR
        2019).
    reward_scale
        What rewards are divided by.
    residual
        The rule that actions correct; None: actions stand for themselves.
    moves
        (K, m) discrete actions that a learner chooses among by their number (:mod:`discrete_actions`); None: any action.

    Attributes
    ----------
    follow
        What the reference does, from flat observations (B, n) to actions (B, m); None: the zero action. A learner that
        forgets each rollout may change it between rollouts, to the policy without noise, say: what is left in rewards is
        then the effect of the noise.

    Raises
    ------
    InputError
        If an env does not start the next episode in the same step.
    """

    def __init__(
        self,
        env: NetworkVectorEnv,
        reference: NetworkVectorEnv | None = None,
        reward_scale: float = 1.0,
        residual: Residual | None = None,
        moves: NDArray[np.float32] | None = None,
    ) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise expected("autoreset_mode", env.autoreset_mode.name, "SAME_STEP")
        self.env, self.reference, self.reward_scale = env, reference, reward_scale
        self._nothing = np.zeros(env.action_space.shape or (), dtype=np.float32)
        self.residual, self.moves = residual, moves
        self.follow: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
        space = env.single_action_space if moves is None else spaces.Discrete(len(moves))
        super().__init__(env.num_envs, env.single_observation_space, space)
        self.series = 0  # seed of the worlds played
        self.episode = 0  # since that seed was given
        self.played: list[NDArray[Any]] = []  # actions since the episodes began, all at once
        self.beside: list[NDArray[np.float32]] = []  # what the reference did meanwhile
        self._seen: Any = None  # what it sees
        self.returns = np.zeros(self.num_envs)  # of the running episodes, in the env's own units

    def reset(self) -> NDArray[np.float32]:
        """First observations (B, n); a seed given to :meth:`seed` starts that series of worlds."""
        seed = self._seeds[0]
        self.series, self.episode = (self.series, self.episode + 1) if seed is None else (seed, 0)
        observation: NDArray[np.float32] = self.env.reset(seed=seed)[0]
        if self.reference is not None:
            self._seen = self.reference.reset(seed=seed)[0]
        self._reset_seeds()
        self._anew(np.zeros(self.num_envs))
        return observation

    def _anew(self, returns: NDArray[np.float64]) -> None:
        """Episodes begin, all at once."""
        self.played, self.beside, self.returns = [], [], returns

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions (B, m)."""
        self.played.append(actions)

    def step_wait(self) -> Any:
        """Step; an episode that ends leaves its last observation in ``terminal_observation``."""
        chosen = self.played[-1]
        beside = self._beside()
        observation, reward, terminated, truncated, info = self._stepped(
            self.env, chosen if self.moves is None else self.moves[chosen]
        )
        self.returns += reward
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            for i in np.flatnonzero(done):
                infos[i]["terminal_observation"] = info["final_obs"][i]
                infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
                infos[i]["episode"] = {"r": float(self.returns[i]), "l": len(self.played), "t": 0.0}
            self._anew(np.where(done, 0.0, self.returns))
            self.episode += 1
        if self.reference is not None:
            self._seen, earned = self._stepped(self.reference, beside)[:2]
            reward = reward - earned
        return observation, (reward / self.reward_scale).astype(np.float32), done, infos

    def _beside(self) -> NDArray[np.float32]:
        """What the reference does now, (B, m)."""
        chosen = self._nothing if self.follow is None or self.reference is None else self.follow(self._seen)
        self.beside.append(chosen)
        return chosen

    def _stepped(self, env: NetworkVectorEnv, actions: NDArray[np.float32]) -> Any:
        """A step of an env with actions (B, m), by way of the rule if they correct one."""
        if self.residual is None:
            return env.step(actions)
        return env.step_decision(self.residual.decode(actions, env.observation))

    def restore(
        self, series: int, episode: int, played: Iterable[NDArray[Any]], beside: Iterable[NDArray[Any]] = ()
    ) -> NDArray[np.float32]:
        """Stand where another env of this kind stood, by playing its running episodes again; observations (B, n)."""
        follow, again = self.follow, iter(list(beside))
        options = {"episode": episode}
        observation: NDArray[np.float32] = self.env.reset(seed=series, options=options)[0]
        if self.reference is not None:
            self._seen = self.reference.reset(seed=series, options=options)[0]
        self.series, self.episode = series, episode
        self._anew(np.zeros(self.num_envs))
        for actions in played:
            done = next(again, None)
            self.follow = None if done is None else lambda _, done=done: done
            observation = self.step(actions)[0]  # type: ignore[assignment]
        self.follow = follow
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
