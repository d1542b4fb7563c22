"""The page of the architecture, read from the source: rooms (packages), what each holds, and where its imports lead."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from texts import first_sentence

ROOT = Path(__file__).parent.parent.parent
PAGE = "reference/architecture.md"
TOP = ("envs", "agents", "experiments")
HEAD = """# Architecture

The folders `envs`, `agents` and `experiments` are the packages `echelongym.envs`, `echelongym.agents` and
`echelongym.experiments`; `configs` holds scenarios and settings as YAML. A *room* is a folder in one of these, or a
module beside the folders, with one reason to enter it; the three themselves are what their users import. Imports run one
way, `experiments -> agents -> envs`. This page is read from the source, imports inside functions included (those for
type checkers alone are left out).

## Rooms and directions

A room stands below every room that it imports from{circles}. In the last column are the nearest of these: rooms that another
one of them stands on are left out.

| room | holds | imports from |
|---|---|---|
"""


def modules() -> dict[str, Path]:
    """Source file of every module by dotted name without ``echelongym.``, packages by their own name."""
    found = {}
    for top in TOP:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Modules of this project that a module imports, at its head or inside a function."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one for alias in node.names for one in [alias.name.removeprefix("echelongym.")] if one in known)
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").removeprefix("echelongym.")
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, node.module] if node.module else above)
            elif not (node.module or "").startswith("echelongym."):
                continue
            for alias in node.names:
                yield inner if (inner := f"{base}.{alias.name}") in known else base


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a module but those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield node
            yield from at_run_time(node)


def rooms(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """The rooms that each room imports from."""

    def room(name: str) -> str:
        return ".".join(name.split(".")[:2])

    found: dict[str, set[str]] = {room(name): set() for name in known}
    for name, path in known.items():
        found[room(name)] |= {room(other) for other in imports(name, path, known) if other in known}
    return {name: others - {name} for name, others in found.items()}


def ordered(graph: Mapping[str, set[str]]) -> tuple[list[str], list[str]]:
    """Rooms in an order in which each stands after those it imports from; and those that stand in a circle."""
    left, done, circle = dict(graph), [], []
    while left:
        free = [name for name, others in left.items() if not others & set(left)]
        if not free:  # the room that fewest others hold back
            free = [min(left, key=lambda name: len(left[name] & set(left)))]
            circle += free
        free.sort(key=lambda name: (TOP.index(name.split(".")[0]), name))
        done.append(free[0])
        del left[free[0]]
    return done, circle


def page() -> str:
    """The page as Markdown."""
    known = modules()
    graph = rooms(known)
    order, circle = ordered(graph)
    note = f", but for circles through {', '.join(f'`{name}`' for name in circle)}" if circle else ""
    lines = [HEAD.format(circles=note)]
    for room in order:
        others = ", ".join(f"`{other}`" for other in nearest(room, graph, order))
        lines.append(f"| `{room}` | {sentence(known[room])} | {others} |\n")
    return "".join(lines)


def nearest(room: str, graph: Mapping[str, set[str]], order: list[str]) -> list[str]:
    """Rooms above that a room imports from, without those that another of them stands on."""
    above = {name: {other for other in graph[name] if order.index(other) < order.index(name)} for name in order}

    def under(name: str) -> set[str]:
        return above[name].union(*(under(other) for other in above[name]))

    return [name for name in order if name in above[room] and not any(name in under(other) for other in above[room])]


def sentence(path: Path) -> str:
    """What a module holds: the first sentence of its docstring."""
    return first_sentence(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))).replace("|", "\\|")


def modules_page() -> str:
    """A page of all modules, room by room; part of the site alone, as it changes with every file."""
    known = modules()
    lines = ["# Modules", "", "Every module by its room, with the first sentence of its docstring.", ""]
    for room, path in known.items():
        if path.name == "__init__.py":
            inside = [n for n in known if n.rpartition(".")[0] == room and known[n].name != "__init__.py"]
            lines += [f"## {room}", "", sentence(path), "", "| module | holds |", "|---|---|"] if inside else []
            lines += [*(f"| `{name.rpartition('.')[2]}` | {sentence(known[name])} |" for name in inside), ""]
    return "\n".join(lines)
