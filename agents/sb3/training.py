"""Training runs of learners of Stable-Baselines3, which is imported only where one is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echelongym.envs.storage.files import write_bytes

from ..budget import Trained
from ..residual import ZERO
from ..training import TrainingPlan, TrainingRun


class StableBaselinesRun(TrainingRun):
    """A learner of Stable-Baselines3."""

    own_start = ZERO

    @classmethod
    def latest(cls, folder: Path) -> tuple[Any, dict[str, Any]]:
        """The newest checkpoint, and its facts.

        Raises
        ------
        InputError
            If there is none.
        """
        from .checkpoint import latest_checkpoint

        found = latest_checkpoint(folder)
        return found, found.facts

    def _trainer(self, plan: TrainingPlan) -> Any:
        from .trainer import Trainer

        return Trainer(
            plan.scenario,
            plan.learner,
            plan.seed,
            plan.budget,
            plan.tape,
            action=plan.action,
            start=plan.rule,
            **plan.shared,
        )

    def logger(self, folder: Path) -> Any:
        """Its own one."""
        from stable_baselines3.common.logger import configure

        return configure(str(folder), ["tensorboard"])

    def save(self, path: Path, policy: Any) -> None:
        """Write a policy file."""
        from .policy_file import save_actor

        save_actor(path, policy)

    def finish(self, trained: Trained, folder: Path) -> list[str]:
        """``model.zip``, for users of Stable-Baselines3."""
        from .models import model_zip

        write_bytes(model_zip(self.trainer.model, self.plan.learner, trained.policy), folder / "model.zip")
        return ["model.zip"]
