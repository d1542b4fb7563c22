"""One world of a network as a Gymnasium environment: a batch of one, run by the same code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from .errors import InputError
from .infos import of_one
from .observation import Decision, Observation
from .scenario import Scenario
from .vector_env import NetworkVectorEnv


class NetworkEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """One world of one distribution network.

    **Observed** is one flat vector, ``Box(-50, 50, (n,), float32)``, in static units; which entry is what say
    ``encoder.slices`` and ``encoder.names``. The named arrays behind it (a batch of one) are in :attr:`observation`.

    **Acted** is one number in [-1, 1] for each open lane and product (``decoder.names``); zero is a sane policy.

    **Rewarded** is (revenue - costs of the period) / the scenario's ``reward_scale``.

    **Episodes** are truncated after ``periods`` steps (default: the scenario's horizon); ``terminated`` is always False.
    ``reset(seed=s)`` plays world 0 of seed s, every ``reset()`` after it the next one.

    **info** holds ``costs`` by line and the objectives ``cost, unmet, emissions, waste`` of the period that ended, and
    at the end of the episode its ``kpis``.

    Parameters
    ----------
    scenario, action, observation, periods, purpose, dtype, info, overrides, render_mode
        As of :class:`NetworkVectorEnv`.

    Raises
    ------
    InputError
        On an argument that is not usable, or a scenario that has no reward scale.

    Example
    -------
    >>> env = gymnasium.make("echelongym.envs:echelongym/Network-v1", scenario="two_region")
    >>> observation, info = env.reset(seed=7)
    >>> truncated = False
    >>> while not truncated:
    ...     action = env.action_space.sample()
    ...     observation, reward, terminated, truncated, info = env.step(action)
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": 4,
    }

    def __init__(
        self,
        scenario: Scenario | str | Path,
        *,
        action: str = "order_up_to",
        observation: str = "flat",
        periods: int | None = None,
        purpose: str = "train",
        dtype: str = "float64",
        info: str = "kpis",
        overrides: dict[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.batch = NetworkVectorEnv(
            scenario,
            1,
            autoreset_mode=AutoresetMode.DISABLED,
            action=action,
            observation=observation,
            periods=periods,
            purpose=purpose,
            dtype=dtype,
            info=info,
            overrides=overrides,
            render_mode=render_mode,
        )
        self.render_mode = render_mode
        self.scenario, self.encoder, self.decoder = self.batch.scenario, self.batch.encoder, self.batch.decoder
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space
        self.periods = self.batch.periods

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start world 0 of a seed, or without a seed the next world.

        Raises
        ------
        InputError
            On a seed that is no whole number >= 0, or options (there are none).
        """
        if options:
            raise InputError(f"options = {options!r}: expected none")
        observation, info = self.batch.reset(seed=seed)
        return observation[0], of_one(info)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One period.

        Raises
        ------
        InputError
            If the action has another shape or is not finite, or no episode is under way.
        """
        return self._first(self.batch.step(np.asarray(action)[None]))

    def step_decision(
        self, decision: Decision
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """The same with a policy's decision for a batch of one in place of an encoded action."""
        return self._first(self.batch.step_decision(decision))

    def _first(self, found: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        observation, reward, _, truncated, info = found
        return observation[0], float(reward[0]), False, bool(truncated[0]), of_one(info)

    def render(self) -> Any:
        """A picture (height, width, 3) of the network and its stock, if asked for at construction."""
        frames = self.batch.render()
        return None if frames is None else frames[0]

    @property
    def observation(self) -> Observation:
        """The state of now as named arrays of a batch of one: what policies see."""
        return self.batch.observation

    @property
    def np_random(self) -> np.random.Generator:
        """Generator of the last seed; worlds are named series and do not draw from it."""
        return self.batch.np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self.batch.np_random = value

    @property
    def np_random_seed(self) -> int:
        """The last seed given, or one drawn if none was."""
        return -1 if self.batch.np_random_seed is None else self.batch.np_random_seed

    @property
    def _np_random(self) -> np.random.Generator | None:
        return self.batch._np_random

    @_np_random.setter
    def _np_random(self, value: np.random.Generator | None) -> None:
        self.batch._np_random = value


__all__ = ["NetworkEnv", "NetworkVectorEnv"]
