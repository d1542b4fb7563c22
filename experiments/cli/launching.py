"""Launching of a command from a composed config in a run folder of its own: begun, resumed, or finished already."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import expected
from echelongym.envs.scenario.scenario import Scenario, shipped_scenarios
from echelongym.envs.storage.files import read_yaml
from echelongym.envs.workers.cores import using

from ..runs.claims import NEUTRAL, claimed, merged, unfinished
from ..runs.folders import prune, shown

_at_work: list[tuple[str, Path | None]] = []  # the command, and its run folder; None: all words of a sweep
_typed: list[str] = []  # what the user typed after the command


def run(command: str, data: dict[str, Any], folder: Path, named: bool, given: Sequence[str], sweep: bool) -> Any:
    """Run a command.

    Parameters
    ----------
    command, data
        Its name, and its composed config.
    folder, named
        Its run folder, and whether the user gave this name; else a free one beside it is taken.
    given
        Keys that the user gave.
    sweep
        Whether it is one of several jobs: then ``resume=true`` begins those that have not begun, and passes over those
        that are finished.

    Raises
    ------
    InputError
        For settings that cannot be used, or a run folder that is taken.
    """
    from .compose import checked

    module = importlib.import_module(f"echelongym.experiments.commands.{command}")
    visible = bool(getattr(module, "VISIBLE", False))
    resume = data.get("resume", "auto")
    try:
        if resume is True and named:
            data["resume"] = resume = _resumable(folder, visible, bool(given) or sweep)
            if resume is True and not visible:
                data = _resumed(command, data, folder)
            more = visible and (not sweep or data.get("budget") != _budget(folder))
            if resume is True and _finished(folder, visible) and not more:
                _say(f"{shown(folder)}: is finished already")
                return folder
        data["run"] = os.path.relpath(folder)
        settings = checked(command, data)
        if visible and named and resume is not True:
            module._check_free(folder)
        config = (unfinished(folder) if resume is True else None) or _data(settings)
        how = {True: True, False: False}.get(resume) if isinstance(resume, bool) else None
        with claimed(folder, config, named=named, visible=visible, resume=how) as held:
            if held.folder != folder:
                settings = settings.model_copy(update={"run": os.path.relpath(held.folder)})
            if held.taken_up:
                _say(f"{shown(held.folder)}: {held.taken_up} steps were finished before")
            _at_work.append((command, held.folder))
            with using(getattr(settings, "workers", 1)):
                made = module.run(settings, held.folder)
            _at_work.pop()
            return made
    except BaseException:
        prune(folder)
        raise


def at_work() -> str:
    """The words that go on with the command that was interrupted: ``train resume=FOLDER``; empty where there is none."""
    if not _at_work:
        return ""
    words, folder = _at_work[-1]
    return words if folder is None else f"{words} resume={shown(folder)}"


@contextmanager
def working_on(words: str) -> Iterator[None]:
    """Say, where what is done meanwhile is interrupted, that these words go on with it."""
    _at_work.append((words, None))
    yield
    _at_work.pop()


@contextmanager
def left_alone() -> Iterator[None]:
    """Forget a command that failed meanwhile, as others follow it."""
    before = len(_at_work)
    try:
        yield
    except Exception:
        del _at_work[before:]
        raise


@contextmanager
def typing(words: Sequence[str]) -> Iterator[None]:
    """Keep the words that the user typed while their command runs, for :func:`scenario_words`."""
    before = list(_typed)
    _typed[:] = words
    try:
        yield
    finally:
        _typed[:] = before


def typed_words() -> list[str]:
    """The words that the user typed after the command that runs."""
    return list(_typed)


def scenario_words(scenario: Scenario) -> list[str]:
    """The words that mean this scenario in another command: as they were typed here, else its name as shipped."""
    words = [word for word in _typed if word.lstrip("+~").startswith(("scenario=", "scenario."))]
    if any(word.startswith("scenario=") for word in words):
        return words
    name = scenario.name if scenario.name in shipped_scenarios() else "PATH.yaml"
    return [f"scenario={name}", *words]


def _resumable(folder: Path, visible: bool, begins: bool) -> bool | str:
    """``True`` where there is something to go on with, or finished; ``auto`` where the run is to begin.

    Raises
    ------
    InputError
        If there is nothing to go on with, and nothing is said of what is to begin.
    """
    begun = unfinished(folder) is not None or (visible and (folder / "checkpoints").is_dir())
    if begun or _finished(folder, visible):
        return True
    if not begins:
        raise expected("resume", shown(folder), "the folder of an unfinished run")
    return "auto"


def _resumed(command: str, data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The config of the unfinished run in a folder; what the user gave must be the same, but for what changes no result."""
    from .compose import checked, compose

    stored = unfinished(folder)
    if stored is None:
        return data

    configs = (data, compose(command), merged(data, stored))
    given, usual, before = (_data(checked(command, config)) for config in configs)
    for key, value in given.items():
        if key not in NEUTRAL and value != usual.get(key) and value != before[key]:
            said = value["name"] if key == "scenario" else value
            raise expected(f"{command}: {key}", said, f"that of the run in {shown(folder)}, or nothing")
    return merged(data, stored)


def _budget(folder: Path) -> Any:
    """The budget of the run in a folder, as its config has it; None where there is none."""
    config = folder / "config.yaml"
    return read_yaml(config).get("budget") if config.is_file() else None


def _finished(folder: Path, visible: bool) -> bool:
    """Whether a run folder holds all that it will."""
    if visible:
        return (folder / "summary.json").is_file()
    return (folder / "config.yaml").is_file()


def _data(settings: Any) -> dict[str, Any]:
    """Settings as plain data."""
    found: dict[str, Any] = settings.to_dict() if hasattr(settings, "to_dict") else settings.model_dump(mode="json")
    return found


def _say(text: str) -> None:
    from .terminal import say

    say(text)
