"""Simulation of a policy in parts that fit into memory: results do not depend on their size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from echelongym.envs.accounts.kpis import Kpis
from echelongym.envs.core.memory_limits import require_memory
from echelongym.envs.interface.observation import Policy
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import Outcome, simulate
from echelongym.envs.worlds.memory import simulation_bytes, worlds_that_fit

from ..cli.settings import Evaluation
from ..cli.terminal import progress
from .evaluate import chunk_size, chunks, concatenated, joined
from .played import remembered
from .shared_worlds import Figures, simulated


def simulate_worlds(
    scenario: Scenario,
    policy: Policy,
    worlds: Sequence[int],
    evaluation: Evaluation,
    trace: bool = False,
    show_progress: bool = False,
    identity: Any = None,
    device: str = "cpu",
) -> Outcome:
    """Simulate worlds (purpose ``test``) in parts of ``evaluation.chunk``, by default of some seconds that fit in memory.

    Each part is a step of the journal, where one is kept. Workers share the parts (:mod:`.shared_worlds`).

    Parameters
    ----------
    worlds
        Indices of the worlds.
    trace
        Keep every period; then all worlds must fit at once.
    show_progress
        Whether to show a bar on the terminal.
    identity
        What tells the policy from others, as :func:`.played.identity_of` gives; None: no part is a step.
    device
        ``cpu`` or ``gpu``, where no part is a step.

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
    parts = list(chunks(len(worlds), size))
    if not trace and identity is not None and device == "cpu":
        drawn = (worlds, evaluation.seed, periods)
        return _together(simulated(scenario, [(policy, identity)], parts, drawn, show_progress)[0])
    outcomes = []
    with progress("simulating", float(len(worlds) * periods), "env-steps", show_progress) as advance:
        for part in parts:
            tape = scenario.sample([worlds[k] for k in part], evaluation.seed, "test", periods)
            decided = remembered(policy, identity) if device == "cpu" else policy
            told = partial(_told, advance, float(len(part)))
            outcomes.append(simulate(scenario, decided, tape, trace=trace, progress=told, device=device))
    return _together(outcomes)


def _told(advance: Callable[[float], None], worlds: float, done: int, periods: int) -> None:
    advance(worlds)


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
        _kpis=Figures(Kpis(figures)),
    )
