"""The ordering rule of the beer game against published costs, an independent board game, and base-stock control."""

import json
from typing import Any

import numpy as np
import oracle_instances as instances
import pytest

from echelongym.agents import load_policy
from echelongym.envs import InputError, Scenario, simulate

STAGES = ("retailer", "wholesaler", "distributor", "factory")  # from the customer up
ORDERS = {"order_delay": {"retailer": 1, "wholesaler": 1, "distributor": 1, "factory": 0}}
BENCHMARK = {"desired_stock": dict(zip(STAGES, (28, 28, 28, 20), strict=True)), **ORDERS}
# Orders of weeks 1 to 4 are fixed; week 0's is the first decision after a warm-up of two periods.
FIXED = {"initial_orders": 4, "initial_periods": 7}


def played(scenario: Scenario, **parameters: Any) -> Any:
    """Trace of one world, and the policy."""
    policy = load_policy("sterman", scenario, **parameters)
    return simulate(scenario, policy, scenario.sample(worlds=1, seed=0), trace=True).trace


def lane_into(scenario: Scenario, stage: str) -> int:
    return next(i for i, lane in enumerate(scenario.lanes.values()) if lane.target == stage)


def weekly(scenario: Scenario, trace: Any, stage: str) -> tuple[np.ndarray, np.ndarray]:
    """(38,) on hand at the end of each period, and (38,) what the stage owes."""
    place = list(scenario.nodes).index(stage)
    if stage == "retailer":
        sent = trace.served[:, 0, 0, 0]
        owed = trace.costs["backorder"][:, 0]
    else:
        out = next(i for i, lane in enumerate(scenario.lanes.values()) if lane.source == stage)
        sent = trace.shipped[:, 0, out, 0]
        owed = trace.requests[:, 0, out, 0] - sent
    return trace.on_hand[:, 0, place, 0, 0] - sent, owed


def test_the_benchmark_of_the_beer_game_costs_what_was_published():
    """Sterman's benchmark, 204 in all: on hand at 0.5 and what is owed at 1.0 a week, 36 weeks."""
    scenario = Scenario.load("beer_game")
    trace = played(scenario, **BENCHMARK, **FIXED)
    costs = []
    for stage in STAGES:
        stock, owed = weekly(scenario, trace, stage)
        costs.append(float((0.5 * stock + owed)[scenario.warm_up :].sum()))
    assert costs == [46, 50, 54, 54]


class Board:
    """The board game, week by week: boxes of goods on the road and of order slips, as lists.

    A week: goods arrive, orders arrive and are filled, stock and backlog are counted, orders are placed. Slips lie two
    weeks on the way (placed in a week, read in the next but one), goods two; the factory brews for three weeks.
    """

    def __init__(self, desired: dict[str, float], rate: float, weight: float, smoothing: float) -> None:
        self.desired, self.rate, self.weight, self.smoothing = desired, rate, weight, smoothing
        self.stock, self.owed = dict.fromkeys(STAGES, 12), dict.fromkeys(STAGES, 0)
        self.road = {stage: [4] * (3 if stage == "factory" else 2) for stage in STAGES}
        self.slips = {stage: [4, 4] for stage in STAGES[:-1]}
        self.expected = dict.fromkeys(STAGES, 4.0)

    def week(self, demand: int, fixed: bool) -> dict[str, tuple[int, int]]:
        """Stock and what is owed at the end of the week, by stage."""
        arrived = {stage: self.road[stage].pop(0) for stage in STAGES}
        asked = {"retailer": demand} | {STAGES[i + 1]: self.slips[STAGES[i]].pop(0) for i in range(3)}
        for stage in STAGES:
            self.stock[stage] += arrived[stage]
            wanted = asked[stage] + self.owed[stage]
            sent = min(wanted, self.stock[stage])
            self.stock[stage] -= sent
            self.owed[stage] = wanted - sent
            if stage != "retailer":
                self.road[STAGES[STAGES.index(stage) - 1]].append(sent)
        for i, stage in enumerate(STAGES):
            # The order is decided on once the goods of the next week are there, as our periods begin with them.
            arriving = self.road[stage][0]
            stock = self.stock[stage] + arriving - self.owed[stage]
            line = sum(self.road[stage]) - arriving
            if stage != "factory":
                line += sum(self.slips[stage]) + self.owed[STAGES[i + 1]]
            self.expected[stage] += self.smoothing * (asked[stage] - self.expected[stage])
            order = self.expected[stage] + self.rate * (self.desired[stage] - stock - self.weight * line)
            whole = 4 if fixed else int(np.floor(max(order, 0.0) + 0.5))
            (self.road if stage == "factory" else self.slips)[stage].append(whole)
        return {stage: (self.stock[stage], self.owed[stage]) for stage in STAGES}


@pytest.mark.parametrize(
    ("rate", "weight", "smoothing"),
    [(1.0, 1.0, 0.0), (0.26, 0.34, 0.36), (0.5, 0.0, 0.2), (0.3, 1.0, 1.0)],
)
def test_orders_are_those_of_the_board_game(rate, weight, smoothing):
    """An independent game gives the same weeks, whatever people neglect."""
    scenario = Scenario.load("beer_game")
    desired = dict.fromkeys(STAGES, 17) if weight < 1 else BENCHMARK["desired_stock"]
    weights = {"adjustment_rate": rate, "supply_line_weight": weight, "smoothing": smoothing}
    trace = played(scenario, desired_stock=desired, **weights, **ORDERS, **FIXED)
    board = Board(desired, rate, weight, smoothing)
    counted = {stage: weekly(scenario, trace, stage) for stage in STAGES}
    peak = 0
    for week in range(1, 37):
        expected = board.week(4 if week <= 4 else 8, fixed=week <= 4)
        for stage in STAGES:
            ours = tuple(int(values[scenario.warm_up + week - 1]) for values in counted[stage])
            assert ours == expected[stage], (week, stage)
            peak = max(peak, ours[1])
    assert weight == 1.0 or peak > 20, "people who forget the supply line overreact"


@pytest.mark.parametrize("scenario", [instances.newsvendor(4, 9), instances.lost_sales(2, 4)], ids=["backlog", "lost"])
def test_one_stage_is_base_stock_control(scenario):
    """Expected demand and desired stock make the level; the order book adds nothing where suppliers fill all."""
    tape = scenario.sample(worlds=4, seed=3, purpose="test", periods=scenario.warm_up + 40)
    level, mean = 27, scenario.tables.mean_flow.max()
    pair = (
        load_policy("local_base_stock", scenario, levels=level),
        load_policy("sterman", scenario, desired_stock=level - mean),
    )
    costs = [simulate(scenario, policy, tape).cost_per_period for policy in pair]
    np.testing.assert_allclose(costs[1], costs[0], rtol=1e-12)


@pytest.mark.parametrize("delay", [0, 2])
def test_automatic_stocks_keep_a_chain_supplied(delay):
    """Four stages, orders that take time: dearer than optimal control (10.734), and of its order of magnitude."""
    scenario = Scenario.load("serial")
    tape = scenario.sample(worlds=16, seed=3, purpose="test")
    cost = simulate(scenario, load_policy("sterman", scenario, order_delay=delay), tape).cost_per_period.mean()
    assert 10.734 < cost < 2 * 10.734


def test_memory_is_forgotten_and_parameters_survive(tmp_path):
    scenario = Scenario.load("beer_game")
    policy = load_policy("sterman", scenario, adjustment_rate=0.3, supply_line_weight=0.2, **ORDERS, **FIXED)
    tape = scenario.sample(worlds=1, seed=0)
    first, second = (simulate(scenario, policy, tape).cost_per_period for _ in range(2))
    np.testing.assert_array_equal(first, second)
    policy.save(tmp_path / "rule.yaml")
    again = load_policy(tmp_path / "rule.yaml", scenario)
    np.testing.assert_array_equal(simulate(scenario, again, tape).cost_per_period, first)
    assert json.loads(json.dumps(again.parameters)) == json.loads(json.dumps(policy.parameters))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"adjustment_rate": 1.5}, ["adjustment_rate", "1.5", "between 0 and 1"]),
        ({"smoothing": {"retailer": -0.1}}, ["smoothing.retailer", "-0.1"]),
        ({"order_delay": 0.5}, ["order_delay", "0.5", "whole"]),
        ({"order_delay": {"brewery": 1}}, ["order_delay", "brewery"]),
        ({"initial_orders": {"shop": 1}}, ["initial_orders", "shop"]),
        ({"initial_periods": -1}, ["initial_periods", "-1"]),
        ({"desired": 3}, ["desired", "desired_stock"]),
    ],
)
def test_bad_parameters_are_refused(parameters, words):
    with pytest.raises(InputError) as caught:
        load_policy("sterman", Scenario.load("beer_game"), **parameters)
    for word in words:
        assert word in str(caught.value)
