"""Worker processes that end when the process that started them ends, however that ends."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.memory_limits import require_memory

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing.managers import SyncManager

_WORKER = 60 << 20  # bytes of a worker that has done nothing yet but imported what it needs
_PATIENCE = 5.0  # seconds that a worker has to end
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's <sys/prctl.h>


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that start afresh, keep steps in the journal of this process, and end with it.

    They start afresh because a copy of a process that has used threads may hang.

    Raises
    ------
    InputError
        If there is no memory for so many, or one of them ends in the middle of its work.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    from .journal import active

    journal = active()
    folder = None if journal is None else str(journal.folder)
    require_memory(workers * _WORKER, f"workers = {workers}", "fewer workers")
    try:
        with ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(_by_main_thread(), folder)
        ) as pool:
            yield pool
    except BrokenProcessPool:
        why = "a worker process ended in the middle of its work, as it does where memory runs out or somebody ends it"
        raise InputError(f"workers = {workers}: {why}: expected fewer workers, worlds or periods") from None


def stop(pool: ProcessPoolExecutor) -> None:
    """End the workers of a pool in the middle of what they do, as nobody wants it any more."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(_PATIENCE)


def started_manager() -> SyncManager:
    """A server of queues that processes share, which ends with this process, too."""
    from multiprocessing import get_context
    from multiprocessing.managers import SyncManager

    manager = SyncManager(ctx=get_context("spawn"))
    manager.start(end_with_parent, (_by_main_thread(),))
    return manager


def end_with_parent(at_once: bool) -> None:
    """Called in a worker: end it as soon as its parent is no more.

    A thread waits for that. On Linux, where ``at_once``, the kernel does it too, even in the middle of a long call of
    compiled code; it takes the end of the thread that started the worker for the end of the parent, so that thread
    must be the main one.
    """
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is None:
        return

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, name="end with parent", daemon=True).start()
    if at_once and sys.platform == "linux":
        import ctypes
        import signal

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        if not parent.is_alive():  # it ended before the kernel was asked
            os._exit(1)


def _begin(at_once: bool, journal: str | None) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    end_with_parent(at_once)
    if journal is not None:
        from pathlib import Path

        from .journal import Journal, begin

        begin(Journal(Path(journal)))


def _by_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
