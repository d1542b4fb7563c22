"""Hand cases of serving: passes, acceptance, reserves, waiting, losing, issuing, returns."""

from hand_cases import Case, customer, network, one_store, two_stores


def with_return(back=None, store=None, product=None, **shop):
    """A store whose shop sends back a share of what it was served."""
    return network(
        nodes={"store": {"initial": 10, **(store or {})}},
        lanes={
            "truck": {"source": "mill", "target": "store", "lead_time": 1},
            "back": {"source": "shop", "target": "store", "lead_time": 1, **(back or {})},
        },
        customers={"shop": customer("store", **shop)},
        products={"item": product or {}},
    )


PASSES = [
    # The one listed last has the lower number and is served first.
    Case(
        "customer priority classes are served in turn",
        two_stores({"other": customer("east", priority=2), "vip": customer("east", priority=1)}, east=5),
        demand={"other": [4], "vip": [4]},
        expected={"served": {"east>other": [1], "east>vip": [4]}, "backlog": {"other": [0], "vip": [0]}},
    ),
    Case(
        "a pass shares what is left of a node's stock in proportion",
        two_stores({"big": customer("east"), "small": customer("east")}, east=5),
        demand={"big": [6], "small": [4]},
        expected={"served": {"east>big": [3], "east>small": [2]}},
    ),
    # First choices: a finds the east empty, b takes 4 in the west. Second choices: a gets the 1 left.
    Case(
        "within a class all first choices come before all second choices",
        two_stores({"a": customer("east", "west"), "b": customer("west")}, west=5),
        demand={"a": [4], "b": [4]},
        expected={"served": {"east>a": [0], "west>a": [1], "west>b": [4]}},
    ),
    # a is of a better class: its second choice comes before b's first.
    Case(
        "a class is through with all its choices before the next class begins",
        two_stores({"b": customer("west", priority=2), "a": customer("east", "west", priority=1)}, west=5),
        demand={"a": [4], "b": [4]},
        expected={"served": {"east>a": [0], "west>a": [4], "west>b": [1]}},
    ),
    # 10 asked, 2 served in the east, half of the 8 left follow to the west: 4 served, 4 + the 4 that stayed away wait.
    Case(
        "of what a source leaves, the share acceptance of the next source follows to it",
        two_stores({"a": customer({"east": {}, "west": {"acceptance": 0.5}}, backorder_cost=1.0)}, east=2, west=10),
        demand={"a": [10, 0]},
        expected={
            "served": {"east>a": [2, 0], "west>a": [4, 2]},
            "backlog": {"a": [0, 4]},
            "costs": {"backorder": [4, 2]},
        },
    ),
    # 16 asked. East (its own 0.5 does not cut: it is the first) 4, left 12; west is asked for 6, has 2, left 4; far is
    # asked for 2 and has them.
    Case(
        "acceptance cuts what follows, source after source, not the first",
        network(
            nodes={"east": {"initial": 4}, "west": {"initial": 2}, "far": {"initial": 10}},
            lanes={
                f"{name}_truck": {"source": "mill", "target": name, "lead_time": 1} for name in ("east", "west", "far")
            },
            customers={"a": customer({name: {"acceptance": 0.5} for name in ("east", "west", "far")}, lost_share=1.0)},
        ),
        demand={"a": [16]},
        expected={"served": {"east>a": [4], "west>a": [2], "far>a": [2]}, "lost": {"a": [8]}},
    ),
    # The east is out in 0: all of it follows to the west.
    Case(
        "demand follows past a source that is out",
        two_stores({"a": customer("east", "west")}, east=9, west=3),
        demand={"a": [5, 0]},
        tape={"node_availability": {"east": [0, 1]}},
        expected={"served": {"east>a": [0, 2], "west>a": [3, 0]}},
    ),
    # Bread is not sold in the east, so the west is its first choice and its 0.5 does not cut; milk follows halved.
    Case(
        "a source that does not carry the product is skipped",
        two_stores(
            {"a": customer({"east": {"products": ["milk"]}, "west": {"acceptance": 0.5}})},
            west=10,
            products=("milk", "bread"),
        ),
        demand={"a/milk": [6], "a/bread": [6]},
        expected={
            "served": {"east>a/milk": [0], "west>a/milk": [3], "east>a/bread": [0], "west>a/bread": [6]},
        },
    ),
    # Both ask the west for bread in the pass of first choices: 4 and 4 share 5 alike.
    Case(
        "a source skipped is no choice: the next one takes its turn",
        two_stores(
            {"a": customer({"east": {"products": ["milk"]}, "west": {}}), "b": customer("west")},
            west={"milk": 0, "bread": 5},
            products=("milk", "bread"),
        ),
        demand={"a/milk": [0], "a/bread": [4], "b/milk": [0], "b/bread": [4]},
        expected={"served": {"west>a/bread": [2.5], "west>b/bread": [2.5]}},
    ),
    # Unlimited at the supplier; nothing is purchased; 2.0 a unit brings it to the door. Out in 1: the 3 wait.
    Case(
        "a supplier may serve a customer directly",
        one_store(
            sources={"mill": {"transport_cost": 2.0}}, truck={"purchase_cost": 1.0}, shop={"backorder_cost": 1.0}
        ),
        demand={"shop": [7, 3, 0]},
        tape={"node_availability": {"mill": [1, 0, 1]}},
        expected={
            "served": {"mill>shop": [7, 0, 3]},
            "costs": {"transport": [14, 0, 6], "purchase": [0, 0, 0], "backorder": [0, 3, 0]},
        },
    ),
]

RESERVE = [
    # vip takes 3 of 10; the other may not draw below 4: 3 of its 9.
    Case(
        "no pair draws a node below its reserve",
        two_stores({"vip": customer("east", priority=1), "other": customer("east", priority=2)}, east=10),
        demand={"vip": [3], "other": [9]},
        reserve={"east>other": [4]},
        expected={"served": {"east>vip": [3], "east>other": [3]}},
    ),
    # b's claim of 5 is cut to the 2 above its reserve as the pass begins; then 10 and 2 share 10.
    Case(
        "a claim is cut to what stands above its own reserve at the start of its pass",
        two_stores({"a": customer("east"), "b": customer("east")}, east=10),
        demand={"a": [10], "b": [5]},
        reserve={"east>b": [8]},
        expected={"served": {"east>a": [10 * 10 / 12], "east>b": [10 * 2 / 12]}},
    ),
    # 6 asked, 2 allowed, so 4 are left unserved by the east and follow.
    Case(
        "what a reserve holds back follows to the next source",
        two_stores({"a": customer("east", "west")}, east=6, west=9),
        demand={"a": [6]},
        reserve={"east>a": [4]},
        expected={"served": {"east>a": [2], "west>a": [4]}},
    ),
]

WAITING = [
    # 8 of 10 unserved: a quarter lost, 6 wait. In 1 nothing new is unserved, so nothing more is lost.
    Case(
        "the lost share of unserved new demand is lost, the rest waits",
        one_store({"initial": 2}, shop={"lost_share": 0.25, "lost_sale_cost": 3.0, "backorder_cost": 1.0}),
        demand={"shop": [10, 0]},
        expected={
            "served": {"store>shop": [2, 0]},
            "lost": {"shop": [2, 0]},
            "backlog": {"shop": [0, 6]},
            "costs": {"lost_sale": [6, 0], "backorder": [6, 6]},
        },
    ),
    # Waited 1 period in 1, 2 periods in 2, then lost: not charged as waiting at the close of 2.
    Case(
        "what has waited its patience is lost",
        one_store(shop={"patience": 2, "lost_sale_cost": 3.0, "backorder_cost": 1.0}),
        demand={"shop": [5, 0, 0, 0]},
        expected={
            "lost": {"shop": [0, 0, 5, 0]},
            "backlog": {"shop": [[0, 0, 0], [0, 5, 0], [0, 0, 5], [0, 0, 0]]},
            "costs": {"lost_sale": [0, 0, 15, 0], "backorder": [5, 5, 0, 0]},
        },
    ),
    Case(
        "what waits is served up to and including its patience-th period",
        one_store(truck={"lead_time": 2}, shop={"patience": 2}),
        demand={"shop": [5, 0, 0]},
        requests={"truck": [3, 0, 0]},
        expected={"served": {"store>shop": [0, 0, 3]}, "lost": {"shop": [0, 0, 2]}},
    ),
    Case(
        "patience 0: unserved new demand is lost at once, after the lost share",
        one_store(
            {"initial": 1}, shop={"patience": 0, "lost_share": 0.5, "lost_sale_cost": 1.0, "backorder_cost": 1.0}
        ),
        demand={"shop": [5, 0]},
        expected={
            "lost": {"shop": [4, 0]},
            "backlog": {"shop": [0, 0]},
            "costs": {"lost_sale": [4, 0], "backorder": [0, 0]},
        },
    ),
    # In 2: 3 have waited two periods, 2 one, 4 are new; 4 units serve the 3 and one of the 2. In 3 the other one is lost.
    Case(
        "within a customer the longest wait comes first, new demand last",
        one_store(truck={"lead_time": 2}, shop={"patience": 2}),
        demand={"shop": [3, 2, 4, 0]},
        requests={"truck": [4, 0, 0, 0]},
        expected={
            "backlog": {"shop": [[0, 0, 0], [0, 3, 0], [0, 2, 3], [0, 4, 1]]},
            "served": {"store>shop": [0, 0, 4, 0]},
            "lost": {"shop": [0, 0, 0, 1]},
        },
    ),
    Case(
        "customers of unlimited patience stand in waiting class 0",
        two_stores({"patient": customer("east"), "hasty": customer("west", patience=1)}),
        demand={"patient": [2, 1, 0], "hasty": [2, 1, 0]},
        expected={
            "backlog": {"patient": [[0, 0], [2, 0], [3, 0]], "hasty": [[0, 0], [0, 2], [0, 1]]},
            "lost": {"patient": [0, 0, 0], "hasty": [0, 2, 1]},
        },
    ),
    # 0: a loses half of 6, 3 wait; b loses nothing. 1: 4 units; a claims 3 + 1, b claims 4: 2 each. a's 2 go to those
    # who waited (1 left), its new 1 is unserved: half lost. b loses 2.
    Case(
        "backlog and new demand claim together",
        network(
            nodes={"store": {"initial": 0}},
            lanes={"truck": {"source": "mill", "target": "store", "lead_time": 1}},
            customers={"a": customer("store", lost_share=0.5), "b": customer("store", lost_share=1.0)},
        ),
        demand={"a": [6, 1, 0], "b": [0, 4, 0]},
        requests={"truck": [4, 0, 0]},
        expected={
            "served": {"store>a": [0, 2, 0], "store>b": [0, 2, 0]},
            "lost": {"a": [3, 0.5, 0], "b": [0, 2, 0]},
            "backlog": {"a": [0, 3, 1.5], "b": [0, 0, 0]},
        },
    ),
]


def shelf(**shop):
    """3 units of the middle class and 3 fresh ones on the shelf in period 1."""
    return one_store({"initial": 3}, truck={"lead_time": 0}, product={"shelf_life": 3}, shop=shop)


ISSUING = [
    Case(
        "fifo takes the oldest",
        shelf(issuing="fifo"),
        demand={"shop": [0, 3, 0]},
        requests={"truck": [0, 3, 0]},
        expected={"on_hand": {"store": [[0, 0, 3], [0, 3, 0], [0, 3, 0]]}, "disposed": {"store": [0, 0, 0]}},
    ),
    # Fresh ones come in 1 (lead time 0) and go in 1; the others are down to class 0 in 2 and are thrown away then.
    Case(
        "lifo takes the freshest",
        shelf(issuing="lifo"),
        demand={"shop": [0, 3, 0]},
        requests={"truck": [0, 3, 0]},
        expected={"on_hand": {"store": [[0, 0, 3], [0, 3, 0], [3, 0, 0]]}, "disposed": {"store": [0, 0, 3]}},
    ),
    # On the shelf in 1: 3 of class 1 and 3 of class 2. Two old ones and one fresh one go.
    Case(
        "fifo and lifo customers of one node take from either end",
        network(
            nodes={"store": {"initial": 3}},
            lanes={"truck": {"source": "mill", "target": "store", "lead_time": 0}},
            customers={"young": customer("store", issuing="lifo"), "old": customer("store", issuing="fifo")},
            products={"item": {"shelf_life": 3}},
        ),
        demand={"young": [0, 1, 0], "old": [0, 2, 0]},
        requests={"truck": [0, 3, 0]},
        expected={"on_hand": {"store": [[0, 0, 3], [0, 3, 0], [1, 2, 0]]}},
    ),
]

RETURNS = [
    # 10 served, 5 come back, 4 can be used: 1 is thrown away at 3.0; 4 pay 2.0 each, ride in 2 vehicles of 3 at 5.0 and
    # stand under way at the close of 0 at 0.5. They are on hand in 1. Nothing is shipped.
    Case(
        "a return lane takes a share of what was served, recovers a share of it, disposes of the rest on entering",
        with_return(
            back={
                "return_share": 0.5,
                "recovery": 0.8,
                "transport_cost": 2.0,
                "in_transit_cost": 0.5,
                "vehicle_volume": 3,
                "fixed_cost": 5.0,
                "emissions_kg": 0.5,
                "fixed_emissions_kg": 10.0,
            },
            store={"disposal_cost": 3.0},
        )
        | {"carbon_price": 1.0},
        demand={"shop": [10, 0]},
        expected={
            "returned": {"back": [5, 0]},
            "disposed": {"store": [1, 0]},
            "received": {"back": [0, 4]},
            "shipped": {"back": [0, 0]},
            "on_hand": {"store": [10, 4]},
            "costs": {
                "disposal": [3, 0],
                "transport": [8, 0],
                "fixed_transport": [10, 0],
                "in_transit": [2, 0],
                "purchase": [0, 0],
                "carbon": [22, 0],
            },
        },
    ),
    # Life of 3. Served in 0: the units coming back count as fresh (class 2) in 0, so they are of class 1 in 1.
    Case(
        "returned units are fresh as they enter the lane",
        with_return(back={"return_share": 0.5, "recovery": 1.0}, product={"shelf_life": 3}),
        demand={"shop": [10, 0, 0]},
        expected={
            "in_transit": {"back": [[0, 0, 0]] * 3},
            "on_hand": {"store": [[0, 0, 10], [0, 5, 0], [5, 0, 0]]},
        },
    ),
    # 6 served by two sources: 3 come back, from where the goods came is of no matter.
    Case(
        "the share is of all that the customer was served",
        network(
            nodes={"east": {"initial": 4}, "west": {"initial": 9}},
            lanes={
                "east_truck": {"source": "mill", "target": "east", "lead_time": 1},
                "west_truck": {"source": "mill", "target": "west", "lead_time": 1},
                "back": {"source": "a", "target": "east", "lead_time": 2, "return_share": 0.5, "recovery": 1.0},
            },
            customers={"a": customer("east", "west")},
        ),
        demand={"a": [6, 0, 0]},
        expected={
            "served": {"east>a": [4, 0, 0], "west>a": [2, 0, 0]},
            "returned": {"back": [3, 0, 0]},
            "in_transit": {"back": [0, 3, 0]},
            "on_hand": {"east": [4, 0, 3], "west": [9, 7, 7]},
        },
    ),
    # 4 under way come under a yield of 0.5.
    Case(
        "what comes back is subject to the yield of its period of arrival",
        with_return(back={"return_share": 0.5, "recovery": 0.8}, store={"disposal_cost": 1.0}),
        demand={"shop": [10, 0]},
        tape={"lane_yield": {"back": [1.0, 0.5]}},
        expected={
            "received": {"back": [0, 2]},
            "disposed": {"store": [1, 2]},
            "costs": {"disposal": [1, 2]},
        },
    ),
]

CASES = PASSES + RESERVE + WAITING + ISSUING + RETURNS
