"""Weights of networks, read from the arrays of a policy file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from echelongym.envs.core.errors import InputError


def weights(arrays: dict[str, Any], where: str) -> dict[str, torch.Tensor]:
    """Tensors of an archive's arrays.

    Raises
    ------
    InputError
        If one holds what no weight is: text, booleans, NaN, infinities.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise InputError(f"{where}: {name}: expected an array of finite numbers")
    return {name: torch.from_numpy(value) for name, value in arrays.items()}
