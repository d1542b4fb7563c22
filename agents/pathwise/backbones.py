"""Networks over the features of a scenario: from all features to a few outputs for every lane."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from echelongym.envs.core.backend import Array, Ops

from ..networks.by_backend import ByBackend, constants
from ..networks.layers import (
    Dense,
    Ends,
    GraphNetwork,
    ParameterStart,
    Perceptron,
    RecurrentUnit,
    SetNetwork,
    WeightsByName,
)
from .config import Layout
from .features import Features


class Backbone:
    """Backbone, from feature rows (rows, B) to outputs (k, lanes, B), all 0 at the start.

    Attributes
    ----------
    shared : whether weights are shared by lanes, so that they do for other networks.
    memory : numbers a world that are kept from period to period; 0: none.
    """

    shared: ClassVar[bool] = False
    memory = 0

    def __init__(self, features: Features, outputs: int) -> None:
        self.layout, self.outputs, self.lanes = features, outputs, len(features.lanes)
        self.moving = ByBackend(constants, features.moving.nonzero()[0])
        self.parts: tuple[Any, ...] = ()  # with parameters, in order

    def starts(self) -> Iterator[tuple[str, ParameterStart]]:
        """Its parameters, by name."""
        for part in self.parts:
            yield from part.starts()

    def __call__(
        self, weights: WeightsByName, rows: Array, memory: Array | None, ops: Ops
    ) -> tuple[Array, Array | None]:
        """Outputs (k, lanes, B), and the memory (hidden, B) after this period.

        Raises
        ------
        TypeError
            Always: a network is one of ``BODIES``.
        """
        raise TypeError("a network is one of BODIES")


class PerceptronBody(Backbone):
    """One perceptron for the whole network: all that can change goes in, all outputs come out."""

    def __init__(self, features: Features, outputs: int, config: Layout) -> None:
        super().__init__(features, outputs)
        sizes = (int(features.moving.sum()), *config.hidden, outputs * self.lanes)
        self.layers = Perceptron("body.layers", sizes, config.activation, zero=True)
        self.parts = (self.layers,)

    def __call__(
        self, weights: WeightsByName, rows: Array, memory: Array | None, ops: Ops
    ) -> tuple[Array, Array | None]:
        """(k, lanes, B), and no memory."""
        found = self.layers(weights, ops.select(rows, self.moving(ops)[0], 0), ops)
        return found.reshape((self.outputs, self.lanes, -1)), None


class SetBody(Backbone):
    """Set network over lanes: each by itself with the features of its ends, then with the mean over all lanes."""

    shared = True

    def __init__(self, features: Features, outputs: int, config: Layout) -> None:
        super().__init__(features, outputs)
        self.ends = LaneEnds(features)
        (f, _), (g, _) = features.shape
        self.items = SetNetwork("body.items", 2 * f + g, config.hidden[-1], config.activation)
        self.out = Dense("body.out", config.hidden[-1], outputs, zero=True)
        self.parts = (self.items, self.out)

    def __call__(
        self, weights: WeightsByName, rows: Array, memory: Array | None, ops: Ops
    ) -> tuple[Array, Array | None]:
        """(k, lanes, B), and no memory."""
        nodes, lanes = self.layout.parts(rows)
        return self.out(weights, self.items(weights, self.ends(nodes, lanes, ops), ops), ops), None


class GraphBody(Backbone):
    """Graph network with messages along lanes: stock above and below is seen as far as rounds reach."""

    shared = True

    def __init__(self, features: Features, outputs: int, config: Layout) -> None:
        super().__init__(features, outputs)
        (f, n), (g, _) = features.shape
        hidden, activation = config.hidden[-1], config.activation
        ends = features.source, features.target
        self.graph = GraphNetwork("body.graph.", f, g, hidden, config.rounds, *ends, n, activation)
        self.ends = LaneEnds(features)
        self.out = Perceptron("body.out", (3 * hidden, hidden, outputs), activation, zero=True)
        self.parts = (self.graph, self.out)

    def __call__(
        self, weights: WeightsByName, rows: Array, memory: Array | None, ops: Ops
    ) -> tuple[Array, Array | None]:
        """(k, lanes, B), and no memory."""
        nodes, lanes = self.graph(weights, *self.layout.parts(rows), ops)
        return self.out(weights, self.ends(nodes, lanes, ops), ops), None


class RecurrentBody(Backbone):
    """A perceptron with memory, for what cannot be seen in one period: hidden regimes of demand or supply."""

    def __init__(self, features: Features, outputs: int, config: Layout) -> None:
        super().__init__(features, outputs)
        seen, (self.memory, *further) = int(features.moving.sum()), config.hidden
        self.cell = RecurrentUnit("body.cell", seen, self.memory)
        sizes = (seen + self.memory, *further, outputs * self.lanes)
        self.layers = Perceptron("body.layers", sizes, config.activation, zero=True)
        self.parts = (self.cell, self.layers)

    def __call__(
        self, weights: WeightsByName, rows: Array, memory: Array | None, ops: Ops
    ) -> tuple[Array, Array | None]:
        """(k, lanes, B), and the memory moved on; None stands for zeros."""
        seen = ops.select(rows, self.moving(ops)[0], 0)
        memory = ops.zeros((self.memory, seen.shape[-1]), ops.float) if memory is None else ops.to_float(memory)
        memory = self.cell(weights, seen, memory, ops)
        found = self.layers(weights, ops.concat([seen, memory], 0), ops)
        return found.reshape((self.outputs, self.lanes, -1)), memory


class LaneEnds:
    """Lanes with what is known of their ends: (hidden, lanes, B) of each, one below the other; suppliers know nothing."""

    def __init__(self, features: Features) -> None:
        self.source, self.target = (Ends(ends, len(features.cells)) for ends in (features.source, features.target))

    def __call__(self, nodes: Array, lanes: Array, ops: Ops) -> Array:
        """(lane features + 2 node features, lanes, B)."""
        padded = Ends.padded(nodes, ops)
        return ops.concat([lanes, self.target(padded, ops), self.source(padded, ops)], 0)


BODIES: dict[str, Any] = {
    "perceptron": PerceptronBody,
    "set": SetBody,
    "graph": GraphBody,
    "recurrent": RecurrentBody,
}
