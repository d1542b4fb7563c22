"""Training runs by evolution; what they save is a pathwise policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from echelongym.envs.scenario.scenario import Scenario

from ..pathwise.training import PathwiseRun
from ..training import TrainingPlan, TrainingRun
from .config import KIND

if TYPE_CHECKING:
    from ..checkpoint_files import Checkpoint


class EvolutionRun(PathwiseRun):
    """CMA-ES on the simulation itself; starts, actions and policy files are those of pathwise training."""

    @classmethod
    def of(cls, learner: Any, scenario: Scenario) -> type[TrainingRun]:
        """One network; of a randomised scenario the one as it stands."""
        return cls

    @classmethod
    def latest(cls, folder: Path) -> Checkpoint:
        """The newest checkpoint of a folder.

        Raises
        ------
        InputError
            If there is none.
        """
        from ..checkpoint_files import latest_checkpoint

        return latest_checkpoint(folder, KIND)

    def _trainer(self, plan: TrainingPlan) -> Any:
        from ..pathwise.policy import make_policy
        from .search_space import SearchSpace
        from .trainer import EvolutionTrainer, strategy_of

        policy, learner = make_policy(plan.scenario, plan.learner, plan.rule), plan.learner
        size = SearchSpace(policy, learner.sigma, learner.level_sigma).size
        strategy_of(size, learner, plan.seed)  # what does not fit is found out now
        return EvolutionTrainer(**plan.shared)
