"""Training runs by gradients through the simulator: of one network, or of all networks of a randomised scenario."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from echelongym.envs.core.errors import expected
from echelongym.envs.interface.action_decoder import DEFAULT_ACTION
from echelongym.envs.scenario.scenario import Scenario

from ..residual import AUTO
from ..training import TrainingPlan, TrainingRun
from .config import KIND, SHARED_NETWORKS, PathwiseConfig

if TYPE_CHECKING:
    from ..policy_files import PolicyFile
    from .trainer import PathwiseTrainer


class PathwiseRun(TrainingRun):
    """Gradients through the simulator."""

    kind = KIND
    own_starts: ClassVar[tuple[str, ...]] = (AUTO,)

    @classmethod
    def of(cls, learner: PathwiseConfig, scenario: Scenario) -> type[TrainingRun]:
        """One network, or many."""
        many = scenario.randomise is not None and learner.network in SHARED_NETWORKS
        return FamilyRun if many else PathwiseRun

    @classmethod
    def check_action(cls, action: str) -> None:
        """Refuse any but the one that stands where nothing was said.

        Raises
        ------
        InputError
            If another was given.
        """
        if action != DEFAULT_ACTION:
            raise expected("train: action", action, "nothing: agent.head says what a pathwise policy decides")

    def _trainer(self, plan: TrainingPlan) -> PathwiseTrainer:
        from .gradients.unroll import relaxation
        from .policy import make_policy
        from .trainer import PathwiseTrainer

        make_policy(relaxation(plan.scenario), plan.learner, plan.rule)  # what does not fit is found out now
        return PathwiseTrainer(**plan.shared)

    def save(self, path: Path, policy: Any) -> None:
        """Write a policy file."""
        from .policy import save_pathwise

        save_pathwise(path, policy)

    @classmethod
    def load(cls, file: PolicyFile, scenario: Scenario) -> Any:
        """The policy of a policy file."""
        from .policy import pathwise_policy

        return pathwise_policy(file, scenario)


class FamilyRun(PathwiseRun):
    """Training for all networks of a randomised scenario at once; costs are shares of what the starting rule costs."""

    cost = "cost as a share of the starting rule's"
    own_starts = ()

    def _trainer(self, plan: TrainingPlan) -> PathwiseTrainer:
        from .family import FamilyTrainer, family_policy, validation

        family_policy(plan.learner, plan.scenario)  # what does not fit is found out now
        self.variants = validation(plan.scenario, plan.learner, plan.worlds, plan.tape_seed)
        return FamilyTrainer(**plan.shared, variants=tuple(self.variants))
