"""Recording of a period: operations, layers, and which numbers come from where."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .symbols import Graph, SymbolArray, symbols


class CannotRecord(Exception):
    """Error for a policy or scenario that has no form as scalar operations."""


class Call(NamedTuple):
    """A layer applied to some inputs."""

    layer: int
    number: int  # of the calls of that layer
    inputs: tuple[Any, ...]  # nodes and numbers


@dataclass
class Layer:
    """A dense layer and the activation behind it ("" = none)."""

    names: tuple[str, str]  # of its weight and its bias
    inputs: int
    outputs: int
    activation: str
    calls: int = 0


@dataclass
class RecordedPeriod:
    """Recorded computation of a period.

    Attributes
    ----------
    exogenous : names and shapes of the arrays that come from the tape, in order.
    parameters : how many learned numbers of the head, and Lagrange multipliers of the targets behind them.
    start, following : of each place in the flat state that changes, where it starts and what it becomes.
    """

    graph: Graph
    layers: list[Layer] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    exogenous: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    parameters: int = 0
    start: list[float] = field(default_factory=list)
    following: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)  # cost, then unserved, demand and short by customer

    def layer(self, names: tuple[str, str], size: int, activation: str, values: Any) -> SymbolArray:
        """(size, ...) of values (inputs, ...): one call an entity."""
        flat = values.reshape(values.shape[0], -1)
        known = next((i for i, one in enumerate(self.layers) if one.names == names), None)
        if known is None:
            known = len(self.layers)
            self.layers.append(Layer(names, len(flat), size, activation))
        found = np.empty((size, flat.shape[1]), dtype=object)
        for entity in range(flat.shape[1]):
            call = len(self.calls)
            self.calls.append(Call(known, self.layers[known].calls, tuple(flat[:, entity])))
            self.layers[known].calls += 1
            for i in range(size):
                found[i, entity] = self.graph.node("layer", (float(call), float(i)))
        return symbols(found.reshape(size, *values.shape[1:]))

    def tape(self, name: str, shape: tuple[int, ...]) -> SymbolArray:
        """An array of the tape, (*shape, 1); who asks again gets the same."""
        first = 0
        for known, known_shape in self.exogenous:
            if known == name:
                break
            first += math.prod(known_shape)
        else:
            self.exogenous.append((name, shape))
        return self.graph.inputs("exogenous", first, shape).reshape(*shape, 1).view(SymbolArray)

    @property
    def rows(self) -> int:
        """Numbers of the tape in a period and world."""
        return sum(math.prod(shape) for _, shape in self.exogenous)
