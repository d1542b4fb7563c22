"""What a user writes about the physical network: products, nodes, lanes and customers.

All models are immutable and validated; an unknown key, a lane to nowhere or a negative lead time is
an error that names the place. Amounts may be one number or a mapping by product.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, WrapValidator, model_validator

from ..core.errors import expected, unknown
from ..core.names import Label, Name, Named, Names
from ..core.validation import (
    AmountByProduct,
    Config,
    Count,
    NonNegative,
    Positive,
    PositiveCount,
    Share,
    ShareByProduct,
    by_product,
    number,
    number_by_product,
)
from ..processes.lead_time import LeadTime, parse_lead_time
from .calendars import Calendar, ReviewField, check_calendars

LeadTimeField = Annotated[LeadTime, WrapValidator(lambda value, _: parse_lead_time(value))]
InitialField = Annotated[float | str | dict[str, float | str], number_by_product(auto=True)]
PatienceField = Annotated[int | dict[str, int], number_by_product(0, integer=True)]


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected a mapping with kind, or a mapping by product")
    return dict(value)


class Product(Config):
    """One article."""

    shelf_life: PositiveCount | None = None
    """Periods that a unit lives, that of its dispatch from the supplier included; left out: it never expires."""
    volume: NonNegative = 1.0
    """Volume of a unit; all capacities are volumes."""


class Node(Config):
    """A place that holds stock, or a supplier that has it without limit.

    On days that ``calendar`` closes it neither ships nor serves nor receives.
    """

    kind: Literal["stock", "supplier"] = "stock"
    """`stock` holds inventory; a `supplier` has stock without limit."""
    capacity: NonNegative | None = None
    """Volume that may leave the node on lanes in a period; left out: no limit."""
    holding_cost: AmountByProduct = 0.0
    """Cost of a unit on hand at the end of a period, for each period."""
    storage_capacity: NonNegative | None = None
    """Volume that the node can store; more may arrive, but is charged `overflow_cost`."""
    overflow_cost: NonNegative = 0.0
    """Cost of a volume of 1 above `storage_capacity`, for each period."""
    disposal_cost: AmountByProduct = 0.0
    """Cost of a unit that is disposed of: expired, damaged on the way, or returned and not recovered."""
    fixed_cost: NonNegative = 0.0
    """Cost of each period in which the node holds any unit."""
    terminal_value: AmountByProduct = 0.0
    """Value of a unit on hand when the episode ends; it reduces the cost."""
    initial: InitialField = "auto"
    """Units on hand before period 0, or `auto`: about the stock of the steady state."""
    calendar: Calendar | None = None
    """Days on which the node is open; left out: every day."""


class Lane(Config):
    """A way for units from ``source`` (a node, or a customer for returns) to node ``target``."""

    source: Name
    """Node that ships on the lane, or, for a return lane, the customer whose units come back."""
    target: Name
    """Node that receives the units; it holds stock."""
    mode: Label = "regular"
    """Mode of transport, any label; `express` and `transshipment` have KPIs of their own."""
    lead_time: LeadTimeField = Field(default_factory=lambda: parse_lead_time(1))
    """Whole periods from dispatch to arrival, or `{values: [1, 2], probabilities: [0.8, 0.2]}`, drawn anew in each period."""
    products: Names | None = None
    """Products that the lane carries; left out: all."""
    capacity: NonNegative | None = None
    """Volume that can be shipped in a period; left out: no limit."""
    priority: Annotated[int, number(-(10**6), 10**6, integer=True)] = 1
    """Lanes with a lower number are served first where the stock of the source is scarce."""
    purchase_cost: AmountByProduct = 0.0
    """Cost of a unit shipped, paid to the supplier."""
    transport_cost: AmountByProduct = 0.0
    """Cost of a unit shipped, paid for its transport."""
    in_transit_cost: AmountByProduct = 0.0
    """Cost of a unit in transit, for each period."""
    distance_km: NonNegative = 0.0
    """Distance that a vehicle drives."""
    emissions_kg: AmountByProduct = 0.0
    """Emissions of a unit shipped, kg CO2e."""
    vehicle_volume: Positive | None = None
    """Volume of a vehicle; left out: one vehicle carries whatever is shipped."""
    fixed_cost: NonNegative = 0.0
    """Cost of a vehicle."""
    fixed_emissions_kg: NonNegative = 0.0
    """Emissions of a vehicle, kg CO2e."""
    commitment: AmountByProduct = 0.0
    """Units a period whose transport is paid for even if they are not shipped."""
    batch: AmountByProduct | None = None
    """Requests are rounded to a multiple of this number of units."""
    minimum_order: AmountByProduct | None = None
    """Least order in units; a smaller request becomes this number or 0, whichever is nearer."""
    review: ReviewField | None = None
    """Periods in which the lane can be ordered on: `{every: 7, first: 0}`, or `7` alone; left out: every period."""
    calendar: Calendar | None = None
    """Days on which the lane departs; left out: every day."""
    return_share: ShareByProduct | None = None
    """Share of the units served to the customer that comes back; only on a lane that starts at a customer."""
    recovery: ShareByProduct = 1.0
    """Share of the returned units that can be sold again; the rest is disposed of."""


class Source(Config):
    """One of the nodes that serve a customer, in order of choice."""

    transport_cost: AmountByProduct = 0.0
    """Cost of a unit served from this node."""
    acceptance: ShareByProduct = 1.0
    """Share of what the previous source left unserved that asks here."""
    emissions_kg: AmountByProduct = 0.0
    """Emissions of a unit served from this node, kg CO2e."""
    products: Names | None = None
    """Products that the customer gets from this node; left out: all."""


class ServedWithin(Config):
    """Target: at least ``share`` of demand served within ``periods`` of its arrival."""

    periods: Count
    """Longest wait that counts as in time, in periods."""
    share: Share
    """Least share of demand to be served in time."""


class Targets(Config):
    """Service targets of a customer; they never enter the cost."""

    fill_rate: Share | None = None
    """Least share of demand served at once from stock."""
    no_stockout_rate: Share | None = None
    """Least share of periods in which all new demand is served at once."""
    served_within: ServedWithin | None = None
    """Least share of demand served within a number of periods."""
    max_wait: Count | None = None
    """Longest wait of any unit of demand, in periods."""


class Customer(Config):
    """A stream of demand, the nodes that serve it, and what happens to what they cannot serve."""

    demand: Annotated[dict[str, Any], BeforeValidator(_mapping)]
    """A demand process, or a mapping from product to one."""
    lost_share: ShareByProduct
    """Share of unserved new demand that is lost: 1 is lost sales, 0 is backorders."""
    sources: Annotated[dict[str, Source], Named]
    """Nodes that serve the customer, in order of choice, each with its own keys."""
    segment: Label = "default"
    """Label by which KPIs, correlation and disruptions can group customers."""
    region: Label = "default"
    """Label by which KPIs, correlation and disruptions can group customers."""
    lost_sale_cost: AmountByProduct = 0.0
    """Cost of a unit of demand that is lost."""
    backorder_cost: AmountByProduct = 0.0
    """Cost of a unit of demand that waits, for each period."""
    price: AmountByProduct = 0.0
    """Revenue of a unit served."""
    patience: PatienceField | None = None
    """Periods that a unit of demand waits before it is lost; left out: without limit."""
    opening_backlog: AmountByProduct | None = None
    """Units of demand that already wait when period 0 begins."""
    priority: Annotated[int, number(-(10**6), 10**6, integer=True)] = 1
    """Customers with a lower number are served first."""
    issuing: Literal["fifo", "lifo"] = "fifo"
    """Units that the customer takes: the oldest (`fifo`) or the freshest (`lifo`)."""
    targets: Targets = Targets()
    """Service targets of this customer."""


# What a supplier, having stock without limit, cannot have; and what only a return lane has.
NOT_FOR_SUPPLIERS = (
    "holding_cost storage_capacity overflow_cost disposal_cost fixed_cost terminal_value initial"
).split()
NOT_FOR_RETURNS = "capacity batch minimum_order review calendar purchase_cost commitment".split()


class Network(Config):
    """Products, nodes, lanes and customers, each by name, in the order of the file.

    Raises
    ------
    InputError
        From ``Scenario.load`` and ``Network.from_csv``: one line a fault, naming key and value.
    """

    products: Annotated[dict[str, Product], Named] = Field(default_factory=lambda: {"product": Product()})
    """Products by name; left out: one product called `product`."""
    nodes: Annotated[dict[str, Node], Named] = Field(default_factory=dict)
    """Suppliers and stock nodes by name."""
    lanes: Annotated[dict[str, Lane], Named] = Field(default_factory=dict)
    """Lanes by name; the first lane into a node that carries a product is its primary lane."""
    customers: Annotated[dict[str, Customer], Named] = Field(default_factory=dict)
    """Customers by name."""

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
        check_calendars(self)
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
        for customer in self.customers:
            for product in self.products:
                total = 0.0
                for lane in self.lanes.values():
                    if lane.source == customer and (lane.products is None or product in lane.products):
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
        from .csv_tables import to_networkx

        return to_networkx(self)

    def to_csv(self, folder: Any) -> None:
        """Write ``products.csv, nodes.csv, lanes.csv, customers.csv`` into ``folder``."""
        from .csv_tables import write_csv

        write_csv(self, folder)

    @classmethod
    def from_csv(cls, folder: Any, **rest: Any) -> Self:
        """Read the tables of ``to_csv``; ``rest`` are further top-level keys (of a Scenario)."""
        from .csv_tables import read_csv

        return cls.from_mapping({**read_csv(folder), **rest}, where=str(folder))

    @classmethod
    def from_mapping(cls, data: dict[str, Any], where: str = "network") -> Self:
        """Validate a plain mapping; every fault is one line of an :class:`InputError`."""
        from ..core.validation import validate

        return validate(cls, data, where)
