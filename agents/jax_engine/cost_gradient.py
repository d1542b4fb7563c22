"""The gradient of a policy's cost in its weights, as one compiled program for batches of worlds of one size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.compiler.xla_compiler import compiled_for_numbers
from echelongym.envs.core.backend import Array
from echelongym.envs.core.devices import chosen_device
from echelongym.envs.core.jax_backend import JaxOps
from echelongym.envs.core.named_tuples import entries, mapped
from echelongym.envs.core.typing import Floats
from echelongym.envs.dynamics import Exogenous, Flows, State
from echelongym.envs.dynamics.rounding import short_of
from echelongym.envs.rollout.scan import Decide, Scan, whole_numbers
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.tape import Tape

# Worlds of a batch: one program serves any number of worlds. Measured on every shipped scenario, a world takes at most
# twice as long as in the batch that suits best, and compiling once for each size would take much longer than that.
BATCH = 64
# Where every gradient fills it. Measured, a gradient takes 23 % less time in one_warehouse, 29 % in production_network,
# 7 to 15 % in lost_sales and 3 % in two_region.
LARGE_BATCH = 256
BATCH_ON_GPU = 4_096  # not measured: a GPU needs thousands of worlds to be busy
# Of states that a batch may keep for the derivative, what every period began with: 50 MB. Large networks are no faster in
# larger batches (measured from 4 to 16 worlds of 20,000 pairs of a lane and a product), and need few worlds a gradient.
KEPT_NUMBERS = 12_000_000


@dataclass(frozen=True, eq=False)
class WindowGradient:
    """Cost of a window of periods, its gradient, and what service targets look at; means over worlds."""

    cost: float  # cost less revenue a period, with the prices of what was not served
    slopes: Any  # of the cost: arrays in the nest of the weights
    unserved: Floats  # (C,) units not served at once, summed over the periods that count
    demand: Floats  # (C,) units, likewise
    short: Floats  # (C,) periods in which not all was served at once, likewise


class CostGradient:
    """Gradient of a policy's mean cost less revenue a period in a window of periods.

    Parameters
    ----------
    scenario
        In continuous units.
    periods, skipped
        Of a window; the first ones are left out of the cost.
    decide_of
        From the backend and what ``prepare`` made, boxed, to what decides; without branches on what it observes.
    prepare
        From the backend and the weights, boxed, to what is computed of them once for all periods: arrays or a nest of them.
    opening
        From the backend and the number of worlds to the memory before the first period; None where nothing is remembered.
    ledger_of
        From the backend to the ledger.
    dtype
        Floating type of the simulation.
    worlds
        Of most gradients, which batches should suit; None: any number.
    """

    def __init__(
        self,
        scenario: Scenario,
        periods: int,
        skipped: int,
        decide_of: Callable[[JaxOps, Any], Decide],
        prepare: Callable[[JaxOps, Any], Any] = lambda _, weights: weights,
        opening: Callable[[JaxOps, int], Array | None] = lambda *_: None,
        ledger_of: Callable[[JaxOps], Ledger] | None = None,
        dtype: Any = np.float32,
        worlds: int | None = None,
    ) -> None:
        t, self.periods, self.skipped = scenario.tables, periods, skipped
        self.decide_of, self.prepare, self.opening = decide_of, prepare, opening
        ops = JaxOps(dtype)
        one = Scan(scenario, 1, periods, ops).opening()
        numbers = periods * sum(int(np.prod(array.shape)) for array in entries(one) if array is not None)
        most = LARGE_BATCH if worlds and worlds % LARGE_BATCH == 0 else BATCH
        if worlds and worlds < most:  # which would be filled up with worlds that count for nothing
            most = 2 ** int(np.ceil(np.log2(worlds)))
        most = most if chosen_device().platform == "cpu" else BATCH_ON_GPU
        self.batch = max(min(most, 2 ** int(np.log2(max(KEPT_NUMBERS / numbers, 1)))), 1)
        self.scan = Scan(scenario, self.batch, periods, ops)
        self.ops: Any = self.scan.ops
        self.ledger = Ledger(t, self.ops) if ledger_of is None else ledger_of(self.ops)
        self.ends = periods == t.horizon  # stock has its terminal value after the last period
        dust = short_of(t, self.ops.float)
        self.dust: Any = dust if isinstance(dust, float) else self.ops.constant(dust[:, None, None])
        self._program: Any = None

    def __call__(self, weights: Any, tape: Tape, price: Floats) -> WindowGradient:
        """The gradient at these weights, a nest of NumPy arrays, in the worlds of a tape of as many periods.

        ``price`` (C,) is money for each unit of a customer's demand that is not served at once.
        """
        import jax

        worlds = tape.batch
        total: Any = None
        with whole_numbers():
            arrays, opening = self.scan.arrays(tape, alike=True), self.scan.opening()
            weights = jax.tree_util.tree_map(lambda one: np.asarray(one, self.ops.float), weights)
            numbers = weights, np.asarray(price, self.ops.float)
            for first in range(0, worlds, self.batch):
                # What is missing of the last batch is filled up with a world that counts for nothing.
                numbered = np.arange(first, first + self.batch)
                chosen = np.minimum(numbered, worlds - 1)
                each = np.where(numbered < worlds, 1 / worlds, 0).astype(self.ops.float)
                part = mapped(lambda array: None if array is None else array[..., chosen], arrays)  # noqa: B023
                arguments = (*numbers, each, part, opening)
                if self._program is None:
                    loss = jax.value_and_grad(self._loss, has_aux=True)
                    self._program = compiled_for_numbers(loss, *arguments)
                found = jax.tree_util.tree_map(lambda one: np.asarray(one, dtype=np.float64), self._program(*arguments))
                total = found if total is None else jax.tree_util.tree_map(np.add, total, found)
        (cost, (unserved, demand, short)), slopes = total
        return WindowGradient(float(cost), slopes, unserved, demand, short)

    def _loss(self, weights: Any, price: Any, each: Any, arrays: Exogenous, opening: State) -> tuple[Any, Any]:
        """Weighted cost, and sums by customer; traced."""
        import jax

        ops, t, scan = self.ops, self.scan.scenario.tables, self.scan
        each, prices = ops.box(each), ops.box(price)

        def look(kept: Any, period: Array, flows: Flows, closing: State) -> tuple[Any, None]:
            lines = self.ledger.period(flows, last=self.ends, closing=closing)
            if "terminal" in lines:
                lines["terminal"] = lines["terminal"] * ops.cast(period == self.periods - 1, ops.float)
            counts = ops.cast(period >= self.skipped, ops.float)
            unserved = flows.demand - flows.served_new  # (C, P, B)
            missing = ops.cast((unserved > self.dust).any(1), ops.float)
            now = (self.ledger.net_cost(lines), ops.total(unserved, 1), ops.total(flows.demand, 1), missing)
            return tuple(before + new * counts for before, new in zip(kept, now, strict=True)), None

        # World by world, as a sum over worlds in every period is slow.
        none = tuple(ops.zeros((*shape, self.batch), ops.float) for shape in ((), (t.C,), (t.C,), (t.C,)))
        cost, *sums = scan.kept(
            lambda made: self.decide_of(ops, made),
            self.prepare(ops, jax.tree_util.tree_map(ops.box, weights)),
            arrays,
            opening,
            look,
            none,
            self.opening(ops, self.batch),
        )
        cost, *sums = ((one * each).sum(-1) for one in (cost, *sums))
        loss = (cost + (prices * sums[0]).sum()) * (1 / (self.periods - self.skipped))
        return loss.value, tuple(one.value for one in sums)
