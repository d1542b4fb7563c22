"""Memory limits: what a batch of worlds takes, what is free, and one line before anything is allocated.

How to use it, wherever a size comes from a user::

    require_memory(8 * worlds * periods * entries, f"{worlds} worlds of {periods} periods", "fewer worlds or periods")

It raises an :class:`InputError` where the bytes needed are more than this process may still take. An estimate should count
the large arrays and leave out the small ones: what nearly fits is better tried than refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError

GIGABYTE = 2**30
_NEVER_REFUSED = 1 << 24  # bytes; what is free is not looked up for less
_GROUPS = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60  # cgroup v1 writes a huge number where there is no limit


def require_memory(needed: int, what: str, remedy: str) -> None:
    """Refuse what is larger than the memory that is free.

    Parameters
    ----------
    needed
        Bytes about to be allocated.
    what
        What needs them, in the user's terms: ``"512 worlds of 87600 periods"``.
    remedy
        What to ask for instead: ``"fewer worlds or periods"``.

    Raises
    ------
    InputError
        In one line with the size needed, the size free and the remedy.
    """
    if needed < _NEVER_REFUSED:
        return
    free = free_memory()
    if free is not None and needed > free:
        raise InputError(f"{what}: about {_size(needed)} of memory are needed and {_size(free)} are free: try {remedy}")


def free_memory() -> int | None:
    """Bytes that this process may still allocate: the least of what the machine, its container and its limits leave.

    None where the system does not say.
    """
    found = [one for one in (_of_the_machine(), _of_the_container(), _of_the_process()) if one is not None]
    return max(min(found), 0) if found else None


def _size(count: int) -> str:
    return f"{count / GIGABYTE:,.1f} GB" if count >= GIGABYTE / 10 else f"{count / 2**20:,.0f} MB"


def _of_the_machine() -> int | None:
    text = text_of("/proc/meminfo")
    for line in (text or "").splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    try:  # no Linux: all there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _of_the_container() -> int | None:
    """What the control groups of this process leave, version 2 or 1."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    found = []
    for version, folder in control_groups("memory"):
        limit, used, cache = names[version]
        most, taken = number_of(folder / limit), number_of(folder / used)
        if most is not None and taken is not None and most < _NO_LIMIT:
            found.append(most - taken + _entry(folder / "memory.stat", cache))
    return min(found, default=None)


def _of_the_process() -> int | None:
    """What the limits on address space and data leave (``ulimit -v``, ``ulimit -d``)."""
    if sys.platform == "win32":
        return None
    import resource

    words = (text_of("/proc/self/statm") or "").split()
    page = os.sysconf("SC_PAGE_SIZE")
    found = []
    for limit, place in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY and soft >= 0:
            found.append(soft - (page * int(words[place]) if len(words) > place else 0))
    return min(found, default=None)


def _entry(path: Path, key: str) -> int:
    for line in (text_of(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdigit():
            return int(value)
    return 0


def control_groups(controller: str) -> Iterator[tuple[int, Path]]:
    """The groups whose limits of a controller (``memory``, ``cpu``) hold for this process, inner ones first.

    Yields
    ------
    The version of control groups, 1 or 2, and a folder; it need not hold a file with a limit, or be there at all.
    """
    for line in (text_of("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            version, root = 2, _GROUPS
        elif controller in controllers.split(","):
            version, root = 1, _GROUPS / controller
        else:
            continue
        here = root / path.lstrip("/")
        for folder in (here, *here.parents):
            if not folder.is_relative_to(root):
                break
            yield version, folder


def number_of(path: Path) -> int | None:
    """The whole number in a file; None where there is none."""
    text = (text_of(path) or "").strip()
    return int(text) if text.isdigit() else None


def text_of(path: str | Path) -> str | None:
    """The text of a small file of the system; None where it cannot be read."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
