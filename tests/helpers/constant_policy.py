"""A policy that always gives the same action, for tests of what stands around actors."""

import torch
from torch import nn

from echelongym.agents.sb3.actor import ActorPolicy
from echelongym.envs import Scenario
from echelongym.envs.interface.action_decoder import DEFAULT_ACTION, ActionDecoder


def constant_policy(scenario: Scenario, action: str = DEFAULT_ACTION, value: float = 0.0) -> ActorPolicy:
    """The policy of one action; with 0 it is what an untrained actor starts from."""
    decoder = ActionDecoder(scenario, action)

    class Constant(nn.Module):
        def forward(self, observation: torch.Tensor) -> torch.Tensor:
            return torch.full((len(observation), decoder.size), value)

    return ActorPolicy(scenario, Constant(), action)
