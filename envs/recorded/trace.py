"""Trace demand, ``demand: {kind: trace}``: a scenario's reference to a record, and the series that comes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import PlainValidator

from ..core.errors import expected, unknown
from ..core.typing import Floats
from ..core.validation import Config, PositiveCount
from .blocks import whole_blocks
from .cells import is_table
from .files import content_of, load_recorded
from .reading import Dialect
from .record import ONE_RECORD, JointRecords, Record
from .windows import Span, Windows, lacking, spans


def _windows(value: Any) -> Windows | str | None:
    if value is None or value == "whole" or isinstance(value, Windows):
        return value
    if isinstance(value, str):
        raise ValueError("expected whole, or a mapping with train, tune and test")
    return Windows.model_validate(value)


class Columns(Config):
    """Names of the columns of a table: of the dates, and, of a long one, of what each row is about."""

    date: str | None = None
    """Column of dates or period numbers."""
    customer: str | None = None
    """Column that names the customer, in a long table."""
    product: str | None = None
    """Column that names the product, in a long table."""
    units: str | None = None
    """Column of the units demanded, in a long table."""


class Trace(Config):
    """``demand: {kind: trace}``: demand is a recorded series.

    Attributes
    ----------
    file
        Recorded file, named as in the package docstring.
    series
        The customer's name in the file; left out: the customer's own name. The column read is
        ``series/product``, or ``series`` itself where only one product has this demand.
    windows
        Periods that train, tune and test worlds see (:class:`.windows.Windows`), or ``whole``, all for everybody; left
        out: a split in time (:mod:`.windows`).
    block
        Periods in a block of the bootstrap; left out: a window is replayed in order.
    missing
        ``refuse`` a table with gaps and empty cells, or take them as ``zero`` demand.
    columns, date_format, decimal, sheet
        How the table is written (:mod:`.reading`).
    """

    kind: Literal["trace"] = "trace"
    """Demand recorded in a file."""
    file: str
    """Table beside the scenario (CSV, also `.gz`; Excel or Parquet), `completejourney:daily`, or `synthetic:grocery?seed=1`."""
    series: str | None = None
    """Name of the column, or its part before `/product` where several products are recorded; left out: the customer's name."""
    windows: Annotated[Any, PlainValidator(_windows)] = None
    """Windows of the record; `whole`: every purpose sees all of it; left out: a split in time."""
    block: PositiveCount | None = None
    """Periods in a block: worlds are drawn block by block with replacement; left out: the record is replayed in order."""
    missing: Literal["refuse", "zero"] = "refuse"
    """What a gap or an empty cell means: an error (`refuse`), or demand 0 (`zero`)."""
    columns: Columns = Columns()
    """Names of the table's columns."""
    date_format: str | None = None
    """Format of dates that can be read in two ways, such as `"%d/%m/%Y"`."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark, where `1,250` can be read in two ways."""
    sheet: str | None = None
    """Sheet of a workbook that has several."""

    @property
    def dialect(self) -> Dialect:
        """Dialect of the table, as far as the scenario says."""
        c = self.columns
        names = (c.date, c.customer, c.product, c.units)
        return Dialect(self.missing, *names, self.date_format, self.decimal, self.sheet)

    def bind(
        self,
        base_dir: str | Path,
        customer: str,
        product: str,
        alone: bool,
        where: str | None = None,
        horizon: int = 1,
        integer: bool = False,
        joint: JointRecords = ONE_RECORD,
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
        horizon
            Periods of an episode, which the split in time makes room for.
        integer
            Whether units are whole, so that fractions are refused.
        joint
            How the recorded files of the scenario are replayed beside one another.

        Raises
        ------
        InputError
            If file, column or window do not exist, a window holds no whole block, or a series has fractions where units
            are whole.
        MissingExtra
            If the package behind the file is not installed.
        """
        recorded = load_recorded(self.file, base_dir, where, self.dialect)
        content = content_of(self.file, base_dir)
        whole = recorded.record.periods
        free = is_table(self.file) and recorded.record.calendar is not None and not isinstance(self.windows, Windows)
        days = joint.days if free else None
        if days is not None:
            recorded = recorded.within(days)
        draws = joint.name(content, days is not None) if is_table(self.file) else content
        series = customer if self.series is None else self.series
        column = f"{series}/{product}"
        if alone and series in recorded and (column not in recorded or recorded.columns is None):
            column = series
        elif column not in recorded:
            if product in recorded:
                hint = (
                    f"a column {column} (series/product), or demand by product: {{{product}: {{kind: trace, file: "
                    f"{self.file}, series: {product}}}, ...}}, as {self.file} has a column {product}"
                )
                raise expected("series", series, hint, where)
            raise unknown("series", column, recorded.columns or (), where)
        record = recorded.record
        found = spans(self.windows, record, self.block, horizon, where)
        if self.block and self.block > record.periods:
            raise expected("block", self.block, f"at most the {record.periods} periods of {self.file}", where)
        units = recorded.units(column)
        if integer:
            parts = np.flatnonzero(units != np.floor(units))
            if len(parts):
                place = int(parts[0])
                field = f"{self.file}: {column} at {record.label(place)}"
                raise expected(field, float(units[place]), "a whole number, as units is integer", where)
        cut = record.periods < whole
        return TraceSeries(units, found, self.block, record, self.windows, where, content, draws, cut)


@dataclass(frozen=True, eq=False)
class TraceSeries:
    """One recorded series ``units``, (periods,), with the spans that worlds may see and the block they are drawn by."""

    units: Floats
    spans: Mapping[str, Span | None]
    block: int | None
    recorded: Record
    windows: Any = None
    where: str | None = None
    content: str = ""  # what tells the recorded file from others, wherever it lies
    draws: str = ""  # name of the random series that blocks are drawn by: records alike in it are replayed together
    cut: bool = False  # whether days were left out that other records have not

    def span(self, purpose: str) -> Span:
        """First and last period that worlds of a purpose may show.

        Raises
        ------
        InputError
            Where nothing is left for it.
        """
        found = self.spans[purpose]
        if found is None:
            key = {"learn": "train", "validate": "train"}.get(purpose, purpose)
            given = self.spans[key]
            shown = None if given is None else list(given)
            raise expected(f"windows.{key}", shown, lacking(purpose, self.block), self.where)
        return found

    def room(self, purpose: str) -> int | None:
        """Periods that worlds of a purpose can play; None where blocks make them as long as wanted."""
        first, last = self.span(purpose)
        return None if self.block else last - first + 1

    @cached_property
    def seen(self) -> Floats:
        """Units in the periods that a train world can draw, ``(periods seen,)``; all where no period is for training."""
        window = self.spans["train"]
        if window is None:
            return self.units
        if self.block is None:
            return self.units[window[0] : window[1] + 1]
        return self.units[(whole_blocks(window, self.block)[:, None] + np.arange(self.block)).ravel()]

    @cached_property
    def mean(self) -> float:
        """Mean units a period over what train worlds draw: test periods stay unknown to whoever sets levels."""
        return float(self.seen.mean())

    @cached_property
    def variance(self) -> float:
        """Variance of a period's units over what train worlds draw (population form)."""
        return float(self.seen.var())

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
        """Number of blocks that cover history and horizon; 0 where a window is replayed."""
        return 0 if self.block is None else -(-horizon // self.block) - self.first_block(history)
