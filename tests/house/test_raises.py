"""Every public function that raises says so: a section Raises in its docstring, or in its class's where it is a constructor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

SECTION = "Raises\n"
#: What ends a loop, says that a subclass has work to do, or passes on what was caught.
NO_ERRORS = {"StopIteration", "NotImplementedError", "AssertionError", "SystemExit", "error"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def raised(node: ast.AST) -> list[str]:
    """Names of what the body of a function raises itself and does not catch, not of what it lets through."""
    return [
        name
        for one, caught in within(node)
        if isinstance(one, ast.Raise) and one.exc is not None
        and (name := _name(one.exc.func if isinstance(one.exc, ast.Call) else one.exc)) not in NO_ERRORS
        and not is_caught(name, caught)
    ]  # fmt: skip


def is_caught(name: str, caught: set[str]) -> bool:
    """Whether an error, or what a function of that name makes, is among what is caught."""
    kind = "InputError" if name in ("expected", "unknown") else name
    return bool(caught & {kind, "Exception"}) or (kind == "InputError" and "ValueError" in caught)


def helpers(node: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """Private functions that are called by name, and private methods of the same object; with what is caught there."""
    for one, caught in within(node):
        if isinstance(one, ast.Call):
            called = one.func
            if isinstance(called, ast.Name) and called.id.startswith("_"):
                yield called.id, caught
            elif isinstance(called, ast.Attribute) and called.attr.startswith("_") and _name(called.value) == "self":
                yield f"self.{called.attr}", caught


def within(node: ast.AST, caught: frozenset[str] = frozenset()) -> Iterator[tuple[ast.AST, set[str]]]:
    """All nodes below one, each with the names of the exceptions that are caught around it."""
    for name, value in ast.iter_fields(node):
        around = caught
        if isinstance(node, ast.Try) and name == "body":
            types = [one.type for one in node.handlers if one.type is not None]
            parts = [part for one in types for part in (one.elts if isinstance(one, ast.Tuple) else [one])]
            around = caught | {_name(part) for part in parts}
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, ast.AST):
                yield one, set(around)
                yield from within(one, around)


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def silent(source: str) -> list[str]:
    """Public functions and methods of a module that raise, or call a private one of it that does, without a word of it."""
    tree = ast.parse(source)
    functions: dict[str, ast.AST] = {one.name: one for one in tree.body if isinstance(one, Function)}
    found = [name for name, one in functions.items() if _is_silent(one, one, functions)]
    for group in tree.body:
        if not isinstance(group, ast.ClassDef):
            continue
        methods = {one.name: one for one in group.body if isinstance(one, Function)}
        known = functions | {f"self.{name}": one for name, one in methods.items()}
        if group.name.startswith("_"):
            continue
        for name, one in methods.items():
            told = group if name == "__init__" else one
            if _is_silent(one, told, known, f"{group.name}."):
                found.append(f"{group.name}.{name}")
    return found


def _is_silent(function: Function, told: ast.AST, known: dict[str, ast.AST], group: str = "") -> bool:
    name = function.name
    if name.startswith("_") and not (group and name in ("__init__", "__call__")):
        return False
    errors = raised(function)
    for one, caught in helpers(function):
        errors += [error for error in (raised(known[one]) if one in known else []) if not is_caught(error, caught)]
    return bool(errors) and SECTION not in (ast.get_docstring(told) or "")  # type: ignore[arg-type]


def modules() -> list[Path]:
    return [
        path
        for part in ("envs", "agents")
        for path in sorted(Path(str(resources.files(f"echelongym.{part}"))).rglob("*.py"))
    ]


def test_public_functions_that_raise_say_so():
    found = [f"{path.parent.name}/{path.name}: {name}" for path in modules() for name in silent(path.read_text())]
    assert not found, "without a section Raises: " + ", ".join(found)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f():\n    raise ValueError", ["f"]),
        (
            'def f():\n    """F.\n\n    Raises\n    ------\n    ValueError\n        Always.\n    """\n    raise ValueError',
            [],
        ),
        ("def f():\n    _g()\n\ndef _g():\n    raise expected('x', 1, 'y')", ["f"]),
        (
            "class A:\n    def __init__(self):\n        self._b()\n    def _b(self):\n        raise KeyError",
            ["A.__init__"],
        ),
        ("class A:\n    def b(self):\n        raise KeyError\n    def _c(self):\n        raise KeyError", ["A.b"]),
        ("class _A:\n    def b(self):\n        raise KeyError", []),
        ("def f():\n    raise NotImplementedError", []),
        ("def f():\n    try:\n        g()\n    except KeyError:\n        raise", []),
        ("def f():\n    try:\n        raise KeyError\n    except (KeyError, OSError):\n        pass", []),
        ("def f():\n    try:\n        raise KeyError\n    except OSError:\n        pass", ["f"]),
    ],
)
def test_what_is_found(source, names):
    assert silent(source) == names
