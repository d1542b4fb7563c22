"""Evolution trainer: CMA-ES over the weights of a pathwise policy, on the true cost of worlds that candidates share.

N. Hansen and A. Ostermeier, "Completely derandomized self-adaptation in evolution strategies", Evolutionary Computation 9(2),
2001; above some thousand numbers with a diagonal covariance (R. Ros and N. Hansen, "A simple modification in CMA-ES achieving
linear time and space complexity", PPSN 2008). Nothing is relaxed: whole units, fixed costs, vehicles and minimum orders are
as in the simulation that a policy is judged by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.errors import InputError, expected, missing_extra
from echelongym.envs.core.typing import Floats
from echelongym.envs.simulate import simulate
from echelongym.envs.worlds.record_statement import playable

from ..budget import objective, penalised
from ..checkpoint_files import Checkpoint
from ..pathwise.policy import PathwisePolicy, make_policy
from ..pathwise.tuned_start import FromTunedRule
from ..service_targets import shortfall, targets_of
from .config import KIND, EvolutionConfig
from .search_space import SearchSpace

#: Numbers searched up to which covariances are learned by themselves, and at all: a generation takes time as their square.
MOST_FULL, MOST_COVARIANCES = 1_000, 4_000


def strategy_of(size: int, config: EvolutionConfig, seed: int) -> Any:
    """CMA-ES of the package ``cma`` over a vector that is 0 at the start, of unit variance; its draws are its own.

    Raises
    ------
    InputError
        If more numbers are searched than covariances can be learned of.
    MissingExtra
        If the package ``cma`` is not installed.
    """
    try:
        import cma
    except ImportError:
        raise missing_extra("cma", "tune") from None
    if config.covariance == "full" and size > MOST_COVARIANCES:
        wanted = f"diagonal where {size:,} numbers are searched; full does for up to {MOST_COVARIANCES:,}"
        raise expected("agent.covariance", config.covariance, wanted)
    diagonal = config.covariance == "diagonal" or (config.covariance == "auto" and size > MOST_FULL)
    draws = np.random.default_rng(seed)
    options = {
        "randn": lambda *shape: draws.standard_normal(shape),
        "seed": math.nan,  # of NumPy's common state, which is left alone
        "verbose": -9,
        "CMA_diagonal": diagonal,
    }
    if config.population is not None:
        options["popsize"] = config.population
    # It needs two dimensions: of one number, the second is ignored.
    return cma.CMAEvolutionStrategy(np.zeros(max(size, 2)), 1.0, options)


@dataclass
class EvolutionTrainer(FromTunedRule):
    """Training of one policy by evolution; a step is a generation."""

    kind = KIND

    learner: EvolutionConfig

    @property
    def env_steps(self) -> int:
        """Env-steps taken so far, by all candidates."""
        return self._env_steps

    @property
    def _module(self) -> nn.Module:
        return self._search

    def _begin(self, anew: bool) -> None:
        self._course_rule = self.start
        steps = self._tune() if anew and self.start is None else 0
        self._make()
        self._env_steps = steps
        if self._tuned:
            self._begun = steps, self.cpu_seconds

    def _make(self) -> None:
        """Make the policy, what is searched of it and the strategy."""
        torch.manual_seed(self.seed)
        config = self.learner
        policy = make_policy(self.scenario, config, self._course_rule)
        self._search = SearchSpace(policy, config.sigma, config.level_sigma)
        self._strategy = strategy_of(self._search.size, config, self.seed)
        self._targets = targets_of(self.scenario)
        self._periods = playable(self.scenario, "learn")
        self._env_steps = self._worlds_seen = 0
        self._told: list[Floats] = []  # (candidates,) costs of each generation
        self._generation: float | None = None  # mean cost a period of the one before

    def _step(self, share: float) -> None:
        points = self._strategy.ask()
        worlds = max(int(self.learner.worlds * self.learner.final_worlds ** self._learning(share)), 1)
        numbers = list(range(self._worlds_seen, self._worlds_seen + worlds))
        self._worlds_seen += worlds
        tape = self.scenario.sample(worlds=numbers, seed=self.seed, purpose="learn", periods=self._periods)
        costs = np.array([self._cost(point, tape) for point in points])
        self._env_steps += len(points) * worlds * self._periods
        if not np.isfinite(costs).all():
            raise InputError(
                f"the training diverged in generation {len(self._told) + 1}: a candidate costs "
                f"{costs[~np.isfinite(costs)][0]}: expected a lower agent.sigma to keep it finite"
            )
        self._generation = float(costs.mean())
        self._tell(points, costs)

    def _cost(self, point: Floats, tape: Any) -> float:
        """Mean cost a period of a candidate, raised by what is missing of targets as in the choice of the best."""
        self._search.put(np.asarray(point))
        outcome = simulate(self.scenario, self._search.policy, tape, kpis=bool(self._targets))
        return penalised(float(objective(outcome).mean()), shortfall(self._targets, outcome) if self._targets else 0.0)

    def _tell(self, points: list[Floats], costs: Floats) -> None:
        self._strategy.tell(points, costs.tolist())
        self._told.append(costs)

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Those of the mean of the distribution, in which the noise of single candidates is averaged."""
        self._search.put(self._strategy.mean)
        yield

    def _policy(self) -> PathwisePolicy:
        self._search.use()
        return self._search.policy

    def _row(self) -> dict[str, float | None]:
        return {"sigma": float(self._strategy.sigma), "generation_cost": self._generation}

    def _state(self) -> dict[str, Any]:
        return {"costs": torch.from_numpy(np.array(self._told)), "mean": torch.from_numpy(self._strategy.mean.copy())}

    def _facts(self) -> dict[str, Any]:
        return {"worlds_seen": self._worlds_seen, "generation_cost": self._generation}

    def _stand(self, checkpoint: Checkpoint) -> None:
        """Tell all generations again: what the strategy knows follows from its seed and the costs it was told."""
        self._tuned_again(str(checkpoint.path))
        if self._tuned is not None:
            self._make()
        for costs in checkpoint.state["costs"].numpy():
            self._tell(self._strategy.ask(), costs)
        if not np.array_equal(self._strategy.mean, checkpoint.state["mean"].numpy()):
            raise InputError(
                f"{checkpoint.path}: the checkpoint is of another seed, machine or version of the package cma: "
                "expected those of the training it is from"
            )
        facts = checkpoint.facts
        self._env_steps, self._worlds_seen = facts["env_steps"], facts["worlds_seen"]
        self._generation = facts["generation_cost"]
