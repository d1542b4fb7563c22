"""Hand cases of what planners ask first: minimum orders, review periods, calendars, opening backlogs."""

from hand_cases import Case, customer, fork, network, one_store, two_products

WHOLE = {"units": "integer"}

MINIMUM = [
    # Below 8: from 4 on it is 8, else nothing; 8 and more are free.
    Case(
        "below the minimum order a request is that or nothing, the nearer, half up",
        one_store(truck={"minimum_order": 8}),
        demand={"shop": [0] * 5},
        requests={"truck": [3.9, 4, 7.5, 8, 9.25]},
        expected={"requests": {"truck": [0, 8, 8, 8, 9.25]}, "shipped": {"truck": [0, 8, 8, 8, 9.25]}},
    ),
    # Milk in fives from 10 on (8 is no multiple): 4.9 -> 0, 5 -> 10, 12.4 -> 10, 12.5 -> 15; bread in units, from 3 on.
    Case(
        "a minimum order is raised to a multiple of the batch, by product",
        two_products(truck={"batch": {"milk": 5, "bread": 1}, "minimum_order": {"milk": 8, "bread": 3}}, **WHOLE),
        demand={"shop/milk": [0] * 4, "shop/bread": [0] * 4},
        requests={"truck/milk": [4.9, 5, 12.4, 12.5], "truck/bread": [1.4, 1.5, 2.9, 4.5]},
        expected={"shipped": {"truck/milk": [0, 10, 10, 15], "truck/bread": [0, 3, 3, 5]}},
    ),
    # The hub has 6 where 8 are the least: 6 go, 2 are unfilled. The north asks for 3 of 8: nothing.
    Case(
        "what is shipped may be less than the minimum order: what there is",
        fork(hub={"initial": 6}, north={"minimum_order": 8}, south={"minimum_order": 8}),
        demand={"north_shop": [0], "south_shop": [0]},
        requests={"to_north": [3], "to_south": [5]},
        expected={"shipped": {"to_north": [0], "to_south": [6]}, "unfilled": {"to_north": [0], "to_south": [2]}},
    ),
]

REVIEW = [
    Case(
        "a lane can be asked in its first period and every so many after; elsewhere nothing ships, seen as unfilled",
        one_store(truck={"review": {"every": 3, "first": 1}}),
        demand={"shop": [0] * 6},
        requests={"truck": [5, 4, 3, 2, 1, 0]},
        expected={"shipped": {"truck": [0, 4, 0, 0, 1, 0]}, "unfilled": {"truck": [5, 0, 3, 2, 0, 0]}},
    ),
    Case(
        "auto: the position covers lead time and review period",
        one_store(store={"initial": "auto"}, truck={"lead_time": 2, "review": {"every": 5}}),
        demand={"shop": [0]},
        expected={"on_hand": {"store": [24]}, "in_transit": {"truck": [4]}},  # 4 x (2 + 5), 4 of them under way
    ),
    # Open on days 0 to 2 of 5: the order of day 2 lasts until that of day 5 has come in 7, five periods.
    Case(
        "auto: the longest wait for the next open day counts",
        one_store(store={"initial": "auto"}, truck={"lead_time": 2, "calendar": {"open": [0, 1, 2], "cycle": 5}}),
        demand={"shop": [0]},
        expected={"on_hand": {"store": [16]}},  # 4 x (3 + 2) - 4
    ),
]

CALENDAR = [
    Case(
        "a lane departs on open days only",
        one_store(truck={"calendar": {"closed": [1, 3], "cycle": 4}}),
        demand={"shop": [0] * 6},
        requests={"truck": [1, 2, 3, 4, 5, 6]},
        expected={"shipped": {"truck": [1, 0, 3, 0, 5, 0]}, "received": {"truck": [0, 1, 0, 3, 0, 5]}},
    ),
    # Closed on days 2 and 3 of 4. Sent in 0 and 1 with lead time 2: due in 2 and 3, both there in 4; sent in 2 too.
    Case(
        "what is due at a node on a closed day waits for its next open one",
        one_store(store={"calendar": {"open": [0, 1], "cycle": 4}}, truck={"lead_time": 2}),
        demand={"shop": [0, 0, 0, 0, 1, 0]},
        requests={"truck": [5, 4, 3, 2, 0, 0]},
        expected={
            "received": {"truck": [0, 0, 0, 0, 12, 2]},
            "on_hand": {"store": [0, 0, 0, 0, 12, 13]},
            "in_transit": {"truck": [[0] * 3, [5, 0, 0], [4, 5, 0], [3, 4, 5], [2, 0, 0], [0] * 3]},
        },
    ),
    # The store works every other day: its customer waits on the day between, and it does not send either.
    Case(
        "a node serves and ships on open days only; a closed supplier sends nothing",
        network(
            nodes={
                "mill": {"kind": "supplier", "calendar": {"closed": [1], "cycle": 3}},
                "store": {"initial": 9, "calendar": {"open": [0], "cycle": 2}},
                "kiosk": {"initial": 0},
            },
            lanes={
                "truck": {"source": "mill", "target": "store", "lead_time": 2},
                "bike": {"source": "store", "target": "kiosk", "lead_time": 1},
            },
            customers={"shop": customer("store"), "walk_in": customer("kiosk")},
        ),
        demand={"shop": [1, 1, 1], "walk_in": [0, 0, 0]},
        requests={"truck": [2, 3, 0], "bike": [1, 1, 1]},
        expected={
            "shipped": {"truck": [2, 0, 0], "bike": [1, 0, 1]},
            "served": {"store>shop": [1, 0, 2]},
            "on_hand": {"store": [9, 7, 9]},
        },
    ),
    # Lead time 3, flow 4: slots 0 and 1 hold 4 each, due in 2 and 1; day 1 of 3 is closed, so both come in 2.
    Case(
        "what is under way at the start arrives on open days too",
        one_store(store={"initial": "auto", "calendar": {"closed": [1], "cycle": 3}}, truck={"lead_time": 3}),
        demand={"shop": [0, 0, 0]},
        expected={"received": {"truck": [0, 0, 8]}},
    ),
]

BACKLOG = [
    # 5 wait: 3 of them are served in 0 before the new 2; the 4 left wait on and cost 1 each.
    Case(
        "an opening backlog is served first, in period 0 too",
        one_store(store={"initial": 3}, shop={"opening_backlog": 5, "backorder_cost": 1.0}),
        demand={"shop": [2, 0]},
        requests={"truck": [4, 0]},
        expected={
            "backlog": {"shop": [5, 4]},
            "served": {"store>shop": [3, 4]},
            "costs": {"backorder": [4, 0]},
        },
    ),
    # Patience 2: as if it had come up in the period before 0, it is served up to period 1, then lost.
    Case(
        "an opening backlog has waited for one period",
        one_store(shop={"opening_backlog": 5, "patience": 2}),
        demand={"shop": [0, 0, 0]},
        requests={"truck": [0, 3, 0]},
        expected={
            "backlog": {"shop": [[0, 5, 0], [0, 0, 5], [0, 0, 0]]},
            "lost": {"shop": [0, 5, 0]},
        },
    ),
]

CASES = MINIMUM + REVIEW + CALENDAR + BACKLOG
