"""Gymnasium vector environment: many worlds of one scenario stepped together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from ..core.errors import InputError, expected, unknown
from ..core.typing import Bools, Ints
from ..interface.observation import Decision, Observation, checked_requests
from ..interface.observation_encoder import BOUND
from ..scenario.scenario import Scenario
from .batch import NetworkBatch
from .settings import EnvKeywords, EnvSettings, whole_number
from .stepped_network import SteppedNetwork


class NetworkVectorEnv(VectorEnv[Any, Any, Any]):
    """Gymnasium vector environment: a batch of worlds of one distribution network, stepped together.

    **Observed** is one flat vector a world, ``Box(-50, 50, (n,), float32)``, in static units; which entry is what say
    ``encoder.slices`` and ``encoder.names`` (:class:`ObservationEncoder`). The named arrays
    behind it are in :attr:`observation`.

    **Acted** is one number in [-1, 1] for each open lane and product (``decoder.names``), which the decoder turns into
    requests (:class:`ActionDecoder`). Zero is a sane policy. Beyond the bounds actions are cut.

    **Rewarded** is (revenue - costs of the period) / the scenario's ``reward_scale``.

    **Episodes** last ``periods`` steps (default: the scenario's horizon) and are truncated then; ``terminated`` is
    always False, and the last observation shows the state to continue from. All three autoreset modes of Gymnasium are
    there. *Worlds:* after ``reset(seed=s)`` slot i of a batch of B plays worlds i, i + B, i + 2 B ... of seed s; a
    ``reset()`` without a seed goes on to the next ones.

    **info**, with the masks that Gymnasium prescribes: ``costs`` (a dictionary by line) and the objectives ``cost``
    (money), ``unmet`` (units of new demand not served in their period), ``emissions`` (kg CO2e), ``waste`` (units
    disposed of), each of the period that ended; ``world`` after a reset; ``kpis`` of the episode when it ends.

    Parameters
    ----------
    scenario
        A :class:`Scenario`, the name of a shipped one, or the path of a YAML file.
    num_envs
        Number of worlds B.
    autoreset_mode
        ``AutoresetMode`` or its value: NEXT_STEP, SAME_STEP (``final_obs``, ``final_info`` in info), DISABLED
        (``reset(options={"reset_mask": ...})``).
    max_episode_steps
        What Gymnasium calls ``periods``; the smaller of the two counts.
    **settings
        Keywords ``action, periods, purpose, dtype, info, overrides, render_mode`` of :class:`EnvSettings`.

    Raises
    ------
    InputError
        On an argument that is not usable, or a scenario that has no reward scale.

    Example
    -------
    >>> env = NetworkVectorEnv("two_region", num_envs=64)
    >>> observation, info = env.reset(seed=7)
    >>> for _ in range(200):
    ...     action = env.action_space.sample()
    ...     observation, reward, terminated, truncated, info = env.step(action)
    >>> env.close()
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (Gymnasium's own declaration; every instance gets its copy)
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        scenario: Scenario | str | Path,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        **settings: Unpack[EnvKeywords],
    ) -> None:
        self.num_envs = whole_number("num_envs", num_envs)
        self.autoreset_mode = _mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        chosen = EnvSettings.of(settings)
        if max_episode_steps is not None:
            limit = whole_number("max_episode_steps", max_episode_steps)
            chosen = replace(chosen, periods=limit if chosen.periods is None else min(limit, chosen.periods))
        self.render_mode = chosen.render_mode
        self.batch = NetworkBatch(scenario, self.num_envs, chosen)
        self.scenario, self.tables, self.periods = self.batch.scenario, self.batch.tables, self.batch.periods
        self.encoder, self.decoder = self.batch.encoder, self.batch.decoder
        self.single_observation_space, self.single_action_space = spaces_of(self.batch)
        self.observation_space = spaces.Box(-BOUND, BOUND, (self.num_envs, self.encoder.size), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (self.num_envs, self.decoder.size), np.float32)
        self._shape = (self.num_envs, self.decoder.size)
        self._pending: Bools | None = None  # slots that have ended and wait for their reset
        self._nobody = np.zeros(self.num_envs, dtype=bool)
        self._everybody = np.ones(self.num_envs, dtype=bool)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start worlds anew; see the class docstring for which.

        ``options={"reset_mask": mask}``, mask (B,) of booleans, does so in some slots only. With a seed,
        ``options={"episode": k}`` starts with each slot's k-th world, from 0: B k, B k + 1, ...

        Raises
        ------
        InputError
            On a seed that is no whole number >= 0, an unknown option, or a mask or an episode that does not fit.
        """
        chosen = self._reset_mask(seed, options)
        batch = self.batch
        if seed is not None:
            super().reset(seed=whole_number("seed", seed, 0))
            batch.seed = int(seed)
            episode = whole_number("options.episode", (options or {}).get("episode", 0), 0)
            batch.episode = np.full(self.num_envs, episode, dtype=np.int64)
        elif batch.seed is None:
            batch.seed = int(self.np_random.integers(2**31))
        else:
            batch.episode = batch.episode + (1 if chosen is None else chosen)
        self._start(chosen)
        told = self._everybody if chosen is None else chosen
        return batch.observe().T, batch.reporter.started(batch.worlds, told)

    def step(self, actions: Any) -> tuple[NDArray[np.float32], NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        """One period in every world.

        Raises
        ------
        InputError
            If actions have another shape or are not finite, before the first reset, or (autoreset disabled) if a
            world has ended and was not reset.
        """
        return self._step(self.batch.checked(actions, self._shape), None)

    def step_decision(
        self, decision: Decision
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        """Step with a policy's decision (requests, and a reserve if wanted) in place of encoded actions.

        Raises
        ------
        InputError
            As :meth:`step`.
        """
        batch = self.batch
        return self._step(None, checked_requests(decision, self.tables, self.num_envs, batch.ops))

    def _step(
        self, actions: Any, decision: Decision | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        batch, waiting = self.batch, self._pending
        reporter = batch.reporter
        if not batch.started:
            raise expected("state", None, "a reset before the first step")
        if waiting is not None:
            if self.autoreset_mode is AutoresetMode.DISABLED:
                raise _ended(np.flatnonzero(waiting))
            if waiting.all():
                return self._all_anew()
        flat, figures = batch.advance(actions, decision)
        observation = flat.T
        reward, info = reporter.report(batch.names, figures)
        if waiting is not None:
            batch.episode = batch.episode + waiting
            self._start(waiting)
            reward = np.where(waiting, 0.0, reward)
            info = reporter.mixed(info, ~waiting, batch.worlds)
            observation = batch.observe().T
        ended = batch.ended()
        self._pending = None
        if ended is False:
            return observation, reward, self._nobody.copy(), self._nobody.copy(), info
        truncated = self._nobody | ended
        if truncated.any():
            info = reporter.ended(info, truncated)
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                batch.episode = batch.episode + truncated
                self._start(None if truncated.all() else truncated)
                info = reporter.final(info, observation, truncated, batch.worlds)
                observation = batch.observe().T
            else:
                self._pending = truncated
        return observation, reward, self._nobody.copy(), truncated, info

    def _start(self, chosen: Bools | None) -> None:
        self.batch.start(chosen)
        if self._pending is not None:
            left = self._pending & ~(self._everybody if chosen is None else chosen)
            self._pending = left if left.any() else None

    def _all_anew(self) -> Any:
        """The step of NEXT_STEP in which every slot starts its next world."""
        batch = self.batch
        batch.episode = batch.episode + 1
        self._start(None)
        info = batch.reporter.started(batch.worlds, self._everybody)
        return batch.observe().T, np.zeros(self.num_envs), self._nobody.copy(), self._nobody.copy(), info

    def render(self) -> tuple[Any, ...] | None:
        """One picture (height, width, 3) a world of the network and its stock, if asked for at construction."""
        if self.render_mode is None:
            return None
        from .render import draw_network

        return tuple(draw_network(self.scenario, self.observation, i) for i in range(self.num_envs))

    @property
    def observation(self) -> Observation:
        """The state of now as named arrays, batch first: what policies see."""
        return self.batch.observation

    @property
    def worlds(self) -> Ints:
        """(B,) index of the world that each slot plays, in the series of the last seed."""
        return self.batch.worlds

    def _reset_mask(self, seed: Any, options: dict[str, Any] | None) -> Bools | None:
        """The slots to reset, None for all of them."""
        if options is not None and not isinstance(options, dict):
            raise expected("options", options, "a mapping with reset_mask or episode")
        for name in options or {}:
            if name not in ("reset_mask", "episode"):
                raise unknown("options", name, ["reset_mask", "episode"])
            if name == "episode" and seed is None:
                raise expected("options.episode", (options or {})[name], "a seed along with it")
        if "reset_mask" not in (options or {}):
            return None
        mask = (options or {})["reset_mask"]
        fits = isinstance(mask, np.ndarray) and mask.shape == (self.num_envs,) and mask.dtype == bool
        if not fits or not mask.any():
            raise expected("options.reset_mask", mask, f"an array ({self.num_envs},) of booleans, some True")
        if mask.all():
            return None
        if not self.batch.started:
            raise expected("options.reset_mask", mask, "all True in the first reset")
        if seed is not None:
            raise expected("seed", seed, "no seed together with a reset_mask: one seed names all worlds of a batch")
        chosen: Bools = mask.copy()
        return chosen


def spaces_of(batch: SteppedNetwork) -> tuple[spaces.Box, spaces.Box]:
    """Observation and action space of one world."""
    observation = spaces.Box(-BOUND, BOUND, (batch.encoder.size,), np.float32)
    action = spaces.Box(-1.0, 1.0, (batch.decoder.size,), np.float32)
    # Learners keep spaces with their models: what the numbers mean goes along.
    noted = {
        "action": batch.decoder.kind,
        "digest": batch.scenario.digest,
        "scenario": json.dumps(batch.scenario.to_dict()),
    }
    for space in (observation, action):
        space.echelongym = noted  # type: ignore[attr-defined]
    return observation, action


def _ended(slots: Ints) -> InputError:
    return InputError(
        f"step: worlds in slots {slots[:8].tolist()} have ended: expected a reset of them first, "
        'by reset(options={"reset_mask": ...})'
    )


def _mode(mode: Any) -> AutoresetMode:
    known = {one.value: one for one in AutoresetMode} | {one.name: one for one in AutoresetMode}
    if isinstance(mode, AutoresetMode):
        return mode
    if not isinstance(mode, str) or mode not in known:
        raise unknown("autoreset_mode", mode, [one.name for one in AutoresetMode])
    return known[mode]
