"""Simulation of a policy in parts that fit into memory: results do not depend on their size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from echelongym.envs.accounts.kpis import Kpis
from echelongym.envs.core.memory_limits import require_memory
from echelongym.envs.interface.observation import Policy
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import Outcome, simulate
from echelongym.envs.worlds.memory import simulation_bytes, worlds_that_fit

from ..cli.settings import Evaluation
from .evaluate import chunk_size, chunks, concatenated, joined
from .played import played, remembered


@dataclass(frozen=True, eq=False)
class _Figures:
    """Figures of all parts, as the accumulator of one simulation hands them out."""

    kpis: Kpis

    def figures(self) -> Kpis:
        return self.kpis


def simulate_worlds(
    scenario: Scenario,
    policy: Policy,
    worlds: Sequence[int],
    evaluation: Evaluation,
    trace: bool = False,
    progress: Callable[[float], None] | None = None,
    identity: Any = None,
) -> Outcome:
    """Simulate worlds (purpose ``test``) in parts of ``evaluation.chunk``, by default of some seconds that fit in memory.

    Each part is a step of the journal, where one is kept.

    Parameters
    ----------
    worlds
        Indices of the worlds.
    trace
        Keep every period; then all worlds must fit at once.
    progress
        Called with the number of world-periods done since the last call.
    identity
        What tells the policy from others, as :func:`.played.identity_of` gives; None: no part is a step.

    Raises
    ------
    InputError
        In one line, if one world alone, or a trace of all of them, needs more memory than is free.
    """
    periods = evaluation.periods or scenario.horizon
    if trace:
        needed = simulation_bytes(scenario, len(worlds), periods, trace=True)
        what = f"a trace of {len(worlds)} worlds of {periods} periods"
        require_memory(needed, what, "evaluation.worlds or evaluation.periods smaller, or trace=none")
        size = len(worlds)
    else:
        fit = worlds_that_fit(scenario, len(worlds), periods)
        size = evaluation.chunk or min(chunk_size(scenario.tables, periods, policy), fit)
    outcomes = []
    for part in chunks(len(worlds), size):
        drawn = [worlds[k] for k in part]
        tape = scenario.sample(drawn, evaluation.seed, "test", periods)
        count = _counter(progress, len(drawn))
        if trace or identity is None:
            outcomes.append(simulate(scenario, remembered(policy, identity), tape, trace=trace, progress=count))
        else:
            outcomes.append(played(scenario, policy, tape, identity, count))
    return _together(outcomes)


def _counter(progress: Callable[[float], None] | None, worlds: int) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, periods: progress(float(worlds))


def _together(outcomes: list[Outcome]) -> Outcome:
    first = outcomes[0]
    if len(outcomes) == 1:
        return first

    def together(read: Callable[[Outcome], Any]) -> Any:
        return np.concatenate([np.asarray(read(one)) for one in outcomes])

    figures = joined([one.figures().figures for one in outcomes], concatenated)
    return replace(
        first,
        cost_per_period=together(lambda one: one.cost_per_period),
        episode_net_cost_per_period=together(lambda one: one.episode_net_cost_per_period),
        costs={line: together(lambda one, line=line: one.costs[line]) for line in first.costs},  # type: ignore[misc]
        profit_per_period=None if first.profit_per_period is None else together(lambda one: one.profit_per_period),
        worlds=tuple(world for one in outcomes for world in one.worlds),
        _kpis=_Figures(Kpis(figures)),
    )
