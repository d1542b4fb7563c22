"""How many files of the package run for a command: what a reader could enter who follows it to the end.

    python -m echelongym.experiments.studies.walks            the number of files for each walk
    python -m echelongym.experiments.studies.walks step       the files of one walk, in the order in which they are entered

Walks are ``simulate`` (a scenario file to its results), ``step`` (the first step of an environment),
``tune``, ``train`` (``agent=pathwise``) and ``export``. A file counts once a function of it is called between entry and end
of the walk; what is called while a module is imported does not. CONTRIBUTING.md names the files of the main line: those that a
reader opens who passes over checks, messages and files of results.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import gymnasium

from echelongym.envs.core.errors import expected
from echelongym.envs.scenario.scenario import Scenario
from echelongym.registration import register_envs

from ..main import main as run_command
from .console import StudyParser, start

PACKAGE = "echelongym."
SCENARIO = """name: walk
horizon: 40
nodes: {plant: {kind: supplier}, shop: {holding_cost: 1.0}}
lanes: {truck: {source: plant, target: shop, lead_time: 2}}
customers: {people: {sources: {shop: {}}, demand: {kind: poisson, mean: 8}, lost_share: 1.0, lost_sale_cost: 9}}
"""


def file_of(module: str, names: Mapping[str, Any]) -> str:
    """The file of a module as the repository has it, ``envs/simulate.py``, from its dotted name and its globals."""
    path = module.removeprefix(PACKAGE).replace(".", "/")
    return f"{path}/__init__.py" if "__path__" in names else f"{path}.py"


@contextlib.contextmanager
def entered() -> Iterator[dict[str, None]]:
    """Files of the package whose functions are called within the context, in order of their first call."""
    found: dict[str, None] = {}
    importing = 0

    def look(frame: FrameType, event: str, _: Any) -> None:
        nonlocal importing
        module = frame.f_code.co_name == "<module>"
        if event == "call":
            importing += module
            name = frame.f_globals.get("__name__", "")
            if not importing and name.startswith(PACKAGE) and name != __name__:
                found.setdefault(file_of(name, frame.f_globals))
        elif event == "return":
            importing = max(importing - module, 0)

    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(None)


def command(words: str) -> dict[str, None]:
    """Files entered by one command.

    Raises
    ------
    RuntimeError
        If the command fails.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), entered() as found:
        code = run_command(words.split())
    if code:
        raise RuntimeError(f"echelongym {words}: {said.getvalue()}")
    return found


def step() -> dict[str, None]:
    """Files entered by the first step of an environment, which is recorded for those that follow."""
    register_envs()
    env = gymnasium.make("echelongym/Network-v1", scenario=Scenario.load("walk.yaml"), disable_env_checker=True)
    env.reset(seed=0)
    action = env.action_space.sample()
    with entered() as found:
        env.step(action)
    return found


RULE = "scenario=walk.yaml policy=echelon_base_stock"
WALKS: dict[str, Callable[[], dict[str, None]]] = {
    "simulate": lambda: command(f"simulate {RULE} evaluation.worlds=8"),
    "step": step,
    "tune": lambda: command(f"tune {RULE} tuning=quick tuning.budget=40000 tuning.cache=null"),
    "train": lambda: command(
        "train scenario=walk.yaml agent=pathwise budget.env_steps=20000 reference=automatic bound=false validation.times=1"
    ),
    "export": lambda: command(f"export {RULE} check.observations=20"),
}


def walked(name: str) -> list[str]:
    """Files that a walk enters, in order; it is walked in a folder of its own, which goes again."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Path("walk.yaml").write_text(SCENARIO, encoding="utf-8")
            return list(WALKS[name]())
        finally:
            os.chdir(here)


def main() -> None:
    """Read the command line and print what was entered."""
    parser = StudyParser(__doc__)
    parser.add_argument("walk", nargs="?", help=f"one of {', '.join(WALKS)}; none: the number of files for each")
    chosen = parser.parse_args().walk
    if chosen not in (None, *WALKS):
        raise expected("walk", chosen, f"one of {', '.join(WALKS)}")
    if chosen:
        print("\n".join(walked(chosen)))
        return
    for name in WALKS:
        print(f"{name:<10}{len(walked(name)):4d} files", flush=True)


if __name__ == "__main__":
    start(main)
