"""The learner ``dqn``: its settings, and what trains it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import model_validator

from echelongym.envs.core.errors import expected
from echelongym.envs.core.validation import Positive, PositiveCount, Share, number

from ..sb3.settings import OffPolicy, nearly
from ..sb3.training import StableBaselinesRun


class DQNConfig(OffPolicy):
    """Deep Q-network (Mnih et al. 2015, Nature 518) on discrete actions.

    What they are, and why none is ever masked: :mod:`echelongym.agents.sb3.discrete_actions`.
    """

    logged = ("loss",)
    supports_clone = False
    algorithm = "stable_baselines3:DQN"
    own_fields = ("moves",)
    kind: Literal["dqn"] = "dqn"
    moves: tuple[Annotated[float, number(-1.0, 1.0)], ...]  # values other than 0 that an action may take
    target_update_interval: PositiveCount  # env-steps between copies into the target network
    exploration_initial_eps: Share  # share of random actions at the start
    exploration_final_eps: Share
    exploration_fraction: Annotated[float, number(0.0, 1.0, strict=True)]  # of the budget, over which it falls
    max_grad_norm: Positive

    @property
    def discrete(self) -> tuple[float, ...]:
        """The moves."""
        return self.moves

    def begin(self, model: Any, around_rule: bool) -> None:
        """Doing nothing is valued a little above the other actions; and exploration falls with the budget."""
        import torch

        from ..sb3.models import ExplorationSchedule

        first, final = self.exploration_initial_eps, self.exploration_final_eps
        model.exploration_schedule = ExplorationSchedule(first, final, self.exploration_fraction)
        model.exploration_rate = first
        for net in (model.q_net, model.q_net_target):
            last = net.q_net[-1]
            nearly(last, 0.0)
            with torch.no_grad():
                last.bias[0] = 0.1

    @model_validator(mode="after")
    def _some_moves(self) -> Self:
        if not self.moves or 0.0 in self.moves or len(set(self.moves)) < len(self.moves):
            raise expected("moves", self.moves, "at least one number in [-1, 1], each but once, without 0")
        return self


CONFIG = DQNConfig
RUN = StableBaselinesRun
