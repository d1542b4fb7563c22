"""Hand cases of the first half of a period: receive, request, ship."""

from hand_cases import Case, customer, fork, network, one_store, two_products


def quiet(*customers, periods=1):
    """No demand."""
    return {name: [0.0] * periods for name in customers}


NOBODY = {"north_shop": [0.0], "south_shop": [0.0]}

RECEIVE = [
    # Sent in 0 with lead time 2: on the road (slot 0) in 1, on hand in 2, where 3 of 5 serve; 1 more in 3.
    # On the road at the close of 0 and 1.
    Case(
        "shipped in t with lead time 2 is on hand in t + 2, to serve that period's demand",
        one_store(store={"holding_cost": 1.0}, truck={"lead_time": 2, "in_transit_cost": 0.5}),
        demand={"shop": [0, 0, 3, 1]},
        requests={"truck": [5, 0, 0, 0]},
        expected={
            "on_hand": {"store": [0, 0, 5, 2]},
            "in_transit": {"truck": [0, 5, 0, 0]},
            "received": {"truck": [0, 0, 5, 0]},
            "served": {"store>shop": [0, 0, 3, 1]},
            "costs": {"in_transit": [2.5, 2.5, 0, 0], "holding": [0, 0, 2, 1]},
        },
    ),
    # 4 units reach the hub in 1 and are sent on in 1; the request of period 0 found nothing.
    Case(
        "what arrives with a lead time of 1 or more is shipped on in the period of arrival",
        fork(),
        demand={"north_shop": [0, 0, 0], "south_shop": [0, 0, 0]},
        requests={"inbound": [4, 0, 0], "to_north": [4, 4, 0]},
        expected={
            "on_hand": {"hub": [0, 4, 0], "north": [0, 0, 4]},
            "shipped": {"to_north": [0, 4, 0]},
            "unfilled": {"to_north": [4, 0, 0]},
            "received": {"to_north": [0, 0, 4]},
        },
    ),
    # Both lanes take no time; still the unit reaches the hub in 0 and the store in 1.
    Case(
        "a unit crosses at most one lane a period",
        fork(inbound={"lead_time": 0}, north={"lead_time": 0}),
        demand={"north_shop": [4, 0], "south_shop": [0, 0]},
        requests={"inbound": [4, 0], "to_north": [4, 4]},
        expected={
            "received": {"inbound": [4, 0], "to_north": [0, 4]},
            "shipped": {"to_north": [0, 4]},
            "served": {"north>north_shop": [0, 4]},
        },
    ),
    # 5 sent in 0 are due in 3, 7 sent in 1 are due in 2. The slot counts periods since dispatch.
    Case(
        "orders may cross",
        one_store(truck={"lead_time": {"values": [1, 3], "probabilities": [0.5, 0.5]}}),
        demand=quiet("shop", periods=4),
        requests={"truck": [5, 7, 0, 0]},
        tape={"lead_time": {"truck": [3, 1, 1, 1]}},
        expected={
            "received": {"truck": [0, 0, 7, 5]},
            "in_transit": {"truck": [[0, 0], [5, 0], [0, 5], [0, 0]]},
        },
    ),
    # 5 with lead time 2 and 7 with lead time 1 meet in period 2.
    Case(
        "loads of two periods arrive together",
        one_store(truck={"lead_time": {"values": [1, 2], "probabilities": [0.5, 0.5]}}),
        demand=quiet("shop", periods=3),
        requests={"truck": [5, 7, 0]},
        tape={"lead_time": {"truck": [2, 1, 1]}},
        expected={"received": {"truck": [0, 0, 12]}, "on_hand": {"store": [0, 0, 12]}},
    ),
    # 8 arrive in 1 under that period's 0.75: 6 join, 2 are thrown away at 2.0 each. 4 arrive in 2 unharmed.
    Case(
        "the yield is that of the period of arrival, the rest is disposed of at the target",
        one_store(store={"disposal_cost": 2.0}),
        demand=quiet("shop", periods=3),
        requests={"truck": [8, 4, 0]},
        tape={"lane_yield": {"truck": [0.5, 0.75, 1.0]}},
        expected={
            "received": {"truck": [0, 6, 4]},
            "disposed": {"store": [0, 2, 0]},
            "shipped": {"truck": [8, 4, 0]},
            "unfilled": {"truck": [0, 0, 0]},
            "costs": {"disposal": [0, 4, 0]},
        },
    ),
    # 8 sent and there at once, half of them lost; 3 of the 4 kept serve.
    Case(
        "the yield holds for lead time 0 too",
        one_store(store={"disposal_cost": 1.0, "holding_cost": 1.0}, truck={"lead_time": 0}),
        demand={"shop": [3]},
        requests={"truck": [8]},
        tape={"lane_yield": {"truck": [0.5]}},
        expected={
            "received": {"truck": [4]},
            "disposed": {"store": [4]},
            "served": {"store>shop": [3]},
            "costs": {"disposal": [4], "holding": [1]},
        },
    ),
    # Life of 2 periods: class 1 at dispatch, 1 - 2 < 0 on arrival. The other lane: class 0 on arrival, one day of service.
    Case(
        "what expires on the road is disposed of on arrival, at the target's cost",
        network(
            nodes={"store": {"initial": 0, "disposal_cost": 3.0}},
            lanes={
                "slow": {"source": "mill", "target": "store", "lead_time": 2},
                "fast": {"source": "mill", "target": "store", "lead_time": 1},
            },
            customers={"shop": customer("store")},
            products={"item": {"shelf_life": 2}},
        ),
        demand={"shop": [0, 1, 1]},
        requests={"slow": [5, 0, 0], "fast": [4, 0, 0]},
        expected={
            "on_hand": {"store": [[0, 0], [4, 0], [0, 0]]},
            "in_transit": {"slow": [[0, 0], [0, 5], [0, 0]], "fast": [[0, 0], [0, 0], [0, 0]]},
            "received": {"slow": [0, 0, 0], "fast": [0, 4, 0]},
            "disposed": {"store": [0, 3, 5]},
            "served": {"store>shop": [0, 1, 0]},
            "costs": {"disposal": [0, 9, 15]},
        },
    ),
]

REQUEST = [
    # Nearest multiple of 4: 1.9 -> 0, 2 -> 4 (half up), 6 -> 8 (half up), 5.9 -> 4.
    Case(
        "a batch rounds requests to its nearest multiple, half up",
        one_store(truck={"batch": 4}),
        demand=quiet("shop", periods=4),
        requests={"truck": [1.9, 2, 6, 5.9]},
        expected={"requests": {"truck": [0, 4, 8, 4]}, "shipped": {"truck": [0, 4, 8, 4]}},
    ),
    Case(
        "without a batch a continuous request is left as it is",
        one_store(),
        demand=quiet("shop"),
        requests={"truck": [2.75]},
        expected={"requests": {"truck": [2.75]}, "shipped": {"truck": [2.75]}},
    ),
    Case(
        "a lane ships none of a product that it does not carry",
        network(
            nodes={"store": {"initial": 0}},
            lanes={
                "truck": {"source": "mill", "target": "store", "lead_time": 1, "products": ["milk"]},
                "van": {"source": "mill", "target": "store", "lead_time": 1},
            },
            customers={"shop": customer("store")},
            products=("milk", "bread"),
        ),
        demand={"shop/milk": [0], "shop/bread": [0]},
        requests={"truck/milk": [3], "truck/bread": [3]},
        expected={
            "shipped": {"truck/milk": [3], "truck/bread": [0]},
            "unfilled": {"truck/milk": [0], "truck/bread": [3]},
        },
    ),
    # 10 served, none returned: the request of 6 moves nothing.
    Case(
        "a return lane takes no request",
        network(
            nodes={"store": {"initial": 10}},
            lanes={
                "truck": {"source": "mill", "target": "store", "lead_time": 1},
                "back": {"source": "shop", "target": "store", "lead_time": 1, "return_share": 0.0, "recovery": 1.0},
            },
            customers={"shop": customer("store")},
        ),
        demand={"shop": [10, 0]},
        requests={"back": [6, 0]},
        expected={"shipped": {"back": [0, 0]}, "unfilled": {"back": [6, 0]}, "on_hand": {"store": [10, 0]}},
    ),
]

SHIP = [
    # Volume 6 x 1 + 7 x 2 = 20 against 10: both halved.
    Case(
        "requests are cut to the lane's capacity in volume, all products alike",
        two_products(truck={"capacity": 10}),
        demand={"shop/milk": [0], "shop/bread": [0]},
        requests={"truck/milk": [6], "truck/bread": [7]},
        expected={
            "shipped": {"truck/milk": [3], "truck/bread": [3.5]},
            "unfilled": {"truck/milk": [3], "truck/bread": [3.5]},
        },
    ),
    Case(
        "availability scales a lane's capacity",
        one_store(truck={"capacity": 10}),
        demand=quiet("shop", periods=3),
        requests={"truck": [8, 8, 4]},
        tape={"lane_availability": {"truck": [1.0, 0.5, 0.5]}},
        expected={"shipped": {"truck": [8, 5, 4]}},
    ),
    # What left in 0 is due in 2 and comes in 2 although the lane is shut in 1 and 2.
    Case(
        "a shut lane ships nothing and does not delay what is under way",
        one_store(truck={"lead_time": 2}),
        demand=quiet("shop", periods=4),
        requests={"truck": [5, 5, 5, 5]},
        tape={"lane_availability": {"truck": [1, 0, 0, 1]}},
        expected={"shipped": {"truck": [5, 0, 0, 5]}, "received": {"truck": [0, 0, 5, 0]}},
    ),
    Case(
        "scarce stock is shared in proportion to the requests",
        fork(hub={"initial": 6}),
        demand=NOBODY,
        requests={"to_north": [3], "to_south": [9]},
        expected={
            "shipped": {"to_north": [1.5], "to_south": [4.5]},
            "unfilled": {"to_north": [1.5], "to_south": [4.5]},
        },
    ),
    Case(
        "enough stock serves every request",
        fork(hub={"initial": 13, "holding_cost": 1.0}),
        demand=NOBODY,
        requests={"to_north": [3], "to_south": [9]},
        expected={"shipped": {"to_north": [3], "to_south": [9]}, "costs": {"holding": [1]}},
    ),
    # The south lane, listed last, has the lower number: it gets its 5, the north lane what is left.
    Case(
        "the lowest lane priority number ships first",
        fork(hub={"initial": 6}, north={"priority": 2}, south={"priority": 1}),
        demand=NOBODY,
        requests={"to_north": [4], "to_south": [5]},
        expected={"shipped": {"to_north": [1], "to_south": [5]}},
    ),
    # 10 and 6 are cut to 2 and 6, then 6 units are shared 2 : 6. (Sharing first would have given 2 and 2.25.)
    Case(
        "lane capacity cuts before stock is shared",
        fork(hub={"initial": 6}, north={"capacity": 2}),
        demand=NOBODY,
        requests={"to_north": [10], "to_south": [6]},
        expected={"shipped": {"to_north": [1.5], "to_south": [4.5]}},
    ),
    # Stock 12 gives 8 to the north (priority 1) and 4 to the south; capacity 6 then halves both, whatever their priority.
    Case(
        "node capacity cuts last, all lanes alike",
        fork(hub={"initial": 12, "capacity": 6}, north={"priority": 1}, south={"priority": 2}),
        demand=NOBODY,
        requests={"to_north": [8], "to_south": [8]},
        expected={"shipped": {"to_north": [4], "to_south": [2]}},
    ),
    # Volume 2 x 2 + 3 x 4 = 16 of milk and bread against 10 x 0.4 = 4: a quarter of each.
    Case(
        "node capacity counts volume and is scaled by availability",
        network(
            nodes={"mill": {"kind": "supplier", "capacity": 10}, "store": {"initial": 0}},
            lanes={"truck": {"source": "mill", "target": "store", "lead_time": 1}},
            customers={"shop": customer("store")},
            products={"milk": {"volume": 2.0}, "bread": {"volume": 3.0}},
        ),
        demand={"shop/milk": [0], "shop/bread": [0]},
        requests={"truck/milk": [2], "truck/bread": [4]},
        tape={"node_availability": {"mill": [0.4]}},
        expected={"shipped": {"truck/milk": [0.5], "truck/bread": [1]}},
    ),
    Case(
        "a supplier holds unlimited stock",
        one_store(),
        demand=quiet("shop"),
        requests={"truck": [1e6]},
        expected={"shipped": {"truck": [1e6]}, "on_hand": {"mill": [0]}},
    ),
    # Out in 0, back in 1: the request of 0 is forgotten, nobody asks in 1.
    Case(
        "what could not be shipped is forgotten",
        one_store(),
        demand=quiet("shop", periods=3),
        requests={"truck": [5, 0, 2]},
        tape={"node_availability": {"mill": [0, 1, 1]}},
        expected={"shipped": {"truck": [0, 0, 2]}, "unfilled": {"truck": [5, 0, 0]}},
    ),
    # The hub is out in 1: its request and its own shop get nothing, 5 units still arrive there, 3 still arrive at north.
    # In 2 it serves the unit that waited. On hand at the hub: 10, then 10 - 3 + 5 = 12, still 12 in 2, 11 in 3.
    Case(
        "a node that is out neither ships nor serves; it receives and holds, and what is under way comes",
        network(
            nodes={"hub": {"initial": 10}, "north": {"initial": 0}},
            lanes={
                "inbound": {"source": "mill", "target": "hub", "lead_time": 1},
                "to_north": {"source": "hub", "target": "north", "lead_time": 1},
            },
            customers={"hub_shop": customer("hub"), "north_shop": customer("north")},
        ),
        demand={"hub_shop": [0, 1, 0, 0], "north_shop": [0, 0, 0, 0]},
        requests={"inbound": [5, 0, 0, 0], "to_north": [3, 2, 0, 0]},
        tape={"node_availability": {"hub": [1, 0, 1, 1]}},
        expected={
            "on_hand": {"hub": [10, 12, 12, 11], "north": [0, 3, 3, 3]},
            "shipped": {"to_north": [3, 0, 0, 0]},
            "received": {"inbound": [0, 5, 0, 0], "to_north": [0, 3, 0, 0]},
            "served": {"hub>hub_shop": [0, 0, 1, 0]},
            "backlog": {"hub_shop": [0, 0, 1, 0]},
        },
    ),
    # Capacity 10 x 0.25 lets 2.5 of 5 leave; 8 of 20 - 2.5 are served in full.
    Case(
        "availability between 0 and 1 does not touch serving",
        network(
            nodes={"hub": {"initial": 20, "capacity": 10}, "north": {"initial": 0}},
            lanes={
                "inbound": {"source": "mill", "target": "hub", "lead_time": 1},
                "to_north": {"source": "hub", "target": "north", "lead_time": 1},
            },
            customers={"hub_shop": customer("hub")},
        ),
        demand={"hub_shop": [8]},
        requests={"to_north": [5]},
        tape={"node_availability": {"hub": [0.25]}},
        expected={"shipped": {"to_north": [2.5]}, "served": {"hub>hub_shop": [8]}},
    ),
    # Life of 3. The 6 initial units are of class 2, 1, 0 in periods 0, 1, 2; 4 units come (lead time 0) in 1 as class 2
    # and are class 1 in 2. In 2 eight leave: all 6 of class 0 and 2 of class 1, so 3 + 1 on each lane.
    # South (lead time 0): 3 + 1 stand there in 2; the 3 go at the close. North (lead time 1): in 3 the 3 have expired on
    # the road, the 1 is of class 0 and goes at the close.
    Case(
        "oldest units first, every lane the same age mix",
        fork(hub={"initial": 6}, inbound={"lead_time": 0}, south={"lead_time": 0}, product={"shelf_life": 3}),
        demand={"north_shop": [0] * 4, "south_shop": [0] * 4},
        requests={"inbound": [0, 4, 0, 0], "to_north": [0, 0, 4, 0], "to_south": [0, 0, 4, 0]},
        expected={
            "on_hand": {
                "hub": [[0, 0, 6], [0, 6, 0], [6, 4, 0], [2, 0, 0]],
                "north": [[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]],
                "south": [[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]],
            },
            "received": {"to_north": [0, 0, 0, 1], "to_south": [0, 0, 4, 0]},
            "disposed": {"north": [0, 0, 0, 4], "south": [0, 0, 3, 1], "hub": [0, 0, 0, 2]},
        },
    ),
    # As above, but the north lane goes first by priority: the ages are still mixed alike.
    Case(
        "lanes of different priority get the same age mix",
        fork(
            hub={"initial": 6},
            inbound={"lead_time": 0},
            north={"priority": 1, "lead_time": 0},
            south={"priority": 2, "lead_time": 0},
            product={"shelf_life": 3},
        ),
        demand={"north_shop": [0] * 4, "south_shop": [0] * 4},
        requests={"inbound": [0, 4, 0, 0], "to_north": [0, 0, 4, 0], "to_south": [0, 0, 4, 0]},
        expected={"on_hand": {"north": [[0] * 3] * 3 + [[1, 0, 0]], "south": [[0] * 3] * 3 + [[1, 0, 0]]}},
    ),
    Case(
        "lead time 0 arrives at once and may serve",
        one_store(store={"holding_cost": 1.0}, truck={"lead_time": 0, "in_transit_cost": 1.0}),
        demand={"shop": [4, 0]},
        requests={"truck": [5, 0]},
        expected={
            "received": {"truck": [5, 0]},
            "served": {"store>shop": [4, 0]},
            "on_hand": {"store": [0, 1]},
            "costs": {"holding": [1, 1], "in_transit": [0, 0]},
        },
    ),
    # 4 from the hub's 9 at once, 2 by transshipment from the north, where 3 lay; the south serves 4 of its 5 at once.
    Case(
        "an express lane beside a slow one, and a lateral lane between stores",
        network(
            nodes={"hub": {"initial": 9}, "north": {"initial": 3}, "south": {"initial": 0}},
            lanes={
                "inbound": {"source": "mill", "target": "hub", "lead_time": 1},
                "to_north": {"source": "hub", "target": "north", "lead_time": 1},
                "to_south": {"source": "hub", "target": "south", "lead_time": 2},
                "express": {"source": "hub", "target": "south", "mode": "express", "lead_time": 0},
                "lateral": {"source": "north", "target": "south", "mode": "transshipment", "lead_time": 1},
            },
            customers={"north_shop": customer("north"), "south_shop": customer("south")},
        ),
        demand={"north_shop": [0, 0, 0], "south_shop": [5, 0, 0]},
        requests={"to_south": [2, 0, 0], "express": [4, 0, 0], "lateral": [2, 0, 0]},
        expected={
            "received": {"express": [4, 0, 0], "lateral": [0, 2, 0], "to_south": [0, 0, 2]},
            "served": {"south>south_shop": [4, 1, 0]},
            "on_hand": {"hub": [9, 3, 3], "north": [3, 1, 1], "south": [0, 2, 3]},
        },
    ),
]

CASES = RECEIVE + REQUEST + SHIP
