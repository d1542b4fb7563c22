"""Values of rows: what each row of worlds holds, from which copies, zeros and repetitions fall away.

A row is one number of every world of a batch. Statements of a schedule say which rows are written from which; here every
row that is read is traced back to where its number comes from: a loop that computed it, memory that the program found, or a
constant. A copy computes nothing, so it only hands that on; what nobody reads any more, and no memory keeps, is not computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.typing import Bools, Ints
from .buffers import Tensor
from .c_operations import TYPES, code
from .row_blocks import Constant, FoundRows, Read, RowBlock, Store, ValueSource
from .schedule import Operand, Statement

#: A statement whose operands come from more kinds of places is not cut up; they are brought together instead.
MOST_PIECES = 8
#: Characters of a constant that is written out wherever it is used.
LONGEST_CONSTANT = 200


class MixedRows(Exception):
    """Memory that is not seen as rows of one type throughout."""


class RowValues:
    """The blocks that a part of a schedule comes down to.

    Attributes
    ----------
    blocks
        In an order that gives the same results.
    groups
        Where values come from; ``group[v]`` is the number of that of value v, ``place[v]`` its place in it: a row of a
        block, or an element of a tensor.

    Raises
    ------
    MixedRows
        If memory is read or written in several types, or may be shared in ways that rows do not show.
    """

    def __init__(self, statements: list[Statement]) -> None:
        self.blocks: list[RowBlock] = []
        self.groups: list[ValueSource] = []
        self.group, self.place = np.zeros(1024, np.int64), np.zeros(1024, np.int64)
        self.count = 0
        self._numbers: dict[int, int] = {}  # of groups, by identity
        self._found: dict[tuple[Any, ...], FoundRows] = {}
        self._constants: dict[tuple[str, str], int] = {}
        self._computed: dict[tuple[Any, ...], Ints] = {}
        # Of what is written, by element from the start: values, -1 = as found.
        self._held: dict[Tensor, tuple[np.dtype[Any], Ints]] = {}
        self._sizes: dict[Tensor, int] = {}  # bytes
        self._buffers: dict[int, Tensor] = {}
        self._check(statements)
        for statement in statements:
            self._add(statement)
        self._keep()
        self._drop_unread()

    def _check(self, statements: list[Statement]) -> None:
        for statement in statements:
            write, dtype = statement.write, statement.write.access.array.dtype
            tensor = self._shared(write.tensor)
            known, _ = self._held.setdefault(tensor, (dtype, np.zeros(0, np.int64)))
            if known != dtype or (tensor.kept and write.strides[-1] != (_step(tensor, dtype) or None)):
                raise MixedRows
        for statement in statements:
            for one in (statement.write, *statement.reads):
                tensor = self._shared(one.tensor)
                size = one.tensor.size // (1 if tensor.kept else statement.extents[-1])
                self._sizes[tensor] = max(self._sizes.get(tensor, 0), size + 8)
        for tensor, (dtype, _) in self._held.items():
            self._held[tensor] = dtype, np.full(self._sizes[tensor] // dtype.itemsize, -1, np.int64)

    def _shared(self, tensor: Tensor) -> Tensor:
        """The first of the tensors that lie in one buffer, one after the other."""
        return self._buffers.setdefault(tensor.start, tensor) if tensor.kept and tensor.owned else tensor

    # Numbers of values ------------------------------------------------------------------------------

    def _new(self, group: ValueSource, places: Ints) -> Ints:
        number = self._numbers.get(id(group))
        if number is None:
            number = self._numbers[id(group)] = len(self.groups)
            self.groups.append(group)
        start, self.count = self.count, self.count + len(places)
        while self.count > len(self.group):
            self.group, self.place = (
                np.resize(self.group, 2 * len(self.group)),
                np.resize(self.place, 2 * len(self.place)),
            )
        self.group[start : self.count], self.place[start : self.count] = number, places
        return np.arange(start, self.count)

    def _constant(self, text: str, dtype: np.dtype[Any]) -> int:
        key = text, dtype.str
        if key not in self._constants:
            self._constants[key] = int(self._new(Constant(text, dtype), np.zeros(1, np.int64))[0])
        return self._constants[key]

    def _as_found(self, operand: Operand, places: Ints) -> Ints:
        dtype, tensor, lookup = operand.access.array.dtype, self._shared(operand.tensor), operand.access.lookup
        looked = None if lookup is None else (lookup.places, lookup.step, lookup.wraps)
        key = id(tensor), dtype.str, operand.strides[-1], looked
        found = self._found.get(key)
        if found is None:
            found = FoundRows(
                tensor, dtype, operand.strides[-1], np.full(self._sizes[tensor] // dtype.itemsize, -1, np.int64)
            )
            self._found[key] = found
        fresh = np.zeros(len(found.places), bool)
        fresh[places] = found.places[places] < 0
        missing = np.flatnonzero(fresh)
        if len(missing):
            found.places[missing] = self._new(found, missing)
        return found.places[places]

    # Statements -------------------------------------------------------------------------------------

    def _add(self, statement: Statement) -> None:
        write = statement.write
        where, dtype = _places(write, statement.extents), write.access.array.dtype
        _, held = self._held[self._shared(write.tensor)]
        places = [_places(one, statement.extents) for one in statement.reads]
        builds = any(self._shared(one.tensor) is self._shared(write.tensor) for one in statement.reads)
        if statement.serial and builds:
            self._add_serial(statement, where, places)
            return
        values = [self._read(one, at) for one, at in zip(statement.reads, places, strict=True)]
        early = any(one.tensor.fed for one in statement.reads)
        same = len(values) == 1 and statement.text == "{0}" and statement.reads[0].access.lookup is None
        if same and not early:
            held[where] = values[0]
            return
        if not values:
            held[where] = self._constant(statement.text, dtype)
            return
        reads = self._reads(statement, values)
        result = np.zeros(len(where), np.int64)
        for chosen in self._pieces(reads):
            part = [Read(one.values[chosen], one.dtype, one.index, one.lookup) for one in reads]
            result[chosen] = self._compute(statement.text, dtype, part, early)
        held[where] = result

    def _read(self, operand: Operand, places: Ints) -> Ints:
        tensor = self._shared(operand.tensor)
        if tensor not in self._held:
            if not tensor.kept:
                raise MixedRows
            return self._as_found(operand, places)
        dtype, held = self._held[tensor]
        if dtype != operand.access.array.dtype or (tensor.kept and operand.strides[-1] != _step(tensor, dtype)):
            raise MixedRows
        values = held[places]
        missing = values < 0
        if missing.any():
            if not tensor.kept:
                raise MixedRows
            values[missing] = self._as_found(operand, places[missing])
        return values

    def _reads(self, statement: Statement, values: list[Ints]) -> list[Read]:
        keys = [one.key for one in statement.reads]
        return [
            Read(
                v,
                one.access.array.dtype,
                None if one.index is None else keys.index(one.index.key),
                one.access.lookup,
            )
            for one, v in zip(statement.reads, values, strict=True)
        ]

    def sources(self, values: Ints) -> list[int]:
        """The numbers of the groups that values belong to, ascending."""
        numbers = self.group[values]
        if (numbers == numbers[0]).all():
            return [int(numbers[0])]
        return np.flatnonzero(np.bincount(numbers)).tolist()

    def _kinds(self, values: Ints) -> Ints:
        """A number for the memory that values are read from: that of the group, -1 for scratch."""
        found = self.sources(values)
        kind = np.full(len(self.groups), -1, np.int64)
        kind[found] = [-1 if isinstance(self.groups[i], RowBlock) else i for i in found]
        return kind[self.group[values]]

    def _pieces(self, reads: list[Read]) -> list[Ints]:
        """Steps of a loop, by the memory that their operands are read from."""
        pieces = self._alike(reads)
        if len(pieces) > MOST_PIECES:
            for one in reads:
                if one.lookup is None:
                    one.values = self._together(one)
            pieces = self._alike(reads)
        return pieces

    def _alike(self, reads: list[Read]) -> list[Ints]:
        kinds = [self._kinds(one.values) for one in reads]
        kinds = [one for one in kinds if (one != one[0]).any()]
        if not kinds:
            return [np.arange(len(reads[0].values))]
        _, piece = np.unique(np.stack(kinds), axis=1, return_inverse=True)
        piece = piece.reshape(-1)
        return [np.flatnonzero(piece == i) for i in range(int(piece.max()) + 1)]

    def _together(self, read: Read) -> Ints:
        """The values of a read, those of several memories brought to scratch."""
        kinds = self._kinds(read.values)
        if (kinds == kinds[0]).all():
            return read.values
        values = read.values.copy()
        for kind in np.unique(kinds[kinds >= 0]):
            chosen, group = np.flatnonzero(kinds == kind), self.groups[kind]
            wanted, back = np.unique(values[chosen], return_inverse=True)
            if isinstance(group, Constant):
                brought = self._block(group.text, group.dtype, 1, [])
            else:
                brought = self._block("{0}", read.dtype, len(wanted), [Read(wanted, read.dtype)])
            values[chosen] = brought[back.reshape(-1)]
        return values

    def _compute(self, text: str, dtype: np.dtype[Any], reads: list[Read], early: bool) -> Ints:
        """The values of a loop whose operands each come from one memory; constants are written into the text."""
        texts, kept, moved = [], list[Read](), dict[int, int]()
        needed = {one.index for one in reads}
        for number, one in enumerate(reads):
            group = self.groups[self.group[one.values[0]]]
            if isinstance(group, Constant) and one.lookup is None and number not in needed:
                texts.append(group.text)
                continue
            moved[number] = len(kept)
            texts.append(f"{{{len(kept)}}}")
            kept.append(Read(one.values, one.dtype, None if one.index is None else moved[one.index], one.lookup))
        text = text.format(*texts)
        if not kept:
            count = len(reads[0].values)
            if len(text) <= LONGEST_CONSTANT:
                return np.full(count, self._constant(f"(({TYPES[code(dtype)]}){text})", dtype))
        key = (
            text,
            dtype.str,
            early,
            *(one.values.tobytes() for one in kept),
            *(one.index for one in kept),
            len(reads[0].values),
        )
        if key not in self._computed:
            self._computed[key] = self._block(text, dtype, len(reads[0].values), kept, early)
        return self._computed[key]

    def _block(self, text: str, dtype: np.dtype[Any], count: int, reads: list[Read], early: bool = False) -> Ints:
        self.blocks.append(self._loop(text, dtype, count, reads, early))
        return self.blocks[-1].values

    def _loop(self, text: str, dtype: np.dtype[Any], count: int, reads: list[Read], early: bool = False) -> RowBlock:
        rows = np.arange(count)
        block = RowBlock(text, dtype, rows, reads, False, rows, early)
        block.values = self._new(block, rows)
        return block

    def _add_serial(self, statement: Statement, where: Ints, places: list[Ints]) -> None:
        """A statement whose steps read what the steps before wrote."""
        dtype, held = self._held[self._shared(statement.write.tensor)]
        if any(one.tensor.fed or one.access.lookup is not None for one in statement.reads):
            raise MixedRows
        count = len(where)
        homes = np.unique(where, return_inverse=True)[1].reshape(-1)
        block = self._loop(statement.text, dtype, count, [])
        block.serial, block.homes, own = True, homes, block.values
        mine = [
            j
            for j, one in enumerate(statement.reads)
            if self._shared(one.tensor) is self._shared(statement.write.tensor)
        ]
        values = [self._read(one, at) for one, at in zip(statement.reads, places, strict=True)]
        last: dict[int, int] = {}
        for step in range(count):
            for j in mine:
                values[j][step] = last.get(int(places[j][step]), values[j][step])
            last[int(where[step])] = int(own[step])
        block.reads = self._reads(statement, values)
        for one in block.reads:
            one.values = self._together(one)
        self.blocks.append(block)
        held[where] = own

    # What stays ---------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Stores of what memory keeps: by the loop that computes it, where nobody reads later what lay there before."""
        last_read = np.full(self.count, -1, np.int64)
        for number, block in enumerate(self.blocks):
            for one in block.reads:
                last_read[one.values] = number
        sinks: list[tuple[Tensor, np.dtype[Any], Ints, Ints]] = []
        for tensor, (dtype, held) in self._held.items():
            if not tensor.kept:
                continue
            places = np.flatnonzero(held >= 0)
            found = self._found.get((id(tensor), dtype.str, _step(tensor, dtype), None))
            if found is not None:
                places = places[found.places[places] != held[places]]
            if len(places):
                sinks.append((tensor, dtype, places, held[places]))
        for _, _, _, values in sinks:  # what is only moved is read last of all
            moved = np.array([isinstance(self.groups[i], FoundRows) for i in self.group[values]], dtype=bool)
            last_read[values[moved]] = len(self.blocks)
        numbers = {id(block): number for number, block in enumerate(self.blocks)}
        loads, late = list[RowBlock](), list[RowBlock]()
        for tensor, dtype, places, values in sinks:
            step = _step(tensor, dtype)
            found = self._found.get((id(tensor), dtype.str, step, None))
            for number in self.sources(values):
                chosen = np.flatnonzero(self.group[values] == number)
                group, at, mine = self.groups[number], places[chosen], values[chosen]
                if (np.diff(self.place[mine]) < 0).any():
                    order = np.argsort(self.place[mine], kind="stable")
                    at, mine = at[order], mine[order]
                if (
                    isinstance(group, RowBlock)
                    and not group.serial
                    and len(mine) == group.count
                    and (np.diff(mine) == 1).all()
                ):
                    before = np.full(0, -1) if found is None else found.places[at]
                    read = last_read[before[before >= 0]]
                    if (read <= numbers[id(group)]).all() and not self._crosses(group, before):
                        group.stores.append(Store(tensor, at, step))
                        continue
                if isinstance(group, FoundRows) and group.tensor.written:
                    mine = self._late(loads, "{0}", dtype, [Read(mine, dtype)], len(at))
                if isinstance(group, Constant):
                    self._late(late, group.text, dtype, [], len(at), Store(tensor, at, step))
                else:
                    self._late(late, "{0}", dtype, [Read(mine, dtype)], len(at), Store(tensor, at, step))
        self.blocks += [*loads, *late]

    def _crosses(self, block: RowBlock, before: Ints) -> bool:
        """Whether a step of a block reads what lay where another of its steps is to be kept."""
        for one in block.reads:
            if np.isin(one.values, before[before >= 0]).any() and (
                len(before) != len(one.values) or (one.values != before)[np.isin(one.values, before)].any()
            ):
                return True
        return False

    def _late(
        self, into: list[RowBlock], text: str, dtype: Any, reads: list[Read], count: int, store: Store | None = None
    ) -> Ints:
        block = self._loop(text, dtype, count, reads)
        if store is not None:
            block.stores.append(store)
        into.append(block)
        return block.values

    def _drop_unread(self) -> None:
        """Leave out rows that are neither kept nor read."""
        live: Bools = np.zeros(self.count, dtype=bool)
        left = []
        for block in reversed(self.blocks):
            wanted = live[block.values]
            if not (block.stores or wanted.any()):
                continue
            if not block.stores and not block.serial and not wanted.all():
                chosen = np.flatnonzero(wanted)
                block.values, block.homes = block.values[chosen], np.arange(len(chosen))
                self.place[block.values] = block.homes
                for one in block.reads:
                    one.values = one.values[chosen]
            for one in block.reads:
                live[one.values] = True
            left.append(block)
        self.blocks = left[::-1]


def _step(tensor: Tensor, dtype: np.dtype[Any]) -> int:
    """Elements from one world to the next."""
    return 0 if tensor.world is None else tensor.world // dtype.itemsize


def _places(operand: Operand, extents: tuple[int, ...]) -> Ints:
    """(rows,) elements from a tensor's start at which the rows of an operand begin."""
    item = operand.access.array.itemsize
    if operand.offset % item:
        raise MixedRows
    places = np.full(1, operand.offset // item, np.int64)
    for axis, steps in enumerate(extents[:-1]):
        along = np.array(operand.table, np.int64) if axis == operand.axis else np.arange(steps) * operand.strides[axis]
        places = (places[:, None] + along).reshape(-1)
    return places
