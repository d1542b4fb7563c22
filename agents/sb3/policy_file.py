"""Actors in policy files: their layout, and how one is made from a file again."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.validation import Config, Flag, number, validate
from echelongym.envs.interface.observation import observation_shapes
from echelongym.envs.scenario.scenario import Scenario

from ..networks.graph_features import GraphFeatures, SharedHead, graph_layout
from ..networks.weights import weights
from ..policy_files import PolicyFile, read_policy, write_policy
from ..residual import rule_from_dict
from .actor import Actor, ActorPolicy, RecurrentActor, policy_of
from .settings import KIND


class _FeaturesLayout(Config):
    """A graph network's."""

    hidden: Annotated[int, number(1, 10**5, integer=True)]
    rounds: Annotated[int, number(1, 1_000, integer=True)]


def save_actor(path: Path, policy: ActorPolicy) -> None:
    """Write a policy file, whole or not at all.

    Raises
    ------
    InputError
        If the policy's actor has no such file.
    """
    actor = policy.actor
    if not isinstance(actor, Actor | RecurrentActor):
        raise expected("policy.actor", type(actor).__name__, "an Actor or a RecurrentActor")
    arrays = {name: value.detach().numpy() for name, value in actor.state_dict().items()}
    write_policy(path, KIND, policy, arrays, {**_layout(actor), "action": policy.action}, policy.rule)


def load_actor(path: Path, scenario: Scenario) -> ActorPolicy:
    """Read a policy file of :func:`save_actor`; see :func:`echelongym.agents.policy_files.read_policy`."""
    policy: ActorPolicy = read_policy(path, scenario, {KIND: actor_policy})
    return policy


def actor_policy(file: PolicyFile, scenario: Scenario) -> ActorPolicy:
    """The policy of a file of :func:`save_actor`.

    Raises
    ------
    InputError
        If it was trained on another network (the first difference is named), or the file holds something else.
    """
    where, config = str(file.path), file.config
    trained = file.trained_on(scenario)
    _check_observations(trained, scenario, where)
    layout = validate(_ActorLayout, config["layout"], f"{where}: layout")
    _check_weights(layout, file.arrays, where)
    actor = _blank(layout.model_dump(), trained)
    found = weights(file.arrays, where)
    actor.load_state_dict({name: torch.from_numpy(value) for name, value in found.items()})
    rule = None if config["rule"] is None else rule_from_dict(config["rule"], trained, where)
    policy = policy_of(trained, actor.eval(), layout.action, config["facts"], rule)
    _check_sizes(policy, file.path)
    return policy


class _ActorLayout(Config):
    """What :func:`_layout` says, and the kind of actions."""

    inputs: Annotated[int, number(0, 10**7, integer=True)]
    remembered: Annotated[int, number(1, 10**6, integer=True)] | None
    sizes: tuple[Annotated[int, number(0, 10**7, integer=True)], ...]
    activation: Literal["tanh", "relu", "elu"]
    squash: Flag
    features: _FeaturesLayout | None
    head: Flag
    action: str
    moves: tuple[tuple[Annotated[float, number(-1.0, 1.0)], ...], ...] | None


def _check_weights(layout: _ActorLayout, arrays: dict[str, Any], where: str) -> None:
    """Refuse a layout of more weights than the file holds before they are allocated."""
    wanted = sum(a * b for a, b in pairwise(layout.sizes)) + 4 * (layout.remembered or 0) * layout.inputs
    held = sum(array.size for array in arrays.values())
    if wanted > held:
        raise expected("actor.sizes", layout.sizes, f"the {held:,} weights of the file to suffice", where)


def _check_sizes(policy: ActorPolicy, path: Path) -> None:
    """Refuse an actor that does not go with what the scenario's observations and actions are."""
    seen, actor = torch.zeros(2, policy.encoder.size), policy.actor
    with torch.no_grad():
        found = actor(seen, actor.blank(2))[0] if isinstance(actor, RecurrentActor) else actor(seen)
    if found.shape[1] != policy.decoder.size:
        raise expected("actions", found.shape[1], f"{policy.decoder.size}, those of the scenario", str(path))


def _layout(actor: Actor | RecurrentActor) -> dict[str, Any]:
    """What :func:`_blank` makes an actor from, plain data."""
    last = actor.actor if isinstance(actor, RecurrentActor) else actor
    features = actor.features
    return {
        "inputs": actor.lstm.input_size if isinstance(actor, RecurrentActor) else (last.sizes or (0,))[0],
        "remembered": actor.lstm.hidden_size if isinstance(actor, RecurrentActor) else None,
        "sizes": last.sizes,
        "activation": last.activation,
        "squash": last.squash,
        "features": None if features is None else {"hidden": features.hidden, "rounds": features.rounds},
        "head": isinstance(last.layers, SharedHead),
        "moves": None if last.moves is None else last.moves.tolist(),
    }


def _blank(layout: dict[str, Any], scenario: Scenario) -> nn.Module:
    """An actor of a layout, its weights still to be loaded."""
    features, head = None, None
    if layout["features"] is not None:
        graph = graph_layout(scenario)
        features = GraphFeatures(graph, layout["features"]["hidden"], layout["features"]["rounds"])
        head = SharedHead(graph, layout["features"]["hidden"]) if layout["head"] else None
    moves = None if layout["moves"] is None else np.array(layout["moves"], dtype=np.float32)
    recurrent = layout["remembered"] is not None
    actor = Actor(
        layout["sizes"],
        layout["activation"],
        layout["squash"],
        features=None if recurrent else features,
        head=head,
        moves=moves,
    )
    return RecurrentActor(layout["inputs"], layout["remembered"], actor, features) if recurrent else actor


def _check_observations(trained: Scenario, scenario: Scenario, where: str) -> None:
    """Refuse observations of other shapes than those that a policy was trained on."""
    theirs, ours = observation_shapes(trained.tables), observation_shapes(scenario.tables)
    for name in {**ours, **theirs}:
        if theirs.get(name) != ours.get(name):
            raise InputError(
                f"{where}: was trained on observations whose {name} has shape {theirs.get(name)}: "
                f"expected {ours.get(name)}, that of scenario {scenario.name!r}"
            )
