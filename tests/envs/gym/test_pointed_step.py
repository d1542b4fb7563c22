"""A compiled step of a batch, which reads the tape where it lies, does what the recorded one does, to the last bit."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from echelongym.envs.compiler.c_compiler import compiler
from echelongym.envs.gym.vector_env import NetworkVectorEnv
from echelongym.envs.interface.observation import Decision

PERIODS = 12


def played(env, anew):
    """What two episodes and a half hand out, and copies made at once; some slots start anew in a period, if one is given."""
    rng, some = np.random.default_rng(0), np.arange(env.num_envs) % 3 == 0
    found = [env.reset(seed=5)[0]]
    copies = [found[0].copy()]
    t = env.batch.tables
    for period in range(5 * PERIODS // 2):
        if period == 7:
            decision = Decision(rng.uniform(0, 9, (env.num_envs, t.L, t.P)))
            observation, reward, _, truncated, info = env.step_decision(decision)
        else:
            action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
            observation, reward, _, truncated, info = env.step(action)
        mine = [observation, reward, truncated, *info.get("costs", {}).values()]
        if env.autoreset_mode is AutoresetMode.DISABLED:
            mask = some if period == anew else truncated
            if mask.any():
                mine.append(env.reset(options={"reset_mask": mask})[0])
        found += mine
        copies += [one.copy() for one in mine]
    return found, copies


@pytest.mark.parametrize(
    ("scenario", "size", "anew", "settings"),
    [
        ("two_region", 33, None, {"info": "costs"}),  # forecasts, outages, drawn lead times
        ("one_warehouse_three", 33, 4, {"info": "none", "dtype": "float32"}),
        ("lost_sales", 40, 4, {"info": "costs"}),  # whole units
        ("one_warehouse_three", 3, None, {}),  # indicators
    ],
)
def test_compiled_steps_of_a_batch_are_recorded_steps(scenario, size, anew, settings, monkeypatch):
    mode = AutoresetMode.DISABLED if anew else AutoresetMode.NEXT_STEP
    results = []
    for patience in (0.0, float("inf")):
        monkeypatch.setattr("echelongym.envs.compiler.recorder.PATIENCE", patience)
        env = NetworkVectorEnv(scenario, size, autoreset_mode=mode, periods=PERIODS, **settings)
        found, copies = played(env, anew)
        results.append(copies)
        for one, copy in zip(found, copies, strict=True):  # no later step writes into what was handed out
            np.testing.assert_array_equal(one, copy)
        compiled = [step.pointed is not None for step in env.batch._replay._recorded.values()]
        if compiler() is not None:
            assert any(compiled) == (patience == 0.0)
    assert len(results[0]) == len(results[1])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)
