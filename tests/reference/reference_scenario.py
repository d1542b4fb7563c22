"""What a scenario mapping says, for the reference simulator: names kept, defaults filled in, numbers by product."""

import itertools
import math
from fractions import Fraction
from types import SimpleNamespace

from reference_amounts import Continuous, Whole, as_written

LANE_BY_PRODUCT = {
    "purchase_cost": 0.0,
    "transport_cost": 0.0,
    "in_transit_cost": 0.0,
    "emissions_kg": 0.0,
    "commitment": 0.0,
    "batch": 0,
    "minimum_order": 0,
    "opening_in_transit": None,
    "return_share": 0.0,
    "recovery": 1.0,
}
LANE = {"capacity": None, "priority": 1, "vehicle_volume": None, "fixed_cost": 0.0, "fixed_emissions_kg": 0.0}
NODE_BY_PRODUCT = {"holding_cost": 0.0, "disposal_cost": 0.0, "terminal_value": 0.0, "initial": "auto"}
NODE = {"capacity": None, "storage_capacity": None, "overflow_cost": 0.0, "fixed_cost": 0.0}
PAIR_BY_PRODUCT = {"transport_cost": 0.0, "acceptance": 1.0, "emissions_kg": 0.0}
CUSTOMER_BY_PRODUCT = {
    "lost_share": None,
    "lost_sale_cost": 0.0,
    "backorder_cost": 0.0,
    "price": 0.0,
    "patience": None,
    "opening_backlog": 0,
}
FAR = 400  # periods, beyond which calendars of the tests have repeated
CUSTOMER = {"priority": 1, "issuing": "fifo"}


class World:
    """A scenario resolved: mappings by name in file order; pairs are keyed (source, customer)."""

    def __init__(self, scenario):
        self.amounts = Whole if scenario.get("units", "continuous") == "integer" else Continuous
        self.carbon_price = scenario.get("carbon_price", 0.0)
        self.observe = scenario.get("observe") or {}
        self.products = list(scenario["products"])
        terms = {p: scenario["products"][p] or {} for p in self.products}
        self.volume = {p: terms[p].get("volume", 1.0) for p in self.products}
        self.shelf_life = {p: terms[p].get("shelf_life") or 0 for p in self.products}
        self.classes = max(1, *self.shelf_life.values())
        self.nodes = {name: self.read_node(name, given or {}) for name, given in scenario["nodes"].items()}
        self.customers = {name: self.read_customer(name, given) for name, given in scenario["customers"].items()}
        self.lanes = {name: self.read_lane(name, given) for name, given in scenario["lanes"].items()}
        self.pairs = {
            (source, name): self.read_pair(given or {})
            for name in self.customers
            for source, given in scenario["customers"][name]["sources"].items()
        }
        patience = [c.patience[p] for c in self.customers.values() for p in self.products]
        self.waits = 1 + max((x for x in patience if x is not None), default=0)
        self.slots = max(1, *(self.longest(scenario, name, lane) - 1 for name, lane in self.lanes.items()))

    def longest(self, scenario, name, lane):
        """Longest lead time of a lane, with the longest wait for an open day of its target."""
        wait = max(self.arrives(lane, due) - due for due in range(FAR))
        return longest_lead_time(scenario, name, lane) + wait

    def read_node(self, name, given):
        return SimpleNamespace(
            name=name,
            supplier=given.get("kind") == "supplier",
            works=on_days(given.get("calendar")),
            **self.by_product(given, NODE_BY_PRODUCT),
            **plain(given, NODE),
        )

    def read_lane(self, name, given):
        values = lead_time_values(given)
        return SimpleNamespace(
            name=name,
            source=given["source"],
            target=given["target"],
            is_return=given["source"] in self.customers,
            products=list(given.get("products") or self.products),
            lead_time_values=[value for value, _ in values],
            nominal_lead_time=math.ceil(sum(value * chance for value, chance in values)),
            departs=on_days(given.get("calendar")),
            reviewed=on_review_days(given.get("review")),
            **self.by_product(given, LANE_BY_PRODUCT),
            **plain(given, LANE),
        )

    def read_customer(self, name, given):
        return SimpleNamespace(
            name=name,
            mean_demand={p: mean_demand(given["demand"], p) for p in self.products},
            **self.by_product(given, CUSTOMER_BY_PRODUCT),
            **plain(given, CUSTOMER),
        )

    def read_pair(self, given):
        return SimpleNamespace(
            products=list(given.get("products") or self.products),
            accepted_by=given.get("accepted_by", "share"),
            **self.by_product(given, PAIR_BY_PRODUCT),
        )

    def by_product(self, given, defaults):
        """Every number of `defaults`, spread over products where it is not given by product."""
        return {
            key: {p: of_product(given.get(key, default), p) for p in self.products} for key, default in defaults.items()
        }

    def may_ask(self, lane, t):
        """Whether units can leave on the lane in period t, by its review period, its calendar and its source's."""
        source = self.nodes.get(lane.source)
        return lane.reviewed(t) and lane.departs(t) and (source is None or source.works(t))

    def arrives(self, lane, due):
        """The period in which units due in one arrive: then, or on the target's next open day."""
        while not self.nodes[lane.target].works(due):
            due += 1
        return due

    def lasts(self, lane):
        """Periods that an order has to last for, at most: from asking to the arrival of what is asked next."""
        asking = [t for t in range(FAR) if self.may_ask(lane, t)]
        arrival = {t: self.arrives(lane, t + lane.nominal_lead_time) for t in asking}
        return max(arrival[later] - t for t, later in itertools.pairwise(asking))

    def fresh(self, p):
        """Life class of a fresh unit; goods that never expire stand in the last one."""
        return self.shelf_life[p] - 1 if self.shelf_life[p] else self.classes - 1

    def choices(self, customer, p):
        """The customer's pairs that carry the product, first choice first; sources that do not carry it are skipped."""
        return [pair for pair, terms in self.pairs.items() if pair[1] == customer and p in terms.products]

    def primary_lane(self, node, p):
        """The first lane listed into the node that carries the product, return lanes apart."""
        for lane in self.lanes.values():
            if lane.target == node and not lane.is_return and p in lane.products:
                return lane
        return None

    def in_echelon(self, node, p, top):
        """Whether `top` is the node itself or lies above it along primary lanes."""
        while node != top:
            lane = self.primary_lane(node, p)
            if lane is None:
                return False
            node = lane.source
        return True

    def mean_flow(self, node, p):
        """Mean demand of the customers whose first source lies in the node's echelon."""
        flow = Fraction(0)
        for customer in self.customers.values():
            choices = self.choices(customer.name, p)
            if choices and self.in_echelon(choices[0][0], p, node):
                flow += customer.mean_demand[p]
        return flow


def on_days(calendar):
    """A function of the period: whether it is an open day."""
    if calendar is None:
        return lambda t: True
    cycle = calendar.get("cycle", 7)
    if "open" in calendar:
        return lambda t: t % cycle in calendar["open"]
    return lambda t: t % cycle not in calendar["closed"]


def on_review_days(review):
    """A function of the period: whether a lane can be asked, by its review period."""
    if review is None:
        return lambda t: True
    return lambda t: (t - review.get("first", 0)) % review["every"] == 0


def read_scenario(scenario):
    return World(scenario)


def plain(given, defaults):
    return {key: given.get(key, default) for key, default in defaults.items()}


def of_product(value, p):
    return value[p] if isinstance(value, dict) else value


def lead_time_values(lane):
    """Lead times of a lane with their probabilities."""
    given = lane.get("lead_time", 0)
    if isinstance(given, dict):
        return [
            (value, as_written(chance)) for value, chance in zip(given["values"], given["probabilities"], strict=True)
        ]
    return [(given, Fraction(1))]


def longest_lead_time(scenario, name, lane):
    """Longest lead time of a lane when every disruption that stretches it is on at once."""
    factor = Fraction(1)
    for disruption in (scenario.get("disruptions") or {}).values():
        for effect in disruption["effects"]:
            attributes = {"source": lane.source, "target": lane.target, "mode": scenario["lanes"][name].get("mode")}
            if "lanes" in effect and selects(effect["lanes"], name, attributes):
                factor *= max(as_written(effect.get("lead_time_factor", 1)), 1)
    return math.ceil(max(lane.lead_time_values) * factor)


def selects(selector, name, attributes):
    """Whether a selector of a disruption (a name, or attributes to match) means this entity."""
    if isinstance(selector, dict):
        return all(attributes.get(key) == value for key, value in selector.items())
    return selector == name


def mean_demand(demand, p):
    """Mean of a demand process over seasons, exactly as written."""
    kind = demand["kind"]
    get = {key: of_product(value, p) for key, value in demand.items() if key != "season"}
    if kind == "uniform":
        return (as_written(get["low"]) + as_written(get["high"])) / 2
    if kind == "discrete":
        pairs = zip(get["values"], get["probabilities"], strict=True)
        return sum((as_written(value) * as_written(chance) for value, chance in pairs), Fraction(0))
    if kind == "empirical":
        return sum(map(as_written, get["values"]), Fraction(0)) / len(get["values"])
    if "mean" not in get:
        raise ValueError(f"demand of kind {kind!r}: the reference needs a mean")
    return as_written(get["mean"])
