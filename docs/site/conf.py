"""Settings of Sphinx: the Markdown in docs/, which a code host shows as it is, becomes the site in build/site."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import latex2mathml.converter

sys.path.insert(0, str(Path(__file__).parent))
from contents import CONTENTS, toctrees

project = "Echelon Gym"
author = "Echelon Gym contributors"
release = version = installed("echelongym")
extensions = ["myst_parser"]
include_patterns = ["**.md"]
root_doc = "index"
language = "en"

# GitHub's rules: `$...$` is a formula, and a heading is an anchor by its text.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
nitpicky = True

html_theme = "furo"
html_title = "Echelon Gym"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
pygments_style, pygments_dark_style = "friendly", "monokai"


def with_contents(app: Any, page: str, text: list[str]) -> None:
    """Add the table of contents to the first page: on a code host its links are enough."""
    if page == root_doc:
        text[0] += toctrees(CONTENTS)


def formula(writer: Any, node: Any, display: str) -> None:
    """Write a formula as MathML, which browsers draw by themselves: no script, nothing from elsewhere."""
    from docutils.nodes import SkipNode

    plain = node.astext().replace(r"\!", "").replace(r"\big", "")
    writer.body.append(latex2mathml.converter.convert(plain, display=display))
    raise SkipNode


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer(
        "mathml",
        (lambda writer, node: formula(writer, node, "inline"), None),
        (lambda writer, node: formula(writer, node, "block"), None),
    )
    app.connect("source-read", with_contents)
