"""A trained actor as a policy: encoder, plain network, decoder; saved without pickle.

One ``policy.npz`` is a whole policy: weights, and as text its layout, the names of the network it was trained on and the
training scenario, whose means and deviations stay the units of its inputs and outputs wherever it is run.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.decoding import ActionDecoder
from echelongym.envs.encoding import ObservationEncoder
from echelongym.envs.errors import InputError, expected, shorten
from echelongym.envs.files import write_bytes
from echelongym.envs.observation import Decision, Observation, observation_shapes
from echelongym.envs.scenario import Scenario

from .rules.rule import NETWORK, check_network

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}
POLICY_FILE = "policy.npz"
_SCHEMA = 1


class Actor(nn.Module):
    """A multilayer perceptron from the flat observation (B, n) to actions (B, m) in [-1, 1], float32.

    Parameters
    ----------
    sizes
        Widths of all layers, input and output included.
    activation
        One of ``tanh``, ``relu``, ``elu``, between layers.
    squash
        End in tanh (SAC) instead of a cut at the bounds (PPO).
    """

    def __init__(self, sizes: Sequence[int], activation: str = "tanh", squash: bool = False) -> None:
        super().__init__()
        self.sizes, self.activation, self.squash = tuple(sizes), activation, squash
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Actions (B, m) of flat observations (B, n)."""
        action: torch.Tensor = self.layers(observation)
        return torch.tanh(action) if self.squash else action.clamp(-1.0, 1.0)


class ActorPolicy:
    """The policy of an actor: encode the observation, act without noise, decode the action.

    Parameters
    ----------
    scenario
        Whose means and deviations are the units of inputs and outputs: the one trained on.
    actor
        Any torch module from (B, encoder.size) to (B, decoder.size).
    action
        Kind of the action decoder.
    facts
        What is known of its training, plain data: ``agent``, ``seed``, ``env_steps`` and so on.
    """

    def __init__(
        self,
        scenario: Scenario,
        actor: nn.Module,
        action: str = "order_up_to",
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.scenario, self.actor, self.action = scenario, actor, action
        self.facts = dict(facts or {})
        self.encoder = ObservationEncoder(scenario)
        self.decoder = ActionDecoder(scenario, action)

    def __call__(self, observation: Observation) -> Decision:
        """Requests for a batch of observations."""
        flat = self.encoder.encode(observation)
        with torch.no_grad():
            action = self.actor(torch.as_tensor(flat))
        return Decision(self.decoder.decode(action.numpy() if isinstance(flat, np.ndarray) else action, observation))


def constant_policy(scenario: Scenario, action: str = "order_up_to", value: float = 0.0) -> ActorPolicy:
    """The policy that always gives the same action; with 0 it is what an untrained actor starts from."""
    decoder = ActionDecoder(scenario, action)

    class Constant(nn.Module):
        def forward(self, observation: torch.Tensor) -> torch.Tensor:
            return torch.full((len(observation), decoder.size), value)

    return ActorPolicy(scenario, Constant(), action)


def save_actor(path: Path, policy: ActorPolicy) -> None:
    """Write a policy file, whole or not at all."""
    if not isinstance(policy.actor, Actor):
        raise expected("policy.actor", type(policy.actor).__name__, "an Actor (a plain perceptron)")
    t = policy.scenario.tables
    config = {
        "schema": _SCHEMA,
        "network": {key: getattr(t, key) for key in NETWORK},
        "digest": policy.scenario.digest,
        "scenario": policy.scenario.to_dict(),
        "action": policy.action,
        "sizes": policy.actor.sizes,
        "activation": policy.actor.activation,
        "squash": policy.actor.squash,
        "facts": policy.facts,
    }
    weights = {name: value.detach().numpy() for name, value in policy.actor.state_dict().items()}
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
        actor = Actor(config["sizes"], config["activation"], config["squash"])
        actor.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    except FileNotFoundError:
        raise expected("policy", str(path), "the path of a file that exists") from None
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is no policy file, or a damaged one: {shorten(str(error))}") from None
    trained = _trained_scenario(config, scenario, path)
    policy = ActorPolicy(trained, actor, config["action"], config["facts"])
    sizes = (policy.encoder.size, policy.decoder.size)
    if (actor.sizes[0], actor.sizes[-1]) != sizes:
        raise expected("sizes", actor.sizes, f"{sizes[0]} inputs and {sizes[1]} outputs", str(path))
    return policy


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
