"""Named observations: what a planner can look up, as entries of the observation's arrays and as sums of them.

An *entry* is one number of an observation, ``on_hand[hub, milk]``. Stock that ages counts over all its ages; what is
moved is the freshest. A *feature* is an entry, or a sum that people know: ``in_transit[hub_north]`` (all slots),
``demand_history[shops]`` and ``forecast[shops]`` (means over periods), ``demand_history[below hub]`` (of all customers first
served by the hub and the nodes that it feeds), ``season[52]`` (the part of the season).
Names of products are left out where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from echelongym.envs.core.typing import Floats, NumpyArray
from echelongym.envs.interface.observation import OBSERVATION_NAMES, observation_shapes
from echelongym.envs.interface.observation_encoder import Block, ObservationEncoder
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario

STEP = 0.05  # of finite differences of real numbers, in standard deviations
PARTS = 13  # that a season is divided into, at most
_ENTITIES = {
    "on_hand": "nodes",
    "in_transit": "lanes",
    "backlog": "customers",
    "unfilled": "lanes",
    "node_availability": "nodes",
    "lane_availability": "lanes",
    "demand_history": "customers",
    "forecast": "customers",
    "lead_time": "lanes",
}


class Entry(NamedTuple):
    """Entry of an observation; places count in the flattened array, without the batch."""

    name: str
    array: str
    members: tuple[int, ...]  # all ages of what is counted
    moved: int  # where a unit more or less is put: the freshest
    step: float  # of a finite difference, > 0
    most: float  # largest value that makes sense
    product: int = -1  # -1: of no product

    def values(self, array: NumpyArray) -> Floats:
        """(M,) of an array (M, ...) of observations."""
        flat = array.reshape((len(array), -1))
        return np.asarray(flat[:, list(self.members)].sum(axis=1), dtype=np.float64)


class Feature(NamedTuple):
    """Feature that a readable rule may look at: the sum of places of one array, divided where it is a mean."""

    name: str
    array: str
    members: tuple[int, ...]
    product: int = -1  # -1: of no product
    divisor: int = 1
    below: int = -1  # node that it sums demand below; -1: none

    def values(self, array: NumpyArray) -> Floats:
        """(M,) of an array (M, ...) of observations."""
        flat = array.reshape((len(array), -1))
        return np.asarray(flat[:, list(self.members)].sum(axis=1) / self.divisor, dtype=np.float64)


def named_entries(scenario: Scenario, features: int = 0) -> tuple[Entry, ...]:
    """Every entry that can vary in a scenario, in the order of the observation's arrays.

    Parameters
    ----------
    features
        Number X of features that the tape carries.
    """
    t, encoder = scenario.tables, ObservationEncoder(scenario)
    found: list[Entry] = []
    for block in encoder.blocks:
        if block.name in OBSERVATION_NAMES:
            found += _entries(block, encoder, t)
    found += [Entry(f"features[{x}]", "features", (x,), x, 1.0, np.inf) for x in range(features)]
    return tuple(found)


def _entries(block: Block, encoder: ObservationEncoder, t: Tables) -> list[Entry]:
    shapes = observation_shapes(t)
    shape = shapes[block.name]
    if block.name == "in_transit":
        shape = (len(encoder.rows.lane), t.P, t.A)
    places = np.arange(int(np.prod(shape))) if block.picked is None else block.picked
    grouped: dict[tuple[int, ...], list[tuple[int, float]]] = {}
    for place, unit in zip(places, block.unit, strict=True):
        index = tuple(int(i) for i in np.unravel_index(place, shape)) if shape else ()
        if block.name == "in_transit":
            row, product, age = index
            index = (int(encoder.rows.lane[row]), product, int(encoder.rows.slot[row]), age)
        ages = block.name in ("on_hand", "in_transit", "backlog")
        key = index[:-1] if ages else index
        whole = int(np.ravel_multi_index(index, shapes[block.name])) if index else 0
        grouped.setdefault(key, []).append((whole, float(unit)))
    found = []
    for key, members in grouped.items():
        numbers = [place for place, _ in members]
        # Stock that joins is the freshest, who waits has just begun to.
        moved = min(numbers) if block.name == "backlog" else max(numbers)
        unit = dict(members)[moved]
        found.append(
            Entry(
                _name(block.name, key, t),
                block.name,
                tuple(numbers),
                moved,
                _step(block.name, unit, t),
                _most(block.name, t),
                key[1] if len(key) > 1 else -1,
            )
        )
    return found


def _step(array: str, unit: float, t: Tables) -> float:
    if array in ("period", "lead_time", "node_availability", "lane_availability"):
        return 1.0
    return 1.0 if t.integer and array != "forecast" else STEP * unit


def _most(array: str, t: Tables) -> float:
    if array == "period":
        return float(t.horizon - 1)
    return 1.0 if array.endswith("availability") else np.inf


def _name(array: str, key: tuple[int, ...], t: Tables) -> str:
    """``on_hand[hub, milk]``; ``key`` counts entity, product and slot, as far as the array has them."""
    if not key:
        return array
    parts = [str(getattr(t, _ENTITIES[array])[key[0]])]
    if len(key) > 1 and t.P > 1:
        parts.append(t.products[key[1]])
    parts += [str(number) for number in key[2:]]
    return f"{array}[{', '.join(parts)}]"


def named_features(scenario: Scenario) -> tuple[Feature, ...]:
    """Every feature that a readable rule may look at: entries, and sums of entries that differ in their slot alone.

    Left out are the period, of which seasons are read, and what was not shipped of the last requests, which a rule of other
    requests would find otherwise.
    """
    entries = [one for one in named_entries(scenario) if one.array not in ("period", "unfilled")]
    found = [Feature(entry.name, entry.array, entry.members, entry.product) for entry in entries]
    sums: dict[str, list[Feature]] = {}
    for one in found:
        if one.array in ("in_transit", "demand_history", "forecast"):
            sums.setdefault(f"{one.name.rpartition(', ')[0]}]", []).append(one)
    found += _below(found, scenario.tables)
    for name, parts in sums.items():
        members = tuple(place for part in parts for place in part.members)
        divisor = 1 if parts[0].array == "in_transit" else len(parts)
        found.append(Feature(name, parts[0].array, members, parts[0].product, divisor))
    seasons = [f"season[{length:g}]" for length in ObservationEncoder(scenario).seasons]
    found += [Feature(name, "period", (0,)) for name in seasons]
    return tuple(found)


def _below(found: Sequence[Feature], t: Tables) -> list[Feature]:
    """Demand, seen or forecast, of all customers first served in the echelon of a node that has several."""
    known = {one.name: one for one in found}
    sums = []
    for node, product in np.argwhere(t.primary_lane >= 0):
        below = t.served_below(node)[:, product]
        served = [c for c in range(t.C) if below[c] and t.mean_demand[c, product] > 0]
        if len(served) < 2:
            continue
        inner = t.nodes[node] if t.P == 1 else f"{t.nodes[node]}, {t.products[product]}"
        for array, count in (("demand_history", t.H), ("forecast", t.F)):
            slots = []
            for slot in range(count):
                names = [_name(array, (c, int(product), slot), t) for c in served]
                members = tuple(place for name in names for place in known[name].members)
                slots.append(Feature(f"{array}[below {inner}, {slot}]", array, members, int(product), 1, int(node)))
            sums += slots
            if slots:
                members = tuple(place for one in slots for place in one.members)
                sums.append(Feature(f"{array}[below {inner}]", array, members, int(product), count, int(node)))
    return sums


def season_length(name: str) -> float:
    """Periods of a feature ``season[52]``; 0 for any other."""
    return float(name[7:-1]) if name.startswith("season[") else 0.0


def season_parts(length: float) -> int:
    """Parts that a season is divided into."""
    return min(PARTS, max(int(length), 1))


def season_part(period: Any, length: float, parts: int) -> Any:
    """Part of the season that each period is in, counted from 0."""
    return np.minimum((np.fmod(period, length) * parts / length).astype(np.int64), parts - 1)


def columns(features: Sequence[Feature], arrays: Mapping[str, NumpyArray]) -> Floats:
    """(M, features) values from named arrays (M, ...)."""
    return np.stack([one.values(arrays[one.array]) for one in features], axis=1)


class LaneCell(NamedTuple):
    """A lane with a product that can be asked for."""

    name: str  # ``lane``, or ``lane/product`` where there are several products
    lane: int
    product: int


def lane_cells(t: Tables) -> tuple[LaneCell, ...]:
    """Every lane with a product that can be asked for, in order."""
    found = []
    for lane, product in np.argwhere(t.lane_open):
        name = t.lanes[lane] if t.P == 1 else f"{t.lanes[lane]}/{t.products[product]}"
        found.append(LaneCell(name, int(lane), int(product)))
    return tuple(found)
