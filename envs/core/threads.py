"""Thread settings: PyTorch learns from these environments with one thread, as their arrays are small."""

from __future__ import annotations

import functools
import os
import sys

#: Whoever sets one of these has decided on the number of threads.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@functools.cache
def one_thread() -> None:
    """Have PyTorch use one thread, unless somebody has said how many; called when the first environment is made.

    Networks that learn here are small, and each small operation waits for all threads: on two idle cores two threads gain
    nothing, and beside other processes they take ten times as long as one. A variable of :data:`VARIABLES`, or a number
    of threads other than the default (``torch.set_num_threads``), is left alone; so is what is set after the first
    environment is made.
    """
    if any(os.environ.get(name) for name in VARIABLES):
        return
    torch = sys.modules.get("torch")
    if torch is None:  # imported later, it reads this
        os.environ["OMP_NUM_THREADS"] = "1"
        return
    cores = os.cpu_count() or 1
    if hasattr(torch, "set_num_threads") and torch.get_num_threads() in (cores, max(cores // 2, 1), _allowed()):
        torch.set_num_threads(1)


def _allowed() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
