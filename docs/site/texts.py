"""Docstrings as Markdown."""

from __future__ import annotations

import inspect
import re


def markdown(text: str) -> str:
    """Docstring markup as Markdown: double backticks and roles of Sphinx become code, other signs stay text."""
    text = re.sub(r":\w+:`~?\.*([^`<]+?)(?:\s*<[^`>]*>)?`", r"`\1`", text)
    return text.replace("``", "`")


def first_paragraph(doc: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(markdown(inspect.cleandoc(doc or "").split("\n\n")[0]).split())


def first_sentence(doc: str | None) -> str:
    """The first sentence of a docstring, on one line."""
    return re.split(r"(?<=[.?!])\s", first_paragraph(doc), maxsplit=1)[0]
