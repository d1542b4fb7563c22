"""Commands and the tuner on a device: a GPU that is not there is one line, and one that is gives the CPU's results.

JAX's CPU stands for the GPU.
"""

import numpy as np
import pytest

from echelongym.agents.tuning.tuner import tune
from echelongym.envs import InputError, Scenario
from echelongym.envs.core import devices
from echelongym.envs.rollout import xla_rollout
from echelongym.experiments.main import main

jax = pytest.importorskip("jax")
HAS_GPU = any(one.platform == "gpu" for one in jax.devices())


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
    for module in ("experiments.commands.simulate", "agents.tuning.tuner"):
        monkeypatch.setattr(f"echelongym.{module}.device_named", named)
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


@pytest.mark.skipif(HAS_GPU, reason="there is one")
def test_what_is_not_there_is_one_line(capsys):
    with pytest.raises(InputError, match="device = 'gpu': expected one that JAX sees, which is cpu alone"):
        fitted("gpu")
    with pytest.raises(InputError, match="device = 'gpu': expected cpu where the gradient is torch"):
        tune(small(), gradient="torch", device="gpu")
    with pytest.raises(InputError, match="device = 'tpu': expected one of cpu, gpu"):
        tune(small(), device="tpu")
    assert main(command()) == 2
    printed = capsys.readouterr().err
    assert "device = 'gpu': expected one that JAX sees" in printed
    assert printed.strip().count("\n") == 0
