"""Overrides of a scenario's plain data by dotted keys: one meaning for Python, Gymnasium and the command line.

``lanes.hub_north.capacity`` set to 40 sets that number; ``customers.shops.demand`` set to a mapping replaces the whole demand.
What a key names is replaced, never merged into; changes apply one after another.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.errors import expected, shorten, unknown
from ..core.plain import check_plain
from .randomise import NETWORK, is_undrawn
from .regional_network import with_generated

#: Sections of a scenario that are mappings by name.
BY_NAME = ("products", "nodes", "lanes", "customers", "disruptions")


def overridden(data: Mapping[str, Any], changes: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A copy of a scenario's plain data with ``changes`` made; ``prefix`` stands before keys in errors.

    Raises
    ------
    InputError
        On a key that is no dotted path, or that reaches into a node, lane ... that the scenario has not, naming the closest.
    """
    if not isinstance(changes, Mapping):
        raise expected("overrides", changes, "a mapping from dotted keys to values")
    check_plain(changes, "overrides")
    found: dict[str, Any] = copy.deepcopy(dict(data))
    # What the network is generated from comes first, so that what is generated can be changed.
    for key, value in sorted(
        changes.items(), key=lambda item: str(item[0]).split(".")[0] not in ("generate", "products")
    ):
        parts = key.split(".") if isinstance(key, str) else [""]
        if parts[0] in NETWORK and len(parts) > 1:
            found = with_generated(found)
        if "" in parts:
            raise expected("overrides", key, "dotted keys, such as lanes.hub_north.capacity")
        if parts[0] == "base_dir":
            raise expected(f"{prefix}base_dir", value, "no such key: files are looked for beside the scenario")
        if parts[0] in NETWORK and len(parts) > 1 and is_undrawn(found):
            hint = f"{', '.join(NETWORK)} all given beside it, or none (randomise.values changes what is drawn)"
            raise expected(f"{prefix}randomise.network", [parts[0]], hint, f"{prefix}{key}")
        _check_name(found, parts, prefix)
        _put(found, parts, copy.deepcopy(value), f"{prefix}{key}")
    return found


def dotted(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested data as dotted keys, ``levels.hub``, each with its value; an empty mapping is a value."""
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _check_name(data: dict[str, Any], parts: list[str], prefix: str) -> None:
    """A key of a node, lane ... that is not there would otherwise be taken for a new one, half described."""
    section, name = parts[0], parts[1] if len(parts) > 2 else None
    if name is None or section not in BY_NAME:
        return
    if section == "products" and not data.get(section):
        data[section] = {"product": {}}
    known = data.get(section) or {}
    if not isinstance(known, Mapping) or name in map(str, known):
        return
    where = prefix + ".".join(parts)
    if not known:
        raise expected(f"{prefix}{section}", name, f"a name that {section} has, of which there are none", where)
    raise unknown(f"{prefix}{section}", name, known, where)


def _put(place: Any, parts: list[str], value: Any, key: str) -> None:
    """Set the value at a path; what stands in the way and is no mapping gives way to one."""
    *parents, last = parts
    for part in parents:
        index = _index(place, part, key)
        if not isinstance(place[index] if isinstance(place, list) else place.get(index), dict | list):
            place[index] = {}
        place = place[index]
    place[_index(place, last, key)] = value


def _index(place: Any, part: str, key: str) -> Any:
    if isinstance(place, dict):
        return part
    if part.isdecimal() and int(part) < len(place):
        return int(part)
    raise expected(key, part, f"the place in a list of {len(place)}, 0 to {len(place) - 1}: {shorten(place)}")
