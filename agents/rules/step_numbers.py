"""Numbers that the steps of a rule compute with: of lanes and nodes, and what is added to them in a period."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from echelongym.envs.core.backend import Array
from echelongym.envs.core.typing import Bools, Floats, Ints
from echelongym.envs.dynamics.rounding import DUST
from echelongym.envs.interface.automatic_levels import Levels


class Shift(NamedTuple):
    """Shift of levels in a period; None where nothing is added."""

    nodes: Array | None = None  # (N * P, B) units, to the levels of primary lanes by their targets
    lanes: Array | None = None  # (L * P, B) units, to the levels of secondary lanes
    demand: Array | None = None  # (N * P, B) units of it that are demand expected above the mean
    caps: Array | None = None  # (L * P, B) units, to caps, which stay >= 0

    def plus(self, other: Shift) -> Shift:
        """Sum of both shifts."""
        return Shift(*(b if a is None else a if b is None else a + b for a, b in zip(self, other, strict=True)))


class StepNumbers(NamedTuple):
    """The numbers of one step."""

    level: Array  # (n, 1)
    cap: Array | None  # (n, 1)
    keep: Array | None  # (m, 1) of the sources of lateral lanes
    more: dict[str, Array]  # (n, 1) each: groups that a subclass adds, of the target or of the lane
    tolerance: Any = (
        DUST  # units, one number or (n, 1): two positions nearer than this are the same, summed up in another order
    )


class Cells(NamedTuple):
    """Constants of every lane cell and node cell when groups are made; flat, see :class:`Group`."""

    auto: Levels
    target: Ints  # (L * P,) node cell
    source: Ints  # (L * P,) node cell
    opened: Bools  # (L * P,) can be requested
    further: Bools  # (L * P,) opened and not its target's primary lane
    lateral: Bools  # (L * P,) of them, from a stock node that is not above the target
    fed: Bools  # (N * P,) has a primary lane
    flow: Floats  # (N * P,) mean units a period
    flow_deviation: Floats  # (N * P,) of a period's demand


def with_arrays(
    steps: list[StepNumbers], constants: dict[str, Any], other: Callable[[str, Array], Array]
) -> tuple[list[StepNumbers], dict[str, Any]]:
    """Numbers and constants of a rule, with what ``other`` says of each of their arrays (..., 1) and its name in its place."""

    def swapped(name: str, value: Any) -> Any:
        return other(name, value) if isinstance(value, np.ndarray) else value

    found = []
    for i, step in enumerate(steps):
        one = {name: swapped(f"{i}.{name}", value) for name, value in step._asdict().items()}
        one["more"] = {name: swapped(f"{i}.{name}", value) for name, value in step.more.items()}
        found.append(StepNumbers(**one))
    made = {name: swapped(name, value) for name, value in constants.items() if name != "reserve"}
    if "reserve" in constants:  # (1, S, P)
        made["reserve"] = np.moveaxis(other("reserve", np.moveaxis(constants["reserve"], 0, -1)), -1, 0)
    return found, made
