"""What a gradient through the simulator takes, compiled and in PyTorch, on every shipped scenario.

    python pathwise_speed.py          levels alone, and with a perceptron

CPU-milliseconds of one gradient in one process on one thread, the quicker of two; the compiler's seconds beside them.
"""

import resource
import time

import numpy as np
import torch

from echelongym.agents.learners import learner_config
from echelongym.agents.pathwise.compiled.gradient import NativeUnroll
from echelongym.agents.pathwise.policy import make_policy
from echelongym.agents.pathwise.unroll import Unroll, relaxation, training_window
from echelongym.envs.core.validation import validate
from echelongym.envs.scenario.scenario import Scenario, shipped_scenarios


def milliseconds(way, unroll, actor, worlds, times):
    found = []
    for _ in range(times):
        started = time.process_time()
        way(unroll, actor, 0, worlds)
        found.append(1000 * (time.process_time() - started))
        unroll.multipliers._clear()
    return min(found)


def row(name, network):
    scenario = Scenario.load(name)
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
    print(
        f"| `{name}` | {network} | {window.worlds} x {window.periods} | {slow:.0f} | {how} | {compiling:.1f} |",
        flush=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.seterr(all="raise", under="ignore")
    print("| scenario | network | worlds x periods | PyTorch, ms | compiled, ms | times as fast | compiler, s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for scenario_name in shipped_scenarios():
        for kind in ("none", "perceptron"):
            if (scenario_name, kind) != ("grocery", "perceptron"):
                row(scenario_name, kind)
