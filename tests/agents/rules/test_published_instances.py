"""Published instances: each file is read, and a rule of the literature costs in it what was published for the rule."""

import numpy as np
import pytest
from checkout import CHECKOUT

from echelongym.agents.loading import load_policy
from echelongym.envs import InputError, Scenario, simulate
from echelongym.envs.interface.observation import Decision

FOLDER = CHECKOUT / "configs" / "scenario" / "instances"


def levels(warehouse, store, stores=3):
    return {"warehouse": warehouse, **{f"store_{k + 1}": store for k in range(stores)}}


def held_back(warehouse, store, kept, cap, stores):
    caps = {f"to_store_{k + 1}": cap for k in range(stores)}
    return {"levels": levels(warehouse, store, stores), "hold_back_levels": {"warehouse": kept}, "caps": caps}


def cost(name, rule, worlds=2000, **parameters):
    """Mean cost of a period and its standard error, in worlds of purpose test."""
    scenario = Scenario.load(FOLDER / f"{name}.yaml")
    tape = scenario.sample(worlds=worlds, seed=7, purpose="test")
    found = np.asarray(simulate(scenario, load_policy(rule, scenario, **parameters), tape, kpis=False).cost_per_period)
    return found.mean(), found.std() / np.sqrt(worlds)


# Name, rule, its numbers; cost of 100 periods as published and its standard error.
KAYNOV = [
    ("kaynov_6", "echelon_base_stock", {"levels": levels(35, 10), "allocation": "equalise"}, 1366.51, 0.91),
    ("kaynov_7", "echelon_base_stock", {"levels": levels(43, 10), "allocation": "equalise"}, 1408.08, 1.0),
    ("kaynov_7", "echelon_base_stock", {"levels": levels(43, 10), "allocation": "proportional"}, 1406.27, 1.0),
    ("kaynov_11", "hold_back_levels", held_back(40, 7, 4, 3, 3) | {"allocation": "equalise"}, 956.3, 3.5),
    ("kaynov_13", "hold_back_levels", held_back(510, 38, 44, 10, 10) | {"allocation": "proportional"}, 73_913, 224),
]


@pytest.mark.parametrize(("name", "rule", "parameters", "published", "error"), KAYNOV)
def test_kaynov_and_others(name, rule, parameters, published, error):
    """Within three standard errors of the two simulations together."""
    mean, own = cost(name, rule, **parameters)
    assert abs(100 * mean - published) < 3 * np.hypot(100 * own, error)


BEFORE = {"order_timing": "before_shipping"}

# Name, numbers of local base-stock, worlds, periods that the figure is of; as published, and its standard error or rounding.
LOCAL = [
    ("van_roy_simple", {"levels": levels(10, 16, 1)}, 400, 1, 51.7, 0.05),
    ("van_roy_case_1_2022", {"levels": levels(300, 25, 10), "allocation": "equalise"} | BEFORE, 40, 1, 911, 0.5),
    ("kunnumkal_topaloglu", {"levels": levels(124, 30)} | BEFORE, 2000, 50, 4059, 8),
]


@pytest.mark.parametrize(("name", "parameters", "worlds", "periods", "published", "error"), LOCAL)
def test_local_levels(name, parameters, worlds, periods, published, error):
    """Within three standard errors of the two simulations together."""
    mean, own = cost(name, "local_base_stock", worlds, **parameters)
    assert abs(periods * mean - published) < 3 * np.hypot(periods * own, error)


def test_van_roy_case_1_is_not_reproduced():
    """1302 is published; 1.4 % below as in another rerun, which found 1.3 %."""
    mean, own = cost("van_roy_case_1", "local_base_stock", 30, levels=levels(330, 23, 10), allocation="equalise")
    assert abs(mean / 1302 - 0.986) < 0.002 + 3 * own / 1302


# The CardBoard company: each plant orders at one mill, drawn by weight. ------------------------------------------------

WEIGHTS = [
    {0: 0.60, 1: 0.30, 3: 0.10},
    {0: 0.50, 1: 0.40, 3: 0.10},
    {1: 0.80, 0: 0.15, 3: 0.05},
    {2: 0.80, 1: 0.10, 3: 0.10},
    {2: 0.70, 3: 0.30},
]
MILLS, PLANTS = [82, 100, 64, 83], [35] * 5


class OneMillByWeight:
    """The published rule: a plant's whole order goes to one mill, and counts what is under way from it alone.

    Mills owe what they cannot ship, and ship it once everybody has had his order; orders of the plants with the least
    stock less backlog come first. All lead times are 1, so what was under way is what was shipped a period ago.
    """

    def __init__(self, worlds, seed):
        self.rng = np.random.default_rng(seed)
        ways = [(mill, plant) for plant, mills in enumerate(WEIGHTS) for mill in mills]
        self.mill, self.plant = np.array(ways).T
        self.owed, self.sent = np.zeros((2, worlds, len(ways)), dtype=np.int64)
        self.worlds = np.arange(worlds)

    def ordered(self, stock):
        """(B, ways) orders of plants whose stock less backlog is (B, 5)."""
        orders = np.zeros_like(self.owed)
        for plant, mills in enumerate(WEIGHTS):
            ways = np.flatnonzero(self.plant == plant)
            chosen = ways[self.rng.choice(len(ways), size=len(self.worlds), p=list(mills.values()))]
            others = self.sent[:, ways].sum(1) - self.sent[self.worlds, chosen]
            orders[self.worlds, chosen] = np.maximum(PLANTS[plant] - np.maximum(stock[:, plant] - others, 0), 0)
        return orders

    def __call__(self, seen):
        on_hand = seen.on_hand[:, :, 0, 0]
        mills = on_hand[:, 4:8]
        stock = on_hand[:, 8:] - seen.backlog.sum((2, 3))
        owed = np.stack([self.owed[:, self.mill == mill].sum(1) for mill in range(4)], 1)
        orders, left, shipped = self.ordered(stock), mills.copy(), np.zeros_like(self.owed)
        for mill in range(4):
            ways = np.flatnonzero(self.mill == mill)
            turn = np.argsort(stock[:, self.plant[ways]], axis=1, kind="stable")
            for place in range(len(ways)):
                way = ways[turn[:, place]]
                units = np.minimum(orders[self.worlds, way], left[:, mill])
                shipped[self.worlds, way] += units
                left[:, mill] -= units
        self.owed += orders - shipped
        for way, mill in enumerate(self.mill):
            units = np.minimum(self.owed[:, way], left[:, mill])
            shipped[:, way] += units
            self.owed[:, way] -= units
            left[:, mill] -= units
        self.sent = shipped
        asked = np.maximum(np.array(MILLS) - np.maximum(mills - owed, 0), 0)
        return Decision(np.concatenate([asked, shipped], 1)[..., None], None)


def test_cardboard_1():
    """10,467 is published, of 500 replications (standard error about 20); another rerun of the rule finds 10,355."""
    scenario = Scenario.load(FOLDER / "cardboard_1.yaml")
    ways = [f"mill_{mill}_plant_{plant}" for plant, mills in enumerate(WEIGHTS) for mill in mills]
    assert list(scenario.lanes)[4:] == ways
    tape = scenario.sample(worlds=500, seed=7, purpose="test")
    found = 50 * np.asarray(simulate(scenario, OneMillByWeight(500, 5), tape, kpis=False).cost_per_period)
    own = found.std() / np.sqrt(500)
    assert abs(found.mean() - 10_355) < 3 * np.hypot(own, 20)
    assert abs(found.mean() / 10_467 - 0.991) < 0.004 + 3 * own / 10_467


# When a node orders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timing", ["before_shipping", "after_shipping"])
def test_orders_before_and_after_shipping(timing):
    """Level less stock and pipeline, less what the stores ask for at the same time if that is known."""
    scenario = Scenario.load(FOLDER / "kaynov_7.yaml")
    rule = load_policy("local_base_stock", scenario, levels=levels(25, 8), order_timing=timing)
    tape = scenario.sample(worlds=20, seed=1, purpose="test")
    trace = simulate(scenario, rule, tape, trace=True).trace
    on_hand, pipeline = trace.on_hand[..., 0, 0], trace.in_transit[..., 0, :, 0].sum(-1)
    stores = np.maximum(8 - on_hand[..., 2:] - pipeline[..., 1:], 0)
    np.testing.assert_array_equal(trace.requests[..., 1:, 0], stores)
    known = stores.sum(-1) if timing == "after_shipping" else 0
    asked = np.maximum(25 - on_hand[..., 1] - pipeline[..., 0] + known, 0)
    np.testing.assert_array_equal(trace.requests[..., 0, 0], asked)


def test_order_timing_is_one_of_two_and_kept_with_the_rule(tmp_path):
    scenario = Scenario.load(FOLDER / "kaynov_7.yaml")
    with pytest.raises(InputError, match="order_timing = 'never': expected before_shipping or after_shipping"):
        load_policy("local_base_stock", scenario, order_timing="never")
    assert "order_timing" not in load_policy("local_base_stock", scenario).parameters
    rule = load_policy("local_base_stock", scenario, **BEFORE)
    assert rule.parameters["order_timing"] == "before_shipping"
    rule.save(tmp_path / "rule.yaml")
    assert load_policy(tmp_path / "rule.yaml", scenario).order_timing == "before_shipping"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_instances_are_read_and_called_as_their_files(path):
    scenario = Scenario.load(path)
    assert scenario.name == path.stem
    assert path.read_text().startswith("# ")
