"""How fast worlds are drawn, in NumPy and in compiled code, and how fast batches of neighbouring sizes are stepped.

python -m echelongym.experiments.studies.drawing_speed
nanoseconds of CPU a world and period of one process, 1,024 worlds, in turns, the same worlds; then of a step for 1,000, 1,024
and 1,040 worlds, float32 without info
python -m echelongym.experiments.studies.drawing_speed serial beer_game worlds=256
of other scenarios, and so many worlds
"""

from __future__ import annotations

import time

import numpy as np

from echelongym.envs import Scenario
from echelongym.envs.compiler.recorder import accelerate
from echelongym.envs.core.errors import expected, unknown
from echelongym.envs.gym.batch import NetworkBatch
from echelongym.envs.gym.settings import EnvSettings
from echelongym.envs.processes.compiled import PATIENCE, kernels

from .console import StudyParser, start
from .rollout_speed import without_and_with

SCENARIOS = ("one_warehouse", "lost_sales", "two_region", "grocery")
TURNS = 9
SIZES = (1_000, 1_024, 1_040)


def drawing(scenario: Scenario, worlds: int) -> tuple[float, float]:
    """Nanoseconds a world and period without and with compiled code: the best of some turns each."""
    kernels(PATIENCE)
    before, after = without_and_with(
        lambda turn: scenario.sample(range(turn * worlds, (turn + 1) * worlds), seed=0).exogenous, TURNS
    )
    cells = worlds * scenario.horizon
    return 1e9 * before / cells, 1e9 * after / cells


def stepping(scenario: Scenario) -> list[float]:
    """Nanoseconds a world of a step of every size, without resets: the best of some turns each."""
    batches = []
    for size in SIZES:
        batch = NetworkBatch(scenario, size, EnvSettings.of({"dtype": "float32", "info": "none"}))
        batch.seed = 0
        batch.start()
        batch.observe()
        action = np.zeros((size, batch.decoder.size), np.float32)
        batch.advance(action)
        for recorded in batch._replay._recorded.values():
            accelerate(recorded.program)
        batches.append((batch, action))
    seconds = [np.inf] * len(SIZES)
    for _ in range(TURNS):
        for place, (batch, action) in enumerate(batches):
            batch.start()
            batch.observe()
            begun = time.process_time()
            for _ in range(scenario.horizon // 2):
                batch.advance(action)
            seconds[place] = min(seconds[place], (time.process_time() - begun) / (scenario.horizon // 2))
    return [1e9 * one / size for one, size in zip(seconds, SIZES, strict=True)]


def main() -> None:
    """Print the table."""
    parser = StudyParser(__doc__)
    parser.add_argument("words", nargs="*", metavar="SCENARIO|worlds=NUMBER")
    worlds, names = "1024", []
    for word in parser.parse_args().words:
        name, sign, value = word.partition("=")
        if sign and name != "worlds":
            raise unknown("option", name, ["worlds"])
        if sign:
            worlds = value
        else:
            names.append(word)
    if not worlds.isdecimal() or not int(worlds):
        raise expected("worlds", worlds, "a whole number >= 1")
    steps = " | ".join(f"a step, {size:,}" for size in SIZES)
    print(f"| scenario | drawn in NumPy | drawn compiled | times as fast | {steps} |")
    print("|---" * (4 + len(SIZES)) + "|")
    for name in names or SCENARIOS:
        scenario = Scenario.load(name)
        numpy, native = drawing(scenario, int(worlds))
        stepped = " | ".join(f"{one:.0f}" for one in stepping(scenario))
        print(f"| `{name}` | {numpy:.1f} | {native:.1f} | {numpy / native:.1f} | {stepped} |", flush=True)


if __name__ == "__main__":
    start(main)
