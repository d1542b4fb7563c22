"""A pathwise policy as a function of its weights: features, network and head, written once for NumPy, PyTorch and JAX.

``actor.decide(weights, observation, ops, memory)`` gives the decision and the memory that the next period is given:

* ``weights``: by name (``head.theta``, ``body.layers.layers.0.weight`` ...), arrays of the backend; of JAX traced or not,
  bare or boxed. ``actor.starts()`` gives their names and shapes, ``PathwisePolicy.actor.weights()`` those of a policy.
* ``observation``: batch first, as simulations show it; of JAX boxed, as :class:`echelongym.envs.rollout.scan.Scan` does.
* ``ops``: the backend in which the simulation computes, ``NumpyOps``, ``TorchOps`` or ``JaxOps``. Networks compute in the
  floating type of their weights (JAX: of ``ops``), what is asked for in that of ``ops``.
* ``memory``: (numbers, B) where the network is recurrent or demand is remembered, else None; None at the start of an
  episode stands for zeros. ``lax.scan`` wants an array from the start: ``actor.opening(worlds, ops)``, which is None where
  nothing is remembered.

What depends on the weights alone (the rule with its learned levels) is made anew by every ``decide``; a loop over periods
makes it once: ``decide = actor.on(weights, ops)``, then ``decision, memory = decide(observation, memory)``. Under JAX call
``on`` within the traced function, outside the scan::

    def loss(weights):                       # a mapping of arrays, which jax.grad differentiates by
        decide = actor.on(weights, ops)
        def period(carried, number):
            ...
            decision, memory = decide(observation, memory)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from echelongym.envs.core.backend import NUMPY, Array, NumpyOps, Ops
from echelongym.envs.interface.observation import Decision, Observation, Policy
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.rollout.scan import Decide
from echelongym.envs.scenario.scenario import Scenario

from ..networks.by_backend import backend_key, in_type
from ..networks.layers import ParameterStart, WeightsByName
from ..rules import Rule
from .automatic import automatic_demand_memory, automatic_network
from .backbones import BODIES, Backbone
from .config import Layout
from .features import Features
from .heads import HEADS, DecideFromOutputs, Head
from .order_decisions.head import OrderHead

DUE_PERIODS, SHARED_DUE_PERIODS = 10, 5  # where the config leaves it open


class ActorDefinition:
    """Features, network and head of a scenario, without weights.

    Parameters
    ----------
    scenario
        Whose means and deviations are the units.
    config
        Layout.
    rule
        Where it starts.
    learn_levels
        Whether levels are learned besides; False for policies of many networks.
    """

    def __init__(self, scenario: Scenario, config: Layout, rule: Rule, learn_levels: bool = True) -> None:
        t = scenario.tables
        most = max(int(t.max_lead_time.max(initial=1)) - 1, 1)
        many = config.network == "graph" or not learn_levels
        usual = SHARED_DUE_PERIODS if many else min(DUE_PERIODS, most)
        demand_memory = config.demand_memory
        if demand_memory == "auto":
            demand_memory = automatic_demand_memory(scenario)
        due, lives = config.due_periods or usual, config.life_classes or 0
        self.features = Features(scenario, due, config.features == "network", lives, demand_memory)
        self.head: Head = HEADS[config.head](self.features, rule, config.reach, learn_levels)
        if config.order_decisions == "learned":
            self.head = OrderHead(scenario, self.features, self.head)
        self.body: Backbone | None = None
        network = automatic_network(scenario) if config.network == "auto" else config.network
        if network != "none":
            self.body = BODIES[network](self.features, self.head.outputs, config)

    @property
    def shared(self) -> bool:
        """Whether nothing in it belongs to one network alone."""
        return self.body is not None and self.body.shared and self.head.shared

    def starts(self) -> Iterator[tuple[str, ParameterStart]]:
        """Name, shape and first values of each parameter."""
        yield from self.head.starts()
        if self.body is not None:
            yield from self.body.starts()

    @property
    def memory(self) -> int:
        """Numbers a world that are kept from period to period: the network's, and below them those of the features."""
        return 0 if self.body is None else self.body.memory + self.features.memory

    def opening(self, worlds: int, ops: Ops) -> Array | None:
        """The memory (numbers, B) at the start of an episode, zeros in the backend's floating type; None: none is kept."""
        return ops.zeros((self.memory, worlds), ops.float) if self.memory else None

    def on(self, weights: WeightsByName, ops: Ops) -> Decide:
        """What decides with these weights, from an observation and the memory; see the head of this module."""
        return self.deciding(self.head.numbers(weights, ops), weights, ops)

    def deciding(self, numbers: Array | None, weights: WeightsByName, ops: Ops) -> Decide:
        """The same with the numbers that the head has made of its weights, see :meth:`Head.numbers`."""
        return self._joined(self.head.on(numbers, ops), weights, ops)

    def _joined(self, head: DecideFromOutputs, weights: WeightsByName, ops: Ops) -> Decide:
        """Features and network before a head."""
        if self.body is None:
            shape = self.head.outputs, len(self.features.lanes)

            def by_itself(observation: Observation, memory: Array | None) -> tuple[Decision, Array | None]:
                return head(observation, ops.zeros((*shape, observation.on_hand.shape[0]), ops.float)), memory

            return by_itself
        body, features = self.body, self.features
        own = in_type(ops, weights[next(body.starts())[0]].dtype)

        def decide(observation: Observation, memory: Array | None) -> tuple[Decision, Array | None]:
            outputs, memory = body(weights, features(observation, own), memory, own)
            return head(observation, outputs), memory

        def remembering(observation: Observation, memory: Array | None) -> tuple[Decision, Array | None]:
            memory = None if memory is None else own.to_float(memory)
            hidden = None if memory is None or not body.memory else memory[: body.memory]
            recent = features.remembered(observation, None if memory is None else memory[body.memory :], own)
            outputs, hidden = body(weights, features(observation, own, recent), hidden, own)
            return head(observation, outputs), recent if hidden is None else own.concat([hidden, recent], 0)

        return remembering if features.memory else decide

    def recordable(self, weights: WeightsByName, dtype: Any) -> Recordable | None:
        """What a compiled rollout records of it with weights of NumPy, for units of a type; None where it has to be asked."""
        head = self.head.recordable(self.head.numbers(weights, NUMPY), dtype)
        if head is None:
            return None
        body = {} if self.body is None else {name: weights[name] for name, _ in self.body.starts()}
        kind = next(iter(body.values())).dtype if body else None
        size = self.memory

        def on(ops: NumpyOps) -> Callable[[Sequence[Array]], Policy]:
            made = head.on(ops)

            def policy(given: Sequence[Array]) -> Policy:
                count = len(head.numbers)
                named = dict(zip(body, given[count:], strict=True))
                return Remembering(self._joined(made(given[:count]), named, ops))

            return policy

        return Recordable(
            (self, head.structure, str(kind)),
            head.numbers,
            on,
            memory=[np.zeros((size, 1), kind)] if size else None,
            shared=list(body.values()),
        )

    def decide(
        self, weights: WeightsByName, observation: Observation, ops: Ops, memory: Array | None = None
    ) -> tuple[Decision, Array | None]:
        """The decision, and the memory after this period; see the head of this module."""
        return self.on(weights, ops)(observation, memory)


class Remembering:
    """A policy whose memory is set from outside and read after every decision: a list of one array, or empty."""

    def __init__(self, decide: Decide) -> None:
        self._decide = decide
        self.memory: list[Array] = []

    def __call__(self, observation: Observation) -> Decision:
        """The decision; the memory moves on."""
        decision, memory = self._decide(observation, self.memory[0] if self.memory else None)
        self.memory = [] if memory is None else [memory]
        return decision


class Running:
    """An actor with weights at play: the memory of its episode, and what is made of the weights once for all periods.

    Parameters
    ----------
    weights
        From a backend to the weights, its arrays.
    """

    def __init__(self, actor: ActorDefinition, weights: Callable[[Ops], WeightsByName]) -> None:
        self.actor, self.weights = actor, weights
        self.begin(0)

    def begin(self, worlds: int) -> None:
        """Before an episode or a gradient: clear the memory, the rule's included, and take in the weights as they are now."""
        self.actor.head.begin(worlds)
        self._memory: Array | None = None
        self._made: dict[tuple[Any, ...], Decide] = {}

    def __call__(self, observation: Observation, ops: Ops, mode: Any = None) -> Decision:
        """The decision of the next period; ``mode`` tells apart what is made of the same weights in another way."""
        key = *backend_key(ops), mode
        decide = self._made.get(key)
        if decide is None:
            decide = self._made[key] = self.actor.on(self.weights(ops), ops)
        decision, self._memory = decide(observation, self._memory)
        return decision
