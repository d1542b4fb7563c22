"""The check of a device: it runs on JAX's CPU backend, finds what differs, and says what it left out."""

import dataclasses
import json

import numpy as np
import pytest

from echelongym.agents import load_policy
from echelongym.envs import Scenario, simulate
from echelongym.experiments.studies import device_check

pytest.importorskip("jax")


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path / "cache"))


def run(monkeypatch, path, *words):
    monkeypatch.setattr("sys.argv", ["device_check", "--device", "cpu", "--json", str(path), *words])
    device_check.main()
    return json.loads(path.read_text())


def test_one_scenario_on_the_cpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(device_check, "SPEED", ("lost_sales",))
    monkeypatch.setattr(device_check, "shipped_scenarios", lambda: ("lost_sales",))
    monkeypatch.setattr(device_check, "REMEMBERING", (("lost_sales", "just_in_time"),))
    for part in ("benchmark", "gradients", "networks"):
        monkeypatch.setattr(device_check, part, lambda *_: [])
    found = run(monkeypatch, tmp_path / "found.json", "--worlds", "16", "--periods", "8")
    assert [row["policy"] for row in found["equality"]] == ["echelon_base_stock", "just_in_time"]
    assert all(row["difference"] <= 1e-9 for row in found["equality"])
    assert found["agrees"] is True
    assert found["compared"] == 2
    (row,) = found["speed"]
    assert all(row[name] > 0 for name in ("program", "call", "with_indicators", "numpy", "compile_seconds"))
    assert "2 of 2 comparisons agree" in capsys.readouterr().out
    # Where rounding is more than may be, the command fails, and the figures are written all the same.
    monkeypatch.setitem(device_check.MOST, "double", -1.0)
    monkeypatch.setattr(device_check, "speed", lambda *_: [])
    with pytest.raises(SystemExit, match="1"):
        run(monkeypatch, tmp_path / "failed.json", "--worlds", "16", "--periods", "8")
    assert json.loads((tmp_path / "failed.json").read_text())["agrees"] is False


def test_without_time_everything_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(device_check, "SHARES", dict.fromkeys(device_check.SHARES, 0.0))
    with pytest.raises(SystemExit, match="1"):
        run(monkeypatch, tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    rows = [row for part in device_check.SHARES for row in found[part]]
    assert len(rows) > 20
    assert all(row["left_out"] for row in rows)
    assert found["agrees"] is False, "nothing was compared"


def test_gradients_of_a_network_and_a_benchmark_are_compared(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(device_check, "NETWORKS", (("lost_sales", "recurrent"),))
    (row,) = device_check.networks("cpu", 8, 8, lambda: True)
    assert row["agrees"]
    assert row["milliseconds"] > 0
    rows = device_check.benchmark("cpu", 8, lambda: True)
    assert [(row["policy"], row["agrees"]) for row in rows] == [("echelon_base_stock", True), ("sterman", True)] * 2


@pytest.mark.slow
def test_every_scenario_on_the_cpu(tmp_path, monkeypatch):
    found = run(monkeypatch, tmp_path / "found.json", "--worlds", "16", "--periods", "8", "--seconds", "3000")
    assert found["agrees"] is True
    assert found["compared"] >= 26


def test_differences_are_found():
    scenario = Scenario.load("lost_sales").model_copy(update={"horizon": 8, "warm_up": 0})
    one = simulate(scenario, load_policy("echelon_base_stock", scenario), scenario.sample(4, seed=1, periods=8))
    assert device_check.difference(one, one)[0] == 0
    moved = one.costs["holding"].copy()
    moved[2] += 0.5
    gap, name = device_check.difference(one, dataclasses.replace(one, costs={**one.costs, "holding": moved}))
    assert name == "holding"
    assert gap == pytest.approx(0.5 / max(one.cost_per_period[2], 1))
    moved[2] = np.nan
    assert device_check.difference(one, dataclasses.replace(one, costs={**one.costs, "holding": moved}))[0] == np.inf
