"""C source of a schedule."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from .buffers import Tensor
from .c_operations import PRELUDE, TYPES, code
from .fusion import LoopBody, Scratch, fused, scratch, stored
from .row_fusion import row_plan
from .row_source import RowLoops
from .row_values import MixedRows, RowValues
from .schedule import Operand, Schedule, Statement

#: Bodies in one function: compilers take disproportionately long over large ones.
PER_FUNCTION = 24
#: Bytes of scratch that parts of a batch aim at, and the fewest and the most worlds in a part.
CACHE, LEAST, MOST = 150_000, 16, 64
#: A program that is native as a whole, many times: behind each time some addresses of its table move on by so many bytes.
REPEATED = """\
EXPORT void repeat(char **m, int64_t times, int64_t count, const int64_t *slots, const int64_t *steps) {{
  for (int64_t i = 0; i < times; i++) {{
    {0}(m);
    for (int64_t k = 0; k < count; k++) m[slots[k]] += steps[k];
  }}
}}"""


@dataclass
class CSource:
    """C source, and what it is called with.

    Parameters
    ----------
    text
        The source. Nothing in it depends on addresses.
    parts
        In order: names of functions, and calls that stay with NumPy. A function takes a table of addresses: of a
        scratch buffer, aligned to 64 bytes, and of ``tensors``.
    scratch
        Bytes of the buffer.
    """

    text: str
    parts: list[str | Callable[[], Any]]
    tensors: list[Tensor]
    scratch: int


def source(plan: Schedule) -> CSource:
    """The C source of the native parts of a plan."""
    writer = _Writer(plan.worlds)
    parts = [writer.function(part) if isinstance(part, list) else part for part in plan.parts]
    if len(parts) == 1 and isinstance(parts[0], str):
        writer.lines += [REPEATED.format(parts[0])]
    return CSource("\n".join([PRELUDE, *writer.lines, ""]), parts, list(writer.slots), writer.scratch)


def part_size(worlds: int, scratch_bytes: int) -> int:
    """Worlds in a part of the batch: as many as keep the scratch in the cache, without a rest where that can be."""
    most = min(max(CACHE // max(scratch_bytes, 1), LEAST), MOST, worlds)
    whole = [width for width in range(LEAST // 2, most + 1) if worlds % width == 0]
    return max(whole, key=lambda width: (width % 8 == 0, width), default=most // 8 * 8)


class _Writer:
    def __init__(self, worlds: int | None) -> None:
        self.worlds = worlds
        self.lines: list[str] = []
        self.slots: dict[Tensor, int] = {}
        self.tables: dict[tuple[int, ...], str] = {}
        self.scratch = 0
        self.functions = 0

    def function(self, statements: list[Statement]) -> str:
        """Write the function of a native part: all bodies, for each part of the batch in turn. Its name."""
        bodies, size = self._bodies(statements)
        name = f"run{self.functions}"
        self.functions += 1
        width = 1 if self.worlds is None else part_size(self.worlds, size)
        self.scratch = max(self.scratch, size * width)
        calls = self._pieces(f"{name}_{width}", bodies, width)
        if self.worlds is None:
            lines = [f"  {one}(m, 0);" for one in calls]
        else:
            lines = ["  int64_t c = 0;", f"  for (; c + {width} <= {self.worlds}; c += {width}) {{"]
            lines += [*(f"    {one}(m, c);" for one in calls), "  }"]
            rest = self.worlds % width
            if rest:
                lines += [f"  {one}(m, c);" for one in self._pieces(f"{name}_{rest}", bodies, rest)]
        self.lines += [f"EXPORT void {name}(char **m) {{", *lines, "}"]
        return name

    def _bodies(self, statements: list[Statement]) -> tuple[list[Callable[[int], _Loops | RowLoops]], int]:
        """The loops of a native part, each for so many worlds, and the bytes of scratch that a world takes."""
        if self.worlds is not None:
            with suppress(MixedRows):
                rows = row_plan(RowValues(statements))
                return [partial(RowLoops, self, rows, body) for body in rows.bodies], rows.size
        bodies = fused(statements)
        keep = stored(bodies)
        places = scratch(bodies, keep, self.worlds)
        return [partial(_Loops, self, body, keep, places) for body in bodies], places.size

    def _pieces(self, name: str, bodies: list[Callable[[int], _Loops | RowLoops]], width: int) -> list[str]:
        """Write functions of some bodies each for ``width`` worlds from ``c`` on: their names."""
        names = []
        for start in range(0, len(bodies), PER_FUNCTION):
            names.append(f"{name}_{start // PER_FUNCTION}")
            lines, used = [], dict[int, None]()
            for body in bodies[start : start + PER_FUNCTION]:
                loops = body(width)
                lines += loops.lines()
                used |= loops.used
            self.lines += [f"static void {names[-1]}(char **m, int64_t c) {{", "  char *const s = m[0];"]
            self.lines += [f"  char *const m{slot} = m[{slot + 1}];" for slot in used]
            self.lines += [*lines, "}"]
        return names

    def slot(self, tensor: Tensor) -> int:
        """The number of a tensor that is kept in the table of addresses."""
        return self.slots.setdefault(tensor, len(self.slots))

    def table(self, numbers: tuple[int, ...]) -> str:
        """The name of a constant table."""
        if numbers not in self.tables:
            self.tables[numbers] = f"t{len(self.tables)}"
            listed = ", ".join(map(str, numbers))
            self.lines.append(f"static const int64_t {self.tables[numbers]}[] = {{{listed}}};")
        return self.tables[numbers]


def _type(place: Operand) -> str:
    return TYPES[code(place.access.array.dtype)]


class _Loops:
    """A body in C, neighbouring loops joined where memory allows."""

    def __init__(self, writer: _Writer, body: LoopBody, keep: set[Statement], places: Scratch, width: int) -> None:
        self.writer, self.body, self.keep, self.places = writer, body, keep, places
        self.parted = writer.worlds is not None
        self.width = width
        self.used: dict[int, None] = {}
        extents = [*body.extents[:-1], width] if self.parted else list(body.extents)
        operands = [place for one in body.statements for place in (one.write, *one.reads)]
        self.strides = {place.key: self._strides(place) for place in operands}
        looked_up = {place.axis for place in operands}
        #: Each loop: the last of the axes joined in it, and its steps.
        self.loops: list[tuple[int, int]] = []
        for axis, steps in enumerate(extents):
            follows = all(s[axis - 1] == s[axis] * steps for s in self.strides.values()) if axis else False
            if follows and looked_up.isdisjoint((axis - 1, axis)):
                self.loops[-1] = axis, self.loops[-1][1] * steps
            else:
                self.loops.append((axis, steps))

    def _strides(self, place: Operand) -> list[int]:
        """Elements from step to step; a row of scratch holds the worlds of a part."""
        if place.tensor.kept or not self.parted:
            return list(place.strides)
        return [*(step * self.width for step in place.strides[:-1]), place.strides[-1]]

    def lines(self) -> list[str]:
        """The loops around the statements; what was read or computed once is held in variables."""
        held: dict[tuple[Any, ...], str] = {}
        inner = list[str]()
        for statement in self.body.statements:
            for place in statement.reads:
                if place.key not in held:
                    held[place.key] = f"v{len(inner)}"
                    index = None if place.index is None else held[place.index.key]
                    inner.append(f"const {_type(place)} v{len(inner)} = {self._element(place, index)};")
            value = statement.text.format(*(held[place.key] for place in statement.reads))
            held[statement.write.key] = f"v{len(inner)}"
            inner.append(f"const {_type(statement.write)} v{len(inner)} = {value};")
            if statement in self.keep:
                inner.append(f"{self._element(statement.write)} = {held[statement.write.key]};")
        outer = [f"for (int64_t i{n} = 0; i{n} < {steps}; i{n}++)" for n, (_, steps) in enumerate(self.loops)]
        if outer and not self.body.serial:
            outer.insert(-1, "INDEPENDENT")
        return [*("  " + line for line in outer), "  {", *("    " + line for line in inner), "  }"]

    def _element(self, place: Operand, index: str | None = None) -> str:
        """An operand in C; ``index`` is the number that its place is looked up by."""
        tensor, parted = place.tensor, self.parted
        if tensor.kept:
            slot = self.writer.slot(tensor)
            self.used[slot] = None
            base, scale = f"m{slot} + {place.offset}", 1
        else:
            scale = self.width if parted else 1
            base = f"s + {(self.places.offsets[tensor] + place.offset) * scale}"
        terms = []
        for number, (axis, _) in enumerate(self.loops):
            step = self.strides[place.key][axis]
            if axis == place.axis:
                terms.append(f"{self.writer.table(tuple(one * scale for one in place.table))}[i{number}]")
            elif step:
                terms.append(f"i{number} * {step}")
        lookup = place.access.lookup
        if lookup is not None:
            terms.append(f"{'wrapped' if lookup.wraps else 'clipped'}({index}, {lookup.places}) * {lookup.step}")
        if parted and tensor.kept and place.strides[-1]:
            terms.append(f"c * {place.strides[-1]}")
        return f"(({_type(place)} *)({base}))[{' + '.join(terms) or '0'}]"
