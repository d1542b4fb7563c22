"""A device held against the CPU: the same results, and how fast simulations and gradients are on it.

    python -m echelongym.experiments.studies.device_check
what a GPU computes on every shipped scenario beside NumPy on the CPU; a benchmark; env-steps a second with 1,024 and 65,536
worlds, and milliseconds a gradient of a rule and of a network; in less than five minutes, and into device_check.json
    python -m echelongym.experiments.studies.device_check --device cpu --worlds 64 --periods 20 --json small.json
the same programs on JAX's CPU backend, small

Equality: costs and indicators of a tuned-by-default echelon base-stock policy, and of policies that remember or know what is
to come, in 64 worlds; the largest difference of any figure in any world, relative above 1. Benchmark:
what `benchmark` gives with `device`, costs alone. Gradients: the largest difference of any slope, as a share of the steepest.
Speed: one period of one world is one env-step; *program* is the program alone with the worlds on the device, *call* a whole
`simulate` by the clock with worlds that were played before, *with indicators* the same with all indicators. What a part does
not get done in its time is left out, and said to be.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.agents import RULES
from echelongym.agents.jax_engine.cost_gradient import BATCH_ON_GPU, CostGradient
from echelongym.agents.jax_engine.rule_gradient import RuleGradient
from echelongym.envs import Scenario, simulate
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.devices import check_device, device_named, on_device
from echelongym.envs.core.errors import expected, is_installed
from echelongym.envs.core.jax_backend import JaxOps
from echelongym.envs.rollout.scan import whole_numbers
from echelongym.envs.rollout.xla_rollout import XlaRollout, memory_of
from echelongym.envs.scenario.scenario import shipped_scenarios
from echelongym.envs.simulate import Outcome
from echelongym.envs.storage.files import write_text
from echelongym.envs.worlds.tape import Tape

from ..cli.settings import Evaluation
from ..comparison.evaluate import Entrant, evaluate
from .console import StudyParser, start
from .rollout_speed import compiled

RULE = "echelon_base_stock"
SPEED = ("one_warehouse", "lost_sales", "two_region", "grocery")
#: Scenarios and policies with something to carry from period to period, and networks whose gradients are taken.
REMEMBERING = (("beer_game", "sterman"), ("lost_sales", "just_in_time"), ("two_region", "random"))
NETWORKS = (("lost_sales", "recurrent"), ("one_warehouse", "perceptron"), ("two_region", "graph"))
#: Largest differences that count as rounding, by precision.
MOST = {"double": 1e-9, "single": 1e-5}
EQUAL_WORLDS, TURNS = 64, 3
#: Share of all seconds after which a part begins nothing new.
SHARES = {"equality": 0.4, "benchmark": 0.5, "speed": 0.75, "gradients": 0.85, "networks": 0.95}


def figures(nested: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every array of nested dicts, by path."""
    for name, one in nested.items():
        if isinstance(one, dict):
            yield from figures(one, f"{path}{name}/")
        else:
            yield f"{path}{name}", np.asarray(one)


def difference(wanted: Outcome, found: Outcome) -> tuple[float, str]:
    """Largest difference of any cost line or indicator in any world, and of what; inf if one is missing.

    A line is measured in costs of its world, of which it is a part: a small one is what is left of large stocks, whose
    rounding it carries. An indicator is measured in units of itself. Neither is measured in less than 1.
    """
    worst: tuple[float, str] = 0.0, ""
    pairs = [dict(figures({"cost": one.cost_per_period, **one.costs, "kpis": one.kpis()})) for one in (wanted, found)]
    for name, there in pairs[0].items():
        here, finite = pairs[1][name], np.isfinite(there)
        apart = np.inf
        if np.array_equal(np.isfinite(here), finite) and np.array_equal(here[~finite], there[~finite], equal_nan=True):
            whole = np.abs(wanted.cost_per_period) if name in wanted.costs else 0.0
            gaps = (np.abs(here - there) / np.maximum(np.maximum(np.abs(there), whole), 1))[finite]
            apart = float(gaps.max(initial=0.0))
        worst = max(worst, (apart, name))
    return worst


def shortened(scenario: Scenario, periods: int) -> Scenario:
    """The scenario with at most so many periods, of which the first quarter is the warm-up."""
    horizon = min(scenario.horizon, periods)
    return scenario.replace(horizon=horizon, warm_up=min(scenario.warm_up, horizon // 4))


def versions(device: str) -> dict[str, Any]:
    """What ran: releases, and the device as JAX names it."""
    found = device_named(device)
    return {
        "echelongym": version("echelongym"),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "jax": version("jax"),
        "jaxlib": version("jaxlib"),
        "processor": platform.processor() or platform.machine(),
        "device": device,
        "kind": found.device_kind,
        "runtime": str(found.client.platform_version),
        "memory_gib": round(memory_of(found) / 2**30, 1),
    }


def equality(device: str, periods: int, left: Callable[[], bool]) -> list[dict[str, Any]]:
    """Rows of the table of differences: every shipped scenario in double precision, then what is continuous in single."""
    rows: list[dict[str, Any]] = []
    others = [(one, RULE) for one in shipped_scenarios() if one not in SPEED]
    for precision, dtype in (("double", np.float64), ("single", np.float32)):
        chosen = [*((one, RULE) for one in SPEED), *REMEMBERING]
        for name, policy in chosen + (others if precision == "double" else []):
            row: dict[str, Any] = {"scenario": name, "policy": policy, "precision": precision}
            if not left():
                rows.append(row | {"left_out": True})
                continue
            scenario = shortened(Scenario.load(name), periods)
            if precision == "single" and scenario.tables.integer:
                continue  # computed in double precision whatever is asked for
            row["units"] = scenario.units
            rows.append(row)
            rule, tape = RULES[policy](scenario), scenario.sample(EQUAL_WORLDS, seed=1)
            begun = time.perf_counter()
            found = simulate(scenario, rule, tape, backend=JaxOps(dtype), device=device)
            row["seconds"] = time.perf_counter() - begun
            row["difference"], row["of"] = difference(simulate(scenario, rule, tape, backend=NUMPY), found)
            row["agrees"] = row["difference"] <= MOST[precision]
    return rows


def benchmark(device: str, periods: int, left: Callable[[], bool]) -> list[dict[str, Any]]:
    """Rows of the table of a benchmark of two rules: their costs beside those that the CPU gives."""
    rows: list[dict[str, Any]] = []
    for name in ("one_warehouse", "beer_game"):
        if not left():
            rows.append({"scenario": name, "left_out": True})
            continue
        scenario = shortened(Scenario.load(name), periods)
        compared = [Entrant(one, (RULES[one](scenario),)) for one in (RULE, "sterman")]
        given = Evaluation(worlds=EQUAL_WORLDS, seed=7, periods=None, chunk=None)
        begun = time.perf_counter()
        found = evaluate(scenario, compared, given, False, device)
        seconds = time.perf_counter() - begun
        for one, wanted in zip(found, evaluate(scenario, compared, given, False), strict=True):
            apart = float((np.abs(one.cost - wanted.cost) / np.maximum(np.abs(wanted.cost), 1)).max())
            on = "{device}, {backend}, {precision}".format(**one.simulated_on)
            agrees = apart <= MOST["double"] and one.simulated_on["device"] == device
            rows.append(
                {
                    "scenario": name,
                    "policy": one.name,
                    "on": on,
                    "difference": apart,
                    "agrees": agrees,
                    "seconds": seconds,
                }
            )
    return rows


def timed(work: Callable[[], Any]) -> float:
    """Seconds by the clock: the best of some turns, after one that is not counted."""
    work()
    best = np.inf
    for _ in range(TURNS):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def many(tape: Tape, worlds: int) -> Tape:
    """A tape of so many worlds, those of a smaller one over and over: drawing them is not what is measured."""
    return tape[np.arange(worlds) % tape.batch]


def speed(device: str, periods: int, sizes: list[int], left: Callable[[], bool]) -> list[dict[str, Any]]:
    """Rows of the table of env-steps a second, in double precision."""
    rows: list[dict[str, Any]] = []
    for size in sizes:
        for name in SPEED:
            row: dict[str, Any] = {"scenario": name, "worlds": size, "periods": periods}
            rows.append(row)
            if not left():
                row["left_out"] = True
                continue
            scenario = shortened(Scenario.load(name), periods)
            rule, tape = RULES[RULE](scenario), many(scenario.sample(min(size, 256), seed=1), size)
            steps = tape.batch * tape.periods
            with on_device(device), whole_numbers() as found:
                rollout = XlaRollout(scenario, rule, tape.check(scenario), np.float64, False, size)
                (arguments,) = rollout.arguments(rule, tape.check(scenario))
                arguments = rollout.scan.ops.jax.device_put(arguments, found)
                begun = time.perf_counter()
                program = rollout.program(arguments)
                row["compile_seconds"] = time.perf_counter() - begun
                row["program"] = steps / timed(lambda: rollout.scan.ops.jax.block_until_ready(program(*arguments)))  # noqa: B023
            options: dict[str, Any] = {"backend": "jax", "device": device}
            row["call"] = steps / timed(lambda: simulate(scenario, rule, tape, kpis=False, **options))  # noqa: B023
            if left():
                row["with_indicators"] = steps / timed(lambda: simulate(scenario, rule, tape, **options))  # noqa: B023
            if size <= 4096:
                compiled(scenario, rule, tape, kpis=False)
                row["numpy"] = steps / timed(lambda: simulate(scenario, rule, tape, kpis=False))  # noqa: B023
    return rows


def gradients(device: str, periods: int, worlds: int, left: Callable[[], bool]) -> list[dict[str, Any]]:
    """Rows of the table of gradients: milliseconds on the device, and the difference from the CPU's in double precision."""
    rows: list[dict[str, Any]] = []
    for name in SPEED:
        row: dict[str, Any] = {"scenario": name, "policy": RULE, "worlds": worlds, "periods": periods}
        rows.append(row)
        if not left():
            row["left_out"] = True
            continue
        scenario = shortened(relaxed(name), periods)
        rule = RULES[RULE](scenario)
        space = rule.space()

        make = partial(RuleGradient, rule, space, scenario.horizon, 0)
        measure(row, make, space.start, space.start + 0.37 * space.scale, scenario.sample(worlds, seed=1), device, left)
    return rows


def networks(device: str, periods: int, worlds: int, left: Callable[[], bool]) -> list[dict[str, Any]]:
    """Rows of the same table of networks of pathwise training, with weights that are drawn; none without PyTorch."""
    rows: list[dict[str, Any]] = []
    for name, network in NETWORKS if is_installed("torch") else ():
        row: dict[str, Any] = {"scenario": name, "policy": network, "worlds": worlds, "periods": periods}
        rows.append(row)
        if not left():
            row["left_out"] = True
            continue
        from echelongym.agents.learners import learner_config
        from echelongym.agents.pathwise.gradients.jax_program import cost_gradient
        from echelongym.agents.pathwise.policy import make_policy
        from echelongym.agents.tuning.gradient import GradientWindow

        scenario = shortened(relaxed(name), periods)
        layout = learner_config("pathwise").model_copy(update={"network": network, "activation": "tanh"})
        definition = make_policy(scenario, layout).definition
        window = GradientWindow(worlds, scenario.horizon, 0)

        make = partial(cost_gradient, scenario, window, 0.0, definition)
        rng = np.random.default_rng(1)
        weights = {key: 0.1 * rng.normal(size=start.shape) for key, start in definition.starts()}
        measure(row, make, weights, weights, scenario.sample(worlds, seed=1), device, left)
    return rows


def relaxed(name: str) -> Scenario:
    """A shipped scenario in continuous units."""
    found = Scenario.load(name).relaxed()
    assert found is not None, name
    return found


def measure(
    row: dict[str, Any],
    make: Callable[[Any], CostGradient],
    start: Any,
    other: Any,
    tape: Tape,
    device: str,
    left: Callable[[], bool],
) -> None:
    """Fill in a row: milliseconds at ``start`` in single precision, and the difference at ``other`` in double."""
    import jax

    prices = np.zeros(tape.exogenous.demand.shape[1])  # (C,)
    with on_device(device):
        begun = time.perf_counter()
        gradient = make(np.float32)
        gradient(start, tape, prices)
        row["first_seconds"] = time.perf_counter() - begun
        row["milliseconds"] = 1000 * timed(lambda: gradient(start, tape, prices))
    if left():
        pair = []
        for where in (device, "cpu"):
            with on_device(where):
                slopes = make(np.float64)(other, tape[:8], prices).slopes
            pair.append(np.concatenate([np.nan_to_num(one).reshape(-1) for one in jax.tree_util.tree_leaves(slopes)]))
        row["difference"] = float(np.abs(pair[0] - pair[1]).max()) / max(float(np.abs(pair[1]).max()), 1e-9)
        row["agrees"] = row["difference"] <= MOST["double"]


def shown(value: Any) -> str:
    """A figure with three digits; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, str | int):
        return str(value)
    return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value:.3g}"


def print_table(title: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """Print rows as a Markdown table; ``columns`` are headings by key."""
    print(f"\n{title}\n\n| {' | '.join(columns.values())} |\n|{'---|' * len(columns)}")
    for row in rows:
        cells = [shown(row.get(key)) for key in columns]
        print(f"| {' | '.join(cells)} |" + (" left out for want of time" if row.get("left_out") else ""))


def check(device: str, sizes: list[int], periods: int, seconds: float) -> dict[str, Any]:
    """All of it as plain data, printed part by part."""
    begun = time.perf_counter()

    def until(part: str) -> Callable[[], bool]:
        return lambda: time.perf_counter() - begun < SHARES[part] * seconds

    found: dict[str, Any] = {"schema": 1, "versions": versions(device)}
    print("\n".join(f"{name}: {value}" for name, value in found["versions"].items()), flush=True)
    found["equality"] = equality(device, periods, until("equality"))
    print_table(
        f"Differences of {device} under JAX from the CPU under NumPy, {EQUAL_WORLDS} worlds",
        found["equality"],
        {"scenario": "scenario", "policy": "policy", "precision": "precision", "units": "units",
         "difference": "largest difference",
         "of": "of", "agrees": "agrees", "seconds": "seconds, compiling included"},
    )  # fmt: skip
    found["benchmark"] = benchmark(device, periods, until("benchmark"))
    print_table(
        f"A benchmark with device={device}, {EQUAL_WORLDS} worlds",
        found["benchmark"],
        {"scenario": "scenario", "policy": "policy", "on": "simulated on", "difference": "largest difference",
         "agrees": "agrees", "seconds": "seconds of both"},
    )  # fmt: skip
    found["speed"] = speed(device, periods, sizes, until("speed"))
    print_table(
        f"Env-steps a second on {device}, by the clock, double precision",
        found["speed"],
        {"scenario": "scenario", "worlds": "worlds", "program": "program", "call": "call",
         "with_indicators": "with indicators", "numpy": "NumPy, compiled, one core", "compile_seconds": "seconds to compile"},
    )  # fmt: skip
    worlds = sizes[0] if device == "cpu" else BATCH_ON_GPU
    found["gradients"] = gradients(device, periods, worlds, until("gradients"))
    found["networks"] = networks(device, periods, worlds, until("networks"))
    print_table(
        f"Gradients of a rule's levels, and of a network's weights, on {device}, single precision",
        [*found["gradients"], *found["networks"]],
        {"scenario": "scenario", "policy": "policy", "worlds": "worlds", "milliseconds": "milliseconds",
         "first_seconds": "seconds, first one",
         "difference": "difference from the CPU, double precision", "agrees": "agrees"},
    )  # fmt: skip
    told = [
        row["agrees"]
        for part in ("equality", "benchmark", "gradients", "networks")
        for row in found[part]
        if "agrees" in row
    ]
    found["agrees"], found["compared"] = bool(told) and all(told), len(told)
    found["seconds"] = time.perf_counter() - begun
    print(f"\n{sum(told)} of {len(told)} comparisons agree; {found['seconds']:.0f} s")
    return found


def main() -> None:
    """Check a device, print the tables and write them as JSON; exit code 1 where anything differs by more than rounding."""
    parser = StudyParser(__doc__)
    parser.add_argument("--device", default="gpu", help="cpu or gpu")
    parser.add_argument(
        "--worlds", nargs="+", default=["1024", "65536"], help="sizes of batches whose speed is measured"
    )
    parser.add_argument("--periods", default="100", help="most periods of a world")
    parser.add_argument("--seconds", default="280", help="seconds after which nothing new is begun")
    parser.add_argument("--json", default="device_check.json", help="file for the figures")
    given = parser.parse_args()
    device_named(check_device(given.device))
    numbers = [("worlds", one) for one in given.worlds] + [("periods", given.periods), ("seconds", given.seconds)]
    for name, one in numbers:
        if not one.isdecimal() or int(one) < (8 if name == "periods" else 1):
            raise expected(name, one, f"a whole number of {8 if name == 'periods' else 1} or more")
    path = Path(given.json)
    if not path.parent.is_dir() or path.is_dir():
        raise expected("json", given.json, "a file in a folder that there is")
    found = check(given.device, sorted(map(int, given.worlds)), int(given.periods), float(given.seconds))
    write_text(json.dumps(found, indent=1) + "\n", path)
    print(f"{path}")
    if not found["agrees"]:
        raise SystemExit(1)


if __name__ == "__main__":
    start(main)
