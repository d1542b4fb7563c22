"""Gymnasium environment of one world of a network: a batch of one, run by the same code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ..core.errors import expected
from ..interface.observation import Decision, Observation, checked_requests
from ..scenario.scenario import Scenario
from .settings import EnvKeywords, EnvSettings, whole_number
from .single_world import SingleWorld
from .vector_env import NetworkVectorEnv, spaces_of


class NetworkEnv(gym.Env[Any, Any]):
    """Gymnasium environment of one world of a distribution network.

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
    scenario
        A :class:`Scenario`, the name of a shipped one, or the path of a YAML file.
    **settings
        Keywords ``action, periods, purpose, dtype, info, overrides, render_mode`` of :class:`EnvSettings`.

    Raises
    ------
    InputError
        On an argument that is not usable, or a scenario that has no reward scale.

    Example
    -------
    >>> env = gymnasium.make("echelongym/Network-v1", scenario="two_region")
    >>> observation, info = env.reset(seed=7)
    >>> truncated = False
    >>> while not truncated:
    ...     action = env.action_space.sample()
    ...     observation, reward, terminated, truncated, info = env.step(action)
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (Gymnasium's own declaration)
        "render_modes": ["rgb_array"],
        "render_fps": 4,
    }

    def __init__(self, scenario: Scenario | str | Path, **settings: Unpack[EnvKeywords]) -> None:
        chosen = EnvSettings.of(settings)
        self.render_mode = chosen.render_mode
        self.batch = SingleWorld(scenario, chosen)
        self.scenario, self.periods = self.batch.scenario, self.batch.periods
        self.encoder, self.decoder = self.batch.encoder, self.batch.decoder
        self.observation_space, self.action_space = spaces_of(self.batch)
        self._shape = (self.decoder.size,)

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
            raise expected("options", options, "none")
        batch = self.batch
        if seed is not None:
            super().reset(seed=whole_number("seed", seed, 0))
            batch.seed, batch.episode = int(seed), 0
        elif batch.seed is None:
            batch.seed = int(self.np_random.integers(2**31))
        else:
            batch.episode += 1
        return batch.start(), batch.reporter.started(batch.episode)

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One period.

        Raises
        ------
        InputError
            If the action has another shape or is not finite, or no episode is running.
        """
        return self._step(self.batch.checked(action, self._shape), None)

    def step_decision(self, decision: Decision) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Step with a policy's decision for a batch of one in place of an encoded action.

        Raises
        ------
        InputError
            If the decision does not fit, or no episode is running.
        """
        return self._step(None, checked_requests(decision, self.batch.tables, 1, self.batch.ops))

    def _step(
        self, action: Any, decision: Decision | None
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        batch = self.batch
        if not batch.started or batch.age >= batch.periods:
            raise expected("episode", "ended" if batch.started else None, "a reset before the step")
        step, reporter = batch.advance(action, decision), batch.reporter
        reward, info = reporter.report(batch.stepping.names, step.figures)
        truncated = batch.age >= batch.periods
        if truncated:
            info = reporter.ended(info)
        return step.observation.copy(), reward, False, truncated, info

    def render(self) -> Any:
        """A picture (height, width, 3) of the network and its stock, if asked for at construction."""
        if self.render_mode is None:
            return None
        from .render import draw_network

        return draw_network(self.scenario, self.observation)

    @property
    def observation(self) -> Observation:
        """The state of now as named arrays of a batch of one: what policies see."""
        return self.batch.observation


__all__ = ["NetworkEnv", "NetworkVectorEnv"]
