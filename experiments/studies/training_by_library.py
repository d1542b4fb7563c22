"""Whole pathwise trainings of some CPU-seconds by compiled code, JAX and PyTorch: gradients made and cost reached.

    python -m echelongym.experiments.studies.training_by_library
    python -m echelongym.experiments.studies.training_by_library lost_sales grocery --cpu-seconds 20
    python -m echelongym.experiments.studies.training_by_library --libraries compiled jax --keep found.json

Each training is a process of its own, start and compiling included, but not the import of Python's packages; with an empty
cache of compiled code, and once more with what that left. The policy is that of `agent=pathwise`, a perceptron, but levels
alone in a large network; its cost is that of the best one on 256 validation worlds. A scenario that is many networks comes
once more as a family, `NAME/set`: one set network for all of it, whose cost is a share of the starting rule's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from echelongym.envs.scenario.scenario import Scenario, shipped_scenarios
from echelongym.envs.storage.files import write_text

from .console import StudyParser, start

LIBRARIES = {"compiled": "compiled", "jax": "JAX", "torch": "PyTorch"}
FAMILY = "/set"  # ends the name of a scenario that is trained on as many networks
SEED = 0
WORLDS = 256  # of validation
TOO_LARGE = "too large"


def training(name: str, library: str, cpu_seconds: float) -> Any:
    """The training of one row by one library."""
    from echelongym.agents.budget import Budget
    from echelongym.agents.learners import learner_config
    from echelongym.agents.pathwise.family import FamilyTrainer, validation
    from echelongym.agents.pathwise.trainer import PathwiseTrainer
    from echelongym.envs.core.validation import validate

    scenario = Scenario.load(name.removesuffix(FAMILY))
    usual, budget = learner_config("pathwise"), Budget(cpu_seconds=cpu_seconds)
    said: dict[str, Any] = {"gradient": library} | ({"network": "set"} if name.endswith(FAMILY) else {})
    config: Any = validate(type(usual), usual.model_dump() | said, "agent")
    given = scenario, config, SEED, budget, scenario.sample(WORLDS, SEED, "validate")
    if name.endswith(FAMILY):
        return FamilyTrainer(*given, evaluations=4, variants=tuple(validation(scenario, config, WORLDS, SEED)))
    return PathwiseTrainer(*given, evaluations=4)


def trained(name: str, library: str, cpu_seconds: float) -> str:
    """One training in this process: gradients, their worlds x periods in millions, and the cost of the best policy."""
    from echelongym.envs.core.errors import InputError

    trainer = training(name, library, cpu_seconds)
    try:
        found = trainer.run()
    except InputError:
        return TOO_LARGE
    return f"{trainer._iteration} / {found.env_steps / 1e6:.2f} / {found.cost.mean():.5g}"


def pair(name: str, library: str, cpu_seconds: float) -> list[str]:
    """The trainings of one row by one library, each in a process of its own: with an empty cache, and once more."""
    shown: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 if library == "torch" else 2):
            if TOO_LARGE in shown:
                return shown * 2
            words = ["-m", "echelongym.experiments.studies.training_by_library", name]
            words += ["--cpu-seconds", str(cpu_seconds), "--only", library]
            environment = os.environ | {"ECHELONGYM_CACHE": folder}
            done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, check=True)
            shown.append(done.stdout.strip())
    return shown


def rows() -> tuple[str, ...]:
    """What is trained on if nothing is named: every shipped scenario, and every family of networks as one."""
    names = shipped_scenarios()
    return names + tuple(name + FAMILY for name in names if Scenario.load(name).randomise is not None)


def main() -> None:
    """Read the command line and print the table."""
    parser = StudyParser(__doc__)
    parser.add_argument("scenario", nargs="*", help="names or paths of scenarios; none: every shipped one")
    parser.add_argument("--cpu-seconds", type=float, default=20.0, help="budget of a training")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES), help="that are measured")
    parser.add_argument(
        "--keep", type=Path, help="a file that keeps what was found, and which a later run goes on from"
    )
    parser.add_argument("--only", choices=LIBRARIES, help="one training of one scenario in this process")
    given = parser.parse_args()
    if given.only:
        print(trained(given.scenario[0], given.only, given.cpu_seconds))
        return
    known: dict[str, list[str]] = json.loads(given.keep.read_text()) if given.keep and given.keep.exists() else {}
    print("Gradients / millions of env-steps / cost of the best policy")
    heads = ["scenario"]
    for library in given.libraries:
        heads += [LIBRARIES[library], f"{LIBRARIES[library]}, cached"][: 1 if library == "torch" else 2]
    print(f"| {' | '.join(heads)} |")
    print("|" + "---|" * len(heads), flush=True)
    for name in given.scenario or rows():
        shown: list[str] = []
        for library in given.libraries:
            key = f"{name} {library} {given.cpu_seconds:g}"
            if key not in known:
                known[key] = pair(name, library, given.cpu_seconds)
                if given.keep:
                    write_text(json.dumps(known, indent=1), given.keep)
            shown += known[key]
        print(f"| `{name}` | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    start(main)
