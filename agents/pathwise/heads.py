"""Heads: from a network's outputs to requests, in four parameterisations that start from a sensible rule.

The first carries any rule of the base-stock family along, the last any rule at all; so training starts where tuning ended.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from echelongym.envs.core.backend import NUMPY, Array, NumpyOps, Ops
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats, Ints, NumpyArray
from echelongym.envs.dynamics import Segments
from echelongym.envs.interface.action_decoder import ActionDecoder
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.interface.observation import Decision, Observation

from ..networks.by_backend import ByBackend, constants
from ..networks.layers import ParameterStart, WeightsByName
from ..rules import Rule
from ..rules.base_stock import BaseStock
from ..rules.request_order import Shift, is_numbers
from .features import Features

THETA = "head.theta"  # the one parameter of a head

DecideFromOutputs = Callable[[Observation, Array], Decision]  # from an observation and outputs (k, lanes, B)


class RecordableHead(NamedTuple):
    """Head with its numbers, as :class:`echelongym.envs.rollout.recordable.Recordable` has a policy."""

    structure: Hashable
    numbers: Sequence[NumpyArray]  # (..., 1)
    on: Callable[[NumpyOps], Callable[[Sequence[Array]], DecideFromOutputs]]


class Head:
    """Head, from outputs (k, lanes, B) of a network to requests.

    Attributes
    ----------
    outputs : k.
    shared : whether it has no numbers of its own network, so that it does for others.
    base : the :class:`Rule` that it carries along; None where it carries none.
    """

    outputs = 1
    shared = True
    base: Any = None
    learned: int | None = (
        None  # numbers by node and lane that are learned, ``head.theta``; None where there is no such array
    )

    def starts(self) -> Iterator[tuple[str, ParameterStart]]:
        """Its parameters, by name."""
        if self.learned is not None:
            yield THETA, ParameterStart((self.learned,))

    def numbers(self, weights: WeightsByName, ops: Ops) -> Array | None:
        """What it decides with, made of its parameters: to be computed once for all periods that have the same weights."""
        if not self.learned:
            return None
        known = ops.known(weights[THETA])
        return weights[THETA] if known is None else known

    def on(self, numbers: Array | None, ops: Ops) -> DecideFromOutputs:
        """What decides on one backend, with the numbers that :meth:`numbers` gave.

        Raises
        ------
        TypeError
            Always: a head is one of ``HEADS``.
        """
        raise TypeError("a head is one of HEADS")

    def recordable(self, numbers: Array | None, dtype: Any) -> RecordableHead | None:
        """What a compiled rollout records of it for units of a type; None where it has to be asked."""
        return None

    @property
    def remembers(self) -> bool:
        """Whether the rule that it carries along has a memory of its own."""
        return hasattr(self.base, "start")

    def begin(self, worlds: int) -> None:
        """Before an episode of so many worlds: clear the memory of the rule that it carries along."""
        if self.remembers:
            self.base.start(worlds)


def _of_rule(rule: Rule, dtype: Any, on: Callable[[Any, Ops], DecideFromOutputs]) -> RecordableHead | None:
    """A head around a rule without memory, with what makes the head of the rule."""
    found = rule.recordable(dtype)
    if found is None or found.memory is not None or found.foreseen is not None or found.shared:
        return None

    def prepared(ops: NumpyOps) -> Callable[[Sequence[Array]], DecideFromOutputs]:
        made = found.on(ops)
        return lambda numbers: on(made(numbers), ops)

    return RecordableHead(found.structure, found.numbers, prepared)


class LevelsHead(Head):
    """Head that corrects levels and caps of a rule of the base-stock family, which are learned themselves, too.

    Level of a lane's position = learned level + reach x deviation x output; cap likewise. (Orders up to a level that
    depends on the state are no restriction, as any order is one; what is restricted is how much must be learnt.)

    Parameters
    ----------
    rule
        Whose levels are corrected, and where levels start.
    reach
        What an output of 1 is, in standard deviations of demand over what the position covers; of a period's for caps.
    learn
        Whether levels are learned themselves; False where the policy is for other networks.

    Raises
    ------
    InputError
        If the rule is none of the base-stock family.
    """

    def __init__(self, features: Features, rule: Rule, reach: float, learn: bool = True) -> None:
        if not isinstance(rule, BaseStock):
            raise expected("start", rule.name, "a rule of the base-stock family, or head=residual, which takes any")
        scenario, t = features.scenario, rule.tables
        self.base = type(rule)(scenario, **rule._get_options())
        self.space = self.base.space()
        vector = rule.vector(self.space)
        self.shared = not learn
        self.fixed = vector
        self.moving = np.flatnonzero(np.isfinite(vector)) if learn else np.zeros(0, dtype=np.int64)
        self.learned = len(self.moving)
        # Whose lanes in use are those of all that is learned, so that what follows from them is made once.
        self.start = self.base.with_vector(self.space, self.vector(None))
        lanes, products = np.divmod(features.lanes, t.P)
        target = t.lane_target[lanes] * t.P + products
        primary = self.base.forest.primary[target] == features.lanes
        deviation = automatic_levels(scenario).flow_deviation.reshape(-1)[target]
        covered = np.sqrt(t.protection[lanes]) * deviation
        unit = reach * np.where(primary, self.base.spread[target], covered)
        self.outputs = 2 if self.base.capped else 1
        # From outputs by lane to (N * P) levels of primary lanes, and (L * P) of others and of caps.
        self.nodes = Placing(np.where(primary, target, -1), unit, t.N * t.P)
        further = np.where(primary, -1, features.lanes)
        self.lanes = None if primary.all() else Placing(further, unit, t.L * t.P)
        self.caps = Placing(features.lanes, reach * deviation, t.L * t.P) if self.base.capped else None

    def numbers(self, weights: WeightsByName, ops: Ops) -> Array | None:
        """(moving,) levels and caps as learned: theta in units of their scale; in double precision where they are known."""
        if not self.learned:
            return None
        start, scale, lower = (
            part[self.moving] for part in (self.fixed, self.space.scale, np.maximum(self.space.lower, -1e30))
        )
        theta = weights[THETA]
        known = ops.known(theta)
        if known is not None:
            return np.maximum(start + scale * known.astype(np.float64), lower)
        start, scale, lower = map(ops.constant, (start, scale, lower))
        return ops.maximum(start + scale * ops.asarray(theta), lower)

    def vector(self, numbers: Array | None) -> Floats:
        """All of the rule's parameters, with the known numbers that are learned."""
        found = self.fixed.copy()
        if numbers is not None:
            found[self.moving] = numbers
        return np.maximum(found, self.space.lower)

    def on(self, numbers: Array | None, ops: Ops) -> DecideFromOutputs:
        """See :meth:`Head.on`."""
        return self._around(self._rule(numbers, ops), ops)

    def recordable(self, numbers: Array | None, dtype: Any) -> RecordableHead | None:
        """See :meth:`Head.recordable`."""
        return _of_rule(self._rule(numbers, NUMPY), dtype, self._around)

    def _rule(self, numbers: Array | None, ops: Ops) -> BaseStock:
        """The rule with what is learned."""
        if numbers is None or is_numbers(numbers):
            return self.start.with_vector(self.space, self.vector(numbers))
        return self.start.with_vector(self.space, ops.put(ops.constant(self.fixed), ops.index(self.moving), numbers))

    def _around(self, rule: Any, ops: Ops) -> DecideFromOutputs:
        def decide(observation: Observation, outputs: Array) -> Decision:
            outputs = ops.to_float(outputs)  # whole units would else be counted in 32 bits
            shift = Shift(
                nodes=self.nodes(outputs[0], ops),
                lanes=None if self.lanes is None else self.lanes(outputs[0], ops),
                caps=None if self.caps is None else self.caps(outputs[1], ops),
            )
            rule.learned = lambda _: shift
            return rule(observation)

        return decide


class Placing:
    """Outputs by lane, times a unit, at their places in a longer column.

    Parameters
    ----------
    places
        (lanes,) of each output; -1: it is left out.
    units
        (lanes,) that each is multiplied by.
    size
        Of the column.
    """

    def __init__(self, places: Ints, units: Floats, size: int) -> None:
        chosen = np.flatnonzero(places >= 0)
        where = np.full(size, len(chosen))
        where[places[chosen]] = np.arange(len(chosen))
        unit = units[chosen].astype(np.float32)[:, None]
        self.same = len(chosen) == size and bool((where == np.arange(size)).all()) and len(chosen) == len(places)
        self._on = ByBackend(constants, chosen, where, unit)

    def __call__(self, outputs: Array, ops: Ops) -> Array:
        """(size, B) of outputs (lanes, B); 0 where no lane leads."""
        chosen, where, unit = self._on(ops)
        if self.same:
            return outputs * unit
        none = ops.zeros((1, outputs.shape[-1]), outputs.dtype)
        padded = ops.concat([ops.select(outputs, chosen, 0) * unit, none], 0)
        return ops.select(padded, where, 0)


class DirectHead(Head):
    """Head around what automatic levels lack, smooth and never 0: s softplus((level - position) / s + output).

    The unit s is half a mean flow. Nothing is cut, so gradients never vanish.
    """

    def __init__(self, features: Features, rule: Rule, reach: float, learn: bool = True) -> None:
        self.decoder = ActionDecoder(features.scenario, "order_up_to")  # whose levels requests lie around
        t = self.decoder.tables
        flow = automatic_levels(features.scenario).flow.reshape(-1)[self.decoder.target]
        cells = self.decoder.lanes * t.P + self.decoder.products
        self._on = ByBackend(constants, 0.5 * flow[:, None], cells)
        self.reach, self.shared = 2 * reach, not learn  # the unit is half a mean flow
        self.learned = self.decoder.size if learn else 0

    def on(self, numbers: Array | None, ops: Ops) -> DecideFromOutputs:
        """See :meth:`Head.on`; the numbers are a constant a lane."""
        return self._deciding(None if numbers is None else ops.asarray(numbers)[:, None], ops)

    def recordable(self, numbers: Array | None, dtype: Any) -> RecordableHead:
        """See :meth:`Head.recordable`."""
        column = [] if numbers is None else [np.asarray(numbers)[:, None]]
        return RecordableHead((), column, lambda ops: lambda given: self._deciding(given[0] if given else None, ops))

    def _deciding(self, constants: Array | None, ops: Ops) -> DecideFromOutputs:
        t = self.decoder.tables
        _, cells = self._on(ops)

        def decide(observation: Observation, outputs: Array) -> Decision:
            asked = self._asked(observation, outputs, constants, ops)
            if self.decoder.size < t.L * t.P:
                asked = ops.put(ops.zeros((t.L * t.P, asked.shape[-1]), asked.dtype), cells, asked)
            return Decision(ops.moveaxis(asked.reshape((t.L, t.P, -1)), -1, 0))

        return decide

    def _asked(self, observation: Observation, outputs: Array, constants: Array | None, ops: Ops) -> Array:
        """(lanes, B) units."""
        decoding, (scale, _) = self.decoder.on(ops), self._on(ops)
        gap = decoding.centre - decoding.positions(self.decoder.owned(observation, ops))
        more = outputs[0] * self.reach
        if constants is not None:
            more = more + constants
        return scale * ops.softplus(gap / scale + more)


class SplitHead(DirectHead):
    """Head with supplier lanes as in :class:`DirectHead`; other stock is split: shares of what is on hand, and a share kept.

    Shares are a softmax around those that carry the mean flow in steady state, so no split asks for more than there is.

    Raises
    ------
    InputError
        If the scenario has no lanes out of a stock node.
    """

    def __init__(self, features: Features, rule: Rule, reach: float, learn: bool = True) -> None:
        super().__init__(features, rule, reach, learn)
        t = self.decoder.tables
        source = t.lane_source[self.decoder.lanes]
        split = np.flatnonzero(~t.is_supplier[source])
        if not len(split):
            raise expected(
                "head", "split", "a scenario with lanes out of a stock node; levels, direct or residual suit all"
            )
        stocks, group = np.unique((source * t.P + self.decoder.products)[split], return_inverse=True)
        share = ActionDecoder(features.scenario, "allocate").range.centre[split]
        share = np.clip(share, 0.005, 0.95)
        total = np.bincount(group, weights=share)
        share = share * np.minimum(0.97 / total, 1.0)[group]
        keep = 1 - np.bincount(group, weights=share)
        logit = np.log(share / keep[group])[:, None]
        self._shares = ByBackend(constants, split, stocks, logit)
        self._groups = ByBackend(_segments, group, len(stocks))

    def _asked(self, observation: Observation, outputs: Array, constants: Array | None, ops: Ops) -> Array:
        asked = super()._asked(observation, outputs, constants, ops)
        (split, stocks, logit), groups = self._shares(ops), self._groups(ops)
        more = ops.select(outputs[0], split, 0) * self.reach
        weight = ops.exp(ops.minimum(ops.maximum(ops.cast(logit, more.dtype) + more, -20.0), 20.0))
        on_hand = ops.total(ops.moveaxis(observation.on_hand, 0, -1), 2).reshape((-1, outputs.shape[-1]))
        per_weight = ops.select(on_hand, stocks, 0) / (1 + groups.sum(weight))
        shares = weight * groups.spread(per_weight)
        return ops.put(asked + 0, split, ops.cast(shares, asked.dtype))


def _segments(ops: Ops, groups: Ints, count: int) -> Segments:
    return Segments(groups, count, ops)


class ResidualHead(Head):
    """Head that adds mean flow x output to a rule's requests, never below 0; the rule stays as it is."""

    def __init__(self, features: Features, rule: Rule, reach: float, learn: bool = True) -> None:
        self.base, self.shared = rule, not learn
        t = rule.tables
        flow = automatic_levels(features.scenario).flow.reshape(-1)
        lanes, products = np.divmod(features.lanes, t.P)
        unit = reach * flow[t.lane_target[lanes] * t.P + products]
        self.place = Placing(features.lanes, unit, t.L * t.P)
        self.shape = (t.L, t.P)

    def on(self, numbers: Array | None, ops: Ops) -> DecideFromOutputs:
        """See :meth:`Head.on`."""
        return self._around(self.base, ops)

    def recordable(self, numbers: Array | None, dtype: Any) -> RecordableHead | None:
        """See :meth:`Head.recordable`."""
        return _of_rule(self.base, dtype, self._around)

    def _around(self, rule: Any, ops: Ops) -> DecideFromOutputs:
        def decide(observation: Observation, outputs: Array) -> Decision:
            decision = rule(observation)
            more = self.place(ops.to_float(outputs)[0], ops).reshape((*self.shape, -1))
            requests = ops.maximum(decision.requests + ops.moveaxis(more, -1, 0), 0.0)
            return Decision(requests, decision.reserve)

        return decide


HEADS: dict[str, Any] = {
    "levels": LevelsHead,
    "direct": DirectHead,
    "split": SplitHead,
    "residual": ResidualHead,
}
