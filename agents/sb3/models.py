"""Stable-Baselines3 models made from a learner's settings, and their actors as plain modules."""

from __future__ import annotations

import copy
import importlib
import io
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import nn

from echelongym.envs.core.errors import expected, missing_extra
from echelongym.envs.network.signature import signature

from ..networks.graph_features import GraphFeatures, SharedHead, graph_layout
from ..networks.module import ACTIVATIONS
from .actor import Actor, ActorPolicy, RecurrentActor
from .discrete_actions import move_table
from .graph_policy import GraphExtractor, GraphPolicy
from .settings import OffPolicy, OffPolicyActor, OnPolicy, SB3Learner
from .vec_env import SB3VecEnv


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


class ExplorationSchedule:
    """A share of random actions that falls along a line over a part of the budget; ``progress`` is set by the trainer."""

    def __init__(self, first: float, final: float, over: float) -> None:
        self.first, self.final, self.over, self.progress = first, final, over, 0.0

    def __call__(self, _: float) -> float:
        """The share now."""
        return self.first + (self.final - self.first) * min(self.progress / self.over, 1.0)


def algorithm_of(name: str) -> type[BaseAlgorithm]:
    """The class that learns, by its ``module:class``.

    Raises
    ------
    MissingExtra
        If it is of sb3-contrib, which is not installed.
    """
    module, _, attribute = name.partition(":")
    try:
        found: type[BaseAlgorithm] = getattr(importlib.import_module(module), attribute)
    except ImportError:
        raise missing_extra(module, module.replace("_", "-")) from None
    return found


def moves_of(config: SB3Learner, size: int) -> NDArray[np.float32] | None:
    """Discrete actions (K, size) of a learner; None where it has none."""
    return None if config.discrete is None else move_table(size, config.discrete)


def make_model(
    config: SB3Learner, env: SB3VecEnv, seed: int, around_rule: bool = False
) -> tuple[BaseAlgorithm, CosineSchedule]:
    """An untrained model whose deterministic action is (nearly) zero, and its learning-rate schedule.

    Parameters
    ----------
    around_rule
        Whether it starts from a rule.

    Raises
    ------
    MissingExtra
        If sb3-contrib is needed and not installed.
    """
    schedule = CosineSchedule(config.learning_rate, config.final_learning_rate)
    # What a class is called in Stable-Baselines3 is called so in its settings; the rest is put together here.
    own = {*type(config).model_fields} - {"kind", "worlds", "hidden", "activation", "learning_rate", "log_std_init"}
    own -= {"final_learning_rate", "start", "start_as", "start_share", "features", "graph_hidden", "graph_rounds"}
    own -= {*config.network_fields, *config.own_fields}
    keys: dict[str, Any] = config.model_dump(include=own)
    hidden = list(config.hidden)
    network: dict[str, Any] = {"net_arch": hidden, "activation_fn": ACTIVATIONS[config.activation]}
    if isinstance(config, OnPolicy):
        network |= {"net_arch": {"pi": hidden, "vf": hidden}, "log_std_init": config.log_std_init}
    chosen: Any = config.policy_class
    if config.features == "graph":
        made = {"layout": graph_layout(env.env.scenario), "hidden": config.graph_hidden, "rounds": config.graph_rounds}
        network |= {"features_extractor_class": GraphExtractor, "features_extractor_kwargs": made}
        if isinstance(config, OnPolicy) and chosen == "MlpPolicy":
            network["net_arch"] = {"pi": [], "vf": hidden}
            chosen = GraphPolicy
    network |= config.model_dump(include={*config.network_fields})
    keys |= config.further(env.env.decoder.size)
    algorithm: Any = algorithm_of(config.algorithm)
    if isinstance(config, OffPolicy):
        algorithm = _acting(algorithm, config)
    model = algorithm(
        chosen,
        env,
        learning_rate=schedule,
        seed=seed,
        device="cpu",
        policy_kwargs=network,
        **keys,
    )
    config.begin(model, around_rule)
    return model, schedule


def _acting(algorithm: type[OffPolicyAlgorithm], config: OffPolicy) -> type[OffPolicyAlgorithm]:
    """The same algorithm, which acts by its policy and noise from the first period on, and whose actor starts late.

    Its own random actions before the first gradient step would fill its memory with states that no sane policy visits;
    and critics that know nothing yet, or nothing of actions far from the policy's, lead an actor that starts sane astray.
    """

    class Acting(algorithm):  # type: ignore[misc, valid-type]
        def _sample_action(self, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> Any:
            action, kept = super()._sample_action(0, action_noise, n_envs)
            if isinstance(config, OffPolicyActor):  # bounds are [-1, 1], so what is kept is what is done
                for world in range(min(config.random_worlds, n_envs)):
                    action[world] = kept[world] = self.action_space.sample()
            return action, kept

        def _update_learning_rate(self, optimizers: Any) -> None:
            super()._update_learning_rate(optimizers)
            if isinstance(config, OffPolicyActor):
                share = config.actor_learning_rate if self._n_updates >= config.actor_starts else 0.0
                for group in self.actor.optimizer.param_groups:
                    group["lr"] *= share

    Acting.__name__ = algorithm.__name__
    return Acting


def actor_module(source: BaseAlgorithm | ActorPolicy, moves: NDArray[np.float32] | None = None) -> nn.Module:
    """The deterministic actor as a plain torch module: flat observations (B, n) to actions (B, m) in [-1, 1].

    Parameters
    ----------
    moves
        (K, m) discrete actions of a deep Q-network; left out: those of the model's env.

    Raises
    ------
    InputError
        If its actor is no perceptron.
    """
    if isinstance(source, ActorPolicy):
        return source.actor
    policy: Any = source.policy
    squash, extractor = False, getattr(policy, "features_extractor", None)
    if hasattr(policy, "mlp_extractor") and hasattr(policy, "action_net"):
        body: list[nn.Module] = [*policy.mlp_extractor.policy_net, policy.action_net]
    elif hasattr(policy, "q_net"):
        body, extractor = [*policy.q_net.q_net], policy.q_net.features_extractor
        moves = getattr(source.env, "moves", None) if moves is None else moves
        if moves is None:
            raise expected("moves", None, "the discrete actions that the network chooses among")
    elif isinstance(getattr(getattr(policy, "actor", None), "mu", None), nn.Module):
        actor, squash = policy.actor, True
        extractor = actor.features_extractor
        body = [*actor.latent_pi, actor.mu] if hasattr(actor, "latent_pi") else [*actor.mu][:-1]
    else:
        raise expected(
            "model", type(source).__name__, "one of Stable-Baselines3 or sb3-contrib whose actor is a perceptron"
        )
    features = copy.deepcopy(extractor.graph) if isinstance(extractor, GraphExtractor) else None
    if hasattr(policy, "lstm_actor"):
        inner = _perceptron(body, False, None, None)
        recurrent = RecurrentActor(policy.lstm_actor.input_size, policy.lstm_actor.hidden_size, inner, features)
        recurrent.lstm.load_state_dict(policy.lstm_actor.state_dict())
        return recurrent.eval()
    return _perceptron(body, squash, features, moves).eval()


def _perceptron(
    body: list[nn.Module], squash: bool, features: GraphFeatures | None, moves: NDArray[np.float32] | None
) -> Actor:
    """An actor with the weights of linear layers and the activations between them, or of a shared head."""
    if len(body) == 1 and isinstance(body[0], SharedHead):
        return Actor((), "tanh", squash, features=features, head=copy.deepcopy(body[0]))
    linear = [layer for layer in body if isinstance(layer, nn.Linear)]
    kinds = {type(layer) for layer in body if not isinstance(layer, nn.Linear)} or {nn.Tanh}
    names = [name for name, kind in ACTIVATIONS.items() if {kind} == kinds]
    if not names or 2 * len(linear) - 1 != len(body):
        raise expected("model.policy", str(body), f"linear layers with {', '.join(ACTIVATIONS)} between them")
    sizes = [linear[0].in_features, *(layer.out_features for layer in linear)]
    actor = Actor(sizes, names[0], squash, features=features, moves=moves)
    assert isinstance(actor.layers, nn.Sequential)
    own = [layer for layer in actor.layers if isinstance(layer, nn.Linear)]
    for mine, theirs in zip(own, linear, strict=True):
        mine.load_state_dict(theirs.state_dict())
    return actor


def forget(model: Any) -> None:
    """Make the deterministic action of a model zero whatever it sees, so that a rule that it corrects stays as it is."""
    policy: Any = model.policy
    if hasattr(policy, "q_net"):
        last = [net.q_net[-1] for net in (model.q_net, model.q_net_target)]
    elif hasattr(policy, "action_net"):
        last = [policy.action_net]
    else:
        actor = policy.actor
        last = [actor.mu if hasattr(actor, "latent_pi") else actor.mu[-2]]
    with torch.no_grad():
        for value in (value for one in last for value in one.parameters()):
            value.zero_()


def model_zip(model: Any, config: SB3Learner, policy: ActorPolicy) -> bytes:
    """A model as Stable-Baselines3 saves it, with what :mod:`echelongym.agents.sb3.zip_files` needs to know."""
    model.learning_rate = config.learning_rate  # a number, which any installation can read
    model._setup_lr_schedule()
    if isinstance(getattr(model, "exploration_schedule", None), ExplorationSchedule):
        model.exploration_schedule = None
    model.echelongym = {
        "kind": config.kind,
        "network": signature(policy.scenario.tables),
        "action": policy.action,
        "moves": None if config.discrete is None else list(config.discrete),
        "rule": None if policy.rule is None else policy.rule.to_dict(),
    }
    stream = io.BytesIO()
    model.save(stream)
    return stream.getvalue()


__all__ = [
    "CosineSchedule",
    "ExplorationSchedule",
    "SB3VecEnv",
    "actor_module",
    "algorithm_of",
    "forget",
    "make_model",
    "model_zip",
    "moves_of",
]
