"""The signature of a network: what a policy or a recorded tape has to agree with, as plain data.

Numbers (costs, capacities, demand) are no part of it; names, their order, what lanes and customers are connected to, and
the products that they carry are. Whatever is made for a network and kept in a file says so by this signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..core.errors import InputError, expected, printable, shorten
from .tables import Tables

#: Keys that every signature has: names in their order.
NAMES = ("products", "nodes", "lanes", "customers")
#: Keys that files of earlier versions, and files written by hand, may lack.
CONNECTIONS = ("suppliers", "ends", "pairs", "carried", "units")


def signature(tables: Tables) -> dict[str, Any]:
    """The signature of a network, as JSON and YAML hold it.

    Returns
    -------
    ``products, nodes, lanes, customers``: names in their order; ``suppliers``: the nodes that are; ``ends``: of each lane
    its source (of a return lane the customer) and target; ``pairs``: source and customer of each pair, in the order of
    ``reserve``; ``carried``: products of each lane and pair (``lane`` or ``source -> customer``) that does not carry all;
    ``units``: ``continuous`` or ``integer``.
    """
    t = tables
    ends = [
        [t.nodes[source] if source >= 0 else t.customers[customer], t.nodes[target]]
        for source, customer, target in zip(t.lane_source, t.lane_customer, t.lane_target, strict=True)
    ]
    rows = [*zip(t.lanes, t.lane_carries, strict=True)]
    rows += [(_arrow(pair), carries) for pair, carries in zip(t.pairs, t.pair_carries, strict=True)]
    carried = {
        name: [product for product, one in zip(t.products, carries, strict=True) if one]
        for name, carries in rows
        if not carries.all()
    }
    return {
        **{key: list(getattr(t, key)) for key in NAMES},
        "suppliers": [name for name, one in zip(t.nodes, t.is_supplier, strict=True) if one],
        "ends": ends,
        "pairs": [list(pair) for pair in t.pairs],
        "carried": carried,
        "units": "integer" if t.integer else "continuous",
    }


@lru_cache(maxsize=64)
def connections(tables: Tables) -> Mapping[str, Any]:
    """Connections of a network: the part of its signature that a tape carries beside the names; not to be changed."""
    found = signature(tables)
    return {key: found[key] for key in CONNECTIONS if key != "units"}


def check_network(given: Any, tables: Tables, where: str) -> None:
    """Refuse what was made for another network; keys of :data:`CONNECTIONS` that are not given are not compared.

    Parameters
    ----------
    given
        A signature that was read from a file.
    where
        What errors call that file.

    Raises
    ------
    InputError
        Naming the first difference, or what is no signature.
    """
    _check_form(given, where)
    ours = signature(tables)
    told = _difference(given, ours)
    if told is not None:
        raise InputError(f"{where}: made for another network than scenario {tables.name!r}: {told}")


def is_complete(given: Mapping[str, Any]) -> bool:
    """Whether a signature says how the network is connected; those of earlier versions hold names alone."""
    return all(given.get(key) is not None for key in CONNECTIONS)


def _arrow(pair: Any) -> str:
    return f"{printable(pair[0])[:60]} -> {printable(pair[1])[:60]}"


def _check_form(given: Any, where: str) -> None:
    known = (*NAMES, *CONNECTIONS)
    if not isinstance(given, Mapping) or not set(NAMES) <= set(given) <= set(known):
        raise expected("network", given, f"a mapping with {', '.join(NAMES)}", where)
    for key in (*NAMES, "suppliers"):
        if given.get(key) is not None and not _texts(given[key]):
            raise expected(f"network.{key}", given[key], "a list of names", where)
    for key in ("ends", "pairs"):
        found = given.get(key)
        if found is not None and not (isinstance(found, list | tuple) and all(_texts(one, 2) for one in found)):
            raise expected(f"network.{key}", found, "a list of two names each", where)
    carried = given.get("carried")
    if carried is not None and not (isinstance(carried, Mapping) and all(map(_texts, carried.values()))):
        raise expected("network.carried", carried, "a mapping from lanes and pairs to lists of products", where)


def _texts(value: Any, size: int | None = None) -> bool:
    fits = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    return fits and size in (None, len(value))


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """The first difference in words."""
    for key in (*NAMES, "suppliers", "ends", "pairs"):
        found = theirs.get(key)
        if found is None and key in CONNECTIONS:
            continue
        have, want = list(found or ()), ours[key]
        for place in range(max(len(have), len(want))):
            one = list(have[place]) if place < len(have) and key in ("ends", "pairs") else _at(have, place)
            if one != _at(want, place):
                return _told(key, place, one, _at(want, place), ours)
    carried = theirs.get("carried")
    if carried is not None:
        for name in {**ours["carried"], **carried}:
            one, other = (list(each.get(name, ours["products"])) for each in (carried, ours["carried"]))
            if one != other:
                return f"{name} carries {', '.join(one) or 'nothing'}, expected {', '.join(other) or 'nothing'}"
    units = theirs.get("units")
    if units is not None and units != ours["units"]:
        return f"units is {shorten(units)}, expected {ours['units']!r}"
    return None


def _at(values: list[Any], place: int) -> Any:
    return values[place] if place < len(values) else None


def _told(key: str, place: int, one: Any, other: Any, ours: Mapping[str, Any]) -> str:
    if key == "ends" and one and other:
        start, end = (printable(name)[:60] for name in one[:2])
        return f"lane {ours['lanes'][place]} goes from {start} to {end}, expected from {other[0]} to {other[1]}"
    if key == "pairs":
        have, want = ("nothing" if pair is None else _arrow(pair) for pair in (one, other))
        return f"source of a customer: pairs[{place}] is {have}, expected {want}"
    have, want = ("nothing" if name is None else repr(name) for name in (one, other))
    return f"{key}[{place}] is {have}, expected {want}"
