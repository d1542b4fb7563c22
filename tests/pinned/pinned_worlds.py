"""What the pins of ``tests/pinned`` are: quantities of a scenario's worlds, the names that are public, files as saved.

``make_pinned.py`` writes them, ``test_pinned.py`` compares. All that is imported from the package is public.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import warnings
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

from echelongym.agents import RULES, load_policy
from echelongym.envs import (
    NetworkEnv,
    NetworkVectorEnv,
    NetworkWarning,
    Scenario,
    shipped_scenarios,
    simulate,
    variants,
)

FOLDER = Path(__file__).parent
PACKAGES = (
    "echelongym",
    "echelongym.envs",
    "echelongym.agents",
    "echelongym.agents.exact",
    "echelongym.agents.reading",
    "echelongym.agents.rules",
)
SEEDS = (11, 12)
BATCH = 3
FURTHER = 5  # steps of the vector env beyond the first episode, so that worlds begin anew
PERIODS = 10  # where many kinds are tried
RULE = "echelon_base_stock"  # with automatic levels: every shipped scenario has it


def scenario_names() -> list[str]:
    """Names of the shipped scenarios, and of the files of instances beside them."""
    folder = resources.files("echelongym.configs") / "scenario" / "instances"
    return [
        *shipped_scenarios(),
        *sorted(f"instances/{one.name}" for one in folder.iterdir() if one.name.endswith("yaml")),
    ]


def scenario_named(name: str) -> Scenario:
    """A shipped scenario, or one of the instances."""
    if "/" not in name:
        return Scenario.load(name)
    return Scenario.load(Path(str(resources.files("echelongym.configs") / "scenario" / name)))


def public_names() -> dict[str, list[str]]:
    """What each public package exports, and the names under which rules, methods and environments are known."""
    found = {name: sorted(importlib.import_module(name).__all__) for name in PACKAGES}
    package = {name: importlib.import_module(name) for name in PACKAGES}
    return found | {
        "rules": sorted(package["echelongym.agents"].RULES),
        "methods": sorted(package["echelongym.agents.exact"].METHODS),
        "environments": sorted(package["echelongym"].registered_ids()),
        "scenarios": sorted(shipped_scenarios()),
    }


def worlds(scenario: Scenario, seed: int) -> dict[str, np.ndarray]:
    """Quantities of the worlds of a seed by name: the tape, both environments and a simulation, over whole episodes."""
    return {
        **_tape(scenario, seed),
        **_env(scenario, seed),
        **_vector_env(scenario, seed),
        **_simulated(scenario, seed),
        **(_further(scenario, seed) if seed == SEEDS[0] else {}),
    }


def _tape(scenario: Scenario, seed: int) -> dict[str, np.ndarray]:
    tape = scenario.sample(BATCH, seed, "test")
    held = [
        one.name for one in dataclasses.fields(tape) if one.name != "drawn"
    ]  # what worlds are drawn from came later
    values = {name: getattr(tape, name) for name in held}
    found = {f"tape.{name}": value for name, value in values.items() if not name.startswith("_")}
    return {name: np.asarray(value) for name, value in _flat(found)}


def _actions(size: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, size).astype(np.float32)


def _env(scenario: Scenario, seed: int) -> dict[str, np.ndarray]:
    env = NetworkEnv(scenario, action="order_up_to")
    observations, rewards = [env.reset(seed=seed)[0]], []
    for action in _actions((scenario.horizon, *env.action_space.shape), seed):
        observation, reward, _, truncated, _ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    assert truncated
    return {"env.observation": np.array(observations), "env.reward": np.array(rewards)}


def _vector_env(scenario: Scenario, seed: int) -> dict[str, np.ndarray]:
    env = NetworkVectorEnv(scenario, num_envs=BATCH, action="order_up_to", info="costs")
    observations, rewards = [env.reset(seed=seed)[0].copy()], []
    for actions in _actions((scenario.horizon + FURTHER, *env.action_space.shape), seed):
        observation, reward, *_ = env.step(actions)
        observations.append(observation.copy())
        rewards.append(reward.copy())
    env.close()
    return {"vector_env.observation": np.array(observations), "vector_env.reward": np.array(rewards)}


def _simulated(scenario: Scenario, seed: int) -> dict[str, np.ndarray]:
    tape = scenario.sample(BATCH, seed, "test")
    outcome = simulate(scenario, load_policy(RULE, scenario), tape)
    found = {
        "simulate.cost_per_period": outcome.cost_per_period,
        "simulate.episode_net_cost_per_period": outcome.episode_net_cost_per_period,
        "simulate.costs": outcome.costs,
        # Of hundreds of customers indicators would be thousands of pins.
        "simulate.kpis": outcome.kpis() if scenario.tables.C <= 100 else None,
    }
    return {name: np.asarray(value) for name, value in _flat(found)}


def _further(scenario: Scenario, seed: int) -> dict[str, np.ndarray]:
    """Every kind of action, single precision, the other purposes, every quick rule: over fewer periods."""
    found = {}
    for kind in ("order_up_to", "order_up_to_local", "proportional", "allocate", "requests"):
        for dtype in ("float64", "float32") if kind == "order_up_to" else ("float64",):
            env = NetworkVectorEnv(scenario, 2, action=kind, dtype=dtype, periods=PERIODS, autoreset_mode="SAME_STEP")
            env.reset(seed=seed)
            steps = [env.step(one)[:2] for one in _actions((PERIODS + 2, *env.action_space.shape), seed)]
            for name, values in zip(("observation", "reward"), zip(*steps, strict=True), strict=True):
                found[f"vector_env {kind} {dtype}.{name}"] = np.array(values)
    for purpose in ("train", "tune", "validate"):
        found[f"tape {purpose}.demand"] = scenario.sample(2, seed, purpose, PERIODS).demand
    tape = scenario.sample(2, seed, "test", scenario.warm_up + PERIODS)
    for name, rule in RULES.items():
        if not rule.slow and rule.refusal(scenario) is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NetworkWarning)
                policy = load_policy(name, scenario)
            found[f"simulate {name}.cost_per_period"] = simulate(scenario, policy, tape, kpis=False).cost_per_period
    return {name: np.asarray(value) for name, value in found.items()}


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _flat(item, f"{name}.{key}" if name else str(key))]
    return [] if value is None else [(name, value)]


def digests() -> dict[str, str]:
    """Digests of scenarios by name, those of the first variants of randomised ones included."""
    found = {}
    for name in scenario_names():
        scenario = scenario_named(name)
        found[name] = scenario.digest
        if "randomise" in scenario.to_dict():
            for place, variant in enumerate(variants(scenario, 2, seed=SEEDS[0])):
                found[f"{name} variant {place}"] = variant.digest
    return found


def pinned(array: np.ndarray) -> list[Any]:
    """What is kept of an array: SHA-256 of its type, shape and bytes, and three sums of its finite entries.

    The sums say, to some digits, whether it is the same array where bits may differ: of the entries, of their sizes, and
    of the entries weighted by their place.
    """
    array = np.ascontiguousarray(array)
    content = f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()
    if array.dtype.kind == "U":
        array = np.array([array.astype(str).tolist()]).view(np.uint32)  # names: their characters
    entries = np.nan_to_num(array.astype(np.float64).ravel(), nan=-7.0, posinf=7e9, neginf=-7e9)
    weights = np.arange(1, entries.size + 1) * 0.6180339887498949 % 1.0
    sums = (entries.sum(), np.abs(entries).sum(), (entries * weights).sum())
    return [hashlib.sha256(content).hexdigest()[:24], *(float(f"{one:.13g}") for one in sums)]


def arithmetic() -> str:
    """Digest of what this machine makes of the operations that worlds, levels and costs consist of.

    The last bits of exponentials, logarithms, quantiles, sums and matrix products depend on the processor, on NumPy and
    on SciPy. Pins to the bit were made where this digest was theirs.
    """
    x = np.linspace(0.003, 9.7, 1003)
    p = np.linspace(0.001, 0.999, 1003)
    random = np.random.default_rng(5)
    square = random.uniform(0.1, 1.0, (23, 23))
    results = [
        *(f(x) for f in (np.exp, np.log, np.log1p, np.expm1, np.sin, np.cos, np.tanh, np.sqrt, np.arctan, np.square)),
        *(f(x.astype(np.float32)) for f in (np.exp, np.log, np.tanh, np.sqrt)),
        x**1.7, x**-0.3, x.sum(), x.cumsum(), x.std(), x.reshape(17, 59).sum(0), x.reshape(17, 59).mean(1),
        square @ square, square @ square[0], np.einsum("ij,jk->ik", square, square), np.linalg.eigh(square + square.T)[0],
        np.linalg.cholesky(square @ square.T + np.eye(23)),
        scipy.special.ndtri(p), scipy.special.ndtr(x), scipy.special.gammaincinv(x, p), scipy.special.gammainc(x, p),
        scipy.special.gammaln(x), scipy.special.pdtr(np.floor(x), x), scipy.special.bdtr(3.0, 9, p),
        scipy.stats.norm.ppf(p), scipy.stats.nbinom.ppf(p, 4.3, 0.3), scipy.stats.gamma.ppf(p, 2.3),
        random.normal(size=99), random.gamma(2.3, size=99), random.poisson(7.7, 99), random.binomial(9, 0.3, 99),
        random.exponential(size=99), random.permutation(99), random.integers(0, 99, 99),
    ]  # fmt: skip
    found = hashlib.sha256()
    for one in results:
        found.update(np.ascontiguousarray(one).tobytes())
    return found.hexdigest()[:24]
