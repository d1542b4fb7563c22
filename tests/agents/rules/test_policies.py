"""Rules by pencil, as files, and as what users get wrong."""

import numpy as np
import pytest

from echelongym.agents import load_policy
from echelongym.envs import Decision, InputError, Observation, Scenario, simulate
from echelongym.envs.interface.observation import observation_shapes

CHAIN = {
    "name": "chain",
    "horizon": 30,
    "nodes": {"mill": {"kind": "supplier"}, "hub": {"holding_cost": 1}, "shop": {"holding_cost": 2}},
    "lanes": {
        "mill_hub": {"source": "mill", "target": "hub", "lead_time": 3},
        "hub_shop": {"source": "hub", "target": "shop", "lead_time": 2},
    },
    "customers": {
        "people": {
            "sources": {"shop": {}},
            "demand": {"kind": "poisson", "mean": 5},
            "lost_share": 0.0,
            "backorder_cost": 9,
        }
    },
}


def chain(**more):
    return Scenario.from_mapping({**CHAIN, **more})


def seen(scenario, **given):
    """An observation of one world: zeros but for what is given."""
    shapes = observation_shapes(scenario.tables)
    arrays = {name: np.zeros((1, *shape)) for name, shape in shapes.items()}
    for name in ("node_availability", "lane_availability"):
        arrays[name] += 1
    for name, entries in given.items():
        for place, value in entries.items():
            arrays[name][(0, *place)] = value
    return Observation(**arrays)


# hub has 12 on hand and 5 + 3 under way to it, the shop 4 on hand, 6 under way and 7 waiting.
STATE = {
    "on_hand": {(1, 0, 0): 12, (2, 0, 0): 4},
    "in_transit": {(0, 0, 0, 0): 5, (0, 0, 1, 0): 3, (1, 0, 0, 0): 6},
    "backlog": {(0, 0, 0): 7},
}


def test_echelon_positions_by_pencil():
    """Hub: 12 + 8 + 4 + 6 - 7 = 23; shop: 4 + 6 - 7 = 3."""
    scenario = chain()
    rule = load_policy("echelon_base_stock", scenario, levels={"hub": 40, "shop": 14})
    assert rule(seen(scenario, **STATE)).requests[0, :, 0].tolist() == [40 - 23, 14 - 3]


def test_local_positions_by_pencil():
    """Downstream first: the shop asks for 14 - 3 = 11, so the hub's position is 12 + 8 - 11 = 9."""
    scenario = chain()
    rule = load_policy("local_base_stock", scenario, levels={"hub": 26, "shop": 14})
    assert rule(seen(scenario, **STATE)).requests[0, :, 0].tolist() == [26 - 9, 11]


def test_caps_by_pencil():
    scenario = chain()
    rule = load_policy(
        "capped_echelon_base_stock", scenario, levels={"hub": 40, "shop": 14}, caps={"mill_hub": 6, "hub_shop": 20}
    )
    assert rule(seen(scenario, **STATE)).requests[0, :, 0].tolist() == [6, 11]


def test_local_and_echelon_levels_are_two_ways_to_say_the_same():
    """On a chain, echelon levels (local level + those below) give the same requests while the shop can be filled."""
    scenario = chain()
    tape = scenario.sample(worlds=16, seed=1)
    local = load_policy("local_base_stock", scenario, levels={"hub": 30, "shop": 20})
    echelon = load_policy("echelon_base_stock", scenario, levels={"hub": 50, "shop": 20})
    costs = [simulate(scenario, rule, tape).cost_per_period for rule in (local, echelon)]
    np.testing.assert_allclose(costs[0], costs[1], rtol=1e-12)


def test_a_rule_survives_its_file(tmp_path):
    scenario = Scenario.load("two_region")
    rule = load_policy("echelon_base_stock", scenario, levels={"hub": 250.5}, express_levels={"hub_north_express": 12})
    rule.save(tmp_path / "rule.yaml")
    tape = scenario.sample(worlds=2, seed=0)
    again = load_policy(tmp_path / "rule.yaml", scenario)
    costs = [simulate(scenario, one, tape).cost_per_period for one in (rule, again)]
    np.testing.assert_array_equal(*costs)
    with pytest.raises(InputError, match="another network"):
        load_policy(tmp_path / "rule.yaml", chain())


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("echelon_base_stok", {}, ["echelon_base_stok", "echelon_base_stock"]),
        ("echelon_base_stock", {"level": 3}, ["level", "levels"]),
        ("echelon_base_stock", {"levels": {"hbu": 3}}, ["hbu", "hub"]),
        ("echelon_base_stock", {"levels": {"mill": 3}}, ["mill"]),
        ("echelon_base_stock", {"levels": {"hub": float("nan")}}, ["levels.hub", "nan"]),
        ("capped_echelon_base_stock", {"caps": {"hub_shop": -1}}, ["caps.hub_shop", "-1"]),
        ("nowhere.yaml", {}, ["nowhere.yaml"]),
        ("no_such_module:policy", {}, ["no_such_module"]),
        ("math:sine", {}, ["math:sine"]),
        ("math:pi", {}, ["math:pi"]),
    ],
)
def test_bad_policies_are_refused(name, parameters, words):
    with pytest.raises(InputError) as caught:
        load_policy(name, chain(), **parameters)
    for word in words:
        assert word in str(caught.value)


def test_a_users_function_class_and_factory_are_policies(tmp_path, monkeypatch):
    (tmp_path / "pilot_rules.py").write_text(
        "import numpy as np\n"
        "from echelongym.envs import Decision\n"
        "def plain(observation):\n"
        "    return Decision(np.full(observation.unfilled.shape, 5.0))\n"
        "class Fixed:\n"
        "    def __init__(self, scenario, quantity=5.0):\n"
        "        self.quantity = quantity\n"
        "    def __call__(self, observation):\n"
        "        return Decision(np.full(observation.unfilled.shape, self.quantity))\n"
        "ready = Fixed(None)\n"
    )
    monkeypatch.chdir(tmp_path)
    scenario = chain()
    tape = scenario.sample(worlds=2, seed=0)
    for name, parameters in (
        ("pilot_rules:plain", {}),
        ("pilot_rules:Fixed", {"quantity": 5.0}),
        ("pilot_rules:ready", {}),
    ):
        policy = load_policy(name, scenario, **parameters)
        assert isinstance(policy(seen(scenario)), Decision)
        costs = simulate(scenario, policy, tape).cost_per_period
        np.testing.assert_array_equal(
            costs, simulate(scenario, load_policy("pilot_rules:plain", scenario), tape).cost_per_period
        )
