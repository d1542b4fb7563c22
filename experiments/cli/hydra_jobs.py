"""Jobs of Hydra: one, or as many as a sweep says, each composed, checked and launched."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import InputError, MissingExtra, naming_extras, shorten

from ..runs.sweeps import JobsFailed, own_sweep, sweeping
from . import launching
from .compose import PACKAGE, arguments, checked, composed, groups, plain
from .hydra_interface import clean_errors, split_flags
from .launching import typing
from .sweep_jobs import JobDone, JobOfSweep, run_jobs
from .terminal import warnings_as_lines

# Hydra writes nothing but our run folder, and logs nothing of its own.
_QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null")

_FOLDERS = ("hydra.run.dir=.", "hydra.sweep.dir=${run}")
_SWEEPER = "BasicSweeper"  # which does not look at what jobs give
_MOST_CHECKED = 100  # values of a key that are looked at before a sweep begins


def launch(command: str, given: Sequence[str]) -> None:
    """Compose the config of ``command``, check it and run it: once, or as often as a sweep says.

    Raises
    ------
    InputError
        On whatever in the arguments cannot be used.
    """
    flags, words = split_flags(given)
    sweep = "--multirun" in flags
    overrides = [*_QUIET, *_FOLDERS, *arguments(command, words, sweep)]
    failed: list[Exception] = []
    done: list[JobDone] = []
    jobs: list[JobOfSweep] = []

    def task(config: Any) -> Any:
        try:
            with naming_extras(), clean_errors():
                made = _run(command, config, jobs)
            if made is not None:
                done.append(JobDone(plain(config), made))
            return made
        except (InputError, MissingExtra, OSError) as error:
            # Hydra would print a line of its own; of a sweep, which may run elsewhere, it is to tell the failed job.
            if sweep:
                raise
            failed.append(error)

    with clean_errors():
        if sweep:
            _check_jobs(command, overrides)
            overrides.insert(0, f"hydra.sweep.subdir='{_sweep_name(overrides)}'")
        import hydra

        with typing(words), sweeping(), warnings_as_lines(), _composed_once(), _hydra_arguments([*flags, *overrides]):
            hydra.main(version_base="1.3", config_path=f"pkg://{PACKAGE}", config_name=command)(task)()
            if jobs:
                done += run_jobs(jobs, [command, *given])
                _raise_where_all_failed(done)
            if sweep and len(done) > 1:
                _end_of_sweep(command, done)
    if failed:
        raise failed[0]


def _raise_where_all_failed(done: Sequence[JobDone]) -> None:
    errors = [job.error for job in done if job.error is not None]
    if errors and len(errors) == len(done):
        raise errors[0]


def _end_of_sweep(command: str, done: Sequence[JobDone]) -> None:
    """What the command shows of all jobs together; an error where some of them failed."""
    module = importlib.import_module(f"{__package__.rpartition('.')[0]}.commands.{command}")
    if hasattr(module, "swept"):
        module.swept(done)
    errors = [job.error for job in done if job.error is not None]
    if errors:
        raise JobsFailed(
            f"{len(errors)} of {len(done)} jobs failed, the first with: {errors[0]}; the same command goes on with them"
        )


@contextmanager
def _composed_once() -> Iterator[None]:
    """Keep Hydra from composing the config a first time only to read ``hydra.mode``, which no config here sets."""
    from hydra._internal.hydra import Hydra

    before = Hydra.get_mode
    Hydra.get_mode = lambda self, config_name, overrides: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = before  # type: ignore[method-assign]


def _check_jobs(command: str, overrides: Sequence[str]) -> None:
    """Refuse a sweep with a value that cannot be used before its first job begins: each value is looked at once."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ValueType

    first: list[str] = []
    values: dict[int, list[str]] = {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.key_or_group.startswith("hydra"):
            continue
        words = [override.input_line or ""]
        if override.is_sweep_override():
            if not override.is_discrete_sweep():
                return  # values that another sweeper draws
            listed = override.value_type != ValueType.GLOB_CHOICE_SWEEP  # patterns are of names of groups
            found = itertools.islice(override.sweep_string_iterator(), _MOST_CHECKED) if listed else ()
            words = [f"{override.get_key_element()}={value}" for value in found]
            if not words:
                said = shorten((override.input_line or "").lstrip("+"))
                raise InputError(f"argument {said}: expected at least one value, as in seed=0,1 or seed=range(0,3)")
            values[len(first)] = words
        first += words[:1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each job says them
        for place, words in values.items():
            for word in words:
                checked(command, composed(command, [*first[:place], word, *first[place + 1 :]]))


def _run(command: str, config: Any, jobs: list[JobOfSweep]) -> Any:
    """Run a command once its settings are checked and its run folder is its own; a job of a sweep is put off, if it can be."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    job = HydraConfig.get()
    sweep = job.mode == RunMode.MULTIRUN
    data = plain(config)
    folder, named = Path(job.runtime.output_dir if sweep else data["run"]), _names_run(job)
    if sweep:
        basic = str(job.launcher.get("_target_", "")).endswith("BasicLauncher")
        if basic:
            own = own_sweep(Path(job.sweep.dir), named, launching.typed_words(), data)
            folder = own.folder_of(folder)
            if own.taken_up and data.get("resume", "auto") == "auto":
                named, data["resume"] = True, True
            if "workers" in data and str(job.sweeper.get("_target_", "")).endswith(_SWEEPER):
                jobs.append(JobOfSweep(command, data, folder, named, _given(job), launching.typed_words()))
                return None
    return launching.run(command, data, folder, named=named, given=_given(job), sweep=sweep)


def _given(job: Any) -> list[str]:
    """Keys that the user gave, without those that change no result."""
    keys = [word.lstrip("+~").partition("=")[0] for word in job.overrides.task]
    return [key for key in keys if key not in ("run", "resume", "progress")]


def _names_run(job: Any) -> bool:
    return any(word.lstrip("+").startswith("run=") for word in job.overrides.task)


def _sweep_name(overrides: Sequence[str]) -> str:
    """Name of a job's folder in a sweep, from what varies: ``seed_${seed}``."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parts = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if override.is_sweep_override() and not key.startswith("hydra"):
            source = f"hydra.runtime.choices.{key}" if key in groups() else key
            parts.append(f"{key.rpartition('.')[2]}_${{folder_name:${{{source}}}}}")
    return "-".join(parts) or "${hydra.job.num}"


@contextmanager
def _hydra_arguments(given: list[str]) -> Iterator[None]:
    """Hydra reads ``sys.argv``, and hands on errors as they are only where this variable is set."""
    before, variable = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [before[0], *given]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before
        if variable is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = variable
