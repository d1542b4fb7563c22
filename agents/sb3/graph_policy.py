"""The graph network in Stable-Baselines3's policies: a features extractor for all of them, a shared head for some."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from ..networks.graph_features import GraphFeatures, GraphLayout, SharedHead


class GraphExtractor(BaseFeaturesExtractor):
    """:class:`~echelongym.agents.networks.graph_features.GraphFeatures` as Stable-Baselines3's features extractor.

    Use it with any algorithm: ``policy_kwargs={"features_extractor_class": GraphExtractor,
    "features_extractor_kwargs": {"layout": graph_layout(scenario), "hidden": 16, "rounds": 2}}``.
    """

    def __init__(self, observation_space: Any, layout: GraphLayout, hidden: int, rounds: int) -> None:
        graph = GraphFeatures(layout, hidden, rounds)
        super().__init__(observation_space, graph.width)
        self.graph = graph

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Features (B, width) of flat observations (B, n)."""
        found: torch.Tensor = self.graph(observations)
        return found


class GraphPolicy(ActorCriticPolicy):
    """An actor whose head is shared by all lanes, on features of :class:`GraphExtractor`, for PPO and A2C."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        layout, hidden = (self.features_extractor_kwargs[key] for key in ("layout", "hidden"))
        self.action_net = SharedHead(layout, hidden)
        keys: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self.parameters(), **keys)
