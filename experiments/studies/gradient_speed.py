"""What a gradient of the tuner takes by PyTorch, in compiled code and by JAX, on every shipped scenario.

    python -m echelongym.experiments.studies.gradient_speed
    python -m echelongym.experiments.studies.gradient_speed lost_sales serial      these scenarios alone
    python -m echelongym.experiments.studies.gradient_speed grocery --memory       peak memory, a process for each library

CPU-milliseconds of one gradient of an echelon base-stock rule's cost in the tuner's window, the quickest of a few, in one
process: by PyTorch and by JAX without drawing the worlds, by the compiled code of `agents.pathwise` (levels alone, with its
smoothing of fixed costs) with it. Beside them the milliseconds of drawing, and CPU-seconds until JAX's first gradient: traced
and lowered, then compiled, or taken from the cache. Memory is the most that a process held that took two gradients, and
of it what it held before the first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from echelongym.agents.jax_engine.rule_gradient import RuleGradient
from echelongym.agents.learners import learner_config
from echelongym.agents.pathwise.compiled.gradient import NativeUnroll
from echelongym.agents.pathwise.gradients.unroll import relaxation
from echelongym.agents.pathwise.policy import make_policy
from echelongym.agents.registry import RULES
from echelongym.agents.tuning.differentiation import TorchDescent
from echelongym.agents.tuning.gradient import window_of
from echelongym.envs.compiler import xla_compiler as compiling
from echelongym.envs.core.validation import validate
from echelongym.envs.scenario.scenario import Scenario, shipped_scenarios

from .console import StudyParser, start
from .rooflines.peak_memory import peak_memory


def seconds(call: Callable[[], Any], times: int) -> float:
    """CPU-seconds of a call, the least of so many times."""
    found = []
    for _ in range(times):
        started = time.process_time()
        call()
        found.append(time.process_time() - started)
    return min(found)


def compiled_seconds(scenario: Scenario) -> float | None:
    """CPU-seconds of a gradient of levels by compiled code, drawing included; None where the period is too large."""
    usual = learner_config("pathwise")
    config = validate(type(usual), usual.model_dump() | {"network": "none"}, "agent")
    actor, relaxed = make_policy(scenario, config).actor, relaxation(scenario)
    unroll = NativeUnroll(relaxed, window_of(relaxed), 0, config.smoothing, actor)

    def gradient() -> None:
        unroll.gradient(actor, 0, unroll.window.worlds)
        unroll.multipliers._clear()

    return seconds(gradient, 5) if unroll.native else None


def held() -> str:
    """Peak memory of this process so far."""
    return f"{peak_memory() / 2**20:.0f} MB"


def memory_row(name: str) -> None:
    """Print one row of the table of memory."""
    shown = []
    for library in ("torch", "jax"):
        words = ["-m", "echelongym.experiments.studies.gradient_speed", name, "--only", library]
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
        shown.append(done.stdout.strip())
    print(f"| `{name}` | {' | '.join(shown)} |", flush=True)


def row(scenario: Scenario, only: str | None = None) -> None:
    """Print one row of the table; or the memory that ``only`` one library takes."""
    relaxed = relaxation(scenario)
    rule, window = RULES["echelon_base_stock"](relaxed), window_of(relaxed)
    space = rule.space()
    vector, sizes, price = np.array(space.start), (window.periods, window.skipped), np.zeros(relaxed.tables.C)
    if only == "jax":
        drawn = relaxed.sample(worlds=window.worlds, seed=0, purpose="tune", periods=window.periods)
        before, gradient = held(), RuleGradient(rule.with_vector(space, vector), space, *sizes)
        for _ in range(2):
            gradient(vector, drawn, price)
        print(f"{held()}, {before} before")
        return

    def draw() -> Any:
        return relaxed.sample(worlds=window.worlds, seed=0, purpose="tune", periods=window.periods)

    tape = draw()
    descent = TorchDescent(rule, space, sizes)
    descent.begin(vector, np.flatnonzero(np.isfinite(vector)), 0.0, None)

    def by_torch() -> None:
        descent.step(tape, 0.0)
        descent.multipliers.update()

    if only == "torch":
        before = held()
        for _ in range(2):
            by_torch()
        print(f"{held()}, {before} before")
        return
    slow = seconds(by_torch, 2)
    first = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ECHELONGYM_CACHE"] = folder
        compiling._processor()  # looked up once a process
        for _ in range(2):
            gradient = RuleGradient(rule.with_vector(space, vector), space, *sizes)
            first.append(seconds(lambda gradient=gradient: gradient(vector, tape, price), 1))  # type: ignore[misc]
        fast = seconds(lambda: gradient(vector, tape, price), 5)
        native = compiled_seconds(scenario)
    shown = "too large" if native is None else f"{1000 * native:.1f}"
    print(
        f"| `{scenario.name}` | {window.worlds} x {window.periods} | {1000 * slow:.0f} | {shown} | {1000 * fast:.1f} | "
        f"{1000 * seconds(draw, 3):.1f} | {first[0] - fast:.1f} | {first[1] - fast:.1f} |",
        flush=True,
    )


def main() -> None:
    """Read the command line and print the table."""
    parser = StudyParser(__doc__)
    parser.add_argument("scenario", nargs="*", help="names or paths of scenarios; none: every shipped one")
    parser.add_argument("--memory", action="store_true", help="peak memory in place of time")
    parser.add_argument("--only", choices=("torch", "jax"), help="memory of one library in this process")
    given = parser.parse_args()
    names = given.scenario or shipped_scenarios()
    torch.set_num_threads(1)
    if given.only:
        row(Scenario.load(names[0]), given.only)
        return
    if given.memory:
        print("| scenario | PyTorch | JAX |\n|---|---|---|", flush=True)
        for name in names:
            memory_row(name)
        return
    heads = (
        "scenario|worlds x periods|PyTorch, ms|compiled and drawing, ms|JAX, ms|drawing, ms|first, s|first, cached, s"
    )
    print(f"| {' | '.join(heads.split('|'))} |")
    print("|" + "---|" * len(heads.split("|")), flush=True)
    for name in names:
        row(Scenario.load(name))


if __name__ == "__main__":
    start(main)
