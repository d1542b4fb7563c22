"""Sensitivity of each lane's request to each named observation, at states that the policy visits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.typing import Floats, NumpyArray
from echelongym.envs.storage import journal

from .named import Entry, LaneCell, lane_cells, named_entries
from .visits import Moment, Visited, counted

TINY = 1e-9  # units below which nothing is asked for
_GROUP = 64  # entries that are asked about in one go


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Sensitivity of requests to E entries of the observation, n lane cells; means over visited states.

    Attributes
    ----------
    per_unit
        (E, n) units requested more for one unit more of the entry: central differences, one-sided at 0 and at bounds. Of an
        availability it is what it does at 1 less what it does at 0.
    per_unit_asking
        (E, n) the same over states in which the lane asks for anything; NaN where it never does.
    deviation
        (E,) standard deviation of the entry over visited states.
    per_deviation
        (E, n) units requested for one of these more.
    effect
        (E, n) mean squared change of the request when the entry is taken from another visited state, over twice the
        variance of the request (Jansen, Computer Physics Communications 117, 1999: the total effect). Entries vary
        together in visited states, so effects may add up to more or less than 1. 0 where the request never varies.
    share
        (E, n) effects as shares of those of all entries: they add up to 1 for each lane, or are 0.
    asking, spread
        (n,) share of visited states in which the lane asks for anything; standard deviation of its request, units.
    """

    entries: tuple[Entry, ...]
    cells: tuple[LaneCell, ...]
    per_unit: Floats
    per_unit_asking: Floats
    deviation: Floats
    per_deviation: Floats
    effect: Floats
    share: Floats
    asking: Floats
    spread: Floats

    def order(self) -> NDArray[np.int64]:
        """(E,) entries, those first whose largest share is largest."""
        return np.argsort(-self.share.max(axis=1, initial=0.0), kind="stable")


def sensitivity(visited: Visited, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> Sensitivity:
    """Ask a policy, at every visited state, what it would do with a little more and less of each entry.

    Parameters
    ----------
    seed
        Of which visited state an entry is taken from.
    progress
        Called with (steps done, steps in all).
    """
    t = visited.tables
    cells = lane_cells(t)
    entries = named_entries(visited.scenario, visited.moments[0].observation.features.shape[1])
    arrays = {name: visited.array(name) for name in dict.fromkeys(one.array for one in entries)}
    picked = np.array([one.lane for one in cells]), np.array([one.product for one in cells])
    requests = visited.requests[:, picked[0], picked[1]]  # (M, n)
    states, shape = len(requests), (len(entries), len(cells))
    donors = _donors(visited, seed)
    slope, asking_slope, squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    asks = requests > TINY
    steps = counted(progress, len(visited.moments) * -(-len(entries) // _GROUP))
    first = 0
    for number, moment in enumerate(visited.moments):
        rows = slice(first, first + moment.worlds)

        def compute(moment: Moment = moment, rows: slice = rows) -> list[Floats]:
            exchanged = {name: values[donors[rows]] for name, values in arrays.items()}
            return _moved_by(moment, entries, picked, exchanged, asks[rows], steps)

        # A step of the journal, where one is kept.
        sums = journal.step("reading: sensitivity at a moment", [visited.fingerprint, number, seed], compute)
        for total_of, found in zip((slope, asking_slope, squares), sums, strict=True):
            total_of += found
        first += moment.worlds
    variance = requests.var(axis=0)
    deviation = np.array([one.values(arrays[one.array]).std() for one in entries])
    count = asks.sum(axis=0)
    effect = np.where(variance > TINY, squares / states / (2 * np.maximum(variance, TINY)), 0.0)
    total = effect.sum(axis=0)
    return Sensitivity(
        entries=entries,
        cells=cells,
        per_unit=slope / states,
        per_unit_asking=np.where(count > 0, asking_slope / np.maximum(count, 1), np.nan),
        deviation=deviation,
        per_deviation=slope / states * deviation[:, None],
        effect=effect,
        share=np.where(total > 0, effect / np.where(total > 0, total, 1.0), 0.0),
        asking=asks.mean(axis=0),
        spread=np.sqrt(variance),
    )


def _moved_by(
    moment: Moment,
    entries: Sequence[Entry],
    picked: tuple[NDArray[np.int64], NDArray[np.int64]],
    exchanged: Mapping[str, NumpyArray],
    asks: NDArray[np.bool_],
    steps: Iterator[None],
) -> list[Floats]:
    """(E, n) each, sums over the worlds of a moment: slopes, those of worlds that ask, and squared changes on exchange."""
    found_slope, found_asking, found_squares = [], [], []
    for start in range(0, len(entries), _GROUP):
        some = entries[start : start + _GROUP]
        changes: list[Mapping[str, NumpyArray]] = []
        widths = []
        for one in some:
            low, high, width = _either_side(moment, one)
            widths.append(width)
            changes += [low, high, _exchanged(moment, one, exchanged[one.array])]
        found = moment.ask(changes)[:, :, picked[0], picked[1]].reshape((len(some), 3, moment.worlds, -1))
        apart = np.stack(widths)[:, :, None]  # (entries, B, 1)
        slopes = np.divide(found[:, 1] - found[:, 0], apart, out=np.zeros_like(found[:, 0]), where=apart > 0)
        found_slope.append(slopes.sum(axis=1))
        found_asking.append((slopes * asks).sum(axis=1))
        found_squares.append(((found[:, 2] - moment.requests[:, picked[0], picked[1]]) ** 2).sum(axis=1))
        next(steps)
    return [np.concatenate(parts) for parts in (found_slope, found_asking, found_squares)]


def _either_side(moment: Moment, one: Entry) -> tuple[Mapping[str, NumpyArray], Mapping[str, NumpyArray], Floats]:
    """An entry a step lower and a step higher, and how far the two are apart (B,)."""
    array = getattr(moment.observation, one.array)
    now = array.reshape((len(array), -1))[:, one.moved].astype(np.float64)
    if one.array.endswith("availability"):
        low, high = np.zeros_like(now), np.ones_like(now)
    else:
        low, high = np.maximum(now - one.step, np.minimum(now, 0)), np.minimum(now + one.step, one.most)
    return (
        {one.array: _placed(array, one.moved, low)},
        {one.array: _placed(array, one.moved, high)},
        np.asarray(high - low),
    )


def _exchanged(moment: Moment, one: Entry, others: NumpyArray) -> Mapping[str, NumpyArray]:
    """An entry, with all its ages, as other states (B, ...) have it."""
    array = getattr(moment.observation, one.array)
    if one.array == "period":  # worlds of a batch are in step
        return {one.array: np.full_like(array, others.reshape(-1)[0])}
    members = list(one.members)
    out = np.array(array).reshape((len(array), -1))
    out[:, members] = others.reshape((len(array), -1))[:, members]
    return {one.array: out.reshape(array.shape)}


def _placed(array: NumpyArray, place: int, values: Floats) -> NumpyArray:
    out = np.array(array).reshape((len(array), -1))
    out[:, place] = values
    return out.reshape(array.shape)


def _donors(visited: Visited, seed: int) -> NDArray[np.int64]:
    """(M,) for each state another one: all in random order, shifted by one, so that none is its own."""
    order = np.random.default_rng(seed).permutation(visited.states)
    donors = np.empty_like(order)
    donors[order] = np.roll(order, 1)
    return donors
