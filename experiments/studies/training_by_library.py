"""Whole pathwise trainings of some CPU-seconds by compiled code, JAX and PyTorch: gradients made and cost reached.

    python -m echelongym.experiments.studies.training_by_library
    python -m echelongym.experiments.studies.training_by_library lost_sales grocery --cpu-seconds 20

Each training is a process of its own, start and compiling included, but not the import of Python's packages; with an empty
cache of compiled code, and once more with what that left. The policy is that of `agent=pathwise`, a perceptron; its cost is
that of the best one on 256 validation worlds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import Any

from echelongym.envs.scenario.scenario import Scenario, shipped_scenarios

from .console import StudyParser, start

LIBRARIES = ("compiled", "jax", "torch")
SEED = 0


def trained(name: str, library: str, cpu_seconds: float) -> str:
    """One training in this process: gradients, their worlds x periods in thousands, and the cost of the best policy."""
    from echelongym.agents.budget import Budget
    from echelongym.agents.learners import learner_config
    from echelongym.agents.pathwise.trainer import PathwiseTrainer
    from echelongym.envs.core.errors import InputError
    from echelongym.envs.core.validation import validate

    usual = learner_config("pathwise")
    config: Any = validate(type(usual), usual.model_dump() | {"gradient": library}, "agent")
    scenario = Scenario.load(name)
    tape = scenario.sample(256, SEED, "validate")
    trainer = PathwiseTrainer(scenario, config, SEED, Budget(cpu_seconds=cpu_seconds), tape, evaluations=4)
    try:
        found = trainer.run()
    except InputError:
        return "too large"
    return f"{trainer._iteration} / {found.env_steps / 1e6:.2f} / {found.cost.mean():.5g}"


def row(name: str, cpu_seconds: float) -> None:
    """Print one row of the table."""
    shown = []
    for library in LIBRARIES:
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(1 if library == "torch" else 2):
                words = ["-m", "echelongym.experiments.studies.training_by_library", name]
                words += ["--cpu-seconds", str(cpu_seconds), "--only", library]
                environment = os.environ | {"ECHELONGYM_CACHE": folder}
                done = subprocess.run(
                    [sys.executable, *words], capture_output=True, text=True, env=environment, check=True
                )
                shown.append(done.stdout.strip())
    print(f"| `{name}` | {' | '.join(shown)} |", flush=True)


def main() -> None:
    """Read the command line and print the table."""
    parser = StudyParser(__doc__)
    parser.add_argument("scenario", nargs="*", help="names or paths of scenarios; none: every shipped one")
    parser.add_argument("--cpu-seconds", type=float, default=20.0, help="budget of a training")
    parser.add_argument("--only", choices=LIBRARIES, help="one training of one scenario in this process")
    given = parser.parse_args()
    names = given.scenario or shipped_scenarios()
    if given.only:
        print(trained(names[0], given.only, given.cpu_seconds))
        return
    print("Gradients / millions of env-steps / cost of the best policy")
    heads = ("scenario", "compiled", "compiled, cached", "JAX", "JAX, cached", "PyTorch")
    print(f"| {' | '.join(heads)} |")
    print("|" + "---|" * len(heads), flush=True)
    for name in names:
        row(name, given.cpu_seconds)


if __name__ == "__main__":
    start(main)
