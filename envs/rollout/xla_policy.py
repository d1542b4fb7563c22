"""Policies as a program under JAX runs them: their numbers, what they remember and what they know of the tape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.backend import Array
from ..core.errors import InputError, expected
from ..core.jax_backend import JaxOps
from ..core.typing import NumpyArray
from ..core.validation import MOST
from ..interface.observation import Decision, Observation, Policy
from ..network.tables import Tables
from ..worlds.tape import Tape
from .recordable import Recordable, recordable
from .scan import Decide


class PolicyArrays(NamedTuple):
    """What a program is given of a recordable policy: arrays in the types of the simulation; of another policy, none."""

    numbers: Sequence[Any] = ()  # (..., 1), and behind them what all worlds share
    memory: Sequence[Any] = ()  # (..., 1) before the first period
    foreseen: Sequence[Any] = ()  # (T, ..., W) by period and world


def recorded_of(policy: Policy, tables: Tables, ops: JaxOps) -> Recordable | None:
    """What is recorded of a policy; None where it has no recorded form, or calls what JAX cannot trace."""
    found = recordable(policy, ops.int if tables.integer else ops.float)
    return None if found is None or found.outside is not None else found


def policy_arrays(
    recorded: Recordable | None, tape: Tape, parts: Sequence[tuple[int, int]], size: int, ops: JaxOps
) -> Iterator[PolicyArrays]:
    """What a program of ``size`` worlds is given with each part of a tape."""
    if recorded is None:
        yield from (PolicyArrays() for _ in parts)
        return

    def typed(arrays: Sequence[NumpyArray]) -> list[NumpyArray]:
        return [np.asarray(one, ops.float if np.asarray(one).dtype.kind == "f" else None) for one in arrays]

    numbers, memory = typed([*recorded.numbers, *recorded.shared]), typed(recorded.memory or ())
    known = None if recorded.foreseen is None else recorded.foreseen(tape)
    for start, stop in parts:
        rows = [] if known is None else [filled_up(one, size) for one in typed(known(start, stop))]
        yield PolicyArrays(numbers, memory, rows)


def filled_up(array: NumpyArray, size: int) -> NumpyArray:
    """An array (..., W) with its last world again until there are ``size``."""
    missing = size - array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)], mode="edge") if missing else array


class TracedPolicy:
    """A policy as a program runs it, and of its last decision how many numbers do not fit, by world.

    Parameters
    ----------
    policy
        Recordable, or without memory.
    tables, worlds
        Of the simulation.
    ops
        Backend.

    Raises
    ------
    InputError
        If the policy has memory that it cannot hand over.
    """

    def __init__(self, policy: Policy, tables: Tables, worlds: int, ops: JaxOps) -> None:
        self.policy, self.tables, self.worlds, self.ops = policy, tables, worlds, ops
        recorded = recorded_of(policy, tables, ops)
        self._make: Callable[[Sequence[Array]], Policy] | None = None
        if recorded is None:
            check_traceable(policy)
        else:
            make: Any = recorded.on
            try:
                self._make = make(ops)
            except Exception as error:
                raise cannot_trace(policy, error) from error
        self.misfit: Array = None

    def opening(self, given: PolicyArrays) -> list[Array]:
        """What is remembered before the first period, in every world; traced."""
        shapes = [(*one.shape[:-1], self.worlds) for one in given.memory]
        pairs = zip(given.memory, shapes, strict=True)
        return [self.ops.box(self.ops.jnp.broadcast_to(one, shape)) for one, shape in pairs]

    def deciding(self, given: PolicyArrays) -> Decide:
        """What decides, from an observation and the memory; traced.

        Raises
        ------
        InputError
            From what decides, on a decision that is none or of another shape.
        """
        ops = self.ops
        policy: Any = self.policy if self._make is None else self._make([ops.box(one) for one in given.numbers])

        def decide(observation: Observation, memory: list[Array]) -> tuple[Decision, list[Array]]:
            if memory:
                policy.memory = list(memory)
            if given.foreseen:
                now = ops.asarray(observation.period).value[0]
                policy.foreseen = [ops.box(ops.jnp.asarray(rows)[now]) for rows in given.foreseen]
            decision = self._checked(policy(observation))
            after = list(policy.memory) if memory else []
            return decision, [one.astype(before.dtype) for before, one in zip(memory, after, strict=True)]

        return decide

    def _checked(self, decision: Any) -> Decision:
        t = self.tables
        if not isinstance(decision, Decision):
            raise expected("decision", decision, "a Decision(requests, reserve=None) from the policy")
        requests = self._fitting(decision.requests, "requests", (self.worlds, t.L, t.P))
        self.misfit = self._misfit(requests)
        if decision.reserve is None:
            return Decision(requests)
        reserve = self._fitting(decision.reserve, "reserve", (self.worlds, t.S, t.P))
        self.misfit = self.misfit + self._misfit(reserve)
        return Decision(requests, reserve)

    def _fitting(self, value: Array, field: str, shape: tuple[int, ...]) -> Array:
        array = self.ops.asarray(value)
        if tuple(array.shape) != shape:
            raise InputError(
                f"decision.{field} has shape {tuple(array.shape)}: expected {shape} "
                "(worlds that run together, lanes or pairs, products)"
            )
        return array

    def _misfit(self, array: Array) -> Array:
        fits = (array >= 0) & (array <= MOST)
        return self.ops.to_int(~fits).reshape((self.worlds, -1)).sum(1)


class CannotTrace(InputError):
    """A policy that is no JAX program, in one line that says why; NumPy runs it."""


def cannot_trace(policy: Any, error: Exception) -> CannotTrace:
    """The error for a policy that another one was raised for, by JAX or by the policy itself."""
    name, told = getattr(policy, "name", type(policy).__name__), str(error).strip()
    reason = f"{type(error).__name__}: {told.splitlines()[0] if told else ''}"
    return CannotTrace(
        f"policy {name}: JAX cannot trace it ({reason[:200]}): expected one in the vocabulary of backends; "
        "backend=numpy on the CPU runs any"
    )


def check_traceable(policy: Any) -> None:
    """Refuse a policy that remembers what no program can carry from period to period.

    Raises
    ------
    CannotTrace
        If it does.
    """
    for name in ("start", "foresee"):
        if callable(getattr(policy, name, None)):
            raise CannotTrace(
                f"policy {getattr(policy, 'name', type(policy).__name__)}: has {name}() and does not say what it keeps from "
                "period to period: expected one without memory, or with that of recordable(), under JAX; backend=numpy "
                "on the CPU runs any"
            )
