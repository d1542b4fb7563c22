"""Pathwise policies, trained by gradients through the simulator: features, network, head; saved without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echelongym.envs.core.backend import Ops, ops_of
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import NumpyArray
from echelongym.envs.core.validation import validate
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.scenario.scenario import Scenario

from ..networks.by_backend import in_type
from ..networks.layers import WeightsByName
from ..networks.weights import fitting, weights
from ..policy_files import PolicyFile, read_policy, write_policy
from ..residual import rule_from_dict
from ..rules import Rule
from .actor import ActorDefinition, Running
from .automatic import (
    automatic_demand_memory,
    automatic_head,
    automatic_life_classes,
    automatic_network,
    automatic_start,
    order_decisions,
    untuned,
)
from .config import KIND, Layout
from .heads import Head

if TYPE_CHECKING:
    from .module import PathwiseActor


class PathwisePolicy:
    """A callable from observation to decision, on NumPy and PyTorch.

    Parameters
    ----------
    scenario
        Whose units it uses: the one trained on, or the one that a policy of shared weights runs on.
    config, definition
        What it is.
    weights
        By name; left out: those that training starts with, drawn by torch.
    facts
        What is known of its training, plain data.
    """

    def __init__(
        self,
        scenario: Scenario,
        config: Layout,
        definition: ActorDefinition,
        weights: dict[str, NumpyArray] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.scenario, self.config, self.definition = scenario, config, definition
        self.action, self.facts = config.head, dict(facts or {})
        self.tables = scenario.tables
        self._weights = None if weights is None else fitting(weights, definition.starts())
        self._module: PathwiseActor | None = None
        self._running = Running(definition, self._given) if weights is not None else self.actor.running
        if definition.memory or definition.head.remembers:
            self.start = self._start
        if hasattr(definition.head.base, "foresee"):
            self.foresee = definition.head.base.foresee

    @property
    def actor(self) -> PathwiseActor:
        """Its parameters as a torch module; whoever changes them changes the policy, from ``actor.begin`` on."""
        if self._module is None:
            from .module import PathwiseActor

            self._module = PathwiseActor(self.definition, self._weights)
            self._running = self._module.running
        return self._module

    def _given(self, ops: Ops) -> WeightsByName:
        assert self._weights is not None
        return self._weights

    def weights(self) -> dict[str, NumpyArray]:
        """Weights by name, in single precision."""
        return dict(self._weights or {}) if self._module is None else self._module.weights()

    def recordable(self, dtype: Any) -> Recordable | None:
        """What a compiled rollout records of it for units of a type, with the weights as they are now."""
        return self.definition.recordable(self.weights(), dtype)

    def _start(self, worlds: int) -> None:
        """Forget what was seen."""
        self._running.begin(worlds)

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P), and a reserve where the rule that it corrects has one."""
        on_hand = observation.on_hand
        ops = ops_of(on_hand)
        if ops.name == "torch":
            decision: Decision = self.actor(observation)
            return decision
        if isinstance(on_hand, np.ndarray) and on_hand.dtype.kind == "f":
            ops = in_type(ops, on_hand.dtype)
        return self._running(observation, ops)


def make_policy(
    scenario: Scenario,
    config: Layout,
    start: Rule | None = None,
    learn_levels: bool = True,
    weights: dict[str, NumpyArray] | None = None,
) -> PathwisePolicy:
    """A policy with weights; without, an untrained one, which does what ``start`` does (left out: what suits the scenario)."""
    if config.network == "auto":
        config = config.model_copy(update={"network": automatic_network(scenario)})
    if config.demand_memory == "auto":
        config = config.model_copy(update={"demand_memory": automatic_demand_memory(scenario)})
    if config.head == "auto":
        config = config.model_copy(update={"head": automatic_head(scenario, start, learn_levels)})
    if config.features == "auto":
        config = config.model_copy(update={"features": "own" if learn_levels else "network"})
    if config.life_classes is None:
        classes = automatic_life_classes(scenario, learn_levels and config.network != "graph")
        config = config.model_copy(update={"life_classes": classes})
    config = config.model_copy(update={"order_decisions": order_decisions(scenario, config, learn_levels)})
    rule = start or automatic_start(scenario)
    return PathwisePolicy(scenario, config, ActorDefinition(scenario, config, rule, learn_levels), weights)


def save_pathwise(path: Path, policy: PathwisePolicy) -> None:
    """Write a policy file, whole or not at all."""
    layout = policy.config.model_dump(mode="json", include=set(Layout.model_fields))
    if policy.config.order_decisions == "none":
        del layout["order_decisions"]  # so that other versions read the file
    layout["shared"] = policy.definition.shared
    write_policy(path, KIND, policy, policy.weights(), layout, _rule_of(policy.definition.head))


def _rule_of(head: Head) -> Rule | None:
    """The rule that a head carries along, with where its numbers started."""
    base: Rule | None = head.base
    fixed = getattr(head, "fixed", None)
    return base if base is None or fixed is None else base.with_vector(base.space(), fixed)


def load_pathwise(path: Path, scenario: Scenario) -> PathwisePolicy:
    """Read a policy file of :func:`save_pathwise`; see :func:`echelongym.agents.policy_files.read_policy`."""
    policy: PathwisePolicy = read_policy(path, scenario, {KIND: pathwise_policy})
    return policy


def pathwise_policy(file: PolicyFile, scenario: Scenario) -> PathwisePolicy:
    """The policy of a file of :func:`save_pathwise`.

    A policy with shared weights is loaded for any network; others are refused where the network is another.

    Raises
    ------
    InputError
        If it was trained on another network and is for that alone, or the file holds something else.
    """
    where, layout, rule = str(file.path), file.config["layout"], file.config["rule"]
    config, shared = (
        validate(Layout, {key: layout[key] for key in Layout.model_fields if key in layout}, where),
        layout["shared"],
    )
    if not isinstance(shared, bool):
        raise expected("shared", shared, "true or false", where)
    trained = scenario if shared else file.trained_on(scenario)
    start = None
    if rule is not None:
        start = untuned(rule["rule"], trained) if shared else rule_from_dict(rule, trained, where)
    policy = make_policy(trained, config, start, not shared, weights(file.arrays, where))
    policy.facts = dict(file.config["facts"])
    return policy
