"""Costs that are flat almost everywhere: values stay exact, slopes are those of the cost of dithered flows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from echelongym.agents.budget import Budget
from echelongym.agents.learners import learner_config
from echelongym.agents.loading import load_policy
from echelongym.agents.pathwise.config import PathwiseConfig
from echelongym.agents.pathwise.gradients.smoothing import SmoothLedger
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.core.backend import NUMPY, TorchOps
from echelongym.envs.dynamics import Flows
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods

DEFAULTS = learner_config("pathwise").model_dump()
DRAWS = (np.arange(200_000) + 0.5) / 200_000  # a uniform distribution, evenly spaced


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    """A depot that costs 5 a period while it holds anything; roads with vehicles of 12, and with one that takes all."""
    return Scenario.from_mapping({
        "name": "trucks",
        "units": "continuous",
        "horizon": 40,
        "warm_up": 0,
        "carbon_price": 0.5,
        "nodes": {
            "supplier": {"kind": "supplier"},
            "depot": {"holding_cost": 0.2, "fixed_cost": 5.0},
            "east": {"holding_cost": 1.0},
            "west": {"holding_cost": 1.0},
        },
        "lanes": {
            "inbound": {"source": "supplier", "target": "depot", "lead_time": 2},
            "to_east": {
                "source": "depot", "target": "east", "lead_time": 1, "fixed_cost": 7, "vehicle_volume": 12,
                "fixed_emissions_kg": 3,
            },
            "to_west": {"source": "depot", "target": "west", "lead_time": 1, "fixed_cost": 9},
        },
        "customers": {
            f"{name}_shop": {
                "sources": {name: {}}, "demand": {"kind": "poisson", "mean": 10}, "lost_share": 0, "backorder_cost": 9
            }
            for name in ("east", "west")
        },
    })  # fmt: skip


def flows_of(scenario: Scenario, period: int = 20, worlds: int = 1) -> Flows:
    rule = load_policy("echelon_base_stock", scenario)
    for now, _, flows, _ in periods(scenario, rule, scenario.sample(worlds, 0, "tune")):
        if now == period:
            return flows
    raise AssertionError


def in_torch(flows: Flows) -> Flows:
    return Flows(*(None if value is None else torch.from_numpy(np.array(value)) for value in flows))


def smooth(scenario: Scenario, smoothing: float = 1.0) -> SmoothLedger:
    return SmoothLedger(scenario.tables, TorchOps(torch.float64), smoothing, scenario)


@pytest.mark.parametrize("name", ["trucks", "two_region", "grocery"])
def test_values_are_exact(scenario, name):
    scenario = scenario if name == "trucks" else Scenario.load(name)
    flows = flows_of(scenario, worlds=8)
    exact, found = Ledger(scenario.tables, NUMPY).period(flows), smooth(scenario).period(in_torch(flows))
    assert list(exact) == list(found)
    for line, value in exact.items():
        np.testing.assert_allclose(found[line].numpy(), value, rtol=1e-12, atol=1e-12)


def slope(scenario: Scenario, flows: Flows, lane: int, units: float, lines: tuple[str, ...]) -> float:
    """Of the smooth ledger, with respect to what is shipped on a lane."""
    moved = torch.tensor(units, dtype=torch.float64, requires_grad=True)
    given = in_torch(flows)
    shipped = given.shipped.clone()
    shipped[lane, 0, 0] = moved
    # What stands after arrivals is what it was: what leaves is no longer there at the close.
    on_hand = given.on_hand.clone()
    source = scenario.tables.lane_source[lane]
    on_hand[source, 0, 0] = on_hand[source, 0, 0] + given.shipped[lane, 0, 0] - moved
    found = smooth(scenario).period(given._replace(shipped=shipped, on_hand=on_hand))
    (gradient,) = torch.autograd.grad(sum(found[line].sum() for line in lines), moved)  # type: ignore[arg-type]
    return float(gradient)


def dithered(scenario: Scenario, flows: Flows, lane: int, units: Any, lines: tuple[str, ...]) -> float:
    """Mean exact cost where the shipment is each of ``units``."""
    many = Flows(*(None if value is None else np.repeat(value, len(units), -1) for value in flows))
    shipped = many.shipped.copy()
    shipped[lane, 0] = units
    found = Ledger(scenario.tables, NUMPY).period(many._replace(shipped=shipped))
    return float(sum(found[line].mean() for line in lines))


@pytest.mark.parametrize("units", [0.7, 9.0, 12.0, 17.0, 40.3])
def test_slope_of_vehicles_is_that_of_a_shipment_dithered_by_one_vehicle(scenario, units):
    flows, lane = flows_of(scenario), scenario.tables.lanes.index("to_east")
    step, lines = 0.05, ("fixed_transport", "carbon")
    above, below = (
        dithered(scenario, flows, lane, units + sign * step + 12 * DRAWS, lines) for sign in (1, -1)
    )  # a draw that does not leave less than nothing
    truth = (above - below) / (2 * step)
    assert slope(scenario, flows, lane, units, lines) == pytest.approx(truth, rel=2e-3)
    assert truth == pytest.approx((7 + 0.5 * 3) / 12, rel=2e-3)


@pytest.mark.parametrize("units", [0.7, 4.0, 8.0, 13.0])
def test_slope_of_one_vehicle_for_all_is_that_of_a_shipment_dithered_by_a_mean_flow(scenario, units):
    """The draw takes away up to a mean flow, and what is left below nothing is nothing."""
    flows, lane = flows_of(scenario), scenario.tables.lanes.index("to_west")
    step = 0.05
    above, below = (
        dithered(scenario, flows, lane, np.maximum(units + sign * step - 10 * DRAWS, 0), ("fixed_transport",))
        for sign in (1, -1)
    )
    truth = (above - below) / (2 * step)
    assert slope(scenario, flows, lane, units, ("fixed_transport",)) == pytest.approx(truth, abs=2e-3)


@pytest.mark.parametrize("standing", [3.0, 15.0, 27.0])
def test_slope_of_a_depot_is_that_of_dithered_stock(scenario, standing):
    """Its cost by what stands there after arrivals, dithered by its mean flow; what leaves in the period stood there."""
    flows = in_torch(flows_of(scenario))
    t = scenario.tables
    depot, width = t.nodes.index("depot"), automatic_levels(scenario).flow[t.nodes.index("depot"), 0]
    assert width == pytest.approx(20)
    leaves = 2.0
    shipped = torch.zeros_like(flows.shipped)
    shipped[t.lanes.index("to_west"), 0, 0] = leaves
    rest = torch.tensor(standing - leaves, dtype=torch.float64, requires_grad=True)
    on_hand = flows.on_hand.clone()
    on_hand[depot, 0, 0] = rest
    present = flows.present.clone()  # type: ignore[union-attr]
    present[depot] = 1
    found = smooth(scenario).period(flows._replace(shipped=shipped, on_hand=on_hand, present=present))
    (gradient,) = torch.autograd.grad(found["node"].sum(), rest)
    step = 0.05
    above, below = (5 * np.mean(standing + sign * step - width * DRAWS > 0) for sign in (1, -1))
    assert float(gradient) == pytest.approx((above - below) / (2 * step), abs=2e-3)


def test_no_smoothing_is_flat(scenario):
    flows, lane = flows_of(scenario), scenario.tables.lanes.index("to_east")
    given = in_torch(flows)
    shipped = given.shipped.clone().requires_grad_()
    found = smooth(scenario, 0.0).period(given._replace(shipped=shipped))
    (gradient,) = torch.autograd.grad(sum(found.values()).sum(), shipped, allow_unused=True)  # type: ignore[union-attr]
    assert gradient is None or float(gradient[lane].abs().sum()) == 0.0


def test_training_sends_fuller_vehicles_where_they_are_dear(scenario):
    """A vehicle at 300 sent every period costs 300 a period; without smoothing nothing is learned of it."""
    dear = scenario.with_overrides({"lanes.to_west.fixed_cost": 300.0})
    tape, reached = dear.sample(16, 0, "tune"), []
    for smoothing in (1.0, 0.0):
        changes = {"hidden": (8, 8), "worlds": 32, "periods": 30, "learning_rate": 0.02, "smoothing": smoothing}
        settings = PathwiseConfig(**{**DEFAULTS, "order_decisions": "none", **changes})
        trainer = PathwiseTrainer(dear, settings, 0, Budget(env_steps=32 * 30 * 40), tape, evaluations=2)
        reached.append(float(trainer.run().cost.mean()))
    assert reached[0] < 0.75 * reached[1]
    assert reached[1] > 300
