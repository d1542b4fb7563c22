"""The rooms of the source: which folder may import from which, no circle of modules, and no folder too full to look over."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from checkout import CHECKOUT
from test_package import FLOORS, imports, modules

MOST_MODULES = 16  # in one folder
# Every room of a floor, ground first: a room may import from those before it, and from itself. A room is a folder with
# all that is in it, or a module that lies beside the folders. What stands in one line may not import from each other.
ROOMS = {
    "envs": (
        "core",
        "storage",
        "workers",
        "compiler recorded",
        "processes",
        "network",
        "worlds",
        "scenario",
        "dynamics",
        "accounts interface",
        "rollout",
        "simulate",
        "gym",
    ),
    "agents": (
        "rules pickled_paths",
        "service_targets checkpoint_files origin imported networks jax_engine estimation",
        "planning",
        "registry",
        "tuning exact reading export",
        "budget rule_files policy_files",
        "training_loop",
        "training",
        "residual",
        "pathwise",
        "sb3 evolution",
        "learners",
        "loading",
    ),
    "experiments": (
        "import_path statistics",
        "runs",
        "cli figures",
        "comparison",
        "reading training",
        "boards",
        "commands",
        "main",
        "studies",
    ),
    "configs": (),
}


def room(name: str) -> str:
    """The room of a module ``echelongym.FLOOR.ROOM...``; empty for a floor's own ``__init__``."""
    return [*name.split("."), "", ""][2]


@cache
def names() -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for floor in FLOORS:
        for path in modules(floor):
            parts = ("echelongym", *path.relative_to(CHECKOUT).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported(name: str) -> dict[str, int]:
    """Modules of the package that one imports anywhere, in functions and for type checkers too, each with a line."""
    found: dict[str, int] = {}
    for target, line in imports(names()[name]):
        module = target if target in names() else target.rpartition(".")[0]
        if module in names() and module != name:
            found.setdefault(module, line)
    return found


@pytest.mark.parametrize("floor", FLOORS)
def test_rooms_import_in_one_direction(floor: str) -> None:
    order = {one: place for place, line in enumerate(ROOMS[floor]) for one in line.split()}
    rooms = {room(name) for name in names() if name.startswith(f"echelongym.{floor}.")}
    assert rooms == set(order), "every room stands in the table, and no other"
    wrong = []
    for name in names():
        if not name.startswith(f"echelongym.{floor}."):
            continue
        for other, line in imported(name).items():
            elsewhere = other.startswith(f"echelongym.{floor}.") and room(other) != room(name)
            if elsewhere and order[room(other)] >= order[room(name)]:
                wrong.append(f"{names()[name].relative_to(CHECKOUT)}:{line}: {room(name)} imports {room(other)}")
    assert wrong == []


def circles(edges: dict[str, set[str]]) -> Iterator[list[str]]:
    """Groups of modules that import one another, directly or not (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(one: str) -> Iterator[list[str]]:
        number[one] = low[one] = len(number)
        stack.append(one)
        for other in edges[one]:
            if other not in number:
                yield from visit(other)
                low[one] = min(low[one], low[other])
            elif other in stack:
                low[one] = min(low[one], number[other])
        if low[one] == number[one]:
            group = stack[stack.index(one) :]
            del stack[stack.index(one) :]
            if len(group) > 1:
                yield sorted(group)

    for one in edges:
        if one not in number:
            yield from visit(one)


def test_no_modules_import_one_another() -> None:
    """Imports inside functions and for type checkers count: a circle is one wherever it is closed."""
    assert list(circles({name: set(imported(name)) for name in names()})) == []


def test_circles_are_found() -> None:
    edges = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": set(), "f": {"e", "a"}}
    assert list(circles(edges)) == [["a", "b", "c"]]


def test_no_folder_is_too_full() -> None:
    counted = {path.parent for floor in FLOORS for path in modules(floor)}
    full = {str(one.relative_to(CHECKOUT)): len(list(one.glob("*.py"))) for one in counted}
    assert {folder: count for folder, count in full.items() if count > MOST_MODULES} == {}


def test_every_room_says_what_it_holds() -> None:
    """A folder's first sentence is what a newcomer reads of it."""
    silent = []
    for path in names().values():
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if not text:
            silent.append(str(path.relative_to(CHECKOUT)))
    assert silent == []


def test_one_name_is_one_thing() -> None:
    """No two modules define a class or a type of the same name, but for the settings that each command has."""
    found: dict[str, set[str]] = {}
    for path in names().values():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            defined = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                defined = [one.id for one in node.targets if isinstance(one, ast.Name) and not one.id.isupper()]
            for one in defined:
                if one[0].isupper():
                    found.setdefault(one, set()).add(str(path.relative_to(CHECKOUT)))
    assert {name: sorted(where) for name, where in found.items() if len(where) > 1 and name != "Settings"} == {}
