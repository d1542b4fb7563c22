"""Hand cases of worlds of whole units: where every rounding falls. Random numbers stand in `split` (nodes) and `thin`."""

from hand_cases import Case, customer, fork, network, one_store, two_products, two_stores

WHOLE = {"units": "integer"}


def three_ways(hub, **more):
    """A hub with three lanes to three stores."""
    names = ("a", "b", "c")
    return network(
        nodes={"hub": {"initial": hub}, **{name: {"initial": 0} for name in names}},
        lanes={
            "inbound": {"source": "mill", "target": "hub", "lead_time": 1},
            **{f"to_{name}": {"source": "hub", "target": name, "lead_time": 1} for name in names},
        },
        customers={f"{name}_shop": customer(name) for name in names},
        **WHOLE,
        **more,
    )


REQUESTS = [
    Case(
        "requests are rounded half up",
        one_store(**WHOLE),
        demand={"shop": [0, 0, 0, 0]},
        requests={"truck": [2.5, 2.49, 3.5, 0.5]},
        expected={"requests": {"truck": [3, 2, 4, 1]}, "shipped": {"truck": [3, 2, 4, 1]}},
    ),
    # Milk in fives: 7 -> 5, 7.5 -> 10, 2.4 -> 0; bread in units: 7.5 -> 8.
    Case(
        "a batch of a product rounds its requests, the others are rounded to units",
        two_products(truck={"batch": {"milk": 5, "bread": 1}}, **WHOLE),
        demand={"shop/milk": [0, 0, 0], "shop/bread": [0, 0, 0]},
        requests={"truck/milk": [7, 7.5, 2.4], "truck/bread": [7, 7.5, 2.4]},
        expected={"shipped": {"truck/milk": [5, 10, 0], "truck/bread": [7, 8, 2]}},
    ),
]

SHARING = [
    # 5 over claims 4, 4, 4: running shares 1.67, 3.33, 5. With u = 1/2: floors 2, 3, 5; 0: 1, 3, 5; 3/4: 2, 4, 5.
    # 5 more reach the hub in 1 and in 2.
    Case(
        "scarce stock: claim i gets floor(s R_i / R + u) - floor(s R_(i-1) / R + u)",
        three_ways(5),
        demand={"a_shop": [0] * 3, "b_shop": [0] * 3, "c_shop": [0] * 3},
        requests={"inbound": [5, 5, 0], "to_a": [4] * 3, "to_b": [4] * 3, "to_c": [4] * 3},
        tape={"split": {"hub": [0.5, 0.0, 0.75]}},
        expected={"shipped": {"to_a": [2, 1, 2], "to_b": [1, 2, 2], "to_c": [2, 2, 1]}},
    ),
    # Claims 1, 0, 6 on 3: running shares 3/7, 3/7, 3. With u = 9/16: 0.99, 0.99, 3.56.
    Case(
        "a claim of nothing gets nothing",
        three_ways(3),
        demand={"a_shop": [0], "b_shop": [0], "c_shop": [0]},
        requests={"to_a": [1], "to_b": [0], "to_c": [6]},
        tape={"split": {"hub": [0.5625]}},
        expected={"shipped": {"to_a": [0], "to_b": [0], "to_c": [3]}},
    ),
    # b goes first: 4 of 7; 3 are left for a and c with 2 each: 1.5, 3: u = 1/2 gives 2, 1.
    Case(
        "priorities first, then the same rule within a number",
        network(
            nodes={"hub": {"initial": 7}, **{name: {"initial": 0} for name in "abc"}},
            lanes={
                "inbound": {"source": "mill", "target": "hub", "lead_time": 1},
                "to_a": {"source": "hub", "target": "a", "lead_time": 1, "priority": 2},
                "to_b": {"source": "hub", "target": "b", "lead_time": 1, "priority": 1},
                "to_c": {"source": "hub", "target": "c", "lead_time": 1, "priority": 2},
            },
            customers={f"{name}_shop": customer(name) for name in "abc"},
            **WHOLE,
        ),
        demand={"a_shop": [0], "b_shop": [0], "c_shop": [0]},
        requests={"to_a": [2], "to_b": [4], "to_c": [2]},
        expected={"shipped": {"to_a": [2], "to_b": [4], "to_c": [1]}},
    ),
    # 5 over 3 and 3: running shares 2.5, 5. u = 1/2: 3, 2; u = 0: 2, 3. The west has the other number.
    Case(
        "a pass of customers is divided by the same rule, in the order of the pairs",
        two_stores(
            {
                "a": customer("east", lost_share=1.0),
                "b": customer("east", lost_share=1.0),
                "c": customer("west", lost_share=1.0),
                "d": customer("west", lost_share=1.0),
            },
            east=5,
            west=5,
            **WHOLE,
        ),
        demand={name: [3] for name in "abcd"},
        tape={"split": {"east": [0.5], "west": [0.0]}},
        expected={"served": {"east>a": [3], "east>b": [2], "west>c": [2], "west>d": [3]}},
    ),
    # b may draw 10 - 8 = 2. Claims 10 and 2 on 10: running shares 8.33, 10; u = 1/2 leaves 8 and 2.
    Case(
        "a reserve cuts whole claims",
        two_stores({"a": customer("east"), "b": customer("east")}, east=10, **WHOLE),
        demand={"a": [10], "b": [5]},
        reserve={"east>b": [8]},
        expected={"served": {"east>a": [8], "east>b": [2]}},
    ),
]

CAPACITY = [
    # Volume 7 + 8 = 15 against 10: 4.67 and 2.67 round down.
    Case(
        "lane capacity cuts round down",
        two_products(truck={"capacity": 10}, **WHOLE),
        demand={"shop/milk": [0], "shop/bread": [0]},
        requests={"truck/milk": [7], "truck/bread": [4]},
        expected={
            "shipped": {"truck/milk": [4], "truck/bread": [2]},
            "unfilled": {"truck/milk": [3], "truck/bread": [2]},
        },
    ),
    # 10 x 0.25 = 2.5 of volume: 7 x 2.5 / 15 = 1.17, 4 x 2.5 / 15 = 0.67.
    Case(
        "node capacity cuts round down",
        two_products(mill={"capacity": 10}, **WHOLE),
        demand={"shop/milk": [0], "shop/bread": [0]},
        requests={"truck/milk": [7], "truck/bread": [4]},
        tape={"node_availability": {"mill": [0.25]}},
        expected={"shipped": {"truck/milk": [1], "truck/bread": [0]}},
    ),
    # 9 x 6 / 9 is 6 exactly: nothing is lost to rounding.
    Case(
        "a cut that comes out whole stays whole",
        one_store(truck={"capacity": 6}, **WHOLE),
        demand={"shop": [0]},
        requests={"truck": [9]},
        expected={"shipped": {"truck": [6]}},
    ),
]

AGES = [
    # Life of 3. On the shelf in 2: 3 of class 0 (initial) and 4 of class 1 (came in 1 with lead time 0). 3 and 3 leave.
    # u = 1/2: class 0: 3 over owed 3, 3: 1.5, 3 -> 2, 1. Class 1: 3 over owed 1, 2: 1, 3 -> 1, 2.
    # The lanes take no time, so what they got stands in the stores in 2; the class 0 of it is thrown away at the close.
    Case(
        "ages are dealt oldest class first over what every lane is still owed",
        fork(
            hub={"initial": 3},
            inbound={"lead_time": 0},
            north={"lead_time": 0},
            south={"lead_time": 0},
            product={"shelf_life": 3},
            **WHOLE,
        ),
        demand={"north_shop": [0] * 4, "south_shop": [0] * 4},
        requests={"inbound": [0, 4, 0, 0], "to_north": [0, 0, 3, 0], "to_south": [0, 0, 3, 0]},
        expected={
            "on_hand": {
                "hub": [[0, 0, 3], [0, 3, 0], [3, 4, 0], [1, 0, 0]],
                "north": [[0] * 3] * 3 + [[1, 0, 0]],
                "south": [[0] * 3] * 3 + [[2, 0, 0]],
            },
            "disposed": {"north": [0, 0, 2, 1], "south": [0, 0, 1, 2]},
        },
    ),
    # The same with u = 0: class 0: 1, 2; class 1: owed 2, 1: 2, 1.
    Case(
        "ages follow the node's random number",
        fork(
            hub={"initial": 3},
            inbound={"lead_time": 0},
            north={"lead_time": 0},
            south={"lead_time": 0},
            product={"shelf_life": 3},
            **WHOLE,
        ),
        demand={"north_shop": [0] * 4, "south_shop": [0] * 4},
        requests={"inbound": [0, 4, 0, 0], "to_north": [0, 0, 3, 0], "to_south": [0, 0, 3, 0]},
        tape={"split": {"hub": [0.5, 0.5, 0.0, 0.5]}},
        expected={"disposed": {"north": [0, 0, 1, 2], "south": [0, 0, 2, 1]}},
    ),
]

SHARES = [
    # 5 x 0.5 = 2.5: u = 1/2 keeps 3, u = 1/4 keeps 2.
    Case(
        "the yield of n units is floor(share n + u)",
        one_store(**WHOLE),
        demand={"shop": [0, 0, 0]},
        requests={"truck": [5, 5, 0]},
        tape={"lane_yield": {"truck": [1, 0.5, 0.5]}, "thin": {"truck": [0.5, 0.5, 0.25]}},
        expected={"received": {"truck": [0, 3, 2]}, "disposed": {"store": [0, 2, 3]}},
    ),
    Case(
        "the yield at lead time 0 is taken with the same number",
        one_store(truck={"lead_time": 0}, **WHOLE),
        demand={"shop": [0, 0]},
        requests={"truck": [5, 5]},
        tape={"lane_yield": {"truck": [0.5, 0.5]}, "thin": {"truck": [0.5, 0.25]}},
        expected={"received": {"truck": [3, 2]}},
    ),
    # 3 sent in 0 (lead time 2) and 3 sent in 1 (lead time 1) arrive as classes 1 and 2 of a life of 4; each:
    # floor(1.5 + 1/4) = 1.
    Case(
        "the yield is taken from each life class",
        one_store(
            truck={"lead_time": {"values": [1, 2], "probabilities": [0.5, 0.5]}}, product={"shelf_life": 4}, **WHOLE
        ),
        demand={"shop": [0, 0, 0]},
        requests={"truck": [3, 3, 0]},
        tape={"lead_time": {"truck": [2, 1, 1]}, "lane_yield": {"truck": [1, 1, 0.5]}, "thin": {"truck": [0.25] * 3}},
        expected={"received": {"truck": [0, 0, 2]}, "on_hand": {"store": [[0] * 4, [0] * 4, [0, 1, 1, 0]]}},
    ),
    # The same without expiry: 6 units of one class, floor(3 + 1/4) = 3.
    Case(
        "the yield is taken from a class summed over the periods of dispatch",
        one_store(truck={"lead_time": {"values": [1, 2], "probabilities": [0.5, 0.5]}}, **WHOLE),
        demand={"shop": [0, 0, 0]},
        requests={"truck": [3, 3, 0]},
        tape={"lead_time": {"truck": [2, 1, 1]}, "lane_yield": {"truck": [1, 1, 0.5]}, "thin": {"truck": [0.25] * 3}},
        expected={"received": {"truck": [0, 0, 3]}},
    ),
    # With u = 0: 1/3 is 21845/65536 on the grid, a little less, and of 3 units 0.99998 are lost: none.
    # 2/3 is 43691/65536, a little more: of 3 units 2.00002: 2.
    Case(
        "a share is rounded to a multiple of 1/65536",
        two_stores({"a": customer("east", lost_share=1 / 3), "b": customer("west", lost_share=2 / 3)}, **WHOLE),
        demand={"a": [3, 0], "b": [3, 0]},
        tape={"thin": {"a": [0.0, 0.0], "b": [0.0, 0.0]}},
        expected={"lost": {"a": [0, 0], "b": [2, 0]}, "backlog": {"a": [0, 3], "b": [0, 1]}},
    ),
    # 5 asked, 2 in the east; 3 x 0.5 = 1.5 follow: 2 with the pair's u = 1/2, 1 with 1/4.
    Case(
        "acceptance of n units is floor(share n + u) with the pair's number",
        two_stores(
            {
                "a": customer({"east": {}, "west": {"acceptance": 0.5}}, lost_share=1.0),
            },
            east=2,
            west=9,
            **WHOLE,
        ),
        demand={"a": [5, 3]},
        tape={"thin": {"west>a": [0.5, 0.25]}},
        expected={"served": {"east>a": [2, 0], "west>a": [2, 1]}, "lost": {"a": [1, 2]}},
    ),
    # 3 x 0.5 = 1.5: 1 with u = 1/4, 2 with u = 1/2; the backlog is not lost again.
    Case(
        "the lost share of n units is floor(share n + u) with the customer's number",
        one_store(shop={"lost_share": 0.5}, **WHOLE),
        demand={"shop": [3, 3, 0]},
        tape={"thin": {"shop": [0.25, 0.5, 0.5]}},
        expected={"lost": {"shop": [1, 2, 0]}, "backlog": {"shop": [0, 2, 3]}},
    ),
    # 5 served, 2.5 + 1/2 = 3 come back, 1.5 + 1/2 = 2 of them enter, 1 is thrown away. With u = 1/4: 2 and 1.
    Case(
        "returns and their recovery are shares with the lane's number",
        network(
            nodes={"store": {"initial": 20}},
            lanes={
                "truck": {"source": "mill", "target": "store", "lead_time": 1},
                "back": {"source": "shop", "target": "store", "lead_time": 1, "return_share": 0.5, "recovery": 0.5},
            },
            customers={"shop": customer("store")},
            **WHOLE,
        ),
        demand={"shop": [5, 5, 0]},
        tape={"thin": {"back": [0.5, 0.25, 0.5]}},
        expected={
            "returned": {"back": [3, 2, 0]},
            "disposed": {"store": [1, 1, 0]},
            "received": {"back": [0, 2, 1]},
            "on_hand": {"store": [20, 17, 13]},
        },
    ),
]


def auto_store(mean, lead_time):
    return one_store(
        {"initial": "auto"},
        truck={"lead_time": lead_time},
        shop={"demand": {"kind": "poisson", "mean": mean}},
        **WHOLE,
    )


INITIAL = [
    # Each shipment 2.5 -> 3, the position 2.5 x 3 = 7.5 -> 8; 8 - 3 on hand.
    Case(
        "auto: each shipment and the position are rounded half up",
        auto_store(2.5, 2),
        demand={"shop": [0, 0]},
        expected={"on_hand": {"store": [5, 8]}, "in_transit": {"truck": [3, 0]}},
    ),
    # Shipments 0.5 -> 1, four of them; the position 0.5 x 6 = 3 leaves nothing for the shelf, and never less.
    Case(
        "auto: the rest on hand is never negative",
        auto_store(0.5, 5),
        demand={"shop": [0, 0]},
        expected={"on_hand": {"store": [0, 1]}, "in_transit": {"truck": [[1, 1, 1, 1], [0, 1, 1, 1]]}},
    ),
]

CASES = REQUESTS + SHARING + CAPACITY + AGES + SHARES + INITIAL
