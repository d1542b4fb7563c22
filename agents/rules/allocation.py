"""Sharing scarce stock so that those who ask are left equally short, instead of in proportion to what they ask."""

from __future__ import annotations

from echelongym.envs.backend import Array, Ops
from echelongym.envs.dynamics import Segments

# Below this many units a claim is nothing; it only keeps divisions finite.
TINY = 1e-9


def equalise(ops: Ops, claims: Array, stock: Array, groups: Segments, weight: Array) -> Array:
    """Share ``stock`` so that (claim - share) / weight is level among those who get anything.

    Water-filling: share = max(claim - w weight, 0), with the level w that uses up the stock. With the standard
    deviation of lead-time demand as weight all positions reach the same fractile (Eppen and Schrage, in Schwarz
    (ed.), Multi-Level Production/Inventory Control Systems, 1981).

    Parameters
    ----------
    claims
        (items, B) units below target, >= 0; whole numbers are shared in whole units, ties to the first listed.
    stock
        (groups, B) units to share.
    groups
        Which items share which stock.
    weight
        (items, 1) > 0, real numbers.

    Returns
    -------
    (items, B) shares: each at most its claim, together at most the stock; all claims where stock suffices.
    """
    whole = claims.dtype == ops.int
    out = ops.zeros(tuple(claims.shape), claims.dtype)
    for group, flat, number, size in groups.buckets:
        wanted = claims[flat].reshape((number, size, -1))
        here = stock[group].reshape((number, 1, -1))
        if size == 1:
            share = ops.minimum(wanted, here)
        else:
            share = _level(ops, wanted, here, weight[flat].reshape((number, size, 1)), whole)
        out[flat] = share.reshape((number * size, -1))
    return out


def _level(ops: Ops, wanted: Array, stock: Array, weight: Array, whole: bool) -> Array:
    depth = wanted / weight
    # Used if the water stood at the depth of item i: (groups, items i, items j, B).
    used = ops.total(ops.maximum(wanted[:, None] - depth[:, :, None] * weight[:, None], 0), 2)
    # The hair keeps the deepest item wet where nothing is left to share and rounding says otherwise.
    wet = ops.cast(used <= stock + TINY, depth.dtype)
    excess = ops.total(wanted * wet, 1) - stock[:, 0]
    level = ops.maximum(excess / ops.maximum(ops.total(weight * wet, 1), TINY), 0)
    share = ops.maximum(wanted - level[:, None] * weight, 0)
    return _whole_shares(ops, wanted, stock, weight, share) if whole else share


def _whole_shares(ops: Ops, wanted: Array, stock: Array, weight: Array, share: Array) -> Array:
    """Round down, then one unit more to each of those left shortest, while units last."""
    size = wanted.shape[1]
    share = ops.to_int(ops.floor(share + 1e-9))
    left = wanted - share
    short = left / weight
    spare = ops.minimum(ops.total(wanted, 1), stock[:, 0]) - ops.total(share, 1)
    place = ops.whole(list(range(size))).reshape((1, size, 1))
    tie = (short[:, :, None] == short[:, None]) & (place[:, None] < place[:, :, None])
    before = (short[:, None] > short[:, :, None]) | tie
    rank = ops.total(ops.cast(before, ops.int), 2)
    return share + ops.cast((rank < spare[:, None]) & (left > 0), ops.int)
