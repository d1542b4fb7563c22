"""A policy's decision, recorded as scalar operations; a layer of its network is one of them."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from ...networks.layers import Dense
from ...rules.request_order import Shift
from ..backbones import PerceptronBody, SetBody
from ..features import BOUND, Features
from ..heads import DirectHead, LevelsHead
from ..policy import PathwiseActor
from .recording import CannotRecord, RecordedPeriod
from .symbols import SYMBOLS, SymbolArray, symbols


class Decided(NamedTuple):
    """A decision of expressions."""

    requests: Any
    reserve: Any


class RecordedPolicy:
    """An actor on arrays of expressions.

    Raises
    ------
    CannotRecord
        For networks and heads that are not known here.
    """

    def __init__(self, actor: PathwiseActor, made: RecordedPeriod, scenario: Any) -> None:
        self.actor, self.made, self.graph, self.t = actor, made, made.graph, scenario.tables

    def __call__(self, observation: Any) -> tuple[Any, Any]:
        """Requests as expressions of what is observed.

        Raises
        ------
        CannotRecord
            If the head or the network has no compiled form.
        """
        head, outputs = self.actor.head, self._outputs(observation)
        if type(head) is LevelsHead:
            decision = self._levels(head, outputs)(observation)
        elif type(head) is DirectHead:
            decision = self._direct(head, outputs, observation)
        else:
            raise CannotRecord(f"head {type(head).__name__}")
        reserve = None if decision.reserve is None else symbols(np.moveaxis(decision.reserve, 0, -1))
        return symbols(np.moveaxis(decision.requests, 0, -1)), reserve

    def _outputs(self, observation: Any) -> SymbolArray | None:
        """(k, lanes, 1) of the network."""
        body, actor = self.actor.body, self.actor
        if body is None:
            return None
        rows = self._features(actor.features, observation)
        if type(body) is PerceptronBody:
            found = self._perceptron(body.layers, rows[np.asarray(body.picked)])
            return symbols(found.reshape(body.outputs, body.lanes, 1))
        if type(body) is SetBody:
            (f, n), (g, lanes) = actor.features.shape
            nodes, edges = rows[: f * n].reshape(f, n, 1), rows[f * n :].reshape(g, lanes, 1)
            padded = symbols(np.concatenate([nodes, np.zeros((f, 1, 1))], 1))
            ends = body.ends
            items = [edges, padded[:, np.asarray(ends.target)], padded[:, np.asarray(ends.source)]]
            own = self._perceptron(body.items.first, symbols(np.concatenate(items, 0)))
            activation = type(body.items.activation).__name__.lower()
            mean = symbols(own.sum(1, keepdims=True) * (1.0 / lanes))
            pool = self.made.layer(body.items.pooled, activation, mean)
            both = symbols(np.concatenate([own, np.broadcast_to(pool, own.shape)], 0))
            return self.made.layer(body.out, "", self.made.layer(body.items.second, activation, both))
        raise CannotRecord(f"network {type(body).__name__}")

    def _features(self, features: Features, observation: Any) -> SymbolArray:
        """(rows, 1) see :class:`Features`."""

        def column(name: str) -> Any:
            if name == "season":
                return self.made.tape("season", (2,))[:, 0]
            if name == "expiring":
                return observation.on_hand[0, :, :, 0].reshape(-1)
            value = np.asarray(getattr(observation, name))
            axis = {"on_hand": 3, "in_transit": 4, "backlog": 3}.get(name)
            return (value if axis is None else SYMBOLS.total(value, axis)).reshape(-1)

        raw = np.concatenate([np.asarray(column(name)) for name in features.arrays])
        found = np.array(features.constant[:, 0].double().tolist(), dtype=object)
        for row, place, value in zip(*features.places.tolist(), features.coefficients.tolist(), strict=True):
            found[row] = found[row] + raw[place] * value
        cut = SYMBOLS.minimum(SYMBOLS.maximum(symbols(found), -BOUND), BOUND)
        return symbols(cut[:, None])

    def _perceptron(self, perceptron: Any, values: Any) -> SymbolArray:
        layers = list(perceptron.layers)
        for number, module in enumerate(layers):
            if isinstance(module, Dense):
                behind = layers[number + 1] if number + 1 < len(layers) else None
                activation = (
                    type(behind).__name__.lower() if behind is not None and not isinstance(behind, Dense) else ""
                )
                values = self.made.layer(module, activation, values)
        return symbols(values)

    def _levels(self, head: LevelsHead, outputs: SymbolArray | None) -> Any:
        rule = copy.copy(head.base.with_vector(head.space, head.fixed))
        rule.values = {name: np.array(values, dtype=object) for name, values in rule.values.items()}
        numbers = self.graph.inputs("parameter", 0, (len(head.moving),))
        self.made.parameters = len(head.moving)
        for number, entry in enumerate(head.moving.tolist()):
            rule.values[head.space.groups[entry]][head.space.cells[entry]] = numbers[number]
        rule._numbers, rule._made, rule._plans = {}, {}, {}
        if outputs is None:
            return rule

        def placed(scatter: Any, values: SymbolArray) -> SymbolArray | None:
            if scatter is None:
                return None
            chosen, where, unit = scatter
            some = (values if chosen is None else values[np.asarray(chosen)]) * np.asarray(unit)
            padded = np.concatenate([some, np.zeros((1, 1), dtype=object)], 0)
            return symbols(padded[np.arange(len(some)) if chosen is None else np.asarray(where)])

        caps = placed(head.caps, outputs[1]) if head.caps is not None else None
        shift = Shift(placed(head.nodes, outputs[0]), placed(head.lanes, outputs[0]), None, caps)
        rule.learned = lambda _: shift
        return rule

    def _direct(self, head: DirectHead, outputs: SymbolArray | None, observation: Any) -> Any:
        decoder, t = head.decoder, self.t
        decoding = decoder.on(SYMBOLS)  # type: ignore[arg-type]
        gap = decoding.centre - decoding.positions(decoder.owned(observation, SYMBOLS))  # type: ignore[arg-type]
        more = symbols(np.zeros((decoder.size, 1))) if outputs is None else outputs[0] * head.reach
        if len(head.theta):
            more = more + self.graph.inputs("parameter", 0, (len(head.theta),))[:, None]
            self.made.parameters = len(head.theta)
        scale = np.asarray(head.scale, dtype=np.float64)
        asked = SYMBOLS.softplus(gap / scale + more) * scale
        requests = SYMBOLS.zeros((t.L * t.P, 1), None)
        requests[np.asarray(head.cells)] = asked
        return Decided(np.moveaxis(requests.reshape(t.L, t.P, 1), -1, 0), None)
