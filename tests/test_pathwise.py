"""Policies trained by gradients through the simulator: starts, features, gradients, files, and what they reach."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch

from echelongym.agents.budget import Budget, objective
from echelongym.agents.learners import learner_config
from echelongym.agents.pathwise.checkpoint import latest_checkpoint, load_checkpoint
from echelongym.agents.pathwise.config import PathwiseConfig
from echelongym.agents.pathwise.features import Features
from echelongym.agents.pathwise.heads import automatic_start
from echelongym.agents.pathwise.policy import PathwiseActor, Tensors, load_pathwise, make_policy, save_pathwise
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.agents.pathwise.unroll import Unroll, Window, relaxation
from echelongym.agents.policy import load_policy
from echelongym.agents.targets import Multipliers
from echelongym.envs.backend import TorchOps
from echelongym.envs.errors import InputError
from echelongym.envs.observation import Observation
from echelongym.envs.scenario import Scenario, shipped_scenarios
from echelongym.envs.simulate import periods, simulate

DEFAULTS = learner_config("pathwise").model_dump()
SHARED = ("set", "graph")

# Two regions with everything that base-stock rules can have: caps, an express lane, lateral lanes.
TUNED = {
    "levels": {"hub": 200.0, "north": 95.0, "south": 60.0},
    "express_levels": {"hub_north_express": 21.0},
    "lateral_levels": {"north_south": 12.0, "south_north": 11.0},
    "keep_levels": {"north": 40.0, "south": 30.0},
    "caps": {"dairy_hub": 60.0, "hub_north": 41.0, "hub_north_express": 25.0, "hub_south": 30.0},
}


def config(**changes: Any) -> PathwiseConfig:
    return PathwiseConfig(**{**DEFAULTS, "hidden": (8, 8), **changes})


def one_store(penalty: float = 9.0, lead_time: int = 2, **customer: Any) -> Scenario:
    return Scenario.from_mapping({
        "name": "one_store",
        "units": "continuous",
        "horizon": 120,
        "warm_up": 20,
        "nodes": {"supplier": {"kind": "supplier"}, "store": {"holding_cost": 1.0}},
        "lanes": {"road": {"source": "supplier", "target": "store", "lead_time": lead_time}},
        "customers": {
            "shop": {
                "sources": {"store": {}},
                "demand": {"kind": "normal", "mean": 20, "standard_deviation": 4},
                "lost_share": 0,
                "backorder_cost": penalty,
                **customer,
            }
        },
    })  # fmt: skip


def untrained(scenario: Scenario, settings: PathwiseConfig, rule: Any = None, seed: int = 0, **options: Any) -> Any:
    """A policy whose first weights are those of a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make_policy(scenario, settings, rule, **options)


def stirred(policy: Any, by: float = 0.05, seed: int = 0) -> Any:
    """The same policy with random weights, so that it decides otherwise in every state."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in policy.actor.parameters():
            one.add_(by * torch.randn(one.shape, generator=generator))
        policy.actor.begin(0)
    return policy


def costs(scenario: Scenario, policy: Any, worlds: int = 6, seed: int = 3) -> np.ndarray:
    return objective(simulate(scenario, policy, scenario.sample(worlds, seed, "tune"), kpis=False))


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


def test_levels_head_refuses_a_rule_without_levels():
    scenario = Scenario.load("lost_sales")
    with pytest.raises(InputError, match="expected a rule of the base-stock family, or head=residual"):
        make_policy(scenario, config(), load_policy("sterman", scenario))


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
    actor = PathwiseActor(scenario, config(network=network, head=head, due_periods=5), rule, learn_levels=False)
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
            found.append(features(Tensors(seen)).numpy())
    names = [name for name in features.names.nodes for _ in range(n)]
    names += [f"lane {name}" for name in features.names.lanes for _ in range(lanes)]
    assert len(names) == f * n + g * lanes
    return features, np.concatenate(found, 1), np.array(names)


# A game that starts out of balance on purpose, and a network that starts with 71 periods of stock and plays 30.
OUT_OF_BALANCE = ("beer_game", "production_network")


@pytest.mark.parametrize("name", shipped_scenarios())
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
    assert centre.max() < 8
    assert (np.abs(moving) >= 20).mean() < 0.02


def test_features_of_one_store_by_hand():
    """Mean 20, deviation 4, lead time 2: units under way in deviations of a period, positions of three."""
    scenario = one_store()
    features = Features(scenario, 3)
    seen = list(periods(scenario, automatic_start(scenario), scenario.sample(5, 0, "tune")))[30][1]
    nodes, lanes = (part.numpy()[:, 0] for part in features.parts(features(Tensors(seen))))
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
        found.append(features.parts(features(Tensors(seen)))[0].numpy())
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


def test_one_world_alone_decides_as_in_a_batch():
    scenario = Scenario.load("two_region").replace(horizon=40, warm_up=0)
    policy = stirred(untrained(scenario, config(network="graph")))
    np.testing.assert_allclose(
        [costs_of(scenario, policy, [world])[0] for world in range(4)],
        costs_of(scenario, policy, range(4)),
        rtol=1e-6,
    )


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
    unroll = Unroll(scenario, Window(6, 14, 4), 0, 0.0)
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
    normal, deviation = NormalDist(), 4 * 3**0.5

    def cost(level: float) -> float:
        z = (level - 60) / deviation
        shortage = deviation * (normal.pdf(z) - z * (1 - normal.cdf(z)))
        return (level - 60) + 20 * shortage

    optimum = cost(60 + deviation * normal.inv_cdf(19 / 20))
    (level,) = found.policy.actor.head.vector()
    assert cost(float(level)) < optimum * 1.003
    assert found.cpu_seconds < 30


def test_network_costs_no_more_than_the_best_level():
    """Where the best policy is known to be one level, what a network adds does no harm: paired on common worlds."""
    scenario = one_store(penalty=19.0)
    best = load_policy("local_base_stock", scenario, levels=60 + 4 * 3**0.5 * NormalDist().inv_cdf(0.95))
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
    assert 0.94 < rates[1] < 0.985


# Resume and files ----------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a signal that nothing can catch."""


@pytest.mark.parametrize(("network", "native"), [("perceptron", "0"), ("perceptron", "1"), ("recurrent", "0")])
def test_resumed_training_is_bit_for_bit_the_uninterrupted_one(tmp_path, monkeypatch, network, native):
    monkeypatch.setenv("ECHELONGYM_NATIVE", native)
    scenario = one_store(targets={"fill_rate": 0.95})
    tape, settings = scenario.sample(8, 0, "tune"), config(network=network, worlds=16, periods=10)

    def trainer(folder: Path, **changes: Any) -> PathwiseTrainer:
        budget = Budget(env_steps=16 * 10 * 10)
        return PathwiseTrainer(scenario, settings, 1, budget, tape, evaluations=5, checkpoints=folder, **changes)

    def dies(progress: Any) -> None:
        if progress.env_steps >= 16 * 10 * 4:
            raise Killed

    whole = trainer(tmp_path / "whole").run()
    with pytest.raises(Killed):
        trainer(tmp_path / "halves", checkpoint_seconds=0.0).run(report=dies)
    torch.manual_seed(999)  # a resumed process starts from any state
    halves = trainer(tmp_path / "halves").run(latest_checkpoint(tmp_path / "halves"))
    for name, value in whole.policy.actor.state_dict().items():
        assert torch.equal(value, halves.policy.actor.state_dict()[name])
    rows = [[{k: v for k, v in row.items() if k != "cpu_seconds"} for row in one.curve] for one in (whole, halves)]
    assert rows[0] == rows[1]
    assert len(list((tmp_path / "halves").glob("*.pt"))) <= 2


def test_damaged_checkpoints_are_refused_and_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")
    scenario = one_store()
    trainer = PathwiseTrainer(
        scenario,
        config(worlds=16, periods=8),
        0,
        Budget(env_steps=16 * 8 * 3),
        scenario.sample(4, 0, "tune"),
        checkpoints=tmp_path,
        checkpoint_seconds=0.0,
    )
    trainer.run()
    older, newest = sorted(tmp_path.iterdir())
    assert load_checkpoint(newest)["facts"]["env_steps"] == 16 * 8 * 3
    newest.write_bytes(newest.read_bytes()[:500])
    with pytest.raises(InputError, match="is no checkpoint, or a damaged one"):
        load_checkpoint(newest)
    assert latest_checkpoint(tmp_path)["facts"]["env_steps"] == load_checkpoint(older)["facts"]["env_steps"]
    other = {"kind": "ppo", "schema": 1}
    torch.save(other, tmp_path / "checkpoint_9.pt")
    with pytest.raises(InputError, match="kind = 'ppo': expected pathwise"):
        load_checkpoint(tmp_path / "checkpoint_9.pt")
    with pytest.raises(InputError, match="holds no checkpoint"):
        latest_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize("network", ["none", "perceptron", "graph", "recurrent"])
@pytest.mark.parametrize("head", ["levels", "direct", "residual"])
def test_saved_policy_decides_as_before(tmp_path, network, head):
    if network == "none" and head == "residual":
        return  # nothing would be learned
    scenario = Scenario.load("two_region").replace(horizon=30, warm_up=0)
    policy = stirred(
        untrained(
            scenario, config(network=network, head=head), load_policy("capped_echelon_base_stock", scenario, **TUNED)
        )
    )
    policy.facts = {"agent": "pathwise", "seed": 3}
    save_pathwise(tmp_path / "policy.npz", policy)
    for path in (tmp_path, tmp_path / "policy.npz"):
        again = load_policy(path, scenario)
        assert again.facts == policy.facts
        np.testing.assert_array_equal(costs(scenario, again), costs(scenario, policy))


@pytest.mark.parametrize("network", SHARED)
def test_shared_policy_loads_on_any_network(tmp_path, network):
    small, large = Scenario.load("one_warehouse_three"), Scenario.load("grocery").replace(horizon=20, warm_up=0)
    rule = load_policy("capped_echelon_base_stock", small)
    settings = config(network=network, head="direct")
    policy = make_policy(small, settings, rule, learn_levels=False)
    save_pathwise(tmp_path / "policy.npz", policy)
    elsewhere = load_policy(tmp_path, large)
    fresh = make_policy(large, settings, rule, learn_levels=False)
    np.testing.assert_allclose(costs(large, elsewhere), costs(large, fresh))


def test_policy_of_one_network_is_refused_elsewhere(tmp_path):
    scenario = one_store()
    save_pathwise(tmp_path / "policy.npz", make_policy(scenario, config(network="graph")))
    with pytest.raises(InputError, match="made for another network than scenario 'serial': nodes"):
        load_policy(tmp_path, Scenario.load("serial"))
    # The same network with other numbers is no other network: means of the training stay the units.
    cheaper = one_store(penalty=3.0)
    assert load_policy(tmp_path, cheaper).scenario.digest == scenario.digest


def test_damaged_policy_files_are_refused(tmp_path):
    scenario, path = one_store(), tmp_path / "policy.npz"
    save_pathwise(path, make_policy(scenario, config()))
    whole = path.read_bytes()
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    first = next(name for name in arrays if name.endswith("weight"))
    np.savez(path, **{**arrays, first: arrays[first][:1]})
    with pytest.raises(InputError, match="is no policy file, or a damaged one"):
        load_pathwise(path, scenario)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is no policy file, or a damaged one"):
        load_policy(tmp_path, scenario)
    with pytest.raises(InputError, match="expected the path of a file that exists"):
        load_pathwise(tmp_path / "nothing.npz", scenario)


def test_memory_is_cleared_at_the_start():
    """The second episode is like the first, and memory does matter in between."""
    scenario = Scenario.load("lost_sales").replace(horizon=30, warm_up=0)
    policy = stirred(untrained(scenario, config(network="recurrent")), 0.5)
    once, again = costs(scenario, policy), costs(scenario, policy)
    np.testing.assert_array_equal(once, again)
    _, first, _, _ = next(periods(scenario, automatic_start(scenario), scenario.sample(4, 0, "tune")))
    policy.start(4)
    one, other = policy(first).requests, policy(first).requests
    assert not np.array_equal(one, other)


def test_policy_with_memory_is_not_exported():
    pytest.importorskip("onnxruntime")
    from echelongym.agents.export import make_bundle

    scenario = one_store()
    with pytest.raises(InputError, match="keeps memory between periods"):
        make_bundle(make_policy(scenario, config(network="recurrent")), scenario)


@pytest.mark.parametrize("head", ["levels", pytest.param("direct", marks=pytest.mark.slow)])
def test_exported_policy_decides_the_same(tmp_path, head):
    """``make_bundle`` checks ONNX Runtime against the policy itself in simulated worlds."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from echelongym.agents.export import make_bundle

    scenario = one_store()
    bundle = make_bundle(stirred(untrained(scenario, config(head=head))), scenario, count=50)
    assert bundle.facts.parity["native"]["relative"] < 1e-5
    np.testing.assert_allclose(
        costs(scenario, load_policy(bundle.save(tmp_path / "bundle"), scenario)),
        costs(scenario, stirred(untrained(scenario, config(head=head)))),
        rtol=1e-5,
    )
