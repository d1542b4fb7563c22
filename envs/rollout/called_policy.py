"""Policies that are called from within a recorded program, with plain arrays: pure functions of what they observe."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.backend import Array, NumpyOps
from ..core.typing import NumpyArray
from ..interface.observation import OBSERVATION_NAMES, Decision, Observation, Policy
from .recordable import Recordable

Forms = Mapping[str, tuple[tuple[int, ...], Any]]  # by name: shape without the worlds, and type


def called(policy: Policy, structure: Hashable, reads: Forms, decides: Forms) -> Recordable:
    """Recordable form of a policy that is called as it is, while everything about it is compiled.

    Parameters
    ----------
    policy
        A pure function of an observation, of each world by itself; it keeps nothing between periods.
    structure
        Equal for two policies of one scenario that read and decide the same arrays.
    reads
        Arrays of the observation that it reads; the others are not there when it is called, or empty.
    decides
        Arrays of its decision. Whole numbers must be below 2^53.
    """

    def outside(seen: NumpyArray) -> NumpyArray:
        """(m, B) the decision for what is observed (n, B)."""
        worlds, place = seen.shape[-1], 0
        nothing = np.zeros((worlds, 0))
        arrays: dict[str, Any] = {name: None if name == "lead_time" else nothing for name in OBSERVATION_NAMES}
        for name, (shape, dtype) in reads.items():
            size = math.prod(shape)
            flat = np.ascontiguousarray(seen[place : place + size].T, dtype)
            arrays[name] = flat.reshape((worlds, *shape))
            place += size
        decision = policy(Observation(**arrays))
        found = [np.asarray(getattr(decision, name), np.float64).reshape((worlds, -1)) for name in decides]
        return np.concatenate(found, 1).T

    def on(ops: NumpyOps) -> Callable[[Sequence[Array]], Policy]:
        return lambda numbers: _Called(ops, reads, decides)

    layout = tuple((name, shape, str(dtype)) for one in (reads, decides) for name, (shape, dtype) in one.items())
    return Recordable((structure, layout), [], on, outside=outside)


class _Called:
    """The policy under recording; see :class:`Recordable`."""

    outside: Any

    def __init__(self, ops: NumpyOps, reads: Forms, decides: Forms) -> None:
        self.ops, self.reads, self.decides = ops, reads, decides

    def __call__(self, observation: Observation) -> Decision:
        """The decision, out of what the policy gives."""
        ops, seen = self.ops, []
        for name, (shape, dtype) in self.reads.items():
            array = getattr(observation, name)
            if array is None or tuple(array.shape[1:]) != shape or array.dtype != dtype:
                raise TypeError(f"{name} is not observed as {dtype} of shape {shape}")
            seen.append(ops.to_float(ops.moveaxis(array, 0, -1)).reshape((-1, array.shape[0])))
        sizes = [math.prod(shape) for shape, _ in self.decides.values()]
        found = self.outside(ops.concat(seen, 0), (sum(sizes),), ops.float)
        decided: dict[str, Array] = {}
        for (name, (shape, dtype)), size in zip(self.decides.items(), sizes, strict=True):
            one = ops.cast(found[:size], dtype) if np.dtype(dtype) != found.dtype else found[:size]
            decided[name] = ops.moveaxis(one.reshape((*shape, one.shape[-1])), -1, 0)
            found = found[size:]
        return Decision(**decided)
