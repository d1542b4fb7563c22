"""Former module paths of pickled classes: where the classes are now that pickles of earlier versions name.

Zips of Stable-Baselines3 hold the classes of their policies by module path (``features=graph``: classes of this package).
A class that moves keeps its former path here, in the one table there is; no other name is found under such a path.
Whoever reads such a zip, with this package's ``load_policy`` or with Stable-Baselines3 alone, imports the parent package by
that, and so finds the modules that :func:`register` put there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

_AGENTS = "echelongym.agents"

#: By the path of the module that classes were in when version 0.1.0 wrote files: the module that each of them is in now.
FORMER: dict[str, dict[str, str]] = {
    f"{_AGENTS}.graph_policy": {
        "GraphExtractor": f"{_AGENTS}.sb3.graph_policy",
        "GraphPolicy": f"{_AGENTS}.sb3.graph_policy",
    },
    f"{_AGENTS}.graph_features": {"GraphLayout": f"{_AGENTS}.networks.graph_features"},
}


class FormerModule(ModuleType):
    """Stands in for a module that has moved; what it held is imported when it is looked for, PyTorch not before."""

    def __init__(self, path: str, classes: Mapping[str, str]) -> None:
        super().__init__(path, "Stands in for a module that has moved.")
        self._classes = dict(classes)

    def __getattr__(self, name: str) -> Any:
        place = self.__dict__.get("_classes", {}).get(name)
        if place is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(import_module(place), name)


def register() -> None:
    """Put a stand-in where each former module was."""
    for path, classes in FORMER.items():
        sys.modules.setdefault(path, FormerModule(path, classes))
