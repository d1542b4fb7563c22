"""Loops over rows joined where they run over the same rows, and places in scratch for what one leaves to another."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..core.typing import Ints
from .fusion import FARTHEST, LARGEST
from .row_blocks import FoundRows, RowBlock, Store
from .row_values import RowValues


@dataclass(eq=False)
class RowBody:
    """Blocks under one loop."""

    count: int
    serial: bool
    blocks: list[RowBlock] = field(default_factory=list)
    keys: set[bytes] = field(default_factory=set)  # what the blocks read and compute


@dataclass
class RowPlan:
    """Bodies in order, and where the blocks that others read lie in scratch, in bytes of a world."""

    values: RowValues
    bodies: list[RowBody]
    offsets: dict[RowBlock, int]
    size: int


def row_plan(values: RowValues) -> RowPlan:
    """The loops of the blocks, joined, with their scratch."""
    bodies, body_of = _fused(values)
    last: dict[RowBlock, int] = {}
    for number, body in enumerate(bodies):
        for block in body.blocks:
            for read in block.reads:
                for one in _blocks(values, read.values):
                    if body_of[one] != number or one.serial:
                        last[one] = number
    offsets, size, busy = dict[RowBlock, int](), 0, list[tuple[int, int, RowBlock]]()
    for number, body in enumerate(bodies):
        busy = sorted((one for one in busy if last[one[2]] >= number), key=lambda one: one[:2])
        for block in body.blocks:
            if block not in last:
                continue
            room, start = -(-int(block.homes.max() + 1) * block.dtype.itemsize // 8) * 8, 0
            for low, high, _ in busy:
                if low - start >= room:
                    break
                start = high
            busy = sorted([*busy, (start, start + room, block)], key=lambda one: one[:2])
            offsets[block], size = start, max(size, start + room)
    return RowPlan(values, bodies, offsets, size)


def _blocks(values: RowValues, read: Ints) -> list[RowBlock]:
    groups = (values.groups[i] for i in values.sources(read))
    return [one for one in groups if isinstance(one, RowBlock)]


def _fused(values: RowValues) -> tuple[list[RowBody], dict[RowBlock, int]]:
    bodies, body_of = list[RowBody](), dict[RowBlock, int]()
    readers: dict[int, list[tuple[RowBlock, Ints]]] = {}  # of rows found in memory that is written, by tensor
    early = 0
    for block in values.blocks:
        least = max([0, *(_least(values, body_of, block, read.values) for read in block.reads)])
        for store in block.stores:
            least = max(
                early, least, *(_behind(values, body_of, store, *one) for one in readers.get(id(store.tensor), ()))
            )
        keys = {read.values.tobytes() for read in block.reads}
        best, most = None, -1
        for number in range(len(bodies) - 1, max(least, len(bodies) - FARTHEST) - 1, -1):
            body = bodies[number]
            if body.count == block.count and not body.serial and not block.serial and len(body.blocks) < LARGEST:
                shared = len(keys & body.keys)
                if shared > most:
                    best, most = number, shared
        if best is None:
            best = len(bodies)
            bodies.append(RowBody(block.count, block.serial))
        bodies[best].blocks.append(block)
        bodies[best].keys |= keys | {block.values.tobytes()}
        body_of[block] = best
        if block.early:
            early = len(bodies)
        for read in block.reads:
            for i in values.sources(read.values):
                group = values.groups[i]
                if isinstance(group, FoundRows) and group.tensor.written:
                    readers.setdefault(id(group.tensor), []).append((block, read.values))
    return bodies, body_of


def _least(values: RowValues, body_of: dict[RowBlock, int], block: RowBlock, read: Ints) -> int:
    """The first body in which a block may be that reads these values."""
    least = 0
    for one in _blocks(values, read):
        if one is not block:
            least = max(least, body_of[one] + (not np.array_equal(one.values, read) or one.serial))
    return least


def _behind(values: RowValues, body_of: dict[RowBlock, int], store: Store, reader: RowBlock, read: Ints) -> int:
    """The first body in which rows may be kept that a reader reads as they were before."""
    mine = [i for i in values.sources(read) if _is_found(values, i, store)]
    if not mine:
        return 0
    of_tensor = np.isin(values.group[read], mine)
    places = values.place[read]
    touched = of_tensor & np.isin(places, store.places)
    if not touched.any():
        return 0
    in_step = len(places) == len(store.places) and bool((places == store.places)[touched].all())
    return body_of[reader] + (not in_step)


def _is_found(values: RowValues, group: int, store: Store) -> bool:
    one = values.groups[group]
    return isinstance(one, FoundRows) and one.tensor is store.tensor
