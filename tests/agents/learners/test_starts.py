"""Where learners start: rules that actions correct, rules that actors imitate, and the graph that actors see through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from constant_policy import constant_policy

from echelongym.agents.learners import learner_config
from echelongym.agents.loading import load_policy
from echelongym.agents.networks.graph_features import GraphFeatures, SharedHead, graph_layout
from echelongym.agents.residual import Residual, starting_rule
from echelongym.agents.sb3.actor import ActorPolicy, policy_of
from echelongym.agents.sb3.cloning import actions_of, clone
from echelongym.agents.sb3.models import SB3VecEnv, actor_module, make_model
from echelongym.envs.core.errors import InputError
from echelongym.envs.gym.vector_env import NetworkVectorEnv
from echelongym.envs.interface.action_decoder import KINDS, ActionDecoder
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.interface.observation_encoder import ObservationEncoder
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.experiments.commands.train import train


@pytest.fixture(scope="module")
def network() -> Scenario:
    return Scenario.load("two_region").replace(horizon=15, warm_up=0)


def seen(scenario: Scenario, policy: Any, worlds: int = 5) -> list[Observation]:
    """What a policy sees in an episode."""
    found: list[Observation] = []

    def watched(observation: Observation) -> Decision:
        found.append(observation)
        return policy(observation)

    simulate(scenario, watched, scenario.sample(worlds, 1, "train"), kpis=False)
    return found


def native(scenario: Scenario, action: str = "proportional", **more: Any) -> SB3VecEnv:
    env = NetworkVectorEnv(scenario, num_envs=4, autoreset_mode="SAME_STEP", action=action, info="none")
    return SB3VecEnv(env, **more)


# Residual ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", KINDS)
@pytest.mark.parametrize("name", ["two_region", "lost_sales"])
def test_zero_action_around_a_rule_is_the_rule(name, action):
    scenario = Scenario.load(name).replace(horizon=15, warm_up=0)
    rule = starting_rule("capped_echelon_base_stock", scenario)
    policy = ActorPolicy(scenario, constant_policy(scenario, action).actor, action, rule=rule)
    tape = scenario.sample(6, 2, "test")
    costs = [simulate(scenario, one, tape, kpis=False).cost_per_period for one in (policy, rule)]
    np.testing.assert_array_equal(*costs)


def test_an_action_around_a_rule_moves_its_levels(network):
    """Shifting all levels of a base-stock rule is the same as a constant action that stands for that shift."""
    rule: Any = starting_rule("echelon_base_stock", network)
    decoder = ActionDecoder(network, "order_up_to")
    chosen = np.where(decoder.primary, 0.2, 0.0)
    shift = chosen * (decoder.range.slope + decoder.range.bend * chosen**2)
    levels = {network.tables.nodes[network.tables.lane_target[lane]]: None for lane in decoder.lanes[decoder.primary]}
    for lane, more in zip(decoder.lanes[decoder.primary], shift[decoder.primary], strict=True):
        node = network.tables.nodes[network.tables.lane_target[lane]]
        levels[node] = rule.parameters["levels"][node] + more
    moved: Any = load_policy("echelon_base_stock", network, levels=levels)
    residual = Residual(decoder, rule)
    for observation in seen(network, moved):
        wanted = moved(observation).requests
        found = residual.decode(np.tile(chosen, (5, 1)).astype(np.float32), observation).requests
        asking = rule(observation).requests > 0  # elsewhere the rule is cut at nothing first
        np.testing.assert_allclose(found[asking], wanted[asking], rtol=1e-6)


def test_env_around_a_rule_earns_what_the_rule_earns(network):
    rule: Any = starting_rule("echelon_base_stock", network)
    decoder = ActionDecoder(network, "proportional")
    env = native(network, residual=Residual(decoder, rule))
    env.seed(7)
    env.reset()
    rewards = [env.step(np.zeros((4, decoder.size), np.float32))[1] for _ in range(15)]
    outcome = simulate(network, rule, network.sample(4, 7, "train"), kpis=False)
    earned = np.sum(rewards, axis=0) * network.tables.reward_scale / 15
    np.testing.assert_allclose(-earned, outcome.net_cost_per_period, rtol=1e-5)


def test_residual_is_the_same_on_numpy_and_torch(network):
    rule: Any = starting_rule("echelon_base_stock", network)
    residual = Residual(ActionDecoder(network, "allocate"), rule)
    for observation in seen(network, rule)[:5]:
        action = np.random.default_rng(0).uniform(-1.2, 1.2, (5, residual.decoder.size)).astype(np.float32)
        tensors = Observation(
            **{k: None if v is None else torch.from_numpy(np.array(v)) for k, v in vars(observation).items()}
        )
        found = residual.decode(torch.from_numpy(action), tensors).requests
        np.testing.assert_allclose(found.numpy(), residual.decode(action, observation).requests, rtol=1e-12)


def test_a_training_around_a_tuned_rule_begins_at_its_cost_and_keeps_it(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    levels = {"hub": 170, "north": 80, "south": 60}
    rule: Any = load_policy("echelon_base_stock", network, levels=levels)
    rule.save(Path("rule.yaml"))
    agent = learner_config("ppo").model_dump(mode="json") | {
        "worlds": 4,
        "n_steps": 4,
        "batch_size": 16,
        "start": "rule.yaml",
        "start_as": "residual",
        "learning_rate": 1e-9,
    }
    keys: dict[str, Any] = {"reference": "automatic", "bound": False, "tensorboard": False, "progress": False}
    folder = train(network, agent, "run", budget={"env_steps": 16}, validation={"worlds": 3, "times": 1}, **keys)
    Path("rule.yaml").unlink()  # the policy has it
    policy, tape = load_policy(folder, network), network.sample(3, 0, "tune")
    costs = [simulate(network, one, tape, kpis=False).cost_per_period.mean() for one in (policy, rule)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-6)
    assert policy.rule.parameters["levels"] == levels


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("echelon_base_stok", "did you mean 'echelon_base_stock'"),
        ("random", "expected a rule that decides from the observation alone"),
        ("gone.yaml", "expected the path of a file that exists"),
    ],
)
def test_starts_that_are_none_are_refused(network, start, message):
    with pytest.raises(InputError, match=message):
        starting_rule(start, network)


# Clone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_actions_of_requests_are_the_inverse_of_the_decoder(network, kind):
    """Decoding what was found gives the requests again; where something is asked for the action is the one decoded."""
    decoder, rng = ActionDecoder(network, kind), np.random.default_rng(3)
    for observation in seen(network, constant_policy(network)):
        action = rng.uniform(-0.9, 0.9, (5, decoder.size)).astype(np.float32)
        requests = decoder.decode(action, observation)
        wanted = actions_of(decoder, observation, requests)
        np.testing.assert_allclose(decoder.decode(wanted.action, observation), requests, atol=2e-4)
        asked = ~wanted.at_most
        np.testing.assert_allclose(wanted.action[asked], action[asked], atol=1e-4)
        assert asked.any()
        lower = np.where(wanted.at_most, np.maximum(wanted.action - 0.3, -1), wanted.action)
        np.testing.assert_allclose(decoder.decode(lower.astype(np.float32), observation), requests, atol=2e-4)


@pytest.mark.parametrize("kind", ["ppo", "td3", "recurrent_ppo"])
def test_a_clone_of_constant_levels_costs_what_they_cost(kind):
    scenario = Scenario.load("one_warehouse_three").replace(horizon=60, warm_up=20)
    levels = {"warehouse": 102.0, "store_1": 14.7, "store_2": 33.0, "store_3": 16.5}
    rule = load_policy("echelon_base_stock", scenario, levels=levels)
    config = learner_config(kind).model_copy(update={"worlds": 4, "batch_size": 64})
    model, _ = make_model(config, native(scenario, "order_up_to"), seed=0)
    before = torch.get_rng_state()
    distance = clone(model, rule, scenario, "order_up_to", seed=0)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), before)
    assert distance < 0.02
    policy = policy_of(scenario, actor_module(model), "order_up_to")
    tape = scenario.sample(32, 9, "test")
    found, wanted, zero = (
        simulate(scenario, one, tape, kpis=False).cost_per_period.mean()
        for one in (policy, rule, constant_policy(scenario, "order_up_to"))
    )
    assert abs(found - wanted) < 0.004 * wanted < 0.2 * abs(zero - wanted)


# Graph ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["two_region", "one_warehouse_three", "beer_game", "production_network"])
def test_every_entry_goes_to_what_it_is_about(name):
    """By the names of entries: each holds the name of the node, lane or customer whose row it is in."""
    scenario = Scenario.load(name)
    encoder, layout, t = ObservationEncoder(scenario), graph_layout(scenario), scenario.tables
    entities = {"nodes": (*t.nodes, *t.customers), "edges": (*t.lanes, *("a pair" for _ in range(t.S)))}
    found = set()
    for kind, names in entities.items():
        table = getattr(layout, kind)
        assert table.shape[1] == len(names)
        for row in table:
            for entity, entry in zip(names, row, strict=True):
                if entry < encoder.size:
                    found.add(int(entry))
                    label = encoder.names[entry]
                    whole = label.startswith(("period", "season"))
                    assert whole or entity in label.partition("[")[2].rstrip("]").replace("/", ", ").split(", "), label
    assert found == set(range(encoder.size))


def twins(count: int) -> Scenario:
    """One warehouse and stores that are all alike."""
    stores = [f"store_{i}" for i in range(count)]
    return Scenario.from_mapping(
        {
            "name": "twins",
            "horizon": 10,
            "nodes": {
                "s": {"kind": "supplier"},
                "w": {"holding_cost": 0.3},
                **{n: {"holding_cost": 1.0} for n in stores},
            },
            "lanes": {
                "s_w": {"source": "s", "target": "w", "lead_time": 2},
                **{f"w_{n}": {"source": "w", "target": n, "lead_time": 2} for n in stores},
            },
            "customers": {
                f"c_{n}": {
                    "sources": {n: {}},
                    "demand": {"kind": "poisson", "mean": 4},
                    "lost_share": 1.0,
                    "lost_sale_cost": 9.0,
                }
                for n in stores
            },
        }
    )


def shared(scenario: Scenario) -> torch.nn.Module:
    layout = graph_layout(scenario)
    torch.manual_seed(0)
    actor = torch.nn.Sequential(GraphFeatures(layout, 8, 2), SharedHead(layout, 8))
    torch.nn.init.normal_(actor[1].last.weight)  # type: ignore[union-attr, arg-type]
    return actor


def test_stores_that_are_alike_and_see_the_same_do_the_same_and_swap():
    scenario = twins(3)
    encoder, actor = ObservationEncoder(scenario), shared(scenario)
    flat = torch.randn(7, encoder.size)
    swapped = flat.clone()
    for i, name in enumerate(encoder.names):
        for one, other in (("store_0", "store_1"), ("store_1", "store_0")):
            if one in name:
                swapped[:, i] = flat[:, encoder.names.index(name.replace(one, other))]
    with torch.no_grad():
        a, b = actor(flat).numpy(), actor(swapped).numpy()
    np.testing.assert_allclose(a[:, [0, 2, 1, 3]], b, atol=1e-5)
    assert np.abs(a[:, 1] - a[:, 2]).max() > 1e-2


def test_parameters_do_not_grow_with_the_network():
    sizes = {sum(value.numel() for value in shared(twins(count)).parameters()) for count in (2, 5, 12)}
    assert len(sizes) == 1


# The reference -------------------------------------------------------------------------------------


def test_what_the_reference_does_too_earns_nothing(network):
    """Whatever it follows; and a restored env goes on as if it had not stopped."""

    def made() -> SB3VecEnv:
        env = native(network)
        other = native(network).env
        found = SB3VecEnv(env.env, other)
        found.follow = lambda flat: np.full((4, found.action_space.shape[0]), 0.3 * np.tanh(flat[:, :1]), np.float32)
        found.seed(3)
        return found

    first, size = made(), native(network).action_space.shape[0]
    flat = first.reset()
    for _ in range(20):
        chosen = np.full((4, size), 0.3 * np.tanh(flat[:, :1]), np.float32)
        flat, reward = first.step(chosen)[:2]
        assert not reward.any()
    rng = np.random.default_rng(0)
    first.step(rng.uniform(-1, 1, (4, size)).astype(np.float32))
    second = made()
    np.testing.assert_array_equal(
        second.restore(first.series, first.episode, first.played, first.beside), first.env.batch.observe().T
    )
    for _ in range(5):
        action = rng.uniform(-1, 1, (4, size)).astype(np.float32)
        for got, wanted in zip(second.step(action)[:3], first.step(action)[:3], strict=True):
            np.testing.assert_array_equal(got, wanted)
