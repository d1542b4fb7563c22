"""Cells of a table as text, from CSV (also compressed), Excel or Parquet."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from ..core.errors import InputError, expected, is_installed, missing_extra

MOST_BYTES = 256 * 2**20  # of a table, uncompressed
TEXT = (".csv", ".txt", ".tsv", ".csv.gz", ".txt.gz", ".tsv.gz")
EXCEL = (".xlsx", ".xlsm")
PARQUET = (".parquet", ".pq")
_DELIMITERS = ",;\t|"


class Table(NamedTuple):
    """A header and rows under it, every cell a text without spaces around it."""

    header: list[str]
    rows: list[tuple[int, list[str]]]  # line of the file, cells
    delimiter: str  # what stood between cells; empty where numbers need no reading


def is_table(name: str) -> bool:
    """Whether a file's name ends like that of a table that can be read."""
    return name.lower().endswith((*TEXT, *EXCEL, *PARQUET))


def read_cells(path: Path, file: str, sheet: str | None) -> Table:
    """The table in a file.

    Raises
    ------
    InputError
        In one line, whatever is wrong with the file.
    MissingExtra
        Where Excel or Parquet needs a package that is not installed.
    """
    name = path.name.lower()
    try:
        if path.stat().st_size > MOST_BYTES:
            raise expected("size", f"{path.stat().st_size / 2**20:.0f} MB", f"at most {MOST_BYTES >> 20} MB", file)
        if name.endswith(TEXT):
            table = _from_text(_text(path, file), file)
        else:
            table = _from_excel(path, file, sheet) if name.endswith(EXCEL) else _from_parquet(path, file)
    except (OSError, EOFError, zlib.error, csv.Error, MemoryError) as error:
        raise InputError(f"{file}: cannot be read as a table: {_line(error)}") from None
    return _trimmed(table, file)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _text(path: Path, file: str) -> str:
    with path.open("rb") as stream:
        if path.name.lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=stream) as packed:
                content = packed.read(MOST_BYTES + 1)
        else:
            content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise expected("size", "more", f"at most {MOST_BYTES >> 20} MB uncompressed", file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        said = f"it is not UTF-8 (byte {error.start}): save it as CSV UTF-8"
        raise InputError(f"{file}: cannot be read as a table: {said}") from None
    if "\0" in text:
        raise InputError(f"{file}: cannot be read as a table: it holds bytes 0")
    return text


def _from_text(text: str, file: str) -> Table:
    lines = text.splitlines()
    header = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not (not found and cells[0].startswith("#")):
                found.append((reader.line_num, cells))
            line = reader.line_num + 1
    except csv.Error as error:  # of what begins with a quotation mark: it goes on after the next, or for ever
        said = f"{error}: expected a quotation mark at both ends of a cell, and two for one within it"
        raise InputError(f"{file}: line {line}: cannot be read as a table: {said}") from None
    if not found:
        return Table([], [], delimiter)
    return Table(found[0][1], found[1:], delimiter)


def _from_excel(path: Path, file: str, sheet: str | None) -> Table:
    pandas = _pandas("openpyxl")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > MOST_BYTES:
                raise expected("size", "more", f"at most {MOST_BYTES >> 20} MB uncompressed", file)
        with pandas.ExcelFile(path, engine="openpyxl") as book:
            names = [str(name) for name in book.sheet_names]
            if sheet is None and len(names) > 1:
                raise expected("sheet", None, f"one of {', '.join(names)}, as there are several", file)
            if sheet is not None and sheet not in names:
                raise expected("sheet", sheet, f"one of {', '.join(names)}", file)
            frame = book.parse(sheet or names[0], header=None, dtype=object)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # of a reader for damaged files of any kind
        raise InputError(f"{file}: cannot be read as a table: {_line(error)}") from None
    rows = [(number, [_cell(value) for value in row]) for number, row in enumerate(frame.to_numpy().tolist(), 1)]
    rows = [row for row in rows if any(row[1])]
    return Table(rows[0][1], rows[1:], "") if rows else Table([], [], "")


def _from_parquet(path: Path, file: str) -> Table:
    pandas = _pandas("pyarrow")
    try:
        frame = pandas.read_parquet(path, engine="pyarrow")
        if frame.index.name is not None or not isinstance(frame.index, pandas.RangeIndex):
            frame = frame.reset_index()
        header = [str(name).strip() for name in frame.columns]
        values = frame.astype(object).to_numpy().tolist()
    except MemoryError:
        raise
    except Exception as error:  # of a reader for damaged files of any kind
        raise InputError(f"{file}: cannot be read as a table: {_line(error)}") from None
    return Table(header, [(number, [_cell(value) for value in row]) for number, row in enumerate(values, 2)], "")


def _pandas(engine: str) -> Any:
    for package in ("pandas", engine):
        if not is_installed(package):
            raise missing_extra(package, "tables")
    import pandas

    return pandas


def _cell(value: Any) -> str:
    """A value of Excel or Parquet as a CSV would have it."""
    if value is None or value != value:
        return ""
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()


def _trimmed(table: Table, file: str) -> Table:
    """Without columns at the end that have neither a name nor a cell."""
    width = len(table.header)
    while width and not table.header[width - 1] and not any(any(row[width - 1 :]) for _, row in table.rows):
        width -= 1
    header, rows = table.header[:width], []
    for line, row in table.rows:
        if len(row) < width or any(row[width:]):
            raise expected(f"line {line}", ",".join(row), f"{width} cells as in the header", file)
        rows.append((line, row[:width]))
    return Table(header, rows, table.delimiter)
