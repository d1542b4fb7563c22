"""Least squares with cuts at 0 and at a cap: the request of a base-stock rule, linear in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.typing import Floats

STEPS = 12  # of Gauss and Newton
ENOUGH = 1e-9  # of the loss: a step that gains less is the last


@dataclass(frozen=True, eq=False)
class Fit:
    """Fit ``clip(design @ coefficients - gain position, 0, cap)`` and its error; M samples, k columns."""

    design: Floats  # (M, k)
    coefficients: Floats  # (k,)
    gain: float
    cap: float | None
    predicted: Floats  # (M,)
    active: NDArray[np.bool_]  # (M,) where the prediction is not cut, or cut on the wrong side
    loss: float  # weighted sum of squared errors


def fit_clipped(
    design: Floats,
    position: Floats,
    units: Floats,
    weight: Floats,
    cap: float | None,
    gain: float | None,
    start: Fit | None = None,
) -> Fit:
    """Fit by Gauss-Newton steps, each a linear least squares over the samples that are not cut, or a part of the way to it.

    Parameters
    ----------
    design
        (M, k), the first column ones.
    position, units, weight
        (M,) each.
    cap
        None: no cap.
    gain
        None: fitted as well.
    start
        A fit of fewer columns; None: linear least squares over the samples whose ``units`` are within the bounds.
    """
    high = np.inf if cap is None else cap
    offset = 0.0 if gain is None else -gain * position
    matrix = design if gain is not None else np.column_stack([design, -position])

    def made(coefficients: Floats) -> tuple[Floats, NDArray[np.bool_], float]:
        line = matrix @ coefficients + offset
        predicted = np.clip(line, 0.0, high)
        active = ((line > 0) | (units > 0)) & ((line < high) | (units < high))
        return predicted, active, float((weight * (units - predicted) ** 2).sum())

    inside = (units > 0) & (units < high)
    if inside.sum() <= matrix.shape[1]:
        inside = np.ones(len(units), dtype=bool)
    best = near = _solved(matrix, units - offset, weight, inside)
    state = made(best)
    if start is not None:
        begun = np.zeros(matrix.shape[1])
        begun[: len(start.coefficients)] = start.coefficients
        if gain is None:
            begun[-1] = start.gain
        other = made(begun)
        if other[2] < state[2]:
            best, near, state = begun, begun, other
    for _ in range(STEPS):
        loss = state[2]
        if loss <= 1e-18:
            break
        line = matrix @ best + offset
        # Gauss and Newton know the samples that are not cut; those cut on the wrong side are worth a try besides.
        aims = [
            _solved(matrix, units - offset, weight, chosen)
            for chosen in ((line > 0) & (line < high), state[1])
            if chosen.any()
        ]
        for tried in (best + share * (aim - best) for aim in aims for share in (1.0, 0.5, 0.2)):
            found = made(tried)
            if found[2] < state[2]:
                near, state = tried, found
        if state[2] >= loss * (1 - ENOUGH):
            break
        best = near
    predicted, active, loss = state
    best = near
    slope = gain if gain is not None else float(best[-1])
    return Fit(design, best[: design.shape[1]], slope, cap, predicted, active, loss)


def _solved(matrix: Floats, aim: Floats, weight: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """Weighted least squares over chosen samples; of columns that say the same, the smallest solution."""
    root = np.sqrt(weight[chosen])
    found = np.linalg.lstsq(matrix[chosen] * root[:, None], aim[chosen] * root, rcond=1e-10)[0]
    return np.asarray(found, dtype=np.float64)
