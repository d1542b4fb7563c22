"""C of loops over rows of worlds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.typing import Ints
from .buffers import Tensor
from .c_operations import TYPES, code
from .row_blocks import Constant, FoundRows, Read, RowBlock
from .row_fusion import RowBody, RowPlan


class RowLoops:
    """A body in C, for ``width`` worlds from ``c`` on; ``writer`` gives tensors and tables their names."""

    def __init__(self, writer: Any, plan: RowPlan, body: RowBody, width: int) -> None:
        self.writer, self.plan, self.body, self.width = writer, plan, body, width
        self.values = plan.values
        self.used: dict[int, None] = {}
        #: The loop over rows is cut in runs of so many, within which all memory goes on evenly.
        self.run = self._run()

    def _run(self) -> int:
        run = self.body.count
        for block in self.body.blocks:
            places = [one.places for one in block.stores] + ([block.homes] if block in self.plan.offsets else [])
            for read in block.reads:
                uneven = np.diff(self.values.group[read.values]) != 0
                run = math.gcd(run, *(np.flatnonzero(uneven) + 1).tolist())
                places.append(self._at(read))
            for one in places:
                steps = np.diff(one)
                run = math.gcd(run, *(np.flatnonzero(steps != steps[:1]) + 1).tolist())
        return run

    def lines(self) -> list[str]:
        """The loops around the blocks; what was read or computed once is held in variables."""
        held: dict[Any, str] = {}
        inner = list[str]()
        for block in self.body.blocks:
            names = list[str]()
            for read in block.reads:
                index = None if read.index is None else names[read.index]
                key = read.values.tobytes(), index
                if key not in held:
                    held[key] = f"v{len(inner)}"
                    inner.append(f"const {TYPES[code(read.dtype)]} v{len(inner)} = {self._element(read, index)};")
                names.append(held[key])
            name, type_ = f"v{len(inner)}", TYPES[code(block.dtype)]
            inner.append(f"const {type_} {name} = {block.text.format(*names)};")
            held[block.values.tobytes(), None] = name
            if block in self.plan.offsets:
                inner.append(f"{self._scratch(self._rows(block, block.values), type_)} = {name};")
            inner += [f"{self._kept(one.tensor, one.places, one.step, type_)} = {name};" for one in block.stores]
        runs = self.body.count // self.run
        outer = [f"for (int64_t i = 0; i < {runs}; i++)"] if runs > 1 else []
        outer += [f"for (int64_t j = 0; j < {self.run}; j++)"] if self.run > 1 else []
        outer += [*([] if self.body.serial else ["INDEPENDENT"]), f"for (int64_t w = 0; w < {self.width}; w++)"]
        return [*("  " + line for line in outer), "  {", *("    " + line for line in inner), "  }"]

    def _rows(self, block: RowBlock, values: Ints) -> Ints:
        """Bytes of a world at which values of a block lie in scratch."""
        return self.plan.offsets[block] + block.homes[self.values.place[values]] * block.dtype.itemsize

    def _element(self, read: Read, index: str | None) -> str:
        type_ = TYPES[code(read.dtype)]
        numbers = self.values.group[read.values]
        group = self.values.groups[numbers[0]]
        if isinstance(group, Constant):
            return group.text
        if isinstance(group, FoundRows):
            more = ""
            if read.lookup is not None:
                places, step, wraps = read.lookup.places, read.lookup.step, read.lookup.wraps
                more = f"{'wrapped' if wraps else 'clipped'}({index}, {places}) * {step}"
            return self._kept(group.tensor, self.values.place[read.values], group.step, type_, more)
        return self._scratch(self._at(read), type_)

    def _at(self, read: Read) -> Ints:
        """Where what is read lies: bytes of a world in scratch, or elements of a tensor."""
        numbers = self.values.group[read.values]
        rows = self.values.place[read.values]
        if not isinstance(self.values.groups[numbers[0]], RowBlock):
            return rows
        rows = rows.copy()
        for number in self.values.sources(read.values):
            chosen, one = numbers == number, self.values.groups[number]
            assert isinstance(one, RowBlock)
            if one in self.plan.offsets:  # otherwise it is held in a variable
                rows[chosen] = self._rows(one, read.values[chosen])
        return rows

    def _scratch(self, rows: Ints, type_: str) -> str:
        item = self._item(type_)
        terms = self._steps(rows // item, self.width)
        return f"(({type_} *)(s + {rows[0] * self.width}))[{' + '.join([*terms, 'w'])}]"

    def _kept(self, tensor: Tensor, places: Ints, step: int, type_: str, more: str = "") -> str:
        slot = self.writer.slot(tensor)
        self.used[slot] = None
        terms = self._steps(places, 1)
        if step:
            terms.append(f"(c + w) * {step}")
        if more:
            terms.append(more)
        return f"(({type_} *)(m{slot} + {places[0] * self._item(type_)}))[{' + '.join(terms) or '0'}]"

    @staticmethod
    def _item(type_: str) -> int:
        return next(int(key[1]) for key, value in TYPES.items() if value == type_)

    def _steps(self, places: Ints, scale: int) -> list[str]:
        """Elements from the first place to the others, by the loops over runs and over rows of a run."""
        terms, starts = list[str](), places[:: self.run] - places[0]
        steps = np.diff(starts)
        if steps.any():
            even = (steps == steps[0]).all()
            terms.append(
                f"i * {steps[0] * scale}" if even else f"{self.writer.table(tuple((starts * scale).tolist()))}[i]"
            )
        step = int(places[1] - places[0]) if self.run > 1 else 0
        return [*terms, f"j * {step * scale}"] if step else terms
