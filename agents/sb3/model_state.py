"""State of a model of Stable-Baselines3 and of its env between rollouts: what a checkpoint holds beside the best policy."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from echelongym.envs.core.errors import InputError

from ..checkpoint_files import Checkpoint
from .vec_env import SB3VecEnv

_REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
_COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_n_calls")
_NUMBERS = ("exploration_rate",)


def model_state(model: BaseAlgorithm, env: SB3VecEnv) -> dict[str, Any]:
    """Tensors and plain data; between rollouts only, as what is half collected is not kept."""
    _, variables = model._get_torch_save_params()
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    generators = {
        "numpy": {"keys": np.asarray(keys).tolist(), "rest": rest},
        "actions": model.action_space.np_random.bit_generator.state,
    }
    memory = getattr(model, "_last_lstm_states", None)  # of actor and critic, where they have one
    assert isinstance(model._last_obs, np.ndarray)
    assert model._last_episode_starts is not None
    return {
        "parameters": model.get_parameters(),
        "variables": {name: getattr(model, name).detach() for name in variables},
        "counters": {name: int(getattr(model, name)) for name in _COUNTERS if hasattr(model, name)},
        "numbers": {name: float(getattr(model, name)) for name in _NUMBERS if hasattr(model, name)},
        "memory": None if memory is None else tuple(tuple(part) for part in memory),
        "last_observation": torch.from_numpy(np.ascontiguousarray(model._last_obs)),
        "last_starts": torch.from_numpy(model._last_episode_starts),
        "episodes": json.dumps(list(model.ep_info_buffer or [])),
        "replay": _replay(model),
        "series": env.series,
        "episode": env.episode,
        "played": torch.from_numpy(np.array(env.played)),
        "beside": torch.from_numpy(np.array(env.beside)),
        "generators": json.dumps(generators),
        "torch_state": torch.get_rng_state(),
    }


def restore(model: BaseAlgorithm, env: SB3VecEnv, checkpoint: Checkpoint) -> None:
    """Bring a freshly made model and its env, and the global random states, to the state of a checkpoint.

    Raises
    ------
    InputError
        If the env takes another course.
    ValueError, RuntimeError, KeyError
        If the model has another layout.
    """
    content = checkpoint.state
    model.set_parameters(content["parameters"])
    with torch.no_grad():
        for name, value in content["variables"].items():
            getattr(model, name).copy_(value)
    for name, value in (content["counters"] | content["numbers"]).items():
        setattr(model, name, value)
    observation = content["last_observation"].numpy()
    model._last_obs = env.restore(
        content["series"], content["episode"], content["played"].numpy(), content["beside"].numpy()
    )
    if not np.array_equal(model._last_obs, observation):
        raise InputError(
            f"{checkpoint.path}: the same actions no longer give the same worlds: expected the scenario as it was"
        )
    model._last_episode_starts = content["last_starts"].numpy()
    model.ep_info_buffer = deque(json.loads(content["episodes"]), maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    if content["memory"] is not None:
        states = type(model._last_lstm_states)  # type: ignore[attr-defined]
        model._last_lstm_states = states(*content["memory"])  # type: ignore[attr-defined]
    if content["replay"]:
        _refill(model, content["replay"])
    generators = json.loads(content["generators"])
    keys = np.array(generators["numpy"]["keys"], dtype=np.uint32)
    np.random.set_state(("MT19937", keys, *generators["numpy"]["rest"]))  # noqa: NPY002 (the one SB3 draws from)
    model.action_space.np_random.bit_generator.state = generators["actions"]
    torch.set_rng_state(content["torch_state"])


def _replay(model: BaseAlgorithm) -> dict[str, Any]:
    """What a learner that remembers has seen: only rows that are filled."""
    if not isinstance(model, OffPolicyAlgorithm) or model.replay_buffer is None:
        return {}
    buffer = model.replay_buffer
    rows = buffer.buffer_size if buffer.full else buffer.pos
    arrays: dict[str, Any] = {name: torch.from_numpy(getattr(buffer, name)[:rows]) for name in _REPLAY}
    return {**arrays, "pos": buffer.pos, "full": buffer.full}


def _refill(model: BaseAlgorithm, replay: dict[str, Any]) -> None:
    assert isinstance(model, OffPolicyAlgorithm)
    assert model.replay_buffer is not None
    buffer = model.replay_buffer
    for name in _REPLAY:
        rows = replay[name].numpy()
        getattr(buffer, name)[: len(rows)] = rows
    buffer.pos, buffer.full = replay["pos"], replay["full"]
