"""The learner ``a2c``: its settings, and what trains it."""

from __future__ import annotations

from typing import Any, Literal

from echelongym.envs.core.validation import Flag

from ..sb3.settings import OnPolicy
from ..sb3.training import StableBaselinesRun


class A2CConfig(OnPolicy):
    """Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783): one gradient step a rollout."""

    algorithm = "stable_baselines3:A2C"
    kind: Literal["a2c"] = "a2c"
    normalize_advantage: Flag

    def further(self, actions: int) -> dict[str, Any]:
        """Adam rather than its own optimiser."""
        return {"use_rms_prop": False}


CONFIG = A2CConfig
RUN = StableBaselinesRun
