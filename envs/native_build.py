"""The system's C compiler, and a cache of what it made."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from .processes.completejourney import cache_folder

#: No contraction, no reordering: results are those of the operations written down, one by one.
FLAGS = (
    "-std=gnu11 -O2 -ftree-vectorize -ffp-contract=off -fno-fast-math -fno-math-errno -fno-trapping-math "
    "-fwrapv -fno-strict-aliasing -fvisibility=hidden -fPIC -shared -w"
).split()
_SECONDS = 120  # a compiler that takes longer is given up


class CannotCompile(Exception):
    """There is no compiler, or it did not make a library."""


def compiler() -> list[str]:
    """The command of the C compiler: ``$CC``, else cc, gcc or clang.

    Raises
    ------
    CannotCompile
        If there is none.
    """
    asked = os.environ.get("CC", "").split()
    for command in [asked] if asked else [["cc"], ["gcc"], ["clang"]]:
        found = shutil.which(command[0])
        if found:
            return [found, *command[1:]]
    raise CannotCompile(f"no C compiler ({' '.join(asked) or 'cc, gcc, clang'}) found")


@cache
def _flags(command: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Flags for this processor, and what identifies compiler and processor."""
    for native in (("-march=native",), ("-mcpu=native",), ()):
        asked = [*command, *native, "-dM", "-E", "-x", "c", os.devnull]
        try:
            macros = subprocess.run(asked, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            raise CannotCompile(f"{command[0]}: {error}") from None
        if macros.returncode == 0:
            return (*FLAGS, *native), macros.stdout
    raise CannotCompile(f"{command[0]} does not work: {macros.stderr.strip()[:300]}")


def library(text: str, hold: bool) -> ctypes.CDLL:
    """The compiled source: from the cache if it is there and whole, else newly made.

    Parameters
    ----------
    text
        C source.
    hold
        Whether calls hold Python's lock, which is faster for short ones.

    Raises
    ------
    CannotCompile
        If there is no compiler or it fails.
    """
    command = compiler()
    flags, identity = _flags(tuple(command))
    parts = "\0".join([text, *command[1:], *flags, identity, platform.platform()])
    key = hashlib.sha256(parts.encode()).hexdigest()[:40]
    folder = _folder()
    load = ctypes.PyDLL if hold else ctypes.CDLL
    for path in sorted(folder.glob(f"{key}-*")) if folder else ():
        if _whole(path):
            try:
                return load(str(path))
            except OSError:  # from another system after all
                pass
        path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="echelongym-", ignore_cleanup_errors=True) as temporary:
        made = _compile(command, list(flags), text, Path(temporary))
        try:
            loaded = load(str(made))
        except OSError as error:
            raise CannotCompile(f"what {command[0]} made cannot be loaded: {error}") from None
        if folder is not None:
            _keep(made, folder, key)
    return loaded


def _folder() -> Path | None:
    """The cache's folder, if it is nobody else's to write into: what lies there is run."""
    folder = cache_folder() / "native"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except OSError:
        return None
    if os.name == "posix" and (found.st_uid != os.getuid() or found.st_mode & 0o022):
        return None
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:40]


def _whole(path: Path) -> bool:
    """Whether a file is what its name says."""
    try:
        return path.stem.endswith("-" + _digest(path))
    except OSError:
        return False


def _compile(command: list[str], flags: list[str], text: str, folder: Path) -> Path:
    made = folder / ("program.dll" if os.name == "nt" else "program.so")
    written = folder / "program.c"
    written.write_text(text, encoding="ascii")
    try:
        done = subprocess.run(
            [*command, *flags, str(written), "-o", str(made), "-lm"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotCompile(f"{command[0]}: {error}") from None
    if done.returncode or not made.exists():
        raise CannotCompile(f"{command[0]} failed: {done.stderr.strip()[:300]}")
    return made


def _keep(made: Path, folder: Path, key: str) -> None:
    """Put a library into the cache, whole or not at all; where that fails the next process compiles again."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(handle, "wb") as stream:
            stream.write(made.read_bytes())
        os.replace(temporary, folder / f"{key}-{_digest(made)}{made.suffix}")
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
