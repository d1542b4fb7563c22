"""Parity of an exported graph, the torch module it was made from and the policy itself, on simulated observations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.errors import InputError
from echelongym.envs.interface.observation import Decision, Observation, Policy, observation_shapes
from echelongym.envs.simulate import periods
from echelongym.envs.worlds.record_statement import playable

if TYPE_CHECKING:
    from echelongym.envs.scenario.scenario import Scenario

Arrays = dict[str, NDArray[Any]]

OUTPUTS = ("requests", "reserve")
TAKEN = 25  # periods of a world that are looked at


def observations(policy: Policy, scenario: Scenario, count: int, seed: int) -> Arrays:
    """Named observation arrays (count, ...) from simulated worlds (purpose ``tune``), periods spread over the episode.

    In every second world what the policy asks for is multiplied by random factors in [0, 2), which leads to states that
    it would not reach by itself: shortages, backlogs, overstock.
    """
    taken = min(TAKEN, scenario.horizon)
    worlds = -(-count // taken)
    tape = scenario.sample(worlds, seed, "tune", playable(scenario, "tune"))
    chosen = set(np.linspace(0, scenario.horizon - 1, taken).astype(int).tolist())
    names = observation_shapes(scenario.tables)
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for period, observation, _, _ in periods(scenario, _Disturbed(policy, seed), tape):
        if period in chosen:
            for name, parts in found.items():
                # A copy: what is observed are views of the state, which the period goes on to change.
                parts.append(np.array(getattr(observation, name), order="C"))
    # World by world within a period, so that what is left out by the cut is of the last period.
    return {name: np.concatenate(parts)[:count] for name, parts in found.items()}


class _Disturbed:
    """A policy whose requests are disturbed in worlds 1, 3, 5 ..."""

    def __init__(self, policy: Policy, seed: int) -> None:
        self.policy, self.random = policy, np.random.default_rng(seed)

    def __call__(self, observation: Observation) -> Decision:
        decision = self.policy(observation)
        requests = np.array(decision.requests, dtype=np.float64)
        requests[1::2] *= self.random.uniform(0.0, 2.0, requests[1::2].shape)
        return Decision(requests, decision.reserve)


def observation_of(arrays: Arrays, rows: slice = slice(None)) -> Observation:
    """An observation of named arrays; those that are not there are empty."""
    here = {name: value[rows] for name, value in arrays.items()}
    nothing = np.zeros((len(next(iter(here.values()))), 0))
    optional = {"lead_time": None}
    return Observation(**{one.name: here.get(one.name, optional.get(one.name, nothing)) for one in fields(Observation)})


def decided(decision: Decision) -> Arrays:
    """The arrays of a decision by name; none for a reserve that is not decided."""
    return {name: np.asarray(value) for name in OUTPUTS if (value := getattr(decision, name)) is not None}


def in_batches(policy: Callable[[Observation], Decision], arrays: Arrays, size: int) -> Arrays:
    """Decisions of a policy on all observations, asked for ``size`` at a time."""
    count = len(next(iter(arrays.values())))
    parts = [decided(policy(observation_of(arrays, slice(first, first + size)))) for first in range(0, count, size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Gap:
    """The largest difference between two sets of decisions.

    Attributes
    ----------
    units
        In units.
    relative
        As a share of the largest number decided for that lane (or pair) and product, at least one unit.
    where
        Which number it is, as ``requests[12, 3, 0]`` (observation, lane, product).
    """

    units: float
    relative: float
    where: str

    def to_dict(self) -> dict[str, float]:
        """Both figures as plain data."""
        return {"units": self.units, "relative": self.relative}


def gap(first: Arrays, second: Arrays) -> Gap:
    """Largest difference between two sets of decisions.

    Raises
    ------
    InputError
        If they are of other shapes, or hold what is no finite number.
    """
    worst = Gap(0.0, 0.0, "")
    if {name: value.shape for name, value in first.items()} != {name: value.shape for name, value in second.items()}:
        shapes = [{name: value.shape for name, value in each.items()} for each in (first, second)]
        raise InputError(f"decisions have shapes {shapes[0]} and {shapes[1]}: expected the same")
    for name, value in first.items():
        other = second[name]
        for each in (value, other):
            if not np.isfinite(each).all():
                place = [int(i) for i in np.argwhere(~np.isfinite(each))[0]]
                raise InputError(f"decision.{name}{place} = {each[tuple(place)]}: expected a finite number")
        if not value.size:
            continue
        scale = np.maximum(np.maximum(np.abs(value), np.abs(other)).max(axis=0), 1.0)
        difference = np.abs(value.astype(np.float64) - other)
        relative = difference / scale
        place = [int(i) for i in np.unravel_index(relative.argmax(), relative.shape)]
        if relative.max() >= worst.relative:
            units = max(float(difference.max()), worst.units)
            worst = Gap(units, float(relative.max()), f"{name}{place}")
    return worst
