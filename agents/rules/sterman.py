"""Anchoring and adjustment: how people order in the beer game (Sterman, Management Science 35(3), 1989)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from echelongym.envs.core.backend import NUMPY, Array, NumpyOps, Ops, half_up, ops_of
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Bools, Floats
from echelongym.envs.core.validation import is_number
from echelongym.envs.dynamics import Segments
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.interface.inventory_positions import Forest, Stock
from echelongym.envs.interface.observation import Decision, Observation, Policy
from echelongym.envs.network.tables import Tables
from echelongym.envs.rollout.recordable import Recordable

from .request_order import is_numbers, rows_of
from .rule import Group, Rule, read_cells

#: Numbers between 0 and 1, and what each is where it is not given: the ordering rule of a stationary world.
_WEIGHTS = {"adjustment_rate": 1.0, "supply_line_weight": 1.0, "smoothing": 0.0}


class _Memory(NamedTuple):
    """What is remembered of earlier periods, by fed cell: (n, B) units each."""

    demand: Array  # expected
    arrived: Array  # orders that reached suppliers a period ago
    begun: Array  # (1, B) 1 after the first period, 0 in it
    orders: tuple[Array, ...]  # placed one period ago, two periods ago ...


class _FedCells:
    """Index arrays and constants of the rule on one backend; n fed cells."""

    def __init__(self, rule: AnchoringAndAdjustment, ops: Ops) -> None:
        t, forest = rule.tables, rule.forest
        cells = rule.cells
        self.ops = ops
        self.stock = Stock(t, ops, rows_of(t))
        self.cells, self.lanes = ops.index(cells), ops.index(forest.primary[cells])
        self.by_supplier = Segments(forest.parent[cells], t.N * t.P, ops)
        first = t.first_cell.reshape(-1)
        self.by_first_source = Segments(first, t.N * t.P, ops)
        #: For each delay that occurs, 1 where it is a cell's.
        self.delays = {int(d): ops.constant(rule.delay[cells] == d)[:, None] for d in np.unique(rule.delay[cells])}
        self.initial = ops.constant(rule.initial[cells])[:, None]
        self.expected = ops.constant(t.mean_flow.reshape(-1)[cells])[:, None]
        self.weights = {name: ops.constant(rule.values[name][cells])[:, None] for name in _WEIGHTS}
        self.smooths = bool((rule.values["smoothing"][cells] > 0).any())
        desired = rule.values["desired_stock"]
        known = isinstance(desired, np.ndarray)
        self.desired = (ops.constant(desired[cells]) if known else desired[ops.whole(cells)])[:, None]

    @property
    def numbers(self) -> dict[str, Array]:
        """The numbers of the rule, (n, 1) each."""
        return {"desired": self.desired, "initial": self.initial, "expected": self.expected, **self.weights}

    def with_numbers(self, numbers: dict[str, Array]) -> _FedCells:
        """The same with other numbers, (n, B)."""
        other = copy.copy(self)
        other.desired, other.initial, other.expected = (numbers[name] for name in ("desired", "initial", "expected"))
        other.weights = {name: numbers[name] for name in _WEIGHTS}
        return other

    def opening(self, nothing: Array) -> _Memory:
        """What is remembered before the first period; ``nothing`` are zeros (n, B)."""
        orders = (self.initial + nothing,) * max(self.delays, default=0)
        return _Memory(self.expected + nothing, nothing, nothing[:1], orders)


class AnchoringAndAdjustment(Rule):
    """Anchoring and adjustment: orders of expected demand, and of a part of what stock and supply line lack.

    order = max(0, D + a (S - (on hand - owed) - b supply line)), Sterman (1989), equations 8 to 10: D the demand
    expected, S the desired stock (that of the supply line included), a the adjustment rate, b the weight that the
    supply line gets. On hand is counted after the arrivals of the period; owed is the backlog of the customers whose
    first source the node is and what nodes that it feeds are still owed; the supply line is what is in transit to the
    node, what its supplier owes it and orders that have not reached the supplier. D follows what the node is asked for
    by exponential smoothing, D += smoothing (asked - D), from its mean flow on.

    The network keeps no order book between nodes: the rule does. An order reaches the supplier ``order_delay``
    periods after the decision and is requested then; what was not shipped is requested again in every period. Only
    primary lanes are used. With a = b = 1, no smoothing and no delay this is base-stock control with level D + S where
    a node serves customers alone; one that feeds others decides before it reads their orders of the period, and D
    stands in for them. With a batch size on a lane what is shipped beyond the order is not counted against later ones.

    Parameters
    ----------
    desired_stock
        S, units by node (and product); left out: the automatic local level, less the mean demand of customers whose
        first source the node is (D is on top of S), and the mean flow over the order delay added.
    adjustment_rate, supply_line_weight, smoothing
        a, b and the weight of the latest period in D, between 0 and 1, by node; left out: 1, 1 and 0.
    order_delay
        Periods from the decision until an order can be shipped, a whole number by node; left out: 0.
    initial_orders
        Units by node (and product) of each order on its way to the supplier at the start, and of the orders of the
        first ``initial_periods``; left out: the mean flow.
    initial_periods
        First periods with fixed orders; left out: 0.

    Raises
    ------
    InputError
        On a parameter that does not fit the scenario, or lies outside its range.
    """

    name = "sterman"
    pure = True
    differentiable = False  # an order moves costs through a memory that windows of a gradient cut off

    def __init__(self, scenario: Any, **parameters: Any) -> None:
        t: Tables = scenario.tables
        self.forest = Forest(t)
        self.fed: Bools = self.forest.primary >= 0
        self.cells = np.flatnonzero(self.fed)
        flow = t.mean_flow.reshape(-1)
        self.delay = self._read("order_delay", parameters, np.zeros(len(flow)), t).astype(np.int64)
        usual = half_up(flow) if t.integer else flow
        self.initial = self._read("initial_orders", parameters, usual, t)
        self.initial_periods = parameters.get("initial_periods", 0)
        whole = isinstance(self.initial_periods, int) and not isinstance(self.initial_periods, bool)
        if not whole or self.initial_periods < 0:
            raise expected(f"{self.name} initial_periods", self.initial_periods, "a whole number >= 0")
        super().__init__(scenario, **parameters)
        for name in _WEIGHTS:
            most = float(self.values[name].max(initial=0.0))
            if most > 1:
                raise expected(f"{self.name} {name}", most, "a number between 0 and 1")
        self._reset()

    def _read(self, name: str, parameters: dict[str, Any], default: Floats, tables: Tables) -> Floats:
        """Numbers >= 0 by cell, whole ones where periods or whole units are counted."""
        group = Group(name, tables.nodes, self.fed, default, default, default, lower=0.0)
        values, _ = read_cells(group, parameters.get(name), tables, self.name)
        if (name == "order_delay" or tables.integer) and (values != np.floor(values)).any():
            raise expected(f"{self.name} {name}", float(values[values != np.floor(values)][0]), "a whole number")
        return values

    def _make_groups(self) -> list[Group]:
        t = self.tables
        auto = automatic_levels(self.scenario)
        flow, served = t.mean_flow.reshape(-1), np.zeros(t.N * t.P)
        for customer, product in zip(*np.nonzero(t.first_cell >= 0), strict=True):
            served[t.first_cell[customer, product]] += t.mean_demand[customer, product]
        desired = auto.local.reshape(-1) - served + self.delay * flow
        desired = np.rint(desired) if t.integer else desired
        scale = np.maximum(auto.deviation.reshape(-1), auto.flow_deviation.reshape(-1))
        one = np.ones(len(flow))
        return [
            Group("desired_stock", t.nodes, self.fed, desired, desired, scale),
            *(Group(name, t.nodes, self.fed, v * one, v * one, one, 0.0, real=True) for name, v in _WEIGHTS.items()),
        ]

    def _options(self) -> tuple[str, ...]:
        return ("order_delay", "initial_orders", "initial_periods")

    def _get_options(self) -> dict[str, Any]:
        return {key: value for key, value in self.options.items() if is_number(value) or value}

    def _free(self, group: str) -> Bools:
        """A tuner chooses stocks; how people adjust to them is given."""
        free = super()._free(group)
        return free if group == "desired_stock" else np.zeros_like(free)

    def _reset(self) -> None:
        self._plans: dict[tuple[str, ...], _FedCells] = {}
        self.memory: list[Array] | None = None  # see _Memory

    def start(self, worlds: int) -> None:
        """Drop the memory of all orders."""
        self.memory = None

    def recordable(self, dtype: Any) -> Recordable | None:
        """See :meth:`Rule.recordable`."""
        if not self.pure or not all(map(is_numbers, self.values.values())):
            return None
        key = (NUMPY.name, str(dtype), "")
        plan = self._plans.setdefault(key, _FedCells(self, NUMPY))
        numbers = plan.numbers
        kept = (self.delay.tobytes(), self.initial_periods, plan.smooths)

        def on(ops: NumpyOps) -> Callable[[Sequence[Array]], Policy]:
            own, cells, there = copy.copy(self), _FedCells(self, ops), (ops.name, *key[1:])

            def recorded(given: Sequence[Array]) -> Policy:
                own._plans = {there: cells.with_numbers(dict(zip(numbers, given, strict=True)))}
                return own

            return recorded

        demand, arrived, begun, orders = plan.opening(np.zeros((len(plan.desired), 1)))
        memory = [demand, arrived, begun, *orders]
        return Recordable((type(self), self.tables, *kept), list(numbers.values()), on, memory)

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P)."""
        t = self.tables
        plan = self._plan(observation.on_hand)
        ops = plan.ops
        unfilled = ops.moveaxis(observation.unfilled, 0, -1)
        worlds = unfilled.shape[-1]
        unfilled = ops.to_float(unfilled.reshape((-1, worlds)))
        owed = unfilled[plan.lanes]
        stock, line = self._owned(plan, observation, owed)
        if self.memory is None:
            memory = plan.opening(owed * 0)
        else:
            demand, arrived, begun, *orders = self.memory
            memory = _Memory(demand, arrived, begun, tuple(orders))
        demand = memory.demand
        if plan.smooths and self.memory is not None:
            asked = self._asked(plan, observation, memory)
            smoothed = demand + plan.weights["smoothing"] * (asked - demand)
            demand = ops.where(memory.begun > 0, smoothed, demand)
        for delay, mask in plan.delays.items():
            for placed in memory.orders[:delay]:
                line = line + mask * placed
        lacking = plan.desired - stock - plan.weights["supply_line_weight"] * line
        order = ops.maximum(demand + plan.weights["adjustment_rate"] * lacking, 0.0)
        if t.integer:
            order = half_up(order, ops)
        if self.initial_periods:
            order = ops.where(observation.period < self.initial_periods, plan.initial + order * 0, order)
        orders = [order, *memory.orders]
        arriving = owed * 0
        for delay, mask in plan.delays.items():
            arriving = arriving + mask * orders[delay]
        self.memory = [demand, arriving, memory.begun * 0 + 1, *orders[: len(memory.orders)]]
        requests = ops.put(ops.zeros((t.L * t.P, worlds), ops.float), plan.lanes, owed + arriving)
        return Decision(ops.moveaxis(requests.reshape((t.L, t.P, worlds)), -1, 0))

    def _plan(self, like: Array) -> _FedCells:
        ops = ops_of(like)
        key = (ops.name, str(like.dtype), str(getattr(like, "device", "")))
        if key not in self._plans:
            fits = like.dtype in (ops.int, ops.float)
            self._plans[key] = _FedCells(self, ops if fits else type(ops)(like.dtype))
        return self._plans[key]

    def _owned(self, plan: _FedCells, observation: Observation, owed: Array) -> tuple[Array, Array]:
        """(n, B) stock less what is owed downstream, and (n, B) supply line as far as the network shows it."""
        ops = plan.ops
        on_hand = ops.to_float(ops.moveaxis(observation.on_hand, 0, -1))
        under_way = ops.moveaxis(ops.moveaxis(observation.in_transit, 0, -1), 2, 1)  # (L, K, P, A, B)
        rows = ops.to_float(under_way.reshape((-1, *under_way.shape[2:])))
        found = plan.stock(on_hand, rows, ops.to_float(ops.moveaxis(observation.backlog, 0, -1)))
        standing = found.standing - plan.by_supplier.sum(owed)
        return standing[plan.cells], (found.position - found.standing)[plan.cells] + owed

    def _asked(self, plan: _FedCells, observation: Observation, memory: _Memory) -> Array:
        """(n, B) units that customers and fed nodes asked for in the period before."""
        ops = plan.ops
        demand = ops.to_float(ops.moveaxis(observation.demand_history[..., 0], 0, -1))
        asked = plan.by_first_source.sum(demand.reshape((-1, demand.shape[-1])))
        return (asked + plan.by_supplier.sum(memory.arrived))[plan.cells]
