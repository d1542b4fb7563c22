"""Loop nests joined where they run over the same places, so that intermediate results stay in registers."""

from __future__ import annotations

from dataclasses import dataclass, field

from .buffers import Tensor
from .schedule import Operand, Statement

#: Statements in one body of loops, and how many bodies back a statement looks for one to join.
LARGEST, FARTHEST = 48, 60


@dataclass(eq=False)
class LoopBody:
    """Statements under one set of loops; their order matters step by step in a ``serial`` one."""

    extents: tuple[int, ...]
    serial: bool
    statements: list[Statement] = field(default_factory=list)

    def fresh(self) -> list[Operand]:
        """The operands that are read from memory, not from what the body itself holds."""
        held, found = set(), []
        for statement in self.statements:
            found += [place for place in statement.reads if place.key not in held]
            held |= {place.key for place in (statement.write, *statement.reads)}
        return found


@dataclass
class Scratch:
    """Places of tensors that are used by nobody else, in bytes (a world's, in a batch done in parts)."""

    offsets: dict[Tensor, int]
    size: int


def fused(statements: list[Statement]) -> list[LoopBody]:
    """The statements as few bodies, in an order that gives the same results."""
    bodies: list[LoopBody] = []
    for statement in statements:
        best, most = None, -1
        keys = {place.key for place in (statement.write, *statement.reads)}
        for body in reversed(bodies[-FARTHEST:]):
            conflicts = [pair for other in body.statements for pair in _conflicts(other, statement)]
            alike = body.extents == statement.extents and not body.serial and not statement.serial
            if alike and len(body.statements) < LARGEST and all(map(_in_step, conflicts)):
                shared = sum(place.key in keys for one in body.statements for place in (one.write, *one.reads))
                if shared > most:
                    best, most = body, shared
            if conflicts:
                break
        if best is None:
            best = LoopBody(statement.extents, statement.serial)
            bodies.append(best)
        best.statements.append(statement)
    return bodies


def _conflicts(one: Statement, two: Statement) -> list[tuple[Operand, Operand]]:
    """Pairs of operands that decide the order of two statements."""
    pairs = [(one.write, place) for place in (two.write, *two.reads)]
    pairs += [(place, two.write) for place in one.reads]
    return [pair for pair in pairs if _clash(*pair)]


def _clash(one: Operand, two: Operand) -> bool:
    """Whether two operands, of which one is written, may touch the same memory."""
    if one.tensor is not two.tensor and not (one.tensor.kept and two.tensor.kept):
        return False
    # An input may turn out to be any of the results of the replay before.
    return one.tensor.fed or two.tensor.fed or not one.access.apart(two.access)


def _in_step(pair: tuple[Operand, Operand]) -> bool:
    """Whether both operands touch the same place at every step, and each step a place of its own."""
    one, two = pair
    return one.key == two.key and all(step or i == one.axis for i, step in enumerate(one.strides))


def stored(bodies: list[LoopBody]) -> set[Statement]:
    """The statements whose results must be put into memory: for others to see, or for another body to read."""
    needed = {place.tensor for body in bodies for place in body.fresh()}
    found = set()
    for body in bodies:
        last = {statement.write.key: statement for statement in body.statements}
        found |= {one for one in last.values() if one.write.tensor.kept or one.write.tensor in needed}
    return found


def scratch(bodies: list[LoopBody], kept: set[Statement], worlds: int | None) -> Scratch:
    """Places for the tensors that are not kept, shared by those that are not needed at the same time."""
    first: dict[Tensor, int] = {}
    last: dict[Tensor, int] = {}
    for number, body in enumerate(bodies):
        used = [place.tensor for place in body.fresh()]
        used += [one.write.tensor for one in body.statements if one in kept]
        for tensor in used:
            if not tensor.kept:
                first.setdefault(tensor, number)
                last[tensor] = number
    result = Scratch({}, 0)
    grain = 64 if worlds is None else 8
    busy: list[tuple[int, int, Tensor]] = []
    for tensor, number in first.items():
        size = -(-(tensor.size // (worlds or 1)) // grain) * grain
        busy = sorted((one for one in busy if last[one[2]] >= number), key=lambda one: one[:2])
        start = 0
        for low, high, _ in busy:
            if low - start >= size:
                break
            start = high
        busy.append((start, start + size, tensor))
        result.offsets[tensor] = start
        result.size = max(result.size, start + size)
    return result
