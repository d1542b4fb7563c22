"""The simulation under JAX's scan against NumPy: random networks with every feature, every flow of every period."""

import warnings

import numpy as np
import pytest
from random_scenarios import random_scenario

from echelongym.agents import load_policy
from echelongym.envs import NetworkWarning, Scenario
from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.core.backend import ops_of
from echelongym.envs.core.jax_backend import JaxOps
from echelongym.envs.dynamics.playback import unusual_lead_times
from echelongym.envs.interface.observation import Decision
from echelongym.envs.simulate import periods

pytest.importorskip("jax")
from echelongym.envs.compiler.xla_compiler import compiled
from echelongym.envs.rollout.scan import Scan, whole_numbers


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path))


class Careless:
    """Requests and reserves from the clock and the stock in front of a node, whatever makes sense."""

    def __init__(self, scenario):
        self.tables = scenario.tables

    def __call__(self, observation):
        t, ops = self.tables, ops_of(observation.on_hand)
        worlds = observation.on_hand.shape[0]
        phase = np.arange(worlds)[:, None, None] * 0.37 + np.arange(t.P) * 0.71
        x = observation.period[:, None, None] * 0.917 + (phase + np.arange(t.L)[:, None] * 1.13)
        y = observation.period[:, None, None] * 0.531 + (phase + np.arange(t.S)[:, None] * 0.29)
        requests = (x - ops.floor(x)) * 12 + ops.total(observation.unfilled, 1)[:, None] * 0.25
        return Decision(requests * t.lane_open[None], (y - ops.floor(y)) * 2)


def stacked(scenario, policy, tape, dtype):
    """Every flow, closing stock and cost line, period first, as JAX has them."""
    with whole_numbers():
        scan = Scan(
            scenario, tape.batch, tape.periods, JaxOps(dtype), unusual_lead_times(scenario.tables, tape.exogenous)
        )
        ledger = Ledger(scenario.tables, scan.ops)

        def look(kept, period, flows, closing):
            lines = ledger.period(flows, last=True, closing=closing)
            if "terminal" in lines:
                lines["terminal"] = lines["terminal"] * (period == tape.periods - 1)
            return kept, (flows, closing, ledger.full(lines, tape.batch))

        arguments = scan.arrays(tape), scan.opening()

        def decide(seen, memory):
            return policy(seen), memory

        program = compiled(lambda arrays, opening: scan.run(decide, arrays, opening, look, ())[1], *arguments)
        return program(*arguments)


def largest_difference(scenario, policy, tape, dtype=np.float64):
    """Of all continuous amounts, in units (above 1 relative); whole ones must be equal."""
    flows, closing, lines = stacked(scenario, policy, tape, dtype)
    ledger, worst = Ledger(scenario.tables), 0.0
    for period, _, there, state in periods(scenario, policy, tape):
        told = ledger.full(ledger.period(there, last=period + 1 == tape.periods, closing=state), tape.batch)
        pairs = [*zip(there, flows, strict=True), *zip(state, closing, strict=True)]
        pairs += [(told[line], lines[line]) for line in told]
        for wanted, found in pairs:
            if wanted is None and found is not None and period == 0:
                # Nothing arrives before the first period, so NumPy has no units to lose; JAX runs all periods alike.
                assert not np.asarray(found.value[period]).any()
                continue
            assert (wanted is None) == (found is None)
            if wanted is None:
                continue
            here = np.asarray(found.value[period])
            if wanted.dtype.kind == "i":
                assert np.array_equal(here, wanted)
            else:
                assert here.dtype == (np.float64 if scenario.tables.integer else dtype)
                worst = max(worst, float((np.abs(here - wanted) / np.maximum(np.abs(wanted), 1)).max(initial=0)))
    return worst


def check(seed, units, size, policies=(Careless, "echelon_base_stock", "local_base_stock")):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NetworkWarning)
        scenario = Scenario.model_validate(random_scenario(np.random.default_rng(seed), units, size))
        tape = scenario.sample(5, seed=seed)
        made = [load_policy(one, scenario) if isinstance(one, str) else one(scenario) for one in policies]
        return max(largest_difference(scenario, policy, tape) for policy in made)


@pytest.mark.parametrize(
    ("seed", "units", "policy"), [(3, "continuous", "echelon_base_stock"), (5, "integer", Careless)]
)
def test_a_small_random_network_is_numpys(seed, units, policy):
    assert check(seed, units, "small", (policy,)) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("units", ["continuous", "integer"])
@pytest.mark.parametrize("seed", range(100, 125))
def test_random_networks_are_numpys(seed, units):
    assert check(seed, units, "any") < 1e-9


def test_single_precision_is_as_near_as_it_can_be():
    scenario = Scenario.load("one_warehouse").model_copy(update={"horizon": 30, "warm_up": 0})
    tape = scenario.sample(4, seed=1, periods=30)
    assert largest_difference(scenario, load_policy("echelon_base_stock", scenario), tape, np.float32) < 1e-4
