"""Reading of tables of past demand in the dialects that people write them in.

Two layouts are read: one column a series beside a column ``period`` or ``date`` (wide), or one row a date and series, with
columns for customer, product and units (long). Further keys beside ``file`` say what cannot be seen: ``columns`` (names of
the columns of a long table, or of the date), ``date_format``, ``decimal``, ``missing``, ``sheet``. What is ambiguous is
refused, never guessed.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.errors import InputError, expected, unknown
from ..core.typing import Floats
from .amounts import amount, decimal_mark, empty
from .cells import Table, read_cells
from .dates import GAP, Periods, counted, dated
from .record import Record, RecordedSeries

MOST_CELLS = 50_000_000
PERIOD, DATE = ("period", "index", "unnamed: 0", ""), ("date", "datetime", "timestamp", "ds", "datum")
#: Usual names of the columns of long tables.
USUAL = {
    "customer": ("customer", "store", "shop", "location", "site", "store_nbr", "store_id"),
    "product": ("product", "item", "sku", "article", "item_nbr", "item_id"),
    "units": ("units", "sales", "quantity", "qty", "demand", "unit_sales", "sold"),
}


class Dialect(NamedTuple):
    """Dialect of a table as a scenario states it; None: what the table shows."""

    missing: str = "refuse"
    date: str | None = None
    customer: str | None = None
    product: str | None = None
    units: str | None = None
    date_format: str | None = None
    decimal: str | None = None
    sheet: str | None = None


@lru_cache(maxsize=16)
def read_table(path: Path, file: str, stamp: tuple[int, int], dialect: Dialect) -> RecordedSeries:
    """The table at ``path``; ``stamp`` (time of change, size) makes an edited file a new one.

    Raises
    ------
    InputError
        Naming line, column, value and what was expected.
    MissingExtra
        Where Excel or Parquet needs a package that is not installed.
    """
    table = read_cells(path, file, dialect.sheet)
    header = table.header
    index = _index_column(header, dialect, file)
    for name in header:
        if not name and header.index(name) == index and header.count(name) == 1:
            continue
        if not name or header.count(name) > 1:
            raise expected("header", name, "columns with names, each only once", file)
    if not table.rows:
        raise expected("rows", 0, "at least one period", file)
    cells = [(line, row[index]) for line, row in table.rows]
    periods = _periods(header[index], cells, dialect, file)
    roles = _roles(header, index, periods, dialect, file)
    if roles is None:
        return _wide(table, index, periods, dialect, file)
    return _long(table, roles, periods, dialect, file)


def _index_column(header: list[str], dialect: Dialect, file: str) -> int:
    if dialect.date is not None:
        if dialect.date not in header:
            raise unknown("columns.date", dialect.date, header, file)
        if len(header) > 1:
            return header.index(dialect.date)
    if len(header) < 2 or header[0].lower() not in (*PERIOD, *DATE):
        hint = "period or date, a comma, then one column a series (or columns: {date: ...} names the column of dates)"
        raise expected("header", ",".join(header), hint, file)
    return 0


def _periods(name: str, cells: list[tuple[int, str]], dialect: Dialect, file: str) -> Periods:
    numbered = name.lower() in PERIOD
    if numbered and name.lower() != "period":  # an index that pandas wrote: it may hold dates
        numbered = all(text.isdigit() and len(text) < 8 for _, text in cells)
    if numbered:
        return counted(cells, dialect.missing, file)
    return dated(cells, dialect.missing, dialect.date_format, file)


def _roles(
    header: list[str], index: int, periods: Periods, dialect: Dialect, file: str
) -> tuple[list[int], int] | None:
    """Columns that name a series (customer, product), and that of the units, of a long table; None for a wide one."""
    given = {key: getattr(dialect, key) for key in USUAL if getattr(dialect, key) is not None}
    if given:
        for key, name in given.items():
            if name not in header:
                raise unknown(f"columns.{key}", name, header, file)
        if "units" not in given:
            raise expected("columns", sorted(given), f"units, too, one of {', '.join(header)}", file)
    elif len(set(periods.places)) == len(periods.places):
        return None
    else:
        others = [name for place, name in enumerate(header) if place != index]
        for name in others:
            role = next((key for key, usual in USUAL.items() if name.lower() in usual), None)
            if role is None or role in given:
                given = {}
                break
            given[role] = name
        if "units" not in given or len(given) < 2:
            return None
    named = [header.index(given[key]) for key in ("customer", "product") if key in given]
    return named, header.index(given["units"])


def _wide(table: Table, index: int, periods: Periods, dialect: Dialect, file: str) -> RecordedSeries:
    header, rows = table.header, table.rows
    seen: dict[int, int] = {}
    for place, (line, row) in zip(periods.places, rows, strict=True):
        if place in seen:
            raise _twice(line, row[index], seen[place], header, index, file)
        seen[place] = line
    columns = [place for place in range(len(header)) if place != index]
    _check_size(periods.number, len(columns), file)
    mark = decimal_mark((row[c] for _, row in rows for c in columns), dialect.decimal, table.delimiter, file)
    units = np.zeros((periods.number, len(columns)))
    for place, (line, row) in zip(periods.places, rows, strict=True):
        for k, column in enumerate(columns):
            units[place, k] = _units(row[column], mark, dialect, f"line {line}, {header[column]}", file)
    return _recorded(file, units, [header[column] for column in columns], periods)


def _long(table: Table, roles: tuple[list[int], int], periods: Periods, dialect: Dialect, file: str) -> RecordedSeries:
    named, column = roles
    header, rows = table.header, table.rows
    names: dict[str, int] = {}
    series = [
        names.setdefault("/".join(row[c] for c in named) if named else header[column], len(names)) for _, row in rows
    ]
    _check_size(periods.number, len(names), file)
    mark = decimal_mark((row[column] for _, row in rows), dialect.decimal, table.delimiter, file)
    units, lines = np.zeros((periods.number, len(names))), np.zeros((periods.number, len(names)), dtype=np.int64)
    for place, k, (line, row) in zip(periods.places, series, rows, strict=True):
        if lines[place, k]:
            what = f"{list(names)[k]} at {row[_date_of(header, dialect)]}"
            hint = f"each series once a period (line {lines[place, k]} has it, too): add such rows up"
            raise expected(f"line {line}", what, hint, file)
        units[place, k] = _units(row[column], mark, dialect, f"line {line}, {header[column]}", file)
        lines[place, k] = line
    if dialect.missing != "zero" and not lines.all():
        place, k = np.argwhere(lines == 0)[0].tolist()
        when = place if periods.calendar is None else periods.calendar.label(place)
        raise expected(f"{list(names)[k]} at {when}", None, f"a row in the long table ({GAP})", file)
    return _recorded(file, units, list(names), periods)


def _date_of(header: list[str], dialect: Dialect) -> int:
    return 0 if dialect.date is None else header.index(dialect.date)


def _recorded(file: str, units: Floats, names: list[str], periods: Periods) -> RecordedSeries:
    units.flags.writeable = False
    places = {name: column for column, name in enumerate(names)}
    return RecordedSeries(
        Record(file, len(units), periods.calendar), tuple(places), lambda name: units[:, places[name]]
    )


def _units(cell: str, mark: str, dialect: Dialect, field: str, file: str) -> float:
    if empty(cell):
        if dialect.missing == "zero":
            return 0.0
        raise expected(field, cell, f"a number >= 0 (0 where nothing was sold; {GAP})", file)
    value = amount(cell, mark)
    if value is None:
        hint = "a number >= 0 (0 where nothing was sold"
        if cell.startswith("-"):
            hint += "; what came back is no demand: leave it out"
        elif cell[:1].isalpha():
            hint += "; of a table whose every row is one series: columns: {date: ..., customer: ..., units: ...}"
        hint += ")"
        raise expected(field, cell, hint, file)
    return value


def _twice(line: int, text: str, other: int, header: list[str], index: int, file: str) -> InputError:
    hint = f"each period once (line {other} has it, too): add such rows up"
    rest = [name for place, name in enumerate(header) if place != index]
    if len(rest) > 1:
        hint += (
            f"; or, if every row is one series: columns: {{date: {header[index]}, customer: ..., product: ..., "
            f"units: ...}} with columns among {', '.join(rest)}"
        )
    return expected(f"line {line}, {header[index] or 'index'}", text, hint, file)


def _check_size(periods: int, series: int, file: str) -> None:
    if periods * series > MOST_CELLS:
        raise expected("size", f"{periods:,} periods x {series:,} series", f"at most {MOST_CELLS:,} numbers", file)
