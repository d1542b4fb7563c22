"""Networks of learners: perceptrons, sets and graphs whose weights are shared by nodes and by lanes, and memory.

Tensors are features first and batch last, (features, entities, B), as arrays of simulations lie in memory: a layer is one
matrix product whatever the number of entities. Outputs of heads are zero at the start, so an untrained network leaves
what it corrects as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}


class Dense(nn.Module):
    """An affine map of features, the same for every entity and world: (inputs, ..., B) to (outputs, ..., B).

    Parameters
    ----------
    zero
        Start with outputs of 0.
    """

    def __init__(self, inputs: int, outputs: int, zero: bool = False) -> None:
        super().__init__()
        bound = 0.0 if zero else inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs, 1))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Outputs (outputs, ..., B) of inputs (inputs, ..., B)."""
        flat = values.reshape(values.shape[0], -1)
        return torch.addmm(self.bias, self.weight, flat).reshape(-1, *values.shape[1:])


class Perceptron(nn.Module):
    """Dense layers with activations between them; ``zero`` makes the last one start at 0."""

    def __init__(self, sizes: Sequence[int], activation: str = "elu", zero: bool = False, last: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(pairwise(sizes)):
            final = number + 2 == len(sizes)
            layers.append(Dense(inputs, outputs, zero and final))
            if last or not final:
                layers.append(ACTIVATIONS[activation]())
        self.layers = nn.Sequential(*layers)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(sizes[0], ..., B) to (sizes[-1], ..., B)."""
        found: torch.Tensor = self.layers(values)
        return found


class GraphNetwork(nn.Module):
    """Graph network: messages along lanes, both ways, in rounds; weights are shared by all nodes and by all lanes.

    In a round every lane takes in what its two ends know, every node the mean of what lanes into it and lanes out of it
    know, and the mean over all nodes; both add it to what they knew (Battaglia et al. 2018, arXiv 1806.01261). The number
    of parameters does not depend on the network, so a network trained on one runs on another (:meth:`on`).

    Parameters
    ----------
    node_features, edge_features
        Of each node and lane.
    hidden
        Width of what nodes and lanes know.
    rounds
        How far messages travel, in lanes.
    source, target
        (L,) nodes of each lane; -1 = none.
    nodes
        Number of nodes.
    """

    def __init__(
        self,
        node_features: int,
        edge_features: int,
        hidden: int,
        rounds: int,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        nodes: int,
        activation: str = "elu",
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.node_in = Perceptron((node_features, hidden), activation, last=True)
        self.edge_in = Perceptron((edge_features, hidden), activation, last=True)
        self.edge_rounds = nn.ModuleList(Perceptron((3 * hidden, hidden), activation, last=True) for _ in range(rounds))
        self.node_rounds = nn.ModuleList(Perceptron((4 * hidden, hidden), activation, last=True) for _ in range(rounds))
        self.on(source, target, nodes)

    _by_source: torch.Tensor
    _by_target: torch.Tensor

    def on(self, source: NDArray[np.int64], target: NDArray[np.int64], nodes: int) -> None:
        """Work on another network from now on."""
        # Nodes that do not exist know nothing: one more row, of zeros.
        for name, ends in (("source", source), ("target", target)):
            ends = np.where(np.asarray(ends) < 0, nodes, ends)
            mean = np.zeros((len(ends), nodes), dtype=np.float32)
            real = ends < nodes
            counts = np.maximum(np.bincount(ends[real], minlength=nodes), 1)
            mean[np.flatnonzero(real), ends[real]] = 1.0 / counts[ends[real]]
            self.register_buffer(f"_{name}", torch.from_numpy(ends.astype(np.int64)), persistent=False)
            self.register_buffer(f"_by_{name}", torch.from_numpy(mean), persistent=False)

    def _at(self, nodes: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """What the nodes at the ends of lanes know, (hidden, L, B)."""
        padded = torch.cat([nodes, torch.zeros_like(nodes[:, :1])], 1)
        return padded.index_select(1, ends)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Nodes (node_features, N, B) and lanes (edge_features, L, B) to (hidden, N, B) and (hidden, L, B)."""
        node, edge = self.node_in(nodes), self.edge_in(edges)
        by_source, by_target = self._by_source.T, self._by_target.T
        for of_edge, of_node in zip(self.edge_rounds, self.node_rounds, strict=True):
            at_source, at_target = self._at(node, self._source), self._at(node, self._target)  # type: ignore[arg-type]
            edge = edge + of_edge(torch.cat([edge, at_source, at_target], 0))
            into, out = torch.matmul(by_target, edge), torch.matmul(by_source, edge)
            everywhere = node.mean(1, keepdim=True).expand_as(node)
            node = node + of_node(torch.cat([node, into, out, everywhere], 0))
        return node, edge


class SetNetwork(nn.Module):
    """Set network: each item by itself, then with the mean over all of them (Zaheer et al. 2017, arXiv 1703.06114).

    (features, items, B) to (hidden, items, B); parameters do not depend on the number of items.
    """

    def __init__(self, features: int, hidden: int, activation: str = "elu") -> None:
        super().__init__()
        self.first = Perceptron((features, hidden, hidden), activation, last=True)
        self.pooled = Dense(hidden, hidden)
        self.second = Dense(2 * hidden, hidden)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Features of each item."""
        own = self.first(items)
        pool = self.activation(self.pooled(own.mean(1, keepdim=True))).expand_as(own)
        found: torch.Tensor = self.activation(self.second(torch.cat([own, pool], 0)))
        return found


class RecurrentUnit(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, arXiv 1406.1078): (features, B) and memory (hidden, B) to new memory."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = Dense(features + hidden, 2 * hidden)
        self.candidate = Dense(features + hidden, hidden)

    def forward(self, values: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Memory (hidden, B) after this period."""
        keep, look = torch.sigmoid(self.gates(torch.cat([values, memory], 0))).chunk(2, 0)
        new = torch.tanh(self.candidate(torch.cat([values, look * memory], 0)))
        return keep * memory + (1 - keep) * new
