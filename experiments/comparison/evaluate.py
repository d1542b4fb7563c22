"""Evaluation of policies over common worlds, in chunks that fit in memory: what each cost in each world."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echelongym.envs.accounts.estimators import Figure, Largest, Ratio, Spread
from echelongym.envs.accounts.kpis import Kpis
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.typing import Floats
from echelongym.envs.interface.observation import Policy
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import Outcome, simulated_on
from echelongym.envs.worlds.memory import worlds_that_fit
from echelongym.envs.worlds.world_sample import NON_NEGATIVE, NOTHING, SHARE, WorldSample, sample_of

from ..cli.settings import Evaluation
from ..statistics import Estimate, mean_interval, seeds_interval
from .played import identity_of
from .shared_worlds import simulated

MEMORY = 256 * 2**20  # bytes that the tape of a chunk may take
SMALLEST = 16  # worlds of a chunk, however much memory they take


@dataclass(frozen=True, eq=False)
class Entrant:
    """A policy as it is compared.

    Attributes
    ----------
    name
        What it is called in tables.
    policies
        One for each training seed; rules have one.
    training_seeds
        The seeds it was trained from; empty for a rule.
    tuning_budget
        Env-periods its tuner simulated; None where nothing was tuned.
    note
        ``tuned``, ``untuned`` or empty.
    source
        What (the first of) it was loaded from.
    held
        Parameters of a rule that tuning left as they are.
    """

    name: str
    policies: tuple[Policy, ...]
    training_seeds: tuple[int, ...] = ()
    tuning_budget: int | None = None
    note: str = ""
    source: str = ""
    held: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one entrant; R training seeds (1 for a rule), B worlds."""

    entrant: Entrant
    cost: Floats  # (R, B) money a period
    episode_net_cost: Floats  # (R, B) less revenue, over all periods: what bounds are held against
    lines: dict[str, Floats]  # by cost line (R, B) money a period
    profit: Floats | None  # (R, B) money a period, where prices are given
    figures: tuple[dict[str, Any], ...]  # of each seed, as Kpis.figures
    sample: WorldSample  # what the worlds are a sample of
    simulated_on: Mapping[str, str] = field(default_factory=lambda: simulated_on(NUMPY))  # see Outcome

    @property
    def name(self) -> str:
        """Name of the entrant."""
        return self.entrant.name

    @property
    def net_cost(self) -> float:
        """Money a period, revenue subtracted where prices are given: mean over worlds and seeds."""
        return float((self.cost if self.profit is None else -self.profit).mean())

    def kpis(self) -> Kpis:
        """All figures, over worlds and training seeds."""
        return Kpis(joined(self.figures, OverSeeds))


def net(scores: Scores) -> Floats:
    """(R, B) money a period, revenue subtracted where prices are given."""
    return scores.cost if scores.profit is None else -scores.profit


def evaluate(
    scenario: Scenario,
    entrants: Sequence[Entrant],
    evaluation: Evaluation,
    show_progress: bool = True,
    device: str = "cpu",
) -> list[Scores]:
    """Every entrant on the same worlds (purpose ``test``), chunk by chunk; where all are one history, on one of them.

    On ``device`` where JAX can run it, else on the CPU (:func:`.played.played`).

    Raises
    ------
    InputError
        If a policy's decisions do not fit the scenario.
    """
    runs = [
        (e, policy, identity_of(policy, entrant.name, number, entrant.source))
        for e, entrant in enumerate(entrants)
        for number, policy in enumerate(entrant.policies)
    ]
    periods = evaluation.periods or scenario.horizon
    fit = worlds_that_fit(scenario, evaluation.worlds, periods)
    sample = sample_of(scenario, evaluation.worlds, evaluation.seed, "test", periods)
    chunk = evaluation.chunk or min(chunk_size(scenario.tables, periods, *(policy for _, policy, _ in runs)), fit)
    parts = list(chunks(sample.worlds, chunk))
    drawn = (range(sample.worlds), evaluation.seed, periods)
    asked = [(policy, identity) for _, policy, identity in runs]
    outcomes = simulated(scenario, asked, parts, drawn, show_progress, device)
    scores = []
    for e, entrant in enumerate(entrants):
        mine = [found for (owner, *_), found in zip(runs, outcomes, strict=True) if owner == e]
        scores.append(_scores(entrant, mine, sample))
    return scores


def chunks(worlds: int, size: int) -> Iterator[range]:
    """Worlds 0 to worlds - 1 in chunks of at most ``size``, as even as they can be."""
    count = -(-worlds // size)
    edges = [worlds * part // count for part in range(count + 1)]
    for first, last in itertools.pairwise(edges):
        yield range(first, last)


def chunk_size(t: Tables, periods: int, *policies: Policy) -> int:
    """Worlds whose tape takes no more than about 256 MB, at least 16; 16 for a policy that is ``slow``."""
    if any(getattr(policy, "slow", False) for policy in policies):
        return SMALLEST
    numbers = (t.H + periods * (1 + t.F)) * t.C * t.P  # demand and forecast
    numbers += periods * (t.N + 3 * t.L)  # availability, lead time, yield
    numbers += periods * (t.N + t.L + t.S + t.C) * t.P if t.integer else 0  # split, thin
    return max(MEMORY // (8 * numbers), SMALLEST)


def _scores(entrant: Entrant, outcomes: list[list[Outcome]], sample: WorldSample) -> Scores:
    def together(read: Callable[[Outcome], Any]) -> Floats:
        return np.stack([np.concatenate([np.asarray(read(one)) for one in run]) for run in outcomes])

    first = outcomes[0][0]
    return Scores(
        entrant=entrant,
        cost=together(lambda one: one.cost_per_period),
        episode_net_cost=together(lambda one: one.episode_net_cost_per_period),
        lines={line: together(lambda one, line=line: one.costs[line]) for line in first.costs},  # type: ignore[misc]
        profit=None if first.profit_per_period is None else together(lambda one: one.profit_per_period),
        figures=tuple(joined([one.figures().figures for one in run], concatenated) for run in outcomes),
        sample=sample,
        simulated_on=first.simulated_on,
    )


def joined(trees: Sequence[dict[str, Any]], join: Callable[[list[Any]], Any]) -> dict[str, Any]:
    """One nested dict from several of the same keys, their leaves joined."""
    return {
        key: joined([tree[key] for tree in trees], join)
        if isinstance(entry, dict)
        else join([tree[key] for tree in trees])
        for key, entry in trees[0].items()
    }


def concatenated(parts: list[Figure]) -> Figure:
    """A figure over the worlds of several chunks."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Ratio):
        ratios = [part for part in parts if isinstance(part, Ratio)]
        return Ratio(
            np.concatenate([part.numerator for part in ratios], axis=-1),
            np.concatenate([part.denominator for part in ratios], axis=-1),
            first.limits,
        )
    if isinstance(first, Largest):
        return Largest(np.concatenate([part.values for part in parts if isinstance(part, Largest)], axis=-1))
    spreads = [part.ratios for part in parts if isinstance(part, Spread)]
    joined = [concatenated(list(group)) for group in zip(*spreads, strict=True)]
    return Spread(tuple(part for part in joined if isinstance(part, Ratio)))


@dataclass(frozen=True, eq=False)
class OverSeeds:
    """One figure of several training seeds; it estimates as a figure of one does."""

    parts: list[Figure]

    def estimate(self, sample: WorldSample | None = None) -> dict[str, Any]:
        """``{"mean", "ci95"}`` over worlds and seeds; of one seed, the figure's own.

        Of several the mean is over seeds, and the interval that of :func:`seeds_interval` on each seed's figure with
        what each world adds to it; that of a spread is a t interval over seeds alone.
        """
        found = [part.estimate(sample) for part in self.parts]
        if len(found) == 1:
            return found[0]
        estimate = self._combined([float(one["mean"]) for one in found], sample)
        merged = {"mean": np.nan, "ci95": list(NOTHING)} if estimate is None else estimate.to_dict()
        if "max" in found[0]:
            merged["max"] = max(one["max"] for one in found)
        return merged

    def _combined(self, means: list[float], sample: WorldSample | None) -> Estimate | None:
        if not np.isfinite(means).all():
            return None
        rows = []
        for part, mean in zip(self.parts, means, strict=True):
            if isinstance(part, Spread):
                none = sample is not None and sample.kind == "none"
                return Estimate(float(np.mean(means)), np.nan, np.nan) if none else mean_interval(means, limits=SHARE)
            rows.append(mean + part.residuals() if isinstance(part, Ratio) else part.values)
        first = self.parts[0]
        limits = first.limits if isinstance(first, Ratio) else NON_NEGATIVE
        return seeds_interval(np.array(rows), sample=sample, limits=limits)
