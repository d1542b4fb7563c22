"""Service and emission targets of a scenario: whether a run meets them, and their Lagrange multipliers while tuning.

Targets never enter the cost. They are judged on figures over worlds (:class:`Kpis`), by customer
or for the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from echelongym.envs.core.backend import Array, Ops
from echelongym.envs.dynamics.rounding import short_of

if TYPE_CHECKING:
    from echelongym.envs.accounts.kpis import Kpis
    from echelongym.envs.dynamics import Flows
    from echelongym.envs.scenario.scenario import Scenario
    from echelongym.envs.simulate import Outcome
    from echelongym.envs.worlds.world_sample import WorldSample

MET, MISSED, UNDECIDED = "met", "missed", "undecided"


@dataclass(frozen=True)
class Target:
    """One target, as the scenario states it."""

    kind: str  # fill_rate, no_stockout_rate, served_within, max_wait, emissions_kg_per_unit, waste_share
    value: float  # a share, periods (max_wait) or kg a unit
    customer: str | None = None  # None: of the whole network
    window: int = 0  # periods of served_within

    @property
    def name(self) -> str:
        """``north_shops.fill_rate``, ``south_shops.served_within_2``, ``waste_share``."""
        figure = f"served_within_{self.window}" if self.kind == "served_within" else self.kind
        return figure if self.customer is None else f"{self.customer}.{figure}"

    @property
    def at_least(self) -> bool:
        """Whether more is better."""
        return self.kind in ("fill_rate", "no_stockout_rate", "served_within")

    def estimate(self, kpis: Kpis, sample: WorldSample | None = None) -> dict[str, Any]:
        """``{"mean": ..., "ci95": [low, high]}`` of the figure that it is about; ``sample`` as of :meth:`Kpis.aggregate`."""
        key = {"max_wait": "longest_wait", "served_within": f"served_within_{self.window}"}.get(self.kind, self.kind)
        part = kpis.figures["network"] if self.customer is None else kpis.figures["customer"][self.customer]
        found: dict[str, Any] = part[key].estimate(sample)
        return found

    def judge(self, kpis: Kpis, sample: WorldSample | None = None) -> dict[str, Any]:
        """The estimate with ``name``, ``target`` and ``status``: met, missed or undecided at 95 %.

        A longest wait is met if no world waits longer. Of one history there is no interval, and the status says what holds
        in that history.
        """
        found = self.estimate(kpis, sample)
        ends = [float("nan") if end is None else end for end in found["ci95"]]
        low, high = [found["mean"]] * 2 if sample is not None and sample.one_history else ends
        if self.kind == "max_wait":
            status = MET if found["max"] <= self.value else MISSED
        elif self.at_least:
            status = MET if low >= self.value else MISSED if high < self.value else UNDECIDED
        else:
            status = MET if high <= self.value else MISSED if low > self.value else UNDECIDED
        return {"name": self.name, "target": self.value, "status": status, **found}

    def missing(self, kpis: Kpis) -> float:
        """Shortfall of the mean from the target, >= 0: in points of a share, else relative to the target."""
        found = self.estimate(kpis)
        if self.kind == "max_wait":
            return max(float(found["max"]) - self.value, 0.0) / (self.value + 1)
        short = self.value - found["mean"] if self.at_least else found["mean"] - self.value
        if self.kind == "emissions_kg_per_unit":
            short = short / max(self.value, 1e-9)
        return max(float(np.nan_to_num(short)), 0.0)


def targets_of(scenario: Scenario) -> list[Target]:
    """All targets of a scenario: customers' in the order of the file, then the network's."""
    found = []
    for name, customer in scenario.customers.items():
        given = customer.targets
        for kind in ("fill_rate", "no_stockout_rate"):
            value = getattr(given, kind)
            if value is not None:
                found.append(Target(kind, float(value), name))
        if given.served_within is not None:
            found.append(Target("served_within", given.served_within.share, name, given.served_within.periods))
        if given.max_wait is not None:
            found.append(Target("max_wait", float(given.max_wait), name))
    for kind in ("emissions_kg_per_unit", "waste_share"):
        value = getattr(scenario.targets, kind)
        if value is not None:
            found.append(Target(kind, float(value)))
    return found


def missed(targets: list[Target], outcome: Outcome) -> list[float]:
    """Shortfall of each target; see :meth:`Target.missing`."""
    kpis = outcome.figures()
    return [target.missing(kpis) for target in targets]


def shortfall(targets: list[Target], outcome: Outcome) -> float:
    """Shortfall of all targets together."""
    return sum(missed(targets, outcome))


class Multipliers:
    """Lagrange multipliers of service targets: prices of missed targets, raised while a target is missed.

    The dual ascent of a Lagrangian: minimise cost + sum of price x (unserved - allowed), one price a customer. Other
    kinds of target have no price here; candidates are compared by them afterwards.
    """

    #: Share of a customer's own penalty by which its price moves in an iteration, at most.
    STEP = 0.1
    #: Aim this share of what is allowed to be missed better than the target, as the last bit is noise.
    MARGIN = 0.05
    #: Share of what a target allows to be missed by which more than the target is aimed at, at most.
    MOST_RAISED = 0.8

    def __init__(self, scenario: Scenario, ops: Ops) -> None:
        t = scenario.tables
        self.ops = ops
        wanted = {"fill_rate": np.zeros(t.C), "no_stockout_rate": np.zeros(t.C)}
        for target in targets_of(scenario):
            if target.kind in wanted and target.customer is not None:
                wanted[target.kind][t.customers.index(target.customer)] = target.value
        self.fill, self.cover = wanted["fill_rate"], wanted["no_stockout_rate"]
        self.active = bool(self.fill.any() or self.cover.any())
        penalty = (t.lost_sale_cost + t.backorder_cost + t.price).mean(1)
        self.unit = np.where(penalty > 0, penalty, max(float(penalty.max(initial=0.0)), 1.0))
        self.price = np.zeros(t.C)
        self.raised = np.zeros(t.C)  # share of demand by which a fill rate is aimed above its target; see heed
        dust = short_of(t, ops.float)
        self.dust = dust if isinstance(dust, float) else dust[:, None, None]
        self.mean_demand = np.maximum(t.mean_demand.sum(1), 1e-9)
        self.most, self.step = np.full(t.C, np.inf), self.STEP
        self._clear()

    def _clear(self) -> None:
        self.unserved: Array | None = None
        self.demand = np.zeros(len(self.price))
        self.short = np.zeros(len(self.price))
        self.periods = 0

    def limit(self, everything: float, step: float) -> None:
        """Let no price rise above ``everything`` (money a period) for all of a customer's demand, and prices move by ``step``.

        The price of a target that nothing meets would rise forever, and a policy would stop looking at costs.
        """
        self.most, self.step = everything / self.mean_demand, step

    def add(self, flows: Flows) -> None:
        """Add a period."""
        if not self.active:
            return
        ops = self.ops
        unserved = flows.demand - flows.served_new  # (C, P, B)
        by_customer = ops.total(unserved, 1).mean(-1)
        self.unserved = by_customer if self.unserved is None else self.unserved + by_customer
        self.demand += ops.numpy(ops.total(flows.demand, 1).mean(-1))
        self.short += (ops.numpy(unserved) > self.dust).any(1).mean(-1)
        self.periods += 1

    def note(self, unserved: Array, demand: Array, short: Array, periods: int) -> None:
        """Add sums over periods, (C,) each, of means over worlds: units not served at once, demand, and stock-outs."""
        self.unserved = self.ops.constant(unserved)
        self.demand, self.short, self.periods = self.demand + demand, self.short + short, self.periods + periods

    def penalised(self, loss: Array, periods: int) -> Array:
        """The loss with the price of what was not served, a period."""
        if self.unserved is None:
            return loss
        return loss + (self.ops.constant(self.price) * self.unserved).sum() / periods

    def heed(self, judged: Sequence[dict[str, Any]], customers: Sequence[str]) -> None:
        """Aim at fill rates as much above their targets as what was seen elsewhere lies below them, and lower again later.

        What is learned from some weeks of a record serves other weeks less well, even where it meets all targets in those it
        was learned from.

        Parameters
        ----------
        judged
            Of :meth:`Target.judge`, on worlds that are not trained on; called again and again in a training.
        customers
            All names, in order.
        """
        for one in judged:
            customer, _, kind = one["name"].rpartition(".")
            if kind == "fill_rate" and customer in customers and one["mean"] is not None:
                place = list(customers).index(customer)
                allowed = 1 - self.fill[place]
                aim = self.fill[place] + self.MARGIN * allowed
                self.raised[place] = np.clip(self.raised[place] + aim - one["mean"], 0.0, self.MOST_RAISED * allowed)

    def update(self) -> None:
        """Move prices by what was seen since the last update."""
        if self.unserved is None:
            return
        unfilled = self.ops.numpy(self.unserved) / np.maximum(self.demand, 1e-9)
        excess = _excess(unfilled, self.fill + self.raised, self.MARGIN)
        excess = np.maximum(excess, _excess(self.short / self.periods, self.cover, self.MARGIN))
        moved = self.price + self.step * self.unit * np.clip(excess, -1.0, 1.0)
        self.price = np.clip(moved, 0.0, self.most)
        self._clear()


def _excess(missed: Any, target: Any, margin: float) -> Any:
    """Shortfall beyond what the target allows, relative to that; -1 without a target."""
    allowed = np.maximum((1 - target) * (1 - margin), 0.002)
    return np.where(target > 0, missed / allowed - 1, -1.0)
