"""Tuning by sampling, on common random numbers: for whole units and costs without a gradient."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.errors import missing_extra
from echelongym.envs.core.typing import Floats

from ..rules import Space
from .judging import Candidates

MOST_FOR_PAIRS = 8  # parameters up to which two are moved at once
MANY = 1_000  # parameters above which all of a group are moved together: one by one would take days
SPAN = 4.0  # times their reach, how far estimate draws numbers from its start


def pattern_search(
    candidates: Candidates, start: Floats, finest: float = 0.05, coarsest: float = 1.0, together: bool = False
) -> str:
    """Coordinate search with steps that double and halve (Hooke and Jeeves, Journal of the ACM 8(2), 1961).

    Steps are in units of each parameter's scale, in whole worlds rounded and at least 1. At the finest step pairs are
    moved too, so that levels that trade off against each other do not block each other, and steps doubled, as a whole
    number may change nothing (a cap just above the largest demand) where the next one does. What is not finite stays.
    Of more than ``MANY`` parameters, or where ``together``, all of a group are moved together.

    Returns
    -------
    Why it ended: ``budget``, ``patience``, or ``converged`` where no step is better.
    """
    space, whole = candidates.space, candidates.whole
    here = candidates.admissible(start)
    if candidates.exhausted:
        return "budget"
    cost, share = candidates.cost(here), coarsest
    while True:
        step = np.where(whole, np.maximum(np.rint(share * space.scale), 1.0), share * space.scale)
        last = share <= finest or bool((whole & (step <= 1.0)).all())
        better = False
        joint = _groups_moved(space, step) if together or len(space) > MANY else None
        for move in joint or _moves(step, pairs=last and len(space) <= MOST_FOR_PAIRS):
            if candidates.exhausted:
                return "budget"
            # What helped once is tried again at once.
            while (trial := candidates.cost(here + move)) < cost:
                here, cost, better = candidates.admissible(here + move), trial, True
                if candidates.exhausted:
                    return "budget"
        if candidates.stalled and not last:
            return "patience"
        if better:
            continue
        if last:
            return "converged"
        share = share / 2


def _groups_moved(space: Space, step: Floats) -> list[Floats]:
    """Steps up and down of all of a group together."""
    chosen = [of_group(space, group) for group in dict.fromkeys(space.groups)]
    return [np.where(one, sign * step, 0.0) for one in chosen for sign in (1.0, -1.0)]


def _moves(step: Floats, pairs: bool) -> Iterator[Floats]:
    """Steps up and down along each coordinate; where ``pairs``, then doubled, then along two at once."""
    n = len(step)
    for size in (1.0, 2.0) if pairs else (1.0,):
        for i in range(n):
            for sign in (size, -size):
                move = np.zeros(n)
                move[i] = sign * step[i]
                yield move
    if not pairs:
        return
    for i, j in itertools.combinations(range(n), 2):
        for first, second in itertools.product((1.0, -1.0), repeat=2):
            move = np.zeros(n)
            move[i], move[j] = first * step[i], second * step[j]
            yield move


def evolve(candidates: Candidates, start: Floats, reach: Floats, seed: int) -> str:
    """CMA-ES from ``start`` (Hansen and Ostermeier, Evolutionary Computation 9(2), 2001).

    Parameters
    ----------
    candidates
        What is evaluated, and the budget of the stage.
    start
        (n,) where it begins; what is not finite stays.
    reach
        (n,) first standard deviations, > 0.
    seed
        Of its own draws.

    Returns
    -------
    Why it ended: ``budget``, ``patience`` or ``converged``.

    Raises
    ------
    MissingExtra
        If the package ``cma`` is not installed.
    """
    try:
        import cma
    except ImportError:
        raise missing_extra("cma", "tune") from None
    moving = np.flatnonzero(np.isfinite(start))
    most = candidates.left // candidates.judge.price
    if not len(moving) or most < 1:
        return "budget" if len(moving) else "converged"
    # CMA-ES needs two dimensions: with one, the second is ignored. Seed 0 would mean the clock.
    options = {"seed": seed + 1, "verbose": -9, "maxfevals": most, "tolfun": 1e-9, "tolx": 1e-3}
    strategy = cma.CMAEvolutionStrategy(np.zeros(max(len(moving), 2)), 1.0, options)
    while not strategy.stop():
        points = strategy.ask()
        costs = []
        for point in points:
            if candidates.exhausted:
                return "budget"
            vector = start.copy()
            vector[moving] += reach[moving] * np.asarray(point)[: len(moving)]
            costs.append(candidates.cost(vector))
        if not all(math.isfinite(cost) for cost in costs):
            return "converged"
        strategy.tell(points, costs)
        if candidates.stalled:
            return "patience"
    return "budget" if candidates.exhausted else "converged"


def estimate(candidates: Candidates, start: Floats, reach: Floats, seed: int) -> str:
    """Optuna's tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl, NIPS 2011); see :func:`evolve`.

    Numbers are drawn within four times their ``reach`` of ``start``; groups that may be left out are switched as one.

    Raises
    ------
    MissingExtra
        If the package ``optuna`` is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise missing_extra("optuna", "tune") from None
    space = candidates.space
    moving = np.flatnonzero(np.isfinite(start))
    optional = [group for group in dict.fromkeys(space.groups) if np.isinf(space.unused[of_group(space, group)]).all()]
    optional = [group for group in optional if np.isfinite(start[of_group(space, group)]).any()]
    if not len(moving):
        return "converged"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(sampler=sampler)
    first: dict[str, Any] = {f"use {group}": True for group in optional}
    for i, value in zip(moving, candidates.admissible(start)[moving], strict=True):
        first[space.names[i]] = int(value) if candidates.whole[i] else float(value)
    study.enqueue_trial(first)
    while not candidates.exhausted:
        trial = study.ask()
        vector = start.copy()
        for i in moving:
            low = max(start[i] - SPAN * reach[i], space.lower[i])
            high = max(start[i] + SPAN * reach[i], low)
            if candidates.whole[i]:
                vector[i] = trial.suggest_int(space.names[i], math.floor(low), math.ceil(high))
            else:
                vector[i] = trial.suggest_float(space.names[i], low, high)
        for group in optional:
            if not trial.suggest_categorical(f"use {group}", [True, False]):
                chosen = of_group(space, group)
                vector[chosen] = space.unused[chosen]
        study.tell(trial, candidates.cost(vector))
        if candidates.stalled:
            return "patience"
    return "budget"


def of_group(space: Space, group: str) -> NDArray[np.bool_]:
    """(n,) which parameters are of a group."""
    return np.array([name == group for name in space.groups], dtype=bool)
