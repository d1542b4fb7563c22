"""Hostile inputs: everything the package reads from outside, damaged in every way that somebody thought of.

`python tests/hostile/fuzz_inputs.py` tries them all and prints, by category, how many were tried, accepted rightly, refused
clearly, refused unclearly, accepted though wrong, and hung or filled memory; every fault has a line of its own.
`python tests/hostile/fuzz_inputs.py --sample 40 --only tape,action` tries 40 of each of two categories.

An input is *refused clearly* by an InputError or MissingExtra (exit code 2 on the command line) whose lines name the field
and what was expected, are short and hold nothing that a terminal would act on. Every other exception is a fault, and so is
whatever runs for more than some seconds, takes more than a gigabyte, or is accepted though it makes no sense. Cases run in
forked processes with limits on memory and time; what kills one of them is a fault, too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SECONDS = 5  # of processor time of one case; nearly all that are refused rightly take a hundredth
WAITING = 40  # seconds of any time: what waits for ever takes no processor time
MEMORY = 1 << 30  # bytes beyond what the process has already
LONGEST = 700  # characters of a line that is still read
MODULES = ("fuzz_scenarios", "fuzz_files", "fuzz_models", "fuzz_calls", "fuzz_commands")
VERDICTS = ("accepted rightly", "refused clearly", "refused unclearly", "accepted though wrong", "hung or over memory")
FAULTS = VERDICTS[2:]


@dataclass(frozen=True)
class Case:
    """One input. ``wanted``: whether it must be refused, must be accepted, or may be either as long as it then works."""

    category: str
    name: str
    attempt: Callable[[Path], Any]
    wanted: Literal["refused", "either", "accepted"] = "refused"


@dataclass(frozen=True)
class Verdict:
    """What became of a case, and the words that a user read."""

    kind: str
    words: str = ""


class Nonsense(Exception):
    """An input was accepted and what came of it makes no sense."""


def judged(case: Case, folder: Path) -> Verdict:
    """Try one case in this process."""
    from echelongym.envs.core.errors import InputError, MissingExtra

    class TooLong(BaseException):
        """The alarm rang."""

    def ring(*_: Any) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, ring)
    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITING)
    here = Path.cwd()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.attempt(folder)
    except (InputError, MissingExtra) as error:
        why = unclear(str(error))
        if case.wanted == "accepted":
            return Verdict("refused unclearly", f"expected to be read: {error}")
        return Verdict("refused unclearly", f"{why}: {error}") if why else Verdict("refused clearly", str(error))
    except Nonsense as error:
        return Verdict("accepted though wrong", str(error))
    except (MemoryError, TooLong) as error:
        return Verdict("hung or over memory", type(error).__name__)
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-3:]
        place = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(last))
        return Verdict("refused unclearly", f"{type(error).__name__}: {str(error)[:200]!r} at {place}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        os.chdir(here)
    return Verdict("accepted though wrong" if case.wanted == "refused" else "accepted rightly")


def unclear(message: str) -> str:
    """Why a message does not help a user, empty where it does."""
    lines = message.split("\n")
    if not message.strip():
        return "no words"
    for line in lines:
        if len(line) > LONGEST:
            return f"a line of {len(line)} characters"
        if not line.isprintable():
            return "signs that a terminal acts on"
        if not set(":'") & set(line):
            return "names no field"
    for word in ("Traceback", "pydantic", "Errno", "object at 0x", "<class", "numpy.core"):
        if word in message:
            return f"says {word}"
    return ""


def run_cases(cases: Sequence[Case], jobs: int = 1) -> list[Verdict]:
    """Verdicts of all cases, each batch in a process of its own."""
    found: dict[int, Verdict] = {}
    waiting = list(range(len(cases)))
    while waiting:
        batch, waiting = waiting[:200], waiting[200:]
        while batch:
            done, killed = _in_child(cases, batch)
            found |= done
            batch = [index for index in batch if index not in found]
            if batch and killed is not None:
                found[batch[0]] = Verdict("hung or over memory", killed)
                batch = batch[1:]
    return [found[index] for index in range(len(cases))]


def _in_child(cases: Sequence[Case], batch: Sequence[int]) -> tuple[dict[int, Verdict], str | None]:
    """What a forked process said before it was through, and how it died if it did."""
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.close(receiving)
            _limit_memory()
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            for index in batch:
                with tempfile.TemporaryDirectory() as name:
                    verdict = judged(cases[index], Path(name))
                os.write(sending, (json.dumps([index, verdict.kind, verdict.words[:600]]) + "\n").encode())
        os._exit(0)
    os.close(sending)
    text, killed = b"", None
    while True:
        ready, _, _ = select.select([receiving], [], [], WAITING + 20)
        if not ready:
            os.kill(child, signal.SIGKILL)
            killed = "neither answered nor heard the alarm"
            break
        piece = os.read(receiving, 1 << 16)
        if not piece:
            break
        text += piece
    os.close(receiving)
    _, status = os.waitpid(child, 0)
    found = {}
    for line in text.decode().splitlines():
        index, kind, words = json.loads(line)
        found[index] = Verdict(kind, words)
    if len(found) < len(batch) and killed is None:
        killed = f"the process died (status {status})"
    return found, killed


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def all_cases(folder: Path, only: Iterable[str] = (), modules: Iterable[str] = MODULES) -> list[Case]:
    """Every case; ``folder`` holds the sound files that are damaged."""
    wanted, found = set(only), []
    for module in modules:
        made = importlib.import_module(module)
        if not wanted or wanted & set(made.CATEGORIES):
            found += [case for case in made.cases(folder) if not wanted or case.category in wanted]
    return found


def sampled(cases: Sequence[Case], count: int, seed: int = 0) -> list[Case]:
    """At most ``count`` cases of each category, the same for the same seed."""
    by_category = defaultdict(list)
    for case in cases:
        by_category[case.category].append(case)
    rng = random.Random(seed)
    return [case for group in by_category.values() for case in rng.sample(group, min(count, len(group)))]


def table(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> str:
    """Counts by category and verdict."""
    counts = Counter((case.category, verdict.kind) for case, verdict in zip(cases, verdicts, strict=True))
    categories = list(dict.fromkeys(case.category for case in cases))
    width = max(map(len, categories), default=5)
    lines = [f"{'':{width}} {'tried':>6} " + " ".join(f"{kind:>21}" for kind in VERDICTS)]
    for category in [*categories, "all"]:
        row = [sum(n for (c, k), n in counts.items() if k == kind and category in (c, "all")) for kind in VERDICTS]
        lines.append(f"{category:{width}} {sum(row):6} " + " ".join(f"{n:21}" for n in row))
    return "\n".join(lines)


def faults(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> list[str]:
    """One line for every case that was not dealt with rightly."""
    pairs = zip(cases, verdicts, strict=True)
    return [f"{v.kind}: {c.category}: {c.name}: {v.words}"[:500] for c, v in pairs if v.kind in FAULTS]


def main() -> int:
    """Try the cases asked for; the exit code is 1 if there are faults."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="categories, with commas between them")
    parser.add_argument("--modules", default=",".join(MODULES), help="where cases are, with commas between them")
    parser.add_argument("--sample", type=int, default=0, help="cases of each category; 0 = all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--messages", action="store_true", help="also print what was refused, and how")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        cases = all_cases(Path(name), [word for word in options.only.split(",") if word], options.modules.split(","))
        cases = sampled(cases, options.sample, options.seed) if options.sample else cases
        verdicts = run_cases(cases)
    if options.messages:
        for case, verdict in zip(cases, verdicts, strict=True):
            print(f"{verdict.kind}: {case.category}: {case.name}: {verdict.words}")
    found = faults(cases, verdicts)
    print(*found, sep="\n")
    print(table(cases, verdicts))
    print(f"{len(cases)} inputs in {time.monotonic() - began:.0f} s")
    return int(bool(found))


if __name__ == "__main__":
    sys.modules["fuzz_inputs"] = sys.modules["__main__"]
    sys.exit(main())
