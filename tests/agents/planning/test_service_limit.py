"""Limits of service: no policy serves more on random networks, and hand cases in which the limit is known."""

import numpy as np
import pytest
import random_scenarios
from hypothesis import given, settings
from hypothesis import strategies as st

from echelongym.agents.planning.service_limit import most_served, service_limits
from echelongym.agents.service_targets import Target
from echelongym.envs import Decision, Scenario, Tape, simulate


@pytest.mark.parametrize("units", ["continuous", "integer"])
def test_no_policy_on_a_random_network_serves_more(units: str) -> None:
    @given(random_scenarios.seeds(), st.booleans())
    @settings(deadline=None, max_examples=40)
    def holds(seed: int, plenty: bool) -> None:
        mapping, arrays, _, requests, reserve = random_scenarios.random_world(seed, units)
        scenario = Scenario.from_mapping(mapping)
        tape = Tape.from_demand(scenario, **arrays)
        asked = np.asarray(requests) * (50 if plenty else 1)
        held = None if reserve is None or plenty else np.asarray(reserve)

        def policy(observation):
            period = int(observation.period[0])
            return Decision(asked[None, period], None if held is None else held[None, period])

        kpis = simulate(scenario, policy, tape).figures().by_world()["customer"]
        targets = [
            Target(kind, 0.9, customer, window)
            for customer in scenario.customers
            for kind, window in (("fill_rate", 0), ("no_stockout_rate", 0), ("served_within", 1))
        ]
        for target, most in zip(targets, most_served(scenario.tables, tape, targets), strict=True):
            name = "served_within_1" if target.kind == "served_within" else target.kind
            found = kpis[target.customer][name]
            both = ~np.isnan(found)
            assert (found[both] <= most.by_world()[both] + 1e-9).all(), f"{target.name}, seed {seed}"

    holds()


def store(**changes) -> Scenario:
    data = {
        "horizon": 30,
        "warm_up": 0,
        "nodes": {"plant": {"kind": "supplier"}, "store": {"holding_cost": 1.0, "initial": 0}},
        "lanes": {"road": {"source": "plant", "target": "store", "lead_time": 0}},
        "customers": {
            "people": {
                "sources": {"store": {}},
                "demand": {"kind": "deterministic", "mean": 10},
                "lost_share": 1.0,
                "lost_sale_cost": 9.0,
                "targets": {"fill_rate": 0.9, "no_stockout_rate": 0.9},
            }
        },
    }
    for key, value in changes.items():
        section, _, rest = key.partition("__")
        if rest:
            name, _, field = rest.partition("__")
            data[section].setdefault(name, {})[field] = value
        else:
            data[section] = value
    return Scenario.from_mapping(data)


@pytest.mark.parametrize(
    ("changes", "fill_rate", "no_stockout_rate"),
    [
        ({}, 1.0, 1.0),
        # Nothing is there before the first delivery.
        ({"lanes__road__lead_time": 3}, 27 / 30, 27 / 30),
        # Six of ten can come, all the time; in time enough is there for single periods, never for all.
        ({"lanes__road__capacity": 6}, 0.6, 29 / 30),
        # What stands at the start serves four periods of a dead lane.
        ({"lanes__road__capacity": 0, "nodes__store__initial": 40}, 4 / 30, 4 / 30),
        # Out for ten periods, goods last three, that of dispatch included: two periods can be bridged.
        (
            {
                "products": {"milk": {"shelf_life": 3}},
                "disruptions": {
                    "out": {"when": {"from": 10, "to": 19}, "effects": [{"nodes": "plant", "availability": 0.0}]}
                },
            },
            22 / 30,
            22 / 30,
        ),
        # Goods that last for ever bridge it all.
        (
            {
                "disruptions": {
                    "out": {"when": {"from": 10, "to": 19}, "effects": [{"nodes": "plant", "availability": 0.0}]}
                }
            },
            1.0,
            1.0,
        ),
    ],
)
def test_limits_that_are_known(changes, fill_rate: float, no_stockout_rate: float) -> None:
    scenario = store(**changes)
    found = {limit.target.kind: limit for limit in service_limits(scenario)}
    assert found["fill_rate"].estimate["mean"] == pytest.approx(fill_rate)
    if "capacity" not in str(changes):
        assert found["no_stockout_rate"].estimate["mean"] == pytest.approx(no_stockout_rate)
    assert found["fill_rate"].beyond_reach == (fill_rate < 0.9)


def test_the_documented_target_of_two_regions_is_beyond_reach() -> None:
    (limit,) = service_limits(Scenario.load("two_region"))
    assert limit.beyond_reach
    assert "beyond reach: no policy gets above 0.9" in limit.text
    assert limit.to_dict()["beyond_reach"]
    # Nine tenths can be had.
    easier = Scenario.load("two_region").with_overrides({"customers.north_shops.targets.fill_rate": 0.85})
    assert not service_limits(easier)[0].beyond_reach
