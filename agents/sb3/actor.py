"""A trained actor as a policy: encoder, network, decoder, with or without a rule that its actions correct.

:mod:`echelongym.agents.sb3.policy_file` saves it without pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from echelongym.envs.core.backend import Array, NumpyOps
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import NumpyArray
from echelongym.envs.interface.action_decoder import DEFAULT_ACTION, ActionDecoder
from echelongym.envs.interface.observation import Decision, Observation, Policy
from echelongym.envs.interface.observation_encoder import ObservationEncoder
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.scenario.scenario import Scenario

from ..networks.graph_features import GraphFeatures, SharedHead
from ..networks.module import ACTIVATIONS
from ..residual import Residual
from ..rules import Rule


class Actor(nn.Module):
    """A multilayer perceptron from the flat observation (B, n) to actions (B, m) in [-1, 1], float32.

    Parameters
    ----------
    sizes
        Widths of all layers, input and output included.
    activation
        One of ``tanh``, ``relu``, ``elu``, between layers.
    squash
        End in tanh (SAC, TD3) instead of a cut at the bounds (PPO).
    features
        What the layers see in place of the observation.
    head
        In place of layers: from features to actions.
    moves
        (K, m): K discrete actions; the last layer gives the value of each, and the action is the one of the highest (DQN).
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "tanh",
        squash: bool = False,
        *,
        features: GraphFeatures | None = None,
        head: SharedHead | None = None,
        moves: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self.sizes, self.activation, self.squash = tuple(sizes), activation, squash
        self.features = features
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
        self.layers: nn.Module = nn.Sequential(*layers[:-1]) if head is None else head
        self.moves: torch.Tensor | None
        self.register_buffer("moves", None if moves is None else torch.from_numpy(moves))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Actions (B, m) of flat observations (B, n)."""
        seen = observation if self.features is None else self.features(observation)
        action: torch.Tensor = self.layers(seen)
        if self.moves is not None:
            return self.moves.index_select(0, action.argmax(1))
        return torch.tanh(action) if self.squash else action.clamp(-1.0, 1.0)


class RecurrentActor(nn.Module):
    """A long short-term memory before an :class:`Actor` (RecurrentPPO).

    Parameters
    ----------
    inputs
        Entries of the flat observation, or of ``features``.
    remembered
        Width of the memory.
    actor
        From memory to actions.
    """

    def __init__(self, inputs: int, remembered: int, actor: Actor, features: GraphFeatures | None = None) -> None:
        super().__init__()
        self.features, self.actor = features, actor
        self.lstm = nn.LSTM(inputs, remembered)

    def blank(self, worlds: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The memory (1, B, remembered), twice, before the first period."""
        empty = torch.zeros(1, worlds, self.lstm.hidden_size)
        return empty, empty.clone()

    def forward(
        self, observation: torch.Tensor, memory: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Actions (B, m) of flat observations (B, n), and the memory afterwards."""
        seen = observation if self.features is None else self.features(observation)
        known, memory = self.lstm(seen[None], memory)
        return self.actor(known[0]), memory


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
    rule
        That actions correct (:class:`echelongym.agents.residual.Residual`); None: they stand for themselves.
    """

    def __init__(
        self,
        scenario: Scenario,
        actor: nn.Module,
        action: str = DEFAULT_ACTION,
        facts: dict[str, Any] | None = None,
        rule: Rule | None = None,
    ) -> None:
        self.scenario, self.actor, self.action = scenario, actor, action
        self.facts = dict(facts or {})
        self.encoder = ObservationEncoder(scenario)
        self.decoder = ActionDecoder(scenario, action)
        self.rule = rule
        self._residual = None if rule is None else Residual(self.decoder, rule)

    def act(self, flat: torch.Tensor) -> torch.Tensor:
        """Actions (B, m) of flat observations (B, n)."""
        with torch.no_grad():
            action: torch.Tensor = self.actor(flat)
        return action

    def __call__(self, observation: Observation) -> Decision:
        """The decision for a batch of observations."""
        flat = self.encoder.encode(observation)
        action = self.act(torch.as_tensor(flat))
        decoded = action.numpy() if isinstance(flat, np.ndarray) else action
        return self._decision(decoded, observation, self._residual)

    def _decision(self, action: Array, observation: Observation, residual: Residual | None) -> Decision:
        if residual is not None:
            return residual.decode(action, observation)
        return Decision(self.decoder.decode(action, observation))

    def recordable(self, dtype: Any) -> Recordable | None:
        """What a compiled rollout records of it for units of a type: all but the network, which PyTorch goes on computing."""
        rule = None if self.rule is None else self.rule.recordable(dtype)
        if self.rule is not None and (
            rule is None or rule.memory is not None or rule.foreseen is not None or rule.shared
        ):
            return None

        def on(ops: NumpyOps) -> Callable[[Sequence[Array]], Policy]:
            made = None if rule is None else rule.on(ops)
            return lambda numbers: _Recorded(self, ops, None if made is None else made(numbers))

        structure = type(self), self.scenario.tables, self.action, None if rule is None else rule.structure
        return Recordable(
            (*structure, self._remembered),
            [] if rule is None else rule.numbers,
            on,
            memory=[np.zeros((self._remembered, 1), np.float32)] if self._remembered else None,
            outside=self._outside,
        )

    #: Numbers of memory that a world has.
    _remembered = 0

    def _outside(self, seen: NumpyArray) -> NumpyArray:
        """(m, B) actions of flat observations (n, B)."""
        return self.act(torch.as_tensor(np.ascontiguousarray(seen.T))).numpy().T


class RecurrentPolicy(ActorPolicy):
    """The policy of a :class:`RecurrentActor`: it remembers what its worlds have shown since :meth:`start`."""

    _memory: tuple[torch.Tensor, torch.Tensor] | None = None

    def start(self, worlds: int) -> None:
        """Clear the memory; the next observation is the first one of so many worlds."""
        self._memory = self.actor.blank(worlds)  # type: ignore[operator]

    def act(self, flat: torch.Tensor) -> torch.Tensor:
        """Actions (B, m) of flat observations (B, n) of the next period.

        Raises
        ------
        InputError
            If there are not as many worlds as the memory was begun for.
        """
        if self._memory is None:
            self.start(len(flat))
        assert self._memory is not None
        if self._memory[0].shape[1] != len(flat):
            wanted = f"{self._memory[0].shape[1]}, as at the start"
            raise expected("worlds", len(flat), wanted)
        with torch.no_grad():
            action, self._memory = self.actor(flat, self._memory)
        return action

    @property
    def _remembered(self) -> int:  # type: ignore[override]
        return 2 * int(self.actor.lstm.hidden_size)  # type: ignore[union-attr, arg-type]

    def _outside(self, seen: NumpyArray) -> NumpyArray:
        """Actions and the memory afterwards, one below the other, of flat observations and the memory before."""
        flat, *before = np.split(seen.T, [self.encoder.size, self.encoder.size + self._remembered // 2], 1)
        memory = tuple(torch.as_tensor(np.ascontiguousarray(one[None])) for one in before)
        with torch.no_grad():
            action, after = self.actor(torch.as_tensor(np.ascontiguousarray(flat)), memory)
        return np.concatenate([action.numpy(), *(one[0].numpy() for one in after)], 1).T


class _Recorded:
    """The policy of an actor under recording; see :class:`echelongym.envs.rollout.recordable.Recordable`."""

    outside: Any

    def __init__(self, policy: ActorPolicy, ops: NumpyOps, rule: Any) -> None:
        self.policy, self.ops = policy, ops
        self.memory: list[Array] = []
        self._residual = None if rule is None else Residual(policy.decoder, rule)

    def __call__(self, observation: Observation) -> Decision:
        """The decision; the memory moves on."""
        seen, size = self.policy.encoder.columns(observation, self.ops), self.policy.decoder.size
        seen = self.ops.concat([seen, *self.memory], 0)
        found = self.outside(seen, (size + sum(len(one) for one in self.memory),), np.float32)
        self.memory = [found[size:]] if self.memory else []
        return self.policy._decision(self.ops.moveaxis(found[:size], 0, -1), observation, self._residual)


def rule_policy(scenario: Scenario, rule: Rule, action: str) -> ActorPolicy:
    """A rule as it is, as a policy that a policy file can hold: an actor of zeros adds nothing to its requests."""
    policy = ActorPolicy(scenario, nn.Identity(), action, rule=rule)
    actor = Actor((policy.encoder.size, policy.decoder.size))
    for value in actor.parameters():
        nn.init.zeros_(value)
    policy.actor = actor.eval()
    return policy


def policy_of(
    scenario: Scenario, actor: nn.Module, action: str, facts: dict[str, Any] | None = None, rule: Rule | None = None
) -> ActorPolicy:
    """The policy of an actor, with memory if it has one."""
    kind = RecurrentPolicy if isinstance(actor, RecurrentActor) else ActorPolicy
    return kind(scenario, actor, action, facts, rule)
