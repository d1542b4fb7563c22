"""Training runs by evolution; what they save is a pathwise policy."""

from __future__ import annotations

from typing import Any

from echelongym.envs.scenario.scenario import Scenario

from ..pathwise.training import PathwiseRun
from ..training import TrainingPlan, TrainingRun
from .config import KIND


class EvolutionRun(PathwiseRun):
    """CMA-ES on the simulation itself; starts, actions and policy files are those of pathwise training."""

    checkpoint_kind = KIND

    @classmethod
    def of(cls, learner: Any, scenario: Scenario) -> type[TrainingRun]:
        """One network; of a randomised scenario the one as it stands."""
        return cls

    def _trainer(self, plan: TrainingPlan) -> Any:
        from ..pathwise.policy import make_policy
        from .search_space import SearchSpace
        from .trainer import EvolutionTrainer, strategy_of

        policy, learner = make_policy(plan.scenario, plan.learner, plan.rule), plan.learner
        size = SearchSpace(policy, learner.sigma, learner.level_sigma).size
        strategy_of(size, learner, plan.seed)  # what does not fit is found out now
        return EvolutionTrainer(**plan.shared)
