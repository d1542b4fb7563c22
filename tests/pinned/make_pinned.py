"""Makes the pins of ``tests/pinned``: ``python tests/pinned/make_pinned.py [names worlds added saved costs]``.

The pins hold what the code gave and wrote before its modules moved. They are made anew only where results are meant to
change, and the change is then told in CHANGELOG.md: ``names`` and ``worlds`` from the code as it is, ``added`` of
scenarios that have no pins yet, which leaves all others alone; ``saved`` by the
commands of the list below, files that users of today have; ``costs`` what these files decide and cost when they are read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinned_files import COSTS, SAVED, read_costs
from pinned_worlds import (
    FOLDER,
    SEEDS,
    arithmetic,
    digests,
    pinned,
    public_names,
    scenario_named,
    scenario_names,
    worlds,
)

from echelongym.envs import Scenario
from echelongym.experiments.main import main

SHORT = ["scenario.horizon=20", "scenario.warm_up=2"]
STEPS = "budget.env_steps=4096"
QUIET = ["progress=false"]
LEARNT = [
    *SHORT, *QUIET, "seed=3", "validation.worlds=16", "validation.times=4", "reference=automatic", "bound=false",
    "tensorboard=false", "checkpoint_seconds=1000", "agent.hidden=[4]",
]  # fmt: skip
PPO = ["agent=ppo", "agent.worlds=4", "agent.n_steps=8", "agent.batch_size=16", STEPS]
SAC = ["agent=sac", "agent.worlds=4", "agent.batch_size=16", "agent.buffer_size=200", "agent.learning_starts=16"]
PATHWISE = ["agent.worlds=16", "agent.periods=16", "agent.skipped=6", STEPS]
GRAPH = ["agent.features=graph", "agent.graph_hidden=4", "agent.graph_rounds=1"]
TUNING = ["tuning.worlds=8", "tuning.judged=8", "tuning.budget=4000", "tuning.cache=null"]
COMMANDS = [
    ["train", "scenario=lost_sales", *LEARNT, *PPO, "run=train_ppo"],
    ["train", "scenario=one_warehouse_three", *LEARNT, *PPO, *GRAPH, "run=train_ppo_graph"],
    ["train", "scenario=lost_sales", *LEARNT, *SAC, "agent.learning_rate=0.003", STEPS, "run=train_sac"],
    ["train", "scenario=two_region", *LEARNT, "agent=pathwise", *PATHWISE, "run=train_pathwise"],
    ["train", "scenario=lost_sales", *LEARNT, "agent=pathwise_graph", *PATHWISE, "run=train_pathwise_graph"],
    ["train", "scenario=lost_sales", *LEARNT, "agent=pathwise_recurrent", *PATHWISE, "run=train_pathwise_recurrent"],
    ["tune", "scenario=lost_sales", *SHORT, *QUIET, *TUNING, "policy=echelon_base_stock", "run=tune"],
    ["export", "policy=train_ppo", "run=export_ppo"],
    ["export", "policy=tune/rule.yaml", "scenario=tune/scenario.yaml", "run=export_rule"],
    [
        "read", "policy=train_ppo", "scenario=train_ppo/scenario.yaml", *QUIET, "evaluation.worlds=8", "states.worlds=4",
        "states.periods=4", "shock.worlds=4", "table.worlds=8", "table.periods=8", "run=read",
    ],
    [
        "benchmark", "scenario=tune/scenario.yaml", *QUIET, *TUNING, "evaluation.worlds=8", "bounds=none", "open_loop=false",
        "pictures=false", "policies=[local_base_stock,tune/rule.yaml,[train_ppo],export_ppo]", "run=benchmark",
    ],
]  # fmt: skip
LEFT_OUT = ("*.png", "*.svg")


def _write(name: str, data: Any) -> None:
    (FOLDER / name).write_text(json.dumps(data, indent=1) + "\n")


def _lines(data: dict[str, Any]) -> str:
    """JSON with one quantity a line, so that a difference shows what changed."""
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in data.items())
    return f"{{\n{rows}\n }}"


def make_worlds(before: Mapping[str, Any] | None = None) -> None:
    """Digests and sums of every scenario's worlds, or of those that there are none of ``before``."""
    parts = []
    for name in scenario_names():
        for seed in SEEDS:
            found = (before or {}).get(f"{name} {seed}")
            if found is None:
                found = {key: pinned(value) for key, value in worlds(scenario_named(name), seed).items()}
            parts.append(f" {json.dumps(f'{name} {seed}')}: {_lines(found)}")
    (FOLDER / "worlds.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")
    _write("scenarios.json", {"arithmetic": arithmetic(), "digests": digests()})


def make_saved() -> None:
    """One saved file of each kind, as the commands write them."""
    os.environ["ECHELONGYM_NATIVE"] = "0"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for command in COMMANDS:
            if code := main(command):
                sys.exit(f"exit {code}: {' '.join(command)}")
        Scenario.load("tune/scenario.yaml").sample(3, 5, "test").save("tape.npz")
        shutil.rmtree(SAVED, ignore_errors=True)
        shutil.copytree(folder, SAVED, ignore=shutil.ignore_patterns(*LEFT_OUT, ".*", "runs"))
        SAVED.chmod(0o755)


def make_costs() -> None:
    """What saved files decide and cost when they are read, and trainings that go on reach."""
    os.environ["ECHELONGYM_NATIVE"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        _write(COSTS, read_costs(Path(folder)))


if __name__ == "__main__":
    makers = {
        "names": lambda: _write("names.json", public_names()),
        "worlds": make_worlds,
        "added": lambda: make_worlds(json.loads((FOLDER / "worlds.json").read_text())),
        "saved": make_saved,
        "costs": make_costs,
    }
    for chosen in sys.argv[1:] or [name for name in makers if name != "added"]:
        makers[chosen]()
