"""The learner ``cma_es``: its settings, and what trains it."""

from __future__ import annotations

from ..evolution.config import EvolutionConfig
from ..evolution.training import EvolutionRun

CONFIG = EvolutionConfig
RUN = EvolutionRun
