"""Reruns: what a published number, or a learner or rule of ours, comes to on its instance."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.agents import exact
from echelongym.agents.loading import load_policy
from echelongym.agents.rules import Rule
from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.interface.observation import Policy
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.envs.worlds.memory import worlds_that_fit
from echelongym.envs.worlds.world_sample import sample_of

from ..cli.settings import Tuning
from ..comparison.evaluate import chunk_size, chunks
from ..comparison.fitted_rules import expected_seconds, fitted
from ..statistics import seeds_interval
from .entries import BoardEntry, Rerun

#: A training: scenario, learner, changed settings, seed and folder in, the run folder and its CPU-seconds out.
Train = Callable[[Scenario, Rerun, int, Path], tuple[Path, float]]


@dataclass(frozen=True)
class Means:
    """What a rerun may use.

    Attributes
    ----------
    tuning
        How rules are tuned.
    seed
        Of the test worlds.
    states
        Largest number of states that an exact method may enumerate.
    train
        What trains a learner.
    folder
        Where trainings go.
    """

    tuning: Tuning
    seed: int
    states: int
    train: Train
    folder: Path


def rerun(entry: BoardEntry, name: str, what: Rerun, means: Means) -> dict[str, Any]:
    """What comes out, as keys of a :class:`.records.OwnRecord`.

    Where the scenario cannot be solved, tuned or learned, ``error`` says why, and there is no value.

    Raises
    ------
    InputError
        If the scenario cannot be loaded.
    """
    scenario = entry.scenario()
    started = time.process_time()
    nothing = {"value": None, "low": None, "high": None, "exact": False}
    try:
        found = _found(entry, name, what, scenario, means)
    except InputError as error:
        found = {**nothing, "error": str(error).splitlines()[-1].strip()}
    return {"cpu_seconds": round(time.process_time() - started, 2), **found}


def expected_work(entry: BoardEntry, what: Rerun, means: Means) -> float:
    """About how many seconds one process needs for a rerun."""
    if what.how == "trained":
        return what.cpu_seconds * len(what.seeds) + 5
    return expected_seconds(entry.scenario(), means.tuning) if what.how == "tuned" else 5.0


def _found(entry: BoardEntry, name: str, what: Rerun, scenario: Scenario, means: Means) -> dict[str, Any]:
    if what.how == "optimum":
        solved = exact.solve(scenario, max_states=means.states)
        ends = [value * entry.factor for value in (solved.value - solved.error, solved.value + solved.error)]
        return _exact(entry, [solved.value]) | {"low": ends[0], "high": ends[1], "parameters": dict(solved.parameters)}
    assert what.policy is not None
    if what.how == "best":
        rule, cost = exact.best(scenario, what.policy, None, what.parameters, means.states)
        return _exact(entry, [cost]) | {"parameters": rule.parameters}
    if what.how == "trained":
        return _trained(entry, name, what, scenario, means)
    if what.how == "stated":
        policy = load_policy(what.policy, scenario, **what.parameters)
    else:
        policy = fitted(scenario, what.policy, what.parameters, means.tuning, show_progress=False).rule
    parameters = policy.parameters if isinstance(policy, Rule) else {}
    return _measured(entry, what, scenario, [policy], means) | {"parameters": parameters}


def _trained(entry: BoardEntry, name: str, what: Rerun, scenario: Scenario, means: Means) -> dict[str, Any]:
    policies, spent = [], 0.0
    for seed in what.seeds:
        folder = means.folder / f"{entry.name}-{''.join(c if c.isalnum() else '_' for c in name)}-seed_{seed}"
        made, seconds = means.train(scenario, what, seed, folder)
        policies.append(load_policy(made, scenario))
        spent += seconds
    return _measured(entry, what, scenario, policies, means) | {"cpu_seconds": round(spent, 2)}


def _measured(
    entry: BoardEntry, what: Rerun, scenario: Scenario, policies: Sequence[Policy], means: Means
) -> dict[str, Any]:
    """The cost of policies, one for each training seed, by the entry's protocol."""
    if what.exactly:
        return _exact(entry, [exact.evaluate(scenario, policy, means.states) for policy in policies])
    protocol = entry.protocol
    if protocol.measure == "long_run" and protocol.periods is None:
        raise expected("protocol.periods", None, "a number, to simulate the long run", f"{entry.board}.yaml")
    measured = lengthened(entry, scenario)
    periods = measured.horizon
    sample = sample_of(measured, protocol.worlds, means.seed, "test", periods)
    size = min(chunk_size(measured.tables, periods, *policies), worlds_that_fit(measured, protocol.worlds, periods))
    rows: list[list[Floats]] = [[] for _ in policies]
    for part in chunks(sample.worlds, size):
        tape = measured.sample(part, means.seed, "test", periods)
        for row, policy in zip(rows, policies, strict=True):
            row.append(_value(entry, measured, simulate(measured, policy, tape, kpis=False)))
    values = np.array([np.concatenate(row) for row in rows])
    estimate = seeds_interval(values, sample=sample)
    known = estimate.known
    return {
        "value": estimate.mean,
        "low": estimate.low if known else None,
        "high": estimate.high if known else None,
        "exact": sample.one_history,
        "worlds": sample.worlds,
    }


def lengthened(entry: BoardEntry, scenario: Scenario) -> Scenario:
    """The scenario with as many periods, and as long a warm-up, as the protocol counts."""
    protocol = entry.protocol
    warm_up = scenario.warm_up if protocol.warm_up is None else protocol.warm_up
    counted = scenario.horizon - scenario.warm_up if protocol.periods is None else protocol.periods
    if (warm_up, counted + warm_up) == (scenario.warm_up, scenario.horizon):
        return scenario
    return scenario.with_overrides({"horizon": counted + warm_up, "warm_up": warm_up})


def _value(entry: BoardEntry, scenario: Scenario, outcome: Any) -> Floats:
    """(B,) of each world, in the units of the protocol."""
    protocol = entry.protocol
    counted = scenario.horizon - scenario.warm_up if protocol.measure == "total" else 1
    money = -outcome.net_cost_per_period if protocol.profit else outcome.cost_per_period
    return np.asarray(money, dtype=np.float64) * counted * entry.factor


def _exact(entry: BoardEntry, costs: Sequence[float]) -> dict[str, Any]:
    """Exact long-run costs a period, of one run or several."""
    if entry.protocol.profit or entry.protocol.measure != "long_run":
        raise expected("measure", entry.protocol.measure, "long_run, where costs are exact", f"{entry.board}.yaml")
    values = [cost * entry.factor for cost in costs]
    return {"value": float(np.mean(values)), "low": min(values), "high": max(values), "exact": True}


__all__ = ["Means", "Train", "expected_work", "lengthened", "rerun"]
