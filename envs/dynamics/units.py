"""Units, continuous or whole: how quantities are rounded, shared and cut.

Both classes answer the same four questions, so the period itself is written once. Continuous units
are differentiable almost everywhere with finite gradients (no division by nothing, no infinity).
Whole units are 64-bit integers, exact on every backend; what cannot be divided evenly is dealt with
the tape's own random numbers, so that it is fair on average and the same in every run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.backend import Array, Ops, half_up
from ..core.segments import Segments
from ..worlds.tape_arrays import GRAIN

# Below this many units a claim is nothing; it only keeps divisions finite.
TINY = 1e-12


class ContinuousUnits:
    """Real quantities."""

    integer = False

    def __init__(self, ops: Ops) -> None:
        self.ops = ops
        self.dtype = ops.float

    def amount(self, value: Any) -> Array:
        """A constant quantity."""
        return self.ops.constant(value)

    def read(self, value: Array) -> Array:
        """Quantities from outside (demand, requests) in this world's type."""
        return value if value.dtype == self.dtype else self.ops.to_float(value)

    def rounded(self, requests: Array, batch: Array | None) -> Array:
        """Requests to the nearest multiple of ``batch``, half up, where one is given (> 0)."""
        requests = self.read(requests)
        if batch is None:
            return requests
        step = self.ops.maximum(batch, TINY)
        return self.ops.where(batch > 0, half_up(requests / step, self.ops) * batch, requests)

    def share(self, stock: Array, claims: Array, groups: Segments, luck: Array | None) -> Array:
        """Scarce ``stock`` (groups, P, B) in proportion to ``claims`` (items, P, B)."""
        if groups.largest == 1:
            return self.ops.minimum(claims, groups.spread(stock))
        total = groups.sum(claims)
        ratio = self.ops.minimum(stock / self.ops.maximum(total, TINY), 1.0)
        return claims * groups.spread(ratio)

    def fraction(self, share: Array, number: Array, luck: Array | None) -> Array:
        """``share`` of ``number`` units."""
        return share * number

    def cut(self, amounts: Array, capacity: Array, volume: Array) -> Array:
        """Amounts (items, P, B) cut alike to what ``capacity`` allows of ``volume`` (items, B)."""
        ratio = self.ops.minimum(capacity / self.ops.maximum(volume, TINY), 1.0)
        return amounts * ratio[:, None]


class IntegerUnits:
    """Whole quantities in 64-bit integers."""

    integer = True

    def __init__(self, ops: Ops) -> None:
        self.ops = ops
        self.dtype = ops.int

    def amount(self, value: Any) -> Array:
        """A constant quantity, rounded half up."""
        return self.ops.whole(half_up(np.asarray(value, dtype=np.float64)))

    def read(self, value: Array) -> Array:
        """Quantities from outside in this world's type, rounded half up."""
        if value.dtype == self.dtype:
            return value
        return self.ops.to_int(half_up(value, self.ops))

    def rounded(self, requests: Array, batch: Array | None) -> Array:
        """Requests to the nearest multiple of ``batch`` (of one unit where none), half up."""
        if batch is None:
            return self.read(requests)
        step = self.ops.maximum(batch, 1)
        return self.ops.to_int(half_up(requests / step, self.ops)) * step

    def share(self, stock: Array, claims: Array, groups: Segments, luck: Array) -> Array:
        """Scarce ``stock`` over ``claims``: the difference of ``floor(s R_i / R + u)``.

        ``R_i`` are running sums of the claims of a group in their listed order, ``R`` their total;
        ``luck`` is u in multiples of 1 / GRAIN, (groups, P, B). Where stock suffices the formula
        gives every claim in full.
        """
        out = self.ops.zeros(claims.shape, self.dtype)
        for group, flat, number, size in groups.buckets:
            picked = claims[flat].reshape((number, size, *claims.shape[1:]))
            running = self.ops.cumulate(picked, 1)
            total = running[:, -1:]
            stock_here = self.ops.minimum(stock[group][:, None], total)
            total = self.ops.maximum(total, 1)
            product = stock_here * running
            # floor(product / total + u) without leaving the integers.
            carry = (product % total) * GRAIN + luck[group][:, None] * total >= total * GRAIN
            bound = product // total + self.ops.to_int(carry)
            first = bound[:, :1]
            dealt = self.ops.concat([first, bound[:, 1:] - bound[:, :-1]], 1)
            out = self.ops.put(out, flat, dealt.reshape((number * size, *claims.shape[1:])))
        return out

    def fraction(self, share: Array, number: Array, luck: Array) -> Array:
        """``floor(share x number + u)``, the share rounded to a multiple of 1 / GRAIN."""
        return (number * self.ops.to_int(half_up(share * GRAIN, self.ops)) + luck) // GRAIN

    def cut(self, amounts: Array, capacity: Array, volume: Array) -> Array:
        """Amounts cut alike to ``capacity``, rounded down. Multiplied first: exact quotients stay."""
        scaled = self.ops.to_float(amounts) * capacity[:, None]
        scaled = scaled / self.ops.maximum(volume, TINY)[:, None]
        short = (volume > capacity)[:, None]
        return self.ops.where(short, self.ops.to_int(self.ops.floor(scaled)), amounts)


Units = ContinuousUnits | IntegerUnits


def units_of(integer: bool, ops: Ops) -> Units:
    """The arithmetic of a scenario's ``units``."""
    return IntegerUnits(ops) if integer else ContinuousUnits(ops)
