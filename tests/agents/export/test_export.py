"""Bundles: what ONNX Runtime computes is what the policy decides, and whatever does not fit is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from rule_pairs import rule_pairs

from echelongym.agents import load_policy
from echelongym.agents.export.bundle import load_bundle
from echelongym.agents.export.export import Bundle, export_policy, make_bundle
from echelongym.agents.export.parity import gap, in_batches, observations
from echelongym.agents.learners import learner_config
from echelongym.agents.registry import RULES
from echelongym.agents.sb3.actor import ActorPolicy
from echelongym.agents.sb3.models import SB3VecEnv, actor_module, make_model
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.errors import InputError, MissingExtra
from echelongym.envs.gym.vector_env import NetworkVectorEnv
from echelongym.envs.interface.observation import Decision, Observation, observation_shapes
from echelongym.envs.rollout.rollout import Rollout
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.experiments.commands.export import Settings, scenario_of
from echelongym.experiments.main import main

# What a hair below a whole number means: 8 wanted, 5 there, weights that make shares of 1/3.
SHORT = {
    "name": "short",
    "units": "integer",
    "horizon": 60,
    "nodes": {"plant": {"kind": "supplier", "capacity": 9}, "hub": {}, "west": {}, "east": {}},
    "lanes": {
        "plant_hub": {"source": "plant", "target": "hub", "lead_time": 2},
        "hub_west": {"source": "hub", "target": "west", "lead_time": 1},
        "hub_east": {"source": "hub", "target": "east", "lead_time": 1},
    },
    "customers": {
        name: {"sources": {name: {}}, "demand": {"kind": "poisson", "mean": 4}, "lost_share": 0, "backorder_cost": 9}
        for name in ("west", "east")
    },
}


def scenario_named(name: str) -> Scenario:
    if name == "short":
        data = {**SHORT, "customers": {f"{key}_shop": value for key, value in SHORT["customers"].items()}}  # type: ignore[attr-defined]
        return Scenario.from_mapping(data)
    return Scenario.load(name)


def learnt(scenario: Scenario) -> ActorPolicy:
    """PPO as `train` makes it, with a head that answers to what it sees; training would only change the numbers."""
    config = learner_config("ppo").model_copy(update={"hidden": (16, 16), "worlds": 2, "n_steps": 8, "batch_size": 16})
    env = SB3VecEnv(NetworkVectorEnv(scenario, num_envs=2, autoreset_mode="SAME_STEP", info="none"))
    model, _ = make_model(config, env, seed=1)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(10.0)  # more, and rounding grows over an episode: it overreacts
    return ActorPolicy(scenario, actor_module(model))


# A bundle has no memory, and does not know the future.
EXPORTED = [
    (scenario, name)
    for scenario, name in rule_pairs(("lost_sales", "two_region"))
    if not hasattr(RULES[name], "start") and not RULES[name].reference
]
CASES: dict[str, tuple[str, Callable[[Scenario], Any], float]] = {
    **{
        f"{name}-{scenario}": (scenario, lambda found, name=name: load_policy(name, found), 1e-12)
        for scenario, name in EXPORTED
    },
    "equalise-short": ("short", lambda found: load_policy("echelon_base_stock", found, allocation="equalise"), 1e-12),
    **{f"ppo-{scenario}": (scenario, learnt, 1e-6) for scenario in ("lost_sales", "two_region")},
}


# In the quick tests whole numbers are `equalise-short` and `ppo-lost_sales`; each export takes some seconds.
QUICK = ("reorder_point_quantity-two_region", "equalise-short", "ppo-lost_sales")
LONG = [case for case in CASES if case not in QUICK]


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if case in LONG else []) for case in CASES]
)
def test_a_bundle_decides_as_its_policy_does(case: str, tmp_path: Path) -> None:
    """The same requests in batches of any size on observations the check has not seen, and the same costs."""
    name, make, accuracy = CASES[case]
    scenario = scenario_named(name)
    policy = make(scenario)
    folder = export_policy(policy, scenario, tmp_path / "bundle")
    assert {path.name for path in folder.iterdir()} == {"policy.onnx", "bundle.json"}
    bundle = load_policy(folder, scenario)

    parity = bundle.facts.parity
    assert parity["observations"] == 1000
    assert max(parity["torch"]["relative"], parity["native"]["relative"]) <= parity["tolerance"] == 1e-5

    arrays = observations(policy, scenario, 64, seed=5)
    native = in_batches(policy, arrays, 64)
    assert np.ptp(native["requests"], axis=0).max() > 0, "a policy that always asks for the same would prove little"
    for size in (1, 7, 64):
        assert gap(in_batches(bundle, arrays, size), native).relative <= max(accuracy, 1e-12)

    tape = scenario.sample(worlds=16, seed=3, purpose="test")
    cost, same = (np.asarray(simulate(scenario, one, tape, kpis=False).cost_per_period) for one in (policy, bundle))
    assert np.allclose(same, cost, rtol=accuracy, atol=0.0)


# A policy by hand ------------------------------------------------------------------------------------

LEVEL, KEPT = 20, 2


def by_hand(observation: Observation) -> Decision:
    """Base stock of the one store of `lost_sales`, with a reserve; a function of arrays that NumPy and torch both have."""
    under_way = observation.in_transit.sum((1, 2, 3, 4))
    position = observation.on_hand[:, 1, 0, 0] + under_way + 0 * observation.demand_history[:, 0, 0, 0]
    requests = (LEVEL - position).clip(0).reshape((-1, 1, 1))
    return Decision(requests, reserve=requests * 0 + KEPT)


@pytest.fixture(scope="module")
def lost_sales() -> Scenario:
    return Scenario.load("lost_sales")


@pytest.fixture(scope="module")
def made(lost_sales: Scenario) -> Bundle:
    return make_bundle(by_hand, lost_sales, count=50)


@pytest.fixture
def folder(made: Bundle, tmp_path: Path) -> Path:
    return made.save(tmp_path / "bundle")


def test_a_bundle_can_be_run_from_what_it_says_of_itself(folder: Path) -> None:
    """As a user without this package would: names, shapes and types from the JSON, arithmetic by hand."""
    facts = json.loads((folder / "bundle.json").read_text())
    random = np.random.default_rng(0)
    assert {port["name"] for port in facts["observation"]} == {"on_hand", "in_transit", "demand_history"}
    session = onnxruntime.InferenceSession(str(folder / "policy.onnx"))
    for batch in (1, 7, 64):
        feeds = {
            port["name"]: random.integers(0, 9, (batch, *port["shape"][1:])).astype(port["dtype"])
            for port in facts["observation"]
        }
        requests, reserve = session.run([port["name"] for port in facts["decision"]], feeds)
        store = facts["network"]["nodes"].index("store")
        wanted = LEVEL - feeds["on_hand"][:, store].sum((1, 2)) - feeds["in_transit"].sum((1, 2, 3, 4))
        assert np.array_equal(requests, np.maximum(wanted, 0)[:, None, None])
        assert np.array_equal(reserve, np.full((batch, 1, 1), KEPT))


def test_what_a_bundle_says_of_itself(folder: Path, lost_sales: Scenario) -> None:
    facts = json.loads((folder / "bundle.json").read_text())
    t = lost_sales.tables
    assert facts["schema"] == 1
    names = ("products", "nodes", "lanes", "customers")
    assert {key: facts["network"][key] for key in names} == {key: list(getattr(t, key)) for key in names}
    assert facts["pairs"] == [list(pair) for pair in t.pairs]
    assert (facts["scenario"], facts["digest"], facts["units"]) == ("lost_sales", lost_sales.digest, "integer")
    assert facts["policy"] == {"kind": "function", "name": "by_hand"}
    shapes = observation_shapes(t)
    for port in facts["observation"]:
        assert port["shape"] == ["batch", *shapes[port["name"]]]
        assert len(port["axes"]) == len(port["shape"])
        assert port["dtype"] == "int64"
    assert [port["name"] for port in facts["decision"]] == ["requests", "reserve"]
    assert set(facts["versions"]) == {"echelongym", "torch", "onnx", "onnxruntime", "numpy"}


def test_a_bundle_needs_no_torch(folder: Path, lost_sales: Scenario) -> None:
    """Loaded and simulated in a process of its own, with the world and the loader alone."""
    code = (
        "import sys\n"
        "from echelongym.envs.scenario.scenario import Scenario\n"
        "from echelongym.envs.simulate import simulate\n"
        "from echelongym.agents.export.bundle import load_bundle\n"
        "scenario = Scenario.load('lost_sales')\n"
        "policy = load_bundle(sys.argv[1], scenario)\n"
        "outcome = simulate(scenario, policy, scenario.sample(4, seed=3, purpose='test'))\n"
        "assert {'torch', 'stable_baselines3', 'hydra', 'onnx', 'onnxscript'}.isdisjoint(sys.modules)\n"
        "print(outcome.cost_per_period.mean().hex())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    native = simulate(lost_sales, by_hand, lost_sales.sample(4, seed=3, purpose="test"))
    assert float.fromhex(done.stdout) == native.cost_per_period.mean()


def test_a_bundle_is_called_from_a_compiled_rollout(folder: Path, lost_sales: Scenario, monkeypatch: Any) -> None:
    """Equal to the bit to the simulation that asks it every period; what decides whole units sees whole units."""
    bundle, tape = load_bundle(folder, lost_sales), lost_sales.sample(worlds=40, seed=3, periods=62)
    monkeypatch.setenv("ECHELONGYM_NATIVE", "0")
    asked = simulate(lost_sales, bundle, tape)
    monkeypatch.delenv("ECHELONGYM_NATIVE")
    rollout = Rollout.of(lost_sales, bundle, tape, NUMPY, True)
    assert rollout is not None
    rollout.entry.program, rollout.entry.reason = rollout.record(), None
    called = simulate(lost_sales, bundle, tape)
    assert not rollout.entry.refused
    assert np.array_equal(asked.cost_per_period, called.cost_per_period)
    assert np.ptp(called.cost_per_period) > 0
    assert asked.figures().aggregate() == called.figures().aggregate()


def test_a_bundle_takes_tensors(folder: Path, lost_sales: Scenario) -> None:
    """A simulation on torch gets tensors from it, and the same costs."""
    tape = lost_sales.sample(4, seed=3, purpose="test")
    bundle = load_bundle(folder, lost_sales)
    on_torch = simulate(lost_sales, bundle, tape, backend="torch").cost_per_period
    assert np.allclose(on_torch.numpy(), simulate(lost_sales, by_hand, tape).cost_per_period)


def test_numbers_may_differ_from_the_scenario_exported_for(folder: Path, lost_sales: Scenario) -> None:
    dearer = lost_sales.with_overrides({"nodes.store.holding_cost": 3, "horizon": 20, "warm_up": 0})
    tape = dearer.sample(4, seed=3, purpose="test")
    bundle = load_bundle(folder, dearer)
    costs = [simulate(dearer, policy, tape).cost_per_period for policy in (bundle, by_hand)]
    assert np.array_equal(*costs)


# What is refused -------------------------------------------------------------------------------------


def edited(folder: Path, **changes: Any) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def truncated(folder: Path) -> None:
    path = folder / "policy.onnx"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def changed(folder: Path) -> None:
    path = folder / "policy.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGES: list[tuple[Callable[[Path], Any], str]] = [
    (truncated, r"policy\.onnx: .* bytes with another SHA-256 .* truncated or was changed"),
    (changed, r"policy\.onnx: .* bytes with another SHA-256"),
    (lambda folder: (folder / "policy.onnx").unlink(), r"policy\.onnx: cannot be read: No such file"),
    (
        lambda folder: (folder / "bundle.json").unlink(),
        r"expected a bundle: a folder with policy\.onnx and bundle\.json",
    ),
    (lambda folder: (folder / "bundle.json").write_text("{"), r"bundle\.json: is no JSON, or a damaged one"),
    (lambda folder: (folder / "bundle.json").write_text("[1]"), r"bundle\.json: \(file\) = \[1\]: expected a mapping"),
    (lambda folder: edited(folder, schema=2), r"bundle\.json: schema = 2: expected 1"),
    (lambda folder: edited(folder, schema=None), r"bundle\.json: schema = None: expected 1"),
    (lambda folder: edited(folder, sceanrio="x"), r"unknown key 'sceanrio'; did you mean 'scenario'"),
    (lambda folder: edited(folder, sha256=3), r"bundle\.json: sha256 = 3"),
    (
        lambda folder: edited(folder, network={"nodes": []}),
        r"bundle\.json: network = .* expected a mapping with products",
    ),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_bundle_is_refused(
    damage: Callable[[Path], Any], message: str, folder: Path, lost_sales: Scenario
) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_bundle(folder, lost_sales)


def test_a_graph_that_is_not_the_one_described_is_refused(folder: Path, lost_sales: Scenario) -> None:
    facts = json.loads((folder / "bundle.json").read_text())
    edited(folder, observation=facts["observation"][:1])
    with pytest.raises(InputError, match=r"has inputs and outputs .* expected those of bundle\.json"):
        load_bundle(folder, lost_sales)


OTHERS = [
    (Scenario.load("two_region"), "products[0] is 'product', expected 'milk'"),
    (Scenario.load("dual_sourcing"), "made for another network than scenario 'dual_sourcing'"),
    (Scenario.load("lost_sales").replace(units="continuous"), "units is 'integer', expected 'continuous'"),
    (
        Scenario.load("lost_sales").with_overrides({"observe.history": 6}),
        "observation demand_history has shape [1, 1, 4] a world: expected [1, 1, 6]",
    ),
    (
        Scenario.load("lost_sales").with_overrides({"lanes.supplier_store.lead_time": 9}),
        "observation in_transit has shape [1, 1, 3, 1] a world: expected [1, 1, 8, 1]",
    ),
]


@pytest.mark.parametrize(("other", "message"), OTHERS, ids=[message for _, message in OTHERS])
def test_a_bundle_for_another_network_is_refused(other: Scenario, message: str, folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_bundle(folder, other)
    assert message in str(caught.value)


def test_the_error_without_onnx_runtime_names_the_install_line(
    folder: Path, lost_sales: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r'onnxruntime is not installed: run  pip install "echelongym\[onnx\]"'):
        load_bundle(folder, lost_sales)


class Remembering:
    """Asks for what it asked for the last time, so it has a `start`."""

    def start(self, worlds: int) -> None:
        self.last = np.zeros((worlds, 1, 1))

    def __call__(self, observation: Observation) -> Decision:
        return Decision(self.last)


def remembering_on_the_quiet() -> Callable[[Observation], Decision]:
    calls: list[Observation] = []

    def policy(observation: Observation) -> Decision:
        calls.append(observation)
        return Decision(by_hand(observation).requests + len(calls) % 2)

    return policy


def numpy_alone(observation: Observation) -> Decision:
    return Decision(np.maximum(LEVEL - np.asarray(observation.on_hand).sum((1, 2, 3)), 0).reshape((-1, 1, 1)))


def on_a_condition(observation: Observation) -> Decision:
    requests = by_hand(observation).requests
    return Decision(requests + 1 if requests.max() > LEVEL - 1 else requests)


def another_on_torch(observation: Observation) -> Decision:
    return Decision(by_hand(observation).requests + int(torch.is_tensor(observation.on_hand)))


def another_in_the_graph(observation: Observation) -> Decision:
    return Decision(by_hand(observation).requests + int(torch.compiler.is_exporting()))


REFUSED = [
    (Remembering(), "policy Remembering: has start(worlds), so it keeps memory between periods"),
    (remembering_on_the_quiet(), "decides differently on the same observation"),
    (numpy_alone, "policy numpy_alone: cannot be computed with torch tensors (its requests are no tensor)"),
    (on_a_condition, "policy on_a_condition: cannot be written as an ONNX graph"),
    (another_on_torch, "policy another_on_torch: ONNX Runtime and the policy itself differ at requests["),
    (another_in_the_graph, "policy another_in_the_graph: ONNX Runtime and torch differ at requests["),
]


@pytest.mark.parametrize(("policy", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_exported_leaves_nothing_behind(
    policy: Any, message: str, lost_sales: Scenario, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        export_policy(policy, lost_sales, tmp_path / "bundle", count=20)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_not_exported_again(made: Bundle, lost_sales: Scenario) -> None:
    with pytest.raises(InputError, match="is a bundle already"):
        make_bundle(made.policy(), lost_sales)


def test_nothing_is_overwritten(folder: Path, made: Bundle, lost_sales: Scenario) -> None:
    for save in (lambda: made.save(folder), lambda: export_policy(by_hand, lost_sales, folder)):
        with pytest.raises(InputError, match="expected one that is new or empty"):
            save()


# The command -----------------------------------------------------------------------------------------

MODULE = """
from echelongym.envs import Decision

def stock_up(observation):
    position = observation.on_hand[:, 1, 0, 0] + observation.in_transit.sum((1, 2, 3, 4))
    return Decision((20 - position).clip(0).reshape((-1, 1, 1)))

def numpy_alone(observation):
    return Decision(observation.unfilled.astype("float64"))
"""


@pytest.fixture
def pilot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with a user's policy in ``pilot_logic.py``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "pilot_logic", raising=False)
    (tmp_path / "pilot_logic.py").write_text(MODULE)
    return tmp_path


def test_the_command_writes_a_bundle_that_benchmark_takes(pilot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["scenario=lost_sales", "check.observations=30", "run=exported"]
    assert main(["export", "policy=pilot_logic:stock_up", *words]) == 0
    assert "policies='[echelon_base_stock,exported]'" in capsys.readouterr().out
    kept = {path.name for path in Path("exported").iterdir()}
    assert kept == {"policy.onnx", "bundle.json", "config.yaml", "scenario.yaml", "summary.json"}
    summary = json.loads(Path("exported/summary.json").read_text())
    assert summary["parity"]["observations"] == 30
    assert summary["decision_microseconds"] > 0
    compared = ["policies=[exported,pilot_logic:stock_up]", "evaluation.worlds=4", "pictures=false", "progress=false"]
    compared += ["bounds=none", "open_loop=false"]
    assert main(["benchmark", "scenario=lost_sales", *compared, "run=compared"]) == 0
    found = json.loads(Path("compared/summary.json").read_text())["policies"]
    costs = [one["cost_per_period"]["mean"] for one in found]
    assert costs[0] == costs[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["policy=echelon_base_stock"],
            "policy = 'echelon_base_stock': expected the folder of a run, which has a scenario.yaml",
        ),
        (
            ["policy=pilot_logic:numpy_alone", "scenario=lost_sales"],
            "cannot be computed with torch tensors (AttributeError: ",
        ),
        (
            ["policy=pilot_logic:stock_up", "scenario=lost_sales", "check.observations=1"],
            "check.observations = 1: expected",
        ),
        (["policy=pilot_logic:stock_up", "scenario=lost_sales", "check.tolerance=0"], "check.tolerance = 0: expected"),
        (["policy=none", "scenario=lost_sales"], "policy = 'none': expected one of"),
    ],
)
def test_what_the_command_refuses(
    words: list[str], message: str, pilot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path for path in pilot.rglob("*") if "__pycache__" not in path.parts)
    assert main(["export", *words]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path for path in pilot.rglob("*") if "__pycache__" not in path.parts) == before


def test_a_run_folder_says_which_scenario_its_policy_is_for(tmp_path: Path) -> None:
    Scenario.load("serial").save(tmp_path / "scenario.yaml")
    (tmp_path / "rule.yaml").write_text("rule: echelon_base_stock")
    check = {"observations": 2, "seed": 0, "tolerance": 1e-5}
    for name in (tmp_path, tmp_path / "rule.yaml"):
        settings = Settings.model_validate(
            {"policy": {"name": str(name), "parameters": {}}, "check": check, "trust": False, "run": "x"}
        )
        assert scenario_of(settings).digest == Scenario.load("serial").digest
