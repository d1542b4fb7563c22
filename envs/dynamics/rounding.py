"""Tolerances for rounding errors of floating point, by type.

In double precision every tolerance is a fixed number of units, far below anything that is counted. Single precision keeps
seven digits, so there it follows the size of the numbers that were added up and subtracted. Whole units are always counted in
double precision, whatever type was asked for: single precision does not know every whole number above 16,777,216, and
rounds what a capacity lets through of them.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.backend import Ops, TorchOps

_Backend = TypeVar("_Backend", bound=Ops)

# What rounding of real numbers may leave behind in double precision; no unit stands where no more than this does.
DUST = 1e-9
# Nobody is short and nobody waits where no more than this is missing: many roundings may have been added up.
SHORT = 1e-6
# Roundings of single precision that may add up in what one period leaves behind.
ROUNDINGS = 6
SINGLE = ROUNDINGS * float(np.finfo(np.float32).eps)


def is_single(dtype: Any) -> bool:
    """Whether a floating type is single precision: of NumPy, of PyTorch, or of expressions, which are compiled in it."""
    return str(dtype).endswith(("float32", "object"))


def tolerance(dtype: Any, size: Any, double: float = DUST) -> Any:
    """Tolerance in units: amounts below it count as 0 in arithmetic of a type.

    Parameters
    ----------
    dtype
        Of NumPy or PyTorch; integers count as double precision.
    size
        Size of the numbers that were added up, units: a number, an array or a tensor.
    double
        What counts as nothing in double precision.

    Returns
    -------
    ``double``; in single precision at least that, and 6 roundings of ``size`` (its shape).
    """
    return double + SINGLE * size if is_single(dtype) else double


def dust_of(tables: Any, dtype: Any, double: float = DUST) -> Any:
    """Units up to which nothing stands at a node, is shipped to it or is missing there: see :func:`tolerance`.

    Returns
    -------
    ``double``; in single precision (N,), by the stock of a node's echelon, as differences of positions of that size are what
    is shipped.
    """
    if not is_single(dtype):
        return double
    return tolerance(dtype, echelon_stock(tables), double)


def short_of(tables: Any, dtype: Any) -> Any:
    """Units of a period's demand below which nobody is short and nobody waits.

    Returns
    -------
    1e-6; in single precision (C,), by the stock of the customer's sources.
    """
    if not is_single(dtype):
        return SHORT
    dust = np.zeros(tables.C)
    np.maximum.at(dust, tables.pair_customer, dust_of(tables, dtype, SHORT)[tables.pair_source])
    return dust


def echelon_stock(tables: Any) -> NDArray[np.float64]:
    """(N,) units that may stand in and be in transit to a node and all below it: initial stock, and flow over lead times.

    At nodes that are nobody's first choice an average customer's demand stands for the flow.
    """
    t = tables
    lead = np.zeros(t.N)
    np.maximum.at(lead, t.lane_target, t.max_lead_time)
    average = t.mean_demand.sum(axis=0) / np.maximum((t.mean_demand > 0).sum(axis=0), 1)
    flow = np.where(t.mean_flow > 0, t.mean_flow, average)
    stock = t.initial_on_hand + flow * (lead + 2)[:, None]
    return np.asarray(t.cells_above.sums(stock.reshape(-1)).reshape(stock.shape).sum(axis=1))


def counting(tables: Any, ops: _Backend) -> _Backend:
    """The backend that a scenario is computed with: in double precision where units are whole."""
    if not tables.integer or not is_single(ops.float):
        return ops
    found: Any = TorchOps(None, ops.device) if isinstance(ops, TorchOps) else type(ops)()
    return found
