"""Claims on run folders: a folder belongs to one process at a time, and finished steps of a killed run are not lost.

While a command works towards the run folder ``NAME``, the folder ``.NAME.unfinished`` beside it holds

- ``lock``, which the system gives back when the process ends, however it ends: so a name is taken by one process alone;
- ``settings.json``, what was asked for, and a digest of the code that works on it;
- ``steps/``, a journal of finished steps (:mod:`echelongym.envs.storage.journal`);
- ``results/``, the files of the run folder to be, which takes its name when all are written.

A command that is typed again, under the same name or, where the name is the time, under another, takes over what an
equal one had finished before it was killed. What no process works on any more and holds no finished step is removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import CannotWrite, InputError, MissingExtra, expected
from echelongym.envs.storage import journal as journals
from echelongym.envs.storage.files import TEMPORARY, make_folder, write_text
from echelongym.envs.storage.locks import Lock, owner, take

_SUFFIX = ".unfinished"
_LOCK, _SETTINGS, _STEPS, _RESULTS = "lock", "settings.json", "steps", "results"
KEPT_DAYS = 14.0  # for which what a killed run had finished waits to be taken up
#: Settings that change no result.
NEUTRAL = ("run", "resume", "progress", "workers", "cache", "refresh")
_claims: dict[Path, Claim] = {}


class Claim:
    """A run folder that this process may fill.

    Attributes
    ----------
    folder
        The run folder; not there yet, unless results are written into it one by one (``train``).
    taken_up
        Number of finished steps that were found.
    """

    def __init__(self, folder: Path, lock: Lock, config: Mapping[str, Any], visible: bool) -> None:
        self.folder, self.visible, self._lock = folder, visible, lock
        self.working = _working(folder)
        self.results = self.working / _RESULTS
        self.journal = journals.Journal(self.working / _STEPS)
        self.taken_up = len(self.journal)
        self._ended = False
        self.state(config)

    def state(self, config: Mapping[str, Any]) -> None:
        """Write down what the run is asked for."""
        given = {key: value for key, value in config.items() if key not in ("run", "resume", "progress")}
        told = {**stated(config), "given": given, "visible": self.visible}
        write_text(json.dumps(told, default=str) + "\n", self.working / _SETTINGS)

    def finish(self) -> Path:
        """Give results the name of the run folder, if they are not in it already; returns the folder."""
        if not self._ended:
            if self.results.is_dir():
                self.results.chmod(0o755)
                self.folder = _moved(self.results, self.folder)
            self._end()
        return self.folder

    def abandon(self, refused: bool = False) -> None:
        """Let go of the folder; what was finished stays to be taken up, unless the settings were ``refused``."""
        kept = (self.folder / "checkpoints").is_dir() if refused else self.visible or len(self.journal) > 0
        if self._ended or not kept:
            self._end()
            if self.visible:
                with contextlib.suppress(OSError):  # there is something in it
                    self.folder.rmdir()
        else:
            self.journal.close()
            self._lock.release(remove=False)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self.journal.close()
        # The lock goes last, so that nobody takes up what is being removed.
        _emptied(self.working, self._lock)


@contextlib.contextmanager
def claimed(folder: Path, config: Mapping[str, Any], **how: bool | None) -> Iterator[Claim]:
    """:func:`claim` a run folder while a command works; steps are kept in its journal.

    What was finished stays to be taken up where the command is interrupted, or fails for want of disk or memory; it
    goes where the settings turn out to be no good.
    """
    held = claim(folder, config, **how)  # type: ignore[arg-type]
    place = _place(held.folder)
    _claims[place] = held
    try:
        with journals.recording(held.journal):
            yield held
        held.finish()
    except BaseException as error:
        held.abandon(refused=isinstance(error, InputError | MissingExtra) and not isinstance(error, CannotWrite))
        raise
    finally:
        del _claims[place]


def claim(
    folder: Path, config: Mapping[str, Any], named: bool = True, visible: bool = False, resume: bool | None = None
) -> Claim:
    """Claim a run folder, and take up what an equal run had finished before it was killed.

    Parameters
    ----------
    folder
        The run folder.
    config
        Resolved settings, plain data: equal ones (but for ``NEUTRAL``) give equal results.
    named
        Whether a user gave this very name; else, where it is taken, ``NAME-2`` and so on are.
    visible
        Whether results are written into the run folder one by one, which is then made now.
    resume
        True: go on whatever the settings of the unfinished run were; False: never; None: if they were the same.

    Raises
    ------
    InputError
        If the name is taken: by a process that is at work, by results, or by an unfinished run of other settings.
    """
    above = next(one for one in folder.absolute().parents if one.exists())
    if not above.is_dir():
        raise expected("run", str(folder), f"a new name in a folder, which {above.name} is not")
    make_folder(folder.parent)
    wanted = _comparable(config)
    clear(folder.parent)
    if not named and resume is not False and (other := _equal_one(folder.parent, wanted, visible)) is not None:
        if visible:  # its results are in a folder of their own already
            return Claim(*other, config, visible)
    else:
        other = None
    for number in range(1, 10_000):
        target = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        lock = _taken(target, named)
        if lock is None:
            continue
        try:
            if _settings(_working(target)) is not None:
                if not named:  # an unfinished run of other settings, which began in the same second
                    _let_go(target, lock)
                    continue
                _check_equal(target, wanted, resume)
            elif not _is_free(target) and not (visible and resume):
                _let_go(target, lock)
                if not named:
                    continue
                raise expected("run", str(target), "a folder that is new or empty")
            if other is not None:
                _take_over(*other, target)
            if visible:
                make_folder(target)
            return Claim(target, lock, config, visible)
        except BaseException:
            _let_go(target, lock)
            raise
    raise expected("run", str(folder), "a folder that is new or empty")


def _taken(target: Path, named: bool) -> Lock | None:
    """The lock of a run folder's name; None where another process has it and the name was not given by a user.

    Another may hold it for a moment just to look whether anybody does, so a name that was given is tried for a while.
    """
    for _ in range(20 if named else 1):
        lock = take(_working(target) / _LOCK)
        if lock is not None:
            return lock
        if named:
            time.sleep(0.02)
    if not named:
        return None
    who = owner(_working(target) / _LOCK)
    raise expected("run", str(target), f"another folder, as process {who or 'unknown'} is at work on this one")


def _check_equal(target: Path, wanted: Mapping[str, Any], resume: bool | None) -> None:
    """Whether the unfinished run in a folder may be gone on with; steps of other code are removed."""
    before = _settings(_working(target))
    assert before is not None
    if before["config"] != wanted and resume is None:
        difference = _difference(before["config"], wanted)
        raise InputError(
            f"run = {str(target)!r}: holds an unfinished run with another {difference}: expected the same settings to go on "
            "with it, resume=true and no settings, or another folder"
        )
    if before["code"] != _code() or resume is False:
        _remove(_working(target) / _STEPS)
        _remove(_working(target) / _RESULTS)


def current(folder: Path) -> Claim | None:
    """The claim of this process on a run folder, if it has one."""
    return _claims.get(_place(folder))


def unfinished(folder: Path) -> dict[str, Any] | None:
    """Settings of the unfinished run that was to fill a folder; None where there is none."""
    found = _settings(_working(folder))
    return None if found is None else dict(found.get("given") or found["config"])


def merged(data: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The config that a claim stored, with those settings of another one that it does not store as they change no result."""
    found = {}
    for key, value in stored.items():
        other = data.get(key)
        both = isinstance(value, Mapping) and isinstance(other, Mapping) and key != "scenario"
        found[key] = merged(other, value) if both else value  # type: ignore[arg-type]
    return {key: data[key] for key in NEUTRAL if key in data} | found


def clear(parent: Path) -> None:
    """Remove working folders that no process works on, with nothing in them that could be taken up, or for long."""
    for working in parent.glob(f".*{_SUFFIX}"):
        settings = _settings(working)
        if settings is not None and time.time() - _changed(working) < KEPT_DAYS * 86_400:
            visible = bool(settings.get("visible"))
            if _folder_of(working).is_dir() if visible else _has_steps(working) and _is_free(_folder_of(working)):
                continue
        if working.is_dir() and (lock := take(working / _LOCK)) is not None:
            _emptied(working, lock)
    for path in parent.glob(f".*{TEMPORARY}"):
        with contextlib.suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime > 3600:
                path.unlink()


def _equal_one(parent: Path, wanted: Mapping[str, Any], visible: bool) -> tuple[Path, Lock] | None:
    """The unfinished run with the same settings and code that nobody works on, and its lock."""
    for working in sorted(parent.glob(f".*{_SUFFIX}")):
        found = _settings(working)
        if found is not None and {"config": wanted, "code": _code(), "visible": visible}.items() <= found.items():
            lock = take(working / _LOCK)
            if lock is not None:
                if _settings(working) == found and (not visible or not (_folder_of(working) / "summary.json").exists()):
                    return _folder_of(working), lock
                lock.release(remove=False)
    return None


def _take_over(folder: Path, lock: Lock, target: Path) -> None:
    for name in (_STEPS, _RESULTS):
        with contextlib.suppress(FileNotFoundError):
            os.replace(_working(folder) / name, _working(target) / name)
    _emptied(_working(folder), lock)


def _let_go(target: Path, lock: Lock) -> None:
    """Give a lock back; what an unfinished run had done stays."""
    if _settings(_working(target)) is not None:
        lock.release(remove=False)
    else:
        _emptied(_working(target), lock)


def _emptied(working: Path, lock: Lock) -> None:
    """Remove a working folder whose lock is held; one that another process is making anew stays."""
    for path in (working / _SETTINGS, *working.glob("*")):
        if path.name != _LOCK:
            _remove(path)
    lock.release()
    with contextlib.suppress(OSError):
        working.rmdir()


def _moved(results: Path, folder: Path) -> Path:
    for number in range(1, 10_000):
        target = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            os.replace(results, target)  # takes the place of an empty folder, never of a full one
            return target
        except OSError:
            if not target.exists():
                raise
    raise expected("run", str(folder), "a folder that is new or empty")


def _settings(working: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((working / _SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("config"), dict) and "code" in found else None


def stated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Identity of a run: its settings but for those that change no result, and the code that works on it."""
    return {"config": _comparable(config), "code": _code()}


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that change no result, as they are after writing and reading."""

    def without(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): without(item) for key, item in value.items() if key not in NEUTRAL}
        return [without(item) for item in value] if isinstance(value, list | tuple) else value

    found = {key: item if key == "scenario" else without(item) for key, item in config.items() if key not in NEUTRAL}
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return plain


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The first key in which two settings differ, dotted."""
    for key in sorted({*one, *other}):
        mine, theirs = one.get(key), other.get(key)
        if mine != theirs:
            both = isinstance(mine, Mapping) and isinstance(theirs, Mapping)
            return f"{key}.{_difference(mine, theirs)}" if both else key  # type: ignore[arg-type]
    return "setting"


def _code() -> str:
    """Digest of the code that steps are computed by."""
    import numpy as np

    from .sources import tree

    return f"{tree()} python {sys.version_info[0]}.{sys.version_info[1]} numpy {np.__version__}"


def _working(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}{_SUFFIX}")


def _folder_of(working: Path) -> Path:
    return working.with_name(working.name.removeprefix(".").removesuffix(_SUFFIX))


def _place(folder: Path) -> Path:
    return Path(os.path.abspath(folder))


def _changed(path: Path) -> float:
    """When something in a working folder was written last."""
    try:
        return max(one.stat().st_mtime for one in (path, *path.glob("*"), *path.glob("*/*")))
    except OSError:
        return time.time()


def _has_steps(working: Path) -> bool:
    return any(path.stat().st_size for path in (working / _STEPS).glob("*"))


def _is_free(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
