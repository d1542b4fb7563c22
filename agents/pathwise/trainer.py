"""Pathwise trainer: gradient steps, their schedules, prices on missed targets, averaged weights.

Hindsight differentiable policy optimisation (Alvo, Russo, Kanoria and Jiang, "Deep Reinforcement Learning for Inventory
Networks", arXiv 2306.11246) is the idea: demand does not depend on what is ordered, so the cost of recorded worlds is a
function of a policy's weights alone, and its gradient is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.errors import InputError

from ..budget import Validated
from ..checkpoint_files import Checkpoint
from ..training_loop import Improved
from ..tuning.judging import MISSING
from .automatic import heads_to_try, is_recorded
from .compiled.c_source import WIDTH
from .config import KIND, PathwiseConfig
from .gradients.choice import Gradients, gradients_of
from .gradients.training_worlds import DemandLevels
from .gradients.unroll import relaxation, training_window
from .module import PathwiseActor
from .order_decisions.gradient import HybridGradients
from .order_decisions.head import OrderHead
from .policy import PathwisePolicy, make_policy
from .tuned_start import FromTunedRule

MOST_AVERAGED = 0.998  # weight of the past in the average of weights, at most
SAFE = 1e-8
TRIAL = 0.1  # share of what tuning left of the budget, over which each of several heads is tried
TRIED = 4  # evaluations of each in that time
LEAST_GRADIENTS, LEAST_SECONDS = 50, 0.5  # of a trial, below which there is none
#: What a training is made of while it lasts; another head has its own.
TRAINED = (
    "policy",
    "_optimiser",
    "_average",
    "_unroll",
    "_scale",
    "_iteration",
    "_worlds_seen",
    "_loss",
    "_best",
    "_curve",
)
PRICE_STEP = 0.05  # of prices on missed targets, as a share of a customer's own penalty: gradients are many


class _Try(NamedTuple):
    """A head that was tried."""

    head: str
    score: float  # the best of its evaluations
    used: tuple[int, float]  # env-steps and CPU-seconds
    trained: dict[str, Any]


@dataclass
class PathwiseTrainer(FromTunedRule):
    """Training of one policy by gradients through the simulator."""

    kind = KIND

    learner: PathwiseConfig

    @property
    def env_steps(self) -> int:
        """Env-steps taken so far."""
        return self._env_steps

    @property
    def _module(self) -> nn.Module:
        return self.policy.actor

    def _begin(self, anew: bool) -> None:
        self._course_rule = self.start
        steps = self._tune() if anew and self.start is None else 0
        self._make()
        self._env_steps = steps
        if self._tuned:
            self._begun = steps, self.cpu_seconds

    def _choose(self, improved: Improved) -> None:
        """Try the heads of which none is known to be the better one, each as long, and go on with the better."""
        heads = self._heads()
        if not heads:
            return
        begun, before, started = self._begun, self._best, self.cpu_seconds
        stretch = TRIAL * (1 - self.budget.share(self._env_steps, started))
        tries: list[_Try] = []
        for head in heads:
            steps, seconds = self._env_steps, self.cpu_seconds
            self._best, self._curve = before, []
            if tries:  # the first is there already
                self.learner = self.learner.model_copy(update={"head": head})
                self._make()
                self._env_steps = steps
            self._begun = steps, seconds
            score = self._try(stretch, improved)
            used = self._env_steps - steps, self.cpu_seconds - seconds
            tries.append(_Try(head, score, used, {name: getattr(self, name) for name in TRAINED}))
        best = min(tries, key=lambda one: one.score)
        steps = self._env_steps
        for name, value in best.trained.items():
            setattr(self, name, value)
        self.learner, self._env_steps = self.learner.model_copy(update={"head": best.head}), steps
        # Its schedules go on as if the others had not been.
        lost = [one.used for one in tries if one is not best]
        self._begun = begun[0] + sum(used[0] for used in lost), begun[1] + sum(used[1] for used in lost)
        self._tried = {
            "head": best.head,
            "compared": {one.head: one.score for one in tries},
            "cpu_seconds": round(self.cpu_seconds - started, 3),
        }
        self._tell_again(improved)

    def _heads(self) -> tuple[str, ...]:
        """The heads to try: none where the head or the start is told, or the budget is too small."""
        config, t = self.learner, self.scenario
        if config.head != "auto" or config.start != "auto" or self.start is not None or t.randomise is not None:
            return ()
        left, window = TRIAL * (1 - self.budget.share(self._env_steps, self.cpu_seconds)), self._unroll.window
        steps, seconds = self.budget.env_steps, self.budget.cpu_seconds
        if steps is not None and left * steps < LEAST_GRADIENTS * window.worlds * window.periods:
            return ()
        if seconds is not None and left * seconds < LEAST_SECONDS:
            return ()
        return heads_to_try(t, self._course_rule)

    def _try(self, stretch: float, improved: Improved) -> float:
        """Train for a share of the budget; the best score of its evaluations."""
        first, scores = self.budget.share(self.env_steps, self.cpu_seconds), []
        for part in range(1, TRIED + 1):
            until = first + stretch * part / TRIED
            while (share := self.budget.share(self.env_steps, self.cpu_seconds)) < until:
                self._step(share)
            scores.append(self._evaluate(improved))
        return min(scores)

    def _tell_again(self, improved: Improved) -> None:
        """Report the best policy once more, as that of another head was reported since."""
        best = self._best
        if best is None or best.by_rule:
            return
        actor = self.policy.actor
        current = {name: value.clone() for name, value in actor.state_dict().items()}
        actor.load_state_dict(best.parameters)
        improved(self._policy(), best.cost, best.env_steps)
        actor.load_state_dict(current)

    def _make(self) -> None:
        """Make the policy, its optimiser and what gradients are of."""
        torch.manual_seed(self.seed)
        self.policy = self._make_policy()
        actor, levels = self.policy.actor, self.policy.actor.levels()
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
        self._loss: float | None = None  # of the gradient before

    def _make_policy(self) -> PathwisePolicy:
        return make_policy(self.scenario, self.learner, self._course_rule)

    def _prepare(self) -> None:
        """Make what gradients are of."""
        scenario = relaxation(self.scenario)
        window = training_window(scenario, self.learner)
        config = self.learner
        self._unroll: Gradients | HybridGradients = gradients_of(
            config.gradient, scenario, window, self.seed, config.smoothing, self.policy.actor, config.device
        )
        levels = DemandLevels(scenario, self.seed, config.level_drift)
        self._unroll.levels = levels if levels.moving else None
        if isinstance(self.policy.definition.head, OrderHead):
            self._unroll = HybridGradients(self._unroll, self.scenario, self.policy.actor, self.seed)
        self._scale: float | None = None

    @property
    def _hybrid(self) -> HybridGradients | None:
        """Gradients of decisions whether to order, where the policy takes such decisions."""
        return self._unroll if isinstance(self._unroll, HybridGradients) else None

    def _course(self) -> tuple[PathwiseActor, Gradients | HybridGradients, float | None]:
        """What the next gradient is of, and the cost that counts as 1; None: that of the first gradient."""
        return self.policy.actor, self._unroll, self._scale

    def _step(self, share: float) -> None:
        config, (actor, unroll, scale) = self.learner, self._course()
        share = self._learning(share)
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
        tried = unroll.tried_steps if isinstance(unroll, HybridGradients) else 0
        self._env_steps += worlds * unroll.window.periods + tried
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

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Averaged ones."""
        actor = self.policy.actor
        current = {name: value.clone() for name, value in actor.state_dict().items()}
        actor.load_state_dict(self._average)
        yield
        actor.load_state_dict(current)

    def _policy(self) -> PathwisePolicy:
        self.policy.actor.begin(0)
        return self.policy

    def _judge(self, policy: PathwisePolicy) -> Validated:
        policy.actor.begin(self.tape.batch)
        found = super()._judge(policy)
        if is_recorded(self.scenario):
            self._unroll.multipliers.heed(found.targets, self.scenario.tables.customers)
        return found

    def _row(self) -> dict[str, float | None]:
        return {"learning_rate": self._optimiser.param_groups[0]["lr"], "loss": self._loss}

    def _state(self) -> dict[str, Any]:
        return {
            "weights": self.policy.actor.state_dict(),
            "average": self._average,
            "optimiser": self._optimiser.state_dict(),
            **({} if self._hybrid is None else {"decisions": self._hybrid.state()}),
        }

    def _facts(self) -> dict[str, Any]:
        counted: dict[str, Any] = {"iteration": self._iteration, "worlds_seen": self._worlds_seen, "loss": self._loss}
        if self._tried is not None:
            counted["tried"] = self._tried
        return counted | self._standing()

    def _stand(self, checkpoint: Checkpoint) -> None:
        facts, state = checkpoint.facts, checkpoint.state
        self._tuned_again(str(checkpoint.path))
        if facts.get("tried") is not None:
            self._tried = facts["tried"]
            self.learner = self.learner.model_copy(update={"head": self._tried["head"]})
        if self._tuned is not None or self._tried is not None:
            self._make()
        self.policy.actor.load_state_dict(state["weights"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._average, self._env_steps = state["average"], facts["env_steps"]
        self._iteration, self._worlds_seen, self._loss = (facts[name] for name in ("iteration", "worlds_seen", "loss"))
        self._go_on(facts)
        if self._hybrid is not None:
            self._hybrid.stand(state["decisions"])

    def _standing(self) -> dict[str, Any]:
        """What :meth:`_prepare` made, as it is now: plain data."""
        multipliers = self._unroll.multipliers
        return {"scale": self._scale, "prices": multipliers.price.tolist(), "raised": multipliers.raised.tolist()}

    def _go_on(self, facts: dict[str, Any]) -> None:
        """Put it back."""
        self._scale, multipliers = facts["scale"], self._unroll.multipliers
        multipliers.price = np.array(facts["prices"])
        multipliers.raised = np.array(facts.get("raised", multipliers.raised))


def _rate(share: float, config: PathwiseConfig) -> float:
    """Factor on learning rates: a short rise, then a cosine down to the final share."""
    if share < config.warm_up:
        return max(share / config.warm_up, 0.1)
    along = (share - config.warm_up) / max(1 - config.warm_up, 1e-9)
    return config.final_learning_rate + (1 - config.final_learning_rate) * 0.5 * (1 + math.cos(math.pi * along))
