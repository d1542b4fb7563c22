"""Rows of the table: what each measures, beside which roofline and peer, and the goals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import yaml

from echelongym.agents.jax_engine.rule_gradient import RuleGradient
from echelongym.agents.learners import learner_config
from echelongym.agents.registry import RULES
from echelongym.agents.tuning.gradient import GradientWindow, window_of
from echelongym.agents.tuning.tuner import tune
from echelongym.envs.compiler.c_compiler import CannotCompile
from echelongym.envs.core.errors import is_installed
from echelongym.envs.core.typing import Floats
from echelongym.envs.core.validation import validate
from echelongym.envs.gym.vector_env import NetworkVectorEnv
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.registration import register_envs

from . import large
from .kernels import ChainKernel, LostSalesKernel, ProductionKernel, WarehouseKernel
from .measure import TableLine, Work

WORLDS = 1024  # of a vector env
SIMULATED = 256  # of a simulation
LEVEL = 25  # the best base-stock level of lost_sales


def single() -> Iterator[TableLine]:
    """Env of one world on OR-Gym's network, random actions drawn beforehand, resets included."""
    register_envs()
    scenario = Scenario.load("production_network")
    requests = np.random.default_rng(0).uniform(0, 40, (256, scenario.tables.L))
    roofline = _roofline(lambda: ProductionKernel(scenario, requests))
    for told, before, goal in (("default", 22.7e3, 115e3), ("none", 53.8e3, 150e3)):
        settings = {} if told == "default" else {"info": "none"}
        env = gym.make("echelongym/Network-v1", scenario=scenario, disable_env_checker=True, **settings)  # type: ignore[arg-type]
        work = _single_steps(env)
        _warm(work, 1.0)
        play = _played(roofline, lambda kernel: kernel.costs(64, scenario.horizon), 64 * scenario.horizon)
        peer = "gym-invmgmt" if told == "default" else "or-gym-inventory"
        yield TableLine(f"single env, OR-Gym's network, info {told}", "steps", before, goal, work, play, peer)


def _single_steps(env: Any) -> Work:
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(300)]
    env.reset(seed=0)

    def work() -> float:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return len(actions)

    return work


def vector() -> Iterator[TableLine]:
    """Vector env, one warehouse and ten stores."""
    scenario = Scenario.load("one_warehouse")
    goals = {"default": (3.6e6, 10e6), "lean": (5.0e6, 16e6)}
    for told, (before, goal) in goals.items():
        dtype = np.float64 if told == "default" else np.float32
        kernel = _roofline(lambda dtype=dtype: WarehouseKernel(scenario, _levels(scenario), dtype))  # type: ignore[misc]
        name = f"vector env {WORLDS:,}, 1 warehouse + 10 stores"
        yield _vector_line(name, scenario, told, before, goal, kernel, None)


def vector_lost_sales() -> Iterator[TableLine]:
    """Vector env, lost sales at one store."""
    scenario = Scenario.load("lost_sales")
    kernel = _roofline(lambda: LostSalesKernel(scenario, LEVEL))
    for told, before, goal in (("default", 15.8e6, 40e6), ("lean", 22e6, 100e6)):
        name = f"vector env {WORLDS:,}, lost sales"
        yield _vector_line(name, scenario, told, before, goal, kernel, "dynaplex")


def _vector_line(
    name: str, scenario: Scenario, told: str, before: float, goal: float, kernel: Any, peer: str | None
) -> TableLine:
    periods = scenario.horizon
    if told == "default":
        env = NetworkVectorEnv(scenario, WORLDS)
    else:
        env = NetworkVectorEnv(scenario, WORLDS, dtype="float32", info="none")
        name += ", float32, info none"
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(8)]
    env.reset(seed=0)

    def work() -> float:  # an episode of all worlds, the step that resets them included
        for t in range(periods + 1):
            env.step(actions[t % len(actions)])
        return WORLDS * periods

    _warm(work, 1.0)
    play = _played(kernel, lambda made: made.play(WORLDS, periods, scenario.warm_up), WORLDS * periods)
    return TableLine(name, "steps", before, goal, work, play, peer)


def simulation() -> Iterator[TableLine]:
    """`simulate` of echelon base-stock on one warehouse and ten stores, worlds drawn beforehand."""
    scenario = Scenario.load("one_warehouse")
    levels = _levels(scenario)
    tape = scenario.sample(SIMULATED, seed=1)
    kernel = _roofline(lambda: WarehouseKernel(scenario, levels, np.float32))
    packed = None if kernel is None else kernel.packed(tape)
    yield from _simulations("1 warehouse + 10 stores", scenario, tape, kernel, packed, 1.6e6, 16e6, "stockpyl")


def simulation_lost_sales() -> Iterator[TableLine]:
    """`simulate` of base-stock on lost sales at one store, worlds drawn beforehand."""
    scenario = Scenario.load("lost_sales")
    tape = scenario.sample(SIMULATED, seed=1)
    kernel = _roofline(lambda: LostSalesKernel(scenario, LEVEL))
    packed = None if kernel is None else kernel.packed(tape)
    yield from _simulations("lost sales", scenario, tape, kernel, packed, 2.3e6, 100e6, "dynaplex")


def _simulations(
    name: str, scenario: Scenario, tape: Any, kernel: Any, packed: Any, before: float, goal: float, peer: str
) -> Iterator[TableLine]:
    rule = RULES["echelon_base_stock"](scenario)
    tape, steps = tape.check(scenario), tape.batch * tape.periods
    for kpis in (False, True):

        def work(kpis: bool = kpis) -> float:
            simulate(scenario, rule, tape, kpis=kpis)
            return steps

        _warm(work, 2.0)
        play = _played(kernel, lambda made: made.play(tape.batch, tape.periods, scenario.warm_up, tape=packed), steps)
        told = "with indicators" if kpis else "no indicators"
        work_name = f"simulate a rule, {SIMULATED} worlds, {name}, {told}"
        yield TableLine(work_name, "steps", before, goal, work, play, peer)


def tuner() -> Iterator[TableLine]:
    """A whole tuning of one warehouse and ten stores, env-periods per CPU-second."""
    scenario = Scenario.load("one_warehouse")
    kernel, window = _gradient_roofline(scenario)
    first: list[float] = []

    def work() -> float:
        tuned = tune(scenario, "echelon_base_stock", progress=False)
        first.append(tuned.env_periods / tuned.cpu_seconds)
        return first[-1]

    play = _played(
        kernel,
        lambda made: made.gradient(window.worlds, window.periods, window.skipped),
        window.worlds * window.periods,
    )
    note = lambda: f"the first tuning of the process, programs loaded or compiled: {first[0] / 1e6:.2f} M"  # noqa: E731
    yield TableLine(
        "tuner, one_warehouse, env-periods", "steps", 0.15e6, 2e6, work, play, itself=True, turns=3, note=note
    )


def gradient() -> Iterator[TableLine]:
    """A gradient of levels on one warehouse and ten stores, drawing of worlds included, env-periods per CPU-second."""
    scenario = Scenario.load("one_warehouse")
    kernel, window = _gradient_roofline(scenario)
    for worlds, before in ((256, 5.4e6), (1024, 6.7e6)):
        steps = worlds * window.periods
        play = _played(kernel, lambda made: made.gradient(worlds, window.periods, window.skipped), steps)  # noqa: B023
        for how, once in _gradients(scenario, window, worlds):

            def work(once: Callable[[], Any] = once, steps: int = steps) -> float:
                once()
                return steps

            _warm(work, 0.5)
            yield TableLine(
                f"gradient of levels, 1 + 10 stores, {worlds:,} worlds, {how}", "steps", before, 16e6, work, play
            )


def gradient_grocery() -> Iterator[TableLine]:
    """A gradient of levels on ``grocery``, drawing of worlds included."""
    scenario = Scenario.load("grocery")
    scenario = scenario.relaxed() or scenario
    window = window_of(scenario)
    for how, once in _gradients(scenario, window, window.worlds):

        def work(once: Callable[[], Any] = once) -> float:
            once()
            return 1

        _warm(work, 0.5)
        name = f"gradient of levels, grocery, {window.worlds} worlds x {window.periods} periods, {how}"
        yield TableLine(name, "ms", 335, 20, work)


def _gradients(scenario: Scenario, window: GradientWindow, worlds: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Ways to take a gradient that are there, each drawing other worlds every time."""
    if is_installed("jax"):
        rule = RULES["echelon_base_stock"](scenario)
        space = rule.space()
        vector, price = np.array(space.start), np.zeros(scenario.tables.C)
        by_jax = RuleGradient(rule.with_vector(space, vector), space, window.periods, window.skipped)
        seeds = iter(range(10**9))

        def jax() -> Any:
            tape = scenario.sample(worlds=worlds, seed=next(seeds), purpose="tune", periods=window.periods)
            return by_jax(vector, tape, price)

        yield "JAX", jax
    if is_installed("torch"):
        from echelongym.agents.pathwise.compiled.gradient import NativeUnroll
        from echelongym.agents.pathwise.policy import make_policy

        usual = learner_config("pathwise")
        config = validate(type(usual), usual.model_dump() | {"network": "none"}, "agent")
        actor = make_policy(scenario, config).actor
        unroll = NativeUnroll(scenario, window, 0, config.smoothing, actor)
        places = iter(range(0, 10**12, worlds))

        def compiled() -> Any:
            unroll.gradient(actor, next(places), worlds)
            unroll.multipliers._clear()

        if unroll.native:
            yield "compiled C", compiled


def products() -> Iterator[TableLine]:
    """Vector env of a chain of three echelons, 2,000 products and a storage that they share."""
    scenario = Scenario.from_mapping(large.chain(2000))
    levels = np.asarray(RULES["echelon_base_stock"](scenario).values["levels"]).reshape(scenario.tables.N, -1)[1:]
    kernel = _roofline(lambda: ChainKernel(scenario, levels, np.float32))
    for worlds, before in ((1, 15e3), (64, 7e3)):
        env = NetworkVectorEnv(scenario, worlds, dtype="float32", info="none")
        env.action_space.seed(0)
        actions = [env.action_space.sample() for _ in range(4)]
        env.reset(seed=0)

        def work(env: Any = env, actions: Any = actions, worlds: int = worlds) -> float:
            for action in actions:
                env.step(action)
            return len(actions) * worlds

        _warm(work, 2.0)
        name = f"2,000 products x 3 echelons, {worlds} world{'s' if worlds > 1 else ''}"
        played = max(4, worlds)
        steps = played * scenario.horizon
        play = _played(kernel, lambda made: made.costs(played, scenario.horizon, scenario.warm_up), steps)  # noqa: B023
        yield TableLine(name, "steps", before, None, work, play)


def lanes() -> Iterator[TableLine]:
    """A network of 1,000 lanes and 100 products, in a process of its own: loading, first reset, memory."""
    figures: list[dict[str, float]] = []  # of each turn
    asked = dict.fromkeys(("load", "reset", "memory"), 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "regions.yaml"
        text = yaml.safe_dump(large.regions(1000, 100), sort_keys=False)
        path.write_text(text, encoding="utf-8")
        parser = getattr(yaml, "CSafeLoader", None)  # libyaml's, which reads the file and keeps nothing

        def parsed() -> float:
            for _ in yaml.parse(text, Loader=parser):  # type: ignore[arg-type]
                pass
            return 1

        def measure(key: str) -> float:
            place = asked[key]
            asked[key] += 1
            if place == len(figures):
                command = [sys.executable, "-m", large.__name__, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
                figures.append(json.loads(done.stdout.splitlines()[-1]))
            return figures[place][key]

        for key, unit, before, goal in (("load", "s", 9.5, 2.0), ("reset", "s", 10.4, 1.0), ("memory", "GB", 4.2, 1.0)):
            name = "make an env and its first reset" if key == "reset" else key
            least = parsed if key == "load" and parser is not None else None

            def work(key: str = key) -> float:
                return measure(key)

            title = f"1,000 lanes x 100 products, {name}"
            yield TableLine(title, unit, before, goal, work, least, itself=True, turns=2)


ROWS: dict[str, Callable[[], Iterator[TableLine]]] = {
    "single": single,
    "vector": vector,
    "vector_lost_sales": vector_lost_sales,
    "simulate": simulation,
    "simulate_lost_sales": simulation_lost_sales,
    "tuner": tuner,
    "gradient": gradient,
    "gradient_grocery": gradient_grocery,
    "products": products,
    "lanes": lanes,
}


def _levels(scenario: Scenario) -> Floats:
    rule = RULES["echelon_base_stock"](scenario)
    return np.array([rule.parameters["levels"][name] for name in list(scenario.nodes)[1:]])


def _roofline(make: Callable[[], Any]) -> Any:
    """The kernel; None where there is no C compiler."""
    try:
        return make()
    except CannotCompile:
        return None


def _gradient_roofline(scenario: Scenario) -> tuple[Any, GradientWindow]:
    return _roofline(lambda: WarehouseKernel(scenario, _levels(scenario), np.float32)), window_of(scenario)


def _played(kernel: Any, play: Callable[[Any], Any], steps: int) -> Work | None:
    if kernel is None:
        return None

    def work() -> float:
        play(kernel)
        return steps

    return work


def _warm(work: Work, seconds: float) -> None:
    """Work until what is recorded and compiled after some use has been."""
    begun = time.perf_counter()
    work()
    while time.perf_counter() - begun < seconds:
        work()
