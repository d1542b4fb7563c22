"""What cannot work is said by name: no way from a supplier, capacity below mean demand; and second sources are used."""

import itertools
import os
import shlex
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import echelongym.envs  # noqa: F401 (registers the environments)
from echelongym.agents import RULES, load_policy
from echelongym.agents.tuning.tuner import tune
from echelongym.envs import InputError, NetworkVectorEnv, NetworkWarning, Scenario, shipped_scenarios, simulate
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.interface.feasibility import check_feasible, problems
from echelongym.experiments.main import main


def network(nodes, lanes, customers, **more):
    """A network from short notes: ``lanes`` maps a name to (source, target, further keys)."""
    return Scenario.from_mapping(
        {
            "horizon": 40,
            "nodes": nodes,
            "lanes": {name: {"source": s, "target": t, **keys} for name, (s, t, keys) in lanes.items()},
            "customers": {
                name: {
                    "sources": {source: {} for source in sources},
                    "demand": {"kind": "deterministic", "mean": mean} if not isinstance(mean, dict) else mean,
                    "lost_share": 1.0,
                    "lost_sale_cost": 9,
                }
                for name, (sources, mean) in customers.items()
            },
            **more,
        }
    )


SUPPLIER = {"kind": "supplier"}


def two_sources(capacity=14, ordinary=2, second=2, units="continuous", **keys):
    cheap = {"lead_time": ordinary, "purchase_cost": 10} | ({} if capacity is None else {"capacity": capacity})
    lanes = {"cheap": ("a", "shop", cheap), "dear": ("b", "shop", {"lead_time": second, "purchase_cost": 11, **keys})}
    data = network({"a": SUPPLIER, "b": SUPPLIER, "shop": {"holding_cost": 1}}, lanes, {"m": (["shop"], 20)}).to_dict()
    data["customers"]["m"] |= {"demand": {"kind": "poisson", "mean": 20}, "lost_share": 0.0, "backorder_cost": 19}
    return Scenario.from_mapping(data | {"horizon": 120, "warm_up": 40, "units": units})


def tight():
    """Two sources that carry 17 of 20 units a period."""
    return two_sources(14).with_overrides({"lanes.dear.capacity": 3})


# What is said -----------------------------------------------------------------------------------------------------------

UNREACHABLE = {
    "no lane into the shop": (
        network({"s": SUPPLIER, "hub": {}, "shop": {}}, {"in": ("s", "hub", {})}, {"a": (["hub"], 5), "b": (["shop"], 5)}),
        ["customers b", "no lane leads into shop"],
    ),
    "no lane into the depot above it": (
        network({"s": SUPPLIER, "depot": {}, "shop": {}}, {"out": ("depot", "shop", {})}, {"a": (["shop"], 5)}),
        ["customers a", "no lane leads into depot"],
    ),
    "a lane of capacity 0": (
        network({"s": SUPPLIER, "shop": {}}, {"in": ("s", "shop", {"capacity": 0})}, {"a": (["shop"], 5)}),
        ["customers a", "shop", "capacity"],
    ),
    "a supplier that ships nothing": (
        network({"s": SUPPLIER | {"capacity": 0}, "shop": {}}, {"in": ("s", "shop", {})}, {"a": (["shop"], 5)}),
        ["customers a", "shop", "capacity"],
    ),
    "one of two products": (
        network({"s": SUPPLIER, "shop": {}}, {"in": ("s", "shop", {"products": ["milk"]})}, {"a": (["shop"], 5)},
            products={"milk": {}, "bread": {}}),
        ["customers a (bread)", "no way"],
    ),
    "a way longer than the shelf life": (
        network({"s": SUPPLIER, "hub": {}, "shop": {}}, {"in": ("s", "hub", {"lead_time": 2}), "out": ("hub", "shop", {
            "lead_time": 2})}, {"a": (["shop"], 5), "b": (["hub"], 5)}, products={"milk": {"shelf_life": 4}}),
        ["customers a", "shelf life"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREACHABLE)
def test_customers_whom_nothing_reaches_are_refused_by_name(kind):
    scenario, words = UNREACHABLE[kind]
    for attempt in (
        lambda: check_feasible(scenario),
        lambda: gymnasium.make("echelongym/Network-v1", scenario=scenario),
        lambda: NetworkVectorEnv(scenario, num_envs=2),
    ):
        with pytest.raises(InputError) as caught:
            attempt()
        assert all(word in str(caught.value) for word in words), str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.warns(NetworkWarning, match=words[0].replace("(", r"\(").replace(")", r"\)")):
        check_feasible(scenario, refuse=False)


def test_initial_stock_that_is_written_makes_it_a_warning():
    changes = {"nodes.depot.initial": 50}
    scenario = UNREACHABLE["no lane into the depot above it"][0].with_overrides(changes)
    with pytest.warns(NetworkWarning, match="but what initial stock holds"):
        check_feasible(scenario)


def test_returns_are_a_way_only_for_what_somebody_was_served():
    data = UNREACHABLE["no lane into the shop"][0].to_dict()
    data["lanes"]["back"] = {"source": "a", "target": "shop", "return_share": 0.5, "lead_time": 1}
    assert not [one for one in problems(Scenario.from_mapping(data)) if one.fatal]
    data["lanes"]["back"]["source"] = "b"
    assert [one for one in problems(Scenario.from_mapping(data)) if one.fatal]


def test_a_node_without_supply_is_a_warning():
    scenario = network({"s": SUPPLIER, "shop": {}, "spare": {}}, {"in": ("s", "shop", {})}, {"a": (["shop"], 5)})
    assert [one.text for one in problems(scenario)] == ["nodes spare: no way from a supplier: nothing ever arrives"]


@pytest.mark.parametrize("name", shipped_scenarios())
def test_shipped_scenarios_have_no_problem(name):
    scenario = Scenario.load(name)
    assert problems(scenario) == []
    assert not automatic_levels(scenario).needed.any()


CAPACITIES = [
    ({"capacity": 14}, {}, {}, 14.0, ["lane in"]),
    ({}, {"capacity": 12}, {}, 12.0, ["node s"]),
    ({"capacity": 14}, {"capacity": 12}, {}, 12.0, ["node s"]),
    ({"capacity": 14}, {}, {"products": {"product": {"volume": 2.0}}}, 7.0, ["lane in"]),
]


@pytest.mark.parametrize(("lane", "supplier", "more", "most", "full"), CAPACITIES)
def test_capacity_below_mean_demand_is_said_with_its_size_and_place(lane, supplier, more, most, full):
    scenario = network(
        {"s": SUPPLIER | supplier, "shop": {}}, {"in": ("s", "shop", lane)}, {"a": (["shop"], 20)}, **more
    )
    (said,) = problems(scenario)
    assert f"{most:.4g} at most" in said.text
    assert "20 units" in said.text
    assert all(name in said.text for name in full), said.text
    with pytest.warns(NetworkWarning, match="at most"):
        gymnasium.make("echelongym/Network-v1", scenario=scenario)


def test_a_customer_whose_second_choice_has_room_is_no_problem():
    nodes = {"s": SUPPLIER, "north": {}, "south": {}}
    lanes = {"n": ("s", "north", {"capacity": 5}), "o": ("s", "south", {"capacity": 9})}
    assert problems(network(nodes, lanes, {"a": (["north", "south"], 14)})) == []
    (said,) = problems(network(nodes, lanes, {"a": (["north", "south"], 15)}))
    assert "14 at most" in said.text


@st.composite
def capacitated(draw):
    """Two suppliers, two hubs, two shops; every lane there or not and of any capacity; one product of volume 1."""
    sizes = st.sampled_from([None, 0, 1, 2, 3, 5, 8])
    pairs = [("s", "h"), ("t", "h"), ("t", "g"), ("h", "x"), ("g", "x"), ("g", "y")]
    lanes = {}
    for source, target in pairs:
        if draw(st.integers(0, 4)):
            size = draw(sizes)
            lanes[source + target] = (source, target, {} if size is None else {"capacity": size})
    limits = {name: draw(sizes) for name in ("s", "t", "h", "g")}
    nodes = {name: {} if limits[name] is None else {"capacity": limits[name]} for name in ("h", "g")}
    nodes |= {name: SUPPLIER | ({} if limits[name] is None else {"capacity": limits[name]}) for name in ("s", "t")}
    customers = {"a": (["x"], draw(st.integers(1, 9))), "b": (["y", "x"], draw(st.integers(1, 9)))}
    return network(nodes | {"x": {}, "y": {}}, lanes, customers)


def most_by_cuts(scenario):
    """Largest flow from suppliers to customers, by the smallest of all cuts (Ford and Fulkerson 1956), counted in full."""
    inside = [f"{name}/{side}" for name in scenario.nodes for side in ("in", "out")] + list(scenario.customers)
    arcs = [("all", f"{name}/in", np.inf) for name, node in scenario.nodes.items() if node.kind == "supplier"]
    for name, node in scenario.nodes.items():
        arcs.append((f"{name}/in", f"{name}/out", np.inf if node.capacity is None else node.capacity))
    for lane in scenario.lanes.values():
        arcs.append((f"{lane.source}/out", f"{lane.target}/in", np.inf if lane.capacity is None else lane.capacity))
    for name, customer in scenario.customers.items():
        arcs += [(f"{source}/in", name, np.inf) for source in customer.sources]
        arcs.append((name, "served", customer.demand["mean"]))
    best = np.inf
    for chosen in itertools.product((False, True), repeat=len(inside)):
        side = {"all"} | {place for place, one in zip(inside, chosen, strict=True) if one}
        best = min(best, sum(size for source, target, size in arcs if source in side and target not in side))
    return best


@given(capacitated())
@settings(max_examples=12, deadline=None)
def test_what_capacity_lets_through_is_the_smallest_cut(scenario):
    wanted = sum(customer.demand["mean"] for customer in scenario.customers.values())
    most = most_by_cuts(scenario)
    assert bool([one for one in problems(scenario) if "customers" in one.text]) == (most < wanted)
    said = [one.text for one in problems(scenario) if "lets through" in one.text]
    fatal = [one.text for one in problems(scenario) if one.fatal]
    if said and not fatal and "customers a, b" in said[0]:
        assert f"lets through {most:.4g} at most" in said[0]


# Commands ---------------------------------------------------------------------------------------------------------------


def test_commands_say_it_once_and_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    UNREACHABLE["no lane into the shop"][0].save("forgot.yaml")
    tight().save("tight.yaml")
    words = ["policy=echelon_base_stock", "evaluation.worlds=4", "progress=false"]
    assert main(["show", "scenario=forgot.yaml"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("echelongym: warning: ")
    assert "customers b" in said[0]
    assert main(["simulate", "scenario=forgot.yaml", *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "no lane leads into shop" in said[0]
    assert not list((tmp_path / "runs").glob("simulate/*"))
    assert main(["simulate", "scenario=tight.yaml", *words]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "17 at most" in line] == said
    assert len(said) == 1


SLOWER = [(14, 2, 4), (19, 0, 3), (0, 2, 4), (8, 1, 6)]

# Second sources ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", ["continuous", "integer"])
@pytest.mark.parametrize("name", ["echelon_base_stock", "local_base_stock", "capped_echelon_base_stock"])
@pytest.mark.parametrize(("capacity", "ordinary", "second"), [(14, 2, 2), (0, 2, 2), (14, 4, 1), (19, 3, 0), *SLOWER])
def test_untuned_rules_order_the_rest_on_the_second_lane(units, name, capacity, ordinary, second):
    scenario = two_sources(capacity, ordinary, second, units)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy = load_policy(name, scenario)
    outcome = simulate(scenario, policy, scenario.sample(16, 3, "test"), trace=True)
    shipped = outcome.trace.shipped[40:].mean(axis=(0, 1))[:, 0]
    assert shipped.sum() == pytest.approx(20, abs=0.5), "what is demanded is ordered, and nothing twice"
    assert shipped[0] <= capacity
    assert shipped[1] >= 20 - capacity - 0.5
    assert float(outcome.kpis()["total"]["fill_rate"].mean()) > 0.93
    # No more stands than with one source that carries all, by a margin for the premium.
    free = two_sources(None, ordinary, second, units)
    alone = simulate(free, load_policy(name, free), free.sample(16, 3, "test"), trace=True)
    assert outcome.trace.on_hand.mean() < 1.6 * alone.trace.on_hand.mean() + 8


@pytest.mark.parametrize(
    "name", ["dual_index", "capped_dual_index", "single_index", "tailored_base_surge", "expedite_threshold"]
)
@pytest.mark.parametrize(("capacity", "ordinary", "second"), SLOWER)
def test_rules_of_two_sources_do_not_starve_where_the_slower_one_is_needed(name, capacity, ordinary, second):
    """No dearer than what one source of the slower kind would cost, by a margin, where the first alone costs thousands."""
    scenario = two_sources(capacity, ordinary, second, "integer")
    free = two_sources(None, second, second, "integer").with_overrides({"lanes.cheap.purchase_cost": 11})
    alone = simulate(free, load_policy("echelon_base_stock", free), free.sample(16, 3, "test"))
    outcome = simulate(scenario, load_policy(name, scenario), scenario.sample(16, 3, "test"), trace=True)
    assert outcome.cost_per_period.mean() < 1.25 * alone.cost_per_period.mean()
    assert outcome.trace.shipped[40:].mean(axis=(0, 1)).sum() == pytest.approx(20, abs=0.5)


def test_learners_start_with_the_lanes_that_are_needed():
    pytest.importorskip("torch")
    from echelongym.agents.pathwise.automatic import untuned

    for second in (2, 4):
        scenario = two_sources(14, 2, second)
        for name in ("echelon_base_stock", "capped_echelon_base_stock", "capped_dual_index"):
            rule = untuned(name, scenario)
            assert "dear" in rule.parameters["express_levels"]
            outcome = simulate(scenario, rule, scenario.sample(8, 3, "test"))
            assert outcome.cost_per_period.mean() < 260, "a source that carries 14 of 20 alone costs thousands"


def test_python_is_told_too_by_tune_and_simulate():
    scenario = UNREACHABLE["no lane into the shop"][0]
    with pytest.raises(InputError, match="customers b"):
        tune(scenario, budget=10_000, progress=False)
    policy = RULES["echelon_base_stock"](scenario)
    with pytest.warns(NetworkWarning, match="customers b"):
        simulate(scenario, policy, scenario.sample(2, 1, "test"))


def test_what_show_says_comes_next_is_not_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    UNREACHABLE["no lane into the shop"][0].save("forgot.yaml")
    assert main(["show", "scenario=forgot.yaml"]) == 0
    (following,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Next:")]
    assert main(shlex.split(following.removeprefix("Next:").strip())[1:]) == 0


def test_both_lanes_together_are_asked_for_the_gap_and_no_more():
    """The gap counted from the observation alone; the first lane is asked for what it can carry wherever that is asked."""
    scenario = two_sources(14)
    policy = load_policy("echelon_base_stock", scenario)
    level = policy.parameters["levels"]["shop"]
    seen = []

    def watched(observation):
        decision = policy(observation)
        seen.append((observation, decision.requests[:, :, 0]))
        return decision

    simulate(scenario, watched, scenario.sample(4, 1, "test"))
    for observation, requests in seen:
        owned = observation.on_hand.sum(axis=(1, 2, 3)) + observation.in_transit.sum(axis=(1, 2, 3, 4))
        gap = np.maximum(level - (owned - observation.backlog.sum(axis=(1, 2, 3))), 0)
        np.testing.assert_allclose(requests.sum(axis=1), gap, atol=1e-9)
        helped = requests[:, 1] > 0
        assert (requests[helped, 0] >= 14).all()


@pytest.mark.parametrize("capacity", [None, 20, 30])
def test_a_first_lane_that_carries_demand_is_used_alone(capacity):
    scenario = two_sources(capacity)
    policy = load_policy("echelon_base_stock", scenario)
    outcome = simulate(scenario, policy, scenario.sample(4, 1, "test"), trace=True)
    assert outcome.trace.shipped[:, :, 1].sum() == 0


@pytest.mark.parametrize(("name", "given"), [("echelon_base_stock", {"levels": {"shop": 75}}), ("sterman", {})])
def test_rules_that_leave_it_aside_say_so(name, given):
    with pytest.warns(NetworkWarning, match=r"cheap can carry 14 of 20 units .* into shop, .* never asks on dear"):
        load_policy(name, two_sources(14), **given)


def test_given_levels_of_the_second_lane_are_left_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy = load_policy("echelon_base_stock", two_sources(14), levels={"shop": 75}, express_levels={"dear": 61})
    assert policy.parameters["express_levels"] == {"dear": 61.0}


def test_an_untuned_rule_is_saved_and_read_back_with_its_second_lane(tmp_path):
    scenario = two_sources(14)
    policy = load_policy("echelon_base_stock", scenario)
    policy.save(tmp_path / "rule.yaml")
    again = load_policy(tmp_path / "rule.yaml", scenario)
    assert again.parameters == policy.parameters
    assert "dear" in policy.parameters["express_levels"]
    assert "express_levels" not in RULES["echelon_base_stock"](scenario).parameters, "a tuner decides for itself"


@pytest.mark.parametrize(("ordinary", "second"), [(2, 2), (2, 4), (4, 1)])
def test_the_action_zero_of_an_environment_uses_it_too(ordinary, second):
    env = NetworkVectorEnv(two_sources(14, ordinary, second), num_envs=8)
    env.reset(seed=0)
    total = 0.0
    for _ in range(100):
        total += float(env.step(np.zeros(env.action_space.shape, dtype=np.float32))[1].mean())
    scale = env.scenario.tables.reward_scale
    assert -total / 100 * scale < 260, "a source that carries 14 of 20 alone costs thousands"


def test_a_premium_above_the_penalty_is_not_paid():
    data = two_sources(14).to_dict()
    data["lanes"]["dear"]["purchase_cost"] = 200
    with pytest.warns(NetworkWarning, match="never asks on dear"):
        load_policy("echelon_base_stock", Scenario.from_mapping(data))


def test_python_warns_as_python_does(tmp_path):
    """In a script without any filter: one line with the place in the script, and no more for the same network."""
    tight().save(tmp_path / "tight.yaml")
    (tmp_path / "script.py").write_text(
        "import gymnasium, echelongym.envs\n"
        "for _ in range(3):\n    gymnasium.make('echelongym/Network-v1', scenario='tight.yaml')\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("NetworkWarning") == 1, done.stderr
