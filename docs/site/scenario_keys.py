"""The reference of the scenario file, made from the models that read it: keys, what they take, defaults, descriptions."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from links import slug
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from texts import first_paragraph

from echelongym.envs import Scenario
from echelongym.envs.processes.families import FAMILIES
from echelongym.envs.recorded.windows import Windows

PAGE = "reference/scenario_keys.md"
HEAD = """# Keys of a scenario file

Made from the models that read the file; {scenario} explains how a file is written, and {model} what the numbers do.
A key without a default is marked *required*. Where *by product* is written, a mapping from product to
number may stand in place of the number, as in `holding_cost: {{milk: 1.0, butter: 0.4}}`. Any other key is an error.
"""
#: Models that no annotation leads to.
BESIDE: dict[str, type[BaseModel]] = {"customers.NAME.demand.windows": Windows}
KINDS = ", ".join(f"[{kind}](#{slug(f'customers.NAME.demand, kind: {kind}')})" for kind in FAMILIES)
_PLAIN: dict[Any, str] = {float: "number", int: "whole number", str: "text", bool: "`true` or `false`", Any: ""}


def sections() -> dict[type[BaseModel], str]:
    """The models of a scenario file in the order in which keys lead to them, with the path of the first such key."""
    found: dict[type[BaseModel], str] = {}

    def walk(model: type[BaseModel], path: str) -> None:
        if model in found:
            return
        found[model] = path
        for key, field in model.model_fields.items():
            for inner, named in inner_models(field.annotation):
                above = path.partition(",")[0] if ", kind: " in path else path
                walk(inner, ".".join(part for part in (above, field.alias or key, "NAME" if named else "") if part))
        for kind, family in FAMILIES.items() if path == "customers.NAME" else ():
            walk(family, f"customers.NAME.demand, kind: {kind}")
        for where, beside in BESIDE.items():
            if path == f"{where.rpartition('.')[0]}, kind: trace":
                walk(beside, where)

    walk(Scenario, "")
    return found


def keys(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """The keys of a model in the order of a file: its own before those of the model that it extends."""
    own = [item for item in model.model_fields.items() if item[0] in model.__annotations__]
    inherited = [item for item in model.model_fields.items() if item[0] not in model.__annotations__]
    first = own if model is Scenario else inherited
    return [item for item in (*first, *(inherited if first is own else own)) if not item[1].exclude]


def inner_models(annotation: Any, named: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """Models inside an annotation, and whether they stand under a name: ``dict[str, Lane]`` holds ``Lane`` by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, named
    for argument in typing.get_args(annotation):
        yield from inner_models(argument, named or typing.get_origin(annotation) is dict)


def title(path: str) -> str:
    """Heading of a model."""
    return f"`{path}`" if path else "Top level"


def takes(annotation: Any, paths: dict[type[BaseModel], str], metadata: typing.Sequence[Any] = ()) -> str:
    """What a key takes, in words: ``whole number >= 1``, ``stock or supplier``, a link to the keys of a mapping."""
    for one in metadata:
        limits = getattr(getattr(one, "func", None), "keywords", {})
        if "low" in limits:
            return within(**limits)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return takes(arguments[0], paths, arguments[1:])
    if origin in (typing.Union, types.UnionType):
        kept = [one for one in arguments if one is not type(None) and typing.get_origin(one) is not dict]
        texts = list(dict.fromkeys(takes(one, paths) for one in kept))
        mapped = [typing.get_args(one)[1] for one in arguments if typing.get_origin(one) is dict]
        by_product = any(inner in (float, int, float | str) for inner in mapped)
        return " or ".join(texts) + (", by product" if by_product else " or a mapping" if mapped else "")
    if origin is typing.Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin is dict:
        inner = takes(arguments[1], paths)
        return f"by name: {inner}" if inner.startswith("[") else "a mapping"
    if origin is tuple:
        inner = takes(arguments[0], paths) if arguments else ""
        return f"a list of {inner}" if inner.startswith("[") else "a list"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[keys](#{slug(title(paths[annotation]))})"
    return _PLAIN.get(annotation, "text")


def within(low: float, high: float, integer: bool = False, strict: bool = False, auto: bool | None = None) -> str:
    """Range of a number in words; ``auto`` is that of numbers by product: whether the word ``auto`` may stand for one."""
    kind = "whole number" if integer else "number"
    if low == 0 and abs(high - 1) < 1e-6 and not integer and not strict:
        words = "0 to 1" if high == 1 else "0 to below 1"
    elif math.isinf(low) and math.isinf(high):
        words = kind
    elif math.isinf(high):
        words = f"{kind} {'>' if strict else '>='} {low:,.12g}"
    else:
        words = f"{kind}, {'above ' if strict else ''}{low:,.12g} to {high:,.12g}"
    return words + (" or `auto`" if auto else "") + ("" if auto is None else ", by product")


def default(field: FieldInfo) -> str:
    """The default of a key as a file would have it."""
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    if value is None or value == {}:
        return ""
    if isinstance(value, BaseModel):
        low, high, values = (getattr(value, key, None) for key in ("low", "high", "values"))
        if low is not None:
            return f"`{low:g}`" if low == high else f"{low:g} to {high:g}"
        return f"`{values[0]:g}`" if values and len(values) == 1 else ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return f"one, called `{next(iter(value))}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def page() -> str:
    """The page as Markdown."""
    paths = sections()
    lines = [HEAD.format(scenario="[The scenario file](../scenario.md)", model="[the model](../model.md)")]
    for model, path in paths.items():
        lines += [f"## {title(path)}", "", first_paragraph(model.__doc__), ""]
        lines += ["| key | takes | default | meaning |", "|---|---|---|---|"]
        for key, field in keys(model):
            words = (
                KINDS
                if key == "demand" and path == "customers.NAME"
                else takes(field.annotation, paths, field.metadata)
            )
            lines.append(
                f"| `{field.alias or key}` | {words} | {default(field)} | {' '.join((field.description or '').split())} |"
            )
        lines.append("")
    return "\n".join(lines)
