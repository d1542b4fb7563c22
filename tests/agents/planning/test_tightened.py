"""The bound with a price on knowing the future: its series have mean zero, and it stays below what is known to be best."""

import math

import numpy as np
import oracle_instances as instances
import pytest

from echelongym.agents import load_policy
from echelongym.agents.planning.innovations import QUANTILES, Innovations, known_until, refusal
from echelongym.agents.planning.linear_program.outlook import Outlook, Standing
from echelongym.agents.planning.linear_program.program import NetworkProgram
from echelongym.agents.planning.penalised_bound import Positions, Weights, fit, tightened
from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.envs import Scenario, simulate
from echelongym.envs.core.errors import InputError


def short(scenario: Scenario, horizon: int = 60) -> Scenario:
    return scenario.replace(horizon=horizon, warm_up=0)


def stormy() -> Scenario:
    """A warehouse and two stores; random storms raise demand, which has a season."""
    demand = {"kind": "poisson", "mean": 6, "season": {"amplitude": 0.4, "period": 10}}
    customer = {"demand": demand, "lost_share": 1, "lost_sale_cost": 9}
    return Scenario.from_mapping(
        {
            "name": "stormy",
            "horizon": 40,
            "warm_up": 0,
            "units": "continuous",
            "nodes": {
                "plant": {"kind": "supplier"},
                "hub": {"holding_cost": 0.3},
                "east": {"holding_cost": 1},
                "west": {"holding_cost": 1},
            },
            "lanes": {
                "in": {"source": "plant", "target": "hub", "lead_time": 2},
                "to_east": {"source": "hub", "target": "east", "lead_time": 1},
                "to_west": {"source": "hub", "target": "west", "lead_time": 2},
                "past": {"source": "plant", "target": "west", "lead_time": 0, "transport_cost": 2},
                "across": {"source": "east", "target": "west", "lead_time": 1, "transport_cost": 1},
            },
            "customers": {
                "at_east": {**customer, "sources": {"east": {}}},
                "at_west": {**customer, "sources": {"west": {}}, "lost_share": 0, "backorder_cost": 4},
            },
            "disruptions": {
                "storm": {
                    "when": {"mean_up": 6, "mean_down": 4},
                    "effects": [{"customers": "all", "demand_factor": 1.6}],
                }
            },
        }
    )


# Series of mean zero ---------------------------------------------------------------------------------------------------


def test_series_have_mean_zero_whatever_came_before() -> None:
    """Also times what was demanded before, and in worlds with storms: against their standard errors."""
    scenario = stormy()
    tape = scenario.sample(600, seed=3, purpose="test")
    series = Innovations(scenario, 40, 3, "test").of(tape)  # (B, T, I, windows, quantiles)
    before = tape.demand.sum((2, 3))[scenario.observe.history - 1 : -1].T  # (B, T) demand of the period before
    for weight in (np.ones_like(before), before - before.mean(), np.abs(before - 12)):
        each = (series * weight[:, :, None, None, None]).mean(1)
        error = each.std(0) / math.sqrt(len(each))
        assert (np.abs(each.mean(0)) <= 4.5 * error + 1e-12).all()
        assert (error > 0).mean() > 0.6


def test_a_series_is_what_it_says() -> None:
    """One store, lead time 2: demand of three periods above a quantile, less the probability of that."""
    scenario = short(instances.lost_sales(2, 4), 30)
    innovations = Innovations(scenario, 30, 5, "test")
    tape = scenario.sample(40, seed=5, purpose="test")
    found = innovations.of(tape)
    demand = tape.demand[scenario.observe.history :, :, 0, 0]
    for period in (0, 11, 27):
        sums = demand[period : period + 3].sum(0)
        for k, share in enumerate(QUANTILES):
            cut = float(innovations.cuts[period, 0, 0, k])
            assert abs(sum(_poisson(15, n) for n in range(int(cut) + 1)) - share) < 0.13
            above = 1 - sum(_poisson(15, n) for n in range(math.floor(cut) + 1))
            np.testing.assert_allclose(found[:, period, 0, 0, k], (sums > cut) - above, atol=0.02)
    assert not found[:, 28:].any()  # what is ordered now arrives after the end


def _poisson(mean: float, n: int) -> float:
    return math.exp(-mean + n * math.log(mean) - math.lgamma(n + 1))


def test_what_is_known_is_no_news() -> None:
    scenario = short(instances.lost_sales(2, 4), 30)
    np.testing.assert_array_equal(known_until(scenario, 5), np.arange(5))
    forecast = scenario.replace(forecast={"horizon": 2, "skill": 0.5})
    np.testing.assert_array_equal(known_until(forecast, 5), [2, 3, 4, 5, 5])
    tape = forecast.sample(20, seed=5, purpose="test")
    first = Innovations(forecast, 30, 5, "test")
    # Two of the three periods an order covers are known: only the third is left.
    cut = first.cuts[10, 0, 0]
    sums = tape.demand[forecast.observe.history + 12, :, 0, 0]
    np.testing.assert_array_equal(first.of(tape)[:, 10, 0, 0] > 0, sums[:, None] > cut)


def test_where_the_past_tells_the_future_there_is_no_penalty() -> None:
    scenario = short(instances.lost_sales(2, 4)).replace(correlation={"periods": 0.5})
    assert "correlation.periods is 0.5" in str(refusal(scenario))
    with pytest.raises(InputError, match=r"correlation\.periods is 0\.5"):
        fit(scenario)
    constant = short(instances.one_store(2, 4, {"kind": "deterministic", "mean": 5}, True, "continuous"))
    assert refusal(constant) is None  # nothing is random: the series are zero
    assert not Innovations(constant, 60, 0, "test").of(constant.sample(3, 0, "test")).any()


# Positions -------------------------------------------------------------------------------------------------------------


def test_positions_are_those_of_the_simulation() -> None:
    """Stock, pipeline and backlog of each echelon after ordering, of a rule's own flows, counted from its trace."""
    scenario = stormy()
    t = scenario.tables
    rule = load_policy("echelon_base_stock", scenario, express_levels={"past": 12}, lateral_levels={"across": 5})
    tape = scenario.sample(1, seed=1, purpose="test")
    trace = simulate(scenario, rule, tape, trace=True, kpis=False).trace
    outlook, standing = Outlook.of_tape(tape, 0), Standing.initial(t)
    program = NetworkProgram(t, outlook.lead_time, outlook.lane_yield)
    values = np.zeros(program.shape[1])

    def put(columns: np.ndarray, amounts: np.ndarray) -> None:
        values[columns[columns >= 0]] = amounts[columns >= 0]

    shipped, on_hand, backlog = trace.shipped[:, 0], trace.on_hand[:, 0].sum(-1), trace.backlog[:, 0].sum(-1)
    put(program.ship, shipped)
    put(program.service.serve, trace.served[:, 0])
    at_once = shipped * (t.nominal_lead_time == 0)[:, None]
    closing = on_hand.copy()
    np.add.at(closing, (slice(None), t.lane_target), at_once)
    np.add.at(closing, (slice(None), np.maximum(t.lane_source, 0)), -shipped)
    np.add.at(closing, (slice(None), t.pair_source), -trace.served[:, 0])
    put(program.stock.close, closing)
    put(program.service.waiting[:-1], backlog[1:])
    cells = np.argwhere(t.primary_lane >= 0)
    found = Positions(program, standing, cells)(values)

    pipeline = trace.in_transit[:, 0].sum((-1, -2))
    for i, (node, product) in enumerate(cells):
        inside = t.echelon[node, :, product]
        expected = on_hand[:, inside, product].sum(1)
        for lane in range(t.L):
            enters, leaves = inside[t.lane_target[lane]], inside[t.lane_source[lane]]
            expected += pipeline[:, lane, product] * enters + shipped[:, lane, product] * (
                float(enters) - float(leaves)
            )
        for c in range(t.C):
            expected -= backlog[:, c, product] * inside[t.first_source[c, product]]
        np.testing.assert_allclose(found[:, i], expected, atol=1e-9)


# The bound -------------------------------------------------------------------------------------------------------------


def weightless(scenario: Scenario) -> Weights:
    series = Innovations(scenario, scenario.horizon, 0, "test")
    return Weights(np.zeros(series.shape), 0.0, 0, 0.0)


def test_without_weights_it_is_perfect_information() -> None:
    for scenario in (short(instances.tiny_warehouse(2)), stormy()):
        tape = scenario.sample(4, seed=2, purpose="test")
        free = perfect_information(scenario, tape).cost
        np.testing.assert_allclose(tightened(scenario, tape, 2, "test", weightless(scenario)).cost, free, rtol=1e-7)


def test_any_weights_bound() -> None:
    """Weights drawn by lot: the mean stays below the cost of a good rule on the same worlds."""
    scenario = short(instances.newsvendor(1, 9), 40)
    tape = scenario.sample(60, seed=4, purpose="test")
    cost = simulate(scenario, load_policy("echelon_base_stock", scenario), tape, kpis=False).episode_net_cost_per_period
    rng = np.random.default_rng(0)
    for _ in range(4):
        weights = Weights(rng.normal(0, 0.5, weightless(scenario).values.shape), 0.0, 0, 0.0)
        gap = cost - tightened(scenario, tape, 4, "test", weights).cost
        assert gap.mean() > -3 * gap.std() / math.sqrt(len(gap))


@pytest.mark.parametrize(
    ("scenario", "best", "share"),
    [
        pytest.param(instances.newsvendor(1, 9), 10 * 0.1754983 * 1.6 * math.sqrt(2), 0.75, id="newsvendor"),
        pytest.param(instances.lost_sales(2, 4), 4.395295, 0.5, id="lost sales"),
        pytest.param(instances.tiny_warehouse(1), 1.788044, 0.5, id="warehouse, one store"),
    ],
)
def test_between_perfect_information_and_the_optimum(scenario: Scenario, best: float, share: float) -> None:
    """Published optima are of the long run: whole episodes start near it and differ by a few percent."""
    scenario = short(scenario, 80)
    tape = scenario.sample(48, seed=6, purpose="test")
    weights = fit(scenario, steps=60)
    found = tightened(scenario, tape, 6, "test", weights).cost
    error = found.std() / math.sqrt(len(found))
    assert found.mean() < 1.05 * best + 3 * error
    assert found.mean() > share * best
    assert found.mean() > perfect_information(scenario, tape).mean + 10 * error


def test_worlds_and_workers_change_nothing() -> None:
    scenario = stormy()
    tape = scenario.sample(6, seed=8, purpose="test")
    weights = fit(scenario, steps=4)
    together = tightened(scenario, tape, 8, "test", weights).cost
    np.testing.assert_array_equal(together, tightened(scenario, tape, 8, "test", weights, workers=2).cost)
    np.testing.assert_allclose(together[5:], tightened(scenario, tape[[5]], 8, "test", weights).cost, rtol=1e-7)
    again = fit(scenario, steps=4)
    np.testing.assert_array_equal(weights.values, again.values)


def test_weights_of_another_network_are_refused() -> None:
    scenario = stormy()
    other = weightless(short(instances.lost_sales(2, 4)))
    with pytest.raises(InputError, match=r"weights = .*: expected those of scenario stormy"):
        tightened(scenario, scenario.sample(2, 0, "test"), 0, "test", other)
