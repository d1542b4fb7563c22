"""Caches of results: used only where an entry is whole, unaltered, and of what is asked for.

Beside an entry lies a seal: the SHA-256 of the key that it was made for and of the content of its files. An entry that is
cut off, altered, or moved in place of another does not fit its seal; it counts as not there and is made anew. A seal is
written last, so an entry without one is unfinished.

What is loaded and run (compiled code) must also lie where nobody else can write: see :func:`is_private`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from .files import write_text


def cache_folder() -> Path:
    """``$ECHELONGYM_CACHE``, else ``echelongym`` in the user's cache folder."""
    own = os.environ.get("ECHELONGYM_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return Path(shared or Path.home() / ".cache") / "echelongym"


def seal(path: Path, key: str, files: Sequence[Path]) -> None:
    """Write the seal ``path`` of an entry whose files are written."""
    write_text(content_digest(key, *(file.read_bytes() for file in files)) + "\n", path)


def is_whole(path: Path, key: str, files: Sequence[Path]) -> bool:
    """Whether the files of an entry are those that its seal ``path`` was written for, under that key."""
    try:
        found = content_digest(key, *(file.read_bytes() for file in files))
        return path.read_text(encoding="ascii").strip() == found
    except (OSError, ValueError):
        return False


def content_digest(key: str, *contents: bytes) -> str:
    """SHA-256 of a key and of contents, 64 hexadecimal digits."""
    found = hashlib.sha256()
    for part in (key.encode(), *contents):
        found.update(f"{len(part)} ".encode() + part)
    return found.hexdigest()


def is_private(folder: Path) -> bool:
    """Whether nobody but this user (and the administrator) can change what lies in a folder, by its parents or links either.

    Elsewhere than on POSIX systems a folder below the user's own is taken for private.
    """
    if os.name != "posix":
        return True
    path = Path(os.path.abspath(folder))
    # Both the way as it is written, whose links others might change, and where it leads.
    return all(_is_safe(one) for way in {path, Path(os.path.realpath(path))} for one in (way, *way.parents)) and (
        path.is_dir() and path.lstat().st_uid == os.getuid() and not path.is_symlink()
    )


def is_own_file(path: Path) -> bool:
    """Whether a path is a file itself, no link, that this user owns and nobody else can write."""
    try:
        found = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    return os.name != "posix" or (found.st_uid == os.getuid() and not found.st_mode & 0o022)


def _is_safe(path: Path) -> bool:
    """Whether nobody else can put something in place of what lies in a folder, or of a link."""
    try:
        found = path.lstat()
    except OSError:
        return False
    if found.st_uid not in (0, os.getuid()):
        return False
    if stat.S_ISLNK(found.st_mode):
        return True
    # Where all may write but only owners may remove (/tmp), what is the user's own stays.
    sticky = bool(found.st_mode & stat.S_ISVTX)
    by_group = bool(found.st_mode & stat.S_IWGRP) and not _is_own_group(found.st_gid)
    return sticky or not (found.st_mode & stat.S_IWOTH or by_group)


def _is_own_group(number: int) -> bool:
    """Whether a group has this user alone, as many systems give to each."""
    import grp
    import pwd

    with contextlib.suppress(KeyError):
        me, group = pwd.getpwuid(os.getuid()), grp.getgrgid(number)
        return number == me.pw_gid and group.gr_name == me.pw_name and set(group.gr_mem) <= {me.pw_name}
    return False
