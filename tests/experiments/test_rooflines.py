"""Rooflines play the model that `simulate` plays, and the table is made of what was measured."""

import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from needs import needs_compiler, needs_linux

from echelongym.agents import RULES
from echelongym.envs import Decision, Scenario, simulate
from echelongym.envs.core.errors import MissingExtra
from echelongym.experiments.studies import engine_speed
from echelongym.experiments.studies.console import start
from echelongym.experiments.studies.rooflines.kernels import (
    ChainKernel,
    LostSalesKernel,
    ProductionKernel,
    WarehouseKernel,
    _alias,
    _poisson,
)
from echelongym.experiments.studies.rooflines.large import chain, regions
from echelongym.experiments.studies.rooflines.measure import Found, TableLine, measured
from echelongym.experiments.studies.rooflines.peak_memory import peak_memory
from echelongym.experiments.studies.rooflines.peer_process import PeerProcess
from echelongym.experiments.studies.rooflines.rows import ROWS


@cache
def warehouse():
    """Scenario, levels that leave the warehouse short now and then, and what `simulate` finds on a tape."""
    scenario = Scenario.load("one_warehouse")
    rule = RULES["echelon_base_stock"](scenario)
    levels = {name: 0.93 * level for name, level in rule.parameters["levels"].items()}
    tape = scenario.sample(512, seed=3)
    outcome = simulate(scenario, RULES["echelon_base_stock"](scenario, levels=levels), tape)
    return scenario, np.array(list(levels.values())), tape, outcome.cost_per_period


@needs_compiler
@pytest.mark.parametrize(("dtype", "apart"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_a_warehouse_costs_what_it_costs_in_every_world(dtype: type, apart: float) -> None:
    scenario, levels, tape, costs = warehouse()
    kernel = WarehouseKernel(scenario, levels, dtype)
    packed = kernel.packed(tape)
    found = kernel.costs(tape.batch, tape.periods, scenario.warm_up, tape=packed)
    np.testing.assert_allclose(found, costs, rtol=apart)
    assert kernel.play(tape.batch, tape.periods, scenario.warm_up, tape=packed) == pytest.approx(
        costs.mean(), rel=apart
    )


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_worlds_that_a_warehouse_draws_are_of_the_same_kind(dtype: type) -> None:
    """Mean and spread of the cost of a world, within sampling error."""
    scenario, levels, tape, costs = warehouse()
    worlds = 16_384
    found = WarehouseKernel(scenario, levels, dtype).costs(worlds, tape.periods, scenario.warm_up, seed=5)
    error = costs.std(ddof=1) / tape.batch**0.5
    assert abs(found.mean() - costs.mean()) < 4 * error
    assert found.std() == pytest.approx(costs.std(), rel=4 / (2 * tape.batch) ** 0.5)


@needs_compiler
def test_the_gradient_of_a_warehouse_is_that_of_finite_differences() -> None:
    scenario, levels, tape, _ = warehouse()
    window = (tape.batch, tape.periods, scenario.warm_up)
    kernel = WarehouseKernel(scenario, levels)
    packed = kernel.packed(tape)
    cost, slopes = kernel.gradient(*window, tape=packed)
    assert cost == kernel.play(*window, tape=packed)
    step = 1e-7
    for place in range(len(levels)):
        moved = np.zeros(len(levels))
        moved[place] = step
        up, down = (WarehouseKernel(scenario, levels + by).play(*window, tape=packed) for by in (moved, -moved))
        assert slopes[place] == pytest.approx((up - down) / (2 * step), abs=1e-5)
    assert np.abs(slopes).min() > 1e-3  # that would prove little


@needs_compiler
def test_lost_sales_cost_what_they_cost_to_the_last_unit() -> None:
    scenario = Scenario.load("lost_sales")
    tape = scenario.sample(256, seed=3)
    for level in (18, 25):
        costs = simulate(scenario, RULES["echelon_base_stock"](scenario, levels={"store": level}), tape).cost_per_period
        kernel = LostSalesKernel(scenario, level)
        found = kernel.play(tape.batch, tape.periods, scenario.warm_up, tape=kernel.packed(tape))
        assert found == pytest.approx(costs.mean(), rel=1e-13)


@needs_compiler
def test_lost_sales_drawn_cost_what_is_published() -> None:
    """5.1978 of the best base-stock level (Zipkin, Operations Research 56(5), 2008)."""
    scenario = Scenario.load("lost_sales")
    worlds, periods = 2**14, 1000
    found = LostSalesKernel(scenario, 25).play(worlds, periods, 50, seed=1)
    assert found == pytest.approx(5.1978, abs=4 * 3.0 / (worlds * (periods - 50) / 10) ** 0.5)


@needs_compiler
def test_the_production_network_earns_what_it_earns_in_every_world() -> None:
    scenario = Scenario.load("production_network")
    requests = np.random.default_rng(2).uniform(0, 30, (scenario.horizon, scenario.tables.L))
    requests[:, 2:7] *= 4  # more than factories can make

    def policy(observation):
        return Decision(
            np.broadcast_to(requests[int(observation.period[0])][:, None], observation.unfilled.shape).copy()
        )

    tape = scenario.sample(256, seed=3)
    outcome = simulate(scenario, policy, tape, trace=True)
    capacity = scenario.tables.node_capacity[2:5]
    made = np.stack([outcome.trace.shipped[:, :, [2, 3]].sum(2), outcome.trace.shipped[:, :, [5, 6]].sum(2)])[..., 0]
    assert (made[0] > capacity[0] - 1e-9).any(), "capacity is to matter"
    kernel = ProductionKernel(scenario, requests)
    found = kernel.costs(tape.batch, scenario.horizon, tape=tape)
    np.testing.assert_allclose(found, outcome.net_cost_per_period, rtol=1e-11, atol=1e-11)
    drawn = kernel.costs(20_000, scenario.horizon, seed=4)
    error = outcome.net_cost_per_period.std() / tape.batch**0.5
    assert abs(drawn.mean() - found.mean()) < 4 * error


@needs_compiler
@pytest.mark.parametrize(("dtype", "apart"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_a_chain_costs_what_it_costs_in_every_world(dtype: type, apart: float) -> None:
    """With a storage that is too small now and then, and levels that leave customers and echelons short."""
    mapping = chain(70)
    for k in (1, 2, 3):
        mapping["nodes"][f"echelon_{k}"]["storage_capacity"] = 480.0
    scenario = Scenario.from_mapping(mapping)
    rule = RULES["echelon_base_stock"](scenario)
    levels = np.asarray(rule.values["levels"]).reshape(scenario.tables.N, -1)[1:]
    levels = levels * np.random.default_rng(4).uniform(0.8, 1.0, levels.shape)
    tape = scenario.sample(64, seed=3)
    outcome = simulate(scenario, rule.with_vector(rule.space(), levels.ravel()), tape)
    assert outcome.costs["overflow"].min() > 0
    kernel = ChainKernel(scenario, levels, dtype)
    found = kernel.costs(tape.batch, tape.periods, scenario.warm_up, tape=kernel.packed(tape))
    np.testing.assert_allclose(found, outcome.cost_per_period, rtol=apart)
    drawn = kernel.costs(1000, tape.periods, scenario.warm_up, seed=6)
    assert abs(drawn.mean() - found.mean()) < 4 * found.std(ddof=1) / tape.batch**0.5


@pytest.mark.parametrize(("mean", "cells", "bits"), [(5.0, 32, 27), (20.0, 64, 32)])
def test_alias_tables_are_poisson(mean: float, cells: int, bits: int) -> None:
    chance, alias = _alias(_poisson(mean, cells), bits)
    found = np.zeros(cells)
    for cell in range(cells):
        itself = chance[cell] / 2.0**bits
        found[cell] += itself / cells
        found[alias[cell]] += (1 - itself) / cells
    np.testing.assert_allclose(found, _poisson(mean, cells), atol=2.0 ** -(bits - 1))
    assert found @ np.arange(cells) == pytest.approx(mean, rel=1e-6)


def test_large_networks_are_as_large_as_they_say() -> None:
    small = Scenario.from_mapping(regions(lanes=60, products=3))
    assert (small.tables.L, small.tables.P, small.tables.C) == (60, 3, 10)
    assert len(regions(1000, 100)["lanes"]) == 1000
    three = Scenario.from_mapping(chain(5))
    assert (three.tables.L, three.tables.P) == (3, 5)


@needs_linux
def test_a_small_process_that_a_large_one_starts_reads_as_small() -> None:
    held = np.ones(2**26)  # 512 MiB, every page touched
    told = subprocess.run(
        [sys.executable, "-c", f"from {peak_memory.__module__} import peak_memory; print(peak_memory())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(told.stdout) < 0.5 * held.nbytes <= 0.5 * peak_memory()


def counted(figures: list[float]):
    given = iter(figures)
    return lambda: next(given)


def test_ratios_are_of_one_turn_and_goals_of_the_best() -> None:
    line = TableLine("work", "steps", 1.0, 8.0, counted([4.0, 2.0, 6.0]), peer="peer", itself=True, turns=3)
    peer = counted([2.0, 1.0, 12.0])
    *_, found = measured(line, 0.0, lambda name, seconds: peer())
    assert (found.best("ours"), found.middle("ours"), found.of_goal()) == (6.0, 4.0, 0.75)
    assert (found.ratio("peer"), found.ratio("roofline")) == (2.0, None)
    less = Found(TableLine("time", "ms", 1.0, 20.0, float), ours=[40.0, 50.0], roofline=[4.0, 5.0])
    assert (less.best("ours"), less.of_goal(), less.ratio("roofline")) == (40.0, 0.5, 0.1)


def test_work_is_divided_by_the_time_of_this_process() -> None:
    """Work that says it has done one unit for every CPU-second: one a second, and a second each."""
    import time

    def work() -> float:
        begun = time.process_time()
        while time.process_time() - begun < 0.01:
            pass
        return time.process_time() - begun

    for unit, value in (("steps", 1.0), ("ms", 1000.0)):
        *_, found = measured(TableLine("work", unit, 1.0, 1.0, work, turns=1), 0.05, lambda name, seconds: None)
        assert found.ours[0] == pytest.approx(value, rel=0.05)
        assert not found.peer


def test_the_table_is_printed_and_written(tmp_path, monkeypatch, capsys) -> None:
    lines = [
        TableLine(
            "steps of it", "steps", 1e3, 2e6, counted([1e6] * 5), roofline=lambda: 1.0, peer="gym-invmgmt", itself=True
        ),
        TableLine("memory", "GB", 4.2, None, counted([1.5]), itself=True, turns=1, note=lambda: "so it is"),
    ]
    monkeypatch.setitem(ROWS, "single", lambda: iter(lines))
    monkeypatch.setattr(PeerProcess, "figure", lambda self, name, seconds: 1e5)
    file = tmp_path / "speed.json"
    monkeypatch.setattr("sys.argv", ["engine_speed", "--rows", "single", "--seconds", "0.001", "--json", str(file)])
    start(engine_speed.main)
    printed = capsys.readouterr().out.splitlines()
    assert printed[2].startswith("| steps of it | 1 k | 1 M | 1 M | 2 M | 50 % |")
    assert printed[2].endswith("| gym-invmgmt 100 k | 10 x |")
    assert printed[3:] == ["| memory | 4.2 GB | 1.5 GB | 1.5 GB | - | - | - | - | - | - |", "memory: so it is"]
    rows = json.loads(file.read_text())["rows"]
    assert [row["ours"] for row in rows] == [[1e6] * 5, [1.5]]
    assert rows[0]["times_the_peer"] == 10.0


def test_a_row_whose_packages_are_missing_is_one_line_and_others_are_measured(monkeypatch, capsys) -> None:
    def refused():
        raise MissingExtra("grocery needs the extra `grocery`")

    monkeypatch.setitem(ROWS, "gradient_grocery", refused)
    monkeypatch.setitem(ROWS, "lanes", lambda: iter([TableLine("work", "s", 1, 1, lambda: 1.0, itself=True, turns=1)]))
    monkeypatch.setattr("sys.argv", ["engine_speed", "--rows", "gradient_grocery", "lanes"])
    start(engine_speed.main)
    printed = capsys.readouterr().out.splitlines()
    assert printed[2:] == [
        "| work | 1 s | 1 s | 1 s | 1 s | 1 x | - | - | - | - |",
        "gradient_grocery is not measured: grocery needs the extra `grocery`",
    ]


def test_an_interpreter_without_peers_says_which_are_missing() -> None:
    with PeerProcess(sys.executable) as peer:
        assert set(peer.versions) | set(peer.missing) == {"gym-invmgmt", "or-gym-inventory", "dynaplex", "stockpyl"}
        for name, reason in peer.missing.items():
            assert reason
            assert peer.figure(name, 0.01) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_row_is_measured(name: str) -> None:
    for line in ROWS[name]():
        *_, found = measured(line, 0.001, lambda peer, seconds: None)
        assert len(found.ours) == line.turns
        assert min(found.ours) > 0
        if found.roofline and found.line.rate:
            assert found.ratio("roofline") < 1, "nothing is faster than a roofline"
