"""Commands, the tuner and trainings on a device: a GPU that is not there is one line, and one that is gives the CPU's results.

JAX's CPU stands for the GPU; the last tests are for a GPU itself, and run on the CPU where there is none.
"""

import csv
import json

import numpy as np
import pytest
from needs import has_gpu

from echelongym.agents.registry import RULES
from echelongym.agents.tuning.tuner import tune
from echelongym.envs import InputError, Scenario, simulate
from echelongym.envs.core import devices
from echelongym.envs.core.jax_backend import JaxOps
from echelongym.envs.rollout import xla_rollout
from echelongym.experiments.main import main

jax = pytest.importorskip("jax")
HAS_GPU = has_gpu()
EVERY_DEVICE = ["cpu", pytest.param("gpu", marks=pytest.mark.skipif(not HAS_GPU, reason="JAX sees no GPU"))]


@pytest.fixture(autouse=True)
def _caches_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stand_in(monkeypatch):
    """Names of the devices that were asked for."""
    asked = []

    def named(name):
        asked.append(name)
        return jax.devices("cpu")[0]

    monkeypatch.setattr(devices, "device_named", named)
    monkeypatch.setattr("echelongym.agents.tuning.tuner.device_named", named)
    return asked


def small():
    return Scenario.load("lost_sales").replace(units="continuous", horizon=12, warm_up=2)


def fitted(device):
    return tune(small(), budget=20_000, worlds=16, judged=16, progress=False, gradient="jax", device=device)


def test_the_tuner_finds_the_same(stand_in):
    found = fitted("gpu")
    assert set(stand_in) == {"gpu"}
    again = fitted("cpu")
    assert found.rule.parameters == again.rule.parameters
    assert found.cost == again.cost


def command(*words):
    return ["simulate", "scenario=lost_sales", "policy=echelon_base_stock", "evaluation.worlds=8", "device=gpu", *words]


def test_the_command_simulates_the_same(stand_in, tmp_path, capsys):
    main(command("run=there", "evaluation.periods=20", "scenario.warm_up=0"))
    assert "gpu" in stand_in
    assert [kept.tables.name for kept in xla_rollout._kept.values()].count("lost_sales") >= 1
    main([*command("run=here", "evaluation.periods=20", "scenario.warm_up=0"), "device=cpu"])
    rows = [np.genfromtxt(tmp_path / name / "worlds.csv", delimiter=",", names=True) for name in ("there", "here")]
    for column in rows[0].dtype.names:
        np.testing.assert_allclose(rows[0][column], rows[1][column], rtol=1e-9)


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_benchmark_simulates_the_same_and_says_where(stand_in, tmp_path, capsys):
    """What JAX runs is simulated there, what it cannot is on the CPU, and both say so."""
    words = ["benchmark", "scenario=beer_game", "scenario.horizon=6", "scenario.warm_up=0", "evaluation.worlds=4",
             "policies=[sterman,echelon_base_stock,rolling_horizon]", "tune=false", "open_loop=false", "bounds=none",
             "pictures=false"]  # fmt: skip
    main([*words, "run=there", "device=gpu"])
    said = " ".join(capsys.readouterr().out.split())
    assert "simulated on gpu by jax in double precision; on cpu, as jax cannot run it: rolling_horizon" in said
    assert "gpu" in stand_in
    main([*words, "run=here"])
    assert "simulated on" not in capsys.readouterr().out
    there, here = (table(tmp_path / name / "worlds.csv") for name in ("there", "here"))
    assert len(there) == 12
    for one, other in zip(there, here, strict=True):
        assert one["policy"] == other["policy"]
        assert float(one["cost"]) == pytest.approx(float(other["cost"]), rel=1e-9)
    for name, wanted in (("there", ["gpu", "gpu", "cpu"]), ("here", ["cpu"] * 3)):
        policies = json.loads((tmp_path / name / "summary.json").read_text())["policies"]
        assert [one["simulated_on"]["device"] for one in policies] == wanted
        assert {one["simulated_on"]["precision"] for one in policies} == {"double"}


def trained(folder, **agent):
    from echelongym.agents.learners import learner_config
    from echelongym.experiments.commands.train import train

    config = learner_config("pathwise").model_dump(mode="json") | {
        "network": "none",
        "worlds": 8,
        "periods": 8,
        "skipped": 2,
    }
    made = train(small(), config | agent, folder, budget={"env_steps": 256, "cpu_seconds": None}, bound=False,
                 reference="automatic", validation={"worlds": 4, "times": 1}, progress=False, tensorboard=False)  # fmt: skip
    with np.load(made / "policy.npz") as file:
        return {name: file[name] for name in file.files if file[name].dtype.kind == "f"}


def test_a_training_finds_the_same(stand_in, tmp_path):
    """On a GPU gradients are JAX's where nothing is said."""
    there = trained(tmp_path / "there", device="gpu")
    assert "gpu" in stand_in
    here = trained(tmp_path / "here", gradient="jax")
    assert there.keys() == here.keys()
    assert there
    for name, array in here.items():
        assert np.array_equal(there[name], array), name
    with pytest.raises(InputError, match="device = 'gpu': expected cpu where the gradient is compiled"):
        trained(tmp_path / "refused", device="gpu", gradient="compiled")


@pytest.mark.skipif(HAS_GPU, reason="tries what is said where there is no GPU")
def test_what_is_not_there_is_one_line(capsys):
    with pytest.raises(InputError, match="device = 'gpu': expected one that JAX sees, which is cpu alone"):
        fitted("gpu")
    with pytest.raises(InputError, match="device = 'gpu': expected cpu where the gradient is torch"):
        tune(small(), gradient="torch", device="gpu")
    with pytest.raises(InputError, match="device = 'tpu': expected one of cpu, gpu"):
        tune(small(), device="tpu")
    for words, field in (
        (command(), "simulate: device"),
        (["benchmark", "scenario=lost_sales", "device=gpu"], "benchmark: device"),
        (["tune", "scenario=lost_sales", "tuning.device=gpu"], "tune: tuning.device"),
        (["train", "scenario=lost_sales", "agent=pathwise", "agent.device=gpu"], "train: agent.device"),
    ):
        assert main(words) == 2
        printed = capsys.readouterr().err
        assert f"{field} = 'gpu': expected one that JAX sees, which is cpu alone" in printed
        assert printed.strip().count("\n") == 0


# On a GPU where there is one --------------------------------------------------------------------------


@pytest.mark.parametrize("device", EVERY_DEVICE)
def test_whole_units_are_exact(device):
    """Demand, orders and stock of the beer game are whole, and so are its costs once they are doubled."""
    scenario = Scenario.load("beer_game").replace(horizon=12, warm_up=0)
    rule, tape = RULES["sterman"](scenario, smoothing=0.3, order_delay=1), scenario.sample(8, seed=3)
    found = simulate(scenario, rule, tape, backend="jax", device=device)
    wanted = simulate(scenario, rule, tape)
    for line, money in wanted.costs.items():
        assert np.array_equal(np.rint(found.costs[line] * 24), np.rint(money * 24)), line
        np.testing.assert_allclose(found.costs[line], money, rtol=1e-12)


@pytest.mark.parametrize("device", EVERY_DEVICE)
@pytest.mark.parametrize(("dtype", "most"), [(np.float64, 1e-9), (np.float32, 1e-5)])
def test_real_units_are_equal_but_for_rounding(device, dtype, most):
    scenario = small()
    rule, tape = RULES["echelon_base_stock"](scenario), scenario.sample(8, seed=3)
    found = simulate(scenario, rule, tape, backend=JaxOps(dtype), device=device)
    assert found.simulated_on == {
        "device": device,
        "backend": "jax",
        "precision": "double" if most < 1e-6 else "single",
    }
    np.testing.assert_allclose(found.cost_per_period, simulate(scenario, rule, tape).cost_per_period, rtol=most)


@pytest.mark.parametrize("device", EVERY_DEVICE)
@pytest.mark.parametrize(("dtype", "most"), [(np.float64, 1e-9), (np.float32, 1e-5)])
def test_gradients_of_a_training_are_pytorchs(device, dtype, most):
    torch = pytest.importorskip("torch")
    from pathwise_cases import config, stirred, untrained

    from echelongym.agents.pathwise.gradients.jax_program import cost_gradient
    from echelongym.agents.pathwise.gradients.smoothing import SmoothLedger
    from echelongym.agents.pathwise.gradients.unroll import Unroll
    from echelongym.agents.tuning.gradient import GradientWindow
    from echelongym.envs.core.backend import TorchOps

    scenario, window = small(), GradientWindow(4, 12, 1)
    actor = stirred(untrained(scenario, config(activation="tanh", hidden=(4,))), 0.1).actor
    weights = {name: value.astype(np.float64) for name, value in actor.weights().items()}
    tape = scenario.sample(worlds=list(range(4)), seed=0, purpose="learn", periods=12)
    with devices.on_device(device):
        found = cost_gradient(scenario, window, 0.0, actor.definition, dtype)(weights, tape, np.zeros(1))
    unroll = Unroll(scenario, window, 0, 0.0)
    unroll.ops = TorchOps(torch.float64)
    unroll.ledger = SmoothLedger(scenario.tables, unroll.ops, 0.0, scenario)
    assert found.cost == pytest.approx(unroll.gradient(actor.double(), 0, 4), rel=most)
    slopes = {name: one.grad.numpy() for name, one in actor.owned.items() if one.grad is not None}
    longest = max(float(np.abs(one).max(initial=0)) for one in slopes.values())
    assert longest > 0
    for name, slope in slopes.items():
        np.testing.assert_allclose(found.slopes[name], slope, rtol=0, atol=most * longest, err_msg=name)
