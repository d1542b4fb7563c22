"""Weights of networks, read from the arrays of a policy file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from echelongym.envs.core.errors import InputError
from echelongym.envs.core.typing import NumpyArray

from .layers import ParameterStart


def weights(arrays: dict[str, Any], where: str) -> dict[str, NumpyArray]:
    """Arrays of an archive that may be weights.

    Raises
    ------
    InputError
        If one holds what no weight is: text, booleans, NaN, infinities.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise InputError(f"{where}: {name}: expected an array of finite numbers")
    return dict(arrays)


def fitting(arrays: dict[str, NumpyArray], starts: Iterable[tuple[str, ParameterStart]]) -> dict[str, NumpyArray]:
    """The arrays of a definition's parameters in single precision, in its order.

    Raises
    ------
    ValueError
        If there are others, or one has another shape.
    """
    wanted = dict(starts)
    for name in (*wanted, *arrays):
        if name not in wanted or name not in arrays:
            raise ValueError(f"{name}: expected weights of {', '.join(wanted)}")
        if arrays[name].shape != wanted[name].shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}: expected {wanted[name].shape}")
    return {name: np.ascontiguousarray(arrays[name], dtype=np.float32) for name in wanted}
