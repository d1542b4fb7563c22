"""Instances whose best costs are known, as plain scenario data (see each function for the source)."""

from typing import Any

from echelongym.envs.scenario.scenario import Scenario

SUPPLIER = {"supplier": {"kind": "supplier"}}


def build(data: dict[str, Any]) -> Scenario:
    """The scenario; what these instances have in common is filled in."""
    return Scenario.from_mapping({"horizon": 400, "warm_up": 50} | data)


def serial(
    holding: list[float], leads: list[int], in_transit: list[float], penalty: float, demand: dict[str, Any], units: str
) -> Scenario:
    """A chain with backorders; lists from the top (Clark and Scarf, Management Science 6(4), 1960)."""
    names = [f"stage_{i}" for i in range(len(leads), 0, -1)]
    sources = ["supplier", *names[:-1]]
    return build(
        {
            "name": f"serial_{len(leads)}",
            "units": units,
            "nodes": SUPPLIER | {n: {"holding_cost": h} for n, h in zip(names, holding, strict=True)},
            "lanes": {
                f"to_{n}": {"source": s, "target": n, "lead_time": lead, "in_transit_cost": cost}
                for n, s, lead, cost in zip(names, sources, leads, in_transit, strict=True)
            },
            "customers": {
                "market": {"sources": {"stage_1": {}}, "demand": demand, "lost_share": 0, "backorder_cost": penalty}
            },
        }
    )


def serial_a() -> Scenario:
    """Three stages, Poisson 5; echelon levels from the top 26, 15, 9: 52.0467."""
    return serial([2, 4, 7], [2, 1, 0], [0, 2, 4], 37.12, {"kind": "poisson", "mean": 5}, "integer")


def serial_b() -> Scenario:
    """Two stages, Poisson 5; echelon levels from the top 19, 14: 16.4210."""
    return serial([1, 2], [1, 1], [0, 1], 9, {"kind": "poisson", "mean": 5}, "integer")


def serial_four() -> Scenario:
    """Four stages of Alvo, Russo, Kanoria and Jiang (arXiv 2306.11246): 10.734."""
    demand = {"kind": "normal", "mean": 5, "standard_deviation": 2}
    return serial([0.1, 0.2, 0.5, 1.0], [2, 4, 3, 4], [0, 0, 0, 0], 9, demand, "continuous")


def one_store(lead_time: int, penalty: float, demand: dict[str, Any], lost: bool, units: str) -> Scenario:
    """One store, holding cost 1 (Zipkin, Operations Research 56(5), 2008)."""
    price = {"lost_sale_cost": penalty} if lost else {"backorder_cost": penalty}
    return build(
        {
            "name": "one_store",
            "units": units,
            "nodes": SUPPLIER | {"store": {"holding_cost": 1}},
            "lanes": {"to_store": {"source": "supplier", "target": "store", "lead_time": lead_time}},
            "customers": {"shoppers": {"sources": {"store": {}}, "demand": demand, "lost_share": float(lost)} | price},
        }
    )


def lost_sales(lead_time: int, penalty: float) -> Scenario:
    """Poisson 5, lost sales."""
    return one_store(lead_time, penalty, {"kind": "poisson", "mean": 5}, True, "integer")


def newsvendor(lead_time: int, penalty: float) -> Scenario:
    """Normal demand N(5, 1.6), backorders: (1 + p) phi(z) 1.6 sqrt(lead time + 1)."""
    demand = {"kind": "normal", "mean": 5, "standard_deviation": 1.6}
    return one_store(lead_time, penalty, demand, False, "continuous")


def dual_sourcing(lead_time: int, expedited_cost: float) -> Scenario:
    """Demand 0 to 4, backorders, two sources (Veeraraghavan and Scheller-Wolf, Operations Research 56(4), 2008)."""
    return build(
        {
            "name": "dual_sourcing",
            "units": "integer",
            "nodes": SUPPLIER | {"store": {"holding_cost": 5}},
            "lanes": {
                "regular": {"source": "supplier", "target": "store", "lead_time": lead_time, "purchase_cost": 100},
                "expedited": {
                    "source": "supplier",
                    "target": "store",
                    "mode": "express",
                    "lead_time": 0,
                    "purchase_cost": expedited_cost,
                },
            },
            "customers": {
                "buyers": {
                    "sources": {"store": {}},
                    "demand": {"kind": "uniform", "low": 0, "high": 4},
                    "lost_share": 0,
                    "backorder_cost": 495,
                }
            },
        }
    )


def tiny_warehouse(stores: int) -> Scenario:
    """One warehouse, one or two stores, demand 0, 1, 2 with probabilities 1/4, 1/2, 1/4, every lead time 1."""
    names = [f"store_{i}" for i in range(1, stores + 1)]
    demand = {"kind": "discrete", "values": [0, 1, 2], "probabilities": [0.25, 0.5, 0.25]}
    return build(
        {
            "name": "tiny_warehouse",
            "units": "integer",
            "nodes": SUPPLIER | {"warehouse": {"holding_cost": 0.5}} | {n: {"holding_cost": 1} for n in names},
            "lanes": {"to_warehouse": {"source": "supplier", "target": "warehouse", "lead_time": 1}}
            | {f"to_{n}": {"source": "warehouse", "target": n, "lead_time": 1} for n in names},
            "customers": {
                f"at_{n}": {"sources": {n: {}}, "demand": demand, "lost_share": 1, "lost_sale_cost": 9} for n in names
            },
        }
    )
