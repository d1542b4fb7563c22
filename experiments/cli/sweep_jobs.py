"""Jobs of a sweep, side by side where there are workers: each has its run folder, as if it had been typed alone."""

from __future__ import annotations

import contextlib
import importlib
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import InputError, MissingExtra, naming_extras
from echelongym.envs.workers.cores import PAYS, WITH_GRADIENTS, checked_workers, most_workers
from echelongym.envs.workers.pieces import Piece, as_done

from ..runs.folders import shown
from . import launching
from .hydra_interface import clean_errors
from .terminal import bar_of_pieces, say, warnings_as_lines


@dataclass(frozen=True)
class JobOfSweep:
    """A job: what :func:`.launching.run` takes."""

    command: str
    data: dict[str, Any]
    folder: Path
    named: bool
    given: list[str]
    typed: list[str]

    def run(self) -> Path:
        """Run it in this process."""
        with naming_extras(), clean_errors(), launching.typing(self.typed):
            made: Path = launching.run(
                self.command, self.data, self.folder, named=self.named, given=self.given, sweep=True
            )
        return made

    def seconds(self) -> float | None:
        """Seconds that it will take, where its command can tell."""
        module = importlib.import_module(f"echelongym.experiments.commands.{self.command}")
        return float(module.job_seconds(self.data)) if hasattr(module, "job_seconds") else None


@dataclass(frozen=True)
class JobDone:
    """A job that is over: its settings and its run folder, and the error that it ended with, if it failed."""

    data: dict[str, Any]
    folder: Path
    error: Exception | None = None


def run_jobs(jobs: Sequence[JobOfSweep], words: Sequence[str]) -> list[JobDone]:
    """Run all jobs of a sweep, those after one that failed, too; what became of them, in their order.

    Where workers pay, jobs go side by side, with one bar, and what each says is printed when it is done. Otherwise, and
    where nobody can tell beforehand how long jobs take, each has this process and all workers to itself.

    Parameters
    ----------
    words
        What the user typed, to go on with where the sweep is interrupted.
    """
    workers = min((checked_workers(job.data["workers"]) for job in jobs), key=str)  # a number before auto
    seconds = [job.seconds() for job in jobs]
    told = [one for one in seconds if one is not None]
    expected = sum(told) if len(told) == len(jobs) else None
    pieces = [Piece(_run_alone, (job,), one or 1.0) for job, one in zip(jobs, seconds, strict=True)]
    most = most_workers(workers, len(jobs), WITH_GRADIENTS)
    if most == 1 or (workers == "auto" and (expected or 0.0) < PAYS):
        done = []
        for job in jobs:
            done.append(_run_one(job))
            _say_failure(done[-1])
        return done
    found: dict[int, JobDone] = {}
    with (
        launching.working_on(shlex.join(words)),
        bar_of_pieces(f"{len(jobs)} jobs, {most} at a time", pieces, bool(jobs[0].data.get("progress"))) as bar,
    ):
        for number, (made, text) in as_done(pieces, expected, WITH_GRADIENTS, bar, workers):
            found[number] = made
            if text.strip():
                say(text.rstrip("\n"))
            _say_failure(made)
    return [found[number] for number in range(len(jobs))]


def _run_one(job: JobOfSweep) -> JobDone:
    """Run a job; what the user can mend, or a full disk, ends it alone."""
    try:
        with launching.left_alone():
            return JobDone(job.data, job.run())
    except (InputError, MissingExtra, OSError) as error:
        return JobDone(job.data, job.folder, error)


def _say_failure(done: JobDone) -> None:
    if done.error is not None:
        say(f"{shown(done.folder)}: failed: {done.error}")


def _run_alone(job: JobOfSweep) -> tuple[JobDone, str]:
    """Run a job in a worker: what became of it, and what it said."""
    with contextlib.redirect_stdout(io.StringIO()) as said, warnings_as_lines():
        made = _run_one(job)
    return made, said.getvalue()
