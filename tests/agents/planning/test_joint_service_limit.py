"""Joint limits of service: no policy is nearer to its targets on random networks, and hand cases of a known shortfall."""

import numpy as np
import pytest
import random_scenarios
from hypothesis import given, settings
from hypothesis import strategies as st

from echelongym.agents.planning.joint_service_limit import joint_service_limit, least_shortfall, target_prices
from echelongym.agents.planning.service_limit import service_limits
from echelongym.agents.service_targets import Target, targets_of
from echelongym.envs import Decision, Scenario, Tape, simulate


@pytest.mark.filterwarnings("ignore::echelongym.envs.NetworkWarning")
@pytest.mark.parametrize("units", ["continuous", "integer"])
@pytest.mark.parametrize("examples", [8, pytest.param(300, marks=pytest.mark.slow)])
def test_no_policy_on_a_random_network_misses_less(units: str, examples: int) -> None:
    @given(random_scenarios.seeds(), st.booleans(), st.integers(0, 2))
    @settings(deadline=None, max_examples=examples)
    def holds(seed: int, plenty: bool, window: int) -> None:
        mapping, arrays, _, requests, reserve = random_scenarios.random_world(seed, units)
        for customer in mapping["customers"].values():
            customer["targets"] = {"served_within": {"share": 0.9, "periods": window}}
        scenario = Scenario.from_mapping(mapping)
        t = scenario.tables
        tape = Tape.from_demand(scenario, **arrays).check(scenario)
        asked = np.asarray(requests) * (50 if plenty else 1)
        held = None if reserve is None or plenty else np.asarray(reserve)

        def policy(observation):
            period = int(observation.period[0])
            return Decision(asked[None, period], None if held is None else held[None, period])

        figures = simulate(scenario, policy, tape).figures().figures["customer"]
        targets, missed = [], []
        for customer in scenario.customers:
            for kind, name in (("fill_rate", "fill_rate"), ("served_within", f"served_within_{window}")):
                targets.append(Target(kind, 0.9, customer, window))
                figure = figures[customer][name]
                missed.append(0.9 * figure.denominator - figure.numerator)
        rng = np.random.default_rng(seed)
        prices = target_prices(t, tape, targets)
        assert ((prices >= 0) & (prices <= 1)).all()
        for weights in (prices, np.ones(len(targets)), rng.random(len(targets)) * rng.integers(0, 2, len(targets))):
            least = least_shortfall(t, tape, targets, weights)
            assert (least <= weights @ np.array(missed) + 1e-6 * (1 + np.abs(missed).sum())).all(), f"seed {seed}"

    holds()


def two_shops(capacity: float = 8.0, target: float = 0.9, other: float = 0.9, **changes) -> Scenario:
    """Two customers of one store, five units a period each, over one lane of lead time 0."""

    def people(share: float) -> dict:
        return {
            "sources": {"store": {}},
            "demand": {"kind": "deterministic", "mean": 5},
            "lost_share": changes.get("lost_share", 1.0),
            "lost_sale_cost": 9.0,
            "backorder_cost": 9.0,
            "targets": {"fill_rate": share},
        }

    data = {
        "horizon": 30,
        "warm_up": changes.get("warm_up", 0),
        "nodes": {
            "plant": {"kind": "supplier"},
            "store": {"holding_cost": 1.0, "initial": changes.get("initial", 0)},
        },
        "lanes": {"road": {"source": "plant", "target": "store", "lead_time": 0, "capacity": capacity}},
        "customers": {"east": people(target), "west": people(other)},
        **changes.get("top", {}),
    }
    return Scenario.from_mapping(data)


@pytest.mark.parametrize(
    ("scenario", "shortfall"),
    [
        (two_shops(), 1.0),  # 8 of the 9 units a period that are asked for
        (two_shops(capacity=9.0), None),
        (two_shops(lost_share=0.0), 1.0),  # new demand could be served before old
        (two_shops(target=0.9, other=0.6), None),  # 4.5 and 3 of 8
        (two_shops(target=0.95, other=0.75), 0.5),  # 4.75 and 3.75 of 8
        (two_shops(initial=30), None),  # a unit a period from stock
        (two_shops(initial=15), 0.5),
        (two_shops(warm_up=10), None),  # the periods before might build up stock
        (two_shops(warm_up=10, top={"products": {"milk": {"shelf_life": 1}}}), 1.0),  # unless it does not keep
    ],
)
def test_shortfalls_that_are_known(scenario: Scenario, shortfall: float | None) -> None:
    assert not any(limit.beyond_reach for limit in service_limits(scenario))  # each customer alone can have it all
    found = joint_service_limit(scenario, targets_of(scenario))
    if shortfall is None:
        assert found is None
        return
    assert found is not None
    assert found.shortfall["mean"] == pytest.approx(shortfall)
    assert found.asked == pytest.approx(sum(5 * target.value for target in targets_of(scenario)))
    assert [target.customer for target in found.targets] == ["east", "west"]
    assert "are beyond reach together" in found.text
    assert found.to_dict()["units_a_period"]["shortfall"]["mean"] == pytest.approx(shortfall)


def test_peaks_at_the_same_time_cannot_be_served_from_stock_that_does_not_keep() -> None:
    """15 units are wanted of each every second period, and 20 a period can come: 20 of 30, where all keep 20 of 15."""
    top = {"products": {"milk": {"shelf_life": 1}}}
    scenario = two_shops(capacity=20.0, top=top)
    for name in ("east", "west"):
        season = {"kind": "deterministic", "mean": 7.5, "season": {"amplitude": 1.0, "period": 2, "phase": 0.5}}
        scenario = scenario.with_overrides({f"customers.{name}.demand": season})
    assert not any(limit.beyond_reach for limit in service_limits(scenario))
    found = joint_service_limit(scenario, targets_of(scenario))
    assert found is not None
    assert found.shortfall["mean"] == pytest.approx((27 - 20) / 2)
    assert joint_service_limit(scenario.with_overrides({"products.milk.shelf_life": 2}), targets_of(scenario)) is None


def test_shortfall_of_random_demand_is_that_of_serving_whatever_can_be_served() -> None:
    """One product, alike customers, lost sales: serving all that stock and 8 units a period allow is best in each world."""
    scenario = two_shops()
    for name in ("east", "west"):
        scenario = scenario.with_overrides({f"customers.{name}.demand": {"kind": "poisson", "mean": 5}})
    found = joint_service_limit(scenario, targets_of(scenario))
    assert found is not None
    assert found.asked == pytest.approx(9.0, rel=0.1)
    tape = scenario.sample(32, 0, "tune")
    demand = tape.demand[tape.history :].sum(axis=(2, 3))  # (T, B)
    stock, served = np.zeros(32), np.zeros(32)
    for wanted in demand:
        most = np.minimum(wanted, stock + 8)
        served, stock = served + most, stock + 8 - most
    short = 0.9 * demand.sum(0) - served
    targets = targets_of(scenario)
    assert least_shortfall(scenario.tables, tape.check(scenario), targets, np.ones(2)) == pytest.approx(short)
    # Prices that are found in other worlds need not be alike: the limit is a little lower, and true.
    assert 0.95 * short.mean() / 30 <= found.shortfall["mean"] <= short.mean() / 30 + 1e-9
    low, high = found.shortfall["ci95"]
    half = 2.0395 * short.std(ddof=1) / np.sqrt(32) / 30  # Student's t of 31 degrees of freedom
    assert (found.worlds, high - low) == (32, pytest.approx(2 * half, rel=0.05))


def test_one_target_has_no_joint_limit() -> None:
    scenario = two_shops()
    assert joint_service_limit(scenario, targets_of(scenario)[:1]) is None
