"""Number of workers: what a user may ask for, and how many that is for so many pieces of so much work.

``auto`` is as many workers as there are cores that this process may use (its affinity, and the limit of its control group),
no more than there are pieces, and no more than memory holds. Starting a worker takes about :data:`START` CPU-seconds, so
``auto`` starts none unless one process alone would take :data:`PAYS` seconds or more for what there is to do. A number
is meant: so many are started, at most one a piece. Within a worker nothing starts workers of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Annotated, Any, Literal

from pydantic import PlainValidator

from ..core.errors import InputError, expected
from ..core.memory_limits import control_groups, free_memory, require_memory, text_of

START = 2.0  # CPU-seconds until a worker has imported what it needs and has found its compiled programs
PAYS = 6.0  # seconds of work for one process from which workers are started
MOST = 1_024
PLAIN = 80 << 20  # bytes of a worker that has imported NumPy and this package
WITH_GRADIENTS = 400 << 20  # bytes of one that has imported PyTorch or JAX, too

_WANTED = f'"auto" or a whole number >= 1 and <= {MOST:,}'.replace(",", "")


Asked = int | Literal["auto"]


def checked_workers(value: Any) -> Asked:
    """``auto`` or a number of workers.

    Raises
    ------
    InputError
        For anything else.
    """
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST):
        return value
    raise expected("workers", value, _WANTED)


def _checked(value: Any) -> Any:
    try:
        return checked_workers(value)
    except InputError:
        raise ValueError(f"expected {_WANTED}") from None


#: The setting ``workers`` of every command that has independent work.
Workers = Annotated[Asked, PlainValidator(_checked)]

_asked: ContextVar[Asked] = ContextVar("workers", default=1)
_alone = False  # whether this process is a worker


@contextlib.contextmanager
def using(workers: Asked) -> Iterator[None]:
    """Let what is done meanwhile start so many workers."""
    before = _asked.set(workers)
    try:
        yield
    finally:
        _asked.reset(before)


def work_alone() -> None:
    """Called in a worker: nothing that it does starts workers of its own."""
    global _alone
    _alone = True


def in_worker() -> bool:
    """Whether this process is a worker, whose parent shows what there is to see."""
    return _alone


def asked(workers: Asked | None = None) -> Asked:
    """The number of workers: the one given, else that of :func:`using`, else 1; in a worker 1 whatever was asked for.

    Raises
    ------
    InputError
        If what is given is neither ``auto`` nor such a number.
    """
    found = _asked.get() if workers is None else checked_workers(workers)
    return 1 if _alone else found


def most_workers(workers: Asked, pieces: int, memory: int = PLAIN) -> int:
    """The most workers that so many pieces may have, whether or not it pays to start them.

    Parameters
    ----------
    workers
        What was asked for.
    pieces
        Number of independent pieces.
    memory
        Bytes that each worker needs, what it imports included.

    Raises
    ------
    InputError
        If a number was asked for that memory does not hold.
    """
    if workers != "auto":
        found = max(min(workers, pieces), 1)
        if found > 1:
            require_memory(found * memory, f"workers = {workers}", "fewer workers")
        return found
    found = min(usable_cores(), pieces)
    free = free_memory() if found > 1 else None
    return max(found if free is None else min(found, free // memory), 1)


def pays(pieces: int, seconds: float, memory: int = PLAIN) -> bool:
    """Whether so many pieces, which one process would take so long for, will be shared out to workers."""
    workers = asked()
    return most_workers(workers, pieces, memory) > 1 and (workers != "auto" or seconds >= PAYS)


def usable_cores() -> int:
    """Cores that this process may use, at least 1: those of its affinity, and whole ones of what its control groups allow."""
    found = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for version, folder in control_groups("cpu"):
        if version == 2:
            words = (text_of(folder / "cpu.max") or "").split()  # microseconds of processors in so many of the clock
        else:
            words = [(text_of(folder / f"cpu.cfs_{name}_us") or "").strip() for name in ("quota", "period")]
        if len(words) == 2 and all(map(str.isdigit, words)) and int(words[1]):
            found.append(int(words[0]) // int(words[1]))
    return max(min(found), 1)
