"""Acceptance by coin: how many of some units ask at a later source if each decides for itself."""

from __future__ import annotations

from functools import lru_cache
from math import comb
from typing import Any

import numpy as np

from ..core.backend import Array, Ops, columns, half_up
from ..core.typing import Bools, Floats, Ints
from ..worlds.tape_arrays import GRAIN

#: Units up to which the number that accepts is exactly binomial; a power of 2 less one.
MOST = 127


class Coins:
    """Whole units that accept, each with its own coin, in one pass of serving.

    Of n units q accept where ``F_n(q - 1) <= u < F_n(q)``: u is the pair's number ``thin`` on the tape, which no policy
    changes, and F_n the binomial distribution function of n units, rounded to multiples of 1/65536 as u is. So q has the law
    of n coins, and one more unit adds one acceptance or none. Above 127 units q is that of 127, scaled to the mean and
    variance of n coins and rounded half up.

    Parameters
    ----------
    share
        (pairs, P) probabilities in [0, 1].
    tossed
        (pairs, P) where acceptance is by coin; elsewhere it is the share.
    ops
        The backend.
    """

    def __init__(self, share: Floats, tossed: Bools, ops: Ops) -> None:
        self.ops = ops
        grains = half_up(share * GRAIN).astype(np.int64)
        kinds, place = np.unique(grains, return_inverse=True)
        self.table = ops.whole(np.concatenate([_thresholds(int(kind)) for kind in kinds]))
        self.first = ops.whole(place.reshape(grains.shape)[..., None] * (MOST + 1) ** 2)
        self.share = ops.constant(grains[..., None] / GRAIN)
        self.tossed = None if tossed.all() else ops.whole(tossed[..., None])

    def accepted(self, number: Array, luck: Array, by_share: Array) -> Array:
        """(pairs, P, B) units that accept of ``number``; ``by_share`` where that is no matter of coins.

        ``luck`` is u in multiples of 1 / GRAIN.
        """
        ops = self.ops
        few = ops.minimum(number, MOST)
        row = self.first + few * (MOST + 1)
        found = few * 0
        step = (MOST + 1) // 2
        while step:
            bound = columns(self.table, row + found + (step - 1))
            found = found + ops.to_int(luck >= bound) * step
            step //= 2
        several = ops.to_float(number)
        spread = (ops.to_float(found) - self.share * MOST) * ops.sqrt(several / MOST)
        scaled = half_up(self.share * several + spread, ops)
        many = ops.minimum(ops.maximum(ops.to_int(scaled), 0), number)
        found = ops.where(number > MOST, many, found)
        return found if self.tossed is None else ops.where(self.tossed > 0, found, by_share)


@lru_cache(maxsize=64)
def _thresholds(grains: int) -> Ints:
    """((MOST + 1)^2,) entry n (MOST + 1) + k: GRAIN F_n(k), half up, of n coins with probability ``grains`` / GRAIN."""
    table: Any = np.full((MOST + 1, MOST + 1), GRAIN, dtype=np.int64)
    for n in range(MOST + 1):
        total, whole = 0, GRAIN**n
        for k in range(n):
            total += comb(n, k) * grains**k * (GRAIN - grains) ** (n - k)
            table[n, k] = (2 * GRAIN * total + whole) // (2 * whole)
    table = table.reshape(-1)
    table.setflags(write=False)
    return np.asarray(table)
