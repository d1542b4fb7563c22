"""What is prepared once for each backend, and a backend in another floating type."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from echelongym.envs.core.backend import Array, NumpyOps, Ops
from echelongym.envs.core.typing import NumpyArray


class ByBackend:
    """Something prepared once for each backend it is asked for.

    Parameters
    ----------
    make
        From the backend and the arguments to what is prepared.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        self._make, self._arguments = make, arguments
        self._made: dict[tuple[Any, ...], tuple[Any, Ops]] = {}

    def __call__(self, ops: Ops) -> Any:
        """What was made for this backend."""
        key = backend_key(ops)
        if key not in self._made:
            self._made[key] = self._make(ops, *self._arguments), ops  # which keeps its key its own
        return self._made[key][0]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": {}}


def backend_key(ops: Ops) -> tuple[Any, ...]:
    """What tells backends apart whose constants differ, or that record."""
    recorder = id(ops.recording) if isinstance(ops, NumpyOps) and ops.program is not None else 0
    return ops.name, str(ops.float), str(getattr(ops, "device", "")), recorder


def constants(ops: Ops, *arrays: NumpyArray) -> tuple[Array, ...]:
    """Arrays as a backend takes them: whole numbers to index with, others in its floating type."""
    return tuple(ops.index(one) if one.dtype.kind in "iu" else ops.constant(one) for one in arrays)


def in_type(ops: Ops, dtype: Any) -> Ops:
    """The same backend with another floating type; JAX, which computes in one throughout, as it is."""
    if ops.name == "jax" or ops.float == dtype:
        return ops
    other = copy.copy(ops)
    other.float = dtype
    return other
