"""Terminal output: tables, progress bars, and at the end where the results lie and what to do next."""

from __future__ import annotations

import re
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from echelongym.envs.core.errors import (
    EXTRAS,
    CompilationWarning,
    NetworkWarning,
    is_installed,
    missing_extra,
    printable,
)
from echelongym.envs.workers.cores import in_worker

from ..runs.folders import shown

if TYPE_CHECKING:
    from echelongym.envs.workers.pieces import Piece
    from echelongym.envs.workers.telling import Tell

_WIDTH = 180  # where nobody says how wide the output is
_WARNINGS = 10  # of one command
_NAME = 30  # letters of the first column that stand in one line
_WORD = 12  # letters of any other column that stand in one line
_UNIT = 24  # letters of a word or an interval that is not broken


def console(stderr: bool = False) -> Console:
    """A console; one that is no terminal (a pipe, a log) gets a width that tables fit in."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDTH)


def say(text: str) -> None:
    """One line of plain text."""
    console().print("\n".join(map(printable, text.split("\n"))), markup=False, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], notes: Sequence[str] = ()) -> None:
    """Print a table: text to the left, numbers to the right, None as an empty cell; notes below it.

    Where the terminal is too narrow for all columns, those left over follow below, again beside the first.
    """
    body = [[cell(item) for item in row] for row in rows]
    out = console()
    least = [
        _least([column, *(row[index] for row in body)], _WORD if index else _NAME)
        for index, column in enumerate(columns)
    ]
    natural = [max(map(len, [column, *(row[k] for row in body)])) for k, column in enumerate(columns)]
    for number, part in enumerate(_parts(least, out.width)):
        made = Table(
            title=None if number else title,
            title_justify="left",
            title_style="bold",
            header_style="bold",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        widths = _widths(part, least, natural, out.width)
        for index in part:
            numeric = all(_is_numeric(row[index]) for row in body)
            # Words stand below each other where they must; no short word is broken, and no interval.
            side: Literal["left", "right"] = "right" if numeric else "left"
            made.add_column(Text(columns[index]), justify=side, width=widths[index], overflow="fold")
        for row in body:
            made.add_row(*(Text(_folded(row[index], widths[index])) for index in part))
        out.print(made)
    for note in notes:
        say(f"  {note}")


def _units(text: str) -> list[str]:
    """Words that are not to be broken; an interval is one, with what marks it: ``[3.973, 5.487] *``."""
    return re.findall(r"\[[^\[\]]*\](?: [*!]+)?|\S+", text)


def _folded(text: str, width: int) -> str:
    """A cell in lines of so many letters, broken between its units."""
    lines: list[str] = []
    for unit in _units(text) if len(text) > width else [text]:
        if lines and len(lines[-1]) + 1 + len(unit) <= width:
            lines[-1] += f" {unit}"
        else:
            lines.append(unit)
    return "\n".join(lines)


def _least(texts: Sequence[str], short: int) -> int:
    """Letters that a column needs: the longest word of its head and unit of its cells; whole cells where they are short."""
    head, *cells = texts
    widest = max((len(one) for one in cells), default=0)
    longest = max((len(word) for word in head.split()), default=1)
    unit = max((len(one) for cell in cells for one in _units(cell) if len(one) <= _UNIT), default=0)
    return max(longest, unit, min(widest, short))


def _widths(part: Sequence[int], least: Sequence[int], natural: Sequence[int], width: int) -> dict[int, int]:
    """Width of each column: what it needs, and from the left what it would like while there is room."""
    found = {index: least[index] for index in part}
    spare = max(width - 2 - sum(found.values()) - 3 * len(part), 0)
    for index in part:
        more = min(natural[index] - found[index], spare)
        found[index] += more
        spare -= more
    if len(part) == 1:
        found[part[0]] = min(found[part[0]], max(width - 2, 1))
    return found


def _parts(least: Sequence[int], width: int) -> list[list[int]]:
    """Columns by the table they stand in: the first in each of them, with as many others as fit."""
    room, parts = width - 2, [[0]]  # the box takes one at the ends, and three beside each column
    used = least[0] + 3
    for index in range(1, len(least)):
        if used + least[index] + 3 > room and len(parts[-1]) > 1:
            parts.append([0])
            used = least[0] + 3
        parts[-1].append(index)
        used += least[index] + 3
    return parts


def cell(item: Any) -> str:
    """One value as text: numbers with four significant digits, but whole ones in full."""
    if item is None:
        return ""
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, float):
        return "" if item != item else f"{item:.0f}" if abs(item) >= 10_000 else f"{item:.4g}"
    if isinstance(item, list | tuple):
        return ", ".join(cell(part) for part in item)
    return str(item)


def _is_numeric(text: str) -> bool:
    return not text or text[0].isdigit() or (text[0] in "+-." and text[1:2].isdigit()) or text == "inf"


def finish(folder: Path, following: str, what: Sequence[str] = ()) -> None:
    """Last lines of a command: where results are, and the command that comes next."""
    say("")
    say(f"Results: {shown(folder)}{' (' + ', '.join(what) + ')' if what else ''}")
    say(f"Next:    {following}")


def can_draw() -> bool:
    """Whether pictures can be drawn; where not, a line says what to install."""
    if is_installed("matplotlib"):
        return True
    say(f"no pictures: {missing_extra('matplotlib', EXTRAS['matplotlib'])}")
    return False


def typed(command: str, **arguments: str) -> str:
    """``echelongym COMMAND key=value ...`` as a shell takes it: values with spaces, brackets and the like in quotes."""
    return " ".join(["echelongym", command, *(f"{key}={shlex.quote(value)}" for key, value in arguments.items())])


def listed(*policies: str) -> str:
    """``[first,second]``, each once, as a value of ``policies``."""
    return f"[{','.join(_item(policy) for policy in dict.fromkeys(policies))}]"


def _item(text: str) -> str:
    if re.fullmatch(r"[\w./-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Warnings of this package as one plain line on stderr each, none twice, and no more than ten."""
    said: dict[str, None] = {}
    usual = warnings.showwarning

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, NetworkWarning | CompilationWarning):
            usual(message, category, *where, **more)
        elif str(message) not in said and len(said) <= _WARNINGS:
            text = printable(message) if len(said) < _WARNINGS else "there is more of this kind"
            said[str(message)] = None
            print(f"echelongym: warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        for category in (NetworkWarning, CompilationWarning):
            warnings.simplefilter("always", category)
        warnings.showwarning = show
        yield


class Advance(Protocol):
    """Called with the number of steps done since the last call."""

    def __call__(self, steps: float = 1.0) -> None: ...


@contextmanager
def progress(title: str, total: float, unit: str, enabled: bool = True) -> Iterator[Advance]:
    """A progress bar on stderr with time left, and rate (without a unit, the share done); nothing where it is no terminal."""
    out = console(stderr=True)
    if not enabled or not out.is_terminal or in_worker():
        yield lambda steps=1.0: None
        return
    counted = (MofNCompleteColumn(), _Rate(unit)) if unit else (TaskProgressColumn(),)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *counted, TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps=1.0: bar.advance(task, steps)


@contextmanager
def bar_of_pieces(title: str, pieces: Sequence[Piece], enabled: bool = True) -> Iterator[Tell | None]:
    """One bar for pieces of work, wherever they are done: yields what is told how far each is; None without a terminal."""
    out = console(stderr=True)
    total = sum(piece.share for piece in pieces)
    if not enabled or not out.is_terminal or not total or in_worker():
        yield None
        return
    last = TextColumn(
        "{task.fields[text]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
    )
    columns = (
        TextColumn("{task.description}", markup=False),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        BarColumn(bar_width=12),
        last,
    )
    done = [0.0] * len(pieces)
    with Progress(*columns, console=out, transient=True, expand=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(title, total=total, text="")

        def told(number: int, share: float, text: str) -> None:
            done[number] = max(done[number], share)
            completed = sum(part * piece.share for part, piece in zip(done, pieces, strict=True))
            if text:
                bar.update(task, completed=completed, text=text)
            else:
                bar.update(task, completed=completed)

        yield told


class _Rate(ProgressColumn):
    """Steps a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f} {self.unit}/s")
