"""Linear costs: sums of price x flow over entities and products, the inner loop of the ledger.

One world alone is bound by the number of array operations, a large batch by memory. So one world
gets all its terms from one product, and a batch gets them term by term; both add in the same order,
entity by entity and product by product, and agree to the last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..core.backend import Array, Ops
from ..dynamics.state import Flows
from ..network.tables import Tables

# Entries (worlds x terms x rows) up to which one product for all terms is faster (measured).
SMALL = 1_000


class CostTerm(NamedTuple):
    """Part of a line: price x rows ``first`` to ``stop`` of a flow."""

    line: str
    field: str
    first: int
    stop: int
    price: np.ndarray[Any, Any]  # (stop - first, P)
    scale: float  # the price where all rows have the same (``price`` is 1 then), else 1


def priced(line: str, field: str, price: np.ndarray[Any, Any]) -> CostTerm | None:
    """The term of prices (entities, P), cut to the rows that have one; None where nothing has."""
    rows = np.flatnonzero(price.any(1))
    if not len(rows):
        return None
    first, stop = int(rows[0]), int(rows[-1]) + 1
    price = price[first:stop]
    if (price == price[0, 0]).all():
        return CostTerm(line, field, first, stop, np.ones_like(price), float(price[0, 0]))
    return CostTerm(line, field, first, stop, price, 1.0)


def row_major(value: Array) -> Array:
    """The array itself or a copy with the batch running fastest, so that sums keep their order."""
    if isinstance(value, np.ndarray) and not value.flags.c_contiguous:
        return np.ascontiguousarray(value)
    return value


class PricedSums:
    """``sums(flows)``: line -> (B,), for the lines whose flows are there.

    Parameters
    ----------
    terms
        Terms of one line stand together; a line may have several.
    """

    def __init__(self, terms: list[CostTerm], tables: Tables, ops: Ops) -> None:
        self.ops, self.terms = ops, terms
        self.integer = tables.integer
        self.lines = tuple(dict.fromkeys(term.line for term in terms))
        self.fields = tuple(dict.fromkeys(Flows._fields.index(term.field) for term in terms))
        self._plans: dict[tuple[bool, ...], _Sums] = {}

    def __call__(self, flows: Flows) -> dict[str, Array]:
        """Sums of one period, or of any flows of these shapes."""
        if not self.terms:
            return {}
        values = [flows[i] for i in self.fields]
        missing = tuple([value is None for value in values])
        plan = self._plans.get(missing)
        if plan is None:
            plan = self._plans[missing] = _Sums(self, missing)
        return plan.sums([value for value in values if value is not None])


class _Sums:
    """The sums where certain flows are there and the others are None."""

    def __init__(self, owner: PricedSums, missing: tuple[bool, ...]) -> None:
        self.ops, self.integer = owner.ops, owner.integer
        there = [i for i, absent in zip(owner.fields, missing, strict=True) if not absent]
        self.position = {Flows._fields[i]: at for at, i in enumerate(there)}
        self.terms = [term for term in owner.terms if term.field in self.position]
        self.names = [term.line for term in self.terms]
        self.merge = len(set(self.names)) < len(self.names)
        constant = owner.ops.constant
        self.prices = [None if (term.price == 1).all() else constant(term.price[..., None]) for term in self.terms]
        self.weights: Array | None = None
        self.entries = 0  # of one world, in the product for all terms
        scales = np.array([term.scale for term in self.terms])
        self.scales = None if (scales == 1).all() else constant(scales[:, None])

    def sums(self, values: list[Array]) -> dict[str, Array]:
        if not self.terms:
            return {}
        worlds = values[0].shape[-1]
        if self.weights is None:
            self.weights = self._matrix(values)
        if worlds * self.entries <= SMALL and self.ops.name == "numpy":
            found = self._together(values, worlds)
        else:
            found = self._one_by_one(values, worlds)
        if not self.merge:
            return dict(zip(self.names, found))  # noqa: B905 (one of each; strict costs time)
        lines: dict[str, Array] = {}
        for name, value in zip(self.names, found, strict=True):
            lines[name] = lines[name] + value if name in lines else value
        return lines

    def _one_by_one(self, values: list[Array], worlds: int) -> list[Array]:
        ops, found = self.ops, []
        # An array under JAX, where a number would be part of the program, so that one program serves all prices.
        arrays = self.scales if ops.name == "jax" else None
        for k, (term, price) in enumerate(zip(self.terms, self.prices, strict=True)):
            rows = row_major(values[self.position[term.field]][term.first : term.stop])
            if self.integer:
                rows = ops.to_float(rows)
            if price is not None:
                rows = rows * price
            rows = rows.reshape((-1, worlds))
            total = ops.total(rows, 0)
            # The sum of a single row is a view of the flow itself: never handed out.
            scale = term.scale if arrays is None else arrays[k]
            found.append(total * scale if term.scale != 1 or len(rows) == 1 else total)
        return found

    def _together(self, values: list[Array], worlds: int) -> Array:
        rows = np.concatenate(values) if len(values) > 1 else values[0]
        rows = row_major(rows)
        if self.integer:
            rows = self.ops.to_float(rows)
        # Rows of other terms add a zero, which changes no bit. Running sums keep the order and are
        # faster than a sum where there is little to add.
        found = np.add.accumulate(rows.reshape((-1, 1, worlds)) * self.weights, 0)[-1]
        return found if self.scales is None else found * self.scales

    def _matrix(self, values: list[Array]) -> Array:
        """(rows of all flows x products, terms, 1) prices."""
        sizes = [len(value) for value in values]
        start = np.concatenate([[0], np.cumsum(sizes)])
        products = values[0].shape[1]
        weights = np.zeros((int(start[-1]), products, len(self.terms)))
        for number, term in enumerate(self.terms):
            at = int(start[self.position[term.field]])
            weights[at + term.first : at + term.stop, :, number] = term.price
        self.entries = weights.size
        return self.ops.constant(weights.reshape((-1, len(self.terms), 1)))
