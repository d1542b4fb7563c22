"""The gradient of a rule's cost in its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from echelongym.envs.interface.observation import Decision, Observation

from ..rules.rule import Rule, Space
from .cost_gradient import CostGradient


class RuleGradient(CostGradient):
    """Gradient in a vector (n,) of parameters of a rule; see :class:`CostGradient`.

    Parameters
    ----------
    rule
        In continuous units, with the numbers that say which lanes are used: a lane whose level is -inf here is not used
        whatever vector comes later.
    space
        Its parameters.
    """

    def __init__(self, rule: Rule, space: Space, periods: int, skipped: int, dtype: Any = np.float32) -> None:
        self.rule = rule

        def decide_of(_: Any, vector: Any) -> Any:
            candidate = rule.with_vector(space, vector)

            def decide(observation: Observation, memory: None) -> tuple[Decision, None]:
                return candidate(observation), memory

            return decide

        super().__init__(rule.scenario, periods, skipped, decide_of, dtype=dtype)
