"""Policies that can be recorded: pure functions of what they observe and of some numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..core.backend import Array, NumpyOps
from ..core.typing import NumpyArray
from ..interface.observation import Policy
from ..worlds.tape import Tape


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
        From a backend to a function that makes the policy from recorded numbers (..., B), and behind them the shared arrays.
        What it prepares once is prepared when it is called with the backend.
    memory
        Arrays (..., 1) that the policy remembers before the first period; None for a policy without memory. The policy
        made has an attribute ``memory``, a list of such arrays (..., B), that is set before every decision and read after.
    foreseen
        From a tape to a function of the first world and the one behind the last, that gives what the policy knows of these
        worlds: arrays (periods, ..., worlds). The policy made has an attribute ``foreseen``, a list of their rows of a
        period, that is set before every decision. None for a policy that knows nothing of the tape.
    shared
        Arrays of any shape, such as weights, that differ from policy to policy but not from world to world.
    outside
        A part of the policy that is called, not recorded: from an array (..., worlds) to another, of each world by itself.
        The policy made has a method ``outside``, that takes a recorded array (..., B), the shape of the result without
        its worlds, and its type. It is called for all worlds of a tape at once, or for a multiple of 16.
    """

    structure: Hashable
    numbers: Sequence[NumpyArray]
    on: Callable[[NumpyOps], Callable[[Sequence[Array]], Policy]]
    memory: Sequence[NumpyArray] | None = None
    foreseen: Callable[[Tape], Callable[[int, int], Sequence[NumpyArray]]] | None = None
    shared: Sequence[NumpyArray] = ()
    outside: Callable[[NumpyArray], NumpyArray] | None = None


@runtime_checkable
class RecordablePolicy(Protocol):
    """Policy that may be recorded."""

    def recordable(self, dtype: Any) -> Recordable | None:
        """What is to be recorded for observations of units of a type; None where the policy must be asked every time."""
        ...


def recordable(policy: Any, dtype: Any) -> Recordable | None:
    """What is to be recorded of a policy; None where it does not say that it is pure, or not what it remembers or foresees."""
    if not isinstance(policy, RecordablePolicy):
        return None
    found = policy.recordable(dtype)
    if found is None or (hasattr(policy, "start") and found.memory is None and found.foreseen is None):
        return None
    return None if hasattr(policy, "foresee") and found.foreseen is None else found
