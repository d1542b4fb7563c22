"""Level, share of the gap and cap of one lane, fitted without further terms; and what primary lanes look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.typing import Floats

from .clipped import Fit, fit_clipped
from .readable_rule import POSITIONS, ReadableRule, reader
from .sensitivity import TINY
from .visits import Visited

WORTH = 0.01  # share of the variance that a term, a gain other than 1, or a cap that no request shows, must explain
LEAST_GAIN, MOST_GAIN = 0.05, 2.0
QUANTILES = (99.0, 95.0, 90.0, 80.0)  # of requests, as caps that no request shows
OFTEN = 0.01  # share of states from which on the largest request counts as a cap


def used(visited: Visited) -> NDArray[np.bool_]:
    """(L * P,) lane cells that ask for something in any visited state."""
    found: NDArray[np.bool_] = (visited.requests > TINY).any(axis=0).reshape(-1)
    return found


def positions_of(visited: Visited, rule: ReadableRule) -> Floats:
    """(L * P, M) positions that lane cells look at, those of cells that ``rule`` does not use NaN."""
    found = [rule.looked_at(moment.observation, moment.requests) for moment in visited.moments]
    return np.concatenate(found, axis=1)


def looks_at(visited: Visited) -> str:
    """``echelon`` or ``local``: positions from which primary lanes' requests follow more closely, by level, gain and cap."""
    asked = used(visited)
    requests = visited.requests.reshape((visited.states, -1)).T
    weight = np.ones(visited.states)
    left = []
    for position in POSITIONS:
        rule = reader(visited.scenario, asked, position)
        places = positions_of(visited, rule)
        primary = np.flatnonzero(asked & np.isin(np.arange(len(asked)), rule.forest.primary))
        left.append(sum(base_fit(places[cell], requests[cell], weight).loss for cell in primary))
    # Where every lane asks in every state both say the same, up to rounding.
    return POSITIONS[0] if left[0] <= left[1] + 1e-9 * visited.states else POSITIONS[1]


def spread(units: Floats, weight: Floats) -> float:
    """Weighted sum of squares around the mean: what there is to explain."""
    return float((weight * (units - np.average(units, weights=weight)) ** 2).sum())


def base_fit(position: Floats, units: Floats, weight: Floats) -> Fit:
    """Level, cap and gain without terms; M samples each."""
    one = np.ones((len(units), 1))
    top = float(units.max())
    if units.min() >= top * (1 - 1e-9):  # always the same, whatever the position
        level, always = np.array([position.max() + top]), np.ones(len(units), dtype=bool)
        return Fit(one, level, 1.0, top, np.full(len(units), top), always, 0.0)
    found = with_cap(fit_clipped(one, position, units, weight, None, 1.0), position, units, weight)
    return with_gain(found, position, units, weight)


def with_cap(fit: Fit, position: Floats, units: Floats, weight: Floats) -> Fit:
    """Fit with the cap that suits it best: none, one that requests show, or one that explains enough more."""
    total = spread(units, weight)
    found = fit if fit.cap is None else fit_clipped(fit.design, position, units, weight, None, fit.gain, fit)
    for cap in _caps(units):
        if found.loss <= 1e-9 * total:
            break
        other = fit_clipped(fit.design, position, units, weight, cap, fit.gain, found)
        shown = cap >= float(units.max()) * (1 - 1e-9)
        if other.loss < found.loss - (1e-9 if shown else WORTH) * total:
            found = other
    return found


def _caps(units: Floats) -> list[float]:
    """The most that was asked for, if it was asked for often; then lower ones that no request shows."""
    top = float(units.max())
    often = float((units >= top * (1 - 1e-9)).mean())
    found = [top] if often >= OFTEN and top > TINY else []
    lower = {float(cap) for cap in np.percentile(units[units > TINY], QUANTILES)}
    return found + sorted(lower - set(found), reverse=True)


def with_gain(fit: Fit, position: Floats, units: Floats, weight: Floats) -> Fit:
    """Fit with another gain, if that explains enough more."""
    free = fit_clipped(fit.design, position, units, weight, fit.cap, None, fit)
    gain = round(float(np.clip(free.gain, LEAST_GAIN, MOST_GAIN)), 3)
    if abs(gain - fit.gain) < 0.001 or (fit.gain == 1 and abs(gain - 1) < 0.01):
        return fit
    other = fit_clipped(fit.design, position, units, weight, fit.cap, gain, free)
    worth = WORTH if fit.gain == 1 else 1e-9
    return other if other.loss < fit.loss - worth * spread(units, weight) else fit


def weight_of_disturbed(units: Floats, plain: NDArray[np.bool_]) -> float:
    """Of a disturbed state: all of them together count a quarter of the others, by the variance of requests."""
    if plain.all() or plain.sum() < 2:
        return 1.0
    own, other = float(units[plain].var()), float(units[~plain].var())
    return 0.25 * min(own / other, 1.0) if own > TINY and other > TINY else 0.25
