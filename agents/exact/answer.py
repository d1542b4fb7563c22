"""Result of an exact method: optimal cost and policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from echelongym.envs.interface.observation import Decision, Observation


@dataclass(frozen=True, eq=False)
class Exact:
    """A scenario's optimal long-run average cost, and a policy that attains it.

    Attributes
    ----------
    value
        Money a period, revenue left out, on the long run: horizon, warm-up, initial stock and terminal values of
        the scenario do not count.
    method
        ``clark_scarf``, ``newsvendor``, ``reorder_point`` or ``value_iteration``.
    policy
        A policy that costs ``value``, for ``simulate`` and everything else that takes one.
    parameters
        Its numbers, in the form ``load_policy`` takes where it is a rule (``policy.name`` tells which).
    error
        Bound, or estimate where ``notes`` say so, of the numerical error of ``value``, money a period.
    notes
        What was assumed and limited, a line each.
    """

    value: float
    method: str
    policy: Callable[[Observation], Decision] | None
    parameters: dict[str, Any]
    error: float
    notes: tuple[str, ...] = field(default=())
