"""Policies from zip files of Stable-Baselines3: taken only where their observations and actions are those of this env.

A wrapper between env and model may change what numbers mean without changing how many there are. What a zip says of it is
compared: bounds, shapes and types of its spaces, the kind of actions and the scenario that this project's envs note in them,
and whether it was trained under VecNormalize, whose statistics are in a file of their own.
"""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import nn

from echelongym.envs.core.errors import InputError, MissingExtra, expected, shorten, unknown, warn
from echelongym.envs.interface.action_decoder import KINDS, UNSTATED_ACTION
from echelongym.envs.interface.observation_encoder import BOUND
from echelongym.envs.network.signature import check_network, signature
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.outside_files import check_members, regular_file

from ..origin import scenario_within
from ..residual import rule_from_dict
from .actor import ActorPolicy, policy_of
from .discrete_actions import move_table
from .models import actor_module, algorithm_of

NONE = "none"
_PARAMETERS = ("action", "normalize")


class Normalization(nn.Module):
    """Observations as VecNormalize shows them: ``clip((x - mean) / sqrt(variance + epsilon), -clip, clip)``, float32.

    Parameters
    ----------
    mean, variance
        (n,) of the flat observation.
    epsilon, clip
        As VecNormalize has them.
    """

    def __init__(self, mean: Any, variance: Any, epsilon: float, clip: float) -> None:
        super().__init__()
        self.epsilon, self.clip = epsilon, clip
        self.mean: torch.Tensor
        self.deviation: torch.Tensor
        self.register_buffer("mean", torch.as_tensor(np.asarray(mean, dtype=np.float64)))
        self.register_buffer("deviation", torch.as_tensor(np.sqrt(np.asarray(variance, dtype=np.float64) + epsilon)))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Observations (B, n) as the model was shown them."""
        seen: torch.Tensor = (observation - self.mean) / self.deviation
        return seen.clamp(-self.clip, self.clip).to(torch.float32)


def load_sb3_policy(path: str | Path, scenario: Scenario, trust: bool = False, **parameters: Any) -> ActorPolicy:
    """A trained policy from a Stable-Baselines3 zip.

    Parameters
    ----------
    trust
        A zip holds pickled Python, which can do anything when it is read: it is opened only with ``trust=True``.
    parameters
        ``action``, the kind of the env's actions, where the zip does not say it: a wrapper that makes both spaces anew
        loses what the env noted in them; left out, that is ``order_up_to``, with a warning. ``normalize``, the
        statistics of VecNormalize that a model was trained under: what ``VecNormalize.save`` wrote (a pickle, so with
        ``trust=True`` only), an ``.npz`` with ``mean`` and ``var`` (n,), and ``epsilon`` and ``clip_obs`` if they are
        not 1e-8 and 10, or ``none``: rewards alone were normalised.

    Warns
    -----
    NetworkWarning
        If nothing says what the model's actions stand for.

    Raises
    ------
    InputError
        If there is no such file, it is damaged or not trusted, it was trained on another network, with other actions
        than ``action``, or behind a wrapper that shows or takes other numbers than the env.
    """
    path = Path(path)
    for key in parameters:
        if key not in _PARAMETERS:
            raise unknown("parameters", key, _PARAMETERS, str(path))
    if not trust:
        raise expected(
            "trust",
            trust,
            f"true to load {path}: a zip of Stable-Baselines3 holds pickled Python, which can do anything",
        )
    return _load_zip(path, scenario, **parameters)


# Keys of a zip that only one algorithm has, in the order in which they tell one from another.
_ALGORITHMS = {
    "top_quantiles_to_drop_per_net": "sb3_contrib:TQC",
    "target_entropy": "stable_baselines3:SAC",
    "policy_delay": "stable_baselines3:TD3",
    "exploration_fraction": "stable_baselines3:DQN",
    "_last_lstm_states": "sb3_contrib:RecurrentPPO",
    "clip_range": "stable_baselines3:PPO",
    "gae_lambda": "stable_baselines3:A2C",
}


def _load_zip(path: Path, scenario: Scenario, action: Any = None, normalize: Any = None) -> ActorPolicy:
    model = _model(path)
    facts: dict[str, Any] = getattr(model, "echelongym", {})
    noted = _noted(model)
    trained = _origin(facts, noted, scenario, str(path))
    action = _action(facts.get("action") or noted.get("action"), action, str(path))
    rule = None if facts.get("rule") is None else rule_from_dict(facts["rule"], trained, str(path))
    blank = ActorPolicy(trained, nn.Identity(), action)
    moves = None
    if hasattr(model, "exploration_fraction"):
        if not facts.get("moves"):
            raise InputError(
                f"{path}: says nothing of what its discrete actions mean: expected a zip of echelongym train"
            )
        moves = move_table(blank.decoder.size, facts["moves"])
    shown = _normalization(path, model, normalize, blank.encoder.size)
    _check_spaces(path, model, blank, moves, shown, scenario)
    actor: Any = actor_module(model, moves)
    if shown is not None:
        actor.features = shown if actor.features is None else nn.Sequential(shown, actor.features)
    return policy_of(trained, actor, action, None, rule)


def _model(path: Path) -> Any:
    """The model of a zip."""
    path = regular_file(path, "policy")
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, str(path))
            data = json.loads(archive.read("data"))
        name = next((_ALGORITHMS[key] for key in _ALGORITHMS if key in data), None)
    except InputError:
        raise
    except Exception:  # of zipfile, zlib, json: they share no base
        raise InputError(f"{path}: is no zip of Stable-Baselines3, or a damaged one") from None
    if name is None or not isinstance(data, dict):
        known = ", ".join(one.partition(":")[2] for one in _ALGORITHMS.values())
        raise expected("policy", str(path), f"a zip of {known}")
    algorithm = algorithm_of(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it remarks on its own settings of a replay buffer that is not there
            model = algorithm.load(path, device="cpu")
    except MissingExtra:
        raise
    except Exception as error:  # of unpickling, torch, Stable-Baselines3 ...: they share no base
        raise InputError(
            f"{path}: Stable-Baselines3 cannot load this zip, it is damaged or of another version: "
            f"{type(error).__name__}"
        ) from error
    return model


def _noted(model: Any) -> dict[str, Any]:
    """What its env noted in one of its spaces."""
    found = (getattr(one, "echelongym", None) for one in (model.action_space, model.observation_space))
    return next((one for one in found if one), {})


def _action(stated: Any, given: Any, where: str) -> str:
    """The kind of a model's actions, from what its zip says and what a user does."""
    if given is not None and given not in KINDS:
        raise unknown("policy.parameters.action", given, KINDS, where)
    if stated and given not in (None, stated):
        raise expected(
            "policy.parameters.action", given, f"{stated}, which the zip says of its actions, or nothing", where
        )
    if not stated and given is None:
        warn(
            f"{where}: does not say what its actions stand for: read as {UNSTATED_ACTION}, what environments of earlier "
            f"versions had; policy.parameters.action=... says it ({', '.join(KINDS)})"
        )
    return str(stated or given or UNSTATED_ACTION)


def _origin(facts: dict[str, Any], noted: dict[str, Any], scenario: Scenario, where: str) -> Scenario:
    """The scenario whose units the model's numbers are in, as its env noted it."""
    if not isinstance(facts, dict) or (facts and not {"network", "rule"} <= set(facts)):
        raise expected("echelongym", facts, "what train writes of a model, or no such key", where)
    if facts:
        check_network(facts["network"], scenario.tables, where)
    trained = scenario
    if noted and noted["digest"] != scenario.digest:
        trained = scenario_within(json.loads(noted["scenario"]), scenario, where, noted["digest"])
        check_network(signature(trained.tables), scenario.tables, where)
    return trained


def _normalization(path: Path, model: Any, normalize: Any, size: int) -> Normalization | None:
    """What stands between the env's observations and the model."""
    # Kept under VecNormalize, by off-policy algorithms in any case; of what train made it is known that there was none.
    kept = getattr(model, "_last_original_obs", None) is not None and not hasattr(model, "echelongym")
    if normalize is None:
        if kept:
            unsure = isinstance(model, OffPolicyAlgorithm)
            said = (
                "does not say whether it was trained under VecNormalize" if unsure else "was trained under VecNormalize"
            )
            raise InputError(
                f"{path}: {said}: expected policy.parameters.normalize={NONE} where observations were shown as they are, "
                "else policy.parameters.normalize=FILE, the file that VecNormalize.save wrote"
            )
        return None
    if normalize == NONE:
        return None
    file = Path(str(normalize))
    if not file.is_file():
        raise expected("normalize", str(normalize), f"the path of a file that exists, or {NONE}", str(path))
    try:
        mean, variance, epsilon, clip = _statistics(file)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        ImportError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(f"{file}: holds no statistics of VecNormalize: {shorten(str(error))}") from None
    if mean is None:
        return None
    for name, array in (("mean", mean), ("var", variance)):
        if array.shape != (size,) or not np.isfinite(array).all():
            raise expected(f"{name}.shape", array.shape, f"({size},), finite, one for each entry observed", str(file))
    if not (variance >= 0).all() or not epsilon > 0 or not clip > 0:
        raise InputError(f"{file}: var, epsilon, clip_obs: expected variances >= 0 and numbers > 0")
    return Normalization(mean, variance, epsilon, clip)


def _statistics(file: Path) -> tuple[Any, Any, float, float]:
    """Mean, variance, epsilon and clip; no mean where observations were shown as they are."""
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as archive:
            mean, variance = (np.asarray(archive[key], dtype=np.float64) for key in ("mean", "var"))
            further = [float(archive[key]) if key in archive.files else usual for key, usual in _USUAL.items()]
        return mean, variance, further[0], further[1]
    with file.open("rb") as stream:
        found = pickle.load(stream)  # noqa: S301 (its zip is trusted, and so is this)
    if not found.norm_obs:
        return None, None, 1.0, 1.0
    mean, variance = (np.asarray(one, dtype=np.float64) for one in (found.obs_rms.mean, found.obs_rms.var))
    return mean, variance, float(found.epsilon), float(found.clip_obs)


_USUAL = {"epsilon": 1e-8, "clip_obs": 10.0}


def _check_spaces(
    path: Path, model: Any, blank: ActorPolicy, moves: Any, shown: Normalization | None, scenario: Scenario
) -> None:
    """Refuse a model whose spaces are not the env's: something in between changed what numbers mean."""
    seen = spaces.Box(-BOUND, BOUND, (blank.encoder.size,), np.float32)
    views: list[spaces.Space[Any]] = [seen]
    if shown is not None:  # some normalising wrappers say what they show, some do not
        views += [spaces.Box(-bound, bound, seen.shape, np.float32) for bound in (shown.clip, np.inf)]
    acted: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (blank.decoder.size,), np.float32)
    if moves is not None:
        acted = spaces.Discrete(len(moves))
    for title, found, wanted in (
        ("observations", model.observation_space, views),
        ("actions", model.action_space, [acted]),
    ):
        if not any(_same(found, one) for one in wanted):
            raise InputError(
                f"{path}: was trained on {title} {_words(found)}: expected {_words(wanted[0])}, those of scenario "
                f"{scenario.name!r}; a wrapper that rescales, normalises, stacks or adds is not in the zip: train without it"
            )


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one.dtype == other.dtype and bool(one == other)


def _words(space: Any) -> str:
    """A space in a few words."""
    if not isinstance(space, spaces.Box):
        return str(space)
    low, high = (np.unique(bound) for bound in (space.low, space.high))
    bounds = f"[{low[0]:g}, {high[-1]:g}]" if len(low) == len(high) == 1 else "bounds by entry"
    return f"{space.shape} {space.dtype} in {bounds}"


__all__ = ["Normalization", "load_sb3_policy"]
