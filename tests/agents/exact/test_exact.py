"""Exact solutions against printed values, closed forms, plain-Python problems, each other and simulation.

`python test_exact.py` prints the table of known values.
"""

import math
import time
from typing import Any

import exact_features as features
import exact_reference as reference
import numpy as np
import oracle_instances as instances
import pytest
from exact_oracles import Row, fixed_order_cost, rows, textbook
from exact_refusals import REFUSED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echelongym.agents import load_policy
from echelongym.agents.exact import Exact, best, evaluate, solve
from echelongym.agents.exact.markov.bellman import Unsettled
from echelongym.envs import Decision, simulate
from echelongym.envs.core.errors import InputError

ROWS = rows()
COIN = {0: 0.25, 1: 0.5, 2: 0.25}


def within(scenario: Any, policy: Any, cost: float, worlds: int = 512, periods: int = 400, bias: float = 0.0) -> None:
    """Simulation agrees within three standard errors."""
    tape = scenario.sample(worlds, seed=11, purpose="test", periods=periods)
    costs = simulate(scenario, policy, tape, kpis=False).cost_per_period
    error = costs.std(ddof=1) / math.sqrt(worlds)
    assert abs(costs.mean() - cost) <= 3 * error + bias, (costs.mean(), cost, error)


# Printed values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name, marks=[pytest.mark.slow] if row.slow else []) for row in ROWS]
)
def test_printed_value_is_met_to_its_digits(row: Row) -> None:
    value, parameters = row.compute()
    # One unit in the last digit: 1.788044 was printed for 1.7880435.
    assert abs(value - float(row.printed)) <= row.unit
    found = {k: v for group in parameters.values() if isinstance(group, dict) for k, v in group.items()}
    for name, level in row.levels.items():
        printed = parameters.get("reorder_points", found)
        assert printed[name] == level


def test_reorder_point_tells_both_numbers() -> None:
    exact = solve(fixed_order_cost())
    assert exact.method == "reorder_point"
    assert exact.parameters == {"reorder_points": {"store": 6.0}, "levels": {"store": 40.0}}


# Newsvendor and (s, S) against closed forms and brute force ---------------------------------------------


def one_store(demand: dict[str, Any], lead_time: int = 0, penalty: float = 9, **changes: Any) -> Any:
    """A store with backorders and continuous units."""
    units = changes.pop("units", "continuous")
    return instances.one_store(lead_time, penalty, demand, False, units).with_overrides(changes)


def test_newsvendor_normal() -> None:
    # So far from 0 that clipping does nothing.
    exact = solve(one_store({"kind": "normal", "mean": 50, "standard_deviation": 4}, 3))
    z = 1.2815515655446004
    assert exact.method == "newsvendor"
    assert exact.value == pytest.approx(10 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * 8, abs=1e-5)
    assert exact.parameters["levels"]["store"] == pytest.approx(200 + 8 * z, abs=1e-3)


def test_newsvendor_clipped_normal_is_a_little_cheaper_than_the_closed_form() -> None:
    exact, (cost, _) = solve(instances.newsvendor(4, 9)), textbook()
    assert exact.value < cost
    assert exact.value == pytest.approx(cost, rel=5e-4)


def test_newsvendor_uniform() -> None:
    exact = solve(one_store({"kind": "uniform", "low": 0, "high": 10}))
    assert exact.value == pytest.approx(4.5, abs=1e-5)
    assert exact.parameters["levels"]["store"] == pytest.approx(9, abs=1e-2)


def test_newsvendor_exponential() -> None:
    exact = solve(one_store({"kind": "gamma", "mean": 3, "standard_deviation": 3}))
    assert exact.value == pytest.approx(3 * math.log(10), abs=1e-4)


def test_newsvendor_empirical_with_what_units_cost() -> None:
    demand = {"kind": "empirical", "values": [1.5, 2.0, 4.5, 7.25]}
    exact = solve(one_store(demand, 0, 9, **{"lanes.to_store.purchase_cost": 2, "lanes.to_store.transport_cost": 0.5}))
    by_hand = min(np.mean([max(s - d, 0) + 9 * max(d - s, 0) for d in demand["values"]]) for s in np.arange(0, 8, 0.25))
    assert exact.value == pytest.approx(by_hand + 2.5 * np.mean(demand["values"]), abs=1e-9)


def test_newsvendor_lost_sales_at_lead_time_0() -> None:
    scenario = instances.one_store(0, 7, {"kind": "poisson", "mean": 4}, True, "integer").with_overrides(
        {"lanes.to_store.purchase_cost": 3}
    )
    exact = solve(scenario, "newsvendor")
    assert exact.value == pytest.approx(solve(scenario, "value_iteration").value, abs=1e-6)
    assert exact.value == pytest.approx(evaluate(scenario, exact.policy), abs=1e-8)


@pytest.mark.parametrize(("fixed", "penalty"), [(5.0, 4.0), (12.0, 9.0)])
def test_reorder_point_against_brute_force(fixed: float, penalty: float) -> None:
    law = {0: 0.2, 1: 0.3, 2: 0.3, 3: 0.2}
    demand = {"kind": "discrete", "values": list(law), "probabilities": list(law.values())}
    scenario = one_store(demand, 0, penalty, units="integer", **{"lanes.to_store.fixed_cost": fixed})
    cost = {y: sum(p * (max(y - d, 0) + penalty * max(d - y, 0)) for d, p in law.items()) for y in range(-8, 16)}
    costs = {
        (s, S): reference.order_up_to_cost(s, S, law, fixed, cost)
        for s in range(-5, 5)
        for S in range(max(s + 1, 0), 13)
    }
    exact = solve(scenario)
    assert exact.value == pytest.approx(min(costs.values()), abs=1e-8)
    low, high = exact.parameters["reorder_points"]["store"], exact.parameters["levels"]["store"]
    assert costs[int(low), int(high)] == pytest.approx(min(costs.values()), abs=1e-8)


def test_reorder_point_in_continuous_units() -> None:
    demand = {"kind": "normal", "mean": 10, "standard_deviation": 3}
    scenario = one_store(demand, 2, 9, **{"lanes.to_store.fixed_cost": 64, "lanes.to_store.in_transit_cost": 0.5})
    exact = solve(scenario)
    assert exact.error < 1e-3
    within(scenario, exact.policy, exact.value, bias=exact.error)


def test_economic_order_quantity() -> None:
    # Demand 2 a period, K 6, h 1: ordering for n periods costs (6 + 2 (0 + ... + (n - 1))) / n: 4 at n = 2 and 3.
    demand = {"kind": "deterministic", "mean": 2}
    scenario = one_store(demand, 0, 50, units="integer", **{"lanes.to_store.fixed_cost": 6})
    assert solve(scenario, "reorder_point").value == pytest.approx(4)
    assert solve(scenario, "value_iteration").value == pytest.approx(4, abs=1e-6)


# Chains ------------------------------------------------------------------------------------------------


@st.composite
def chains(draw: st.DrawFn) -> Any:
    """Chains of one to three stages in whole units, lead times 0 to 2, any holding and in-transit costs."""
    stages = draw(st.integers(1, 3))
    cost = st.integers(1, 20).map(lambda k: k / 10)
    leads = draw(st.lists(st.integers(0, 2), min_size=stages, max_size=stages))
    weights = draw(st.sampled_from([[0.25, 0.5, 0.25], [0.6, 0.1, 0.3], [0.1, 0.0, 0.9]]))
    return instances.serial(
        [draw(cost) for _ in range(stages)],
        leads,
        [draw(cost) - 0.1 for _ in range(stages)],
        draw(st.integers(2, 20)),
        {"kind": "discrete", "values": [0, 1, 2], "probabilities": weights},
        "integer",
    ).with_overrides({"lanes.to_stage_1.purchase_cost": draw(cost)})


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(chains())
def test_clark_scarf_levels_cost_what_it_says(scenario: Any) -> None:
    exact = solve(scenario, "clark_scarf")
    assert evaluate(scenario, exact.policy) == pytest.approx(exact.value, abs=1e-6)


@pytest.mark.parametrize(
    ("holding", "leads"), [([0.5, 1.0], [1, 1]), ([1.5, 1.0], [2, 0]), ([0.3, 0.8], [0, 1]), ([0.4, 1.1], [1, 2])]
)
def test_clark_scarf_is_optimal(holding: list[float], leads: list[int]) -> None:
    demand = {"kind": "discrete", "values": [0, 1, 2], "probabilities": [0.25, 0.5, 0.25]}
    scenario = instances.serial(holding, leads, [0.2, 0.7], 6, demand, "integer")
    exact = solve(scenario, "clark_scarf")
    assert solve(scenario, "value_iteration").value == pytest.approx(exact.value, abs=1e-6)


CHAIN_DEMANDS = [
    {"kind": "normal", "mean": 5, "standard_deviation": 2},
    {"kind": "gamma", "mean": 4, "standard_deviation": 5},
    {"kind": "uniform", "low": 1, "high": 6},
    {"kind": "negative_binomial", "mean": 4, "dispersion": 0.5},
    {"kind": "empirical", "values": [0.5, 2.25, 3, 8.5]},
    {"kind": "deterministic", "mean": 3.7},
]


@pytest.mark.parametrize("demand", CHAIN_DEMANDS, ids=lambda demand: str(demand["kind"]))
def test_clark_scarf_against_simulation(demand: dict[str, Any]) -> None:
    generator = np.random.default_rng(len(demand["kind"]))
    stages = 3
    holding = np.round(generator.uniform(0.2, 1.0, stages).cumsum(), 2).tolist()
    leads = generator.integers(0, 4, stages).tolist()
    ways = np.round(generator.uniform(0, 1, stages), 2).tolist()
    scenario = instances.serial(holding, leads, ways, 8, demand, "continuous").with_overrides({"warm_up": 100})
    exact = solve(scenario, "clark_scarf")
    assert exact.error <= 2e-3 * exact.value
    within(scenario, exact.policy, exact.value, bias=exact.error)


def test_echelon_cost_of_a_stage_dearer_than_the_one_below() -> None:
    # Then the lower stage takes whatever there is, and the two are one with the lead times added.
    demand = {"kind": "poisson", "mean": 3}
    two = instances.serial([2, 1], [2, 1], [0, 0], 9, demand, "integer")
    one = instances.serial([1], [3], [0], 9, demand, "integer")
    # In the chain, units are under way for three periods free of charge, and stand at the upper stage for none.
    assert solve(two).value == pytest.approx(solve(one).value, abs=1e-9)


# Value iteration and evaluation --------------------------------------------------------------------------


@pytest.mark.parametrize(("life", "lead", "issuing"), [(2, 1, "fifo"), (3, 1, "fifo"), (3, 1, "lifo"), (4, 2, "fifo")])
def test_perishables_against_plain_python(life: int, lead: int, issuing: str) -> None:
    scenario = features.perishable(life, lead, issuing)
    known = reference.perishable_optimum(life, lead, COIN, 0.2, 4, 8, 1, 3, issuing == "lifo")
    assert solve(scenario).value == pytest.approx(known, abs=1e-6)


@pytest.mark.parametrize("name", list(features.FEATURES))
def test_the_optimal_policy_costs_the_optimum(name: str) -> None:
    """Optimisation takes periods apart, evaluation follows whole ones: they meet in every feature."""
    scenario = features.FEATURES[name]()
    exact = solve(scenario, "value_iteration")
    assert evaluate(scenario, exact.policy) == pytest.approx(exact.value, abs=1e-6)
    assert exact.value <= evaluate(scenario, load_policy("echelon_base_stock", scenario)) + 1e-9
    assert exact.error < 1e-5
    assert any("positions" in note for note in exact.notes)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(features.FEATURES))
def test_evaluation_against_simulation(name: str) -> None:
    scenario = features.FEATURES[name]()
    rule = load_policy("echelon_base_stock", scenario)
    within(scenario, rule, evaluate(scenario, rule), worlds=1_000, periods=600)
    exact = solve(scenario, "value_iteration")
    within(scenario, exact.policy, exact.value, worlds=1_000, periods=600)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(features.SCARCE))
def test_evaluation_of_scarce_stock_against_simulation(name: str) -> None:
    make, levels = features.SCARCE[name]
    scenario = make()
    rule = load_policy("echelon_base_stock", scenario, levels=levels)
    within(scenario, rule, evaluate(scenario, rule), worlds=1_000)


def test_proportional_sharing_and_return_lanes_against_simulation() -> None:
    """Scarce stock dealt by lots, and customers who send half of everything back."""
    scenario = instances.tiny_warehouse(2)
    rule = load_policy("echelon_base_stock", scenario, levels={"warehouse": 6, "store_1": 3, "store_2": 3})
    within(scenario, rule, evaluate(scenario, rule))
    back = {"source": "shoppers", "target": "store", "lead_time": 1, "return_share": 0.5, "recovery": 0.5}
    lanes = {"in": features.lane(), "back": back | {"transport_cost": 0.3}}
    scenario = features.small({"store": {"holding_cost": 1, "disposal_cost": 2}}, lanes, {"shoppers": features.at()})
    rule = load_policy("echelon_base_stock", scenario, levels={"store": 4})
    within(scenario, rule, evaluate(scenario, rule))


def test_evaluation_of_any_function() -> None:
    """Never ordering costs every sale; a level that rises when a request was not filled needs ``unfilled``."""
    scenario = instances.one_store(1, 4, features.THREE, True, "integer")

    def nothing(observation: Any) -> Decision:
        return Decision(np.zeros((len(observation.on_hand), 1, 1)))

    assert evaluate(scenario, nothing) == pytest.approx(4.0, abs=1e-9)
    one = instances.tiny_warehouse(1)
    low, high = (load_policy("echelon_base_stock", one, levels={"warehouse": k, "store_1": 3}) for k in (2, 5))

    def again(observation: Any) -> Decision:
        missed = observation.unfilled[:, 1:2] > 0
        return Decision(np.where(missed[:, :1], high(observation).requests, low(observation).requests))

    assert evaluate(one, low) != pytest.approx(evaluate(one, again), abs=1e-3)
    within(one, again, evaluate(one, again))


def test_evaluation_refuses_what_grows_without_end() -> None:
    scenario = instances.one_store(1, 4, features.THREE, True, "integer")
    with pytest.raises(InputError, match=r"max_states = 500 .*grow without end"):
        evaluate(scenario, lambda observation: Decision(np.full((len(observation.on_hand), 1, 1), 2.0)), max_states=500)


def test_evaluation_of_critical_levels() -> None:
    """A reserve for the customer who pays more is worth something, and is evaluated as it is simulated."""
    customers = {"dear": features.at(lost_sale_cost=20), "cheap": features.at(lost_sale_cost=1, priority=0)}
    scenario = features.small(features.STORE, {"in": features.lane(lead_time=2)}, customers)

    def policy(kept: int) -> Any:
        rule = load_policy("echelon_base_stock", scenario, levels={"store": 6})

        def decide(observation: Any) -> Decision:
            reserve = np.zeros((len(observation.on_hand), 2, 1))
            reserve[:, 1] = kept
            return Decision(rule(observation).requests, reserve)

        return decide

    assert evaluate(scenario, policy(2)) < evaluate(scenario, policy(0))
    within(scenario, policy(2), evaluate(scenario, policy(2)))


def test_the_optimal_policy_runs_in_a_simulation() -> None:
    scenario = instances.dual_sourcing(2, 105)
    exact = solve(scenario)
    assert exact.method == "value_iteration"
    within(scenario, exact.policy, exact.value)


def test_a_dear_order_is_looked_for_far_enough() -> None:
    """Small orders at a fixed cost of 100 cost more than never to order; large ones do not."""
    scenario = instances.lost_sales(1, 9).with_overrides({"lanes.to_store.fixed_cost": 100})
    exact = solve(scenario)
    ranges = {"reorder_points.store": (4, 8), "levels.store": (33, 40)}
    _, cost = best(scenario, "reorder_point_order_up_to", ranges)
    assert exact.value <= cost + 1e-9
    assert exact.value == pytest.approx(cost, rel=5e-3)


def test_best_of_given_ranges_and_held_parameters() -> None:
    scenario = instances.tiny_warehouse(1)
    ranges = {"levels.warehouse": (2, 6), "levels.store_1": (1, 5)}
    _, cost = best(scenario, "echelon_base_stock", ranges)
    by_hand = {
        (a, b): evaluate(scenario, load_policy("echelon_base_stock", scenario, levels={"warehouse": a, "store_1": b}))
        for a in range(2, 7)
        for b in range(1, 6)
    }
    assert cost == pytest.approx(min(by_hand.values()), abs=1e-12)
    held, held_cost = best(scenario, "echelon_base_stock", parameters={"levels": {"store_1": 2}})
    assert held.parameters["levels"]["store_1"] == 2
    assert held_cost == pytest.approx(min(cost for (_, b), cost in by_hand.items() if b == 2), abs=1e-9)


@pytest.mark.parametrize(("lead_time", "penalty", "level", "cost"), [(2, 19, 21, 7.842174)])
def test_candidates_with_many_states_are_set_aside_and_never_passed_over(
    monkeypatch: pytest.MonkeyPatch, lead_time: int, penalty: float, level: int, cost: float
) -> None:
    """Zipkin's best base-stock levels (Operations Research 56(4), 2008), though their chains count as large."""
    scenario = instances.lost_sales(lead_time, penalty)
    monkeypatch.setattr("echelongym.agents.exact.search.SMALL_ENOUGH", 100)
    rule, found = best(scenario, "echelon_base_stock")
    assert rule.parameters["levels"] == {"store": level}
    assert found == pytest.approx(cost, abs=5e-7)
    ranges = {"levels.store": (level - 3, level + 2)}
    assert best(scenario, "echelon_base_stock", ranges)[1] == pytest.approx(cost, abs=5e-7)
    with pytest.raises(InputError, match=r"'levels.store': \d+.0} may be the best and has more than 100 states"):
        best(scenario, "echelon_base_stock", ranges, max_states=100)


def test_a_candidate_without_an_exact_cost_is_never_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the chain of the best level does not settle it is named, and left out where it is hopeless."""
    scenario, ranges = instances.lost_sales(2, 19), {"levels.store": (18, 23)}

    def failing(level: float) -> Any:
        def evaluated(scenario: Any, rule: Any, limit: int) -> float:
            if rule.parameters["levels"]["store"] == level:
                raise Unsettled("a chain that has not settled")
            return evaluate(scenario, rule, limit)

        return evaluated

    monkeypatch.setattr("echelongym.agents.exact.search.evaluate", failing(21))
    with pytest.raises(InputError, match=r"'levels.store': 21.0} may be the best and has no exact cost"):
        best(scenario, "echelon_base_stock", ranges)
    monkeypatch.setattr("echelongym.agents.exact.search.evaluate", failing(5))
    rule, cost = best(scenario, "echelon_base_stock", {"levels.store": (5, 23)})
    assert rule.parameters["levels"] == {"store": 21}
    assert cost == pytest.approx(7.842174, abs=5e-7)


@pytest.mark.slow
def test_the_best_level_has_many_states() -> None:
    """With lead time 4 and a lost sale of 39, level 33 has 62,227 states and more, 32 fewer."""
    rule, cost = best(instances.lost_sales(4, 39), "echelon_base_stock")
    assert (rule.parameters["levels"], round(cost, 4)) == ({"store": 33}, 11.0623)


# Refusals ------------------------------------------------------------------------------------------------

CHAIN = instances.serial_b()


@pytest.mark.parametrize(("method", "changes", "message"), REFUSED)
def test_refusals_name_the_feature(method: str, changes: dict[str, Any], message: str) -> None:
    scenario = CHAIN.with_overrides(changes)
    with pytest.raises(InputError, match=message):
        solve(scenario, method)


def test_refusal_of_a_state_space_too_large() -> None:
    with pytest.raises(InputError, match=r"state space too large.*found \d+ states.*max_states = 300"):
        solve(instances.serial_a(), "value_iteration", max_states=300)
    rule = load_policy("echelon_base_stock", instances.serial_a())
    with pytest.raises(InputError, match=r"state space too large.*found \d+ states.*max_states = 300"):
        evaluate(instances.serial_a(), rule, max_states=300)


def test_auto_tells_why_nothing_fits() -> None:
    scenario = instances.serial_four().with_overrides({"lanes.to_stage_1.capacity": 9})
    with pytest.raises(InputError, match=r"(?s)clark_scarf: .*to_stage_1\.capacity = 9.*value_iteration: .*units"):
        solve(scenario)


def test_other_bad_input() -> None:
    with pytest.raises(InputError, match="did you mean 'clark_scarf'"):
        solve(CHAIN, "clark_scraf")
    with pytest.raises(InputError, match=r"reads observation\.demand_history"):
        evaluate(CHAIN, lambda observation: Decision(observation.demand_history[:, :, :1, 0]))
    with pytest.raises(InputError, match="did you mean 'echelon_base_stock'"):
        best(CHAIN, "echelon_basestock")
    with pytest.raises(InputError, match=r"ranges = 'levels\.stage_3'"):
        best(CHAIN, "echelon_base_stock", {"levels.stage_3": (1, 2)})
    with pytest.raises(InputError, match="lowest <= highest"):
        best(CHAIN, "echelon_base_stock", {"levels.stage_1": (3, 2)})


def test_exact_is_plain() -> None:
    exact = solve(CHAIN)
    assert isinstance(exact, Exact)
    assert (exact.method, exact.parameters) == ("clark_scarf", {"levels": {"stage_2": 19.0, "stage_1": 14.0}})
    assert exact.policy is not None
    again = load_policy(exact.policy.name, CHAIN, **exact.parameters)
    assert again.parameters["levels"] == exact.parameters["levels"]
    store = solve(fixed_order_cost())
    again = load_policy(store.policy.name, fixed_order_cost(), **store.parameters)
    assert evaluate(fixed_order_cost(), again) == pytest.approx(store.value, abs=1e-6)


def main() -> None:
    """Print the table of known values."""
    print(f"{'instance':<48}{'printed':>12}{'ours':>14}{'seconds':>9}  levels")
    for row in ROWS:
        start = time.perf_counter()
        value, parameters = row.compute()
        seconds = time.perf_counter() - start
        numbers = " ".join(
            f"{k} {v:g}" for group in parameters.values() if isinstance(group, dict) for k, v in group.items()
        )
        print(f"{row.name:<48}{row.printed:>12}{value:>14.6f}{seconds:>9.1f}  {numbers}", flush=True)


if __name__ == "__main__":
    main()
