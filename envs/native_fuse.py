"""Loop nests joined where they run over the same places, so that intermediate results stay in registers."""

from __future__ import annotations

from dataclasses import dataclass, field

from .native_plan import Place, Plan, Statement, Tensor

#: Statements in one body of loops, and how far back a statement looks for a body to join.
LARGEST, FARTHEST = 48, 60


@dataclass(eq=False)
class Body:
    """Statements under one set of loops."""

    extents: tuple[int, ...]
    serial: bool
    statements: list[Statement] = field(default_factory=list)


@dataclass(eq=False)
class Scratch:
    """Where tensors that nobody else sees lie, in bytes (per world, in a batch done in parts)."""

    offsets: dict[Tensor, int] = field(default_factory=dict)
    size: int = 0


def _clash(one: Place, two: Place) -> bool:
    """Whether two operands, of which one is written, may touch the same memory."""
    if one.tensor is not two.tensor and not (one.tensor.kept and two.tensor.kept):
        return False
    return not one.access.apart(two.access)


def _conflicts(one: Statement, two: Statement) -> list[tuple[Place, Place]]:
    """Pairs of operands that decide the order of two statements."""
    pairs = [(one.write, place) for place in (two.write, *two.reads)]
    pairs += [(place, two.write) for place in one.reads]
    return [pair for pair in pairs if _clash(*pair)]


def _injective(place: Place, extents: tuple[int, ...]) -> bool:
    """Whether every step touches a place of its own, as far as strides show."""
    return all(step or number == place.axis for number, step in enumerate(place.strides))


def fused(statements: list[Statement]) -> list[Body]:
    """The statements in an order that gives the same results, as few bodies."""
    bodies: list[Body] = []
    for statement in statements:
        best, shared = None, 0
        keys = {place.key for place in (statement.write, *statement.reads)}
        for body in reversed(bodies[-FARTHEST:]):
            conflicts = [pair for other in body.statements for pair in _conflicts(other, statement)]
            alike = body.extents == statement.extents and not body.serial and not statement.serial
            if alike and len(body.statements) < LARGEST:
                aligned = all(a.key == b.key and _injective(a, body.extents) for a, b in conflicts)
                common = sum(place.key in keys for one in body.statements for place in (one.write, *one.reads))
                if aligned and (best is None or common > shared):
                    best, shared = body, common
            if conflicts:
                break
        if best is None:
            best = Body(statement.extents, statement.serial)
            bodies.append(best)
        best.statements.append(statement)
    return bodies


def stored(bodies: list[Body]) -> set[Statement]:
    """The statements whose results must be put into memory: for others to see, or for another body to read."""
    needed = set()
    for body in bodies:
        held = set()
        for statement in body.statements:
            needed |= {place.tensor for place in statement.reads if place.key not in held}
            held |= {place.key for place in (statement.write, *statement.reads)}
    found = set()
    for body in bodies:
        last = {statement.write.key: statement for statement in body.statements}
        for statement in body.statements:
            tensor = statement.write.tensor
            final = body.serial or last[statement.write.key] is statement
            if final and (tensor.kept or tensor in needed):
                found.add(statement)
    return found


def scratch(bodies: list[Body], kept: set[Statement], plan: Plan) -> Scratch:
    """Places for the tensors that are not kept, shared by those that are not needed at the same time."""
    first: dict[Tensor, int] = {}
    last: dict[Tensor, int] = {}
    for number, body in enumerate(bodies):
        held = set()
        for statement in body.statements:
            touched = [place.tensor for place in statement.reads if place.key not in held]
            held |= {place.key for place in (statement.write, *statement.reads)}
            if statement in kept:
                touched.append(statement.write.tensor)
            for tensor in touched:
                if not tensor.kept:
                    first.setdefault(tensor, number)
                    last[tensor] = number
    result = Scratch()
    busy: list[tuple[int, int, Tensor]] = []  # start, end
    for tensor in sorted(first, key=lambda one: first[one]):
        busy = sorted((place for place in busy if last[place[2]] >= first[tensor]), key=lambda place: place[:2])
        size = tensor.size // (plan.worlds or 1)
        size = -(-size // 8) * 8 if plan.worlds else -(-size // 64) * 64
        start = 0
        for low, high, _ in busy:
            if low - start >= size:
                break
            start = max(start, high)
        busy.append((start, start + size, tensor))
        result.offsets[tensor] = start
        result.size = max(result.size, start + size)
    return result
