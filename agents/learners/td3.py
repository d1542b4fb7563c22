"""The learner ``td3``: its settings, and what trains it."""

from __future__ import annotations

from typing import Any, Literal

from echelongym.envs.core.validation import NonNegative, PositiveCount

from ..sb3.settings import OffPolicyActor, nearly
from ..sb3.training import StableBaselinesRun


class TD3Config(OffPolicyActor):
    """Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018, arXiv 1802.09477)."""

    logged = ("actor_loss", "critic_loss")
    algorithm = "stable_baselines3:TD3"
    own_fields = (*OffPolicyActor.own_fields, "action_noise")
    kind: Literal["td3"] = "td3"
    policy_delay: PositiveCount  # gradient steps of the critics for one of the actor
    action_noise: NonNegative  # standard deviation of exploration, units of the action
    target_policy_noise: NonNegative  # likewise, of the actions that targets are computed with
    target_noise_clip: NonNegative

    def further(self, actions: int) -> dict[str, Any]:
        """The noise of exploration."""
        if not self.action_noise:
            return {}
        import numpy as np
        from stable_baselines3.common.noise import NormalActionNoise

        return {"action_noise": NormalActionNoise(np.zeros(actions), np.full(actions, self.action_noise))}

    def begin(self, model: Any, around_rule: bool) -> None:
        """The actor and its slow copy."""
        for actor in (model.actor, model.actor_target):
            nearly(actor.mu[-2], 0.0)


CONFIG = TD3Config
RUN = StableBaselinesRun
