"""The gradient of a rule's cost in its parameters, as one compiled program for batches of worlds of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.compiler.xla_compiler import compiled
from echelongym.envs.core.backend import Array
from echelongym.envs.core.jax_backend import JaxOps
from echelongym.envs.core.named_tuples import mapped
from echelongym.envs.core.typing import Floats
from echelongym.envs.dynamics import Exogenous, Flows, State
from echelongym.envs.dynamics.rounding import short_of
from echelongym.envs.rollout.scan import Scan, whole_numbers
from echelongym.envs.worlds.tape import Tape

from ..rules.rule import Rule, Space

# Worlds of a batch: one program serves any number of worlds. Measured on every shipped scenario, a world takes at most
# twice as long as in the batch that suits best, and compiling once for each size would take much longer than that.
BATCH = 64


@dataclass(frozen=True, eq=False)
class WindowGradient:
    """Cost of a window of periods, its gradient, and what service targets look at; means over worlds."""

    cost: float  # cost less revenue a period, with the prices of what was not served
    slopes: Floats  # (n,) of the cost, by parameter
    unserved: Floats  # (C,) units not served at once, summed over the periods that count
    demand: Floats  # (C,) units, likewise
    short: Floats  # (C,) periods in which not all was served at once, likewise


class RuleGradient:
    """Gradient of a rule's mean cost less revenue a period in a window of periods.

    Parameters
    ----------
    rule
        In continuous units, with the numbers that say which lanes are used: a lane whose level is -inf here is not used
        whatever vector comes later.
    space
        Its parameters.
    periods, skipped
        Of a window; the first ones are left out of the cost.
    dtype
        Floating type of the simulation.
    """

    def __init__(self, rule: Rule, space: Space, periods: int, skipped: int, dtype: Any = np.float32) -> None:
        self.rule, self.space, self.periods, self.skipped = rule, space, periods, skipped
        self.scan = Scan(rule.scenario, BATCH, periods, JaxOps(dtype))
        self.ledger = Ledger(rule.tables, self.scan.ops)
        self.ends = periods == rule.tables.horizon  # stock has its terminal value after the last period
        dust = short_of(rule.tables, self.scan.ops.float)
        self.dust: Any = dust if isinstance(dust, float) else self.scan.ops.constant(dust[:, None, None])
        self._program: Any = None

    def __call__(self, vector: Floats, tape: Tape, price: Floats) -> WindowGradient:
        """The gradient at ``vector`` (n,), in the worlds of a tape of as many periods.

        ``price`` (C,) is money for each unit of a customer's demand that is not served at once.
        """
        ops, worlds = self.scan.ops, tape.batch
        total: Any = None
        with whole_numbers():
            arrays, opening = self.scan.arrays(tape), self.scan.opening()
            numbers = np.asarray(vector, ops.float), np.asarray(price, ops.float)
            for first in range(0, worlds, BATCH):
                # What is missing of the last batch is filled up with a world that counts for nothing.
                chosen = np.minimum(np.arange(first, first + BATCH), worlds - 1)
                weights = np.where(np.arange(first, first + BATCH) < worlds, 1 / worlds, 0).astype(ops.float)
                part = mapped(lambda array: None if array is None else array[..., chosen], arrays)  # noqa: B023
                arguments = (*numbers, weights, part, opening)
                if self._program is None:
                    self._program = compiled(self._value_and_slopes(), *arguments)
                found = self._program(*arguments)
                found = [np.asarray(one, dtype=np.float64) for one in (*found[0][1], found[0][0], found[1])]
                total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
        unserved, demand, short, cost, slopes = total
        return WindowGradient(float(cost), slopes, unserved, demand, short)

    def _value_and_slopes(self) -> Any:
        import jax

        return jax.value_and_grad(self._loss, has_aux=True)

    def _loss(self, vector: Any, price: Any, weights: Any, arrays: Exogenous, opening: State) -> tuple[Any, Any]:
        """Weighted cost, and sums by customer; traced."""
        ops, t, scan = self.scan.ops, self.rule.tables, self.scan
        each, prices = ops.box(weights), ops.box(price)

        def look(kept: Any, period: Array, flows: Flows, closing: State) -> tuple[Any, None]:
            lines = self.ledger.period(flows, last=self.ends, closing=closing)
            if "terminal" in lines:
                lines["terminal"] = lines["terminal"] * ops.cast(period == self.periods - 1, ops.float)
            counts = ops.cast(period >= self.skipped, ops.float)
            unserved = flows.demand - flows.served_new  # (C, P, B)
            missing = ops.cast((unserved > self.dust).any(1), ops.float)
            now = (self.ledger.net_cost(lines), ops.total(unserved, 1), ops.total(flows.demand, 1), missing)
            return tuple(before + new * counts for before, new in zip(kept, now, strict=True)), None

        none = tuple(ops.zeros((*shape, BATCH), ops.float) for shape in ((), (t.C,), (t.C,), (t.C,)))
        cost, *sums = scan.kept(
            lambda vector: self.rule.with_vector(self.space, ops.box(vector)), vector, arrays, opening, look, none
        )
        cost, *sums = ((one * each).sum(-1) for one in (cost, *sums))
        scored = self.periods - self.skipped
        loss = (cost + (prices * sums[0]).sum()) * (1 / scored)
        return loss.value, [one.value for one in sums]
