"""One training into a run folder, for ``train``: make what trains the learner, run it, keep the best, resume."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echelongym.agents.budget import Budget, Progress, Trained
from echelongym.agents.learners import label, run_of
from echelongym.agents.origin import POLICY_FILE
from echelongym.agents.rules import Rule
from echelongym.agents.training import TrainingPlan, TrainingRun
from echelongym.envs.core.errors import missing_extra

from ..cli.terminal import listed, typed
from ..runs.folders import shown
from .baselines import REFERENCE, Baselines, bound_of, family_reference, reference_of

if TYPE_CHECKING:
    from echelongym.envs.worlds.tape import Tape

    from .settings import Settings

Report = Callable[[Progress], None]


class Learning:
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

    def __init__(self, settings: Settings, folder: Path, budget: Budget, tape: Tape, rule: Rule | None) -> None:
        self.settings, self.folder = settings, folder
        chosen = settings.validation
        self.tensorboard = wants_tensorboard(settings.tensorboard)
        self.training = learning(settings)(
            TrainingPlan(
                settings.scenario,
                settings.agent,
                settings.seed,
                budget,
                tape,
                tape_seed=chosen.seed,
                worlds=chosen.worlds,
                rule=rule,
                action=settings.action,
                evaluations=chosen.times,
                checkpoints=folder / "checkpoints",
                checkpoint_seconds=settings.checkpoint_seconds,
                threads=settings.threads,
            )
        )

    def run(self, checkpoint: Any, report: Report) -> Trained:
        """Train; the best policy so far is kept in the run folder all the while."""
        training = self.training
        if self.tensorboard:
            training.trainer.logger = training.logger(self.folder / "tensorboard")

        def keep(policy: Any, cost: Any, env_steps: int) -> None:
            policy.facts = {
                "agent": label(self.settings.agent),
                "seed": self.settings.seed,
                "env_steps": env_steps,
                "validation_cost": float(cost.mean()),
            }
            training.save(self.folder / POLICY_FILE, policy)

        trained: Trained = training.trainer.run(checkpoint, report, keep)
        return trained

    def finish(self, trained: Trained) -> list[str]:
        """Write what else belongs to the end; names of the files."""
        return self.training.finish(trained, self.folder)

    def following(self, scenario: str) -> str:
        """The command that comes next; ``scenario`` as an argument."""
        if self.training.variants is not None:  # networks that it has never seen
            return typed("generalise", scenario=scenario, policies=listed(shown(self.folder)))
        return typed("benchmark", scenario=scenario, policies=listed(REFERENCE, shown(self.folder)))

    def baselines(self, tape: Tape) -> Baselines:
        """Baselines that costs are shown against; over many networks the reference on each, and there is no bound."""
        settings, variants = self.settings, self.training.variants
        if variants is not None:
            reference = family_reference(variants, settings.reference, settings.tuning, settings.progress)
            return Baselines(reference, None)
        reference = reference_of(settings.scenario, settings.reference, settings.tuning, tape, settings.progress)
        return Baselines(reference, bound_of(settings.scenario, tape) if settings.bound else None)


def learning(settings: Settings) -> type[TrainingRun]:
    """Training run of the learner of these settings.

    Raises
    ------
    InputError
        If there is no such action, or one is given to a learner that has none.
    """
    run = run_of(settings.agent).of(settings.agent, settings.scenario)
    run.check_action(settings.action)
    return run


def latest(settings: Settings, folder: Path) -> tuple[Any, dict[str, Any]]:
    """The newest checkpoint of a training, and its facts.

    Raises
    ------
    InputError
        If there is none.
    """
    found = run_of(settings.agent).latest(folder / "checkpoints")
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
