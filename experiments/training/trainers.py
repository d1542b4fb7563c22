"""Trainers of every kind of learner behind one interface, for ``train``: make, run, keep the best, resume.

What belongs to Stable-Baselines3 is imported only where such a learner is trained.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from echelongym.agents.budget import Budget, Progress, Trained
from echelongym.agents.learners import label
from echelongym.agents.origin import POLICY_FILE
from echelongym.agents.pathwise.config import SHARED_NETWORKS, PathwiseConfig
from echelongym.agents.rules import Rule
from echelongym.envs.core.errors import expected, missing_extra, unknown
from echelongym.envs.interface.action_decoder import DEFAULT_ACTION, KINDS
from echelongym.envs.storage.files import write_bytes

from ..cli.terminal import listed, typed
from ..runs.folders import shown
from .baselines import AUTOMATIC, REFERENCE, ZERO, Baselines, bound_of, family_reference, reference_of

if TYPE_CHECKING:
    from echelongym.envs.worlds.tape import Tape

    from .settings import Settings

Report = Callable[[Progress], None]


class Learning(ABC):
    """One training into a run folder.

    Parameters
    ----------
    settings
        Of the command.
    folder
        The run folder.
    budget, tape
        Of the training, and the validation worlds.
    rule
        That the training starts from; None: what the learner starts from by itself.
    """

    cost: ClassVar[str] = "cost per period"  # what is minimised
    own_start: ClassVar[str | None]  # of `agent.start`: no rule from without; None: no single rule, ever

    def __init__(self, settings: Settings, folder: Path, budget: Budget, tape: Tape, rule: Rule | None) -> None:
        self.settings, self.folder = settings, folder
        chosen = settings.validation
        self.shared: dict[str, Any] = {
            "evaluations": chosen.times,
            "checkpoints": folder / "checkpoints",
            "checkpoint_seconds": settings.checkpoint_seconds,
            "threads": settings.threads,
        }
        self.tensorboard = wants_tensorboard(settings.tensorboard)
        self.trainer = self._trainer(settings, budget, tape, rule)

    @abstractmethod
    def _trainer(self, settings: Settings, budget: Budget, tape: Tape, rule: Rule | None) -> Any:
        """The trainer."""

    @abstractmethod
    def logger(self, folder: Path) -> Any:
        """Logger that writes to TensorBoard."""

    def run(self, checkpoint: Any, report: Report) -> Trained:
        """Train; the best policy so far is kept in the run folder all the while."""
        if self.tensorboard:
            self.trainer.logger = self.logger(self.folder / "tensorboard")

        def keep(policy: Any, cost: Any, env_steps: int) -> None:
            policy.facts = {
                "agent": label(self.settings.agent),
                "seed": self.settings.seed,
                "env_steps": env_steps,
                "validation_cost": float(cost.mean()),
            }
            self.save(self.folder / POLICY_FILE, policy)

        trained: Trained = self.trainer.run(checkpoint, report, keep)
        return trained

    @abstractmethod
    def save(self, path: Path, policy: Any) -> None:
        """Write a policy file."""

    def finish(self, trained: Trained) -> list[str]:
        """Write what else belongs to the end; names of the files."""
        return []

    def following(self, scenario: str) -> str:
        """The command that comes next; ``scenario`` as an argument."""
        return typed("benchmark", scenario=scenario, policies=listed(REFERENCE, shown(self.folder)))

    def baselines(self, tape: Tape) -> Baselines:
        """Baselines that costs are shown against."""
        settings = self.settings
        reference = reference_of(settings.scenario, settings.reference, settings.tuning, tape, settings.progress)
        return Baselines(reference, bound_of(settings.scenario, tape) if settings.bound else None)


class Pathwise(Learning):
    """Gradients through the simulator."""

    own_start: ClassVar[str | None] = AUTOMATIC

    def _trainer(self, settings: Settings, budget: Budget, tape: Tape, rule: Rule | None) -> Any:
        from echelongym.agents.pathwise.policy import make_policy
        from echelongym.agents.pathwise.trainer import PathwiseTrainer
        from echelongym.agents.pathwise.unroll import relaxation

        assert isinstance(settings.agent, PathwiseConfig)
        make_policy(relaxation(settings.scenario), settings.agent, rule)  # what does not fit is found out now
        return PathwiseTrainer(
            settings.scenario, settings.agent, settings.seed, budget, tape, start=rule, **self.shared
        )

    def logger(self, folder: Path) -> Any:
        """See :class:`Board`."""
        return Board(folder)

    def save(self, path: Path, policy: Any) -> None:
        """Write a policy file."""
        from echelongym.agents.pathwise.policy import save_pathwise

        save_pathwise(path, policy)


class FamilyTraining(Pathwise):
    """Training for all networks of a randomised scenario at once; costs are shares of what the starting rule costs."""

    cost = "cost as a share of the starting rule's"
    own_start = None

    def _trainer(self, settings: Settings, budget: Budget, tape: Tape, rule: Rule | None) -> Any:
        from echelongym.agents.pathwise.family import FamilyTrainer, family_policy, validation

        learner, chosen = settings.agent, settings.validation
        assert isinstance(learner, PathwiseConfig)
        family_policy(learner, settings.scenario)  # what does not fit is found out now
        self.variants = validation(settings.scenario, learner, chosen.worlds, chosen.seed)
        variants = tuple(self.variants)
        return FamilyTrainer(settings.scenario, learner, settings.seed, budget, tape, variants=variants, **self.shared)

    def following(self, scenario: str) -> str:
        """Networks that it has never seen."""
        return typed("generalise", scenario=scenario, policies=listed(shown(self.folder)))

    def baselines(self, tape: Tape) -> Baselines:
        """The reference on every validation variant; there is no bound."""
        settings = self.settings
        return Baselines(family_reference(self.variants, settings.reference, settings.tuning, settings.progress), None)


class StableBaselines(Learning):
    """A learner of Stable-Baselines3."""

    own_start = ZERO

    def _trainer(self, settings: Settings, budget: Budget, tape: Tape, rule: Rule | None) -> Any:
        from echelongym.agents.sb3.trainer import Trainer

        assert not isinstance(settings.agent, PathwiseConfig)
        return Trainer(
            settings.scenario,
            settings.agent,
            settings.seed,
            budget,
            tape,
            action=settings.action,
            start=rule,
            **self.shared,
        )

    def logger(self, folder: Path) -> Any:
        """Its own one."""
        from stable_baselines3.common.logger import configure

        return configure(str(folder), ["tensorboard"])

    def save(self, path: Path, policy: Any) -> None:
        """Write a policy file."""
        from echelongym.agents.sb3.policy_file import save_actor

        save_actor(path, policy)

    def finish(self, trained: Trained) -> list[str]:
        """``model.zip``, for users of Stable-Baselines3."""
        from echelongym.agents.sb3.models import model_zip

        assert not isinstance(self.settings.agent, PathwiseConfig)
        write_bytes(model_zip(self.trainer.model, self.settings.agent, trained.policy), self.folder / "model.zip")
        return ["model.zip"]


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


def learning(settings: Settings) -> type[Learning]:
    """Trainer of the learner of these settings.

    Raises
    ------
    InputError
        If there is no such action, or one is given to a learner that has none.
    """
    if not isinstance(settings.agent, PathwiseConfig):
        if settings.action not in KINDS:
            raise unknown("train: action", settings.action, KINDS)
        return StableBaselines
    if settings.action != DEFAULT_ACTION:
        raise expected("train: action", settings.action, "nothing: agent.head says what a pathwise policy decides")
    many = settings.scenario.randomise is not None and settings.agent.network in SHARED_NETWORKS
    return FamilyTraining if many else Pathwise


def latest(settings: Settings, folder: Path) -> tuple[Any, dict[str, Any]]:
    """The newest checkpoint of a training, and its facts.

    Raises
    ------
    InputError
        If there is none.
    """
    checkpoints = folder / "checkpoints"
    if isinstance(settings.agent, PathwiseConfig):
        from echelongym.agents.pathwise.checkpoint import latest_checkpoint

        content = latest_checkpoint(checkpoints)
        return content, content["facts"]
    from echelongym.agents.sb3.checkpoint import latest_checkpoint as latest_of_sb3

    found = latest_of_sb3(checkpoints)
    return found, found.facts


def wants_tensorboard(asked: bool | None) -> bool:
    """Whether to write for TensorBoard: where asked for, or where nobody says and it is installed.

    Raises
    ------
    MissingExtra
        If it is asked for and not installed.
    """
    there = importlib.util.find_spec("tensorboard") is not None
    if asked and not there:
        raise missing_extra("tensorboard", "tensorboard")
    return there if asked is None else asked


__all__ = ["POLICY_FILE", "Learning", "latest", "learning", "wants_tensorboard"]
