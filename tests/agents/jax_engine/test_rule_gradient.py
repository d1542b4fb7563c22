"""Gradients of a rule's cost by JAX: against PyTorch's and finite differences, targets, batches, Adam, and kept programs."""

import warnings

import numpy as np
import pytest
import torch
from random_scenarios import random_scenario
from shipped import SMALL

from echelongym.agents.jax_engine.cost_gradient import BATCH
from echelongym.agents.jax_engine.rule_gradient import RuleGradient
from echelongym.agents.registry import RULES
from echelongym.agents.service_targets import Multipliers
from echelongym.agents.tuning.differentiation import TorchDescent, adam, library_of, refusal
from echelongym.agents.tuning.gradient import window_of
from echelongym.envs import NetworkWarning, Scenario
from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.compiler.xla_compiler import compiled
from echelongym.envs.core.backend import TorchOps
from echelongym.envs.core.errors import InputError, MissingExtra
from echelongym.envs.rollout.scan import whole_numbers
from echelongym.envs.simulate import periods

pytest.importorskip("jax")


@pytest.fixture(scope="module", autouse=True)
def _cache_of_its_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECHELONGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def by_torch(rule, space, vector, tape, skipped):
    """Cost a period, its slopes, and the sums of the targets, in double precision."""
    ops = TorchOps()
    ledger, multipliers = Ledger(rule.tables, ops), Multipliers(rule.scenario, ops)
    multipliers.active = True
    moving = torch.tensor(vector, requires_grad=True)
    cost, scored = torch.zeros((), dtype=torch.float64), 0
    for period, _, flows, state in periods(rule.scenario, rule.with_vector(space, moving), tape, ops):
        if period >= skipped:
            last = period + 1 == rule.tables.horizon
            cost = cost + ledger.net_cost(ledger.period(flows, last=last, closing=state)).mean()
            multipliers.add(flows)
            scored += 1
    (cost / scored).backward()
    sums = multipliers.unserved.detach().numpy(), multipliers.demand, multipliers.short
    return float(cost.detach()) / scored, np.nan_to_num(moving.grad.numpy()), sums


def agree(rule, tape, skipped=0, dtype=np.float64, offset=0.0):
    """Largest difference between JAX and PyTorch, relative to the steepest slope and to the cost; and both."""
    space = rule.space()
    vector = np.where(np.isfinite(space.start), space.start + offset * space.scale, space.start)
    rule = rule.with_vector(space, vector)
    gradient = RuleGradient(rule, space, tape.periods, skipped, dtype)
    found = gradient(vector, tape, np.zeros(rule.tables.C))
    cost, slopes, sums = by_torch(rule, space, vector, tape, skipped)
    for ours, theirs in zip((found.unserved, found.demand, found.short), sums, strict=True):
        assert np.allclose(ours, theirs, rtol=1e-9 if dtype == np.float64 else 1e-4)
    apart = np.abs(np.nan_to_num(found.slopes) - slopes).max() / max(np.abs(slopes).max(), 1e-9)
    return max(float(apart), abs(found.cost - cost) / max(abs(cost), 1)), gradient, vector, found


def random_rule(seed, size, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NetworkWarning)
        scenario = Scenario.model_validate(random_scenario(np.random.default_rng(seed), "continuous", size)).relaxed()
        return RULES[name](scenario), scenario.sample(5, seed=seed)


def check_random(seed, size, name, quotients):
    """PyTorch's gradient to rounding, and difference quotients along random directions."""
    rng = np.random.default_rng(seed)
    rule, tape = random_rule(seed, size, name)
    apart, gradient, vector, found = agree(rule, tape, offset=rng.uniform(0.1, 0.9, len(rule.space())))
    assert apart < 1e-9
    steepest = np.abs(np.nan_to_num(found.slopes)).sum()
    scale, matches = rule.space().scale, 0
    for _ in range(quotients):
        step = 1e-6 * scale * rng.choice([-1, 1], len(vector)) * np.isfinite(vector)
        ahead, behind = (gradient(vector + sign * step, tape, np.zeros(rule.tables.C)).cost for sign in (1, -1))
        expected = float(np.nan_to_num(found.slopes) @ step) * 2
        matches += abs(ahead - behind - expected) < 1e-4 * max(steepest * 1e-6 * scale.max(), abs(expected)) + 1e-12
    # A jump or a kink (a vehicle more, stock that just suffices) may lie between the two points of one quotient.
    assert matches >= quotients - 1


def test_a_random_networks_gradient_is_pytorchs_and_the_quotients():
    check_random(8, "small", "capped_echelon_base_stock", 4)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["echelon_base_stock", "capped_local_base_stock"])
@pytest.mark.parametrize("seed", range(200, 215))
def test_random_networks_gradients_are_pytorchs_and_the_quotients(seed, rule):
    check_random(seed, "any", rule, 6)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SMALL)
def test_every_rule_of_every_shipped_scenario(scenario):
    """All rules with useful gradients; the longest windows cut, as PyTorch needs minutes for them.

    Off the automatic levels: there quantities may be equal but for rounding, and a sum in another order then decides
    on which side of a kink a period lies (on `two_region`, a lateral level's slope was 0.14 apart at equal costs).
    """
    scenario = Scenario.load(scenario).relaxed()
    window = window_of(scenario)
    skipped = min(window.skipped, 20)
    tape, tried = scenario.sample(3, seed=1, periods=min(window.periods, 45)), 0
    for rule in RULES.values():
        if rule.refusal(scenario) or not rule.differentiable or hasattr(rule, "made_for") or refusal(rule):
            continue
        made = rule(scenario)
        if len(made.space()):
            offset = np.random.default_rng(0).uniform(0.05, 0.4, len(made.space()))
            assert agree(made, tape, skipped, offset=offset)[0] < 1e-9, rule.name
            tried += 1
    assert tried >= 4


@pytest.mark.slow
@pytest.mark.parametrize("allocation", ["equalise", "marginal"])
@pytest.mark.parametrize(
    ("scenario", "rule"),
    [("one_warehouse", "echelon_base_stock"), ("distribution_family", "capped_local_base_stock")],
)
def test_shares_of_scarce_stock(scenario, rule, allocation):
    scenario = Scenario.load(scenario).relaxed()
    made = RULES[rule](scenario, allocation=allocation)
    assert agree(made, scenario.sample(4, seed=1, periods=40), 5, offset=-0.3)[0] < 1e-9


def test_any_number_of_worlds_in_one_program():
    """More than a batch, and one that is not full, in single precision; the last period has its terminal value."""
    scenario = Scenario.load("lost_sales").replace(units="continuous", horizon=12, warm_up=2)
    rule = RULES["echelon_base_stock"](scenario)
    apart, gradient, vector, _ = agree(rule, scenario.sample(BATCH + 6, seed=2), 2, np.float32, 0.3)
    assert apart < 1e-4
    program = gradient._program
    gradient(vector, scenario.sample(3, seed=2), np.zeros(1))
    assert gradient._program is program


def test_prices_of_what_is_not_served_are_in_the_slopes():
    scenario = Scenario.load("lost_sales").replace(units="continuous", horizon=12, warm_up=0)
    rule = RULES["echelon_base_stock"](scenario)
    space, tape = rule.space(), scenario.sample(8, seed=3)
    gradient = RuleGradient(rule, space, 12, 0, np.float64)
    free, priced = (gradient(space.start, tape, np.array([price])) for price in (0.0, 7.0))
    assert priced.cost == pytest.approx(free.cost + 7 * free.unserved[0] / 12, rel=1e-12)
    step = 1e-6
    more = gradient(space.start + step, tape, np.array([7.0]))
    assert priced.slopes.sum() == pytest.approx((more.cost - priced.cost) / step, rel=1e-3)


def test_adam_is_pytorchs():
    rng = np.random.default_rng(0)
    theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=0.1, betas=(0.9, 0.95))
    state = {"theta": np.zeros(3), "step": 0, "exp_avg": np.zeros(3), "exp_avg_sq": np.zeros(3)}
    for step in range(20):
        slopes, rate = rng.normal(size=3) * 10.0 ** rng.integers(-3, 3, 3), 0.3 / (1 + step)
        theta.grad = torch.tensor(slopes)
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
        state = adam(state, slopes, rate)
    assert np.allclose(state["theta"], theta.detach().numpy(), rtol=1e-12)


def test_a_program_is_kept_and_an_altered_one_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path))
    x = np.arange(3.0)
    with whole_numbers():
        assert compiled(lambda x: x * 2, x)(x).tolist() == [0, 2, 4]
        (kept,) = (tmp_path / "jax").iterdir()
        content = kept.read_bytes()
        assert compiled(lambda x: x * 2, x)(x).tolist() == [0, 2, 4]
        assert [one.name for one in (tmp_path / "jax").iterdir()] == [kept.name]
        assert compiled(lambda x: x * 3, x)(x).tolist() == [0, 3, 6]  # another program has another name
        kept.write_bytes(content[:-9] + b"damaged..")
        assert compiled(lambda x: x * 2, x)(x).tolist() == [0, 2, 4]
        remade = set((tmp_path / "jax").iterdir())
        assert len(remade) == 2
        assert not kept.exists() or kept.read_bytes() == content
        # Where others may write, nothing is read or kept.
        (tmp_path / "jax").chmod(0o777)
        assert compiled(lambda x: x * 5, x)(x).tolist() == [0, 5, 10]
        assert set((tmp_path / "jax").iterdir()) == remade


def test_scenarios_that_differ_in_numbers_alone_share_a_program(tmp_path, monkeypatch):
    """Each has its own gradient all the same, and another structure has another program."""
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path))
    values = {
        "nodes.*.holding_cost": {"factor": {"low": 0.5, "high": 2}},
        "customers.*.lost_sale_cost": {"low": 2, "high": 9},
    }
    family = Scenario.load("lost_sales").replace(
        units="continuous", horizon=12, warm_up=2, randomise={"values": values}
    )
    costs = set()
    for number in range(3):
        rule = RULES["echelon_base_stock"](family.variant(number, 0, "train"))
        apart, _, _, found = agree(rule, rule.scenario.sample(5, seed=2), 2, offset=0.3)
        assert apart < 1e-9
        costs.add(found.cost)
    assert len(costs) == 3
    assert len(list((tmp_path / "jax").iterdir())) == 1
    rule = RULES["capped_echelon_base_stock"](rule.scenario)
    assert agree(rule, rule.scenario.sample(5, seed=2), 2, offset=0.3)[0] < 1e-9
    assert len(list((tmp_path / "jax").iterdir())) == 2


def test_which_library(monkeypatch):
    rule = RULES["echelon_base_stock"](Scenario.load("serial"))
    assert [library_of(name, rule) for name in ("auto", "jax", "torch")] == ["jax", "jax", "torch"]
    remembering = RULES["sterman"](Scenario.load("beer_game"))
    assert library_of("auto", remembering) == "torch"
    with pytest.raises(InputError, match="gradient: jax: expected torch or auto, as sterman has a memory of its own"):
        library_of("jax", remembering)
    monkeypatch.setattr("echelongym.agents.tuning.differentiation.is_installed", lambda name: name == "torch")
    assert library_of("auto", rule) == "torch"
    monkeypatch.setattr("echelongym.envs.core.errors.is_installed", lambda name: False)
    with pytest.raises(MissingExtra, match=r'jax is not installed: run  pip install "echelongym\[jax\]"'):
        library_of("jax", rule)
    assert isinstance(TorchDescent(rule, rule.space(), (8, 2)).multipliers, Multipliers)
