"""Recorded demand: files of past periods, and how worlds are drawn from them.

A *recorded file* holds one series of units a period for every column. It is named in one of three ways:

``shop_sales.csv``
    A table beside the scenario file. Its first column is ``period`` (0, 1, 2, ...) or ``date``
    (``2024-03-01``, evenly spaced), every further column one series, named ``customer/product``, or
    ``customer`` alone where there is one product. Every cell is a number >= 0: a closed day is a 0.
``completejourney:daily``
    Grocery units a day of 2017 by store and category, from an optional package (:mod:`.completejourney`).
``synthetic:grocery?seed=1``
    Seeded sales of the same kind under any column name (:mod:`.synthetic`), so that nothing need be downloaded.

A world replays a *window* of the file from its first period, or, with ``block: b``, strings together
blocks of b consecutive periods drawn with replacement: the block bootstrap (Kuensch, Annals of Statistics 17, 1989)
over blocks that do not overlap (Carlstein, Annals of Statistics 14, 1986). Blocks begin at multiples of b counted from
the start of the file, so ``block: 7`` keeps weekdays in place, and one draw of blocks serves every series of the file,
so what customers and products have in common is kept.
"""

from __future__ import annotations

import csv
import datetime
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainValidator, model_validator

from ..config import Config, PositiveCount
from ..errors import InputError, expected, unknown

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Purpose = Literal["train", "tune", "test"]


@dataclass(frozen=True, eq=False)
class Recorded:
    """The series of one recorded file, all of the same length.

    Attributes
    ----------
    file
        The name as the scenario gives it.
    periods
        Length of every series.
    columns
        Names of the series, or None where any name is one (synthetic).
    read
        Units of a column, ``(periods,)``; called with names among ``columns`` only.
    """

    file: str
    periods: int
    columns: Sequence[str] | None
    read: Callable[[str], Floats] = field(repr=False)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.columns or ())

    def __contains__(self, column: object) -> bool:
        return self.columns is None or column in self._known

    def units(self, column: str, product: str | None = None) -> Floats:
        """Units a period, ``(periods,)``, of ``column``, or of ``column/product`` if a product is given.

        Raises
        ------
        InputError
            Naming the column, and the closest one there is.
        """
        name = column if product is None else f"{column}/{product}"
        if name not in self:
            raise unknown("series", name, self.columns or (), self.file)
        return self.read(name)


def load_recorded(file: str, base_dir: str | Path = ".", where: str | None = None) -> Recorded:
    """The recorded file of that name (see the module); read once a process, again if a table has changed.

    Parameters
    ----------
    file
        A name as in the module docstring; paths are relative to ``base_dir``.
    base_dir
        Folder of the scenario file.
    where
        Key of the scenario put in front of errors.

    Raises
    ------
    InputError
        Naming ``file`` and what was expected, or line and column of a bad cell.
    MissingExtra
        If the package behind ``completejourney:`` is not installed.
    """
    kind, colon, rest = file.partition(":")
    if colon and kind == "completejourney":
        from .completejourney import load_completejourney

        return load_completejourney(rest, where)
    if colon and kind == "synthetic":
        from .synthetic import load_synthetic

        return load_synthetic(rest, where)
    path = Path(base_dir) / file
    if path.suffix.lower() != ".csv":
        known = "the path of a .csv table, completejourney:daily or synthetic:grocery?seed=1"
        raise expected("file", file, known, where)
    try:
        stamp = path.stat()
    except OSError:
        raise expected("file", file, f"a table that exists in {path.parent}", where) from None
    return _read_table(path.resolve(), file, (stamp.st_mtime_ns, stamp.st_size))


@lru_cache(maxsize=16)
def _read_table(path: Path, file: str, stamp: tuple[int, int]) -> Recorded:
    """The table at ``path``; ``stamp`` (time of change, size) makes an edited file a new one."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [(number, row) for number, row in enumerate(csv.reader(stream), 1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read as a table: {error}") from None
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    if len(header) < 2 or header[0] not in ("period", "date"):
        raise expected("header", ",".join(header), "period or date, a comma, then one column a series", file)
    for name in header:
        if not name or header.count(name) > 1:
            raise expected("header", name, "columns with names, each only once", file)
    if len(rows) < 2:
        raise expected("rows", 0, "at least one period", file)
    units = np.empty((len(rows) - 1, len(header) - 1))
    for index, (line, row) in enumerate(rows[1:]):
        if len(row) != len(header):
            raise expected(f"line {line}", ",".join(row), f"{len(header)} cells as in the header", file)
        for column, cell in enumerate(row[1:]):
            units[index, column] = _amount(cell, f"line {line}, {header[column + 1]}", file)
    _check_calendar(header[0], [(line, row[0].strip()) for line, row in rows[1:]], file)
    units.flags.writeable = False
    places = {name: column for column, name in enumerate(header[1:])}
    return Recorded(file, len(units), tuple(places), lambda name: units[:, places[name]])


def _amount(cell: str, field: str, file: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise expected(field, cell, "a number >= 0 (0 where nothing was sold)", file)
    return value


def _check_calendar(kind: str, cells: list[tuple[int, str]], file: str) -> None:
    """Periods count 0, 1, 2, ...; dates are evenly spaced: a gap would shift all weekdays behind it."""
    days = []
    for index, (line, cell) in enumerate(cells):
        if kind == "period":
            if cell != str(index):
                raise expected(f"line {line}, period", cell, f"{index}: periods count 0, 1, 2, ... without a gap", file)
            continue
        try:
            days.append(datetime.date.fromisoformat(cell).toordinal())
        except ValueError:
            raise expected(f"line {line}, date", cell, "a date like 2024-03-01", file) from None
        step = days[1] - days[0] if len(days) > 1 else 1
        if index and (step < 1 or days[-1] - days[-2] != step):
            raise expected(f"line {line}, date", cell, "dates evenly spaced, in order and without a gap", file)


def _window(value: Any) -> tuple[int, int]:
    whole = isinstance(value, list | tuple) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if not whole or len(value) != 2 or not 0 <= value[0] <= value[1]:
        raise ValueError("expected [first, last], whole numbers with 0 <= first <= last")
    return value[0], value[1]


Window = Annotated[tuple[int, int], PlainValidator(_window)]


class Windows(Config):
    """Which periods of the record a purpose may see: ``[first, last]``, both included; left out: all of them.

    What ``test`` sees may be in no other window, so that nothing is fitted to what it is judged on.
    """

    train: Window | None = None
    tune: Window | None = None
    test: Window | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for name in ("train", "tune"):
            other: tuple[int, int] | None = getattr(self, name)
            if other and self.test and other[0] <= self.test[1] and self.test[0] <= other[1]:
                raise ValueError(f"test = {list(self.test)}: expected no period of {name} = {list(other)}")
        return self

    def of(self, purpose: Purpose, periods: int) -> tuple[int, int]:
        """First and last period for ``purpose`` in a record of ``periods``."""
        window: tuple[int, int] | None = getattr(self, purpose)
        return window or (0, periods - 1)


class Trace(Config):
    """``demand: {kind: trace}``: demand is a recorded series.

    Attributes
    ----------
    file
        Recorded file, named as in the module docstring.
    series
        The customer's name in the file; left out: the customer's own name. The column read is
        ``series/product``, or ``series`` itself where only one product has this demand.
    windows
        Periods that train, tune and test worlds see.
    block
        Periods in a block of the bootstrap; left out: a window is replayed in order.
    """

    kind: Literal["trace"] = "trace"
    file: str
    series: str | None = None
    windows: Windows = Windows()
    block: PositiveCount | None = None

    def bind(
        self, base_dir: str | Path, customer: str, product: str, alone: bool, where: str | None = None
    ) -> TraceSeries:
        """The series of one customer and product.

        Parameters
        ----------
        base_dir
            Folder of the scenario file.
        customer
            Name of the customer.
        product
            Name of the product.
        alone
            Whether no other product has this demand, so that a column ``series`` is meant for it.
        where
            Key of the scenario put in front of errors.

        Raises
        ------
        InputError
            If file, column or window do not exist, or a window holds no whole block.
        MissingExtra
            If the package behind the file is not installed.
        """
        recorded = load_recorded(self.file, base_dir, where)
        series = customer if self.series is None else self.series
        column = f"{series}/{product}"
        if alone and series in recorded and (column not in recorded or recorded.columns is None):
            column = series
        elif column not in recorded:
            raise unknown("series", column, recorded.columns or (), where)
        for purpose in ("train", "tune", "test"):
            first, last = window = self.windows.of(purpose, recorded.periods)
            key = f"windows.{purpose}"
            if last >= recorded.periods:
                raise expected(key, [first, last], f"periods 0 to {recorded.periods - 1} of {self.file}", where)
            if self.block and not len(whole_blocks(window, self.block)):
                hint = f"at least one whole block of {self.block} periods, begun at a multiple of {self.block}"
                raise expected(key, [first, last], hint, where)
        return TraceSeries(recorded.units(column), self.windows, self.block, where)


@dataclass(frozen=True, eq=False)
class TraceSeries:
    """One recorded series ``units``, (days,), with the windows worlds may see and the block they are drawn by."""

    units: Floats
    windows: Windows
    block: int | None
    where: str | None = None

    @cached_property
    def _seen(self) -> Floats:
        """Units in the periods that a train world can draw, ``(days seen,)``."""
        first, last = window = self.windows.of("train", len(self.units))
        if self.block is None:
            return self.units[first : last + 1]
        return self.units[(whole_blocks(window, self.block)[:, None] + np.arange(self.block)).ravel()]

    @cached_property
    def mean(self) -> float:
        """Mean units a period over what train worlds draw: test periods stay unknown to whoever sets levels."""
        return float(self._seen.mean())

    @cached_property
    def variance(self) -> float:
        """Variance of a period's units over what train worlds draw (population form)."""
        return float(self._seen.var())

    @property
    def standard_deviation(self) -> float:
        """Square root of :attr:`variance`."""
        return math.sqrt(self.variance)

    def first_block(self, history: int) -> int:
        """Number of the block with the first period of history; 0 where a window is replayed.

        Block k of a world covers its periods ``k block`` to ``(k + 1) block - 1``: period 0 begins a block, and history
        takes those of negative number, so that neither more history nor more periods change what was there.
        """
        return 0 if self.block is None else (-history) // self.block

    def blocks(self, history: int, horizon: int) -> int:
        """How many blocks cover history and horizon; 0 where a window is replayed."""
        return 0 if self.block is None else -(-horizon // self.block) - self.first_block(history)


def whole_blocks(window: tuple[int, int], block: int) -> Ints:
    """First periods of the blocks that lie whole within ``window``, multiples of ``block``."""
    first, last = window
    return np.arange(-(-first // block) * block, last - block + 2, block, dtype=np.int64)


def block_starts(uniforms: Floats, window: tuple[int, int], block: int) -> Ints:
    """First period of the block that each of ``uniforms`` (any shape, in [0, 1)) picks, all equally likely."""
    starts = whole_blocks(window, block)
    return starts[np.minimum((uniforms * len(starts)).astype(np.int64), len(starts) - 1)]


def block_positions(starts: Ints, block: int, history: int, horizon: int) -> Ints:
    """Which period of the record each period of a world shows.

    Parameters
    ----------
    starts
        First period of each block, ``(blocks, worlds)``, as from :func:`block_starts`.
    block
        Periods in a block.
    history
        Periods before period 0, which begins a block.
    horizon
        Periods from period 0 on.

    Returns
    -------
    ``(history + horizon, worlds)`` indices into the record.
    """
    steps = np.arange(block, dtype=np.int64)[None, :, None]
    rows = (starts[:, None, :] + steps).reshape(-1, starts.shape[1])
    skipped = -history % block
    return rows[skipped : skipped + history + horizon]


def replayed(window: tuple[int, int], periods: int, purpose: str, where: str | None = None) -> Ints:
    """Which period of the record each row shows when the window is replayed in order, ``(periods,)``."""
    first, last = window
    if periods > last - first + 1:
        hint = f"a window of at least {periods} periods (history and horizon), or a block to draw it from"
        raise expected(f"windows.{purpose}", [first, last], hint, where)
    return np.arange(first, first + periods, dtype=np.int64)
