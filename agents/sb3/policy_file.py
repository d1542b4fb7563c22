"""Policy files of Stable-Baselines3 learners, without pickle.

One ``policy.npz`` is a whole policy: weights, and as text its layout, the names of the network it was trained on, the rule
that it corrects, if any, and the training scenario, whose means and deviations stay the units of its inputs and outputs
wherever it is run.
"""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.errors import InputError, expected, shorten
from echelongym.envs.core.plain import check_plain
from echelongym.envs.core.validation import Config, Flag, number, validate
from echelongym.envs.interface.observation import observation_shapes
from echelongym.envs.network.signature import check_network, is_complete, signature
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import write_bytes
from echelongym.envs.storage.outside_files import parse_json, read_npz, text_of

from ..networks.graph_features import GraphFeatures, SharedHead, graph_layout
from ..networks.weights import weights
from ..origin import scenario_within
from ..residual import rule_from_dict
from .actor import Actor, ActorPolicy, RecurrentActor, policy_of

_SCHEMA = 2


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
    config = {
        "schema": _SCHEMA,
        "network": signature(policy.scenario.tables),
        "digest": policy.scenario.digest,
        "scenario": policy.scenario.to_dict(),
        "action": policy.action,
        "actor": _layout(actor),
        "rule": None if policy.rule is None else policy.rule.to_dict(),
        "facts": policy.facts,
    }
    weights = {name: value.detach().numpy() for name, value in actor.state_dict().items()}
    stream = io.BytesIO()
    np.savez(stream, config=np.array(json.dumps(config)), **weights)
    write_bytes(stream.getvalue(), path)


def load_actor(path: Path, scenario: Scenario) -> ActorPolicy:
    """Read a policy file of :func:`save_actor`; nothing in it is ever executed.

    Raises
    ------
    InputError
        If the file is none, is damaged, or was trained on another network (the first difference is named).
    """
    try:
        arrays = read_npz(path, "policy")
        config = parse_json(text_of(arrays, "config", str(path)), f"{path}: config")
        del arrays["config"]
        check_plain(config, f"{path}: config")
        if config["schema"] != _SCHEMA:
            raise expected("schema", config["schema"], f"{_SCHEMA}", str(path))
        trained = _trained_scenario(config, scenario, path)
        layout = validate(_ActorLayout, config["actor"], f"{path}: actor")
        _check_weights(layout, arrays, str(path))
        actor = _blank(layout.model_dump(), trained)
        actor.load_state_dict(weights(arrays, str(path)))
        rule = None if config["rule"] is None else rule_from_dict(config["rule"], trained, str(path))
        policy = policy_of(trained, actor.eval(), config["action"], config["facts"], rule)
        _check_sizes(policy, path)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path}: is no policy file, or a damaged one: {shorten(str(error))}") from None
    return policy


class _ActorLayout(Config):
    """What :func:`_layout` says."""

    inputs: Annotated[int, number(0, 10**7, integer=True)]
    remembered: Annotated[int, number(1, 10**6, integer=True)] | None
    sizes: tuple[Annotated[int, number(0, 10**7, integer=True)], ...]
    activation: Literal["tanh", "relu", "elu"]
    squash: Flag
    features: _FeaturesLayout | None
    head: Flag
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


def _trained_scenario(config: dict[str, Any], scenario: Scenario, path: Path) -> Scenario:
    """The scenario a policy was trained on, if what it sees and decides fits ``scenario``."""
    tables = scenario.tables
    check_network(config["network"], tables, str(path))
    if config["digest"] == scenario.digest and is_complete(config["network"]):
        return scenario
    trained = scenario_within(config["scenario"], scenario, str(path), config["digest"])
    # Files of earlier versions give names alone; the scenario that they hold says the rest.
    check_network(signature(trained.tables), tables, str(path))
    theirs, ours = observation_shapes(trained.tables), observation_shapes(tables)
    for name in {**ours, **theirs}:
        if theirs.get(name) != ours.get(name):
            raise InputError(
                f"{path}: was trained on observations whose {name} has shape {theirs.get(name)}: "
                f"expected {ours.get(name)}, that of scenario {scenario.name!r}"
            )
    return trained
