"""Former module paths of pickled classes: where the classes are now that pickles of earlier versions name.

Zips of Stable-Baselines3 hold the classes of their policies by module path (``features=graph``: classes of this package).
A class that moves keeps its former path here, in the one table there is; no other name is found under such a path.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

_AGENTS = "echelongym.agents"


def _graph_policy() -> tuple[type, ...]:
    from .graph_policy import GraphExtractor, GraphPolicy

    return GraphExtractor, GraphPolicy


def _graph_features() -> tuple[type, ...]:
    from ..networks.graph_features import GraphLayout

    return (GraphLayout,)


#: Classes by the path of the module that they were in when version 0.1.0 wrote files.
FORMER: dict[str, Callable[[], tuple[type, ...]]] = {
    f"{_AGENTS}.graph_policy": _graph_policy,
    f"{_AGENTS}.graph_features": _graph_features,
}


@contextmanager
def former_paths() -> Iterator[None]:
    """While a pickle is read, classes that have moved are found under the paths of their former modules."""
    stand_ins = {}
    for path, classes in FORMER.items():
        if any(one.__module__ != path for one in classes()):
            stand_ins[path] = ModuleType(path, "Stands in for a module that has moved.")
            for one in classes():
                setattr(stand_ins[path], one.__name__, one)
    before = {path: sys.modules.get(path) for path in stand_ins}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for path, module in before.items():
            if module is None:
                del sys.modules[path]
            else:
                sys.modules[path] = module
