"""Training runs of learners of Stable-Baselines3, which is imported only where one is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from echelongym.envs.storage.files import write_bytes

from ..budget import Trained
from ..residual import AUTO, ZERO
from ..training import TrainingPlan, TrainingRun
from .settings import KIND

if TYPE_CHECKING:
    from echelongym.envs.scenario.scenario import Scenario

    from ..policy_files import PolicyFile
    from .trainer import Trainer


class StableBaselinesRun(TrainingRun):
    """A learner of Stable-Baselines3."""

    kind = KIND
    own_starts = AUTO, ZERO
    trainer: Trainer

    def _trainer(self, plan: TrainingPlan) -> Trainer:
        from .trainer import Trainer

        return Trainer(**plan.shared, action=plan.action)

    def logger(self, folder: Path) -> Any:
        """Its own one."""
        from stable_baselines3.common.logger import configure

        return configure(str(folder), ["tensorboard"])

    def save(self, path: Path, policy: Any) -> None:
        """Write a policy file."""
        from .policy_file import save_actor

        save_actor(path, policy)

    @classmethod
    def load(cls, file: PolicyFile, scenario: Scenario) -> Any:
        """The policy of a policy file."""
        from .policy_file import actor_policy

        return actor_policy(file, scenario)

    def finish(self, trained: Trained, folder: Path) -> list[str]:
        """``model.zip``, for users of Stable-Baselines3: of the policy that is kept, the rule and no action included."""
        from .models import forget, model_zip

        model = self.trainer.model
        if trained.by_rule:
            forget(model)
        write_bytes(model_zip(model, self.plan.learner, trained.policy), folder / "model.zip")
        return ["model.zip"]
