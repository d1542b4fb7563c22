"""The learner ``sac``: its settings, and what trains it."""

from __future__ import annotations

from typing import Literal

from ..sb3.settings import SoftActorCritic
from ..sb3.training import StableBaselinesRun


class SACConfig(SoftActorCritic):
    """Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905)."""

    algorithm = "stable_baselines3:SAC"
    kind: Literal["sac"] = "sac"


CONFIG = SACConfig
RUN = StableBaselinesRun
