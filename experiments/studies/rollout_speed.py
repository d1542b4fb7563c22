"""How fast `simulate` runs a rule, asked every period and as one compiled program.

python -m echelongym.experiments.studies.rollout_speed
million env-steps per CPU-second of one process, echelon base-stock, in turns on the same worlds, with and without indicators
python -m echelongym.experiments.studies.rollout_speed beer_game two_region rule=playbook worlds=64
of other scenarios, another rule and so many worlds
python -m echelongym.experiments.studies.rollout_speed one_warehouse policy=runs/ppo worlds=512
of a trained policy, the run folder of a training, or of whatever else a policy may be named by
python -m echelongym.experiments.studies.rollout_speed backend=jax worlds=1024
compiled, and as one JAX program on the CPU; CPU-seconds of the first run under JAX, which compiles where the folder
ECHELONGYM_CACHE of the environment is empty
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from echelongym.agents import RULES, load_policy
from echelongym.envs import Scenario, simulate
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.errors import expected, unknown
from echelongym.envs.interface.observation import Policy
from echelongym.envs.rollout.rollout import Rollout
from echelongym.envs.worlds.tape import Tape

from .console import StudyParser, start

SWITCH = "ECHELONGYM_NATIVE"  # 0 switches compiled code off
SCENARIOS = ("one_warehouse", "lost_sales", "two_region", "grocery", "serial")
TURNS = 7


def compiled(scenario: Scenario, policy: Policy, tape: Tape, kpis: bool) -> None:
    """Simulate until a program does it.

    Raises
    ------
    InputError
        If the policy has none.
    """
    while True:
        rollout = Rollout.of(scenario, policy, tape, NUMPY, kpis)
        if rollout is None:
            raise expected("rule", getattr(policy, "name", policy), "a rule that has a compiled form here")
        if rollout.worth_while():
            return
        simulate(scenario, policy, tape, kpis=kpis)


def without_and_with(work: Callable[[int], Any], turns: int) -> tuple[float, float]:
    """CPU-seconds of ``work``, which is told the turn, without compiled code and with it: the best of so many turns each."""
    seconds = {"0": float("inf"), "1": float("inf")}
    before = os.environ.get(SWITCH)
    try:
        for turn in range(turns):
            for value in seconds:
                os.environ[SWITCH] = value
                begun = time.process_time()
                _ = work(turn)  # kept until the next is there, so that its memory is not given back each time
                seconds[value] = min(seconds[value], time.process_time() - begun)
    finally:
        os.environ.pop(SWITCH)
        if before is not None:
            os.environ[SWITCH] = before
    return seconds["0"], seconds["1"]


def speeds(scenario: Scenario, policy: Policy, tape: Tape, kpis: bool) -> tuple[float, float]:
    """Million env-steps per CPU-second asked every period and compiled: the best of some turns each."""
    compiled(scenario, policy, tape, kpis)
    before, after = without_and_with(lambda _: simulate(scenario, policy, tape, kpis=kpis), TURNS)
    steps = tape.batch * tape.periods / 1e6
    return steps / before, steps / after


def beside_jax(scenario: Scenario, policy: Policy, tape: Tape, kpis: bool) -> tuple[float, float, float]:
    """Million env-steps per CPU-second compiled and under JAX, the best of some turns each; CPU-seconds of JAX's first run."""
    begun = time.process_time()
    simulate(scenario, policy, tape, backend="jax", kpis=kpis)
    first = time.process_time() - begun
    compiled(scenario, policy, tape, kpis)
    seconds = {"numpy": np.inf, "jax": np.inf}
    for _ in range(TURNS):
        for backend in seconds:
            begun = time.process_time()
            simulate(scenario, policy, tape, backend=backend, kpis=kpis)
            seconds[backend] = min(seconds[backend], time.process_time() - begun)
    steps = tape.batch * tape.periods / 1e6
    return steps / seconds["numpy"], steps / seconds["jax"], first


def main() -> None:
    """Print the table."""
    parser = StudyParser(__doc__)
    parser.add_argument("words", nargs="*", metavar="SCENARIO|rule=NAME|policy=PATH|worlds=NUMBER|backend=NAME")
    given = parser.parse_args().words
    options = {"rule": "echelon_base_stock", "policy": "", "worlds": "256", "backend": "numpy"}
    for word in given:
        name, sign, value = word.partition("=")
        if sign:
            if name not in options:
                raise unknown("option", name, options)
            options[name] = value
    if options["rule"] not in RULES:
        raise unknown("rule", options["rule"], RULES)
    if not options["worlds"].isdecimal() or not int(options["worlds"]):
        raise expected("worlds", options["worlds"], "a whole number >= 1")
    if options["backend"] not in ("numpy", "jax"):
        raise unknown("backend", options["backend"], ("numpy", "jax"))
    jax = options["backend"] == "jax"
    last = "compiled | JAX | CPU-seconds of JAX's first run" if jax else "asked every period | compiled | times as fast"
    print(f"| scenario | indicators | {last} |")
    print("|---|---|---|---|---|")
    for name in [word for word in given if "=" not in word] or SCENARIOS:
        scenario = Scenario.load(name)
        policy = load_policy(options["policy"], scenario) if options["policy"] else RULES[options["rule"]](scenario)
        tape = scenario.sample(int(options["worlds"]), seed=1)
        for kpis in (False, True):
            if jax:
                fast, other, first = beside_jax(scenario, policy, tape.check(scenario), kpis)
                print(f"| `{name}` | {'yes' if kpis else 'no'} | {fast:.2f} | {other:.2f} | {first:.2f} |", flush=True)
                continue
            asked, fast = speeds(scenario, policy, tape.check(scenario), kpis)
            print(
                f"| `{name}` | {'yes' if kpis else 'no'} | {asked:.2f} | {fast:.1f} | {fast / asked:.1f} |", flush=True
            )


if __name__ == "__main__":
    start(main)
