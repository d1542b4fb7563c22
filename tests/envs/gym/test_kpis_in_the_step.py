"""Indicators that the recorded step adds up itself are those that are added up after it, to the last bit."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from echelongym.envs.gym.infos import Reporter
from echelongym.envs.gym.vector_env import NetworkVectorEnv


def told(scenario: str, size: int, anew: int | None) -> list[dict]:
    """Infos of two episodes and a half, some slots of which start anew in a period, if one is given."""
    mode = AutoresetMode.DISABLED if anew else AutoresetMode.SAME_STEP
    env = NetworkVectorEnv(scenario, size, autoreset_mode=mode, periods=60)
    env.action_space.seed(3)
    env.reset(seed=4)
    some = np.arange(size) % 3 == 0
    found = []
    for t in range(150):
        *_, info = env.step(env.action_space.sample())
        found.append(info)
        ended = env.batch.ended()
        mask = some if t == anew else ended if np.ndim(ended) else np.full(size, ended)
        if anew and mask.any():
            env.reset(options={"reset_mask": mask})
    return found


def assert_same(one, two) -> None:
    assert one.keys() == two.keys()
    for key, value in one.items():
        if isinstance(value, dict):
            assert_same(value, two[key])
        elif value.dtype != object:
            np.testing.assert_array_equal(value, two[key])


# Small batches hold periods back and add some at a time, large ones add each at once; in period 25 no episode counts yet.
@pytest.mark.parametrize(
    ("scenario", "size", "anew", "inside"),
    [
        ("one_warehouse_three", 1400, None, True),
        ("one_warehouse_three", 5, 57, True),
        ("lost_sales", 1400, 57, True),
        ("lost_sales", 5, 25, False),
        ("production_network", 5, None, False),  # customers wait
    ],
)
def test_indicators_are_the_same_in_the_step_and_after_it(scenario, size, anew, inside, monkeypatch) -> None:
    counted = []
    settled = Reporter.settled
    monkeypatch.setattr(Reporter, "settled", lambda self, age: counted.append(settled(self, age)) or counted[-1])
    mine = told(scenario, size, anew)
    assert any(counted) == inside
    monkeypatch.setattr(Reporter, "settled", lambda self, age: False)
    theirs = told(scenario, size, anew)
    kpis = 0
    for one, two in zip(mine, theirs, strict=True):
        assert_same(one, two)
        kpis += "kpis" in one or "kpis" in one.get("final_info", {})
    assert kpis
