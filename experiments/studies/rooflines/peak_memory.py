"""The most memory that a process has held, without what its parent held."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_memory() -> float:
    """Most memory that this process has held so far, in bytes.

    Linux passes the ``ru_maxrss`` of a process on to what it starts, so that a small process started by a large one reads as
    large (getrusage(2)). ``VmHWM`` of proc(5) begins anew with the program, and is read where there is one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024.0 * float(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
