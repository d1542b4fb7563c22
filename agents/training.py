"""Base classes of learners: settings, and a run that makes its trainer, keeps its policies and finds its checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from echelongym.envs.core.errors import unknown
from echelongym.envs.core.validation import Config
from echelongym.envs.interface.action_decoder import KINDS
from echelongym.envs.scenario.scenario import Scenario

from .budget import Budget, Trained
from .rules import Rule

if TYPE_CHECKING:
    from echelongym.envs.worlds.tape import Tape

    from .checkpoint_files import Checkpoint
    from .policy_files import PolicyFile
    from .training_loop import TrainingLoop


class LearnerConfig(Config):
    """Settings of a learner; a subclass has the field ``kind``, a literal with a default that names the learner."""

    usual_env_steps: ClassVar[int]  # that usually suffice

    if TYPE_CHECKING:
        kind: Any
        start: str


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """One training: what is learnt, for how long, and how the best policy is chosen.

    Attributes
    ----------
    tape
        Worlds that the best policy is chosen on; ``worlds`` of them, of seed ``tape_seed``.
    rule
        That the training starts from; None: what the learner starts from by itself.
    action
        Kind of the action decoder, for learners that use one.
    evaluations
        How often the policy is evaluated, spread over the budget.
    checkpoints, checkpoint_seconds
        Folder of checkpoints; seconds between them.
    threads
        Of PyTorch.
    """

    scenario: Scenario
    learner: Any
    seed: int
    budget: Budget
    tape: Tape
    tape_seed: int
    worlds: int
    rule: Rule | None
    action: str
    evaluations: int
    checkpoints: Path
    checkpoint_seconds: float
    threads: int

    @property
    def shared(self) -> dict[str, Any]:
        """Arguments that every :class:`echelongym.agents.training_loop.TrainingLoop` takes."""
        names = ("scenario", "learner", "seed", "budget", "tape", "evaluations", "checkpoints", "checkpoint_seconds")
        return {name: getattr(self, name) for name in (*names, "threads")} | {"start": self.rule}


class TrainingRun(ABC):
    """A trainer with all that ``train`` needs to know of it.

    Parameters
    ----------
    plan
        The training.

    Attributes
    ----------
    trainer
        Its training loop; the attribute ``logger`` is set where TensorBoard is written.
    variants
        Networks that the best policy is chosen on, where there are many; else None.

    Raises
    ------
    InputError
        If the learner does not suit the scenario.
    """

    kind: ClassVar[str]  # of its policy files
    checkpoint_kind: ClassVar[str | None] = None  # of its checkpoints; None: that of its policy files
    cost: ClassVar[str] = "cost per period"  # what is minimised
    own_starts: ClassVar[tuple[str, ...]]  # values of ``agent.start`` that name no rule; (): no single rule, ever

    def __init__(self, plan: TrainingPlan) -> None:
        self.plan = plan
        self.variants: list[Any] | None = None
        self.trainer = self._trainer(plan)

    @classmethod
    def of(cls, learner: Any, scenario: Scenario) -> type[TrainingRun]:
        """Training run of a learner of these settings on this scenario."""
        return cls

    @classmethod
    def check_action(cls, action: str) -> None:
        """Refuse a kind of action that the learner cannot have.

        Raises
        ------
        InputError
            If it cannot.
        """
        if action not in KINDS:
            raise unknown("train: action", action, KINDS)

    @classmethod
    def latest(cls, folder: Path) -> Checkpoint:
        """The newest checkpoint of a folder.

        Raises
        ------
        InputError
            If there is none.
        """
        from .checkpoint_files import latest_checkpoint

        return latest_checkpoint(folder, cls.checkpoint_kind or cls.kind)

    @abstractmethod
    def _trainer(self, plan: TrainingPlan) -> TrainingLoop:
        """The training loop."""

    def logger(self, folder: Path) -> Any:
        """Logger that writes to TensorBoard."""
        return Board(folder)

    @abstractmethod
    def save(self, path: Path, policy: Any) -> None:
        """Write a policy file, of :attr:`kind` (:func:`echelongym.agents.policy_files.write_policy`)."""

    @classmethod
    @abstractmethod
    def load(cls, file: PolicyFile, scenario: Scenario) -> Any:
        """The policy of a policy file of this kind for a scenario.

        Raises
        ------
        InputError
            If it does not suit the scenario, or the file holds something else.
        """

    def finish(self, trained: Trained, folder: Path) -> list[str]:
        """Write what else belongs into the run folder at the end; names of the files."""
        return []


class Board:
    """Numbers by name, written to TensorBoard together with the env-steps they belong to."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))
        self._values: dict[str, float] = {}

    def record(self, name: str, value: float) -> None:
        """Put down a number."""
        self._values[name] = value

    def dump(self, env_steps: int) -> None:
        """Write what was put down."""
        for name, value in self._values.items():
            self._writer.add_scalar(name, value, env_steps)
        self._writer.flush()
        self._values = {}
