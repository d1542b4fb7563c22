"""``echelongym bench`` (``make bench``): environment steps per CPU-second of one process, and what bounds them.

Single and vector envs take actions drawn beforehand, resets and sampling of worlds included; the bare dynamics run a
fixed decision over sampled worlds, on NumPy and PyTorch. With ``peer=PYTHON`` the same machine measures gym-invmgmt in its
own environment (:mod:`.peer`) in the same run.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
from pydantic import Field

from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.validation import Config, Flag, Positive, PositiveCount
from echelongym.envs.gym.vector_env import NetworkVectorEnv
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.envs.storage.journal import step
from echelongym.registration import register_envs

from ..cli.terminal import finish, say, table
from ..runs.folders import check_free, run_folder
from . import peer

PEER_KIND = "single"


class Settings(Config):
    """Settings of ``bench``; see ``configs/bench.yaml``."""

    scenarios: tuple[str, ...]
    batches: Annotated[tuple[PositiveCount, ...], Field(min_length=1)]
    dynamics_batch: PositiveCount
    seconds: Positive
    peer: str | None
    run: str
    resume: Flag | Literal["auto"] = "auto"


def run(settings: Settings, folder: Path) -> Path:
    """Measure, print and write; returns the run folder.

    Raises
    ------
    InputError
        For an unknown scenario, or a peer whose interpreter cannot run gym-invmgmt.
    """
    check_free(folder)
    for name in settings.scenarios:
        Scenario.load(name)
    others, python = None, settings.peer
    if python:
        others = step("bench: peer", [python, settings.seconds], lambda: measure_peer(python, settings.seconds))
    asked = [settings.seconds, settings.batches, settings.dynamics_batch]
    rows = [
        row
        for name in settings.scenarios
        for row in step("bench: scenario", [name, *asked], lambda name=name: measure(name, settings))  # type: ignore[misc]
    ]
    network = others["speeds"]["network"] if others else None
    for row in rows:
        row["ratio"] = row["steps_per_cpu_second"] / network if network else None
    if others:
        for name, speed in others["speeds"].items():
            ratio = speed / network if network else None
            place = {"scenario": f"{others['package']} {others['version']}", "kind": f"single, {name}", "batch": 1}
            rows.append({**place, "steps_per_cpu_second": speed, "ratio": ratio})
    columns = ["scenario", "kind", "batch", "steps_per_cpu_second", *(["ratio"] if others else [])]
    shown = [[_thousands(row[key]) if key == columns[3] else row[key] for key in columns] for row in rows]
    notes = ["ratio: to the network environment of gym-invmgmt"] if others else []
    table("Environment steps per CPU-second", ["scenario", "kind", "batch", "steps", *columns[4:]], shown, notes)
    facts = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    with run_folder(folder, settings.model_dump(mode="json")) as out:
        out.csv("bench.csv", rows)
        out.json("summary.json", {"schema": 1, **facts, "rows": rows})
    finish(out.path, "echelongym benchmark scenario=two_region", ["bench.csv"])
    return out.path


def measure(name: str, settings: Settings) -> list[dict[str, Any]]:
    """Measured figures of one scenario."""
    scenario, seconds = Scenario.load(name), settings.seconds
    register_envs()
    found: list[tuple[str, int, float]] = []
    single = gym.make("echelongym/Network-v1", scenario=scenario, disable_env_checker=True)
    found.append((PEER_KIND, 1, peer.steps_per_cpu_second(single, seconds)))
    for batch in settings.batches:
        found.append(("vector", batch, vector_speed(NetworkVectorEnv(scenario, batch), seconds)))
    lean = NetworkVectorEnv(scenario, settings.batches[-1], dtype="float32", info="none")
    found.append(("vector, float32, info=none", settings.batches[-1], vector_speed(lean, seconds)))
    for backend in ("numpy", "torch"):
        speed = dynamics_speed(scenario, settings.dynamics_batch, backend, seconds)
        found.append((f"dynamics and costs, {backend}", settings.dynamics_batch, speed))
    keys = ("scenario", "kind", "batch", "steps_per_cpu_second")
    return [dict(zip(keys, (name, *row), strict=True)) for row in found]


def vector_speed(env: NetworkVectorEnv, seconds: float) -> float:
    """Env-steps per CPU-second of a vector env, autoresets included."""
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(8)]
    env.reset(seed=0)
    env.step(actions[0])

    def steps() -> int:
        for action in actions:
            env.step(action)
        return len(actions) * env.num_envs

    return per_cpu_second(steps, seconds)


def dynamics_speed(scenario: Scenario, batch: int, backend: str, seconds: float) -> float:
    """Env-steps per CPU-second of dynamics and ledger under a fixed decision; sampling left out."""
    if backend == "torch":
        import torch

        torch.set_num_threads(1)
    t = scenario.tables
    tape = scenario.sample(batch, seed=0).check(scenario)
    tape.exogenous  # noqa: B018 (computed once, outside what is measured)
    requests = np.broadcast_to(np.where(t.lane_open, t.mean_flow[t.lane_target], 0.0), (batch, t.L, t.P))
    decided: list[Decision] = []

    def policy(observation: Observation) -> Decision:
        if not decided:
            value: Any = np.ascontiguousarray(requests)
            decided.append(Decision(value if backend == "numpy" else torch.as_tensor(value)))
        return decided[0]

    def steps() -> int:
        simulate(scenario, policy, tape, backend=backend, kpis=False)
        return batch * tape.periods

    if backend == "torch":
        with torch.no_grad():
            return per_cpu_second(steps, seconds)
    return per_cpu_second(steps, seconds)


def per_cpu_second(steps: Callable[[], int], seconds: float) -> float:
    """Call ``steps`` for so much CPU time of this process: what it counts, per CPU-second."""
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        count += steps()
    return count / spent


def measure_peer(python: str, seconds: float) -> dict[str, Any]:
    """Speeds of gym-invmgmt, measured by the interpreter of an environment that has it.

    Raises
    ------
    InputError
        If that interpreter does not exist or has no gym-invmgmt.
    """
    say(f"Measuring gym-invmgmt with {python}")
    command = [python, str(Path(peer.__file__).resolve()), f"{seconds:g}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    except OSError as error:
        raise expected("peer", python, f"the path of a Python interpreter ({error.strerror})") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise InputError(f"peer = {python!r}: expected an environment with gym-invmgmt ({last[0]})")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _thousands(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k"
