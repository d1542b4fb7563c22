"""The reference of the Python interface, made from docstrings: a page for every package that lists public names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from architecture import modules_page
from pydantic import BaseModel
from texts import first_paragraph, first_sentence, markdown

PACKAGES = ("echelongym.envs", "echelongym.agents")
#: Functions for users in packages that list no public names.
ENTRIES = {
    "echelongym.agents.tuning.tuner": ("tune", "Tuned"),
    "echelongym.agents.export.export": ("export_policy", "Bundle"),
    "echelongym.experiments.commands.train": ("train",),
}
_SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)


def packages() -> Iterator[tuple[str, Any]]:
    """Every package with public names and every module of an entry, by its dotted name."""
    for top in PACKAGES:
        module = importlib.import_module(top)
        yield top, module
        for found in pkgutil.walk_packages(module.__path__, f"{top}."):
            if found.ispkg:
                inner = importlib.import_module(found.name)
                if getattr(inner, "__all__", ()):
                    yield found.name, inner
    for name in ENTRIES:
        yield name, importlib.import_module(name)


def write(folder: Path) -> None:
    """Write a page a package, and an index, into ``folder``; what lay there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = dict(packages())
    listed = "\n".join(
        f"| [`{name}`]({name}.md) | {first_sentence(module.__doc__)} |" for name, module in pages.items()
    )
    listed += "\n| [modules](modules.md) | Every module by its folder, for readers of the source. |"
    tree = "\n".join([*pages, "modules"])
    head = (
        "# Python interface\n\nMade from docstrings. What is not listed here may change without notice.\n\n"
        f"| package | holds |\n|---|---|\n{listed}\n\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n"
    )
    (folder / "index.md").write_text(head, encoding="utf-8")
    (folder / "modules.md").write_text(modules_page(), encoding="utf-8")
    for name, module in pages.items():
        (folder / f"{name}.md").write_text(page(name, module), encoding="utf-8")


def page(name: str, module: Any) -> str:
    """The page of one package."""
    lines = [f"# {name}", "", document(module.__doc__)]
    for public in sorted(ENTRIES.get(name) or module.__all__, key=str.lower):
        value = getattr(module, public)
        if inspect.isclass(value):
            lines += ["", f"## {public}", "", *of_class(public, value)]
        elif inspect.isroutine(value):
            lines += ["", f"## {public}", "", *of_function(public, value)]
        elif not inspect.ismodule(value):
            lines += ["", f"## {public}", "", f"A constant of type `{type(value).__name__}`."]
    return "\n".join(lines) + "\n"


def of_function(name: str, function: Any) -> list[str]:
    """Signature and docstring."""
    return [f"```python\n{signature(name, function)}\n```", "", document(function.__doc__)]


def of_class(name: str, value: type) -> list[str]:
    """Signature, docstring, fields of a model, public methods and properties."""
    model = issubclass(value, BaseModel)
    lines = [] if model or inspect.isabstract(value) else [f"```python\n{signature(name, value)}\n```", ""]
    lines += [document(value.__doc__), ""]
    if model:
        lines += [f"- `{key}`: {field.description or ''}".rstrip(": ") for key, field in value.model_fields.items()]
    for key, member in value.__dict__.items():
        if key.startswith(("_", "model_")):
            continue
        inner = (
            getattr(member, "__func__", None)
            or getattr(member, "fget", None)
            or getattr(member, "func", None)
            or member
        )
        if inspect.isfunction(inner) and inner.__doc__:
            if inner is member or hasattr(member, "__func__"):
                lines += [
                    "",
                    f"### {name}.{key}",
                    "",
                    f"```python\n{signature(key, inner)}\n```",
                    "",
                    document(inner.__doc__),
                ]
            else:
                lines += ["", f"### {name}.{key}", "", f"Property. {first_paragraph(inner.__doc__)}"]
    return lines


def signature(name: str, value: Any) -> str:
    """The call, a parameter a line where one line would be long; module names are left out of types."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return f"{name}(...)"
    parameters = [one for one in found.parameters.values() if one.name not in ("self", "cls")]
    texts = []
    star = False
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and not star:
            texts.append("*")
        star = star or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        texts.append(written(one))
    back = "" if found.return_annotation is found.empty else f" -> {annotation(found.return_annotation)}"
    line = f"{name}({', '.join(texts)}){back}"
    return line if len(line) <= 88 else f"{name}(\n    " + ",\n    ".join(texts) + f",\n){back}"


def written(one: inspect.Parameter) -> str:
    """A parameter with its type and default."""
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    kind = "" if one.annotation is one.empty else f": {annotation(one.annotation)}"
    equals = " = " if kind else "="
    return f"{stars}{one.name}{kind}" + ("" if one.default is one.empty else f"{equals}{default(one.default)}")


def default(value: Any) -> str:
    """A default as code; an object without a literal is an ellipsis."""
    text = repr(value)
    return "..." if text.startswith("<") else text


def annotation(value: Any) -> str:
    """A type as it is written, without modules."""
    text = value if isinstance(value, str) else inspect.formatannotation(value)
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(\w+)", r"\1", text)


def document(doc: str | None) -> str:
    """A docstring in NumPy's style as Markdown: sections become bold words, parameters a list, examples code."""
    pieces = _SECTION.split(inspect.cleandoc(doc or "No description."))
    lines = [paragraphs(pieces[0])]
    for head, body in zip(pieces[1::2], pieces[2::2], strict=True):
        lines += ["", f"**{head}**", ""]
        lines.append(f"```python\n{body.strip()}\n```" if head in ("Example", "Examples") else items(body))
    return "\n".join(lines)


def items(body: str) -> str:
    """The entries of a section: a name without indent, its text with."""
    lines: list[str] = []
    for line in body.strip("\n").split("\n"):
        if not line.strip():
            continue
        if line.startswith(" ") and lines:
            lines[-1] += f" {line.strip()}" if ": " in lines[-1] else f": {line.strip()}"
        else:
            name, colon, kind = line.partition(" : ")
            lines.append(f"- `{name}`" + (f" ({kind})" if colon else ""))
    return markdown("\n".join(lines))


def paragraphs(text: str) -> str:
    """Text with indented blocks as code."""
    found = []
    for block in text.strip().split("\n\n"):
        indented = all(line.startswith("    ") for line in block.split("\n"))
        found.append(f"```\n{inspect.cleandoc(block)}\n```" if indented or block.startswith(">>>") else markdown(block))
    return "\n\n".join(found)
