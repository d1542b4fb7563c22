"""The linear program of a network: held to the simulator on random networks, to pencil, and to brute force."""

import dataclasses

import numpy as np
import pytest
import random_scenarios
from hypothesis import given, settings
from planning_networks import episode_cost, one_store, tape_of
from replayed import Replayed, run, tape_from
from scipy.optimize import linprog
from scipy.sparse import coo_array, vstack

from echelongym.agents.loading import load_policy
from echelongym.agents.planning.linear_program.outlook import Outlook, Standing
from echelongym.agents.planning.linear_program.program import NetworkProgram, bounding, relaxations
from echelongym.agents.planning.linear_program.solver import Solver
from echelongym.agents.planning.linear_program.views import NAMES, view
from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.envs import Scenario, simulate
from echelongym.envs.core.errors import InputError
from echelongym.experiments.studies.planning_speed import store_network

UNITS = ("continuous", "integer")


def solved(scenario, tape, place=0):
    """Program, problem and solution of a world from the scenario's start."""
    outlook = Outlook.of_tape(tape.check(scenario), place)
    program = NetworkProgram(scenario.tables, outlook.lead_time, outlook.lane_yield)
    problem = program.problem(outlook, Standing.initial(scenario.tables))
    return program, problem, Solver().solve(problem)


# ------------------------------------------------------------------------------------------------ by pencil


def test_by_pencil():
    """Demand 4 4 4 4, 2 on hand, lead time 1: 2 are lost, then 4 a period bought at 3 and served on arrival, none held."""
    scenario = one_store()
    program, _, solution = solved(scenario, tape_of(scenario, [4, 4, 4, 4]))
    assert solution.objective == pytest.approx(2 * 9 + 3 * 4 * 3)
    np.testing.assert_allclose(program.shipped(solution.values)[:, 0, 0], [4, 4, 4, 0], atol=1e-9)
    np.testing.assert_allclose(program.served(solution.values)[:, 0, 0], [2, 4, 4, 4], atol=1e-9)


def test_an_outage_is_prepared_for():
    """The supplier is out in periods 1 and 2: what they would have sent is sent before, and held at 1 a unit and period."""
    scenario = one_store()
    out = np.array([[1.0, 1], [0, 1], [0, 1], [1, 1]])
    program, _, solution = solved(scenario, tape_of(scenario, [4, 4, 4, 4], node_availability=out))
    np.testing.assert_allclose(program.shipped(solution.values)[:, 0, 0], [12, 0, 0, 0], atol=1e-9)
    assert solution.objective == pytest.approx(2 * 9 + 12 * 3 + 8 + 4)


def test_a_capacity_scales_with_availability():
    """6 a period, half of it in period 1: 3 of period 2's 4 units come in time, one a period before."""
    scenario = one_store(lanes__truck__capacity=6.0)
    half = np.array([[1.0], [0.5], [1], [1]])
    program, _, solution = solved(scenario, tape_of(scenario, [4, 4, 4, 4], lane_availability=half))
    np.testing.assert_allclose(program.shipped(solution.values)[:, 0, 0], [5, 3, 4, 0], atol=1e-9)
    assert solution.objective == pytest.approx(2 * 9 + 12 * 3 + 1)


def test_yield_counts_in_the_period_of_arrival():
    """Half of what arrives in period 2 is good, the other half is disposed of at 2: 8 are sent for 4."""
    scenario = one_store(nodes__store__disposal_cost=2.0)
    good = np.array([[1.0], [1], [0.5], [1]])
    program, _, solution = solved(scenario, tape_of(scenario, [4, 4, 4, 4], lane_yield=good))
    # 4 in stock a period more cost 4 x 1; 4 more units cost 4 x (3 + 2).
    np.testing.assert_allclose(program.shipped(solution.values)[:, 0, 0], [8, 0, 4, 0], atol=1e-9)
    assert solution.objective == pytest.approx(2 * 9 + 12 * 3 + 4)


def test_patience_by_waiting_class():
    """Demand 10 in period 0, patience 1, nothing comes before period 2: it waits one period at 2 a unit, then is lost at 9."""
    scenario = one_store(
        nodes__store__initial=0,
        lanes__truck__lead_time=2,
        customers__shop__lost_share=0.0,
        customers__shop__patience=1,
        customers__shop__backorder_cost=2.0,
    )
    _, _, solution = solved(scenario, tape_of(scenario, [10, 0, 0, 0]))
    assert solution.objective == pytest.approx(10 * 2 + 10 * 9)


def test_vehicles_become_continuous():
    """12 a vehicle of 8, 4 units a period: half a vehicle each in the program, a whole one in the simulation."""
    scenario = one_store(lanes__truck__fixed_cost=12.0, lanes__truck__vehicle_volume=8.0)
    tape = tape_of(scenario, [4, 4, 4, 4])
    _, _, solution = solved(scenario, tape)
    plain = 2 * 9 + 12 * 3
    assert solution.objective == pytest.approx(plain + 3 * 6)
    requests = np.array([4.0, 4, 4, 0]).reshape(4, 1, 1)
    assert episode_cost(simulate(scenario, Replayed(requests), tape, trace=True)) == pytest.approx(plain + 3 * 12)
    assert "vehicles" in " ".join(relaxations(scenario.tables))


def test_no_bound_where_stock_at_the_end_pays():
    scenario = one_store(nodes__store__terminal_value=10.0)
    with pytest.raises(InputError, match=r"world 0.*terminal_value"):
        perfect_information(scenario, tape_of(scenario, [4, 4, 4, 4]))


# ------------------------------------------------------------------------------------------------ random networks

# Examples of a property: a few by default, many where long tests are asked for.
EXAMPLES = [8, pytest.param(150, marks=pytest.mark.slow)]


def bound_of(scenario, tape):
    """The bound, or None where stock left at the end is worth more than it costs, and said to be."""
    try:
        return perfect_information(scenario, tape)
    except InputError as error:
        if "terminal_value" not in str(error) or not scenario.tables.terminal_value.any():
            raise
        return None


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("units", UNITS)
def test_bounds_every_policy_on_random_networks(units, examples):
    """No careless policy costs less than the program, whatever the features; a program without an optimum says so."""

    @given(random_scenarios.seeds())
    @settings(deadline=None, max_examples=examples)
    def bounds(seed):
        mapping, arrays, _, requests, reserve = random_scenarios.random_world(seed, units)
        scenario = Scenario.from_mapping(mapping)
        cost = episode_cost(run(mapping, arrays, np.minimum(requests, 30), reserve))
        bound = bound_of(scenario, tape_from(scenario, arrays))
        if bound is None:
            return
        assert bound.cost[0] * bound.periods <= cost + 1e-6 * max(1.0, abs(cost)), seed

    bounds()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("units", UNITS)
def test_rules_cost_more_than_the_bound(units, examples):
    """Sensible policies come closer than careless ones, and are bounded, too."""

    @given(random_scenarios.seeds())
    @settings(deadline=None, max_examples=examples)
    def bounds(seed):
        scenario = Scenario.from_mapping(random_scenarios.random_scenario(np.random.default_rng(seed), units))
        tape = scenario.sample(worlds=2, seed=seed % 100, purpose="test")
        outcome = simulate(scenario, load_policy("echelon_base_stock", scenario), tape, trace=True, kpis=False)
        bound = bound_of(scenario, tape)
        if bound is None:
            return
        for world in range(2):
            cost = episode_cost(outcome, world)
            assert bound.cost[world] * bound.periods <= cost + 1e-6 * max(1.0, abs(cost)), seed

    bounds()


def held(program, problem, shipped, served):
    """The program with what is shipped and served held at a simulation's, to a hair."""
    rows, columns, sums, count = [], [], [], 0
    for family, flows in ((program.ship, shipped), (program.service.serve, served)):
        for p in range(program.tables.P):
            cells = family[:, :, program.cells.product == p]
            row = count + np.arange(cells[..., 0].size).reshape(cells.shape[:2])
            row = np.broadcast_to(row[..., None], cells.shape)
            rows.append(row[cells >= 0])
            columns.append(cells[cells >= 0])
            sums.append(flows[:, :, p].reshape(-1))
            count += cells[..., 0].size
    rows, columns, sums = (np.concatenate(part) for part in (rows, columns, sums))
    entries = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, problem.matrix.shape[1]))
    return dataclasses.replace(
        problem,
        matrix=vstack([problem.matrix, entries]).tocsc(),
        row_lower=np.append(problem.row_lower, sums - 1e-6),
        row_upper=np.append(problem.row_upper, sums + 1e-6),
    )


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("units", UNITS)
def test_holds_the_simulated_flows(units, examples):
    """Flows of the simulator are feasible in the program and cost no more; where nothing is relaxed, as much to the cent.

    There the program's states, too, are those that the policy observed, period by period.
    """
    exact = []

    @given(random_scenarios.seeds())
    @settings(deadline=None, max_examples=examples)
    def holds(seed):
        mapping, arrays, _, requests, reserve = random_scenarios.random_world(seed, units)
        if seed % 2:  # leave out what is relaxed
            for part in (*mapping["nodes"].values(), *mapping["lanes"].values(), *mapping["products"].values()):
                for key in ("fixed_cost", "fixed_emissions_kg", "shelf_life"):
                    part.pop(key, None)
            for customer in mapping["customers"].values():
                customer |= {"lost_share": float(seed % 4 == 1)}
                customer.pop("patience", None)
                if seed % 4 == 1:  # nobody waits, from the start
                    customer.pop("opening_backlog", None)
        scenario = Scenario.from_mapping(mapping)
        outcome = run(mapping, arrays, np.minimum(requests, 30), reserve)
        tape = tape_from(scenario, arrays)
        outlook = Outlook.of_tape(tape.check(scenario), 0)
        program = NetworkProgram(bounding(scenario.tables), outlook.lead_time, outlook.lane_yield)
        standing = Standing.initial(scenario.tables)
        problem = program.problem(outlook, standing)
        solution = Solver().solve(held(program, problem, outcome.trace.shipped[:, 0], outcome.trace.served[:, 0]))
        cost = episode_cost(outcome)
        assert solution.objective <= cost + 1e-5 * max(1.0, abs(cost)), seed
        told = " ".join(relaxations(scenario.tables))
        if units == "integer" or any(word in told for word in ("vehicles", "fixed costs", "by remaining life", "old")):
            return
        exact.append(seed)
        assert solution.objective == pytest.approx(cost, rel=1e-5, abs=1e-4), seed
        names = dict.fromkeys(NAMES, "") | {name: name for name in NAMES} | {"ship": "shipped"}
        for name, traced in names.items():
            want = getattr(outcome.trace, traced)[:, 0]
            np.testing.assert_allclose(view(program, name, standing)(solution.values), want, atol=1e-4, err_msg=name)

    holds()
    assert units == "integer" or exact


def test_its_requests_reproduce_its_cost_in_simulation():
    """Where the program relaxes nothing that matters, simulating its shipments costs what it says."""
    for stores, seed in ((2, 0), (4, 1)):
        scenario = Scenario.from_mapping(store_network(stores, horizon=25, seed=seed))
        tape = scenario.sample(worlds=2, seed=3, purpose="test")
        for place in range(2):
            program, _, solution = solved(scenario, tape, place)
            plan = Replayed(program.shipped(solution.values))
            outcome = simulate(scenario, plan, tape[place], trace=True, kpis=False)
            assert episode_cost(outcome) == pytest.approx(solution.objective, rel=1e-7)


def test_optimum_agrees_with_another_solver():
    """The same matrix and numbers in SciPy's linprog; and the prices of rows are its marginals."""
    mapping = random_scenarios.random_scenario(np.random.default_rng(11), "continuous", "small")
    for node in mapping["nodes"].values():
        node.pop("terminal_value", None)
    scenario = Scenario.from_mapping(mapping)
    _, problem, solution = solved(scenario, scenario.sample(worlds=1, seed=0))
    dense = problem.matrix.toarray()
    lower, upper = problem.row_lower, problem.row_upper
    at_most, at_least = np.isfinite(upper), np.isfinite(lower)
    found = linprog(
        problem.cost,
        A_ub=np.concatenate([dense[at_most], -dense[at_least]]),
        b_ub=np.concatenate([upper[at_most], -lower[at_least]]),
        bounds=np.stack([problem.lower, problem.upper], 1),
        method="highs-ipm",
    )
    assert solution.objective == pytest.approx(found.fun + problem.offset, rel=1e-8)


# ------------------------------------------------------------------------------------------------ the bound


def test_bound_is_the_same_for_any_number_of_workers_and_in_order():
    scenario = Scenario.load("dual_sourcing", {"horizon": 20, "warm_up": 0})
    tape = scenario.sample(worlds=6, seed=1, purpose="test")
    seen = []
    alone = perfect_information(scenario, tape, progress=lambda done, total: seen.append((done, total)))
    shared = perfect_information(scenario, tape, workers=2)
    np.testing.assert_array_equal(alone.cost, shared.cost)
    assert seen == [(4, 6), (6, 6)]
    assert alone.mean == pytest.approx(alone.cost.mean())
    single = perfect_information(scenario, tape[5])
    assert single.cost[0] == pytest.approx(alone.cost[5], rel=1e-9)
    with pytest.raises(InputError, match="workers"):
        perfect_information(scenario, tape, workers=0)


def test_structure_is_reused_where_only_numbers_change():
    scenario = Scenario.load("one_warehouse", {"horizon": 12, "warm_up": 0})
    tape = scenario.sample(worlds=3, seed=0).check(scenario)
    outlooks = [Outlook.of_tape(tape, place) for place in range(3)]
    program = NetworkProgram(scenario.tables, outlooks[0].lead_time)
    warm = Solver()
    for outlook in outlooks:
        assert program.fits(outlook)
        problem = program.problem(outlook, Standing.initial(scenario.tables))
        assert warm.solve(problem).objective == pytest.approx(Solver(warm=False).solve(problem).objective, rel=1e-9)


def test_classes_cost_nothing_where_nothing_expires():
    """Columns a period of one product without life or waiting classes: ship, serve, close, unserved."""
    scenario = one_store()
    outlook = Outlook.of_tape(tape_of(scenario, [4, 4, 4, 4]).check(scenario), 0)
    assert NetworkProgram(scenario.tables, outlook.lead_time).shape == (4 * 2, 4 * 4)


def test_solver_refuses_an_unknown_method():
    with pytest.raises(InputError, match="method"):
        Solver("primal")
