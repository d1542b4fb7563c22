"""Tuning by sampling, on common random numbers: for whole units and costs without a gradient."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.errors import missing_extra

from .tuning_worlds import Candidates

Floats = NDArray[np.float64]

MOST_FOR_PAIRS = 8  # parameters up to which two are moved at once


def pattern_search(candidates: Candidates, start: Floats, finest: float = 0.05, coarsest: float = 1.0) -> None:
    """Coordinate search with steps that double and halve (Hooke and Jeeves, Journal of the ACM 8(2), 1961).

    Steps are in units of each parameter's scale, in whole worlds rounded and at least 1. At the finest step pairs are
    moved too, so that levels that trade off against each other do not block each other, and steps doubled, as a whole
    number may change nothing (a cap just above the largest demand) where the next one does. Ends where no step is
    better, or when the budget is spent.
    """
    space = candidates.space
    here = candidates.admissible(start)
    cost, share = candidates.cost(here), coarsest
    while True:
        step = np.maximum(np.rint(share * space.scale), 1.0) if candidates.whole else share * space.scale
        last = share <= finest or (candidates.whole and bool((step <= 1.0).all()))
        better = False
        for move in _moves(step, pairs=last and len(space) <= MOST_FOR_PAIRS):
            if candidates.exhausted:
                return
            # What helped once is tried again at once.
            while (trial := candidates.cost(here + move)) < cost:
                here, cost, better = candidates.admissible(here + move), trial, True
                if candidates.exhausted:
                    return
        if better:
            continue
        if last:
            return
        share = share / 2


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


def evolve(candidates: Candidates, start: Floats, seed: int, share: float = 0.7) -> None:
    """CMA-ES from ``start`` (Hansen and Ostermeier, Evolutionary Computation 9(2), 2001), with ``share`` of the budget.

    Raises
    ------
    MissingExtra
        If the package ``cma`` is not installed.
    """
    try:
        import cma
    except ImportError:
        raise missing_extra("cma", "tune") from None
    space, judge = candidates.space, candidates.judge
    most = int(share * judge.budget.left / judge.price)
    if most < 1:
        return
    options = {"seed": seed + 1, "verbose": -9, "maxfevals": most, "tolfun": 1e-6}
    n = len(space)
    if n == 1:
        # CMA-ES needs two dimensions: the second is ignored.
        options["tolstagnation"] = 20
    origin = np.zeros(max(n, 2))
    strategy = cma.CMAEvolutionStrategy(origin, 1.0, options)
    while not strategy.stop() and not candidates.exhausted:
        points = strategy.ask()
        if candidates.judge.budget.left < len(points) * judge.price:
            return
        costs = [candidates.cost(start + space.scale * np.asarray(point)[:n]) for point in points]
        if not all(math.isfinite(cost) for cost in costs):
            return
        strategy.tell(points, costs)
