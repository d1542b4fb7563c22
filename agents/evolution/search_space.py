"""What evolution searches: the weights of a pathwise policy, and the numbers of the rule that it carries along."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.backend import half_up
from echelongym.envs.core.typing import Floats

from ..pathwise.heads import THETA, ResidualHead
from ..pathwise.policy import PathwisePolicy
from ..tuning.judging import whole_entries


class SearchSpace(nn.Module):
    """Weights of a policy and numbers of its rule, as functions of one vector that is 0 at the start.

    Numbers of the rule are searched besides the weights where the head adds to the requests of a rule (``residual``); the
    head ``levels`` has them among its weights, and other heads have none.

    Parameters
    ----------
    policy
        Whose weights they are; they are changed in place.
    sigma
        Standard deviation that one unit of the vector is for weights, times the root of a layer's inputs.
    level_sigma
        The same for levels, caps and other numbers of the rule, in units of their scales.

    Attributes
    ----------
    policy : the policy.
    size : entries of the vector.
    """

    def __init__(self, policy: PathwisePolicy, sigma: float, level_sigma: float) -> None:
        super().__init__()
        self.policy, self.actor = policy, policy.actor
        self._starts = {name: value.copy() for name, value in self.actor.weights().items()}
        self._units = {
            name: level_sigma if name == THETA else sigma * value.shape[-1] ** -0.5
            for name, value in self._starts.items()
        }
        self._level_sigma = level_sigma
        self._begin_rule()
        self.size = sum(value.size for value in self._starts.values()) + len(self._moving)

    def _begin_rule(self) -> None:
        """Find the numbers of the rule that may move: of a rule that remembers and foresees nothing."""
        head = self.policy.definition.head
        self._base: Any = head.base if isinstance(head, ResidualHead) else None
        if self._base is not None and (head.remembers or hasattr(self._base, "foresee")):
            self._base = None
        self._moving = np.zeros(0, dtype=np.int64)
        first = np.zeros(0)
        if self._base is not None:
            rule = self._base
            self._space = type(rule)(self.policy.scenario, **rule._get_options()).space()
            first = rule.vector(self._space)
            self._moving = np.flatnonzero(np.isfinite(first))
            self._whole = whole_entries(rule, self._space)[self._moving]
        self._first = first
        self.register_buffer("rule", torch.from_numpy(first.copy()))

    def put(self, vector: Floats) -> None:
        """Set weights and numbers to those of a vector (size,)."""
        place = 0
        for name, value in self.actor.weights().items():
            start = self._starts[name]
            step = vector[place : place + start.size].reshape(start.shape)
            value[...] = start + self._units[name] * step
            place += start.size
        if len(self._moving):
            self._put_rule(vector[place : place + len(self._moving)])
        self.use()

    def _put_rule(self, steps: Floats) -> None:
        """Numbers of the rule: within their bounds, whole where units are, and unchanged where the step is 0."""
        space, moving = self._space, self._moving
        moved = np.maximum(self._first[moving] + self._level_sigma * space.scale[moving] * steps, space.lower[moving])
        numbers = self._first.copy()
        numbers[moving] = np.where(steps == 0.0, self._first[moving], np.where(self._whole, half_up(moved), moved))
        self.get_buffer("rule").copy_(torch.from_numpy(numbers))

    def use(self) -> None:
        """Let the policy decide with the weights and numbers as they are now."""
        if len(self._moving):
            numbers = self.get_buffer("rule").numpy().copy()
            self.policy.definition.head.base = self._base.with_vector(self._space, numbers)
        self.actor.begin(0)
