"""Kill commands at random times, type them again, and compare: ``python tests/experiments/random_kills.py 40``.

Every command runs once undisturbed. Then it is killed (SIGKILL, with all its worker processes left to themselves) at a
random time, up to three times, and typed again until it ends. Told for each: whether it went on, whether all that it left
behind is equal but for times, whether anything of its folder was there before it was whole, whether workers outlived it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from test_killed import CODE, STORE, children, result

SMALL = ["tuning=quick", "tuning.worlds=8", "tuning.judged=8", "tuning.budget=20000", "progress=false"]
TRAINING = ["agent.worlds=8", "agent.n_steps=16", "agent.batch_size=64", "validation.worlds=4", "validation.times=5"]
TRAINING += ["tensorboard=false", "checkpoint_seconds=0.2", "progress=false"]
COMMANDS = {
    "train": ["train", "budget.env_steps=16384", *TRAINING, *SMALL],
    "tune": ["tune", *SMALL],
    "benchmark": ["benchmark", *SMALL, "bounds=quick", "bounds.worlds=8", "bounds.steps=16", "evaluation.worlds=32"],
    "bound": ["bound", *SMALL, "bounds=quick", "bounds.worlds=32", "bounds.steps=24", "exact=false"],
    "generalise": ["generalise", *SMALL, "scenario=distribution_family", "variants=1", "sizes=[12]", "severities=[1]"],
    "exact": ["exact", "scenario=lost_sales", "policy=capped_echelon_base_stock", "progress=false"],
    "read": ["read", "evaluation.worlds=16", "states.worlds=4", "shock.worlds=8", "table.worlds=8", "progress=false"],
    "planner": ["simulate", "policy=rolling_horizon", "evaluation.worlds=96", "progress=false"],
    "export": ["export", "policy=echelon_base_stock", "check.observations=4000"],
    "demo": ["demo", *SMALL, "training.cpu_seconds=3", "evaluation.worlds=16"],
    "sweep": ["train", "budget.env_steps=4096", *TRAINING, *SMALL, "-m", "seed=0,1", "resume=true"],
    "sweep by time": ["train", "budget.env_steps=4096", *TRAINING, *SMALL, "-m", "seed=0,1"],
}
OWN_SCENARIO = ("generalise", "exact")


def start(words: list[str]) -> subprocess.Popen[bytes]:
    """Begin a command."""
    return subprocess.Popen([sys.executable, "-c", CODE, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def words_of(name: str, folder: str) -> list[str]:
    """The words of a command into a folder."""
    named = [] if name.endswith("by time") else [f"run={folder}"]
    return [*COMMANDS[name], *([] if name in OWN_SCENARIO else ["scenario=store.yaml"]), *named]


def found_at(name: str, folder: str) -> str:
    """Where a command has its results: under the name of a time there must be one folder, whatever was killed."""
    if name.endswith("by time"):
        there = list(Path("runs/train/store").iterdir())
        if len(there) == 1:
            there[0].rename(folder)
        else:
            print(f"folders: {sorted(str(path) for path in Path('runs').rglob('*'))}", flush=True)
    return folder


def once(name: str, number: int, seconds: float, rng: random.Random) -> dict[str, object]:
    """Kill one command at random times, then let it end."""
    folder = f"killed_{name}_{number}"
    found: dict[str, object] = {"command": name, "kills": 0, "orphans": 0, "half": 0}
    ended = False
    for _ in range(rng.randint(1, 3)):
        child = start(words_of(name, folder))
        time.sleep(rng.uniform(0.1, 0.95) * seconds)
        if child.poll() is not None:
            ended = name.endswith("by time")  # typed again it would begin another run
            break
        workers = children(child.pid)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        found["kills"] = int(str(found["kills"])) + 1
        time.sleep(3.0)
        found["orphans"] = int(str(found["orphans"])) + sum(Path(f"/proc/{one}").exists() for one in workers)
        whole = name.startswith(("train", "sweep")) or not Path(folder).exists() or Path(folder, "config.yaml").exists()
        found["half"] = int(str(found["half"])) + (not whole)
        place = Path("runs/train/store")
        if name.endswith("by time") and not list(place.glob(".*.swept")) and list(place.glob("*/seed_1/summary.json")):
            ended = True  # all was done, only the process had not left yet
            break
    if not ended:
        child = start(words_of(name, folder))
    _, error = child.communicate()
    done = ended or child.returncode == 0 or b"is new or empty" in error or b"finished training" in error
    found["resumed"], found["said"] = done, "" if done else error.decode()[-200:]
    # A budget in seconds, that of the demo's training, gives no equal policies.
    found["equal"] = done and (name == "demo" or result(found_at(name, folder)) == result(f"whole_{name}"))
    found["strays"] = [path.name for path in Path().glob(f".{folder}*")]
    return found


def main(count: int, seed: int = 0, chosen: list[str] | None = None) -> None:
    """Kill ``count`` times over all commands, in turn."""
    rng, names = random.Random(seed), chosen or list(COMMANDS)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        Path("store.yaml").write_text(STORE)
        seconds, rows, kills = {}, [], 0
        for name in names:
            subprocess.run(["rm", "-rf", "runs"], check=True)
            begun = time.monotonic()
            child = start(words_of(name, f"whole_{name}"))
            assert child.wait() == 0, (name, child.stderr and child.stderr.read().decode())
            found_at(name, f"whole_{name}")
            seconds[name] = time.monotonic() - begun
            print(f"{name}: {seconds[name]:.1f} s", flush=True)
        number = 0
        while kills < count:
            name = names[number % len(names)]
            # What is cached would leave nothing to be killed.
            subprocess.run(["rm", "-rf", "runs"], check=True)
            rows.append(once(name, number, seconds[name], rng))
            kills += int(str(rows[-1]["kills"]))
            number += 1
            print(json.dumps(rows[-1]), flush=True)
        for key in ("resumed", "equal"):
            print(f"{key}: {sum(bool(row[key]) for row in rows)} of {len(rows)} runs ({kills} kills)")
        for key in ("orphans", "half"):
            print(f"{key}: {sum(int(str(row[key])) for row in rows)}")
        print(f"strays: {sum(len(list(row['strays'])) for row in rows)}")  # type: ignore[call-overload]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40, 0, sys.argv[2:] or None)
