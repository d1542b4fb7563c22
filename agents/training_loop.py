"""The training loop of every learner: budget, validation, choice of the best, checkpoints, resume, interruption.

A learner takes one step at a time (a rollout, a gradient); everything else happens between steps, where its state is whole.
With a budget in env-steps a training is a function of its settings alone, stopped and resumed or not; a budget in
CPU-seconds depends on the machine.
"""

from __future__ import annotations

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.errors import InputError, shorten
from echelongym.envs.core.typing import Floats
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.tape import Tape

from .budget import Budget, Progress, RulePolicy, Trained, Validated, cpu_time, judge, next_due
from .checkpoint_files import Checkpoint, write_checkpoint
from .rules import Rule

#: Called with policy, costs and env-steps whenever an evaluation is the best so far.
Improved = Callable[[Any, Floats, int], None]

CLEAR = 2.0  # standard errors by which something learned must be better than a tuned rule to be kept instead of it
STEPS_TO_EVALUATIONS = 4  # least time for steps, as a multiple of that for evaluations, where the budget is in seconds


@dataclass(frozen=True, eq=False)
class _Best:
    """The best policy so far, by its score on the evaluation worlds."""

    score: float
    cost: Floats
    env_steps: int
    targets: list[dict[str, Any]]
    parameters: dict[str, torch.Tensor]
    by_rule: bool = False  # it is the rule that was there before anything was learned


@dataclass
class TrainingLoop(ABC):
    """One training of one learner; see :meth:`run`. A subclass says what a step is, and what its state is made of.

    Parameters
    ----------
    tape
        Worlds that the best policy is chosen on, in the units of the scenario (whole where it is), by cost and what is
        missing of its targets as the tuner of rules does; so they must not be test worlds.
    start
        The rule that the learner starts from; None: the one that suits its settings, with automatic levels.
    evaluations
        How often the policy is evaluated, spread over the budget; the start comes on top. Less often where evaluations
        would take more than about a fifth of a budget in CPU-seconds.
    checkpoints, checkpoint_seconds
        Folder of checkpoints, None writes none; seconds between them.
    threads
        Of PyTorch.
    logger
        With ``record(name, value)`` and ``dump(env_steps)``, for figures of evaluations; None: they are not computed.
    """

    kind: ClassVar[str]  # of its checkpoints

    scenario: Scenario
    learner: Any
    seed: int
    budget: Budget
    tape: Tape
    start: Rule | None = None
    evaluations: int = 20
    checkpoints: Path | None = None
    checkpoint_seconds: float = 30.0
    threads: int = 1
    logger: Any = None

    def run(
        self,
        resume: Checkpoint | None = None,
        report: Callable[[Progress], None] | None = None,
        improved: Improved | None = None,
    ) -> Trained:
        """Train until the budget is spent.

        Ctrl-C takes effect after the running step, with a checkpoint of it; typed twice it takes effect at once.

        Parameters
        ----------
        resume
            Go on from this checkpoint instead of starting anew.
        report
            Called after every step.
        improved
            Called with policy, costs and env-steps whenever an evaluation is the best so far.

        Raises
        ------
        InputError
            If the training diverges, or the checkpoint is of another model.
        KeyboardInterrupt
            On Ctrl-C.
        """
        self._curve: list[dict[str, float | None]] = []
        self._best: _Best | None = None
        self._to_beat: RulePolicy | None = None  # a rule; a learner that tunes one sets it when it begins
        self._tried: dict[str, Any] | None = None  # see Trained
        self._tuned: dict[str, Any] | None = None  # plain data from which that rule is made again, where there is one
        self._begun = 0, 0.0  # env-steps and CPU-seconds that came before learning: tuning that rule, say
        self._spent = 0.0  # CPU-seconds before this process
        with self._torch():
            self._started = cpu_time()
            self._begin(resume is None)
            due = 0.0 if resume is None else self._resume(resume)
            self._begin_with_rule(improved or (lambda *_: None))
            if resume is None:
                self._choose(improved or (lambda *_: None))
            # Without checkpoints there is nothing to wait for.
            with _interrupts() if self.checkpoints else nullcontext(lambda: False) as interrupted:
                return self._train(due, report or (lambda _: None), improved or (lambda *_: None), interrupted)

    def _train(
        self, due: float, report: Callable[[Progress], None], improved: Improved, interrupted: Callable[[], bool]
    ) -> Trained:
        """Step until the budget is spent; ``due``: share of it at which the next evaluation comes."""
        saved = time.monotonic()
        while True:
            share = self.budget.share(self.env_steps, self.cpu_seconds)
            if share >= due:
                took = 0.0
                if not self._curve or self._curve[-1]["env_steps"] != self.env_steps:
                    before, first = self.cpu_seconds, not self._curve
                    self._evaluate(improved)
                    # The first one compiles the simulation, which later ones find.
                    took = 0.0 if first else self.cpu_seconds - before
                due = max(next_due(share, self.evaluations), self._after(share, took))
            report(Progress(share, self.env_steps, self.cpu_seconds, self._curve))
            stopped = interrupted()
            stops = share >= 1.0 or stopped
            if self._keepable and (stops or time.monotonic() - saved >= self.checkpoint_seconds):
                self._save(due)
                saved = time.monotonic()
            if stopped:
                raise KeyboardInterrupt
            if stops:
                return self._finish()
            self._step(share)

    def _after(self, share: float, took: float) -> float:
        """Share of a budget in seconds before which no evaluation follows one that took so many, so that most go to steps."""
        if self.budget.cpu_seconds is None:
            return 0.0  # a budget in env-steps alone: a function of the settings
        return min(share + (1 + STEPS_TO_EVALUATIONS) * took / self.budget.cpu_seconds, 1.0)

    def _learning(self, share: float) -> float:
        """Share of what tuning left of the budget, as schedules begin where tuning has ended."""
        before = self.budget.share(*self._begun)
        return max(share - before, 0.0) / max(1 - before, 1e-9)

    @property
    def cpu_seconds(self) -> float:
        """CPU-seconds spent, those before a resume and of a compiler included."""
        return self._spent + cpu_time() - self._started

    # What a learner says of itself ---------------------------------------------------------------------

    @property
    @abstractmethod
    def env_steps(self) -> int:
        """Env-steps taken so far."""

    @property
    def _keepable(self) -> bool:
        """Whether there is anything to keep in a checkpoint: before the first env-step there is not."""
        return self.env_steps > 0

    @property
    @abstractmethod
    def _module(self) -> nn.Module:
        """What holds the parameters of the policy."""

    @abstractmethod
    def _begin(self, anew: bool) -> None:
        """Make everything; ``anew``: not to go on from a checkpoint."""

    @abstractmethod
    def _step(self, share: float) -> None:
        """One step, where so much of the budget is spent."""

    @abstractmethod
    def _policy(self) -> Any:
        """The policy of the parameters as they are."""

    def _choose(self, improved: Improved) -> None:  # noqa: B027 - most learners have nothing to choose
        """Choose among ways to train by trying them, before the training proper and within its budget."""

    def _judged(self) -> AbstractContextManager[None]:
        """While it lasts, parameters are those that an evaluation is of."""
        return nullcontext()

    def _judge(self, policy: Any) -> Validated:
        """What the evaluation worlds say of a policy."""
        return judge(self.scenario, policy, self.tape, self.logger is not None)

    @abstractmethod
    def _row(self) -> dict[str, float | None]:
        """Further columns of the learning curve."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Tensors and plain data for a checkpoint."""

    def _facts(self) -> dict[str, Any]:
        """Further plain data for a checkpoint."""
        return {}

    @abstractmethod
    def _stand(self, checkpoint: Checkpoint) -> None:
        """Stand where :meth:`_state` and :meth:`_facts` were called."""

    @contextmanager
    def _torch(self) -> Iterator[None]:
        """Few threads, as the networks are small; afterwards they and the random state of PyTorch are as before."""
        threads, generator = torch.get_num_threads(), torch.random.get_rng_state()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.random.set_rng_state(generator)

    # Evaluations, checkpoints, the end -----------------------------------------------------------------

    def _begin_with_rule(self, improved: Improved) -> None:
        """Where a rule was tuned and nothing else was judged yet, it is the best so far."""
        rule = self._to_beat
        if rule is not None and rule.validated is not None and self._best is None:
            found = rule.validated
            self._best = _Best(found.score, found.cost, self.env_steps, found.targets, {}, by_rule=True)
            improved(rule.policy, found.cost, self.env_steps)

    def _doubt(self, found: Validated) -> float:
        """By how much a learned policy has to be better than the rule to beat: standard errors of what is between them.

        The best of many evaluations is partly a lucky one, and the rule is there without any luck.
        """
        best = self._best
        if best is None or not best.by_rule or len(found.cost) < 2:
            return 0.0
        apart = found.cost - best.cost
        return CLEAR * float(apart.std(ddof=1)) / float(np.sqrt(len(apart)))

    def _evaluate(self, improved: Improved) -> float:
        """Run the policy on the evaluation worlds; keep it if it is the best so far. Its score."""
        with self._judged(), torch.no_grad():
            policy = self._policy()
            found = self._judge(policy)
            if self._best is None or found.score < self._best.score - self._doubt(found):
                parameters = {name: value.detach().clone() for name, value in self._module.state_dict().items()}
                self._best = _Best(found.score, found.cost, self.env_steps, found.targets, parameters)
                improved(policy, found.cost, self.env_steps)
        best = float(self._best.cost.mean())
        self._curve.append({
            "env_steps": self.env_steps,
            "cpu_seconds": round(self.cpu_seconds, 3),
            "cost_per_period": float(found.cost.mean()),
            "best_cost_per_period": best,
            **self._row(),
        })  # fmt: skip
        if self.logger is not None:
            for name, value in (found.figures | {"best_cost_per_period": best}).items():
                self.logger.record(f"evaluation/{name}", value)
            self.logger.dump(self.env_steps)
        return found.score

    def _save(self, due: float) -> None:
        if self.checkpoints is None:
            return
        assert self._best is not None
        facts = {
            "due": due,
            "env_steps": self.env_steps,
            "cpu_seconds": self.cpu_seconds,
            "curve": self._curve,
            "best_score": self._best.score,
            "best_cost": self._best.cost.tolist(),
            "best_env_steps": self._best.env_steps,
            "targets": self._best.targets,
            "best_by_rule": self._best.by_rule,
        }
        facts["begun"] = list(self._begun)
        if self._tuned is not None:
            facts["tuned_start"] = self._tuned
        write_checkpoint(self.checkpoints, self.kind, self._facts() | facts, self._best.parameters, self._state())

    def _resume(self, checkpoint: Checkpoint) -> float:
        """Stand where a checkpoint was written; the share of the budget at which the next evaluation is due."""
        facts = checkpoint.facts
        try:
            self._tuned = facts.get("tuned_start")
            steps, seconds = facts.get("begun", (0, 0.0))
            self._begun = int(steps), float(seconds)
            self._stand(checkpoint)
            cost, steps = np.array(facts["best_cost"]), facts["best_env_steps"]
            by_rule = bool(facts.get("best_by_rule", False))
            self._best = _Best(facts["best_score"], cost, steps, facts["targets"], checkpoint.best, by_rule)
            self._curve, self._spent = list(facts["curve"]), float(facts["cpu_seconds"])
            return float(facts["due"])
        except InputError:
            raise
        except (ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"{checkpoint.path}: the checkpoint is of another model: expected the settings of the training it is "
                f"from ({shorten(str(error))})"
            ) from None

    def _finish(self) -> Trained:
        best = self._best
        assert best is not None
        rule = self._to_beat
        if best.by_rule and rule is not None:
            policy = rule.policy
        else:
            self._module.load_state_dict(best.parameters)
            with torch.no_grad():
                policy = self._policy()
        return Trained(
            policy,
            best.cost,
            best.targets,
            best.env_steps,
            self.env_steps,
            self.cpu_seconds,
            self._curve,
            tuned=None if rule is None else rule.facts,
            by_rule=best.by_rule,
            tried=self._tried,
        )


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Hold the first Ctrl-C back; what is given says whether there was one. The second one interrupts as usual."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or usual is not signal.default_int_handler:
        yield lambda: False
        return
    came = threading.Event()

    def hold(*_: object) -> None:
        came.set()
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, hold)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, usual)
