"""Changes to the two-stage chain (serial B) that a method refuses, with what the error must name."""

from typing import Any

LANE, NODE, MARKET = "lanes.to_stage_1", "nodes.stage_1", "customers.market"
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("clark_scarf", {f"{LANE}.capacity": 7}, r"lanes\.to_stage_1\.capacity = 7"),
    ("clark_scarf", {f"{NODE}.capacity": 7}, r"nodes\.stage_1\.capacity = 7"),
    ("clark_scarf", {"nodes.supplier.capacity": 7}, r"nodes\.supplier\.capacity = 7"),
    ("clark_scarf", {f"{LANE}.lead_time": {"values": [1, 2], "probabilities": [0.5, 0.5]}}, r"to_stage_1\.lead_time"),
    ("clark_scarf", {f"{LANE}.fixed_cost": 3}, r"lanes\.to_stage_1\.fixed_cost = 3"),
    ("clark_scarf", {f"{LANE}.minimum_order": 4}, r"lanes\.to_stage_1\.minimum_order = 4"),
    ("clark_scarf", {f"{LANE}.review": 5}, r"lanes\.to_stage_1\.review = 'a cycle of 5 periods'"),
    ("clark_scarf", {f"{NODE}.calendar.closed": [5, 6]}, r"nodes\.stage_1\.calendar = 'a cycle of 7 periods'"),
    ("value_iteration", {f"{LANE}.calendar.open": [0]}, r"lanes\.to_stage_1\.calendar = 'a cycle of 7 periods'"),
    (
        "value_iteration",
        {f"{LANE}.minimum_order": 4},
        r"to_stage_1\.minimum_order = 4.*a lane and a supplier without capacity",
    ),
    ("clark_scarf", {f"{LANE}.batch": 4}, r"lanes\.to_stage_1\.batch = 4"),
    ("clark_scarf", {f"{LANE}.commitment": 4, f"{LANE}.transport_cost": 1}, r"to_stage_1\.commitment = 4"),
    ("clark_scarf", {f"{NODE}.fixed_cost": 3}, r"nodes\.stage_1\.fixed_cost = 3"),
    ("clark_scarf", {f"{NODE}.storage_capacity": 9, f"{NODE}.overflow_cost": 1}, r"stage_1\.storage_capacity = 9"),
    ("clark_scarf", {"products.product.shelf_life": 9}, r"products\.product\.shelf_life = 9"),
    ("clark_scarf", {f"{MARKET}.lost_share": 0.5}, r"customers\.market\.lost_share = 0\.5"),
    ("clark_scarf", {f"{MARKET}.patience": 3}, r"customers\.market\.patience = 3"),
    ("clark_scarf", {f"{MARKET}.backorder_cost": 0}, r"customers\.market\.backorder_cost = 0"),
    ("clark_scarf", {f"{MARKET}.demand.season": {"amplitude": 0.3, "period": 12}}, r"market\.demand\.season = 0\.3"),
    ("clark_scarf", {"correlation.periods": 0.4}, r"correlation\.periods = 0\.4"),
    ("clark_scarf", {"forecast.horizon": 3}, r"forecast\.horizon = 3"),
    (
        "clark_scarf",
        {
            "disruptions": {
                "o": {"when": {"mean_up": 9, "mean_down": 2}, "effects": [{"nodes": "all", "availability": 0}]}
            }
        },
        r"disruptions = \['o'\]",
    ),
    ("newsvendor", {}, r"lanes = \['to_stage_2', 'to_stage_1'\]: expected a chain of 1 lane"),
    ("reorder_point", {}, r"chain of 1 lane"),
    ("value_iteration", {"units": "continuous"}, r"units = 'continuous': expected integer"),
    ("value_iteration", {f"{MARKET}.demand.season": {"amplitude": 0.3, "period": 12}}, r"demand\.season"),
    ("value_iteration", {"correlation.periods": 0.4}, r"correlation\.periods"),
    ("value_iteration", {"forecast.horizon": 3}, r"forecast\.horizon"),
    (
        "value_iteration",
        {"disruptions": {"o": {"when": {"from": 3, "to": 9}, "effects": [{"nodes": "all", "availability": 0}]}}},
        r"disruptions\.o\.when",
    ),
    (
        "value_iteration",
        {"disruptions": {"o": {"when": {"mean_up": 9, "mean_down": 2}, "effects": [{"lanes": "all", "yield": 0.5}]}}},
        r"disruptions\.o\.effects\.0\.yield = 0\.5",
    ),
    (
        "value_iteration",
        {
            "disruptions": {
                "o": {"when": {"mean_up": 9, "mean_down": 2}, "effects": [{"customers": "all", "demand_factor": 2}]}
            }
        },
        r"disruptions = \['o'\]: expected ones that policies can tell",
    ),
    (
        "value_iteration",
        {"lanes.back": {"source": "market", "target": "stage_1", "lead_time": 1, "return_share": 0.2}},
        r"lanes\.back\.return_share = 0\.2",
    ),
    (
        "value_iteration",
        {f"{LANE}.lead_time": {"values": [1, 2], "probabilities": [0.5, 0.5]}, "observe.lead_time": "quoted"},
        r"observe\.lead_time = 'quoted'",
    ),
]
