"""Hand cases of the close: life, cost lines, and the stock that a scenario starts with."""

from hand_cases import Case, customer, network, one_store, two_products, two_stores

LIFE = [
    # 2 of 5 are left over: they stand at the close and are charged, then go; the terminal value finds nothing.
    Case(
        "costs fall on what stands, then stock at the end of life is disposed of",
        one_store(
            {
                "holding_cost": 1.0,
                "disposal_cost": 2.0,
                "terminal_value": 10.0,
                "storage_capacity": 1,
                "overflow_cost": 4.0,
            },
            truck={"lead_time": 0},
            product={"shelf_life": 1},
        ),
        demand={"shop": [3, 0]},
        requests={"truck": [5, 6]},
        expected={
            "disposed": {"store": [2, 6]},
            "on_hand": {"store": [0, 0]},
            "costs": {"holding": [2, 6], "disposal": [4, 12], "overflow": [4, 20], "terminal": [0, 0]},
        },
    ),
    # 10 sent with lead time 0 and a life of 3 serve in 0, 1 and 2.
    Case(
        "a shelf life of m covers m periods, that of dispatch included",
        one_store(truck={"lead_time": 0}, product={"shelf_life": 3}, shop={"lost_share": 1.0}),
        demand={"shop": [2, 2, 2, 2]},
        requests={"truck": [10, 0, 0, 0]},
        expected={
            "served": {"store>shop": [2, 2, 2, 0]},
            "disposed": {"store": [0, 0, 4, 0]},
            "on_hand": {"store": [[0, 0, 0], [0, 8, 0], [6, 0, 0], [0, 0, 0]]},
        },
    ),
    # Milk (life 2) and bread (life 3) leave as classes 1 and 2 and have aged one period on arrival.
    Case(
        "a supplier ships every product fresh, by its own shelf life",
        network(
            nodes={"store": {"initial": 0}},
            lanes={"truck": {"source": "mill", "target": "store", "lead_time": 1}},
            customers={"shop": customer("store")},
            products={"milk": {"shelf_life": 2}, "bread": {"shelf_life": 3}},
        ),
        demand={"shop/milk": [0, 0], "shop/bread": [0, 0]},
        requests={"truck/milk": [4, 0], "truck/bread": [5, 0]},
        expected={
            "on_hand": {"store/milk": [[0, 0, 0], [4, 0, 0]], "store/bread": [[0, 0, 0], [0, 5, 0]]},
            "disposed": {"store/milk": [0, 4], "store/bread": [0, 0]},
        },
    ),
    Case(
        "goods that never expire stand in the last class",
        network(
            nodes={"store": {"initial": {"milk": 4, "salt": 5}}},
            lanes={"truck": {"source": "mill", "target": "store", "lead_time": 2}},
            customers={"shop": customer("store")},
            products={"milk": {"shelf_life": 3}, "salt": {}},
        ),
        demand={"shop/milk": [0] * 4, "shop/salt": [1] * 4},
        requests={"truck/salt": [2, 0, 0, 0]},
        expected={
            "on_hand": {
                "store/milk": [[0, 0, 4], [0, 4, 0], [4, 0, 0], [0, 0, 0]],
                "store/salt": [[0, 0, 5], [0, 0, 4], [0, 0, 5], [0, 0, 4]],
            },
            "in_transit": {"truck/salt": [[0, 0, 0], [0, 0, 2], [0, 0, 0], [0, 0, 0]]},
            "disposed": {"store/milk": [0, 0, 4, 0], "store/salt": [0, 0, 0, 0]},
        },
    ),
]

LINES = [
    # Paid for 5 when they leave, though they take 2 periods and half of them spoil.
    Case(
        "purchase and transport are paid at shipment",
        one_store(truck={"lead_time": 2, "purchase_cost": 3.0, "transport_cost": 0.5}),
        demand={"shop": [0, 0, 0]},
        requests={"truck": [5, 0, 0]},
        tape={"lane_yield": {"truck": [1, 1, 0.5]}},
        expected={"costs": {"purchase": [15, 0, 0], "transport": [2.5, 0, 0]}},
    ),
    # A customer's lane: 0.5 a unit carried to the door, backlog as well as new demand; price 4 for each.
    Case(
        "sources have a transport cost, and revenue is the price of all that is served",
        one_store(
            {"initial": 2},
            sources={"store": {"transport_cost": 0.5}},
            shop={"price": 4.0},
        ),
        demand={"shop": [3, 1]},
        requests={"truck": [5, 0]},
        expected={
            "served": {"store>shop": [2, 2]},
            "costs": {"transport": [1, 1], "revenue": [8, 8]},
        },
    ),
    Case(
        "holding is charged on what is left after serving",
        one_store({"initial": 9, "holding_cost": 2.0}),
        demand={"shop": [4, 4]},
        expected={"costs": {"holding": [10, 2]}},
    ),
    # 1.0 a unit under way at the close: sent in 0, there in 2.
    Case(
        "in-transit cost covers what is under way at the close, shipments of the period included",
        one_store(truck={"lead_time": 2, "in_transit_cost": 1.0}),
        demand={"shop": [0, 0, 0]},
        requests={"truck": [4, 3, 0]},
        expected={"costs": {"in_transit": [4, 7, 3]}},
    ),
    # Volume 3 x 1 + 4 x 2 = 11 over a capacity of 5; after serving 2 milk: 9; after serving the bread: 1, none over.
    Case(
        "overflow is charged on the volume above the storage capacity",
        two_products(store={"initial": {"milk": 3, "bread": 4}, "storage_capacity": 5, "overflow_cost": 0.5}),
        demand={"shop/milk": [0, 2, 0], "shop/bread": [0, 0, 4]},
        expected={"costs": {"overflow": [3, 2, 0]}},
    ),
    # Nothing in 0; 3 come and go in 1; nothing in 2.
    Case(
        "a node's fixed cost falls due when any unit stood there after arrivals",
        one_store({"fixed_cost": 7.0}),
        demand={"shop": [0, 3, 0]},
        requests={"truck": [3, 0, 0]},
        expected={"costs": {"node": [0, 7, 0]}},
    ),
    # 2 come at once and are served; then 2 that all spoil: none stood there.
    Case(
        "arrivals of lead time 0 count for the node's fixed cost, what spoiled does not",
        one_store({"fixed_cost": 7.0}, truck={"lead_time": 0}),
        demand={"shop": [2, 0]},
        requests={"truck": [2, 2]},
        tape={"lane_yield": {"truck": [1, 0]}},
        expected={"costs": {"node": [7, 0]}},
    ),
    # Volume 5 x 1 + 5 x 2 = 15 in vehicles of 6: 3 of them; 12 fills 2; nothing, none.
    Case(
        "vehicles count per lane and period over all products",
        two_products(truck={"vehicle_volume": 6, "fixed_cost": 12.0, "fixed_emissions_kg": 10.0}, carbon_price=0.5),
        demand={"shop/milk": [0, 0, 0], "shop/bread": [0, 0, 0]},
        requests={"truck/milk": [5, 2, 0], "truck/bread": [5, 5, 0]},
        expected={"costs": {"fixed_transport": [36, 24, 0], "carbon": [15, 10, 0]}},
    ),
    # Three units of volume 0.1 fill three vehicles of 0.1, though 3 x 0.1 / 0.1 is a little above 3 in floating point.
    Case(
        "a full vehicle is one vehicle",
        one_store(truck={"vehicle_volume": 0.1, "fixed_cost": 1.0}, product={"volume": 0.1}),
        demand={"shop": [0]},
        requests={"truck": [3]},
        expected={"costs": {"fixed_transport": [3]}},
    ),
    Case(
        "without a vehicle volume one vehicle goes if anything moves",
        one_store(truck={"fixed_cost": 12.0}),
        demand={"shop": [0, 0]},
        requests={"truck": [900, 0]},
        expected={"costs": {"fixed_transport": [12, 0]}},
    ),
    # Milk falls short of its 5 by 1, bread exceeds its 3: 2.0 x 1. In 1 nothing moves: 2.0 x (5 + 3).
    Case(
        "a commitment pays the transport cost of what is not shipped, product by product",
        two_products(truck={"transport_cost": 2.0, "commitment": {"milk": 5, "bread": 3}}),
        demand={"shop/milk": [0, 0], "shop/bread": [0, 0]},
        requests={"truck/milk": [4, 0], "truck/bread": [6, 0]},
        expected={"costs": {"commitment": [2, 16], "transport": [20, 0]}},
    ),
    # 8 x 0.5 on the lane and 3 x 0.25 to the door, at 2.0 a kg.
    Case(
        "emissions of lanes and sources cost the carbon price",
        one_store(
            truck={"lead_time": 0, "emissions_kg": 0.5}, sources={"store": {"emissions_kg": 0.25}}, carbon_price=2.0
        ),
        demand={"shop": [3]},
        requests={"truck": [8]},
        expected={"costs": {"carbon": [2 * (4 + 0.75)]}},
    ),
    # Numbers by product: 1 x 3 + 2 x 4 on hand; missing 5 milk at 3.0 each.
    Case(
        "a number may be a mapping by product",
        two_products(store={"initial": {"milk": 3, "bread": 4}, "holding_cost": {"milk": 1.0, "bread": 2.0}}),
        demand={"shop/milk": [0], "shop/bread": [0]},
        expected={"costs": {"holding": [11]}},
    ),
    Case(
        "the terminal line credits what is on hand after the last close",
        one_store({"initial": 9, "terminal_value": 2.0}, truck={"lead_time": 2}),
        demand={"shop": [4, 0]},
        requests={"truck": [6, 0]},
        expected={"costs": {"terminal": [0, -10]}},
    ),
]


def auto_chain(hub=3, store=2, shop=4.0, hub_shop=1.0, life=None, **more):
    """Mill -> hub -> store, both started `auto`, with lead times as given; the hub has a small shop of its own."""
    return network(
        nodes={"hub": {"initial": "auto"}, "store": {"initial": "auto"}},
        lanes={
            "inbound": {"source": "mill", "target": "hub", "lead_time": hub},
            "to_store": {"source": "hub", "target": "store", "lead_time": store},
        },
        customers={
            "shop": customer("store", demand={"kind": "poisson", "mean": shop}),
            "hub_shop": customer("hub", demand={"kind": "poisson", "mean": hub_shop}),
        },
        products={"item": {"shelf_life": life} if life else {}},
        **more,
    )


INITIAL = [
    # Hub: flow 5, position 5 x (3 + 1) = 20, slots 0 and 1 with 5 each, 10 on hand. Store: flow 4, position 12, one slot,
    # 8 on hand. Slot 1 of the hub was sent two periods ago and comes in 1, slot 0 in 2; the store's comes in 1.
    Case(
        "auto: pipelines hold the mean flow, the position is mean flow x (lead time + 1), the rest is on hand",
        auto_chain(),
        demand={"shop": [0, 0, 0], "hub_shop": [0, 0, 0]},
        expected={
            "on_hand": {"hub": [10, 15, 20], "store": [8, 12, 12]},
            "in_transit": {"inbound": [[5, 5], [0, 5], [0, 0]], "to_store": [[4, 0], [0, 0], [0, 0]]},
            "received": {"inbound": [0, 5, 5], "to_store": [0, 4, 0]},
        },
    ),
    # Lead times 0 and 1 hold nothing under way once the period has begun: positions 5 x 2 and 4 x 1.
    Case(
        "auto: lead times of 0 and 1 start with empty lanes",
        auto_chain(hub=1, store=0),
        demand={"shop": [0], "hub_shop": [0]},
        expected={"on_hand": {"hub": [10], "store": [4]}, "in_transit": {"inbound": [0], "to_store": [0]}},
    ),
    # Mean 1.5, up to 2: flow 4, position 12, slot 0 with 4 that come in 1 as if sent with lead time 2.
    Case(
        "auto: a random lead time counts as its mean, rounded up",
        auto_chain(hub=1, store={"values": [1, 2], "probabilities": [0.5, 0.5]}, hub_shop=2.0),
        demand={"shop": [0, 0], "hub_shop": [0, 0]},
        tape={"lead_time": {"to_store": [1, 1]}},
        expected={"on_hand": {"hub": [12, 12], "store": [8, 12]}, "in_transit": {"to_store": [4, 0]}},
    ),
    # Life of 4, flow 2 through the hub: 4 fresh on hand, 2 + 2 under way that left fresh (class 3). Slot 1 comes in 1
    # after three periods: class 0.
    Case(
        "initial stock is fresh, what is under way was fresh when it left",
        auto_chain(shop=1.0, hub_shop=1.0, life=4, store=0),
        demand={"shop": [0, 0], "hub_shop": [0, 0]},
        expected={
            "on_hand": {"hub": [[0, 0, 0, 4], [2, 0, 4, 0]]},
            "in_transit": {"inbound": [[0, 0, 0, 2] * 2, [0, 0, 0, 0, 0, 0, 0, 2]]},
        },
    ),
    # Milk's first lane into the store is the van (lead time 1, milk only): position 3 x 2, nothing in the slot. Bread's
    # is the truck (lead time 2): position 2 x 3, 2 under way, 4 on hand.
    Case(
        "auto: the primary lane is the first one listed that carries the product",
        network(
            nodes={"store": {"initial": "auto"}},
            lanes={
                "van": {"source": "mill", "target": "store", "lead_time": 1, "products": ["milk"]},
                "truck": {"source": "mill", "target": "store", "lead_time": 2},
            },
            customers={"shop": customer("store", demand={"kind": "poisson", "mean": {"milk": 3.0, "bread": 2.0}})},
            products=("milk", "bread"),
        ),
        demand={"shop/milk": [0, 0], "shop/bread": [0, 0]},
        expected={
            "on_hand": {"store/milk": [6, 6], "store/bread": [4, 6]},
            "in_transit": {"van/milk": [0, 0], "truck/milk": [0, 0], "truck/bread": [2, 0]},
        },
    ),
    # The shop is served by the east first: the east's flow is 4, the west's none.
    Case(
        "auto: a customer counts at its first source",
        two_stores(
            {"shop": customer("east", "west", demand={"kind": "uniform", "low": 2.0, "high": 6.0})}, "auto", "auto"
        ),
        demand={"shop": [0]},
        expected={"on_hand": {"east": [8], "west": [0]}},
    ),
    # The depot is fed by returns alone: a return lane is no primary lane, so the outlet's mean demand of 4 stocks nothing.
    Case(
        "auto: a node without a primary lane starts at 0",
        network(
            nodes={"store": {"initial": "auto"}, "depot": {"initial": "auto"}},
            lanes={
                "back": {"source": "shop", "target": "depot", "lead_time": 1, "return_share": 0.5, "recovery": 1.0},
                "truck": {"source": "mill", "target": "store", "lead_time": 1},
            },
            customers={"shop": customer("store"), "outlet": customer("depot")},
        ),
        demand={"shop": [6, 0], "outlet": [0, 0]},
        expected={"on_hand": {"store": [8, 2], "depot": [0, 3]}},
    ),
    Case(
        "a number is that many fresh units and empty lanes",
        network(
            nodes={"store": {"initial": {"milk": 7, "bread": 2}}},
            lanes={"truck": {"source": "mill", "target": "store", "lead_time": 3}},
            customers={"shop": customer("store")},
            products={"milk": {"shelf_life": 2}, "bread": {"shelf_life": 3}},
        ),
        demand={"shop/milk": [0], "shop/bread": [0]},
        expected={
            "on_hand": {"store/milk": [[0, 7, 0]], "store/bread": [[0, 0, 2]]},
            "in_transit": {"truck/milk": [[0] * 6], "truck/bread": [[0] * 6]},
        },
    ),
]

CASES = LIFE + LINES + INITIAL
