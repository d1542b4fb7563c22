"""The entities of a network: products, nodes, lanes, sources and customers, and the four mappings that hold them.

All models are immutable and validated; an unknown key or a number that cannot be is an error that names the place.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WrapValidator

from ..core.names import Label, Name, Named, Names
from ..core.validation import (
    LONGEST_SPAN,
    AmountByProduct,
    Config,
    Count,
    NonNegative,
    PeriodsFromOne,
    Positive,
    Share,
    ShareByProduct,
    number,
    number_by_product,
)
from ..processes.lead_time import LeadTime, parse_lead_time
from .calendars import Calendar, ReviewField

LeadTimeField = Annotated[LeadTime, WrapValidator(lambda value, _: parse_lead_time(value))]
InitialField = Annotated[float | str | dict[str, float | str], number_by_product(auto=True)]
PatienceField = Annotated[int | dict[str, int], number_by_product(0, LONGEST_SPAN, integer=True)]


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected a mapping with kind, or a mapping by product")
    return dict(value)


class Product(Config):
    """One article."""

    shelf_life: PeriodsFromOne | None = None
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
    """Whole periods from dispatch to arrival, at most 10,000, or `{values: [1, 2], probabilities: [0.8, 0.2]}`, drawn anew
    in each period."""
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
    opening_in_transit: AmountByProduct | None = None
    """Units in each shipment in transit when period 0 begins, one for each period of the lead time but the last; left
    out: none, or what `initial: auto` of the target says."""
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
    accepted_by: Literal["share", "coin"] | None = None
    """`share`, also if left out: just that share of the units asks; `coin`: each unit asks with that probability, drawn with
    the world (whole units only)."""
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


class Entities(Config):
    """Products, nodes, lanes and customers, each by name, in the order of the file; :class:`Network` checks them together."""

    products: Annotated[dict[str, Product], Named] = Field(default_factory=lambda: {"product": Product()})
    """Products by name; left out: one product called `product`."""
    nodes: Annotated[dict[str, Node], Named] = Field(default_factory=dict)
    """Suppliers and stock nodes by name."""
    lanes: Annotated[dict[str, Lane], Named] = Field(default_factory=dict)
    """Lanes by name; the first lane into a node that carries a product is its primary lane."""
    customers: Annotated[dict[str, Customer], Named] = Field(default_factory=dict)
    """Customers by name."""
