"""Rounding half up: one function for NumPy, PyTorch and plain numbers, and nobody rounds by hand."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
from checkout import CHECKOUT

from echelongym.envs.core.backend import NumpyOps, half_up

WRITTEN_IN_C = ("envs/processes/c_kernels.py",)
HALVES = [-2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 2.4999, 1e6 + 0.5]


def test_halves_go_up() -> None:
    exact = [math.floor(Fraction(one) + Fraction(1, 2)) for one in HALVES]
    assert half_up(np.array(HALVES)).tolist() == exact
    assert [half_up(one) for one in HALVES] == exact
    single = half_up(np.array(HALVES[:7], np.float32), NumpyOps("float32"))
    assert single.dtype == np.float32
    assert single.tolist() == exact[:7]


def test_rounding_is_written_once() -> None:
    """No other module of the environments and policies adds a half and cuts, but for code that is compiled."""
    found = [
        str(path.relative_to(CHECKOUT))
        for room in ("envs", "agents")
        for path in (CHECKOUT / room).rglob("*.py")
        if re.search(r"floor\(.*\+ 0\.5\)", path.read_text(encoding="utf-8")) and "compiled" not in path.parts
    ]
    assert sorted(found) == ["envs/core/backend.py", *WRITTEN_IN_C]
