"""Worlds in single precision cost what they cost in double precision, line by line: tolerances follow the type."""

import numpy as np
import pytest

from echelongym.agents.loading import load_policy
from echelongym.envs.core.backend import NumpyOps
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate


def random_network(seed):
    """A chain of a few nodes with shops at its end, fixed costs and vehicles on many lanes, sizes over four decades."""
    rng = np.random.default_rng(seed)
    size, depth, shops = 10.0 ** rng.uniform(-1, 3), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    nodes = {"s": {"kind": "supplier"}} | {f"n{k}": {"holding_cost": 0.2, "fixed_cost": 1.0} for k in range(depth)}
    charge = {"fixed_cost": 5.0, "transport_cost": 0.1}
    lanes = {
        f"l{k}": {
            "source": "s" if k == 0 else f"n{k - 1}",
            "target": f"n{k}",
            "lead_time": int(rng.integers(0, 4)),
            **charge,
        }
        for k in range(depth)
    }
    customers = {}
    for k in range(shops):
        nodes[f"shop{k}"] = {"holding_cost": 1.0}
        vehicle = {"vehicle_volume": size * float(rng.uniform(0.3, 3))} if rng.random() < 0.5 else {}
        lanes[f"to{k}"] = {
            "source": f"n{depth - 1}",
            "target": f"shop{k}",
            "lead_time": int(rng.integers(0, 3)),
            **charge,
            **vehicle,
        }
        kind = rng.choice(["gamma", "deterministic", "uniform"])
        law = {
            "gamma": {"mean": size, "standard_deviation": 0.8 * size},
            "deterministic": {"mean": size},
            "uniform": {"low": 0.0, "high": 2 * size},
        }[kind]
        customers[f"c{k}"] = {
            "sources": {f"shop{k}": {}},
            "demand": {"kind": str(kind), **law},
            "lost_share": float(rng.choice([0.0, 0.4, 1.0])),
            "backorder_cost": 5.0,
            "lost_sale_cost": 9.0,
        }
    return Scenario.from_mapping(
        {"name": "random", "horizon": 60, "warm_up": 0, "nodes": nodes, "lanes": lanes, "customers": customers}
    )


@pytest.mark.parametrize("seed", range(40))
def test_every_cost_line_agrees_with_double_precision(seed):
    scenario = random_network(seed)
    tape = scenario.sample(8, seed, "test")
    for name in ("echelon_base_stock", "local_base_stock"):
        policy = load_policy(name, scenario)
        double, single = (
            simulate(scenario, policy, tape, backend=NumpyOps(np.dtype(dtype))) for dtype in ("float64", "float32")
        )
        total = double.cost_per_period.mean()
        for line, wanted in double.costs.items():
            # A shipment within rounding of nothing, or of a full vehicle, may count in one and not in the other.
            gap = abs((single.costs[line] - wanted).mean())
            assert gap <= 1e-3 * max(abs(wanted.mean()), 0.05 * total), (name, line, gap, wanted)
