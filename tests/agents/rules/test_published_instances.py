"""Published instances: each file is read, and a rule of the literature costs in it what was published for the rule."""

import numpy as np
import pytest
from checkout import CHECKOUT

from echelongym.agents.loading import load_policy
from echelongym.envs import Scenario, simulate

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


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_instances_are_read_and_called_as_their_files(path):
    scenario = Scenario.load(path)
    assert scenario.name == path.stem
    assert path.read_text().startswith("# ")
