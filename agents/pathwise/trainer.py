"""Pathwise trainer: budget, schedules, averaged weights, choice of the best, resume.

Hindsight differentiable policy optimisation (Alvo, Russo, Kanoria and Jiang, "Deep Reinforcement Learning for Inventory
Networks", arXiv 2306.11246) is the idea: demand does not depend on what is ordered, so the cost of recorded worlds is a
function of a policy's weights alone, and its gradient is known.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.errors import InputError
from echelongym.envs.core.typing import Floats
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.tape import Tape

from ..budget import Budget, Progress, Trained, Validated, cpu_time, judge, next_due
from ..rules import Rule
from ..tuning.judging import MISSING
from .checkpoint import save_checkpoint
from .compiled.c_source import WIDTH
from .compiled.gradient import NativeUnroll
from .config import PathwiseConfig
from .policy import PathwiseActor, PathwisePolicy, make_policy
from .unroll import Unroll, relaxation, training_window

MOST_AVERAGED = 0.998  # weight of the past in the average of weights, at most
SAFE = 1e-8
PRICE_STEP = 0.05  # of prices on missed targets, as a share of a customer's own penalty: gradients are many


@dataclass
class PathwiseTrainer:
    """One training of one policy; see :meth:`run`.

    Parameters
    ----------
    tape
        Worlds that the best policy is chosen on, in the units of the scenario (whole where it is), by cost and what is
        missing of its targets; so they must not be test worlds.
    start
        The rule that training starts from; None: the one that suits the scenario, with automatic levels.
    evaluations
        How often the policy is evaluated, spread over the budget; the start comes on top.
    checkpoints, checkpoint_seconds
        Folder of checkpoints, None writes none; seconds between them.
    """

    scenario: Scenario
    learner: PathwiseConfig
    seed: int
    budget: Budget
    tape: Tape
    start: Rule | None = None
    evaluations: int = 20
    checkpoints: Path | None = None
    checkpoint_seconds: float = 30.0
    threads: int = 1
    logger: Any = None
    _curve: list[dict[str, float | None]] = field(default_factory=list)
    _best: dict[str, torch.Tensor] | None = None
    _best_cost: Floats | None = None
    _best_score: float = np.inf
    _best_steps: int = 0
    _judged: list[dict[str, Any]] = field(default_factory=list)
    _spent: float = 0.0
    _loss: float | None = None  # of the gradient before

    def run(
        self,
        resume: dict[str, Any] | None = None,
        report: Callable[[Progress], None] | None = None,
        improved: Callable[[PathwisePolicy, Floats, int], None] | None = None,
    ) -> Trained:
        """Train until the budget is spent.

        Parameters
        ----------
        resume
            Content of a checkpoint (:func:`.checkpoint.load_checkpoint`) to go on from.
        report
            Called after every iteration.
        improved
            Called with policy, costs and env-steps whenever an evaluation is the best so far.

        Raises
        ------
        InputError
            If the training diverges, or the checkpoint is of another model.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        generator = torch.random.get_rng_state()
        try:
            return self._run(resume, report or (lambda _: None), improved or (lambda *_: None))
        finally:
            torch.set_num_threads(before)
            torch.random.set_rng_state(generator)

    def _run(
        self,
        resume: dict[str, Any] | None,
        report: Callable[[Progress], None],
        improved: Callable[[PathwisePolicy, Floats, int], None],
    ) -> Trained:
        self._started = cpu_time()
        torch.manual_seed(self.seed)
        self.policy = self._make_policy()
        actor, levels = self.policy.actor, self.policy.actor.head.levels()
        known = {id(one) for one in levels}
        weights = [one for one in actor.parameters() if id(one) not in known]
        groups = [
            {"params": weights, "lr": self.learner.learning_rate, "first": self.learner.learning_rate},
            {"params": levels, "lr": self.learner.level_learning_rate, "first": self.learner.level_learning_rate},
        ]
        self._optimiser = torch.optim.Adam([group for group in groups if group["params"]], betas=(0.9, 0.98))
        self._average = {name: value.detach().clone() for name, value in actor.state_dict().items()}
        self._prepare()
        self._iteration = self._env_steps = self._worlds_seen = 0
        due = 0.0
        if resume is not None:
            due = self._resume(resume)
        saved = time.monotonic()
        while True:
            share = self.budget.share(self._env_steps, self.cpu_seconds)
            if share >= due:
                if not self._curve or self._curve[-1]["env_steps"] != self._env_steps:
                    self._evaluate(improved)
                due = next_due(share, self.evaluations)
            report(Progress(share, self._env_steps, self.cpu_seconds, self._curve))
            over = share >= 1.0
            if self.checkpoints and self._env_steps and (over or time.monotonic() - saved >= self.checkpoint_seconds):
                self._save(due)
                saved = time.monotonic()
            if over:
                return self._finish()
            self._step(share)

    def _make_policy(self) -> PathwisePolicy:
        return make_policy(self.scenario, self.learner, self.start)

    def _prepare(self) -> None:
        """Make what gradients are of."""
        scenario = relaxation(self.scenario)
        window = training_window(scenario, self.learner)
        self._unroll: Unroll = NativeUnroll(scenario, window, self.seed, self.learner.smoothing, self.policy.actor)
        self._scale: float | None = None

    def _course(self) -> tuple[PathwiseActor, Unroll, float | None]:
        """What the next gradient is of, and the cost that counts as 1; None: that of the first gradient."""
        return self.policy.actor, self._unroll, self._scale

    @property
    def cpu_seconds(self) -> float:
        """CPU-seconds spent, those before a resume and of the compiler included."""
        return self._spent + cpu_time() - self._started

    def _step(self, share: float) -> None:
        """One gradient step."""
        config, (actor, unroll, scale) = self.learner, self._course()
        rate = _rate(share, config)
        for group in self._optimiser.param_groups:
            group["lr"] = group["first"] * rate
        worlds = max(int(unroll.window.worlds * config.final_worlds**share) // WIDTH, 1) * WIDTH
        self._loss = unroll.gradient(actor, self._first_world(worlds), worlds)
        if scale is None:  # the start costs 1, so that settings do not depend on the unit of money
            self._scale = scale = max(abs(self._loss), SAFE)
        # A shortfall counts no more than in the choice of the best.
        unroll.multipliers.limit(MISSING * scale, PRICE_STEP)
        parameters = [one for one in self.policy.actor.parameters() if one.grad is not None]
        for one in parameters:
            assert one.grad is not None
            torch.nan_to_num_(one.grad.div_(scale), 0.0, 0.0, 0.0)
        nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        self._optimiser.step()
        unroll.multipliers.update()
        self._iteration += 1
        self._env_steps += worlds * unroll.window.periods
        if not math.isfinite(self._loss):
            raise InputError(
                f"the training diverged in iteration {self._iteration}: its loss is {self._loss}: expected a lower "
                "agent.learning_rate to keep it finite"
            )
        past = min(1 - 1 / (1 + config.average * self._iteration), MOST_AVERAGED) if config.average else 0.0
        for name, value in self.policy.actor.state_dict().items():
            self._average[name].lerp_(value, 1 - past)

    def _first_world(self, worlds: int) -> int:
        """Number of the first world of this iteration: no world is seen twice."""
        first, self._worlds_seen = self._worlds_seen, self._worlds_seen + worlds
        return first

    def _evaluate(self, improved: Callable[[PathwisePolicy, Floats, int], None]) -> None:
        """Run the averaged policy on the evaluation worlds; keep it if it is the best so far."""
        actor = self.policy.actor
        current = {name: value.clone() for name, value in actor.state_dict().items()}
        actor.load_state_dict(self._average)
        with torch.no_grad():
            found = self._judge()
        cost = found.cost
        if found.score < self._best_score:
            self._best_score, self._best_cost, self._best_steps = found.score, cost, self._env_steps
            self._judged = found.targets
            self._best = {name: value.clone() for name, value in self._average.items()}
            improved(self.policy, cost, self._env_steps)
        actor.load_state_dict(current)
        assert self._best_cost is not None
        self._curve.append({
            "env_steps": self._env_steps,
            "cpu_seconds": round(self.cpu_seconds, 3),
            "cost_per_period": float(cost.mean()),
            "best_cost_per_period": float(self._best_cost.mean()),
            "learning_rate": self._optimiser.param_groups[0]["lr"],
            "loss": self._loss,
        })  # fmt: skip
        if self.logger is not None:
            for name, value in found.figures.items():
                self.logger.record(f"evaluation/{name}", value)
            self.logger.record("evaluation/best_cost_per_period", float(self._best_cost.mean()))
            self.logger.dump(self._env_steps)

    def _judge(self) -> Validated:
        """What the evaluation worlds say."""
        self.policy.actor.begin(self.tape.batch)
        return judge(self.scenario, self.policy, self.tape, self.logger is not None)

    def _finish(self) -> Trained:
        assert self._best is not None
        assert self._best_cost is not None
        self.policy.actor.load_state_dict(self._best)
        with torch.no_grad():
            self.policy.actor.begin(0)
        return Trained(
            self.policy, self._best_cost, self._judged, self._best_steps, self._env_steps, self.cpu_seconds, self._curve
        )

    # Checkpoints -----------------------------------------------------------------------------------

    def _save(self, due: float) -> None:
        assert self.checkpoints is not None
        content = {
            "weights": self.policy.actor.state_dict(),
            "average": self._average,
            "best": self._best,
            "optimiser": self._optimiser.state_dict(),
            "facts": {
                "due": due,
                "iteration": self._iteration,
                "worlds_seen": self._worlds_seen,
                **self._standing(),
                "loss": self._loss,
                "env_steps": self._env_steps,
                "cpu_seconds": self.cpu_seconds,
                "best_cost": None if self._best_cost is None else self._best_cost.tolist(),
                "best_score": self._best_score,
                "best_env_steps": self._best_steps,
                "targets": self._judged,
                "curve": self._curve,
            },
        }
        save_checkpoint(self.checkpoints, self._env_steps, content)

    def _standing(self) -> dict[str, Any]:
        """What :meth:`_prepare` made, as it is now: plain data."""
        return {"scale": self._scale, "prices": self._unroll.multipliers.price.tolist()}

    def _stand(self, facts: dict[str, Any]) -> None:
        """Put it back."""
        self._scale, self._unroll.multipliers.price = facts["scale"], np.array(facts["prices"])

    def _resume(self, content: dict[str, Any]) -> float:
        facts = content["facts"]
        try:
            self.policy.actor.load_state_dict(content["weights"])
            self._optimiser.load_state_dict(content["optimiser"])
        except (ValueError, RuntimeError, KeyError):
            raise InputError(
                "the checkpoint is of another model: expected the settings of the training it is from"
            ) from None
        self._average, self._best = content["average"], content["best"]
        self._stand(facts)
        self._iteration, self._worlds_seen = facts["iteration"], facts["worlds_seen"]
        self._loss, self._env_steps = facts["loss"], facts["env_steps"]
        self._best_cost, self._best_score = np.array(facts["best_cost"]), facts["best_score"]
        self._best_steps, self._judged, self._curve = facts["best_env_steps"], facts["targets"], facts["curve"]
        self._spent = facts["cpu_seconds"]
        return float(facts["due"])


def _rate(share: float, config: PathwiseConfig) -> float:
    """Factor on learning rates: a short rise, then a cosine down to the final share."""
    if share < config.warm_up:
        return max(share / config.warm_up, 0.1)
    along = (share - config.warm_up) / max(1 - config.warm_up, 1e-9)
    return config.final_learning_rate + (1 - config.final_learning_rate) * 0.5 * (1 + math.cos(math.pi * along))
