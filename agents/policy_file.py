"""Trained policies on disk, without pickle.

One ``policy.npz`` is a whole policy: weights, and as text its layout, the names of the network it was trained on, the rule
that it corrects, if any, and the training scenario, whose means and deviations stay the units of its inputs and outputs
wherever it is run.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.errors import InputError, expected, shorten
from echelongym.envs.files import write_bytes
from echelongym.envs.observation import observation_shapes
from echelongym.envs.scenario import Scenario

from .actor import Actor, ActorPolicy, RecurrentActor, policy_of
from .graph_features import GraphFeatures, SharedHead, graph_layout
from .rules.rule import NETWORK, check_network
from .starts import rule_from_dict

_SCHEMA = 2


def save_actor(path: Path, policy: ActorPolicy) -> None:
    """Write a policy file, whole or not at all."""
    actor = policy.actor
    if not isinstance(actor, Actor | RecurrentActor):
        raise expected("policy.actor", type(actor).__name__, "an Actor or a RecurrentActor")
    t = policy.scenario.tables
    config = {
        "schema": _SCHEMA,
        "network": {key: getattr(t, key) for key in NETWORK},
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
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        config = json.loads(str(arrays.pop("config")))
        if config["schema"] != _SCHEMA:
            raise expected("schema", config["schema"], f"{_SCHEMA}", str(path))
        trained = _trained_scenario(config, scenario, path)
        actor = _blank(config["actor"], trained)
        actor.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
        rule = None if config["rule"] is None else rule_from_dict(config["rule"], trained, str(path))
        policy = policy_of(trained, actor.eval(), config["action"], config["facts"], rule)
        _check_sizes(policy, path)
    except FileNotFoundError:
        raise expected("policy", str(path), "the path of a file that exists") from None
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is no policy file, or a damaged one: {shorten(str(error))}") from None
    return policy


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
    if config["digest"] == scenario.digest:
        return scenario
    trained = Scenario.from_mapping({**config["scenario"], "base_dir": scenario.base_dir}, where=str(path))
    theirs, ours = observation_shapes(trained.tables), observation_shapes(tables)
    for name in {**ours, **theirs}:
        if theirs.get(name) != ours.get(name):
            raise InputError(
                f"{path}: was trained on observations whose {name} has shape {theirs.get(name)}: "
                f"expected {ours.get(name)}, that of scenario {scenario.name!r}"
            )
    return trained
