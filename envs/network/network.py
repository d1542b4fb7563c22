"""Networks: the entities that a user writes, checked against one another.

A lane to nowhere, a circle of primary lanes or a negative lead time is an error that names the place.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import ValidationInfo, model_validator

from ..core.errors import expected, unknown
from ..core.validation import by_product, validate
from .csv_tables import read_csv, to_networkx, write_csv
from .entities import NOT_FOR_RETURNS, NOT_FOR_SUPPLIERS, Customer, Entities, Lane, Node, Source
from .open_periods import check_calendars


class Network(Entities):
    """Products, nodes, lanes and customers, each by name, in the order of the file.

    Raises
    ------
    InputError
        From ``Scenario.load`` and ``Network.from_csv``: one line a fault, naming key and value.
    """

    @model_validator(mode="after")
    def _check_network(self, info: ValidationInfo) -> Self:
        if not self.products or not self.nodes:
            raise ValueError("expected at least one product and one node")
        for name in self.customers:
            if name in self.nodes:
                raise expected("customers", name, "a name that no node has")
        for section in ("nodes", "lanes", "customers"):
            for name, item in getattr(self, section).items():
                self._check_products(f"{section}.{name}", item)
        for name, node in self.nodes.items():
            given = [key for key in NOT_FOR_SUPPLIERS if key in node.model_fields_set]
            for key in given if node.kind == "supplier" else []:
                if getattr(node, key) != Node.model_fields[key].default:
                    field = f"nodes.{name}.{key}"
                    raise expected(field, getattr(node, key), "no such key on a supplier")
        for name, lane in self.lanes.items():
            self._check_lane(f"lanes.{name}", lane)
        self._check_returns()
        for name, customer in self.customers.items():
            self._check_customer(f"customers.{name}", customer)
        self._check_forest()
        check_calendars(self.nodes, self.lanes)
        return self

    def _check_products(self, field: str, item: Any) -> None:
        """Every product named in ``item`` exists."""
        for key in type(item).model_fields:
            value = getattr(item, key)
            if key == "products" and value is not None:
                names: Any = value
            elif isinstance(value, dict) and key not in ("demand", "sources"):
                names = value
            else:
                continue
            for name in names:
                if name not in self.products:
                    raise unknown(f"{field}.{key}", name, self.products)

    def _check_lane(self, field: str, lane: Lane) -> None:
        places = (*self.nodes, *self.customers)
        if lane.source not in places:
            raise unknown(f"{field}.source", lane.source, places)
        if lane.target not in self.nodes:
            raise unknown(f"{field}.target", lane.target, self.nodes)
        if self.nodes[lane.target].kind == "supplier":
            raise expected(f"{field}.target", lane.target, "a node that holds stock, no supplier")
        if lane.source == lane.target:
            raise expected(f"{field}.target", lane.target, "another node than the source")
        most = max(by_product(lane.opening_in_transit or 0.0, tuple(self.products)))
        if most > 0 and max(lane.lead_time.values) < 2:
            why = "with a lead time below 2 nothing is in transit; what arrives in period 0 is initial stock of the target"
            raise expected(f"{field}.opening_in_transit", most, f"0: {why}")
        if lane.source in self.customers:
            if lane.return_share is None:
                raise expected(f"{field}.return_share", None, "a share: the lane starts at a customer")
            if min(lane.lead_time.values) < 1:
                raise expected(f"{field}.lead_time", min(lane.lead_time.values), ">= 1 on a return lane")
            for key in NOT_FOR_RETURNS:
                if getattr(lane, key) != Lane.model_fields[key].default:
                    raise expected(f"{field}.{key}", getattr(lane, key), "no such key on a return lane")
        elif lane.return_share is not None or lane.recovery != 1.0:
            raise expected(f"{field}.source", lane.source, "a customer, as return_share or recovery is given")

    def _check_returns(self) -> None:
        returns: dict[str, list[Lane]] = {}
        for lane in self.lanes.values():
            if lane.source in self.customers:
                returns.setdefault(lane.source, []).append(lane)
        for customer, lanes in returns.items():
            for product in self.products:
                total = 0.0
                for lane in lanes:
                    if lane.products is None or product in lane.products:
                        share = lane.return_share
                        value = share.get(product, 0.0) if isinstance(share, dict) else share
                        total += value or 0.0
                if total > 1.0 + 1e-9:
                    field = f"return_share of lanes from {customer} ({product})"
                    raise expected(field, total, "a total <= 1")

    def _check_customer(self, field: str, customer: Customer) -> None:
        if not customer.sources:
            raise expected(f"{field}.sources", {}, "at least one node")
        for name, source in customer.sources.items():
            if name not in self.nodes:
                raise unknown(f"{field}.sources", name, self.nodes)
            self._check_products(f"{field}.sources.{name}", source)
        self._check_backlog(field, customer)

    def _check_backlog(self, field: str, customer: Customer) -> None:
        """Only customers who wait can have waited when period 0 begins."""
        products = tuple(self.products)
        opening = by_product(customer.opening_backlog or 0.0, products)
        lost = by_product(customer.lost_share, products)
        patience = by_product(customer.patience, products, None)
        for product, units, share, periods in zip(products, opening, lost, patience, strict=True):
            if units > 0 and (share == 1 or periods == 0):
                why = "lost_share is 1" if share == 1 else "patience is 0"
                raise expected(f"{field}.opening_backlog", units, f"0, as {why} and nobody waits ({product})")

    def _check_forest(self) -> None:
        """Primary lanes (the first listed into a node) may not run in a circle."""
        for product in self.products:
            up = {
                lane.target: lane.source for name in self.primary_lanes(product).values() for lane in [self.lanes[name]]
            }
            for start in up:
                node, seen = start, [start]
                while node in up:
                    node = up[node]
                    if node in seen:
                        circle = " <- ".join([*seen, node])
                        raise expected(
                            "lanes", circle, "primary lanes (the first listed into each node) without a circle"
                        )
                    seen.append(node)

    def primary_lanes(self, product: str) -> dict[str, str]:
        """Name of the primary lane of each node that has one: the first listed that carries it."""
        found: dict[str, str] = {}
        for name, lane in self.lanes.items():
            carries = lane.products is None or product in lane.products
            if carries and lane.source in self.nodes:
                found.setdefault(lane.target, name)
        return found

    def carries(self, item: Lane | Source, product: str) -> bool:
        """Whether a lane or source carries a product (all, unless it lists some)."""
        return item.products is None or product in item.products

    def to_networkx(self) -> Any:
        """The network as ``networkx.MultiDiGraph``: nodes and customers, lanes and sources as edges.

        Raises
        ------
        MissingExtra
            If networkx is not installed.
        """
        return to_networkx(self)

    def to_csv(self, folder: Any) -> None:
        """Write ``products.csv, nodes.csv, lanes.csv, customers.csv`` into ``folder``."""
        write_csv(self, folder)

    @classmethod
    def from_csv(cls, folder: Any, **rest: Any) -> Self:
        """Read the tables of ``to_csv``; ``rest`` are further top-level keys (of a Scenario)."""
        return cls.from_mapping({**read_csv(folder), **rest}, where=str(folder))

    @classmethod
    def from_mapping(cls, data: dict[str, Any], where: str = "network") -> Self:
        """Validate a plain mapping; every fault is one line of an :class:`InputError`."""
        return validate(cls, data, where)
