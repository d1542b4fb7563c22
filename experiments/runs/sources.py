"""Source code of a result: the modules that others import, directly or not, and a digest of their source."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "echelongym"


def digest(roots: Iterable[str], leave_out: Iterable[str] = ()) -> str:
    """SHA-256 of the source of the modules ``roots`` and all of this package that they import."""
    found = hashlib.sha256()
    for name in sorted(modules(roots, leave_out)):
        found.update(name.encode() + _source(name))
    return found.hexdigest()


@cache
def tree() -> str:
    """SHA-256 of the source of all of this package, 16 hexadecimal digits."""
    found = hashlib.sha256()
    for part in ("envs", "agents", "experiments"):
        spec = _spec(f"{PACKAGE}.{part}")
        for folder in () if spec is None else spec.submodule_search_locations or ():
            for path in sorted(Path(folder).rglob("*.py")):
                found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:16]


def modules(roots: Iterable[str], leave_out: Iterable[str] = ()) -> set[str]:
    """Names of the modules of this package that ``roots`` import, directly or not, and of ``roots`` themselves.

    Imports within functions count, imports for type checkers alone do not. Where a name is taken from a package, the
    module that it is defined in counts and not all that the package holds.
    """
    skipped, found, waiting = set(leave_out), set(), list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found and name not in skipped:
            found.add(name)
            waiting += _imported(name)
    return found


@cache
def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except ModuleNotFoundError:
        return None


def _source(name: str) -> bytes:
    spec = _spec(name)
    assert spec is not None
    return Path(spec.origin).read_bytes() if spec.origin else b""


@cache
def _imported(name: str) -> tuple[str, ...]:
    """Modules that one module imports."""
    found: set[str] = set()
    for node in _imports(ast.parse(_source(name))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith(f"{PACKAGE}.")}
        elif (base := _base(name, node)) is not None:
            found |= {_defined(base, alias.name) for alias in node.names}
    return tuple(sorted(found))


def _imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports anywhere in a module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _imports(other)
        else:
            yield from _imports(child)


def _base(name: str, node: ast.ImportFrom) -> str | None:
    """Module that an import is from; None if it is not of this package."""
    if node.level:
        spec = _spec(name)
        package = name if spec is not None and spec.submodule_search_locations else name.rpartition(".")[0]
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        return f"{package}.{node.module}" if node.module else package
    module = node.module or ""
    return module if module == PACKAGE or module.startswith(f"{PACKAGE}.") else None


@cache
def _defined(base: str, name: str) -> str:
    """The module in which ``name``, imported from ``base``, is defined; a module itself, if it is one."""
    if _spec(f"{base}.{name}") is not None and not _is_bound(base, name):
        return f"{base}.{name}"
    spec = _spec(base)
    if spec is not None and spec.submodule_search_locations and spec.origin:
        for node in _imports(ast.parse(_source(base))):
            if isinstance(node, ast.ImportFrom) and (source := _base(base, node)) is not None:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _defined(source, alias.name)
    return base


def _is_bound(base: str, name: str) -> bool:
    """Whether a package's own code gives ``name`` a meaning other than its submodule (``simulate`` of ``simulate``)."""
    spec = _spec(base)
    if spec is None or not spec.submodule_search_locations or not spec.origin:
        return False
    nodes = _imports(ast.parse(_source(base)))
    return any((alias.asname or alias.name) == name for node in nodes for alias in node.names)
