"""Allocation of scarce stock among lanes, other than in proportion to what they ask.

*Equalise* leaves all equally short; *marginal* gives each unit to whom it saves most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from echelongym.envs.core.backend import Array, NumpyOps, Ops
from echelongym.envs.core.backend import columns as columns_of
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.dynamics import Segments
from echelongym.envs.dynamics.rounding import tolerance
from echelongym.envs.interface.automatic_levels import faced
from echelongym.envs.interface.inventory_positions import Forest, cover
from echelongym.envs.network.tables import Tables
from echelongym.envs.processes.series import normal_quantile

from .request_order import Step

# Below this many units a claim is nothing; it only keeps divisions finite.
TINY = 1e-9


# Equally short ---------------------------------------------------------------------------------------


def equalise(ops: Ops, claims: Array, stock: Array, groups: Segments, weight: Array) -> Array:
    """Equal shares of ``stock``: (claim - share) / weight is level among those who get anything.

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
    for flat, number, size, wanted, here in _by_size(claims, stock, groups):
        if size == 1:
            share = ops.minimum(wanted, here)
        else:
            share = _level(ops, wanted, here, weight[flat].reshape((number, size, 1)), whole)
        out = ops.put(out, flat, share.reshape((number * size, -1)))
    return out


def _by_size(claims: Array, stock: Array, groups: Segments) -> Iterator[tuple[Any, int, int, Array, Array]]:
    """Groups of one size together: their items, how many, the size, claims (n, size, B) and stock (n, 1, B)."""
    for group, flat, number, size in groups.buckets:
        yield flat, number, size, claims[flat].reshape((number, size, -1)), stock[group].reshape((number, 1, -1))


def _level(ops: Ops, wanted: Array, stock: Array, weight: Array, whole: bool) -> Array:
    depth = wanted / weight
    # Used if the water stood at the depth of item i: (groups, items i, items j, B).
    used = ops.total(ops.maximum(wanted[:, None] - depth[:, :, None] * weight[:, None], 0), 2)
    # The tolerance keeps the deepest item wet where nothing is left to share and rounding says otherwise.
    slack = TINY if whole else tolerance(depth.dtype, ops.total(wanted, 1)[:, None], TINY)
    wet = ops.cast(used <= stock + slack, depth.dtype)
    excess = ops.total(wanted * wet, 1) - stock[:, 0]
    level = ops.maximum(excess / ops.maximum(ops.total(weight * wet, 1), TINY), 0)
    share = ops.maximum(wanted - level[:, None] * weight, 0)
    if not whole:
        return share
    share = ops.to_int(ops.floor(share + 1e-9))
    return _rest(ops, wanted, stock, share, (wanted - share) / weight)


def _rest(ops: Ops, wanted: Array, stock: Array, share: Array, urgency: Array) -> Array:
    """Whole shares that were rounded down, and one unit more to each of the most urgent while units last."""
    size = wanted.shape[1]
    spare = ops.minimum(ops.total(wanted, 1), stock[:, 0]) - ops.total(share, 1)
    place = ops.whole(list(range(size))).reshape((1, size, 1))
    tie = (urgency[:, :, None] == urgency[:, None]) & (place[:, None] < place[:, :, None])
    before = (urgency[:, None] > urgency[:, :, None]) | tie
    rank = ops.total(ops.cast(before, ops.int), 2)
    return share + ops.cast((rank < spare[:, None]) & (wanted > share), ops.int)


# Where it saves most ---------------------------------------------------------------------------------

# A position is tabulated from the mean of what it covers less so many standard deviations to the mean plus so many.
REACH = 6.0
# Farther out the value of a unit no longer tells positions apart; from here on all are equally well off.
FAR = 1000.0
FINE, MOST = 257, 2049  # columns for each pair of costs, and in all
HALVINGS = 36  # of a column, to find where stock is used up


def marginal_positions(
    mean: Floats, deviation: Floats, penalty: Floats, holding: Floats, group: Ints, whole: bool
) -> Floats:
    """Positions at which one unit more is worth the same to all items of a group, for falling worth.

    At position y, with demand D over what it covers normal, the newsvendor cost is h E(y - D)+ + p E(D - y)+, and a
    unit more saves (p + h) (1 - Phi((y - mean) / deviation)) - h. Stock is best shared where that is the same for all
    who get anything (Federgruen and Zipkin, Management Science 30(1), 1984): column by column the saving falls and
    positions rise. In whole units a unit saves the difference of two costs, and columns are few or one unit apart.

    Parameters
    ----------
    mean, deviation, penalty, holding
        (items,) of the demand that the position covers, units, deviation > 0; money a unit.
    group
        (items,) which stock each item shares.
    whole
        Whether units are whole.

    Returns
    -------
    (items, columns) units, rising; the first column is so low and the last so high that no position is beyond it.
    """
    nothing = penalty + holding <= 0
    penalty, holding = np.where(nothing, 1.0, penalty), np.where(nothing, 1.0, holding)
    tables = []
    for number in range(int(group.max(initial=-1)) + 1):
        chosen = np.flatnonzero(group == number)
        of_group = (mean[chosen], deviation[chosen], penalty[chosen], holding[chosen])
        tables.append((chosen, _whole_columns(*of_group) if whole else _columns(*of_group)))
    columns = max((table.shape[1] for _, table in tables), default=2)
    out = np.zeros((len(mean), columns))
    for chosen, table in tables:
        out[chosen] = np.pad(table, ((0, 0), (0, columns - table.shape[1])), mode="edge")
    return out


def step_positions(tables: Tables, forest: Forest, echelon: bool, spread: Floats, step: Step, ops: Ops) -> Array | None:
    """Where the targets of a step's scarce lanes want to stand, see :func:`marginal_positions`; None where there are none."""
    if step.scarce is None:
        return None
    t, cells = tables, step.target_cells[step.scarce.cells]
    mean = cover(t, forest, echelon)[0].reshape(-1)[cells]
    penalty, holding = faced(t)[0].reshape(-1)[cells], t.holding_cost.reshape(-1)[cells]
    return ops.constant(marginal_positions(mean, spread[cells], penalty, holding, step.scarce.group, t.integer))


def _thinned(worths: Floats) -> Floats:
    """At most so many of them, falling, the outermost among them."""
    falling = np.unique(worths)[::-1]
    if len(falling) <= MOST:
        return falling
    return np.asarray(falling[np.linspace(0, len(falling) - 1, MOST).round().astype(np.int64)])


def _columns(mean: Floats, deviation: Floats, penalty: Floats, holding: Floats) -> Floats:
    from scipy.special import ndtr

    costs = np.unique(np.stack([penalty, holding]), axis=1)
    # With the same costs for all positions are the same fractile everywhere, and straight lines between two columns.
    z = np.linspace(-REACH, REACH, 2 if costs.shape[1] == 1 else FINE)
    worths = _thinned((costs[0] - costs.sum(0) * ndtr(z)[:, None]).reshape(-1))
    ratio = (penalty[:, None] - worths) / (penalty + holding)[:, None]
    inside = (ratio > 1e-15) & (ratio < 1 - 1e-15)
    z = np.where(inside, normal_quantile(np.where(inside, ratio, 0.5)), np.where(ratio >= 0.5, FAR, -FAR))
    if costs.shape[1] == 1:
        z = np.broadcast_to(np.array([-REACH, REACH]), z.shape)
    ends = np.full((len(mean), 1), FAR)
    return np.asarray(mean[:, None] + deviation[:, None] * np.concatenate([-ends, z, ends], axis=1))


def _whole_columns(mean: Floats, deviation: Floats, penalty: Floats, holding: Floats) -> Floats:
    values = [_unit_values(*item) for item in zip(mean, deviation, penalty, holding, strict=True)]
    worths = _thinned(np.concatenate([saved for _, saved in values]))
    out = np.empty((len(mean), len(worths) + 2))
    for i, (lowest, saved) in enumerate(values):
        # Units that save at least as much as the column asks for are taken.
        taken = np.searchsorted(-saved, -worths, side="right")
        far = np.ceil(FAR * deviation[i])
        out[i] = np.concatenate([[lowest - far], lowest + taken, [lowest + len(saved) + far]])
        out[i, 1:-1] = np.where(taken == 0, lowest - far, out[i, 1:-1])
    return out


def _unit_values(mean: float, deviation: float, penalty: float, holding: float) -> tuple[int, Floats]:
    """The lowest position tabulated, and what each unit from there on saves, falling."""
    from scipy.special import ndtr

    lowest, highest = math.floor(mean - REACH * deviation), math.ceil(mean + REACH * deviation)
    z = (np.arange(lowest, highest + 1) - mean) / deviation
    over = deviation * (np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) + z * ndtr(z))  # E(y - D)+
    cost = holding * over + penalty * (over - z * deviation)
    # Rounded, so that equal items tie.
    return lowest, np.asarray(np.minimum.accumulate(np.round(-np.diff(cost), 12)))


def marginal(ops: Ops, claims: Array, stock: Array, position: Array, groups: Segments, positions: Array) -> Array:
    """Shares of ``stock`` by marginal value: each unit where it saves most, up to what is claimed.

    Bisection on the worth of a unit; gradients are those of the shares in stock, positions and claims.

    Parameters
    ----------
    claims
        (items, B) units, >= 0; whole numbers are shared in whole units, ties to the first listed.
    stock
        (groups, B) units to share.
    position
        (items, B) units without the share.
    groups
        Which items share which stock.
    positions
        (items, columns) as from :func:`marginal_positions`.

    Returns
    -------
    (items, B) shares: each at most its claim, together at most the stock; all claims where stock suffices.
    """
    whole = claims.dtype == ops.int
    recording = isinstance(ops, NumpyOps) and ops.program is not None
    out = ops.zeros(tuple(claims.shape), claims.dtype)
    for flat, number, size, wanted, here in _by_size(claims, stock, groups):
        if size == 1:
            share = ops.minimum(wanted, here)
        else:
            have = position[flat].reshape(wanted.shape)
            table = positions[flat].reshape((number, size, -1))
            if (
                ops.name == "numpy" and not recording
            ):  # only worlds with something to share out; branches are no good in a graph
                short = np.flatnonzero((ops.total(wanted, 1) > here[:, 0]).any(0))
                share = wanted + 0
                if len(short):
                    scarce = (wanted[..., short], here[..., short], have[..., short])
                    share[..., short] = _most_worth(ops, *scarce, table, whole)
            else:
                share = _most_worth(ops, wanted, here, have, table, whole)
        out = ops.put(out, flat, share.reshape((number * size, -1)))
    return out


def _most_worth(ops: Ops, wanted: Array, stock: Array, have: Array, table: Array, whole: bool) -> Array:
    share = _worth(ops, wanted, stock, have, table)
    if whole:
        down = ops.to_int(ops.floor(share + 1e-6))
        share = _rest(ops, wanted, stock, down, share - down)
    return ops.where((ops.total(wanted, 1) <= stock[:, 0])[:, None], wanted, share)


def _worth(ops: Ops, wanted: Array, stock: Array, have: Array, table: Array) -> Array:
    """Shares (n, size, B) from the table (n, size, columns)."""
    number, size, columns = table.shape
    dtype = table.dtype
    wanted, stock, have = (ops.cast(value, dtype) for value in (wanted, stock[:, 0], have))
    # Bisection has no gradient to carry.
    fixed = [ops.without_gradient(value) for value in (wanted, stock, have)]
    flat, first = table.reshape(-1), ops.whole(np.arange(number * size).reshape((number, size, 1)) * columns)

    def at(column: Array) -> Array:
        return columns_of(flat, first + column[:, None])

    def shares(target: Array, wanted: Array, have: Array) -> Array:
        return ops.minimum(ops.maximum(target - have, 0), wanted)

    def fits(target: Array) -> Array:
        return ops.total(shares(target, fixed[0], fixed[2]), 1) <= fixed[1]

    low = ops.cast(fixed[1] * 0, ops.int)
    high = low + (columns - 1)
    for _ in range(max(math.ceil(math.log2(max(columns - 1, 1))), 0)):
        middle = (low + high) // 2
        fit = fits(at(middle)) & (middle > low)
        low, high = ops.where(fit, middle, low), ops.where(fit, high, middle + ops.cast(middle == low, ops.int))
    start = at(low)
    step = at(low + 1) - start
    # How far from this column to the next, 0 to 1.
    way, width = fixed[1] * 0, 0.5
    for _ in range(HALVINGS):
        further = way + width
        way = ops.where(fits(start + further[:, None] * step), further, way)
        width /= 2
    # One Newton step with gradients ends it: between two kinks shares are straight lines.
    share = shares(start + way[:, None] * step, wanted, have)
    slope = ops.total(step * ops.cast((share > 0) & (share < wanted), dtype), 1)
    moves = ops.cast(slope > TINY, dtype)
    way = way + moves * (stock - ops.total(share, 1)) / ops.maximum(slope, TINY)
    return shares(start + way[:, None] * step, wanted, have)


# In a period of a rule --------------------------------------------------------------------------------


def cut_to_shares(
    step: Step,
    request: Array,
    on_hand: Array,
    others: Array | None,
    spread: Array,
    position: Array,
    wanted: Array | None,
    ops: Ops,
) -> Array:
    """Requests of a primary step cut so that targets of scarce sources are left equally short, or equally well off.

    ``on_hand`` (N, P, B); ``others`` (L * P, B) what was asked before; ``spread`` (N * P, 1); ``position`` (N * P, B);
    ``wanted`` see :func:`marginal_positions`, None for equally short.
    """
    scarce = step.scarce
    assert scarce is not None
    stock = on_hand.reshape((-1, request.shape[-1]))[scarce.nodes]
    if others is not None and scarce.others is not None:
        lanes, groups = scarce.others
        stock = ops.maximum(stock - groups.sum(others[lanes]), 0)
    claims = request[scarce.items]
    if wanted is None:
        shares = equalise(ops, claims, stock, scarce.groups, spread[scarce.targets])
    else:
        shares = marginal(ops, claims, stock, position[scarce.targets], scarce.groups, wanted)
    return ops.put(request + 0, scarce.items, shares)


def in_proportion(ops: Ops, claims: Array, stock: Array, groups: Segments) -> Array:
    """Shares (items, B) of ``stock`` (groups, B) in proportion to claims, which are met where it suffices.

    Whole units are shared in whole units, none left over: each share is a difference of rounded running sums.
    """
    out = ops.zeros(tuple(claims.shape), claims.dtype)
    for flat, number, size, wanted, here in _by_size(claims, stock, groups):
        if size == 1:
            share = ops.minimum(wanted, here)
        else:
            ratio = ops.minimum(here / ops.maximum(ops.total(wanted, 1)[:, None], TINY), 1.0)
            share = wanted * ratio
            if claims.dtype == ops.int:
                upto = ops.cumulate(wanted, 1)
                ends, starts = (ops.to_int(ops.floor(units * ratio + (0.5 + TINY))) for units in (upto, upto - wanted))
                share = ops.minimum(ends - starts, wanted)
        out = ops.put(out, flat, share.reshape((number * size, -1)))
    return out


def lent(ops: Ops, request: Array, surplus: Array, by_source: Segments) -> Array:
    """Requests (n, B) cut to the surplus (m, B) of their sources, in proportion."""
    if by_source.largest == 1:
        return ops.minimum(request, by_source.spread(surplus))
    total = by_source.sum(request)
    ratio = ops.minimum(surplus / ops.maximum(total, TINY), 1.0)
    found = request * by_source.spread(ratio)
    return ops.to_int(ops.floor(found + 1e-9)) if request.dtype == ops.int else found
