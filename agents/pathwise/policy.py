"""Pathwise policies, trained by gradients through the simulator: features, network, head; saved without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.backend import TorchOps
from echelongym.envs.core.errors import expected
from echelongym.envs.core.validation import validate
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.scenario.scenario import Scenario

from ..networks.weights import weights
from ..policy_files import PolicyFile, read_policy, write_policy
from ..residual import rule_from_dict
from ..rules import Rule
from .backbones import BODIES, Backbone
from .config import KIND, Layout
from .features import Features
from .heads import HEADS, Head, automatic_head, automatic_start, untuned

_TORCH = TorchOps()
DUE_PERIODS, SHARED_DUE_PERIODS = 10, 5  # where the config leaves it open


class PathwiseActor(nn.Module):
    """Features, network and head as one module from an observation to a decision.

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
        super().__init__()
        t = scenario.tables
        most = max(int(t.max_lead_time.max(initial=1)) - 1, 1)
        many = config.network == "graph" or not learn_levels
        usual = SHARED_DUE_PERIODS if many else min(DUE_PERIODS, most)
        self.features = Features(scenario, config.due_periods or usual)
        self.head: Head = HEADS[config.head](self.features, rule, config.reach, learn_levels)
        self.body: Backbone | None = None
        if config.network != "none":
            self.body = BODIES[config.network](self.features, self.head.outputs, config)

    @property
    def shared(self) -> bool:
        """Whether nothing in it belongs to one network alone."""
        return self.body is not None and self.body.shared and self.head.shared

    def begin(self, worlds: int) -> None:
        """Before an episode or a gradient: clear the memory, and take in the learned numbers as they are now."""
        self.head.begin()
        if self.body is not None:
            self.body.start(worlds)

    def forward(self, observation: Observation) -> Decision:
        """The decision, in tensors."""
        if self.body is None:
            worlds = observation.on_hand.shape[0]
            outputs = torch.zeros((self.head.outputs, len(self.features.lanes), worlds))
        else:
            outputs = self.body(self.features(observation))
        decision: Decision = self.head(observation, outputs)
        return decision


class Tensors:
    """An observation whose arrays are tensors, made when they are looked at."""

    def __init__(self, observation: Observation) -> None:
        self._observation = observation

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._observation, name)
        found = None if value is None else _TORCH.asarray(value)
        setattr(self, name, found)
        return found


class PathwisePolicy:
    """A callable from observation to decision, on NumPy and PyTorch.

    Parameters
    ----------
    scenario
        Whose units it uses: the one trained on, or the one that a policy of shared weights runs on.
    config, actor
        What it is.
    facts
        What is known of its training, plain data.
    """

    def __init__(
        self, scenario: Scenario, config: Layout, actor: PathwiseActor, facts: dict[str, Any] | None = None
    ) -> None:
        self.scenario, self.config, self.actor = scenario, config, actor
        self.action, self.facts = config.head, dict(facts or {})
        self.tables = scenario.tables
        if actor.body is not None and actor.body.remembers:
            self.start = self._start

    def _start(self, worlds: int) -> None:
        """Forget what was seen."""
        with torch.no_grad():
            self.actor.begin(worlds)

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P), and a reserve where the rule that it corrects has one."""
        if not isinstance(observation.on_hand, np.ndarray):
            return self.actor(observation)
        with torch.no_grad():
            decision = self.actor(Tensors(observation))
        reserve = None if decision.reserve is None else decision.reserve.numpy()
        return Decision(decision.requests.numpy(), reserve)


def make_policy(
    scenario: Scenario, config: Layout, start: Rule | None = None, learn_levels: bool = True
) -> PathwisePolicy:
    """An untrained policy: it does what ``start`` does (left out: what suits the scenario)."""
    if config.head == "auto":
        config = config.model_copy(update={"head": automatic_head(scenario, start, learn_levels)})
    rule = start or automatic_start(scenario)
    return PathwisePolicy(scenario, config, PathwiseActor(scenario, config, rule, learn_levels))


def save_pathwise(path: Path, policy: PathwisePolicy) -> None:
    """Write a policy file, whole or not at all."""
    layout = policy.config.model_dump(mode="json", include=set(Layout.model_fields))
    layout["shared"] = policy.actor.shared
    write_policy(path, KIND, policy, policy.actor, layout, _rule_of(policy.actor.head))


def _rule_of(head: Head) -> Rule | None:
    """The rule that a head carries along, with where its numbers started."""
    base: Rule | None = getattr(head, "base", None)
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
    config, shared = validate(Layout, {key: layout[key] for key in Layout.model_fields}, where), layout["shared"]
    if not isinstance(shared, bool):
        raise expected("shared", shared, "true or false", where)
    trained = scenario if shared else file.trained_on(scenario)
    start = None
    if rule is not None:
        start = untuned(rule["rule"], trained) if shared else rule_from_dict(rule, trained, where)
    policy = make_policy(trained, config, start, learn_levels=not shared)
    policy.actor.load_state_dict(weights(file.arrays, where))
    policy.facts = dict(file.config["facts"])
    policy.actor.eval()
    with torch.no_grad():
        policy.actor.begin(0)
    return policy
