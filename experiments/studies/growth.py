"""How time and memory grow with lanes and products: a tree of suppliers, depots and stores of any size.

    python -m echelongym.experiments.studies.growth
    python -m echelongym.experiments.studies.growth 1000x1 1000x10      these sizes alone, lanes x products

Every size runs in a process of its own. CPU-seconds of reading the file, of the tables and the picture's layout (`show`), of
making an environment and its first reset; CPU-microseconds of a period and world in a vector environment and in `simulate`
with an echelon base-stock rule, after the first ones; CPU-seconds of the first gradient by JAX in the tuner's window cut to 20
periods, compiling included; and the most memory of each part, in MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.agents.jax_engine.rule_gradient import RuleGradient
from echelongym.agents.registry import RULES
from echelongym.envs import NetworkEnv, NetworkVectorEnv, Scenario, simulate
from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.storage.files import write_yaml
from echelongym.experiments.figures.network import layout

from .console import StudyParser, start
from .rooflines.peak_memory import peak_memory

SIZES = tuple((lanes, products) for lanes in (10, 100, 1_000) for products in (1, 10, 100))
WORLDS, PERIODS = 8, 20
HEADS = (
    "lanes x products|load, s|show, s|first reset, s|MB|vector env, us a period|simulate, us a period|MB|"
    "first gradient, s|MB"
)


def tree(lanes: int, products: int) -> dict[str, Any]:
    """Plain data of a tree: a supplier, a depot for each twenty lanes, and stores, all demands different."""
    depots = max(lanes // 20, 1)
    names = [f"product_{k + 1}" for k in range(products)]
    nodes: dict[str, Any] = {"supplier": {"kind": "supplier"}}
    ways: dict[str, Any] = {}
    customers = {}
    for k in range(depots):
        nodes[f"depot_{k + 1}"] = {"holding_cost": 0.5}
        ways[f"supplier_depot_{k + 1}"] = {"source": "supplier", "target": f"depot_{k + 1}", "lead_time": 3}
    for k in range(lanes - depots):
        depot, store = f"depot_{k % depots + 1}", f"store_{k + 1}"
        nodes[store] = {"holding_cost": 1.0}
        ways[f"{depot}_{store}"] = {"source": depot, "target": store, "lead_time": 2}
        means = {name: 2.0 + (7919 * k + 104_729 * p) % 9_973 / 1_000 for p, name in enumerate(names)}
        customers[f"customers_{k + 1}"] = {
            "sources": {store: {}},
            "demand": {"kind": "poisson", "mean": means},
            "lost_share": 0.0,
            "backorder_cost": 9.0,
        }
    return {
        "horizon": 100,
        "products": {name: {} for name in names},
        "nodes": nodes,
        "lanes": ways,
        "customers": customers,
    }


def seconds(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its CPU-seconds."""
    begun = time.process_time()
    found = call()
    return found, time.process_time() - begun


def memory() -> int:
    """Most memory of this process so far, in MB."""
    return round(peak_memory() / 2**20)


def row(lanes: int, products: int) -> None:
    """Print one row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree.yaml"
        write_yaml(tree(lanes, products), path)
        scenario, load = seconds(lambda: Scenario.load(path))
    _, show = seconds(lambda: layout(scenario.tables))
    _, reset = seconds(lambda: NetworkEnv(scenario).reset(seed=0))
    started = memory()
    env = NetworkVectorEnv(scenario, WORLDS, info="none")
    env.reset(seed=0)
    action = np.zeros_like(env.action_space.sample())

    def play() -> None:
        for _ in range(PERIODS):
            env.step(action)

    for _ in range(2):
        play()
    _, stepped = seconds(play)
    env.close()
    rule = RULES["echelon_base_stock"](scenario)
    tape = scenario.sample(WORLDS, seed=1, periods=PERIODS)
    for _ in range(3):
        simulate(scenario, rule, tape, kpis=False)
    _, simulated = seconds(lambda: simulate(scenario, rule, tape, kpis=False))
    played, each = memory(), 1e6 / (WORLDS * PERIODS)
    space = rule.space()
    vector = np.array(space.start)

    def descend() -> Any:
        return RuleGradient(rule.with_vector(space, vector), space, PERIODS, 4)(
            vector, tape, np.zeros(scenario.tables.C)
        )

    _, gradient = seconds(descend)
    print(
        f"| {lanes:,} x {products} | {load:.2f} | {show:.2f} | {reset:.2f} | {started} | {stepped * each:,.0f} | "
        f"{simulated * each:,.0f} | {played} | {gradient:.1f} | {memory()} |",
        flush=True,
    )


def size_of(word: str) -> tuple[int, int]:
    """Lanes and products of ``1000x10``.

    Raises
    ------
    InputError
        If it is none.
    """
    lanes, _, products = word.partition("x")
    if not (lanes.isdecimal() and products.isdecimal() and int(lanes) >= 2 and int(products) >= 1):
        raise expected("size", word, "lanes x products, such as 1000x10, with at least 2 lanes")
    return int(lanes), int(products)


def main() -> None:
    """Read the command line and print the table."""
    parser = StudyParser(__doc__)
    parser.add_argument("size", nargs="*", help="lanes x products, such as 1000x10; none: all of the table")
    parser.add_argument("--alone", action="store_true", help="run one size in this process, and print its row only")
    given = parser.parse_args()
    sizes = [size_of(word) for word in given.size] or list(SIZES)
    if given.alone:
        row(*sizes[0])
        return
    print(f"| {' | '.join(HEADS.split('|'))} |")
    print("|" + "---|" * len(HEADS.split("|")), flush=True)
    for lanes, products in sizes:
        command = [sys.executable, "-m", "echelongym.experiments.studies.growth", f"{lanes}x{products}", "--alone"]
        ended = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
        if ended.returncode:
            raise InputError(f"{lanes} x {products}: the process ended with exit code {ended.returncode}")


if __name__ == "__main__":
    start(main)
