"""Networks as CSV tables (products, nodes, lanes, customers) and as a networkx graph."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.errors import InputError, expected, missing_extra, printable, unknown
from ..core.validation import Config
from ..core.yaml_reading import LONGEST_NUMBER, read_text
from ..storage.files import as_path, write_text
from .entities import Customer, Entities, Lane, Node, Product

SECTIONS = ("products", "nodes", "lanes", "customers")
# Columns in which a cell is text as it stands, and those in which it is names.
_TEXT = frozenset({"name", "kind", "source", "target", "mode", "segment", "region", "issuing"})
_NAMES = frozenset({"sources", "products"})
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
# 1.234 is twelve hundred to one half of the world.
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+([eE][-+]?\d+)?")
_WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")


def write_csv(network: Entities, folder: str | Path) -> None:
    """One table a section; columns are ``name`` and the keys that any row gives.

    Mappings (a number by product, demand, sources) stand in their cell as JSON.
    """
    data = json.loads(network.model_dump_json(exclude_none=True, exclude_defaults=True))
    full = json.loads(network.model_dump_json(exclude_none=True, include=set(SECTIONS)))
    for section in SECTIONS:
        rows = data.get(section, full[section])
        used = {key for row in rows.values() for key in row}
        columns = [key for key in _columns(section) if key in used]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", *columns])
        for name, row in rows.items():
            # An entry at its default is an empty cell, as it is a missing key in YAML.
            writer.writerow([name, *(_cell(row.get(key)) for key in columns)])
        write_text(text.getvalue(), Path(folder) / f"{section}.csv")


def read_csv(folder: str | Path) -> dict[str, Any]:
    """The sections of a folder of tables as plain data; ``products.csv`` may be missing.

    Read as spreadsheets and planning systems write them: UTF-8 with or without a byte-order mark; columns separated by
    commas, semicolons (then numbers may have decimal commas) or tabs; headings in any case, with blanks for ``_``. Names are
    text as they stand: ``101``, ``007``, ``null`` and ``1e5``, too.

    Raises
    ------
    InputError
        For a missing table, another encoding, an unknown column or one given twice, a name given twice, a row of the wrong
        length, or a number of which nobody can say whether its point is a decimal one.
    """
    base = as_path(folder, "tables")
    if base.suffix.lower() in _WORKBOOKS or base.is_file():
        hint = f"a folder with {', '.join(f'{section}.csv' for section in SECTIONS[1:])}"
        sheets = " (save each sheet of a workbook as 'CSV UTF-8')" if base.suffix.lower() in _WORKBOOKS else ""
        raise expected("tables", str(folder), f"{hint}{sheets}")
    data: dict[str, Any] = {}
    for section in SECTIONS:
        path = base / f"{section}.csv"
        if path.is_file():
            data[section] = _read_table(path, section)
        elif section != "products":
            found = [one.name for one in sorted(base.glob(f"{section}.*")) if one.suffix.lower() in _WORKBOOKS]
            hint = f"a file that exists (save {printable(found[0])} as 'CSV UTF-8')" if found else "a file that exists"
            raise expected("table", str(path), hint)
    return data


def _columns(section: str) -> list[str]:
    models: dict[str, type[Config]] = {"products": Product, "nodes": Node, "lanes": Lane, "customers": Customer}
    return list(models[section].model_fields)


def _read_table(path: Path, section: str) -> dict[str, dict[str, Any]]:
    where = printable(path)
    header, lines, sign = _lines(path, where)
    headings = _headings(header, ["name", *_columns(section)], where)
    rows: dict[str, dict[str, Any]] = {}
    for number, cells in lines:
        here = f"{where}: line {number}"
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(header):
            raise InputError(f"{here}: {len(cells)} cells: expected {len(header)}")
        given = {key: cell for key, cell in zip(headings, cells, strict=True) if cell}
        beyond = given.pop("", None)
        if beyond is not None:
            raise expected("cell", beyond, "none in a column without a heading", here)
        name = given.pop("name", "")
        if not name:
            raise expected("name", name, "a name in every row", here)
        if name in rows:
            raise expected("name", name, "every name only once", here)
        rows[name] = {key: _value(key, cell, sign, here) for key, cell in given.items()}
    return rows


def _lines(path: Path, where: str) -> tuple[list[str], Iterator[tuple[int, list[str]]], str]:
    """The header, numbered rows that are not empty, and the decimal sign (empty where nothing in the table decides)."""
    text = read_text(path)
    first, _, rest = text.partition("\n")
    skipped = 0
    separator = re.fullmatch(r"sep=(.)", first.strip("\r"))
    if separator:  # written by Excel on request
        text, skipped = rest, 1
        first = rest.partition("\n")[0]
    counts = {sign: first.count(sign) for sign in ";\t,"}
    delimiter = (
        separator[1] if separator else max(counts, key=lambda sign: counts[sign]) if any(counts.values()) else ","
    )
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        read = [(reader.line_num + skipped, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InputError(f"{where}: line {reader.line_num + skipped}: is no CSV table: {error}") from None
    full = [(number, cells) for number, cells in read if any(cells)]
    if not full:
        raise expected("first line", "", "the names of the columns", where)
    cells = [cell for _, row in full[1:] for cell in row]
    sign = "." if delimiter == "," else "," if any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells) else ""
    if not sign and any("." in cell and _NUMBER.fullmatch(cell) and not _THOUSANDS.fullmatch(cell) for cell in cells):
        sign = "."
    return full[0][1], iter(full[1:]), sign


def _headings(header: list[str], known: list[str], where: str) -> list[str]:
    """Keys of the columns; empty for a column without a heading."""
    found: list[str] = []
    for heading in header:
        key = re.sub(r"[\s\-]+", "_", heading.strip().lower())
        if key and key not in known:
            raise unknown("column", heading, known, where)
        if key and key in found:
            raise expected("column", heading, "every column only once", where)
        found.append(key)
    if "name" not in found:
        raise expected("columns", header, "'name' among them", where)
    return found


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _value(key: str, cell: str, sign: str, where: str) -> Any:
    """What a cell of a column means; ``north;hub`` is a list of plain sources."""
    if key in _TEXT:
        return cell
    if cell[0] in "{[":
        try:
            return json.loads(cell, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            hint = f"JSON ({printable(error)})" if isinstance(error, ValueError) else "JSON that is not nested so deep"
            raise expected(key, cell, hint, where) from None
    if key in _NAMES:
        names = [name.strip() for name in re.split("[;,]", cell)]
        return {name: {} for name in names} if key == "sources" else names
    return _numeral(key, cell, sign, where)


def _numeral(key: str, cell: str, sign: str, where: str) -> Any:
    """A number where a cell is one, else its text."""
    if sign == "," and _DECIMAL_COMMA.fullmatch(cell):
        cell = cell.replace(",", ".")
    elif sign == "," and "." in cell and _NUMBER.fullmatch(cell):
        raise expected(key, cell, "a decimal comma, as other numbers of the table have one", where)
    elif sign == "" and _THOUSANDS.fullmatch(cell):
        raise expected(
            key, cell, "a number without points between thousands, or with another number of decimals", where
        )
    if not _NUMBER.fullmatch(cell) or len(cell) > LONGEST_NUMBER:
        return cell
    return int(cell) if re.fullmatch(r"[-+]?\d+", cell) else float(cell)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def to_networkx(network: Entities) -> Any:
    """``networkx.MultiDiGraph``: nodes and customers with their data, lanes and sources as edges.

    Node attribute ``role`` is ``supplier``, ``stock`` or ``customer``; edge attribute ``role`` is
    ``lane``, ``return`` or ``service``; edge keys are lane names, and ``source->customer``.

    Raises
    ------
    MissingExtra
        If networkx is not installed.
    """
    try:
        import networkx
    except ImportError:
        raise missing_extra("networkx", "networkx") from None
    graph = networkx.MultiDiGraph()
    for name, node in network.nodes.items():
        graph.add_node(name, role=node.kind, **node.model_dump(exclude={"kind"}))
    for name, customer in network.customers.items():
        graph.add_node(name, role="customer", **customer.model_dump(exclude={"sources"}))
    for name, lane in network.lanes.items():
        role = "return" if lane.source in network.customers else "lane"
        attributes = lane.model_dump(exclude={"source", "target"})
        graph.add_edge(lane.source, lane.target, key=name, role=role, **attributes)
    for name, customer in network.customers.items():
        for rank, (source, terms) in enumerate(customer.sources.items()):
            key = f"{source}->{name}"
            graph.add_edge(source, name, key=key, role="service", rank=rank, **terms.model_dump())
    return graph
