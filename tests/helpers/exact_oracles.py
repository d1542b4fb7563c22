"""Printed values and what the exact solvers make of them: one row a value, used by tests and by the table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import oracle_instances as instances

from echelongym.agents import load_policy
from echelongym.agents.exact import best, evaluate, solve
from echelongym.agents.exact.newsvendor import normal_newsvendor
from echelongym.envs.scenario.scenario import Scenario

BASE, CAPPED = "echelon_base_stock", "capped_echelon_base_stock"
DUAL, CAPPED_DUAL = "dual_index", "capped_dual_index"
EQUAL = {"allocation": "equalise"}


@dataclass(frozen=True)
class Row:
    """A printed value, as text so that its digits count, and how we get it (value, parameters)."""

    name: str
    printed: str
    compute: Callable[[], tuple[float, dict[str, Any]]]
    levels: dict[str, float] = field(default_factory=dict)  # printed numbers of the rule
    slow: bool = False

    @property
    def unit(self) -> float:
        """One in the last digit printed."""
        return 10.0 ** -len(self.printed.partition(".")[2])


def optimum(scenario: Scenario, method: str = "auto") -> Callable[[], tuple[float, dict[str, Any]]]:
    """The optimal value and parameters."""

    def compute() -> tuple[float, dict[str, Any]]:
        exact = solve(scenario, method)
        return exact.value, exact.parameters

    return compute


def rule(scenario: Scenario, name: str, **held: Any) -> Callable[[], tuple[float, dict[str, Any]]]:
    """The best of a rule's whole numbers."""

    def compute() -> tuple[float, dict[str, Any]]:
        found, cost = best(scenario, name, parameters=held)
        return cost, found.parameters

    return compute


def at(scenario: Scenario, name: str, **parameters: Any) -> Callable[[], tuple[float, dict[str, Any]]]:
    """A rule at given numbers."""
    return lambda: (evaluate(scenario, load_policy(name, scenario, **parameters)), parameters)


def chain(*levels: float) -> dict[str, float]:
    """Echelon levels from the top."""
    return {f"stage_{len(levels) - i}": level for i, level in enumerate(levels)}


def seven_stages() -> Scenario:
    """Seven stages: local holding costs and lead times from the top, demand N(5, 2) clipped at 0, p 9."""
    demand = {"kind": "normal", "mean": 5, "standard_deviation": 2}
    holding = [0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 1.0]
    return instances.serial(holding, [2, 4, 1, 3, 2, 3, 4], [0] * 7, 9, demand, "continuous")


def fixed_order_cost() -> Scenario:
    """One store, Poisson 10, K 64, h 1, p 9, lead time 0 (Zheng and Federgruen 1991)."""
    store = instances.one_store(0, 9, {"kind": "poisson", "mean": 10}, False, "integer")
    return store.with_overrides({"lanes.to_store.fixed_cost": 64})


def textbook() -> tuple[float, dict[str, Any]]:
    """Normal demand that may be negative, as in the closed form."""
    level, cost = normal_newsvendor(5, 1.6, 1, 9, lead_time=4)
    return cost, {"levels": {"store": level}}


def _lost_sales() -> list[Row]:
    rows = []
    printed = [
        (2, 4, "4.395295", "4.638644", 16, "4.405732", 17, 5),
        (2, 19, "7.664416", "7.842174", 21, "7.720861", 21, 7),
        (4, 4, "4.728526", "5.197769", 25, "4.797850", 26, 5),
    ]
    for lead, penalty, value, cost, level, capped, higher, cap in printed:
        scenario, long = instances.lost_sales(lead, penalty), lead > 2
        text = f"lost sales, lead time {lead}, p {penalty}"
        rows += [
            Row(text, value, optimum(scenario)),
            Row(f"{text}, base-stock", cost, rule(scenario, BASE), {"store": level}, slow=long),
            Row(f"{text}, capped", capped, rule(scenario, CAPPED), {"store": higher, "to_store": cap}, slow=long),
        ]
    return rows


def _dual_sourcing() -> list[Row]:
    rows = []
    for lead, price, value, dual, capped in (
        (2, 105, "216.769802", "217.022059", "216.782407"),
        (3, 110, "220.341051", "221.135300", "220.465662"),
    ):
        scenario, text = instances.dual_sourcing(lead, price), f"dual sourcing {lead}, {price}"
        rows += [
            Row(text, value, optimum(scenario)),
            Row(f"{text}, dual index", dual, rule(scenario, DUAL)),
            Row(f"{text}, capped dual index", capped, rule(scenario, CAPPED_DUAL), slow=True),
        ]
    return rows


def rows() -> list[Row]:
    """All of them."""
    two, one = instances.tiny_warehouse(2), instances.tiny_warehouse(1)
    return [
        Row("serial A", "52.0467", optimum(instances.serial_a()), chain(26, 15, 9)),
        Row("serial B", "16.4210", optimum(instances.serial_b()), chain(19, 14)),
        Row("serial B, value iteration", "16.4210", optimum(instances.serial_b(), "value_iteration"), slow=True),
        Row("serial B, evaluated", "16.4210", at(instances.serial_b(), BASE, levels=chain(19, 14))),
        Row("four stages, normal", "10.734", optimum(instances.serial_four())),
        Row("seven stages, normal", "12.289", optimum(seven_stages())),
        Row("newsvendor, normal, closed form", "6.279", textbook),
        Row("(s, S), Poisson 10", "35.021555", optimum(fixed_order_cost()), {"store": 6}),
        Row("(s, S), value iteration", "35.021555", optimum(fixed_order_cost(), "value_iteration"), slow=True),
        *_lost_sales(),
        Row("warehouse, two stores", "3.480337", optimum(two)),
        Row(
            "warehouse, two stores, echelon base-stock",
            "3.599653",
            rule(two, BASE, **EQUAL),
            {"warehouse": 8, "store_1": 3, "store_2": 3},
        ),
        Row("warehouse, one store", "1.788044", optimum(one)),
        Row("warehouse, one store, echelon base-stock", "1.788044", rule(one, BASE), {"warehouse": 4, "store_1": 3}),
        *_dual_sourcing(),
    ]
