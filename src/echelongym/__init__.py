"""Echelon Gym: inventory control on distribution networks.

Importing it registers ``echelongym/Network-v1`` and one id per shipped scenario with Gymnasium. The subpackages
``envs``, ``agents``, ``configs`` and ``experiments`` are imported when they are first used, so ``import echelongym``
takes no longer than Gymnasium does.

    >>> import echelongym, gymnasium
    >>> env = gymnasium.make("echelongym/Network-v1", scenario="two_region")
    >>> scenario = echelongym.envs.Scenario.load("two_region")
"""

from __future__ import annotations

import sys

if sys.argv[:1] == ["-m"]:  # Python is finding `python -m echelongym...`, and would search the working folder first
    from .experiments import import_path as import_path

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

from .registration import register_envs, registered_ids

if TYPE_CHECKING:
    from . import agents, configs, envs, experiments

__version__ = metadata.version("echelongym")

_SUBPACKAGES = ("agents", "configs", "envs", "experiments")

register_envs()


def __getattr__(name: str) -> Any:
    """A subpackage, imported when it is first asked for."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES})


__all__ = ["__version__", "agents", "configs", "envs", "experiments", "register_envs", "registered_ids"]
