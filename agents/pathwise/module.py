"""The parameters of a pathwise policy as a torch module, for optimisers, checkpoints, averages and graphs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from echelongym.envs.core.backend import Ops, ops_of
from echelongym.envs.core.typing import Floats, NumpyArray
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.scenario.scenario import Scenario

from ..networks.layers import WeightsByName
from ..networks.module import own
from ..rules import Rule
from .actor import ActorDefinition, Running
from .config import Layout
from .heads import THETA, LevelsHead
from .order_decisions.head import quantities


class PathwiseActor(nn.Module):
    """Parameters of an :class:`ActorDefinition`, and the function of an observation that they make it.

    Parameters
    ----------
    definition
        Whose parameters they are.
    weights
        What they are; left out: where training starts, drawn by torch.
    """

    def __init__(self, definition: ActorDefinition, weights: Mapping[str, NumpyArray] | None = None) -> None:
        super().__init__()
        self.definition = definition
        self.owned = own(self, definition)
        if weights is not None:
            self.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        self.running = Running(definition, self._weights_on)

    @classmethod
    def of(cls, scenario: Scenario, config: Layout, rule: Rule, learn_levels: bool = True) -> PathwiseActor:
        """An untrained one; see :class:`ActorDefinition`."""
        return cls(ActorDefinition(scenario, config, rule, learn_levels))

    def weights(self) -> dict[str, NumpyArray]:
        """Weights by name: views, which go along with the parameters as long as these are not replaced."""
        return {name: value.detach().cpu().numpy() for name, value in self.owned.items()}

    def _weights_on(self, ops: Ops) -> WeightsByName:
        return self.owned if ops.name == "torch" else self.weights()

    def levels(self) -> list[nn.Parameter]:
        """Learned numbers by node and lane, which take another learning rate."""
        return [getattr(self.head, "theta")] if self.definition.head.learned else []  # noqa: B009

    def vector(self) -> Floats:
        """Parameters of the rule that a levels head carries, as learned so far.

        Raises
        ------
        TypeError
            If it has another head.
        """
        head = quantities(self.definition.head)
        if not isinstance(head, LevelsHead):
            raise TypeError(f"{type(head).__name__} carries no rule with levels of its own")
        with torch.no_grad():
            numbers = head.numbers(self.owned, ops_of(self.owned[THETA]))
        return head.vector(numbers)

    def begin(self, worlds: int) -> None:
        """Before an episode or a gradient: clear the memory, and take in the parameters as they are now."""
        self.running.begin(worlds)

    def forward(self, observation: Observation) -> Decision:
        """The decision, in tensors."""
        return self.running(observation, ops_of(observation.on_hand), torch.is_grad_enabled())
