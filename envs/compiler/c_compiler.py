"""The system's C compiler, and a cache of compiled libraries."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from ..core.errors import CompilationWarning, warn
from ..storage.cache import cache_folder, content_digest, is_own_file, is_private
from ..storage.files import sync_folder

#: No contraction and no reordering: results are those of the operations written down, one by one. No
#: -fno-trapping-math either: GCC then takes a number cut to a whole one and back for trunc(), which keeps the sign of -0.
_FLAGS = (
    "-std=gnu11 -O2 -ftree-vectorize -ffp-contract=off -fno-fast-math -fno-math-errno "
    "-fwrapv -fno-strict-aliasing -fvisibility=hidden -fPIC -shared -w"
).split()
_NEW = "new-"  # how names of folders begin in which a compiler works
_SECONDS = 120  # a compiler that takes longer is given up
_libraries: dict[str, ctypes.CDLL] = {}
_told: set[str] = set()  # faults that were warned of


class CannotCompile(Exception):
    """There is no compiler, or it did not make a library."""


class NotMade(CannotCompile):
    """A library that was only wanted if it had been made before has not."""


class Faulty(CannotCompile):
    """A compiler is there, but what was written for it does not compile, or does not compute what it should."""


def reason_of(error: Exception, usual: tuple[type[Exception], ...]) -> str:
    """Reason why compiled code is not used, in words.

    What is no lack of a compiler and no known limit is a fault of this package. It changes no result, so it ends nothing; a
    :class:`CompilationWarning` says it, once a process.

    Parameters
    ----------
    usual
        Errors that say that there is no compiler, or no compiled form.
    """
    said = " ".join(str(error).split())
    if isinstance(error, usual) and not isinstance(error, Faulty):
        return said or type(error).__name__
    reason = said if isinstance(error, Faulty) else f"{type(error).__name__}: {said}"
    if reason not in _told:
        _told.add(reason)
        warn(f"compiled code is not used, so this takes longer (results are the same): {reason}", CompilationWarning)
    return reason


def library(text: str, hold: bool, more: tuple[str, ...] = (), made: bool = False) -> ctypes.CDLL:
    """The compiled source: from the cache if it is there and whole, else newly made.

    Parameters
    ----------
    text
        C source.
    hold
        Whether its functions keep Python's lock, which is faster for short ones.
    more
        Further flags of the compiler, behind the usual ones.
    made
        Only if it has been made before.

    Raises
    ------
    NotMade
        If it has not, and is only wanted then.
    CannotCompile
        If there is no compiler or it fails; ``Faulty``, if it does not take the source.
    """
    command = _compiler()
    usual, identity = _flags(tuple(command))
    flags = (*usual, *more)
    parts = [text, str(hold), *command[1:], *flags, identity, sys.platform, platform.machine()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
    if key not in _libraries:
        _libraries[key] = _library(text, key, [*command, *flags], ctypes.PyDLL if hold else ctypes.CDLL, made)
    return _libraries[key]


def _library(text: str, key: str, command: list[str], load: type[ctypes.CDLL], made: bool) -> ctypes.CDLL:
    folder = _folder()
    for path in sorted(folder.glob(f"{key}-*")) if folder else ():
        try:
            if is_own_file(path) and path.stem == f"{key}-{_digest(key, path)}":
                return load(str(path))
            path.unlink()
        except OSError:  # not to be read, or to be loaded: make it anew
            continue
    if made:
        raise NotMade
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=_NEW, ignore_cleanup_errors=True) as temporary:
            file = _compiled(command, text, Path(temporary))
            if folder is not None:
                with file.open("rb+") as stream:  # the new name is to be there only with all of the content
                    os.fsync(stream.fileno())
                file = file.replace(folder / f"{key}-{_digest(key, file)}{file.suffix}")
                file.chmod(0o700)
                sync_folder(folder)
            return load(str(file))
    except OSError as error:
        raise CannotCompile(f"what {command[0]} makes cannot be kept or loaded: {error}") from None


def _compiler() -> list[str]:
    """The command of the C compiler: ``$CC``, else cc, gcc or clang."""
    asked = os.environ.get("CC", "").split()
    for command in [asked] if asked else [["cc"], ["gcc"], ["clang"]]:
        found = shutil.which(command[0])
        if found:
            return [found, *command[1:]]
    raise CannotCompile(f"no C compiler: {' '.join(asked) or 'cc, gcc, clang'} not found")


@cache
def compiler() -> dict[str, str] | None:
    """Name, version and flags of the C compiler; None where there is none and NumPy or PyTorch compute everything."""
    try:
        command = _compiler()
        flags, _ = _flags(tuple(command))
        version = _run([*command, "--version"]).stdout.strip().partition("\n")[0]
    except CannotCompile:
        return None
    return {"command": Path(command[0]).name, "version": version, "flags": " ".join((*command[1:], *flags))}


@cache
def _flags(command: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Flags for this processor, and what identifies compiler and processor: the compiler's own macros."""
    said = ""
    for native in (("-march=native",), ("-mcpu=native",), ()):
        done = _run([*command, *native, "-dM", "-E", "-x", "c", os.devnull])
        if done.returncode == 0:
            return (*_FLAGS, *native), done.stdout
        said = done.stderr
    raise CannotCompile(f"{command[0]} fails: {said.strip()[:300]}")


def _compiled(command: list[str], text: str, folder: Path) -> Path:
    written, made = folder / "program.c", folder / ("program.dll" if os.name == "nt" else "program.so")
    written.write_text(text, encoding="ascii")
    done = _run([*command, str(written), "-o", str(made), "-lm"])
    if done.returncode or not made.exists():
        raise Faulty(f"{command[0]} fails: {done.stderr.replace(f'{folder}{os.sep}', '').strip()[:300]}")
    return made


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        # In a session of its own Ctrl-C does not reach it: whoever called decides what is stopped.
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False, start_new_session=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotCompile(f"{command[0]} fails: {error}") from None


def _folder() -> Path | None:
    """The cache's folder, if nobody else can write into it or into what it lies in: what lies there is run.

    Folders that compilers left which were killed are removed.
    """
    folder = cache_folder() / "native"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob(f"{_NEW}*"):
            if time.time() - left.lstat().st_mtime > 10 * _SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        return folder if is_private(folder) and os.access(folder, os.W_OK) else None
    except OSError:
        return None


def _digest(key: str, path: Path) -> str:
    return content_digest(key, path.read_bytes())[:40]
