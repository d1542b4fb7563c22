"""Sweeps: a folder belongs to one at a time, and a sweep that was killed is resumed when it is typed again.

While a sweep (``-m seed=0,1``) fills the folder ``NAME``, beside it lie ``.NAME.sweep``, a lock that the system gives back
when the process ends, and ``.NAME.swept``, what was typed. Both go when the sweep is done.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import CannotWrite, InputError, MissingExtra, expected
from echelongym.envs.storage.files import write_text
from echelongym.envs.storage.locks import Lock, take

from .claims import KEPT_DAYS, NEUTRAL, stated
from .folders import prune, shown

_LOCK, _TYPED = ".sweep", ".swept"
_HYDRA = "multirun.yaml"  # that Hydra writes into the folder of a sweep
_sweeps: dict[Path, Sweep] = {}


class JobsFailed(InputError):
    """Some jobs of a sweep failed, and others are done: it is taken up when it is typed again."""


@dataclass(frozen=True)
class Sweep:
    """A sweep at work in this process.

    Attributes
    ----------
    folder
        Of all its jobs.
    taken_up
        Whether an equal sweep was killed, whose folder it is.
    asked
        The folder that it was to fill, had no other sweep had it.
    """

    folder: Path
    lock: Lock
    taken_up: bool
    asked: Path
    before: Any = None  # what another sweep, which was killed, had typed for the same folder

    def folder_of(self, job: Path) -> Path:
        """The folder of a job that Hydra, which makes it, puts into the folder asked for."""
        found = self.folder / os.path.relpath(job, self.asked)
        if self.folder != self.asked:
            self._clear()
            prune(job)
        return found

    def release(self, done: bool, refused: bool = False) -> None:
        """Let go of the folder; what was typed stays unless all is ``done``, and where it is ``refused`` what was before."""
        file = _beside(self.folder, _TYPED)
        if refused and self.before is not None:
            write_text(json.dumps(self.before) + "\n", file)
        elif done or refused:
            file.unlink(missing_ok=True)
        self.lock.release(remove=not file.exists())
        if refused and [path.name for path in self.folder.glob("*")] == [_HYDRA]:  # no job has begun
            (self.folder / _HYDRA).unlink(missing_ok=True)
            prune(self.folder)
        if self.folder != self.asked:
            self._clear()

    def _clear(self) -> None:
        """Remove what Hydra wrote for this sweep into the folder asked for, unless another sweep has that."""
        if not any(_beside(self.asked, suffix).exists() for suffix in (_LOCK, _TYPED)):
            (self.asked / _HYDRA).unlink(missing_ok=True)
            prune(self.asked)


def own_sweep(sweep: Path, named: bool, words: Sequence[str], config: Mapping[str, Any]) -> Sweep:
    """The sweep of this process that was to fill a folder, begun with its first job.

    Parameters
    ----------
    sweep, named
        The folder, and whether the user gave its name; else one that was killed is looked for beside it, and where the
        name is taken, ``NAME-2`` is.
    words, config
        What was typed, and the settings of the first job.

    Raises
    ------
    InputError
        If another process is at work on the sweep.
    """
    place = Path(os.path.abspath(sweep))
    if place not in _sweeps:
        typed = [word for word in words if word.lstrip("+~").partition("=")[0] not in NEUTRAL]
        wanted = json.loads(json.dumps({"words": typed, **stated(config)}, default=str))
        killed = None if config.get("resume") is False else _killed(sweep, named, wanted)
        own = _sweeps[place] = killed or _begun(sweep, named)
        write_text(json.dumps(wanted) + "\n", _beside(own.folder, _TYPED))
    return _sweeps[place]


@contextlib.contextmanager
def sweeping() -> Iterator[None]:
    """Sweeps that begin meanwhile are let go of at the end; one that was interrupted is taken up when it is typed again."""
    done = refused = False
    try:
        yield
        done = True
    except (InputError, MissingExtra) as error:
        refused = not isinstance(error, CannotWrite | JobsFailed)
        raise
    finally:
        while _sweeps:
            _sweeps.popitem()[1].release(done, refused)


def _killed(sweep: Path, named: bool, wanted: Mapping[str, Any]) -> Sweep | None:
    """The sweep of the same words and settings that nobody works on any more, if there is one; strays are removed."""
    for file in sorted(sweep.parent.glob(f".*{_TYPED}")):
        folder = file.with_name(file.name.removeprefix(".").removesuffix(_TYPED))
        equal = _typed(file) == wanted and (not named or folder.name == sweep.name)
        if not equal and folder.is_dir() and time.time() - file.stat().st_mtime < KEPT_DAYS * 86_400:
            continue
        lock = take(_beside(folder, _LOCK))
        if lock is None:
            continue
        if equal and _typed(file) == wanted:
            return Sweep(folder, lock, True, sweep)
        Sweep(folder, lock, False, folder).release(done=True)
    for file in sweep.parent.glob(f".*{_LOCK}"):  # killed before anything was typed beside it
        if not file.with_suffix(_TYPED).exists() and (lock := take(file)) is not None:
            lock.release()
    return None


def _begun(sweep: Path, named: bool) -> Sweep:
    """A sweep of a folder that nobody else has."""
    for number in range(1, 10_000):
        target = sweep if number == 1 else sweep.with_name(f"{sweep.name}-{number}")
        lock = take(_beside(target, _LOCK))
        killed = _beside(target, _TYPED).exists()  # another sweep, which began in the same second
        if lock is not None and (named or (not killed and (number == 1 or not target.exists()))):
            return Sweep(target, lock, False, sweep, _typed(_beside(target, _TYPED)))
        if named:
            break
        if lock is not None:
            lock.release(remove=not killed)
    raise expected("run", shown(sweep), "another folder, as another process is at work on this one")


def _typed(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}{suffix}")


__all__ = ["JobsFailed", "Sweep", "own_sweep", "sweeping"]
