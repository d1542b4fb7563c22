"""Telling how far a piece of work is: from wherever it is done, to the one progress bar of all."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Tell = Callable[[int, float, str], None]  # number of the piece, share of it that is done (0 to 1), and a text
_MOST = 400  # letters of a text: what is sent at once arrives in one, whoever else sends
_WAIT = 0.1  # seconds between two looks, and between two texts of a worker

_number = 0
_tell: Tell | None = None


def tell(share: float, text: str = "") -> None:
    """Say how much of the piece that this process is at is done, from 0 to 1; nothing where nobody listens."""
    if _tell is not None:
        _tell(_number, share, text)


@contextlib.contextmanager
def telling_of(number: int, listener: Tell | None) -> Iterator[None]:
    """Say of a piece what :func:`tell` is told meanwhile; without a listener to nobody, as a piece within another one."""
    global _number, _tell
    before = _number, _tell
    _number, _tell = number, listener
    try:
        yield
    finally:
        _number, _tell = before


@contextlib.contextmanager
def part_of_piece(start: float, stop: float) -> Iterator[None]:
    """Take what :func:`tell` is told meanwhile for the progress from one share of the piece to another."""
    listener = _tell

    def within(number: int, share: float, text: str) -> None:
        if listener is not None:
            listener(number, start + share * (stop - start), text)

    with telling_of(_number, within):
        yield


def through(pipe: Connection) -> Tell:
    """What tells the reader of a pipe."""
    last = 0.0

    def send(number: int, share: float, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if share < 1.0 and now < last + _WAIT:
            return
        last = now
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more
            pipe.send_bytes(json.dumps([number, share, text[:_MOST]]).encode())

    return send


@contextlib.contextmanager
def listening(listener: Tell | None) -> Iterator[Connection | None]:
    """A pipe whose other end is read for a listener; None without one."""
    if listener is None:
        yield None
        return
    from multiprocessing import Pipe

    ours, theirs = Pipe(duplex=False)
    over = threading.Event()

    def follow() -> None:
        with contextlib.suppress(OSError, EOFError, ValueError):
            while ours.poll(_WAIT) or not over.is_set():
                while ours.poll(0):
                    number, share, text = json.loads(ours.recv_bytes())
                    listener(number, share, text)

    thread = threading.Thread(target=follow, name="progress of workers", daemon=True)
    thread.start()
    try:
        yield theirs
    finally:
        over.set()
        theirs.close()
        thread.join(timeout=5)
        ours.close()
