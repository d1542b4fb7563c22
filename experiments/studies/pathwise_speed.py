"""What a gradient through the simulator takes, compiled and in PyTorch, on every shipped scenario.

    python -m echelongym.experiments.studies.pathwise_speed
    python -m echelongym.experiments.studies.pathwise_speed lost_sales serial      these scenarios alone

CPU-milliseconds of one gradient in one process on one thread, the quickest of a few; the compiler's seconds beside them.
Levels alone (``none``), and with a perceptron.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import numpy as np
import torch

from echelongym.agents.learners import learner_config
from echelongym.agents.pathwise.compiled.gradient import NativeUnroll
from echelongym.agents.pathwise.gradients.unroll import Unroll, relaxation, training_window
from echelongym.agents.pathwise.module import PathwiseActor
from echelongym.agents.pathwise.policy import make_policy
from echelongym.envs.core.validation import validate
from echelongym.envs.scenario.scenario import Scenario, shipped_scenarios

from .console import StudyParser, start

#: Too large to compile with a network, and slow in PyTorch.
LEFT_OUT = {("grocery", "perceptron")}


def milliseconds(
    gradient: Callable[..., float], unroll: NativeUnroll, actor: PathwiseActor, worlds: int, times: int
) -> float:
    """CPU-milliseconds of one gradient of so many worlds, the least of so many times."""
    found = []
    for _ in range(times):
        started = time.process_time()
        gradient(unroll, actor, 0, worlds)
        found.append(1000 * (time.process_time() - started))
        unroll.multipliers._clear()
    return min(found)


def row(scenario: Scenario, network: str) -> None:
    """Print one row of the table: a scenario and a kind of network."""
    usual = learner_config("pathwise")
    config = validate(type(usual), usual.model_dump() | {"network": network}, "agent")
    actor = make_policy(scenario, config).actor
    relaxed = relaxation(scenario)
    window = training_window(relaxed, config)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    unroll = NativeUnroll(relaxed, window, 0, config.smoothing, actor)
    compiling = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    slow = milliseconds(Unroll.gradient, unroll, actor, window.worlds, 2)
    fast = milliseconds(NativeUnroll.gradient, unroll, actor, window.worlds, 5)
    how = f"{fast:.1f} | {slow / fast:.0f}" if unroll.native else f"{unroll.reason} |"
    size = f"{window.worlds} x {window.periods}"
    print(f"| `{scenario.name}` | {network} | {size} | {slow:.0f} | {how} | {compiling:.1f} |", flush=True)


def main() -> None:
    """Read the command line and print the table."""
    parser = StudyParser(__doc__)
    parser.add_argument("scenario", nargs="*", help="names or paths of scenarios; none: every shipped one")
    names = parser.parse_args().scenario or shipped_scenarios()
    scenarios = [Scenario.load(name) for name in names]
    torch.set_num_threads(1)
    np.seterr(all="raise", under="ignore")
    print("| scenario | network | worlds x periods | PyTorch, ms | compiled, ms | times as fast | compiler, s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for scenario in scenarios:
        for network in ("none", "perceptron"):
            if (scenario.name, network) not in LEFT_OUT:
                row(scenario, network)


if __name__ == "__main__":
    start(main)
