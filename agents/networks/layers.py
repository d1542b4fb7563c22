"""Layers on (features, ..., batch) arrays: dense, perceptron, graph network, set network, gated recurrent unit.

Each is a function of its weights, given by name, and speaks the vocabulary of
:class:`echelongym.envs.core.backend.NumpyOps`: one definition runs in NumPy, PyTorch and JAX. WeightsByName are shared by all
entities (nodes, lanes, items) of an array, so they do for any number of entities. Outputs of heads are zero at the start, so
an untrained network leaves what it corrects as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.backend import Array, Ops

from .by_backend import ByBackend, constants

WeightsByName = Mapping[str, Array]


class ParameterStart(NamedTuple):
    """Shape of a parameter, and what it starts with: uniform between -bound and bound, or zeros where that is None."""

    shape: tuple[int, ...]
    bound: float | None = None


class Dense:
    """An affine map of features and an activation, the same for every entity and world: (inputs, ..., B) to (outputs, ..., B).

    Parameters
    ----------
    name
        Of its weights: ``name.weight`` (outputs, inputs) and ``name.bias`` (outputs, 1).
    zero
        ParameterStart with outputs of 0.
    """

    def __init__(self, name: str, inputs: int, outputs: int, activation: str = "", zero: bool = False) -> None:
        self.weight, self.bias, self.activation = f"{name}.weight", f"{name}.bias", activation
        self.sizes, self.bound = (outputs, inputs), 0.0 if zero else inputs**-0.5

    def starts(self) -> Iterator[tuple[str, ParameterStart]]:
        """Its parameters, by name."""
        yield self.weight, ParameterStart(self.sizes, self.bound)
        yield self.bias, ParameterStart((self.sizes[0], 1))

    def __call__(self, weights: WeightsByName, values: Array, ops: Ops) -> Array:
        """Outputs (outputs, ..., B) of inputs (inputs, ..., B)."""
        return ops.dense(weights[self.weight], weights[self.bias], values, self.activation)


class Perceptron:
    """Dense layers with activations between them; ``zero`` makes the last one start at 0, ``last`` gives it one, too."""

    def __init__(
        self, name: str, sizes: Sequence[int], activation: str = "elu", zero: bool = False, last: bool = False
    ) -> None:
        final = len(sizes) - 2
        # Activations have odd numbers, as in a sequence of modules.
        self.layers = [
            Dense(f"{name}.layers.{2 * i}", *pair, activation if last or i < final else "", zero and i == final)
            for i, pair in enumerate(pairwise(sizes))
        ]

    def starts(self) -> Iterator[tuple[str, ParameterStart]]:
        """Its parameters, by name."""
        for layer in self.layers:
            yield from layer.starts()

    def __call__(self, weights: WeightsByName, values: Array, ops: Ops) -> Array:
        """(sizes[0], ..., B) to (sizes[-1], ..., B)."""
        for layer in self.layers:
            values = layer(weights, values, ops)
        return values


class Ends:
    """What the nodes at one end of lanes know; a node -1 is none, and knows nothing: zeros.

    Parameters
    ----------
    places
        (L,) node of each lane.
    nodes
        Number of nodes.
    """

    def __init__(self, places: NDArray[np.int64], nodes: int) -> None:
        places = np.where(np.asarray(places) < 0, nodes, places)
        self._index = ByBackend(constants, places)

    def __call__(self, padded: Array, ops: Ops) -> Array:
        """(hidden, L, B) of what :meth:`padded` gives."""
        return ops.select(padded, self._index(ops)[0], 1)

    @staticmethod
    def padded(nodes: Array, ops: Ops) -> Array:
        """(hidden, N + 1, B) what nodes know, and the zeros of none."""
        none = ops.zeros((nodes.shape[0], 1, nodes.shape[2]), nodes.dtype)
        return ops.concat([nodes, none], 1)


class GraphNetwork:
    """Graph network: messages along lanes, both ways, in rounds; weights are shared by all nodes and by all lanes.

    In a round every lane takes in what its two ends know, every node the mean of what lanes into it and lanes out of it
    know, and the mean over all nodes; both add it to what they knew (Battaglia et al. 2018, arXiv 1806.01261). The number
    of parameters does not depend on the network, so weights trained on one do for another.

    Parameters
    ----------
    name
        What names of weights begin with, a dot behind it; or empty.
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
        name: str,
        node_features: int,
        edge_features: int,
        hidden: int,
        rounds: int,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        nodes: int,
        activation: str = "elu",
    ) -> None:
        def one(part: str, inputs: int) -> Perceptron:
            return Perceptron(f"{name}{part}", (inputs, hidden), activation, last=True)

        self.hidden = hidden
        self.node_in, self.edge_in = one("node_in", node_features), one("edge_in", edge_features)
        self.edge_rounds = [one(f"edge_rounds.{i}", 3 * hidden) for i in range(rounds)]
        self.node_rounds = [one(f"node_rounds.{i}", 4 * hidden) for i in range(rounds)]
        self.source, self.target = Ends(source, nodes), Ends(target, nodes)
        self._by_source, self._by_target = _means(source, nodes), _means(target, nodes)

    def starts(self) -> Iterator[tuple[str, ParameterStart]]:
        """Its parameters, by name."""
        for part in (self.node_in, self.edge_in, *self.edge_rounds, *self.node_rounds):
            yield from part.starts()

    def __call__(self, weights: WeightsByName, nodes: Array, edges: Array, ops: Ops) -> tuple[Array, Array]:
        """Nodes (node_features, N, B) and lanes (edge_features, L, B) to (hidden, N, B) and (hidden, L, B)."""
        node, edge = self.node_in(weights, nodes, ops), self.edge_in(weights, edges, ops)
        (by_source,), (by_target,) = self._by_source(ops), self._by_target(ops)
        for of_edge, of_node in zip(self.edge_rounds, self.node_rounds, strict=True):
            padded = Ends.padded(node, ops)
            at_source, at_target = self.source(padded, ops), self.target(padded, ops)
            edge = edge + of_edge(weights, ops.concat([edge, at_source, at_target], 0), ops)
            into, out = ops.product(by_target, edge), ops.product(by_source, edge)
            everywhere = ops.broadcast(ops.mean(node, 1), node.shape)
            node = node + of_node(weights, ops.concat([node, into, out, everywhere], 0), ops)
        return node, edge


def _means(ends: NDArray[np.int64], nodes: int) -> ByBackend:
    """(N, L) mean over the lanes with an end at each node."""
    counts = np.maximum(np.bincount(ends[ends >= 0], minlength=nodes), 1)
    means = np.zeros((nodes, len(ends)), dtype=np.float32)
    real = np.flatnonzero(ends >= 0)
    means[ends[real], real] = 1.0 / counts[ends[real]]
    return ByBackend(constants, means)


class SetNetwork:
    """Set network: each item by itself, then with the mean over all of them (Zaheer et al. 2017, arXiv 1703.06114).

    (features, items, B) to (hidden, items, B); parameters do not depend on the number of items.
    """

    def __init__(self, name: str, features: int, hidden: int, activation: str = "elu") -> None:
        self.first = Perceptron(f"{name}.first", (features, hidden, hidden), activation, last=True)
        self.pooled = Dense(f"{name}.pooled", hidden, hidden, activation)
        self.second = Dense(f"{name}.second", 2 * hidden, hidden, activation)

    def starts(self) -> Iterator[tuple[str, ParameterStart]]:
        """Its parameters, by name."""
        for part in (self.first, self.pooled, self.second):
            yield from part.starts()

    def __call__(self, weights: WeightsByName, items: Array, ops: Ops) -> Array:
        """Features of each item."""
        own = self.first(weights, items, ops)
        pool = ops.broadcast(self.pooled(weights, ops.mean(own, 1), ops), own.shape)
        return self.second(weights, ops.concat([own, pool], 0), ops)


class RecurrentUnit:
    """A gated recurrent unit (Cho et al. 2014, arXiv 1406.1078): (features, B) and memory (hidden, B) to new memory."""

    def __init__(self, name: str, features: int, hidden: int) -> None:
        self.hidden = hidden
        self.gates = Dense(f"{name}.gates", features + hidden, 2 * hidden, "sigmoid")
        self.candidate = Dense(f"{name}.candidate", features + hidden, hidden, "tanh")

    def starts(self) -> Iterator[tuple[str, ParameterStart]]:
        """Its parameters, by name."""
        for part in (self.gates, self.candidate):
            yield from part.starts()

    def __call__(self, weights: WeightsByName, values: Array, memory: Array, ops: Ops) -> Array:
        """Memory (hidden, B) after this period."""
        gates = self.gates(weights, ops.concat([values, memory], 0), ops)
        keep, look = gates[: self.hidden], gates[self.hidden :]
        new = self.candidate(weights, ops.concat([values, look * memory], 0), ops)
        return keep * memory + (1 - keep) * new
