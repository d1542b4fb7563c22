"""Worlds drawn in compiled code are those drawn in NumPy, to the last bit, whatever the network and the number of worlds."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import random_scenarios
from demand_worlds import busy, customer, scenario
from needs import needs_compiler

from echelongym.envs.processes import compiled, series
from echelongym.envs.processes.correlation import Correlation, correlated_scores
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.tape_arrays import ARRAYS

pytestmark = needs_compiler  # without one there is one form alone
FAMILIES = [
    {"kind": "poisson", "mean": 0.3},
    {"kind": "poisson", "mean": 900},
    {"kind": "negative_binomial", "mean": 20, "dispersion": 1.5},
    {"kind": "normal", "mean": 4, "standard_deviation": 3},
    {"kind": "normal", "mean": 5000, "standard_deviation": 1000},
    {"kind": "gamma", "mean": 3, "standard_deviation": 4},
    {"kind": "uniform", "low": 2, "high": 9},
    {"kind": "discrete", "values": [0, 3, 50], "probabilities": [0.9, 0.05, 0.05]},
    {"kind": "empirical", "values": [1, 2, 2, 7]},
]
EVENTS = {
    "strike": {"when": {"mean_up": 9, "mean_down": 4}, "effects": [{"customers": "all", "demand_factor": 1.7}]},
    "storm": {
        "when": {"mean_up": 3, "mean_down": 5},
        "effects": [
            {"lanes": "all", "lead_time_factor": 1.5, "yield": 0.75},
            {"customers": ["shop0", "shop1"], "demand_factor": 0},
        ],
    },
    "shut": {
        "when": {"from": 2, "to": 5, "every": 11},
        "effects": [{"nodes": {"kind": "supplier"}, "availability": 0}],
    },
}


@pytest.fixture
def both(monkeypatch):
    """What a function returns without and with compiled code."""
    monkeypatch.setattr(compiled, "PATIENCE", 0)

    def run(function):
        monkeypatch.setenv("ECHELONGYM_NATIVE", "0")
        assert compiled.kernels(1) is None
        numpy = function()
        monkeypatch.delenv("ECHELONGYM_NATIVE")
        assert compiled.kernels(1) is not None
        return numpy, function()

    return run


def same(one, two):
    """Equal to the last bit."""
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


@pytest.mark.parametrize("kind", compiled.KINDS)
def test_random_numbers(both, kind):
    rng = np.random.default_rng(5)
    for count, series_count, worlds in [(1, 1, 1), (7, 3, 2), (40, 1, 513), (3, 5, 1100), (5, 0, 4), (1200, 2, 70)]:
        streams = series.Streams("tune", int(rng.integers(2**60)), rng.integers(2**40, size=worlds))
        names = [f"shop{k}/milk" for k in range(series_count)]
        assert same(*both(lambda: getattr(streams, kind)("demand", names, -3, count)))  # noqa: B023


@pytest.mark.parametrize("kind", compiled.KINDS)
def test_the_most_extreme_numbers(both, kind):
    """Keys under which the bits come out as wanted: all zeros, all ones, and both sides of every power of two."""
    wanted = [0, 2**64 - 1, *(2**k + d & 2**64 - 1 for k in range(64) for d in (-1, 0, 1))]
    inverse = pow(0x94D049BB133111EB, -1, 2**64)
    salts = []
    for bits in wanted:  # undo the last product and shift, with a start that makes everything before it nought
        product = bits * inverse % 2**64
        salts.append(product ^ product >> 30 ^ product >> 60)
    first = 1 << 40
    start = np.full(len(salts), -first * 0x9E3779B97F4A7C15 % 2**64, np.uint64)
    keys = (start.reshape(1, -1), np.array(salts, np.uint64).reshape(1, -1))
    found = np.empty((2, 1, 1, len(salts)), np.uint64)
    series._draw(keys, first, series._FINISHES[kind](), found[0])
    both(lambda: None)
    compiled.kernels(1).numbers(kind, keys, first, series._cubics(), found[1])
    assert same(*found)
    if kind == "bits":
        assert found[0].ravel().tolist() == wanted


@pytest.mark.parametrize(("demand", "periods"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.7), (0.4, 0.7)])
def test_correlated_scores(both, demand, periods):
    rng = np.random.default_rng(0)
    own, common = rng.normal(size=(30, 3, 17)), rng.normal(size=(30, 2, 17))
    correlation = Correlation(demand=demand, periods=periods)

    def scores():
        found = own.copy()
        correlated_scores(found, common if demand else None, [1, 0, 1], correlation, 9)
        return found

    assert same(*both(scores))


@pytest.mark.parametrize("correlation", [{}, {"demand": 0.5, "periods": 0.3}])
@pytest.mark.parametrize("units", ["integer", "continuous"])
@pytest.mark.parametrize("disruptions", [EVENTS, {}], ids=["disrupted", "undisturbed"])
def test_families_under_seasons_and_disruptions(both, units, correlation, disruptions):
    whole = units == "integer"
    demands = [one for one in FAMILIES if not (whole and one["kind"] == "gamma" and one["mean"] < 1)]
    season = {"amplitude": 0.6, "period": 7}
    customers = {
        f"shop{k}": customer({**one, **({"season": season} if k % 2 else {})}) for k, one in enumerate(demands)
    }
    made = scenario(
        customers, units=units, correlation=correlation, disruptions=disruptions, forecast={"horizon": 3, "skill": 0.6},
        observe={"history": 4},
    )  # fmt: skip
    for worlds in (1, 5, 600):
        numpy, native = both(lambda: made.sample(worlds, seed=worlds))  # noqa: B023
        for name in ARRAYS:
            assert same(getattr(numpy, name), getattr(native, name)), name


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("units", ["integer", "continuous"])
def test_random_networks(both, seed, units):
    made = Scenario.from_mapping(random_scenarios.random_scenario(np.random.default_rng([7, seed]), units))
    numpy, native = both(lambda: made.sample(9, seed=seed, purpose="test"))
    for name in ARRAYS:
        assert same(getattr(numpy, name), getattr(native, name)), name


def test_recorded_demand_and_random_lead_times(both):
    for made in (Scenario.load("grocery"), busy()):
        numpy, native = both(lambda: made.sample(6, seed=2))  # noqa: B023
        for name in ARRAYS:
            assert same(getattr(numpy, name), getattr(native, name)), name


def test_numpy_draws_where_there_is_no_compiler(both, monkeypatch):
    """And says nothing of it."""
    streams = series.Streams("test", 1, np.arange(4))
    _, native = both(lambda: streams.normals("demand", ["a"], 0, 6))
    for name, value in {"found": None, "failed": False, "asked": False}.items():
        monkeypatch.setattr(compiled._Known, name, value)
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert same(streams.normals("demand", ["a"], 0, 6), native)
    assert compiled._Known.failed


DRAWS = """
from resource import RUSAGE_SELF, getrusage
from echelongym.envs import Scenario

scenario, faults = Scenario.load("lost_sales"), []
for turn in range(9):
    before = getrusage(RUSAGE_SELF).ru_minflt
    tape = scenario.sample(range(512 * turn, 512 * (turn + 1)), seed=0).exogenous
    faults.append(getrusage(RUSAGE_SELF).ru_minflt - before)
print(sum(faults[3:]), tape.demand.nbytes // 4096)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep memory")
def test_worlds_are_drawn_into_memory_that_the_process_has_already():
    """In a process that does nothing else: pages got from the system by six draws, less than one array of one draw takes."""
    said = subprocess.run([sys.executable, "-c", DRAWS], capture_output=True, text=True, check=True)
    pages, array = map(int, said.stdout.split())
    assert pages < array
