"""Head whose network also chooses, lane by lane, whether to order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from echelongym.envs.core.backend import NUMPY, Array, NumpyOps, Ops
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.scenario.scenario import Scenario

from ...networks.layers import WeightsByName
from ...rules.request_order import is_numbers
from ..features import Features
from ..heads import DecideFromOutputs, Head, LevelsHead, RecordableHead, _of_rule
from .choice import OPTIONS, OrderChoice


class OrderHead(Head):
    """Head around another: what that one asks for is one of several orders, of which the network chooses.

    The choice is by the best of scores, so that gradients of quantities flow through the order chosen and none through the
    choice. (Where choices are the best ones, two orders cost the same at the border between them, so nothing is missing.)

    Attributes
    ----------
    inner : the head that says quantities.
    choice : the :class:`OrderChoice`.
    forced : (U, B) options that are taken whatever the network says, -1 where none is; None: nowhere.
    """

    def __init__(self, scenario: Scenario, features: Features, inner: Head) -> None:
        self.inner, self.base, self.shared, self.learned = inner, inner.base, False, inner.learned
        self._points: Any = None  # entries of the rule's numbers that are reorder points, and those of the levels
        if isinstance(inner, LevelsHead):
            self.fixed = inner.fixed
            self._points = _points_and_levels(inner)
        self.choice = OrderChoice(scenario, features.lanes)
        self.outputs = inner.outputs + 2 * OPTIONS
        self.forced: Array | None = None

    def numbers(self, weights: WeightsByName, ops: Ops) -> Array | None:
        """See :meth:`Head.numbers`."""
        return self.inner.numbers(weights, ops)

    def begin(self, worlds: int) -> None:
        """See :meth:`Head.begin`."""
        self.inner.begin(worlds)

    def on(self, numbers: Array | None, ops: Ops) -> DecideFromOutputs:
        """See :meth:`Head.on`."""
        up_to = None
        if isinstance(self.inner, LevelsHead) and self._points is not None:
            up_to = self.inner._around(self._without_points(self.inner, numbers, ops), ops)
        return self._choosing(self.inner.on(numbers, ops), up_to, ops)

    def recordable(self, numbers: Array | None, dtype: Any) -> RecordableHead | None:
        """See :meth:`Head.recordable`."""
        asked, up_to = self.inner.recordable(numbers, dtype), None
        if asked is None:
            return None
        if isinstance(self.inner, LevelsHead) and self._points is not None:
            rule = self._without_points(self.inner, numbers, NUMPY)
            up_to = _of_rule(rule, dtype, self.inner._around)
            if up_to is None:
                return None
        first = len(asked.numbers)

        def on(ops: NumpyOps) -> Callable[[Sequence[Array]], DecideFromOutputs]:
            made = asked.on(ops), None if up_to is None else up_to.on(ops)

            def head(given: Sequence[Array]) -> DecideFromOutputs:
                also = None if made[1] is None else made[1](given[first:])
                return self._choosing(made[0](given[:first]), also, ops)

            return head

        more = None if up_to is None else up_to.structure
        every = [*asked.numbers, *([] if up_to is None else up_to.numbers)]
        return RecordableHead(("orders", asked.structure, more), every, on)

    def _without_points(self, inner: LevelsHead, numbers: Array | None, ops: Ops) -> Any:
        """The rule with reorder points at its levels: it orders whatever is missing."""
        points, levels = self._points
        if numbers is None or is_numbers(numbers):
            vector = inner.vector(numbers)
            vector[points] = vector[levels]
        else:
            vector = ops.put(ops.constant(inner.fixed), ops.index(inner.moving), numbers)
            vector = ops.put(vector + 0, ops.index(points), vector[ops.index(levels)])
        return inner.start.with_vector(inner.space, vector)

    def _choosing(self, asked: DecideFromOutputs, up_to: DecideFromOutputs | None, ops: Ops) -> DecideFromOutputs:
        own = self.inner.outputs

        def decide(observation: Observation, outputs: Array) -> Decision:
            quantities = outputs[:own]
            decision = asked(observation, quantities)
            further = None if up_to is None else up_to(observation, quantities).requests
            scores = ops.to_float(outputs[own:])
            requests = self.choice.chosen(decision.requests, further, scores, self.forced, ops)
            return Decision(requests, decision.reserve)

        return decide


def _points_and_levels(head: LevelsHead) -> tuple[Any, Any] | None:
    """Entries of reorder points, and those of the levels of the same nodes and products; None where there are no such."""
    groups, cells = np.array(head.space.groups), head.space.cells
    points = np.flatnonzero((groups == "reorder_points") & np.isfinite(head.fixed))
    levels = {int(cells[entry]): int(entry) for entry in np.flatnonzero(groups == "levels")}
    if not len(points) or any(int(cells[entry]) not in levels for entry in points):
        return None
    return points, np.array([levels[int(cells[entry])] for entry in points])


def quantities(head: Head) -> Head:
    """The head that says quantities: of an :class:`OrderHead` the one inside."""
    return head.inner if isinstance(head, OrderHead) else head
