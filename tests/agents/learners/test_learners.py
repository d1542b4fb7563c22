"""Every learner: settings, training, resume, saved policies; discrete moves; TensorBoard; what is refused."""

from __future__ import annotations

import importlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from echelongym.agents.export.export import make_bundle
from echelongym.agents.learners import learner_config, learners
from echelongym.agents.loading import load_policy
from echelongym.agents.sb3.actor import policy_of
from echelongym.agents.sb3.discrete_actions import move_table
from echelongym.agents.sb3.models import SB3VecEnv, actor_module, make_model, moves_of
from echelongym.agents.sb3.policy_file import load_actor, save_actor
from echelongym.envs.core.errors import InputError, MissingExtra
from echelongym.envs.core.validation import validate
from echelongym.envs.gym.vector_env import NetworkVectorEnv
from echelongym.envs.interface.action_decoder import ActionDecoder
from echelongym.envs.interface.observation import Decision
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods, simulate
from echelongym.experiments.cli.compose import compose
from echelongym.experiments.commands import train as command
from echelongym.experiments.commands.train import train

KINDS = ("ppo", "a2c", "sac", "td3", "dqn", "tqc", "recurrent_ppo")
SMALL: dict[str, Any] = {"worlds": 4, "hidden": [8], "graph_hidden": 4, "graph_rounds": 1}
ROLLOUT = {"n_steps": 8, "batch_size": 16}
MEMORY = {"learning_starts": 16, "buffer_size": 200, "gradient_steps": 1, "batch_size": 16}
OWN: dict[str, dict[str, Any]] = {
    "ppo": ROLLOUT,
    "a2c": {"n_steps": 8},
    "recurrent_ppo": {**ROLLOUT, "lstm_hidden_size": 5},
    **{kind: {**MEMORY, "actor_starts": 20, "random_worlds": 1} for kind in ("sac", "td3", "tqc")},
    "dqn": {**MEMORY, "target_update_interval": 32},
}
SETTINGS: dict[str, Any] = {
    "validation": {"worlds": 4, "times": 4},
    "reference": "automatic",
    "bound": False,
    "tensorboard": False,
    "progress": False,
}


def small(kind: str, **changes: Any) -> dict[str, Any]:
    """The shipped settings of a learner, small enough for a second."""
    return {**learner_config(kind).model_dump(mode="json"), **SMALL, **OWN[kind], **changes}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario.load("lost_sales").replace(horizon=20, warm_up=2)


@pytest.fixture(scope="module")
def network() -> Scenario:
    """Two regions, expedited and lateral lanes, waste, backlog."""
    return Scenario.load("two_region").replace(horizon=12, warm_up=0)


def native(scenario: Scenario, config: Any = None) -> SB3VecEnv:
    env = NetworkVectorEnv(scenario, num_envs=4, autoreset_mode="SAME_STEP", action="proportional", info="none")
    return SB3VecEnv(env, moves=None if config is None else moves_of(config, env.decoder.size))


def weights(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "policy.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name != "config"}


# Settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_learner_has_settings_of_its_name_and_refuses_unknown_keys(kind):
    assert learner_config(kind).kind == kind
    with pytest.raises(InputError, match="unknown key 'gama'; did you mean 'gamma'"):
        learner_config(small(kind, gama=0.9))
    assert set(KINDS) <= set(learners())


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("dqn", {"moves": [0.0, 0.5]}, "moves = .*expected at least one number in"),
        ("dqn", {"start": "echelon_base_stock", "start_as": "clone"}, "start_as.* no actor that could imitate"),
        ("tqc", {"top_quantiles_to_drop_per_net": 25}, "expected less than n_quantiles = 25"),
        ("ppo", {"features": "grap"}, "features = 'grap': expected 'flat' or 'graph'"),
        ("td3", {"tau": 0}, "tau = 0: expected a finite number > 0"),
    ],
)
def test_settings_out_of_range_are_refused(kind, changes, message):
    with pytest.raises(InputError, match=message):
        learner_config(small(kind, **changes))


@pytest.mark.parametrize("kind", ["tqc", "recurrent_ppo"])
def test_missing_sb3_contrib_names_the_extra(scenario, monkeypatch, kind):
    real = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name == "sb3_contrib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    config = learner_config(small(kind))
    with pytest.raises(MissingExtra, match=r'pip install "echelongym\[sb3-contrib\]"'):
        make_model(config, native(scenario), seed=0)


# Actors --------------------------------------------------------------------------------------------


def shaken(config: Any, env: SB3VecEnv) -> Any:
    """An untrained model whose weights are moved, so that it answers to what it sees."""
    model, _ = make_model(config, env, seed=0)
    with torch.no_grad():
        for value in model.policy.parameters():
            value.add_(0.3 * torch.randn(value.shape))
    return model


@pytest.mark.parametrize("features", ["flat", "graph"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "recurrent_ppo"])
def test_actor_does_what_predict_does(network, kind, features):
    """Stable-Baselines3's own deterministic prediction is the truth."""
    config = learner_config(small(kind, features=features))
    env = native(network, config)
    model = shaken(config, env)
    seen = np.random.default_rng(0).normal(0, 2, (60, env.observation_space.shape[0])).astype(np.float32)
    wanted, _ = model.predict(seen, deterministic=True)
    if env.moves is not None:
        wanted = env.moves[wanted]
    with torch.no_grad():
        found = actor_module(model)(torch.from_numpy(seen)).numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert np.ptp(found, axis=0).max() > 0.1


@pytest.mark.parametrize("features", ["flat", "graph"])
def test_recurrent_policy_does_what_predict_does_over_an_episode(network, features):
    config = learner_config(small("recurrent_ppo", features=features))
    env = native(network, config)
    model = shaken(config, env)
    policy = load_saved(network, model)
    state, first = None, np.ones(3, dtype=bool)
    policy.start(3)
    for step in range(6):
        seen = np.random.default_rng(step).normal(0, 2, (3, env.observation_space.shape[0])).astype(np.float32)
        wanted, state = model.predict(seen, state, first, deterministic=True)
        first[:] = False
        np.testing.assert_allclose(policy.act(torch.from_numpy(seen)).numpy(), wanted, atol=2e-5)
    # Memory matters, and a start forgets.
    last = policy.act(torch.from_numpy(seen)).numpy()
    policy.start(3)
    assert np.abs(policy.act(torch.from_numpy(seen)).numpy() - last).max() > 1e-3
    with pytest.raises(InputError, match="worlds = 2: expected 3, as at the start"):
        policy.act(torch.from_numpy(seen[:2]))


def load_saved(scenario: Scenario, model: Any) -> Any:
    """The policy of a model by way of its file."""
    save_actor(Path("policy.npz"), policy_of(scenario, actor_module(model), "proportional"))
    return load_actor(Path("policy.npz"), scenario)


@pytest.mark.parametrize("features", ["flat", "graph"])
@pytest.mark.parametrize("kind", KINDS)
def test_untrained_actor_is_nearly_the_zero_action(network, kind, features):
    config = learner_config(small(kind, features=features, hidden=[16, 16]))
    env = native(network, config)
    model, _ = make_model(config, env, seed=0)
    actor, seen = actor_module(model), torch.randn(100, env.observation_space.shape[0])
    with torch.no_grad():
        action = actor(seen, actor.blank(100))[0] if kind == "recurrent_ppo" else actor(seen)
    assert action.shape == (100, env.env.decoder.size)
    assert action.abs().max() < 0.08


# Training ------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a signal that nothing can catch."""


CASES: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in KINDS),
    ("a2c", {"features": "graph", "start": "capped_echelon_base_stock", "start_as": "residual"}),
    ("td3", {"start": "echelon_base_stock", "start_as": "clone"}),
]
SLOW = [(kind, {}) for kind in ("ppo", "a2c", "sac", "td3")]


@pytest.mark.parametrize(
    ("kind", "changes"),  # of those that are slow there are others like them, here or in test_train.py
    [pytest.param(*case, marks=[pytest.mark.slow] if case in SLOW else []) for case in CASES],
)
def test_every_learner_trains_resumes_bit_for_bit_and_loads(scenario, monkeypatch, kind, changes):
    from echelongym.agents.sb3 import trainer as training

    keys = {**SETTINGS, "budget": {"env_steps": 768}, "seed": 3}
    agent = small(kind, **changes)
    whole = train(scenario, agent, "whole", **keys)
    summary = json.loads((whole / "summary.json").read_text())
    best = summary["best"]["cost_per_period"]["mean"]
    tape = scenario.sample(4, 0, "tune")
    policies = [load_policy(whole, scenario), load_policy(whole / "model.zip", scenario, trust=True)]
    for policy in policies:
        assert simulate(scenario, policy, tape, kpis=False).cost_per_period.mean() == pytest.approx(best, rel=1e-12)
    assert hasattr(policies[0], "start") == (kind == "recurrent_ppo")

    check, count = training.Trainer._check_finite, iter(range(1000))

    def dies(self: Any) -> None:
        if next(count) == 1:
            raise Killed
        check(self)

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "_check_finite", dies)
        with pytest.raises(Killed):
            train(scenario, agent, "halves", checkpoint_seconds=1e-9, **keys)
    torch.manual_seed(12345)
    np.random.seed(6789)  # noqa: NPY002 (a resumed process starts from any state)
    config = compose("train", ["run=halves", "resume=true", "progress=false"])
    halves = command.run(validate(command.Settings, config, "train"), Path("halves"))
    again = weights(halves)
    assert all(np.array_equal(value, again[name]) for name, value in weights(whole).items())
    assert json.loads((halves / "summary.json").read_text())["best"] == summary["best"]
    assert [row.split(",")[0] for row in (halves / "progress.csv").read_text().splitlines()] == [
        row.split(",")[0] for row in (whole / "progress.csv").read_text().splitlines()
    ]


@pytest.mark.parametrize("kind", ["ppo", "sac", "recurrent_ppo"])
def test_graph_policies_train_and_load(network, kind):
    folder = train(network, small(kind, features="graph"), "run", **SETTINGS, budget={"env_steps": 64})
    best = json.loads((folder / "summary.json").read_text())["best"]["cost_per_period"]["mean"]
    tape = network.sample(4, 0, "tune")
    for policy in (load_policy(folder, network), load_policy(folder / "model.zip", network, trust=True)):
        assert simulate(network, policy, tape, kpis=False).cost_per_period.mean() == pytest.approx(best, rel=1e-9)


def test_tensorboard_shows_cost_lines_and_service(scenario):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = train(scenario, small("ppo"), "run", **{**SETTINGS, "tensorboard": True}, budget={"env_steps": 128})
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    wanted = {
        "cost_per_period",
        "cost/holding",
        "cost/lost_sale",
        "total/fill_rate",
        "network/turns",
        "shoppers/fill_rate",
    }
    assert {f"evaluation/{name}" for name in wanted} <= tags
    assert "train/value_loss" in tags
    lines = [sum(one.value for one in events.Scalars(f"evaluation/cost/{name}")) for name in ("holding", "lost_sale")]
    total = sum(one.value for one in events.Scalars("evaluation/cost_per_period"))
    assert sum(lines) == pytest.approx(total, rel=1e-5)
    assert len(events.Scalars("evaluation/cost_per_period")) == 5  # the start and four evaluations


# Moves ---------------------------------------------------------------------------------------------


def test_moves_of_one_lane_are_a_grid():
    np.testing.assert_allclose(move_table(1, (-0.5, 0.5))[:, 0], [0, -0.5, 0.5])


def test_moves_of_several_lanes_are_all_together_and_each_alone():
    table = move_table(2, (-0.25, 1.0))
    np.testing.assert_allclose(table, [[0, 0], [-0.25, -0.25], [1, 1], [-0.25, 0], [1, 0], [0, -0.25], [0, 1]])


def test_no_discrete_action_needs_a_mask():
    """Whatever is requested, nothing leaves where a lane cannot be asked, and no more than there is in stock."""
    changes = {
        "lanes.raw_7_factory_4.review": {"every": 3, "first": 1},
        "lanes.raw_7_factory_4.batch": 6,
        "lanes.factory_4_distributor_2.minimum_order": 15,
        "lanes.distributor_2_retailer.calendar": {"closed": [0, 4]},
        "nodes.factory_5.calendar": {"closed": [5, 6]},
    }
    scenario = Scenario.load("production_network").with_overrides(changes)
    t, tape, decoder = scenario.tables, scenario.sample(3, 2, "test"), ActionDecoder(scenario, "requests")
    names, source = list(scenario.lanes), {one: lane.source for one, lane in scenario.lanes.items()}
    moved = 0.0
    for move in move_table(decoder.size, (-1.0, 1.0)):
        policy = partial(requests_of, decoder, move)
        for period, seen, flows, _ in periods(scenario, policy, tape):
            shipped = flows.shipped[:, 0]  # (L, B)
            moved += shipped.sum()
            assert (shipped >= 0).all()
            for lane in names:
                shut = lane == "raw_7_factory_4" and period % 3 != 1
                shut |= lane == "distributor_2_retailer" and period % 7 in (0, 4)
                shut |= source[lane] == "factory_5" and period % 7 in (5, 6)
                assert not shut or not shipped[t.lanes.index(lane)].any(), (lane, period)
            for node in {one for one in source.values() if scenario.nodes[one].kind != "supplier"}:
                out = sum(shipped[t.lanes.index(lane)] for lane in names if source[lane] == node)
                assert (out <= seen.on_hand[:, t.nodes.index(node), 0].sum(-1) * (1 + 1e-9)).all()
    assert moved > 0


def requests_of(decoder: ActionDecoder, move: Any, observation: Any) -> Decision:
    """What one action requests in every world."""
    return Decision(decoder.decode(np.tile(move, (len(observation.on_hand), 1)), observation))


def test_env_of_moves_steps_the_action_that_a_number_stands_for(network):
    config = learner_config("dqn")
    env, plain = native(network, config), native(network)
    for one in (env, plain):
        one.seed(4)
        one.reset()
    assert env.moves is not None
    assert env.action_space.n == len(env.moves) == 1 + 6 * 7
    for step in range(5):
        numbers = np.random.default_rng(step).integers(len(env.moves), size=4)
        np.testing.assert_array_equal(env.step(numbers)[0], plain.step(env.moves[numbers])[0])


# Export --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dqn", "td3"])
def test_stateless_policies_become_bundles(scenario, kind):
    config = learner_config(small(kind, features="graph"))
    policy = load_saved(scenario, shaken(config, native(scenario, config)))
    assert make_bundle(policy, scenario, count=64).facts.parity["torch"]["relative"] <= 1e-5


def test_policies_with_memory_are_no_bundles(scenario):
    config = learner_config(small("recurrent_ppo"))
    policy = load_saved(scenario, shaken(config, native(scenario, config)))
    with pytest.raises(InputError, match="has start"):
        make_bundle(policy, scenario)
