"""Random distribution networks: a supplier, a central warehouse, regional depots or none, and stores.

Everything is drawn from named numbers (:class:`.ranges.RandomNumbers`), those of ``store_3`` under its name, so that a larger
network has the stores of a smaller one and more.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from ..core.errors import expected
from ..core.validation import Config, Share
from .ranges import RandomNumbers, Range, RangeField, WholeField

SUPPLIER, WAREHOUSE = "supplier", "warehouse"
_MOST = 20_000
_SMALLEST = 3  # nodes: supplier, warehouse and one store
_SMALLEST_WITH_DEPOT = 4


def _whole(low: float, high: float) -> Range:
    return Range(low=low, high=high, whole=True)


class RandomDemand(Config):
    """Demand of a store's customers; a Poisson demand has no ``coefficient_of_variation``.

    ``negative_binomial`` gets the dispersion that gives the coefficient, none below that of Poisson demand.
    """

    kind: Literal["normal", "gamma", "poisson", "negative_binomial"] = "normal"
    """Family of the demand."""
    mean: RangeField = Range(low=2.0, high=8.0)
    """Mean demand in a period, in units."""
    coefficient_of_variation: RangeField = Range(low=0.2, high=0.6)
    """Standard deviation divided by the mean; not for `poisson`."""

    def draw(self, numbers: RandomNumbers, store: str) -> dict[str, Any]:
        """The process of one store's customers as plain data."""
        mean = self.mean.value(numbers.uniform(f"{store}.demand.mean"))
        found = {"kind": self.kind, "mean": mean}
        if self.kind == "poisson":
            return found
        ratio = self.coefficient_of_variation.value(numbers.uniform(f"{store}.demand.coefficient_of_variation"))
        if self.kind == "negative_binomial":
            return {**found, "dispersion": round(max(ratio**2 - 1.0 / mean, 0.0), 6) if mean > 0 else 0.0}
        return {**found, "standard_deviation": round(mean * ratio, 6)}


class LeadTimes(Config):
    """Lead times in periods of the lanes into a warehouse, a depot and a store."""

    warehouse: WholeField = _whole(1, 4)
    """Of the lane into the warehouse, in periods."""
    depot: WholeField = _whole(1, 3)
    """Of the lanes into depots, in periods."""
    store: WholeField = _whole(1, 4)
    """Of the lanes into stores, in periods."""


class ExtraLane(Config):
    """Lanes beside the regular one: how likely each is, and what they are like."""

    probability: Share
    """Probability that such a lane exists."""
    lead_time: WholeField = _whole(1, 1)
    """Its lead time in periods."""
    transport_cost: RangeField = Range(values=(1.0,))
    """Its transport cost for a unit."""


class RandomNetwork(Config):
    """``randomise.network``: sizes, demands, lead times and costs of networks that are drawn whole.

    ``nodes`` counts all of them, supplier and warehouse included; ``depots`` is the probability that depots stand between
    warehouse and stores. ``holding_cost`` is the warehouse's, and that of a node below is ``holding_rise`` times its
    source's. ``penalty`` is the cost of a lost unit, or of a unit and period waiting, as a multiple of the store's
    holding cost; ``lost`` the probability that a store's unserved demand is lost instead of waiting. ``express`` lanes lead
    into stores from their regular source; ``lateral`` ones both ways between two neighbouring stores of one source.
    """

    nodes: WholeField = _whole(4, 12)
    """Number of nodes, supplier and warehouse included; at least 3."""
    depots: Share = 0.5
    """Probability that depots stand between the warehouse and the stores."""
    stores_per_depot: WholeField = _whole(2, 5)
    """Mean number of stores for each depot, from which the number of depots follows."""
    demand: RandomDemand = RandomDemand()
    """Demand of each store's customers."""
    lead_time: LeadTimes = LeadTimes()
    """Lead times of the regular lanes."""
    holding_cost: RangeField = Range(low=0.2, high=0.5)
    """Holding cost at the warehouse."""
    holding_rise: RangeField = Range(low=1.2, high=2.0)
    """Factor from the holding cost of a node to that of a node which it supplies."""
    penalty: RangeField = Range(low=4.0, high=20.0)
    """Cost of a lost unit, or of a unit and period waiting, as a multiple of the store's holding cost."""
    lost: Share = 1.0
    """Probability that unserved demand of a store is lost; otherwise it waits."""
    transport_cost: RangeField = Range(values=(0.0,))
    """Transport cost of the regular lanes."""
    express: ExtraLane | None = None
    """Second lane into a store from its source, of mode `express`; left out: none."""
    lateral: ExtraLane | None = None
    """Lanes both ways between two neighbouring stores of one source, of mode `transshipment`; left out: none."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for size in self.nodes.ends:
            if not isinstance(size, int) or size < _SMALLEST:
                raise expected("nodes", size, f"whole numbers >= {_SMALLEST}: supplier, warehouse and a store")
        return self

    def draw(self, numbers: RandomNumbers) -> dict[str, Any]:
        """Nodes, lanes and customers of one network, as plain data of a scenario."""
        return _Drawing(self, numbers).network()


class _Drawing:
    """One network while it is drawn."""

    def __init__(self, config: RandomNetwork, numbers: RandomNumbers) -> None:
        self.config, self.numbers = config, numbers
        self.nodes: dict[str, Any] = {}
        self.lanes: dict[str, Any] = {}
        self.customers: dict[str, Any] = {}

    def network(self) -> dict[str, Any]:
        stores, depots = self._sizes()
        self.nodes[SUPPLIER] = {"kind": "supplier"}
        self._node(WAREHOUSE, SUPPLIER, "warehouse")
        for depot in depots:
            self._node(depot, WAREHOUSE, "depot")
        sources = [depots[place * len(depots) // len(stores)] if depots else WAREHOUSE for place in range(len(stores))]
        for store, source in zip(stores, sources, strict=True):
            self._node(store, source, "store")
            self._customers(store, source)
        # Extra lanes come last: the first lane listed into a node is its primary one.
        for store, source in zip(stores, sources, strict=True):
            self._extra(self.config.express, "express", source, store)
        for place in range(1, len(stores)):
            if sources[place] == sources[place - 1]:
                self._laterals(stores[place - 1], stores[place])
        return {"nodes": self.nodes, "lanes": self.lanes, "customers": self.customers}

    def _sizes(self) -> tuple[list[str], list[str]]:
        """Names of the stores and of the depots."""
        nodes = self._value("nodes", self.config.nodes)
        if nodes > _MOST:
            raise expected("randomise.network.nodes", nodes, f"at most {_MOST:,}")
        below = nodes - 2
        depots = 0
        if nodes >= _SMALLEST_WITH_DEPOT and self.numbers.chance("depots", self.config.depots):
            each = self._value("stores_per_depot", self.config.stores_per_depot)
            if each < 1:
                raise expected("randomise.network.stores_per_depot", each, "a whole number >= 1")
            depots = min(max(round(below / (1 + each)), 1), below // 2)
        return [f"store_{k + 1}" for k in range(below - depots)], [f"depot_{k + 1}" for k in range(depots)]

    def _value(self, name: str, choice: Range) -> Any:
        return choice.value(self.numbers.uniform(name))

    def _node(self, name: str, source: str, kind: str) -> None:
        """A node that holds stock, and its regular lane."""
        if source == SUPPLIER:
            cost = self._value(f"{name}.holding_cost", self.config.holding_cost)
        else:
            cost = self.nodes[source]["holding_cost"] * self._value(f"{name}.holding_rise", self.config.holding_rise)
        self.nodes[name] = {"holding_cost": round(cost, 6)}
        lane = {
            "lead_time": self._value(f"{name}.lead_time", getattr(self.config.lead_time, kind)),
            "transport_cost": self._value(f"{name}.transport_cost", self.config.transport_cost),
        }
        self.lanes[f"{source}_{name}"] = {"source": source, "target": name, **lane}

    def _customers(self, store: str, source: str) -> None:
        penalty = self._value(f"{store}.penalty", self.config.penalty) * self.nodes[store]["holding_cost"]
        lost = self.numbers.chance(f"{store}.lost", self.config.lost)
        self.customers[f"customers_of_{store}"] = {
            "region": source,
            "sources": {store: {}},
            "demand": self.config.demand.draw(self.numbers, store),
            "lost_share": 1.0 if lost else 0.0,
            "lost_sale_cost" if lost else "backorder_cost": round(penalty, 6),
        }

    def _extra(self, given: ExtraLane | None, mode: str, source: str, target: str) -> None:
        name = f"{source}_{target}_{mode}"
        if given is not None and self.numbers.chance(f"{name}.probability", given.probability):
            self._add(given, mode, source, target, name)

    def _add(self, given: ExtraLane, mode: str, source: str, target: str, name: str) -> None:
        lane = {
            "lead_time": self._value(f"{name}.lead_time", given.lead_time),
            "transport_cost": self._value(f"{name}.transport_cost", given.transport_cost),
        }
        self.lanes[name] = {"source": source, "target": target, "mode": mode, **lane}

    def _laterals(self, one: str, other: str) -> None:
        given = self.config.lateral
        if given is not None and self.numbers.chance(f"{one}_{other}.lateral", given.probability):
            for source, target in ((one, other), (other, one)):
                self._add(given, "transshipment", source, target, f"{source}_{target}")


__all__ = ["ExtraLane", "LeadTimes", "RandomDemand", "RandomNetwork"]
