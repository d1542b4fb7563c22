"""The table of speed and scale: each kind of work beside its goal, its roofline and a peer, in turns in one run.

    python -m echelongym.experiments.studies.engine_speed                               (make bench)
    python -m echelongym.experiments.studies.engine_speed --rows single vector --json speed.json
    python -m echelongym.experiments.studies.engine_speed --peer PYTHON                 (make bench PEER_PYTHON=PYTHON)

Env-steps (periods of one world) per CPU-second of one process, or CPU-milliseconds, CPU-seconds and GB where said. *best* of
some turns and their *median*: what other processes take away only makes a figure worse. *before* is what was measured before
the engine was compiled, on another day. A *roofline* is hand-written C of the same period, policy and demand inside, with no
observation and no indicators (of `simulate` from a tape, of gradients with the way back; of loading, libyaml that reads the
file and keeps nothing): what the processor can do. *of roofline* and *times the peer* are medians of the ratios within a
turn. PYTHON is an interpreter with one or more of gym-invmgmt, or-gym-inventory, dynaplex and stockpyl (pip install them
into an environment of their own).
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import numpy as np

from echelongym.envs.compiler.c_compiler import compiler
from echelongym.envs.core.errors import MissingExtra, expected, is_installed, unknown
from echelongym.envs.storage.files import write_text

from ..cli.terminal import progress
from .console import StudyParser, start
from .rooflines.measure import SECONDS, Found, measured
from .rooflines.peer_process import PeerProcess
from .rooflines.rows import ROWS

HEADS = (
    "work", "before", "best", "median", "goal", "of goal", "roofline", "of roofline", "peer", "times the peer",
)  # fmt: skip


def number(value: float | None, unit: str) -> str:
    """A figure with three digits, and its unit."""
    if value is None:
        return "-"
    if unit != "steps":
        return f"{value:.3g} {unit}"
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g}"


def share(value: float | None) -> str:
    """A ratio below one in percent, others as a factor."""
    if value is None:
        return "-"
    if value < 1:
        return f"{100 * value:.2g} %"
    return f"{value:,.0f} x" if value >= 100 else f"{value:.3g} x"


def cells(found: Found, versions: dict[str, str]) -> list[str]:
    """The table's row of a line."""
    line, unit = found.line, found.line.unit
    peer = number(found.best("peer"), unit)
    if found.peer and line.peer:
        peer = f"{line.peer} {versions.get(line.peer, '')} {peer}".replace("  ", " ")
    return [
        line.work,
        number(line.before, unit),
        number(found.best("ours"), unit),
        number(found.middle("ours"), unit),
        number(line.goal, unit),
        share(found.of_goal()),
        number(found.best("roofline"), unit),
        share(found.ratio("roofline")),
        peer,
        share(found.ratio("peer")),
    ]


def facts() -> dict[str, Any]:
    """Machine and versions."""
    made = compiler()
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "compiler": made and made["version"],
        "jax": is_installed("jax"),
    }


def main() -> None:
    """Read the command line, print the table line by line, and write it."""
    parser = StudyParser(__doc__)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seconds", default=str(SECONDS), help="CPU-seconds of one measurement, at least")
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has other packages")
    parser.add_argument("--json", metavar="FILE", help="where every turn is written to")
    given = parser.parse_args()
    for name in given.rows:
        if name not in ROWS:
            raise unknown("row", name, ROWS)
    try:
        seconds = float(given.seconds)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 3600:
        raise expected("seconds", given.seconds, "a number above 0")
    if given.json and not Path(given.json).absolute().parent.is_dir():
        raise expected("json", given.json, "a file in a folder that is there")
    everything: list[Found] = []
    missing: list[str] = []
    with PeerProcess(given.peer) as peer:
        for name, reason in peer.missing.items():
            print(f"{name} is not measured: {reason}")
        print(f"| {' | '.join(HEADS)} |")
        print("|" + "---|" * len(HEADS), flush=True)
        with progress("bench", len(given.rows), "rows") as advance:
            for name in given.rows:
                try:
                    for line in ROWS[name]():
                        *_, found = measured(line, seconds, peer.figure)
                        everything.append(found)
                        print(f"| {' | '.join(cells(found, peer.versions))} |", flush=True)
                except (MissingExtra, CalledProcessError) as error:  # other rows are measured even so
                    missing.append(f"{name} is not measured: {error}")
                advance()
        versions = peer.versions
    for reason in missing:
        print(reason)
    for found in everything:
        if found.line.note:
            print(f"{found.line.work}: {found.line.note()}")
    if given.json:
        rows = [found.to_dict() for found in everything]
        content = {"schema": 1, **facts(), "peers": versions, "seconds": seconds, "rows": rows}
        write_text(json.dumps(content, indent=2) + "\n", given.json)


if __name__ == "__main__":
    start(main)
