"""The house: what is shipped, which way imports run, how long a module may be.

Compares the checkout with the package that is installed.
"""

import ast
import importlib.metadata
import importlib.resources
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import CHECKOUT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import echelongym

FLOORS = ("configs", "envs", "agents", "experiments")  # a floor may import those before it
HEAVY = {"torch", "stable_baselines3", "hydra", "matplotlib", "pandas", "scipy", "yaml", "networkx"}
LONGEST_MODULE = 400  # lines


def files(root: Path) -> set[str]:
    """Paths of the files under `root` that belong in a package, relative to it."""
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix in {".py", ".yaml"} or path.name == "py.typed"
    }


def modules(floor: str) -> list[Path]:
    return sorted((CHECKOUT / floor).rglob("*.py"))


def dotted(path: Path) -> str:
    """Package that the module at `path` belongs to, as it is installed."""
    return ".".join(("echelongym", *path.relative_to(CHECKOUT).parent.parts))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute dotted names that a module imports anywhere in it, each with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = dotted(path).split(".")
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            for name in node.names:
                yield f"{base}.{name.name}", node.lineno


def on_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements that run when a module is imported, so not those in functions or under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from on_import(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody"):
                yield from on_import(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from on_import(handler.body)


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_folder_with_python_files_is_a_package() -> None:
    """A folder without ``__init__.py`` would drop out of the wheel without a word."""
    folders = {path.parent for floor in FLOORS for path in modules(floor)}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_package_itself_ships() -> None:
    """``import echelongym`` is a package of its own, with its version and its type marker."""
    installed = Path(str(importlib.resources.files("echelongym")))
    expected = files(CHECKOUT / "src" / "echelongym")
    assert {"__init__.py", "py.typed"} <= expected
    assert {path.name for path in installed.iterdir() if path.is_file()} == expected
    assert echelongym.__version__ == importlib.metadata.version("echelongym")


def test_importing_the_package_registers_the_environments(tmp_path: Path) -> None:
    """What everybody types first, from a folder of their own and from the checkout, where no half package may be found."""
    code = (
        "import sys, echelongym, gymnasium; loaded = 'echelongym.envs' in sys.modules;"
        "gymnasium.make('echelongym/Network-v1', scenario='lost_sales').reset(seed=0);"
        "print(loaded, echelongym.__version__, echelongym.envs.Scenario.__name__, 'envs' in dir(echelongym))"
    )
    for folder in (tmp_path, CHECKOUT):
        result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
        assert result.stdout.split() == ["False", importlib.metadata.version("echelongym"), "Scenario", "True"]
    with pytest.raises(AttributeError, match="no attribute 'sceanrio'"):
        echelongym.sceanrio  # noqa: B018


@pytest.mark.parametrize("floor", FLOORS)
def test_every_file_ships(floor: str) -> None:
    """The installed package has the checkout's modules, YAML files and type marker, and no others."""
    installed = Path(str(importlib.resources.files(f"echelongym.{floor}")))
    expected = files(CHECKOUT / floor)
    assert {"__init__.py", "py.typed"} <= expected
    assert files(installed) == expected, "run `make install` after adding or removing a file"


def test_every_dependency_is_pinned_within_its_range(pyproject: dict) -> None:
    """A dependency without a pin could bring in a torch with gigabytes of its own."""
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    project = pyproject["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in map(Requirement, itertools.chain(*groups)):
        name = canonicalize_name(requirement.name)
        if name != "echelongym":
            assert name in pins, f"constraints.txt: {name} is missing"
            assert requirement.specifier.contains(pins[name]), (
                f"constraints.txt: {name}=={pins[name]}: expected {requirement}"
            )


def test_one_version_everywhere(pyproject: dict) -> None:
    version = pyproject["project"]["version"]
    assert importlib.metadata.version("echelongym") == version
    citation = (CHECKOUT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [version]


def test_envs_import_is_light() -> None:
    """`import echelongym.envs` needs NumPy, Gymnasium and pydantic, nothing heavier."""
    code = "import sys, echelongym.envs; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(result.stdout.split())


@pytest.mark.parametrize("path", modules("envs"), ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_envs_module_is_light(path: Path) -> None:
    for node in on_import(ast.parse(path.read_text(encoding="utf-8")).body):
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for name in names:
            assert name.partition(".")[0] not in HEAVY, f"line {node.lineno}: import {name} where it is used"


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_one_way(floor: str) -> None:
    """experiments -> agents -> envs; configs is data that anyone may read and that reads nobody."""
    allowed = ("registration", "__version__", *FLOORS[: FLOORS.index(floor) + 1])
    for path in modules(floor):
        for name, line in imports(path):
            head, _, rest = name.partition(".")
            where = f"{path.relative_to(CHECKOUT)}:{line}: imports {name}"
            assert head not in FLOORS, f"{where}: expected echelongym.{head}"
            if head == "echelongym":
                assert rest.partition(".")[0] in allowed, f"{where}: {floor} may import {', '.join(allowed)}"


def test_modules_are_short() -> None:
    lengths = {
        path.relative_to(CHECKOUT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for floor in FLOORS
        for path in modules(floor)
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}
