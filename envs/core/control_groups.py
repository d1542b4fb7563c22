"""Control groups: the folders of Linux in which a container's limits on memory and processors stand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def control_groups(controller: str) -> Iterator[tuple[int, Path]]:
    """The groups whose limits of a controller (``memory``, ``cpu``) hold for this process, inner ones first.

    Yields
    ------
    The version of control groups, 1 or 2, and a folder; it need not hold a file with a limit, or be there at all.
    """
    for line in (text_of(_OWN) or "").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            version, root = 2, _ROOT
        elif controller in controllers.split(","):
            version, root = 1, _ROOT / controller
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
