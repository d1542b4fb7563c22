"""A checker for vector environments, which Gymnasium lacks: shapes, seeds, resets, and every world against its own env.

Faults it is there to find: randomness that depends on the size of the batch, seeds ignored, observations overwritten
by the next step, masks missing from infos, time limits reported as terminations, a batch that is not its members.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Env
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

MakeVector = Callable[[int, AutoresetMode], VectorEnv[Any, Any, Any]]
MakeSingle = Callable[[], Env[Any, Any]]


class Checked(AssertionError):
    """Faults of a vector env."""


def check_vector_env(
    make: MakeVector,
    make_single: MakeSingle | None = None,
    num_envs: int = 3,
    steps: int = 40,
    seed: int = 7,
    one_world: bool = False,
) -> None:
    """Check a vector env in all three autoreset modes, with random actions.

    Parameters
    ----------
    make
        From a number of worlds and an autoreset mode to a vector env.
    make_single
        The single env: after ``reset(seed=s)`` it must play what slot 0 of a batch of one plays, and after i more
        resets what slot i of any batch plays; then i + B.
    num_envs
        Number of worlds B.
    steps
        Steps in each mode; episodes should end in them, so make them short.
    seed
        Of worlds and actions.
    one_world
        Whether nothing is random in the scenario, so that all seeds play the same world.

    Raises
    ------
    Checked
        Naming the first thing that is wrong.

    Example
    -------
    >>> check_vector_env(
    ...     lambda n, mode: NetworkVectorEnv("two_region", n, autoreset_mode=mode, periods=9),
    ...     lambda: NetworkEnv("two_region", periods=9),
    ... )
    """
    _require(num_envs > 1, "expected num_envs > 1")
    for mode in AutoresetMode:
        env = make(num_envs, mode)
        _check_spaces(env, num_envs, mode)
        _check_seeds(env, make(num_envs, mode), seed, one_world)
        played = _play(env, mode, steps, seed)
        _require(any(len(episodes) > 1 for episodes in played), f"no episode ended in {steps} steps: make them shorter")
        if make_single is not None:
            single = make_single()
            for slot, episodes in enumerate(played):
                for number, episode in enumerate(episodes):
                    _compare(single, episode, slot + number * num_envs, seed, mode)
            single.close()
        env.close()


class _Episode(NamedTuple):
    """What one slot played from a reset on."""

    start: NDArray[Any]
    actions: list[NDArray[Any]]
    outcomes: list[tuple[Any, ...]]  # observation, reward, terminated, truncated


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise Checked(message)


def _check_spaces(env: VectorEnv[Any, Any, Any], num_envs: int, mode: AutoresetMode) -> None:
    _require(env.num_envs == num_envs, f"num_envs = {env.num_envs}: expected {num_envs}")
    _require(env.metadata.get("autoreset_mode") is mode, f"metadata['autoreset_mode']: expected {mode}")
    for name in ("observation_space", "action_space"):
        batched, single = getattr(env, name), getattr(env, f"single_{name}")
        _require(
            batched.shape == (num_envs, *single.shape),
            f"{name}.shape = {batched.shape}: expected {num_envs} of {single}",
        )
        _require(batched.dtype == single.dtype, f"{name}.dtype = {batched.dtype}: expected {single.dtype}")


def _actions(env: VectorEnv[Any, Any, Any], step: int, seed: int) -> NDArray[Any]:
    """(B, ...) random actions; slot and step name them, whatever the batch."""
    space = env.single_action_space
    rows = [np.random.default_rng((seed, step, slot)).random(space.shape) for slot in range(env.num_envs)]
    low, high = (np.asarray(getattr(space, bound)) for bound in ("low", "high"))
    return (low + np.stack(rows) * (high - low)).astype(space.dtype)


def _check_seeds(env: VectorEnv[Any, Any, Any], twin: VectorEnv[Any, Any, Any], seed: int, one_world: bool) -> None:
    first, other = env.reset(seed=seed)[0].copy(), twin.reset(seed=seed)[0]
    _require(np.array_equal(first, other), "reset(seed): two instances start unlike each other")
    runs = []
    for one in (env, twin, env):
        one.reset(seed=seed)
        runs.append(_some_steps(one, seed))
    for run in runs[1:]:
        for k, (ours, theirs) in enumerate(zip(runs[0], run, strict=True)):
            same = all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
            _require(same, f"step {k}: the same seed and actions give something else")

    def rewards(reset_seed: int | None) -> NDArray[Any]:
        env.reset(seed=reset_seed)
        return np.stack([outcome[1] for outcome in _some_steps(env, seed)])

    played = rewards(seed)
    again, another = rewards(None), rewards(seed + 1)
    _require(one_world or not np.array_equal(played, again), "reset(): the same worlds again without a seed")
    _require(one_world or not np.array_equal(played, another), "reset(seed): another seed plays the same worlds")
    _require(np.array_equal(played, rewards(seed)), "reset(seed): the same seed plays other worlds")
    _require(len({*map(bytes, played.T.copy())}) > 1, "all worlds of a batch are the same")


def _some_steps(env: VectorEnv[Any, Any, Any], seed: int) -> list[tuple[Any, ...]]:
    """Outcomes of a few steps, none of them after an episode's end."""
    found: list[tuple[Any, ...]] = []
    while len(found) < 5 and not (found and (found[-1][2] | found[-1][3]).any()):
        found.append(tuple(np.copy(part) for part in env.step(_actions(env, len(found), seed))[:4]))
    return found


def _play(env: VectorEnv[Any, Any, Any], mode: AutoresetMode, steps: int, seed: int) -> list[list[_Episode]]:
    """Walk through ``steps`` steps and cut what happened into each slot's episodes."""
    size = env.num_envs
    observation, info = env.reset(seed=seed)
    _check_arrays(env, (observation,), info)
    played = [[_Episode(observation[i].copy(), [], [])] for i in range(size)]
    waiting = np.zeros(size, dtype=bool)
    for step in range(steps):
        if mode is AutoresetMode.DISABLED:
            # One slot breaks off early, so that from then on slots are out of step.
            chosen = waiting | ((np.arange(size) == 0) & (step == 2))
            if chosen.any():
                observation = _reset_some(env, observation, chosen, played)
        previous, copied = observation, observation.copy()
        actions = _actions(env, step, seed)
        observation, reward, terminated, truncated, info = env.step(actions)
        _require(np.array_equal(previous, copied), f"step {step}: the observation before it was overwritten")
        _check_arrays(env, (observation, reward, terminated, truncated), info)
        anew = waiting & (mode is AutoresetMode.NEXT_STEP)
        ended = terminated | truncated
        _require(not reward[anew].any() and not ended[anew].any(), "NEXT_STEP: a reset is no step")
        last = observation
        if mode is AutoresetMode.SAME_STEP and ended.any():
            last = _final_observation(observation, ended, info)
        for i in range(size):
            if anew[i]:
                played[i].append(_Episode(observation[i].copy(), [], []))
                continue
            episode = played[i][-1]
            episode.actions.append(actions[i].copy())
            episode.outcomes.append((last[i].copy(), reward[i], terminated[i], truncated[i]))
            if ended[i] and mode is AutoresetMode.SAME_STEP:
                played[i].append(_Episode(observation[i].copy(), [], []))
        waiting = ended if mode is not AutoresetMode.SAME_STEP else np.zeros(size, dtype=bool)
    return played


def _reset_some(
    env: VectorEnv[Any, Any, Any], before: NDArray[Any], chosen: NDArray[np.bool_], played: list[list[_Episode]]
) -> NDArray[Any]:
    """Reset the chosen slots by mask: the others must not change."""
    observation, info = env.reset(options={"reset_mask": chosen.copy()})
    _check_arrays(env, (observation,), info)
    _require(np.array_equal(before[~chosen], observation[~chosen]), "reset_mask: slots outside it changed")
    for i in np.flatnonzero(chosen):
        played[i].append(_Episode(observation[i].copy(), [], []))
    return observation


def _compare(single: Env[Any, Any], episode: _Episode, world: int, seed: int, mode: AutoresetMode) -> None:
    """Play a slot's episode in the single env: everything must be the same to the last bit."""
    observation, _ = single.reset(seed=seed)
    for _ in range(world):
        observation, _ = single.reset()
    where = f"{mode}, world {world}"
    _require(np.array_equal(observation, episode.start), f"{where}: starts unlike the single env")
    for k, (action, outcome) in enumerate(zip(episode.actions, episode.outcomes, strict=True)):
        found = single.step(action)[:4]
        names = ("observation", "reward", "terminated", "truncated")
        for name, ours, theirs in zip(names, outcome, found, strict=True):
            same = np.array_equal(np.asarray(ours), np.asarray(theirs))
            _require(same, f"{where}, step {k}: {name} is not that of the single env")


def _check_arrays(env: VectorEnv[Any, Any, Any], arrays: tuple[Any, ...], info: dict[str, Any]) -> None:
    observation, *rest = arrays
    _require(env.observation_space.contains(np.ascontiguousarray(observation)), "observation outside its space")
    for name, array, kind in zip(("reward", "terminated", "truncated"), rest, "fbb", strict=False):
        _require(isinstance(array, np.ndarray), f"{name} is no array")
        fits = array.shape == (env.num_envs,) and array.dtype.kind == kind
        _require(fits, f"{name} has shape {array.shape} and type {array.dtype}")
    if rest:
        _require(np.isfinite(rest[0]).all(), "reward is not finite")
    _check_info(info, env.num_envs, "info")


def _check_info(info: dict[str, Any], size: int, where: str) -> None:
    for key, value in info.items():
        if key.startswith("_"):
            continue
        mask = info.get(f"_{key}")
        fits = isinstance(mask, np.ndarray) and mask.shape == (size,) and mask.dtype == bool
        _require(fits, f"{where}['_{key}']: expected a mask ({size},)")
        if isinstance(value, dict):
            _check_info(value, size, f"{where}['{key}']")
        else:
            fits = isinstance(value, np.ndarray) and len(value) == size
            _require(fits, f"{where}['{key}']: expected an array ({size}, ...)")


def _final_observation(observation: Any, ended: Any, info: dict[str, Any]) -> Any:
    """The observations that episodes ended with, in the places of those that ended."""
    for key in ("final_obs", "final_info"):
        there = key in info and np.array_equal(info[f"_{key}"], ended)
        _require(there, f"SAME_STEP: {key} and its mask do not say what ended")
    last = observation.copy()
    for i in np.flatnonzero(ended):
        last[i] = info["final_obs"][i]
    return last
