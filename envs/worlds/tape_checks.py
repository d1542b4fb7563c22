"""Checks of a tape: whether arrays make one, and whether it fits a scenario."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ..core.errors import expected
from ..core.typing import NumpyArray
from ..core.validation import MOST
from ..network.signature import NAMES, check_network, connections
from .closed_days import Calendars
from .source import WorldSource
from .tape_arrays import AXES, GRAIN, USUAL, TapeArrays, batch_last, compact, neutral


def complete(tape: TapeArrays, scenario: WorldSource) -> dict[str, Any]:
    """Arrays that fill in what a tape lacks for a scenario.

    Raises
    ------
    InputError
        If a lead time is longer than the scenario's longest.
    """
    changes: dict[str, Any] = {}
    tables = scenario.tables
    T, B, P = tape.periods, tape.batch, tables.P
    if tape.history > tables.H:
        changes["demand"] = tape.demand[tape.history - tables.H :]
        changes["history"] = tables.H
    usual = compact(tape.lead_time) == USUAL
    if usual.any() or tape.lead_time.dtype != np.int64:
        given = np.where(usual, tables.nominal_lead_time, compact(tape.lead_time))
        changes["lead_time"] = np.broadcast_to(given.astype(np.int64), tape.lead_time.shape)
    shares = tables.L + tables.S + tables.C
    if tape.thin.shape[2] == 0 < shares:
        changes["thin"] = neutral("thin", (T, B, shares, P))
    if tape.forecast.shape[4] == 0 < tables.F:
        mean = np.broadcast_to(_seasonal_means(scenario, T)[:, None], (T, B, tables.C, P, tables.F))
        changes["forecast"] = mean
    changes |= _held_to_calendars(tape, scenario, changes)
    kind = np.int64 if tables.integer else np.float64
    if tape.demand.dtype != kind:
        demand = changes.get("demand", tape.demand)
        changes["demand"] = np.moveaxis(batch_last(demand).astype(kind), -1, 1)
    return changes


def _held_to_calendars(tape: TapeArrays, scenario: WorldSource, changes: dict[str, Any]) -> dict[str, Any]:
    """What calendars of the scenario change in the tape: nothing in one that keeps to them.

    Raises
    ------
    InputError
        If waiting for an open day makes a lead time longer than any of the scenario.
    """
    calendars, longest = Calendars(scenario.tables), scenario.tables.K + 1
    if not calendars.any:
        return {}
    names = ("lane_availability", "node_availability", "lead_time")
    arrays = {name: changes.get(name, getattr(tape, name)) for name in names}
    found = calendars.applied(arrays, batch_axis=1)
    if "lead_time" in found and found["lead_time"].max() > longest:
        most = int(found["lead_time"].max())
        raise expected("lead_time", most, f"at most {longest}, closed days of the target included", "tape")
    return {name: array for name, array in found.items() if not np.array_equal(array, arrays[name])}


def _seasonal_means(scenario: WorldSource, periods: int) -> NumpyArray:
    """(T, C, P, F) mean demand of the period that each slot looks at."""
    F = scenario.forecast.horizon
    means = np.zeros((periods, len(scenario.customers), len(scenario.products), F))
    for c, customer in enumerate(scenario.customers):
        for p, product in enumerate(scenario.products):
            process = scenario.demand_processes[customer].get(product)
            if process is not None:
                mean = process.moments(0, periods + F)[0]
                for slot in range(F):
                    means[:, c, p, slot] = mean[slot : slot + periods]
    return means


def check_names(tape: TapeArrays, scenario: WorldSource, where: str) -> None:
    """The tape is of this network.

    Raises
    ------
    InputError
        Naming the first product, node, lane or customer that differs.
    """
    if not hasattr(type(scenario), "demand_processes"):
        raise expected("scenario", scenario, "a Scenario, as Scenario.load gives")
    for key in NAMES:
        have, want = getattr(tape, key), tuple(getattr(scenario, key))
        for k in range(max(len(have), len(want))):
            one = have[k] if k < len(have) else None
            other = want[k] if k < len(want) else None
            if one != other:
                hint = f"{other!r}, as in scenario {scenario.name!r}" if other else "no more names"
                raise expected(f"{key}[{k}]", one, f"{hint}; the tape is of another network", where)
    # How the network is connected: files of earlier versions and those made by hand do not say.
    if tape.connections is not None and tape.connections is not connections(scenario.tables):
        check_network({**{key: getattr(tape, key) for key in NAMES}, **tape.connections}, scenario.tables, where)


def check_sizes(tape: TapeArrays, scenario: WorldSource, where: str) -> None:
    """History, forecast slots and shares are as many as the scenario's, or absent.

    Raises
    ------
    InputError
        If there are fewer or more.
    """
    tables = scenario.tables
    if tape.history < tables.H:
        raise expected("history", tape.history, f"at least {tables.H} rows before period 0", where)
    if tape.forecast.shape[4] not in (0, tables.F):
        hint = f"{tables.F}, the scenario's horizon, or 0"
        raise expected("forecast slots", tape.forecast.shape[4], hint, where)
    shares = tables.L + tables.S + tables.C
    if tape.thin.shape[2] not in (0, shares):
        raise expected("thin.shape", tape.thin.shape, f"{shares} lanes, pairs and customers", where)


def check_values(tape: TapeArrays, scenario: WorldSource, where: str) -> None:
    """Every number is one that the scenario's network can make sense of.

    Raises
    ------
    InputError
        On the first number that is not; the message names its place.
    """
    tables = scenario.tables

    def each(name: str, fits: Callable[[NumpyArray], NumpyArray], hint: str) -> None:
        array = compact(getattr(tape, name))
        bad = ~np.asarray(fits(array))
        if bad.any():
            _refuse(tape, name, array, np.argwhere(bad)[0], hint, where)

    each("demand", lambda x: (x >= 0) & (x <= MOST), f"a finite number >= 0 and at most {MOST:.1e}")
    if tables.integer:
        each("demand", _whole, "a whole number, as units is integer")
    longest = tables.K + 1  # as many slots as the network's longest lane has
    each("lead_time", lambda x: (x == USUAL) | (_whole(x) & (x >= 0)), "a whole number of periods >= 0")
    each("lead_time", lambda x: x <= longest, f"at most {longest}, the longest of the scenario")
    returns = tables.lane_source < 0
    each("lead_time", lambda x: ~returns | (x != 0), "at least 1 on a return lane")
    for name, capacity in (
        ("node_availability", tables.node_capacity),
        ("lane_availability", tables.lane_capacity),
    ):
        each(name, lambda x: (x >= 0) & (x <= 1), "a share >= 0 and <= 1")
        free = np.isinf(capacity)
        each(name, lambda x, free=free: ~free | (x == 0) | (x == 1), "0 or 1 without a capacity")  # type: ignore[misc]
    each("lane_yield", lambda x: (x >= 0) & (x <= 1), "a share >= 0 and <= 1")
    for name in ("forecast", "features"):  # a poor forecast may be negative
        each(name, lambda x: (x >= -float(MOST)) & (x <= float(MOST)), f"a finite number of at most {MOST:.1e}")
    for name in ("split", "thin"):
        each(name, lambda x: (x >= 0) & (x < 1) & _whole(x * float(GRAIN)), "a multiple of 1/65536 in [0, 1)")


def _whole(x: NumpyArray) -> NumpyArray:
    return np.isfinite(x) & (x == np.floor(x))


def _refuse(tape: TapeArrays, name: str, array: NumpyArray, place: Any, hint: str, where: str) -> None:
    """Say which world, period and entity a bad value belongs to."""
    said = []
    for axis, index in zip(AXES[name].split(), place, strict=True):
        if axis == "period+history":
            said.append(f"period {index - tape.history}")
        elif axis == "world":
            said.append(f"world {tape.worlds[index]}")
        elif axis + "s" in NAMES:
            said.append(f"{axis} {getattr(tape, axis + 's')[index]}")
        else:
            said.append(f"{axis} {index}")
    value = array[tuple(place)].item()
    raise expected(f"{name} of {', '.join(said)}", value, hint, where)


_MOST_WORLDS = 1 << 40


def world_count(worlds: int | Sequence[int]) -> int:
    """Number of worlds asked for.

    Raises
    ------
    InputError
        If it is no number of worlds or list of indices, or there are too many.
    """
    if is_whole(worlds):
        count = int(cast(int, worlds))
        if not 1 <= count < _MOST_WORLDS:
            raise expected("worlds", worlds, f"at least one world, and fewer than {_MOST_WORLDS:,}")
        return count
    listed = isinstance(worlds, Sequence | np.ndarray | range) and not isinstance(worlds, str | bytes)
    if not listed or (isinstance(worlds, np.ndarray) and worlds.ndim != 1):
        raise expected("worlds", worlds, "a number of worlds >= 1, or a list of world indices >= 0")
    if len(cast(Sequence[int], worlds)) > _MOST_WORLDS:
        raise expected("worlds", worlds, f"at most {_MOST_WORLDS:,} of them")
    return len(cast(Sequence[int], worlds))


def world_labels(worlds: int | Sequence[int]) -> tuple[int, ...]:
    """Indices of the worlds asked for.

    Raises
    ------
    InputError
        If they are no number of worlds or list of indices.
    """
    count = world_count(worlds)
    if is_whole(worlds):
        return tuple(range(count))
    labels = list(cast(Sequence[int], worlds))
    if set(map(type, labels)) == {int} and min(labels) >= 0 and max(labels) < 1 << 63:
        return tuple(labels)
    if not labels or not all(is_whole(k) and 0 <= k < 1 << 63 for k in labels):
        raise expected("worlds", worlds, "a number of worlds >= 1, or a list of world indices >= 0")
    return tuple(int(label) for label in labels)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
