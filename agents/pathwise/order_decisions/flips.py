"""Gradients of the cost in decisions whether to order: what another order would have cost in the same world.

The derivative of a cost in the probabilities of decisions is the score-function (likelihood-ratio) gradient, and its terms are
differences in cost between one decision and another. Here these differences are not estimated from what happens to have
been decided, but known: the same world is simulated once more for each other order, with that one decision replaced and
the policy followed from then on (common random numbers). With few gradients between simulations this is the policy
iteration of deep controlled learning (Temizoz, Imdahl, Dijkman, Lamghari-Idrissi and van Jaarsveld, European Journal of
Operational Research 324(1), 2025), with costs instead of labels; quantities get the gradients of the paths meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from echelongym.envs.core.backend import NUMPY, Array, NumpyOps, ops_of
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.interface.observation import Decision, Observation, Policy
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods, simulate
from echelongym.envs.worlds.record_statement import playable
from echelongym.envs.worlds.tape import Tape

from ...tuning.gradient import GradientWindow
from ..actor import ActorDefinition, Running
from ..module import PathwiseActor
from .choice import AS_ASKED, NOTHING, OPTIONS
from .head import OrderHead

WORLDS, SAMPLES = 64, 8  # worlds of a simulation, and decisions of each that are tried otherwise

ENTROPY = (
    0.1  # weight of the entropy of choices, in mean differences of cost: scores stay finite where two options are close
)
LEAST_AFTER = 24  # periods that are simulated after a decision, at least


class Tried(NamedTuple):
    """Decisions that were tried otherwise, n of them.

    ``rows`` (features, n) is what the network sees, ``decision`` (n,) which of them it is, ``costs`` (OPTIONS, n) money by
    which each option costs more over the rest of the simulation than the one taken; 0 for that one and for impossible ones.
    """

    rows: Floats
    decision: Ints
    costs: Floats


class Flips:
    """Differences in cost between orders, and the loss whose gradients are those of the scores.

    Parameters
    ----------
    scenario
        As policies are judged: with whole units where it has them.
    window
        Periods of a simulation, and the first of them, in which no decision is tried otherwise.
    seed
        Of the worlds, purpose ``learn``, and of which decisions are tried otherwise.

    Attributes
    ----------
    env_steps : env-steps simulated so far.

    Raises
    ------
    TypeError
        If the policy does not decide whether to order.
    """

    def __init__(self, scenario: Scenario, definition: ActorDefinition, window: GradientWindow, seed: int) -> None:
        head = definition.head
        if not isinstance(head, OrderHead):
            raise TypeError("flips are of a policy that decides whether to order")
        self.scenario, self.definition, self.head = scenario, definition, head
        self.decisions = len(head.choice.decided)
        most = playable(scenario, "learn")
        self.periods = min(max(window.periods, window.skipped + 2 * LEAST_AFTER, scenario.tables.warm_up + 1), most)
        self.skipped = min(window.skipped, self.periods - 1)
        self.last = max(self.periods - LEAST_AFTER, self.skipped + 1)
        self.seed = seed
        self.env_steps = 0

    def loss(self, actor: PathwiseActor, tried: Tried) -> torch.Tensor:
        """Cost a period by chances of orders, less that of the orders taken: its slope is the score-function gradient."""
        scores = self._scores(actor, tried.rows)
        every = torch.arange(tried.rows.shape[1])
        scores = self._scores(actor, tried.rows)[:, torch.from_numpy(tried.decision), every]
        logarithms = torch.log_softmax(scores, 0)
        chances, costs = logarithms.exp(), torch.from_numpy(tried.costs.astype(np.float32))
        some = costs[costs != 0]
        size = float(some.abs().mean()) if len(some) else 0.0
        # Chances of options that are impossible are 0, their logarithms far away.
        spread = (chances * torch.clamp(logarithms, min=-50.0)).sum(0) * (ENTROPY * size)
        return ((chances * costs).sum(0) + spread).mean() * self.decisions

    def _scores(self, actor: PathwiseActor, rows: Floats) -> torch.Tensor:
        """(OPTIONS, U, n)."""
        seen = torch.from_numpy(rows)
        ops: Any = ops_of(seen)
        body = self.definition.body
        assert body is not None
        outputs, _ = body(actor.owned, seen, None, ops)
        found: torch.Tensor = self.head.choice.scores(outputs[self.head.inner.outputs :], ops)
        return found

    def tried(self, actor: PathwiseActor, first: int, lost_price: Floats | None = None) -> Tried:
        """Decisions of worlds ``first`` and following, tried otherwise.

        Parameters
        ----------
        lost_price
            (C,) money by which a unit lost costs more than the scenario says, for targets of service.
        """
        numbers = list(range(first, first + WORLDS))
        tape = self.scenario.sample(worlds=numbers, seed=self.seed, purpose="learn", periods=self.periods)
        weights = actor.weights()
        seen = self._features(weights, tape)
        n, draws = WORLDS * SAMPLES, np.random.default_rng((self.seed, first))
        world = np.repeat(np.arange(WORLDS), SAMPLES)
        period = draws.integers(self.skipped, self.last, n)
        decision = draws.integers(0, self.decisions, n)
        rows = np.ascontiguousarray(seen[period, :, world].T)
        choice, lanes, every = self.head.choice, len(self.head.choice.lanes), np.arange(n)
        with torch.no_grad():
            best = self._scores(actor, rows).argmax(0).numpy()
        taken, order = best[decision, every], best[choice.decided[decision], every]
        # A shift is of no account where a lane orders nothing, or what it would without a choice.
        idle = (decision >= lanes) & ((order == AS_ASKED) | (order == NOTHING))
        sample, option = np.nonzero(choice.possible[:, decision].T & ~idle[:, None])
        other = option != taken[sample]
        sample, option = sample[other], option[other]
        # Worlds as they are, then those with one decision replaced.
        columns = np.concatenate([np.arange(WORLDS), world[sample]])
        forced = np.full((self.periods, self.decisions, len(columns)), -1.0)
        forced[period[sample], decision[sample], WORLDS + np.arange(len(sample))] = option
        total = self._costs(weights, tape[columns], forced, lost_price)
        costs = np.zeros((OPTIONS, n))
        costs[option, sample] = total[WORLDS:] - total[columns[WORLDS:]]
        return Tried(rows, decision, costs)

    def _features(self, weights: Any, tape: Tape) -> Floats:
        """(periods, rows, worlds) that the network sees."""
        own = NumpyOps(np.float32)
        found: list[Any] = []
        running = Running(self.definition, lambda ops: weights)

        def policy(observation: Observation) -> Decision:
            found.append(self.definition.features(observation, own))
            return running(observation, NUMPY)

        self.head.forced = None
        running.begin(tape.batch)
        for period, *_ in periods(self.scenario, policy, tape):
            if period + 1 >= self.last:
                break
        self.env_steps += tape.batch * self.last
        return np.stack(found).astype(np.float32)

    def _costs(self, weights: Any, tape: Tape, forced: Floats, lost_price: Floats | None) -> Floats:
        """(worlds,) cost less revenue of all periods, and what is lost at its price."""
        policy = ForcedOrders(self.definition, self.head, weights, forced)
        priced = lost_price is not None and bool(lost_price.any())
        outcome = simulate(self.scenario, policy, tape, trace=("lost",) if priced else False, kpis=False)
        self.env_steps += tape.batch * tape.periods
        total = np.asarray(outcome.episode_net_cost_per_period) * tape.periods
        if priced:
            total = total + outcome.trace.lost.sum((0, 3)) @ lost_price
        return total


class ForcedOrders:
    """A policy with some of its decisions replaced by others.

    Parameters
    ----------
    forced
        (T, U, B) options by period, decision and world; -1: as the policy decides.
    """

    def __init__(self, definition: ActorDefinition, head: OrderHead, weights: Any, forced: Floats) -> None:
        self.definition, self.head, self.forced = definition, head, forced
        self.running = Running(definition, lambda ops: weights)
        self._weights = weights

    def foresee(self, tape: Tape) -> None:
        """Nothing but the decisions that it was given."""
        self.running.begin(tape.batch)

    def __call__(self, observation: Observation) -> Decision:
        """The decision of a period."""
        self.head.forced = self.forced[int(np.max(observation.period))]
        try:
            return self.running(observation, NUMPY)
        finally:
            self.head.forced = None

    def recordable(self, dtype: Any) -> Recordable | None:
        """What a compiled rollout records of it: the policy, with the decisions replaced as what it foresees."""
        found = self.definition.recordable(self._weights, dtype)
        if found is None:
            return None

        def on(ops: NumpyOps) -> Callable[[Sequence[Array]], Policy]:
            made = found.on(ops)
            return lambda given: _Forced(made(given), self.head)

        def foreseen(tape: Tape) -> Callable[[int, int], list[Floats]]:
            return lambda start, stop: [self.forced[:, :, start:stop]]

        return replace(found, structure=("forced", found.structure), on=on, foreseen=foreseen)


class _Forced:
    """The policy of a recorded period."""

    foreseen: Sequence[Array]

    def __init__(self, policy: Policy, head: OrderHead) -> None:
        self._policy, self._head = policy, head
        self.memory: list[Array] = []

    def __call__(self, observation: Observation) -> Decision:
        (self._head.forced,) = self.foreseen
        try:
            return self._policy(observation)
        finally:
            self._head.forced = None
