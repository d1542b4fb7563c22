"""Policies trained by gradients through the simulator: starts, features, gradients, and what they reach."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from pathwise_cases import SHARED, TUNED, best_level, config, cost_of_level, costs, one_store, stirred, untrained
from shipped import SHIPPED

from echelongym.agents.budget import Budget, objective
from echelongym.agents.loading import load_policy
from echelongym.agents.pathwise.automatic import automatic_start
from echelongym.agents.pathwise.features import Features
from echelongym.agents.pathwise.gradients.unroll import Unroll, relaxation
from echelongym.agents.pathwise.module import PathwiseActor
from echelongym.agents.pathwise.policy import make_policy
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.agents.service_targets import Multipliers
from echelongym.agents.tuning.gradient import GradientWindow
from echelongym.envs.core.backend import NUMPY, TorchOps
from echelongym.envs.core.errors import InputError
from echelongym.envs.interface.observation import Observation
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods, simulate

# Where training starts -----------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["none", "perceptron", "set", "graph", "recurrent"])
@pytest.mark.parametrize("name", ["two_region", "dual_sourcing"])
def test_untrained_policy_does_what_the_rule_does(name, network):
    """Levels of all kinds, caps, express and lateral lanes in one; whole units in the other."""
    scenario = Scenario.load(name).replace(horizon=60, warm_up=0)
    rule = automatic_start(scenario)
    if name == "two_region":
        rule = load_policy("capped_echelon_base_stock", scenario, **TUNED)
    policy = make_policy(scenario, config(network=network), rule)
    wanted, found = costs(scenario, rule), costs(scenario, policy)
    np.testing.assert_allclose(found, wanted, rtol=0 if scenario.units == "integer" else 1e-9)


@pytest.mark.parametrize("rule", ["reorder_point_order_up_to", "disruption_aware_base_stock", "local_base_stock"])
def test_residual_starts_at_any_rule(rule):
    scenario = Scenario.load("two_region").replace(horizon=60, warm_up=0)
    start = load_policy(rule, scenario)
    policy = make_policy(scenario, config(head="residual"), start)
    np.testing.assert_allclose(costs(scenario, policy), costs(scenario, start), rtol=1e-9)


@pytest.mark.parametrize("rule", ["sterman", "random"])
def test_residual_over_a_rule_with_memory_begins_every_episode_anew(rule):
    """Of any number of worlds, whichever they are, and after a gradient; the rule asked by itself is the measure."""
    scenario = Scenario.load("beer_game").replace(units="continuous", horizon=30, warm_up=0)
    policy = make_policy(scenario, config(head="residual"), load_policy(rule, scenario))
    window = GradientWindow(worlds=4, periods=12, skipped=2)
    unroll = Unroll(scenario, window, 0, 0.0)
    losses = []
    for worlds in ([0, 1, 2], [7, 4], [0, 1, 2]):
        tape = scenario.sample(worlds=worlds, seed=1, purpose="test")
        found, wanted = simulate(scenario, policy, tape), simulate(scenario, load_policy(rule, scenario), tape)
        np.testing.assert_allclose(found.cost_per_period, wanted.cost_per_period, rtol=1e-6)
        losses.append(unroll.gradient(policy.actor, 0, 4))
    assert losses[0] == losses[1] == losses[2]


def test_levels_head_refuses_a_rule_without_levels():
    scenario = Scenario.load("lost_sales")
    with pytest.raises(InputError, match="expected a rule of the base-stock family, or head=residual"):
        make_policy(scenario, config(head="levels"), load_policy("sterman", scenario))


def test_split_head_asks_for_no_more_than_there_is():
    scenario = Scenario.load("two_region").replace(horizon=40, warm_up=0)
    policy, t = stirred(untrained(scenario, config(head="split")), 0.5), scenario.tables
    inside = ~t.is_supplier[t.lane_source]
    for _, seen, _, _ in periods(scenario, policy, scenario.sample(8, 0, "tune")):
        asked = np.zeros((8, t.N))
        np.add.at(asked.T, t.lane_source[inside], policy(seen).requests[:, inside, 0].T)
        assert (asked <= seen.on_hand.sum((2, 3)) + 1e-4).all()


@pytest.mark.parametrize("head", ["direct", "split"])
@pytest.mark.parametrize("name", ["one_warehouse", "serial", "two_region"])
def test_other_heads_start_sane(name, head):
    """Not much dearer than automatic levels: a box of requests costs a hundred times as much."""
    scenario = Scenario.load(name)
    assert (
        costs(scenario, make_policy(scenario, config(head=head))).mean()
        < 1.5 * costs(scenario, automatic_start(scenario)).mean()
    )


# Shared weights ------------------------------------------------------------------------------------


def shapes(scenario: Scenario, network: str, head: str = "levels") -> dict[str, tuple[int, ...]]:
    rule = load_policy("capped_echelon_base_stock", scenario)
    actor = PathwiseActor.of(
        scenario, config(network=network, head=head, due_periods=5, demand_memory=28), rule, learn_levels=False
    )
    return {name: tuple(value.shape) for name, value in actor.state_dict().items() if value.numel()}


@pytest.mark.parametrize("head", ["levels", "direct"])
@pytest.mark.parametrize("network", SHARED)
def test_parameters_do_not_grow_with_the_network(network, head):
    small, large = (shapes(Scenario.load(name), network, head) for name in ("lost_sales", "grocery"))
    assert small == large
    grown = [shapes(Scenario.load(name), "perceptron", head) for name in ("lost_sales", "grocery")]
    assert grown[0] != grown[1]


# Features ------------------------------------------------------------------------------------------


def seen_features(scenario: Scenario, worlds: int = 16) -> tuple[Features, np.ndarray, np.ndarray]:
    """Features (rows, samples) under the automatic rule after the warm-up, and the name of each row."""
    features = Features(scenario, 5)
    (f, n), (g, lanes) = features.shape
    found = []
    for period, seen, _, _ in periods(scenario, automatic_start(scenario), scenario.sample(worlds, 0, "tune")):
        if period >= scenario.warm_up and period % 5 == 0:
            found.append(features(seen, NUMPY))
    names = [name for name in features.names.nodes for _ in range(n)]
    names += [f"lane {name}" for name in features.names.lanes for _ in range(lanes)]
    assert len(names) == f * n + g * lanes
    return features, np.concatenate(found, 1), np.array(names)


# A game that starts out of balance on purpose, and a network that starts with 71 periods of stock and plays 30.
OUT_OF_BALANCE = ("beer_game", "production_network")


@pytest.mark.parametrize("name", SHIPPED)
def test_features_are_centred_and_of_order_one(name):
    scenario = Scenario.load(name)
    scenario = scenario.replace(horizon=min(scenario.horizon, 90), warm_up=min(scenario.warm_up, 40))
    features, seen, names = seen_features(scenario)
    assert np.isfinite(seen).all()
    moving = seen[features.moving]
    assert (np.ptp(seen[~features.moving], 1) == 0).all()
    centre, spread = np.abs(moving.mean(1)), moving.std(1)
    if name in OUT_OF_BALANCE:
        assert np.abs(moving).max() <= 20
        return
    assert np.median(centre) < 0.75, dict(zip(names[features.moving], centre, strict=True))
    assert 0.25 < np.median(spread) < 2.5
    # Not one, but of continental's 96,000: its central warehouses hold more than the local levels that centre a position.
    assert (centre >= 8).mean() < 1e-4
    assert (np.abs(moving) >= 20).mean() < 0.02


def test_features_of_one_store_by_hand():
    """Mean 20, deviation 4, lead time 2: units under way in deviations of a period, positions of three."""
    scenario = one_store()
    features = Features(scenario, 3)
    seen = list(periods(scenario, automatic_start(scenario), scenario.sample(5, 0, "tune")))[30][1]
    nodes, lanes = (part[:, 0] for part in features.parts(features(seen, NUMPY)))
    by_name = dict(zip(features.names.nodes, nodes, strict=True))
    coming = seen.in_transit[:, 0, 0, :, 0]
    owned = seen.on_hand[:, 0 + 1, 0, 0] + coming.sum(1) - seen.backlog[:, 0, 0, 0]
    np.testing.assert_allclose(by_name["due_1"], (coming[:, 0] - 20) / 4, atol=1e-5)
    np.testing.assert_allclose(by_name["due_2"], 0)
    np.testing.assert_allclose(by_name["backlog"], seen.backlog[:, 0, 0, 0] / 4, rtol=1e-5)
    # Before the order the position is the level less a period's demand; 20 x 3 + z sqrt(3) 4 is the newsvendor's level.
    level = 60 + NormalDist().inv_cdf(0.9) * 4 * 3**0.5
    np.testing.assert_allclose(by_name["position"], (owned - (level - 20)) / (4 * 3**0.5), atol=0.02)
    by_name = dict(zip(features.names.lanes, lanes, strict=True))
    np.testing.assert_allclose(by_name["shipped"], (coming[:, 0] - 20) / 4, atol=1e-5)
    np.testing.assert_allclose(by_name["lead_time"], -1 / 3, rtol=1e-5)


def test_positions_of_a_network_add_up():
    """Local and echelon positions by loops over the observation: affine in the features, with the right slope."""
    scenario = Scenario.load("two_region").replace(horizon=60, warm_up=0)
    t, features = scenario.tables, Features(Scenario.load("two_region").replace(horizon=60, warm_up=0), 4)
    local, echelon, found = [], [], []
    below = {"hub": ("hub", "north", "south"), "north": ("north",), "south": ("south",)}
    rule = load_policy("capped_echelon_base_stock", scenario, **TUNED)
    for _, seen, _, _ in periods(scenario, rule, scenario.sample(8, 0, "tune")):
        own = {name: naive_position(scenario, seen, name) for name in below}
        local.append([own[name] for name in below])
        echelon.append([sum(own[name] for name in below[top]) for top in below])
        found.append(features.parts(features(seen, NUMPY))[0])
    places = [features.cells.tolist().index(t.nodes.index(name)) for name in below]
    nodes = np.concatenate(found, -1)
    for name, truth in (("position", local), ("echelon_position", echelon)):
        rows = nodes[features.names.nodes.index(name)]
        for i, place in enumerate(places):
            units = np.concatenate([one[i] for one in truth])
            inside = np.abs(rows[place]) < 20
            slope, offset = np.polyfit(units[inside], rows[place][inside], 1)
            assert slope > 0
            np.testing.assert_allclose(rows[place][inside], slope * units[inside] + offset, atol=2e-4)


def naive_position(scenario: Scenario, seen: Observation, node: str) -> np.ndarray:
    """Stock of a node and all under way into it, less who waits for it first."""
    t = scenario.tables
    found = np.asarray(seen.on_hand)[:, t.nodes.index(node)].sum((1, 2))
    for lane, name in enumerate(t.lanes):
        if scenario.lanes[name].target == node:
            found = found + np.asarray(seen.in_transit)[:, lane].sum((1, 2, 3))
    for customer, name in enumerate(t.customers):
        if next(iter(scenario.customers[name].sources)) == node:
            found = found - np.asarray(seen.backlog)[:, customer].sum((1, 2))
    return np.asarray(found)


@pytest.mark.parametrize("network", ["perceptron", "graph"])
def test_one_world_alone_decides_as_in_a_batch(network):
    """Alone within rounding, and to the last bit at the head of another batch, as that is how batches are parted."""
    scenario = Scenario.load("two_region").replace(horizon=40, warm_up=0)
    policy = stirred(untrained(scenario, config(network=network)))
    found = costs_of(scenario, policy, range(37))
    alone = [costs_of(scenario, policy, [world])[0] for world in range(4)]
    np.testing.assert_allclose(alone, found[:4], rtol=1e-6)
    for count in (1, 4, 30):
        np.testing.assert_array_equal(costs_of(scenario, policy, range(count)), found[:count])


def costs_of(scenario: Scenario, policy: Any, worlds: Any) -> np.ndarray:
    tape = scenario.sample(worlds=list(worlds), seed=0, purpose="tune")
    return objective(simulate(scenario, policy, tape, kpis=False))


# Gradients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("two_region", {"network": "perceptron"}),
        ("two_region", {"network": "graph", "head": "direct"}),
        ("serial", {"network": "set", "head": "split"}),
        ("lost_sales", {"network": "recurrent"}),
        ("one_warehouse_three", {"network": "none"}),
    ],
)
def test_gradient_of_the_unrolled_cost_is_its_slope(name, settings):
    """Along a random direction, in 64 bits, without the smoothing of what is flat."""
    scenario = relaxation(Scenario.load(name))
    policy = make_policy(scenario, config(activation="tanh", **settings))
    actor = stirred(policy, 0.1).actor.double()
    unroll = Unroll(scenario, GradientWindow(6, 14, 4), 0, 0.0)
    unroll.ops = TorchOps(torch.float64)
    unroll.ledger = type(unroll.ledger)(scenario.tables, unroll.ops, 0.0, scenario)
    unroll.multipliers = Multipliers(scenario, unroll.ops)
    start = [one.detach().clone() for one in actor.parameters()]
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(one.shape, generator=generator, dtype=torch.float64) for one in start]

    def at(step: float) -> torch.Tensor:
        with torch.no_grad():
            for one, origin, move in zip(actor.parameters(), start, direction, strict=True):
                one.copy_(origin + step * move)
        unroll.multipliers._clear()
        return unroll.loss(actor, 0, 6)

    slopes = torch.autograd.grad(at(0.0), list(actor.parameters()), allow_unused=True)
    found = sum(float((g * move).sum()) for g, move in zip(slopes, direction, strict=True) if g is not None)
    step = 1e-6
    with torch.no_grad():
        truth = float(at(step) - at(-step)) / (2 * step)
    assert abs(truth) > 1e-4
    assert found == pytest.approx(truth, rel=1e-4)


# What it reaches -----------------------------------------------------------------------------------


def trained(scenario: Scenario, steps: int, seed: int = 0, **changes: Any) -> Any:
    tape = scenario.sample(64, 0, "tune")
    trainer = PathwiseTrainer(scenario, config(**changes), seed, Budget(env_steps=steps), tape, evaluations=4)
    return trainer.run()


def test_levels_alone_reach_the_newsvendor_optimum():
    """The cost of a level in closed form: h (S - mean) + (h + p) x expected shortage over lead time and a period."""
    scenario = one_store(penalty=19.0)
    found = trained(scenario, 64 * 30 * 60, network="none", worlds=64, periods=30, start="auto")
    optimum = cost_of_level(best_level(19.0), 19.0)
    (level,) = found.policy.actor.vector()
    assert cost_of_level(float(level), 19.0) < optimum * 1.003


def test_network_costs_no_more_than_the_best_level():
    """Where the best policy is known to be one level, what a network adds does no harm: paired on common worlds."""
    scenario = one_store(penalty=19.0)
    best = load_policy("local_base_stock", scenario, levels=best_level(19.0))
    found = trained(scenario, 64 * 30 * 100, worlds=64, periods=30)
    tape = scenario.sample(512, 5, "test")
    learned, optimum = (objective(simulate(scenario, one, tape, kpis=False)).mean() for one in (found.policy, best))
    assert learned < optimum * 1.003


def test_targets_are_met_by_learned_prices():
    """A low penalty serves 70 % at once; the target asks for 95 %."""
    loose = one_store(penalty=1.0)
    strict = one_store(penalty=1.0, targets={"fill_rate": 0.95})
    tape = loose.sample(128, 5, "test")
    rates = []
    for scenario in (loose, strict):
        policy = trained(scenario, 32 * 30 * 300, network="none", worlds=32, periods=30).policy
        figures = simulate(scenario, policy, tape).figures().figures["customer"]["shop"]
        rates.append(figures["fill_rate"].estimate()["mean"])
    assert rates[0] < 0.93
    assert 0.945 < rates[1] < 0.985
