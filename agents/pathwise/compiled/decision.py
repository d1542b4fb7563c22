"""A policy's decision, recorded as scalar operations; a layer of its network is one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from echelongym.envs.core.backend import Array

from ..actor import ActorDefinition
from ..backbones import PerceptronBody, SetBody
from ..heads import DirectHead, LevelsHead
from ..order_decisions.head import quantities
from .recording import CannotRecord, RecordedPeriod
from .symbols import SymbolOps, symbols


class RecordingOps(SymbolOps):
    """Vocabulary in which a dense layer is one operation, known by the names of its weights."""

    def __init__(self, made: RecordedPeriod, actor: ActorDefinition) -> None:
        super().__init__()
        self.made, self.shapes = made, {name: start.shape for name, start in actor.starts()}

    def dense(self, weight: Any, bias: Any, values: Array, activation: str = "") -> Array:
        """A dense layer; see :meth:`echelongym.envs.core.backend.NumpyOps.dense`."""
        outputs, _ = self.shapes[weight.name]
        return self.made.layer((weight.name, bias.name), outputs, activation, values)


class _Named(NamedTuple):
    """A weight that is known by name alone."""

    name: str
    dtype: Any


class _Names(Mapping[str, _Named]):
    """Weights that are known by name alone."""

    def __init__(self, actor: ActorDefinition, dtype: Any) -> None:
        self._named = {name: _Named(name, dtype) for name, _ in actor.starts()}

    def __getitem__(self, name: str) -> _Named:
        return self._named[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


def recorded_decision(actor: ActorDefinition, made: RecordedPeriod, observation: Any) -> tuple[Any, Any]:
    """Requests (L, P, 1) and reserve (S, P, 1) or None as expressions of what is observed.

    Raises
    ------
    CannotRecord
        If the head or the network has no compiled form.
    """
    for part, known in (
        (quantities(actor.head), (LevelsHead, DirectHead)),
        (actor.body, (PerceptronBody, SetBody, type(None))),
    ):
        if type(part) not in known:
            raise CannotRecord(f"a {type(part).__name__}")
    if actor.memory:
        raise CannotRecord("a memory")
    ops: Any = RecordingOps(made, actor)
    made.parameters = actor.head.learned or 0
    numbers = made.graph.inputs("parameter", 0, (made.parameters,)) if made.parameters else None
    decision, _ = actor.deciding(numbers, _Names(actor, ops.float), ops)(observation, None)
    requests, reserve = decision.requests, decision.reserve
    return symbols(np.moveaxis(requests, 0, -1)), None if reserve is None else symbols(np.moveaxis(reserve, 0, -1))
