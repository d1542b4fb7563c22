"""File locks that the system takes back when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import IO

from .files import make_folder

_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


class Lock:
    """A lock that is held: until :meth:`release`, or until this process ends."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self.path = path
        self._stream = stream

    def release(self, remove: bool = True) -> None:
        """Give it back, its file removed."""
        if remove and os.name == "posix":  # while it is held: nobody can take what is not there
            self.path.unlink(missing_ok=True)
        self._stream.close()
        if remove:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


def take(path: Path) -> Lock | None:
    """The lock of a file, which is made if need be; None if another process, or this one, holds it.

    The file holds the number of the process, for people. A file system without locks gives them to everybody.
    """
    for _ in range(100):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        except FileNotFoundError:  # its folder was removed, or renamed, meanwhile
            make_folder(path.parent)
            continue
        stream = os.fdopen(handle, "r+b", buffering=0)
        if not _locked(handle):
            stream.close()
            return None
        # Whoever held it may have removed the file before letting go: then this is the lock of nothing.
        same = False
        with contextlib.suppress(OSError):
            same = os.path.samestat(os.fstat(handle), os.stat(path))
        if same:
            with contextlib.suppress(OSError):  # the disk is full: it is a lock even so
                stream.truncate(0)
                stream.write(f"{os.getpid()}\n".encode())
            return Lock(path, stream)
        stream.close()
        time.sleep(0.001)
    return None


def owner(path: Path) -> str:
    """Number of the process that last took a lock, as text; empty where it cannot be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _locked(handle: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(handle, 1 << 20, os.SEEK_SET)  # beyond what is written: a locked byte cannot be read
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _TAKEN
    return True
