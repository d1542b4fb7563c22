"""Order in which lanes make requests: each request is known to every position that it changes and that comes after it.

The numbers that each step of that order computes with stand below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.backend import Array, Ops, ops_of
from echelongym.envs.core.jax_backend import JaxArray
from echelongym.envs.core.segments import Segments, members_of
from echelongym.envs.core.typing import Bools, Floats, Ints
from echelongym.envs.dynamics.rounding import DUST, echelon_stock, is_single, tolerance
from echelongym.envs.interface.automatic_levels import Levels
from echelongym.envs.interface.inventory_positions import Forest, Later, SlotRows
from echelongym.envs.network.tables import Tables

Index = Any  # what Ops.index gives
_BASIC = ("levels", "express_levels", "lateral_levels", "keep_levels", "caps")
NO_CAP = 2.0**53  # of a lane without one, where whole numbers are wanted


@dataclass(frozen=True, eq=False)
class Scarce:
    """Lanes of a step that leave stock nodes, and who else draws on these nodes."""

    nodes: Index  # (m,) source cells
    items: Index  # entries of the step that leave them
    groups: Segments  # those entries by source
    cells: Ints  # (i,) those entries as numbers
    group: Ints  # (i,) which of the sources each leaves
    targets: Index  # their target cells
    others: tuple[Index, Segments] | None  # lane cells of other steps that leave the same nodes


@dataclass(frozen=True, eq=False)
class Step:
    """n lane cells that ask at the same time, each with another target."""

    lane_cells: Ints  # (n,)
    target_cells: Ints  # (n,)
    lanes: Index
    targets: Index
    primary: bool
    lateral: bool
    all_lanes: bool  # every lane cell, in order, is in this step
    later: Later | None
    by_source: Segments  # by limited source, -1 = none
    limited: Index  # (m,) cells of limited sources
    source_cells: Ints  # (m,)
    scarce: Scarce | None
    followed: bool  # a later step reads a position that this one changes
    lends_again: bool  # lateral, and a later lateral step leaves one of its sources
    by_lane: Segments  # cells of one lane, with its products
    ops: Ops
    lowers: bool = True  # requests lower the position of the node they are made to

    def moved(self, owned: Array, request: Array) -> Array:
        """Inventory positions of cells (N * P, B) once the requests (n, B) are in transit."""
        out = self.ops.put(owned + 0, self.targets, owned[self.targets] + request)
        if self.lowers and self.by_source.count:
            out = self.ops.put(out, self.limited, out[self.limited] - self.by_source.sum(request))
        return out

    def left(self, standing: Array, request: Array) -> Array:
        """Stock on hand at each cell (N * P, B) less the requests (n, B) on it."""
        return self.ops.put(standing + 0, self.limited, standing[self.limited] - self.by_source.sum(request))


def rows_of(tables: Tables) -> SlotRows:
    """All pipeline slots, lanes in turn: the layout in which observations of simulations lie in memory."""
    lane, slot = np.divmod(np.arange(tables.L * tables.K), tables.K)
    return SlotRows(lane, slot)


class SlowerLater(Later):
    """Units from lanes in use that are slower than a primary lane and arrive later than its own."""

    def __init__(self, tables: Tables, lanes: Ints, ops: Ops, rows: SlotRows, used: NDArray[np.bool_]) -> None:
        t = tables
        due = np.maximum(t.nominal_lead_time[rows.lane] - rows.slot - 1, 1)
        row, group = members_of(t.lane_target[rows.lane], t.lane_target[lanes // t.P], t.N)
        product, lead = (lanes % t.P)[group], t.nominal_lead_time[lanes // t.P][group]
        slower = (t.nominal_lead_time[rows.lane[row]] > lead) & used[rows.lane[row] * t.P + product]
        chosen = slower & (due[row] > lead)
        self.any = bool(chosen.any())
        self.picked = ops.index(row[chosen] * t.P + product[chosen])
        self.segments = Segments(group[chosen], len(lanes), ops)


def plan_steps(
    tables: Tables,
    forest: Forest,
    used: NDArray[np.bool_],
    echelon: bool,
    ops: Ops,
    full: bool = False,
    blind: bool = False,
) -> list[Step]:
    """The steps of a period.

    Lanes into one node ask by nominal lead time, fastest first, the primary lane after others as fast. Local
    positions need what nodes downstream have asked, so there deeper targets come first. Where ``full``, lanes from above
    leave out nothing of what is in transit. Where ``blind``, requests do not lower the position of the node they are made to.
    """
    t = tables
    cells = np.flatnonzero(used)
    lanes, products = np.divmod(cells, t.P)
    target, source = t.lane_target[lanes] * t.P + products, t.lane_source[lanes] * t.P + products
    primary = forest.primary[target] == cells
    # Place of each lane among those into its target.
    order = np.lexsort((cells, primary, t.nominal_lead_time[lanes], target))
    first = np.searchsorted(target[order], np.arange(t.N * t.P))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order)) - first[target[order]]
    own_places = {int(target[i]): int(places[i]) for i in np.flatnonzero(primary)}
    keys: list[tuple[int, ...]] = []
    for i, cell in enumerate(cells):
        place, own = int(places[i]), own_places[int(target[i])]
        phase = (1, 0) if primary[i] else (0, place) if place < own else (2, place)
        lateral = not primary[i] and is_lateral(t, forest, int(cell))
        keys.append((0 if echelon else -int(forest.depth[target[i]]), *phase, int(lateral)))
    steps: list[Step] = []
    order_of_keys = sorted(set(keys))
    for number, key in enumerate(order_of_keys):
        chosen = np.array([i for i, k in enumerate(keys) if k == key])
        read_later = {int(target[i]) for i, k in enumerate(keys) if k > key}
        limited_source = np.where(t.is_supplier[t.lane_source[lanes[chosen]]], -1, source[chosen])
        changed = {int(c) for c in (*target[chosen], *limited_source)}
        if echelon:
            changed |= {above for cell in changed if cell >= 0 for above in forest.ancestors(cell)}
        nodes = np.unique(limited_source[limited_source >= 0])
        group = np.where(limited_source >= 0, np.searchsorted(nodes, limited_source), -1)
        is_primary, lateral = bool(primary[chosen[0]]), bool(key[-1])
        before = cells[[i for i, k in enumerate(keys) if k < key]]
        lends_later = {int(source[i]) for i, k in enumerate(keys) if k > key and k[-1]} if lateral else set()
        of_lane, number_of_lane = np.unique(lanes[chosen], return_inverse=True)
        steps.append(
            Step(
                lane_cells=cells[chosen],
                target_cells=target[chosen],
                lanes=ops.index(cells[chosen]),
                targets=ops.index(target[chosen]),
                primary=is_primary,
                lateral=lateral,
                all_lanes=len(chosen) == t.L * t.P,
                later=None if full and not lateral else _later(t, cells[chosen], is_primary, used, ops),
                by_source=Segments(group, len(nodes), ops),
                limited=ops.index(nodes),
                source_cells=nodes,
                scarce=_scarce(t, group, nodes, target[chosen], before, ops) if is_primary else None,
                followed=number + 1 < len(order_of_keys) and bool(changed & read_later),
                lends_again=bool(set(nodes.tolist()) & lends_later),
                by_lane=Segments(number_of_lane, len(of_lane), ops),
                ops=ops,
                lowers=not blind,
            )
        )
    return steps


def is_numbers(values: Array) -> bool:
    """Whether values are known numbers: no tensor, and no expressions."""
    return isinstance(values, np.ndarray) and values.dtype != object


def is_whole(values: NDArray[np.float64]) -> bool:
    """Whether every number that is used is a whole one."""
    used = values[np.isfinite(values)]
    return bool((used == np.floor(used)).all())


def equal_within(tables: Tables, step: Step, level: Array, dtype: Any, ops: Ops) -> Any:
    """Tolerance in units, one number or (n, 1): positions nearer than this are equal, summed up in another order.

    ``level`` (n, 1) are the numbers that they are compared with, in units.
    """
    if not is_single(dtype):
        return DUST
    size = echelon_stock(tables)[step.target_cells // tables.P][:, None]
    if is_numbers(level):
        size = size + np.abs(np.where(np.isfinite(level), level, 0.0))
    return ops.constant(tolerance(dtype, size))


def is_lateral(tables: Tables, forest: Forest, cell: int) -> bool:
    """Whether a lane cell leaves a stock node that is not above its target in the primary forest."""
    t = tables
    lane, product = divmod(cell, t.P)
    source = int(t.lane_source[lane])
    if source < 0 or t.is_supplier[source]:
        return False
    return source * t.P + product not in forest.ancestors(int(t.lane_target[lane]) * t.P + product)


def _later(t: Tables, cells: Ints, primary: bool, used: NDArray[np.bool_], ops: Ops) -> Later | None:
    """A secondary lane leaves out all that comes later; a primary lane only what slower lanes in use bring."""
    rows = rows_of(t)
    later = SlowerLater(t, cells, ops, rows, used) if primary else Later(t, cells, ops, rows)
    return later if later.any else None


def _scarce(t: Tables, group: Ints, nodes: Ints, targets: Ints, before: Ints, ops: Ops) -> Scarce | None:
    if not len(nodes):
        return None
    items = np.flatnonzero(group >= 0)
    others = None
    if len(before):
        lanes, products = np.divmod(before, t.P)
        source = t.lane_source[lanes] * t.P + products
        sharing = np.isin(source, nodes)
        if sharing.any():
            of_node = np.searchsorted(nodes, source[sharing])
            others = ops.index(before[sharing]), Segments(of_node, len(nodes), ops)
    return Scarce(
        nodes=ops.index(nodes),
        items=ops.index(items),
        groups=Segments(group[items], len(nodes), ops),
        cells=items,
        group=group[items],
        targets=ops.index(targets[items]),
        others=others,
    )


# Numbers ------------------------------------------------------------------------------------------


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
        return other(name, value) if isinstance(value, np.ndarray | JaxArray) else value

    found = []
    for i, step in enumerate(steps):
        one = {name: swapped(f"{i}.{name}", value) for name, value in step._asdict().items()}
        one["more"] = {name: swapped(f"{i}.{name}", value) for name, value in step.more.items()}
        found.append(StepNumbers(**one))
    made = {name: swapped(name, value) for name, value in constants.items() if name != "reserve"}
    if "reserve" in constants:  # (1, S, P)
        ops = ops_of(constants["reserve"])
        made["reserve"] = ops.moveaxis(other("reserve", ops.moveaxis(constants["reserve"], 0, -1)), -1, 0)
    return found, made


def numbers_of(rule: Any, steps: list[Step], ops: Ops, dtype: Any) -> list[StepNumbers]:
    """The numbers of every step of a base-stock rule; whole ones in whole worlds, so that nothing is converted in a period."""
    groups = {name: rule.values[name] for name in rule.groups}
    plain = all(is_numbers(values) for values in groups.values())
    # What is added to levels is whole where units are, whatever the numbers that it comes from.
    counted = [values for name, values in groups.items() if not rule.groups[name].real]
    whole = dtype == ops.int and plain and all(is_whole(values) for values in counted)

    def picked(name: str, cells: Ints) -> Array:
        values = groups[name]
        if not isinstance(values, np.ndarray):
            return values[ops.whole(cells)][:, None]
        column = values[cells][:, None]
        if whole and not rule.groups[name].real:
            return ops.whole(np.clip(column, -NO_CAP, NO_CAP))
        return ops.constant(column)

    numbers = []
    for step in steps:
        cap = keep = None
        if step.primary:
            level = picked(rule.primary_group, step.target_cells)
        elif step.lateral:
            level, keep = picked("lateral_levels", step.lane_cells), picked("keep_levels", step.source_cells)
        else:
            level = picked("express_levels", step.lane_cells)
        if "caps" in groups:
            caps = groups["caps"]
            if not is_numbers(caps) or np.isfinite(caps[step.lane_cells]).any():
                cap = picked("caps", step.lane_cells)
        most = rule.most[step.lane_cells][:, None]
        if np.isfinite(most).any():
            limit = (ops.whole if whole else ops.constant)(np.minimum(most, NO_CAP))
            cap = limit if cap is None else ops.minimum(cap, limit)
        more = {
            name: picked(
                name, step.target_cells if rule.groups[name].entities is rule.tables.nodes else step.lane_cells
            )
            for name in groups
            if name not in (*_BASIC, rule.primary_group)
            and rule.groups[name].entities in (rule.tables.nodes, rule.tables.lanes)
        }
        near = equal_within(rule.tables, step, level, dtype, ops) if more else DUST
        numbers.append(StepNumbers(level, cap, keep, more, near))
    return numbers
