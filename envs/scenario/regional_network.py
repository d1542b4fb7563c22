"""Regional networks: suppliers, central warehouses, and regions of a warehouse with stores, from a few numbers.

All places lie on a ring of regions: region r stands at r, and suppliers and central warehouses are spread evenly. Distances
along the ring say who serves whom and how long it takes; what differs from place to place is drawn once, by ``seed``.

Lanes, in the order of the file (the first lane into a node that carries a product is its primary lane):

============================== ======================================================================================
``supplier_1_central_2``       regular: the supplier's own products
``supplier_1_central_2_second`` mode ``second_source``: the next supplier's products too, so that each product has two
                               suppliers; half the lead time, more expensive
``central_1_region_4``         from the nearest central warehouse; ``central_2_region_4`` from the next one, two periods
                               slower; ``central_1_region_4_express`` in one period
``region_4_region_5``          mode ``transshipment``, both ways between neighbouring regions
``region_4_store_4_7``         regular; ``region_4_store_4_7_express`` within the period; ``region_5_store_4_7`` from the
                               neighbouring region
``store_4_7_store_4_8``        mode ``transshipment``, both ways between neighbouring stores of a region
============================== ======================================================================================

With suppliers S, central warehouses Z, regions R and stores of a region s: S + Z + R (s + 1) nodes, 2 S Z + 5 R + 5 R s
lanes (with at least three regions, stores in each and two central warehouses), and R s customers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from ..core.errors import expected
from ..core.typing import Floats
from ..core.validation import Config, Count, NonNegative, Positive, Share, is_number, number, validate
from ..processes.series import Streams

_KM = 300.0  # between neighbouring regions
_PLACES = 1_000  # of each kind; more are a slip
PlaceCount = Annotated[int, number(1, _PLACES, integer=True)]


class RegionalNetwork(Config):
    """Suppliers, central warehouses and regions, from which nodes, lanes and customers follow; written out when read.

    Demand of a store for a product is negative binomial, its mean ``mean_demand`` times the size of the store, the popularity
    of the product and the taste of the region. Unserved demand of a region's odd stores is lost, that of its even ones waits.
    """

    suppliers: PlaceCount = 5
    """Number of suppliers; products are dealt out to them in turn, and each has those of the next one at a premium."""
    central_warehouses: PlaceCount = 5
    """Number of central warehouses."""
    regions: PlaceCount = 10
    """Number of regions, each with a warehouse."""
    stores_per_region: PlaceCount = 18
    """Stores of a region, each with customers of its own."""
    mean_demand: Positive = 3.0
    """Mean demand of an average store for an average product, in units a period."""
    dispersion: NonNegative = 0.2
    """Dispersion d of demand: the variance is mean + d mean^2."""
    utilisation: Annotated[float, number(0.0, 1.0, strict=True)] = 0.8
    """Mean volume that leaves a central warehouse, as a share of its capacity."""
    holding_cost: NonNegative = 0.05
    """Mean cost of holding a unit for a period in a central warehouse; half as much again in a region, twice in a store."""
    penalty: NonNegative = 15.0
    """Cost of a unit lost, or of a unit and period waiting, as a multiple of the store's holding cost."""
    transport_cost: NonNegative = 0.02
    """Cost of a unit on a regular lane, for each 100 km; express and second sources have a premium."""
    second_accepted: Share = 0.3
    """Share of customers that go on to the regional warehouse when their store is out of stock."""
    seed: Count = 0
    """Seed of what differs between places and products."""

    def draw(self, volumes: Mapping[str, float]) -> dict[str, Any]:
        """Nodes, lanes and customers as plain data of a scenario with these products.

        Parameters
        ----------
        volumes
            Of a unit of each product; products are dealt out to suppliers in this order.
        """
        return _Drawing(self, volumes).network()


def with_generated(data: Any) -> Any:
    """A scenario's plain data with nodes, lanes and customers in place of the key ``generate``.

    Raises
    ------
    InputError
        If nodes, lanes or customers are there already.
    """
    if not isinstance(data, Mapping) or data.get("generate") is None:
        return data
    there = [key for key in ("nodes", "lanes", "customers") if data.get(key)]
    if there:
        hint = "no such key beside nodes, lanes and customers, which it would write (Scenario.load takes it as an override)"
        raise expected("generate", f"beside {', '.join(there)}", hint)
    given = data["generate"]
    config = validate(RegionalNetwork, given, "generate")
    products = data.get("products")
    written = products if isinstance(products, Mapping) and products else {"product": {}}
    volumes = {str(name): _volume(product) for name, product in written.items()}
    return {key: value for key, value in data.items() if key != "generate"} | config.draw(volumes)


def _volume(product: Any) -> float:
    """Volume of a unit of a product as written; what is wrong with it is said by whoever validates products."""
    volume = product.get("volume", 1.0) if isinstance(product, Mapping) else getattr(product, "volume", 1.0)
    return float(volume) if is_number(volume) else 1.0


class _Drawing:
    """One network while it is written."""

    def __init__(self, config: RegionalNetwork, volumes: Mapping[str, float]) -> None:
        self.config, self.products = config, tuple(volumes)
        self.volumes = np.array(list(volumes.values()))
        self.nodes: dict[str, Any] = {}
        self.lanes: dict[str, Any] = {}
        self.customers: dict[str, Any] = {}
        c = config
        self.suppliers = [f"supplier_{k + 1}" for k in range(c.suppliers)]
        self.central = [f"central_{k + 1}" for k in range(c.central_warehouses)]
        self.regions = [f"region_{k + 1}" for k in range(c.regions)]
        self.stores = [[f"store_{r + 1}_{k + 1}" for k in range(c.stores_per_region)] for r in range(c.regions)]
        rate = self._between(0.5, 1.5, "holding", self.products)
        self.holding = dict(zip(self.products, (c.holding_cost * rate).tolist(), strict=True))
        self.nearest = [self._nearest(r) for r in range(c.regions)]

    def network(self) -> dict[str, Any]:
        for name in self.suppliers:
            self.nodes[name] = {"kind": "supplier"}
        sold = self._customers()
        for k, name in enumerate(self.central):
            flow = sum(sold[r] for r in range(len(self.regions)) if self.nearest[r][0] == k)
            capacity = float(np.ceil(flow / self.config.utilisation)) or None
            self.nodes[name] = {"holding_cost": self._holding(1.0)} | ({"capacity": capacity} if capacity else {})
        for name in self.regions:
            self.nodes[name] = {"holding_cost": self._holding(1.5)}
        for name in (store for stores in self.stores for store in stores):
            self.nodes[name] = {"holding_cost": self._holding(2.0)}
        self._supply()
        self._regions()
        self._stores()
        return {"nodes": self.nodes, "lanes": self.lanes, "customers": self.customers}

    def _customers(self) -> list[float]:
        """Customers of all stores; the mean volume that each region sells."""
        c, sold = self.config, []
        popularity = self._between(0.3, 1.7, "popularity", self.products)
        for r, stores in enumerate(self.stores):
            taste = self._between(0.7, 1.3, f"taste {self.regions[r]}", self.products)
            size = self._between(0.4, 1.6, "size", stores)
            means = np.round(np.maximum(c.mean_demand * size[:, None] * popularity * taste, 0.01), 2)
            sold.append(float((means * self.volumes).sum()))
            for k, store in enumerate(stores):
                waits = k % 2 == 1
                cost = {name: round(c.penalty * 2.0 * value, 4) for name, value in self.holding.items()}
                self.customers[f"customers_of_{store}"] = {
                    "region": self.regions[r],
                    "segment": "waiting" if waits else "walk_in",
                    "sources": {
                        store: {},
                        self.regions[r]: {
                            "acceptance": c.second_accepted,
                            "transport_cost": round(5 * c.transport_cost, 4),
                        },
                    },
                    "demand": {
                        "kind": "negative_binomial",
                        "mean": dict(zip(self.products, means[k].tolist(), strict=True)),
                        "dispersion": c.dispersion,
                    },
                    "lost_share": 0.0 if waits else 1.0,
                    "backorder_cost" if waits else "lost_sale_cost": cost,
                }
        return sold

    def _supply(self) -> None:
        """Lanes into central warehouses."""
        own: dict[str, list[str]] = {name: [] for name in self.suppliers}
        for k, product in enumerate(self.products):
            own[self.suppliers[k % len(self.suppliers)]].append(product)
        pairs = [
            (s, z, self._apart(s / len(self.suppliers), z / len(self.central)))
            for s in range(len(self.suppliers))
            for z in range(len(self.central))
        ]
        for s, z, distance in pairs:
            if made := own[self.suppliers[s]]:
                lead = 3 + round(distance)
                drawn = {"values": [lead, lead + 1, lead + 2], "probabilities": [0.6, 0.3, 0.1]}
                self._lane(self.suppliers[s], self.central[z], distance, lead_time=drawn, products=made)
        for s, z, distance in pairs:
            second = own[self.suppliers[(s + 1) % len(self.suppliers)]]
            if second and len(self.suppliers) > 1:
                premium = {name: round(10 * self.holding[name], 4) for name in second}
                lead = max((3 + round(distance)) // 2, 1)
                more: dict[str, Any] = {"mode": "second_source", "products": second, "purchase_cost": premium}
                self._lane(self.suppliers[s], self.central[z], distance, "second", lead_time=lead, **more)

    def _regions(self) -> None:
        """Lanes into regional warehouses: from the nearest central warehouse, the next one, by express, from neighbours."""
        for r, region in enumerate(self.regions):
            (first, *others), apart = self.nearest[r], self._central_distance
            self._lane(self.central[first], region, apart(first, r), lead_time=1 + round(apart(first, r)))
            for second in others[:1]:
                lead = 3 + round(apart(second, r))
                self._lane(self.central[second], region, apart(second, r), lead_time=lead, mode="second_source")
            distance = apart(first, r)
            self._lane(self.central[first], region, distance, "express", 3.0, lead_time=1, mode="express")
        for one, other in _neighbours(len(self.regions)):
            self._lane(self.regions[one], self.regions[other], 1.0, lead_time=2, mode="transshipment")

    def _stores(self) -> None:
        """Lanes into stores: regular ones, then by express, from the neighbouring region, from neighbouring stores."""
        count = len(self.regions)
        for r, stores in enumerate(self.stores):
            far = self._between(0.1, 0.5, "distance", stores).tolist()
            for store, distance in zip(stores, far, strict=True):
                self._lane(self.regions[r], store, distance, lead_time=1 + round(2 * distance))
        for r, stores in enumerate(self.stores):
            far = self._between(0.1, 0.5, "distance", stores).tolist()
            for store, distance in zip(stores, far, strict=True):
                self._lane(self.regions[r], store, distance, "express", 5.0, lead_time=0, mode="express", capacity=20.0)
                if count > 1:
                    neighbour = self.regions[(r + 1) % count]
                    self._lane(neighbour, store, 1.0 + distance, lead_time=3, mode="second_source")
            for one, other in _neighbours(len(stores)):
                self._lane(stores[one], stores[other], 0.2, lead_time=1, mode="transshipment")

    def _lane(
        self, source: str, target: str, distance: float, kind: str = "", premium: float = 1.0, **keys: Any
    ) -> None:
        name = f"{source}_{target}" + (f"_{kind}" if kind else "")
        km = round(_KM * max(distance, 0.1), 1)
        cost = round(self.config.transport_cost * km / 100 * premium, 4)
        self.lanes[name] = {"source": source, "target": target, "distance_km": km, "transport_cost": cost, **keys}

    def _holding(self, factor: float) -> dict[str, float]:
        return {name: round(factor * value, 4) for name, value in self.holding.items()}

    def _between(self, low: float, high: float, process: str, names: Sequence[str]) -> Floats:
        """A number between ``low`` and ``high`` for each name, which depends on seed, process and name alone."""
        streams = Streams("train", self.config.seed, np.zeros(1, np.int64))
        return np.round(low + (high - low) * streams.uniforms(f"regional {process}", list(names), 0, 1)[0, :, 0], 4)

    def _apart(self, one: float, other: float) -> float:
        """Distance in regions of two places on the ring, each given as the share of a turn."""
        turn = abs(one - other) % 1.0
        return min(turn, 1.0 - turn) * len(self.regions)

    def _central_distance(self, central: int, region: int) -> float:
        return self._apart(central / len(self.central), region / len(self.regions))

    def _nearest(self, region: int) -> list[int]:
        """Central warehouses, the nearest to a region first."""
        return sorted(range(len(self.central)), key=lambda k: (round(self._central_distance(k, region), 6), k))


def _neighbours(count: int) -> Iterator[tuple[int, int]]:
    """Ordered pairs of neighbours among ``count`` places on a ring, both ways."""
    pairs = {(k, (k + 1) % count) for k in range(count)} - {(k, k) for k in range(count)}
    return iter(sorted(pairs | {(other, one) for one, other in pairs}))


__all__ = ["RegionalNetwork", "with_generated"]
