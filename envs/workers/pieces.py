"""Independent pieces of work, done in this process or side by side in workers: what comes out is the same.

A piece is a function of a module and its arguments; what it gives must hang on these alone. How many workers do pieces
is for :func:`.cores.using` to say; why several may not be worth their start, see :mod:`.cores`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..storage import journal
from .cores import PAYS, PLAIN, Asked, asked, most_workers
from .processes import worker_pool
from .telling import Tell, listening, telling_of


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of work.

    Attributes
    ----------
    function
        Of a module, so that a worker finds it.
    arguments
        Its arguments, or what makes them, called when the piece begins.
    share
        How much work it is, in any unit that all pieces have.
    key
        What it gives is a step of the journal under this key, where one is kept; None: it keeps its own steps, if any.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] | Callable[[], tuple[Any, ...]] = ()
    share: float = 1.0
    key: Any = None

    def __call__(self) -> Any:
        return self.function(*self.given())

    def given(self) -> tuple[Any, ...]:
        """The arguments."""
        return self.arguments() if callable(self.arguments) else self.arguments

    @property
    def _name(self) -> str:
        return f"{self.function.__module__}.{self.function.__name__}"

    def known(self) -> Any:
        """What it gave before the process was killed; None where that is not known."""
        return None if self.key is None else journal.known(self._name, self.key)

    def note(self, value: Any) -> None:
        """Keep what it gave."""
        if self.key is not None:
            journal.note(self._name, self.key, value)


def in_order(
    pieces: Sequence[Piece],
    expected: float | None = None,
    memory: int = PLAIN,
    listener: Tell | None = None,
    workers: Asked | None = None,
) -> Iterator[Any]:
    """What each of the pieces gives, in their order; see :func:`as_done`."""
    waiting: dict[int, Any] = {}
    due = 0
    for number, value in as_done(pieces, expected, memory, listener, workers):
        waiting[number] = value
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def as_done(
    pieces: Sequence[Piece],
    expected: float | None = None,
    memory: int = PLAIN,
    listener: Tell | None = None,
    workers: Asked | None = None,
) -> Iterator[tuple[int, Any]]:
    """Number of each piece and what it gives, as soon as it is done; they are begun in their order.

    Parameters
    ----------
    pieces
        The pieces.
    expected
        Seconds that one process would take for all. Left out: pieces are done in this process until those that were say
        that the others are worth starting workers for.
    memory
        Bytes that a worker needs for a piece.
    listener
        Told how far pieces are: number, share of the piece, text. Each is said to be done, too.
    workers
        How many workers, or ``auto``; left out: what :func:`.cores.using` says, else 1.

    Raises
    ------
    InputError
        If ``workers`` is no such number, memory does not hold as many as were asked for, or a worker ends in the
        middle of its work.
    """
    wanted = asked(workers)
    left = []
    for number, piece in enumerate(pieces):
        value = piece.known()
        if value is None:
            left.append(number)
        else:
            if listener is not None:
                listener(number, 1.0, "")
            yield number, value
    most = most_workers(wanted, len(left), memory)
    done, started = 0.0, time.perf_counter()
    while left:
        rest = sum(pieces[number].share for number in left)
        if min(most, len(left)) > 1 and (wanted != "auto" or _seconds(expected, done, rest, started) >= PAYS):
            yield from _side_by_side(pieces, left, min(most, len(left)), memory, listener)
            return
        number = left.pop(0)
        with telling_of(number, listener):
            value = pieces[number]()
        done += pieces[number].share
        yield number, _finished(pieces[number], number, value, listener)
        if expected is not None:
            expected *= sum(pieces[number].share for number in left) / rest


def _seconds(expected: float | None, done: float, rest: float, started: float) -> float:
    """Seconds that one process would take for the rest, as far as can be told."""
    if expected is not None:
        return expected
    return (time.perf_counter() - started) / done * rest if done else 0.0


def _finished(piece: Piece, number: int, value: Any, listener: Tell | None) -> Any:
    piece.note(value)
    if listener is not None:
        listener(number, 1.0, "")
    return value


def _side_by_side(
    pieces: Sequence[Piece], left: Sequence[int], workers: int, memory: int, listener: Tell | None
) -> Iterator[tuple[int, Any]]:
    from concurrent.futures import FIRST_COMPLETED, Future, wait

    with listening(listener) as told, worker_pool(workers, memory, told) as pool:
        to_begin = iter(left)
        at_work: dict[Future[Any], int] = {}
        while True:
            # One more than there are workers, so that none waits for its next piece.
            while len(at_work) <= workers and (number := next(to_begin, None)) is not None:
                at_work[pool.submit(number, pieces[number].function, *pieces[number].given())] = number
            if not at_work:
                return
            for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                number = at_work.pop(future)
                yield number, _finished(pieces[number], number, future.result(), listener)
