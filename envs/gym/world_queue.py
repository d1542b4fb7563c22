"""Queue of the worlds that an env plays: drawn ahead, and laid out so that slots at different periods read one row a step."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.backend import Array, NumpyOps
from ..core.named_tuples import mapped
from ..dynamics.state import Exogenous
from ..worlds.events import disturbed
from ..worlds.tape import Core, sample_tape

if TYPE_CHECKING:
    from ..processes.series import Purpose
    from ..scenario.scenario import Scenario

# World-periods, and worlds of a slot, drawn in one go: drawing few worlds costs about as much as drawing one.
AHEAD_PERIODS, AHEAD_EPISODES = 8_000, 32
#: From a core the arrays of :class:`Exogenous` in its order, without demand.
_EFFECTS = attrgetter(*(name for name in Exogenous._fields if name != "demand"))


class WorldQueue:
    """World indices in, tape arrays out; draws those that will be asked for next in the same go.

    Parameters
    ----------
    scenario, purpose
        What is drawn, and from which series.
    periods
        Rows of the arrays, history not counted; the last is seen, not played.
    stride
        World i of a slot is followed by world i + stride.
    """

    def __init__(self, scenario: Scenario, purpose: Purpose, periods: int, stride: int) -> None:
        self.scenario, self.purpose = scenario, purpose
        self.periods, self.stride = periods, stride
        self.episodes = min(max(1, AHEAD_PERIODS // (periods * stride)), AHEAD_EPISODES)
        self._drawn: dict[tuple[int, int], tuple[Core, int]] = {}

    def take(self, seed: int, worlds: NDArray[np.int64]) -> Core:
        """Arrays of worlds in this order, period first, batch last."""
        missing = [int(world) for world in worlds if (seed, int(world)) not in self._drawn]
        if missing:
            self._draw(seed, missing)
        found = [self._drawn.pop((seed, int(world))) for world in worlds]
        core, start = found[0]
        whole = all(one[0] is core and one[1] == start + i for i, one in enumerate(found))
        if whole and len(found) == core.demand.shape[-1]:
            return core
        if whole:
            return _mapped(core, slice(start, start + len(found)))
        return _gathered(found)

    def _draw(self, seed: int, worlds: list[int]) -> None:
        ahead = [world + k * self.stride for k in range(self.episodes) for world in worlds]
        core = sample_tape(self.scenario, ahead, seed, self.purpose, self.periods, beyond=1).core
        kept = {key: value for key, value in self._drawn.items() if key[0] == seed}
        # A slot that is reset on its own asks for one world after another; what nobody asked for is dropped.
        if len(kept) > 4 * self.episodes * self.stride:
            kept = {}
        self._drawn = kept | {(seed, world): (core, i) for i, world in enumerate(ahead)}


def _mapped(core: Core, place: slice) -> Core:
    found: Core = mapped(lambda array: None if array is None else _compact(array[..., place]), core)
    return found


def _compact(array: Array) -> Array:
    """Contiguous, unless it only repeats along the batch."""
    return array if array.strides[-1] == 0 else np.ascontiguousarray(array)


def _gathered(found: list[tuple[Core, int]]) -> Core:
    """Columns of several tapes side by side."""

    def joined(*arrays: Any) -> Any:
        known = next((array for array in arrays if array is not None), None)
        if known is None:
            return None
        out = np.ones((*known.shape[:-1], len(found)), dtype=known.dtype)
        for i, (array, (_, place)) in enumerate(zip(arrays, found, strict=True)):
            if array is not None:
                out[..., i] = array[..., place]
        return out

    core: Core = mapped(joined, *(one for one, _ in found))
    return core


class Slots:
    """Tape rows of a batch of slots, each at its own period of its own world.

    A row of an array serves one step of all slots. Slots that start anew get their world written round the ring
    from the row of now; where all start together the tape's own arrays are the ring, and nothing is copied.

    Parameters
    ----------
    scenario
        What the arrays are of.
    ops
        Backend and floating type.
    size
        Number of slots B.
    """

    def __init__(self, scenario: Scenario, ops: NumpyOps, size: int) -> None:
        t = scenario.tables
        self.tables, self.ops, self.size = t, ops, size
        self.now = 0  # steps since all slots started together
        self.core: Core | None = None
        self._owned = False
        self._stops = {name: len(hit) for name, hit in disturbed(scenario).items()}  # entities of each

    def load(self, core: Core, chosen: NDArray[np.bool_] | None = None) -> None:
        """Start worlds: in all slots, or in the chosen ones only (then ``core`` has only those)."""
        core = self._read(core)
        if chosen is None or self.core is None:
            self.core, self.now, self._owned = core, 0, False
            return
        self._own()

        def written(ring: Any, new: Any) -> Any:
            if ring is None and new is not None:
                ring = np.ones((*new.shape[:-1], self.size), dtype=new.dtype)
            if ring is not None:
                # The first row of demand is its oldest history; all others start with period 0.
                rows = (self.now + np.arange(len(ring))) % len(ring)
                ring[rows[:, None], ..., np.flatnonzero(chosen)] = 1 if new is None else np.moveaxis(new, -1, 1)
            return ring

        self.core = mapped(written, self.core, core)

    def _read(self, core: Core) -> Core:
        """Arrays in the types of the dynamics; what is neutral in all worlds of the scenario is None."""
        ops, t = self.ops, self.tables
        real = {"node_availability", "lane_availability", "lane_yield", "forecast"}
        arrays: dict[str, Any] = core._asdict()
        arrays["features"] = None
        if not t.integer:
            arrays["demand"] = _typed(core.demand, ops.float)
        for name in real:
            if arrays[name] is not None:
                arrays[name] = _typed(arrays[name], ops.float)
            elif name in self._stops:
                # Neutral in these worlds, not in others: always there, so that every step is alike.
                shape = (len(core.demand) - t.H, self._stops[name], core.demand.shape[-1])
                arrays[name] = np.broadcast_to(np.ones((), ops.float), shape)
        return Core(**arrays)

    def _own(self) -> None:
        """Copy what is shared with a tape before it is written into."""
        if not self._owned and self.core is not None:
            self.core = mapped(lambda array: None if array is None else array.copy(), self.core)
            self._owned = True

    def exogenous(self) -> Exogenous:
        """Exogenous data of the present period, from the tapes."""
        core = self._loaded()
        now = self.now % (len(core.demand) - self.tables.H)
        demand = core.demand[(self.now + self.tables.H) % len(core.demand)]
        return Exogenous(demand, *[None if array is None else array[now] for array in _EFFECTS(core)])

    def history(self) -> Array:
        """(C, P, H, B) demand of the periods before now, newest first."""
        demand, H = self._loaded().demand, self.tables.H
        rows = np.arange(self.now + H - 1, self.now - 1, -1) % len(demand)
        return demand[rows].transpose(1, 2, 0, 3)

    def forecast(self) -> Array | None:
        """(C, P, F, B) forecasts made now."""
        forecast = self._loaded().forecast
        return None if forecast is None else forecast[self.now % len(forecast)]

    def advance(self) -> None:
        """On to the next period."""
        self.now += 1

    def _loaded(self) -> Core:
        assert self.core is not None
        return self.core


def _typed(array: Array, dtype: Any) -> Array:
    return array if array.dtype == dtype else array.astype(dtype)
