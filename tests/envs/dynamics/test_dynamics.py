"""The package's period held to hand-computed worlds and to an independent simulator on random networks with all features."""

import hand_cases_money
import hand_cases_ordering
import hand_cases_service
import hand_cases_stock
import hand_cases_whole
import numpy as np
import pytest
import random_scenarios
import reference
from hand_cases import check, requests_of, reserve_of, tape_of
from hypothesis import given, settings
from hypothesis import strategies as st
from replayed import FIELDS, Replayed, run, tape_from

from echelongym.envs import Decision, Scenario, simulate
from echelongym.envs.simulate import periods

ROOMS = (hand_cases_stock, hand_cases_service, hand_cases_money, hand_cases_whole, hand_cases_ordering)
CASES = [case for room in ROOMS for case in room.CASES]
UNITS = ("continuous", "integer")


def as_numpy(value):
    return value if isinstance(value, np.ndarray) else value.detach().numpy()


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hand_case(case, backend):
    trace = run(case.scenario, tape_of(case), requests_of(case), reserve_of(case), backend).trace
    fields = {name: as_numpy(getattr(trace, name))[:, 0] for name in [*FIELDS, "unfilled"]}
    fields["unfilled"] = fields["requests"] - fields["shipped"]
    check(case, fields, {line: as_numpy(values)[:, 0] for line, values in trace.costs.items()})


def assert_same(mine, theirs, exact, what):
    if exact:
        np.testing.assert_array_equal(mine, theirs, err_msg=what)
    else:
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-7, err_msg=what)


@pytest.mark.parametrize("units", UNITS)
def test_agrees_with_the_reference_on_random_networks(units):
    """Every flow, state and cost line of an independent implementation, all features on."""

    @given(random_scenarios.seeds())
    @settings(deadline=None)
    def agree(seed):
        mapping, arrays, history, requests, reserve = random_scenarios.random_world(seed, units)
        outcome = run(mapping, arrays, requests, reserve)
        slots = outcome.trace.in_transit.shape[4]
        want = reference.simulate(mapping, arrays, history, requests, reserve, slots=slots)
        for name in FIELDS:
            got = getattr(outcome.trace, name)[:, 0]
            assert_same(got, want[name], units == "integer", f"{name}, seed {seed}")
        for line, values in want["costs"].items():
            got = outcome.trace.costs.get(line, np.zeros((len(values), 1)))[:, 0]
            np.testing.assert_allclose(got, values, rtol=1e-9, atol=1e-6, err_msg=f"{line}, seed {seed}")
        reported = slice(mapping["warm_up"], None)
        total = sum(values[reported].mean() for line, values in want["costs"].items() if line != "revenue")
        np.testing.assert_allclose(outcome.cost_per_period[0], total, rtol=1e-9, atol=1e-6)

    agree()


@pytest.mark.parametrize("units", UNITS)
def test_backends_agree(units):
    """NumPy and PyTorch: to the unit in whole worlds, to rounding in continuous ones."""

    @given(random_scenarios.seeds())
    @settings(deadline=None, max_examples=25)
    def agree(seed):
        mapping, arrays, _, requests, reserve = random_scenarios.random_world(seed, units)
        one = run(mapping, arrays, requests, reserve).trace
        two = run(mapping, arrays, requests, reserve, "torch").trace
        for name in FIELDS:
            assert_same(getattr(one, name), as_numpy(getattr(two, name)), units == "integer", f"{name}, seed {seed}")
        for line, values in one.costs.items():
            np.testing.assert_allclose(as_numpy(two.costs[line]), values, rtol=1e-9, atol=1e-7)

    agree()


@pytest.mark.parametrize("units", UNITS)
def test_a_world_is_the_same_alone_and_in_a_batch(units):
    """Bit for bit, costs included: nothing depends on who else is in the batch."""

    @given(random_scenarios.seeds(), st.integers(2, 5))
    @settings(deadline=None, max_examples=40)
    def invariant(seed, batch):
        mapping, arrays, _, requests, reserve = random_scenarios.random_world(seed, units)
        rng = np.random.default_rng(seed)
        worlds = [arrays] + [random_scenarios.random_tape(rng, mapping) for _ in range(batch - 1)]
        place = int(rng.integers(batch))
        worlds[0], worlds[place] = worlds[place], worlds[0]
        together = run(mapping, worlds, requests, reserve)
        alone = run(mapping, arrays, requests, reserve)
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(together.trace, name)[:, place], getattr(alone.trace, name)[:, 0])
        assert together.cost_per_period[place] == alone.cost_per_period[0]
        for line, values in alone.costs.items():
            assert together.costs[line][place] == values[0], line

    invariant()


@pytest.mark.parametrize("units", UNITS)
def test_units_are_conserved_in_sampled_worlds(units):
    """opening + supplied + returned = served + disposed + closing, per product, world and period."""

    @given(random_scenarios.seeds())
    @settings(deadline=None, max_examples=60)
    def balance(seed):
        rng = np.random.default_rng(seed)
        scenario = Scenario.from_mapping(random_scenarios.random_scenario(rng, units))
        tables, tape = scenario.tables, scenario.sample(worlds=3, seed=seed % 1000, purpose="test")
        requests = random_scenarios.random_requests(rng, None, tape.periods, tables.L, tables.P)
        closing = None
        for period, _, flows, state in periods(scenario, Replayed(requests), tape):
            opening = closing if period else opening_stock(scenario, tape)
            from_supplier = tables.is_supplier[np.maximum(tables.lane_source, 0)] & (tables.lane_source >= 0)
            direct = tables.is_supplier[tables.pair_source]
            supplied = flows.shipped[from_supplier].sum(0) + flows.served[direct].sum(0)
            returned = 0 if flows.returned is None else flows.returned.sum(0)
            disposed = 0 if flows.disposed is None else flows.disposed.sum(0)
            closing = state.on_hand.sum((0, 2)) + state.rows.sum((0, 2))
            into, out = opening + supplied + returned, flows.served.sum(0) + disposed + closing
            if units == "integer":
                np.testing.assert_array_equal(into, out)
                assert all(x is None or x.dtype == np.int64 for x in (*flows[:-1], state.on_hand, state.rows))
            else:
                np.testing.assert_allclose(into, out, rtol=1e-9, atol=1e-6)
            for stock in (state.on_hand, state.rows, state.backlog):
                assert stock.min(initial=0) >= 0

    balance()


def opening_stock(scenario, tape):
    tables = scenario.tables
    stock = tables.initial_on_hand.sum(0) + tables.initial_in_transit.sum((0, 2))
    if tables.integer:
        stock = np.floor(stock + 0.5)
    return np.repeat(stock[:, None], tape.batch, 1)


def test_gradients_are_finite_and_agree_with_finite_differences():
    """Cost of whole episodes with respect to every request, over random continuous networks."""
    torch = pytest.importorskip("torch")

    @given(random_scenarios.seeds())
    @settings(deadline=None, max_examples=25)
    def gradients(seed):
        mapping, arrays, _, requests, _ = random_scenarios.random_world(seed, "continuous")
        scenario = Scenario.from_mapping(mapping)
        tape = tape_from(scenario, arrays)
        smooth = requests + np.random.default_rng(seed).uniform(0.01, 0.02, requests.shape)

        def cost(asked):
            def policy(observation):
                return Decision(asked[int(observation.period[0])][None])

            return simulate(scenario, policy, tape, backend="torch", kpis=False).cost_per_period.sum()

        leaf = torch.tensor(smooth, requires_grad=True)
        slope = torch.autograd.grad(cost(leaf), leaf)[0] if cost(leaf).requires_grad else torch.zeros_like(leaf)
        assert torch.isfinite(slope).all()
        # Kinks and the steps of vehicles, batches and fixed costs lie on thin sets: along a random direction the
        # one-sided differences agree with the slope or straddle it, and most directions meet no kink at all.
        rng = np.random.default_rng(seed + 1)
        agreeing = 0
        for _ in range(4):
            way = torch.tensor(rng.standard_normal(smooth.shape))
            along = float((slope * way).sum())
            step = 1e-6
            with torch.no_grad():
                here = float(cost(leaf))
                ahead = (float(cost(leaf + step * way)) - here) / step
                back = (here - float(cost(leaf - step * way))) / step
            agreeing += abs(ahead - along) + abs(back - along) <= 2e-3 * (1 + abs(along))
        assert agreeing >= 3, f"seed {seed}"

    gradients()


def test_gradients_are_finite_where_everything_is_nothing():
    """No stock, no requests, no demand: 0/0 nowhere."""
    torch = pytest.importorskip("torch")
    scenario = Scenario.load("two_region")
    tape = scenario.sample(worlds=2, seed=0)
    tape = tape.replace(demand=np.zeros_like(tape.demand))
    leaf = torch.zeros((2, scenario.tables.L, 1), dtype=torch.float64, requires_grad=True)
    outcome = simulate(scenario, lambda observation: Decision(leaf), tape, backend="torch", kpis=False)
    outcome.cost_per_period.sum().backward()
    assert torch.isfinite(leaf.grad).all()


def test_a_unit_crosses_one_lane_a_period_and_arrives_on_time():
    """Lead times 0, 1 and 3 in a row: what leaves the supplier in period 0 is followed by pencil."""
    mapping = {
        "name": "row",
        "horizon": 6,
        "nodes": {"mill": {"kind": "supplier"}, **{n: {"initial": 0} for n in "abc"}},
        "lanes": {
            "mill_a": {"source": "mill", "target": "a", "lead_time": 0},
            "a_b": {"source": "a", "target": "b", "lead_time": 1},
            "b_c": {"source": "b", "target": "c", "lead_time": 3},
        },
        "customers": {"shop": {"sources": {"c": {}}, "demand": {"kind": "deterministic", "mean": 1}, "lost_share": 1}},
    }
    scenario = Scenario.from_mapping(mapping)
    requests = np.zeros((6, 3, 1))
    requests[0, 0], requests[:, 1:] = 7.0, 100.0
    trace = simulate(scenario, Replayed(requests), scenario.sample(worlds=1), trace=True).trace
    assert trace.shipped[:, 0, :, 0].tolist() == [[7, 0, 0], [0, 7, 0], [0, 0, 7], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert trace.on_hand[:, 0, 3, 0, 0].tolist() == [0, 0, 0, 0, 0, 7]
    assert trace.served[:, 0, 0, 0].tolist() == [0, 0, 0, 0, 0, 1]
