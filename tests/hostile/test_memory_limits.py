"""Sizes that do not fit: one line before anything is allocated, and smaller parts with the same results."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from echelongym.agents import load_policy
from echelongym.envs import InputError, NetworkVectorEnv, Scenario, simulate
from echelongym.envs.core import memory_limits
from echelongym.envs.core.memory_limits import free_memory, require_memory
from echelongym.envs.worlds.memory import tape_bytes
from echelongym.experiments.cli.settings import Evaluation
from echelongym.experiments.comparison.parts import simulate_worlds

MEGABYTE = 2**20


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="Linux alone says what is available")
def test_what_is_free_follows_the_limits_of_the_process():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30));"
        "from echelongym.envs.core.memory_limits import free_memory; before = free_memory(); block = bytearray(1 << 28);"
        "print(before, before - free_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, taken = map(int, done.stdout.split())
    assert 0 < before < 6 << 30
    assert taken > 200 * MEGABYTE


def test_nothing_is_allocated_for_what_does_not_fit():
    scenario = Scenario.load("lost_sales")
    tracemalloc.start()
    try:
        for attempt in (
            lambda: scenario.sample(10**12),
            lambda: scenario.sample(range(10**12)),
            lambda: scenario.sample(8, periods=10**12),
            lambda: NetworkVectorEnv("lost_sales", 10**10),
            lambda: NetworkVectorEnv("lost_sales", 2, periods=10**12),
            lambda: Scenario.load("lost_sales", {"observe.history": 10**4}).sample(10**7),
        ):
            with pytest.raises(InputError, match=r"GB of memory are needed and .* are free: try fewer") as caught:
                attempt()
            assert "\n" not in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["two_region", "one_warehouse", "serial", "production_network", "distribution_family"])
def test_the_estimate_is_of_the_right_size(name):
    """Against what Python counts: a third of it to three times as much."""
    scenario = Scenario.load(name)
    scenario = scenario.variant(0) if scenario.randomise else scenario
    scenario.sample(2, periods=2)
    tracemalloc.start()
    try:
        tape = scenario.sample(256, periods=100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert tape.batch == 256
    assert peak / 3 < tape_bytes(scenario, 256, 100) < 3 * peak


def test_parts_give_the_results_of_the_whole(monkeypatch):
    scenario = Scenario.load("two_region")
    policy = load_policy("echelon_base_stock", scenario)
    settings = Evaluation(worlds=50, seed=7, periods=60, chunk=None)
    whole = simulate(scenario, policy, scenario.sample(50, 7, "test", 60))
    # A machine on which about a third of the worlds fits.
    monkeypatch.setattr(memory_limits, "free_memory", lambda: 45 * tape_bytes(scenario, 1, 60))
    parts = simulate_worlds(scenario, policy, range(50), settings)
    assert parts.worlds == whole.worlds
    np.testing.assert_array_equal(parts.cost_per_period, whole.cost_per_period)
    np.testing.assert_array_equal(parts.episode_net_cost_per_period, whole.episode_net_cost_per_period)
    for line, values in whole.costs.items():
        np.testing.assert_array_equal(parts.costs[line], values)
    assert parts.figures().aggregate() == whole.figures().aggregate()


def test_a_trace_that_does_not_fit_is_refused(monkeypatch):
    scenario = Scenario.load("lost_sales")
    monkeypatch.setattr(memory_limits, "free_memory", lambda: 100 * MEGABYTE)
    settings = Evaluation(worlds=4096, seed=7, periods=2000, chunk=None)
    with pytest.raises(InputError, match=r"a trace of 4096 worlds of 2000 periods: .*trace=none"):
        simulate_worlds(scenario, load_policy("echelon_base_stock", scenario), range(4096), settings, trace=True)


# Each stands for the dimension of the state or the tape that follows from it.
SPANS = [
    ("products.milk.shelf_life", 1), ("customers.north_shops.patience", 0), ("lanes.hub_north.lead_time", 0),
    ("forecast.horizon", 0), ("observe.history", 1),
]  # fmt: skip


@pytest.mark.parametrize(("key", "least"), SPANS, ids=[key for key, _ in SPANS])
def test_spans_beyond_ten_thousand_periods_are_refused_before_anything_is_made(key, least):
    assert Scenario.load("two_region", {key: 10_000})
    assert Scenario.load("two_region", {key: least})
    tracemalloc.start()
    try:
        for value in (10_001, 10**6, 1e9, 1e12):
            with pytest.raises(
                InputError, match=rf"{key.rpartition('.')[2]}.*expected a whole number.*10000"
            ) as caught:
                Scenario.load("two_region", {key: value})
            assert "\n" not in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_a_disruption_stretches_no_lead_time_beyond_them():
    event = {"when": {"from": 8, "to": 9}, "effects": [{"lanes": "hub_north", "lead_time_factor": 3.0}]}
    longest = max(Scenario.load("two_region").lanes["hub_north"].lead_time.values)
    limit = 10_000 / longest
    for factor, fits in ((limit, True), (limit + 1, False), (1e12, False)):
        event["effects"][0]["lead_time_factor"] = factor
        scenario = Scenario.load("two_region", {"disruptions": {"jam": event}})
        if fits:
            assert scenario.tables.K == 10_000 - 1
        else:
            with pytest.raises(InputError, match=r"disruptions.jam.effects.0.lead_time_factor = .*lane hub_north"):
                _ = scenario.tables


def test_a_state_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(memory_limits, "free_memory", lambda: 100 * MEGABYTE)
    long = {"products.milk.shelf_life": 5_000, "lanes.hub_north.lead_time": 5_000}
    for key in long:  # one alone fits
        assert Scenario.load("two_region", {key: long[key]}).tables
    with pytest.raises(
        InputError, match=r"shelf lives of 5000, lead times of 10000 and waits of 6 periods: .*try a shorter"
    ):
        _ = Scenario.load("two_region", long).tables


def test_worlds_whose_stock_does_not_fit_are_refused(monkeypatch):
    scenario = Scenario.load("two_region", {"products.milk.shelf_life": 5_000})
    tape = scenario.sample(512, 0, "tune", 60)
    monkeypatch.setattr(memory_limits, "free_memory", lambda: 100 * MEGABYTE)
    policy = load_policy("echelon_base_stock", scenario)
    with pytest.raises(InputError, match=r"the stock of 512 worlds, by 5000 ages .*try fewer worlds"):
        simulate(scenario, policy, tape)
    assert simulate(scenario, policy, tape[:2]).worlds == (0, 1)


def test_tables_of_demand_that_do_not_fit_are_refused(monkeypatch):
    season = {"amplitude": 0.5, "period": 300}
    demand = {"kind": "negative_binomial", "mean": 2_000, "dispersion": 0.5, "season": season}
    scenario = Scenario.load("two_region", {"customers.north_shops.demand": demand})
    assert scenario.sample(2, periods=10)
    scenario = Scenario.load("two_region", {"customers.north_shops.demand": demand})
    monkeypatch.setattr(memory_limits, "free_memory", lambda: 30 * MEGABYTE)
    with pytest.raises(InputError, match=r"customers.north_shops.demand of mean 2000, .* factors .*try a smaller mean"):
        scenario.sample(2, periods=200)


def test_workers_that_do_not_fit_are_refused(monkeypatch):
    from echelongym.envs.workers.processes import worker_pool

    monkeypatch.setattr(memory_limits, "free_memory", lambda: 1000 * MEGABYTE)
    with pytest.raises(InputError, match=r"workers = 1000: .*try fewer workers"), worker_pool(1000):
        pass


def test_a_worker_that_is_killed_ends_in_one_line():
    import signal

    from echelongym.envs.workers.processes import worker_pool

    with (
        pytest.raises(InputError, match="workers = 1: a worker process ended in the middle") as caught,
        worker_pool(1) as pool,
    ):
        pool.submit(1, os.kill, pool.submit(0, os.getpid).result(), signal.SIGKILL).result()
    assert "\n" not in str(caught.value)


def test_small_sizes_are_never_refused(monkeypatch):
    monkeypatch.setattr(memory_limits, "free_memory", lambda: 0)
    require_memory(1000, "a thousand bytes", "less")
    with pytest.raises(InputError, match="needed and 0 MB are free"):
        require_memory(1 << 30, "a gigabyte", "less")
    assert free_memory() is None or free_memory() > 0
