"""Worker processes: they end when the process that started them ends, however that ends, and each uses one thread."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from ..core.memory_limits import require_memory
from ..core.threads import VARIABLES
from .cores import PLAIN, work_alone
from .telling import Tell, telling_of, through

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor
    from multiprocessing.connection import Connection

_PATIENCE = 5.0  # seconds that a worker has to end
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's <sys/prctl.h>
#: What libraries read to know their number of threads, NPROC for XLA; in a worker each is 1.
_THREADS = dict.fromkeys((*VARIABLES, "NPROC"), "1")
_told: Tell | None = None  # in a worker, what tells its parent


class Pool:
    """Worker processes that do what is submitted, as long as :func:`worker_pool` lasts."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def submit(self, number: int, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a worker call a function of a module, which is piece ``number``; it is started where none is idle."""
        with _as_a_worker_starts():
            return self._executor.submit(_do, number, function, arguments)

    def stop(self) -> None:
        """End the workers in the middle of what they do, as nobody wants it any more."""
        workers = list((self._executor._processes or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(_PATIENCE)
            if worker.is_alive():
                worker.kill()
                worker.join(_PATIENCE)


@contextlib.contextmanager
def worker_pool(workers: int, memory: int = PLAIN, told: Connection | None = None) -> Iterator[Pool]:
    """Processes that start afresh, keep steps in the journal of this process, use one thread each, and end with it.

    They start afresh because a copy of a process that has used threads may hang. Whatever is raised meanwhile ends them.

    Parameters
    ----------
    workers
        How many there are at most; each starts when there is something for it to do.
    memory
        Bytes that each needs.
    told
        The end of a pipe that workers write to.

    Raises
    ------
    InputError
        If there is no memory for so many, or one of them ends in the middle of its work.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    from ..storage.journal import active

    journal = active()
    folder = None if journal is None else str(journal.folder)
    require_memory(workers * memory, f"workers = {workers}", "fewer workers")
    executor = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(_by_main_thread(), folder, told)
    )
    pool = Pool(executor)
    try:
        yield pool
        executor.shutdown()
    except BrokenProcessPool:
        pool.stop()
        why = "a worker process ended in the middle of its work, as it does where memory runs out or somebody ends it"
        raise InputError(f"workers = {workers}: {why}: expected fewer workers, worlds or periods") from None
    except BaseException:
        pool.stop()
        raise


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

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        if not parent.is_alive():  # it ended before the kernel was asked
            os._exit(1)


@contextlib.contextmanager
def _as_a_worker_starts() -> Iterator[None]:
    """What a process started meanwhile inherits: one thread for each library, and no ear for Ctrl-C, as its parent ends it."""
    before = {name: os.environ.get(name) for name in _THREADS}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    os.environ.update(_THREADS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _begin(at_once: bool, journal: str | None, told: Connection | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(at_once)
    work_alone()
    global _told
    if told is not None:
        _told = through(told)
    if journal is not None:
        from pathlib import Path

        from ..storage.journal import Journal, begin

        begin(Journal(Path(journal)))


def _do(number: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    with telling_of(number, _told):
        return function(*arguments)


def _by_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
