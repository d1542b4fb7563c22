"""Pathwise policies, trained by gradients through the simulator: features, network, head; saved without pickle."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.backend import TorchOps
from echelongym.envs.core.errors import InputError, expected, shorten
from echelongym.envs.core.plain import check_plain
from echelongym.envs.core.validation import validate
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.network.signature import check_network, is_complete, signature
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import write_bytes
from echelongym.envs.storage.outside_files import parse_json, read_npz, text_of

from ..networks.weights import weights
from ..origin import scenario_within
from ..registry import RULES
from ..rules import Rule
from .backbones import BODIES, Backbone
from .config import KIND, Layout
from .features import Features
from .heads import HEADS, Head, automatic_head, automatic_start, untuned

_SCHEMA = 1
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
    base = getattr(policy.actor.head, "base", None)
    content = {
        "schema": _SCHEMA,
        "kind": KIND,
        "network": signature(policy.scenario.tables),
        "digest": policy.scenario.digest,
        "scenario": policy.scenario.to_dict(),
        "config": policy.config.model_dump(mode="json", include=set(Layout.model_fields)),
        "rule": _rule_of(policy.actor.head, base),
        "shared": policy.actor.shared,
        "facts": policy.facts,
    }
    weights = {name: value.detach().numpy() for name, value in policy.actor.state_dict().items()}
    stream = io.BytesIO()
    np.savez(stream, config=np.array(json.dumps(content)), **weights)
    write_bytes(stream.getvalue(), path)


def _rule_of(head: Head, base: Rule | None) -> dict[str, Any] | None:
    """The rule that a head carries along, with where its numbers started."""
    if base is None:
        return None
    fixed = getattr(head, "fixed", None)
    rule = base if fixed is None else base.with_vector(base.space(), fixed)
    return {"name": rule.name, "parameters": rule.parameters}


def is_pathwise(path: Path) -> bool:
    """Whether a policy file is one of these."""
    if path.suffix == ".zip":  # of Stable-Baselines3, which is opened only where it is trusted
        return False
    try:
        arrays = read_npz(path, "policy")
        return bool(parse_json(text_of(arrays, "config", str(path)), str(path)).get("kind") == KIND)
    except (InputError, AttributeError):
        return False


def load_pathwise(path: Path, scenario: Scenario) -> PathwisePolicy:
    """Read a policy file of :func:`save_pathwise`; nothing in it is ever executed.

    A policy with shared weights is loaded for any network; others are refused where the network is another.

    Raises
    ------
    InputError
        If the file is damaged, or was trained on another network and is for that alone.
    """
    try:
        arrays = read_npz(path, "policy")
        content = parse_json(text_of(arrays, "config", str(path)), f"{path}: config")
        del arrays["config"]
        check_plain(content, f"{path}: config")
        if content["schema"] != _SCHEMA:
            raise expected("schema", content["schema"], f"{_SCHEMA}", str(path))
        config = validate(Layout, {key: content["config"][key] for key in Layout.model_fields}, str(path))
        shared, rule = content["shared"], content["rule"]
        if not isinstance(shared, bool):
            raise expected("shared", shared, "true or false", str(path))
        trained = scenario
        if not shared:
            check_network(content["network"], scenario.tables, str(path))
            if content["digest"] != scenario.digest or not is_complete(content["network"]):
                trained = scenario_within(content["scenario"], scenario, str(path), content["digest"])
                # Files of earlier versions give names alone; the scenario that they hold says the rest.
                check_network(signature(trained.tables), scenario.tables, str(path))
        start = None
        if rule is not None:
            start = untuned(rule["name"], trained) if shared else RULES[rule["name"]](trained, **rule["parameters"])
        policy = make_policy(trained, config, start, learn_levels=not shared)
        policy.actor.load_state_dict(weights(arrays, str(path)))
        policy.facts = dict(content["facts"])
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path}: is no policy file, or a damaged one: {shorten(str(error))}") from None
    policy.actor.eval()
    with torch.no_grad():
        policy.actor.begin(0)
    return policy
