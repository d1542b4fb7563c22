"""A plan as C source."""

from __future__ import annotations

from dataclasses import dataclass

from .native_fuse import Body, Scratch, fused, scratch, stored
from .native_plan import Place, Plan, Statement, Tensor
from .native_terms import PRELUDE, TYPES, code

#: Bodies in one function: compilers take disproportionately long over large ones.
PER_FUNCTION = 24
#: Bytes of scratch that parts of a batch aim at, and the fewest and the most worlds in a part.
CACHE, LEAST, MOST = 40_000, 8, 64


@dataclass
class Source:
    """C source and what it is called with.

    ``run0, run1 ...`` do the native parts of the plan, given a table of addresses: of the scratch buffer (``scratch``
    bytes, aligned to 64) and of ``tensors``.
    """

    text: str
    tensors: list[Tensor]
    scratch: int
    functions: list[str]


def source(plan: Plan) -> Source:
    """The C source of the native parts of a plan."""
    writer = _Writer(plan)
    for part in plan.parts:
        if isinstance(part, list):
            writer.run(part)
    return Source("\n".join([PRELUDE, *writer.lines, ""]), writer.tensors, writer.scratch, writer.functions)


class _Writer:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lines: list[str] = []
        self.functions: list[str] = []
        self.tensors: list[Tensor] = []
        self.slots: dict[Tensor, int] = {}
        self.tables: dict[tuple[int, ...], str] = {}
        self.scratch = 0

    def run(self, statements: list[Statement]) -> None:
        """A native part: all bodies for each part of the batch."""
        bodies = fused(statements)
        keep = stored(bodies)
        places = scratch(bodies, keep, self.plan)
        worlds, name = self.plan.worlds, f"run{len(self.functions)}"
        self.functions.append(name)
        if worlds is None:
            self.scratch = max(self.scratch, places.size)
            calls = self._functions(name, bodies, keep, places, 1)
            self.lines += [f"EXPORT void {name}(char **m) {{", *(f"  {one}(m, 0);" for one in calls), "}"]
            return
        width = part_size(worlds, places.size)
        self.scratch = max(self.scratch, places.size * width)
        calls = self._functions(f"{name}_{width}", bodies, keep, places, width)
        end = [f"EXPORT void {name}(char **m) {{", "  int64_t c = 0;", f"  for (; c + {width} <= {worlds}; c += {width}) {{"]
        end += [*(f"    {one}(m, c);" for one in calls), "  }"]
        if worlds % width:
            rest = self._functions(f"{name}_{worlds % width}", bodies, keep, places, worlds % width)
            end += [f"  {one}(m, c);" for one in rest]
        self.lines += [*end, "}"]

    def _functions(self, name: str, bodies: list[Body], keep: set[Statement], places: Scratch, width: int) -> list[str]:
        names = []
        for start in range(0, len(bodies), PER_FUNCTION):
            names.append(f"{name}_{start // PER_FUNCTION}")
            lines = [line for body in bodies[start : start + PER_FUNCTION] for line in self._body(body, keep, places, width)]
            self.lines += [f"static void {names[-1]}(char **m, int64_t c) {{", "  char *const s = m[0];"]
            used = [slot for slot in self.slots.values() if any(f"m{slot} " in line for line in lines)]
            self.lines += [f"  char *const m{slot} = m[{slot + 1}];" for slot in used]
            self.lines += [*lines, "}"]
        return names

    def _body(self, body: Body, keep: set[Statement], places: Scratch, width: int) -> list[str]:
        loops = _Loops(self, body, places, width)
        held: dict[tuple[object, ...], str] = {}
        inner = []
        for statement in body.statements:
            values = []
            for place in statement.reads:
                if place.key not in held:
                    held[place.key] = f"v{len(held)}_{len(inner)}"
                    inner.append(f"const {_type(place)} {held[place.key]} = {loops.text(place)};")
                values.append(held[place.key])
            result, kind = f"v{len(held)}_{len(inner)}", _type(statement.write)
            inner.append(f"const {kind} {result} = ({kind})({statement.text.format(*values)});")
            held[statement.write.key] = result
            if statement in keep:
                inner.append(f"{loops.text(statement.write)} = {result};")
        return loops.around(inner)

    def slot(self, tensor: Tensor) -> int:
        """The number of a tensor in the table of addresses."""
        if tensor not in self.slots:
            self.slots[tensor] = len(self.tensors)
            self.tensors.append(tensor)
        return self.slots[tensor]

    def table(self, numbers: tuple[int, ...]) -> str:
        """The name of a constant table."""
        if numbers not in self.tables:
            self.tables[numbers] = f"t{len(self.tables)}"
            listed = ", ".join(map(str, numbers))
            self.lines.append(f"static const int32_t {self.tables[numbers]}[] = {{{listed}}};")
        return self.tables[numbers]


def _type(place: Place) -> str:
    return TYPES[code(place.access.array.dtype)]


class _Loops:
    """The loops of a body, neighbouring ones joined where memory allows."""

    def __init__(self, writer: _Writer, body: Body, places: Scratch, width: int) -> None:
        self.writer, self.body, self.places, self.width = writer, body, places, width
        self.parted = writer.plan.worlds is not None
        self.extents = [*body.extents[:-1], width] if self.parted else list(body.extents)
        found = [place for one in body.statements for place in (one.write, *one.reads)]
        self.strides = {place.key: self._strides(place) for place in found}
        looked_up = {place.axis for place in found if place.axis is not None}
        # Loops as (number of the outermost that was joined, steps); a stride is that of the innermost.
        self.loops: list[tuple[list[int], int]] = []
        for number, steps in enumerate(self.extents):
            joins = (
                bool(self.loops)
                and number not in looked_up
                and self.loops[-1][0][-1] not in looked_up
                and all(s[number - 1] == s[number] * steps for s in self.strides.values())
            )
            if joins:
                axes, outer = self.loops[-1]
                self.loops[-1] = ([*axes, number], outer * steps)
            else:
                self.loops.append(([number], steps))

    def _scale(self, place: Place) -> int:
        return self.width if self.parted and not place.tensor.kept else 1

    def _strides(self, place: Place) -> list[int]:
        """Elements from step to step; rows of scratch hold the worlds of a part."""
        steps = [step * self._scale(place) for step in place.strides]
        if self._scale(place) != 1 and steps:
            steps[-1] = place.strides[-1]
        return steps

    def text(self, place: Place) -> str:
        """An operand in C."""
        tensor, scale = place.tensor, self._scale(place)
        if tensor.kept:
            base, offset = f"m{self.writer.slot(tensor)}", place.offset
        else:
            base, offset = "s", self.places.offsets[tensor] * (self.width if self.parted else 1) + place.offset * scale
        terms = []
        for number, (axes, _) in enumerate(self.loops):
            step = self.strides[place.key][axes[-1]]
            if place.axis is not None and place.axis in axes:
                table = self.writer.table(tuple(one * scale for one in place.table))
                terms.append(f"{table}[i{number}]")
            elif step:
                terms.append(f"i{number}" if step == 1 else f"i{number} * {step}")
        if self.parted and tensor.kept and place.strides[-1]:
            step = place.strides[-1]
            terms.append("c" if step == 1 else f"c * {step}")
        return f"(({_type(place)} *)({base} + {offset}))[{' + '.join(terms) or '0'}]"

    def around(self, inner: list[str]) -> list[str]:
        """The loops around the lines of a body."""
        lines = []
        for number, (_, steps) in enumerate(self.loops):
            if number == len(self.loops) - 1 and not self.body.serial and steps > 1:
                lines.append("INDEPENDENT")
            lines.append(f"for (int64_t i{number} = 0; i{number} < {steps}; i{number}++) {{")
        return ["  {", *("  " + line for line in lines), *("    " + line for line in inner), "  " + "}" * len(self.loops), "  }"]


def part_size(worlds: int, scratch_bytes: int) -> int:
    """Worlds in a part of the batch: as many as keep the scratch in the cache, without a rest where that can be."""
    most = min(max(CACHE // max(scratch_bytes, 1), LEAST), MOST, worlds)
    for width in range(most, max(most // 2, LEAST) - 1, -1):
        if worlds % width == 0 and (width % 8 == 0 or worlds % 8):
            return width
    return most // 8 * 8 if most >= 8 else most
