"""Environment steps per CPU-second of gym-invmgmt, measured as :mod:`.bench` measures ours.

It stands alone, as gym-invmgmt belongs into an environment of its own: ``python peer.py [SECONDS]`` with that
environment's interpreter prints a JSON line; ``echelongym bench peer=PATH_OF_THAT_PYTHON`` runs it and compares.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from typing import Any

ENVIRONMENTS = {"network": "GymInvMgmt/MultiEchelon-v0", "serial": "GymInvMgmt/Serial-v0"}


def steps_per_cpu_second(env: Any, seconds: float) -> float:
    """Step a Gymnasium env with actions drawn beforehand, resets included, for ``seconds`` of CPU time."""
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(256)]
    env.reset(seed=0)
    steps, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        steps += len(actions)
    return steps / spent


def main(seconds: float) -> None:
    """Print one JSON line: version and speed of each environment."""
    import gym_invmgmt  # type: ignore[import-not-found]  # noqa: F401 (registers its environments)
    import gymnasium

    speeds = {
        name: steps_per_cpu_second(gymnasium.make(key, disable_env_checker=True), seconds)
        for name, key in ENVIRONMENTS.items()
    }
    print(json.dumps({"package": "gym-invmgmt", "version": metadata.version("gym-invmgmt"), "speeds": speeds}))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
