"""Arrays of a tape: their names, axes, what stands for one that is absent, and how the dynamics read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.backend import Array
from ..core.errors import expected
from ..core.typing import Floats, NumpyArray
from ..network.signature import NAMES
from .drawn import Drawn

GRAIN = 65536  # `split` and `thin` are multiples of 1 / GRAIN
# Axes of each array, the period first.
AXES = {
    "demand": "period+history world customer product",
    "lead_time": "period world lane",
    "node_availability": "period world node",
    "lane_availability": "period world lane",
    "lane_yield": "period world lane",
    "forecast": "period world customer product slot",
    "features": "period world feature",
    "split": "period world node product",
    "thin": "period world share product",
}
ARRAYS = tuple(AXES)
USUAL = np.iinfo(np.int64).min  # stands for a lane's usual lead time


class Exogenous(NamedTuple):
    """Exogenous data of one period: entity first, batch last; None where an array is neutral.

    Those of a whole tape have the periods as a further, first axis, and demand H rows of history before them. Forecast and
    features are signals: policies see them, and no unit moves by them.
    """

    demand: Array  # (C, P, B) units
    lead_time: Array | None = None  # (L, B) periods, of what ships now; None: each lane's one lead time
    node_availability: Array | None = None  # (N, B) share of capacity
    lane_availability: Array | None = None  # (L, B) share of capacity
    lane_yield: Array | None = None  # (L, B) share of units arriving now that is good
    split: Array | None = None  # (N, P, B) whole multiples of 1 / GRAIN; None in continuous worlds
    thin: Array | None = None  # (L + S + C, P, B) whole multiples of 1 / GRAIN
    forecast: Array | None = None  # (C, P, F, B) units
    features: Array | None = None  # (X, B)


def compact(array: NumpyArray) -> NumpyArray:
    """The array with axes along which it only repeats cut to length 1."""
    return array[tuple(slice(0, 1) if step == 0 else slice(None) for step in array.strides)]


def batch_last(array: NumpyArray) -> NumpyArray:
    """(T, B, ...) as (T, ..., B), contiguous unless it only repeats."""
    turned = np.moveaxis(array, 1, -1)
    if turned.strides[-1] in (0, turned.itemsize) or turned.shape[-1] == 1:
        return turned
    return np.ascontiguousarray(turned)


def neutral(name: str, shape: tuple[int, ...]) -> NumpyArray:
    """Value that an absent array stands for, as far as a scenario is not needed to know."""
    if name == "lead_time":
        return np.broadcast_to(np.int64(USUAL), shape)
    value = {"split": 0.5, "thin": 0.5, "forecast": 0.0, "features": 0.0}.get(name, 1.0)
    return np.broadcast_to(np.float64(value), shape)


@dataclass(frozen=True, eq=False)
class TapeArrays:
    """Arrays of a :class:`~echelongym.envs.Tape`."""

    demand: NumpyArray  # (H + T, B, C, P) units; the first H rows are history
    lead_time: NDArray[np.int64]  # (T, B, L) periods, of what ships in the period
    node_availability: Floats  # (T, B, N) share of capacity
    lane_availability: Floats  # (T, B, L) share of capacity
    lane_yield: Floats  # (T, B, L) share of what arrives in the period that is usable
    forecast: Floats  # (T, B, C, P, F) units; slot j looks at period t + j
    features: Floats  # (T, B, X)
    split: Floats  # (T, B, N, P) multiples of 1 / 65536 that divide stock in integer worlds
    thin: Floats  # (T, B, L + S + C, P) the same for shares of lanes, pairs and customers
    products: tuple[str, ...]
    nodes: tuple[str, ...]
    lanes: tuple[str, ...]
    customers: tuple[str, ...]
    history: int  # H
    worlds: tuple[int, ...]  # labels of the batch
    fixed_lead_time: tuple[int, ...] | None = None  # (L,) periods, -1 = random; set by `check`
    connections: Mapping[str, Any] | None = None  # how the network is connected, where the tape says so
    drawn: Drawn | None = None  # which records its worlds were drawn from; None where that is not known

    def __post_init__(self) -> None:
        check_shapes(self)

    @property
    def periods(self) -> int:
        """Number of periods T from period 0 on."""
        return len(self.demand) - self.history

    @property
    def batch(self) -> int:
        """Number of worlds B."""
        return int(self.demand.shape[1])


def check_shapes(tape: TapeArrays) -> None:
    """Check that all arrays agree on periods, worlds and entities.

    Raises
    ------
    InputError
        Naming the array, its shape and the one expected.
    """
    sizes: dict[str, int] = {
        "period": len(tape.demand) - tape.history,
        "period+history": len(tape.demand),
        "world": len(tape.worlds),
        **{key[:-1]: len(getattr(tape, key)) for key in NAMES},
    }
    if sizes["period"] < 1:
        raise expected("history", tape.history, f"fewer than the {len(tape.demand)} rows of demand")
    for name, axes in AXES.items():
        array: NumpyArray = getattr(tape, name)
        wanted = [str(sizes.get(axis, "any")) for axis in axes.split()]
        fits = array.ndim == len(wanted) and all(
            want in ("any", str(size)) for want, size in zip(wanted, array.shape, strict=True)
        )
        if not fits:
            hint = f"the shape ({', '.join(wanted)}): {axes.replace(' ', ', ')}"
            raise expected(f"{name}.shape", array.shape, hint, "tape")
        if array.dtype.kind not in "iuf":
            raise expected(f"{name}.dtype", str(array.dtype), "numbers", "tape")
