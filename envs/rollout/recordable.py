"""Policies that can be recorded: pure functions of what they observe and of some numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..core.backend import Array, NumpyOps
from ..core.typing import NumpyArray
from ..interface.observation import Policy


@dataclass(frozen=True, eq=False)
class Recordable:
    """What a policy does, apart from its numbers.

    Parameters
    ----------
    structure
        Equal for two policies of one scenario that do the same operations, perhaps with other numbers.
    numbers
        Arrays (..., 1) that differ from policy to policy; nothing is decided by their values.
    on
        From a backend to a function that makes the policy from recorded numbers (..., B). What it prepares once is
        prepared when it is called with the backend.
    """

    structure: Hashable
    numbers: Sequence[NumpyArray]
    on: Callable[[NumpyOps], Callable[[Sequence[Array]], Policy]]


@runtime_checkable
class RecordablePolicy(Protocol):
    """Policy that may be recorded."""

    def recordable(self, dtype: Any) -> Recordable | None:
        """What is to be recorded for observations of units of a type; None where the policy must be asked every time."""
        ...


def recordable(policy: Any, dtype: Any) -> Recordable | None:
    """What is to be recorded of a policy; None where it keeps memory, looks at the tape or does not say that it is pure."""
    if hasattr(policy, "start") or hasattr(policy, "foresee") or not isinstance(policy, RecordablePolicy):
        return None
    return policy.recordable(dtype)
