"""The learner ``pathwise``: its settings, and what trains it."""

from __future__ import annotations

from ..pathwise.config import PathwiseConfig
from ..pathwise.training import PathwiseRun

CONFIG = PathwiseConfig
RUN = PathwiseRun
