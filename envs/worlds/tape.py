"""Tape: a batch of worlds, that is everything a policy cannot influence, as plain arrays.

Dimensions: T periods, H periods of history before period 0, B worlds, N nodes, L lanes, C customers,
S source-customer pairs, P products, F forecast slots, X features. Public arrays have the period
first, then the world; in memory the world comes last, and what never varies is a broadcast view.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError, NoSuchPlace, expected, printable, unknown
from ..core.memory_limits import require_memory
from ..core.typing import Floats, NumpyArray
from ..network.signature import NAMES, connections
from ..processes.series import Streams
from ..storage.files import as_path
from .drawn import drawn_from, read_drawn
from .memory import tape_bytes
from .record_statement import check_room
from .sampling import Sampler
from .source import WorldSource
from .tape_arrays import ARRAYS, AXES, GRAIN, Exogenous, TapeArrays, batch_last, compact, neutral
from .tape_checks import check_names, check_sizes, check_values, complete, is_whole, world_count, world_labels
from .tape_files import read_connections, read_names, read_tape, write_tape

#: Tapes, which never change, each with the scenario that it was checked for and what it was completed to; None: itself.
_checked: weakref.WeakKeyDictionary[Tape, tuple[weakref.ref[Any], Tape | None]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Tape(TapeArrays):
    """A batch of B worlds over T periods.

    ``tape[3]``, ``tape[[0, 2]]`` and ``tape[:8]`` select worlds by their place in the batch. Its numbers never change: arrays
    are read-only, copies of those given that can be written into. :meth:`replace` makes another tape.

    Raises
    ------
    InputError
        If the shapes of two arrays do not fit together.

    Example
    -------
    >>> tape = scenario.sample(worlds=512, seed=7, purpose="test")
    >>> tape.save("worlds.npz")
    >>> tape = Tape.load("worlds.npz").check(scenario)
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ARRAYS:
            object.__setattr__(self, name, closed(getattr(self, name)))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for name in ARRAYS:  # which pickle makes anew
            _read_only(getattr(self, name))

    @property
    def integer(self) -> bool:
        """Whether demand is held in whole units."""
        return bool(np.issubdtype(self.demand.dtype, np.integer))

    @cached_property
    def exogenous(self) -> Exogenous:
        """The tape as the dynamics read it, all periods; what stands on the tape decides, not why."""
        usual = None
        if self.fixed_lead_time is not None:
            usual = np.array(self.fixed_lead_time, dtype=np.int64)
        same = usual is not None and bool((compact(self.lead_time) == usual).all())
        return Exogenous(
            demand=batch_last(self.demand),
            lead_time=None if same else batch_last(self.lead_time),
            node_availability=_unless_one(self.node_availability),
            lane_availability=_unless_one(self.lane_availability),
            lane_yield=_unless_one(self.lane_yield),
            forecast=batch_last(self.forecast) if self.forecast.shape[-1] else None,
            features=batch_last(self.features) if self.features.shape[-1] else None,
            split=_grains(self.split) if self.integer else None,
            thin=_grains(self.thin) if self.integer else None,
        )

    def __getitem__(self, worlds: int | slice | Sequence[int] | NDArray[np.int64]) -> Tape:
        try:
            place = np.atleast_1d(np.arange(self.batch)[worlds])
        except (IndexError, TypeError, ValueError, OverflowError):
            raise NoSuchPlace(str(expected("worlds", worlds, f"places in a batch of {self.batch}"))) from None
        if place.ndim != 1:
            raise expected("worlds", worlds, f"places in a batch of {self.batch}, one after the other")
        picked: dict[str, Any] = {name: _pick(getattr(self, name), place) for name in ARRAYS}
        labels = tuple(self.worlds[k] for k in place)
        drawn = None if self.drawn is None else self.drawn.of(place)
        return dataclasses.replace(self, **picked, worlds=labels, drawn=drawn)

    def replace(self, **arrays: Any) -> Tape:
        """A copy with arrays changed, in the shapes of this class.

        Raises
        ------
        InputError
            On a name that is no array of a tape, or shapes that do not fit together.
        """
        drawn = None if "demand" in arrays else self.drawn  # of other demand that is not known
        return dataclasses.replace(self, **_arrays(arrays), drawn=drawn)

    def check(self, scenario: WorldSource, where: str = "tape") -> Tape:
        """Refuse what does not fit a scenario; fill in what the tape lacks.

        An absent lead time is the lane's mean rounded up, an absent forecast the seasonal mean,
        absent ``split`` and ``thin`` are 1/2; more history than the scenario shows is cut off.

        Returns
        -------
        The tape itself, or a completed copy.

        Raises
        ------
        InputError
            If products, nodes, lanes or customers are others (naming the first), a shape or a value
            does not fit: NaN, demand < 0, availability or yield outside [0, 1], availability
            between 0 and 1 where there is no capacity, lead times that are longer than the scenario
            allows, fractions where units are integer.
        """
        known = _checked.get(self)
        if known is not None and known[0]() is scenario:
            return self if known[1] is None else known[1]
        check_names(self, scenario, where)
        check_sizes(self, scenario, where)
        check_values(self, scenario, where)
        changes = complete(self, scenario)
        fixed = fixed_lead_times(scenario)
        found = None
        if changes or self.fixed_lead_time != fixed:
            made: dict[str, Any] = {
                name: _read_only(value) if name in ARRAYS else value for name, value in changes.items()
            }
            found = dataclasses.replace(self, **made, fixed_lead_time=fixed)
        if self.connections is None or self.connections is connections(scenario.tables):
            _checked[self] = weakref.ref(scenario), found
        return self if found is None else found

    def save(self, path: str | Path) -> None:
        """Write the tape as ``.npz``, whole or not at all; what is neutral is left out."""
        write_tape(self, as_path(path, "tape"))

    @classmethod
    def load(cls, path: str | Path) -> Tape:
        """Read a ``.npz`` with the arrays of this class; nothing pickled is ever loaded.

        Only ``demand`` and the four arrays of names are obligatory. Absent arrays are neutral, as
        far as that is known without the scenario: :meth:`check` fills in the rest. Without
        ``history`` the rows that ``demand`` has more than the other arrays are taken for it.

        Raises
        ------
        InputError
            If the file does not exist, is truncated, no ``.npz``, or its arrays do not fit together.
        """
        arrays = read_tape(as_path(path, "tape"))
        where = printable(path)
        names: dict[str, Any] = {**read_names(arrays, where), "connections": read_connections(arrays, where)}
        given = {name: _read_only(arrays[name]) for name in ARRAYS if name in arrays}
        history, labels = arrays.get("history"), arrays.get("worlds")
        if history is not None and (history.ndim or history.dtype.kind not in "iu" or history < 0):
            raise expected("history", history.tolist(), "a whole number >= 0", where)
        if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
            raise expected("worlds", labels.tolist(), "a list of whole numbers", where)
        counted = None if history is None else int(history)
        tape = _tape_of(given, names, counted, None if labels is None else tuple(map(int, labels)), where)
        return dataclasses.replace(tape, drawn=read_drawn(arrays, tape.batch, where))

    @classmethod
    def from_demand(cls, scenario: WorldSource, demand: Any, **arrays: Any) -> Tape:
        """Replay recorded demand in a scenario.

        Parameters
        ----------
        demand
            (H + T, C, P) for one world, or (H + T, B, C, P) units; the first H rows, as many as the
            scenario observes, are history.
        arrays
            Others of the tape's arrays, in its shapes, or without the axis of worlds.

        Raises
        ------
        InputError
            As :meth:`check`.
        """
        given = _arrays({"demand": demand, **arrays})
        axes = {name: len(AXES[name].split()) for name in given}
        batch = next((a.shape[1] for name, a in given.items() if a.ndim == axes[name]), 1)
        for name, array in given.items():
            if array.ndim == axes[name] - 1:
                given[name] = np.repeat(array[:, None], batch, axis=1)
        names: dict[str, Any] = {key: tuple(getattr(scenario, key)) for key in NAMES}
        names["connections"] = connections(scenario.tables)
        return _tape_of(given, names, scenario.observe.history, None, "tape").check(scenario)


def _arrays(given: dict[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in ARRAYS:
            raise unknown("array", name, ARRAYS, "tape")
    return {name: _array(value, name) for name, value in given.items()}


def _array(value: Any, name: str) -> NumpyArray:
    try:
        array: NumpyArray = np.asarray(value)
    except Exception:  # whatever NumPy, or the value's own conversion, says of it
        raise expected(name, value, "an array of real numbers", "tape") from None
    return array


def _tape_of(
    given: dict[str, NumpyArray],
    names: dict[str, Any],
    history: int | None,
    worlds: tuple[int, ...] | None,
    where: str,
) -> Tape:
    """A tape of the arrays given and of neutral ones for the others."""
    demand = given["demand"]
    if demand.ndim != 4:
        hint = "four axes: period+history, world, customer, product"
        raise expected("demand.shape", demand.shape, hint, where)
    if history is None:
        others = [len(array) for name, array in given.items() if name != "demand" and array.ndim]
        if not others:
            raise InputError(f"{where}: history: expected how many rows of demand are before period 0")
        history = len(demand) - others[0]
    sizes = {
        "period": max(len(demand) - history, 0),
        "world": demand.shape[1],
        **{key[:-1]: len(names[key]) for key in NAMES},
    }
    arrays: dict[str, Any] = {
        name: given[name] if name in given else neutral(name, tuple(sizes.get(axis, 0) for axis in axes.split()))
        for name, axes in AXES.items()
    }
    labels = tuple(range(demand.shape[1])) if worlds is None else worlds
    try:
        return Tape(**arrays, **names, history=history, worlds=labels)
    except InputError as error:
        raise InputError(f"{where}: {str(error).removeprefix('tape: ')}") from None


def sample_tape(
    scenario: WorldSource,
    worlds: int | Sequence[int] = 512,
    seed: int = 0,
    purpose: str = "train",
    periods: int | None = None,
    beyond: int = 0,
) -> Tape:
    """Draw worlds of a scenario; see :meth:`Scenario.sample`.

    The last ``beyond`` periods are looked at, but not played: a record that is replayed in order need not have them.

    Raises
    ------
    InputError
        On another purpose, a negative seed, no worlds or no periods, more than fit into memory, or more periods than a
        record has for the purpose.
    """
    count = scenario.horizon if periods is None else periods
    if not is_whole(count) or not 1 <= count < 1 << 40:
        raise expected("periods", periods, "a whole number >= 1")
    batch = world_count(worlds)
    needed = tape_bytes(scenario, batch, int(count))
    require_memory(needed, f"{batch} worlds of {count} periods", "fewer worlds or periods")
    labels = world_labels(worlds)
    check_room(scenario, purpose, int(count) - beyond)
    drawn = _sampler(scenario).sample(_streams(labels, seed, purpose), int(count))
    arrays: dict[str, Any] = {name: np.moveaxis(_read_only(array), -1, 1) for name, array in drawn.items()}
    names: dict[str, Any] = {key: tuple(getattr(scenario, key)) for key in NAMES}
    names["connections"] = connections(scenario.tables)
    names["drawn"] = drawn_from(scenario, labels, seed, purpose, int(count))
    return Tape(
        **arrays,
        **names,
        history=scenario.observe.history,
        worlds=labels,
        fixed_lead_time=fixed_lead_times(scenario),
    )


def demand_of_other_worlds(
    scenario: WorldSource, worlds: Sequence[int], others: Sequence[int], seed: int, purpose: str, periods: int
) -> NumpyArray:
    """Demand (H + T, B, C, P) that ``others`` would have had under the disruptions of ``worlds``, B numbers each.

    Disruptions do not depend on demand, so this is a further draw of demand given what else happens in a world.

    Raises
    ------
    InputError
        As :meth:`Scenario.sample`, and if the two lists are not equally long.
    """
    if len(worlds) != len(others):
        raise expected("others", len(others), f"as many world indices as worlds, {len(worlds)}")
    events, demand = (_streams(world_labels(given), seed, purpose) for given in (worlds, others))
    return np.moveaxis(_sampler(scenario).demand_given_events(events, demand, periods), -1, 1)


def _streams(labels: tuple[int, ...], seed: int, purpose: str) -> Streams:
    return Streams.of(purpose, seed, np.array(labels, dtype=np.int64))


def _sampler(scenario: WorldSource) -> Sampler:
    """The scenario's processes, compiled once."""
    known = vars(scenario)
    if "_sampler" not in known:
        known["_sampler"] = Sampler(scenario)
    sampler: Sampler = known["_sampler"]
    return sampler


def fixed_lead_times(scenario: WorldSource) -> tuple[int, ...]:
    """The one lead time of each lane, -1 where it is drawn or may be stretched."""
    tables = scenario.tables
    fixed = np.where(tables.lead_time_random, -1, tables.nominal_lead_time)
    return tuple(int(value) for value in fixed)


def _unless_one(array: Floats) -> Floats | None:
    return None if bool((compact(array) == 1.0).all()) else batch_last(array)


def _grains(array: Floats) -> NDArray[np.int64]:
    """Fractions as whole multiples of 1 / GRAIN."""
    grains = np.moveaxis(compact(array), 1, -1) * float(GRAIN)
    whole = np.rint(grains, out=grains).astype(np.int64)
    return np.broadcast_to(whole, np.moveaxis(array, 1, -1).shape)


def _pick(array: NumpyArray, place: NDArray[np.int64]) -> NumpyArray:
    """Worlds of an array by their place, in the memory order of a tape."""
    if array.strides[1] == 0 and array.shape[1]:
        shape = (array.shape[0], len(place), *array.shape[2:])
        return np.broadcast_to(array[:, :1], shape)
    return np.moveaxis(_read_only(np.moveaxis(array, 1, -1).take(place, axis=-1)), -1, 1)


def _read_only(array: NumpyArray) -> NumpyArray:
    """An array that was made here, and all whose memory it shares, closed to writing."""
    one: Any = array
    while isinstance(one, np.ndarray):
        one.flags.writeable = False
        one = one.base
    return array


def closed(array: NumpyArray) -> NumpyArray:
    """An array that nobody can write into: itself, or a copy in the same order in memory that repeats what it repeats."""
    one: Any = array
    while isinstance(one, np.ndarray) and not one.flags.writeable:
        one = one.base
    if one is None:
        return array
    return np.broadcast_to(_read_only(compact(array).copy(order="K")), array.shape)
