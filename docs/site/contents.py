"""The order of the pages: the navigation of the site, and what the link checker asks of every page, that it is listed."""

from __future__ import annotations

from collections.abc import Mapping

CONTENTS: Mapping[str, tuple[str, ...]] = {
    "Begin": ("start", "concepts", "glossary", "reference/gallery", "reference/examples"),
    "Jobs": (
        "jobs/network",
        "jobs/demand",
        "jobs/rule",
        "jobs/learner",
        "jobs/benchmark",
        "jobs/bounds",
        "jobs/export",
    ),
    "In depth": ("scenario", "model", "baselines", "learning", "intervals", "reading", "devices", "runs"),
    "Reference": ("reference/scenario_keys", "reference/api/index", "reference/architecture", "results", "boards"),
}


def toctrees(contents: Mapping[str, tuple[str, ...]]) -> str:
    """The contents as directives of Sphinx."""
    trees = []
    for caption, pages in contents.items():
        trees.append(f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n")
    return "\n" + "".join(trees)
