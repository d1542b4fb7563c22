"""The tuner's parts: gradients, samplers, windows, legs, and what its targets say."""

import math
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import oracle_instances as instances
import pytest
import torch

from echelongym.agents.registry import RULES
from echelongym.agents.rules import Space
from echelongym.agents.service_targets import Target, targets_of
from echelongym.agents.tuning.differentiation import Programs
from echelongym.agents.tuning.gradient import DescentInLegs, fitting_legs, window_of
from echelongym.agents.tuning.judging import Candidates, Judge, TuningBudget
from echelongym.agents.tuning.search import estimate, evolve, pattern_search
from echelongym.agents.tuning.stages import TuningPlan
from echelongym.envs import Scenario, simulate
from echelongym.envs.accounts.estimators import Largest, Ratio
from echelongym.envs.interface.inventory_positions import longest_way


def short(scenario):
    """Fewer periods to compare candidates on."""
    return scenario.replace(horizon=150, warm_up=30)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_gradients_leave_a_bad_start(library):
    """From 4 standard deviations off, as close as from nearby."""
    scenario = short(instances.newsvendor(4, 9))
    rule = RULES["echelon_base_stock"](scenario)
    space = rule.space()
    judge = Judge(scenario, 64, 0, 0, TuningBudget(10**8))
    candidates = Candidates(rule, space, judge, 10**8, tolerance=0.0005)
    far, moving = space.start + 4 * space.scale, np.ones(len(space), dtype=bool)
    last, ended = DescentInLegs(
        candidates, rule, far, moving, window_of(scenario), 10_000_000, library, Programs()
    ).run()
    assert ended == "patience"
    assert last[0] == pytest.approx(25 + NormalDist().inv_cdf(0.9) * 1.6 * math.sqrt(5), abs=0.3)


class Bowl:
    """A judge by whom a vector costs 1 + its squared distance to a point, in units of the scales."""

    def __init__(self, best, limit, integer=False):
        self.best, self.price, self.budget = np.asarray(best), 1, TuningBudget(limit)
        n = len(best)
        group = SimpleNamespace(real=False, smooth=False)
        self.rule = SimpleNamespace(
            with_vector=lambda space, vector: vector, tables=SimpleNamespace(integer=integer), groups={"levels": group}
        )
        unlimited = np.full(n, -np.inf)
        self.space = Space(
            tuple(f"levels.{i}" for i in range(n)), ("levels",) * n, np.arange(n), np.zeros(n), np.full(n, 2.0), unlimited,
            np.zeros(n),
        )  # fmt: skip

    def cost(self, vector):
        self.budget.spend(1, "")
        return 1 + float((((vector - self.best) / self.space.scale) ** 2).sum())

    def candidates(self, **settings):
        return Candidates(self.rule, self.space, self, self.budget.limit, **settings)


@pytest.mark.parametrize(
    ("method", "limit", "excess"), [("cma", 400, 1e-3), ("optuna", 150, 0.3), ("search", 200, 0.05)]
)
def test_samplers_find_the_bottom_of_a_bowl(method, limit, excess):
    bowl = Bowl([2.6, -3.3, 1.0], limit)
    candidates = bowl.candidates()
    candidates.cost(bowl.space.start)
    if method == "search":
        pattern_search(candidates, bowl.space.start)
    else:
        {"cma": evolve, "optuna": estimate}[method](candidates, bowl.space.start, bowl.space.scale, 0)
    assert candidates.best_cost - 1 < excess
    assert bowl.budget.env_periods <= limit


@pytest.mark.parametrize("method", [evolve, estimate])
def test_whole_numbers_are_sampled_in_whole_worlds(method):
    bowl = Bowl([2.0, -3.0], 120, integer=True)
    candidates = bowl.candidates()
    method(candidates, bowl.space.start, bowl.space.scale, 0)
    assert all((vector == np.floor(vector)).all() for _, vector, _ in candidates.history)
    assert candidates.best_cost < 1.6


@pytest.mark.parametrize("method", [evolve, estimate])
def test_samplers_stop_where_nothing_is_gained(method):
    """CMA-ES may find that out by itself."""
    flat = Bowl([0.0, 0.0], 2_000)
    patient = flat.candidates(tolerance=0.0)
    patient.cost(flat.space.start)
    flat.cost = lambda vector: flat.budget.spend(1, "") or 1.0
    hasty = flat.candidates(tolerance=0.001, patience=0.02)
    hasty.cost(flat.space.start)
    assert method(hasty, flat.space.start, flat.space.scale, 0) in ("patience", "converged")
    assert flat.budget.env_periods < 150
    assert not patient.stalled


# Windows, targets ----------------------------------------------------------------------------------------


def test_windows_leave_out_the_way_and_cover_what_is_scheduled():
    chain = instances.serial_four()
    assert longest_way(chain.tables) == 13
    window = window_of(chain)
    assert (window.skipped, window.periods) == (26, 66)
    assert window_of(Scenario.load("two_region")).periods == 200  # a storm in periods 80 to 95
    seasonal = instances.newsvendor(1, 9).to_dict()
    seasonal["customers"]["shoppers"]["demand"]["season"] = {"amplitude": 0.3, "period": 30}
    window = window_of(Scenario.from_mapping(seasonal))
    assert (window.periods - window.skipped) % 30 == 0


def test_gradients_stay_finite_where_all_stock_is_gone():
    """Perishable stock and outages, 200 periods: once 10^18 and more, class by class at empty nodes."""
    scenario = Scenario.load("two_region")
    rule = RULES["echelon_base_stock"](scenario)
    space = rule.space()
    vector = torch.tensor(space.start, requires_grad=True)
    tape = scenario.sample(worlds=8, seed=0, purpose="tune", periods=120)
    simulate(
        scenario, rule.with_vector(space, vector), tape, backend="torch", kpis=False
    ).cost_per_period.mean().backward()
    scaled = vector.grad.numpy() * space.scale
    assert np.abs(scaled).max() < 1_000


@pytest.mark.parametrize(
    ("kind", "value", "mean", "status"),
    [
        ("fill_rate", 0.9, 0.95, "met"),
        ("fill_rate", 0.99, 0.95, "missed"),
        ("fill_rate", 0.95, 0.95, "undecided"),
        ("waste_share", 0.99, 0.95, "met"),
        ("waste_share", 0.9, 0.95, "missed"),
    ],
)
def test_targets_are_judged_by_their_interval(kind, value, mean, status):
    noise = np.tile([-0.01, 0.01], 50)
    figure = Ratio(mean + noise, np.ones(100))
    kpis = SimpleNamespace(figures={"network": {kind: figure}, "customer": {"all": {kind: figure}}})
    target = Target(kind, value, "all" if kind == "fill_rate" else None)
    assert target.judge(kpis)["status"] == status
    assert (target.missing(kpis) > 1e-9) == (status == "missed")


def test_a_longest_wait_is_met_if_no_world_waits_longer():
    kpis = SimpleNamespace(figures={"customer": {"all": {"longest_wait": Largest(np.array([1.0, 2.0, 5.0]))}}})
    assert Target("max_wait", 5, "all").judge(kpis)["status"] == "met"
    assert Target("max_wait", 4, "all").judge(kpis)["status"] == "missed"


def test_targets_of_a_scenario_are_those_of_its_file():
    assert [(target.name, target.value) for target in targets_of(Scenario.load("two_region"))] == [
        ("north_shops.fill_rate", 0.97)
    ]


@pytest.mark.parametrize("env_periods", [5_000, 50_000, 300_000, 1_000_000, 10**8])
def test_legs_fit_their_budget(env_periods):
    window = window_of(Scenario.load("one_warehouse"))
    legs = fitting_legs(window, env_periods, 2_000)
    assert sum(leg.price(window) + 2_000 for leg in legs) <= env_periods
    assert bool(legs) == (env_periods >= 50_000)
    steps = [leg.rate for leg in legs]
    assert steps == sorted(steps, reverse=True)


def test_many_numbers_are_searched_by_groups():
    """1,200 levels whose best is 3 scales up, all alike: found in few evaluations, where one by one takes 2,400 a round."""
    bowl = Bowl([6.0] * 1_200, 60)
    candidates = bowl.candidates()
    pattern_search(candidates, bowl.space.start)
    np.testing.assert_allclose(candidates.best, 6.0, atol=0.2)


def test_a_rule_of_many_numbers_takes_no_step_number_by_number():
    """Whatever the units: by default no more env-periods than some hundred gradients and evaluations."""
    scenario = Scenario.load("continental", {"generate.regions": 3, "generate.stores_per_region": 4})
    for units in ("continuous", "integer"):
        one = scenario.replace(units=units)
        plan = TuningPlan(one, RULES["echelon_base_stock"](one), "auto", 0, 64)
        assert len(plan.space) > 1_000
        assert plan.natural_budget() <= 130 * 16 * 60 + 140 * plan.judge.price
    assert plan.method == "gradient + search"
