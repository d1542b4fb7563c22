"""Networks over the features of a scenario: from all features to a few outputs for every lane."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..networks.layers import Dense, GraphNetwork, Perceptron, RecurrentUnit, SetNetwork
from .config import Layout
from .features import Features


class Backbone(nn.Module):
    """Backbone, from feature rows (rows, B) to outputs (k, lanes, B), all 0 at the start.

    Attributes
    ----------
    shared : whether weights are shared by lanes, so that they do for other networks.
    remembers : whether there is memory between periods, kept in ``memory`` (hidden, B).
    """

    shared = False
    remembers = False

    def __init__(self, features: Features, outputs: int) -> None:
        super().__init__()
        self.layout, self.outputs, self.lanes = features, outputs, len(features.lanes)

    def start(self, worlds: int) -> None:
        """Clear the memory before an episode."""


class PerceptronBody(Backbone):
    """One perceptron for the whole network: all that can change goes in, all outputs come out."""

    def __init__(self, features: Features, outputs: int, config: Layout) -> None:
        super().__init__(features, outputs)
        picked = torch.from_numpy(features.moving.nonzero()[0])
        self.register_buffer("picked", picked, persistent=False)
        sizes = (len(picked), *config.hidden, outputs * self.lanes)
        self.layers = Perceptron(sizes, config.activation, zero=True)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(k, lanes, B)."""
        found: torch.Tensor = self.layers(rows.index_select(0, self.picked))  # type: ignore[arg-type]
        return found.reshape(self.outputs, self.lanes, -1)


class SetBody(Backbone):
    """Set network over lanes: each by itself with the features of its ends, then with the mean over all lanes."""

    shared = True

    def __init__(self, features: Features, outputs: int, config: Layout) -> None:
        super().__init__(features, outputs)
        self.ends = _Ends(features)
        (f, _), (g, _) = features.shape
        self.items = SetNetwork(2 * f + g, config.hidden[-1], config.activation)
        self.out = Dense(config.hidden[-1], outputs, zero=True)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(k, lanes, B)."""
        nodes, lanes = self.layout.parts(rows)
        found: torch.Tensor = self.out(self.items(self.ends(nodes, lanes)))
        return found


class GraphBody(Backbone):
    """Graph network with messages along lanes: stock above and below is seen as far as rounds reach."""

    shared = True

    def __init__(self, features: Features, outputs: int, config: Layout) -> None:
        super().__init__(features, outputs)
        (f, n), (g, _) = features.shape
        hidden = config.hidden[-1]
        self.graph = GraphNetwork(f, g, hidden, config.rounds, features.source, features.target, n, config.activation)
        self.ends = _Ends(features)
        self.out = Perceptron((3 * hidden, hidden, outputs), config.activation, zero=True)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(k, lanes, B)."""
        nodes, lanes = self.graph(*self.layout.parts(rows))
        found: torch.Tensor = self.out(self.ends(nodes, lanes))
        return found


class RecurrentBody(Backbone):
    """A perceptron with memory, for what cannot be seen in one period: hidden regimes of demand or supply."""

    remembers = True

    def __init__(self, features: Features, outputs: int, config: Layout) -> None:
        super().__init__(features, outputs)
        picked = torch.from_numpy(features.moving.nonzero()[0])
        self.register_buffer("picked", picked, persistent=False)
        self.cell = RecurrentUnit(len(picked), config.hidden[0])
        self.layers = Perceptron(
            (len(picked) + config.hidden[0], *config.hidden[1:], outputs * self.lanes), config.activation, zero=True
        )
        self.memory: torch.Tensor | None = None

    def start(self, worlds: int) -> None:
        """Clear the memory before an episode."""
        self.memory = None

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(k, lanes, B); memory moves on."""
        seen = rows.index_select(0, self.picked)  # type: ignore[arg-type]
        before = self.memory
        if before is None:
            before = seen.new_zeros((self.cell.hidden, seen.shape[-1]))
        self.memory = self.cell(seen, before)
        found: torch.Tensor = self.layers(torch.cat([seen, self.memory], 0))
        return found.reshape(self.outputs, self.lanes, -1)


class _Ends(nn.Module):
    """Lanes with what is known of their ends: (hidden, lanes, B) of each, one below the other; suppliers know nothing."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        nodes = len(features.cells)
        for name, ends in (("source", features.source), ("target", features.target)):
            places = torch.from_numpy(ends.copy())
            self.register_buffer(name, torch.where(places < 0, nodes, places), persistent=False)

    def forward(self, nodes: torch.Tensor, lanes: torch.Tensor) -> torch.Tensor:
        """(lane features + 2 node features, lanes, B)."""
        padded = torch.cat([nodes, torch.zeros_like(nodes[:, :1])], 1)
        source, target = (padded.index_select(1, ends) for ends in (self.source, self.target))  # type: ignore[arg-type]
        return torch.cat([lanes, target, source], 0)


BODIES: dict[str, Any] = {
    "perceptron": PerceptronBody,
    "set": SetBody,
    "graph": GraphBody,
    "recurrent": RecurrentBody,
}
