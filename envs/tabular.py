"""Networks as CSV tables (products, nodes, lanes, customers) and as a networkx graph."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Config
from .errors import InputError, expected, missing_extra, unknown
from .files import write_text

if TYPE_CHECKING:
    from .network import Network

SECTIONS = ("products", "nodes", "lanes", "customers")


def write_csv(network: Network, folder: str | Path) -> None:
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

    Raises
    ------
    InputError
        For a missing table, an unknown column, a name given twice or a row of the wrong length.
    """
    data: dict[str, Any] = {}
    for section in SECTIONS:
        path = Path(folder) / f"{section}.csv"
        if path.is_file():
            data[section] = _read_table(path, section)
        elif section != "products":
            raise expected("table", str(path), "a file that exists")
    return data


def _columns(section: str) -> list[str]:
    from . import network

    models: dict[str, type[Config]] = {
        "products": network.Product,
        "nodes": network.Node,
        "lanes": network.Lane,
        "customers": network.Customer,
    }
    return list(models[section].model_fields)


def _read_table(path: Path, section: str) -> dict[str, dict[str, Any]]:
    known = _columns(section)
    rows: dict[str, dict[str, Any]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        if header[:1] != ["name"]:
            raise expected("first column", header[:1], "'name'", str(path))
        for column in header[1:]:
            if column not in known:
                raise unknown("column", column, known, str(path))
        for cells in reader:
            if not any(cells):
                continue
            where = f"{path}: line {reader.line_num}"
            if len(cells) != len(header):
                raise InputError(f"{where}: {len(cells)} cells: expected {len(header)}")
            if cells[0] in rows:
                raise expected("name", cells[0], "every name only once", where)
            pairs = zip(header[1:], cells[1:], strict=True)
            rows[cells[0]] = {key: _value(key, cell) for key, cell in pairs if cell != ""}
    return rows


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _value(key: str, cell: str) -> Any:
    """JSON where a cell is JSON, text otherwise; ``north;hub`` is a list of plain sources."""
    try:
        return json.loads(cell)
    except json.JSONDecodeError:
        if key == "sources":
            return {name.strip(): {} for name in cell.split(";")}
        if key == "products":
            return [name.strip() for name in cell.split(";")]
        return cell


def to_networkx(network: Network) -> Any:
    """``networkx.MultiDiGraph``: nodes and customers with their data, lanes and sources as edges.

    Node attribute ``role`` is ``supplier``, ``stock`` or ``customer``; edge attribute ``role`` is
    ``lane``, ``return`` or ``service``; edge keys are lane names, and ``source->customer``.
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
