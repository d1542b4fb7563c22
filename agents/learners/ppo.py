"""The learner ``ppo``: its settings, and what trains it."""

from __future__ import annotations

from typing import Literal

from ..sb3.settings import Clipped
from ..sb3.training import StableBaselinesRun


class PPOConfig(Clipped):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347)."""

    algorithm = "stable_baselines3:PPO"
    kind: Literal["ppo"] = "ppo"


CONFIG = PPOConfig
RUN = StableBaselinesRun
